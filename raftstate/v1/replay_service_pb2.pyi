from raftstate.v1 import common_pb2 as _common_pb2
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

class Reducer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REDUCER_UNSPECIFIED: _ClassVar[Reducer]
    REDUCER_LAST_VALUE: _ClassVar[Reducer]
    REDUCER_MERGE_PATCH: _ClassVar[Reducer]
    REDUCER_APPEND: _ClassVar[Reducer]
    REDUCER_COUNT: _ClassVar[Reducer]
REDUCER_UNSPECIFIED: Reducer
REDUCER_LAST_VALUE: Reducer
REDUCER_MERGE_PATCH: Reducer
REDUCER_APPEND: Reducer
REDUCER_COUNT: Reducer

class RecordValueRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "recording")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    recording: _recording_pb2.NewRecording
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., recording: _Optional[_Union[_recording_pb2.NewRecording, _Mapping[str, _Any]]] = ...) -> None: ...

class RecordValueResponse(_message.Message):
    __slots__ = ("header", "step", "existed")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    step: int
    existed: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., step: _Optional[int] = ..., existed: _Optional[bool] = ...) -> None: ...

class GetRecordedRequest(_message.Message):
    __slots__ = ("agent_id", "from_step", "to_step", "key", "consistency", "revision", "page_size", "page_token")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_STEP_FIELD_NUMBER: _ClassVar[int]
    TO_STEP_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    from_step: int
    to_step: int
    key: str
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, agent_id: _Optional[str] = ..., from_step: _Optional[int] = ..., to_step: _Optional[int] = ..., key: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetRecordedResponse(_message.Message):
    __slots__ = ("header", "recordings", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    recordings: _containers.RepeatedCompositeFieldContainer[_recording_pb2.Recording]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., recordings: _Optional[_Iterable[_Union[_recording_pb2.Recording, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class VerifyReplayRequest(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "to_seq", "reducer", "consistency", "revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_SEQ_FIELD_NUMBER: _ClassVar[int]
    REDUCER_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    to_seq: int
    reducer: Reducer
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., to_seq: _Optional[int] = ..., reducer: _Optional[_Union[Reducer, str]] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class Divergence(_message.Message):
    __slots__ = ("seq", "checkpoint_id", "expected_hash", "actual_hash", "event", "differences")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_HASH_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_HASH_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    seq: int
    checkpoint_id: int
    expected_hash: bytes
    actual_hash: bytes
    event: _event_service_pb2.Event
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, seq: _Optional[int] = ..., checkpoint_id: _Optional[int] = ..., expected_hash: _Optional[bytes] = ..., actual_hash: _Optional[bytes] = ..., event: _Optional[_Union[_event_service_pb2.Event, _Mapping[str, _Any]]] = ..., differences: _Optional[_Iterable[str]] = ...) -> None: ...

class VerifyReplayResponse(_message.Message):
    __slots__ = ("header", "events", "hashes_compared", "checkpoints_compared", "divergence", "state_hash")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    HASHES_COMPARED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_COMPARED_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    events: int
    hashes_compared: int
    checkpoints_compared: int
    divergence: Divergence
    state_hash: bytes
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., events: _Optional[int] = ..., hashes_compared: _Optional[int] = ..., checkpoints_compared: _Optional[int] = ..., divergence: _Optional[_Union[Divergence, _Mapping[str, _Any]]] = ..., state_hash: _Optional[bytes] = ...) -> None: ...

class ReconstructRequest(_message.Message):
    __slots__ = ("agent_id", "event_seq", "at_revision", "reducer")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_REVISION_FIELD_NUMBER: _ClassVar[int]
    REDUCER_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    event_seq: int
    at_revision: int
    reducer: Reducer
    def __init__(self, agent_id: _Optional[str] = ..., event_seq: _Optional[int] = ..., at_revision: _Optional[int] = ..., reducer: _Optional[_Union[Reducer, str]] = ...) -> None: ...

class ReconstructResponse(_message.Message):
    __slots__ = ("header", "event_seq", "state", "state_hash", "checkpoint_id", "events", "more_events")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_EVENTS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    event_seq: int
    state: bytes
    state_hash: bytes
    checkpoint_id: int
    events: _containers.RepeatedCompositeFieldContainer[_event_service_pb2.Event]
    more_events: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., event_seq: _Optional[int] = ..., state: _Optional[bytes] = ..., state_hash: _Optional[bytes] = ..., checkpoint_id: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_service_pb2.Event, _Mapping[str, _Any]]]] = ..., more_events: _Optional[bool] = ...) -> None: ...
