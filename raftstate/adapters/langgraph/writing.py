"""How a `RaftStore` writes: what waits at the same time goes together, in order; and what
is over goes with it.

Everything here runs on the portal's thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from raftstate.adapters import records
from raftstate.adapters.langgraph.items import Kept, Layout, Namespace, microseconds, now_us
from raftstate.adapters.records import Damaged, Owner
from raftstate.client import Store, txn
from raftstate.errors import (
    Fenced,
    InvalidRequest,
    NoQuorum,
    OutcomeUnknown,
    RaftStateError,
    TooMany,
)
from raftstate.v1.kv_service_pb2 import TxnOp

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Items that one transaction writes. Of its 128 compares and operations each is up to four,
# and three more if it is large.
PUTS_AT_ONCE: Final = 16
# What a record holds, but for what it says of an item beside its value.
ITEM_BYTES_MAX: Final = records.RECORD_BYTES_MAX - (1 << 20)
# A character in JSON, if it is written as two surrogates.
_CHARACTER_BYTES_MAX: Final = 12
_SWEPT_AT_ONCE: Final = 100
# What a step of a write has at least, in seconds.
_LEFT_MIN: Final = 0.01


@dataclass(frozen=True, slots=True)
class Put:
    """A put that was checked; without a value, it removes."""

    at: bytes
    namespace: Namespace
    key: str
    value: bytes | None
    ttl: float | None
    vectors: tuple[str, ...] = ()

    def check_size(self) -> None:
        """Raises InvalidRequest (definite) if no record holds it."""
        size = len(self.value or b"") + sum(map(len, self.vectors))
        # In JSON, as part of the record.
        size += _CHARACTER_BYTES_MAX * sum(map(len, (self.key, *self.namespace)))
        if size > ITEM_BYTES_MAX:
            raise InvalidRequest(
                f"item {self.key[:100]!r} has {size} bytes; at most {ITEM_BYTES_MAX} are"
                " stored",
                definite=True,
                details={"field": "value", "limit": str(ITEM_BYTES_MAX)},
            )

    def kept(self, former: Kept | None, now: int) -> Kept:
        """What it comes to, where there was this. It is as old as that, and its changes are
        in order, also if hosts' clocks are not."""
        created, updated = now, now
        if former is not None:
            created, updated = former.created_us, max(now, former.updated_us + 1)
        return Kept(
            namespace=self.namespace,
            key=self.key,
            value=self.value or b"",
            created_us=created,
            updated_us=updated,
            ttl=self.ttl,
            expires_us=None if self.ttl is None else now + microseconds(self.ttl),
            vectors=self.vectors,
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """What one caller wants written."""

    puts: Sequence[Put]
    until: float
    done: asyncio.Future[None]

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless it knows, or has gone."""
        if not self.done.done():
            self.done.set_exception(error)


class Writing:
    """The writing half of a store."""

    def __init__(
        self,
        layout: Layout,
        owner: Owner | None,
        timeout: float,
        *,
        refreshes: bool,
        sweep_s: float,
    ) -> None:
        self._layout = layout
        self._owner = owner
        self._timeout = timeout
        self._refreshes = refreshes
        self.sweep_s = sweep_s
        self._waiting: deque[_Call] = deque()
        self._group: list[_Call] = []  # whose turn it is
        self._alone = 0  # so many of them go one by one
        self._task: asyncio.Task[None] | None = None
        self._swept = time.monotonic()

    async def put(self, store: Store, puts: Sequence[Put]) -> None:
        """Have puts written in their turn, together with what else waits then. Raises
        InvalidRequest (definite), before anything is written, for an item that is too large,
        NoQuorum (definite) if their turn does not come in time, and OutcomeUnknown if it does,
        but does not end."""
        for one in puts:
            one.check_size()
        until = time.monotonic() + self._timeout
        call = _Call(puts, until, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._task is None:
            self._task = asyncio.create_task(self._write_waiting(store))
        loop = asyncio.get_running_loop()
        late = loop.call_later(self._timeout + _LEFT_MIN, self._late)
        try:
            await call.done
        finally:
            late.cancel()

    async def _write_waiting(self, store: Store) -> None:
        """Write what waits, as much at a time as fits into a transaction."""
        try:
            while self._waiting:
                calls, puts = self._next()
                if not calls:
                    return
                self._group = calls
                try:
                    # Who has the most time left is not hindered by who has less.
                    until = max(call.until for call in calls)
                    await self._write(store, list(puts.values()), until)
                except Exception as error:  # noqa: BLE001  # it is the callers'
                    if len(calls) > 1 and isinstance(error, Damaged | TooMany):
                        # Nothing was written. Whose fault it is each finds out alone.
                        self._waiting.extendleft(reversed(calls))
                        self._alone = len(calls)
                        continue
                    for call in calls:
                        call.fail(error)
                else:
                    for call in calls:
                        if not call.done.done():
                            call.done.set_result(None)
                finally:
                    self._group = []
                await self._sweep_sometimes(store)
        finally:
            self._task = None

    def _late(self) -> None:
        """Tell those whose time is over; but who has the most of those whose turn it is hears
        what became of it."""
        now = time.monotonic()
        for call in self._waiting:
            if call.until <= now:
                call.fail(NoQuorum("the writes before this one did not end", definite=True))
        last = max((call.until for call in self._group), default=0.0)
        for call in self._group:
            if call.until <= now and call.until < last:
                call.fail(OutcomeUnknown("not written in time", definite=False))

    def _next(self) -> tuple[list[_Call], dict[bytes, Put]]:
        """The calls that go next, in order, and what they come to."""
        calls: list[_Call] = []
        puts: dict[bytes, Put] = {}
        self._late()
        while self._waiting:
            call = self._waiting[0]
            if call.done.done():  # nobody waits for it any more
                self._waiting.popleft()
                continue
            merged = puts | {put.at: put for put in call.puts}
            if calls and (self._alone or len(merged) > PUTS_AT_ONCE):
                break
            self._waiting.popleft()
            calls.append(call)
            puts = merged
        self._alone = max(self._alone - 1, 0)
        return calls, puts

    async def _write(self, store: Store, puts: Sequence[Put], until: float) -> None:
        """Write them, the first of them until some moment; of many, each more that go
        together have as long as a call."""
        for at in range(0, len(puts), PUTS_AT_ONCE):
            if at:
                until = time.monotonic() + self._timeout
            some = puts[at : at + PUTS_AT_ONCE]
            formers = await together(
                [records.read(store, put.at, timeout=_left(until)) for put in some]
            )
            now = now_us()
            written: dict[bytes, bytes] = {}
            removed: list[bytes] = []
            due: list[TxnOp] = []
            for put, record in zip(some, formers, strict=True):
                former = None if record is None else Kept.read(record.data)
                new: Kept | None = None
                if put.value is None:
                    removed.append(put.at)
                else:
                    alive = None if former is None or former.over(now) else former
                    new = put.kept(alive, now)
                    written[put.at] = new.written()
                due += self._due(put.at, former, new)
            await records.write(
                store, written, removed, extra=due, owner=self._owner, timeout=_left(until)
            )

    def _due(self, at: bytes, former: Kept | None, new: Kept | None) -> list[TxnOp]:
        """What changes of when an item is over."""
        before, after = (
            None
            if kept is None or kept.expires_us is None
            else self._layout.due_at(at, kept.expires_us)
            for kept in (former, new)
        )
        gone = [] if before in (None, after) else [txn.delete(before or b"")]
        return gone if after is None else [*gone, txn.put(after, at)]

    async def refresh(
        self, store: Store, at: bytes, revision: int, kept: Kept, now: int
    ) -> None:
        """Let an item live on, unless it was written meanwhile, and so lives anyway; or the
        owner has another by now, which may read, and changes nothing."""
        later = kept.refreshed(now) if self._refreshes else None
        if later is None:
            return
        try:
            await records.write(
                store,
                {at: later.written()},
                when=[txn.equal(at, mod_revision=revision)],
                extra=self._due(at, kept, later),
                owner=self._owner,
                timeout=self._timeout,
            )
        except Fenced as error:
            _log.debug("an item does not live on for being read: %s", error)

    # --- sweeping ---

    async def _sweep_sometimes(self, store: Store) -> None:
        """Remove some of what is over, if that was not done lately. Best effort: what stays
        is not shown, and goes the next time."""
        if time.monotonic() - self._swept < self.sweep_s:
            return
        self._swept = time.monotonic()
        try:
            _, seen = await self._sweep(store)
        except RaftStateError as error:
            _log.warning("items that are over could not be removed: %s", error)
            return
        if seen == _SWEPT_AT_ONCE:  # there is more
            self._swept -= self.sweep_s

    async def sweep(self, store: Store) -> int:
        """Remove all that is over; how many items went."""
        removed = 0
        while True:
            some, seen = await self._sweep(store)
            removed += some
            if seen < _SWEPT_AT_ONCE:
                return removed

    async def keep_sweeping(self, store: Store, seconds: float) -> None:
        """Sweep every so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.sweep(store)
            except RaftStateError as error:
                _log.warning("items that are over could not be removed: %s", error)

    async def _sweep(self, store: Store) -> tuple[int, int]:
        """Remove what is over, some of it, whoever owns anything: nobody sees a difference.
        How many items went, and how many were looked at."""
        now = now_us()
        due: list[tuple[bytes, bytes]] = []
        found = store.keys.range(
            self._layout.due(),
            self._layout.due(now + 1),
            page_size=_SWEPT_AT_ONCE,
            timeout=self._timeout,
        )
        async for one in found:
            due.append((one.key, one.value))
            if len(due) == _SWEPT_AT_ONCE:
                break
        went = await together([self._remove(store, key, at, now) for key, at in due])
        return sum(went), len(due)

    async def _remove(self, store: Store, due: bytes, at: bytes, now: int) -> bool:
        record = await records.read(store, at, timeout=self._timeout)
        if record is not None and Kept.read(record.data).over(now):
            return await records.write(
                store,
                {},
                [at],
                when=[txn.equal(at, mod_revision=record.revision)],
                extra=[txn.delete(due)],
                timeout=self._timeout,
            )
        # It was put again, or is gone: this time means nothing any more.
        await store.keys.delete(due, timeout=self._timeout)
        return False


def _left(until: float) -> float:
    """Seconds until some moment."""
    return max(until - time.monotonic(), _LEFT_MIN)


async def together(works: Sequence[Awaitable[T]]) -> list[T]:
    """What all come to. If one fails, the others are ended before it is raised."""
    if len(works) <= 1:
        return [await work for work in works]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
