"""The search for cycles: each anomaly is named, and nothing else is; and it is quick."""

from __future__ import annotations

import gc
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers import cycles
from jepsen_like.checkers.cycles import Micro, Transaction, infer, misplaced
from jepsen_like.checkers.history import MalformedHistory, Outcome
from jepsen_like.protocols import Record
from tests.checkers.brute import serializable
from tests.checkers.simulated import Asked, events_of, record

OPS_PER_SECOND_MIN = 8_000
OUTCOMES: tuple[Outcome, ...] = ("ok", "ok", "ok", "info", "fail")


def r(key: str, *seen: int) -> Micro:
    return Micro("r", key, seen)


def append(key: str, element: int) -> Micro:
    return Micro("append", key, element)


def one(
    name: str,
    *micros: Micro,
    at: tuple[float, float] = (0.0, 100.0),
    outcome: Outcome = "ok",
    revision: int = 0,
) -> Transaction:
    """A transaction that overlaps every other, unless it is told when it was."""
    ended = at[1] if outcome == "ok" else None
    return Transaction(name, outcome, micros, at[0], ended, revision)


def complaints(*transactions: Transaction) -> list[str]:
    found = infer(transactions)
    return [*found.wrong, *cycles.cycles(found)]


FIRST, SECOND = (0.0, 1.0), (2.0, 3.0)
# What each is called, and the transactions that show it.
ANOMALIES: dict[str, tuple[str, list[Transaction]]] = {
    "writes in two orders": (
        "G0: ",
        [
            one("A", append("x", 1), append("y", 1_0)),
            one("B", append("x", 2), append("y", 2_0)),
            one("C", r("x", 1, 2), r("y", 2_0, 1_0)),
        ],
    ),
    "writes against real time": (
        "G0-realtime: ",
        [
            one("A", append("x", 1), at=FIRST),
            one("B", append("x", 2), at=SECOND),
            one("C", r("x", 2, 1), at=(4.0, 5.0)),
        ],
    ),
    "two that read each other": (
        "G1c: ",
        [one("A", append("x", 1), r("y", 2)), one("B", append("y", 2), r("x", 1))],
    ),
    "a read of what comes later": (
        "G1c-realtime: ",
        [one("A", r("x", 1), at=FIRST), one("B", append("x", 1), at=SECOND)],
    ),
    "a lost update": (
        "G-single: ",
        [
            one("A", r("x"), append("x", 1)),
            one("B", r("x"), append("x", 2)),
            one("C", r("x", 1, 2)),
        ],
    ),
    "a fractured read": (
        "G-single: ",
        [one("A", append("x", 1), append("y", 2)), one("B", r("x", 1), r("y"))],
    ),
    "a stale read": (
        "G-single-realtime: ",
        [one("A", append("x", 1), at=FIRST), one("B", r("x"), at=SECOND)],
    ),
    "a lost append that nobody has read": (
        "G-single-realtime: ",
        [
            one("A", append("x", 1), at=FIRST),
            one("B", append("x", 2), at=SECOND),
            one("C", r("x", 1), at=(4.0, 5.0)),
        ],
    ),
    "a write skew": (
        "G2: ",
        [one("A", r("x"), append("y", 1)), one("B", r("y"), append("x", 2))],
    ),
    "a write skew against real time": (
        "G2-realtime: ",
        [
            one("A", r("x"), append("y", 1), at=(0.0, 9.0)),
            one("B", append("x", 2), at=(0.0, 2.0)),
            one("C", r("y"), at=(3.0, 9.0)),
        ],
    ),
    "a read of what failed": (
        "G1a: ",
        [one("A", append("x", 1), outcome="fail"), one("B", r("x", 1))],
    ),
    "a read of half a transaction": (
        "G1b: ",
        [one("A", append("x", 1), append("x", 2)), one("B", r("x", 1)), one("C", r("x", 1, 2))],
    ),
    "reads that no order explains": (
        "incompatible order: ",
        [
            one("A", append("x", 1)),
            one("B", append("x", 2)),
            one("C", r("x", 1)),
            one("D", r("x", 2)),
        ],
    ),
    "an element twice": (
        "duplicate: ",
        [one("A", append("x", 1)), one("B", r("x", 1, 1))],
    ),
    "an element of nobody": ("phantom: ", [one("A", r("x", 7))]),
    "an element of another list": (
        "phantom: ",
        [one("A", append("y", 7)), one("B", r("x", 7))],
    ),
    "a transaction taken apart": (
        "torn: ",
        [
            one("A", append("x", 1), append("x", 2)),
            one("B", append("x", 3)),
            one("C", r("x", 1, 3, 2)),
        ],
    ),
    "a transaction that does not see itself": (
        "internal: ",
        [one("A", append("x", 1), r("x"))],
    ),
    "a transaction that finds what it appends": (
        "internal: ",
        [one("A", append("x", 1), r("x", 1, 1))],
    ),
    "a transaction that reads what it appends later": (
        "internal: ",
        [one("A", r("x", 1), append("x", 1))],
    ),
    "a transaction that reads two states": (
        "internal: ",
        [one("A", r("x"), r("x", 1)), one("B", append("x", 1))],
    ),
    "half of what nobody knows": (
        "G-single: ",
        [
            one("A", append("x", 1), append("y", 2), outcome="info"),
            one("B", r("x", 1), r("y")),
        ],
    ),
}


