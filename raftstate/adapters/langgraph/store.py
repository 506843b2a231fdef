"""LangGraph's long-term memory, kept in the store: `RaftStore`.

    with RaftStore("127.0.0.1:7411,127.0.0.1:7412", ttl={"default_ttl": 60}) as memory:
        graph = builder.compile(checkpointer=saver, store=memory)

Every item is one record; what is searched is read from one revision and filtered here, so
that a search costs what the namespace holds. There is no search by meaning: as with
LangGraph's other stores without an index, `query` and `index` change nothing.

**Time to live.** An item has a time at which it is over, and is never shown after it, swept
or not. It is not a lease: leases end within a day and hold a thousand keys each, and times
to live go up to months. What is over is removed by whoever writes or lists next, so that no
process has to run for it. Times are those of the hosts' clocks, which have to agree as well
as a time to live has to be kept.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from raftstate.adapters import records
from raftstate.adapters.langgraph import filters
from raftstate.adapters.langgraph.items import (
    Kept,
    Layout,
    Namespace,
    check_namespace,
    check_ttl,
    encoded,
    now_us,
)
from raftstate.adapters.records import Owning, owner_of
from raftstate.client import Store, txn
from raftstate.client.portal import Portal
from raftstate.errors import Compacted, Fenced, InvalidRequest, RaftStateError
from raftstate.v1.kv_service_pb2 import TxnOp

T = TypeVar("T")
Read = Callable[[Store], Awaitable[Result]]

_log = logging.getLogger(__name__)

# A framework does not try again, so that the store has to.
TIMEOUT_S: Final = 60.0
# Items that one transaction writes. Of its 128 compares and operations each is up to four,
# and three more if it is large.
PUTS_AT_ONCE: Final = 16
# What is over is looked for this often, unless told otherwise.
_SWEEP_S: Final = 60.0
_SWEPT_AT_ONCE: Final = 100
_LISTED_AT_ONCE: Final = 250
# How often what is being searched may be compacted away under the search.
_SEARCHES: Final = 5
# More than are wanted, before those that are not go.
_SPARE: Final = 1000


@dataclass(frozen=True, slots=True)
class _Put:
    """A checked put; without a value, it removes."""

    at: bytes
    namespace: Namespace
    key: str
    value: bytes | None
    ttl: float | None


@dataclass(frozen=True, slots=True)
class _Call:
    """What one caller wants written."""

    puts: Sequence[_Put]
    done: asyncio.Future[None]


class RaftStore(BaseStore):
    """A `BaseStore`. Any thread and any event loop may use it, with its methods for either
    face; several processes may use one `name` at a time.

    Of a batch, reads come first, as in all of LangGraph's stores, and each shows what was
    written before the batch began. Of several puts of an item the last one counts. The puts
    of a batch are one transaction while there are at most 16 (`PUTS_AT_ONCE`); beyond, 16
    after another. Puts that wait at the same time are written together, in order.

    With `owner`, an `AgentHandle` or `records.Owner`, puts raise Fenced (definite) and
    write nothing once the agent is not owned under that token any more. Reading goes on;
    it then makes no item live longer.

    Values are JSON: texts, numbers, booleans, None, lists, and mappings with texts as keys.
    Dates, times and UUIDs become texts. Times to live are in minutes.

    Calls raise NoQuorum, Overloaded, Closed (definite), OutcomeUnknown (indefinite: the
    items may be written, or may yet) and InvalidRequest (definite) as all clients of the
    store do; InvalidNamespaceError, TypeError and ValueError for what is no operation,
    before anything is done."""

    supports_ttl = True

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        *,
        name: str = "default",
        ttl: TTLConfig | None = None,
        owner: Owning | None = None,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`; or a `Portal`, which
        stays open when this closes. `name` tells the memories of a cluster apart.

        `ttl` is LangGraph's: `default_ttl` in minutes, `refresh_on_read` (reads make items
        live longer only where it is true), `sweep_interval_minutes` (a minute, if not told);
        `omit_expired` is always so. `timeout` is in seconds, of every call to the store.

        Raises InvalidRequest (definite) if one makes no sense, TypeError."""
        if isinstance(endpoints, Portal):
            if options:
                raise TypeError(f"a portal has its own options; {', '.join(options)} given")
            self._portal, self._own_portal = endpoints, False
        else:
            self._portal = Portal(endpoints, timeout=timeout, **options)
            self._own_portal = True
        self.ttl_config = ttl
        config: TTLConfig = ttl or {}
        check_ttl("default_ttl", config.get("default_ttl"))
        interval = check_ttl("sweep_interval_minutes", config.get("sweep_interval_minutes"))
        self._refreshes = config.get("refresh_on_read", False)
        self._sweep_s = _SWEEP_S if interval is None else interval * 60
        self._owner = owner_of(owner)
        self._timeout = timeout
        self._layout = Layout(name)
        # What follows is the portal's thread's.
        self._waiting: deque[_Call] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._swept = time.monotonic()
        self._sweeper: concurrent.futures.Future[None] | None = None

    # --- the two faces ---

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; their results, in order. This thread waits."""
        return self._portal.run(self._prepared(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; the event loop goes on meanwhile."""
        return await self._portal.arun(self._prepared(ops))

    def sweep_ttl(self) -> int:
        """Remove all items that are over; how many. Nobody sees a difference."""
        return self._portal.run(self._sweep_all)

    async def asweep_ttl(self) -> int:
        """As `sweep_ttl`; the event loop goes on meanwhile."""
        return await self._portal.arun(self._sweep_all)

    def start_ttl_sweeper(
        self, sweep_interval_minutes: float | None = None
    ) -> concurrent.futures.Future[None]:
        """Sweep again and again until `stop_ttl_sweeper`, `close`, or the cancelling of what
        is returned. Nothing needs it: it is for those who never write nor list."""
        interval = check_ttl("sweep_interval_minutes", sweep_interval_minutes)
        seconds = self._sweep_s if interval is None else interval * 60
        if self._sweeper is None or self._sweeper.done():

            async def begin(store: Store) -> concurrent.futures.Future[None]:
                sweeping = self._keep_sweeping(store, seconds)
                return asyncio.run_coroutine_threadsafe(sweeping, asyncio.get_running_loop())

            self._sweeper = self._portal.run(begin)
        return self._sweeper

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Sweep no more; whether none was under way, or it ended within `timeout` seconds."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is None or sweeper.cancel():
            return True
        return bool(concurrent.futures.wait([sweeper], timeout).done)

    def close(self) -> None:
        """Close the connections, unless they are those of a portal that was given. Closing
        twice is harmless."""
        self.stop_ttl_sweeper()
        if self._own_portal:
            self._portal.close()

    async def aclose(self) -> None:
        """As `close`; the event loop goes on meanwhile."""
        self.stop_ttl_sweeper()
        if self._own_portal:
            await self._portal.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- a batch ---

    def _prepared(
        self, ops: Iterable[Op]
    ) -> Callable[[Store], Coroutine[Any, Any, list[Result]]]:
        """The work of a batch, checked as a whole before any of it is done."""
        reads: dict[int, Read] = {}
        puts: dict[bytes, _Put] = {}
        count = 0
        for count, op in enumerate(ops, start=1):
            if isinstance(op, PutOp):
                put = self._put(op)
                puts.pop(put.at, None)
                puts[put.at] = put
            else:
                reads[count - 1] = self._read(op)

        async def work(store: Store) -> list[Result]:
            results: list[Result] = [None] * count
            found = await _together([read(store) for read in reads.values()])
            for index, result in zip(reads, found, strict=True):
                results[index] = result
            if puts:
                await self._written(store, list(puts.values()))
            return results

        return work

    def _put(self, op: PutOp) -> _Put:
        namespace, key = check_namespace(op.namespace), _text("key", op.key)
        value = None if op.value is None else encoded(namespace, key, op.value)
        ttl = check_ttl("ttl", op.ttl)
        return _Put(self._layout.item(namespace, key), namespace, key, value, ttl)

    def _read(self, op: Op) -> Read:
        if isinstance(op, GetOp):
            at = self._layout.item(check_namespace(op.namespace), _text("key", op.key))
            refresh = op.refresh_ttl
            return lambda store: self._get(store, at, refresh)
        if isinstance(op, SearchOp):
            return self._searching(op)
        if isinstance(op, ListNamespacesOp):
            return self._listing(op)
        raise ValueError(f"there is no operation of type {type(op).__name__}")

    # --- reading ---

    async def _get(self, store: Store, at: bytes, refresh: bool) -> Item | None:
        record = await records.read(store, at, timeout=self._timeout)
        if record is None:
            return None
        kept, now = Kept.read(record.data), now_us()
        if kept.over(now):
            return None
        if refresh:
            await self._refresh(store, at, record.revision, kept, now)
        return kept.item()

    async def _refresh(
        self, store: Store, at: bytes, revision: int, kept: Kept, now: int
    ) -> None:
        """Let an item live on, unless it was written meanwhile, and so lives anyway."""
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

    def _searching(self, op: SearchOp) -> Read:
        namespace = check_namespace(op.namespace_prefix)
        test = filters.compiled(op.filter)
        offset, limit = _bounds(op)

        async def search(store: Store) -> list[SearchItem]:
            for _ in range(_SEARCHES - 1):
                try:
                    found = await self._search(store, namespace, test, offset + limit)
                    break
                except Compacted:  # it took longer than revisions are kept
                    continue
            else:
                found = await self._search(store, namespace, test, offset + limit)
            found = found[offset:]
            if op.refresh_ttl:
                now = now_us()
                await _together(
                    [
                        self._refresh(store, one.record.key, one.record.revision, one.kept, now)
                        for one in found
                    ]
                )
            return [one.kept.found(one.value) for one in found]

        return search

    async def _search(
        self, store: Store, namespace: Namespace, test: filters.Test, most: int
    ) -> list[_Found]:
        """The newest items that are wanted, newest first."""
        found: list[_Found] = []
        below = self._layout.below(namespace)
        depth = len(namespace)
        async for record in records.scan(store, below, timeout=self._timeout):
            kept = Kept.read(record.data)
            if kept.namespace[:depth] != namespace or kept.over(now_us()):
                continue
            value = kept.decoded()
            if test(value):
                found.append(_Found(record, kept, value))
            if len(found) > 2 * most + _SPARE:
                found = sorted(found, key=_Found.order)[:most]
        return sorted(found, key=_Found.order)[:most]

    def _listing(self, op: ListNamespacesOp) -> Read:
        conditions = filters.checked(op.match_conditions)
        offset, limit = _bounds(op)
        depth = op.max_depth

        async def listing(store: Store) -> list[Namespace]:
            # Keys alone do not tell what is over.
            await self._sweep_all(store)
            seen: dict[Namespace, None] = {}
            start = below = self._layout.below(filters.beginning(conditions))
            end = _behind(below)
            while len(seen) < offset + limit:
                own, page = b"", 0
                keys = store.keys.range(
                    start,
                    end,
                    keys_only=True,
                    page_size=_LISTED_AT_ONCE,
                    timeout=self._timeout,
                )
                async for one in keys:
                    page += 1
                    if not (own and one.key.startswith(own)) and b"\0" not in one.key:
                        own, namespace = await self._namespace(store, one.key)
                        if namespace is not None and filters.matches(namespace, conditions):
                            seen[namespace[:depth]] = None
                    if page == _LISTED_AT_ONCE:
                        break
                if page < _LISTED_AT_ONCE:
                    break
                # What else is in the namespace that was seen last need not be looked at.
                start = max(_behind(own), one.key + b"\0") if own else one.key + b"\0"
            return list(seen)[offset : offset + limit]

        return listing

    async def _namespace(self, store: Store, at: bytes) -> tuple[bytes, Namespace | None]:
        own, namespace = self._layout.namespace(at)
        if namespace is None:
            record = await records.read(store, at, timeout=self._timeout)
            if record is None:  # it has just gone; the next one may tell
                return b"", None
            namespace = Kept.read(record.data).namespace
        return own, namespace

    # --- writing ---

    async def _written(self, store: Store, puts: Sequence[_Put]) -> None:
        """Have puts written in their turn. They are together with what else waits."""
        call = _Call(puts, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting(store))
        await call.done

    async def _write_waiting(self, store: Store) -> None:
        """Write what waits, as much at a time as fits into a transaction."""
        try:
            while self._waiting:
                calls, puts = self._next()
                try:
                    await self._write(store, list(puts.values()))
                except Exception as error:  # noqa: BLE001  # it is the callers'
                    for call in calls:
                        if not call.done.done():
                            call.done.set_exception(error)
                else:
                    for call in calls:
                        if not call.done.done():
                            call.done.set_result(None)
                await self._sweep_sometimes(store)
        finally:
            self._writing = None

    def _next(self) -> tuple[list[_Call], dict[bytes, _Put]]:
        """The calls that go next, in order, and what they come to."""
        calls: list[_Call] = []
        puts: dict[bytes, _Put] = {}
        while self._waiting:
            call = self._waiting[0]
            if call.done.done():  # nobody waits for it any more
                self._waiting.popleft()
                continue
            merged = puts | {put.at: put for put in call.puts}
            if calls and len(merged) > PUTS_AT_ONCE:
                break
            self._waiting.popleft()
            calls.append(call)
            puts = merged
        return calls, puts

    async def _write(self, store: Store, puts: Sequence[_Put]) -> None:
        for at in range(0, len(puts), PUTS_AT_ONCE):
            some = puts[at : at + PUTS_AT_ONCE]
            formers = await _together(
                [records.read(store, put.at, timeout=self._timeout) for put in some]
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
                    new = Kept.made(put.namespace, put.key, put.value, put.ttl, alive, now)
                    written[put.at] = new.written()
                due += self._due(put.at, former, new)
            await records.write(
                store, written, removed, extra=due, owner=self._owner, timeout=self._timeout
            )

    def _due(self, at: bytes, former: Kept | None, new: Kept | None) -> list[TxnOp]:
        """What changes of when an item is over."""
        before, after = (
            None
            if kept is None or kept.expires_us is None
            else self._layout.due_at(at, kept.expires_us)
            for kept in (former, new)
        )
        gone = [] if before in (None, after) else [txn.delete(before)]
        return gone if after is None else [*gone, txn.put(after, at)]

    # --- sweeping ---

    async def _sweep_sometimes(self, store: Store) -> None:
        """Remove some of what is over, if that was not done lately. Best effort: what stays
        is not shown, and goes the next time."""
        if time.monotonic() - self._swept < self._sweep_s:
            return
        self._swept = time.monotonic()
        try:
            _, seen = await self._sweep(store)
        except RaftStateError as error:
            _log.warning("items that are over could not be removed: %s", error)
            return
        if seen == _SWEPT_AT_ONCE:  # there is more
            self._swept -= self._sweep_s

    async def _sweep_all(self, store: Store) -> int:
        removed = 0
        while True:
            some, seen = await self._sweep(store)
            removed += some
            if seen < _SWEPT_AT_ONCE:
                return removed

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
        went = await _together([self._remove(store, key, at, now) for key, at in due])
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

    async def _keep_sweeping(self, store: Store, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._sweep_all(store)
            except RaftStateError as error:
                _log.warning("items that are over could not be removed: %s", error)


@dataclass(frozen=True, slots=True)
class _Found:
    record: records.Record
    kept: Kept
    value: dict[str, Any]

    def order(self) -> tuple[int, Namespace, str]:
        return (-self.kept.updated_us, self.kept.namespace, self.kept.key)


async def _together(works: Sequence[Awaitable[T]]) -> list[T]:
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


def _text(field: str, given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{field} is a text, not {type(given).__name__}")
    return given


def _bounds(op: SearchOp | ListNamespacesOp) -> tuple[int, int]:
    for field, given in (("offset", op.offset), ("limit", op.limit)):
        if given < 0:
            raise InvalidRequest(
                f"{field} is {given}; it is at least 0",
                definite=True,
                details={"field": field, "limit": "0"},
            )
    return op.offset, op.limit


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that have a prefix, which ends as a part does."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
