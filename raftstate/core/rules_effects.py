"""What requests about effects, sagas and compensations may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from raftstate.core import ledger, limits, parts, rollbacks, rules_replay, sagas
from raftstate.core.parts import Violation
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    Compensation,
    CompleteEffectRequest,
    DispatchEffectRequest,
    EffectClosing,
    EndSagaRequest,
    GetEffectRequest,
    GetSagaRequest,
    ListEffectsRequest,
    ListSagasRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
)
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    CompleteCompensationRequest,
    DecideCompensationRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest

# --- parts -------------------------------------------------------------------


def _effect_id(value: str, field: str = "effect_id") -> Iterator[Violation]:
    if not limits.EFFECT_ID.fullmatch(value):
        most = limits.EFFECT_ID_CHARS_MAX
        words = f"{parts.shown(value)} is no effect id"
        yield Violation(field, words, f"[a-zA-Z0-9][a-zA-Z0-9._/:~-]{{0,{most - 1}}}")


def _plan_id(value: str) -> Iterator[Violation]:
    kind, _, name = value.partition("/")
    good = (kind == sagas.PLAN[:-1] and limits.AGENT_ID.fullmatch(name)) or (
        kind == rollbacks.PLAN[:-1] and limits.NUMBERED_ID.fullmatch(name)
    )
    if not good:
        words = f"{parts.shown(value)} is no plan id"
        yield Violation("plan_id", words, "saga/ or rollback/ and its id")


def _required(field: str, value: int, most: int) -> Iterator[Violation]:
    """A number that has a meaning, and must be given: 1 to `most`."""
    if not 1 <= value <= most:
        words = f"{value} is not known" if value else "is required"
        yield Violation(field, words, f"1 to {most}")


def _at_most(field: str, value: int, most: int) -> Iterator[Violation]:
    if value > most:
        yield Violation(field, f"is {value}", f"{most}")


def _payload(
    content_type: str, data: bytes, field: str, place: str = ""
) -> Iterator[Violation]:
    """What an outside was given, or has answered."""
    most = limits.EVENT_WORD_CHARS_MAX
    yield from parts.words(f"{place}content_type", content_type, most)
    if len(data) > limits.EFFECT_BYTES_MAX:
        yield parts.too_large(f"{place}{field}", len(data), limits.EFFECT_BYTES_MAX)


def _new_effect(new: NewEffect, place: str) -> Iterator[Violation]:
    """An effect as a client enters it. Whether it can be undone, the ledger judges."""
    yield from _effect_id(new.effect_id, f"{place}.effect_id")
    yield from parts.words(f"{place}.action", new.action, limits.ACTION_CHARS_MAX, 1)
    yield from _payload(new.content_type, new.arguments, "arguments", f"{place}.")
    yield from _required(f"{place}.effect_class", new.effect_class, 4)
    key, most = new.idempotency_key, limits.IDEMPOTENCY_KEY_CHARS_MAX
    yield from parts.words(f"{place}.idempotency_key", key, most)
    if new.HasField("compensation"):
        if new.effect_class not in ledger.UNDOABLE:
            yield Violation(f"{place}.compensation", "is not for this class", "absent")
        yield from _compensation(new.compensation, f"{place}.compensation")
    asks = new.reconcile_action
    yield from parts.words(f"{place}.reconcile_action", asks, limits.ACTION_CHARS_MAX)
    yield from parts.enum(f"{place}.on_unknown", new.on_unknown, 4)
    if lacking := ledger.policy_lacks(new):
        yield Violation(f"{place}.on_unknown", lacking, "another policy, or 0")
    yield from _at_most(f"{place}.begin_by_ms", new.begin_by_ms, limits.BEGIN_BY_MS_MAX)
    if new.saga_id:
        yield from parts.agent_id(new.saga_id, f"{place}.saga_id")


def _compensation(undo: Compensation, place: str) -> Iterator[Violation]:
    yield from parts.words(f"{place}.action", undo.action, limits.ACTION_CHARS_MAX, 1)
    yield from _payload(undo.content_type, undo.arguments, "arguments", f"{place}.")
    key, most = undo.idempotency_key, limits.IDEMPOTENCY_KEY_CHARS_MAX
    yield from parts.words(f"{place}.idempotency_key", key, most)
    longest = limits.COMPENSATION_TIMEOUT_MS_MAX
    yield from _at_most(f"{place}.timeout_ms", undo.timeout_ms, longest)
    yield from _at_most(f"{place}.attempts", undo.attempts, limits.COMPENSATION_ATTEMPTS_MAX)


def _closing(closing: EffectClosing, place: str) -> Iterator[Violation]:
    """What an actor says of one effect."""
    yield from _effect_id(closing.effect_id, f"{place}.effect_id")
    yield from _required(f"{place}.outcome", closing.outcome, 3)
    yield from _payload(closing.content_type, closing.result, "result", f"{place}.")
    yield from parts.people(f"{place}.error", closing.error)


def of_step(message: CommitStepRequest) -> Iterator[Violation]:
    """What a step may close and open."""
    yield from _each_once([each.effect_id for each in message.closings], "closings")
    yield from _each_once([each.effect_id for each in message.effects], "effects")
    most = limits.EFFECTS_PER_STEP_MAX
    for at, closing in enumerate(message.closings[:most]):
        yield from _closing(closing, f"closings[{at}]")
    for at, new in enumerate(message.effects[:most]):
        yield from _new_effect(new, f"effects[{at}]")


def _each_once(names: Sequence[str], field: str) -> Iterator[Violation]:
    most = limits.EFFECTS_PER_STEP_MAX
    if len(names) > most:
        yield Violation(field, f"has {len(names)} effects", str(most))
    elif len(set(names)) < len(names):
        yield Violation(field, "has an effect twice", "each effect once")


# --- one rule a request ------------------------------------------------------


def _owned_effect(message: DispatchEffectRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    yield from _effect_id(message.effect_id)


def _prepare(message: PrepareEffectRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    if not message.HasField("effect"):
        yield Violation("effect", "is required", "an effect")
        return
    yield from _new_effect(message.effect, "effect")
    yield from rules_replay.recordings(message.recordings, "recordings")


def _complete(message: CompleteEffectRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    if not message.HasField("closing"):
        yield Violation("closing", "is required", "what came of an effect")
        return
    yield from _closing(message.closing, "closing")


def _reconcile(message: ReconcileEffectRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _effect_id(message.effect_id)
    yield from parts.fence(message)
    if message.plan_id:
        yield from _plan_id(message.plan_id)
    yield from _required("found", message.found, 2)
    yield from _payload(message.content_type, message.result, "result")
    yield from parts.people("error", message.error)


def _get_effect(message: GetEffectRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _effect_id(message.effect_id)
    yield from parts.consistency(message)


def _states(states: Sequence[int], most: int) -> Iterator[Violation]:
    if len(states) > most:
        yield Violation("states", f"has {len(states)} states", f"{most}")
        return
    for at, state in enumerate(states):
        yield from _required(f"states[{at}]", state, most)


def _list_effects(message: ListEffectsRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _states(message.states, 7)
    if message.saga_id:
        yield from parts.agent_id(message.saga_id, "saga_id")
    yield from parts.page(message)


def _owned_saga(message: Any) -> Iterator[Violation]:
    yield from parts.agent_id(message.saga_id, "saga_id")
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)


def _begin_saga(message: BeginSagaRequest) -> Iterator[Violation]:
    yield from _owned_saga(message)
    yield from parts.enum("mode", message.mode, 2)
    yield from parts.labels(message.labels)


def _abort_saga(message: AbortSagaRequest) -> Iterator[Violation]:
    yield from _owned_saga(message)
    yield from parts.people("reason", message.reason)


def _get_saga(message: GetSagaRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.saga_id, "saga_id")
    yield from parts.consistency(message)


def _list_sagas(message: ListSagasRequest) -> Iterator[Violation]:
    yield from parts.words("prefix", message.prefix, limits.AGENT_ID_CHARS_MAX)
    yield from _states(message.states, 6)
    yield from parts.page(message)


def _position(value: int) -> Iterator[Violation]:
    if not value:
        yield Violation("position", "is required", "1 or more")


def _claim(message: ClaimCompensationsRequest) -> Iterator[Violation]:
    yield from _plan_id(message.plan_id)
    yield from parts.people("holder", message.holder)


def _complete_compensation(message: CompleteCompensationRequest) -> Iterator[Violation]:
    yield from _plan_id(message.plan_id)
    if not message.HasField("fence"):
        yield Violation("fence", "is required", "the token of a claim")
    yield from _position(message.position)
    yield from _required("outcome", message.outcome, 3)
    yield from parts.people("error", message.error)
    yield from _payload(message.content_type, message.result, "result")


def _decide(message: DecideCompensationRequest) -> Iterator[Violation]:
    yield from _plan_id(message.plan_id)
    yield from _position(message.position)
    yield from _required("decision", message.decision, 4)
    yield from parts.words("decided_by", message.decided_by, limits.PEOPLE_CHARS_MAX, 1)
    yield from parts.people("why", message.why)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    PrepareEffectRequest: _prepare,
    DispatchEffectRequest: _owned_effect,
    CompleteEffectRequest: _complete,
    ReconcileEffectRequest: _reconcile,
    GetEffectRequest: _get_effect,
    ListEffectsRequest: _list_effects,
    BeginSagaRequest: _begin_saga,
    EndSagaRequest: _owned_saga,
    AbortSagaRequest: _abort_saga,
    GetSagaRequest: _get_saga,
    ListSagasRequest: _list_sagas,
    ClaimCompensationsRequest: _claim,
    CompleteCompensationRequest: _complete_compensation,
    DecideCompensationRequest: _decide,
}
