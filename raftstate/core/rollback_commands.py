"""The commands of rollbacks: one starts, and ends as it was meant to or is given up.

`start` does all of it that must happen at one instant. Everything is checked before the
first write, so that a refusal has changed nothing, however many agents there are.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import (
    agents,
    compensations,
    effects,
    incidents,
    items,
    keys,
    planning,
    recordings,
    restoring,
    rollbacks,
    undone,
)
from raftstate.core.context import Context, refuse, refuse_subject
from raftstate.core.planning import Goal, Plan
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.recovery_service_pb2 import Classification, Symptom
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AbortRollbackResponse,
    AgentTarget,
    BarrierPolicy,
    FinishRollbackRequest,
    FinishRollbackResponse,
    Rollback,
    RollbackState,
    RolledBack,
    StartRollbackRequest,
    StartRollbackResponse,
)
from raftstate.v1.store_pb2 import Reason, Refusal


class Spec(NamedTuple):
    """What a rollback is to do; see StartRollbackRequest, whose words these are."""

    agents: list[AgentTarget]
    group_id: str = ""
    on_barrier: BarrierPolicy = BarrierPolicy.BARRIER_POLICY_REFUSE
    validators: tuple[str, ...] = ()
    reason: str = ""
    started_by: str = ""
    expected_digest: bytes = b""
    incident_id: str = ""


def start_rollback(
    context: Context, request: StartRollbackRequest
) -> StartRollbackResponse | Refusal:
    """Take agents back, and list what is to be undone."""
    spec = Spec(
        agents=list(request.agents),
        group_id=request.group_id,
        on_barrier=request.on_barrier or BarrierPolicy.BARRIER_POLICY_REFUSE,
        validators=tuple(request.validators),
        reason=request.reason,
        started_by=request.started_by,
        expected_digest=request.expected_digest,
        incident_id=request.incident_id,
    )
    rollback = start(context, spec)
    if isinstance(rollback, Refusal):
        return rollback
    return StartRollbackResponse(
        rollback_id=rollback.rollback_id,
        state=rollback.state,
        undoing=rollback.undoing,
        incident_id=rollback.incident_id,
    )


def start(context: Context, spec: Spec) -> Rollback | Refusal:
    """Begin a rollback, of which there can be one in a command, or say why there is none."""
    plan = planning.plan(context.store, spec.agents, spec.group_id, spec.validators)
    if isinstance(plan, Refusal):
        return plan
    refusal = _refuse(context, spec, plan)
    if refusal is not None:
        return refusal

    rollback = Rollback(
        rollback_id=f"{context.revision:016x}",
        state=RollbackState.ROLLBACK_STATE_COMPENSATING,
        agents=planning.rolled_back(plan),
        reason=spec.reason,
        started_by=spec.started_by,
        validators=plan.validators,
        started_revision=context.revision,
        started_log_time_ms=context.log_time_ms,
        group_id=spec.group_id,
    )
    for goal, said in zip(plan.goals, rollback.agents, strict=True):
        _take_back(context, goal, said, rollback.rollback_id)
    plan_id = rollbacks.PLAN + rollback.rollback_id
    undoing = compensations.freeze(context, plan_id, plan.effects, spec.on_barrier)
    rollback.undoing.CopyFrom(undoing)
    rollbacks.save(context, rollback)
    for goal in plan.goals:
        compensations.roll_back_sagas(
            context, goal.agent.agent_id, goal.kept_revision, rollback.rollback_id
        )
    rollback.incident_id = _incident(context, spec, rollback)
    rollbacks.advanced(context, rollback)
    return rollback


def finish_rollback(
    context: Context, request: FinishRollbackRequest
) -> FinishRollbackResponse | Refusal:
    """End a rollback that did all it had to: its agents may be acquired again."""
    rollback = rollbacks.load(context.store, request.rollback_id)
    if rollback is None:
        return rollbacks.missing(request.rollback_id)
    if rollback.state != RollbackState.ROLLBACK_STATE_READY:
        return rollbacks.refuse_state(rollback, "cannot be finished")
    for agent in rollbacks.agents_of(context.store, rollback):
        _leave(context, agent, Lifecycle.LIFECYCLE_IDLE)
    _end(context, rollback, RollbackState.ROLLBACK_STATE_FINISHED)
    incidents.stamp(context, rollback.incident_id, "resumed_ms")
    incident = incidents.load(context.store, rollback.incident_id)
    if incident is not None:
        words = f"rollback {rollback.rollback_id} is finished"
        incidents.resolve(context, incident, words)
    return FinishRollbackResponse()


def abort_rollback(
    context: Context, request: AbortRollbackRequest
) -> AbortRollbackResponse | Refusal:
    """Give a rollback up. What it did stays; for the rest somebody has to see to it."""
    rollback = rollbacks.load(context.store, request.rollback_id)
    if rollback is None:
        return rollbacks.missing(request.rollback_id)
    if rollback.state not in rollbacks.UNDER_WAY:
        return rollbacks.refuse_state(rollback, "has ended")
    words = request.reason or f"rollback {rollback.rollback_id} was aborted"
    for agent in rollbacks.agents_of(context.store, rollback):
        agent.halt_reason = words
        _leave(context, agent, Lifecycle.LIFECYCLE_HALTED)
        if rollback.undoing.open:
            context.store.put(keys.given_up(agent.agent_id, rollback.rollback_id), b"")
    rollback.ended_reason = request.reason
    _end(context, rollback, RollbackState.ROLLBACK_STATE_ABORTED)
    incident = incidents.load(context.store, rollback.incident_id)
    if incident is not None:
        incidents.add_evidence(context, incident, "rollback", rollback.rollback_id, "aborted")
    return AbortRollbackResponse()


# --- the start ---------------------------------------------------------------


def _refuse(context: Context, spec: Spec, plan: Plan) -> Refusal | None:
    """Why what was planned is not done; None if it is."""
    if spec.incident_id and incidents.load(context.store, spec.incident_id) is None:
        message = f"there is no incident {spec.incident_id}"
        return refuse(Reason.REASON_INCIDENT_NOT_FOUND, message)
    if spec.expected_digest and spec.expected_digest != planning.digest(plan):
        message = "the plan is another one by now"
        return refuse(Reason.REASON_CONFLICT, message, field="expected_digest")
    barriers = plan.barriers
    if barriers and spec.on_barrier == BarrierPolicy.BARRIER_POLICY_REFUSE:
        first = barriers[0]
        message = (
            f"effect {first.effect_id} of agent {first.agent_id} ({first.action}) cannot be "
            f"undone, the first of {len(barriers)}"
        )
        return refuse_subject(
            Reason.REASON_ROLLBACK_BARRIER, message, f"{first.agent_id}#{first.effect_id}"
        )
    return None


def _take_back(context: Context, goal: Goal, said: RolledBack, rollback_id: str) -> None:
    """Fence an agent off from whoever owned it, and make its newest checkpoint a copy of
    the target. Note in `said` what only now is known."""
    agent = goal.agent
    token = FencingToken(epoch=context.epoch, revision=context.revision)
    assert token_key(token) > token_key(agent.newest_fence), "grants must grow"
    kept_step = planning.kept_step(context.store, goal)
    if kept_step < agent.head.step:
        said.first_undone_step, said.last_undone_step = kept_step + 1, agent.head.step
    agents.vacate(context, agent)
    agent.newest_fence.CopyFrom(token)
    agent.lifecycle = Lifecycle.LIFECYCLE_RECOVERING
    agent.halt_reason = ""
    agent.rollback_id = rollback_id
    effects.give_up(context, agent)
    recordings.forget_step(context, agent.agent_id, agent.head.step + 1)
    if goal.undone is not None:
        undone.add(context, agent.agent_id, goal.undone, rollback_id)
    restoring.restore(context, agent, goal.checkpoint, rollback_id)
    agents.save(context, agent)
    said.restored_checkpoint_id = agent.head.checkpoint_id
    said.fence.CopyFrom(token)


def _incident(context: Context, spec: Spec, rollback: Rollback) -> str:
    """The incident that a rollback belongs to: the one that was named, or one of its own."""
    incident = incidents.load(context.store, spec.incident_id)
    if incident is None:
        incident = incidents.open_incident(
            context,
            Symptom.SYMPTOM_ROLLBACK,
            classification=Classification.CLASSIFICATION_OPERATOR,
            agent_ids=[each.agent_id for each in rollback.agents],
            summary=spec.reason or f"rollback {rollback.rollback_id} was started",
        )
    incident.rollback_id = rollback.rollback_id
    incidents.add_evidence(context, incident, "rollback", rollback.rollback_id, "started")
    incidents.stamp(context, incident.incident_id, "fenced_ms", "restored_ms")
    return incident.incident_id


# --- the end -----------------------------------------------------------------


def _leave(context: Context, agent: Agent, lifecycle: Lifecycle) -> None:
    agent.lifecycle = lifecycle
    agent.rollback_id = ""
    agents.save(context, agent)


def _end(context: Context, rollback: Rollback, state: RollbackState) -> None:
    rollback.state = state
    rollback.ended_revision = context.revision
    rollback.ended_log_time_ms = context.log_time_ms
    items.end_claim(context, rollback.undoing)
    rollbacks.save(context, rollback)
