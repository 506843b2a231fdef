"""Marks: what is said about a checkpoint after it was saved, and who may say it is good.

Tags, labels and the pin are anybody's. That a checkpoint is good is said by validators
only, of exactly what they saw, and never by the session that owns the agent.
"""

from __future__ import annotations

from raftstate.core import agents, checkpoint_queries, checkpoints, keys, limits, retention
from raftstate.core.context import Context, refuse, refuse_many, refuse_with_owner
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    MarkValidRequest,
    MarkValidResponse,
    TagCheckpointRequest,
    TagCheckpointResponse,
    Validation,
)
from raftstate.v1.recovery_service_pb2 import (
    PutValidatorRequest,
    PutValidatorResponse,
    Validator,
)
from raftstate.v1.store_pb2 import Reason, Refusal


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


def mark_valid(context: Context, request: MarkValidRequest) -> MarkValidResponse | Refusal:
    """Note what a validator found, and whether the checkpoint is known good after it."""
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    number = request.checkpoint_id
    checkpoint = checkpoint_queries.load(context.store, agent.agent_id, number)
    if checkpoint is None:
        return checkpoints.missing(agent.agent_id, number)
    refusal = _refuse_judgement(context, agent, checkpoint, request)
    if refusal is not None:
        return refusal

    _note(context, checkpoint, request)
    judged = [each.valid for each in checkpoint.validations]
    retention.set_known_good(context, agent, checkpoint, all(judged))
    agents.save(context, agent)
    return MarkValidResponse(known_good=checkpoint.known_good)


def put_validator(
    context: Context, request: PutValidatorRequest
) -> PutValidatorResponse | Refusal:
    """Register a validator, or change one. What it has said stays."""
    validator = Validator(
        name=request.name,
        agent_prefix=request.agent_prefix,
        description=request.description,
        revision=context.revision,
    )
    place = keys.validator(request.name)
    context.store.put(place, validator.SerializeToString(deterministic=True))
    return PutValidatorResponse()


def _refuse_judgement(
    context: Context, agent: Agent, checkpoint: Checkpoint, request: MarkValidRequest
) -> Refusal | None:
    """Why a validator may not judge a checkpoint; None if it may."""
    name, number = request.validator, checkpoint.checkpoint_id
    validator = checkpoint_queries.get_validator(context.store, name)
    if validator is None or not agent.agent_id.startswith(validator.agent_prefix):
        message = f"no validator {name} is registered for agent {agent.agent_id}"
        return refuse(Reason.REASON_VALIDATOR_NOT_FOUND, message)
    if request.content_hash != checkpoint.content_hash:
        message = f"checkpoint {number} of agent {agent.agent_id} has other content"
        return refuse(Reason.REASON_CONFLICT, message, field="content_hash")
    if agent.HasField("owner") and agent.owner.session_id == request.request_id.session_id:
        message = f"agent {agent.agent_id} is the caller's own"
        return refuse_with_owner(Reason.REASON_OWNED, message, agent)
    judges = {each.validator for each in checkpoint.validations} | {name}
    if len(judges) > limits.VALIDATIONS_MAX:
        message = f"checkpoint {number} was judged by {limits.VALIDATIONS_MAX} validators"
        return refuse_many(message, limits.VALIDATIONS_MAX, "validator")
    return None


def _note(context: Context, checkpoint: Checkpoint, request: MarkValidRequest) -> None:
    """Replace what the validator said before, if anything."""
    others = [each for each in checkpoint.validations if each.validator != request.validator]
    newest = Validation(
        validator=request.validator,
        valid=request.valid,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
        evidence=request.evidence,
    )
    checkpoint.ClearField("validations")
    checkpoint.validations.extend([*others, newest])
