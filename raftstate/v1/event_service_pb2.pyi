from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Expected(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPECTED_UNSPECIFIED: _ClassVar[Expected]
    EXPECTED_ANY: _ClassVar[Expected]
    EXPECTED_NONE: _ClassVar[Expected]
    EXPECTED_EXISTS: _ClassVar[Expected]
    EXPECTED_EXACT: _ClassVar[Expected]
EXPECTED_UNSPECIFIED: Expected
EXPECTED_ANY: Expected
EXPECTED_NONE: Expected
EXPECTED_EXISTS: Expected
EXPECTED_EXACT: Expected

class NewEvent(_message.Message):
    __slots__ = ("type", "content_type", "data", "causation_id", "correlation_id", "event_id", "state_hash")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    type: str
    content_type: str
    data: bytes
    causation_id: str
    correlation_id: str
    event_id: str
    state_hash: bytes
    def __init__(self, type: _Optional[str] = ..., content_type: _Optional[str] = ..., data: _Optional[bytes] = ..., causation_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., event_id: _Optional[str] = ..., state_hash: _Optional[bytes] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("stream_id", "seq", "position", "revision", "step", "type", "content_type", "data", "causation_id", "correlation_id", "log_time_ms", "hash", "event_id", "state_hash", "undone_by")
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
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    UNDONE_BY_FIELD_NUMBER: _ClassVar[int]
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
    event_id: str
    state_hash: bytes
    undone_by: str
    def __init__(self, stream_id: _Optional[str] = ..., seq: _Optional[int] = ..., position: _Optional[int] = ..., revision: _Optional[int] = ..., step: _Optional[int] = ..., type: _Optional[str] = ..., content_type: _Optional[str] = ..., data: _Optional[bytes] = ..., causation_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., log_time_ms: _Optional[int] = ..., hash: _Optional[bytes] = ..., event_id: _Optional[str] = ..., state_hash: _Optional[bytes] = ..., undone_by: _Optional[str] = ...) -> None: ...

class StreamAppend(_message.Message):
    __slots__ = ("stream_id", "expected", "expected_seq", "events", "fence")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    expected: Expected
    expected_seq: int
    events: _containers.RepeatedCompositeFieldContainer[NewEvent]
    fence: _common_pb2.FencingToken
    def __init__(self, stream_id: _Optional[str] = ..., expected: _Optional[_Union[Expected, str]] = ..., expected_seq: _Optional[int] = ..., events: _Optional[_Iterable[_Union[NewEvent, _Mapping[str, _Any]]]] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ...) -> None: ...

class AppendEventsRequest(_message.Message):
    __slots__ = ("request_id", "appends")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    APPENDS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    appends: _containers.RepeatedCompositeFieldContainer[StreamAppend]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., appends: _Optional[_Iterable[_Union[StreamAppend, _Mapping[str, _Any]]]] = ...) -> None: ...

class StreamAppended(_message.Message):
    __slots__ = ("first_seq", "last_seq", "last_hash")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_HASH_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    last_seq: int
    last_hash: bytes
    def __init__(self, first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., last_hash: _Optional[bytes] = ...) -> None: ...

class AppendEventsResponse(_message.Message):
    __slots__ = ("header", "appended", "first_position", "duplicate")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    APPENDED_FIELD_NUMBER: _ClassVar[int]
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    appended: _containers.RepeatedCompositeFieldContainer[StreamAppended]
    first_position: int
    duplicate: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., appended: _Optional[_Iterable[_Union[StreamAppended, _Mapping[str, _Any]]]] = ..., first_position: _Optional[int] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class ReadEventsRequest(_message.Message):
    __slots__ = ("stream_id", "from_seq", "max_events", "consistency", "revision", "backwards")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    from_seq: int
    max_events: int
    consistency: _common_pb2.Consistency
    revision: int
    backwards: bool
    def __init__(self, stream_id: _Optional[str] = ..., from_seq: _Optional[int] = ..., max_events: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., backwards: _Optional[bool] = ...) -> None: ...

class ReadEventsResponse(_message.Message):
    __slots__ = ("header", "events")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping[str, _Any]]]] = ...) -> None: ...

class ReadAllRequest(_message.Message):
    __slots__ = ("from_position", "max_events", "consistency", "revision", "backwards", "prefix")
    FROM_POSITION_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    from_position: int
    max_events: int
    consistency: _common_pb2.Consistency
    revision: int
    backwards: bool
    prefix: str
    def __init__(self, from_position: _Optional[int] = ..., max_events: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., backwards: _Optional[bool] = ..., prefix: _Optional[str] = ...) -> None: ...

