"""The calls about effects, sagas, compensations and rollbacks, each on its happy path."""

from __future__ import annotations

from typing import Any

from raftstate.v1.agent_service_pb2 import GetAgentRequest, Lifecycle
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    AbortSagaResponse,
    BeginSagaRequest,
    Compensation,
    CompensationState,
    CompleteEffectRequest,
    DispatchEffectRequest,
    Effect,
    EffectClass,
    EffectClosing,
    EffectOutcome,
    EffectState,
    EndSagaRequest,
    Found,
    GetEffectRequest,
    GetSagaRequest,
    ListEffectsRequest,
    ListSagasRequest,
    NewEffect,
    PrepareEffectRequest,
    PrepareEffectResponse,
    ReconcileEffectRequest,
    SagaState,
)
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompensationOutcome,
    CompleteCompensationRequest,
    CompleteCompensationResponse,
    DecideCompensationRequest,
    Decision,
    FinishRollbackRequest,
    GetRollbackRequest,
    ListRollbacksRequest,
    PlanRollbackRequest,
    RollbackState,
    StartRollbackRequest,
    StartRollbackResponse,
    Target,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest
from tests.rpc.harness import Bench
from tests.rpc.stories_of_keys import Story

COMMITTED = EffectOutcome.EFFECT_OUTCOME_COMMITTED
IRREVERSIBLE = EffectClass.EFFECT_CLASS_IRREVERSIBLE


def new_effect(effect_id: str, **fields: Any) -> NewEffect:
    """An idempotent effect that is undone by a refund."""
    new = NewEffect(
        effect_id=effect_id,
        action="charge",
        content_type="application/json",
        arguments=b"1",
        effect_class=EffectClass.EFFECT_CLASS_IDEMPOTENT,
        compensation=Compensation(action="refund", leaves_tombstone=True, attempts=1),
    )
    if fields.get("effect_class") == IRREVERSIBLE:
        new.ClearField("compensation")
    new.MergeFrom(NewEffect(**fields))
    return new


async def prepare(
    b: Bench, fence: FencingToken, effect_id: str = "e", agent_id: str = "a", **fields: Any
) -> PrepareEffectResponse:
    """Enter an effect of an agent, and dispatch it."""
    fields = {"dispatch": True} | fields
    request = PrepareEffectRequest(
        request_id=b.request_id(),
        agent_id=agent_id,
        fence=fence,
        effect=new_effect(effect_id, **fields),
    )
    response: PrepareEffectResponse = await b.effects.PrepareEffect(request)
    return response


async def complete(
    b: Bench,
    fence: FencingToken,
    effect_id: str = "e",
    outcome: EffectOutcome = COMMITTED,
    agent_id: str = "a",
) -> EffectState:
    """Say what came of an effect; in which state it is then."""
    closing = EffectClosing(effect_id=effect_id, outcome=outcome, result=b"ok")
    response = await b.effects.CompleteEffect(
        CompleteEffectRequest(
            request_id=b.request_id(), agent_id=agent_id, fence=fence, closing=closing
        )
    )
    state: EffectState = response.state
    return state


async def effect_of(b: Bench, effect_id: str = "e", agent_id: str = "a") -> Effect:
    """An effect as it is now."""
    request = GetEffectRequest(agent_id=agent_id, effect_id=effect_id)
    effect: Effect = (await b.effects.GetEffect(request)).effect
    return effect


async def begin(
    b: Bench, fence: FencingToken, saga_id: str = "trip/1", agent_id: str = "a"
) -> None:
    """Begin a saga."""
    await b.effects.BeginSaga(
        BeginSagaRequest(
            request_id=b.request_id(), saga_id=saga_id, agent_id=agent_id, fence=fence
        )
    )


async def abort(
    b: Bench, fence: FencingToken, saga_id: str = "trip/1", agent_id: str = "a"
) -> AbortSagaResponse:
    """Give a saga up."""
    response: AbortSagaResponse = await b.effects.AbortSaga(
        AbortSagaRequest(
            request_id=b.request_id(),
            saga_id=saga_id,
            agent_id=agent_id,
            fence=fence,
            reason="rain",
        )
    )
    return response


async def checkpointed(b: Bench, fence: FencingToken, agent_id: str = "a") -> None:
    """A step with one event, and a checkpoint."""
    await b.steps.CommitStep(
        CommitStepRequest(
            request_id=b.request_id(),
            agent_id=agent_id,
            fence=fence,
            events=[NewEvent(type="did")],
            checkpoint=NewCheckpoint(content_type="application/json", data=b"1"),
        )
    )


