from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import session_service_pb2 as _session_service_pb2
from raftstate.v1 import step_service_pb2 as _step_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_AGENT_NOT_FOUND: _ClassVar[Reason]
    REASON_AGENT_EXISTS: _ClassVar[Reason]
    REASON_AGENT_STATE: _ClassVar[Reason]
    REASON_OWNED: _ClassVar[Reason]
    REASON_NOT_OWNER: _ClassVar[Reason]
    REASON_FENCED: _ClassVar[Reason]
    REASON_CONFLICT: _ClassVar[Reason]
    REASON_SESSION_EXPIRED: _ClassVar[Reason]
    REASON_REQUEST_ID_REUSED: _ClassVar[Reason]
    REASON_INVALID_REQUEST: _ClassVar[Reason]
    REASON_OUTCOME_FORGOTTEN: _ClassVar[Reason]
    REASON_EXPIRY_OVERTAKEN: _ClassVar[Reason]
REASON_UNSPECIFIED: Reason
REASON_AGENT_NOT_FOUND: Reason
REASON_AGENT_EXISTS: Reason
REASON_AGENT_STATE: Reason
REASON_OWNED: Reason
REASON_NOT_OWNER: Reason
REASON_FENCED: Reason
REASON_CONFLICT: Reason
REASON_SESSION_EXPIRED: Reason
REASON_REQUEST_ID_REUSED: Reason
REASON_INVALID_REQUEST: Reason
REASON_OUTCOME_FORGOTTEN: Reason
REASON_EXPIRY_OVERTAKEN: Reason

class Command(_message.Message):
    __slots__ = ("open_session", "close_session", "create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step", "expire_session", "expire_ownership")
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    RETIRE_AGENT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    HALT_AGENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AGENT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_STEP_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_SESSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    open_session: _session_service_pb2.OpenSessionRequest
    close_session: _session_service_pb2.CloseSessionRequest
    create_agent: _agent_service_pb2.CreateAgentRequest
    update_agent: _agent_service_pb2.UpdateAgentRequest
    retire_agent: _agent_service_pb2.RetireAgentRequest
    acquire_ownership: _agent_service_pb2.AcquireOwnershipRequest
    release_ownership: _agent_service_pb2.ReleaseOwnershipRequest
    halt_agent: _agent_service_pb2.HaltAgentRequest
    resume_agent: _agent_service_pb2.ResumeAgentRequest
    commit_step: _step_service_pb2.CommitStepRequest
    expire_session: ExpireSession
    expire_ownership: ExpireOwnership
    def __init__(self, open_session: _Optional[_Union[_session_service_pb2.OpenSessionRequest, _Mapping]] = ..., close_session: _Optional[_Union[_session_service_pb2.CloseSessionRequest, _Mapping]] = ..., create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentRequest, _Mapping]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentRequest, _Mapping]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentRequest, _Mapping]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipRequest, _Mapping]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipRequest, _Mapping]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentRequest, _Mapping]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentRequest, _Mapping]] = ..., commit_step: _Optional[_Union[_step_service_pb2.CommitStepRequest, _Mapping]] = ..., expire_session: _Optional[_Union[ExpireSession, _Mapping]] = ..., expire_ownership: _Optional[_Union[ExpireOwnership, _Mapping]] = ...) -> None: ...

class ExpireSession(_message.Message):
    __slots__ = ("session_id", "touched_revision")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    touched_revision: int
    def __init__(self, session_id: _Optional[str] = ..., touched_revision: _Optional[int] = ...) -> None: ...

class ExpireOwnership(_message.Message):
    __slots__ = ("agent_id", "fence", "touched_revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    fence: _common_pb2.FencingToken
    touched_revision: int
    def __init__(self, agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping]] = ..., touched_revision: _Optional[int] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("log_time_ms", "wall_time_ms", "commands")
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    log_time_ms: int
    wall_time_ms: int
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    def __init__(self, log_time_ms: _Optional[int] = ..., wall_time_ms: _Optional[int] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "message", "current_fence", "current_holder", "current_head", "lifecycle", "field")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FENCE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_HOLDER_FIELD_NUMBER: _ClassVar[int]
    CURRENT_HEAD_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    reason: Reason
    message: str
    current_fence: _common_pb2.FencingToken
    current_holder: str
    current_head: _common_pb2.StepHead
    lifecycle: _agent_service_pb2.Lifecycle
    field: str
    def __init__(self, reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., current_fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping]] = ..., current_holder: _Optional[str] = ..., current_head: _Optional[_Union[_common_pb2.StepHead, _Mapping]] = ..., lifecycle: _Optional[_Union[_agent_service_pb2.Lifecycle, str]] = ..., field: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("revision", "raft_index", "refusal", "done", "open_session", "close_session", "create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RAFT_INDEX_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    RETIRE_AGENT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    HALT_AGENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AGENT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_STEP_FIELD_NUMBER: _ClassVar[int]
    revision: int
    raft_index: int
    refusal: Refusal
    done: Done
    open_session: _session_service_pb2.OpenSessionResponse
    close_session: _session_service_pb2.CloseSessionResponse
    create_agent: _agent_service_pb2.CreateAgentResponse
    update_agent: _agent_service_pb2.UpdateAgentResponse
    retire_agent: _agent_service_pb2.RetireAgentResponse
    acquire_ownership: _agent_service_pb2.AcquireOwnershipResponse
    release_ownership: _agent_service_pb2.ReleaseOwnershipResponse
    halt_agent: _agent_service_pb2.HaltAgentResponse
    resume_agent: _agent_service_pb2.ResumeAgentResponse
    commit_step: _step_service_pb2.CommitStepResponse
    def __init__(self, revision: _Optional[int] = ..., raft_index: _Optional[int] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., open_session: _Optional[_Union[_session_service_pb2.OpenSessionResponse, _Mapping]] = ..., close_session: _Optional[_Union[_session_service_pb2.CloseSessionResponse, _Mapping]] = ..., create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentResponse, _Mapping]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentResponse, _Mapping]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentResponse, _Mapping]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipResponse, _Mapping]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipResponse, _Mapping]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentResponse, _Mapping]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentResponse, _Mapping]] = ..., commit_step: _Optional[_Union[_step_service_pb2.CommitStepResponse, _Mapping]] = ...) -> None: ...

class SessionRecord(_message.Message):
    __slots__ = ("session", "touched_revision", "forgotten_below")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_BELOW_FIELD_NUMBER: _ClassVar[int]
    session: _session_service_pb2.Session
    touched_revision: int
    forgotten_below: int
    def __init__(self, session: _Optional[_Union[_session_service_pb2.Session, _Mapping]] = ..., touched_revision: _Optional[int] = ..., forgotten_below: _Optional[int] = ...) -> None: ...

class OutcomeRecord(_message.Message):
    __slots__ = ("payload_hash", "outcome")
    PAYLOAD_HASH_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    payload_hash: bytes
    outcome: Outcome
    def __init__(self, payload_hash: _Optional[bytes] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ...) -> None: ...
