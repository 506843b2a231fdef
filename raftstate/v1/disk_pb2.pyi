from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DiskIdentity(_message.Message):
    __slots__ = ("format", "cluster_id", "cluster_epoch", "member_id", "disk_id")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    format: int
    cluster_id: str
    cluster_epoch: int
    member_id: str
    disk_id: str
    def __init__(self, format: _Optional[int] = ..., cluster_id: _Optional[str] = ..., cluster_epoch: _Optional[int] = ..., member_id: _Optional[str] = ..., disk_id: _Optional[str] = ...) -> None: ...

class HardState(_message.Message):
    __slots__ = ("term", "vote", "settled")
    TERM_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    term: int
    vote: str
    settled: bool
    def __init__(self, term: _Optional[int] = ..., vote: _Optional[str] = ..., settled: _Optional[bool] = ...) -> None: ...

class LogBase(_message.Message):
    __slots__ = ("index", "term", "snapshot", "end_bytes")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    END_BYTES_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    snapshot: str
    end_bytes: int
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., snapshot: _Optional[str] = ..., end_bytes: _Optional[int] = ...) -> None: ...

class Incarnation(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class SegmentHead(_message.Message):
    __slots__ = ("layout", "number", "salt", "first_frame", "identity", "hard_state", "base", "incarnation", "last", "size_bytes")
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    HARD_STATE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    layout: int
    number: int
    salt: bytes
    first_frame: int
    identity: DiskIdentity
    hard_state: HardState
    base: LogBase
    incarnation: Incarnation
    last: LogEnd
    size_bytes: int
    def __init__(self, layout: _Optional[int] = ..., number: _Optional[int] = ..., salt: _Optional[bytes] = ..., first_frame: _Optional[int] = ..., identity: _Optional[_Union[DiskIdentity, _Mapping[str, _Any]]] = ..., hard_state: _Optional[_Union[HardState, _Mapping[str, _Any]]] = ..., base: _Optional[_Union[LogBase, _Mapping[str, _Any]]] = ..., incarnation: _Optional[_Union[Incarnation, _Mapping[str, _Any]]] = ..., last: _Optional[_Union[LogEnd, _Mapping[str, _Any]]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class LogEnd(_message.Message):
    __slots__ = ("index", "term", "end_bytes")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    END_BYTES_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    end_bytes: int
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., end_bytes: _Optional[int] = ...) -> None: ...
