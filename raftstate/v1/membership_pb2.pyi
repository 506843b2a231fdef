from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Configuration(_message.Message):
    __slots__ = ("index", "members", "cluster_key")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_KEY_FIELD_NUMBER: _ClassVar[int]
    index: int
    members: _containers.RepeatedCompositeFieldContainer[ConfiguredMember]
    cluster_key: str
    def __init__(self, index: _Optional[int] = ..., members: _Optional[_Iterable[_Union[ConfiguredMember, _Mapping[str, _Any]]]] = ..., cluster_key: _Optional[str] = ...) -> None: ...

class ConfiguredMember(_message.Message):
    __slots__ = ("member_id", "learner", "raft_address", "client_address", "disk_id")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    LEARNER_FIELD_NUMBER: _ClassVar[int]
    RAFT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    learner: bool
    raft_address: str
    client_address: str
    disk_id: str
    def __init__(self, member_id: _Optional[str] = ..., learner: _Optional[bool] = ..., raft_address: _Optional[str] = ..., client_address: _Optional[str] = ..., disk_id: _Optional[str] = ...) -> None: ...
