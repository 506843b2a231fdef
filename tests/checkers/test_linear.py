"""The independent search on the register workload, with revisions hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers import linear, register
from jepsen_like.checkers.history import MalformedHistory, Operation
from jepsen_like.checkers.resolve import resolve
from jepsen_like.protocols import Record
from tests.checkers.brute import linearizable
from tests.checkers.simulated import changed, record, registers


def step(number: int, value: Any, result: Any, began: float, end: float | None) -> Operation:
    outcome: Any = "info" if end is None else "ok"
    return Operation(f"p{number}", "step", "x", value, outcome, result, began, end)


def read(number: int, result: Any, began: float, end: float) -> Operation:
    return Operation(f"p{number}", "read", "x", None, "ok", result, began, end)


def verdict(*operations: Operation, **options: Any) -> register.Verdict:
    made = sorted(operations, key=lambda one: one.invoked)
    [found] = register.check(made, initial={"x": linear.BEGINNING}, **options)
    assert (found.finding == "linearizable") is linearizable(made, linear.BEGINNING)
    return found


# --- the model -----------------------------------------------------------------


def test_steps_count() -> None:
    """
    Each is one more than the one before it, and the newest writer is read.
    """
    first, second = step(1, ("a", None), (True, 1), 0, 1), step(2, ("b", 1), (True, 2), 2, 3)

    assert verdict(read(0, (0, None), 0, 0.5), first, second, read(3, (2, "b"), 4, 5)).ok
    assert not verdict(first, second, read(3, (1, "a"), 4, 5)).ok
    assert not verdict(first, replace(second, result=(True, 3))).ok
    assert not verdict(first, read(3, (1, "b"), 4, 5)).ok


def test_a_step_that_expects_another_is_refused() -> None:
    """
    And says which one there is.
    """
    first = step(1, ("a", None), (True, 1), 0, 1)

    assert verdict(first, step(2, ("b", 0), (False, 1), 2, 3)).ok
    assert not verdict(first, step(2, ("b", 1), (False, 1), 2, 3)).ok
    assert not verdict(first, step(2, ("b", 0), (False, 2), 2, 3)).ok
    assert not verdict(first, step(2, ("b", 0), (True, 2), 2, 3)).ok


def test_many_steps_that_nobody_knows_of_cost_little() -> None:
    """
    Of those that nobody saw, the one that began first is taken first.
    """
    lost = [step(n, (f"l{n}", None), None, float(n), None) for n in range(30)]
    late = read(90, (29, "z"), 40, 41)

    found = verdict_only(*lost, late)

    assert found.finding == "illegal"
    assert found.steps < 10_000
    assert verdict_only(*lost, step(91, ("z", None), (True, 29), 50, 51)).ok


def verdict_only(*operations: Operation) -> register.Verdict:
    [found] = register.check(list(operations), initial={"x": linear.BEGINNING})
    return found


def test_steps_go_with_reads_only() -> None:
    """
    No register holds both a value and steps.
    """
    write = Operation("p", "write", "x", "1", "ok", None, 2, 3)
    with pytest.raises(MalformedHistory, match="does not know"):
        register.check([step(1, ("a", None), (True, 1), 0, 1), write])


@st.composite
def any_steps(draw: st.DrawFn) -> list[Operation]:
    """A few operations with any answers and any times: mostly wrong."""
    made = []
    for number in range(draw(st.integers(1, 6))):
        began = float(draw(st.integers(0, 10)))
        end = began + draw(st.integers(0, 6))
        seen = (draw(st.integers(0, 3)), draw(st.sampled_from([None, "i0", "i1", "i2"])))
        if draw(st.integers(0, 2)) == 0:
            made.append(read(number, seen, began, end))
            continue
        value = (f"i{number}", draw(st.sampled_from([None, None, 0, 1, 2])))
        swapped = value[1] is None or draw(st.booleans())
        if draw(st.integers(0, 2)) == 0:
            made.append(step(number, value, None, began, None))
        else:
            made.append(step(number, value, (swapped, draw(st.integers(0, 3))), began, end))
    return sorted(made, key=lambda one: one.invoked)


@given(any_steps())
def test_any_small_history_of_steps_is_judged_as_by_trying_everything(
    made: list[Operation],
) -> None:
    """
    The clever search and the plain one never differ.
    """
    verdict(*made)


# --- the checker ---------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 8))
def test_what_a_correct_store_did_is_linearizable(seed: int, count: int, clients: int) -> None:
    """
    Also without its revisions, and also where its log was not read.
    """
    run = registers(seed, count, clients)

    for one in (run, replace(run, log=())):
        found = linear.check(one)
        assert found.validity != "invalid", found.complaints
        assert found.validity == "valid" or not linear.operations(resolve(one, "register"))


@given(st.integers(0, 2**32), st.integers(2, 8), st.integers(1, 4), st.data())
def test_a_wrong_read_is_found_if_it_is_one(
    seed: int, count: int, clients: int, data: st.DataObject
) -> None:
    """
    One read of a good run answers something else; whether that is wrong says the plain
    search.
    """
    run = registers(seed, count, clients, keys=1)
    reads = [event.index for event in run.events if (event.type, event.f) == ("ok", "read")]
    if not reads:
        return
    at = data.draw(st.sampled_from(reads))
    writer = data.draw(st.sampled_from([None, *(f"r{n}" for n in range(count))]))
    value = {"step": data.draw(st.integers(0, 4)), "id": writer}
    run = changed(run, lambda event: event.index == at, lambda _: {"value": value})
    operations = linear.operations(resolve(run, "register"))

    found = linear.check(run)

    assert (found.validity == "valid") is linearizable(operations, linear.BEGINNING)


def wrong_run() -> Record:
    return changed(
        registers(5, 300),
        lambda event: (event.type, event.f) == ("ok", "read"),
        lambda _: {"value": {"step": 1, "id": "nobody"}},
    )


def test_a_violation_says_how_far_one_comes() -> None:
    """
    The longest explanation, and the operation that has no place after it, to be drawn.
    """
    found = linear.check(wrong_run())

    assert found.name == "register:linear"
    assert found.validity == "invalid"
    assert found.complaints[0].startswith("not linearizable: key ")
    [violation] = found.violations
    assert violation.stuck is not None
    assert violation.operations[violation.stuck].result == (1, "nobody")
    assert len(violation.longest) > 10
    assert violation.stuck not in violation.longest


def test_revisions_do_not_matter() -> None:
    """
    They may say what they like: nobody looks.
    """
    run = registers(5, 300)
    events = [replace(event, revision=0) for event in run.events]
    log = [replace(event, revision=event.position) for event in run.log]

    assert linear.check(replace(run, events=events, log=log)) == linear.check(run)


def test_a_search_that_is_cut_short_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One key is always begun; one whose search was cut short is no pass.
    """
    monkeypatch.setattr(register, "_CLOCK_EVERY", 1)

    found = linear.check(registers(5, 300), seconds_max=0.0)

    assert found.validity == "unknown"
    assert found.complaints[0].startswith("the search was cut short: key ")


def test_a_sample_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without time for all keys some are judged, and the summary says how many; which ones
    says the seed.
    """
    run = registers(5, 300, keys=9)
    found = linear.check(run, seconds_max=0.3)

    assert found.validity == "valid"
    assert "on a sample of 1 of 9 keys" in found.summary
    assert found.figures["keys_judged"] == 1
    assert linear.check(run, seconds_max=0.3).figures == found.figures


def test_nothing_to_judge_is_no_pass() -> None:
    """
    A run without operations has shown nothing.
    """
    assert linear.check(record()).validity == "unknown"