async def done_since(
    b: Bench, *effect_ids: str, agent_id: str = "a", **fields: Any
) -> FencingToken:
    """An agent that has done effects since its checkpoint 1."""
    fence = await b.own(agent_id)
    await checkpointed(b, fence, agent_id)
    for each in effect_ids:
        await prepare(b, fence, each, agent_id, **fields)
        await complete(b, fence, each, agent_id=agent_id)
    return fence


def to_checkpoint(number: int = 1, agent_id: str = "a") -> list[AgentTarget]:
    """The target of a rollback: a checkpoint of an agent."""
    return [AgentTarget(agent_id=agent_id, target=Target(checkpoint_id=number))]


async def start(b: Bench, agent_id: str = "a", **fields: Any) -> StartRollbackResponse:
    """Take an agent back to its checkpoint 1."""
    request = StartRollbackRequest(
        request_id=b.request_id(), agents=to_checkpoint(1, agent_id), **fields
    )
    response: StartRollbackResponse = await b.rollbacks.StartRollback(request)
    return response


async def claim(b: Bench, plan_id: str) -> ClaimCompensationsResponse:
    """Claim what a plan undoes next."""
    request = ClaimCompensationsRequest(
        request_id=b.request_id(), plan_id=plan_id, holder="worker"
    )
    response: ClaimCompensationsResponse = await b.rollbacks.ClaimCompensations(request)
    return response


async def undone(
    b: Bench,
    claimed: ClaimCompensationsResponse,
    outcome: CompensationOutcome = CompensationOutcome.COMPENSATION_OUTCOME_DONE,
) -> CompleteCompensationResponse:
    """Say what came of the item that was claimed."""
    request = CompleteCompensationRequest(
        request_id=b.request_id(),
        plan_id=claimed.undoing.plan_id,
        fence=claimed.claim.fence,
        position=claimed.item.position,
        outcome=outcome,
        error="" if outcome == CompensationOutcome.COMPENSATION_OUTCOME_DONE else "no",
    )
    response: CompleteCompensationResponse = await b.rollbacks.CompleteCompensation(request)
    return response


async def finish(b: Bench, rollback_id: str) -> None:
    """End a rollback."""
    request = FinishRollbackRequest(request_id=b.request_id(), rollback_id=rollback_id)
    await b.rollbacks.FinishRollback(request)


# --- effects -------------------------------------------------------------------------


async def prepare_effect(b: Bench) -> None:
    fence = await b.own()
    first = await prepare(b, fence, dispatch=False)
    assert (first.number, first.state) == (1, EffectState.EFFECT_STATE_PREPARED)
    assert (first.idempotency_key, first.existed) == ("a#e", False)
    again = await prepare(b, fence)
    assert (again.number, again.existed) == (1, True)
    assert again.state == EffectState.EFFECT_STATE_PREPARED
    found = (await b.agents.GetAgent(GetAgentRequest(agent_id="a"))).agent
    assert (found.effects, found.open_effects) == (1, 1)


async def dispatch_effect(b: Bench) -> None:
    fence = await b.own()
    await prepare(b, fence, dispatch=False)
    request = DispatchEffectRequest(
        request_id=b.request_id(), agent_id="a", fence=fence, effect_id="e"
    )
    response = await b.effects.DispatchEffect(request)
    assert (response.idempotency_key, response.dispatches) == ("a#e", 1)
    assert (await effect_of(b)).dispatched_revision == response.header.revision


async def complete_effect(b: Bench) -> None:
    fence = await b.own()
    await prepare(b, fence)
    assert await complete(b, fence) == EffectState.EFFECT_STATE_COMMITTED
    assert (await effect_of(b)).result == b"ok"


async def reconcile_effect(b: Bench) -> None:
    fence = await b.own()
    await prepare(b, fence, reconcile_action="ask")
    await complete(b, fence, outcome=EffectOutcome.EFFECT_OUTCOME_UNKNOWN)
    response = await b.effects.ReconcileEffect(
        ReconcileEffectRequest(
            request_id=b.request_id(),
            agent_id="a",
            effect_id="e",
            fence=fence,
            found=Found.FOUND_DONE,
        )
    )
    assert response.state == EffectState.EFFECT_STATE_RECONCILED
    assert (await effect_of(b)).found == Found.FOUND_DONE


async def get_effect(b: Bench) -> None:
    fence = await b.own()
    await prepare(b, fence)
    effect = await effect_of(b)
    assert (effect.state, effect.step) == (EffectState.EFFECT_STATE_DISPATCHED, 1)
    assert (effect.compensation.action, effect.compensation.idempotency_key) == (
        "refund",
        "a#e:undo",
    )


