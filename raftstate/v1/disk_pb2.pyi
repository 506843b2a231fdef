from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

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
