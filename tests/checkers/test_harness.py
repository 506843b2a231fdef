"""What the harness wrote down has to be all that it did, in order of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import harness
from jepsen_like.history import NEMESIS, Event
from jepsen_like.protocols import Record
from tests.checkers.simulated import Asked, events_of, record

TALLY = dict.fromkeys(("raised", "deaf", "nemesis_errors"), 0) | {
    "complete": True,
    "unopened": {},
    "errors": {},
    "defects": {},
    "ok": 1,
    "fail": 1,
    "info": 1,
}


def run(**stages: Any) -> Record:
    """An operation of each outcome, and what the nemesis said of its stages."""
    asked = [
        Asked(0, "read", "0", None, 1, 2),
        Asked(1, "read", "0", None, 1, 2, "fail"),
        Asked(2, "read", "0", None, 1, 2, "info"),
    ]
    said = {"heal": {"serving": True}, "settle": {"settled": True}, **stages}
    events = [
        *events_of(asked),
        *(
            Event(6 + place, 3.0, "info", NEMESIS, "nemesis", "run", key, value)
            for place, (key, value) in enumerate(said.items())
        ),
    ]
    return record(events, tally=TALLY)


def test_a_run_that_is_written_down_whole_passes() -> None:
    """
    As many of each outcome as were counted.
    """
    assert harness.check(run()).complaints == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(run(), events=run().events[:-4]), "1 operations ended as fail, and 0"),
        (replace(run(), tally={**TALLY, "ok": 2}), "2 operations ended as ok, and 1"),
        (
            replace(run(), events=[replace(run().events[0], time=9.0), *run().events[1:]]),
            "time goes back in the history, from 9.0 to 1",
        ),
        (run(heal={"serving": False}), "not every node served again after the heal"),
        (run(settle={"settled": False}), "not every node caught up before the last reads"),
    ],
)
def test_what_is_missing_makes_the_run_unknown(wrong: Record, said: str) -> None:
    """
    Judged would be less than what happened, or before it was over.
    """
    found = harness.check(wrong)

    assert found.validity == "unknown"
    assert any(said in text for text in found.complaints), found.complaints
