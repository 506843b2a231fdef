"""Linearizable reads by a quorum round (dissertation, 6.4).

The leader notes its commit index when a read arrives, asks every voter "am I still
your leader?", and may answer once a quorum has said so in the same term and the
noted index is applied. No clock is involved, so none can make a read wrong.

A read joins only a round whose probes have not left: an answer to a probe that left
before the read began proves nothing about the time since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Generic, NamedTuple, TypeVar

from raftstate.consensus.rules import is_quorum
from raftstate.core.types import Index, MemberId

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """One read: what to call it, and the index it must see applied."""

    ticket: T
    noted: Index


class ReadRounds(Generic[T]):
    """The rounds of one leader in one term. One is under way at a time; reads that
    arrive meanwhile share the next."""

    def __init__(self, me: MemberId, voters: Collection[MemberId]) -> None:
        self._me = me
        self._voters = tuple(voters)
        self._number = 0
        self._agreed: set[MemberId] = set()
        self._under_way: list[Waiting[T]] = []
        self._next: list[Waiting[T]] = []
        self._confirmed: deque[Waiting[T]] = deque()

    def electorate(self, voters: Collection[MemberId]) -> None:
        """Another configuration is in force: its voters decide from now on."""
        self._voters = tuple(voters)
        if self._under_way:
            self._conclude()

    def add(self, ticket: T, commit_index: Index) -> None:
        """Take in a read that has just arrived."""
        self._next.append(Waiting(ticket, commit_index))

    def begin(self) -> int | None:
        """Start the next round if there is one to start; its probes leave now."""
        if self._under_way or not self._next:
            return None
        self._number += 1
        self._agreed = {self._me}
        self._under_way, self._next = self._next, []
        self._conclude()
        return self._number

    def unanswered(self) -> tuple[int, list[MemberId]] | None:
        """The round under way and who has not answered: probes may be lost."""
        if not self._under_way:
            return None
        return self._number, [voter for voter in self._voters if voter not in self._agreed]

    def agree(self, member: MemberId, number: int) -> None:
        """A voter answered the probe of round `number` in the leader's own term."""
        if number == self._number and self._under_way:
            self._agreed.add(member)
            self._conclude()

    def _conclude(self) -> None:
        if is_quorum(self._voters, self._agreed):
            self._confirmed.extend(self._under_way)
            self._under_way = []

    def ready(self, applied: Index) -> list[T]:
        """Tickets of reads that may be answered from what is applied now."""
        answered = []
        # Commit indexes were noted in order, so the oldest waits for the least.
        while self._confirmed and self._confirmed[0].noted <= applied:
            answered.append(self._confirmed.popleft().ticket)
        return answered

    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._next or self._under_way or self._confirmed)

    def drop(self) -> list[T]:
        """Forget everything; the tickets of those who waited."""
        waiting = [*self._confirmed, *self._under_way, *self._next]
        self._confirmed.clear()
        self._under_way, self._next = [], []
        return [read.ticket for read in waiting]
