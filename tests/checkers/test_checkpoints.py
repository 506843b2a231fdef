"""The checkpoints' checker: what was saved and kept passes, and each way to lose is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import checkpoints
from jepsen_like.checkers.checkpoints import (
    KEEP_LAST,
    OK_MIN,
    Recipe,
    digest,
    digest_of,
    parts_of,
    pieces_of,
)
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.protocols import Record, Verdict
from tests.checkers.simulated import Asked, events_of, record

SEED = 5
SAVES = OK_MIN + 2
NODES = ("a", "b")


def recipe(n: int) -> Recipe:
    return Recipe(SEED, "0", (n, n // 2), 50)


def save(n: int, **more: Any) -> Asked:
    """Save number n becomes checkpoint n; it may be tagged or pinned."""
    value = {
        "agent": "0",
        "id": f"c{n}",
        "parts": list(recipe(n).parts),
        "size": 50,
        "tag": False,
        "pinned": False,
        **more,
    }
    told = {"checkpoint": n, "bytes": 100, "chunks": n % 3, "uploaded": 0, "delta": n % 2 == 0}
    return Asked(n, "save", "", value, float(n), n + 0.5, "ok", told, 10 + n, "a")


def found(n: int, *kept: str) -> dict[str, Any]:
    return {
        "id": f"c{n}",
        "checkpoint": n,
        "digest": digest_of(recipe(n)),
        "size": 100,
        "chunks": n % 3,
        "chain": (n + 1) % 2,
        "kept": list(kept),
    }


def restore(n: int, at: float, what: str = "newest", **more: Any) -> Asked:
    value = {"agent": "0", "what": what, "stale": more.pop("stale", False)}
    kept = {1: ("pin",), 2: ("tag",), 6: ("tag",)}.get(n, ())
    told = {"found": {**found(n, *kept), **more}, "checkpoint": n if what == "id" else 0}
    return Asked(int(at * 10), "restore", "", value, at, at + 0.2, "ok", told, 10 + n, "a")


def missing(n: int, at: float) -> Asked:
    """Nobody has checkpoint n, which was asked for."""
    one = restore(n, at, "id")
    answer = {"found": None, "why": "CHECKPOINT_NOT_FOUND", "checkpoint": n}
    return one._replace(answer=answer, revision=0)


def mark(n: int, at: float, f: str = "pin", pinned: bool = True) -> Asked:
    told = {"checkpoint": n, "good": True}
    value = {"agent": "0", "pinned": pinned}
    return Asked(int(at * 10), f, "", value, at, at + 0.2, "ok", told, 60, "a")


def listed(*kept: dict[str, Any], node: str = "") -> Asked:
    at = 90.0 + NODES.index(node) if node else 89.0
    value = {"agent": "0", "node": node} if node else {"agent": "0"}
    return Asked(
        900 + int(at),
        "list",
        "",
        value,
        at,
        at + 0.5,
        "ok",
        {"found": list(kept)},
        99,
        node or "a",
    )


# What is there in the end: what was pinned, tagged last, found good; and the newest.
LAST = [
    found(1, "pin"),
    found(3, "pin"),
    found(4, "good"),
    found(6, "tag"),
    *(found(n) for n in range(SAVES - KEEP_LAST, SAVES + 1)),
]


def whole(*last: dict[str, Any]) -> list[Asked]:
    """Saves one after the other, some of them marked; restores of each when it was the
    newest; and the last lists."""
    marks: dict[int, dict[str, bool]] = {
        1: {"pinned": True},
        2: {"tag": True},
        6: {"tag": True},
    }
    run = [save(n, **marks.get(n, {})) for n in range(1, SAVES + 1)]
    run += [restore(n, n + 0.6) for n in range(1, SAVES + 1)]
    run += [
        restore(6, 20.0, "tag"),
        restore(3, 21.0, stale=True),
        restore(4, 22.0, "id"),
        missing(2, 22.5),
        mark(3, 23.0),
        mark(4, 24.0, "good"),
        mark(5, 25.0),
        mark(5, 26.0, pinned=False),
    ]
    kept = list(last) or LAST
    return [*run, listed(*kept), *(listed(*kept, node=node) for node in NODES)]


def judged(run: list[Asked]) -> Verdict:
    made = [replace(event, workload="checkpoints") for event in events_of(run)]
    whole_run: Record = replace(record(made), nodes=NODES, seed=SEED)
    return checkpoints.check(whole_run)


def told(one: Asked, **changes: Any) -> Asked:
    """The same restore, with another answer."""
    return one._replace(answer={**one.answer, "found": {**one.answer["found"], **changes}})


def without(name: str) -> list[Asked]:
    return whole(*(one for one in LAST if one["id"] != name))


def failed(run: list[Asked], name: str) -> list[Asked]:
    return [
        one._replace(type="fail", answer=None)
        if one.f == "save" and one.value["id"] == name
        else one
        for one in run
    ]


WRONGS: dict[str, tuple[str, Callable[[], list[Asked]]]] = {
    "other bytes": ("content: ", lambda: [*whole(), told(restore(12, 30.0), digest="00")]),
    "another than was asked for": (
        "content: ",
        lambda: [*whole(), told(restore(4, 30.0, "id"), id="c5", checkpoint=5, digest="")],
    ),
    "a save of nobody": ("phantom: ", lambda: [*whole(), told(restore(12, 30.0), id="c77")]),
    "a save of later": ("phantom: ", lambda: [*whole(), restore(12, 0.1)]),
    "a save that failed": ("resurrected: ", lambda: failed(whole(), "c4")),
    "another number": ("moved: ", lambda: [*whole(), told(restore(12, 30.0), checkpoint=13)]),
    "an old newest": ("stale: ", lambda: [*whole(), restore(11, 30.0)]),
    "an old tag": ("stale: ", lambda: [*whole(), restore(2, 30.0, "tag")]),
    "nothing": (
        "stale: ",
        lambda: [*whole(), restore(11, 30.0)._replace(answer={"found": None})],
    ),
    "what cannot be read": (
        "lost: ",
        lambda: [
            *whole(),
            restore(12, 30.0)._replace(answer={"found": None, "broken": "CORRUPT"}),
        ],
    ),
    "a listed one that cannot be read": (
        "lost: ",
        lambda: whole(*LAST[:-1], {**found(SAVES), "digest": "", "broken": "CORRUPT"}),
    ),
    "the newest gone": ("lost: c12 ", lambda: without("c12")),
    "one of the newest gone": ("lost: c8 ", lambda: without("c8")),
    "one pinned with its save gone": ("lost: c1 ", lambda: without("c1")),
    "one pinned gone": ("lost: c3 ", lambda: without("c3")),
    "one known good gone": ("lost: c4 ", lambda: without("c4")),
    "one tagged gone": ("lost: c6 ", lambda: without("c6")),
    "a pin gone": ("lost: ", lambda: whole(found(1), *LAST[1:])),
    "a stale one of before its revision": (
        "stale: ",
        lambda: [*whole(), restore(8, 30.0, stale=True)._replace(revision=19)],
    ),
    "a stale tag of before its revision": (
        "stale: ",
        lambda: [*whole(), restore(2, 30.0, "tag", stale=True)._replace(revision=16)],
    ),
    "one of after its revision": (
        "early: ",
        lambda: [*whole(), restore(8, 30.0, "id", stale=True)._replace(revision=17)],
    ),
    "one of the newest not found": ("lost: c8 ", lambda: [*whole(), missing(8, 30.0)]),
    "one pinned not found": ("lost: c1 ", lambda: [*whole(), missing(1, 30.0)]),
    "one that was gone": ("returned: c2 ", lambda: [*whole(), restore(2, 30.0, "id")]),
    "one that was gone in the list": ("returned: c2 ", lambda: whole(*LAST, found(2))),
    "a number of two": (
        "moved: c7 ",
        lambda: [
            one._replace(answer={**one.answer, "checkpoint": 6}) if one.process == 7 else one
            for one in whole()
        ],
    ),
    "a good word of nobody": (
        "unearned: ",
        lambda: whole(*LAST[:-1], found(SAVES, "good")),
    ),
    "a pin that was taken away": (
        "unearned: ",
        lambda: whole(*LAST, found(5, "pin")),
    ),
    "a tag twice": ("double: ", lambda: whole(*LAST, found(2, "tag"))),
    "no bytes": ("content: ", lambda: [*whole(), told(restore(12, 30.0), digest="")]),
    "a whole one for a delta": (
        "content: ",
        lambda: [*whole(), told(restore(12, 30.0), chain=0)],
    ),
    "other chunks": ("content: ", lambda: [*whole(), told(restore(11, 30.0, "id"), chunks=1)]),
    "a mark that one member has": (
        "different: ",
        lambda: [*whole()[:-1], listed(*LAST[:-1], found(SAVES, "pin"), node="b")],
    ),
    "one twice": ("double: ", lambda: whole(*LAST, LAST[0])),
    "a member that differs": (
        "different: ",
        lambda: [*whole()[:-1], listed(*LAST[:-1], node="b")],
    ),
    "another member": (
        "elsewhere: ",
        lambda: [*whole()[:-1], listed(*LAST, node="b")._replace(node="a")],
    ),
}


def test_a_sound_run_is_valid() -> None:
    """
    What was let go may be gone: a pin that was taken away, a tag that moved on.
    """
    verdict = judged(whole())

    assert verdict.complaints == ()
    assert (verdict.name, verdict.validity) == ("checkpoints:content", "valid")
    assert verdict.figures["pruned"] == 3
    assert verdict.figures["saved"] == SAVES


@pytest.mark.parametrize("what", WRONGS)
def test_each_way_to_be_wrong_is_named(what: str) -> None:
    """
    One thing is changed, and the checker says what that is.
    """
    name, run = WRONGS[what]
    verdict = judged(run())

    assert verdict.validity == "invalid"
    assert any(text.startswith(name) for text in verdict.complaints), verdict.complaints


def test_what_nobody_knows_forces_nothing() -> None:
    """
    An unknown save may be there or not; a pin that may have been taken away holds nothing.
    """
    unknown = [
        one._replace(end=None) if one.f == "save" and one.value["id"] == "c12" else one
        for one in without("c12")
        if not (one.f == "restore" and "c12" in str(one.answer))
    ]
    assert judged(unknown).validity == "valid"
    loosed = [*without("c3"), mark(3, 27.0, pinned=False)._replace(type="info")]
    assert judged(loosed).validity == "valid"
    unsaid = loosed[-1]._replace(end=None)
    assert judged([*without("c3"), unsaid]).validity == "valid"


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (lambda one: one.f != "restore", "0 were restored"),
        (lambda one: one.f == "list" and not one.answer["found"], "0 checkpoints were saved"),
        (lambda one: one.node != "b", "there is no last list at b"),
        (lambda one: one.process != 989, "there is no last list of the cluster"),
    ],
)
def test_too_little_shows_nothing(left: Any, said: str) -> None:
    """
    Nothing is wrong then, and yet such a run is not valid.
    """
    verdict = judged([one for one in whole() if left(one)])

    assert verdict.validity == "unknown"
    assert any(said in text for text in verdict.complaints), verdict.complaints


def test_a_recipe_says_every_byte() -> None:
    """
    A part that changes changes the whole, and nothing else does.
    """
    one = recipe(6)
    other = one._replace(parts=(6, 4))

    assert digest_of(one) == digest(b"".join(pieces_of(one)))
    assert digest_of(one) != digest_of(other)
    assert parts_of(one)[0] == parts_of(other)[0]
    assert parts_of(one)[0] != parts_of(one)[1]
    assert json.loads(b"".join(pieces_of(one))) == parts_of(one)


def test_what_is_no_save_is_refused() -> None:
    """
    A checker that skips what it does not know would pass anything.
    """
    with pytest.raises(MalformedHistory, match="no history of checkpoints"):
        judged([save(1)._replace(value={"agent": "0"})])
