from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import recording_pb2 as _recording_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EffectClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFECT_CLASS_UNSPECIFIED: _ClassVar[EffectClass]
    EFFECT_CLASS_READ_ONLY: _ClassVar[EffectClass]
    EFFECT_CLASS_IDEMPOTENT: _ClassVar[EffectClass]
    EFFECT_CLASS_RECONCILABLE: _ClassVar[EffectClass]
    EFFECT_CLASS_IRREVERSIBLE: _ClassVar[EffectClass]

class EffectState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFECT_STATE_UNSPECIFIED: _ClassVar[EffectState]
    EFFECT_STATE_PREPARED: _ClassVar[EffectState]
    EFFECT_STATE_DISPATCHED: _ClassVar[EffectState]
    EFFECT_STATE_COMMITTED: _ClassVar[EffectState]
    EFFECT_STATE_FAILED_BEFORE_EFFECT: _ClassVar[EffectState]
    EFFECT_STATE_UNKNOWN: _ClassVar[EffectState]
    EFFECT_STATE_RECONCILED: _ClassVar[EffectState]
    EFFECT_STATE_COMPENSATED: _ClassVar[EffectState]

class EffectOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFECT_OUTCOME_UNSPECIFIED: _ClassVar[EffectOutcome]
    EFFECT_OUTCOME_COMMITTED: _ClassVar[EffectOutcome]
    EFFECT_OUTCOME_FAILED_BEFORE_EFFECT: _ClassVar[EffectOutcome]
    EFFECT_OUTCOME_UNKNOWN: _ClassVar[EffectOutcome]

