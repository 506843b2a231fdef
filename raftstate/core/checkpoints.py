"""Checkpoints: an agent's saved state, and which of its events it reflects.

The record tells about a checkpoint, and lists read nothing else; the body, under a key
of its own, is the data, or says which chunks it is cut into. A delta counts at its base,
so that the base stays while it does.

`check` says everything that may be wrong, and `take` writes: whoever saves several, or a
checkpoint with other things, checks all of it first.
"""

from __future__ import annotations

from raftstate.core import (
    agents,
    checkpoint_queries,
    chunks,
    keys,
    limits,
    ownership,
    retention,
)
from raftstate.core.context import Context, refuse
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    NewCheckpoint,
    PutCheckpointRequest,
    PutCheckpointResponse,
)
from raftstate.v1.store_pb2 import CheckpointBody, Reason, Refusal


def missing(agent_id: str, checkpoint_id: int) -> Refusal:
    """The refusal for a checkpoint that does not exist; zero: the newest."""
    what = f"checkpoint {checkpoint_id}" if checkpoint_id else "checkpoint"
    return refuse(Reason.REASON_CHECKPOINT_NOT_FOUND, f"agent {agent_id} has no {what}")


def put_checkpoint(
    context: Context, request: PutCheckpointRequest
) -> PutCheckpointResponse | Refusal:
    """Save a checkpoint outside of a step."""
    agent = ownership.writable(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    refusal = check(context.store, agent, request.checkpoint)
    if refusal is not None:
        return refusal
    take(context, agent, request.checkpoint)
    agent.owner.touched_revision = context.revision
    agents.save(context, agent)
    return PutCheckpointResponse(head=agent.head)


def check(reader: Reader, agent: Agent, new: NewCheckpoint) -> Refusal | None:
    """Why an agent cannot have such a checkpoint; None if it can."""
    if new.base_checkpoint_id:
        base = checkpoint_queries.load(reader, agent.agent_id, new.base_checkpoint_id)
        if base is None:
            return missing(agent.agent_id, new.base_checkpoint_id)
        if base.chain_length >= limits.CHAIN_LENGTH_MAX:
            message = f"checkpoint {base.checkpoint_id} ends a chain of {base.chain_length}"
            refusal = refuse(Reason.REASON_CHAIN_TOO_LONG, message)
            refusal.limit = limits.CHAIN_LENGTH_MAX
            return refusal
    return chunks.refuse_absent(reader, checkpoint_queries.chunk_space(agent), new.chunks)


def take(context: Context, agent: Agent, new: NewCheckpoint) -> None:
    """Save a checkpoint that was checked, move the head to it, and remove what retention
    gives up for it. The caller saves the agent."""
    before = agent.head.checkpoint_id
    agent.head.checkpoint_id += 1
    checkpoint = Checkpoint(
        agent_id=agent.agent_id,
        checkpoint_id=agent.head.checkpoint_id,
        step=agent.head.step,
        event_seq=agent.head.event_seq,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
        content_type=new.content_type,
        labels=new.labels,
        pinned=new.pinned,
    )
    _save_body(context, agent, checkpoint, new)
    if new.base_checkpoint_id:
        _build_on(context, agent, checkpoint, new.base_checkpoint_id)
    if new.tags:
        add_tags(context, agent, checkpoint, list(new.tags))
    retention.save(context, agent, checkpoint)
    if before:
        retention.refresh(context, agent, retention.load(context.store, agent, before))
    retention.retain(context, agent)


def add_tags(context: Context, agent: Agent, checkpoint: Checkpoint, tags: list[str]) -> None:
    """Move tags to a checkpoint from wherever they are. The caller saves the checkpoint."""
    for tag in tags:
        held_by = checkpoint_queries.tagged(context.store, agent.agent_id, tag)
        if held_by == checkpoint.checkpoint_id:
            continue
        if held_by:
            holder = retention.load(context.store, agent, held_by)
            holder.tags.remove(tag)
            retention.save(context, agent, holder)
        place = keys.tag(agent.agent_id, tag)
        context.store.put(place, keys.number(checkpoint.checkpoint_id))
        checkpoint.tags.append(tag)


def _save_body(
    context: Context, agent: Agent, checkpoint: Checkpoint, new: NewCheckpoint
) -> None:
    """Keep the data, and note in the record what it is recognised by."""
    space = checkpoint_queries.chunk_space(agent)
    parts: list[ChunkRef] = list(new.chunks)
    if len(new.data) > limits.INLINE_BYTES_MAX:
        parts = chunks.cut(context, space, new.data)
    if parts:
        chunks.use(context, space, parts)
        body = CheckpointBody(chunks=parts)
        checkpoint.size_bytes = sum(part.size_bytes for part in parts)
        checkpoint.content_hash = checkpoint_queries.content_hash(part.hash for part in parts)
        checkpoint.chunk_count = len(parts)
    else:
        body = CheckpointBody(data=new.data)
        checkpoint.size_bytes = len(new.data)
        checkpoint.content_hash = checkpoint_queries.digest(new.data)
    place = keys.checkpoint_body(agent.agent_id, checkpoint.checkpoint_id)
    context.store.put(place, body.SerializeToString(deterministic=True))


def _build_on(context: Context, agent: Agent, checkpoint: Checkpoint, base_id: int) -> None:
    """Make a delta, and count it at its base."""
    base = retention.load(context.store, agent, base_id)
    checkpoint.base_checkpoint_id = base_id
    checkpoint.chain_length = base.chain_length + 1
    base.dependents += 1
    retention.save(context, agent, base)
