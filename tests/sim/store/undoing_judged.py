"""What must hold of effects, sagas, rollbacks and breakers: one function a property.

Like `judging`, with its own copy of what the contract says may become of an effect: the
machine's table is not asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jepsen_like.checkers import undoing
from jepsen_like.outside import Entry
from raftstate.core import keys
from raftstate.core.ports import Reader
from raftstate.core.types import token_key
from raftstate.v1 import breaker_service_pb2 as breakers
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import rollback_service_pb2 as rollbacks
from raftstate.v1.agent_service_pb2 import Agent, TakeoverBundle
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect, Saga, Undoing
from raftstate.v1.rollback_service_pb2 import Rollback, RolledBack
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim.invariants import must
from tests.sim.recount_undoing import OPEN_EFFECTS, OPEN_ITEMS, was_done

if TYPE_CHECKING:
    from tests.sim.store.chronicle import Change, Chronicle, Group

_AGENT, _BREAKER, _EFFECT, _ITEM = b"a", b"B", b"E", b"K"
_ROLLBACK, _SAGA = b"R", b"A"
PREPARED, DISPATCHED = effects.EFFECT_STATE_PREPARED, effects.EFFECT_STATE_DISPATCHED
COMMITTED, FAILED = (
    effects.EFFECT_STATE_COMMITTED,
    effects.EFFECT_STATE_FAILED_BEFORE_EFFECT,
)
UNKNOWN, RECONCILED = effects.EFFECT_STATE_UNKNOWN, effects.EFFECT_STATE_RECONCILED
COMPENSATED = effects.EFFECT_STATE_COMPENSATED
# What the contract draws, and that both may happen in one command: a step may prepare and
# dispatch, and an abort or a rollback makes of what was dispatched what is unknown.
MOVES = frozenset(
    {
        (None, PREPARED),
        (None, DISPATCHED),
        (PREPARED, DISPATCHED),
        (PREPARED, FAILED),
        (DISPATCHED, COMMITTED),
        (DISPATCHED, FAILED),
        (DISPATCHED, UNKNOWN),
        (UNKNOWN, DISPATCHED),
        (UNKNOWN, RECONCILED),
        (COMMITTED, COMPENSATED),
        (UNKNOWN, COMPENSATED),
        (RECONCILED, COMPENSATED),
    }
)
AT_ANY_TIME = (effects.COMPENSATION_STATE_MOVED, effects.COMPENSATION_STATE_NOT_NEEDED)
REPEATABLE = (effects.EFFECT_CLASS_READ_ONLY, effects.EFFECT_CLASS_IDEMPOTENT)
# What an effect is never another of.
LASTING = (
    "agent_id",
    "effect_id",
    "number",
    "action",
    "arguments",
    "effect_class",
    "idempotency_key",
    "compensation",
    "saga_id",
    "prepared_revision",
)


def judge_group(chronicle: Chronicle, revision: int, group: Group) -> None:
    """Hold what one revision did to effects, plans and breakers against what was before."""
    store = chronicle.witness.below
    for key, change in group.items():
        table = key[:1]
        if table == _EFFECT:
            effect_moves_as_drawn(revision, change)
        elif table == _ITEM:
            item_has_its_turn(chronicle, change)
        elif table in (_SAGA, _ROLLBACK):
            claims_rise(*_undoings(table, change))
        elif table == _AGENT and change.after is not None:
            agent = Agent.FromString(change.after)
            nothing_is_dispatched_before_its_owner(store, change, agent)
        elif table == _BREAKER:
            trip_does_what_it_should(chronicle, revision, group, change)
    for plan_id in _new_plans(group):
        plan_is_newest_first(store, plan_id)
    for saga in _compensated(group):
        saga_leaves_nothing(store, saga)
    for rollback, before in _rollbacks(group):
        if before is None:
            rollback_fences(store, rollback)
            rollback_restores(store, rollback)
            nothing_is_forgotten(store, rollback)
        elif _ended(rollback) and not _ended(before):
            rollback_leaves_nothing(store, rollback)


def _compensated(group: Group) -> Iterator[Saga]:
    for key, change in group.items():
        if key[:1] == _SAGA and change.after is not None:
            saga = Saga.FromString(change.after)
            if saga.state == effects.SAGA_STATE_COMPENSATED:
                yield saga


def _rollbacks(group: Group) -> Iterator[tuple[Rollback, Rollback | None]]:
    for key, change in group.items():
        if key[:1] == _ROLLBACK and change.after is not None:
            before = None if change.before is None else Rollback.FromString(change.before)
            yield Rollback.FromString(change.after), before


def _ended(rollback: Rollback) -> bool:
    return rollback.state == rollbacks.ROLLBACK_STATE_FINISHED


# --- effects -----------------------------------------------------------------------


def effect_moves_as_drawn(revision: int, change: Change) -> None:
    """Effects: each goes only where the contract draws an arrow, and is compensated once;
    what it is, and how it is undone, never changes."""
    must(change.after is not None, "an effect is gone")
    after = Effect.FromString(change.after or b"")
    who = f"effect {after.number} of {after.agent_id} at {revision}"
    if change.before is None:
        must((None, after.state) in MOVES, f"{who} begins as {after.state}")
        return
    before = Effect.FromString(change.before)
    same = [name for name in LASTING if getattr(before, name) != getattr(after, name)]
    must(not same, f"{who}: {same} changed")
    if before.state == after.state:
        return
    must((before.state, after.state) in MOVES, f"{who}: {before.state} to {after.state}")
    if (before.state, after.state) == (UNKNOWN, DISPATCHED):
        must(before.effect_class in REPEATABLE, f"{who} is done again, and may not be")
    if before.state == RECONCILED:
        must(before.found == effects.FOUND_DONE, f"{who} is undone, and was never done")
    if before.state == UNKNOWN and after.state == COMPENSATED:
        certain = before.compensation.leaves_tombstone
        by_hand = before.effect_class == effects.EFFECT_CLASS_IRREVERSIBLE
        must(certain or by_hand, f"{who} is undone, and nobody asked whether it was done")


def nothing_is_dispatched_before_its_owner(
    reader: Reader, change: Change, agent: Agent
) -> None:
    """Effects: with a new token, whatever the former owner had dispatched is unknown."""
    before = Agent.FromString(change.before or b"")
    if token_key(agent.newest_fence) == token_key(before.newest_fence):
        return
    for _, raw in reader.scan(*keys.effects(agent.agent_id, 0)):
        effect = Effect.FromString(raw)
        must(
            effect.state != DISPATCHED,
            f"effect {effect.number} of {agent.agent_id} is DISPATCHED under "
            f"{effect.fence.revision}; {agent.newest_fence.revision} was given",
        )


# --- plans -------------------------------------------------------------------------


def item_has_its_turn(chronicle: Chronicle, change: Change) -> None:
    """Compensations: items are settled in the order of their plan and once, but for those
    that a rollback takes over, and those of which somebody finds out that there is nothing
    to undo."""
    must(change.after is not None, "an item is gone")
    item = CompensationItem.FromString(change.after or b"")
    who = f"item {item.position} of {item.plan_id}"
    before = None if change.before is None else CompensationItem.FromString(change.before)
    if before is not None and before.state not in OPEN_ITEMS:
        must(item.state == before.state, f"{who} was {before.state}, and is {item.state}")
    now = before is not None and before.state in OPEN_ITEMS and item.state not in OPEN_ITEMS
    if not now or item.state in AT_ANY_TIME:
        return
    earlier = [
        CompensationItem.FromString(raw)
        for _, raw in chronicle.witness.below.scan(*keys.items(item.plan_id, 1))
    ]
    left = [o.position for o in earlier if o.position < item.position and o.state in OPEN_ITEMS]
    must(not left, f"{who} is {item.state}, and {left[:3]} are not settled")


def _undoings(table: bytes, change: Change) -> tuple[Undoing, Undoing]:
    record: Any = Saga if table == _SAGA else Rollback
    before, after = (record.FromString(raw or b"") for raw in change)
    return before.undoing, after.undoing


def claims_rise(before: Undoing, after: Undoing) -> None:
    """Compensations: a plan's claims have rising tokens, and a claim is under the newest."""
    was, now = token_key(before.newest_claim), token_key(after.newest_claim)
    must(now >= was, f"{after.plan_id}: the newest claim was {was}, and is {now}")
    if after.HasField("claim"):
        must(
            token_key(after.claim.fence) == now, f"{after.plan_id}: claimed under an old token"
        )
        other = before.claim.session_id != after.claim.session_id
        must(not other or now > was, f"{after.plan_id}: another claim, and the token is {now}")