class Found(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOUND_UNSPECIFIED: _ClassVar[Found]
    FOUND_DONE: _ClassVar[Found]
    FOUND_NOT_DONE: _ClassVar[Found]

class UnknownPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN_POLICY_UNSPECIFIED: _ClassVar[UnknownPolicy]
    UNKNOWN_POLICY_REPEAT: _ClassVar[UnknownPolicy]
    UNKNOWN_POLICY_RECONCILE: _ClassVar[UnknownPolicy]
    UNKNOWN_POLICY_COMPENSATE: _ClassVar[UnknownPolicy]
    UNKNOWN_POLICY_ESCALATE: _ClassVar[UnknownPolicy]

class CompensationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPENSATION_STATE_UNSPECIFIED: _ClassVar[CompensationState]
    COMPENSATION_STATE_PENDING: _ClassVar[CompensationState]
    COMPENSATION_STATE_CLAIMED: _ClassVar[CompensationState]
    COMPENSATION_STATE_COMPENSATED: _ClassVar[CompensationState]
    COMPENSATION_STATE_NOT_NEEDED: _ClassVar[CompensationState]
    COMPENSATION_STATE_STUCK: _ClassVar[CompensationState]
    COMPENSATION_STATE_BARRIER: _ClassVar[CompensationState]
    COMPENSATION_STATE_WAIVED: _ClassVar[CompensationState]
    COMPENSATION_STATE_MOVED: _ClassVar[CompensationState]

class SagaMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAGA_MODE_UNSPECIFIED: _ClassVar[SagaMode]
    SAGA_MODE_ORCHESTRATED: _ClassVar[SagaMode]
    SAGA_MODE_CHOREOGRAPHED: _ClassVar[SagaMode]

class SagaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAGA_STATE_UNSPECIFIED: _ClassVar[SagaState]
    SAGA_STATE_RUNNING: _ClassVar[SagaState]
    SAGA_STATE_COMPLETED: _ClassVar[SagaState]
    SAGA_STATE_COMPENSATING: _ClassVar[SagaState]
    SAGA_STATE_COMPENSATED: _ClassVar[SagaState]
    SAGA_STATE_STUCK: _ClassVar[SagaState]
    SAGA_STATE_ROLLED_BACK: _ClassVar[SagaState]
EFFECT_CLASS_UNSPECIFIED: EffectClass
EFFECT_CLASS_READ_ONLY: EffectClass
EFFECT_CLASS_IDEMPOTENT: EffectClass
EFFECT_CLASS_RECONCILABLE: EffectClass
EFFECT_CLASS_IRREVERSIBLE: EffectClass
EFFECT_STATE_UNSPECIFIED: EffectState
EFFECT_STATE_PREPARED: EffectState
EFFECT_STATE_DISPATCHED: EffectState
EFFECT_STATE_COMMITTED: EffectState
EFFECT_STATE_FAILED_BEFORE_EFFECT: EffectState
EFFECT_STATE_UNKNOWN: EffectState
EFFECT_STATE_RECONCILED: EffectState
EFFECT_STATE_COMPENSATED: EffectState
EFFECT_OUTCOME_UNSPECIFIED: EffectOutcome
EFFECT_OUTCOME_COMMITTED: EffectOutcome
EFFECT_OUTCOME_FAILED_BEFORE_EFFECT: EffectOutcome
EFFECT_OUTCOME_UNKNOWN: EffectOutcome
FOUND_UNSPECIFIED: Found
FOUND_DONE: Found
FOUND_NOT_DONE: Found
UNKNOWN_POLICY_UNSPECIFIED: UnknownPolicy
UNKNOWN_POLICY_REPEAT: UnknownPolicy
UNKNOWN_POLICY_RECONCILE: UnknownPolicy
UNKNOWN_POLICY_COMPENSATE: UnknownPolicy
UNKNOWN_POLICY_ESCALATE: UnknownPolicy
COMPENSATION_STATE_UNSPECIFIED: CompensationState
COMPENSATION_STATE_PENDING: CompensationState
COMPENSATION_STATE_CLAIMED: CompensationState
COMPENSATION_STATE_COMPENSATED: CompensationState
COMPENSATION_STATE_NOT_NEEDED: CompensationState
COMPENSATION_STATE_STUCK: CompensationState
COMPENSATION_STATE_BARRIER: CompensationState
COMPENSATION_STATE_WAIVED: CompensationState
COMPENSATION_STATE_MOVED: CompensationState
SAGA_MODE_UNSPECIFIED: SagaMode
SAGA_MODE_ORCHESTRATED: SagaMode
SAGA_MODE_CHOREOGRAPHED: SagaMode
SAGA_STATE_UNSPECIFIED: SagaState
SAGA_STATE_RUNNING: SagaState
SAGA_STATE_COMPLETED: SagaState
SAGA_STATE_COMPENSATING: SagaState
SAGA_STATE_COMPENSATED: SagaState
SAGA_STATE_STUCK: SagaState
SAGA_STATE_ROLLED_BACK: SagaState

class Compensation(_message.Message):
    __slots__ = ("action", "content_type", "arguments", "idempotency_key", "timeout_ms", "attempts", "leaves_tombstone")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    action: str
    content_type: str
    arguments: bytes
    idempotency_key: str
    timeout_ms: int
    attempts: int
    leaves_tombstone: bool
    def __init__(self, action: _Optional[str] = ..., content_type: _Optional[str] = ..., arguments: _Optional[bytes] = ..., idempotency_key: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., attempts: _Optional[int] = ..., leaves_tombstone: _Optional[bool] = ...) -> None: ...

class NewEffect(_message.Message):
    __slots__ = ("effect_id", "action", "content_type", "arguments", "effect_class", "idempotency_key", "compensation", "reconcile_action", "on_unknown", "begin_by_ms", "saga_id", "dispatch")
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_ACTION_FIELD_NUMBER: _ClassVar[int]
    ON_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    BEGIN_BY_MS_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    DISPATCH_FIELD_NUMBER: _ClassVar[int]
    effect_id: str
    action: str
    content_type: str
    arguments: bytes
    effect_class: EffectClass
    idempotency_key: str
    compensation: Compensation
    reconcile_action: str
    on_unknown: UnknownPolicy
    begin_by_ms: int
    saga_id: str
    dispatch: bool
    def __init__(self, effect_id: _Optional[str] = ..., action: _Optional[str] = ..., content_type: _Optional[str] = ..., arguments: _Optional[bytes] = ..., effect_class: _Optional[_Union[EffectClass, str]] = ..., idempotency_key: _Optional[str] = ..., compensation: _Optional[_Union[Compensation, _Mapping[str, _Any]]] = ..., reconcile_action: _Optional[str] = ..., on_unknown: _Optional[_Union[UnknownPolicy, str]] = ..., begin_by_ms: _Optional[int] = ..., saga_id: _Optional[str] = ..., dispatch: _Optional[bool] = ...) -> None: ...

class EffectClosing(_message.Message):
    __slots__ = ("effect_id", "outcome", "content_type", "result", "error")
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    effect_id: str
    outcome: EffectOutcome
    content_type: str
    result: bytes
    error: str
    def __init__(self, effect_id: _Optional[str] = ..., outcome: _Optional[_Union[EffectOutcome, str]] = ..., content_type: _Optional[str] = ..., result: _Optional[bytes] = ..., error: _Optional[str] = ...) -> None: ...

class Effect(_message.Message):
    __slots__ = ("agent_id", "effect_id", "number", "state", "action", "content_type", "arguments", "effect_class", "idempotency_key", "compensation", "reconcile_action", "on_unknown", "begin_by_ms", "saga_id", "fence", "step", "dispatches", "prepared_revision", "dispatched_revision", "settled_revision", "compensated_revision", "changed_log_time_ms", "result_content_type", "result", "error", "found", "plan_id", "plan_position")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_ACTION_FIELD_NUMBER: _ClassVar[int]
    ON_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    BEGIN_BY_MS_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DISPATCHES_FIELD_NUMBER: _ClassVar[int]
    PREPARED_REVISION_FIELD_NUMBER: _ClassVar[int]
    DISPATCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPENSATED_REVISION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    RESULT_CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_POSITION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    effect_id: str
    number: int
    state: EffectState
    action: str
    content_type: str
    arguments: bytes
    effect_class: EffectClass
    idempotency_key: str
    compensation: Compensation
    reconcile_action: str
    on_unknown: UnknownPolicy
    begin_by_ms: int
    saga_id: str
    fence: _common_pb2.FencingToken
    step: int
    dispatches: int
    prepared_revision: int
    dispatched_revision: int
    settled_revision: int
    compensated_revision: int
    changed_log_time_ms: int
    result_content_type: str
    result: bytes
    error: str
    found: Found
    plan_id: str
    plan_position: int
    def __init__(self, agent_id: _Optional[str] = ..., effect_id: _Optional[str] = ..., number: _Optional[int] = ..., state: _Optional[_Union[EffectState, str]] = ..., action: _Optional[str] = ..., content_type: _Optional[str] = ..., arguments: _Optional[bytes] = ..., effect_class: _Optional[_Union[EffectClass, str]] = ..., idempotency_key: _Optional[str] = ..., compensation: _Optional[_Union[Compensation, _Mapping[str, _Any]]] = ..., reconcile_action: _Optional[str] = ..., on_unknown: _Optional[_Union[UnknownPolicy, str]] = ..., begin_by_ms: _Optional[int] = ..., saga_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., step: _Optional[int] = ..., dispatches: _Optional[int] = ..., prepared_revision: _Optional[int] = ..., dispatched_revision: _Optional[int] = ..., settled_revision: _Optional[int] = ..., compensated_revision: _Optional[int] = ..., changed_log_time_ms: _Optional[int] = ..., result_content_type: _Optional[str] = ..., result: _Optional[bytes] = ..., error: _Optional[str] = ..., found: _Optional[_Union[Found, str]] = ..., plan_id: _Optional[str] = ..., plan_position: _Optional[int] = ...) -> None: ...

class PrepareEffectRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "effect", "recordings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    effect: NewEffect
    recordings: _containers.RepeatedCompositeFieldContainer[_recording_pb2.NewRecording]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., effect: _Optional[_Union[NewEffect, _Mapping[str, _Any]]] = ..., recordings: _Optional[_Iterable[_Union[_recording_pb2.NewRecording, _Mapping[str, _Any]]]] = ...) -> None: ...

