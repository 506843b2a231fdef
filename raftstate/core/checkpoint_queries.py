"""Reads of checkpoints: what there is, what belongs to it, and where its data is.

As in `queries`, an id that cannot be one names nothing, and any reader will do, also one
of the past. Data has no past: what was pruned since a revision is gone, and where that
shows is said below. A checkpoint never changes its data, nor does its id come again, so
data that is here is that of the revision.

A reader that sends much data opens one view a chunk: `content` names the chunks, and
`read_chunk` is asked for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

from raftstate.core import agents, keys, limits, pages
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    GroupCheckpoint,
    ListCheckpointsRequest,
)
from raftstate.v1.recovery_service_pb2 import Validator
from raftstate.v1.store_pb2 import CheckpointBody

HASH_BYTES = 32


class Content(NamedTuple):
    """Where a checkpoint's data is: in `data`, or in chunks of a space, in order."""

    data: bytes
    space: str
    chunks: list[ChunkRef]


class CheckpointPage(NamedTuple):
    """Some checkpoints of a list, newest first. What follows has ids below
    `next_before`; zero: nothing follows."""

    checkpoints: list[Checkpoint]
    next_before: int


def digest(data: bytes) -> bytes:
    """What a chunk, or data that is not cut, is recognised by."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def content_hash(hashes: Iterable[bytes]) -> bytes:
    """What data is recognised by that is cut into chunks of these hashes, in order."""
    several = list(hashes)
    return several[0] if len(several) == 1 else digest(b"".join(several))


# --- checkpoints -------------------------------------------------------------


def get_checkpoint(
    reader: Reader, agent_id: str, checkpoint_id: int = 0, tag: str = ""
) -> Checkpoint | None:
    """One checkpoint, without data: that of a tag, that of an id, or the newest."""
    agent = _agent(reader, agent_id)
    if agent is None:
        return None
    if tag:
        checkpoint_id = tagged(reader, agent_id, tag)
    else:
        checkpoint_id = checkpoint_id or agent.head.checkpoint_id
    return load(reader, agent_id, checkpoint_id)


def load(reader: Reader, agent_id: str, checkpoint_id: int) -> Checkpoint | None:
    """The record of a checkpoint of an agent."""
    raw = reader.get(keys.checkpoint(agent_id, checkpoint_id))
    return None if raw is None else Checkpoint.FromString(raw)


def tagged(reader: Reader, agent_id: str, tag: str) -> int:
    """Which checkpoint of an agent has a tag; zero: none."""
    if len(tag) > limits.TAG_CHARS_MAX:
        return 0
    raw = reader.get(keys.tag(agent_id, tag))
    return 0 if raw is None else keys.to_number(raw)


def chain(reader: Reader, checkpoint: Checkpoint) -> list[Checkpoint]:
    """All that a checkpoint is made of: a full one, then deltas in order, it being last."""
    found = [checkpoint]
    while base_id := found[-1].base_checkpoint_id:
        base = load(reader, checkpoint.agent_id, base_id)
        assert base is not None, f"{checkpoint.agent_id}: base {base_id} is missing"
        found.append(base)
    return found[::-1]


def list_checkpoints(
    reader: Reader,
    agent_id: str,
    before: int,
    limit: int,
    wanted: ListCheckpointsRequest | None = None,
    scanned_max: int = limits.SCANNED_PER_PAGE_MAX,
) -> CheckpointPage:
    """Up to `limit` of an agent's checkpoints with ids below `before` (zero: all) that
    hold to the filters of `wanted`, without data. It looks at no more than `scanned_max`,
    and about `pages.PAGE_BYTES`, so what it gives may be less, and nothing, before the end."""
    if not limits.AGENT_ID.fullmatch(agent_id):
        return CheckpointPage([], 0)
    found: list[Checkpoint] = []
    last = scanned = size = 0
    for _, raw in reader.scan_back(*keys.checkpoints(agent_id, before)):
        if len(found) == limit or scanned == scanned_max or size > pages.PAGE_BYTES:
            return CheckpointPage(found, last)
        checkpoint = Checkpoint.FromString(raw)
        last, scanned, size = checkpoint.checkpoint_id, scanned + 1, size + len(raw)
        if wanted is None or matches(checkpoint, wanted):
            found.append(checkpoint)
    return CheckpointPage(found, 0)


def matches(checkpoint: Checkpoint, wanted: ListCheckpointsRequest) -> bool:
    """Whether a checkpoint holds to every filter of a list."""
    if wanted.known_good and not checkpoint.known_good:
        return False
    if wanted.pinned and not checkpoint.pinned:
        return False
    if wanted.tagged and not checkpoint.tags:
        return False
    if checkpoint.step < wanted.min_step:
        return False
    if wanted.max_step and checkpoint.step > wanted.max_step:
        return False
    labels = {label.name: label.value for label in checkpoint.labels}
    return all(labels.get(label.name) == label.value for label in wanted.labels)


# --- data --------------------------------------------------------------------


def content(reader: Reader, checkpoint: Checkpoint) -> Content | None:
    """Where a checkpoint's data is; None if it was pruned since the reader's revision."""
    agent_id = checkpoint.agent_id
    raw = reader.get(keys.checkpoint_body(agent_id, checkpoint.checkpoint_id))
    agent = agents.load(reader, agent_id)
    if raw is None or agent is None:
        return None
    body = CheckpointBody.FromString(raw)
    return Content(body.data, chunk_space(agent), list(body.chunks))


def read_chunk(reader: Reader, space: str, named: bytes) -> bytes | None:
    """A chunk's data; None if it is not here, or no longer."""
    return reader.get(keys.chunk(space, named))


