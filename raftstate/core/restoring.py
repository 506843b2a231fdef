"""Restoring: an older checkpoint becomes the newest one, by a copy of it.

The copy has the target's data, content hash, base and place in the events, and an id and a
revision of its own. Its chunks, and its base if it is a delta, are counted once more, so
that target and copy may go one without the other. What people and validators have said of
the target they have not said of the copy: tags, pin, verdicts stay where they are.
"""

from __future__ import annotations

from raftstate.core import checkpoint_queries, chunks, keys, retention, undone
from raftstate.core.context import Context
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.store_pb2 import CheckpointBody


def restore(context: Context, agent: Agent, target: Checkpoint, rollback_id: str) -> None:
    """Make a copy of a checkpoint the agent's newest, and leave those between behind. The
    caller saves the agent."""
    before = agent.head.checkpoint_id
    if target.checkpoint_id < before:
        left = undone.Segment(target.checkpoint_id + 1, before)
        undone.leave_behind(context, agent.agent_id, left, rollback_id)
    agent.head.checkpoint_id += 1
    copy = Checkpoint(
        agent_id=agent.agent_id,
        checkpoint_id=agent.head.checkpoint_id,
        step=target.step,
        event_seq=target.event_seq,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
        content_type=target.content_type,
        labels=target.labels,
        size_bytes=target.size_bytes,
        content_hash=target.content_hash,
        base_checkpoint_id=target.base_checkpoint_id,
        chain_length=target.chain_length,
        chunk_count=target.chunk_count,
        restored_from=target.checkpoint_id,
        rollback_id=rollback_id,
    )
    if target.HasField("origin"):
        copy.origin.CopyFrom(target.origin)
    _copy_body(context, agent, target, copy)
    if copy.base_checkpoint_id:
        base = retention.load(context.store, agent, copy.base_checkpoint_id)
        base.dependents += 1
        retention.save(context, agent, base)
    retention.save(context, agent, copy)
    retention.refresh(context, agent, retention.load(context.store, agent, before))


def _copy_body(context: Context, agent: Agent, target: Checkpoint, copy: Checkpoint) -> None:
    raw = context.store.get(keys.checkpoint_body(agent.agent_id, target.checkpoint_id))
    assert raw is not None, f"no body of checkpoint {target.checkpoint_id}"
    context.store.put(keys.checkpoint_body(agent.agent_id, copy.checkpoint_id), raw)
    named = CheckpointBody.FromString(raw).chunks
    chunks.use(context, checkpoint_queries.chunk_space(agent), named)