@pytest.mark.parametrize("what", ANOMALIES)
def test_each_anomaly_is_named(what: str) -> None:
    """
    The first complaint says what it is, and who took part.
    """
    name, transactions = ANOMALIES[what]
    found = complaints(*transactions)

    assert found, "nothing was found"
    assert any(text.startswith(name) for text in found), found
    assert not serializable(transactions)


def test_a_cycle_is_told_as_a_way_around() -> None:
    """
    Each transaction with what it did, and how the next one depends on it.
    """
    [found] = complaints(*ANOMALIES["a write skew"][1])

    assert found in (
        "G2: A [r x [] append y 1] rw -> B [r y [] append x 2] rw -> A [r x [] append y 1]",
        "G2: B [r y [] append x 2] rw -> A [r x [] append y 1] rw -> B [r y [] append x 2]",
    )


def test_a_minimal_cycle_is_shown() -> None:
    """
    Of many that depend on each other, the two that suffice.
    """
    chain = [one(f"T{n}", r("x", *range(n)), append("x", n)) for n in range(20)]
    [found] = complaints(*chain, one("old", r("x", *range(20)), append("y", 99), r("z")))[
        :1
    ] or [""]
    assert found == ""
    stale = one("stale", r("x", *range(18)), at=(200.0, 201.0))
    [found] = complaints(*chain, stale)

    assert found.startswith("G-single-realtime: ")
    assert found.count(" -> ") == 2


def test_an_element_that_is_appended_twice_is_no_history() -> None:
    """
    Nothing could be told from reads of it.
    """
    with pytest.raises(MalformedHistory, match="appended twice"):
        infer([one("A", append("x", 1)), one("B", append("x", 1))])


# --- against what is right by construction, and against trying everything --------------


@st.composite
def tiny(draw: st.DrawFn) -> list[Transaction]:
    """A few transactions on two lists that were done in some order; and then perhaps what
    one of them read is not what it read."""
    count = draw(st.integers(2, 5))
    lists: dict[str, tuple[int, ...]] = {}
    done: list[Transaction] = []
    element = 0
    for number in range(count):
        micros = []
        base, outcome = dict(lists), draw(st.sampled_from(OUTCOMES))
        for f, key in draw(
            st.lists(
                st.tuples(st.sampled_from("ra"), st.sampled_from("xy")), min_size=1, max_size=3
            )
        ):
            if f == "a":
                element += 1
                base[key] = (*base.get(key, ()), element)
                micros.append(append(key, element))
            else:
                micros.append(Micro("r", key, base.get(key, ())))
        if outcome == "ok" or (outcome == "info" and draw(st.booleans())):
            lists = base
        began = number - draw(st.integers(0, 2)) * 0.9
        ended = number + 0.1 + draw(st.integers(0, 2)) * 0.9
        done.append(one(f"T{number}", *micros, at=(began, ended), outcome=outcome))
    if draw(st.booleans()):
        who = draw(st.integers(0, count - 1))
        done[who] = _lied(draw, done[who], list(range(1, element + 1)))
    return sorted(done, key=lambda transaction: transaction.began)


