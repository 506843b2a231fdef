"""The one table of what may become of an effect, and what its class asks for.

Everything that moves an effect asks this table; the picture in the documentation is drawn
from it. A transition has a name, which is what happened: its owner dispatched it, or was
replaced; somebody asked the outside; a worker, or a person, undid it.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.v1.effect_service_pb2 import (
    Effect,
    EffectClass,
    EffectOutcome,
    EffectState,
    Found,
    NewEffect,
    UnknownPolicy,
)

PREPARED = EffectState.EFFECT_STATE_PREPARED
DISPATCHED = EffectState.EFFECT_STATE_DISPATCHED
COMMITTED = EffectState.EFFECT_STATE_COMMITTED
FAILED = EffectState.EFFECT_STATE_FAILED_BEFORE_EFFECT
UNKNOWN = EffectState.EFFECT_STATE_UNKNOWN
RECONCILED = EffectState.EFFECT_STATE_RECONCILED
COMPENSATED = EffectState.EFFECT_STATE_COMPENSATED

READ_ONLY = EffectClass.EFFECT_CLASS_READ_ONLY
IDEMPOTENT = EffectClass.EFFECT_CLASS_IDEMPOTENT
RECONCILABLE = EffectClass.EFFECT_CLASS_RECONCILABLE
IRREVERSIBLE = EffectClass.EFFECT_CLASS_IRREVERSIBLE
ALL = (READ_ONLY, IDEMPOTENT, RECONCILABLE, IRREVERSIBLE)
REPEATABLE = (READ_ONLY, IDEMPOTENT)
UNDOABLE = (IDEMPOTENT, RECONCILABLE)
LASTING = (IDEMPOTENT, RECONCILABLE, IRREVERSIBLE)

# What happens to an effect.
DISPATCH = "dispatch"
COMMIT = "commit"
FAIL = "fail"
LOSE = "lose"
TAKE_OVER = "take over"
GIVE_UP = "give up"
RECONCILE = "reconcile"
COMPENSATE = "compensate"
UNDO_BY_HAND = "undo by hand"

# What else has to be so.
TOMBSTONE = "its compensation leaves a tombstone"
DONE = "it was found done"
FIRST = "it was dispatched once, or is READ_ONLY"


class Transition(NamedTuple):
    """From where to where an effect of some classes goes when something happens to it."""

    name: str
    source: EffectState
    target: EffectState
    classes: tuple[EffectClass, ...] = ALL
    condition: str = ""


TRANSITIONS = (
    Transition(DISPATCH, PREPARED, DISPATCHED),
    Transition(FAIL, PREPARED, FAILED),
    Transition(GIVE_UP, PREPARED, FAILED),
    Transition(COMMIT, DISPATCHED, COMMITTED),
    Transition(FAIL, DISPATCHED, FAILED, condition=FIRST),
    Transition(LOSE, DISPATCHED, UNKNOWN),
    Transition(TAKE_OVER, DISPATCHED, UNKNOWN),
    Transition(GIVE_UP, DISPATCHED, UNKNOWN),
    Transition(DISPATCH, UNKNOWN, DISPATCHED, REPEATABLE),
    Transition(RECONCILE, UNKNOWN, RECONCILED),
    Transition(COMPENSATE, COMMITTED, COMPENSATED, UNDOABLE),
    Transition(COMPENSATE, UNKNOWN, COMPENSATED, UNDOABLE, TOMBSTONE),
    Transition(COMPENSATE, RECONCILED, COMPENSATED, UNDOABLE, DONE),
    Transition(UNDO_BY_HAND, COMMITTED, COMPENSATED, LASTING),
    Transition(UNDO_BY_HAND, UNKNOWN, COMPENSATED, LASTING),
    Transition(UNDO_BY_HAND, RECONCILED, COMPENSATED, LASTING, DONE),
)
_BY_EVENT = {(each.name, each.source): each for each in TRANSITIONS}
assert len(_BY_EVENT) == len(TRANSITIONS), "what happens decides where an effect goes"

# What an actor says of what it did, as what happens to the effect.
OUTCOMES = {
    EffectOutcome.EFFECT_OUTCOME_COMMITTED: COMMIT,
    EffectOutcome.EFFECT_OUTCOME_FAILED_BEFORE_EFFECT: FAIL,
    EffectOutcome.EFFECT_OUTCOME_UNKNOWN: LOSE,
}
OPEN = frozenset({PREPARED, DISPATCHED, UNKNOWN})
# Where it is known since when.
SETTLED = frozenset({COMMITTED, FAILED, UNKNOWN, RECONCILED})


def allowed(effect: Effect, name: str) -> EffectState | None:
    """Where an effect goes if this happens to it; None: it may not happen to it now."""
    found = _BY_EVENT.get((name, effect.state))
    if found is None or effect.effect_class not in found.classes:
        return None
    if found.condition == FIRST and not _is_first(effect):
        return None
    if found.condition == TOMBSTONE and not effect.compensation.leaves_tombstone:
        return None
    if found.condition == DONE and effect.found != Found.FOUND_DONE:
        return None
    return found.target


def _is_first(effect: Effect) -> bool:
    """Whether what became of the last dispatch is all there is to know. Where one before it
    was lost, its failure says nothing about that one."""
    return effect.dispatches <= 1 or effect.effect_class == READ_ONLY


def was_done(effect: Effect) -> bool:
    """Whether it is known that an effect changed something outside, and is not undone."""
    if effect.effect_class == READ_ONLY:
        return False
    found_done = effect.state == RECONCILED and effect.found == Found.FOUND_DONE
    return effect.state == COMMITTED or found_done


def may_be_done(effect: Effect) -> bool:
    """Whether an effect may have changed something outside, and is not undone."""
    if effect.effect_class == READ_ONLY:
        return False
    return effect.state in (DISPATCHED, UNKNOWN) or was_done(effect)


# --- what the classes ask for -------------------------------------------------

POLICIES = {
    READ_ONLY: UnknownPolicy.UNKNOWN_POLICY_REPEAT,
    IDEMPOTENT: UnknownPolicy.UNKNOWN_POLICY_REPEAT,
    RECONCILABLE: UnknownPolicy.UNKNOWN_POLICY_RECONCILE,
    IRREVERSIBLE: UnknownPolicy.UNKNOWN_POLICY_ESCALATE,
}


def lacks(new: NewEffect) -> str:
    """What is missing of how an effect is undone, before it may be entered; empty: nothing."""
    if new.effect_class not in UNDOABLE:
        return ""
    if not new.HasField("compensation"):
        return "needs a compensation, or is to be declared irreversible"
    if new.effect_class == RECONCILABLE and not new.reconcile_action:
        return "is reconcilable, and needs a reconcile_action"
    if not new.compensation.leaves_tombstone and not new.reconcile_action:
        return "needs a compensation that leaves a tombstone, or a reconcile_action"
    return ""


def policy_lacks(new: NewEffect) -> str:
    """Why an effect cannot have its policy; empty: it can."""
    policy = new.on_unknown
    if policy == UnknownPolicy.UNKNOWN_POLICY_REPEAT and new.effect_class not in REPEATABLE:
        return "is REPEAT: the class may not be done twice"
    if policy == UnknownPolicy.UNKNOWN_POLICY_RECONCILE and not new.reconcile_action:
        return "is RECONCILE, without a reconcile_action"
    if (
        policy == UnknownPolicy.UNKNOWN_POLICY_COMPENSATE
        and not new.compensation.leaves_tombstone
    ):
        return "is COMPENSATE, without a compensation that leaves a tombstone"
    return ""


# --- the picture --------------------------------------------------------------


def state_name(state: EffectState) -> str:
    """A state as it is written."""
    return EffectState.Name(state).removeprefix("EFFECT_STATE_")


def _class_names(classes: tuple[EffectClass, ...]) -> str:
    if classes == ALL:
        return "all"
    return ", ".join(EffectClass.Name(each).removeprefix("EFFECT_CLASS_") for each in classes)


def table() -> str:
    """The table, as the documentation shows it."""
    lines = ["| From | What happens | To | Classes | If |", "|---|---|---|---|---|"]
    for name, source, target, classes, condition in TRANSITIONS:
        cells = (state_name(source), name, state_name(target), _class_names(classes), condition)
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"
