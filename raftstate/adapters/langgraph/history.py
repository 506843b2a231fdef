"""What the ancestors of a checkpoint have written: of which delta channels are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Final, NamedTuple

from raftstate.adapters import records
from raftstate.adapters.langgraph.layout import Head, Task, Typed, unpacked_head
from raftstate.adapters.langgraph.stored import Kept, Place, behind, together
from raftstate.client.reading import Seen
from raftstate.errors import Conflict

# How many checkpoints are read ahead: a parent is mostly the one before.
_AHEAD: Final = 32
_TRIES: Final = 10


class Ancestor(NamedTuple):
    """An ancestor: for which channels it counts, and for which it is the last one that
    does, as it has a value. `values` are those of them that lie apart."""

    head: Head
    channels: frozenset[str]
    seeds: frozenset[str]
    tasks: list[Task]
    values: dict[str, Typed]


async def walk(kept: Kept, place: Place, channels: Collection[str]) -> list[Ancestor]:
    """The ancestors of a checkpoint that count for a channel, the nearest one first."""
    former: Head | None = None
    for _ in range(_TRIES):
        seen = Seen()
        target = await kept.find(place, seen)
        if target is None:
            if former is not None:
                break
            return []
        former = target
        ahead = _Ahead(kept, target, seen)
        chain: list[tuple[Head, frozenset[str], frozenset[str]]] = []
        left, visited, head = frozenset(channels), {target.checkpoint_id}, target
        while left and head.parent is not None and head.parent not in visited:
            parent = await ahead.get(head.parent)
            if parent is None:
                break
            seeds = left & set(parent.channels)
            chain.append((parent, left, seeds))
            visited.add(parent.checkpoint_id)
            left, head = left - seeds, parent
        found = await together([partial(_ancestor, kept, seen.revision, *one) for one in chain])
        # Ancestors, and what was written to them, are removed after it.
        if None not in found and await _stands(kept, target):
            return found
    raise Conflict("the checkpoint was removed while its history was read", definite=True)


async def _stands(kept: Kept, head: Head) -> bool:
    """Whether a checkpoint is still there."""
    key = kept.layout.head(head.thread, head.ns, head.checkpoint_id)
    return await kept.store.keys.get(key) is not None


class _Ahead:
    """Reads checkpoints of a namespace, and those before them."""

    def __init__(self, kept: Kept, target: Head, seen: Seen) -> None:
        self._kept = kept
        self._target = target
        self._seen = seen
        self._known: dict[str, Head] = {}

    async def get(self, checkpoint_id: str) -> Head | None:
        """A checkpoint."""
        if checkpoint_id not in self._known:
            layout, target = self._kept.layout, self._target
            last = layout.head(target.thread, target.ns, checkpoint_id)
            before = records.scan(
                self._kept.store,
                start=layout.heads(target.thread, target.ns),
                end=behind(last),
                backwards=True,
                page_size=_AHEAD,
                seen=self._seen,
            )
            count = 0
            async for one in before:
                head = unpacked_head(one.data)
                self._known[head.checkpoint_id] = head
                count += 1
                if count == _AHEAD:
                    break
        return self._known.get(checkpoint_id)


async def _ancestor(
    kept: Kept, revision: int, head: Head, channels: frozenset[str], seeds: frozenset[str]
) -> Ancestor | None:
    """What an ancestor says; None if it went meanwhile."""
    apart = [name for name in seeds if name in head.apart]
    values, tasks = await asyncio.gather(
        kept.values(head, apart, revision), kept.tasks(head, revision)
    )
    if len(values) < len(apart):
        await kept.check_gone(head)
        return None
    return Ancestor(head, channels, seeds, tasks, values)