class PrepareEffectResponse(_message.Message):
    __slots__ = ("header", "effect_id", "number", "state", "idempotency_key", "existed")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    effect_id: str
    number: int
    state: EffectState
    idempotency_key: str
    existed: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., effect_id: _Optional[str] = ..., number: _Optional[int] = ..., state: _Optional[_Union[EffectState, str]] = ..., idempotency_key: _Optional[str] = ..., existed: _Optional[bool] = ...) -> None: ...

class DispatchEffectRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "effect_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    effect_id: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., effect_id: _Optional[str] = ...) -> None: ...

class DispatchEffectResponse(_message.Message):
    __slots__ = ("header", "idempotency_key", "dispatches")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    DISPATCHES_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    idempotency_key: str
    dispatches: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., idempotency_key: _Optional[str] = ..., dispatches: _Optional[int] = ...) -> None: ...

class CompleteEffectRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "closing")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    closing: EffectClosing
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., closing: _Optional[_Union[EffectClosing, _Mapping[str, _Any]]] = ...) -> None: ...

class CompleteEffectResponse(_message.Message):
    __slots__ = ("header", "state")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    state: EffectState
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[EffectState, str]] = ...) -> None: ...

class ReconcileEffectRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "effect_id", "fence", "plan_id", "found", "content_type", "result", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    effect_id: str
    fence: _common_pb2.FencingToken
    plan_id: str
    found: Found
    content_type: str
    result: bytes
    error: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., effect_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., plan_id: _Optional[str] = ..., found: _Optional[_Union[Found, str]] = ..., content_type: _Optional[str] = ..., result: _Optional[bytes] = ..., error: _Optional[str] = ...) -> None: ...

