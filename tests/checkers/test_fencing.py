"""The checker of fencing: each way to be wrong has a name, and is seen."""

from __future__ import annotations

import pytest

from jepsen_like.checkers.fencing import Fact, Kind, check


def fact(kind: Kind, place: int, token: int, holder: str = "s", epoch: int = 1) -> Fact:
    return Fact(kind, "agent", holder, (epoch, token), place)


def test_a_clean_history_passes() -> None:
    """
    Granted, written, ended; granted again, taken over by force; told twice; restored.
    """
    facts = [
        fact("grant", 3, 3),
        fact("write", 4, 3),
        fact("write", 4, 3),
        fact("end", 6, 3),
        fact("grant", 7, 7),
        fact("grant", 9, 9, "t"),
        fact("write", 10, 9, "t"),
        Fact("grant", "other", "s", (1, 8), 8),
        fact("grant", 11, 2, "u", epoch=2),
    ]

    assert check(facts) == []
    assert check(reversed(facts)) == []


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("token", [fact("grant", 3, 3), fact("grant", 5, 3, "t")]),
        ("token", [fact("grant", 3, 3), fact("grant", 5, 2, "t")]),
        ("token", [fact("grant", 3, 3, epoch=2), fact("grant", 5, 5, "t")]),
        ("stale", [fact("grant", 3, 3), fact("grant", 5, 5, "t"), fact("write", 6, 3)]),
        ("stale", [fact("grant", 3, 3), fact("grant", 5, 5, "t"), fact("end", 6, 3)]),
        ("ended", [fact("grant", 3, 3), fact("end", 4, 3), fact("write", 5, 3)]),
        ("overlap", [fact("grant", 3, 3), fact("write", 4, 3, "t")]),
        ("stranger", [fact("grant", 3, 3), fact("write", 4, 4)]),
        ("place", [fact("grant", 3, 3), Fact("grant", "other", "s", (1, 4), 3)]),
    ],
)
def test_each_way_to_be_wrong_is_seen(name: str, facts: list[Fact]) -> None:
    """
    One thing is wrong, and the checker names it, whatever the order of the facts.
    """
    assert [found.partition(":")[0] for found in check(facts)] == [name]
    assert check(reversed(facts)) == check(facts)


def test_two_grants_in_one_place_share_no_token() -> None:
    """
    One log entry can hold two grants; were the entry the token, they would be equal.
    """
    found = check([fact("grant", 3, 3), fact("grant", 3, 3, "t")])

    assert {wrong.partition(":")[0] for wrong in found} == {"place", "token"}


def test_a_grant_that_nobody_was_told_of_may_be_missing() -> None:
    """
    A write under it proves it, and fences off what was granted before.
    """
    facts = [fact("grant", 3, 3), fact("write", 6, 5, "t"), fact("write", 7, 5, "t")]

    assert check(facts, all_grants=False) == []
    stale = [*facts, fact("write", 8, 3)]
    assert [found.partition(":")[0] for found in check(stale, all_grants=False)] == ["stale"]
