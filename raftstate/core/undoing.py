"""Undoing: workers claim a plan's compensations, carry them out one after the other, and
say what came of them; people decide what workers cannot.

    PENDING -> CLAIMED -> COMPENSATED
                       -> PENDING      it failed, and may be tried again
                       -> STUCK        it failed for good, or too often
    PENDING, CLAIMED -> NOT_NEEDED     the outside says that it did not happen
    STUCK, BARRIER -> COMPENSATED | WAIVED, STUCK -> PENDING       a person decided

The order is strict: only the first open item can be claimed, and one that waits for a
person holds up all behind it. A claim is fenced like an ownership: it has a token, which
every newer claim's exceeds, and ends with its session.
"""

from __future__ import annotations

from itertools import islice

from raftstate.core import (
    agents,
    compensations,
    effects,
    incidents,
    items,
    keys,
    ledger,
    limits,
    ownership,
    rollbacks,
    sagas,
)
from raftstate.core.compensations import Plan
from raftstate.core.context import Context, refuse_many, refuse_subject
from raftstate.core.ports import Reader
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    Claim,
    CompensationItem,
    CompensationState,
    Effect,
    Found,
    ReconcileEffectRequest,
    ReconcileEffectResponse,
    Saga,
    Undoing,
)
from raftstate.v1.recovery_service_pb2 import Classification, IncidentNote, Symptom
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompensationOutcome,
    CompleteCompensationRequest,
    CompleteCompensationResponse,
    DecideCompensationRequest,
    DecideCompensationResponse,
    Decision,
)
from raftstate.v1.store_pb2 import Reason, Refusal

# --- claims -------------------------------------------------------------------


def claim_compensations(
    context: Context, request: ClaimCompensationsRequest
) -> ClaimCompensationsResponse | Refusal:
    """Give the caller's session a plan's claim, unless it has it, and the item whose turn
    it is."""
    plan = _live(context.store, request.plan_id)
    if isinstance(plan, Refusal):
        return plan
    undoing, session_id = plan.undoing, request.request_id.session_id
    if undoing.claim.session_id != session_id:
        if undoing.HasField("claim") and not request.force:
            message = f"another session has claimed {plan.plan_id}"
            return _refuse_claim(Reason.REASON_OWNED, message, undoing)
        refusal = _refuse_another(context.store, session_id)
        if refusal is not None:
            return refusal
        items.end_claim(context, undoing)
        token = FencingToken(epoch=context.epoch, revision=context.revision)
        assert token_key(token) > token_key(undoing.newest_claim), "claims must grow"
        undoing.claim.CopyFrom(Claim(fence=token, session_id=session_id, holder=request.holder))
        undoing.newest_claim.CopyFrom(token)
        context.store.put(keys.claimed(session_id, plan.plan_id), b"")
    item = _claim_next(context, undoing)
    compensations.save_plan(context, plan)
    said = ClaimCompensationsResponse(claim=undoing.claim, undoing=undoing)
    said.undoing.ClearField("claim")
    if item is not None:
        said.item.CopyFrom(item)
        # What people said of it may be long, and is no part of what is remembered.
        said.item.ClearField("decided_by")
        said.item.ClearField("decision")
    return said


def _refuse_another(reader: Reader, session_id: str) -> Refusal | None:
    """Why a session may not claim one plan more: all end with it, in one command."""
    most = limits.CLAIMS_PER_SESSION_MAX
    marks = reader.scan(*keys.claimed_by(session_id))
    if sum(1 for _ in islice(marks, most)) < most:
        return None
    return refuse_many(f"session {session_id} would have more claims", most, "plan_id")


def _claim_next(context: Context, undoing: Undoing) -> CompensationItem | None:
    """Give the holder of a plan's claim the item whose turn it is; None: it waits for a
    person."""
    item = items.first_open(context.store, undoing)
    assert item is not None, f"{undoing.plan_id} is live, and nothing is open"
    if item.state in items.WAITING:
        return None
    fence = undoing.claim.fence
    if item.state == items.PENDING or token_key(item.claimed_under) != token_key(fence):
        item.state = items.CLAIMED
        item.claims += 1
        item.claimed_under.CopyFrom(fence)
        items.save(context, item)
    return item


