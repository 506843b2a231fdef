from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import rollback_service_pb2 as _rollback_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_FORCED_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_FORCED_CLOSED: _ClassVar[BreakerState]

class TripAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRIP_ACTION_UNSPECIFIED: _ClassVar[TripAction]
    TRIP_ACTION_NOTIFY: _ClassVar[TripAction]
    TRIP_ACTION_DEGRADE: _ClassVar[TripAction]
    TRIP_ACTION_FAIL_OVER: _ClassVar[TripAction]
    TRIP_ACTION_ROLLBACK: _ClassVar[TripAction]
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState
BREAKER_STATE_FORCED_OPEN: BreakerState
BREAKER_STATE_FORCED_CLOSED: BreakerState
TRIP_ACTION_UNSPECIFIED: TripAction
TRIP_ACTION_NOTIFY: TripAction
TRIP_ACTION_DEGRADE: TripAction
TRIP_ACTION_FAIL_OVER: TripAction
TRIP_ACTION_ROLLBACK: TripAction

class TripPlan(_message.Message):
    __slots__ = ("action", "agent_ids", "group_id", "validators", "on_barrier")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    ON_BARRIER_FIELD_NUMBER: _ClassVar[int]
    action: TripAction
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    group_id: str
    validators: _containers.RepeatedScalarFieldContainer[str]
    on_barrier: _rollback_service_pb2.BarrierPolicy
    def __init__(self, action: _Optional[_Union[TripAction, str]] = ..., agent_ids: _Optional[_Iterable[str]] = ..., group_id: _Optional[str] = ..., validators: _Optional[_Iterable[str]] = ..., on_barrier: _Optional[_Union[_rollback_service_pb2.BarrierPolicy, str]] = ...) -> None: ...

class BreakerConfig(_message.Message):
    __slots__ = ("count_window", "time_window_ms", "failure_rate", "slow_rate", "slow_call_ms", "minimum_calls", "minimum_reporters", "open_ms", "open_factor", "open_max_ms", "probes", "successes", "probe_timeout_ms", "ignored_errors", "on_trip")
    COUNT_WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    SLOW_RATE_FIELD_NUMBER: _ClassVar[int]
    SLOW_CALL_MS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_CALLS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_REPORTERS_FIELD_NUMBER: _ClassVar[int]
    OPEN_MS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FACTOR_FIELD_NUMBER: _ClassVar[int]
    OPEN_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    PROBE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    IGNORED_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ON_TRIP_FIELD_NUMBER: _ClassVar[int]
    count_window: int
    time_window_ms: int
    failure_rate: float
    slow_rate: float
    slow_call_ms: int
    minimum_calls: int
    minimum_reporters: int
    open_ms: int
    open_factor: float
    open_max_ms: int
    probes: int
    successes: int
    probe_timeout_ms: int
    ignored_errors: _containers.RepeatedScalarFieldContainer[str]
    on_trip: TripPlan
    def __init__(self, count_window: _Optional[int] = ..., time_window_ms: _Optional[int] = ..., failure_rate: _Optional[float] = ..., slow_rate: _Optional[float] = ..., slow_call_ms: _Optional[int] = ..., minimum_calls: _Optional[int] = ..., minimum_reporters: _Optional[int] = ..., open_ms: _Optional[int] = ..., open_factor: _Optional[float] = ..., open_max_ms: _Optional[int] = ..., probes: _Optional[int] = ..., successes: _Optional[int] = ..., probe_timeout_ms: _Optional[int] = ..., ignored_errors: _Optional[_Iterable[str]] = ..., on_trip: _Optional[_Union[TripPlan, _Mapping[str, _Any]]] = ...) -> None: ...

class Permit(_message.Message):
    __slots__ = ("permit_id", "session_id", "given_log_time_ms")
    PERMIT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GIVEN_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    permit_id: int
    session_id: str
    given_log_time_ms: int
    def __init__(self, permit_id: _Optional[int] = ..., session_id: _Optional[str] = ..., given_log_time_ms: _Optional[int] = ...) -> None: ...

class BreakerCounts(_message.Message):
    __slots__ = ("calls", "failures", "slow", "reporters")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    REPORTERS_FIELD_NUMBER: _ClassVar[int]
    calls: int
    failures: int
    slow: int
    reporters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, calls: _Optional[int] = ..., failures: _Optional[int] = ..., slow: _Optional[int] = ..., reporters: _Optional[_Iterable[str]] = ...) -> None: ...

