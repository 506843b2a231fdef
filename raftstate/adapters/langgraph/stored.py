"""Checkpoints put into the store and read from it, as they are packed.

What belongs to a checkpoint is there before it is: a checkpoint is put in one transaction
with those of its values that are new, which also compares that the others are there. So
whoever reads a checkpoint finds all of it, or it was removed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from raftstate.adapters import records
from raftstate.adapters.langgraph.layout import (
    Head,
    Layout,
    Task,
    Typed,
    packed_place,
    packed_value,
    unpacked_head,
    unpacked_task,
    unpacked_value,
)
from raftstate.adapters.records import Damaged, Owner, Record
from raftstate.client import Store, txn
from raftstate.client.reading import Seen
from raftstate.errors import Conflict
from raftstate.v1.kv_service_pb2 import Compare

# How often somebody else may be first before it is given up.
_TRIES: Final = 100
# How many checkpoints are read at a time, and how many of their parts.
PAGE: Final = 20
_READS: Final = 32


class Place(NamedTuple):
    """Where a checkpoint is; without an id, the latest one of the namespace."""

    thread: str
    ns: str
    checkpoint_id: str | None


class Loaded(NamedTuple):
    """A checkpoint with what belongs to it."""

    head: Head
    values: dict[str, Typed]
    tasks: list[Task]


class Kept(NamedTuple):
    """The store as a saver uses it: where its keys are, and for whom it writes."""

    store: Store
    layout: Layout
    owner: Owner | None

    # --- writing ---

    async def write(
        self,
        puts: Mapping[bytes, bytes],
        deletes: Iterable[bytes] = (),
        *,
        when: Iterable[Compare] = (),
        **more: Any,
    ) -> bool:
        """As `records.write`, for the owner. Raises Fenced (definite)."""
        return await records.write(
            self.store, puts, deletes, when=when, owner=self.owner, **more
        )

    async def check(self) -> None:
        """Raises Fenced (definite) if the owner was superseded."""
        if self.owner is not None:
            await self.write({})

    async def put(self, head: Head, values: Mapping[str, Typed]) -> bool:
        """Put a checkpoint, and those of its values that are given. False, and nothing is
        put, if one of the others is not there."""
        named = {
            channel: self.layout.blob(head.thread, head.ns, channel, version)
            for channel, version in head.apart.items()
        }
        key = self.layout.head(head.thread, head.ns, head.checkpoint_id)
        puts = {named[channel]: packed_value(value) for channel, value in values.items()}
        if head.run is not None:
            entry = self.layout.of_run(head.run, key)
            puts[entry] = packed_place(head.thread, head.ns, head.checkpoint_id)
        return await self.write(
            {**puts, key: head.packed()},
            when=[txn.exists(blob) for name, blob in named.items() if name not in values],
            extra=[txn.put(self.layout.guard(head.thread, head.ns), b"")],
        )

    async def put_task(self, place: Place, task: Task) -> None:
        """Put what a task has written, beside what it had written before."""
        key = self.layout.task(place.thread, place.ns, place.checkpoint_id or "", task.task_id)
        if await self.write({key: task.packed()}, when=[txn.missing(key)]):
            return
        for _ in range(_TRIES):
            found = await records.read(self.store, key)
            if found is None:
                when, joined = txn.missing(key), task
            else:
                when = txn.equal(key, mod_revision=found.revision)
                former = unpacked_task(found.data)
                joined = former.joined(task)
                if joined == former:
                    return
            if await self.write({key: joined.packed()}, when=[when]):
                return
        raise Conflict(
            f"task {task.task_id} was written to by others, {_TRIES} times", definite=True
        )

    # --- reading ---

    async def find(self, place: Place, seen: Seen) -> Head | None:
        """A checkpoint, without what belongs to it."""
        if place.checkpoint_id is not None:
            key = self.layout.head(place.thread, place.ns, place.checkpoint_id)
            found = await records.read(self.store, key, seen=seen)
            return None if found is None else unpacked_head(found.data)
        prefix = self.layout.heads(place.thread, place.ns)
        latest = records.scan(self.store, prefix=prefix, backwards=True, page_size=1, seen=seen)
        async for one in latest:
            return unpacked_head(one.data)
        return None

    async def load(self, place: Place) -> Loaded | None:
        """A checkpoint with all of its values and writes; None if there is none."""
        for _ in range(_TRIES):
            seen = Seen()
            head = await self.find(place, seen)
            if head is None:
                return None
            loaded = await self.complete(head, seen.revision)
            if loaded is not None:
                return loaded
        raise Conflict(
            f"the checkpoint changed {_TRIES} times while it was read", definite=True
        )

    async def complete(self, head: Head, revision: int) -> Loaded | None:
        """What belongs to a checkpoint that was there at a revision; None if it is there
        no more. Raises Damaged (definite)."""
        values, tasks = await asyncio.gather(
            self.values(head, head.apart, revision),
            self.tasks(head, revision),
        )
        if len(values) < len(head.apart):
            await self.check_gone(head)
            return None
        return Loaded(head, values, tasks)

    async def values(
        self, head: Head, channels: Iterable[str], revision: int
    ) -> dict[str, Typed]:
        """The values of some channels, as far as they are there."""
        names = list(channels)
        keys = [
            self.layout.blob(head.thread, head.ns, name, head.apart[name]) for name in names
        ]
        found = await together(
            [partial(records.read, self.store, key, at_least=revision) for key in keys]
        )
        return {
            name: unpacked_value(one.data)
            for name, one in zip(names, found, strict=True)
            if one is not None
        }

    async def tasks(self, head: Head, revision: int) -> list[Task]:
        """What tasks have written to a checkpoint."""
        prefix = self.layout.writes(head.thread, head.ns, head.checkpoint_id)
        found = records.scan(self.store, prefix=prefix, at_least=revision)
        return [unpacked_task(one.data) async for one in found]

    async def check_gone(self, head: Head) -> None:
        """A value is missing. Raises Damaged (definite), unless the checkpoint was removed,
        or replaced, meanwhile."""
        key = self.layout.head(head.thread, head.ns, head.checkpoint_id)
        before = await records.read(self.store, key)
        if before is None or unpacked_head(before.data) != head:
            return
        found = await self.values(head, head.apart, before.revision)
        after = await records.read(self.store, key)
        # It was there all the while, and while it is, its values have to be.
        if len(found) < len(head.apart) and after == before:
            raise Damaged(
                f"a value of checkpoint {head.checkpoint_id} is missing", definite=True
            )

    async def page(
        self,
        prefix: bytes,
        below: bytes | None,
        wanted: Callable[[list[Head]], list[Head]] | None,
        most: int,
    ) -> tuple[list[Loaded], bytes | None]:
        """Some checkpoints of one namespace before a key, the last ones first, and before
        which key to go on; None at the end."""
        seen = Seen()
        end = below if below is not None else behind(prefix)
        found: list[Record] = []
        scanned = records.scan(
            self.store, start=prefix, end=end, backwards=True, page_size=most, seen=seen
        )
        async for one in scanned:
            found.append(one)
            if len(found) == most:
                break
        heads = await self.chosen([unpacked_head(one.data) for one in found], wanted)
        loaded = await self.completed(heads, seen.revision)
        rest = found[-1].key if len(found) == most else None
        return loaded, rest

    async def head_keys(self, prefix: bytes) -> list[bytes]:
        """The keys of all checkpoints with a prefix, those with the greatest id first."""
        found = [key async for key in self.keys(prefix)]
        return sorted(found, key=lambda key: key.split(b"\x01")[-2], reverse=True)

    async def these(
        self, keys: list[bytes], wanted: Callable[[list[Head]], list[Head]] | None
    ) -> list[Loaded]:
        """The checkpoints under these keys, as far as they are still there."""
        seen = Seen()
        found = await together(
            [partial(records.read, self.store, key, seen=seen) for key in keys]
        )
        there = [one for one in found if one is not None]
        revision = max([seen.revision, *(one.revision for one in there)])
        heads = await self.chosen([unpacked_head(one.data) for one in there], wanted)
        return await self.completed(heads, revision)

    async def completed(self, heads: list[Head], revision: int) -> list[Loaded]:
        """What belongs to these checkpoints, but for those that are there no more."""
        loaded = await together([partial(self.complete, head, revision) for head in heads])
        return [one for one in loaded if one is not None]

    async def chosen(
        self, heads: list[Head], wanted: Callable[[list[Head]], list[Head]] | None
    ) -> list[Head]:
        """Those that are wanted. Who says so may take his time."""
        if wanted is None or not heads:
            return heads
        return await asyncio.to_thread(wanted, heads)

    async def keys(self, prefix: bytes) -> AsyncIterator[bytes]:
        """The keys of all records with a prefix, also of those of which there are only the
        parts that a writer has left behind by dying."""
        last = b""
        async for one in self.store.keys.range(prefix=prefix, keys_only=True):
            whole = one.key.partition(b"\x00")[0]
            if whole != last:
                yield whole
            last = whole


async def together(calls: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """What the calls come to, some of them at a time."""
    found: list[Any] = []
    for at in range(0, len(calls), _READS):
        found += await asyncio.gather(*(call() for call in calls[at : at + _READS]))
    return found


def behind(prefix: bytes) -> bytes:
    """The first key behind all those with a prefix that ends as parts do."""
    return prefix[:-1] + b"\x02"