def _live(reader: Reader, plan_id: str) -> Plan | Refusal:
    """A plan of which something may be undone now; or why not."""
    plan = compensations.load_plan(reader, plan_id)
    if plan is None:
        message = f"there is no plan {plan_id}"
        return refuse_subject(Reason.REASON_PLAN_NOT_FOUND, message, plan_id)
    if not plan.is_live:
        message = f"{plan_id} is {plan.state_name}: there is nothing to compensate"
        refusal = refuse_subject(Reason.REASON_PLAN_STATE, message, plan_id)
        refusal.current_state = plan.state_name
        return refusal
    return plan


def _refuse_claim(reason: Reason, message: str, undoing: Undoing) -> Refusal:
    refusal = refuse_subject(reason, message, undoing.plan_id)
    if undoing.HasField("newest_claim"):
        refusal.current_fence.CopyFrom(undoing.newest_claim)
    refusal.current_holder = undoing.claim.holder
    return refusal


def _check_claim(undoing: Undoing, fence: FencingToken, session_id: str) -> Refusal | None:
    """Why a session may not act on a plan under a token; None if it may."""
    given, newest = token_key(fence), token_key(undoing.newest_claim)
    if given < newest:
        message = f"a newer claim of {undoing.plan_id} exists"
        return _refuse_claim(Reason.REASON_FENCED, message, undoing)
    if given > newest:
        message = f"no such claim of {undoing.plan_id} was made"
        return _refuse_claim(Reason.REASON_NOT_OWNER, message, undoing)
    if not undoing.HasField("claim"):
        message = f"the claim of {undoing.plan_id} has ended"
        return _refuse_claim(Reason.REASON_NOT_OWNER, message, undoing)
    if undoing.claim.session_id != session_id:
        message = f"another session has claimed {undoing.plan_id}"
        return _refuse_claim(Reason.REASON_NOT_OWNER, message, undoing)
    return None


def _claimed_plan(
    reader: Reader, request: CompleteCompensationRequest | ReconcileEffectRequest
) -> Plan | Refusal:
    """The plan that the caller has claimed, of which something may be undone; or why not."""
    plan = _live(reader, request.plan_id)
    if isinstance(plan, Refusal):
        return plan
    session_id = request.request_id.session_id
    return _check_claim(plan.undoing, request.fence, session_id) or plan


# --- what came of an item -----------------------------------------------------


def complete_compensation(
    context: Context, request: CompleteCompensationRequest
) -> CompleteCompensationResponse | Refusal:
    """Note what came of the item that the caller has claimed."""
    plan = _claimed_plan(context.store, request)
    if isinstance(plan, Refusal):
        return plan
    item = _claimed_item(context.store, plan, request)
    if isinstance(item, Refusal):
        return item
    if request.outcome == CompensationOutcome.COMPENSATION_OUTCOME_DONE:
        effect = _effect(context.store, item)
        if item.reconcile_first or ledger.allowed(effect, ledger.COMPENSATE) is None:
            return effects.refuse_move(effect, "compensated before it is reconciled")
        item.result_content_type, item.result = request.content_type, request.result
        plan = _undone(context, plan, effect, ledger.COMPENSATE)
        items.settle(context, plan.undoing, item, items.COMPENSATED)
    else:
        item.error = request.error
        for_good = CompensationOutcome.COMPENSATION_OUTCOME_FAILED_FOR_GOOD
        _failed(context, plan, item, for_good=request.outcome == for_good)
    _advanced(context, plan)
    return CompleteCompensationResponse(undoing=plan.undoing, state=item.state)


