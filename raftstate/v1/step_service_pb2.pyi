from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import checkpoint_service_pb2 as _checkpoint_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import event_service_pb2 as _event_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CommitStepRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "expected_step", "events", "checkpoint")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STEP_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    expected_step: int
    events: _containers.RepeatedCompositeFieldContainer[_event_service_pb2.NewEvent]
    checkpoint: _checkpoint_service_pb2.NewCheckpoint
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping]] = ..., expected_step: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_service_pb2.NewEvent, _Mapping]]] = ..., checkpoint: _Optional[_Union[_checkpoint_service_pb2.NewCheckpoint, _Mapping]] = ...) -> None: ...

class CommitStepResponse(_message.Message):
    __slots__ = ("header", "head", "first_position")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    head: _common_pb2.StepHead
    first_position: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., head: _Optional[_Union[_common_pb2.StepHead, _Mapping]] = ..., first_position: _Optional[int] = ...) -> None: ...

class Mutation(_message.Message):
    __slots__ = ("create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step")
    CREATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    RETIRE_AGENT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    HALT_AGENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AGENT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_STEP_FIELD_NUMBER: _ClassVar[int]
    create_agent: _agent_service_pb2.CreateAgentRequest
    update_agent: _agent_service_pb2.UpdateAgentRequest
    retire_agent: _agent_service_pb2.RetireAgentRequest
    acquire_ownership: _agent_service_pb2.AcquireOwnershipRequest
    release_ownership: _agent_service_pb2.ReleaseOwnershipRequest
    halt_agent: _agent_service_pb2.HaltAgentRequest
    resume_agent: _agent_service_pb2.ResumeAgentRequest
    commit_step: CommitStepRequest
    def __init__(self, create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentRequest, _Mapping]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentRequest, _Mapping]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentRequest, _Mapping]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipRequest, _Mapping]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipRequest, _Mapping]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentRequest, _Mapping]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentRequest, _Mapping]] = ..., commit_step: _Optional[_Union[CommitStepRequest, _Mapping]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("first_nonce", "mutations")
    FIRST_NONCE_FIELD_NUMBER: _ClassVar[int]
    MUTATIONS_FIELD_NUMBER: _ClassVar[int]
    first_nonce: int
    mutations: _containers.RepeatedCompositeFieldContainer[Mutation]
    def __init__(self, first_nonce: _Optional[int] = ..., mutations: _Optional[_Iterable[_Union[Mutation, _Mapping]]] = ...) -> None: ...

class MutationResult(_message.Message):
    __slots__ = ("nonce", "error", "create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    RETIRE_AGENT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    HALT_AGENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AGENT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_STEP_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    error: bytes
    create_agent: _agent_service_pb2.CreateAgentResponse
    update_agent: _agent_service_pb2.UpdateAgentResponse
    retire_agent: _agent_service_pb2.RetireAgentResponse
    acquire_ownership: _agent_service_pb2.AcquireOwnershipResponse
    release_ownership: _agent_service_pb2.ReleaseOwnershipResponse
    halt_agent: _agent_service_pb2.HaltAgentResponse
    resume_agent: _agent_service_pb2.ResumeAgentResponse
    commit_step: CommitStepResponse
    def __init__(self, nonce: _Optional[int] = ..., error: _Optional[bytes] = ..., create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentResponse, _Mapping]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentResponse, _Mapping]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentResponse, _Mapping]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipResponse, _Mapping]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipResponse, _Mapping]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentResponse, _Mapping]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentResponse, _Mapping]] = ..., commit_step: _Optional[_Union[CommitStepResponse, _Mapping]] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[MutationResult]
    def __init__(self, results: _Optional[_Iterable[_Union[MutationResult, _Mapping]]] = ...) -> None: ...
