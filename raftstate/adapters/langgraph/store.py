"""LangGraph's long-term memory, kept in the store: `RaftStore`.

    with RaftStore("127.0.0.1:7411,127.0.0.1:7412", ttl={"default_ttl": 60}) as memory:
        graph = builder.compile(checkpointer=saver, store=memory)

Every item is one record; what is searched is read at one revision and filtered here, so
that a search costs what the namespace holds. With an `index`, items are embedded when they
are put, and a search with a `query` gives the likest first; without one, `query` and
`index` change nothing.

**Time to live.** An item has a time at which it is over, and is never shown after it, swept
or not. It is not a lease: leases end within a day and hold a thousand keys each, and times
to live go up to months. What is over is removed by whoever writes or lists next, so that no
process has to run for it. Times are those of the hosts' clocks, which have to agree as well
as a time to live has to be kept; in tests, that of the kit (`raftstate.testing`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
)

from raftstate.adapters.langgraph import filters
from raftstate.adapters.langgraph.finding import Finding, Listing, Search
from raftstate.adapters.langgraph.items import Layout, check_namespace, check_ttl, encoded
from raftstate.adapters.langgraph.vectors import Index, Vector, packed
from raftstate.adapters.langgraph.writing import Put, Writing, together
from raftstate.adapters.portals import TIMEOUT_S, Access, ClosingBoth
from raftstate.adapters.records import Owning, owner_of
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import InvalidRequest

Read = Callable[[Store], Awaitable[Result]]

# What is over is looked for this often, unless told otherwise.
_SWEEP_S: Final = 60.0


@dataclass(slots=True)
class _Batch:
    """Operations, checked as a whole before any of them is done."""

    count: int = 0
    reads: dict[int, Read] = field(default_factory=dict)
    searches: dict[int, Search] = field(default_factory=dict)
    puts: dict[bytes, Put] = field(default_factory=dict)
    # What is to be embedded: of each put, and of searches.
    texts: dict[bytes, list[str]] = field(default_factory=dict)
    queries: dict[int, str] = field(default_factory=dict)

    def embed(self, index: Index) -> None:
        """Embed what is to be; this thread waits."""
        self._embedded(
            index.embed(self._all_texts()), index.embed_queries(list(self.queries.values()))
        )

    async def aembed(self, index: Index) -> None:
        """As `embed`; the event loop goes on meanwhile."""
        self._embedded(
            await index.aembed(self._all_texts()),
            await index.aembed_queries(list(self.queries.values())),
        )

    def _all_texts(self) -> list[str]:
        return [text for texts in self.texts.values() for text in texts]

    def _embedded(self, vectors: Sequence[Vector], queries: Sequence[Vector]) -> None:
        rest = iter(vectors)
        for at, texts in self.texts.items():
            mine = tuple(packed(next(rest)) for _ in texts)
            self.puts[at] = replace(self.puts[at], vectors=mine)
        for number, query in zip(self.queries, queries, strict=True):
            self.searches[number] = replace(self.searches[number], query=query)


class RaftStore(ClosingBoth, BaseStore):
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
        index: IndexConfig | None = None,
        owner: Owning | None = None,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`; or a `Portal`, which
        stays open when this closes. `name` tells the memories of a cluster apart.

        `ttl` is LangGraph's: `default_ttl` in minutes, `refresh_on_read` (reads make items
        live longer only where it is true), `sweep_interval_minutes` (a minute, if not told);
        `omit_expired` is always so. `index` is LangGraph's, too: `embed`, `dims`, `fields`.
        `timeout` is in seconds, of each piece of a call, its waiting for others included.

        Raises InvalidRequest (definite) if one makes no sense, TypeError, ValueError."""
        self._access = Access(endpoints, options, timeout)
        self.ttl_config = ttl
        config: TTLConfig = ttl or {}
        check_ttl("default_ttl", config.get("default_ttl"))
        interval = check_ttl("sweep_interval_minutes", config.get("sweep_interval_minutes"))
        self.index_config = index
        self._index = None if index is None else Index(index)
        self.embeddings: Embeddings | None = (
            None if self._index is None else self._index.embeddings
        )
        self._layout = Layout(name)
        self._writing = Writing(
            self._layout,
            owner_of(owner),
            timeout,
            refreshes=config.get("refresh_on_read", False),
            sweep_s=_SWEEP_S if interval is None else interval * 60,
        )
        self._finding = Finding(self._layout, self._writing, timeout)
        self._sweeper: concurrent.futures.Future[None] | None = None

    # --- the two faces ---

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; their results, in order. This thread waits.

        >>> from langgraph.store.base import GetOp, PutOp
        >>> memory.batch([PutOp(("docs", "batch"), "a", {"n": 1})])
        [None]
        >>> [found] = memory.batch([GetOp(("docs", "batch"), "a")])
        >>> found.value
        {'n': 1}
        """
        batch = self._checked(ops)
        if self._index is not None:
            batch.embed(self._index)
        return self._access.run(partial(self._carried_out, batch))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; the event loop goes on meanwhile.

        >>> from langgraph.store.base import GetOp, PutOp
        >>> await memory.abatch([PutOp(("docs", "abatch"), "a", {"n": 1})])
        [None]
        >>> [found] = await memory.abatch([GetOp(("docs", "abatch"), "a")])
        >>> found.value
        {'n': 1}
        """
        batch = self._checked(ops)
        if self._index is not None:
            await batch.aembed(self._index)
        return await self._access.arun(partial(self._carried_out, batch))

    def sweep_ttl(self) -> int:
        """Remove all items that are over; how many. Nobody sees a difference.

        >>> memory.sweep_ttl()
        0
        """
        return self._access.run(self._writing.sweep)

    async def asweep_ttl(self) -> int:
        """As `sweep_ttl`; the event loop goes on meanwhile.

        >>> await memory.asweep_ttl()
        0
        """
        return await self._access.arun(self._writing.sweep)

    def start_ttl_sweeper(
        self, sweep_interval_minutes: float | None = None
    ) -> concurrent.futures.Future[None]:
        """Sweep again and again until `stop_ttl_sweeper`, `close`, or the cancelling of what
        is returned. Nothing needs it: it is for those who never write nor list.

        >>> sweeping = memory.start_ttl_sweeper(sweep_interval_minutes=5)
        >>> memory.stop_ttl_sweeper()
        True
        """
        interval = check_ttl("sweep_interval_minutes", sweep_interval_minutes)
        seconds = self._writing.sweep_s if interval is None else interval * 60
        if self._sweeper is None or self._sweeper.done():

            async def begin(store: Store) -> concurrent.futures.Future[None]:
                sweeping = self._writing.keep_sweeping(store, seconds)
                return asyncio.run_coroutine_threadsafe(sweeping, asyncio.get_running_loop())

            self._sweeper = self._access.run(begin)
        return self._sweeper

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Sweep no more; whether none was under way, or it ended within `timeout` seconds.

        >>> memory.stop_ttl_sweeper()  # none is under way
        True
        """
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is None or sweeper.cancel():
            return True
        return bool(concurrent.futures.wait([sweeper], timeout).done)

    def close(self) -> None:
        """Close the connections, unless they are those of a portal that was given. Closing
        twice is harmless.

        >>> RaftStore(endpoints).close()
        """
        self.stop_ttl_sweeper()
        self._access.close()

    async def aclose(self) -> None:
        """As `close`; the event loop goes on meanwhile.

        >>> await RaftStore(endpoints).aclose()
        """
        self.stop_ttl_sweeper()
        await self._access.aclose()

    # --- a batch ---

    def _checked(self, ops: Iterable[Op]) -> _Batch:
        batch = _Batch()
        for number, op in enumerate(ops):
            batch.count = number + 1
            if isinstance(op, PutOp):
                self._check_put(batch, op)
            elif isinstance(op, SearchOp):
                offset, limit = _bounds(op)
                batch.searches[number] = Search(
                    namespace=check_namespace(op.namespace_prefix),
                    test=filters.compiled(op.filter),
                    offset=offset,
                    limit=limit,
                    refresh=op.refresh_ttl,
                )
                if op.query and self._index is not None:
                    batch.queries[number] = op.query
            else:
                batch.reads[number] = self._read(op)
        return batch

    def _check_put(self, batch: _Batch, op: PutOp) -> None:
        namespace, key = check_namespace(op.namespace), _text("key", op.key)
        at = self._layout.item(namespace, key)
        value = None if op.value is None else encoded(namespace, key, op.value)
        # Of several the last one counts, also for what is embedded.
        batch.puts.pop(at, None)
        batch.texts.pop(at, None)
        batch.puts[at] = Put(at, namespace, key, value, check_ttl("ttl", op.ttl))
        if op.value is not None and self._index is not None:
            batch.texts[at] = self._index.texts(op.value, op.index)

    def _read(self, op: Op) -> Read:
        if isinstance(op, GetOp):
            at = self._layout.item(check_namespace(op.namespace), _text("key", op.key))
            return partial(self._finding.get, at=at, refresh=op.refresh_ttl)
        if isinstance(op, ListNamespacesOp):
            conditions = filters.checked(op.match_conditions)
            listing = Listing(conditions, op.max_depth, *_bounds(op))
            return partial(self._finding.namespaces, asked=listing)
        raise ValueError(f"there is no operation of type {type(op).__name__}")

    async def _carried_out(self, batch: _Batch, store: Store) -> list[Result]:
        """The results of a batch, on the portal's thread."""
        results: list[Result] = [None] * batch.count
        reads = dict(batch.reads)
        for number, search in batch.searches.items():
            reads[number] = partial(self._finding.search, asked=search)
        found = await together([read(store) for read in reads.values()])
        for number, result in zip(reads, found, strict=True):
            results[number] = result
        if batch.puts:
            await self._writing.put(store, list(batch.puts.values()))
        return results


def _text(field: str, given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{field} is a text, not {type(given).__name__}")
    return given


def _bounds(op: SearchOp | ListNamespacesOp) -> tuple[int, int]:
    for what, given in (("offset", op.offset), ("limit", op.limit)):
        if given < 0:
            raise InvalidRequest(
                f"{what} is {given}; it is at least 0",
                definite=True,
                details={"field": what, "limit": "0"},
            )
    return op.offset, op.limit
