"""What removes and copies checkpoints: in pieces, each of which leaves whole checkpoints.

Whatever is begun here may be begun again, also by another process, and goes on where it
ended; errors are of the piece that was refused. What belongs to a checkpoint goes before it
or with it, and comes before it or with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Final

from raftstate.adapters import records
from raftstate.adapters.langgraph.layout import (
    Head,
    packed_place,
    packed_value,
    unpacked_head,
    unpacked_place,
)
from raftstate.adapters.langgraph.stored import Kept, behind, together
from raftstate.client import txn
from raftstate.client.reading import Seen
from raftstate.errors import Conflict, TooMany
from raftstate.v1.kv_service_pb2 import Compare, TxnOp

# What one transaction removes or puts: a record counts twice, and 128 are allowed.
_AT_ONCE: Final = 40
_BYTES_AT_ONCE: Final = 1 << 19
# How many checkpoints are looked at together.
_HEADS: Final = 32
_TRIES: Final = 50
# How often a thread is removed that is written to all the while.
_PASSES: Final = 10


async def drop_thread(kept: Kept, thread: str) -> None:
    """Remove all of a thread."""
    await kept.check()
    layout = kept.layout
    for _ in range(_PASSES):
        guards = await _guards(kept, thread)
        # Checkpoints go first, so that nobody reads half of one.
        await _drop_all(kept, thread)
        await _remove_parts(kept, layout.heads(thread))
        if (
            await _remove_rest(kept, layout.writes(thread), guards)
            and await _remove_rest(kept, layout.blobs(thread), guards)
            and await _remove_guards(kept, thread, guards)
        ):
            return
    # Somebody goes on putting: what he put last is whole, and stays.


async def drop_runs(kept: Kept, runs: Iterable[str]) -> None:
    """Remove the checkpoints of some runs, of all threads."""
    await kept.check()
    for run in runs:
        prefix = kept.layout.run(run)
        entries = [one async for one in records.scan(kept.store, prefix=prefix)]
        places = [unpacked_place(one.data) for one in entries]
        found = await together(
            [partial(records.read, kept.store, kept.layout.head(*place)) for place in places]
        )
        heads = [unpacked_head(one.data) for one in found if one is not None]
        mine = [head for head in heads if head.run == run]
        await _drop(kept, sorted(mine, key=lambda head: head.checkpoint_id, reverse=True))
        for thread, ns in sorted({place[:2] for place in places}):
            await _sweep(kept, thread, ns)
        # What tells where they were goes last: until then this may be done again.
        await _remove(kept, [one.key for one in entries])


async def keep_latest(kept: Kept, thread: str) -> None:
    """Remove all checkpoints of a thread but the latest one of each namespace, and those
    that are needed to make up what its channels hold."""
    await kept.check()
    by_ns: dict[str, list[Head]] = {}
    async for one in records.scan(kept.store, prefix=kept.layout.heads(thread)):
        head = unpacked_head(one.data)
        # There may be many, and what they say is not asked for here.
        head = head._replace(checkpoint=("", b""), metadata=("", b""))
        by_ns.setdefault(head.ns, []).append(head)
    for ns, heads in by_ns.items():
        needed = needed_for(heads[-1], {head.checkpoint_id: head for head in heads})
        old = [head for head in reversed(heads) if head.checkpoint_id not in needed]
        await _drop(kept, old, entries=True)
        await _sweep(kept, thread, ns)
    await _remove_parts(kept, kept.layout.heads(thread))


def needed_for(latest: Head, heads: dict[str, Head]) -> set[str]:
    """The checkpoints without which the latest one's channels cannot be made up: it, and
    its ancestors up to those that hold the last snapshots of what it does not hold."""
    needed = {latest.checkpoint_id}
    missing = set(latest.deltas) - set(latest.channels)
    head = latest
    while missing and head.parent is not None and head.parent not in needed:
        parent = heads.get(head.parent)
        if parent is None:
            break
        needed.add(parent.checkpoint_id)
        missing -= set(parent.channels)
        head = parent
    return needed


async def copy(kept: Kept, source: str, target: str) -> None:
    """Copy all of a thread to another one, beside what is there."""
    await kept.check()
    if source == target:
        return
    batch = _Batch(kept, target)
    # The oldest ones first: there is always a chain of ancestors.
    async for some, revision in _heads(kept, source):
        for head in some:
            await batch.add(head, revision)
    await batch.flush()


class _Batch:
    """Records to be put together."""

    def __init__(self, kept: Kept, target: str) -> None:
        self._kept = kept
        self._target = target
        self._copied: set[bytes] = set()
        self._puts: dict[bytes, bytes] = {}
        self._when: dict[bytes, Compare] = {}
        self._extra: dict[bytes, TxnOp] = {}
        self._bytes = 0

    async def add(self, head: Head, revision: int) -> None:
        """Copy a checkpoint."""
        kept, to = self._kept, self._target
        named = {
            channel: kept.layout.blob(to, head.ns, channel, version)
            for channel, version in head.apart.items()
        }
        new = [channel for channel, key in named.items() if key not in self._copied]
        values = await kept.values(head, new, revision)
        tasks = await kept.tasks(head, revision)
        if len(values) < len(new):
            await kept.check_gone(head)
        # What was written to it goes before it does.
        source = kept.layout.head(head.thread, head.ns, head.checkpoint_id)
        if len(values) < len(new) or await records.read(kept.store, source) is None:
            raise Conflict(
                f"thread {head.thread} was changed while it was copied: copy it again",
                definite=False,
            )
        for task in tasks:
            key = kept.layout.task(to, head.ns, head.checkpoint_id, task.task_id)
            await self._put(key, task.packed())
        for channel, value in values.items():
            await self._put(named[channel], packed_value(value))
            self._copied.add(named[channel])
        if len(self._puts) + len(self._when) + len(named) > _AT_ONCE:
            await self.flush()
        key = kept.layout.head(to, head.ns, head.checkpoint_id)
        self._when |= {one: txn.exists(one) for one in named.values() if one not in self._puts}
        guard = kept.layout.guard(to, head.ns)
        self._extra[guard] = txn.put(guard, b"")
        if head.run is not None:
            entry = kept.layout.of_run(head.run, key)
            self._puts[entry] = packed_place(to, head.ns, head.checkpoint_id)
        await self._put(key, head._replace(thread=to).packed())

    async def _put(self, key: bytes, data: bytes) -> None:
        self._puts[key] = data
        self._bytes += len(data)
        if (
            len(self._puts) + len(self._when) >= _AT_ONCE
            or len(self._extra) >= _AT_ONCE // 2
            or self._bytes >= _BYTES_AT_ONCE
        ):
            await self.flush()

    async def flush(self) -> None:
        """Put what is waiting."""
        if not self._puts:
            return
        done = await self._kept.write(
            self._puts, when=self._when.values(), extra=self._extra.values()
        )
        if not done:
            raise Conflict(
                f"thread {self._target} was pruned while it was copied to: copy it again",
                definite=False,
            )
        self._puts, self._when, self._extra, self._bytes = {}, {}, {}, 0


async def _heads(
    kept: Kept, thread: str, *, backwards: bool = False
) -> AsyncIterator[tuple[list[Head], int]]:
    """The checkpoints of a thread, some at a time, and the revision that showed them. Each
    time the store is asked anew, for what is done with them may take long."""
    prefix = kept.layout.heads(thread)
    start, end = prefix, behind(prefix)
    while True:
        seen = Seen()
        found: list[records.Record] = []
        scanned = records.scan(
            kept.store, start=start, end=end, backwards=backwards, page_size=_HEADS, seen=seen
        )
        async for one in scanned:
            found.append(one)
            if len(found) == _HEADS:
                break
        yield [unpacked_head(one.data) for one in found], seen.revision
        if len(found) < _HEADS:
            return
        if backwards:
            end = found[-1].key
        else:
            start = behind(found[-1].key)


async def _drop_all(kept: Kept, thread: str) -> None:
    async for some, _ in _heads(kept, thread, backwards=True):
        await _drop(kept, some, entries=True)


async def _drop(kept: Kept, heads: list[Head], *, entries: bool = False) -> None:
    """Remove checkpoints, and what was written to them; not the values of their channels,
    which others may have too. `entries`: and what tells that they were of a run.

    They are given newest first: while one is there, so are its ancestors, of whose writes
    its delta channels are made up."""
    for at in range(0, len(heads), _HEADS):
        some = heads[at : at + _HEADS]
        written = await together([partial(_written, kept, head) for head in some])
        doomed: list[bytes] = []
        for head, tasks in zip(some, written, strict=True):
            key = kept.layout.head(head.thread, head.ns, head.checkpoint_id)
            # Before it, or with it.
            doomed += [*tasks, key]
            if entries and head.run is not None:
                doomed.append(kept.layout.of_run(head.run, key))
        await _remove(kept, doomed)


async def _written(kept: Kept, head: Head) -> list[bytes]:
    prefix = kept.layout.writes(head.thread, head.ns, head.checkpoint_id)
    return [key async for key in kept.keys(prefix)]


async def _remove(kept: Kept, keys: list[bytes], when: Iterable[Compare] = ()) -> bool:
    """Remove records, in order, while this holds; whether it did."""
    when, at, most = list(when), 0, _AT_ONCE
    while at < len(keys):
        some = keys[at : at + most]
        try:
            if not await kept.write({}, some, when=when):
                return False
        except TooMany:
            if len(some) == 1:
                raise
            most = len(some) // 2  # their values are large
        else:
            at += len(some)
    return True


async def _remove_parts(kept: Kept, prefix: bytes) -> None:
    """Remove what is left of records that nobody has put."""
    keys = [one.key async for one in kept.store.keys.range(prefix=prefix, keys_only=True)]
    for whole in {one.partition(b"\x00")[0] for one in keys}.difference(keys):
        await kept.write({}, [whole], when=[txn.missing(whole)])


async def _guards(kept: Kept, thread: str) -> dict[bytes, int]:
    """What changes whenever a checkpoint of the thread is put, and when it last did."""
    found = kept.store.keys.range(prefix=kept.layout.guard(thread), keys_only=True)
    return {one.key: one.mod_revision async for one in found}


async def _remove_rest(kept: Kept, prefix: bytes, guards: dict[bytes, int]) -> bool:
    """Remove writes or values of a thread whose checkpoints are all gone. False if one was
    put since the guards were read: then it may have them again."""
    by_guard: dict[bytes, list[bytes]] = {}
    async for one in kept.keys(prefix):
        by_guard.setdefault(kept.layout.guard_of(one), []).append(one)
    for guard, keys in by_guard.items():
        still = txn.equal(guard, mod_revision=guards.get(guard, 0))
        if not await _remove(kept, keys, [still]):
            return False
    return True


async def _remove_guards(kept: Kept, thread: str, guards: dict[bytes, int]) -> bool:
    """Remove these, whose checkpoints are all gone, unless one was put since: where there
    is none, there is no checkpoint. Whether none is left."""
    keys = list(guards)
    for at in range(0, len(keys), _HEADS):
        some = keys[at : at + _HEADS]
        still = [txn.equal(one, mod_revision=guards[one]) for one in some]
        if not await kept.write({}, some, when=still):
            return False
    return not await _guards(kept, thread)


async def _sweep(kept: Kept, thread: str, ns: str) -> None:
    """Remove the values of a namespace that no checkpoint has any more. What is put
    meanwhile may have one of them again: then what is new is looked at, and so on."""
    layout = kept.layout
    guard = layout.guard(thread, ns)
    dead: list[bytes] | None = None
    live: set[bytes] = set()
    known: dict[bytes, int] = {}
    for _ in range(_TRIES):
        found = await kept.store.keys.get(guard)
        still = txn.missing(guard)
        if found is not None:
            still = txn.equal(guard, mod_revision=found.mod_revision)
        live |= await _referred_to(kept, layout.heads(thread, ns), known)
        if dead is None:
            dead = [key async for key in kept.keys(layout.blobs(thread, ns))]
        dead = [key for key in dead if key not in live]
        if await _remove(kept, dead, [still]):
            return
    raise Conflict(
        f"thread {thread} was written to all the while: what is left of its old values goes"
        " when it is pruned again",
        definite=False,
    )


async def _referred_to(kept: Kept, prefix: bytes, known: dict[bytes, int]) -> set[bytes]:
    """The values of those checkpoints that are not yet known, or were put again; now they
    are known."""
    keys = kept.store.keys.range(prefix=prefix, keys_only=True)
    now = {one.key: one.mod_revision async for one in keys if b"\x00" not in one.key}
    new = [one for one, revision in now.items() if known.get(one) != revision]
    known |= now
    referred: set[bytes] = set()
    for at in range(0, len(new), _HEADS):
        some = new[at : at + _HEADS]
        found = await together([partial(records.read, kept.store, one) for one in some])
        for head in [unpacked_head(one.data) for one in found if one is not None]:
            named = head.apart.items()
            referred |= {kept.layout.blob(head.thread, head.ns, *each) for each in named}
    return referred