def _new_plans(group: Group) -> list[str]:
    first = (
        CompensationItem.FromString(change.after)
        for key, change in group.items()
        if key[:1] == _ITEM and change.before is None and change.after is not None
    )
    return sorted({item.plan_id for item in first})


def plan_is_newest_first(reader: Reader, plan_id: str) -> None:
    """Compensations: a plan begins with what may have been done last, and goes back."""
    places = []
    for _, raw in reader.scan(*keys.items(plan_id, 1)):
        item = CompensationItem.FromString(raw)
        stored = reader.get(keys.effect(item.agent_id, item.effect_number))
        effect = Effect.FromString(stored or b"")
        must(
            effect.state == UNKNOWN or was_done(effect),
            f"{plan_id}: item {item.position} is {effect.state}",
        )
        unsure = effect.state == UNKNOWN
        at = effect.dispatched_revision if unsure else effect.settled_revision
        places.append((unsure, at))
    must(places == sorted(places, reverse=True), f"{plan_id} is not newest first: {places[:8]}")


def completion_is_claimed(chronicle: Chronicle, command: Command, outcome: Outcome) -> None:
    """Fencing: what a worker says of a plan is said under the newest claim of the plan, by
    the session that was given it."""
    kind = command.WhichOneof("body")
    if kind == "claim_compensations":
        claim = outcome.claim_compensations.claim
        plan_id = command.claim_compensations.plan_id
        given = token_key(claim.fence), claim.session_id
        before = chronicle.claims.get(plan_id, ((0, 0), ""))
        must(
            given[0] > before[0] or given == before,
            f"{plan_id}: claimed under {given} after {before}",
        )
        chronicle.claims[plan_id] = given
        return
    body: Any = getattr(command, str(kind))
    if kind == "complete_compensation" or (kind == "reconcile_effect" and body.plan_id):
        newest = chronicle.claims.get(body.plan_id)
        said = token_key(body.fence), body.request_id.session_id
        must(said == newest, f"{body.plan_id}: a {kind} under {said}; the claim is {newest}")


