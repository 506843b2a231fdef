from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NewCheckpoint(_message.Message):
    __slots__ = ("data", "content_type", "labels")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    content_type: str
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    def __init__(self, data: _Optional[bytes] = ..., content_type: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping]]] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "step", "event_seq", "revision", "log_time_ms", "content_type", "labels", "size_bytes", "content_hash", "data")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    step: int
    event_seq: int
    revision: int
    log_time_ms: int
    content_type: str
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    size_bytes: int
    content_hash: bytes
    data: bytes
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., step: _Optional[int] = ..., event_seq: _Optional[int] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ..., content_type: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping]]] = ..., size_bytes: _Optional[int] = ..., content_hash: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...

class GetCheckpointRequest(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "consistency")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    consistency: _common_pb2.Consistency
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ...) -> None: ...

class GetCheckpointResponse(_message.Message):
    __slots__ = ("header", "checkpoint", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    checkpoint: Checkpoint
    chunk: bytes
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ListCheckpointsRequest(_message.Message):
    __slots__ = ("agent_id", "consistency", "page_size", "page_token")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    consistency: _common_pb2.Consistency
    page_size: int
    page_token: str
    def __init__(self, agent_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCheckpointsResponse(_message.Message):
    __slots__ = ("header", "checkpoints", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
