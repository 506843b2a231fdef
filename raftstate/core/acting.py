"""Acting: what the owner of an agent says of what it does to the outside world.

It is said before it is done, and again when it is done; both may travel in the step that
they belong to. Every such command is its owner's, like a step: it needs the fence, and it
touches the ownership.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftstate.core import (
    agents,
    compensations,
    effects,
    ledger,
    limits,
    ownership,
    recordings,
    sagas,
)
from raftstate.core.context import Context, refuse, refuse_many, refuse_subject
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.effect_service_pb2 import (
    CompleteEffectRequest,
    CompleteEffectResponse,
    DispatchEffectRequest,
    DispatchEffectResponse,
    Effect,
    EffectClosing,
    NewEffect,
    PrepareEffectRequest,
    PrepareEffectResponse,
    SagaMode,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import Reason, Refusal

# --- commands -----------------------------------------------------------------


def prepare_effect(
    context: Context, request: PrepareEffectRequest
) -> PrepareEffectResponse | Refusal:
    """Enter an effect into the ledger, unless it is there already."""
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    known = effects.find(context.store, agent.agent_id, request.effect.effect_id)
    if known is not None:
        refusal = _check_alike(agent, known, request.effect)
    else:
        refusal = check_new(context.store, agent, [request.effect], ["effect"])
    step = agent.head.step + 1
    if refusal is None:
        refusal = recordings.check(context.store, agent.agent_id, step, request.recordings)
    if refusal is not None:
        return refusal
    effect = known or open_one(context, agent, request.effect)
    recordings.take(context, agent.agent_id, step, request.recordings)
    touch(context, agent)
    return PrepareEffectResponse(
        effect_id=effect.effect_id,
        number=effect.number,
        state=effect.state,
        idempotency_key=effect.idempotency_key,
        existed=known is not None,
    )


def dispatch_effect(
    context: Context, request: DispatchEffectRequest
) -> DispatchEffectResponse | Refusal:
    """Note that an effect is about to be done, perhaps again."""
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    effect = effects.find(context.store, agent.agent_id, request.effect_id)
    if effect is None:
        return effects.missing(agent.agent_id, request.effect_id)
    if ledger.allowed(effect, ledger.DISPATCH) is None:
        return effects.refuse_move(effect, "dispatched")
    if compensations.to_be_undone(context.store, effect):
        return effects.refuse_undone(effect)
    effects.move(context, agent, effect, ledger.DISPATCH)
    touch(context, agent)
    return DispatchEffectResponse(
        idempotency_key=effect.idempotency_key, dispatches=effect.dispatches
    )


def complete_effect(
    context: Context, request: CompleteEffectRequest
) -> CompleteEffectResponse | Refusal:
    """Note what came of an effect."""
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    refusal = check_closings(context.store, agent, [request.closing])
    if refusal is not None:
        return refusal
    effect = close_one(context, agent, request.closing)
    touch(context, agent)
    return CompleteEffectResponse(state=effect.state)


def touch(context: Context, agent: Agent) -> None:
    """An agent's owner has spoken: an expiry that does not know of that comes to nothing."""
    agent.owner.touched_revision = context.revision
    agents.save(context, agent)


# --- what a step opens and closes ---------------------------------------------


def check_step(reader: Reader, agent: Agent, request: CommitStepRequest) -> Refusal | None:
    """Why a step's effects cannot be closed and opened; None if they can."""
    refusal = check_closings(reader, agent, request.closings)
    if refusal is not None:
        return refusal
    places = [f"effects[{at}]" for at in range(len(request.effects))]
    return check_new(reader, agent, request.effects, places)


def take_step(context: Context, agent: Agent, request: CommitStepRequest) -> None:
    """Close and open a step's effects, which were checked. The caller saves the agent."""
    for closing in request.closings:
        close_one(context, agent, closing)
    for new in request.effects:
        open_one(context, agent, new)


def check_closings(
    reader: Reader, agent: Agent, closings: Sequence[EffectClosing]
) -> Refusal | None:
    """Why effects cannot be closed like that; None if they can."""
    for closing in closings:
        effect = effects.find(reader, agent.agent_id, closing.effect_id)
        if effect is None:
            return effects.missing(agent.agent_id, closing.effect_id)
        if ledger.allowed(effect, ledger.OUTCOMES[closing.outcome]) is None:
            return effects.refuse_move(effect, "completed so")
    return None


def close_one(context: Context, agent: Agent, closing: EffectClosing) -> Effect:
    """Note what came of an effect. The caller saves the agent."""
    effect = effects.find(context.store, agent.agent_id, closing.effect_id)
    assert effect is not None, f"{closing.effect_id} was checked"
    effect.result_content_type, effect.result = closing.content_type, closing.result
    effect.error = closing.error
    effects.move(context, agent, effect, ledger.OUTCOMES[closing.outcome])
    return effect


