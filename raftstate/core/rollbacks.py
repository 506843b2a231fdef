"""Rollbacks: agents taken back to a state that can be trusted. Their records, and how far
each has come.

    start -> COMPENSATING <-> BLOCKED      an item waits for a person
          -> VALIDATING   <-> READY        all is undone; all validators have said yes
          -> FINISHED | ABORTED            its agents are IDLE, or HALTED

The commands are in `rollback_commands`. What compensations and validators report moves a
rollback on, and `advanced` says where it stands then.
"""

from __future__ import annotations

from raftstate.core import agents, incidents, items, keys
from raftstate.core.context import Context, refuse
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle
from raftstate.v1.recovery_service_pb2 import Classification, Evidence, Symptom
from raftstate.v1.rollback_service_pb2 import Rollback, RollbackState
from raftstate.v1.store_pb2 import Reason, Refusal

# Where a rollback is not over.
UNDER_WAY = (
    RollbackState.ROLLBACK_STATE_COMPENSATING,
    RollbackState.ROLLBACK_STATE_BLOCKED,
    RollbackState.ROLLBACK_STATE_VALIDATING,
    RollbackState.ROLLBACK_STATE_READY,
)
PLAN = "rollback/"
_VALIDATING = (RollbackState.ROLLBACK_STATE_VALIDATING, RollbackState.ROLLBACK_STATE_READY)


def load(reader: Reader, rollback_id: str) -> Rollback | None:
    """A rollback's record."""
    raw = reader.get(keys.rollback(rollback_id))
    return None if raw is None else Rollback.FromString(raw)


def save(context: Context, rollback: Rollback) -> None:
    """Write a rollback's record back."""
    place = keys.rollback(rollback.rollback_id)
    context.store.put(place, rollback.SerializeToString(deterministic=True))


def missing(rollback_id: str) -> Refusal:
    """The refusal for a rollback that does not exist."""
    message = f"there is no rollback {rollback_id}"
    return refuse(Reason.REASON_ROLLBACK_NOT_FOUND, message)


def state_name(rollback: Rollback) -> str:
    """A rollback's state, as a refusal names it."""
    return RollbackState.Name(rollback.state).removeprefix("ROLLBACK_STATE_")


def refuse_state(rollback: Rollback, message: str) -> Refusal:
    """A refusal because of where a rollback stands."""
    said = f"rollback {rollback.rollback_id} {message}"
    refusal = refuse(Reason.REASON_PLAN_STATE, said)
    refusal.current_state = state_name(rollback)
    return refusal


def advanced(context: Context, rollback: Rollback) -> None:
    """Bring a rollback, and its agents, in line with what is open of it, and save it.

    To be called by whoever has changed its `undoing` or its `validators`."""
    if rollback.state not in UNDER_WAY:
        save(context, rollback)
        return
    before, rollback.state = rollback.state, _state(context.store, rollback)
    if not rollback.undoing.open and not rollback.compensated_log_time_ms:
        rollback.compensated_log_time_ms = context.log_time_ms
        incidents.stamp(context, rollback.incident_id, "compensated_ms")
    if rollback.state != RollbackState.ROLLBACK_STATE_READY:
        rollback.validated_log_time_ms = 0
    elif before != rollback.state and rollback.validators:
        rollback.validated_log_time_ms = context.log_time_ms
        incidents.stamp(context, rollback.incident_id, "validated_ms")
    save(context, rollback)
    if (before in _VALIDATING) != (rollback.state in _VALIDATING):
        _set_lifecycles(context, rollback)


def lifecycle_of(state: RollbackState) -> Lifecycle:
    """What an agent is while a rollback of it is in a state."""
    if state in _VALIDATING:
        return Lifecycle.LIFECYCLE_VALIDATING
    return Lifecycle.LIFECYCLE_RECOVERING


def agents_of(reader: Reader, rollback: Rollback) -> list[Agent]:
    """The agents that a rollback is of."""
    found = []
    for each in rollback.agents:
        agent = agents.load(reader, each.agent_id)
        assert agent is not None, f"a rollback of nobody: {each.agent_id}"
        found.append(agent)
    return found


def went_wrong(
    context: Context,
    rollback: Rollback,
    symptom: Symptom,
    classification: Classification,
    evidence: Evidence,
) -> str:
    """Note in a rollback's incident what went wrong with it. If somebody has resolved that
    one, nobody would look there: then it has another. The caller saves the rollback."""
    incident = incidents.load(context.store, rollback.incident_id)
    if incident is not None and incident.open:
        said = (evidence.kind, evidence.ref, evidence.detail)
        incidents.add_evidence(context, incident, *said)
        return incident.incident_id
    incident = incidents.open_incident(
        context,
        symptom,
        classification=classification,
        agent_ids=[each.agent_id for each in rollback.agents],
        summary=f"rollback {rollback.rollback_id} cannot go on",
        evidence=[evidence],
        rollback_id=rollback.rollback_id,
    )
    rollback.incident_id = incident.incident_id
    return incident.incident_id


def _set_lifecycles(context: Context, rollback: Rollback) -> None:
    for agent in agents_of(context.store, rollback):
        agent.lifecycle = lifecycle_of(rollback.state)
        agents.save(context, agent)


def _state(reader: Reader, rollback: Rollback) -> RollbackState:
    """Where a rollback that is under way stands."""
    if rollback.undoing.open:
        if items.blocked(reader, rollback.undoing):
            return RollbackState.ROLLBACK_STATE_BLOCKED
        return RollbackState.ROLLBACK_STATE_COMPENSATING
    if all(each.passed for each in rollback.validators):
        return RollbackState.ROLLBACK_STATE_READY
    return RollbackState.ROLLBACK_STATE_VALIDATING
