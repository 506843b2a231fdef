"""Effects: the ledger of what agents did to the outside world. Its rows, and how they move.

An effect is one record, and three indices are kept true to it: by its id; which are open;
and which were done and are not undone, by when that became known, which is the order that
a rollback goes back in.

Whoever moves an effect holds the record of its agent, which counts the open ones, and
saves that. The commands are in `acting` and `undoing`.
"""

from __future__ import annotations

from collections.abc import Iterator

from raftstate.core import items, keys, ledger, sagas
from raftstate.core.context import Context, refuse_subject
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.effect_service_pb2 import Effect, Found
from raftstate.v1.store_pb2 import Reason, Refusal


def load(reader: Reader, agent_id: str, number: int) -> Effect | None:
    """The effect of an agent that has a number."""
    raw = reader.get(keys.effect(agent_id, number))
    return None if raw is None else Effect.FromString(raw)


def find(reader: Reader, agent_id: str, effect_id: str) -> Effect | None:
    """The effect of an agent that has an id."""
    raw = reader.get(keys.effect_named(agent_id, effect_id))
    return None if raw is None else named(reader, agent_id, keys.to_number(raw))


def named(reader: Reader, agent_id: str, number: int) -> Effect:
    """An effect that some row names, so that it is there."""
    effect = load(reader, agent_id, number)
    assert effect is not None, f"{agent_id} has no effect {number}"
    return effect


def save(context: Context, effect: Effect) -> None:
    """Write an effect back."""
    key = keys.effect(effect.agent_id, effect.number)
    context.store.put(key, effect.SerializeToString(deterministic=True))


def missing(agent_id: str, effect_id: str) -> Refusal:
    """The refusal for an effect that does not exist."""
    message = f"agent {agent_id} has no effect {effect_id}"
    return refuse_subject(Reason.REASON_EFFECT_NOT_FOUND, message, effect_id)


def refuse_move(effect: Effect, action: str) -> Refusal:
    """The refusal of what may not happen to an effect in its state."""
    state = ledger.state_name(effect.state)
    message = f"effect {effect.effect_id} is {state}: it cannot be {action}"
    return _conflict(effect, message)


def refuse_undone(effect: Effect) -> Refusal:
    """The refusal of what may not happen to an effect while it is to be undone."""
    return _conflict(effect, f"effect {effect.effect_id} is to be undone: {effect.plan_id}")


def _conflict(effect: Effect, message: str) -> Refusal:
    refusal = refuse_subject(Reason.REASON_CONFLICT, message, effect.effect_id)
    refusal.current_state = ledger.state_name(effect.state)
    return refusal


# --- how they move ------------------------------------------------------------


def enter(context: Context, agent: Agent, effect: Effect) -> None:
    """Put a new effect into the ledger, PREPARED. The caller saves the agent."""
    agent.effects += 1
    agent.open_effects += 1
    effect.number = agent.effects
    effect.state = ledger.PREPARED
    effect.step = agent.head.step + 1
    effect.fence.CopyFrom(agent.newest_fence)
    effect.prepared_revision = context.revision
    effect.changed_log_time_ms = context.log_time_ms
    agent_id, number = agent.agent_id, effect.number
    context.store.put(keys.effect_named(agent_id, effect.effect_id), keys.number(number))
    context.store.put(keys.open_effect(agent_id, number), b"")
    if effect.saga_id:
        context.store.put(keys.saga_effect(effect.saga_id, agent_id, number), b"")
        sagas.count(context, effect.saga_id, effects=1, opened=1)
    save(context, effect)


