"""Marks: what anybody may say about a checkpoint after it was saved, which is tags, labels
and the pin; and who may say that it is good, which is for `verdicts`.
"""

from __future__ import annotations

from raftstate.core import agents, checkpoint_queries, checkpoints, keys, limits, retention
from raftstate.core.context import Context, refuse_many
from raftstate.v1.checkpoint_service_pb2 import (
    TagCheckpointRequest,
    TagCheckpointResponse,
)
from raftstate.v1.recovery_service_pb2 import (
    PutValidatorRequest,
    PutValidatorResponse,
    Validator,
)
from raftstate.v1.store_pb2 import Refusal


def tag_checkpoint(
    context: Context, request: TagCheckpointRequest
) -> TagCheckpointResponse | Refusal:
    """Change a checkpoint's tags, labels and pin."""
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    number = request.checkpoint_id
    checkpoint = checkpoint_queries.load(context.store, agent.agent_id, number)
    if checkpoint is None:
        return checkpoints.missing(agent.agent_id, number)
    tags = (set(checkpoint.tags) - set(request.remove_tags)) | set(request.add_tags)
    if len(tags) > limits.TAGS_MAX:
        message = f"checkpoint {number} would have {len(tags)} tags"
        return refuse_many(message, limits.TAGS_MAX, "add_tags")

    for tag in request.remove_tags:
        if tag in checkpoint.tags:
            checkpoint.tags.remove(tag)
            context.store.delete(keys.tag(agent.agent_id, tag))
    checkpoints.add_tags(context, agent, checkpoint, list(request.add_tags))
    if request.HasField("pinned"):
        checkpoint.pinned = request.pinned
    if request.HasField("labels"):
        checkpoint.ClearField("labels")
        checkpoint.labels.extend(request.labels.labels)
    retention.save(context, agent, checkpoint)
    agents.save(context, agent)
    return TagCheckpointResponse()


def put_validator(
    context: Context, request: PutValidatorRequest
) -> PutValidatorResponse | Refusal:
    """Register a validator, or change one. What it has said stays."""
    validator = Validator(
        name=request.name,
        agent_prefix=request.agent_prefix,
        description=request.description,
        revision=context.revision,
        required_in_rollbacks=request.required_in_rollbacks,
    )
    place = keys.validator(request.name)
    context.store.put(place, validator.SerializeToString(deterministic=True))
    return PutValidatorResponse()