def check_new(
    reader: Reader, agent: Agent, new: Sequence[NewEffect], places: Sequence[str]
) -> Refusal | None:
    """Why effects cannot be new ones of an agent; None if they can. `places` are where
    they are in the request."""
    for each, place in zip(new, places, strict=True):
        if effects.find(reader, agent.agent_id, each.effect_id) is not None:
            return _exists(agent, each.effect_id)
        if lacking := ledger.lacks(each):
            message = f"effect {each.effect_id} {lacking}"
            field = f"{place}.compensation"
            return refuse(Reason.REASON_COMPENSATION_REQUIRED, message, field=field)
    # Those that the same step closes still count: they leave no room before it is taken.
    if agent.open_effects + len(new) > limits.OPEN_EFFECTS_MAX:
        message = f"agent {agent.agent_id} would have more open effects"
        return refuse_many(message, limits.OPEN_EFFECTS_MAX, places[0].partition("[")[0])
    wanted: dict[str, list[str]] = {}
    for each, place in zip(new, places, strict=True):
        if each.saga_id:
            wanted.setdefault(each.saga_id, []).append(f"{place}.saga_id")
    for saga_id, fields in sorted(wanted.items()):
        if (refusal := _check_saga(reader, agent, saga_id, fields)) is not None:
            return refusal
    return None


def _check_saga(
    reader: Reader, agent: Agent, saga_id: str, fields: Sequence[str]
) -> Refusal | None:
    """Why effects of an agent cannot join a saga; None if they can. `fields` name it."""
    saga = sagas.load(reader, saga_id)
    if saga is None:
        return sagas.missing(saga_id)
    if saga.state != sagas.RUNNING:
        return sagas.refuse_state(saga, Reason.REASON_PLAN_STATE, "joined")
    if saga.mode != SagaMode.SAGA_MODE_CHOREOGRAPHED and saga.agent_id != agent.agent_id:
        return sagas.refuse_stranger(saga, agent.agent_id, fields[0])
    if saga.effects + len(fields) > limits.SAGA_EFFECTS_MAX:
        message = f"saga {saga_id} would have more effects"
        return refuse_many(message, limits.SAGA_EFFECTS_MAX, fields[0])
    return None


def open_one(context: Context, agent: Agent, new: NewEffect) -> Effect:
    """Enter an effect that was checked, and dispatch it if it says so. The caller saves
    the agent."""
    effect = _made(agent, new)
    effects.enter(context, agent, effect)
    if new.dispatch:
        effects.move(context, agent, effect, ledger.DISPATCH)
    return effect


# --- how an effect is written -------------------------------------------------


def _made(agent: Agent, new: NewEffect) -> Effect:
    """An effect as its client describes it, with every default in its place."""
    effect = Effect(
        agent_id=agent.agent_id,
        effect_id=new.effect_id,
        action=new.action,
        content_type=new.content_type,
        arguments=new.arguments,
        effect_class=new.effect_class,
        idempotency_key=new.idempotency_key or f"{agent.agent_id}#{new.effect_id}",
        reconcile_action=new.reconcile_action,
        on_unknown=new.on_unknown or ledger.POLICIES[new.effect_class],
        begin_by_ms=new.begin_by_ms or limits.BEGIN_BY_MS_DEFAULT,
        saga_id=new.saga_id,
    )
    if new.HasField("compensation"):
        undo = effect.compensation
        undo.CopyFrom(new.compensation)
        undo.idempotency_key = undo.idempotency_key or f"{effect.idempotency_key}:undo"
        undo.timeout_ms = undo.timeout_ms or limits.COMPENSATION_TIMEOUT_MS_DEFAULT
        undo.attempts = undo.attempts or limits.COMPENSATION_ATTEMPTS_DEFAULT
    return effect


def _check_alike(agent: Agent, known: Effect, new: NewEffect) -> Refusal | None:
    """Why an effect is another one than the one that has its id; None if it is the same,
    in everything that its client describes."""
    wanted = _made(agent, new)
    told = Effect()
    for field in _DESCRIBED:
        if field == "compensation":
            if known.HasField(field):
                told.compensation.CopyFrom(known.compensation)
        else:
            setattr(told, field, getattr(known, field))
    return None if told == wanted else _exists(agent, new.effect_id)


_DESCRIBED = (
    *("agent_id", "effect_id", "action", "content_type", "arguments", "effect_class"),
    *("idempotency_key", "compensation", "reconcile_action", "on_unknown", "begin_by_ms"),
    "saga_id",
)


def _exists(agent: Agent, effect_id: str) -> Refusal:
    message = f"agent {agent.agent_id} has another effect {effect_id}"
    return refuse_subject(Reason.REASON_EFFECT_EXISTS, message, effect_id)