class Breaker(_message.Message):
    __slots__ = ("name", "config", "state", "generation", "counts", "open_until_ms", "in_a_row", "permits", "successes", "degraded", "changed_revision", "changed_log_time_ms", "reason", "incident_id", "rollback_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    IN_A_ROW_FIELD_NUMBER: _ClassVar[int]
    PERMITS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_REVISION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    config: BreakerConfig
    state: BreakerState
    generation: int
    counts: BreakerCounts
    open_until_ms: int
    in_a_row: int
    permits: _containers.RepeatedCompositeFieldContainer[Permit]
    successes: int
    degraded: bool
    changed_revision: int
    changed_log_time_ms: int
    reason: str
    incident_id: str
    rollback_id: str
    def __init__(self, name: _Optional[str] = ..., config: _Optional[_Union[BreakerConfig, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[BreakerState, str]] = ..., generation: _Optional[int] = ..., counts: _Optional[_Union[BreakerCounts, _Mapping[str, _Any]]] = ..., open_until_ms: _Optional[int] = ..., in_a_row: _Optional[int] = ..., permits: _Optional[_Iterable[_Union[Permit, _Mapping[str, _Any]]]] = ..., successes: _Optional[int] = ..., degraded: _Optional[bool] = ..., changed_revision: _Optional[int] = ..., changed_log_time_ms: _Optional[int] = ..., reason: _Optional[str] = ..., incident_id: _Optional[str] = ..., rollback_id: _Optional[str] = ...) -> None: ...

class PutBreakerRequest(_message.Message):
    __slots__ = ("request_id", "name", "config")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    config: BreakerConfig
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., config: _Optional[_Union[BreakerConfig, _Mapping[str, _Any]]] = ...) -> None: ...

class PutBreakerResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class DeleteBreakerRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteBreakerResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class GetBreakerRequest(_message.Message):
    __slots__ = ("name", "consistency", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, name: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetBreakerResponse(_message.Message):
    __slots__ = ("header", "breaker", "log_time_ms")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    breaker: Breaker
    log_time_ms: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., breaker: _Optional[_Union[Breaker, _Mapping[str, _Any]]] = ..., log_time_ms: _Optional[int] = ...) -> None: ...

class ListBreakersRequest(_message.Message):
    __slots__ = ("prefix", "consistency", "revision", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBreakersResponse(_message.Message):
    __slots__ = ("header", "breakers", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    BREAKERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    breakers: _containers.RepeatedCompositeFieldContainer[Breaker]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., breakers: _Optional[_Iterable[_Union[Breaker, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AcquirePermitRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ...) -> None: ...

class AcquirePermitResponse(_message.Message):
    __slots__ = ("header", "state", "generation", "permit_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PERMIT_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    state: BreakerState
    generation: int
    permit_id: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[BreakerState, str]] = ..., generation: _Optional[int] = ..., permit_id: _Optional[int] = ...) -> None: ...

class ReportOutcomesRequest(_message.Message):
    __slots__ = ("request_id", "name", "generation", "calls", "failures", "slow", "permit_id", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    PERMIT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    generation: int
    calls: int
    failures: int
    slow: int
    permit_id: int
    error: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., generation: _Optional[int] = ..., calls: _Optional[int] = ..., failures: _Optional[int] = ..., slow: _Optional[int] = ..., permit_id: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class ReportOutcomesResponse(_message.Message):
    __slots__ = ("header", "state", "generation", "counted", "incident_id", "rollback_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    state: BreakerState
    generation: int
    counted: bool
    incident_id: str
    rollback_id: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., state: _Optional[_Union[BreakerState, str]] = ..., generation: _Optional[int] = ..., counted: _Optional[bool] = ..., incident_id: _Optional[str] = ..., rollback_id: _Optional[str] = ...) -> None: ...

class ForceOpenRequest(_message.Message):
    __slots__ = ("request_id", "name", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    reason: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ForceOpenResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class ForceCloseRequest(_message.Message):
    __slots__ = ("request_id", "name", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    reason: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ForceCloseResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("request_id", "name", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    reason: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...
