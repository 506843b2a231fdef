from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import effect_service_pb2 as _effect_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BarrierPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BARRIER_POLICY_UNSPECIFIED: _ClassVar[BarrierPolicy]
    BARRIER_POLICY_REFUSE: _ClassVar[BarrierPolicy]
    BARRIER_POLICY_ASK: _ClassVar[BarrierPolicy]
    BARRIER_POLICY_PROCEED: _ClassVar[BarrierPolicy]

class RollbackState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLBACK_STATE_UNSPECIFIED: _ClassVar[RollbackState]
    ROLLBACK_STATE_COMPENSATING: _ClassVar[RollbackState]
    ROLLBACK_STATE_BLOCKED: _ClassVar[RollbackState]
    ROLLBACK_STATE_VALIDATING: _ClassVar[RollbackState]
    ROLLBACK_STATE_READY: _ClassVar[RollbackState]
    ROLLBACK_STATE_FINISHED: _ClassVar[RollbackState]
    ROLLBACK_STATE_ABORTED: _ClassVar[RollbackState]

class CompensationOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPENSATION_OUTCOME_UNSPECIFIED: _ClassVar[CompensationOutcome]
    COMPENSATION_OUTCOME_DONE: _ClassVar[CompensationOutcome]
    COMPENSATION_OUTCOME_FAILED: _ClassVar[CompensationOutcome]
    COMPENSATION_OUTCOME_FAILED_FOR_GOOD: _ClassVar[CompensationOutcome]

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_RETRY: _ClassVar[Decision]
    DECISION_DONE_BY_HAND: _ClassVar[Decision]
    DECISION_PROCEED: _ClassVar[Decision]
    DECISION_ESCALATE: _ClassVar[Decision]
BARRIER_POLICY_UNSPECIFIED: BarrierPolicy
BARRIER_POLICY_REFUSE: BarrierPolicy
BARRIER_POLICY_ASK: BarrierPolicy
BARRIER_POLICY_PROCEED: BarrierPolicy
ROLLBACK_STATE_UNSPECIFIED: RollbackState
ROLLBACK_STATE_COMPENSATING: RollbackState
ROLLBACK_STATE_BLOCKED: RollbackState
ROLLBACK_STATE_VALIDATING: RollbackState
ROLLBACK_STATE_READY: RollbackState
ROLLBACK_STATE_FINISHED: RollbackState
ROLLBACK_STATE_ABORTED: RollbackState
COMPENSATION_OUTCOME_UNSPECIFIED: CompensationOutcome
COMPENSATION_OUTCOME_DONE: CompensationOutcome
COMPENSATION_OUTCOME_FAILED: CompensationOutcome
COMPENSATION_OUTCOME_FAILED_FOR_GOOD: CompensationOutcome
DECISION_UNSPECIFIED: Decision
DECISION_RETRY: Decision
DECISION_DONE_BY_HAND: Decision
DECISION_PROCEED: Decision
DECISION_ESCALATE: Decision

class Target(_message.Message):
    __slots__ = ("checkpoint_id", "known_good", "before_event_seq", "revision", "log_time_ms")
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    BEFORE_EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    checkpoint_id: int
    known_good: bool
    before_event_seq: int
    revision: int
    log_time_ms: int
    def __init__(self, checkpoint_id: _Optional[int] = ..., known_good: _Optional[bool] = ..., before_event_seq: _Optional[int] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ...) -> None: ...

class AgentTarget(_message.Message):
    __slots__ = ("agent_id", "target")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    target: Target
    def __init__(self, agent_id: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping[str, _Any]]] = ...) -> None: ...

class RolledBack(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "restored_checkpoint_id", "first_undone_seq", "last_undone_seq", "kept_revision", "former_fence", "former_holder", "fence", "effects", "barriers", "first_undone_step", "last_undone_step")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    RESTORED_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_UNDONE_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_UNDONE_SEQ_FIELD_NUMBER: _ClassVar[int]
    KEPT_REVISION_FIELD_NUMBER: _ClassVar[int]
    FORMER_FENCE_FIELD_NUMBER: _ClassVar[int]
    FORMER_HOLDER_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    BARRIERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_UNDONE_STEP_FIELD_NUMBER: _ClassVar[int]
    LAST_UNDONE_STEP_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    restored_checkpoint_id: int
    first_undone_seq: int
    last_undone_seq: int
    kept_revision: int
    former_fence: _common_pb2.FencingToken
    former_holder: str
    fence: _common_pb2.FencingToken
    effects: int
    barriers: int
    first_undone_step: int
    last_undone_step: int
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., restored_checkpoint_id: _Optional[int] = ..., first_undone_seq: _Optional[int] = ..., last_undone_seq: _Optional[int] = ..., kept_revision: _Optional[int] = ..., former_fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., former_holder: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., effects: _Optional[int] = ..., barriers: _Optional[int] = ..., first_undone_step: _Optional[int] = ..., last_undone_step: _Optional[int] = ...) -> None: ...

