"""What owners of agents do with sagas: they begin them, and end them one way or the other."""

from __future__ import annotations

from itertools import islice

from raftstate.core import acting, compensations, keys, limits, ownership, sagas
from raftstate.core.context import Context, refuse_many, refuse_subject
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    AbortSagaResponse,
    BeginSagaRequest,
    BeginSagaResponse,
    EndSagaRequest,
    EndSagaResponse,
    Saga,
    SagaMode,
)
from raftstate.v1.store_pb2 import Reason, Refusal


def begin_saga(context: Context, request: BeginSagaRequest) -> BeginSagaResponse | Refusal:
    """Make a saga."""
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    if sagas.load(context.store, request.saga_id) is not None:
        message = f"saga {request.saga_id} exists"
        return refuse_subject(Reason.REASON_SAGA_EXISTS, message, request.saga_id)
    most = limits.OPEN_SAGAS_MAX
    marks = context.store.scan(*keys.open_sagas(agent.agent_id))
    if sum(1 for _ in islice(marks, most)) == most:
        message = f"agent {agent.agent_id} would have more sagas that have not ended"
        return refuse_many(message, most, "saga_id")
    saga = Saga(
        saga_id=request.saga_id,
        agent_id=agent.agent_id,
        mode=request.mode or SagaMode.SAGA_MODE_ORCHESTRATED,
        state=sagas.RUNNING,
        begun_revision=context.revision,
        begun_log_time_ms=context.log_time_ms,
        labels=request.labels,
    )
    sagas.save(context, saga)
    context.store.put(keys.open_saga(agent.agent_id, saga.saga_id), b"")
    acting.touch(context, agent)
    return BeginSagaResponse()


def end_saga(context: Context, request: EndSagaRequest) -> EndSagaResponse | Refusal:
    """End a saga that did what it was to do."""
    found = _running(context, request, "ended")
    if isinstance(found, Refusal):
        return found
    agent, saga = found
    if saga.agent_id != agent.agent_id:
        return sagas.refuse_stranger(saga, agent.agent_id, "agent_id")
    if saga.open_effects:
        message = f"{saga.open_effects} effects of saga {saga.saga_id} are open"
        refusal = refuse_subject(Reason.REASON_CONFLICT, message, saga.saga_id)
        refusal.current_state = sagas.state_name(saga)
        return refusal
    sagas.end(context, saga, sagas.COMPLETED)
    sagas.save(context, saga)
    acting.touch(context, agent)
    return EndSagaResponse(state=saga.state)


def abort_saga(context: Context, request: AbortSagaRequest) -> AbortSagaResponse | Refusal:
    """Give a saga up, and freeze what is to be undone of it."""
    found = _running(context, request, "aborted")
    if isinstance(found, Refusal):
        return found
    agent, saga = found
    if not _takes_part(context, saga, agent):
        return sagas.refuse_stranger(saga, agent.agent_id, "agent_id")
    held = {agent.agent_id: agent}
    saga = compensations.abort_saga(context, saga.saga_id, request.reason, held)
    acting.touch(context, agent)
    return AbortSagaResponse(state=saga.state, undoing=saga.undoing)


def _running(
    context: Context, request: EndSagaRequest | AbortSagaRequest, action: str
) -> tuple[Agent, Saga] | Refusal:
    """The agent that the caller owns, and a saga that runs; or why not."""
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    saga = sagas.load(context.store, request.saga_id)
    if saga is None:
        return sagas.missing(request.saga_id)
    if saga.state != sagas.RUNNING:
        return sagas.refuse_state(saga, Reason.REASON_CONFLICT, action)
    return agent, saga


def _takes_part(context: Context, saga: Saga, agent: Agent) -> bool:
    """Whether an agent may give a saga up: its own, or one that it has an effect in."""
    if saga.agent_id == agent.agent_id:
        return True
    marks = context.store.scan(*keys.saga_effects_of(saga.saga_id, agent.agent_id))
    return saga.mode == SagaMode.SAGA_MODE_CHOREOGRAPHED and any(True for _ in marks)
