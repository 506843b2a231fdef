"""What verdicts have in common: nothing passes by accident."""

from __future__ import annotations

import pytest

from jepsen_like.checkers.history import Operation
from jepsen_like.checkers.verdicts import around, capped, guarded, merge, verdict
from jepsen_like.protocols import Validity, Verdict


@pytest.mark.parametrize(
    ("validities", "together"),
    [
        (["valid", "valid"], "valid"),
        (["valid", "unknown"], "unknown"),
        (["unknown", "invalid", "valid"], "invalid"),
        ([], "unknown"),
    ],
)
def test_the_worst_verdict_counts(validities: list[Validity], together: Validity) -> None:
    """
    Invalid before unknown before valid; and nothing at all has shown nothing.
    """
    assert merge(validities) == together


def test_a_checker_that_breaks_is_no_pass() -> None:
    """
    Its verdict is unknown, and names the error and where it was.
    """

    def broken() -> Verdict:
        raise ZeroDivisionError("by nothing")

    [found] = guarded("mine", broken)

    assert (found.name, found.validity) == ("mine", "unknown")
    assert "ZeroDivisionError: by nothing" in found.summary
    assert "in broken, line " in found.complaints[0]


def test_a_checker_that_works_is_left_alone() -> None:
    """
    One verdict or several; and one that breaks after the first has shown nothing.
    """
    good = verdict("mine", "all is well")

    def breaks_late() -> list[Verdict]:
        return [good, *(verdict("mine", str(1 // number)) for number in (1, 0))]

    assert guarded("mine", lambda: good) == [good]
    assert guarded("mine", lambda: iter([good, good])) == [good, good]
    assert [one.validity for one in guarded("mine", breaks_late)] == ["unknown"]


def test_what_speaks_against_a_run_makes_the_verdict() -> None:
    """
    What is wrong outweighs what is not known, and comes first.
    """
    assert verdict("mine", "fine").validity == "valid"
    assert verdict("mine", "fine", unsure=["dark"]).validity == "unknown"
    both = verdict("mine", "fine", wrong=["bad"], unsure=["dark"])
    assert both.validity == "invalid"
    assert both.summary == "bad (and 1 more)"
    assert both.complaints == ("bad", "dark")


def test_very_many_complaints_are_counted() -> None:
    """
    The first ones are told, and how many more there are.
    """
    assert capped(str(n) for n in range(5)) == ("0", "1", "2", "3", "4")
    assert capped((str(n) for n in range(5)), most=2) == ("0", "1", "and 3 more")
    assert len(verdict("mine", "", wrong=["bad"] * 900).complaints) == 21


def test_a_violation_shows_what_is_around_it() -> None:
    """
    Operations near the one without a place; indexes are of those that are shown.
    """
    made = [Operation("p", "read", "k", None, "ok", n, float(n), float(n)) for n in range(200)]

    found = around("w", "k", "text", made, made[100], [made[2], made[99], made[98]])

    assert found.stuck is not None
    assert found.operations[found.stuck] is made[100]
    assert [found.operations[place].result for place in found.longest] == [99, 98]
    assert len(found.operations) == 61
    assert around("w", "k", "text", made, None).operations[-1] is made[-1]