def saga_leaves_nothing(reader: Reader, saga: Saga) -> None:
    """Sagas: of one that is compensated nothing is left done, but what a person has let
    be."""
    listed = _listed(reader, f"saga/{saga.saga_id}")
    for mark, _ in reader.scan(*keys.saga_effects(saga.saga_id)):
        place = keys.saga_effect_named(mark)
        effect = Effect.FromString(reader.get(keys.effect(*place)) or b"")
        waived = place in listed and listed[place].state == effects.COMPENSATION_STATE_WAIVED
        reads = effect.effect_class == effects.EFFECT_CLASS_READ_ONLY
        elsewhere = effect.plan_id.startswith("rollback/")
        left = was_done(effect) or effect.state in OPEN_EFFECTS
        must(
            waived or reads or elsewhere or not left,
            f"saga {saga.saga_id} is compensated, and effect {place} is {effect.state}",
        )


# --- rollbacks ---------------------------------------------------------------------


def rollback_fences(reader: Reader, rollback: Rollback) -> None:
    """Rollbacks: from its start nobody owns its agents, and their newest token is one that
    nobody was given."""
    for one in rollback.agents:
        agent = Agent.FromString(reader.get(keys.agent(one.agent_id)) or b"")
        who = f"rollback {rollback.rollback_id} of {one.agent_id}"
        fence, former = token_key(one.fence), token_key(one.former_fence)
        must(fence > former, f"{who}: token {fence} after {former}")
        must(token_key(agent.newest_fence) == fence, f"{who} did not raise the token")
        must(not agent.HasField("owner"), f"{who} leaves {agent.owner.session_id} its owner")
        must(agent.rollback_id == rollback.rollback_id, f"{who}: the agent does not say so")


def rollback_restores(reader: Reader, rollback: Rollback) -> None:
    """Rollbacks: the newest checkpoint is a copy of the target, and everything that came
    after what is kept is undone, and still there."""
    for one in rollback.agents:
        agent = Agent.FromString(reader.get(keys.agent(one.agent_id)) or b"")
        who = f"rollback {rollback.rollback_id} of {one.agent_id}"
        must(
            agent.head.checkpoint_id == one.restored_checkpoint_id,
            f"{who}: the head is {agent.head.checkpoint_id}",
        )
        copy, target = (
            reader.get(keys.checkpoint(one.agent_id, number))
            for number in (one.restored_checkpoint_id, one.checkpoint_id)
        )
        must(copy is not None and target is not None, f"{who}: a checkpoint is missing")
        must(_content(copy) == _content(target), f"{who} restored something else")
        if one.first_undone_seq:
            must(one.last_undone_seq == agent.head.event_seq, f"{who}: events stay")