async def list_effects(b: Bench) -> None:
    fence = await b.own()
    for name in ("z", "y", "x"):
        await prepare(b, fence, name)
    await complete(b, fence, "y")
    page = await b.effects.ListEffects(ListEffectsRequest(agent_id="a", page_size=2))
    assert [one.effect_id for one in page.effects] == ["z", "y"]
    rest = await b.effects.ListEffects(
        ListEffectsRequest(agent_id="a", page_token=page.next_page_token)
    )
    assert [one.effect_id for one in rest.effects] == ["x"]
    states = [EffectState.EFFECT_STATE_COMMITTED]
    done = await b.effects.ListEffects(ListEffectsRequest(agent_id="a", states=states))
    assert [one.effect_id for one in done.effects] == ["y"]


# --- sagas ---------------------------------------------------------------------------


async def begin_saga(b: Bench) -> None:
    fence = await b.own()
    await begin(b, fence)
    await prepare(b, fence, saga_id="trip/1")
    saga = (await b.effects.GetSaga(GetSagaRequest(saga_id="trip/1"))).saga
    assert (saga.state, saga.effects, saga.open_effects) == (
        SagaState.SAGA_STATE_RUNNING,
        1,
        1,
    )


async def end_saga(b: Bench) -> None:
    fence = await b.own()
    await begin(b, fence)
    request = EndSagaRequest(
        request_id=b.request_id(), saga_id="trip/1", agent_id="a", fence=fence
    )
    response = await b.effects.EndSaga(request)
    assert response.state == SagaState.SAGA_STATE_COMPLETED


async def abort_saga(b: Bench) -> None:
    fence = await b.own()
    await begin(b, fence)
    for name in ("one", "two"):
        await prepare(b, fence, name, saga_id="trip/1")
        await complete(b, fence, name)
    response = await abort(b, fence)
    assert response.state == SagaState.SAGA_STATE_COMPENSATING
    assert (response.undoing.plan_id, response.undoing.open) == ("saga/trip/1", 2)


async def get_saga(b: Bench) -> None:
    await abort_saga(b)
    found = await b.effects.GetSaga(GetSagaRequest(saga_id="trip/1"))
    assert found.saga.reason == "rain"
    assert [one.effect_id for one in found.items] == ["two", "one"]


async def list_sagas(b: Bench) -> None:
    fence = await b.own()
    for name in ("trip/1", "trip/2", "trip/3", "other"):
        await begin(b, fence, name)
    await abort(b, fence, "trip/2")
    page = await b.effects.ListSagas(ListSagasRequest(prefix="trip/", page_size=2))
    assert [one.saga_id for one in page.sagas] == ["trip/1", "trip/2"]
    rest = await b.effects.ListSagas(
        ListSagasRequest(prefix="trip/", page_token=page.next_page_token)
    )
    assert [one.saga_id for one in rest.sagas] == ["trip/3"]
    ended = ListSagasRequest(states=[SagaState.SAGA_STATE_COMPENSATED])
    assert [one.saga_id for one in (await b.effects.ListSagas(ended)).sagas] == ["trip/2"]


# --- rollbacks -----------------------------------------------------------------------


async def plan_rollback(b: Bench) -> None:
    fence = await done_since(b, "one", "two")
    await prepare(b, fence, "letter", effect_class=IRREVERSIBLE)
    await complete(b, fence, "letter")
    await checkpointed(b, fence)
    before = b.fake.machine.state_hash
    plan = await b.rollbacks.PlanRollback(PlanRollbackRequest(agents=to_checkpoint()))
    assert [one.effect_id for one in plan.effects] == ["letter", "two", "one"]
    assert [one.barrier for one in plan.effects] == [True, False, False]
    assert (plan.effects_total, plan.barriers, plan.events_undone) == (3, 1, 1)
    assert [(one.first_undone_seq, one.last_undone_seq) for one in plan.agents] == [(2, 2)]
    assert len(plan.digest) == 32
    assert plan.header.revision == b.fake.machine.revision
    assert b.fake.machine.state_hash == before


async def start_rollback(b: Bench) -> None:
    fence = await done_since(b, "one")
    begun = await start(b, reason="odd", started_by="me")
    assert (begun.state, begun.undoing.open) == (
        RollbackState.ROLLBACK_STATE_COMPENSATING,
        1,
    )
    assert begun.incident_id
    found = (await b.agents.GetAgent(GetAgentRequest(agent_id="a"))).agent
    assert found.lifecycle == Lifecycle.LIFECYCLE_RECOVERING
    assert (found.rollback_id, found.head.checkpoint_id) == (begun.rollback_id, 2)
    assert found.newest_fence.revision == begun.header.revision > fence.revision


async def claim_compensations(b: Bench) -> None:
    await done_since(b, "one", "two")
    begun = await start(b)
    claimed = await claim(b, begun.undoing.plan_id)
    assert (claimed.item.effect_id, claimed.item.claims) == ("two", 1)
    assert claimed.effect == await effect_of(b, "two")
    assert claimed.effect.compensation.action == "refund"
    again = await claim(b, begun.undoing.plan_id)
    assert (again.claim, again.item, again.effect) == (
        claimed.claim,
        claimed.item,
        claimed.effect,
    )