def is_whole(chunk: ChunkRef, data: bytes) -> bool:
    """Whether data is that of a chunk. What is stored is checked before it is sent."""
    return len(data) == chunk.size_bytes and digest(data) == chunk.hash


def read_data(reader: Reader, checkpoint: Checkpoint) -> bytes | None:
    """All of a checkpoint's data at once, for one that is small enough; None as in
    `content`. What is wrong shows in its length and hash."""
    where = content(reader, checkpoint)
    if where is None or not where.chunks:
        return None if where is None else where.data
    parts = [read_chunk(reader, where.space, chunk.hash) for chunk in where.chunks]
    return b"".join(part or b"" for part in parts)


def missing_chunks(reader: Reader, agent: Agent, hashes: Iterable[bytes]) -> list[int]:
    """Which of some chunks are not stored for an agent: places in `hashes`, in order."""
    space = chunk_space(agent)
    return [
        place
        for place, each in enumerate(hashes)
        if reader.get(keys.chunk_record(space, each)) is None
    ]


def chunk_space(agent: Agent) -> str:
    """Under whose id an agent's chunks are stored: a fork shares its origin's."""
    return agent.chunk_space or agent.agent_id


# --- groups and validators ---------------------------------------------------


def get_group(reader: Reader, group_id: str) -> GroupCheckpoint | None:
    """One group checkpoint."""
    if not limits.AGENT_ID.fullmatch(group_id):
        return None
    raw = reader.get(keys.group(group_id))
    return None if raw is None else GroupCheckpoint.FromString(raw)


def list_groups(
    reader: Reader, prefix: str, after: str, limit: int, bytes_max: int | None = None
) -> list[GroupCheckpoint]:
    """Up to `limit` groups whose id starts with `prefix`, behind `after`, by id; fewer
    where `bytes_max` says so (see `pages`)."""
    if len(prefix) > limits.AGENT_ID_CHARS_MAX:
        return []
    found = reader.scan(*keys.groups(prefix, after))
    return [GroupCheckpoint.FromString(raw) for raw in pages.looked_at(found, limit, bytes_max)]


def get_validator(reader: Reader, name: str) -> Validator | None:
    """One validator."""
    if not limits.AGENT_ID.fullmatch(name):
        return None
    raw = reader.get(keys.validator(name))
    return None if raw is None else Validator.FromString(raw)


def list_validators(reader: Reader, after: str, limit: int) -> list[Validator]:
    """Up to `limit` validators behind `after`, by name."""
    found = reader.scan(*keys.validators(after))
    return [Validator.FromString(raw) for _, raw in islice(found, limit)]


def _agent(reader: Reader, agent_id: str) -> Agent | None:
    return agents.load(reader, agent_id) if limits.AGENT_ID.fullmatch(agent_id) else None