def _content(raw: bytes | None) -> tuple[Any, ...]:
    found = Checkpoint.FromString(raw or b"")
    return found.content_hash, found.event_seq, found.size_bytes


def _since(reader: Reader, one: RolledBack, up_to: int) -> list[Effect]:
    """An agent's effects that may have been done after what is kept, and before the start
    of a rollback."""
    rows = reader.scan(*keys.effects(one.agent_id, 0))
    every = (Effect.FromString(raw) for _, raw in rows)
    return [
        effect
        for effect in every
        if effect.effect_class != effects.EFFECT_CLASS_READ_ONLY
        and effect.prepared_revision <= up_to
        and (effect.state == UNKNOWN or was_done(effect))
        and one.kept_revision < effect.settled_revision <= up_to
    ]


def _listed(reader: Reader, plan_id: str) -> dict[tuple[str, int], CompensationItem]:
    rows = reader.scan(*keys.items(plan_id, 1))
    items = (CompensationItem.FromString(raw) for _, raw in rows)
    return {(item.agent_id, item.effect_number): item for item in items}


def nothing_is_forgotten(reader: Reader, rollback: Rollback) -> None:
    """Rollbacks: whatever its agents may have done since what is kept is in its plan."""
    listed = _listed(reader, f"rollback/{rollback.rollback_id}")
    for one in rollback.agents:
        for effect in _since(reader, one, rollback.started_revision):
            must(
                (one.agent_id, effect.number) in listed or _is_waived(reader, effect),
                f"rollback {rollback.rollback_id} forgets effect {effect.number} of "
                f"{one.agent_id}, {effect.state} since {effect.settled_revision}",
            )


def _is_waived(reader: Reader, effect: Effect) -> bool:
    """Whether a person has let an effect be before."""
    raw = reader.get(keys.item(effect.plan_id, effect.plan_position))
    item = CompensationItem.FromString(raw or b"")
    return item.state == effects.COMPENSATION_STATE_WAIVED


def rollback_leaves_nothing(reader: Reader, rollback: Rollback) -> None:
    """Rollbacks: once it is finished, nothing of what it was to undo is left done, but what
    a person has let be; and nobody was missing who had to say yes."""
    listed = _listed(reader, f"rollback/{rollback.rollback_id}")
    who = f"rollback {rollback.rollback_id} is finished"
    for place, item in listed.items():
        must(item.state not in OPEN_ITEMS, f"{who}, and item {item.position} is {item.state}")
        effect = Effect.FromString(reader.get(keys.effect(*place)) or b"")
        waived = item.state == effects.COMPENSATION_STATE_WAIVED
        gone = effect.state == COMPENSATED or not (was_done(effect) or effect.state == UNKNOWN)
        must(waived or gone, f"{who}, and effect {place} is {effect.state}")
    silent = [one.validator for one in rollback.validators if not one.passed]
    must(not silent, f"{who}, and {silent} have not said yes")


# --- breakers ----------------------------------------------------------------------


def trip_does_what_it_should(
    chronicle: Chronicle, revision: int, group: Group, change: Change
) -> None:
    """Breakers: a trip opens an incident, and starts the rollback that it is meant to, in
    the same command."""
    if change.after is None:
        return
    before, after = Breaker.FromString(change.before or b""), Breaker.FromString(change.after)
    must(after.generation >= before.generation, f"breaker {after.name} went back")
    half_open, opened = breakers.BREAKER_STATE_HALF_OPEN, breakers.BREAKER_STATE_OPEN
    if after.state == half_open:
        probes = after.config.probes or 1
        must(len(after.permits) <= probes, f"{after.name}: {len(after.permits)} permits")
    if after.state != opened or before.state == opened:
        return
    if before.state == half_open:
        return
    known = {key[1:].decode() for key in group if key[:1] == b"I"}
    who = f"breaker {after.name} tripped at {revision}"
    must(after.incident_id in known, f"{who}, and opened no incident")
    plan = after.config.on_trip
    if plan.action != breakers.TRIP_ACTION_ROLLBACK or plan.group_id:
        return
    named = set(plan.agent_ids)
    free = {agent_id for agent_id in named if _could_go_back(group, chronicle, agent_id)}
    started = {
        one.agent_id
        for rollback, earlier in _rollbacks(group)
        if earlier is None and rollback.rollback_id == after.rollback_id
        for one in rollback.agents
    }
    must(started == free, f"{who}: {sorted(started)} are rolled back, and not {sorted(free)}")


