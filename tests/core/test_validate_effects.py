"""Each limit of effects, sagas and compensations, at the limit and one beyond it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.core.validate import violations
from raftstate.v1.common_pb2 import FencingToken, Label
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
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    CompleteCompensationRequest,
    DecideCompensationRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest
from tests.core.limit_table import RID, Limit, number, text

ID = "a" * limits.AGENT_ID_CHARS_MAX
EFFECT = "e/~:" + "e" * 124
FENCE = FencingToken(epoch=1, revision=1)
FULL = b"." * limits.EFFECT_BYTES_MAX
OWNED: dict[str, Any] = {"request_id": RID, "agent_id": "a", "fence": FENCE}
PLAN: dict[str, Any] = {"request_id": RID, "plan_id": "saga/g"}
VALUE = NewRecording(kind="RECORDING_KIND_UUID", key="k")
REPEAT, RECONCILE, COMPENSATE = 1, 2, 3


def _new(**fields: Any) -> NewEffect:
    plain = {"effect_id": "e", "action": "a", "effect_class": 2}
    return NewEffect(**{**plain, **fields})


def effect(**fields: Any) -> Message:
    return PrepareEffectRequest(**OWNED, effect=_new(**fields))


def undo(**fields: Any) -> Message:
    return effect(compensation=Compensation(**{"action": "u", **fields}))


def prepare(**fields: Any) -> Message:
    return PrepareEffectRequest(**{**OWNED, "effect": _new(), **fields})


def closing(**fields: Any) -> Message:
    whole: dict[str, Any] = {"effect_id": "e", "outcome": 1, **fields}
    return CompleteEffectRequest(**OWNED, closing=EffectClosing(**whole))


def dispatch(**fields: Any) -> Message:
    return DispatchEffectRequest(**{**OWNED, "effect_id": "e", **fields})


def complete(**fields: Any) -> Message:
    done = EffectClosing(effect_id="e", outcome="EFFECT_OUTCOME_COMMITTED")
    return CompleteEffectRequest(**{**OWNED, "closing": done, **fields})


def reconcile(**fields: Any) -> Message:
    return ReconcileEffectRequest(**{**OWNED, "effect_id": "e", "found": 1, **fields})


def step(**fields: Any) -> Message:
    return CommitStepRequest(**OWNED, **fields)


def begin(**fields: Any) -> Message:
    return BeginSagaRequest(**{**OWNED, "saga_id": "g", **fields})


def end(**fields: Any) -> Message:
    return EndSagaRequest(**{**OWNED, "saga_id": "g", **fields})


def abort(**fields: Any) -> Message:
    return AbortSagaRequest(**{**OWNED, "saga_id": "g", **fields})


def claim(**fields: Any) -> Message:
    return ClaimCompensationsRequest(**{**PLAN, **fields})


def undone(**fields: Any) -> Message:
    whole = {**PLAN, "fence": FENCE, "position": 1, "outcome": 1, **fields}
    return CompleteCompensationRequest(**whole)


def decide(**fields: Any) -> Message:
    whole = {**PLAN, "position": 1, "decision": 1, "decided_by": "me", **fields}
    return DecideCompensationRequest(**whole)


def many(make: Any, count: int) -> list[Any]:
    return [make(f"e{at}") for at in range(count)]


def _done(effect_id: str) -> EffectClosing:
    return EffectClosing(effect_id=effect_id, outcome="EFFECT_OUTCOME_COMMITTED")


def closed(count: int) -> Message:
    return step(closings=many(_done, count))


def opened(count: int) -> Message:
    return step(effects=many(lambda e: _new(effect_id=e), count))


TABLE = [
    # effects
    Limit(lambda v: effect(effect_id=v), EFFECT, EFFECT + "e", "effect.effect_id"),
    Limit(lambda v: effect(effect_id=v), "e", "", "effect.effect_id"),
    Limit(lambda v: effect(effect_id=v), "e", "~e", "effect.effect_id"),
    Limit(lambda v: effect(effect_id=v), "e", "e\n", "effect.effect_id"),
    text("action", 128, "effect.action", effect),
    Limit(lambda v: effect(action=v), "a", "", "effect.action"),
    text("content_type", 128, "effect.content_type", effect),
    Limit(lambda v: effect(arguments=v), FULL, FULL + b".", "effect.arguments"),
    number("effect_class", 1, 0, "effect.effect_class", effect),
    number("effect_class", 4, 5, "effect.effect_class", effect),
    number("effect_class", 4, -1, "effect.effect_class", effect),
    text("idempotency_key", 255, "effect.idempotency_key", effect),
    text("reconcile_action", 128, "effect.reconcile_action", effect),
    number("on_unknown", 4, 5, "effect.on_unknown", effect),
    number("begin_by_ms", 3_600_000, 3_600_001, "effect.begin_by_ms", effect),
    Limit(lambda v: effect(saga_id=v), ID, ID + "a", "effect.saga_id"),
    number("on_unknown", 1, -1, "effect.on_unknown", effect),
    # what is for some classes only
    *(
        Limit(
            lambda v: effect(effect_class=v, compensation=Compensation(action="u")),
            good,
            bad,
            "effect.compensation",
        )
        for good, bad in ((2, 1), (3, 4))
    ),
    *(
        Limit(
            lambda v: effect(effect_class=v, on_unknown=REPEAT, reconcile_action="q"),
            good,
            bad,
            "effect.on_unknown",
        )
        for good, bad in ((1, 3), (2, 4))
    ),
    Limit(
        lambda v: effect(on_unknown=RECONCILE, reconcile_action=v),
        "q",
        "",
        "effect.on_unknown",
    ),
    Limit(
        lambda v: effect(
            on_unknown=COMPENSATE, compensation=Compensation(action="u", leaves_tombstone=v)
        ),
        True,
        False,
        "effect.on_unknown",
    ),
    # compensations
    text("action", 128, "effect.compensation.action", undo),
    Limit(lambda v: undo(action=v), "u", "", "effect.compensation.action"),
    text("content_type", 128, "effect.compensation.content_type", undo),
    Limit(lambda v: undo(arguments=v), FULL, FULL + b".", "effect.compensation.arguments"),
    text("idempotency_key", 255, "effect.compensation.idempotency_key", undo),
    number("timeout_ms", 3_600_000, 3_600_001, "effect.compensation.timeout_ms", undo),
    number("attempts", 1_000, 1_001, "effect.compensation.attempts", undo),
    # what is prepared, dispatched, completed and reconciled
    Limit(lambda v: prepare(effect=v), _new(), None, "effect"),
    Limit(lambda v: prepare(recordings=v), [VALUE], [VALUE, VALUE], "recordings[1].key"),
    Limit(lambda v: complete(closing=v), complete().closing, None, "closing"),  # type: ignore[attr-defined]
    Limit(lambda v: closing(effect_id=v), EFFECT, "", "closing.effect_id"),
    number("outcome", 3, 4, "closing.outcome", closing),
    number("outcome", 1, 0, "closing.outcome", closing),
    text("content_type", 128, "closing.content_type", closing),
    Limit(lambda v: closing(result=v), FULL, FULL + b".", "closing.result"),
    text("error", 255, "closing.error", closing),
    Limit(lambda v: reconcile(plan_id=v), "", "trip", "plan_id"),
    number("found", 2, 3, "found", reconcile),
    number("found", 1, 0, "found", reconcile),
    text("content_type", 128, "content_type", reconcile),
    Limit(lambda v: reconcile(result=v), FULL, FULL + b".", "result"),
    text("error", 255, "error", reconcile),
    *(
        Limit(lambda v, make=make: make(**v), {}, {"agent_id": "\0"}, "agent_id")
        for make in (prepare, dispatch, complete, reconcile, begin, end, abort)
    ),
    *(
        Limit(lambda v, make=make: make(**v), {}, {"fence": None}, "fence")
        for make in (prepare, dispatch, complete, reconcile, begin, end, abort, undone)
    ),
    *(
        Limit(lambda v, make=make: make(effect_id=v), EFFECT, EFFECT + "e", "effect_id")
        for make in (dispatch, reconcile)
    ),
    # steps
    Limit(closed, 128, 129, "closings"),
    Limit(opened, 128, 129, "effects"),
    Limit(lambda v: step(effects=v), [_new()], [_new(), _new()], "effects"),
    Limit(
        lambda v: step(closings=v),
        [EffectClosing(effect_id="e", outcome=1)],  # type: ignore[arg-type]
        [EffectClosing(effect_id="e", outcome=1)] * 2,  # type: ignore[arg-type]
        "closings",
    ),
    Limit(lambda v: step(effects=[_new(action=v)]), "a", "", "effects[0].action"),
    Limit(
        lambda v: step(closings=[EffectClosing(effect_id="e", outcome=v)]),
        1,
        0,
        "closings[0].outcome",
    ),
    Limit(lambda v: step(recordings=v), [VALUE], [VALUE, VALUE], "recordings[1].key"),
    # sagas
    *(
        Limit(lambda v, make=make: make(saga_id=v), ID, ID + "a", "saga_id")
        for make in (begin, end, abort)
    ),
    number("mode", 2, 3, "mode", begin),
    Limit(lambda v: begin(labels=[Label(name=v)]), "n", "", "labels[0].name"),
    text("reason", 255, "reason", abort),
    # plans
    *(
        Limit(lambda v, make=make: make(plan_id=v), good, bad, "plan_id")
        for make in (claim, undone, decide)
        for good, bad in (
            (f"saga/{ID}", f"saga/{ID}a"),
            ("saga/g/h", "saga/"),
            ("rollback/00000000000000ff", "rollback/00000000000000FF"),
            ("rollback/0000000000000001", "rollback/1"),
            ("saga/rollback/1", "sagas/g"),
        )
    ),
    text("holder", 255, "holder", claim),
    *(number("position", 1, 0, "position", make) for make in (undone, decide)),
    number("outcome", 3, 4, "outcome", undone),
    number("outcome", 1, 0, "outcome", undone),
    text("error", 255, "error", undone),
    text("content_type", 128, "content_type", undone),
    Limit(lambda v: undone(result=v), FULL, FULL + b".", "result"),
    number("decision", 4, 5, "decision", decide),
    number("decision", 1, 0, "decision", decide),
    text("decided_by", 255, "decided_by", decide),
    Limit(lambda v: decide(decided_by=v), "m", "", "decided_by"),
    text("why", 255, "why", decide),
    # reads
    Limit(lambda v: GetEffectRequest(agent_id=v, effect_id="e"), ID, "", "agent_id"),
    Limit(lambda v: GetEffectRequest(agent_id="a", effect_id=v), EFFECT, "", "effect_id"),
    Limit(lambda v: GetSagaRequest(saga_id=v), ID, "", "saga_id"),
    Limit(lambda v: ListEffectsRequest(agent_id=v), ID, "", "agent_id"),
    Limit(lambda v: ListEffectsRequest(agent_id="a", saga_id=v), ID, ID + "a", "saga_id"),
    Limit(lambda v: ListEffectsRequest(agent_id="a", states=v), [7], [8], "states[0]"),
    Limit(lambda v: ListEffectsRequest(agent_id="a", states=v), [1] * 7, [1] * 8, "states"),
    text("prefix", 200, "prefix", ListSagasRequest),
    Limit(lambda v: ListSagasRequest(states=v), [6], [0], "states[0]"),
    *(
        number("page_size", 1_000, 1_001, "page_size", make)
        for make in (lambda **v: ListEffectsRequest(agent_id="a", **v), ListSagasRequest)
    ),
    *(
        Limit(lambda v, make=make: make(revision=v), 0, 1, "revision")
        for make in (
            lambda **v: GetEffectRequest(agent_id="a", effect_id="e", **v),
            lambda **v: GetSagaRequest(saga_id="g", **v),
        )
    ),
]


@pytest.mark.parametrize(
    "limit", TABLE, ids=[f"{at}-{limit.field}" for at, limit in enumerate(TABLE)]
)
def test_each_limit_holds(limit: Limit) -> None:
    """
    At the limit a request is fine; beyond it, the field is named.
    """
    limit.check()


@pytest.mark.parametrize(
    "message",
    [
        effect(arguments=FULL + b"."),
        undo(arguments=FULL + b"."),
        closing(result=FULL + b"."),
        reconcile(result=FULL + b"."),
        undone(result=FULL + b"."),
    ],
    ids=["arguments", "undo", "closing", "reconcile", "undone"],
)
def test_what_is_too_large_is_said_to_be(message: Message) -> None:
    """
    Too many bytes are another refusal than a wrong field.
    """
    (found,) = violations(message)

    assert found.too_large
