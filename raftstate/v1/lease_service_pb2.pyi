from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lease(_message.Message):
    __slots__ = ("lease_id", "ttl_ms", "granted_revision", "keys")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    GRANTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    lease_id: int
    ttl_ms: int
    granted_revision: int
    keys: int
    def __init__(self, lease_id: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., granted_revision: _Optional[int] = ..., keys: _Optional[int] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("request_id", "ttl_ms", "lease_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    ttl_ms: int
    lease_id: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., ttl_ms: _Optional[int] = ..., lease_id: _Optional[int] = ...) -> None: ...

class GrantResponse(_message.Message):
    __slots__ = ("header", "lease")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    lease: Lease
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., lease: _Optional[_Union[Lease, _Mapping[str, _Any]]] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("request_id", "lease_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    lease_id: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., lease_id: _Optional[int] = ...) -> None: ...

class RevokeResponse(_message.Message):
    __slots__ = ("header", "deleted")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    deleted: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., deleted: _Optional[int] = ...) -> None: ...

class LeaseServiceKeepAliveRequest(_message.Message):
    __slots__ = ("lease_id", "nonce")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    lease_id: int
    nonce: int
    def __init__(self, lease_id: _Optional[int] = ..., nonce: _Optional[int] = ...) -> None: ...

class LeaseServiceKeepAliveResponse(_message.Message):
    __slots__ = ("header", "lease_id", "nonce", "held", "ttl_ms")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    lease_id: int
    nonce: int
    held: bool
    ttl_ms: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., lease_id: _Optional[int] = ..., nonce: _Optional[int] = ..., held: _Optional[bool] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class TimeToLiveRequest(_message.Message):
    __slots__ = ("lease_id", "with_keys")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_KEYS_FIELD_NUMBER: _ClassVar[int]
    lease_id: int
    with_keys: bool
    def __init__(self, lease_id: _Optional[int] = ..., with_keys: _Optional[bool] = ...) -> None: ...

class TimeToLiveResponse(_message.Message):
    __slots__ = ("header", "lease", "time_left_ms", "keys")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    lease: Lease
    time_left_ms: int
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., lease: _Optional[_Union[Lease, _Mapping[str, _Any]]] = ..., time_left_ms: _Optional[int] = ..., keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ListLeasesRequest(_message.Message):
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

class ListLeasesResponse(_message.Message):
    __slots__ = ("header", "leases", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., leases: _Optional[_Iterable[_Union[Lease, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
