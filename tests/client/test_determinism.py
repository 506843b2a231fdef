"""The helper that looks for what a function draws and does not declare."""

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from raftstate.client.determinism import (
    UndeclaredNondeterminism,
    check_deterministic,
    forbidden,
)
from tests.client import undeclared

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize("call", undeclared.DRAWS)
def test_what_is_drawn_is_named_with_its_place(call: str) -> None:
    """
    Clocks, random numbers, UUIDs: the call, the file and the line.
    """

    def target() -> Any:
        return undeclared.DRAWS[call]()

    with pytest.raises(UndeclaredNondeterminism) as raised:
        check_deterministic(target)

    assert raised.value.call == call
    assert f"{call} is called in" in str(raised.value)
    file, _, line = raised.value.where.rpartition(":")
    assert file in (undeclared.__file__, __file__)
    assert int(line) > 0


@pytest.mark.parametrize("way", undeclared.ROUNDABOUT)
def test_ways_around_the_names_are_seen(way: str) -> None:
    """
    What holds a function since before, or calls it from builtin code, draws no less.
    """
    with pytest.raises(UndeclaredNondeterminism):
        check_deterministic(undeclared.ROUNDABOUT[way])


def test_what_was_drawn_and_swallowed_is_told_all_the_same() -> None:
    """
    A function that catches everything does not pass.
    """
    with pytest.raises(UndeclaredNondeterminism, match="in swallowed"):
        check_deterministic(undeclared.swallowed)


@pytest.mark.parametrize(
    "harmless",
    [
        lambda: random.Random(7).random(),
        lambda: time.gmtime(0).tm_year,
        lambda: time.strftime("%Y", time.gmtime(0)),
        lambda: sorted({"a", "b"}),
    ],
    ids=["seeded", "a given time", "a text of it", "sorted"],
)
def test_what_is_the_same_each_time_passes(harmless: Callable[[], Any]) -> None:
    """
    A seeded generator, a time that was given, a set in order.
    """
    assert check_deterministic(harmless).result == harmless()


def test_afterwards_everything_may_be_drawn_again() -> None:
    """
    Nothing stays patched or watched, also after a failure.
    """
    real = (time.time, random.random, random.shuffle)
    with pytest.raises(UndeclaredNondeterminism):
        check_deterministic(undeclared.DRAWS["date.today"])

    assert (time.time, random.random, random.shuffle) == real
    assert time.time() > 0
    with forbidden() as seen:
        pass
    assert seen == []


def test_who_looked_on_before_looks_on_afterwards() -> None:
    """
    A profiler that was there is there again, for this thread and for those that begin.
    """

    def profiler(*_: Any) -> None: ...

    before = sys.getprofile(), threading.getprofile()
    sys.setprofile(profiler)
    threading.setprofile(profiler)
    try:
        with pytest.raises(UndeclaredNondeterminism), forbidden():
            undeclared.DRAWS["time.time"]()
        after = sys.getprofile(), threading.getprofile()
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])

    assert after == (profiler, profiler)


def test_the_order_of_a_set_shows_in_other_processes() -> None:
    """
    By the name of the function, or of itself as it can be imported.
    """
    with pytest.raises(UndeclaredNondeterminism, match="order of a set"):
        check_deterministic("tests.client.undeclared:in_any_order", WORDS)


def test_what_a_function_changes_of_its_arguments_is_its_own() -> None:
    """
    Each run is given the same, also if the one before it has added something.
    """
    words = ["one"]

    def target(given: list[str]) -> list[str]:
        given.append("more")
        return given

    assert check_deterministic(target, words).result == ["one", "more"]
    assert words == ["one"]


def test_a_local_function_runs_here_only() -> None:
    """
    So that the order of a set cannot show; what differs between two runs does.
    """
    count = 0

    def target() -> int:
        nonlocal count
        count += 1
        return count

    assert check_deterministic(lambda: list({"a", "b"})).result
    with pytest.raises(UndeclaredNondeterminism, match="the result is 2 the second time"):
        check_deterministic(target)


def test_an_agents_function_is_served_what_it_recorded() -> None:
    """
    What it declares is drawn once, in the first run, and given to the others: also to
    those of other processes.
    """
    done = check_deterministic(
        "tests.client.undeclared:agent", "pens", state={"done": 0}, effects={"tell": "told"}
    )

    assert done.result.startswith("pens 0.")
    [event] = [one for one in done.events if "type" in one]
    assert (event["type"], event["data"][2]) == ("answered", "told")
    assert sorted(done.recordings) == [
        *("1 llm/1", "1 random/1", "1 time/1", "1 tool@1", "1 uuid/1"),
    ]


def test_an_agents_function_that_forgets_one_is_told() -> None:
    """
    While what it records beside that is none of anybody's business.
    """
    with pytest.raises(UndeclaredNondeterminism, match=r"time\.time is called in hasty"):
        check_deterministic(undeclared.hasty)


def test_what_the_function_raises_comes_through() -> None:
    """
    As it is; and a name that there is not is refused.
    """
    with pytest.raises(KeyError, match="mine"):
        check_deterministic(undeclared.fails)
    with pytest.raises(ValueError, match="module:function"):
        check_deterministic("undeclared")
    with pytest.raises(TypeError):
        check_deterministic(lambda: {1, 2})
