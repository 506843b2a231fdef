"""Checkpoints: an agent's saved state, and which of its events it reflects.

The data has a key of its own, so that a list reads no data.
"""

from __future__ import annotations

from hashlib import blake2b

from raftstate.core import keys
from raftstate.core.context import Context
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    NewCheckpoint,
    PutCheckpointRequest,
    PutCheckpointResponse,
)
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.store_pb2 import CheckpointBody, Refusal


def content_hash(data: bytes) -> bytes:
    """What a checkpoint's data is recognised by."""
    return blake2b(data, digest_size=32).digest()


def take(context: Context, agent_id: str, head: StepHead, new: NewCheckpoint) -> None:
    """Save a step's checkpoint, and move the head to it."""
    head.checkpoint_id += 1
    checkpoint = Checkpoint(
        agent_id=agent_id,
        checkpoint_id=head.checkpoint_id,
        step=head.step,
        event_seq=head.event_seq,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
        content_type=new.content_type,
        labels=new.labels,
        size_bytes=len(new.data),
        content_hash=content_hash(new.data),
    )
    key = keys.checkpoint(agent_id, head.checkpoint_id)
    context.store.put(key, checkpoint.SerializeToString(deterministic=True))
    body = CheckpointBody(data=new.data).SerializeToString(deterministic=True)
    context.store.put(keys.checkpoint_body(agent_id, head.checkpoint_id), body)


def put_checkpoint(
    context: Context, request: PutCheckpointRequest
) -> PutCheckpointResponse | Refusal:
    """To come."""
    raise NotImplementedError