def _could_go_back(group: Group, chronicle: Chronicle, agent_id: str) -> bool:
    """Whether an agent was at work before a revision, and known to be good once."""
    key = keys.agent(agent_id)
    raw = group[key].before if key in group else chronicle.witness.below.get(key)
    agent = Agent.FromString(raw or b"")
    return agent.lifecycle in (1, 2) and bool(agent.newest_known_good)


# --- what is read ------------------------------------------------------------------


def bundle_is_live(bundle: TakeoverBundle, undone: Collection[int]) -> None:
    """Rollbacks: a successor is shown no event that was undone, and none that its
    checkpoint reflects; nothing it lists is closed."""
    who = bundle.agent.agent_id
    shown = [event.seq for event in bundle.events]
    wrong = [seq for seq in shown if seq in undone or seq <= bundle.checkpoint.event_seq]
    must(not wrong, f"{who}: events {wrong[:5]} are shown as live")
    last = bundle.agent.head.event_seq
    wanted = set(range(bundle.checkpoint.event_seq + 1, last + 1)) - set(undone)
    missing = sorted(wanted - set(shown))
    must(bundle.more_events or not missing, f"{who}: live events {missing[:5]} are not shown")


def bundle_shows_what_is_open(bundle: TakeoverBundle, every: Iterable[Effect]) -> None:
    """Effects: a successor is shown what is prepared, and what nobody knows the end of."""
    who = bundle.agent.agent_id
    wanted = [one.number for one in every if one.state in (PREPARED, UNKNOWN)]
    shown = [one.number for one in bundle.open_effects]
    enough = shown == wanted or (bundle.more_effects and shown == wanted[: len(shown)])
    must(enough, f"{who}: effects {shown[:5]} are shown as open, and not {wanted[:5]}")


def ledger_reads_back(
    agent_id: str, listed: Sequence[Effect], stored: Sequence[Effect]
) -> None:
    """Effects: they are listed as they are, each once, in the order of their numbers."""
    must(list(listed) == list(stored), f"{agent_id}: its effects are not listed as they are")


def events_say_who_undid_them(
    agent_id: str, told: Iterable[Any], undone: Collection[int]
) -> None:
    """Rollbacks: whoever reads an agent's events is told which were undone."""
    wrong = [event.seq for event in told if bool(event.undone_by) != (event.seq in undone)]
    must(
        not wrong, f"{agent_id}: of events {wrong[:5]} it is said wrong whether they are undone"
    )


# --- the outside -------------------------------------------------------------------


def outside_is_as_told(journal: Sequence[Entry], reader: Reader) -> None:
    """Effects: in the outside world everything happened once in effect, and is undone where
    the ledger says so, in the order of the plans; see `checkers/undoing.py`."""
    stored = [Effect.FromString(raw) for _, raw in reader.scan(_EFFECT, b"F")]
    items = [CompensationItem.FromString(raw) for _, raw in reader.scan(_ITEM, b"L")]
    waiting = {
        (item.agent_id, item.effect_number) for item in items if item.state in OPEN_ITEMS
    }
    facts = [
        undoing.Effect(
            one.agent_id,
            one.effect_id,
            one.idempotency_key,
            _name(one),
            reads=one.effect_class == effects.EFFECT_CLASS_READ_ONLY,
            pending=(one.agent_id, one.number) in waiting,
        )
        for one in stored
    ]
    by_place = {(one.agent_id, one.number): one.idempotency_key for one in stored}
    turns = [
        undoing.Item(
            item.plan_id,
            item.position,
            by_place[item.agent_id, item.effect_number],
            effects.CompensationState.Name(item.state).removeprefix("COMPENSATION_STATE_"),
        )
        for item in items
    ]
    wrong = undoing.check(journal, facts, turns, reverse=False, over=False)
    must(not wrong, f"{len(wrong)} wrong outside, such as {wrong[:3]}")


def _name(effect: Effect) -> str:
    name = effects.EffectState.Name(effect.state).removeprefix("EFFECT_STATE_")
    if effect.state == RECONCILED:
        name += "_" + effects.Found.Name(effect.found).removeprefix("FOUND_")
    return name
