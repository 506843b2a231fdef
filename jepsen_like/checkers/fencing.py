"""Fencing: one owner at a time, tokens that only rise, and no writer of the past.

What is judged are facts that clients were told for certain, each with the place in the
replicated log (a revision) that the answer named. Sorted by place they are what the
store says happened:

- every grant of a resource has a larger token than all before it, for ever;
- grants are disjoint: the next one, or an end, ends it, and nothing is written under it
  after that;
- no write was accepted under a token lower than one that was granted, or accepted,
  before it, or under one that was never granted.

Two facts never share a place: the store counts every command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["grant", "write", "end"]
Token = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """What a client was told: a grant, a write accepted under one, or a grant's end."""

    kind: Kind
    resource: str
    holder: str
    token: Token
    place: int

    def __str__(self) -> str:
        return f"{self.kind} {self.resource} by {self.holder} under {self.token} @{self.place}"


def check(facts: Iterable[Fact], *, all_grants: bool = True) -> list[str]:
    """Say everything that is wrong; an empty list is a pass.

    With `all_grants` off a grant may be missing, because nobody was told of it: a write
    under a token that no grant named is then taken as proof of one.
    """
    by_resource: dict[str, list[Fact]] = {}
    for fact in sorted(set(facts), key=lambda fact: (fact.place, fact.kind, str(fact))):
        by_resource.setdefault(fact.resource, []).append(fact)
    return [
        *_shared_places(by_resource),
        *(
            wrong
            for resource in sorted(by_resource)
            for wrong in _judge(by_resource[resource], all_grants)
        ),
    ]


def _shared_places(by_resource: dict[str, list[Fact]]) -> Iterator[str]:
    """No two facts at one place, over all resources."""
    taken: dict[int, Fact] = {}
    for facts in by_resource.values():
        for fact in facts:
            other = taken.setdefault(fact.place, fact)
            if other != fact:
                yield f"place: two facts in one place: {other}; {fact}"


def _judge(facts: list[Fact], all_grants: bool) -> Iterator[str]:
    """One resource, in the order of the log."""
    newest: Token = (0, 0)
    holder: str | None = None  # of the newest grant, until that ended
    for fact in facts:
        if fact.kind == "grant":
            if fact.token <= newest:
                yield f"token: {fact} does not rise above {newest}"
            newest, holder = max(newest, fact.token), fact.holder
            continue
        if fact.token > newest:
            if all_grants:
                yield f"stranger: {fact}, and the newest grant is {newest}"
            newest, holder = fact.token, fact.holder  # whoever was granted it
        elif fact.token < newest:
            yield f"stale: {fact} after {newest}"
            continue
        elif holder is None:
            yield f"ended: {fact} after the grant had ended"
        elif holder != fact.holder:
            yield f"overlap: {fact}; the grant is held by {holder}"
        if fact.kind == "end":
            holder = None
