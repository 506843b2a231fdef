"""Compensations: plans of what is to be undone, in a frozen order, one after the other.

A plan is that of an aborted saga, or of a rollback, whose record says how far it has come.
It is made whole, in the command that begins it, and no item is ever added: so whoever
claims it next goes on with the very same list. An effect is in one open item at most; a
plan that takes it over from another says so there.

The commands are in `undoing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from raftstate.core import agents, effects, items, keys, ledger, rollbacks, sagas
from raftstate.core.context import Context
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect, Saga, Undoing
from raftstate.v1.rollback_service_pb2 import BarrierPolicy, Rollback, RollbackState

_LIVE_ROLLBACKS = (
    RollbackState.ROLLBACK_STATE_COMPENSATING,
    RollbackState.ROLLBACK_STATE_BLOCKED,
)


class Plan(NamedTuple):
    """A plan, and the record that it belongs to."""

    plan_id: str
    record: Saga | Rollback

    @property
    def undoing(self) -> Undoing:
        """How far it has come: a part of the record."""
        return self.record.undoing

    @property
    def is_live(self) -> bool:
        """Whether there is anything to undo, and somebody may."""
        if isinstance(self.record, Saga):
            return self.record.state in sagas.LIVE
        return self.record.state in _LIVE_ROLLBACKS

    @property
    def state_name(self) -> str:
        """The state of the record as it is written."""
        if isinstance(self.record, Saga):
            return sagas.state_name(self.record)
        return rollbacks.state_name(self.record)


def load_plan(reader: Reader, plan_id: str) -> Plan | None:
    """A plan; None if there is no such saga or rollback."""
    kind, _, name = plan_id.partition("/")
    if kind == "saga":
        saga = sagas.load(reader, name)
        return None if saga is None else Plan(plan_id, saga)
    if kind != "rollback":
        return None
    rollback = rollbacks.load(reader, name)
    return None if rollback is None else Plan(plan_id, rollback)


def save_plan(context: Context, plan: Plan) -> None:
    """Write a plan's record back as it is."""
    if isinstance(plan.record, Saga):
        sagas.save(context, plan.record)
    else:
        rollbacks.save(context, plan.record)


# --- how plans are made -------------------------------------------------------


def barrier(effect: Effect) -> bool:
    """Whether an effect cannot be undone."""
    return effect.effect_class == ledger.IRREVERSIBLE


def reconcile_first(effect: Effect) -> bool:
    """Whether it must be known that an effect happened before it may be undone."""
    unsure = effect.state in (ledger.DISPATCHED, ledger.UNKNOWN)
    return unsure and not effect.compensation.leaves_tombstone


def freeze(
    context: Context,
    plan_id: str,
    to_undo: Iterable[Effect],
    on_barrier: BarrierPolicy = BarrierPolicy.BARRIER_POLICY_ASK,
) -> Undoing:
    """Make a plan of effects in the order in which they are given. Those are read anew that
    were dispatched, and given up since."""
    wanted = [
        effects.named(context.store, each.agent_id, each.number)
        if each.state == ledger.DISPATCHED
        else each
        for each in to_undo
    ]
    _take_over(context, wanted, plan_id)
    undoing = Undoing(plan_id=plan_id, total=len(wanted))
    for position, effect in enumerate(wanted, 1):
        item = CompensationItem(
            plan_id=plan_id,
            position=position,
            agent_id=effect.agent_id,
            effect_id=effect.effect_id,
            effect_number=effect.number,
            state=items.PENDING,
            reconcile_first=reconcile_first(effect) and not barrier(effect),
        )
        if barrier(effect):
            item.state = items.BARRIER
            if on_barrier == BarrierPolicy.BARRIER_POLICY_PROCEED:
                item.state = items.WAIVED
                item.decision = "proceed"
                item.settled_revision = context.revision
                item.settled_log_time_ms = context.log_time_ms
        if item.state in items.OPEN:
            undoing.open += 1
            undoing.stuck += item.state in items.WAITING
            undoing.next_position = undoing.next_position or position
        items.save(context, item)
        effect.plan_id, effect.plan_position = plan_id, position
        effects.save(context, effect)
    return undoing


def _take_over(context: Context, wanted: Sequence[Effect], plan_id: str) -> None:
    """Let other plans go of what they were to undo. Each is told once, at the end: between,
    an item might seem to have its turn that is about to go too. From the last to the first,
    so that few of them have it when they go."""
    others: dict[str, Plan] = {}
    for effect in reversed(wanted):
        item = open_item(context.store, effect)
        if item is None:
            continue
        if item.plan_id not in others:
            plan = load_plan(context.store, item.plan_id)
            assert plan is not None, f"an item of no plan: {item.plan_id}"
            others[item.plan_id] = plan
        item.moved_to = plan_id
        items.settle(context, others[item.plan_id].undoing, item, items.MOVED)
    for other in others.values():
        if isinstance(other.record, Saga):
            sagas.advanced(context, other.record)
        else:
            # A rollback that was given up: its agents are rolled back again.
            assert not other.is_live, f"{other.plan_id} and {plan_id} undo the same"
            if not other.undoing.open:
                for each in other.record.agents:
                    mark = keys.given_up(each.agent_id, other.record.rollback_id)
                    context.store.delete(mark)
            save_plan(context, other)