class ValidatorReport(_message.Message):
    __slots__ = ("validator", "passed", "evidence", "revision", "agent_id")
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    validator: str
    passed: bool
    evidence: str
    revision: int
    agent_id: str
    def __init__(self, validator: _Optional[str] = ..., passed: _Optional[bool] = ..., evidence: _Optional[str] = ..., revision: _Optional[int] = ..., agent_id: _Optional[str] = ...) -> None: ...

class Rollback(_message.Message):
    __slots__ = ("rollback_id", "state", "agents", "reason", "started_by", "incident_id", "undoing", "validators", "started_revision", "started_log_time_ms", "compensated_log_time_ms", "validated_log_time_ms", "ended_log_time_ms", "ended_revision", "ended_reason", "group_id")
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STARTED_BY_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    STARTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    STARTED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    COMPENSATED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALIDATED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_REVISION_FIELD_NUMBER: _ClassVar[int]
    ENDED_REASON_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    rollback_id: str
    state: RollbackState
    agents: _containers.RepeatedCompositeFieldContainer[RolledBack]
    reason: str
    started_by: str
    incident_id: str
    undoing: _effect_service_pb2.Undoing
    validators: _containers.RepeatedCompositeFieldContainer[ValidatorReport]
    started_revision: int
    started_log_time_ms: int
    compensated_log_time_ms: int
    validated_log_time_ms: int
    ended_log_time_ms: int
    ended_revision: int
    ended_reason: str
    group_id: str
    def __init__(self, rollback_id: _Optional[str] = ..., state: _Optional[_Union[RollbackState, str]] = ..., agents: _Optional[_Iterable[_Union[RolledBack, _Mapping[str, _Any]]]] = ..., reason: _Optional[str] = ..., started_by: _Optional[str] = ..., incident_id: _Optional[str] = ..., undoing: _Optional[_Union[_effect_service_pb2.Undoing, _Mapping[str, _Any]]] = ..., validators: _Optional[_Iterable[_Union[ValidatorReport, _Mapping[str, _Any]]]] = ..., started_revision: _Optional[int] = ..., started_log_time_ms: _Optional[int] = ..., compensated_log_time_ms: _Optional[int] = ..., validated_log_time_ms: _Optional[int] = ..., ended_log_time_ms: _Optional[int] = ..., ended_revision: _Optional[int] = ..., ended_reason: _Optional[str] = ..., group_id: _Optional[str] = ...) -> None: ...

class PlanRollbackRequest(_message.Message):
    __slots__ = ("agents", "group_id", "consistency", "revision")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[AgentTarget]
    group_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, agents: _Optional[_Iterable[_Union[AgentTarget, _Mapping[str, _Any]]]] = ..., group_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class PlannedEffect(_message.Message):
    __slots__ = ("agent_id", "effect_id", "action", "state", "effect_class", "barrier", "reconcile_first", "compensation")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    BARRIER_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_FIRST_FIELD_NUMBER: _ClassVar[int]
    COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    effect_id: str
    action: str
    state: _effect_service_pb2.EffectState
    effect_class: _effect_service_pb2.EffectClass
    barrier: bool
    reconcile_first: bool
    compensation: str
    def __init__(self, agent_id: _Optional[str] = ..., effect_id: _Optional[str] = ..., action: _Optional[str] = ..., state: _Optional[_Union[_effect_service_pb2.EffectState, str]] = ..., effect_class: _Optional[_Union[_effect_service_pb2.EffectClass, str]] = ..., barrier: _Optional[bool] = ..., reconcile_first: _Optional[bool] = ..., compensation: _Optional[str] = ...) -> None: ...

class PlanRollbackResponse(_message.Message):
    __slots__ = ("header", "agents", "effects", "effects_total", "barriers", "events_undone", "validators", "targets", "digest")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    BARRIERS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_UNDONE_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agents: _containers.RepeatedCompositeFieldContainer[RolledBack]
    effects: _containers.RepeatedCompositeFieldContainer[PlannedEffect]
    effects_total: int
    barriers: int
    events_undone: int
    validators: _containers.RepeatedScalarFieldContainer[str]
    targets: _containers.RepeatedCompositeFieldContainer[AgentTarget]
    digest: bytes
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agents: _Optional[_Iterable[_Union[RolledBack, _Mapping[str, _Any]]]] = ..., effects: _Optional[_Iterable[_Union[PlannedEffect, _Mapping[str, _Any]]]] = ..., effects_total: _Optional[int] = ..., barriers: _Optional[int] = ..., events_undone: _Optional[int] = ..., validators: _Optional[_Iterable[str]] = ..., targets: _Optional[_Iterable[_Union[AgentTarget, _Mapping[str, _Any]]]] = ..., digest: _Optional[bytes] = ...) -> None: ...

