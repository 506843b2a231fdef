from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NewEvent(_message.Message):
    __slots__ = ("type", "content_type", "data", "causation_id", "correlation_id")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    type: str
    content_type: str
    data: bytes
    causation_id: str
    correlation_id: str
    def __init__(self, type: _Optional[str] = ..., content_type: _Optional[str] = ..., data: _Optional[bytes] = ..., causation_id: _Optional[str] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("stream_id", "seq", "position", "revision", "step", "type", "content_type", "data", "causation_id", "correlation_id", "log_time_ms", "hash")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    seq: int
    position: int
    revision: int
    step: int
    type: str
    content_type: str
    data: bytes
    causation_id: str
    correlation_id: str
    log_time_ms: int
    hash: bytes
    def __init__(self, stream_id: _Optional[str] = ..., seq: _Optional[int] = ..., position: _Optional[int] = ..., revision: _Optional[int] = ..., step: _Optional[int] = ..., type: _Optional[str] = ..., content_type: _Optional[str] = ..., data: _Optional[bytes] = ..., causation_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., log_time_ms: _Optional[int] = ..., hash: _Optional[bytes] = ...) -> None: ...

class ReadEventsRequest(_message.Message):
    __slots__ = ("stream_id", "from_seq", "max_events", "consistency")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    from_seq: int
    max_events: int
    consistency: _common_pb2.Consistency
    def __init__(self, stream_id: _Optional[str] = ..., from_seq: _Optional[int] = ..., max_events: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ...) -> None: ...

class ReadEventsResponse(_message.Message):
    __slots__ = ("header", "events")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class ReadAllRequest(_message.Message):
    __slots__ = ("from_position", "max_events", "consistency")
    FROM_POSITION_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    from_position: int
    max_events: int
    consistency: _common_pb2.Consistency
    def __init__(self, from_position: _Optional[int] = ..., max_events: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ...) -> None: ...

class ReadAllResponse(_message.Message):
    __slots__ = ("header", "events")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class GetStreamRequest(_message.Message):
    __slots__ = ("stream_id", "consistency")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    consistency: _common_pb2.Consistency
    def __init__(self, stream_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ...) -> None: ...

class GetStreamResponse(_message.Message):
    __slots__ = ("header", "last_seq", "last_hash")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_HASH_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    last_seq: int
    last_hash: bytes
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., last_seq: _Optional[int] = ..., last_hash: _Optional[bytes] = ...) -> None: ...
