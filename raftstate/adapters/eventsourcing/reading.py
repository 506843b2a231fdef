r"""A log of events in the store, as it is read.

    head                      the number of the last event
    log   last number         the events that one call inserted, as they were given: a record
    of    originator version  where a run of versions, which ends with this one, is in the log
    top   originator          no version of it is higher
    tracked application       how far another application's events are dealt with

What a number says is there, whoever reads, with everything of smaller numbers.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgpack

from raftstate.adapters import records
from raftstate.adapters.keys import Part, key
from raftstate.client import Store

NUMBER_MAX: Final = (1 << 63) - 1
NUMBER: Final = struct.Struct(">Q")
# Where a run is: its first version, the last number of the record, and the place in it.
PLACE: Final = struct.Struct(">QQI")
# Records that are fetched side by side.
_FETCHED: Final = 32
_AFTER: Final = b"\xff"  # behind every part of a key


class Entry(NamedTuple):
    """An event. `uuid`: the originator's id is the text of a UUID."""

    originator: str
    uuid: bool
    version: int
    topic: str
    state: bytes


class Numbered(NamedTuple):
    """An event, and its number in the log."""

    number: int
    entry: Entry


class Found(NamedTuple):
    """Versions in a row of one originator, and where they are in the log."""

    last: int
    first: int
    number: int
    place: int


class Reader:
    """The log under a key. Used on the thread of one portal only."""

    def __init__(self, *under: Part) -> None:
        self._under = under
        self.head_key = self._key("head")

    def _key(self, *parts: Part) -> bytes:
        return key(*self._under, *parts)

    async def last(self, store: Store) -> int:
        """The number of the last event; 0 if there is none."""
        return await number_at(store, self.head_key) or 0

    async def tracked(self, store: Store, application: str) -> int | None:
        """How far the events of an application are dealt with."""
        return await number_at(store, self._key("tracked", application))

    async def numbered(
        self, store: Store, first: int, *, page_size: int = 0
    ) -> AsyncGenerator[Numbered, None]:
        """All events from a number on."""
        if first > NUMBER_MAX:
            return
        found = records.scan(
            store,
            start=self._key("log", first),
            end=self._key("log") + _AFTER,
            page_size=page_size,
        )
        async for record in found:
            entries = _unpacked(record.data)
            number = _tail(record.key) - len(entries)
            for entry in entries:
                number += 1
                if number >= first:
                    yield Numbered(number, entry)

    async def of(
        self, store: Store, originator: str, low: int, high: int, *, backwards: bool = False
    ) -> AsyncGenerator[Entry, None]:
        """The events of an originator from one version to another, in order."""
        low, high = max(low, 0), min(high, NUMBER_MAX)
        if low > high:
            return
        runs = (self._backwards if backwards else self._forwards)(store, originator, low, high)
        async with aclosing(runs):
            async for entries in self._fetched(store, runs):
                for entry in reversed(entries) if backwards else entries:
                    if low <= entry.version <= high:
                        yield entry

    async def _fetched(
        self, store: Store, runs: AsyncGenerator[Found, None]
    ) -> AsyncGenerator[list[Entry], None]:
        """What the log has of each run. More and more runs are fetched side by side, so that
        who wants the last event only does not wait for others."""
        most, pending = 1, list[Found]()

        async def fetch() -> list[list[Entry]]:
            found = await asyncio.gather(*(self._fetch(store, *run) for run in pending))
            pending.clear()
            return found

        async for run in runs:
            pending.append(run)
            if len(pending) == most:
                for entries in await fetch():
                    yield entries
                most = min(2 * most, _FETCHED)
        for entries in await fetch():
            yield entries

    async def _fetch(
        self, store: Store, last: int, first: int, number: int, place: int
    ) -> list[Entry]:
        at = self._key("log", number)
        record = await records.read(store, at)
        if record is None:
            raise records.Damaged(f"{at!r} is missing", definite=True)
        return _unpacked(record.data)[place : place + last - first + 1]

    async def _forwards(
        self, store: Store, originator: str, low: int, high: int
    ) -> AsyncGenerator[Found, None]:
        found = self._runs_from(store, originator, low)
        async with aclosing(found):
            async for last, place in found:
                if place[0] > high:
                    return
                yield last, *place

    async def _backwards(
        self, store: Store, originator: str, low: int, high: int
    ) -> AsyncGenerator[Found, None]:
        # The run that holds `high` is known by its last version, which is not below.
        async with aclosing(self._runs_from(store, originator, high, 1)) as found:
            async for last, place in found:
                if place[0] <= high:
                    yield last, *place
                break
        if low < high:
            start, end = self._run_key(originator, low), self._run_key(originator, high)
            async for one in store.keys.range(start, end, backwards=True):
                yield _tail(one.key), *PLACE.unpack(one.value)

    async def _runs_from(
        self, store: Store, originator: str, low: int, page_size: int = 0
    ) -> AsyncGenerator[Found, None]:
        """The runs that end with a version or a later one: that, and where they are."""
        start = self._run_key(originator, low)
        end = self._key("of", originator) + _AFTER
        async for one in store.keys.range(start, end, page_size=page_size):
            yield _tail(one.key), PLACE.unpack(one.value)

    def _run_key(self, originator: str, version: int) -> bytes:
        return self._key("of", originator, version)


async def number_at(store: Store, at: bytes) -> int | None:
    found = await store.keys.get(at)
    if found is None:
        return None
    number: int = NUMBER.unpack(found.value)[0]
    return number


def packed(entries: Iterable[Entry]) -> bytes:
    packed: bytes = msgpack.packb([list(entry) for entry in entries])
    return packed


def _unpacked(data: bytes) -> list[Entry]:
    rows: list[list[Any]] = msgpack.unpackb(data)
    return [Entry(*row) for row in rows]


def _tail(made: bytes) -> int:
    """The number that a key ends with: 16 digits, and the end of a part."""
    return int(made[-17:-1], 16)
