from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Consistency(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSISTENCY_UNSPECIFIED: _ClassVar[Consistency]
    CONSISTENCY_LINEARIZABLE: _ClassVar[Consistency]
    CONSISTENCY_STALE: _ClassVar[Consistency]
    CONSISTENCY_AT_LEAST: _ClassVar[Consistency]
    CONSISTENCY_AT_REVISION: _ClassVar[Consistency]
CONSISTENCY_UNSPECIFIED: Consistency
CONSISTENCY_LINEARIZABLE: Consistency
CONSISTENCY_STALE: Consistency
CONSISTENCY_AT_LEAST: Consistency
CONSISTENCY_AT_REVISION: Consistency

class RequestId(_message.Message):
    __slots__ = ("session_id", "sequence", "lowest_unfinished", "opened_revision")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LOWEST_UNFINISHED_FIELD_NUMBER: _ClassVar[int]
    OPENED_REVISION_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    sequence: int
    lowest_unfinished: int
    opened_revision: int
    def __init__(self, session_id: _Optional[str] = ..., sequence: _Optional[int] = ..., lowest_unfinished: _Optional[int] = ..., opened_revision: _Optional[int] = ...) -> None: ...

class FencingToken(_message.Message):
    __slots__ = ("epoch", "revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    revision: int
    def __init__(self, epoch: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class ResponseHeader(_message.Message):
    __slots__ = ("cluster_id", "cluster_epoch", "member_id", "revision", "raft_index", "term")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RAFT_INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    cluster_epoch: int
    member_id: str
    revision: int
    raft_index: int
    term: int
    def __init__(self, cluster_id: _Optional[str] = ..., cluster_epoch: _Optional[int] = ..., member_id: _Optional[str] = ..., revision: _Optional[int] = ..., raft_index: _Optional[int] = ..., term: _Optional[int] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class StepHead(_message.Message):
    __slots__ = ("step", "event_seq", "checkpoint_id", "event_hash")
    STEP_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_HASH_FIELD_NUMBER: _ClassVar[int]
    step: int
    event_seq: int
    checkpoint_id: int
    event_hash: bytes
    def __init__(self, step: _Optional[int] = ..., event_seq: _Optional[int] = ..., checkpoint_id: _Optional[int] = ..., event_hash: _Optional[bytes] = ...) -> None: ...
