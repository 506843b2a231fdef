from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import breaker_service_pb2 as _breaker_service_pb2
from raftstate.v1 import checkpoint_service_pb2 as _checkpoint_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import effect_service_pb2 as _effect_service_pb2
from raftstate.v1 import event_service_pb2 as _event_service_pb2
from raftstate.v1 import kv_service_pb2 as _kv_service_pb2
from raftstate.v1 import lease_service_pb2 as _lease_service_pb2
from raftstate.v1 import recovery_service_pb2 as _recovery_service_pb2
from raftstate.v1 import rollback_service_pb2 as _rollback_service_pb2
from raftstate.v1 import session_service_pb2 as _session_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResourceType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOURCE_TYPE_UNSPECIFIED: _ClassVar[ResourceType]
    RESOURCE_TYPE_AGENT: _ClassVar[ResourceType]
    RESOURCE_TYPE_SESSION: _ClassVar[ResourceType]
    RESOURCE_TYPE_STREAM: _ClassVar[ResourceType]
    RESOURCE_TYPE_EVENT: _ClassVar[ResourceType]
    RESOURCE_TYPE_CHECKPOINT: _ClassVar[ResourceType]
    RESOURCE_TYPE_KEY: _ClassVar[ResourceType]
    RESOURCE_TYPE_LEASE: _ClassVar[ResourceType]
    RESOURCE_TYPE_PROJECTION: _ClassVar[ResourceType]
    RESOURCE_TYPE_GROUP: _ClassVar[ResourceType]
    RESOURCE_TYPE_VALIDATOR: _ClassVar[ResourceType]
    RESOURCE_TYPE_EFFECT: _ClassVar[ResourceType]
    RESOURCE_TYPE_SAGA: _ClassVar[ResourceType]
    RESOURCE_TYPE_ROLLBACK: _ClassVar[ResourceType]
    RESOURCE_TYPE_BREAKER: _ClassVar[ResourceType]
    RESOURCE_TYPE_INCIDENT: _ClassVar[ResourceType]

