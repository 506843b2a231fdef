from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import breaker_service_pb2 as _breaker_service_pb2
from raftstate.v1 import checkpoint_service_pb2 as _checkpoint_service_pb2
from raftstate.v1 import cluster_service_pb2 as _cluster_service_pb2
from raftstate.v1 import effect_service_pb2 as _effect_service_pb2
from raftstate.v1 import event_service_pb2 as _event_service_pb2
from raftstate.v1 import kv_service_pb2 as _kv_service_pb2
from raftstate.v1 import lease_service_pb2 as _lease_service_pb2
from raftstate.v1 import recovery_service_pb2 as _recovery_service_pb2
from raftstate.v1 import replay_service_pb2 as _replay_service_pb2
from raftstate.v1 import rollback_service_pb2 as _rollback_service_pb2
from raftstate.v1 import session_service_pb2 as _session_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Query(_message.Message):
    __slots__ = ("timeout_ms", "get", "range", "get_agent", "list_agents", "check_fence", "list_sessions", "get_limits", "get_stream", "get_projection", "list_projections", "missing_chunks", "list_checkpoints", "get_group_checkpoint", "list_group_checkpoints", "time_to_live", "list_leases", "get_effect", "list_effects", "get_saga", "list_sagas", "get_rollback", "list_rollbacks", "get_breaker", "list_breakers", "list_validators", "get_incident", "list_incidents", "get_recorded")
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    GET_AGENT_FIELD_NUMBER: _ClassVar[int]
    LIST_AGENTS_FIELD_NUMBER: _ClassVar[int]
    CHECK_FENCE_FIELD_NUMBER: _ClassVar[int]
    LIST_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    GET_LIMITS_FIELD_NUMBER: _ClassVar[int]
    GET_STREAM_FIELD_NUMBER: _ClassVar[int]
    GET_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    LIST_PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    MISSING_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    LIST_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    GET_GROUP_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    LIST_GROUP_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    LIST_LEASES_FIELD_NUMBER: _ClassVar[int]
    GET_EFFECT_FIELD_NUMBER: _ClassVar[int]
    LIST_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    GET_SAGA_FIELD_NUMBER: _ClassVar[int]
    LIST_SAGAS_FIELD_NUMBER: _ClassVar[int]
    GET_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    LIST_ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    GET_BREAKER_FIELD_NUMBER: _ClassVar[int]
    LIST_BREAKERS_FIELD_NUMBER: _ClassVar[int]
    LIST_VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    GET_INCIDENT_FIELD_NUMBER: _ClassVar[int]
    LIST_INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    GET_RECORDED_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    get: _kv_service_pb2.GetRequest
    range: _kv_service_pb2.RangeRequest
    get_agent: _agent_service_pb2.GetAgentRequest
    list_agents: _agent_service_pb2.ListAgentsRequest
    check_fence: _agent_service_pb2.CheckFenceRequest
    list_sessions: _session_service_pb2.ListSessionsRequest
    get_limits: _cluster_service_pb2.GetLimitsRequest
    get_stream: _event_service_pb2.GetStreamRequest
    get_projection: _event_service_pb2.GetProjectionRequest
    list_projections: _event_service_pb2.ListProjectionsRequest
    missing_chunks: _checkpoint_service_pb2.MissingChunksRequest
    list_checkpoints: _checkpoint_service_pb2.ListCheckpointsRequest
    get_group_checkpoint: _checkpoint_service_pb2.GetGroupCheckpointRequest
    list_group_checkpoints: _checkpoint_service_pb2.ListGroupCheckpointsRequest
    time_to_live: _lease_service_pb2.TimeToLiveRequest
    list_leases: _lease_service_pb2.ListLeasesRequest
    get_effect: _effect_service_pb2.GetEffectRequest
    list_effects: _effect_service_pb2.ListEffectsRequest
    get_saga: _effect_service_pb2.GetSagaRequest
    list_sagas: _effect_service_pb2.ListSagasRequest
    get_rollback: _rollback_service_pb2.GetRollbackRequest
    list_rollbacks: _rollback_service_pb2.ListRollbacksRequest
    get_breaker: _breaker_service_pb2.GetBreakerRequest
    list_breakers: _breaker_service_pb2.ListBreakersRequest
    list_validators: _recovery_service_pb2.ListValidatorsRequest
    get_incident: _recovery_service_pb2.GetIncidentRequest
    list_incidents: _recovery_service_pb2.ListIncidentsRequest
    get_recorded: _replay_service_pb2.GetRecordedRequest
    def __init__(self, timeout_ms: _Optional[int] = ..., get: _Optional[_Union[_kv_service_pb2.GetRequest, _Mapping[str, _Any]]] = ..., range: _Optional[_Union[_kv_service_pb2.RangeRequest, _Mapping[str, _Any]]] = ..., get_agent: _Optional[_Union[_agent_service_pb2.GetAgentRequest, _Mapping[str, _Any]]] = ..., list_agents: _Optional[_Union[_agent_service_pb2.ListAgentsRequest, _Mapping[str, _Any]]] = ..., check_fence: _Optional[_Union[_agent_service_pb2.CheckFenceRequest, _Mapping[str, _Any]]] = ..., list_sessions: _Optional[_Union[_session_service_pb2.ListSessionsRequest, _Mapping[str, _Any]]] = ..., get_limits: _Optional[_Union[_cluster_service_pb2.GetLimitsRequest, _Mapping[str, _Any]]] = ..., get_stream: _Optional[_Union[_event_service_pb2.GetStreamRequest, _Mapping[str, _Any]]] = ..., get_projection: _Optional[_Union[_event_service_pb2.GetProjectionRequest, _Mapping[str, _Any]]] = ..., list_projections: _Optional[_Union[_event_service_pb2.ListProjectionsRequest, _Mapping[str, _Any]]] = ..., missing_chunks: _Optional[_Union[_checkpoint_service_pb2.MissingChunksRequest, _Mapping[str, _Any]]] = ..., list_checkpoints: _Optional[_Union[_checkpoint_service_pb2.ListCheckpointsRequest, _Mapping[str, _Any]]] = ..., get_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.GetGroupCheckpointRequest, _Mapping[str, _Any]]] = ..., list_group_checkpoints: _Optional[_Union[_checkpoint_service_pb2.ListGroupCheckpointsRequest, _Mapping[str, _Any]]] = ..., time_to_live: _Optional[_Union[_lease_service_pb2.TimeToLiveRequest, _Mapping[str, _Any]]] = ..., list_leases: _Optional[_Union[_lease_service_pb2.ListLeasesRequest, _Mapping[str, _Any]]] = ..., get_effect: _Optional[_Union[_effect_service_pb2.GetEffectRequest, _Mapping[str, _Any]]] = ..., list_effects: _Optional[_Union[_effect_service_pb2.ListEffectsRequest, _Mapping[str, _Any]]] = ..., get_saga: _Optional[_Union[_effect_service_pb2.GetSagaRequest, _Mapping[str, _Any]]] = ..., list_sagas: _Optional[_Union[_effect_service_pb2.ListSagasRequest, _Mapping[str, _Any]]] = ..., get_rollback: _Optional[_Union[_rollback_service_pb2.GetRollbackRequest, _Mapping[str, _Any]]] = ..., list_rollbacks: _Optional[_Union[_rollback_service_pb2.ListRollbacksRequest, _Mapping[str, _Any]]] = ..., get_breaker: _Optional[_Union[_breaker_service_pb2.GetBreakerRequest, _Mapping[str, _Any]]] = ..., list_breakers: _Optional[_Union[_breaker_service_pb2.ListBreakersRequest, _Mapping[str, _Any]]] = ..., list_validators: _Optional[_Union[_recovery_service_pb2.ListValidatorsRequest, _Mapping[str, _Any]]] = ..., get_incident: _Optional[_Union[_recovery_service_pb2.GetIncidentRequest, _Mapping[str, _Any]]] = ..., list_incidents: _Optional[_Union[_recovery_service_pb2.ListIncidentsRequest, _Mapping[str, _Any]]] = ..., get_recorded: _Optional[_Union[_replay_service_pb2.GetRecordedRequest, _Mapping[str, _Any]]] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("first_nonce", "queries")
    FIRST_NONCE_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    first_nonce: int
    queries: _containers.RepeatedCompositeFieldContainer[Query]
    def __init__(self, first_nonce: _Optional[int] = ..., queries: _Optional[_Iterable[_Union[Query, _Mapping[str, _Any]]]] = ...) -> None: ...

