"""The table of bad input, for effects and all that is done about them; see `bad_rows`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    BreakerConfig,
    DeleteBreakerRequest,
    ForceCloseRequest,
    ForceOpenRequest,
    GetBreakerRequest,
    ListBreakersRequest,
    PutBreakerRequest,
    ReportOutcomesRequest,
    ResetRequest,
    TripAction,
    TripPlan,
)
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    CompleteEffectRequest,
    DispatchEffectRequest,
    EffectClosing,
    EffectOutcome,
    EndSagaRequest,
    Found,
    GetEffectRequest,
    GetSagaRequest,
    ListEffectsRequest,
    ListSagasRequest,
    PrepareEffectRequest,
    ReconcileEffectRequest,
)
from raftstate.v1.recording_pb2 import NewRecording, RecordingKind
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    Evidence,
    GetIncidentRequest,
    ListIncidentsRequest,
    ReportSymptomRequest,
    ReportValidationRequest,
    ResolveIncidentRequest,
    Symptom,
)
from raftstate.v1.replay_service_pb2 import (
    GetRecordedRequest,
    ReconstructRequest,
    RecordValueRequest,
    Reducer,
    VerifyReplayRequest,
)
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    ClaimCompensationsRequest,
    CompensationOutcome,
    CompleteCompensationRequest,
    DecideCompensationRequest,
    Decision,
    FinishRollbackRequest,
    GetRollbackRequest,
    ListRollbacksRequest,
    PlanRollbackRequest,
    StartRollbackRequest,
)
from tests.rpc.harness import Bench
from tests.rpc.stories_of_breakers import put, record, reported
from tests.rpc.stories_of_checkpoints import digest
from tests.rpc.stories_of_effects import (
    abort,
    begin,
    claim,
    complete,
    done_since,
    new_effect,
    prepare,
    start,
    to_checkpoint,
    undone,
)
from tests.rpc.wrong import (
    AGENTS,
    ANY,
    EFFECT_ID,
    HASH,
    ID,
    NAMES,
    NUMBER,
    NUMBERED,
    PAYLOAD,
    PEOPLE,
    PLAN_ID,
    RECORDED_KEY,
    SHARE,
    WORD,
    Wrong,
    too_many,
)

COMMITTED = EffectOutcome.EFFECT_OUTCOME_COMMITTED
CLAIMED, STUCK = "saga/undoing", "saga/stuck"


async def seed_effects(b: Bench, fence: FencingToken) -> None:
    """Agent `a` has an effect in each open state, a saga that runs, one that is undone, and
    one that is stuck; `back` is rolled back, `there` might be."""
    await prepare(b, fence, "open", dispatch=False)
    await prepare(b, fence, "sent")
    await prepare(b, fence, "unsure", reconcile_action="ask")
    await complete(b, fence, "unsure", EffectOutcome.EFFECT_OUTCOME_UNKNOWN)
    await begin(b, fence, "running")
    for saga_id in ("undoing", "stuck"):
        await begin(b, fence, saga_id)
        await prepare(b, fence, saga_id, saga_id=saga_id)
        await complete(b, fence, saga_id)
        await abort(b, fence, saga_id)
    b.stubs["claim"] = (await claim(b, CLAIMED)).claim.fence
    no = CompensationOutcome.COMPENSATION_OUTCOME_FAILED_FOR_GOOD
    await undone(b, await claim(b, STUCK), no)
    await done_since(b, agent_id="back")
    b.stubs["rollback"] = (await start(b, "back")).rollback_id
    await done_since(b, "did", agent_id="there")
    b.stubs["incident"] = await reported(b)
    await put(b, "cars")
    await record(b, fence, "k")


def new_effects() -> dict[str, Any]:
    """What a step may close, open, and record."""
    return {
        "closings": [_closing("sent")],
        "effects": [new_effect("new", saga_id="running")],
        "recordings": [_recording()],
    }


# --- a good request for every call ---------------------------------------------------


def _recording() -> NewRecording:
    kind = RecordingKind.RECORDING_KIND_MODEL
    return NewRecording(kind=kind, key="new", content_type="t", data=b"1")


def _closing(effect_id: str) -> EffectClosing:
    return EffectClosing(effect_id=effect_id, outcome=COMMITTED, result=b"1", error="e")


def _mutation(kind: Callable[..., Message], **fields: Any) -> Callable[[Bench], Message]:
    return lambda b: kind(request_id=b.request_id(), **fields)


def _owned(kind: Callable[..., Message], **fields: Any) -> Callable[[Bench], Message]:
    """A mutation of who owns agent `a`."""
    return lambda b: kind(
        request_id=b.request_id(), agent_id="a", fence=b.stubs["fence"], **fields
    )


def _read(kind: Callable[..., Message], **fields: Any) -> Callable[[Bench], Message]:
    return lambda _b: kind(**fields)


def _named(
    kind: Callable[..., Message], what: str, *, read: bool = False, **fields: Any
) -> Callable[[Bench], Message]:
    """A request about the rollback or the incident that there is."""

    def made(b: Bench) -> Message:
        request_id = None if read else b.request_id()
        named = {f"{what}_id": b.stubs[what]} | fields
        return kind(**named) if read else kind(request_id=request_id, **named)

    return made


def _validation(b: Bench) -> ReportValidationRequest:
    b.sequence += 1
    return ReportValidationRequest(
        request_id=RequestId(
            session_id="judge",
            sequence=b.sequence,
            lowest_unfinished=b.sequence,
            opened_revision=b.stubs["judge"],
        ),
        validator="v",
        agent_id="a",
        checkpoint_id=1,
        content_hash=digest(b"[1]"),
        passed=True,
        evidence="looked",
    )


CONFIG = BreakerConfig(
    count_window=10,
    failure_rate=0.5,
    slow_rate=0.5,
    slow_call_ms=100,
    minimum_calls=2,
    open_ms=2_000,
    open_max_ms=4_000,
    ignored_errors=["Ours"],
    on_trip=TripPlan(
        action=TripAction.TRIP_ACTION_ROLLBACK, agent_ids=["there"], validators=["v"]
    ),
)

ROWS: dict[str, Callable[[Bench], Message]] = {
    "EffectService.PrepareEffect": _owned(
        PrepareEffectRequest,
        effect=new_effect("new", saga_id="running"),
        recordings=[_recording()],
    ),
    "EffectService.DispatchEffect": _owned(DispatchEffectRequest, effect_id="open"),
    "EffectService.CompleteEffect": _owned(CompleteEffectRequest, closing=_closing("sent")),
    "EffectService.ReconcileEffect": _owned(
        ReconcileEffectRequest, effect_id="unsure", found=Found.FOUND_DONE, result=b"1"
    ),
    "EffectService.GetEffect": _read(GetEffectRequest, agent_id="a", effect_id="sent"),
    "EffectService.ListEffects": _read(ListEffectsRequest, agent_id="a"),
    "EffectService.BeginSaga": _owned(
        BeginSagaRequest, saga_id="new", labels=[Label(name="n", value="v")]
    ),
    "EffectService.EndSaga": _owned(EndSagaRequest, saga_id="running"),
    "EffectService.AbortSaga": _owned(AbortSagaRequest, saga_id="running", reason="why"),
    "EffectService.GetSaga": _read(GetSagaRequest, saga_id="undoing"),
    "EffectService.ListSagas": _read(ListSagasRequest, prefix="u"),
    "RollbackService.PlanRollback": _read(
        PlanRollbackRequest, agents=to_checkpoint(1, "there")
    ),
    "RollbackService.StartRollback": _mutation(
        StartRollbackRequest,
        agents=to_checkpoint(1, "there"),
        validators=["v"],
        reason="why",
        started_by="me",
    ),
    "RollbackService.ClaimCompensations": _mutation(
        ClaimCompensationsRequest, plan_id=CLAIMED, holder="me"
    ),
    "RollbackService.CompleteCompensation": lambda b: CompleteCompensationRequest(
        request_id=b.request_id(),
        plan_id=CLAIMED,
        fence=b.stubs["claim"],
        position=1,
        outcome=CompensationOutcome.COMPENSATION_OUTCOME_DONE,
        result=b"1",
    ),
    "RollbackService.DecideCompensation": _mutation(
        DecideCompensationRequest,
        plan_id=STUCK,
        position=1,
        decision=Decision.DECISION_RETRY,
        decided_by="me",
        why="it works again",
    ),
    "RollbackService.FinishRollback": _named(FinishRollbackRequest, "rollback"),
    "RollbackService.AbortRollback": _named(AbortRollbackRequest, "rollback", reason="why"),
    "RollbackService.GetRollback": _named(GetRollbackRequest, "rollback", read=True),
    "RollbackService.ListRollbacks": _read(ListRollbacksRequest),
    "BreakerService.PutBreaker": _mutation(PutBreakerRequest, name="new", config=CONFIG),
    "BreakerService.DeleteBreaker": _mutation(DeleteBreakerRequest, name="cars"),
    "BreakerService.GetBreaker": _read(GetBreakerRequest, name="cars"),
    "BreakerService.ListBreakers": _read(ListBreakersRequest, prefix="c"),
    "BreakerService.AcquirePermit": _mutation(AcquirePermitRequest, name="cars"),
    "BreakerService.ReportOutcomes": _mutation(
        ReportOutcomesRequest, name="cars", generation=1, calls=3, failures=1, slow=1
    ),
    "BreakerService.ForceOpen": _mutation(ForceOpenRequest, name="cars", reason="why"),
    "BreakerService.ForceClose": _mutation(ForceCloseRequest, name="cars", reason="why"),
    "BreakerService.Reset": _mutation(ResetRequest, name="cars", reason="why"),
    "ReplayService.RecordValue": _owned(RecordValueRequest, recording=_recording()),
    "ReplayService.GetRecorded": _read(GetRecordedRequest, agent_id="a", to_step=1),
    "ReplayService.VerifyReplay": _read(
        VerifyReplayRequest, agent_id="a", checkpoint_id=1, reducer=Reducer.REDUCER_APPEND
    ),
    "ReplayService.Reconstruct": _read(ReconstructRequest, agent_id="a"),
    "RecoveryService.ReportValidation": _validation,
    "RecoveryService.ReportSymptom": _mutation(
        ReportSymptomRequest,
        symptom=Symptom.SYMPTOM_DIVERGED,
        agent_ids=["a"],
        summary="odd",
        evidence=[Evidence(kind="text", ref="r", detail="d")],
    ),
    "RecoveryService.GetIncident": _named(GetIncidentRequest, "incident", read=True),
    "RecoveryService.ListIncidents": _read(ListIncidentsRequest, agent_id="a"),
    "RecoveryService.AnnotateIncident": _named(
        AnnotateIncidentRequest, "incident", by="me", text="t"
    ),
    "RecoveryService.ResolveIncident": _named(
        ResolveIncidentRequest, "incident", resolution="r"
    ),
}

# --- what is wrong for every field ---------------------------------------------------

BY_NAME: dict[str, Wrong] = {
    "effect_id": EFFECT_ID,
    "saga_id": ID,
    "plan_id": PLAN_ID,
    "rollback_id": NUMBERED,
    "incident_id": NUMBERED,
    "name": ID,
    "validator": ID,
    "error": PEOPLE,
    "arguments": PAYLOAD,
    "result": PAYLOAD,
    "position": NUMBER,
    "started_by": PEOPLE,
}

WRONG: dict[str, Wrong] = {
    "CommitStepRequest.closings": [too_many(129)],
    "CommitStepRequest.effects": [too_many(129)],
    "CommitStepRequest.recordings": [too_many(129)],
    "NewRecording.key": ["", *(RECORDED_KEY or ())],
    "NewRecording.data": [bytes(limits.REQUEST_BYTES_MAX)],
    "NewEffect.action": ["", *(WORD or ())],
    "NewEffect.idempotency_key": PEOPLE,
    "NewEffect.reconcile_action": WORD,
    "NewEffect.begin_by_ms": [3_600_001],
    "NewEffect.dispatch": ANY,
    "Compensation.action": ["", *(WORD or ())],
    "Compensation.idempotency_key": PEOPLE,
    "Compensation.timeout_ms": [3_600_001],
    "Compensation.attempts": [1_001],
    "Compensation.leaves_tombstone": ANY,
    "PrepareEffectRequest.recordings": [too_many(129)],
    # It is optional, beside the id of an effect that is required.
    "ReconcileEffectRequest.plan_id": [one for one in PLAN_ID or () if one],
    "ListEffectsRequest.states": [too_many(8)],
    "ListSagasRequest.states": [too_many(7)],
    "AgentTarget.agent_id": ID,
    "Target.checkpoint_id": NUMBER,
    "Target.known_good": [False],
    "Target.before_event_seq": NUMBER,
    "Target.revision": NUMBER,
    "Target.log_time_ms": NUMBER,
    "PlanRollbackRequest.agents": [too_many(33)],
    "StartRollbackRequest.agents": [too_many(33)],
    "StartRollbackRequest.validators": NAMES,
    "StartRollbackRequest.expected_digest": HASH,
    "ClaimCompensationsRequest.force": ANY,
    "DecideCompensationRequest.decided_by": ["", *(PEOPLE or ())],
    "DecideCompensationRequest.why": PEOPLE,
    "ListRollbacksRequest.states": [too_many(7)],
    "BreakerConfig.count_window": [100_001],
    "BreakerConfig.time_window_ms": [1, 1_000],
    "BreakerConfig.failure_rate": SHARE,
    "BreakerConfig.slow_rate": SHARE,
    "BreakerConfig.slow_call_ms": [0, 86_400_001],
    "BreakerConfig.minimum_calls": [11, 100_001],
    "BreakerConfig.minimum_reporters": [65],
    "BreakerConfig.open_ms": [86_400_001],
    "BreakerConfig.open_factor": [0.5, 101.0, float("nan")],
    "BreakerConfig.open_max_ms": [1_999, 86_400_001],
    "BreakerConfig.probes": [101],
    "BreakerConfig.successes": [1_001],
    "BreakerConfig.probe_timeout_ms": [3_600_001],
    "BreakerConfig.ignored_errors": [too_many(65), [""], ["x" * 129]],
    "TripPlan.agent_ids": AGENTS,
    "TripPlan.validators": NAMES,
    "ReportOutcomesRequest.generation": NUMBER,
    "ReportOutcomesRequest.calls": [0, 1_000_001],
    "ReportOutcomesRequest.failures": [lambda one: one.calls + 1],
    "ReportOutcomesRequest.slow": [lambda one: one.calls + 1],
    "ReportOutcomesRequest.permit_id": ANY,
    "GetRecordedRequest.from_step": [2],
    "GetRecordedRequest.to_step": ANY,
    "GetRecordedRequest.key": RECORDED_KEY,
    "VerifyReplayRequest.checkpoint_id": ANY,
    "VerifyReplayRequest.to_seq": ANY,
    "ReconstructRequest.event_seq": ANY,
    "ReconstructRequest.at_revision": ANY,
    "Evidence.kind": ["", "x", "Agent"],
    "Evidence.ref": ["x" * 301],
    "Evidence.detail": PEOPLE,
    "ReportSymptomRequest.agent_ids": AGENTS,
    "ReportSymptomRequest.summary": ["", "x" * 301],
    "ReportSymptomRequest.evidence": [too_many(33)],
    "ReportValidationRequest.checkpoint_id": NUMBER,
    "ReportValidationRequest.content_hash": HASH,
    "ReportValidationRequest.passed": ANY,
    "ListIncidentsRequest.only_open": ANY,
    "AnnotateIncidentRequest.by": ["", *(PEOPLE or ())],
    "AnnotateIncidentRequest.text": ["", "x" * 1_001],
    "ResolveIncidentRequest.resolution": PEOPLE,
    "PutValidatorRequest.required_in_rollbacks": ANY,
}

_OWNED = ("PrepareEffect", "DispatchEffect", "CompleteEffect", "ReconcileEffect")
_SAGAS = ("BeginSaga", "EndSaga", "AbortSaga")
_NAMED = ("PutBreaker", "DeleteBreaker", "GetBreaker", "AcquirePermit", "ReportOutcomes")
_BY_HAND = ("ForceOpen", "ForceClose", "Reset")
NEEDED = frozenset(
    {
        *(f"{one}Request.agent_id" for one in (*_OWNED, *_SAGAS, "RecordValue")),
        *(f"{one}Request.fence" for one in (*_OWNED, *_SAGAS, "RecordValue")),
        *(f"{one}Request.saga_id" for one in (*_SAGAS, "GetSaga")),
        *(f"{one}Request.name" for one in (*_NAMED, *_BY_HAND)),
        "NewRecording.kind",
        "NewRecording.key",
        "NewEffect.effect_id",
        "NewEffect.action",
        "NewEffect.effect_class",
        "Compensation.action",
        "EffectClosing.effect_id",
        "EffectClosing.outcome",
        "PrepareEffectRequest.effect",
        "DispatchEffectRequest.effect_id",
        "CompleteEffectRequest.closing",
        "ReconcileEffectRequest.effect_id",
        "ReconcileEffectRequest.found",
        "GetEffectRequest.agent_id",
        "GetEffectRequest.effect_id",
        "ListEffectsRequest.agent_id",
        "AgentTarget.agent_id",
        "AgentTarget.target",
        "ClaimCompensationsRequest.plan_id",
        "CompleteCompensationRequest.plan_id",
        "CompleteCompensationRequest.fence",
        "CompleteCompensationRequest.position",
        "CompleteCompensationRequest.outcome",
        "DecideCompensationRequest.plan_id",
        "DecideCompensationRequest.position",
        "DecideCompensationRequest.decision",
        "DecideCompensationRequest.decided_by",
        "FinishRollbackRequest.rollback_id",
        "AbortRollbackRequest.rollback_id",
        "GetRollbackRequest.rollback_id",
        "PutBreakerRequest.config",
        "ReportOutcomesRequest.generation",
        "ReportOutcomesRequest.calls",
        "RecordValueRequest.recording",
        "GetRecordedRequest.agent_id",
        "VerifyReplayRequest.agent_id",
        "VerifyReplayRequest.reducer",
        "ReconstructRequest.agent_id",
        "Evidence.kind",
        "ReportSymptomRequest.symptom",
        "ReportSymptomRequest.summary",
        "ReportValidationRequest.validator",
        "ReportValidationRequest.agent_id",
        "GetIncidentRequest.incident_id",
        "AnnotateIncidentRequest.incident_id",
        "AnnotateIncidentRequest.by",
        "AnnotateIncidentRequest.text",
        "ResolveIncidentRequest.incident_id",
    }
)
NOT_ALWAYS_NEEDED = frozenset(
    {
        "NewEffect.reconcile_action",
        "BreakerConfig.failure_rate",
        "BreakerConfig.slow_rate",
        "BreakerConfig.slow_call_ms",
    }
)
