"""A run that shows nothing is invalid, whatever it did not show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import vacuity
from jepsen_like.checkers.vacuity import Limits
from jepsen_like.history import Event
from jepsen_like.protocols import Record
from tests.checkers.simulated import Asked, events_of, fault, in_order, record

PHASES = {"warm-up": 0.0, "faults": 5.0, "heal": 10.0, "quiet": 11.0}


def run(rate: float = 60.0, **changes: Any) -> Record:
    """A minute's fifth with so many operations a second, one fault, one unknown outcome."""
    count = int(15 * rate)
    made = [Asked(n, "read", "0", None, n / rate, n / rate + 0.05) for n in range(count)]
    made[100] = made[100]._replace(end=None, type="info")
    made[101] = made[101]._replace(type="fail")
    events = in_order([*events_of(made), *fault("kill-one", 5.0, 6.0)])
    return replace(record(events, phases=PHASES, nemeses=("kill",)), **changes)


def without(run: Record, keep: Any) -> Record:
    """The run without some of its operations."""
    gone = {event.process for event in run.events if event.process >= 0 and not keep(event)}
    events = [event for event in run.events if event.process not in gone]
    return replace(run, events=in_order(events))


def with_types(run: Record, change: Any) -> Record:
    """The run in which operations ended otherwise."""
    events = [
        replace(event, type=change(event)) if event.type in ("ok", "fail") else event
        for event in run.events
    ]
    return replace(run, events=events)


def test_a_run_with_enough_of_everything_passes() -> None:
    """
    Its figures say how much there was.
    """
    found = vacuity.check(run())

    assert found.validity == "valid", found.complaints
    assert found.figures["operations"] == 900
    assert 55 < found.figures["rate"] < 61
    assert found.figures["unknown"] == 1
    [during] = found.figures["concurrent"]
    assert 60 * 1.1 < during < 75


def outside_the_fault(event: Event) -> bool:
    return not 4.9 <= event.time <= 6.3


def without_unknown(run: Record) -> Record:
    return without(run, lambda event: event.process != 100)


def failing(run: Record, since: float) -> Record:
    return with_types(run, lambda event: "fail" if event.time >= since else event.type)


def silent() -> Record:
    """A workload that hangs for as long as there are faults, and works before and after."""
    return with_types(run(), lambda event: "fail" if 5 < event.time < 10 else event.type)


def last_failing() -> Record:
    """The last few questions of many fail."""
    return failing(run(phases={**PHASES, "final": 13.999}), 14.0)


@pytest.mark.parametrize(
    ("why", "empty"),
    [
        ("ok operations a second", run(rate=40.0)),
        ("ok operations a second", failing(run(), 2.0)),
        ("operations were ok", failing(run(), 3.5)),
        ("were under way during kill-one", without(run(), outside_the_fault)),
        ("had an unknown outcome", without_unknown(run())),
        ("0 of the last 10 operations of register were ok", failing(run(), 12.0)),
        ("4 of the last 10 operations of register were ok", failing(run(), 14.94)),
        ("0 of the last 0 operations of set", run(workloads=("register", "set"))),
        ("operations of register were ok in the 5 s of the faults", silent()),
        ("none of 900 operations read of register was ok", failing(run(), 0.0)),
        ("none of the 60 last questions", last_failing()),
        ("never healed", run(phases={"warm-up": 0.0})),
        ("ok operations a second", record()),
    ],
)
def test_each_lack_is_named(why: str, empty: Record) -> None:
    """
    The run is invalid, and called vacuous.
    """
    found = vacuity.check(empty)

    assert found.validity == "invalid"
    assert all(text.startswith("vacuous: ") for text in found.complaints)
    assert any(why in text for text in found.complaints), found.complaints


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        (Limits(rate_min=30.0), True),
        (Limits(rate_min=45.0), False),
        (Limits(rate_min=30.0, ok_share_min=0.999), False),
        (Limits(rate_min=30.0, concurrent_min=60), False),
        (Limits(rate_min=30.0, unknown_min=2), False),
    ],
)
def test_each_limit_can_be_set(limits: Limits, passes: bool) -> None:
    """
    For a cluster that is slower, say.
    """
    assert (vacuity.check(run(rate=40.0), limits).validity == "valid") is passes


def test_a_run_without_faults_needs_no_unknown_outcome() -> None:
    """
    Its rate is that of the whole time before the heal.
    """
    calm = without_unknown(run())
    calm = replace(calm, events=in_order([one for one in calm.events if one.process >= 0]))

    found = vacuity.check(calm)

    assert found.validity == "valid", found.complaints
    assert found.figures["seconds_before_faults"] == 10.0