class QueryResult(_message.Message):
    __slots__ = ("nonce", "error", "get", "range", "get_agent", "list_agents", "check_fence", "list_sessions", "get_limits", "get_stream", "get_projection", "list_projections", "missing_chunks", "list_checkpoints", "get_group_checkpoint", "list_group_checkpoints", "time_to_live", "list_leases", "get_effect", "list_effects", "get_saga", "list_sagas", "get_rollback", "list_rollbacks", "get_breaker", "list_breakers", "list_validators", "get_incident", "list_incidents", "get_recorded")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    GET_AGENT_FIELD_NUMBER: _ClassVar[int]
    LIST_AGENTS_FIELD_NUMBER: _ClassVar[int]
    CHECK_FENCE_FIELD_NUMBER: _ClassVar[int]
    LIST_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    GET_LIMITS_FIELD_NUMBER: _ClassVar[int]
    GET_STREAM_FIELD_NUMBER: _ClassVar[int]
    GET_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    LIST_PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    MISSING_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    LIST_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    GET_GROUP_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    LIST_GROUP_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    LIST_LEASES_FIELD_NUMBER: _ClassVar[int]
    GET_EFFECT_FIELD_NUMBER: _ClassVar[int]
    LIST_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    GET_SAGA_FIELD_NUMBER: _ClassVar[int]
    LIST_SAGAS_FIELD_NUMBER: _ClassVar[int]
    GET_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    LIST_ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    GET_BREAKER_FIELD_NUMBER: _ClassVar[int]
    LIST_BREAKERS_FIELD_NUMBER: _ClassVar[int]
    LIST_VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    GET_INCIDENT_FIELD_NUMBER: _ClassVar[int]
    LIST_INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    GET_RECORDED_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    error: bytes
    get: _kv_service_pb2.GetResponse
    range: _kv_service_pb2.RangeResponse
    get_agent: _agent_service_pb2.GetAgentResponse
    list_agents: _agent_service_pb2.ListAgentsResponse
    check_fence: _agent_service_pb2.CheckFenceResponse
    list_sessions: _session_service_pb2.ListSessionsResponse
    get_limits: _cluster_service_pb2.GetLimitsResponse
    get_stream: _event_service_pb2.GetStreamResponse
    get_projection: _event_service_pb2.GetProjectionResponse
    list_projections: _event_service_pb2.ListProjectionsResponse
    missing_chunks: _checkpoint_service_pb2.MissingChunksResponse
    list_checkpoints: _checkpoint_service_pb2.ListCheckpointsResponse
    get_group_checkpoint: _checkpoint_service_pb2.GetGroupCheckpointResponse
    list_group_checkpoints: _checkpoint_service_pb2.ListGroupCheckpointsResponse
    time_to_live: _lease_service_pb2.TimeToLiveResponse
    list_leases: _lease_service_pb2.ListLeasesResponse
    get_effect: _effect_service_pb2.GetEffectResponse
    list_effects: _effect_service_pb2.ListEffectsResponse
    get_saga: _effect_service_pb2.GetSagaResponse
    list_sagas: _effect_service_pb2.ListSagasResponse
    get_rollback: _rollback_service_pb2.GetRollbackResponse
    list_rollbacks: _rollback_service_pb2.ListRollbacksResponse
    get_breaker: _breaker_service_pb2.GetBreakerResponse
    list_breakers: _breaker_service_pb2.ListBreakersResponse
    list_validators: _recovery_service_pb2.ListValidatorsResponse
    get_incident: _recovery_service_pb2.GetIncidentResponse
    list_incidents: _recovery_service_pb2.ListIncidentsResponse
    get_recorded: _replay_service_pb2.GetRecordedResponse
    def __init__(self, nonce: _Optional[int] = ..., error: _Optional[bytes] = ..., get: _Optional[_Union[_kv_service_pb2.GetResponse, _Mapping[str, _Any]]] = ..., range: _Optional[_Union[_kv_service_pb2.RangeResponse, _Mapping[str, _Any]]] = ..., get_agent: _Optional[_Union[_agent_service_pb2.GetAgentResponse, _Mapping[str, _Any]]] = ..., list_agents: _Optional[_Union[_agent_service_pb2.ListAgentsResponse, _Mapping[str, _Any]]] = ..., check_fence: _Optional[_Union[_agent_service_pb2.CheckFenceResponse, _Mapping[str, _Any]]] = ..., list_sessions: _Optional[_Union[_session_service_pb2.ListSessionsResponse, _Mapping[str, _Any]]] = ..., get_limits: _Optional[_Union[_cluster_service_pb2.GetLimitsResponse, _Mapping[str, _Any]]] = ..., get_stream: _Optional[_Union[_event_service_pb2.GetStreamResponse, _Mapping[str, _Any]]] = ..., get_projection: _Optional[_Union[_event_service_pb2.GetProjectionResponse, _Mapping[str, _Any]]] = ..., list_projections: _Optional[_Union[_event_service_pb2.ListProjectionsResponse, _Mapping[str, _Any]]] = ..., missing_chunks: _Optional[_Union[_checkpoint_service_pb2.MissingChunksResponse, _Mapping[str, _Any]]] = ..., list_checkpoints: _Optional[_Union[_checkpoint_service_pb2.ListCheckpointsResponse, _Mapping[str, _Any]]] = ..., get_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.GetGroupCheckpointResponse, _Mapping[str, _Any]]] = ..., list_group_checkpoints: _Optional[_Union[_checkpoint_service_pb2.ListGroupCheckpointsResponse, _Mapping[str, _Any]]] = ..., time_to_live: _Optional[_Union[_lease_service_pb2.TimeToLiveResponse, _Mapping[str, _Any]]] = ..., list_leases: _Optional[_Union[_lease_service_pb2.ListLeasesResponse, _Mapping[str, _Any]]] = ..., get_effect: _Optional[_Union[_effect_service_pb2.GetEffectResponse, _Mapping[str, _Any]]] = ..., list_effects: _Optional[_Union[_effect_service_pb2.ListEffectsResponse, _Mapping[str, _Any]]] = ..., get_saga: _Optional[_Union[_effect_service_pb2.GetSagaResponse, _Mapping[str, _Any]]] = ..., list_sagas: _Optional[_Union[_effect_service_pb2.ListSagasResponse, _Mapping[str, _Any]]] = ..., get_rollback: _Optional[_Union[_rollback_service_pb2.GetRollbackResponse, _Mapping[str, _Any]]] = ..., list_rollbacks: _Optional[_Union[_rollback_service_pb2.ListRollbacksResponse, _Mapping[str, _Any]]] = ..., get_breaker: _Optional[_Union[_breaker_service_pb2.GetBreakerResponse, _Mapping[str, _Any]]] = ..., list_breakers: _Optional[_Union[_breaker_service_pb2.ListBreakersResponse, _Mapping[str, _Any]]] = ..., list_validators: _Optional[_Union[_recovery_service_pb2.ListValidatorsResponse, _Mapping[str, _Any]]] = ..., get_incident: _Optional[_Union[_recovery_service_pb2.GetIncidentResponse, _Mapping[str, _Any]]] = ..., list_incidents: _Optional[_Union[_recovery_service_pb2.ListIncidentsResponse, _Mapping[str, _Any]]] = ..., get_recorded: _Optional[_Union[_replay_service_pb2.GetRecordedResponse, _Mapping[str, _Any]]] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[QueryResult]
    def __init__(self, results: _Optional[_Iterable[_Union[QueryResult, _Mapping[str, _Any]]]] = ...) -> None: ...
