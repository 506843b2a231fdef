r"""A log of events in the store: numbered without a gap, and unique by originator and version.

    head                      the number of the last event
    log   last number         the events that one call inserted, as they were given: a record
    of    originator version  where a run of versions, which ends with this one, is in the log
    top   originator          no version of it is higher
    tracked application       how far another application's events are dealt with

Everything that one call inserts appears at one revision, with the head, which has to be
what the writer saw: so numbers have no gaps, and nobody ever sees a number before a smaller
one. Callers of one process who insert at the same time share a transaction.

The first attempt asks nothing before: it compares with what this process wrote last, and
takes it that versions are new. If that does not hold, what there is is read, what is taken
is refused, and the rest is written if the head has not moved on meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgpack

from raftstate.adapters import records
from raftstate.adapters.keys import Part, key
from raftstate.adapters.portals import TIMEOUT_S
from raftstate.client import Store, txn
from raftstate.errors import Conflict, InvalidRequest
from raftstate.v1.kv_service_pb2 import Compare, TxnOp

NUMBER_MAX: Final = (1 << 63) - 1
# A transaction has 128 compares and operations: some are the head's and the fence's.
_OPERATIONS: Final = 112
# What callers who share a transaction may insert together.
_GROUP_BYTES: Final = 1 << 19
# Records of the log that are fetched side by side.
_FETCHED: Final = 32
_PAUSE_S: Final = 0.01

_NUMBER: Final = struct.Struct(">Q")
_RUN: Final = struct.Struct(">QQI")  # first version, last number of the record, place in it
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


class Position(NamedTuple):
    """How far the events of another application are dealt with."""

    application: str
    number: int


class Taken(Exception):
    """A version of an originator is there already, or a position is not ahead."""


class Run(NamedTuple):
    """Versions in a row of one originator, and where the first is among what is inserted."""

    originator: str
    first: int
    last: int
    place: int


class _Insert:
    """What one caller wants to have inserted, and what became of it."""

    def __init__(self, entries: Sequence[Entry], position: Position | None) -> None:
        self.entries = list(entries)
        self.position = position
        self.runs = list(_runs(self.entries))
        self.originators = {run.originator for run in self.runs}
        self.bytes = sum(len(one.state) + len(one.topic) + 64 for one in self.entries)
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    @property
    def operations(self) -> int:
        """What it costs of a transaction, at most."""
        mine = len(self.runs) + len(self.originators)
        return mine + 2 * bool(self.entries) + 2 * (self.position is not None)

    def settle(self, outcome: list[int] | BaseException) -> None:
        """Tell the caller, unless it has gone."""
        if self.done.done():
            return
        if isinstance(outcome, BaseException):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Log:
    """The log under a key. Used on the thread of one portal only."""

    def __init__(self, *under: Part, owner: records.Owner | None = None) -> None:
        self._under = under
        self._owner = owner
        self._head_key = key(*under, "head")
        self._waiting: deque[_Insert] = deque()
        self._writer: asyncio.Task[None] | None = None
        # The last number, as this process knows it; None if it does not.
        self._last: int | None = None
        self._followed: set[str] = set()

    @property
    def head_key(self) -> bytes:
        """The key that changes whenever events are inserted."""
        return self._head_key

    # --- inserting ---

    async def insert(
        self, store: Store, entries: Sequence[Entry], position: Position | None = None
    ) -> list[int]:
        """Insert all of them, and the position, or nothing; their numbers.

        Raises Taken, InvalidRequest (definite) for more than a transaction holds, Fenced
        (definite), and what `Store.txn` does."""
        insert = _Insert(entries, position)
        if insert.operations > _OPERATIONS:
            raise InvalidRequest(
                f"{len(insert.originators)} originators with {len(insert.runs)} runs of"
                " versions are inserted together; the two come to at most"
                f" {_OPERATIONS - 4}",
                definite=True,
                details={"field": "stored_events", "limit": str(_OPERATIONS - 4)},
            )
        _check_distinct(insert.entries)
        self._waiting.append(insert)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(store))
        try:
            return await insert.done
        finally:
            if insert in self._waiting:  # the caller was interrupted
                self._waiting.remove(insert)

    async def _write(self, store: Store) -> None:
        """Carry out what waits, as much at a time as may go together."""
        while self._waiting:
            group = self._next_group()
            try:
                await self._commit(store, group)
            except BaseException as error:
                self._last = None
                failed: BaseException = error
                if isinstance(error, asyncio.CancelledError):
                    group += self._waiting
                    self._waiting.clear()
                    failed = Conflict("interrupted while events were inserted", definite=False)
                for insert in group:
                    insert.settle(failed)
                if not isinstance(error, Exception):
                    raise

    def _next_group(self) -> list[_Insert]:
        """The first that waits, and those behind it which fit and have nothing to do with
        each other."""
        group = [self._waiting.popleft()]
        left = _OPERATIONS - group[0].operations - len(group[0].originators)
        size, originators = group[0].bytes, set(group[0].originators)
        applications = {one.position.application for one in group if one.position}
        while self._waiting:
            one = self._waiting[0]
            left -= one.operations + len(one.originators)
            size += one.bytes
            if left < 0 or size > _GROUP_BYTES or originators & one.originators:
                break
            if one.position is not None:
                if one.position.application in applications:
                    break
                applications.add(one.position.application)
            originators |= one.originators
            group.append(self._waiting.popleft())
        return group

    async def _commit(self, store: Store, group: list[_Insert]) -> None:
        """Insert a group: at once if nobody else writes, or else as soon as may be."""
        until = asyncio.get_running_loop().time() + TIMEOUT_S
        if self._last is not None and await self._try(store, group, self._last, {}):
            return
        for attempt in itertools.count(1):
            last = await self.last(store)
            group, known = await self._sift(store, group)
            if not group or await self._try(store, group, last, known):
                return
            if asyncio.get_running_loop().time() > until:
                raise Conflict(
                    f"others inserted events first, {attempt} times in a row", definite=True
                )
            await asyncio.sleep(_PAUSE_S * min(attempt, 10) * random.random())

    async def _try(
        self, store: Store, group: list[_Insert], last: int, known: dict[bytes, int | None]
    ) -> bool:
        """Write a group if the last number is this one. What is `known` was read after it;
        of the rest it is compared that nothing stands in the way."""
        when = [_same(self._head_key, last or None)]
        puts: dict[bytes, bytes] = {}
        extra: list[TxnOp] = []
        number = last
        numbers: list[list[int]] = []
        for insert in group:
            numbers.append(list(range(number + 1, number + 1 + len(insert.entries))))
            number += len(insert.entries)
            if insert.entries:
                puts[key(*self._under, "log", number)] = _packed(insert.entries)
            for run in insert.runs:
                place = _RUN.pack(run.first, number, run.place)
                extra.append(txn.put(self._run_key(run.originator, run.last), place))
            for originator, first, top in _spans(insert.runs):
                at = key(*self._under, "top", originator)
                if at not in known:
                    when.append(_below(at, first, exists=first > 1))
                highest = max(top, known.get(at) or 0)
                extra.append(txn.put(at, _NUMBER.pack(highest)))
            if insert.position is not None:
                application, tracked = insert.position
                at = key(*self._under, "tracked", application)
                if at in known:
                    when.append(_same(at, known[at]))
                else:
                    when.append(_below(at, tracked, exists=application in self._followed))
                extra.append(txn.put(at, _NUMBER.pack(tracked)))
        if number > last:
            extra.append(txn.put(self._head_key, _NUMBER.pack(number)))
        if not await records.write(store, puts, when=when, extra=extra, owner=self._owner):
            self._last = None
            return False
        self._last = number
        for insert, given in zip(group, numbers, strict=True):
            if insert.position is not None:
                self._followed.add(insert.position.application)
            insert.settle(given)
        return True

    async def _sift(
        self, store: Store, group: list[_Insert]
    ) -> tuple[list[_Insert], dict[bytes, int | None]]:
        """Those of a group for which nothing stands in the way, and what was read of them.
        The others are told."""
        known: dict[bytes, int | None] = {}
        left: list[_Insert] = []
        for insert in group:
            try:
                await self._check(store, insert, known)
            except Taken as taken:
                insert.settle(taken)
            else:
                left.append(insert)
        return left, known

    async def _check(
        self, store: Store, insert: _Insert, known: dict[bytes, int | None]
    ) -> None:
        """Read what could stand in the way. Raises Taken."""
        tops = {one: key(*self._under, "top", one) for one in insert.originators}
        read = await asyncio.gather(*(_number(store, at) for at in tops.values()))
        known.update(zip(tops.values(), read, strict=True))
        for run in insert.runs:
            top = known[tops[run.originator]]
            if top is None or top < run.first:
                continue
            async with aclosing(self._runs_from(store, run.originator, run.first, 1)) as found:
                async for last, place in found:
                    if place[0] <= run.last:
                        raise Taken(
                            f"versions {place[0]} to {last} of {run.originator} are recorded"
                            f" already; {run.first} to {run.last} were to be inserted"
                        )
                    break
        if insert.position is not None:
            application, number = insert.position
            at = key(*self._under, "tracked", application)
            known[at] = before = await _number(store, at)
            if before is not None and before >= number:
                raise Taken(f"{application} is dealt with up to {before}; not ahead: {number}")

    # --- reading ---

    async def last(self, store: Store) -> int:
        """The number of the last event; 0 if there is none."""
        return await _number(store, self._head_key) or 0

    async def tracked(self, store: Store, application: str) -> int | None:
        """How far the events of an application are dealt with."""
        return await _number(store, key(*self._under, "tracked", application))

    async def numbered(
        self, store: Store, first: int, *, page_size: int = 0
    ) -> AsyncGenerator[Numbered, None]:
        """All events from a number on."""
        if first > NUMBER_MAX:
            return
        found = records.scan(
            store,
            start=key(*self._under, "log", first),
            end=key(*self._under, "log") + _AFTER,
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
        self, store: Store, runs: AsyncGenerator[tuple[int, int, int, int], None]
    ) -> AsyncGenerator[list[Entry], None]:
        """What the log has of each run. More and more runs are fetched side by side, so that
        who wants the last event only does not wait for others."""
        most, pending = 1, list[tuple[int, int, int, int]]()

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
        at = key(*self._under, "log", number)
        record = await records.read(store, at)
        if record is None:
            raise records.Damaged(f"{at!r} is missing", definite=True)
        return _unpacked(record.data)[place : place + last - first + 1]

    async def _forwards(
        self, store: Store, originator: str, low: int, high: int
    ) -> AsyncGenerator[tuple[int, int, int, int], None]:
        found = self._runs_from(store, originator, low)
        async with aclosing(found):
            async for last, place in found:
                if place[0] > high:
                    return
                yield last, *place

    async def _backwards(
        self, store: Store, originator: str, low: int, high: int
    ) -> AsyncGenerator[tuple[int, int, int, int], None]:
        # The run that holds `high` is known by its last version, which is not below.
        async with aclosing(self._runs_from(store, originator, high, 1)) as found:
            async for last, place in found:
                if place[0] <= high:
                    yield last, *place
                break
        if low < high:
            start, end = self._run_key(originator, low), self._run_key(originator, high)
            async for one in store.keys.range(start, end, backwards=True):
                yield _tail(one.key), *_RUN.unpack(one.value)

    async def _runs_from(
        self, store: Store, originator: str, low: int, page_size: int = 0
    ) -> AsyncGenerator[tuple[int, tuple[int, int, int]], None]:
        """The runs that end with a version or a later one: that, and where they are."""
        start = self._run_key(originator, low)
        end = key(*self._under, "of", originator) + _AFTER
        async for one in store.keys.range(start, end, page_size=page_size):
            yield _tail(one.key), _RUN.unpack(one.value)

    def _run_key(self, originator: str, version: int) -> bytes:
        return key(*self._under, "of", originator, version)


# --- inside ------------------------------------------------------------------


def _runs(entries: Iterable[Entry]) -> Iterator[Run]:
    """Neighbours that are one originator's, with versions in a row."""
    run: Run | None = None
    for place, entry in enumerate(entries):
        if run and (entry.originator, entry.version) == (run.originator, run.last + 1):
            run = run._replace(last=entry.version)
            continue
        if run is not None:
            yield run
        run = Run(entry.originator, entry.version, entry.version, place)
    if run is not None:
        yield run