def _claimed_item(
    reader: Reader, plan: Plan, request: CompleteCompensationRequest
) -> CompensationItem | Refusal:
    """The item that a completion names, if the caller is at it; or why not."""
    item = items.load(reader, plan.plan_id, request.position)
    if item is None:
        return _refuse_missing(plan, request.position)
    if item.position != plan.undoing.next_position:
        return _refuse_item(item, "has no turn now")
    fence = token_key(plan.undoing.claim.fence)
    if item.state != items.CLAIMED or token_key(item.claimed_under) != fence:
        return _refuse_item(item, "is not claimed")
    return item


def _failed(context: Context, plan: Plan, item: CompensationItem, *, for_good: bool) -> None:
    """An attempt has failed: the item is tried again, or waits for a person."""
    item.failures += 1
    attempts = _effect(context.store, item).compensation.attempts
    if not for_good and item.failures < attempts:
        item.state = items.PENDING
        items.save(context, item)
        return
    items.stick(context, plan.undoing, item)
    if not isinstance(plan.record, Saga):
        shown = sagas.evidence_of(item)
        kind = Classification.CLASSIFICATION_PERMANENT_TOOL
        rollbacks.went_wrong(context, plan.record, Symptom.SYMPTOM_STUCK, kind, shown)


def _undone(context: Context, plan: Plan, effect: Effect, name: str) -> Plan:
    """An effect is undone. It is counted in its saga, whose plan this may be: so the plan
    is given as it is then."""
    agent = _agent(context.store, effect.agent_id)
    effects.move(context, agent, effect, name)
    agents.save(context, agent)
    return _reloaded(context.store, plan)


def _reloaded(reader: Reader, plan: Plan) -> Plan:
    again = compensations.load_plan(reader, plan.plan_id)
    assert again is not None, f"{plan.plan_id} is gone"
    return again


def _advanced(context: Context, plan: Plan) -> None:
    """Note in the plan's record how far it has come, and save it."""
    if isinstance(plan.record, Saga):
        sagas.advanced(context, plan.record)
        return
    if not plan.undoing.open:
        items.end_claim(context, plan.undoing)
    rollbacks.advanced(context, plan.record)


def _refuse_missing(plan: Plan, position: int) -> Refusal:
    message = f"{plan.plan_id} has no item {position}"
    return refuse_subject(Reason.REASON_CONFLICT, message, plan.plan_id)


def _refuse_item(item: CompensationItem, message: str) -> Refusal:
    state = CompensationState.Name(item.state).removeprefix("COMPENSATION_STATE_")
    said = f"item {item.position} of {item.plan_id} is {state}: it {message}"
    refusal = refuse_subject(Reason.REASON_CONFLICT, said, item.plan_id)
    refusal.current_state = state
    return refusal


def _effect(reader: Reader, item: CompensationItem) -> Effect:
    return effects.named(reader, item.agent_id, item.effect_number)


def _agent(reader: Reader, agent_id: str) -> Agent:
    agent = agents.load(reader, agent_id)
    assert agent is not None, f"an effect of no agent: {agent_id}"
    return agent


# --- what people decide -------------------------------------------------------

_DECIDED = {
    Decision.DECISION_DONE_BY_HAND: items.COMPENSATED,
    Decision.DECISION_PROCEED: items.WAIVED,
}


def decide_compensation(
    context: Context, request: DecideCompensationRequest
) -> DecideCompensationResponse | Refusal:
    """Do as a person decided about an item that waits for one."""
    plan = _live(context.store, request.plan_id)
    if isinstance(plan, Refusal):
        return plan
    item = items.load(context.store, plan.plan_id, request.position)
    if item is None:
        return _refuse_missing(plan, request.position)
    if item.state not in items.WAITING:
        return _refuse_item(item, "waits for no decision")
    decision = request.decision
    if decision == Decision.DECISION_RETRY and item.state == items.BARRIER:
        return _refuse_item(item, "cannot be tried")
    word = Decision.Name(decision).removeprefix("DECISION_")
    item.decided_by, item.decision = request.decided_by, word
    if request.why:
        item.decision = f"{word}: {request.why}"
    if decision == Decision.DECISION_ESCALATE:
        refusal = _escalate(context, plan, item)
        if refusal is not None:
            return refusal
        items.save(context, item)
    elif decision == Decision.DECISION_RETRY:
        items.retry(context, plan.undoing, item)
    else:
        effect = _effect(context.store, item)
        if decision == Decision.DECISION_DONE_BY_HAND:
            if ledger.allowed(effect, ledger.UNDO_BY_HAND) is None:
                return effects.refuse_move(effect, "undone by hand")
            plan = _undone(context, plan, effect, ledger.UNDO_BY_HAND)
        items.settle(context, plan.undoing, item, _DECIDED[decision])
    _advanced(context, plan)
    return DecideCompensationResponse(undoing=plan.undoing, state=item.state)