class StartRollbackRequest(_message.Message):
    __slots__ = ("request_id", "agents", "group_id", "on_barrier", "validators", "reason", "started_by", "expected_digest", "incident_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ON_BARRIER_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STARTED_BY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agents: _containers.RepeatedCompositeFieldContainer[AgentTarget]
    group_id: str
    on_barrier: BarrierPolicy
    validators: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    started_by: str
    expected_digest: bytes
    incident_id: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agents: _Optional[_Iterable[_Union[AgentTarget, _Mapping[str, _Any]]]] = ..., group_id: _Optional[str] = ..., on_barrier: _Optional[_Union[BarrierPolicy, str]] = ..., validators: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ..., started_by: _Optional[str] = ..., expected_digest: _Optional[bytes] = ..., incident_id: _Optional[str] = ...) -> None: ...

class StartRollbackResponse(_message.Message):
    __slots__ = ("header", "rollback_id", "state", "undoing", "incident_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    rollback_id: str
    state: RollbackState
    undoing: _effect_service_pb2.Undoing
    incident_id: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., rollback_id: _Optional[str] = ..., state: _Optional[_Union[RollbackState, str]] = ..., undoing: _Optional[_Union[_effect_service_pb2.Undoing, _Mapping[str, _Any]]] = ..., incident_id: _Optional[str] = ...) -> None: ...

class ClaimCompensationsRequest(_message.Message):
    __slots__ = ("request_id", "plan_id", "holder", "force")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    plan_id: str
    holder: str
    force: bool
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., plan_id: _Optional[str] = ..., holder: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class ClaimCompensationsResponse(_message.Message):
    __slots__ = ("header", "claim", "undoing", "item", "effect")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    claim: _effect_service_pb2.Claim
    undoing: _effect_service_pb2.Undoing
    item: _effect_service_pb2.CompensationItem
    effect: _effect_service_pb2.Effect
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., claim: _Optional[_Union[_effect_service_pb2.Claim, _Mapping[str, _Any]]] = ..., undoing: _Optional[_Union[_effect_service_pb2.Undoing, _Mapping[str, _Any]]] = ..., item: _Optional[_Union[_effect_service_pb2.CompensationItem, _Mapping[str, _Any]]] = ..., effect: _Optional[_Union[_effect_service_pb2.Effect, _Mapping[str, _Any]]] = ...) -> None: ...

class CompleteCompensationRequest(_message.Message):
    __slots__ = ("request_id", "plan_id", "fence", "position", "outcome", "error", "content_type", "result")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    plan_id: str
    fence: _common_pb2.FencingToken
    position: int
    outcome: CompensationOutcome
    error: str
    content_type: str
    result: bytes
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., plan_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., position: _Optional[int] = ..., outcome: _Optional[_Union[CompensationOutcome, str]] = ..., error: _Optional[str] = ..., content_type: _Optional[str] = ..., result: _Optional[bytes] = ...) -> None: ...

class CompleteCompensationResponse(_message.Message):
    __slots__ = ("header", "undoing", "state")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    undoing: _effect_service_pb2.Undoing
    state: _effect_service_pb2.CompensationState
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., undoing: _Optional[_Union[_effect_service_pb2.Undoing, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[_effect_service_pb2.CompensationState, str]] = ...) -> None: ...

class DecideCompensationRequest(_message.Message):
    __slots__ = ("request_id", "plan_id", "position", "decision", "decided_by", "why")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    plan_id: str
    position: int
    decision: Decision
    decided_by: str
    why: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., plan_id: _Optional[str] = ..., position: _Optional[int] = ..., decision: _Optional[_Union[Decision, str]] = ..., decided_by: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class DecideCompensationResponse(_message.Message):
    __slots__ = ("header", "undoing", "state")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    undoing: _effect_service_pb2.Undoing
    state: _effect_service_pb2.CompensationState
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., undoing: _Optional[_Union[_effect_service_pb2.Undoing, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[_effect_service_pb2.CompensationState, str]] = ...) -> None: ...

class FinishRollbackRequest(_message.Message):
    __slots__ = ("request_id", "rollback_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    rollback_id: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., rollback_id: _Optional[str] = ...) -> None: ...

class FinishRollbackResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class AbortRollbackRequest(_message.Message):
    __slots__ = ("request_id", "rollback_id", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    rollback_id: str
    reason: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., rollback_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class AbortRollbackResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class GetRollbackRequest(_message.Message):
    __slots__ = ("rollback_id", "consistency", "revision")
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    rollback_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, rollback_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetRollbackResponse(_message.Message):
    __slots__ = ("header", "rollback", "items")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    rollback: Rollback
    items: _containers.RepeatedCompositeFieldContainer[_effect_service_pb2.CompensationItem]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., rollback: _Optional[_Union[Rollback, _Mapping[str, _Any]]] = ..., items: _Optional[_Iterable[_Union[_effect_service_pb2.CompensationItem, _Mapping[str, _Any]]]] = ...) -> None: ...

class ListRollbacksRequest(_message.Message):
    __slots__ = ("states", "consistency", "revision", "page_size", "page_token")
    STATES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[RollbackState]
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, states: _Optional[_Iterable[_Union[RollbackState, str]]] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRollbacksResponse(_message.Message):
    __slots__ = ("header", "rollbacks", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    rollbacks: _containers.RepeatedCompositeFieldContainer[Rollback]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., rollbacks: _Optional[_Iterable[_Union[Rollback, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
