"""The bank's checker: sound reads of every kind pass, and each way to be wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import bank
from jepsen_like.checkers.bank import ACCOUNTS, MEMBERS, OK_MIN, READS
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.protocols import Record, Verdict
from tests.checkers.simulated import Asked, events_of, record

FIRST = dict.fromkeys(ACCOUNTS, "100:first")
MOVED = {**FIRST, "0": "90:t1", "1": "110:t1"}
AGAIN = {**MOVED, "1": "115:t2", "2": "95:t2"}


def transfer(n: int, at: float, revision: int, wrote: dict[str, str], **more: Any) -> Asked:
    value = {"id": f"t{n}", "from": "0", "to": "1", "amount": 5}
    answer = {"wrote": wrote, "failed_compares": 1}
    return Asked(n, "transfer", "", value, at, at + 1, "ok", answer, revision, "a")


def version(n: int, at: float, revision: int) -> Asked:
    wrote = dict.fromkeys(MEMBERS, f"v{n}")
    value = {"id": f"v{n}"}
    return Asked(50 + n, "version", "", value, at, at + 1, "ok", {"wrote": wrote}, revision)


def read(
    f: str, of: str, at: float, values: dict[str, str], revision: int, **more: Any
) -> Asked:
    node = more.pop("node", "a")
    pages = more.pop("pages", [revision])
    answer = {"values": values, "revisions": pages}
    value: dict[str, Any] = {"of": of, **({"node": node} if f == "read-node" else {})}
    if f == "paged-read":
        value["stale"] = more.pop("stale", True)
    length = more.pop("length", 0.5)
    process = 100 + int(at * 10)
    return Asked(process, f, "", value, at, at + length, "ok", answer, revision, node)


def group(n: int) -> dict[str, str]:
    return dict.fromkeys(MEMBERS, f"v{n}")


def sound() -> list[Asked]:
    """Two transfers, and versions; reads of every kind, of all that there was."""
    run = [
        read("read", "accounts", 0.0, {}, 1),
        transfer(1, 1.0, 10, {"0": "90:t1", "1": "110:t1"}),
        version(1, 2.0, 11),
        transfer(2, 4.0, 20, {"1": "115:t2", "2": "95:t2"}),
        version(2, 5.0, 21),
        version(3, 8.0, 22),
        read("stale-read", "accounts", 10.0, FIRST, 9, node="b"),
        read("past-read", "accounts", 11.0, MOVED, 15),
        read("read-node", "accounts", 90.0, AGAIN, 40, node="a"),
        read("read-node", "accounts", 91.0, AGAIN, 40, node="b"),
        read("read-node", "group", 92.0, group(3), 40, node="a"),
        # Page by page, while a version was written that it does not show.
        read("paged-read", "group", 7.0, group(2), 21, length=3.0, pages=[21, 21, 21]),
    ]
    at = 20.0
    for f in READS[:-1]:
        for number in range(OK_MIN):
            shown, of = (AGAIN, "accounts") if number % 2 else (group(3), "group")
            own = 1 + number if f == "txn-read" else 0  # it is a command by itself
            run.append(read(f, of, at, shown, 30 + own))
            at += 1.0
    return run


def judged(run: list[Asked]) -> Verdict:
    made = [replace(event, workload="bank") for event in events_of(run)]
    found: Record = replace(record(made), nodes=("a", "b"))
    return bank.check(found)


Change = Callable[[list[Asked]], list[Asked]]


def instead(f: str, of: str, **answer: Any) -> Change:
    """Change what the first linearizable (or other) read of its kind was answered."""

    def change(run: list[Asked]) -> list[Asked]:
        place = next(
            n
            for n, one in enumerate(run)
            if one.f == f and one.value["of"] == of and one.began > 15
        )
        revision = answer.pop("revision", run[place].revision)
        told = {**run[place].answer, **answer}
        return [
            *run[:place],
            run[place]._replace(answer=told, revision=revision),
            *run[place + 1 :],
        ]

    return change


def also(*more: Asked) -> Change:
    return lambda run: [*run, *more]


def ended(f: str, name: str, how: Any) -> Change:
    def change(run: list[Asked]) -> list[Asked]:
        return [
            one._replace(type=how, answer=None)
            if one.f == f and one.value["id"] == name
            else one
            for one in run
        ]

    return change


WRONGS: dict[str, tuple[str, Change]] = {
    "money from nowhere": (
        "total: ",
        instead("read", "accounts", values={**AGAIN, "5": "101:first"}),
    ),
    "half a transfer": (
        "total: ",
        instead("txn-read", "accounts", values={**AGAIN, "2": "100:first"}),
    ),
    "a missing account": (
        "fractured: ",
        instead("stale-read", "accounts", values={k: v for k, v in AGAIN.items() if k != "3"}),
    ),
    "two versions": (
        "fractured: ",
        instead("stale-read", "group", values={**group(3), "1": "v2"}),
    ),
    "pages of two revisions": ("pages: ", instead("paged-read", "group", revisions=[29, 30])),
    "an old value": ("stale: ", instead("past-read", "group", values=group(2))),
    "nothing where there is something": ("stale: ", instead("read", "group", values={})),
    "what came later": ("early: ", instead("past-read", "accounts", values=AGAIN, revision=15)),
    "what nobody wrote": ("phantom: ", instead("read", "group", values=group(9))),
    "a write that failed": ("resurrected: ", ended("version", "v3", "fail")),
    "what its writer wrote nowhere": (
        "phantom: ",
        instead("read", "accounts", values={**AGAIN, "1": "114:t2", "2": "96:t2"}),
    ),
    "what was not there first": (
        "phantom: ",
        instead("read", "accounts", values={**AGAIN, "4": "99:first", "5": "101:first"}),
    ),
    "what an unknown transfer does not touch": (
        "phantom: ",
        lambda run: [
            *run,
            Asked(60, "transfer", "", {"id": "t9", "from": "0", "to": "1"}, 12.0, None),
            read("stale-read", "accounts", 80.0, {**AGAIN, "5": "100:t9"}, 35),
        ],
    ),
    "an unknown value that returns": (
        "returned: ",
        lambda run: [
            *run,
            Asked(60, "version", "", {"id": "v9"}, 3.0, None),
            read("stale-read", "group", 80.0, group(9), 20),
            read("stale-read", "group", 81.0, group(9), 40),
        ],
    ),
    "nothing once more": (
        "returned: ",
        lambda run: [
            *(one for one in run if one.f != "transfer" and one.value.get("of") != "accounts"),
            read("stale-read", "accounts", 80.0, FIRST, 30),
            read("stale-read", "accounts", 81.0, {}, 31),
        ],
    ),
    "one revision as it is and as it may be": (
        "unrepeatable: ",
        lambda run: [
            *run,
            Asked(60, "version", "", {"id": "v9"}, 3.0, None),
            read("past-read", "group", 80.0, group(9), 30),
        ],
    ),
    "a linearizable read in pages of before": (
        "real time: ",
        also(read("paged-read", "group", 80.0, group(2), 21, stale=False, pages=[21, 21])),
    ),
    "a read that is no command of its own": (
        "real time: ",
        also(read("txn-read", "accounts", 80.0, AGAIN, 30 + OK_MIN)),
    ),
    "two writes at once": ("shared revision: ", also(version(9, 8.5, 22))),
    "a read of before": ("real time: ", also(read("read", "accounts", 80.0, AGAIN, 21))),
    "a write of before": ("real time: ", also(version(8, 80.0, 12))),
    "a member that differs": (
        "different: ",
        also(read("read-node", "accounts", 93.0, MOVED, 15, node="b")),
    ),
    "another member": (
        "elsewhere: ",
        also(read("read-node", "accounts", 94.0, AGAIN, 40, node="b")._replace(node="a")),
    ),
    "what was asked for later": (
        "early: ",
        lambda run: [
            *(one for one in run if one.value.get("id") != "v3"),
            Asked(53, "version", "", {"id": "v3"}, 95.0, None),
        ],
    ),
}


def test_a_sound_run_is_valid() -> None:
    """
    Also a read of before there was anything, and a stale one of the past.
    """
    found = judged(sound())

    assert (found.name, found.validity, found.complaints) == ("bank:reads", "valid", ())
    assert found.figures["overtaken"] == 1
    assert found.figures["failed_compares"] == 2


def test_what_nobody_knows_may_have_happened() -> None:
    """
    An unknown write may be read, from when it was asked for on.
    """
    unknown = [
        one._replace(end=None, answer=None) if one.value.get("id") == "v3" else one
        for one in sound()
    ]
    assert all("v3" not in text for text in judged(unknown).complaints)
    assert judged(unknown).validity != "invalid"


@pytest.mark.parametrize("what", WRONGS)
def test_each_way_to_be_wrong_is_named(what: str) -> None:
    """
    One thing is changed, and the checker says what that is.
    """
    name, change = WRONGS[what]
    found = judged(change(sound()))

    assert found.validity == "invalid"
    assert any(text.startswith(name) for text in found.complaints), found.complaints


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (lambda one: one.f != "txn-read", "0 of txn-read showed anything"),
        (lambda one: one.node != "b", "there is no last read of b"),
        (
            lambda one: one.f != "read" or one.value["of"] == "group" or one.began < 4.0,
            "the cluster was not asked for accounts",
        ),
        (lambda one: one.began != 7.0, "nobody wrote while a range was read"),
    ],
)
def test_too_little_shows_nothing(left: Any, said: str) -> None:
    """
    Such a run is not valid.
    """
    found = judged([one for one in sound() if left(one)])

    assert any(said in text for text in found.complaints), found.complaints
    assert found.validity != "valid"


def test_without_a_failed_compare_nothing_was_contended() -> None:
    """
    Then guards were never put to the test.
    """
    smooth = [
        one._replace(answer={**one.answer, "failed_compares": 0})
        if one.f == "transfer"
        else one
        for one in sound()
    ]
    assert judged(smooth).complaints == ("no compare ever failed",)


def test_what_is_no_read_is_refused() -> None:
    """
    A checker that skips what it does not know would pass anything.
    """
    with pytest.raises(MalformedHistory, match="no history of a bank"):
        judged([read("read", "accounts", 0.0, {}, 1)._replace(answer={})])
