"""Equal revision, equal state; and in the end all members are at one revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jepsen_like.checkers import states
from jepsen_like.protocols import Record, Sample
from tests.checkers.simulated import record, sample

PHASES = {"warm-up": 0.0, "heal": 10.0}
EARLY = [sample(1, "a", 3), sample(1, "b", 3), sample(2, "c", 2)]
END = [sample(20, node, 9) for node in "abc"]


def run(samples: Sequence[Sample], **changes: Any) -> Record:
    return record(samples=samples, **{"phases": PHASES, **changes})


def leads(time: float, node: str, term: int) -> Sample:
    return replace(sample(time, node, 3), role="leader", term=term)


def test_members_that_agree_pass() -> None:
    """
    Whoever did not answer is not asked what it holds.
    """
    silent = Sample(3, "c", answered=False)

    found = states.check(run([*EARLY, silent, *END]))

    assert found.validity == "valid", found.complaints
    assert found.figures == {"samples": 6, "revisions": 3, "compared": 3, "last_revision": 9}


def test_the_last_samples_need_not_be_of_one_moment() -> None:
    """
    A cluster that goes on is sampled at one revision and at the next.
    """
    after = [sample(20.1, "a", 10), sample(20.1, "b", 10)]

    assert states.check(run([*EARLY, *END, *after])).validity == "valid"


def test_one_leader_a_term_and_alarms_of_faults_are_no_complaint() -> None:
    """
    Another one leads in the next term, and meanwhile nobody did.
    """
    alone = replace(sample(4, "c", 3), alarms=("NO_LEADER",))
    between = [leads(2, "a", 4), leads(3, "a", 4), alone, leads(5, "b", 5)]

    assert states.check(run([*EARLY, *between, *END])).complaints == ()


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("diverged", [*EARLY, *END, sample(20, "b", 9, "other")]),
        ("diverged", [sample(1, "a", 3, "x"), sample(5, "c", 3), *END]),
        ("two leaders", [*EARLY, leads(2, "a", 4), leads(7, "b", 4), *END]),
        ("alarm", [*EARLY, replace(sample(2, "a", 3), alarms=("HASH_DIFFERS",)), *END]),
        ("alarm", [*EARLY, replace(sample(2, "a", 3), alarms=("QUARANTINED",)), *END]),
        ("not converged", [*EARLY, *END[:2]]),
        ("not converged", [*EARLY, *END[:2], sample(20, "c", 8)]),
        ("not converged", [*EARLY, *END[:2], Sample(20, "c", answered=False)]),
        (
            "not converged",
            [*END, sample(21, "a", 12), sample(21, "b", 12), sample(30, "b", 13)],
        ),
    ],
)
def test_members_that_disagree_are_found(name: str, samples: list[Sample]) -> None:
    """
    Two states at one revision, or a member that never gets there.
    """
    found = states.check(run(samples))

    assert found.validity == "invalid"
    assert found.complaints[0].startswith(f"{name}: "), found.complaints


@pytest.mark.parametrize(
    "dark",
    [
        run([]),
        run(EARLY),
        run([*EARLY, *END], phases={}),
        record(samples=[sample(20, "a", 9)], phases=PHASES, nodes=("a",)),
    ],
)
def test_what_was_not_looked_at_is_unknown(dark: Record) -> None:
    """
    No samples, none after a heal, or never two of one revision.
    """
    assert states.check(dark).validity == "unknown"