class ReadAllResponse(_message.Message):
    __slots__ = ("header", "events", "next_position")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_POSITION_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_position: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping[str, _Any]]]] = ..., next_position: _Optional[int] = ...) -> None: ...

class GetStreamRequest(_message.Message):
    __slots__ = ("stream_id", "consistency", "revision")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, stream_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("stream_id", "first_seq", "last_seq", "last_hash", "base_hash", "agent")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_HASH_FIELD_NUMBER: _ClassVar[int]
    BASE_HASH_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    first_seq: int
    last_seq: int
    last_hash: bytes
    base_hash: bytes
    agent: bool
    def __init__(self, stream_id: _Optional[str] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., last_hash: _Optional[bytes] = ..., base_hash: _Optional[bytes] = ..., agent: _Optional[bool] = ...) -> None: ...

class GetStreamResponse(_message.Message):
    __slots__ = ("header", "last_seq", "last_hash", "stream")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_HASH_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    last_seq: int
    last_hash: bytes
    stream: StreamInfo
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., last_seq: _Optional[int] = ..., last_hash: _Optional[bytes] = ..., stream: _Optional[_Union[StreamInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class TruncateBeforeRequest(_message.Message):
    __slots__ = ("request_id", "stream_id", "before_seq", "checkpoint_id", "projection")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    stream_id: str
    before_seq: int
    checkpoint_id: int
    projection: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., stream_id: _Optional[str] = ..., before_seq: _Optional[int] = ..., checkpoint_id: _Optional[int] = ..., projection: _Optional[str] = ...) -> None: ...

class TruncateBeforeResponse(_message.Message):
    __slots__ = ("header", "first_seq")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    first_seq: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., first_seq: _Optional[int] = ...) -> None: ...

class VerifyChainRequest(_message.Message):
    __slots__ = ("stream_id", "from_seq", "max_events", "consistency", "revision")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    from_seq: int
    max_events: int
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, stream_id: _Optional[str] = ..., from_seq: _Optional[int] = ..., max_events: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class VerifyChainResponse(_message.Message):
    __slots__ = ("header", "intact", "first_seq", "last_seq", "last_hash", "broken_seq", "next_seq")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    INTACT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_HASH_FIELD_NUMBER: _ClassVar[int]
    BROKEN_SEQ_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    intact: bool
    first_seq: int
    last_seq: int
    last_hash: bytes
    broken_seq: int
    next_seq: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., intact: _Optional[bool] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., last_hash: _Optional[bytes] = ..., broken_seq: _Optional[int] = ..., next_seq: _Optional[int] = ...) -> None: ...

class ExportAuditRequest(_message.Message):
    __slots__ = ("prefix", "consistency", "revision")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, prefix: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class ExportAuditResponse(_message.Message):
    __slots__ = ("header", "streams", "events", "end")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    streams: _containers.RepeatedCompositeFieldContainer[StreamInfo]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    end: AuditEnd
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., streams: _Optional[_Iterable[_Union[StreamInfo, _Mapping[str, _Any]]]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping[str, _Any]]]] = ..., end: _Optional[_Union[AuditEnd, _Mapping[str, _Any]]] = ...) -> None: ...

class AuditEnd(_message.Message):
    __slots__ = ("streams", "events", "head")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    streams: int
    events: int
    head: bytes
    def __init__(self, streams: _Optional[int] = ..., events: _Optional[int] = ..., head: _Optional[bytes] = ...) -> None: ...

class Projection(_message.Message):
    __slots__ = ("name", "position", "saved_revision", "log_time_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SAVED_REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    position: int
    saved_revision: int
    log_time_ms: int
    def __init__(self, name: _Optional[str] = ..., position: _Optional[int] = ..., saved_revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ...) -> None: ...

class SaveProjectionRequest(_message.Message):
    __slots__ = ("request_id", "name", "position", "expected_position")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_POSITION_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    position: int
    expected_position: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., position: _Optional[int] = ..., expected_position: _Optional[int] = ...) -> None: ...

class SaveProjectionResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class GetProjectionRequest(_message.Message):
    __slots__ = ("name", "consistency", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, name: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetProjectionResponse(_message.Message):
    __slots__ = ("header", "projection")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    projection: Projection
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., projection: _Optional[_Union[Projection, _Mapping[str, _Any]]] = ...) -> None: ...

class ListProjectionsRequest(_message.Message):
    __slots__ = ("consistency", "revision", "page_size", "page_token")
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProjectionsResponse(_message.Message):
    __slots__ = ("header", "projections", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    projections: _containers.RepeatedCompositeFieldContainer[Projection]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., projections: _Optional[_Iterable[_Union[Projection, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteProjectionRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteProjectionResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...
