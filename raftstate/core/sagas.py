"""Sagas: groups of effects that are undone together. Their records, and how they end.

    begin -> RUNNING -> COMPLETED                                   end
                     -> COMPENSATING <-> STUCK -> COMPENSATED       abort; all is undone
                     -> ROLLED_BACK    a rollback has taken over what there was to undo

The commands are in `saga_commands`.
"""

from __future__ import annotations

from raftstate.core import incidents, items, keys
from raftstate.core.context import Context, refuse, refuse_subject
from raftstate.core.ports import Reader
from raftstate.v1.effect_service_pb2 import CompensationItem, Saga, SagaState
from raftstate.v1.recovery_service_pb2 import Classification, Evidence, Incident, Symptom
from raftstate.v1.store_pb2 import Reason, Refusal

RUNNING = SagaState.SAGA_STATE_RUNNING
COMPLETED = SagaState.SAGA_STATE_COMPLETED
COMPENSATING = SagaState.SAGA_STATE_COMPENSATING
COMPENSATED = SagaState.SAGA_STATE_COMPENSATED
STUCK = SagaState.SAGA_STATE_STUCK
ROLLED_BACK = SagaState.SAGA_STATE_ROLLED_BACK
# There is something to undo, and somebody may claim it.
LIVE = (COMPENSATING, STUCK)

PLAN = "saga/"


def load(reader: Reader, saga_id: str) -> Saga | None:
    """A saga's record."""
    raw = reader.get(keys.saga(saga_id))
    return None if raw is None else Saga.FromString(raw)


def save(context: Context, saga: Saga) -> None:
    """Write a saga's record back."""
    context.store.put(keys.saga(saga.saga_id), saga.SerializeToString(deterministic=True))


def missing(saga_id: str) -> Refusal:
    """The refusal for a saga that does not exist."""
    message = f"there is no saga {saga_id}"
    return refuse_subject(Reason.REASON_SAGA_NOT_FOUND, message, saga_id)


def state_name(saga: Saga) -> str:
    """A saga's state as it is written."""
    return SagaState.Name(saga.state).removeprefix("SAGA_STATE_")


def refuse_state(saga: Saga, reason: Reason, action: str) -> Refusal:
    """The refusal of what may not be done with a saga in its state."""
    state = state_name(saga)
    message = f"saga {saga.saga_id} is {state}: it cannot be {action}"
    refusal = refuse_subject(reason, message, saga.saga_id)
    refusal.current_state = state
    return refusal


def refuse_stranger(saga: Saga, agent_id: str, field: str) -> Refusal:
    """The refusal of what an agent may not do with the saga of another."""
    message = f"saga {saga.saga_id} is agent {saga.agent_id}'s, not agent {agent_id}'s"
    return refuse(Reason.REASON_INVALID_REQUEST, message, field=field)


def count(context: Context, saga_id: str, effects: int = 0, opened: int = 0) -> None:
    """Note that a saga has so many effects, and open effects, more than it had."""
    saga = load(context.store, saga_id)
    assert saga is not None, f"an effect of saga {saga_id}, which is not there"
    saga.effects += effects
    saga.open_effects += opened
    save(context, saga)


def end(context: Context, saga: Saga, state: SagaState) -> None:
    """A saga has ended. The caller saves it."""
    saga.state = state
    saga.ended_revision = context.revision
    saga.ended_log_time_ms = context.log_time_ms
    context.store.delete(keys.open_saga(saga.agent_id, saga.saga_id))
    if saga.HasField("undoing"):
        items.end_claim(context, saga.undoing)


def advanced(context: Context, saga: Saga) -> None:
    """Note how far a saga has come, now that what is undone of it has changed."""
    if saga.state in LIVE:
        item = items.first_open(context.store, saga.undoing)
        if item is None:
            moved = items.any_moved(context.store, saga.undoing)
            end(context, saga, ROLLED_BACK if moved else COMPENSATED)
            _resolve(context, saga)
        elif item.state in items.WAITING:
            saga.state = STUCK
            _call_for_help(context, saga, item)
        else:
            saga.state = COMPENSATING
    save(context, saga)


# --- incidents ----------------------------------------------------------------


def evidence_of(item: CompensationItem) -> Evidence:
    """What there is to show of an item that waits for a person."""
    words = item.error or "it cannot be undone"
    return Evidence(
        kind="effect",
        ref=f"{item.agent_id}#{item.effect_number}",
        detail=f"{item.effect_id}: {words}"[:255],
    )


def open_incident_of(context: Context, saga: Saga) -> Incident | None:
    """The incident of a saga, if nobody has resolved it."""
    incident = incidents.load(context.store, saga.incident_id)
    return incident if incident is not None and incident.open else None


def _call_for_help(context: Context, saga: Saga, item: CompensationItem) -> None:
    """There is an incident of a saga, and it shows the item that waits for a person."""
    shown = evidence_of(item)
    incident = open_incident_of(context, saga)
    if incident is None:
        incident = incidents.open_incident(
            context,
            Symptom.SYMPTOM_STUCK,
            classification=(
                Classification.CLASSIFICATION_PERMANENT_TOOL
                if item.state == items.STUCK
                else Classification.CLASSIFICATION_OPERATOR
            ),
            agent_ids=sorted({saga.agent_id, item.agent_id}),
            summary=f"saga {saga.saga_id} waits for a decision",
            evidence=[shown],
            saga_id=saga.saga_id,
        )
        saga.incident_id = incident.incident_id
    elif shown not in incident.evidence:
        incidents.add_evidence(context, incident, shown.kind, shown.ref, shown.detail)


def _resolve(context: Context, saga: Saga) -> None:
    incidents.stamp(context, saga.incident_id, "compensated_ms")
    if (incident := open_incident_of(context, saga)) is not None:
        incidents.resolve(context, incident, "nothing waits for a decision any more")
