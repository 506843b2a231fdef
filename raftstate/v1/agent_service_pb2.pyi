from raftstate.v1 import checkpoint_service_pb2 as _checkpoint_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import effect_service_pb2 as _effect_service_pb2
from raftstate.v1 import event_service_pb2 as _event_service_pb2
from raftstate.v1 import recording_pb2 as _recording_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lifecycle(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIFECYCLE_UNSPECIFIED: _ClassVar[Lifecycle]
    LIFECYCLE_IDLE: _ClassVar[Lifecycle]
    LIFECYCLE_ACTIVE: _ClassVar[Lifecycle]
    LIFECYCLE_HALTED: _ClassVar[Lifecycle]
    LIFECYCLE_RECOVERING: _ClassVar[Lifecycle]
    LIFECYCLE_VALIDATING: _ClassVar[Lifecycle]
    LIFECYCLE_RETIRED: _ClassVar[Lifecycle]

class AcquireMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACQUIRE_MODE_UNSPECIFIED: _ClassVar[AcquireMode]
    ACQUIRE_MODE_IF_FREE: _ClassVar[AcquireMode]
    ACQUIRE_MODE_WAIT: _ClassVar[AcquireMode]
    ACQUIRE_MODE_FORCE: _ClassVar[AcquireMode]
LIFECYCLE_UNSPECIFIED: Lifecycle
LIFECYCLE_IDLE: Lifecycle
LIFECYCLE_ACTIVE: Lifecycle
LIFECYCLE_HALTED: Lifecycle
LIFECYCLE_RECOVERING: Lifecycle
LIFECYCLE_VALIDATING: Lifecycle
LIFECYCLE_RETIRED: Lifecycle
ACQUIRE_MODE_UNSPECIFIED: AcquireMode
ACQUIRE_MODE_IF_FREE: AcquireMode
ACQUIRE_MODE_WAIT: AcquireMode
ACQUIRE_MODE_FORCE: AcquireMode

class Ownership(_message.Message):
    __slots__ = ("fence", "holder", "session_id", "ttl_ms", "touched_revision")
    FENCE_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    fence: _common_pb2.FencingToken
    holder: str
    session_id: str
    ttl_ms: int
    touched_revision: int
    def __init__(self, fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., holder: _Optional[str] = ..., session_id: _Optional[str] = ..., ttl_ms: _Optional[int] = ..., touched_revision: _Optional[int] = ...) -> None: ...

class Retention(_message.Message):
    __slots__ = ("keep_last", "keep_for_ms", "keep_known_good")
    KEEP_LAST_FIELD_NUMBER: _ClassVar[int]
    KEEP_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    KEEP_KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    keep_last: int
    keep_for_ms: int
    keep_known_good: int
    def __init__(self, keep_last: _Optional[int] = ..., keep_for_ms: _Optional[int] = ..., keep_known_good: _Optional[int] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("agent_id", "labels", "lifecycle", "owner", "head", "newest_fence", "created_revision", "halt_reason", "retention", "rpo_target_ms", "rto_target_ms", "prunable", "chunk_space", "forked_from", "known_good", "newest_known_good", "spare_known_good", "effects", "open_effects", "rollback_id", "incident_id")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FENCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_REVISION_FIELD_NUMBER: _ClassVar[int]
    HALT_REASON_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    RPO_TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    RTO_TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    PRUNABLE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SPACE_FIELD_NUMBER: _ClassVar[int]
    FORKED_FROM_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    NEWEST_KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    SPARE_KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    lifecycle: Lifecycle
    owner: Ownership
    head: _common_pb2.StepHead
    newest_fence: _common_pb2.FencingToken
    created_revision: int
    halt_reason: str
    retention: Retention
    rpo_target_ms: int
    rto_target_ms: int
    prunable: int
    chunk_space: str
    forked_from: _checkpoint_service_pb2.CheckpointOrigin
    known_good: int
    newest_known_good: int
    spare_known_good: int
    effects: int
    open_effects: int
    rollback_id: str
    incident_id: str
    def __init__(self, agent_id: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., lifecycle: _Optional[_Union[Lifecycle, str]] = ..., owner: _Optional[_Union[Ownership, _Mapping[str, _Any]]] = ..., head: _Optional[_Union[_common_pb2.StepHead, _Mapping[str, _Any]]] = ..., newest_fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., created_revision: _Optional[int] = ..., halt_reason: _Optional[str] = ..., retention: _Optional[_Union[Retention, _Mapping[str, _Any]]] = ..., rpo_target_ms: _Optional[int] = ..., rto_target_ms: _Optional[int] = ..., prunable: _Optional[int] = ..., chunk_space: _Optional[str] = ..., forked_from: _Optional[_Union[_checkpoint_service_pb2.CheckpointOrigin, _Mapping[str, _Any]]] = ..., known_good: _Optional[int] = ..., newest_known_good: _Optional[int] = ..., spare_known_good: _Optional[int] = ..., effects: _Optional[int] = ..., open_effects: _Optional[int] = ..., rollback_id: _Optional[str] = ..., incident_id: _Optional[str] = ...) -> None: ...

class TakeoverBundle(_message.Message):
    __slots__ = ("agent", "checkpoint", "events", "more_events", "more_data", "open_effects", "more_effects", "open_sagas", "recordings", "more_recordings")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_DATA_FIELD_NUMBER: _ClassVar[int]
    OPEN_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    MORE_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SAGAS_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    MORE_RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    checkpoint: _checkpoint_service_pb2.Checkpoint
    events: _containers.RepeatedCompositeFieldContainer[_event_service_pb2.Event]
    more_events: bool
    more_data: bool
    open_effects: _containers.RepeatedCompositeFieldContainer[_effect_service_pb2.Effect]
    more_effects: bool
    open_sagas: _containers.RepeatedCompositeFieldContainer[_effect_service_pb2.Saga]
    recordings: _containers.RepeatedCompositeFieldContainer[_recording_pb2.Recording]
    more_recordings: bool
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ..., checkpoint: _Optional[_Union[_checkpoint_service_pb2.Checkpoint, _Mapping[str, _Any]]] = ..., events: _Optional[_Iterable[_Union[_event_service_pb2.Event, _Mapping[str, _Any]]]] = ..., more_events: _Optional[bool] = ..., more_data: _Optional[bool] = ..., open_effects: _Optional[_Iterable[_Union[_effect_service_pb2.Effect, _Mapping[str, _Any]]]] = ..., more_effects: _Optional[bool] = ..., open_sagas: _Optional[_Iterable[_Union[_effect_service_pb2.Saga, _Mapping[str, _Any]]]] = ..., recordings: _Optional[_Iterable[_Union[_recording_pb2.Recording, _Mapping[str, _Any]]]] = ..., more_recordings: _Optional[bool] = ...) -> None: ...

class CreateAgentRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "labels", "retention", "rpo_target_ms", "rto_target_ms")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    RPO_TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    RTO_TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    retention: Retention
    rpo_target_ms: int
    rto_target_ms: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., retention: _Optional[_Union[Retention, _Mapping[str, _Any]]] = ..., rpo_target_ms: _Optional[int] = ..., rto_target_ms: _Optional[int] = ...) -> None: ...

class CreateAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class GetAgentRequest(_message.Message):
    __slots__ = ("agent_id", "consistency", "revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, agent_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class UpdateAgentRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "labels", "retention", "rpo_target_ms", "rto_target_ms")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    RPO_TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    RTO_TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    retention: Retention
    rpo_target_ms: int
    rto_target_ms: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., retention: _Optional[_Union[Retention, _Mapping[str, _Any]]] = ..., rpo_target_ms: _Optional[int] = ..., rto_target_ms: _Optional[int] = ...) -> None: ...

class UpdateAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("prefix", "consistency", "page_size", "page_token", "revision")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    consistency: _common_pb2.Consistency
    page_size: int
    page_token: str
    revision: int
    def __init__(self, prefix: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("header", "agents", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agents: _containers.RepeatedCompositeFieldContainer[Agent]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agents: _Optional[_Iterable[_Union[Agent, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetireAgentRequest(_message.Message):
    __slots__ = ("request_id", "agent_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ...) -> None: ...

class RetireAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class AcquireOwnershipRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "mode", "ttl_ms", "holder", "create")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    mode: AcquireMode
    ttl_ms: int
    holder: str
    create: bool
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., mode: _Optional[_Union[AcquireMode, str]] = ..., ttl_ms: _Optional[int] = ..., holder: _Optional[str] = ..., create: _Optional[bool] = ...) -> None: ...

class AcquireOwnershipResponse(_message.Message):
    __slots__ = ("header", "ownership", "bundle")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    ownership: Ownership
    bundle: TakeoverBundle
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., ownership: _Optional[_Union[Ownership, _Mapping[str, _Any]]] = ..., bundle: _Optional[_Union[TakeoverBundle, _Mapping[str, _Any]]] = ...) -> None: ...

class RenewOwnershipRequest(_message.Message):
    __slots__ = ("agent_id", "fence", "nonce")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    fence: _common_pb2.FencingToken
    nonce: int
    def __init__(self, agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., nonce: _Optional[int] = ...) -> None: ...

class RenewOwnershipResponse(_message.Message):
    __slots__ = ("header", "agent_id", "nonce", "held", "ttl_ms")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent_id: str
    nonce: int
    held: bool
    ttl_ms: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., nonce: _Optional[int] = ..., held: _Optional[bool] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class ReleaseOwnershipRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ...) -> None: ...

class ReleaseOwnershipResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class ForkAgentRequest(_message.Message):
    __slots__ = ("request_id", "source_agent_id", "agent_id", "checkpoint_id", "labels")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    source_agent_id: str
    agent_id: str
    checkpoint_id: int
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., source_agent_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ...) -> None: ...

class ForkAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class HaltAgentRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    reason: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class HaltAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class ResumeAgentRequest(_message.Message):
    __slots__ = ("request_id", "agent_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ...) -> None: ...

class ResumeAgentResponse(_message.Message):
    __slots__ = ("header", "agent")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    agent: Agent
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., agent: _Optional[_Union[Agent, _Mapping[str, _Any]]] = ...) -> None: ...

class FenceQuery(_message.Message):
    __slots__ = ("agent_id", "fence")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    fence: _common_pb2.FencingToken
    def __init__(self, agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ...) -> None: ...

class CheckFenceRequest(_message.Message):
    __slots__ = ("fences",)
    FENCES_FIELD_NUMBER: _ClassVar[int]
    fences: _containers.RepeatedCompositeFieldContainer[FenceQuery]
    def __init__(self, fences: _Optional[_Iterable[_Union[FenceQuery, _Mapping[str, _Any]]]] = ...) -> None: ...

class CheckFenceResponse(_message.Message):
    __slots__ = ("header", "current")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    current: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., current: _Optional[_Iterable[bool]] = ...) -> None: ...
