"""The witness check: what a correct store did passes, and each way to be wrong is named."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers import linear, witness
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.checkers.resolve import resolve
from jepsen_like.history import NEMESIS, Event
from jepsen_like.protocols import LoggedEvent, Record
from tests.checkers import simulated
from tests.checkers.brute import linearizable
from tests.checkers.simulated import (
    Asked,
    Store,
    changed,
    events_of,
    in_order,
    record,
    registers,
    sample,
)

OPS_PER_SECOND_MIN = 50_000


def read(
    process: int, began: float, end: float, step: int, writer: Any, revision: int
) -> Asked:
    answer = {"step": step, "id": writer}
    return Asked(process, "read", "0", None, began, end, "ok", answer, revision, "a")


def small() -> Record:
    """Two writes, a cas that swaps and one that does not, reads of both kinds."""
    store = Store()
    for identity, expected in (("w1", None), ("c2", 1), ("w3", None)):
        store.commit("0", identity, expected)
    cas = {"id": "c2", "expected": 1}
    late = {"id": "c4", "expected": 1}
    stale = {"step": 1, "id": "w1"}
    stale_later = {"step": 2, "id": "c2"}
    return record(
        events_of(
            [
                Asked(5, "read", "0", None, 0.0, 0.5, "ok", {"step": 0, "id": None}, 0, "a"),
                Asked(0, "write", "0", {"id": "w1"}, 1, 2, "ok", {"step": 1}, 1, "a"),
                read(1, 3, 4, 1, "w1", 1),
                Asked(0, "cas", "0", cas, 5, 6, "ok", {"swapped": True, "step": 2}, 2, "a"),
                Asked(1, "cas", "0", late, 7, 8, "ok", {"swapped": False, "step": 2}, 0, "a"),
                Asked(2, "write", "0", {"id": "w3"}, 9, None),
                read(0, 10, 11, 3, "w3", 3),
                Asked(3, "stale-read", "0", None, 12, 13, "ok", stale, 1, "b"),
                Asked(3, "stale-read", "0", None, 14, 15, "ok", stale_later, 2, "b"),
                Asked(4, "write", "0", {"id": "f5"}, 16, 17, "fail"),
            ]
        ),
        store.log,
    )


def ok(f: str) -> Callable[[Event], bool]:
    return lambda event: event.type == "ok" and event.f == f


def swapped(event: Event) -> bool:
    return ok("cas")(event) and event.value["swapped"] is True


def told(**value: Any) -> Callable[[Event], dict[str, Any]]:
    return lambda event: {"value": {**event.value, **value}}


def at(revision: int) -> Callable[[Event], dict[str, Any]]:
    return lambda _: {"revision": revision}


def logged(run: Record, change: Callable[[list[LoggedEvent]], list[LoggedEvent]]) -> Record:
    return replace(run, log=change(list(run.log)))


def again(log: list[LoggedEvent]) -> list[LoggedEvent]:
    last = log[-1]
    after = replace(last, seq=last.seq + 1, step=last.step + 1, position=9, revision=9)
    return [*log, after]


def with_id(identity: str) -> Callable[[list[LoggedEvent]], list[LoggedEvent]]:
    return lambda log: [
        *again(log)[:-1],
        replace(again(log)[-1], data=json.dumps({"id": identity})),
    ]


def later(run: Record, *more: Asked) -> Record:
    """The run, and more operations after its end."""
    extra = [
        replace(event, index=len(run.events) + n) for n, event in enumerate(events_of(more))
    ]
    return replace(run, events=[*run.events, *extra])


def stale(step: int, writer: str, revision: int, process: int = 3, **more: Any) -> Asked:
    answer = {"step": step, "id": writer, **more}
    return Asked(process, "stale-read", "0", None, 20, 21, "ok", answer, revision, "b")


EARLY = {"swapped": False, "step": 1}
WRONGS: dict[str, tuple[str, Record]] = {
    "an old read": ("stale read: ", later(small(), read(0, 20, 21, 2, "c2", 2))),
    "a read that found nothing": (
        "stale read: ",
        later(small(), read(0, 20, 21, 0, None, 0)),
    ),
    "a read of another revision's state": (
        "wrong read: ",
        changed(small(), ok("read"), told(step=2, id="c2")),
    ),
    "a read of what never was": ("wrong read: ", changed(small(), ok("read"), told(id="x"))),
    "a stale read of another revision's state": (
        "wrong read: ",
        changed(small(), ok("stale-read"), told(step=1, id="w1")),
    ),
    "a stale read that goes back": ("stale reads go back: ", later(small(), stale(1, "w1", 1))),
    "a stale read that goes back for another process": (
        "stale reads go back: ",
        later(small(), stale(1, "w1", 1, process=8)),
    ),
    "a stale read that another member answered": (
        "answered elsewhere: ",
        later(small(), stale(3, "w3", 3, process=8, asked="a")),
    ),
    "a stale read that another member answered than before": (
        "answered elsewhere: ",
        later(small(), stale(3, "w3", 3)._replace(node="c")),
    ),
    "a stale read that finds nothing any more": (
        "stale order of stale reads: ",
        later(small(), stale(0, None, 0)),  # type: ignore[arg-type]
    ),
    "a stale read before the commit": (
        "dirty stale read: ",
        later(
            record(
                events_of(
                    [Asked(9, "stale-read", "1", None, 0, 1, "ok", {"step": 0, "id": None}, 7)]
                ),
                small().log,
            ),
            read(0, 20, 21, 3, "w3", 3),
        ),
    ),
    "a lost write": ("lost: ", logged(small(), lambda log: log[1:])),
    "a resurrected write": ("resurrected: ", logged(small(), with_id("f5"))),
    "a refused cas that happened": ("resurrected: ", logged(small(), with_id("c4"))),
    "a write that happened twice": ("double: ", logged(small(), again)),
    "a write of nobody": ("stranger: ", logged(small(), with_id("x"))),
    "a step that is somewhere else": ("moved: ", changed(small(), ok("write"), told(step=2))),
    "a cas at another step": (
        "wrong expected: ",
        changed(
            small(),
            lambda event: event.type == "invoke" and event.value == {"id": "c2", "expected": 1},
            told(expected=0),
        ),
    ),
    "a step that was left out": ("wrong step: ", changed(small(), ok("write"), told(step=2))),
    "two writes in one place": ("shared revision: ", changed(small(), swapped, at(1))),
    "a write before one that had ended": (
        "order: ",
        changed(small(), swapped, at(1)),
    ),
    "an answer from nowhere": ("unplaced: ", changed(small(), ok("write"), at(0))),
    "a refusal for no reason": ("wrong refusal: ", changed(small(), ok("cas"), told(step=1))),
    "a refusal at a step that never was": (
        "wrong refusal: ",
        changed(small(), ok("cas"), told(step=8)),
    ),
    "a refusal of the past": (
        "stale refusal: ",
        later(
            small(),
            Asked(0, "cas", "0", {"id": "c6", "expected": 7}, 20, 21, "ok", EARLY, 0, "a"),
        ),
    ),
}


def test_a_run_of_every_kind_of_operation_passes() -> None:
    """
    Its figures say what there was, and what became of the unknown.
    """
    found = witness.check(small())

    assert found.validity == "valid", found.complaints
    assert found.name == "register:witness"
    assert found.figures == {
        "operations": 9,
        "write": 3,
        "read": 3,
        "stale-read": 2,
        "refusal": 1,
        "acknowledged": 2,
        "refused": 2,
        "unknown": 1,
        "unknown_happened": 1,
        "lost": 0,
        "resurrected": 0,
        "double": 0,
    }


@pytest.mark.parametrize("what", WRONGS)
def test_each_way_to_be_wrong_is_named(what: str) -> None:
    """
    One thing is changed, and the checker says what that is.
    """
    name, run = WRONGS[what]

    found = witness.check(run)

    assert found.validity == "invalid"
    assert any(text.startswith(name) for text in found.complaints), found.complaints


def test_stale_reads_at_one_member_may_overlap() -> None:
    """
    One that was asked for before the other one was answered may show less, and one at
    another member anything; what is told of the member that was asked is right.
    """
    newer = stale(3, "w3", 3, process=8, asked="b")
    older = stale(2, "c2", 2, process=9, asked="b")
    overlaps = older._replace(began=20.5, end=22)
    touches = older._replace(began=21.0, end=22)
    after = older._replace(began=21.5, end=22)

    def found(*more: Asked) -> str:
        return witness.check(later(small(), newer, *more)).validity

    assert found(overlaps) == found(touches) == "valid"
    assert found(after._replace(node="c", answer=stale(2, "c2", 2).answer)) == "valid"
    assert found(after) == "invalid"


def test_a_member_that_lost_its_power_may_show_the_past_again() -> None:
    """
    A state that is made anew begins with less; one that was kept goes on where it was.
    """
    back = later(small(), stale(1, "w1", 1))
    when = back.events[-2].time - 0.01
    kept = sample(when + 1, "b", 9, uptime_ms=1_000, state_found="kept state-1")
    anew = replace(
        kept, state_found="the machine went down: state-2 begins with the empty state"
    )
    lost_power = Event(0, when, "invoke", NEMESIS, "nemesis", "power-loss-some", "begin")
    shutdown = replace(lost_power, f="kill-all")

    def found(run: Record) -> str:
        return witness.check(run).validity

    assert found(replace(back, samples=[kept])) == "invalid"
    assert found(replace(back, samples=[replace(anew, uptime_ms=999_000)])) == "invalid"
    assert found(replace(back, samples=[anew])) == "valid"
    assert found(replace(back, events=in_order([*back.events, shutdown]))) == "invalid"
    assert found(replace(back, events=in_order([*back.events, lost_power]))) == "valid"


def test_what_is_wrong_can_be_drawn() -> None:
    """
    A violation holds the operation and those of its key around it.
    """
    [violation] = witness.check(WRONGS["an old read"][1]).violations

    assert violation.key == "0"
    assert violation.stuck is not None
    assert violation.operations[violation.stuck].result == (2, "c2")
    assert len(violation.operations) == 11


def test_a_log_that_was_not_read_leaves_it_open() -> None:
    """
    What the registers held is not known then, but the order of time still is.
    """
    assert witness.check(replace(small(), log=())).validity == "unknown"
    assert witness.check(record()).validity == "unknown"
    wrong = later(small(), read(0, 20, 21, 2, "c2", 2))
    found = witness.check(replace(wrong, log=()))
    assert found.validity == "invalid"
    assert found.complaints[0].startswith("stale read: ")


def test_what_is_no_operation_of_a_register_is_refused() -> None:
    """
    A checker that skips what it does not know would pass anything.
    """
    with pytest.raises(MalformedHistory, match="does not know 'append'"):
        witness.check(record(events_of([Asked(0, "append", "0", None, 0, 1)]), small().log))
    with pytest.raises(MalformedHistory, match="no operation of a register"):
        witness.check(record(events_of([Asked(0, "read", "0", None, 0, 1)]), small().log))


# --- against what is right by construction, and against trying everything --------------


@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 8), st.integers(1, 3))
def test_what_a_correct_store_did_always_passes(
    seed: int, count: int, clients: int, keys: int
) -> None:
    """
    With unknown outcomes, failures, stale reads and refusals.
    """
    run = registers(seed, count, clients, keys)

    found = witness.check(run)

    assert not [
        text
        for text in found.complaints
        if "not read" not in text and "no operation" not in text
    ]
    assert found.validity in ("valid", "unknown")


@given(st.integers(0, 2**32), st.integers(2, 7), st.integers(1, 4), st.data())
def test_what_passes_is_linearizable(
    seed: int, count: int, clients: int, data: st.DataObject
) -> None:
    """
    One answer of a good run is changed in any way; if the revisions still explain it, so
    does some order that the plain search finds.
    """
    run = registers(seed, count, clients, keys=1)
    answers = [event for event in run.events if event.type == "ok"]
    if answers:
        one = data.draw(st.sampled_from(answers))
        step, revision = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 8))
        writer = data.draw(st.sampled_from([None, *(f"r{n}" for n in range(count))]))
        value = {**one.value, "step": step} | ({"id": writer} if "id" in one.value else {})
        run = changed(
            run,
            lambda event: event.index == one.index,
            lambda _: {"value": value, "revision": revision},
        )

    if witness.check(run).validity == "valid":
        operations = linear.operations(resolve(run, "register"))
        assert linearizable(operations, linear.BEGINNING)


def test_it_is_fast() -> None:
    """
    A soak is judged in seconds. The best of three counts: others use the machine too.
    """
    run = registers(1, 20_000, clients=12, keys=100)
    gc.freeze()  # what other tests left behind is not to be walked through
    seconds = []
    for _ in range(3):
        began = time.process_time()
        assert witness.check(run).validity == "valid"
        seconds.append(time.process_time() - began)

    gc.unfreeze()
    rate = 20_000 / min(seconds)
    assert rate >= OPS_PER_SECOND_MIN, f"{rate:.0f} operations a second"


def test_the_simulation_has_every_kind() -> None:
    """
    A generator that leaves something out would prove nothing of it.
    """
    run = registers(3, 400)
    figures = witness.check(run).figures

    assert min(figures[kind] for kind in witness.KINDS) > 20
    assert 0 < figures["unknown_happened"] < figures["unknown"]
    assert any(event.type == "fail" for event in run.events)
    assert run.nodes == simulated.NODES