def move(
    context: Context,
    agent: Agent,
    effect: Effect,
    name: str,
    found: Found = Found.FOUND_UNSPECIFIED,
) -> None:
    """Let something happen to an effect that may happen to it, and save it. The caller
    saves the agent."""
    target = ledger.allowed(effect, name)
    assert target is not None, f"{name}: not to {effect.effect_id} as it is"
    was_open, was_done = effect.state in ledger.OPEN, ledger.was_done(effect)
    done_mark = keys.done_effect(agent.agent_id, effect.settled_revision, effect.number)
    effect.state, effect.found = target, found or effect.found
    if target == ledger.DISPATCHED:
        effect.settled_revision = 0
        effect.dispatched_revision = context.revision
        effect.dispatches += 1
        effect.fence.CopyFrom(agent.newest_fence)
    elif target in ledger.SETTLED:
        effect.settled_revision = context.revision
    else:
        effect.compensated_revision = context.revision
    effect.changed_log_time_ms = context.log_time_ms
    if was_open and target not in ledger.OPEN:
        _close(context, agent, effect)
    if was_done:
        context.store.delete(done_mark)
    elif ledger.was_done(effect):
        mark = keys.done_effect(agent.agent_id, context.revision, effect.number)
        context.store.put(mark, b"")
    save(context, effect)


def _close(context: Context, agent: Agent, effect: Effect) -> None:
    agent.open_effects -= 1
    context.store.delete(keys.open_effect(agent.agent_id, effect.number))
    if effect.saga_id:
        sagas.count(context, effect.saga_id, opened=-1)


def open_of(reader: Reader, agent_id: str) -> Iterator[Effect]:
    """An agent's open effects, in order of number."""
    for mark, _ in reader.scan(*keys.open_effects(agent_id)):
        yield named(reader, agent_id, keys.to_number(mark))


def takeover(context: Context, agent: Agent) -> None:
    """There is a new grant of an agent: what its former owner had dispatched, nobody knows
    the end of. The caller saves the agent."""
    for effect in list(open_of(context.store, agent.agent_id)):
        if ledger.allowed(effect, ledger.TAKE_OVER) is not None:
            move(context, agent, effect, ledger.TAKE_OVER)


def give_up(context: Context, agent: Agent) -> None:
    """Nobody goes on with what an agent has open: what was only prepared did not happen,
    and what was dispatched may have. The caller saves the agent."""
    for effect in list(open_of(context.store, agent.agent_id)):
        if ledger.allowed(effect, ledger.GIVE_UP) is not None:
            move(context, agent, effect, ledger.GIVE_UP)


# --- what is to be undone -----------------------------------------------------


def undo_order(effect: Effect) -> tuple[int, int, int, str]:
    """Sorts effects into the order in which they are undone: first those of which nobody
    knows whether they happened, the last dispatched first; then the others, the last
    settled first. Those of one revision go by number, the larger first."""
    open_yet = effect.state in ledger.OPEN
    since = effect.dispatched_revision if open_yet else effect.settled_revision
    return not open_yet, -since, -effect.number, effect.agent_id


def to_undo(reader: Reader, agent: Agent, kept_revision: int) -> list[Effect]:
    """What a rollback of an agent must undo if what was settled up to a revision stays,
    in the order in which it is undone. It is the same before and after `give_up`.

    What its aborted sagas were about to undo is among it, however old it is, so that one
    plan has it all in order.
    """
    agent_id = agent.agent_id
    found = {
        effect.number: effect
        for effect in open_of(reader, agent_id)
        if ledger.may_be_done(effect)
        and (effect.settled_revision > kept_revision or not effect.settled_revision)
    }
    for mark, _ in reader.scan(*keys.done_effects(agent_id, kept_revision)):
        effect = named(reader, agent_id, keys.to_number(mark))
        found[effect.number] = effect
    for number in _in_aborted_sagas(reader, agent_id):
        if number not in found:
            found[number] = named(reader, agent_id, number)
    return sorted(found.values(), key=undo_order)


def _in_aborted_sagas(reader: Reader, agent_id: str) -> Iterator[int]:
    """The numbers of an agent's effects that sagas which it began are to undo yet."""
    for mark, _ in reader.scan(*keys.open_sagas(agent_id)):
        saga = sagas.load(reader, keys.open_saga_id(mark))
        assert saga is not None, f"a mark of no saga: {mark!r}"
        if saga.state not in sagas.LIVE:
            continue
        for item in items.open_of(reader, saga.undoing):
            if item.agent_id == agent_id:
                yield item.effect_number