def _escalate(context: Context, plan: Plan, item: CompensationItem) -> Refusal | None:
    """Note in the incident that somebody else is to decide; or why that cannot be."""
    incident = incidents.load(context.store, plan.record.incident_id)
    if incident is None:
        # An item that waits before its turn: nobody was called for it yet.
        return None
    if len(incident.notes) >= limits.INCIDENT_NOTES_MAX:
        message = f"incident {incident.incident_id} would have more notes"
        return refuse_many(message, limits.INCIDENT_NOTES_MAX, "incident_id")
    incident.notes.append(
        IncidentNote(
            by=item.decided_by,
            text=f"item {item.position} of {item.plan_id}: {item.decision}",
            revision=context.revision,
            log_time_ms=context.log_time_ms,
        )
    )
    incidents.save(context, incident)
    return None


# --- what the outside says ----------------------------------------------------


def reconcile_effect(
    context: Context, request: ReconcileEffectRequest
) -> ReconcileEffectResponse | Refusal:
    """Note whether an effect happened of which nobody knew: its owner asked the outside,
    or who is to undo it did."""
    if request.plan_id:
        return _reconcile_claimed(context, request)
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    effect = effects.find(context.store, agent.agent_id, request.effect_id)
    if effect is None:
        return effects.missing(agent.agent_id, request.effect_id)
    if ledger.allowed(effect, ledger.RECONCILE) is None:
        return effects.refuse_move(effect, "reconciled")
    agent.owner.touched_revision = context.revision
    _reconciled(context, agent, effect, request)
    return ReconcileEffectResponse(state=effect.state)


def _reconcile_claimed(
    context: Context, request: ReconcileEffectRequest
) -> ReconcileEffectResponse | Refusal:
    plan = _claimed_plan(context.store, request)
    if isinstance(plan, Refusal):
        return plan
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    effect = effects.find(context.store, agent.agent_id, request.effect_id)
    if effect is None:
        return effects.missing(agent.agent_id, request.effect_id)
    if effect.plan_id != plan.plan_id or not compensations.to_be_undone(context.store, effect):
        return effects.refuse_move(effect, f"reconciled under {plan.plan_id}")
    if ledger.allowed(effect, ledger.RECONCILE) is None:
        return effects.refuse_move(effect, "reconciled")
    _reconciled(context, agent, effect, request)
    return ReconcileEffectResponse(state=effect.state)


def _reconciled(
    context: Context, agent: Agent, effect: Effect, request: ReconcileEffectRequest
) -> None:
    """Note what the outside said of an effect, also where it is to be undone."""
    effect.result_content_type, effect.result = request.content_type, request.result
    effect.error = request.error
    effects.move(context, agent, effect, ledger.RECONCILE, request.found)
    agents.save(context, agent)
    if not compensations.to_be_undone(context.store, effect):
        return
    plan = compensations.load_plan(context.store, effect.plan_id)
    item = compensations.open_item(context.store, effect)
    assert plan is not None and item is not None, f"{effect.effect_id} is to be undone"
    item.reconcile_first = False
    if request.found == Found.FOUND_DONE:
        items.save(context, item)
    else:
        items.settle(context, plan.undoing, item, items.NOT_NEEDED)
        _advanced(context, plan)
