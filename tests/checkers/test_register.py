"""The checker of registers against known histories, and against trying everything."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers import register
from jepsen_like.checkers.history import MalformedHistory, Operation
from jepsen_like.checkers.register import Verdict
from tests.checkers.brute import linearizable


def history(*lines: str) -> list[Operation]:
    """Operations from lines such as `w 1 [0 2]`, `r -> 1 [1 3]`, `c 1 2 -> no [1 3]`,
    `w 3 [1 ?` for an unknown outcome and `w 3 [1 x2]` for one that failed."""
    made = [_operation(number, line) for number, line in enumerate(lines)]
    return sorted(made, key=lambda one: one.invoked)


def _operation(number: int, line: str) -> Operation:
    asked, _, times = line.partition("[")
    asked, _, said = asked.partition("->")
    kind, *values = asked.split()
    began, end = times.rstrip("]").split()
    value: Any = values[0] if kind == "w" else tuple(_none(one) for one in values)
    outcome: Any = "info" if end == "?" else "fail" if end[0] == "x" else "ok"
    result: Any = None
    if outcome == "ok" and kind == "r":
        result = _none(said.strip())
    elif outcome == "ok" and kind == "c":
        result = said.strip() == "yes"
    return Operation(
        f"p{number}",
        {"w": "write", "r": "read", "c": "cas"}[kind],
        "x",
        None if kind == "r" else value,
        outcome,
        result,
        float(began),
        None if end == "?" else float(end.lstrip("x")),
    )


def _none(word: str) -> str | None:
    return None if word == "nil" else word


def verdict(operations: Sequence[Operation], **options: Any) -> Verdict:
    (found,) = register.check(operations, **options)
    return found


GOOD = {
    "nothing was there": history("r -> nil [0 1]", "w 1 [2 3]", "r -> 1 [4 5]"),
    "a read beside a write sees either": history(
        "w 1 [0 9]", "r -> nil [1 2]", "r -> 1 [3 4]", "r -> 1 [5 6]"
    ),
    "moments that touch overlap": history("w 1 [0 1]", "w 2 [1 2]", "r -> 1 [2 3]"),
    "unknown happens late": history("w 1 [0 1]", "w 2 [2 ?", "r -> 1 [3 4]", "r -> 2 [8 9]"),
    "unknown never happens": history("w 1 [0 1]", "w 2 [2 ?", "r -> 1 [3 4]"),
    "unknown comparison happens": history("w 1 [0 1]", "c 1 2 [2 ?", "r -> 2 [8 9]"),
    "a failed write is none": history("w 1 [0 1]", "w 2 [2 x3]", "r -> 1 [4 5]"),
    "one of two comparisons wins": history(
        "c nil 1 -> yes [0 5]", "c nil 2 -> no [0 5]", "r -> 1 [6 7]"
    ),
    "a comparison lost to an unseen write": history(
        "w 1 [0 1]", "w 9 [1.5 ?", "c 1 2 -> no [2 3]", "r -> 9 [4 5]"
    ),
}

BAD = {
    "stale read": history("w 1 [0 1]", "w 2 [2 3]", "r -> 1 [4 5]"),
    "lost update": history(
        "w 1 [0 1]", "c 1 2 -> yes [2 3]", "c 1 3 -> yes [2 3]", "r -> 3 [4 5]"
    ),
    "lost write": history("w 1 [0 1]", "r -> nil [2 3]"),
    "split brain": history(
        "w 1 [0 1]", "w 2 [2 3]", "r -> 1 [4 5]", "r -> 2 [4 5]", "r -> 1 [6 7]", "r -> 2 [8 9]"
    ),
    "a read goes back": history("w 1 [0 9]", "r -> 1 [1 2]", "r -> nil [3 4]"),
    "two readers of two orders": history(
        *("w 1 [0 1]", "w 2 [0 1]"),
        *("r -> 1 [2 3]", "r -> 2 [4 5]", "r -> 2 [2 3]", "r -> 1 [4 5]"),
    ),
    "a value from nowhere": history("w 1 [0 1]", "r -> 7 [2 3]"),
    "a failed write is read": history("w 2 [0 x1]", "r -> 2 [2 3]"),
    "read before it was asked for": history("r -> 1 [0 1]", "w 1 [2 ?"),
    "unknown happens twice": history(
        "w 2 [0 ?", "r -> 2 [1 2]", "w 3 [3 4]", "r -> 3 [5 6]", "r -> 2 [7 8]"
    ),
    "a comparison that should have held": history("w 1 [0 1]", "c 1 2 -> no [2 3]"),
    "two comparisons of nothing": history("c nil 1 -> yes [0 1]", "c nil 2 -> yes [0 1]"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_with_an_explanation_passes(name: str) -> None:
    """
    Some order of the operations answers as they were answered.
    """
    assert linearizable(GOOD[name])
    assert verdict(GOOD[name]).ok


@pytest.mark.parametrize("name", BAD)
def test_a_classic_anomaly_is_found(name: str) -> None:
    """
    No order does, and the verdict says how far one comes and what has no place.
    """
    found = verdict(BAD[name])

    assert not linearizable(BAD[name])
    assert found.finding == "illegal"
    assert found.stuck in BAD[name]
    assert len(found.longest) < len(BAD[name])
    assert "there is no place for" in str(found)


def test_the_longest_explanation_stops_where_it_went_wrong() -> None:
    """
    What is shown is the order that comes furthest, and the operation after it.
    """
    found = verdict(BAD["stale read"])

    assert [one.value for one in found.longest] == ["1", "2"]
    assert found.stuck is not None
    assert (found.stuck.kind, found.stuck.result) == ("read", "1")


def test_keys_are_judged_apart() -> None:
    """
    Each key has its verdict, and its own beginning.
    """
    good = history("r -> nil [0 1]", "w 1 [2 3]")
    bad = [replace(one, key="y", process=f"y{one.process}") for one in good]
    both = sorted([*good, *bad], key=lambda one: one.invoked)

    found = register.check(both, initial={"y": "7"})

    assert [(one.key, one.ok) for one in found] == [("x", True), ("y", False)]


def test_sums_count_from_what_is_there() -> None:
    """
    Each sum was there once; one with an unknown outcome may be missing, or not.
    """

    def add(number: int, began: float, result: int | None) -> Operation:
        outcome: Any = "info" if result is None else "ok"
        end = None if result is None else began + 1
        return Operation(f"p{number}", "add", "x", 1, outcome, result, began, end)

    told, lost, late = add(0, 0.0, 6), add(1, 0.5, None), add(2, 2.0, 8)

    assert verdict([told, lost, late], initial={"x": 5}).ok
    assert not verdict([told, late], initial={"x": 5}).ok
    assert verdict([told, replace(late, result=7)], initial={"x": 5}).ok
    assert not verdict([told, replace(late, result=6)], initial={"x": 5}).ok


def test_many_unknown_outcomes_cost_little() -> None:
    """
    Those that would do the same are taken in the order in which they began: forty of
    them would otherwise be a million million subsets.
    """
    lost = [f"w {number} [{number} ?" for number in range(40)]
    sums = [
        Operation(f"q{n}", "add", "s", 1, "info", None, float(n), None) for n in range(40)
    ] + [Operation("q", "read", "s", None, "ok", 41, 50.0, 51.0)]
    writes = history(*lost, "w a [50 51]", "r -> b [52 53]", "c b c -> no [54 55]")

    assert verdict(writes).finding == "illegal"
    assert verdict(writes).steps < 10_000
    assert verdict(sums).finding == "illegal"
    assert verdict(sums).steps < 10_000


def test_a_search_that_is_cut_short_is_no_pass() -> None:
    """
    Its verdict is unknown, by steps or by time.
    """
    hard = history(
        *(f"w {number} [0 9]" for number in range(12)),
        *(f"r -> {number} [{10 + number} {20 + number}]" for number in range(12)),
    )

    assert verdict(hard, steps_max=100).finding == "unknown"
    assert verdict(hard, seconds_max=0.0).finding == "unknown"
    assert not verdict(hard, steps_max=100).ok
    assert "unknown after 101 steps" in str(verdict(hard, steps_max=100))


@pytest.mark.parametrize("outcome", ["ok", "fail", "info"])
def test_what_is_no_operation_of_a_register_is_refused(outcome: Any) -> None:
    """
    However it ended: a checker that skips what it does not know would pass anything.
    """
    end = None if outcome == "info" else 1.0
    with pytest.raises(MalformedHistory, match="does not know"):
        register.check([Operation("p", "append", "x", "1", outcome, None, 0.0, end)])


# --- against trying everything -----------------------------------------------


@st.composite
def any_history(draw: st.DrawFn) -> list[Operation]:
    """A few operations with any answers and any times: mostly wrong."""
    count = draw(st.integers(1, 6))
    made = []
    for number in range(count):
        kind = draw(st.sampled_from(["read", "write", "write", "cas", "add"]))
        began = draw(st.integers(0, 12))
        outcome: Any = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
        value: Any = None
        result: Any = None
        small = st.integers(0, 2)
        match kind:
            case "read":
                result = draw(small)
            case "write":
                value = draw(small)
            case "cas":
                value, result = (draw(small), draw(small)), draw(st.booleans())
            case "add":
                value, result = 1, draw(st.integers(1, 3))
        end = None if outcome == "info" else float(began + draw(st.integers(0, 6)))
        result = result if outcome == "ok" else None
        made.append(
            Operation(f"p{number}", kind, "x", value, outcome, result, float(began), end)
        )
    return sorted(made, key=lambda one: one.invoked)


@given(any_history())
def test_any_small_history_is_judged_as_by_trying_everything(made: list[Operation]) -> None:
    """
    The clever search and the plain one never differ.
    """
    assert verdict(made, initial={"x": 0}).ok == linearizable(made, 0)


def atomic_history(seed: int, count: int, clients: int) -> list[Operation]:
    """What clients would record of a register that does one thing at a time: each
    operation happens at a moment, and its interval lies around that moment. Some outcomes
    are not known; of these some happened, and some did not."""
    rng = random.Random(seed)
    value: Any = 0
    moment = 0.0
    made: list[Operation] = []
    free_at = dict.fromkeys(range(clients), 0.0)
    lives = dict.fromkeys(range(clients), 1)
    for _ in range(count):
        moment = max(moment, min(free_at.values())) + rng.random() + 0.01
        client = rng.choice([one for one, free in free_at.items() if free < moment])
        began = rng.uniform(max(free_at[client], moment - 4), moment)
        kind = rng.choice(["read", "read", "write", "cas", "add"])
        asked = {"read": None, "write": rng.randrange(4), "add": 1}
        argument: Any = asked.get(kind, (rng.randrange(4), rng.randrange(4)))
        process = f"{client}#{lives[client]}"
        lost = Operation(process, kind, "x", argument, "info", None, began, None)
        if rng.random() < 0.15:
            made.append(lost)
            free_at[client] = began
            lives[client] += 1
            if rng.random() < 0.5:
                _, value = _on_register(kind, argument, value)
        else:
            result, value = _on_register(kind, argument, value)
            free_at[client] = end = moment + rng.random() * 4
            made.append(replace(lost, outcome="ok", result=result, completed=end))
    return sorted(made, key=lambda one: one.invoked)


def _on_register(kind: str, argument: Any, value: Any) -> tuple[Any, Any]:
    if kind == "read":
        return value, value
    if kind == "write":
        return None, argument
    if kind == "add":
        return value + argument, value + argument
    return value == argument[0], argument[1] if value == argument[0] else value


@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 8))
def test_what_an_atomic_register_did_is_always_linearizable(
    seed: int, count: int, clients: int
) -> None:
    """
    Also with outcomes that nobody knows.
    """
    found = verdict(atomic_history(seed, count, clients), initial={"x": 0})

    assert found.ok, str(found)


@given(st.integers(0, 2**32), st.integers(2, 7), st.integers(1, 4), st.data())
def test_a_wrong_read_is_found_if_it_is_one(
    seed: int, count: int, clients: int, data: st.DataObject
) -> None:
    """
    One answer of a good history is changed; whether that is wrong says the plain search.
    """
    made = atomic_history(seed, count, clients)
    reads = [n for n, one in enumerate(made) if one.kind == "read" and one.outcome == "ok"]
    if reads:
        at = data.draw(st.sampled_from(reads))
        made[at] = replace(made[at], result=data.draw(st.integers(0, 5)))

    assert verdict(made, initial={"x": 0}).ok == linearizable(made, 0)