async def complete_compensation(b: Bench) -> None:
    await done_since(b, "one")
    begun = await start(b)
    claimed = await claim(b, begun.undoing.plan_id)
    said = await undone(b, claimed)
    assert (said.state, said.undoing.open) == (
        CompensationState.COMPENSATION_STATE_COMPENSATED,
        0,
    )
    assert (await effect_of(b, "one")).state == EffectState.EFFECT_STATE_COMPENSATED


async def decide_compensation(b: Bench) -> None:
    await done_since(b, "one")
    begun = await start(b)
    claimed = await claim(b, begun.undoing.plan_id)
    stuck = await undone(b, claimed, CompensationOutcome.COMPENSATION_OUTCOME_FAILED_FOR_GOOD)
    assert stuck.state == CompensationState.COMPENSATION_STATE_STUCK
    request = DecideCompensationRequest(
        request_id=b.request_id(),
        plan_id=begun.undoing.plan_id,
        position=1,
        decision=Decision.DECISION_PROCEED,
        decided_by="me",
        why="it is only money",
    )
    response = await b.rollbacks.DecideCompensation(request)
    assert (response.state, response.undoing.open) == (
        CompensationState.COMPENSATION_STATE_WAIVED,
        0,
    )


async def finish_rollback(b: Bench) -> None:
    await done_since(b)
    begun = await start(b)
    assert begun.state == RollbackState.ROLLBACK_STATE_READY
    await finish(b, begun.rollback_id)
    found = (await b.agents.GetAgent(GetAgentRequest(agent_id="a"))).agent
    assert (found.lifecycle, found.rollback_id) == (Lifecycle.LIFECYCLE_IDLE, "")


async def abort_rollback(b: Bench) -> None:
    await done_since(b, "one")
    begun = await start(b)
    await b.rollbacks.AbortRollback(
        AbortRollbackRequest(
            request_id=b.request_id(), rollback_id=begun.rollback_id, reason="enough"
        )
    )
    found = (await b.agents.GetAgent(GetAgentRequest(agent_id="a"))).agent
    assert found.lifecycle == Lifecycle.LIFECYCLE_HALTED


async def get_rollback(b: Bench) -> None:
    await done_since(b, "one", "two")
    begun = await start(b, reason="odd")
    request = GetRollbackRequest(rollback_id=begun.rollback_id)
    found = await b.rollbacks.GetRollback(request)
    assert (found.rollback.reason, found.rollback.agents[0].agent_id) == ("odd", "a")
    assert [one.effect_id for one in found.items] == ["two", "one"]


async def list_rollbacks(b: Bench) -> None:
    ids = []
    for name in ("a", "b", "c"):
        await done_since(b, agent_id=name)
        ids.append((await start(b, name)).rollback_id)
    await finish(b, ids[1])
    page = await b.rollbacks.ListRollbacks(ListRollbacksRequest(page_size=2))
    assert [one.rollback_id for one in page.rollbacks] == ids[:2]
    rest = await b.rollbacks.ListRollbacks(
        ListRollbacksRequest(page_token=page.next_page_token)
    )
    assert [one.rollback_id for one in rest.rollbacks] == ids[2:]
    ended = ListRollbacksRequest(states=[RollbackState.ROLLBACK_STATE_FINISHED])
    found = (await b.rollbacks.ListRollbacks(ended)).rollbacks
    assert [one.rollback_id for one in found] == [ids[1]]


STORIES: dict[str, Story] = {
    "EffectService.PrepareEffect": prepare_effect,
    "EffectService.DispatchEffect": dispatch_effect,
    "EffectService.CompleteEffect": complete_effect,
    "EffectService.ReconcileEffect": reconcile_effect,
    "EffectService.GetEffect": get_effect,
    "EffectService.ListEffects": list_effects,
    "EffectService.BeginSaga": begin_saga,
    "EffectService.EndSaga": end_saga,
    "EffectService.AbortSaga": abort_saga,
    "EffectService.GetSaga": get_saga,
    "EffectService.ListSagas": list_sagas,
    "RollbackService.PlanRollback": plan_rollback,
    "RollbackService.StartRollback": start_rollback,
    "RollbackService.ClaimCompensations": claim_compensations,
    "RollbackService.CompleteCompensation": complete_compensation,
    "RollbackService.DecideCompensation": decide_compensation,
    "RollbackService.FinishRollback": finish_rollback,
    "RollbackService.AbortRollback": abort_rollback,
    "RollbackService.GetRollback": get_rollback,
    "RollbackService.ListRollbacks": list_rollbacks,
}
