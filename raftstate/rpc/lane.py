"""One stream's requests under way: many tickets out, answers back as they are known.

A lane bounds how many requests of a stream are under way, so that a client that sends
faster than the cluster commits, or than it takes its answers, is held back by not being
read (gRPC's flow control does the rest). All answers of a loop's turn come out together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, NamedTuple, TypeVar

from raftstate.core.ports import Answer

Key = TypeVar("Key")


class Slot(Generic[Key]):
    """The ticket of one request of a lane."""

    __slots__ = ("_lane", "key")

    def __init__(self, lane: Lane[Key], key: Key) -> None:
        self._lane = lane
        self.key = key

    def settle(self, answer: Answer) -> None:
        """Put the answer where the lane's reader finds it."""
        self._lane.settled(self, answer)


class Settled(NamedTuple, Generic[Key]):
    """One request and its answer."""

    key: Key
    answer: Answer | Exception


class Lane(Generic[Key]):
    """The requests of one stream that are under way."""

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._pending: set[Slot[Key]] = set()
        self._settled: list[Settled[Key]] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._complete = False

    @property
    def pending(self) -> frozenset[Slot[Key]]:
        """The tickets that have no answer yet."""
        return frozenset(self._pending)

    def slot(self, key: Key) -> Slot[Key]:
        """A ticket for one more request."""
        slot = Slot(self, key)
        self._pending.add(slot)
        self._measure()
        return slot

    def settled(self, slot: Slot[Key], answer: Answer) -> None:
        """An answer has come."""
        if slot in self._pending:
            self._pending.remove(slot)
            self.put(slot.key, answer)

    def put(self, key: Key, answer: Answer | Exception) -> None:
        """Answer a request that needed no ticket."""
        self._settled.append(Settled(key, answer))
        self._measure()
        self._news.set()

    def complete(self) -> None:
        """No more requests will come."""
        self._complete = True
        self._news.set()

    async def room(self) -> None:
        """Wait until another request may be under way."""
        await self._room.wait()

    async def batches(self) -> AsyncIterator[list[Settled[Key]]]:
        """Answers as they are known, until the last request is answered."""
        while not self._complete or self._pending or self._settled:
            await self._news.wait()
            self._news.clear()
            if self._settled:
                batch, self._settled = self._settled, []
                self._measure()
                yield batch

    def _measure(self) -> None:
        """An answer that nobody has taken is under way still."""
        if len(self._pending) + len(self._settled) < self._in_flight_max:
            self._room.set()
        else:
            self._room.clear()


async def end(reader: asyncio.Future[None]) -> None:
    """Stop reading a stream whose handler ends. Whatever the reader still has to say
    comes too late: the handler has a reason of its own."""
    reader.cancel()
    await asyncio.wait([reader])
    if not reader.cancelled():
        reader.exception()