def _lied(draw: st.DrawFn, told: Transaction, elements: list[int]) -> Transaction:
    micros = list(told.micros)
    reads = [place for place, micro in enumerate(micros) if micro.f == "r"]
    if reads:
        place = draw(st.sampled_from(reads))
        seen: Any = draw(st.lists(st.sampled_from(elements or [1]), max_size=3))
        micros[place] = micros[place]._replace(value=tuple(seen))
    return replace(told, micros=tuple(micros))


@given(tiny())
def test_it_agrees_with_trying_every_order(transactions: list[Transaction]) -> None:
    """
    Whatever was done and whatever was told: both say the same.
    """
    assert (not complaints(*transactions)) == serializable(transactions), complaints(
        *transactions
    )


# --- revisions -----------------------------------------------------------------------

PLACED = [
    one("A", append("x", 1), at=(0.0, 1.0), revision=5),
    one("B", r("x", 1), append("x", 2), at=(2.0, 3.0), revision=7),
    one("C", r("x", 1, 2), at=(4.0, 5.0), revision=9),
    replace(one("D", r("x", 1, 2), at=(6.0, 7.0), revision=9), is_read=True),
]
MISPLACED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "no revision": ("unplaced: ", 0, {"revision": 0}),
    "one for two": ("shared revision: ", 1, {"revision": 5}),
    "elements that go back": ("order: ", 1, {"revision": 4}),
    "a read of what comes later": ("early: ", 2, {"revision": 6}),
    "a read that misses": ("missed: ", 2, {"micros": (r("x", 1),)}),
    "an end before a begin": ("real time: ", 0, {"revision": 8}),
    "an old read": ("real time: ", 3, {"revision": 8}),
}


def test_revisions_that_are_an_order_are_right() -> None:
    """
    A read that is no command may share the revision that it shows.
    """
    assert list(misplaced(infer(PLACED))) == []


@pytest.mark.parametrize("what", MISPLACED)
def test_each_revision_that_is_wrong_is_named(what: str) -> None:
    """
    One thing is changed, and the checker says what that is.
    """
    name, who, change = MISPLACED[what]
    wrong = [replace(t, **change) if n == who else t for n, t in enumerate(PLACED)]
    found = list(misplaced(infer(wrong)))

    assert any(text.startswith(name) for text in found), found


# --- the verdicts ----------------------------------------------------------------------


def asked(
    number: int, began: float, ops: list[Any], answer: list[Any] | None, revision: int = 0
) -> Asked:
    value = {"id": f"a{number}", "ops": ops}
    told = None if answer is None else {"ops": answer, "failed_compares": number % 2}
    outcome: Outcome = "info" if answer is None else "ok"
    end = None if answer is None else began + 0.5
    return Asked(number, "txn", "", value, began, end, outcome, told, revision, "a")


def whole() -> list[Asked]:
    """Appends one after the other, the last of unknown outcome; and the last reads."""
    done = [
        asked(n, float(n), [["append", "0.0", n]], [["append", "0.0", n]], 10 + n)
        for n in range(cycles.OK_MIN)
    ]
    done.append(asked(90, 30.0, [["append", "0.0", 90]], None))
    lists = {"0.0": [*range(cycles.OK_MIN), 90]}
    last = Asked(91, "read-all", "", None, 40.0, 41.0, "ok", {"lists": lists}, 99, "a")
    nodes = [
        Asked(
            92 + n,
            "read-node",
            "",
            {"node": node},
            42.0 + n,
            42.5 + n,
            "ok",
            {"lists": lists},
            99,
            node,
        )
        for n, node in enumerate(("a", "b"))
    ]
    return [*done, last, *nodes]


