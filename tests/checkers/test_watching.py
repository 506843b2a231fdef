"""The watches' checker: what is told in order passes, and each property can be broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import watching
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.watching import short
from jepsen_like.protocols import KEEP_REVISIONS, Record, Verdict
from tests.checkers.simulated import Asked, events_of, record

# Revision, name of the write, and what it did.
WRITES: list[tuple[int, str, dict[str, Any]]] = [
    (10, "w1", {"puts": {"a/0": "w1.0", "a/1": "w1.1"}, "deletes": [], "range": ""}),
    (20, "w2", {"puts": {"a/0": "w2.0"}, "deletes": ["b/9"], "range": ""}),
    (30, "w3", {"puts": {"b/0": "w3.0"}, "deletes": ["a/1"], "range": ""}),
    (40, "w4", {"puts": {"b/1": "w4.0"}, "deletes": [], "range": "a/"}),
    (50, "w5", {"puts": {"a/1": "w5.0"}, "deletes": [], "range": ""}),
]
# What a watch of "a/" with previous values is told of these: key, value, its revision,
# whether it was created, and what was before.
TOLD: dict[int, list[list[Any]]] = {
    10: [["a/0", "w1.0", 10, 1, None], ["a/1", "w1.1", 10, 1, None]],
    20: [["a/0", "w2.0", 20, 0, "w1.0"]],
    30: [["a/1", None, 0, 0, "w1.1"]],
    40: [["a/0", None, 0, 0, "w2.0"]],
    50: [["a/1", "w5.0", 50, 1, None]],
}


def message(revision: int, continued: int = 0, snapshot: int = 0) -> list[Any]:
    return [revision, continued, snapshot, copy.deepcopy(TOLD.get(revision, []))]


def segment(start: str, revision: int, *messages: list[Any], **more: Any) -> dict[str, Any]:
    """One call, which begins with a mark unless it is a snapshot."""
    at = {"now": revision, "past": revision - 1, "future": 1, "resume": revision}
    if messages and start in at:
        messages = ([at[start], 0, 0, []], *messages)
    return {
        "node": more.pop("node", "a"),
        "start": start,
        "revision": revision,
        "messages": list(messages),
        "end": "time",
        **more,
    }


def watch(at: float, *segments: dict[str, Any], f: str = "watch", **more: Any) -> Asked:
    value = {"prefix": "a/", "previous": True, "segments": list(segments), **more}
    asked = {"id": f"x{at}", **({"node": more.pop("last")} if "last" in more else {})}
    return Asked(int(at * 10), f, "", asked, at, at + 0.5, "ok", value, 0, "a")


def written() -> list[Asked]:
    return [
        Asked(n, "write", "", {"id": name}, float(n), n + 0.5, "ok", None, revision, "a")
        for n, (revision, name, _) in enumerate(WRITES)
    ]


def log(at: float = 900.0) -> Asked:
    rows = [[revision, 1, name, json.dumps(effects)] for revision, name, effects in WRITES]
    state = {"a/1": ["w5.0", 50], "b/0": ["w3.0", 30], "b/1": ["w4.0", 40]}
    answer = {"log": rows, "state": state}
    return Asked(9_000, "read-log", "", None, at, at + 1, "ok", answer, 60, "a")


EVERYTHING = segment("past", 1, *(message(revision) for revision in TOLD))


def whole() -> list[Asked]:
    """Watches that begin and end in every way, at two members."""
    return [
        *written(),
        watch(20.0, EVERYTHING),
        watch(21.0, segment("now", 20, message(25), message(30), message(35), message(40))),
        watch(22.0, segment("future", 45, message(50), message(60), node="b")),
        watch(23.0, segment("snapshot", 30, _snapshot(), message(40), message(50))),
        watch(
            24.0,
            segment("past", 15, message(20), end="broken"),
            segment("resume", 20, [30, 1, 0, TOLD[30]], end="broken"),
            segment("resume", 20, message(30), message(40)),
            segment("resume", 40, message(50), message(55), node="b"),
        ),
        log(),
    ]


def _snapshot() -> list[Any]:
    return [30, 0, 1, [["a/0", "w2.0", 20, 0, None]]]


def enough() -> list[Asked]:
    """The same, and as many of everything as are asked for."""
    more = [watch(30.0 + n, segment(how, 61, node="a")) for n, how in enumerate(("now",) * 5)]
    more += [watch(40.0 + n, segment("future", 70)) for n in range(5)]
    more += [watch(50.0 + n, segment("snapshot", 30, _snapshot())) for n in range(5)]
    more += [watch(60.0 + n, segment("past", 51, message(55))) for n in range(5)]
    more += [watch(70.0 + n, segment("resume", 50, message(55))) for n in range(5)]
    slow = segment("now", 5, message(10), end="WATCH_TOO_SLOW")
    gone = segment("past", 1, end="COMPACTED", details={"oldest_revision": "12"})
    compact = Asked(800, "compact", "", {"back": 9}, 75.0, 75.5, "ok", {"revision": 11}, 60)
    # What failed is written down with what it was asked with.
    failed = compact._replace(process=801, type="fail", answer={"back": 9}, revision=0)
    more += [compact, failed, watch(80.0, slow), watch(81.0, gone)]
    more.append(watch(82.0, EVERYTHING, last="a"))
    more.append(watch(83.0, {**EVERYTHING, "node": "b"}, last="b"))
    return [*whole()[:-1], *more, log()]


def judged(run: list[Asked], **changes: Any) -> Verdict:
    made = [replace(event, workload="watch") for event in events_of(run)]
    found: Record = replace(record(made), nodes=("a", "b"), **changes)
    return watching.check(found)


def first(*messages: list[Any], start: str = "past", revision: int = 1) -> list[Asked]:
    """A run in which one watch was told that."""
    return [*written(), watch(20.0, segment(start, revision, *messages)), log()]


def changed(revision: int, place: int, column: int, value: Any) -> list[Asked]:
    """A run in which one thing of one change is another one."""
    messages = [message(one) for one in TOLD]
    told = next(one for one in messages if one[0] == revision)
    told[3][place][column] = value
    return first(*messages)


ALL = tuple(message(revision) for revision in TOLD)
STRANGER = [20, 0, 0, [*TOLD[20], ["b/0", "x", 20, 0, None]]]
NINE: dict[str, tuple[str, Callable[[], list[Asked]]]] = {
    "another key": ("filter: ", lambda: first(ALL[0], STRANGER, *ALL[2:])),
    "an earlier revision": ("ordered: ", lambda: first(*ALL[:3], ALL[1], *ALL[3:])),
    "one message twice": ("unique: ", lambda: first(ALL[0], ALL[0], *ALL[1:])),
    "one key twice": (
        "unique: ",
        lambda: first([10, 0, 0, [*TOLD[10], TOLD[10][0]]], *ALL[1:]),
    ),
    "half a revision": ("atomic: ", lambda: first([10, 0, 0, TOLD[10][:1]], *ALL[1:])),
    "a revision in two": (
        "atomic: ",
        lambda: first([10, 0, 0, TOLD[10][:1]], [10, 0, 0, TOLD[10][1:]], *ALL[1:]),
    ),
    "another revision within one": (
        "atomic: ",
        lambda: first([10, 1, 0, TOLD[10][:1]], message(20)),
    ),
    "a gap": ("reliable: ", lambda: first(ALL[0], *ALL[2:])),
    "a gap at the begin": ("reliable: ", lambda: first(*ALL[1:])),
    "a gap after a snapshot": (
        "reliable: ",
        lambda: first(_snapshot(), message(50), start="snapshot", revision=30),
    ),
    "a gap at a break": (
        "resumable: ",
        lambda: [
            *written(),
            watch(20.0, segment("past", 1, ALL[0]), segment("resume", 10, *ALL[2:])),
            log(),
        ],
    ),
    "a gap from a token": (
        "resumable: ",
        lambda: first(message(30), start="resume", revision=10),
    ),
    "a mark too soon": ("bookmark: ", lambda: first(ALL[0], [25, 0, 0, []], *ALL[1:])),
    "changes without a mark": (
        "bookmark: ",
        lambda: [
            *written(),
            watch(20.0, {**EVERYTHING, "messages": EVERYTHING["messages"][1:]}),
            log(),
        ],
    ),
    "a mark of what never was": ("ahead: ", lambda: first(*ALL, [70, 0, 0, []])),
    "a snapshot of before": (
        "early: ",
        lambda: first(_snapshot(), start="snapshot", revision=35),
    ),
    "a snapshot of another time": (
        "snapshot: ",
        lambda: first([30, 0, 1, [["a/0", "w2.0", 10, 0, None]]], start="snapshot"),
    ),
    "a snapshot of changes": (
        "snapshot: ",
        lambda: first([30, 0, 1, [["a/0", "w2.0", 20, 1, None]]], start="snapshot"),
    ),
    "another value before": ("previous: ", lambda: changed(20, 0, 4, "w1.1")),
    "no value before": ("previous: ", lambda: changed(40, 0, 4, None)),
    "no creation": ("created: ", lambda: changed(10, 1, 3, 0)),
    "a creation of what was there": ("created: ", lambda: changed(20, 0, 3, 1)),
    "another value": ("value: ", lambda: changed(20, 0, 1, "w1.0")),
    "a deletion that was none": ("value: ", lambda: changed(20, 0, 1, None)),
    "of another revision": ("value: ", lambda: changed(20, 0, 2, 10)),
    "what never was": (
        "phantom: ",
        lambda: first(ALL[0], [15, 0, 0, [["a/0", "w0", 15, 0, "w1.0"]]], *ALL[1:]),
    ),
    "a snapshot of another revision": (
        "snapshot: ",
        lambda: first([40, 0, 1, [["a/0", "w2.0", 20, 0, None]]], start="snapshot"),
    ),
    "changes for a snapshot": ("snapshot: ", lambda: first(*ALL, start="snapshot")),
    "a snapshot for changes": ("snapshot: ", lambda: first(_snapshot())),
    "what was before now": ("early: ", lambda: first(*ALL, start="now", revision=10)),
    "an end in disorder": (
        "refused: ",
        lambda: [*written(), watch(20.0, segment("now", 60, end="INTERNAL")), log()],
    ),
    "compacted for nothing": (
        "compacted: ",
        lambda: [
            *written(),
            watch(20.0, segment("past", 5, end="COMPACTED", details={"oldest_revision": "12"})),
            log(),
        ],
    ),
    "compacted from now on": (
        "compacted: ",
        lambda: [
            watch(85.0, segment("now", 5, end="COMPACTED", details={"oldest_revision": "12"})),
            *enough(),
        ],
    ),
    "compacted behind it": (
        "compacted: ",
        lambda: [
            watch(
                85.0, segment("past", 30, end="COMPACTED", details={"oldest_revision": "12"})
            ),
            *enough(),
        ],
    ),
}


def test_a_sound_run_is_valid() -> None:
    """
    With every way to begin and to end, breaks in the middle of a revision among them.
    """
    found = judged(enough())

    assert found.complaints == ()
    assert (found.name, found.validity) == ("watch:properties", "valid")
    assert found.figures["writes"] == len(WRITES)
    assert found.figures["too_slow"] == found.figures["compacted"] == 1


@pytest.mark.parametrize("what", NINE)
def test_each_property_can_be_broken(what: str) -> None:
    """
    One thing is changed, and the checker says what that is.
    """
    name, run = NINE[what]
    found = judged(run())

    assert found.validity == "invalid"
    assert any(text.startswith(name) for text in found.complaints), found.complaints


def test_history_may_be_trimmed_and_no_further() -> None:
    """
    What the cluster keeps by itself bounds what may be gone; of another cluster nobody
    knows.
    """
    newest = KEEP_REVISIONS + 100

    def run(oldest: int) -> list[Asked]:
        told = {"oldest_revision": str(oldest)}
        asked = watch(20.0, segment("past", 5, end="COMPACTED", details=told))
        later = Asked(5_000, "write", "", {"id": "w9"}, 10.0, 11.0, "ok", None, newest, "a")
        return [*written(), asked, later, log()]

    def wrong(found: Verdict) -> bool:
        return any(text.startswith("compacted: ") for text in found.complaints)

    assert not wrong(judged(run(101)))
    assert wrong(judged(run(102)))
    assert not wrong(judged(run(102), remote=True))


def _with_log(change: Callable[[dict[str, Any]], None]) -> Verdict:
    answer = copy.deepcopy(log().answer)
    change(answer)
    return judged([*whole()[:-1], log()._replace(answer=answer)])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lost: ", lambda found: found["log"].pop()),
        ("double: ", lambda found: found["log"][0].__setitem__(1, 2)),
        ("moved: ", lambda found: found["log"][0].__setitem__(0, 9)),
        ("stranger: ", lambda found: found["log"][0].__setitem__(2, "w99")),
        ("different: ", lambda found: found["state"].pop("a/1")),
        ("different: in", lambda found: found["state"]["a/1"].__setitem__(1, 49)),
    ],
)
def test_what_was_written_is_held_against_the_writers(name: str, change: Any) -> None:
    """
    The oracle is believed only as far as it agrees with what was acknowledged.
    """
    found = _with_log(change)

    assert any(text.startswith(name) for text in found.complaints), found.complaints


def test_what_was_written_while_a_consumer_stalled_is_there() -> None:
    """
    As much of it as was acknowledged.
    """
    stall = watch(20.0, segment("now", 60, message(60)), f="stall", written=1)

    assert judged([*written(), stall, log()]).complaints[0].startswith("lost: write x20.0.0 ")


def test_a_write_that_failed_is_not_there() -> None:
    """
    One whose end nobody knows may be.
    """
    run = enough()
    failed = run[0]._replace(type="fail", revision=0)
    unknown = run[0]._replace(end=None)

    assert any(
        text.startswith("resurrected: ") for text in judged([failed, *run[1:]]).complaints
    )
    assert judged([unknown, *run[1:]]).validity == "valid"


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (lambda one: one.f != "read-log", "the last read of what was written"),
        (lambda one: "snapshot" not in str(one.answer), "watches began from snapshot"),
        (lambda one: "TOO_SLOW" not in str(one.answer), "was never too slow"),
        (lambda one: "COMPACTED" not in str(one.answer), "was compacted"),
        (lambda one: "'node': 'b'" not in str(one.answer), "told anything at b"),
        (lambda one: one.began != 83.0, "the last watches at b came to @0"),
    ],
)
def test_too_little_shows_nothing(left: Any, said: str) -> None:
    """
    Such a run is not valid.
    """
    found = judged([one for one in enough() if left(one)])

    assert found.validity != "valid"
    assert any(said in text for text in found.complaints), found.complaints


def test_large_values_are_told_apart_in_a_few_characters() -> None:
    """
    By their length and their content.
    """
    large = [b"w8.1" + b"." * 100, b"w8.1" + b"." * 101, b"w8.1" + b"." * 99 + b"!"]

    assert len({short(one) for one in large}) == len(large)
    assert all(len(short(one)) < 60 for one in large)
    assert short(b"w1.0") == "w1.0"


def test_what_is_no_watch_is_refused() -> None:
    """
    A checker that skips what it does not know would pass anything.
    """
    with pytest.raises(MalformedHistory, match="no history of watches"):
        judged([*written(), watch(20.0, {"start": "now"}), log()])