def _spans(runs: Iterable[Run]) -> Iterator[tuple[str, int, int]]:
    """The lowest and the highest version of each originator."""
    spans: dict[str, tuple[int, int]] = {}
    for run in runs:
        low, high = spans.get(run.originator, (run.first, run.last))
        spans[run.originator] = min(low, run.first), max(high, run.last)
    for originator, (low, high) in spans.items():
        yield originator, low, high


def _check_distinct(entries: Sequence[Entry]) -> None:
    seen = {(one.originator, one.version) for one in entries}
    if len(seen) < len(entries):
        raise Taken("two of the events have the same originator and version")


def _same(at: bytes, number: int | None) -> Compare:
    """There is this number under a key; or none."""
    return txn.missing(at) if number is None else txn.equal(at, value=_NUMBER.pack(number))


def _below(at: bytes, number: int, *, exists: bool) -> Compare:
    """What is there is lower; or nothing is there."""
    return txn.less(at, value=_NUMBER.pack(number)) if exists else txn.missing(at)


async def _number(store: Store, at: bytes) -> int | None:
    found = await store.keys.get(at)
    if found is None:
        return None
    number: int = _NUMBER.unpack(found.value)[0]
    return number


def _tail(made: bytes) -> int:
    """The number that a key ends with: 16 digits, and the end of a part."""
    return int(made[-17:-1], 16)


def _packed(entries: Iterable[Entry]) -> bytes:
    packed: bytes = msgpack.packb([list(entry) for entry in entries])
    return packed


def _unpacked(data: bytes) -> list[Entry]:
    rows: list[list[Any]] = msgpack.unpackb(data)
    return [Entry(*row) for row in rows]