class WatchStart(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WATCH_START_UNSPECIFIED: _ClassVar[WatchStart]
    WATCH_START_NOW: _ClassVar[WatchStart]
    WATCH_START_REVISION: _ClassVar[WatchStart]
    WATCH_START_RESUME: _ClassVar[WatchStart]
    WATCH_START_SNAPSHOT: _ClassVar[WatchStart]
RESOURCE_TYPE_UNSPECIFIED: ResourceType
RESOURCE_TYPE_AGENT: ResourceType
RESOURCE_TYPE_SESSION: ResourceType
RESOURCE_TYPE_STREAM: ResourceType
RESOURCE_TYPE_EVENT: ResourceType
RESOURCE_TYPE_CHECKPOINT: ResourceType
RESOURCE_TYPE_KEY: ResourceType
RESOURCE_TYPE_LEASE: ResourceType
RESOURCE_TYPE_PROJECTION: ResourceType
RESOURCE_TYPE_GROUP: ResourceType
RESOURCE_TYPE_VALIDATOR: ResourceType
RESOURCE_TYPE_EFFECT: ResourceType
RESOURCE_TYPE_SAGA: ResourceType
RESOURCE_TYPE_ROLLBACK: ResourceType
RESOURCE_TYPE_BREAKER: ResourceType
RESOURCE_TYPE_INCIDENT: ResourceType
WATCH_START_UNSPECIFIED: WatchStart
WATCH_START_NOW: WatchStart
WATCH_START_REVISION: WatchStart
WATCH_START_RESUME: WatchStart
WATCH_START_SNAPSHOT: WatchStart

class Selector(_message.Message):
    __slots__ = ("types", "prefix", "exact", "labels")
    TYPES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    types: _containers.RepeatedScalarFieldContainer[ResourceType]
    prefix: bytes
    exact: bool
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    def __init__(self, types: _Optional[_Iterable[_Union[ResourceType, str]]] = ..., prefix: _Optional[bytes] = ..., exact: _Optional[bool] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("selector", "start", "revision", "resume_token", "progress_ms", "with_previous")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_MS_FIELD_NUMBER: _ClassVar[int]
    WITH_PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    selector: Selector
    start: WatchStart
    revision: int
    resume_token: str
    progress_ms: int
    with_previous: bool
    def __init__(self, selector: _Optional[_Union[Selector, _Mapping[str, _Any]]] = ..., start: _Optional[_Union[WatchStart, str]] = ..., revision: _Optional[int] = ..., resume_token: _Optional[str] = ..., progress_ms: _Optional[int] = ..., with_previous: _Optional[bool] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("agent", "session", "stream", "event", "checkpoint", "key", "lease", "projection", "group", "validator", "effect", "saga", "rollback", "breaker", "incident")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    SAGA_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    agent: _agent_service_pb2.Agent
    session: _session_service_pb2.Session
    stream: _event_service_pb2.StreamInfo
    event: _event_service_pb2.Event
    checkpoint: _checkpoint_service_pb2.Checkpoint
    key: _kv_service_pb2.KeyValue
    lease: _lease_service_pb2.Lease
    projection: _event_service_pb2.Projection
    group: _checkpoint_service_pb2.GroupCheckpoint
    validator: _recovery_service_pb2.Validator
    effect: _effect_service_pb2.Effect
    saga: _effect_service_pb2.Saga
    rollback: _rollback_service_pb2.Rollback
    breaker: _breaker_service_pb2.Breaker
    incident: _recovery_service_pb2.Incident
    def __init__(self, agent: _Optional[_Union[_agent_service_pb2.Agent, _Mapping[str, _Any]]] = ..., session: _Optional[_Union[_session_service_pb2.Session, _Mapping[str, _Any]]] = ..., stream: _Optional[_Union[_event_service_pb2.StreamInfo, _Mapping[str, _Any]]] = ..., event: _Optional[_Union[_event_service_pb2.Event, _Mapping[str, _Any]]] = ..., checkpoint: _Optional[_Union[_checkpoint_service_pb2.Checkpoint, _Mapping[str, _Any]]] = ..., key: _Optional[_Union[_kv_service_pb2.KeyValue, _Mapping[str, _Any]]] = ..., lease: _Optional[_Union[_lease_service_pb2.Lease, _Mapping[str, _Any]]] = ..., projection: _Optional[_Union[_event_service_pb2.Projection, _Mapping[str, _Any]]] = ..., group: _Optional[_Union[_checkpoint_service_pb2.GroupCheckpoint, _Mapping[str, _Any]]] = ..., validator: _Optional[_Union[_recovery_service_pb2.Validator, _Mapping[str, _Any]]] = ..., effect: _Optional[_Union[_effect_service_pb2.Effect, _Mapping[str, _Any]]] = ..., saga: _Optional[_Union[_effect_service_pb2.Saga, _Mapping[str, _Any]]] = ..., rollback: _Optional[_Union[_rollback_service_pb2.Rollback, _Mapping[str, _Any]]] = ..., breaker: _Optional[_Union[_breaker_service_pb2.Breaker, _Mapping[str, _Any]]] = ..., incident: _Optional[_Union[_recovery_service_pb2.Incident, _Mapping[str, _Any]]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("type", "id", "number", "resource", "previous", "created")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    type: ResourceType
    id: bytes
    number: int
    resource: Resource
    previous: Resource
    created: bool
    def __init__(self, type: _Optional[_Union[ResourceType, str]] = ..., id: _Optional[bytes] = ..., number: _Optional[int] = ..., resource: _Optional[_Union[Resource, _Mapping[str, _Any]]] = ..., previous: _Optional[_Union[Resource, _Mapping[str, _Any]]] = ..., created: _Optional[bool] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("header", "changes", "continued", "snapshot", "resume_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CONTINUED_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    continued: bool
    snapshot: bool
    resume_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping[str, _Any]]]] = ..., continued: _Optional[bool] = ..., snapshot: _Optional[bool] = ..., resume_token: _Optional[str] = ...) -> None: ...
