"""What steps and requests about checkpoints may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits, parts, rules_effects, rules_replay
from raftstate.core.checkpoint_queries import HASH_BYTES, digest
from raftstate.core.parts import Violation
from raftstate.v1.checkpoint_service_pb2 import (
    ChunkRef,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
    DiffCheckpointsRequest,
    GetCheckpointRequest,
    GetGroupCheckpointRequest,
    ListCheckpointsRequest,
    ListGroupCheckpointsRequest,
    MarkValidRequest,
    MissingChunksRequest,
    NewCheckpoint,
    NewGroupMember,
    PruneCheckpointsRequest,
    PutCheckpointRequest,
    PutChunkRequest,
    PutGroupCheckpointRequest,
    TagCheckpointRequest,
)
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import CollectChunks

# --- parts -------------------------------------------------------------------


def _new_checkpoint(new: NewCheckpoint, place: str) -> Iterator[Violation]:
    """A checkpoint as a client writes it."""
    if (size := len(new.data)) > limits.CHECKPOINT_BYTES_MAX:
        yield parts.too_large(f"{place}.data", size, limits.CHECKPOINT_BYTES_MAX)
    most = limits.EVENT_WORD_CHARS_MAX
    yield from parts.words(f"{place}.content_type", new.content_type, most)
    yield from parts.labels(new.labels, f"{place}.labels")
    yield from _tags(new.tags, f"{place}.tags")
    if new.data and new.chunks:
        yield Violation(f"{place}.chunks", "come with data", "either data or chunks")
    if len(new.chunks) > limits.CHUNKS_PER_CHECKPOINT_MAX:
        words = f"has {len(new.chunks)} chunks"
        yield Violation(f"{place}.chunks", words, str(limits.CHUNKS_PER_CHECKPOINT_MAX))
    elif not all(_is_fine(chunk) for chunk in new.chunks):
        yield from _bad_chunks(new.chunks, place)


def _is_fine(chunk: ChunkRef) -> bool:
    return len(chunk.hash) == HASH_BYTES and 1 <= chunk.size_bytes <= limits.CHUNK_BYTES_MAX


def _bad_chunks(chunks: Sequence[ChunkRef], place: str) -> Iterator[Violation]:
    for at, chunk in enumerate(chunks):
        yield from _hash(f"{place}.chunks[{at}].hash", chunk.hash)
        if not 1 <= chunk.size_bytes <= limits.CHUNK_BYTES_MAX:
            field, span = f"{place}.chunks[{at}].size_bytes", f"1 to {limits.CHUNK_BYTES_MAX}"
            yield Violation(field, f"is {chunk.size_bytes}", span)


def _hash(field: str, value: bytes) -> Iterator[Violation]:
    if len(value) != HASH_BYTES:
        yield Violation(field, f"has {len(value)} bytes", f"{HASH_BYTES} bytes")


def _tags(tags: Sequence[str], field: str) -> Iterator[Violation]:
    if len(tags) > limits.TAGS_MAX:
        yield Violation(field, f"has {len(tags)} tags", f"{limits.TAGS_MAX} tags")
        return
    for at, tag in enumerate(tags):
        yield from parts.words(f"{field}[{at}]", tag, limits.TAG_CHARS_MAX, 1)
    if len(set(tags)) < len(tags):
        yield Violation(field, "has a tag twice", "each tag once")


def _checkpoint_id(value: int, field: str = "checkpoint_id") -> Iterator[Violation]:
    if not value:
        yield Violation(field, "is required", "1 or more")


# --- one rule a request ------------------------------------------------------


def _commit_step(message: CommitStepRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    if (count := len(message.events)) > limits.EVENTS_PER_STEP_MAX:
        yield Violation("events", f"has {count} events", str(limits.EVENTS_PER_STEP_MAX))
        return
    for at, event in enumerate(message.events):
        if not parts.event_is_fine(event):
            yield from parts.event(event, f"events[{at}]")
    if message.HasField("checkpoint"):
        yield from _new_checkpoint(message.checkpoint, "checkpoint")
    if message.closings or message.effects:
        yield from rules_effects.of_step(message)
    if message.recordings:
        yield from rules_replay.recordings(message.recordings, "recordings")


def _put_checkpoint(message: PutCheckpointRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    if not message.HasField("checkpoint"):
        yield Violation("checkpoint", "is required", "a checkpoint, which may be empty")
    yield from _new_checkpoint(message.checkpoint, "checkpoint")


def _put_chunk(message: PutChunkRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _hash("hash", message.hash)
    size, most = len(message.data), limits.CHUNK_BYTES_MAX
    if size > most:
        yield parts.too_large("data", size, most)
    elif not size:
        yield Violation("data", "is required", f"1 to {most} bytes")
    elif digest(message.data) != message.hash:
        yield Violation("hash", "is not that of data", "blake2b-32 of data")


def _missing_chunks(message: MissingChunksRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.consistency(message)
    if message.consistency == Consistency.CONSISTENCY_AT_REVISION:
        yield Violation("consistency", "is AT_REVISION", "any other: chunks have no past")
    count, most = len(message.hashes), limits.CHUNKS_PER_CHECKPOINT_MAX
    if not 1 <= count <= most:
        yield Violation("hashes", f"has {count} hashes", f"1 to {most}")
        return
    for at, value in enumerate(message.hashes):
        yield from _hash(f"hashes[{at}]", value)


def _get_checkpoint(message: GetCheckpointRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.consistency(message)
    yield from parts.words("tag", message.tag, limits.TAG_CHARS_MAX)
    if message.tag and message.checkpoint_id:
        yield Violation("tag", "comes with checkpoint_id", "one of both")


def _list_checkpoints(message: ListCheckpointsRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.page(message)
    yield from parts.labels(message.labels)


def _tag_checkpoint(message: TagCheckpointRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _checkpoint_id(message.checkpoint_id)
    yield from _tags(message.add_tags, "add_tags")
    yield from _tags(message.remove_tags, "remove_tags")
    if set(message.add_tags) & set(message.remove_tags):
        yield Violation("remove_tags", "has a tag of add_tags", "each tag in one of both")
    yield from parts.labels(message.labels.labels, "labels.labels")


def _mark_valid(message: MarkValidRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _checkpoint_id(message.checkpoint_id)
    yield from parts.agent_id(message.validator, "validator")
    yield from _hash("content_hash", message.content_hash)
    yield from parts.people("evidence", message.evidence)


def _prune_checkpoints(message: PruneCheckpointsRequest) -> Iterator[Violation]:
    return parts.agent_id(message.agent_id)


def _copy_lineage(message: CopyLineageRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.source_agent_id, "source_agent_id")
    yield from parts.agent_id(message.agent_id)


def _diff_checkpoints(message: DiffCheckpointsRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    if message.to_agent_id:
        yield from parts.agent_id(message.to_agent_id, "to_agent_id")
    yield from _checkpoint_id(message.from_checkpoint_id, "from_checkpoint_id")
    yield from _checkpoint_id(message.to_checkpoint_id, "to_checkpoint_id")
    yield from parts.consistency(message)


def _put_group(message: PutGroupCheckpointRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.group_id, "group_id")
    if not 1 <= len(message.members) <= limits.GROUP_MEMBERS_MAX:
        words, span = f"has {len(message.members)} members", f"1 to {limits.GROUP_MEMBERS_MAX}"
        yield Violation("members", words, span)
        return
    for at, member in enumerate(message.members):
        yield from _member(member, f"members[{at}]")
    if len({member.agent_id for member in message.members}) < len(message.members):
        yield Violation("members", "has an agent twice", "each agent once")


def _member(member: NewGroupMember, place: str) -> Iterator[Violation]:
    yield from parts.agent_id(member.agent_id, f"{place}.agent_id")
    if not member.HasField("checkpoint"):
        return
    yield from _new_checkpoint(member.checkpoint, f"{place}.checkpoint")
    if not member.HasField("fence"):
        yield Violation(f"{place}.fence", "is required", "the token of an ownership")
    if member.checkpoint_id:
        words = "comes with a checkpoint"
        yield Violation(f"{place}.checkpoint_id", words, "a new one, or one that is there")


def _named_group(message: DeleteGroupCheckpointRequest) -> Iterator[Violation]:
    return parts.agent_id(message.group_id, "group_id")


def _get_group(message: GetGroupCheckpointRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.group_id, "group_id")
    yield from parts.consistency(message)


def _list_groups(message: ListGroupCheckpointsRequest) -> Iterator[Violation]:
    yield from parts.words("prefix", message.prefix, limits.AGENT_ID_CHARS_MAX)
    yield from parts.page(message)


def _nothing(_message: CollectChunks) -> Iterator[Violation]:
    return iter(())


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    CommitStepRequest: _commit_step,
    PutCheckpointRequest: _put_checkpoint,
    PutChunkRequest: _put_chunk,
    MissingChunksRequest: _missing_chunks,
    GetCheckpointRequest: _get_checkpoint,
    ListCheckpointsRequest: _list_checkpoints,
    TagCheckpointRequest: _tag_checkpoint,
    MarkValidRequest: _mark_valid,
    PruneCheckpointsRequest: _prune_checkpoints,
    CopyLineageRequest: _copy_lineage,
    DiffCheckpointsRequest: _diff_checkpoints,
    PutGroupCheckpointRequest: _put_group,
    DeleteGroupCheckpointRequest: _named_group,
    GetGroupCheckpointRequest: _get_group,
    ListGroupCheckpointsRequest: _list_groups,
    CollectChunks: _nothing,
}
