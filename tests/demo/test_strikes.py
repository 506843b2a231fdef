"""The director: what is due begins, and what cannot happen any more is a failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftstate.examples.census.crew import Crew, status_text
from raftstate.examples.census.evidence import Journal
from raftstate.examples.census.plan import draw
from raftstate.examples.census.strikes import NotAsPlanned, Strikes, until

SIZES = [100] * 100


@pytest.fixture
def strikes(tmp_path: Path) -> Strikes:
    """A director whose cluster and crew do nothing."""
    with Journal(tmp_path / "processes.jsonl") as processes:
        crew = Crew(tmp_path, [], processes)
    nothing = cast("Any", SimpleNamespace())
    with Journal(tmp_path / "kills.jsonl") as kills:
        return Strikes(draw(1, SIZES), SIZES, nothing, crew, nothing, kills, nothing)


def test_what_did_not_happen_is_named(strikes: Strikes) -> None:
    """
    Before anything fell all of the plan is missing, by kind and count.
    """
    assert not strikes.over
    for strike in strikes.plan.strikes:
        assert f"{strike.kind} at {strike.at} files" in strikes.missed()


def test_nothing_begins_before_its_count(strikes: Strikes) -> None:
    """
    A strike is due when so many files are done, and not one earlier.
    """
    first = strikes.plan.strikes[0]
    strikes.crew.files_done = first.at - 1
    strikes.advance()
    assert f"{first.kind} at {first.at} files" in strikes.missed()


def test_waiting_ends_with_the_condition() -> None:
    """
    It yields while the condition is false, and not once more.
    """
    answers = iter([False, False, True])
    assert len(list(until("three", lambda: next(answers)))) == 2


def test_waiting_has_a_bound() -> None:
    """
    What does not come in time is an error that says what was waited for.
    """
    with pytest.raises(NotAsPlanned, match="the moon"):
        list(until("the moon", lambda: False, patience=0.02))


@pytest.mark.parametrize(
    ("returncode", "text"), [(-9, "killed by SIGKILL"), (0, "exit 0"), (3, "exit 3")]
)
def test_wait_statuses_in_words(returncode: int, text: str) -> None:
    """
    The judge compares words, so they must not change by accident.
    """
    assert status_text(returncode) == text
