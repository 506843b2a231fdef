r"""A log of events in the store, as it is read.

    head                      the number of the last event
    log   last number         the events that one call inserted, or the name of their data
    data  name                such events: a record
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
from typing import Final, NamedTuple

from raftstate.adapters import records
from raftstate.adapters.keys import Part, key
from raftstate.client import Store
from raftstate.v1.kv_service_pb2 import KeyValue

NUMBER_MAX: Final = (1 << 63) - 1
NUMBER: Final = struct.Struct(">Q")
# Where a run is: its first version, the last number of the record, and the place in it.
PLACE: Final = struct.Struct(">QQI")
# An event: whether the originator is a UUID, its version, and the sizes of what follows.
_ENTRY: Final = struct.Struct(">?QIII")
# Whether the events stand in the log itself, or under a name of their own.
INLINE: Final = b"\x00"
SENT: Final = b"\x01"
# Records that are fetched side by side.
FETCHED: Final = 32
AFTER: Final = b"\xff"  # behind every part of a key


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
        self.head_key: bytes = self._key("head")

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
        start, end = self._key("log", first), self._key("log") + AFTER
        async for one in store.keys.range(start, end, page_size=page_size):
            entries = await self._entries(store, one.value)
            number = tail(one.key) - len(entries)
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
        """What the log has of each run. Runs are fetched side by side, but more and more of
        them: who wants the last event only does not wait for others."""
        most, pending = 1, list[Found]()

        async def fetch() -> list[list[Entry]]:
            found = await asyncio.gather(*(self._fetch(store, run) for run in pending))
            pending.clear()
            return found

        async for run in runs:
            pending.append(run)
            if len(pending) == most:
                for entries in await fetch():
                    yield entries
                most = min(4 * most, FETCHED)
        for entries in await fetch():
            yield entries

    async def _fetch(self, store: Store, run: Found) -> list[Entry]:
        found = await store.keys.get(self._key("log", run.number))
        if found is None:
            raise records.Damaged(f"events {run.number} are missing", definite=True)
        entries = await self._entries(store, found.value)
        return entries[run.place : run.place + run.last - run.first + 1]

    async def _entries(self, store: Store, value: bytes) -> list[Entry]:
        return _unpacked(await self._data(store, value))

    async def _data(self, store: Store, value: bytes) -> bytes:
        """What one call inserted, which is in the log, or where it says."""
        kind, data = value[:1], value[1:]
        if kind == SENT:
            record = await records.read(store, self._data_key(data))
            if record is None:
                raise records.Damaged(f"events {data.hex()} are missing", definite=True)
            data = record.data
        elif kind != INLINE:
            raise records.Damaged(f"{value[:20]!r} holds no events", definite=True)
        return data

    def _data_key(self, name: bytes) -> bytes:
        return self._key("data", name.hex())

    async def _forwards(
        self, store: Store, originator: str, low: int, high: int
    ) -> AsyncGenerator[Found, None]:
        found = self._runs_from(store, originator, low)
        async with aclosing(found):
            async for run in found:
                if run.first > high:
                    return
                yield run

    async def _backwards(
        self, store: Store, originator: str, low: int, high: int
    ) -> AsyncGenerator[Found, None]:
        # The run that holds `high` is known by its last version, which is not below.
        async with aclosing(self._runs_from(store, originator, high, 1)) as found:
            async for run in found:
                if run.first <= high:
                    yield run
                break
        if low < high:
            start, end = self._run_key(originator, low), self._run_key(originator, high)
            async for one in store.keys.range(start, end, backwards=True):
                yield _found(one)

    async def _runs_from(
        self, store: Store, originator: str, low: int, page_size: int = 0
    ) -> AsyncGenerator[Found, None]:
        """The runs that end with a version or a later one."""
        start = self._run_key(originator, low)
        end = self._key("of", originator) + AFTER
        async for one in store.keys.range(start, end, page_size=page_size):
            yield _found(one)

    def _run_key(self, originator: str, version: int) -> bytes:
        return self._key("of", originator, version)


async def number_at(store: Store, at: bytes) -> int | None:
    """The number under a key, or None."""
    found = await store.keys.get(at)
    if found is None:
        return None
    number: int = NUMBER.unpack(found.value)[0]
    return number


def packed(entries: Iterable[Entry]) -> bytes:
    """Events as the log holds them, one behind the other."""
    written: list[bytes] = []
    for one in entries:
        originator = one.originator.encode("utf-8", "surrogatepass")
        topic = one.topic.encode("utf-8", "surrogatepass")
        sizes = len(originator), len(topic), len(one.state)
        written += (_ENTRY.pack(one.uuid, one.version, *sizes), originator, topic, one.state)
    return b"".join(written)


def _unpacked(data: bytes) -> list[Entry]:
    entries: list[Entry] = []
    at = 0
    while at < len(data):
        uuid, version, *sizes = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        parts: list[bytes] = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        originator, topic, state = parts
        entries.append(
            Entry(
                originator.decode("utf-8", "surrogatepass"),
                uuid,
                version,
                topic.decode("utf-8", "surrogatepass"),
                state,
            )
        )
    return entries


def _found(one: KeyValue) -> Found:
    return Found(tail(one.key), *PLACE.unpack(one.value))


def tail(made: bytes) -> int:
    """The number that a key ends with: 16 digits, and the end of a part."""
    return int(made[-17:-1], 16)
