"""How a `RaftStore` reads: one item, a search, a listing of namespaces.

Everything here runs on the portal's thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from langgraph.store.base import Item, MatchCondition, SearchItem

from raftstate.adapters import records
from raftstate.adapters.langgraph import filters
from raftstate.adapters.langgraph.items import Kept, Layout, Namespace, now_us
from raftstate.adapters.langgraph.vectors import Vector, likeness
from raftstate.adapters.langgraph.writing import Writing, together
from raftstate.client import Store
from raftstate.errors import Compacted

_LISTED_AT_ONCE: Final = 250
# How often what is being searched may be compacted away under the search.
_SEARCHES: Final = 5
# More than are wanted, before those that are not go.
_SPARE: Final = 1000


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. With a `query`, what is likest comes first."""

    namespace: Namespace
    test: filters.Test
    offset: int
    limit: int
    refresh: bool
    query: Vector | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Which namespaces are asked for."""

    conditions: list[MatchCondition]
    depth: int | None
    offset: int
    limit: int


class _Found(NamedTuple):
    record: records.Record
    kept: Kept
    value: dict[str, Any]
    score: float | None

    def order(self) -> tuple[bool, float, int, Namespace, str]:
        """The likest first, and what cannot be compared last; then the newest."""
        score = self.score or 0.0
        kept = self.kept
        return (self.score is None, -score, -kept.updated_us, kept.namespace, kept.key)


class Finding:
    """The reading half of a store."""

    def __init__(self, layout: Layout, writing: Writing, timeout: float) -> None:
        self._layout = layout
        self._writing = writing
        self._timeout = timeout

    async def get(self, store: Store, at: bytes, *, refresh: bool) -> Item | None:
        """One item."""
        record = await records.read(store, at, timeout=self._timeout)
        if record is None:
            return None
        kept, now = Kept.read(record.data), now_us()
        if kept.over(now):
            return None
        if refresh:
            await self._writing.refresh(store, at, record.revision, kept, now)
        return kept.item()

    async def search(self, store: Store, asked: Search) -> list[SearchItem]:
        """The items that are wanted, all read at one revision."""
        found = (await self._found(store, asked))[asked.offset :]
        if asked.refresh:
            now = now_us()
            refresh = self._writing.refresh
            await together(
                [
                    refresh(store, one.record.key, one.record.revision, one.kept, now)
                    for one in found
                ]
            )
        return [one.kept.found(one.value, one.score) for one in found]

    async def _found(self, store: Store, asked: Search) -> list[_Found]:
        for _ in range(_SEARCHES - 1):
            try:
                return await self._scanned(store, asked)
            except Compacted:  # it took longer than revisions are kept
                continue
        return await self._scanned(store, asked)

    async def _scanned(self, store: Store, asked: Search) -> list[_Found]:
        found: list[_Found] = []
        depth, most = len(asked.namespace), asked.offset + asked.limit
        below = self._layout.below(asked.namespace)
        async for record in records.scan(store, below, timeout=self._timeout):
            kept = Kept.read(record.data)
            if kept.namespace[:depth] != asked.namespace or kept.over(now_us()):
                continue
            value = kept.decoded()
            if asked.test(value):
                score = likeness(asked.query, kept.vectors) if asked.query else None
                found.append(_Found(record, kept, value, score))
            if len(found) > 2 * most + _SPARE:
                found = sorted(found, key=_Found.order)[:most]
        return sorted(found, key=_Found.order)[:most]

    async def namespaces(self, store: Store, asked: Listing) -> list[Namespace]:
        """The namespaces that are wanted, in order of their labels; of labels that are cut
        in keys, in order of their beginnings."""
        # Keys alone do not tell what is over.
        await self._writing.sweep(store)
        seen: dict[Namespace, None] = {}
        start = below = self._layout.below(filters.beginning(asked.conditions))
        end = _behind(below)
        while len(seen) < asked.offset + asked.limit:
            keys = await self._keys(store, start, end)
            own = b""
            for key in keys:
                if b"\0" in key or (own and key.startswith(own)):
                    continue  # a part of a record, or of the namespace that was just seen
                own, namespace = await self._namespace(store, key)
                if namespace is not None and filters.matches(namespace, asked.conditions):
                    seen[namespace[: asked.depth]] = None
            if len(keys) < _LISTED_AT_ONCE:
                break
            # What else is in the namespace that was seen last need not be looked at.
            start = keys[-1] + b"\0"
            if own:
                start = max(start, _behind(own))
        return list(seen)[asked.offset : asked.offset + asked.limit]

    async def _keys(self, store: Store, start: bytes, end: bytes) -> list[bytes]:
        """The first keys of a range."""
        keys: list[bytes] = []
        found = store.keys.range(
            start, end, keys_only=True, page_size=_LISTED_AT_ONCE, timeout=self._timeout
        )
        async for one in found:
            keys.append(one.key)
            if len(keys) == _LISTED_AT_ONCE:
                break
        return keys

    async def _namespace(self, store: Store, at: bytes) -> tuple[bytes, Namespace | None]:
        """Of an item's key what those of its namespace begin with, and the namespace; None
        if it has just gone, and only the next one tells."""
        own, namespace = self._layout.namespace(at)
        if namespace is None:
            record = await records.read(store, at, timeout=self._timeout)
            if record is None:
                return b"", None
            namespace = Kept.read(record.data).namespace
        return own, namespace


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that have a prefix, which ends as a part does."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