class ReconcileEffectResponse(_message.Message):
    __slots__ = ("header", "state")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    state: EffectState
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[EffectState, str]] = ...) -> None: ...

class GetEffectRequest(_message.Message):
    __slots__ = ("agent_id", "effect_id", "consistency", "revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    effect_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, agent_id: _Optional[str] = ..., effect_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetEffectResponse(_message.Message):
    __slots__ = ("header", "effect")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    effect: Effect
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., effect: _Optional[_Union[Effect, _Mapping[str, _Any]]] = ...) -> None: ...

class ListEffectsRequest(_message.Message):
    __slots__ = ("agent_id", "states", "saga_id", "consistency", "revision", "page_size", "page_token")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    states: _containers.RepeatedScalarFieldContainer[EffectState]
    saga_id: str
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, agent_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[EffectState, str]]] = ..., saga_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEffectsResponse(_message.Message):
    __slots__ = ("header", "effects", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    effects: _containers.RepeatedCompositeFieldContainer[Effect]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., effects: _Optional[_Iterable[_Union[Effect, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CompensationItem(_message.Message):
    __slots__ = ("plan_id", "position", "agent_id", "effect_id", "effect_number", "state", "reconcile_first", "claims", "failures", "error", "claimed_under", "settled_revision", "settled_log_time_ms", "decided_by", "decision", "moved_to", "result_content_type", "result")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_FIRST_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_UNDER_FIELD_NUMBER: _ClassVar[int]
    SETTLED_REVISION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    MOVED_TO_FIELD_NUMBER: _ClassVar[int]
    RESULT_CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    position: int
    agent_id: str
    effect_id: str
    effect_number: int
    state: CompensationState
    reconcile_first: bool
    claims: int
    failures: int
    error: str
    claimed_under: _common_pb2.FencingToken
    settled_revision: int
    settled_log_time_ms: int
    decided_by: str
    decision: str
    moved_to: str
    result_content_type: str
    result: bytes
    def __init__(self, plan_id: _Optional[str] = ..., position: _Optional[int] = ..., agent_id: _Optional[str] = ..., effect_id: _Optional[str] = ..., effect_number: _Optional[int] = ..., state: _Optional[_Union[CompensationState, str]] = ..., reconcile_first: _Optional[bool] = ..., claims: _Optional[int] = ..., failures: _Optional[int] = ..., error: _Optional[str] = ..., claimed_under: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., settled_revision: _Optional[int] = ..., settled_log_time_ms: _Optional[int] = ..., decided_by: _Optional[str] = ..., decision: _Optional[str] = ..., moved_to: _Optional[str] = ..., result_content_type: _Optional[str] = ..., result: _Optional[bytes] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("fence", "session_id", "holder")
    FENCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    fence: _common_pb2.FencingToken
    session_id: str
    holder: str
    def __init__(self, fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., session_id: _Optional[str] = ..., holder: _Optional[str] = ...) -> None: ...

class Undoing(_message.Message):
    __slots__ = ("plan_id", "total", "open", "stuck", "next_position", "claim", "newest_claim")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    STUCK_FIELD_NUMBER: _ClassVar[int]
    NEXT_POSITION_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    NEWEST_CLAIM_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    total: int
    open: int
    stuck: int
    next_position: int
    claim: Claim
    newest_claim: _common_pb2.FencingToken
    def __init__(self, plan_id: _Optional[str] = ..., total: _Optional[int] = ..., open: _Optional[int] = ..., stuck: _Optional[int] = ..., next_position: _Optional[int] = ..., claim: _Optional[_Union[Claim, _Mapping[str, _Any]]] = ..., newest_claim: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ...) -> None: ...

class Saga(_message.Message):
    __slots__ = ("saga_id", "agent_id", "mode", "state", "begun_revision", "begun_log_time_ms", "ended_revision", "ended_log_time_ms", "reason", "effects", "open_effects", "undoing", "labels", "incident_id")
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BEGUN_REVISION_FIELD_NUMBER: _ClassVar[int]
    BEGUN_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_REVISION_FIELD_NUMBER: _ClassVar[int]
    ENDED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    saga_id: str
    agent_id: str
    mode: SagaMode
    state: SagaState
    begun_revision: int
    begun_log_time_ms: int
    ended_revision: int
    ended_log_time_ms: int
    reason: str
    effects: int
    open_effects: int
    undoing: Undoing
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    incident_id: str
    def __init__(self, saga_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., mode: _Optional[_Union[SagaMode, str]] = ..., state: _Optional[_Union[SagaState, str]] = ..., begun_revision: _Optional[int] = ..., begun_log_time_ms: _Optional[int] = ..., ended_revision: _Optional[int] = ..., ended_log_time_ms: _Optional[int] = ..., reason: _Optional[str] = ..., effects: _Optional[int] = ..., open_effects: _Optional[int] = ..., undoing: _Optional[_Union[Undoing, _Mapping[str, _Any]]] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., incident_id: _Optional[str] = ...) -> None: ...

class BeginSagaRequest(_message.Message):
    __slots__ = ("request_id", "saga_id", "agent_id", "fence", "mode", "labels")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    saga_id: str
    agent_id: str
    fence: _common_pb2.FencingToken
    mode: SagaMode
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., saga_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., mode: _Optional[_Union[SagaMode, str]] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ...) -> None: ...

class BeginSagaResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class EndSagaRequest(_message.Message):
    __slots__ = ("request_id", "saga_id", "agent_id", "fence")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    saga_id: str
    agent_id: str
    fence: _common_pb2.FencingToken
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., saga_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ...) -> None: ...

class EndSagaResponse(_message.Message):
    __slots__ = ("header", "state")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    state: SagaState
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[SagaState, str]] = ...) -> None: ...

class AbortSagaRequest(_message.Message):
    __slots__ = ("request_id", "saga_id", "agent_id", "fence", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    saga_id: str
    agent_id: str
    fence: _common_pb2.FencingToken
    reason: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., saga_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., reason: _Optional[str] = ...) -> None: ...

class AbortSagaResponse(_message.Message):
    __slots__ = ("header", "state", "undoing")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UNDOING_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    state: SagaState
    undoing: Undoing
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[SagaState, str]] = ..., undoing: _Optional[_Union[Undoing, _Mapping[str, _Any]]] = ...) -> None: ...

class GetSagaRequest(_message.Message):
    __slots__ = ("saga_id", "consistency", "revision")
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    saga_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, saga_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetSagaResponse(_message.Message):
    __slots__ = ("header", "saga", "items")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SAGA_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    saga: Saga
    items: _containers.RepeatedCompositeFieldContainer[CompensationItem]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., saga: _Optional[_Union[Saga, _Mapping[str, _Any]]] = ..., items: _Optional[_Iterable[_Union[CompensationItem, _Mapping[str, _Any]]]] = ...) -> None: ...

class ListSagasRequest(_message.Message):
    __slots__ = ("prefix", "states", "consistency", "revision", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    states: _containers.RepeatedScalarFieldContainer[SagaState]
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., states: _Optional[_Iterable[_Union[SagaState, str]]] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSagasResponse(_message.Message):
    __slots__ = ("header", "sagas", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SAGAS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    sagas: _containers.RepeatedCompositeFieldContainer[Saga]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., sagas: _Optional[_Iterable[_Union[Saga, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
