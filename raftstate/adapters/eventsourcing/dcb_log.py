r"""A log of events with types and tags, which is written under conditions.

    head                    the position of the last event
    log  last position      the events that one append wrote, or the name of their data
    data name               such events: a record
    tag  tag last position  one of those events has this tag
    type type last position one of them has this type
    wide last position      they have more tags and types than fit: any may be among them

All that an append writes appears at one revision, with the head, which has to be what the
writer saw: so positions have no gaps, and what is up to a head never changes. A condition
is looked up to the head that was seen, by tags and types; whoever is beaten by another
writer looks at what came since, and tries again. It need not look if the index had nothing
new under those tags and types, which the refused transaction has shown.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from raftstate.adapters import records
from raftstate.adapters.eventsourcing.log import (
    GROUP_BYTES,
    SIZE_MAX,
    Taken,
    Waiting,
    Writer,
    in_time,
)
from raftstate.adapters.eventsourcing.reading import AFTER, FETCHED, NUMBER_MAX, Reader, tail
from raftstate.adapters.keys import Part, key
from raftstate.client import Store, txn
from raftstate.errors import InvalidRequest
from raftstate.v1.kv_service_pb2 import TxnOp

# An event: the sizes of its type and its data, how many tags; and the size of each tag.
_EVENT: Final = struct.Struct(">III")
_TAG: Final = struct.Struct(">I")
# Keys of the index that are fetched at once: so many, then more and more.
_KEYS: Final = 16
_KEYS_MAX: Final = 1_000
# Of the tags that an event has to have, so many are looked up; events tell the rest.
_TAGS_LOOKED_UP: Final = 16
# Batches that are looked at at once: so many, then more and more.
_BATCHES: Final = 4


class Event(NamedTuple):
    """An event."""

    type: str
    data: bytes
    tags: tuple[str, ...]


class Positioned(NamedTuple):
    """An event, and its position in the log."""

    position: int
    event: Event


class Item(NamedTuple):
    """Events of one of these types, if there are any, with all of these tags."""

    types: frozenset[str]
    tags: frozenset[str]

    def matches(self, event: Event) -> bool:
        """Whether the event is one of these."""
        return (not self.types or event.type in self.types) and self.tags.issubset(event.tags)


class Query(NamedTuple):
    """Events that match one of these; without any, all events."""

    items: tuple[Item, ...] = ()

    def matches(self, event: Event) -> bool:
        """Whether the event is one of these."""
        return not self.items or any(item.matches(event) for item in self.items)


class Condition(NamedTuple):
    """There is no such event with a higher position."""

    query: Query
    after: int


# --- reading -----------------------------------------------------------------


class Search:
    """What matches a query, in order, after one position and up to another, which has to be
    a head. Between two pages, time may pass: what is there does not change."""

    def __init__(self, log: DCBReader, query: Query, after: int, upto: int) -> None:
        self._log = log
        self._query = query
        self._upto = upto
        self._most = _BATCHES
        self._index = log.index(query, upto)
        # Up to here everything was looked at.
        self.position: int = max(after, 0)

    @property
    def over(self) -> bool:
        """Whether everything was looked at."""
        return self.position >= self._upto

    async def page(self, store: Store) -> list[Positioned]:
        """Some more; perhaps none, though it is not over. What fails may be called again."""
        try:
            return [] if self.over else await self._page(store)
        except BaseException:
            # Of the index, what was read may be gone by already.
            self._index = self._log.index(self._query, self._upto)
            raise

    async def _page(self, store: Store) -> list[Positioned]:
        after, most = self.position, self._most
        self._most = min(4 * most, FETCHED)
        if self._index is None:
            batches = await self._log.batches(store, after, self._upto, most)
        else:
            last = await self._next(store, self._index, most)
            batches = await asyncio.gather(*(self._log.batch(store, one) for one in last))
        full = len(batches) == most
        self.position = batches[-1][-1].position if full else self._upto
        return [
            one
            for batch in batches
            for one in batch
            if one.position > after and self._query.matches(one.event)
        ]

    async def _next(self, store: Store, index: Numbers, most: int) -> list[int]:
        """The last positions of the next batches that may match."""
        found: list[int] = []
        at: int | None = self.position
        while at is not None and len(found) < most:
            at = await index.first_from(store, at + 1)
            if at is not None:
                found.append(at)
        return found


class Numbers(Protocol):
    """Last positions of batches, ascending."""

    async def first_from(self, store: Store, number: int) -> int | None:
        """The first that is not lower. One that was asked for higher ones has forgotten the
        lower."""
        ...


class _Key:
    """Those under one tag, or type."""

    def __init__(self, under: tuple[Part, ...], upto: int) -> None:
        self._under = under
        self._upto = upto
        self._found: list[int] = []
        self._at = 0
        self._unread = 0  # nothing from here on was fetched
        self._most = _KEYS

    async def first_from(self, store: Store, number: int) -> int | None:
        """See `Numbers`."""
        while True:
            while self._at < len(self._found):
                if self._found[self._at] >= number:
                    return self._found[self._at]
                self._at += 1
            if self._unread > self._upto:
                return None
            if number > self._unread:  # begun, or others have nothing in between
                self._unread, self._most = number, _KEYS
                if number > self._upto:
                    return None
            await self._fetch(store)

    async def _fetch(self, store: Store) -> None:
        start, end = key(*self._under, self._unread), key(*self._under, self._upto + 1)
        self._found, self._at = [], 0
        async for one in store.keys.range(start, end, keys_only=True, page_size=self._most):
            self._found.append(tail(one.key))
            if len(self._found) == self._most:
                break
        full = len(self._found) == self._most
        self._unread = self._found[-1] + 1 if full else self._upto + 1
        self._most = min(4 * self._most, _KEYS_MAX)


class _All:
    """Those that are in all of these. What has gone by in one is skipped in the others."""

    def __init__(self, parts: Sequence[Numbers]) -> None:
        self._parts = parts

    async def first_from(self, store: Store, number: int) -> int | None:
        """See `Numbers`."""
        while True:
            found = await _ask(store, self._parts, number)
            there = [one for one in found if one is not None]
            if len(there) < len(found):
                return None
            number = max(there)
            if number == min(there):
                return number


class _Any:
    """Those that are in one of these."""

    def __init__(self, parts: Sequence[Numbers]) -> None:
        self._parts = parts

    async def first_from(self, store: Store, number: int) -> int | None:
        """See `Numbers`."""
        found = await _ask(store, self._parts, number)
        return min((one for one in found if one is not None), default=None)


class DCBReader(Reader):
    """The log under a key, as it is read. Used on the thread of one portal only."""

    def index(self, query: Query, upto: int) -> Numbers | None:
        """Where events that match may be, up to a head; None: anywhere."""
        if not query.items:
            return None
        numbers: dict[tuple[Part, ...], Numbers] = {}

        def under(*parts: Part) -> Numbers:
            return numbers.setdefault(parts, _Key((*self._under, *parts), upto))

        found = [under("wide")]
        for item in set(query.items):
            if item.tags:
                tags = sorted(item.tags)[:_TAGS_LOOKED_UP]
                if len(tags) == 1:
                    found.append(under("tag", *tags))
                    continue
                found.append(_All([_Key((*self._under, "tag", tag), upto) for tag in tags]))
            elif item.types:
                found += [under("type", one) for one in item.types]
            else:
                return None
        return _Any(list(dict.fromkeys(found)))

    async def batches(
        self, store: Store, after: int, upto: int, most: int
    ) -> list[list[Positioned]]:
        """The first batches that end after a position and up to a head."""
        start, end = self._key("log", after + 1), self._key("log", upto + 1)
        found: list[list[Positioned]] = []
        async for one in store.keys.range(start, end, page_size=most):
            found.append(await self._positioned(store, tail(one.key), one.value))
            if len(found) == most:
                break
        return found

    async def batch(self, store: Store, last: int) -> list[Positioned]:
        """The batch that ends with a position."""
        found = await store.keys.get(self._key("log", last))
        if found is None:
            raise records.Damaged(f"events {last} are missing", definite=True)
        return await self._positioned(store, last, found.value)

    async def _positioned(self, store: Store, last: int, value: bytes) -> list[Positioned]:
        events = _unpacked(await self._data(store, value))
        return list(itertools.starmap(Positioned, enumerate(events, last - len(events) + 1)))


# --- writing -----------------------------------------------------------------


class _Append(Waiting):
    """Events, and the condition that they are written under."""

    def __init__(
        self, events: Sequence[Event], data: bytes, condition: Condition | None
    ) -> None:
        super().__init__(len(events), data)
        self.events = events
        self.condition = condition
        # Up to here the condition holds for good: what is there does not change.
        self.looked_at = 0 if condition is None else max(condition.after, 0)
        labels = {("type", one.type) for one in events}
        labels.update(("tag", tag) for one in events for tag in one.tags)
        self.labels: list[tuple[str, ...]] = sorted(labels)
        if len(labels) >= SIZE_MAX:
            self.labels = [("wide",)]

    @property
    def size(self) -> int:
        """What it costs of a transaction."""
        return 1 + len(self.labels)

    def allows(self, written: Iterable[Event], last: int) -> bool:
        """Whether the condition still holds with these written behind the last event."""
        if self.condition is None:
            return True
        query, after = self.condition
        return not any(
            position > after and query.matches(event)
            for position, event in enumerate(written, last + 1)
        )


class DCBLog(DCBReader, Writer[_Append]):
    """A log that is written. Used on the thread of one portal only."""

    async def append(
        self,
        store: Store,
        events: Sequence[Event],
        data: bytes,
        condition: Condition | None = None,
    ) -> int:
        """Append all of them or nothing; the position of the last. `data` is what `packed`
        makes of them.

        Raises Taken (definite) if the condition does not hold, InvalidRequest (definite),
        Fenced (definite), Conflict (definite), and what `Store.txn` does."""
        numbers = await self._insert(store, _Append(events, data, condition))
        return numbers[-1]

    def _next_group(self) -> list[_Append]:
        """The first that waits, and those behind it which fit."""
        group: list[_Append] = []
        size = data = 0
        while self._waiting:
            one = self._waiting[0]
            size += one.size
            data += len(one.data)
            if group and (size > SIZE_MAX or data > GROUP_BYTES):
                break
            group.append(self._waiting.popleft())
        return group

    async def _commit(self, store: Store, group: list[_Append], until: float) -> None:
        """Append those of a group who are not told yet, in time, and tell them; those that
        others of it stand in the way of wait again, as the first, until it is known what
        became of these."""
        last = await self._last_seen(store, until)
        for attempt in itertools.count(1):
            self._last = None
            begun = asyncio.get_running_loop().time()
            async with in_time(until):
                allowed = await self._allowed(store, group, last)
            together, left = _apart(allowed, last)
            self._waiting.extendleft(reversed(left))
            group[:] = together  # it is these that an error concerns
            if not group:
                self._last = last
                return
            found = await self._try(store, group, last)
            if found is None:
                return
            last = found
            await self._pause(attempt, begun, until)

    async def _allowed(self, store: Store, group: list[_Append], last: int) -> list[_Append]:
        """Those whose conditions hold up to the last event. The others are told."""
        group = [one for one in group if not one.done.done()]
        outcomes = await asyncio.gather(
            *(self._check(store, one, last) for one in group), return_exceptions=True
        )
        for one, outcome in zip(group, outcomes, strict=True):
            if outcome is not None:
                one.settle(outcome)
        return [one for one in group if not one.done.done()]

    async def _check(self, store: Store, one: _Append, last: int) -> None:
        """Raises Taken if the condition does not hold up to the last event."""
        if one.condition is None or one.looked_at >= last:
            return
        search = Search(self, one.condition.query, one.looked_at, last)
        while not search.over:
            for found in await search.page(store):
                raise Taken(
                    f"the event at position {found.position} matches what must not be there"
                    f" after {one.condition.after}: nothing was written"
                )
        one.looked_at = last

    def _looks(self, one: _Append, last: int) -> list[TxnOp]:
        """What is empty if nothing comes in between that a condition does not allow: whoever
        is beaten then need not look at what that was. Nothing, if everything matters."""
        after = max(one.looked_at, last)
        if one.condition is None or not one.condition.query.items or after >= NUMBER_MAX:
            return []
        under: list[tuple[str, ...]] = [("wide",)]
        for item in one.condition.query.items:
            if item.tags:  # of one that has all of them, any tells
                under.append(("tag", min(item.tags)))
            elif item.types:
                under += [("type", kind) for kind in item.types]
            else:
                return []
        return [
            txn.scan(self._key(*at, after + 1), self._key(*at) + AFTER, limit=1, keys_only=True)
            for at in dict.fromkeys(under)
        ]

    async def _try(self, store: Store, group: list[_Append], last: int) -> int | None:
        """Append a group if the last position is this one. None if that is done, or else
        what the last position is. Raises Fenced (definite)."""
        then: list[TxnOp] = []
        looks: list[TxnOp] = []
        looking: list[tuple[_Append, slice]] = []
        room = SIZE_MAX - sum(one.size for one in group)
        number = last
        for one in group:
            mine = self._looks(one, last)
            if mine and len(looks) + len(mine) <= room:
                looking.append((one, slice(len(looks), len(looks) + len(mine))))
                looks += mine
            number += one.count
            then.append(txn.put(self._key("log", number), one.data))
            then += [txn.put(self._key(*label, number), b"") for label in one.labels]
        beaten = await self._do(store, last, number, [], then, looks)
        if beaten is not None:
            for one, where in looking:
                if not any(beaten.seen[where]):
                    one.looked_at = max(one.looked_at, beaten.last)
            return beaten.last
        number = last
        for one in group:
            one.settle(list(range(number + 1, number + 1 + one.count)))
            number += one.count
        return None


def packed(events: Iterable[Event]) -> bytes:
    """Events as the log holds them, one behind the other. Raises InvalidRequest (definite)
    for more than a record holds."""
    written: list[bytes] = []
    for one in events:
        kind, tags = _encoded(one.type), [_encoded(tag) for tag in one.tags]
        written += (_EVENT.pack(len(kind), len(one.data), len(tags)), kind)
        for tag in tags:
            written += (_TAG.pack(len(tag)), tag)
        written.append(one.data)
    size = sum(map(len, written))
    if size > records.RECORD_BYTES_MAX:
        raise InvalidRequest(
            f"the events have {size} bytes; at most {records.RECORD_BYTES_MAX} are appended"
            " together",
            definite=True,
            details={"field": "events", "limit": str(records.RECORD_BYTES_MAX)},
        )
    return b"".join(written)


# --- inside ------------------------------------------------------------------


async def _ask(store: Store, parts: Sequence[Numbers], number: int) -> list[int | None]:
    """What each of these has; side by side, but not all of very many at once."""
    found: list[int | None] = []
    for some in _cut(parts, FETCHED):
        found += await asyncio.gather(*(one.first_from(store, number) for one in some))
    return found


def _cut(parts: Sequence[Numbers], size: int) -> Iterator[Sequence[Numbers]]:
    for at in range(0, len(parts), size):
        yield parts[at : at + size]


def _apart(group: list[_Append], last: int) -> tuple[list[_Append], list[_Append]]:
    """Those that may be written at once behind the last event, and the others."""
    together: list[_Append] = []
    left: list[_Append] = []
    written: list[Event] = []
    for one in group:
        if one.allows(written, last):
            together.append(one)
            written += one.events
        else:
            left.append(one)
    return together, left


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _unpacked(data: bytes) -> list[Event]:
    events: list[Event] = []
    at = 0

    def taken(size: int) -> bytes:
        nonlocal at
        at += size
        return data[at - size : at]

    while at < len(data):
        kind, size, tags = _EVENT.unpack(taken(_EVENT.size))
        name = taken(kind)
        labels = [taken(_TAG.unpack(taken(_TAG.size))[0]) for _ in range(tags)]
        events.append(Event(_decoded(name), taken(size), tuple(map(_decoded, labels))))
    return events


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
