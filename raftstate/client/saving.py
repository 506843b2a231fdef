"""How an owner saves checkpoints: whole or as a delta, in the commit or in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from raftstate import content
from raftstate.client import values
from raftstate.client.autosave import Policy
from raftstate.client.chunks import Cut, Upload
from raftstate.client.engine import Engine
from raftstate.errors import ChainTooLong, CheckpointNotFound, ChunkMissing
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, NewCheckpoint
from raftstate.v1.common_pb2 import Label

R = TypeVar("R")

# The servers' limit.
CHAIN_MAX: Final = 16
# Smaller states are not worth a delta: they lie beside the checkpoint anyway.
_DELTA_FLOOR: Final = 4_096
# What one command holds of each of a group's 32 agents: all of them fit into 1.5 MiB.
_MEMBER_BYTES: Final = 32 << 10
# What takes longer than a moment is done beside the event loop.
_BESIDE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Habits:
    """How an owner saves checkpoints."""

    auto: Policy | None = None
    deltas: bool = False
    cut: Cut = field(default_factory=Cut)


@dataclass(frozen=True, slots=True)
class Draft:
    """A checkpoint as the user wants it, before it is decided how it is sent."""

    data: bytes
    content_type: str
    labels: list[Label] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    pinned: bool = False

    def message(self) -> NewCheckpoint:
        """It, without its content."""
        return NewCheckpoint(
            content_type=self.content_type,
            labels=self.labels,
            tags=self.tags,
            pinned=self.pinned,
        )


def drafted(
    state: Any,
    labels: Mapping[str, str] | None = None,
    tags: Iterable[str] = (),
    pinned: bool = False,
    content_type: str = "",
) -> Draft:
    """A checkpoint of a state. Raises TypeError or ValueError for what JSON cannot hold,
    and for a content type of what is not bytes."""
    data, found = values.encode(state)
    if content_type and found != values.BYTES:
        raise TypeError("a content type goes with bytes: anything else is written as JSON")
    return Draft(data, content_type or found, list(values.labels(labels)), list(tags), pinned)


class _Base(NamedTuple):
    """The newest checkpoint, as far as this owner knows."""

    checkpoint_id: int
    data: bytes
    content_type: str
    chain_length: int


class Saver:
    """The checkpoints of one ownership."""

    def __init__(self, engine: Engine, agent_id: str, cut: Cut, *, deltas: bool) -> None:
        self._engine = engine
        self._agent_id = agent_id
        self._cut = cut
        self._deltas = deltas
        self._base: _Base | None = None

    def know(self, checkpoint: Checkpoint) -> None:
        """The newest checkpoint is this one, with what its chain amounts to."""
        if self._deltas:
            self._base = _Base(
                checkpoint.checkpoint_id,
                checkpoint.data,
                checkpoint.content_type,
                checkpoint.chain_length,
            )

    async def save(
        self,
        draft: Draft,
        room: int,
        timeout: float | None,
        commit: Callable[[NewCheckpoint], Awaitable[tuple[int, R]]],
    ) -> R:
        """Send what is large, and then commit; `commit` gives the checkpoint's id, and
        what is to be given back. `room` is how many bytes the commit has left for it.

        A chunk that was collected before it was used is sent again, once; so is the whole
        in place of a delta whose base has gone."""
        full = again = False
        while True:
            new, data = await self._written(draft, full=full)
            upload: Upload | None = None
            if len(data) <= min(self._cut.above, room):
                new.data = data
            else:
                upload = Upload(self._engine, self._agent_id, data, self._cut)
                new.chunks.extend(await upload.run(timeout))
            try:
                checkpoint_id, given = await commit(new)
            except ChunkMissing:
                if upload is None or again:
                    raise
                again = True
            except (CheckpointNotFound, ChainTooLong):
                if not new.base_checkpoint_id:
                    raise
                full = True
            else:
                self._saved(checkpoint_id, draft, new)
                return given

    async def whole(self, draft: Draft, timeout: float | None) -> NewCheckpoint:
        """A full checkpoint to be committed by somebody else; what is large is sent."""
        new = draft.message()
        if len(draft.data) <= min(self._cut.above, _MEMBER_BYTES):
            new.data = draft.data
        else:
            upload = Upload(self._engine, self._agent_id, draft.data, self._cut)
            new.chunks.extend(await upload.run(timeout))
        return new

    async def _written(self, draft: Draft, *, full: bool) -> tuple[NewCheckpoint, bytes]:
        """What to commit, and its data: of a delta if that is worth it."""
        new, base = draft.message(), self._base
        wanted = content.delta_type(draft.content_type)
        if (
            full
            or base is None
            or wanted is None
            or base.content_type != draft.content_type
            or base.chain_length >= CHAIN_MAX
            or len(draft.data) < _DELTA_FLOOR
        ):
            return new, draft.data
        size = len(draft.data) + len(base.data)
        if size > _BESIDE_BYTES:
            delta = await asyncio.to_thread(_delta, base.data, draft)
        else:
            delta = _delta(base.data, draft)
        if delta is None or 2 * len(delta) >= len(draft.data):
            return new, draft.data
        new.content_type = wanted
        new.base_checkpoint_id = base.checkpoint_id
        return new, delta

    def _saved(self, checkpoint_id: int, draft: Draft, new: NewCheckpoint) -> None:
        if not self._deltas:
            return
        before = self._base
        length = before.chain_length + 1 if before and new.base_checkpoint_id else 0
        self._base = _Base(checkpoint_id, draft.data, draft.content_type, length)


def _delta(base: bytes, draft: Draft) -> bytes | None:
    """What leads from the base to the draft, if that can be said, and leads there."""
    kind = draft.content_type
    try:
        delta = content.make_delta(content.decode(base, kind), content.decode(draft.data, kind))
        if delta is None:
            return None
        data = content.encode(delta, kind)
        # Bytes that a program has written in its own way do not come back the same.
        changed, _ = content.restore([(base, kind), (data, content.delta_type(kind) or "")])
    except content.ContentError:
        return None
    return data if changed == draft.data else None