def open_item(reader: Reader, effect: Effect) -> CompensationItem | None:
    """The item that an effect is open in, also of a plan that was given up."""
    if not effect.plan_id:
        return None
    item = items.load(reader, effect.plan_id, effect.plan_position)
    assert item is not None, f"{effect.effect_id} is in no item of {effect.plan_id}"
    return item if item.state in items.OPEN else None


def is_waived(reader: Reader, effect: Effect) -> bool:
    """Whether it was decided, in the plan that an effect was last in, that it stays. What
    was done anew since then, nobody has decided about."""
    if not effect.plan_id:
        return False
    item = items.load(reader, effect.plan_id, effect.plan_position)
    if item is None or item.state != items.WAIVED:
        return False
    return effect.dispatched_revision <= item.settled_revision


def to_be_undone(reader: Reader, effect: Effect) -> bool:
    """Whether a live plan is to undo an effect."""
    if open_item(reader, effect) is None:
        return False
    plan = load_plan(reader, effect.plan_id)
    return plan is not None and plan.is_live


# --- sagas that are given up --------------------------------------------------


def abort_saga(context: Context, saga_id: str, reason: str, held: dict[str, Agent]) -> Saga:
    """Give a running saga up, and plan how it is undone. `held` are records of agents that
    the caller has; those that this changes are saved, and added to them."""
    moved: set[str] = set()
    for mark, _ in list(context.store.scan(*keys.saga_effects(saga_id))):
        agent_id, number = keys.saga_effect_named(mark)
        effect = effects.named(context.store, agent_id, number)
        if ledger.allowed(effect, ledger.GIVE_UP) is None:
            continue
        if agent_id not in held:
            agent = agents.load(context.store, agent_id)
            assert agent is not None, f"an effect of no agent: {agent_id}"
            held[agent_id] = agent
        effects.move(context, held[agent_id], effect, ledger.GIVE_UP)
        moved.add(agent_id)
    for agent_id in sorted(moved):
        agents.save(context, held[agent_id])
    saga = sagas.load(context.store, saga_id)
    assert saga is not None and saga.state == sagas.RUNNING, f"saga {saga_id} does not run"
    saga.state, saga.reason = sagas.COMPENSATING, reason
    to_undo = sorted(_to_undo_of(context.store, saga_id), key=effects.undo_order)
    saga.undoing.CopyFrom(freeze(context, sagas.PLAN + saga_id, to_undo))
    sagas.advanced(context, saga)
    return saga


def _to_undo_of(reader: Reader, saga_id: str) -> Iterable[Effect]:
    """What a saga may have done, but for what a rollback undoes already, or has left as it
    is because somebody said so."""
    for mark, _ in reader.scan(*keys.saga_effects(saga_id)):
        effect = effects.named(reader, *keys.saga_effect_named(mark))
        settled = to_be_undone(reader, effect) or is_waived(reader, effect)
        if ledger.may_be_done(effect) and not settled:
            yield effect


def roll_back_sagas(
    context: Context, agent_id: str, kept_revision: int, rollback_id: str
) -> None:
    """The sagas of an agent that a rollback has taken back to before they were begun are
    over. What other agents did for one of them, the saga itself still undoes. Call it when
    the rollback's plan is frozen, and its agents are saved."""
    for mark, _ in list(context.store.scan(*keys.open_sagas(agent_id))):
        saga = sagas.load(context.store, keys.open_saga_id(mark))
        assert saga is not None, f"a mark of no saga: {mark!r}"
        if saga.state != sagas.RUNNING or saga.begun_revision <= kept_revision:
            continue
        reason = f"rollback {rollback_id} of {agent_id}"
        saga = abort_saga(context, saga.saga_id, reason, {})
        if saga.state == sagas.COMPENSATED:
            saga.state = sagas.ROLLED_BACK
            sagas.save(context, saga)


# --- claims -------------------------------------------------------------------


def end_claims_of(context: Context, session_id: str) -> None:
    """End every claim of a session."""
    for mark, _ in list(context.store.scan(*keys.claimed_by(session_id))):
        plan = load_plan(context.store, keys.claimed_plan_id(mark))
        assert plan is not None, f"a claim of no plan: {mark!r}"
        items.end_claim(context, plan.undoing)
        save_plan(context, plan)
