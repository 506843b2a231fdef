"""A log of events in the store: numbered without a gap, and unique by originator and version.

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
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from raftstate.adapters import records
from raftstate.adapters.eventsourcing.reading import (
    NUMBER,
    PLACE,
    Entry,
    Reader,
    number_at,
    packed,
)
from raftstate.adapters.keys import Part
from raftstate.client import Store, txn
from raftstate.errors import Conflict, InvalidRequest, OutcomeUnknown
from raftstate.v1.kv_service_pb2 import Compare, TxnOp

# A transaction has 128 compares and operations: some are the head's and the fence's.
_OPERATIONS: Final = 112
# What callers who share a transaction may insert together.
_GROUP_BYTES: Final = 1 << 19
_PAUSE_S: Final = 0.01


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


class Log(Reader):
    """A log that is written. Used on the thread of one portal only."""

    def __init__(self, *under: Part, owner: records.Owner | None, timeout: float) -> None:
        super().__init__(*under)
        self._owner = owner
        self._timeout = timeout
        self._waiting: deque[_Insert] = deque()
        self._writer: asyncio.Task[None] | None = None
        # The last number, as this process knows it; None if it does not.
        self._last: int | None = None
        self._followed: set[str] = set()

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
                    failed = OutcomeUnknown("interrupted while inserting", definite=False)
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
        until = asyncio.get_running_loop().time() + self._timeout
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
        when = [_same(self.head_key, last or None)]
        puts: dict[bytes, bytes] = {}
        extra: list[TxnOp] = []
        number = last
        numbers: list[list[int]] = []
        for insert in group:
            numbers.append(list(range(number + 1, number + 1 + len(insert.entries))))
            number += len(insert.entries)
            if insert.entries:
                puts[self._key("log", number)] = packed(insert.entries)
            for run in insert.runs:
                place = PLACE.pack(run.first, number, run.place)
                extra.append(txn.put(self._run_key(run.originator, run.last), place))
            for originator, first, top in _spans(insert.runs):
                at = self._key("top", originator)
                if at not in known:
                    when.append(_below(at, first, exists=first > 1))
                highest = max(top, known.get(at) or 0)
                extra.append(txn.put(at, NUMBER.pack(highest)))
            if insert.position is not None:
                application, tracked = insert.position
                at = self._key("tracked", application)
                if at in known:
                    when.append(_same(at, known[at]))
                else:
                    when.append(_below(at, tracked, exists=application in self._followed))
                extra.append(txn.put(at, NUMBER.pack(tracked)))
        if number > last:
            extra.append(txn.put(self.head_key, NUMBER.pack(number)))
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
        tops = {one: self._key("top", one) for one in insert.originators}
        read = await asyncio.gather(*(number_at(store, at) for at in tops.values()))
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
            at = self._key("tracked", application)
            known[at] = before = await number_at(store, at)
            if before is not None and before >= number:
                raise Taken(f"{application} is dealt with up to {before}; not ahead: {number}")


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
    return txn.missing(at) if number is None else txn.equal(at, value=NUMBER.pack(number))


def _below(at: bytes, number: int, *, exists: bool) -> Compare:
    """What is there is lower; or nothing is there."""
    return txn.less(at, value=NUMBER.pack(number)) if exists else txn.missing(at)
