"""Verdicts: what validators say of a checkpoint, or of a state that was restored.

That something is good is said by validators only, of exactly what they saw, and never by
the session that owns the agent. A no is an incident: of a checkpoint one of its own, of
what a rollback has restored the rollback's.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import (
    agents,
    checkpoint_queries,
    checkpoints,
    incidents,
    limits,
    retention,
    rollbacks,
)
from raftstate.core.context import Context, refuse, refuse_many, refuse_with_owner
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    MarkValidRequest,
    MarkValidResponse,
    Validation,
)
from raftstate.v1.recovery_service_pb2 import (
    Classification,
    Evidence,
    ReportValidationRequest,
    ReportValidationResponse,
    Symptom,
)
from raftstate.v1.rollback_service_pb2 import Rollback, RollbackState, ValidatorReport
from raftstate.v1.store_pb2 import Reason, Refusal

_JUDGED_IN = (
    RollbackState.ROLLBACK_STATE_VALIDATING,
    RollbackState.ROLLBACK_STATE_READY,
)


class _Verdict(NamedTuple):
    """What a validator says of a checkpoint, by whichever request."""

    validator: str
    checkpoint_id: int
    content_hash: bytes
    valid: bool
    evidence: str
    session_id: str


class _Judged(NamedTuple):
    """A checkpoint after a verdict, and the incident that a no has opened, or empty."""

    checkpoint: Checkpoint
    incident_id: str


def mark_valid(context: Context, request: MarkValidRequest) -> MarkValidResponse | Refusal:
    """Note what a validator found, and whether the checkpoint is known good after it."""
    verdict = _Verdict(
        validator=request.validator,
        checkpoint_id=request.checkpoint_id,
        content_hash=request.content_hash,
        valid=request.valid,
        evidence=request.evidence,
        session_id=request.request_id.session_id,
    )
    judged = _judge(context, request.agent_id, verdict)
    if isinstance(judged, Refusal):
        return judged
    return MarkValidResponse(known_good=judged.checkpoint.known_good)


def report_validation(
    context: Context, request: ReportValidationRequest
) -> ReportValidationResponse | Refusal:
    """Note what a validator found, of a checkpoint or of what a rollback has restored."""
    if request.rollback_id:
        return _of_rollback(context, request)
    verdict = _Verdict(
        validator=request.validator,
        checkpoint_id=request.checkpoint_id,
        content_hash=request.content_hash,
        valid=request.passed,
        evidence=request.evidence,
        session_id=request.request_id.session_id,
    )
    judged = _judge(context, request.agent_id, verdict)
    if isinstance(judged, Refusal):
        return judged
    return ReportValidationResponse(
        known_good=judged.checkpoint.known_good, incident_id=judged.incident_id
    )


# --- of a checkpoint ---------------------------------------------------------


def _judge(context: Context, agent_id: str, verdict: _Verdict) -> _Judged | Refusal:
    agent = agents.load(context.store, agent_id)
    if agent is None:
        return agents.missing(agent_id)
    number = verdict.checkpoint_id
    checkpoint = checkpoint_queries.load(context.store, agent_id, number)
    if checkpoint is None:
        return checkpoints.missing(agent_id, number)
    refusal = _refuse(context, agent, checkpoint, verdict)
    if refusal is not None:
        return refusal
    said_before = {each.validator: each.valid for each in checkpoint.validations}
    _note(context, checkpoint, verdict)
    judged = [each.valid for each in checkpoint.validations]
    retention.set_known_good(context, agent, checkpoint, all(judged))
    agents.save(context, agent)
    if verdict.valid or not said_before.get(verdict.validator, True):
        # Who says no again has nothing new to say.
        return _Judged(checkpoint, "")
    return _Judged(checkpoint, _open_incident(context, agent_id, verdict))


def _refuse(
    context: Context, agent: Agent, checkpoint: Checkpoint, verdict: _Verdict
) -> Refusal | None:
    """Why a validator may not judge a checkpoint; None if it may."""
    name, number = verdict.validator, checkpoint.checkpoint_id
    refusal = _refuse_validator(context, agent, name)
    if refusal is not None:
        return refusal
    if verdict.content_hash != checkpoint.content_hash:
        message = f"checkpoint {number} of agent {agent.agent_id} has other content"
        return refuse(Reason.REASON_CONFLICT, message, field="content_hash")
    if agent.HasField("owner") and agent.owner.session_id == verdict.session_id:
        message = f"agent {agent.agent_id} is the caller's own"
        return refuse_with_owner(Reason.REASON_OWNED, message, agent)
    judges = {each.validator for each in checkpoint.validations} | {name}
    if len(judges) > limits.VALIDATIONS_MAX:
        message = f"checkpoint {number} was judged by {limits.VALIDATIONS_MAX} validators"
        return refuse_many(message, limits.VALIDATIONS_MAX, "validator")
    return None


def _refuse_validator(context: Context, agent: Agent, name: str) -> Refusal | None:
    """Why a validator may not judge an agent; None if it may."""
    validator = checkpoint_queries.get_validator(context.store, name)
    if validator is None or not agent.agent_id.startswith(validator.agent_prefix):
        message = f"no validator {name} is registered for agent {agent.agent_id}"
        return refuse(Reason.REASON_VALIDATOR_NOT_FOUND, message)
    return None


def _note(context: Context, checkpoint: Checkpoint, verdict: _Verdict) -> None:
    """Replace what the validator said before, if anything."""
    others = [each for each in checkpoint.validations if each.validator != verdict.validator]
    newest = Validation(
        validator=verdict.validator,
        valid=verdict.valid,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
        evidence=verdict.evidence,
    )
    checkpoint.ClearField("validations")
    checkpoint.validations.extend([*others, newest])


def _open_incident(context: Context, agent_id: str, verdict: _Verdict) -> str:
    number, name = verdict.checkpoint_id, verdict.validator
    incident = incidents.open_incident(
        context,
        Symptom.SYMPTOM_VALIDATION_FAILED,
        classification=Classification.CLASSIFICATION_STATE_CORRUPTION,
        agent_ids=[agent_id],
        summary=f"checkpoint {number} of {agent_id} is not good",
        evidence=[
            Evidence(kind="checkpoint", ref=f"{agent_id}#{number}"),
            Evidence(kind="validator", ref=name, detail=verdict.evidence),
        ],
    )
    return incident.incident_id


# --- of what a rollback has restored -----------------------------------------


def _of_rollback(
    context: Context, request: ReportValidationRequest
) -> ReportValidationResponse | Refusal:
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    rollback = rollbacks.load(context.store, request.rollback_id)
    if rollback is None:
        return rollbacks.missing(request.rollback_id)
    refusal = _refuse_validator(context, agent, request.validator)
    if refusal is not None:
        return refusal
    if rollback.state not in _JUDGED_IN:
        return rollbacks.refuse_state(rollback, "has nothing to be validated")
    report = _report(rollback, request)
    if report is None:
        message = f"does not ask {request.validator} about agent {request.agent_id}"
        return rollbacks.refuse_state(rollback, message)

    report.passed = request.passed
    report.evidence = request.evidence
    report.revision = context.revision
    if request.passed:
        rollbacks.advanced(context, rollback)
        return ReportValidationResponse()
    incident = incidents.load(context.store, rollback.incident_id)
    if incident is not None:
        incident.validated_ms = 0  # it was not good, whatever they said before
        incidents.save(context, incident)
    words = f"says no of {request.agent_id}" + (
        f": {request.evidence}" if request.evidence else ""
    )
    incident_id = rollbacks.went_wrong(
        context,
        rollback,
        Symptom.SYMPTOM_VALIDATION_FAILED,
        Classification.CLASSIFICATION_STATE_CORRUPTION,
        Evidence(kind="validator", ref=request.validator, detail=words),
    )
    rollbacks.advanced(context, rollback)
    return ReportValidationResponse(incident_id=incident_id)


def _report(rollback: Rollback, request: ReportValidationRequest) -> ValidatorReport | None:
    """Where a rollback keeps what the validator says of the agent, if it asks for that."""
    wanted = (request.validator, request.agent_id)
    for each in rollback.validators:
        if (each.validator, each.agent_id) == wanted:
            return each
    return None
