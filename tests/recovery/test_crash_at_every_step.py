"""Whoever dies after whichever action: another finishes, and the outside is none the wiser.

For each scenario one run without harm says how many actions there are: log entries and
calls to the outside. Then there is a run for each of them, and for each party in it: after
that action the party is killed and another takes its place; or it is stopped, and wakes up
when everything is over; or the store starts anew from a snapshot and its log, and who has
not heard its answer asks again.
"""

from __future__ import annotations

from functools import cache

import pytest

from jepsen_like.checkers import undoing
from tests.recovery.scenarios import SCENARIOS, Scenario, judge
from tests.recovery.stage import How, Run, Strike

BY_NAME = {one.name: one for one in SCENARIOS}


@cache
def unharmed(scenario: Scenario) -> Run:
    """A run in which nobody dies."""
    run = scenario.run()
    run.play()
    return run


def strikes(scenario: Scenario) -> list[Strike]:
    """Every party, after every action, in every way; and the store."""
    run = unharmed(scenario)
    ways: tuple[How, ...] = ("kill", "pause")
    found = []
    for after, (actor, _) in enumerate(run.actions, start=1):
        found += [Strike(after, party.role, "kill") for party in run.parties]
        found += [Strike(after, actor, ways[1]), Strike(after, "store", "restart")]
    return found


@pytest.mark.parametrize("name", BY_NAME)
def test_without_harm(name: str) -> None:
    """A scenario comes to its end when nobody dies, and does what it is there for."""
    scenario = BY_NAME[name]
    judge(scenario, unharmed(scenario))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_crash_after_every_step(name: str) -> None:
    """Once only in effect, undone in reverse order, no orphan, nothing stuck."""
    scenario = BY_NAME[name]
    hit, late = 0, 0
    for strike in strikes(scenario):
        run = scenario.run()
        run.strike = strike
        try:
            run.play()
            judge(scenario, run)
        except Exception as error:
            steps = "\n".join(
                f"  {n} {who}: {what}" for n, (who, what) in enumerate(run.actions, start=1)
            )
            raise AssertionError(f"{name}: {strike}: {error}\n{steps}") from error
        hit += run.struck
        late += undoing.late(run.books.journal)
    assert hit >= 2 * len(unharmed(scenario).actions)
    assert late, "no original came too late"
