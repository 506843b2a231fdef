"""A log of events in the store: numbered without a gap, and unique by originator and version.

Everything that one call inserts appears at one revision, with the head, which has to be
what the writer saw: so numbers have no gaps, and nobody ever sees a number before a smaller
one. Callers of one process who insert at the same time share a transaction.

An attempt asks nothing before: it compares with where the log ended when this process saw
it last, and takes it that versions are new. If that does not hold, what there is is read,
what is taken is refused, and the rest is written unless that has changed meanwhile.

What is large is sent before, as a record of its own, once. Should its writer die then, it
stays without anybody's seeing it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Generic, NamedTuple, TypeVar

from raftstate.adapters import records
from raftstate.adapters.eventsourcing.reading import (
    INLINE,
    NUMBER,
    PLACE,
    SENT,
    Entry,
    Reader,
    packed,
)
from raftstate.adapters.keys import Part
from raftstate.client import Store, txn
from raftstate.errors import Conflict, Fenced, InvalidRequest, NoQuorum, OutcomeUnknown
from raftstate.v1.kv_service_pb2 import Compare, TxnOp

# A transaction has 128 compares and operations, of which each run of versions takes one and
# each originator two; some are the record's, the position's, the head's and the fence's.
SIZE_MAX: Final = 114
# What goes into the transaction itself; and what of all who share it.
_INLINE_BYTES: Final = 1 << 18
GROUP_BYTES: Final = 1 << 19
# How often one who is beaten waits, for a part of the time that an attempt takes.
_OUT_OF_STEP: Final = 0.5
# What an attempt has at least, in seconds.
_LEFT_MIN: Final = 0.01


class Position(NamedTuple):
    """How far the events of another application are dealt with."""

    application: str
    number: int


class Taken(Exception):
    """A version of an originator is there already, a position is not ahead, or an event is
    there that a condition does not allow."""


class Run(NamedTuple):
    """Versions in a row of one originator, and where the first is among what is inserted."""

    originator: str
    first: int
    last: int
    place: int


class Waiting:
    """What one caller wants to have inserted, and what became of it."""

    def __init__(self, count: int, data: bytes) -> None:
        self.count = count
        self.data = data
        self.until: float = 0.0  # when its time is over
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: list[int] | BaseException) -> None:
        """Tell the caller, unless it has gone."""
        if self.done.done():
            return
        if isinstance(outcome, BaseException):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class _Insert(Waiting):
    """Events by originator, and a position."""

    def __init__(self, entries: Sequence[Entry], position: Position | None) -> None:
        super().__init__(len(entries), packed(entries) if entries else b"")
        self.position = position
        self.runs = list(_runs(entries))
        self.originators = {run.originator for run in self.runs}

    @property
    def size(self) -> int:
        """What it costs of a transaction beside the position and the record."""
        return len(self.runs) + 2 * len(self.originators)


class _Known(NamedTuple):
    """A number under a key as it was read, and when it was written. None: there is none."""

    number: int | None
    revision: int


class Beaten(NamedTuple):
    """What the last number is instead, and what was read with it."""

    last: int
    seen: list[Any]


W = TypeVar("W", bound=Waiting)


class Writer(Reader, Generic[W]):
    """Who writes a log: callers of one process take turns, or share a transaction. Used on
    the thread of one portal only."""

    def __init__(self, *under: Part, owner: records.Owner | None, timeout: float) -> None:
        super().__init__(*under)
        self._owner = owner
        self._timeout = timeout
        self._waiting: deque[W] = deque()
        self._writer: asyncio.Task[None] | None = None
        # Those whose turn it is, until when, and whether what was sent for them is unanswered.
        self._group: list[W] = []
        self._until = 0.0
        self._sent = False
        # The last number, as this process knows it; None if it does not.
        self._last: int | None = None

    async def _insert(self, store: Store, one: W) -> list[int]:
        """The numbers of what is inserted, once it is. What is large is sent before. Raises
        NoQuorum (definite) if its turn does not come in time."""
        one.until = asyncio.get_running_loop().time() + self._timeout
        sent = None
        if len(one.data) > _INLINE_BYTES:
            name = secrets.token_bytes(8)
            sent = self._data_key(name)
            await records.write(
                store, {sent: one.data}, owner=self._owner, timeout=_left(one.until)
            )
            one.data = SENT + name
        else:
            one.data = INLINE + one.data
        try:
            return await self._inserted(store, one)
        except (Taken, Conflict, Fenced):
            if sent is not None:
                await records.remove(store, sent)
            raise

    async def _inserted(self, store: Store, one: W) -> list[int]:
        self._waiting.append(one)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(store))
        late = asyncio.get_running_loop().call_at(one.until + _LEFT_MIN, self._late)
        try:
            return await one.done
        finally:
            late.cancel()
            if one in self._waiting:  # the caller was interrupted
                self._waiting.remove(one)

    async def _write(self, store: Store) -> None:
        """Carry out what waits, as much at a time as may go together."""
        while self._waits():
            self._group = group = self._next_group()
            # Who has the most time left is not hindered by who has less: that one is told
            # when its own is over.
            self._until = max(one.until for one in group)
            self._sent = False
            try:
                await self._commit(store, group, self._until)
            except BaseException as error:
                self._last = None
                failed: BaseException = error
                if isinstance(error, asyncio.CancelledError):
                    group += self._waiting
                    self._waiting.clear()
                    failed = OutcomeUnknown("interrupted while inserting", definite=False)
                for one in group:
                    one.settle(failed)
                if not isinstance(error, Exception):
                    raise
            finally:
                self._group = []

    def _waits(self) -> bool:
        """Whether anybody waits who has time left."""
        self._late()
        return bool(self._waiting)

    def _late(self) -> None:
        """Tell those whose time is over; but who has the most of a group hears what became of
        the group."""
        now = asyncio.get_running_loop().time()
        for one in [one for one in self._waiting if one.until <= now]:
            self._waiting.remove(one)
            one.settle(NoQuorum("the inserts before this one did not end", definite=True))
        for one in self._group:
            if one.until > now or one.until == self._until:
                continue
            if self._sent:
                one.settle(OutcomeUnknown("no answer in time", definite=False))
            else:  # nor will it be: who was told is left out
                one.settle(NoQuorum("not sent in time", definite=True))

    def _next_group(self) -> list[W]:
        """The first that waits, and those behind it which fit."""
        raise NotImplementedError

    async def _commit(self, store: Store, group: list[W], until: float) -> None:
        """Insert those of a group who are not told yet, in time, and tell them."""
        raise NotImplementedError

    async def _do(
        self,
        store: Store,
        last: int,
        number: int,
        when: list[Compare],
        then: list[TxnOp],
        otherwise: Iterable[TxnOp] = (),
    ) -> Beaten | None:
        """Do it if all this holds, and the last number is this one; it is `number` then.
        None if it is done, or what there is instead. Raises Fenced (definite)."""
        fence = [self._owner.compare] if self._owner is not None else []
        if number > last:
            then = [*then, txn.put(self.head_key, NUMBER.pack(number))]
        self._sent = True
        done = await store.txn(
            when=[*fence, _same(self.head_key, last or None), *when],
            then=then,
            otherwise=[txn.nested(when=fence), txn.get(self.head_key), *otherwise],
            timeout=_left(self._until),
        )
        self._sent = False
        if not done.succeeded:
            fenced, head, *seen = done.results
            if self._owner is not None and not fenced.succeeded:
                raise records.fenced(self._owner)
            return Beaten(0 if head is None else NUMBER.unpack(head.value)[0], seen)
        self._last = number
        return None

    async def _last_seen(self, store: Store, until: float) -> int:
        """The last number, as this process knows it, or else as it is read."""
        if self._last is not None:
            return self._last
        return (await _read(store, self.head_key, _left(until))).number or 0

    async def _pause(self, attempt: int, begun: float, until: float) -> None:
        """Who is beaten by another process knows from that where the log ends, and tries
        again at once, or nearly so, lest two go on in step: who waited for longer than an
        attempt takes would be beaten for good by those who do not wait. Raises Conflict
        (definite) if there is no time for another as long."""
        now = asyncio.get_running_loop().time()
        if now + (now - begun) > until:
            raise Conflict(
                f"others inserted events first, {attempt} times in a row", definite=True
            )
        if random.random() < _OUT_OF_STEP:
            await asyncio.sleep((now - begun) * random.random())


class Log(Writer[_Insert]):
    """A log that is written. Used on the thread of one portal only."""

    def __init__(self, *under: Part, owner: records.Owner | None, timeout: float) -> None:
        super().__init__(*under, owner=owner, timeout=timeout)
        self._followed: set[str] = set()

    async def insert(
        self, store: Store, entries: Sequence[Entry], position: Position | None = None
    ) -> list[int]:
        """Insert all of them, and the position, or nothing; their numbers.

        Raises Taken, InvalidRequest (definite) for more than a transaction holds, Fenced
        (definite), and what `Store.txn` does."""
        _check_distinct(entries)
        insert = _Insert(entries, position)
        if insert.size > SIZE_MAX:
            raise InvalidRequest(
                f"events of {len(insert.originators)} originators, in {len(insert.runs)} runs"
                " of versions, are inserted together; twice the former and the latter come to"
                f" at most {SIZE_MAX}",
                definite=True,
                details={"field": "stored_events", "limit": str(SIZE_MAX)},
            )
        return await self._insert(store, insert)

    def _next_group(self) -> list[_Insert]:
        """The first that waits, and those behind it which fit and have nothing to do with
        each other."""
        group: list[_Insert] = []
        size = data = 0
        originators, applications = set[str](), set[str]()
        while self._waiting:
            one = self._waiting[0]
            application = {one.position.application} if one.position else set[str]()
            size += one.size + 3 * bool(group)
            data += len(one.data)
            if group and (
                size > SIZE_MAX
                or data > GROUP_BYTES
                or originators & one.originators
                or applications & application
            ):
                break
            originators |= one.originators
            applications |= application
            group.append(self._waiting.popleft())
        return group

    async def _commit(self, store: Store, group: list[_Insert], until: float) -> None:
        """Insert those of a group who are not told yet, in time, and tell them."""
        last = await self._last_seen(store, until)
        known: dict[bytes, _Known] = {}
        for attempt in itertools.count(1):
            self._last = None
            begun = asyncio.get_running_loop().time()
            group = [one for one in group if not one.done.done()]
            if not group:
                self._last = last
                return
            found = await self._try(store, group, last, known)
            if found is None:
                return
            if found == last:  # it is not the head that stands in the way
                async with in_time(until):
                    group, known = await self._sift(store, group)
                if not group:
                    self._last = last
                    return
            last = found
            await self._pause(attempt, begun, until)

    async def _try(
        self, store: Store, group: list[_Insert], last: int, known: dict[bytes, _Known]
    ) -> int | None:
        """Write a group if the last number is this one, what is `known` is still so, and of
        the rest nothing stands in the way. None if it is written, or else what the last
        number is. Raises Fenced (definite)."""
        when: list[Compare] = []
        then: list[TxnOp] = []
        number = last
        for insert in group:
            number += insert.count
            if insert.count:
                then.append(txn.put(self._key("log", number), insert.data))
            for run in insert.runs:
                place = PLACE.pack(run.first, number, run.place)
                then.append(txn.put(self._run_key(run.originator, run.last), place))
            for originator, first, top in _spans(insert.runs):
                at = self._key("top", originator)
                when.append(_unchanged(at, known) or _below(at, first, exists=first > 1))
                before = known[at].number if at in known else None
                then.append(txn.put(at, NUMBER.pack(max(top, before or 0))))
            if insert.position is not None:
                application, tracked = insert.position
                at = self._key("tracked", application)
                exists = application in self._followed
                when.append(_unchanged(at, known) or _below(at, tracked, exists=exists))
                then.append(txn.put(at, NUMBER.pack(tracked)))
        beaten = await self._do(store, last, number, when, then)
        if beaten is not None:
            return beaten.last
        number = last
        for insert in group:
            if insert.position is not None:
                self._followed.add(insert.position.application)
            insert.settle(list(range(number + 1, number + 1 + insert.count)))
            number += insert.count
        return None

    async def _sift(
        self, store: Store, group: list[_Insert]
    ) -> tuple[list[_Insert], dict[bytes, _Known]]:
        """Those of a group for which nothing stands in the way, and what was read of them.
        The others are told."""
        known: dict[bytes, _Known] = {}
        left: list[_Insert] = []
        for insert in group:
            try:
                await self._check(store, insert, known)
            except Taken as taken:
                insert.settle(taken)
            else:
                left.append(insert)
        return left, known

    async def _check(self, store: Store, insert: _Insert, known: dict[bytes, _Known]) -> None:
        """Read what could stand in the way. Raises Taken."""
        tops = {one: self._key("top", one) for one in insert.originators}
        read = await asyncio.gather(*(_read(store, at) for at in tops.values()))
        known.update(zip(tops.values(), read, strict=True))
        for run in insert.runs:
            top = known[tops[run.originator]].number
            if top is None or top < run.first:
                continue
            async with aclosing(self._runs_from(store, run.originator, run.first, 1)) as found:
                async for one in found:
                    if one.first <= run.last:
                        raise Taken(
                            f"versions {one.first} to {one.last} of {run.originator} are"
                            f" recorded already; {run.first} to {run.last} are not new"
                        )
                    break
        if insert.position is not None:
            application, number = insert.position
            at = self._key("tracked", application)
            known[at] = await _read(store, at)
            before = known[at].number
            if before is not None and before >= number:
                raise Taken(f"{application} is dealt with up to {before}; not ahead: {number}")


@asynccontextmanager
async def in_time(until: float) -> AsyncGenerator[None]:
    """End what is read in the block at some moment. Raises NoQuorum (definite) then."""
    try:
        async with asyncio.timeout_at(until):
            yield
    except TimeoutError as error:
        raise NoQuorum("what stands in the way was not read in time", definite=True) from error


# --- inside ------------------------------------------------------------------


def _left(until: float) -> float:
    """Seconds until some moment."""
    return max(until - asyncio.get_running_loop().time(), _LEFT_MIN)


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


def _unchanged(at: bytes, known: dict[bytes, _Known]) -> Compare | None:
    """What was read is still so; None if it was not read."""
    return txn.equal(at, mod_revision=known[at].revision) if at in known else None


async def _read(store: Store, at: bytes, timeout: float | None = None) -> _Known:
    found = await store.keys.get(at, timeout=timeout)
    if found is None:
        return _Known(None, 0)
    return _Known(NUMBER.unpack(found.value)[0], found.mod_revision)