def judged(run: list[Asked]) -> tuple[Record, list[str]]:
    made = [replace(event, workload="append") for event in events_of(run)]
    found = record(made)
    found = replace(found, nodes=("a", "b"))
    return found, [text for one_ in cycles.check(found) for text in one_.complaints]


def test_a_sound_run_is_valid() -> None:
    """
    What nobody knew of is known by the last reads.
    """
    run, said = judged(whole())

    assert said == []
    first, second = cycles.check(run)
    assert (first.name, first.validity) == ("append:cycles", "valid")
    assert (second.name, second.validity) == ("append:witness", "valid")
    assert first.figures["unknown_happened"] == 1
    assert first.figures["failed_compares"] == 10


def test_what_is_missing_in_the_end_is_lost() -> None:
    """
    As the cluster says it, and as each member does.
    """
    run = whole()
    lists = {"0.0": [n for n in range(cycles.OK_MIN) if n != 7]}
    _, lost = judged(
        [
            one_._replace(answer={"lists": lists}) if one_.f.startswith("read") else one_
            for one_ in run
        ]
    )
    _, differ = judged([*run[:-1], run[-1]._replace(answer={"lists": lists})])
    _, elsewhere = judged([*run[:-1], run[-1]._replace(node="a")])

    assert any(text.startswith("lost: 7 of a7") for text in lost)
    assert any(text.startswith("different: b ") for text in differ)
    assert any(text.startswith("elsewhere: ") for text in elsewhere)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (lambda run: run[5:], "transactions were acknowledged"),
        (lambda run: run[:-1], "there is no last read of b"),
        (
            lambda run: [one for one in run if one.f != "read-all"],
            "there is no last read of all lists",
        ),
        (
            lambda run: [
                one_._replace(answer={**one_.answer, "failed_compares": 0})
                if one_.f == "txn" and one_.answer
                else one_
                for one_ in run
            ],
            "no compare ever failed",
        ),
    ],
)
def test_too_little_shows_nothing(left: Any, said: str) -> None:
    """
    Such a run is not valid.
    """
    run, texts = judged(left(whole()))

    assert any(said in text for text in texts), texts
    assert all(one_.validity != "valid" for one_ in cycles.check(run))


def test_what_is_no_transaction_is_refused() -> None:
    """
    A checker that skips what it does not know would pass anything.
    """
    with pytest.raises(MalformedHistory, match="no history of transactions"):
        judged([whole()[0]._replace(value={"id": "a0"})])


# --- how quick it is -------------------------------------------------------------------


def long(count: int) -> list[Transaction]:
    """A sound history, ten at a time, of lists that are left before they are long."""
    lists: dict[str, tuple[int, ...]] = {}
    draws, done, element = random.Random(3), [], 0
    for number in range(count):
        micros = []
        for _ in range(draws.randint(1, 4)):
            key = f"{number // 150}.{draws.randrange(10)}"
            if draws.random() < 0.5:
                element += 1
                lists[key] = (*lists.get(key, ()), element)
                micros.append(append(key, element))
            else:
                micros.append(Micro("r", key, lists.get(key, ())))
        at = (number - draws.random() * 10, number + draws.random() * 10)
        done.append(one(f"T{number}", *micros, at=at, revision=number + 1))
    return sorted(done, key=lambda transaction: transaction.began)


def test_it_is_quick() -> None:
    """
    A hundred thousand transactions are judged in some seconds.
    """
    count = 20_000
    history = long(count)
    gc.collect()
    began = time.process_time()
    found = infer(history)
    assert [*found.wrong, *cycles.cycles(found), *misplaced(found)] == []
    seconds = time.process_time() - began

    assert count / seconds > OPS_PER_SECOND_MIN
