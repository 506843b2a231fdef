from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Comparison(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPARISON_UNSPECIFIED: _ClassVar[Comparison]
    COMPARISON_EQUAL: _ClassVar[Comparison]
    COMPARISON_NOT_EQUAL: _ClassVar[Comparison]
    COMPARISON_GREATER: _ClassVar[Comparison]
    COMPARISON_LESS: _ClassVar[Comparison]
COMPARISON_UNSPECIFIED: Comparison
COMPARISON_EQUAL: Comparison
COMPARISON_NOT_EQUAL: Comparison
COMPARISON_GREATER: Comparison
COMPARISON_LESS: Comparison

class KeyValue(_message.Message):
    __slots__ = ("key", "value", "create_revision", "mod_revision", "version", "lease_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    MOD_REVISION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease_id: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., create_revision: _Optional[int] = ..., mod_revision: _Optional[int] = ..., version: _Optional[int] = ..., lease_id: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key", "consistency", "revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, key: _Optional[bytes] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("header", "kv")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    KV_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    kv: KeyValue
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., kv: _Optional[_Union[KeyValue, _Mapping[str, _Any]]] = ...) -> None: ...

class KeyRange(_message.Message):
    __slots__ = ("start", "end", "prefix")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    start: bytes
    end: bytes
    prefix: bytes
    def __init__(self, start: _Optional[bytes] = ..., end: _Optional[bytes] = ..., prefix: _Optional[bytes] = ...) -> None: ...

class RangeRequest(_message.Message):
    __slots__ = ("range", "keys_only", "backwards", "consistency", "revision", "page_size", "page_token")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    KEYS_ONLY_FIELD_NUMBER: _ClassVar[int]
    BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    range: KeyRange
    keys_only: bool
    backwards: bool
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, range: _Optional[_Union[KeyRange, _Mapping[str, _Any]]] = ..., keys_only: _Optional[bool] = ..., backwards: _Optional[bool] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class RangeResponse(_message.Message):
    __slots__ = ("header", "kvs", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    KVS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    kvs: _containers.RepeatedCompositeFieldContainer[KeyValue]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., kvs: _Optional[_Iterable[_Union[KeyValue, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("request_id", "key", "value", "lease_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    key: bytes
    value: bytes
    lease_id: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., lease_id: _Optional[int] = ...) -> None: ...

class PutResponse(_message.Message):
    __slots__ = ("header", "version", "create_revision")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    version: int
    create_revision: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., version: _Optional[int] = ..., create_revision: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("request_id", "key")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    key: bytes
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., key: _Optional[bytes] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("header", "deleted")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    deleted: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., deleted: _Optional[bool] = ...) -> None: ...

class DeleteRangeRequest(_message.Message):
    __slots__ = ("request_id", "range")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    range: KeyRange
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., range: _Optional[_Union[KeyRange, _Mapping[str, _Any]]] = ...) -> None: ...

class DeleteRangeResponse(_message.Message):
    __slots__ = ("header", "deleted")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    deleted: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., deleted: _Optional[int] = ...) -> None: ...

class Compare(_message.Message):
    __slots__ = ("key", "comparison", "value", "version", "create_revision", "mod_revision", "lease_id", "fence")
    KEY_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    MOD_REVISION_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    comparison: Comparison
    value: bytes
    version: int
    create_revision: int
    mod_revision: int
    lease_id: int
    fence: _agent_service_pb2.FenceQuery
    def __init__(self, key: _Optional[bytes] = ..., comparison: _Optional[_Union[Comparison, str]] = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ..., create_revision: _Optional[int] = ..., mod_revision: _Optional[int] = ..., lease_id: _Optional[int] = ..., fence: _Optional[_Union[_agent_service_pb2.FenceQuery, _Mapping[str, _Any]]] = ...) -> None: ...

class TxnPut(_message.Message):
    __slots__ = ("key", "value", "lease_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    lease_id: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., lease_id: _Optional[int] = ...) -> None: ...

class TxnDelete(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...

class TxnDeleteRange(_message.Message):
    __slots__ = ("range",)
    RANGE_FIELD_NUMBER: _ClassVar[int]
    range: KeyRange
    def __init__(self, range: _Optional[_Union[KeyRange, _Mapping[str, _Any]]] = ...) -> None: ...

class TxnGet(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...

class TxnRange(_message.Message):
    __slots__ = ("range", "limit", "keys_only")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    KEYS_ONLY_FIELD_NUMBER: _ClassVar[int]
    range: KeyRange
    limit: int
    keys_only: bool
    def __init__(self, range: _Optional[_Union[KeyRange, _Mapping[str, _Any]]] = ..., limit: _Optional[int] = ..., keys_only: _Optional[bool] = ...) -> None: ...

class TxnSaveProjection(_message.Message):
    __slots__ = ("name", "position", "expected_position")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_POSITION_FIELD_NUMBER: _ClassVar[int]
    name: str
    position: int
    expected_position: int
    def __init__(self, name: _Optional[str] = ..., position: _Optional[int] = ..., expected_position: _Optional[int] = ...) -> None: ...

class TxnOp(_message.Message):
    __slots__ = ("put", "delete", "delete_range", "get", "range", "save_projection", "txn")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DELETE_RANGE_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    SAVE_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    put: TxnPut
    delete: TxnDelete
    delete_range: TxnDeleteRange
    get: TxnGet
    range: TxnRange
    save_projection: TxnSaveProjection
    txn: TxnBody
    def __init__(self, put: _Optional[_Union[TxnPut, _Mapping[str, _Any]]] = ..., delete: _Optional[_Union[TxnDelete, _Mapping[str, _Any]]] = ..., delete_range: _Optional[_Union[TxnDeleteRange, _Mapping[str, _Any]]] = ..., get: _Optional[_Union[TxnGet, _Mapping[str, _Any]]] = ..., range: _Optional[_Union[TxnRange, _Mapping[str, _Any]]] = ..., save_projection: _Optional[_Union[TxnSaveProjection, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[TxnBody, _Mapping[str, _Any]]] = ...) -> None: ...

class TxnBody(_message.Message):
    __slots__ = ("compares", "success", "failure")
    COMPARES_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    compares: _containers.RepeatedCompositeFieldContainer[Compare]
    success: _containers.RepeatedCompositeFieldContainer[TxnOp]
    failure: _containers.RepeatedCompositeFieldContainer[TxnOp]
    def __init__(self, compares: _Optional[_Iterable[_Union[Compare, _Mapping[str, _Any]]]] = ..., success: _Optional[_Iterable[_Union[TxnOp, _Mapping[str, _Any]]]] = ..., failure: _Optional[_Iterable[_Union[TxnOp, _Mapping[str, _Any]]]] = ...) -> None: ...

class TxnRequest(_message.Message):
    __slots__ = ("request_id", "txn")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    txn: TxnBody
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[TxnBody, _Mapping[str, _Any]]] = ...) -> None: ...

class TxnOpResult(_message.Message):
    __slots__ = ("put", "delete", "delete_range", "get", "range", "txn", "save_projection")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DELETE_RANGE_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    SAVE_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    put: PutResponse
    delete: DeleteResponse
    delete_range: DeleteRangeResponse
    get: GetResponse
    range: RangeResponse
    txn: TxnResult
    save_projection: SavedPosition
    def __init__(self, put: _Optional[_Union[PutResponse, _Mapping[str, _Any]]] = ..., delete: _Optional[_Union[DeleteResponse, _Mapping[str, _Any]]] = ..., delete_range: _Optional[_Union[DeleteRangeResponse, _Mapping[str, _Any]]] = ..., get: _Optional[_Union[GetResponse, _Mapping[str, _Any]]] = ..., range: _Optional[_Union[RangeResponse, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[TxnResult, _Mapping[str, _Any]]] = ..., save_projection: _Optional[_Union[SavedPosition, _Mapping[str, _Any]]] = ...) -> None: ...

class SavedPosition(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: int
    def __init__(self, position: _Optional[int] = ...) -> None: ...

class TxnResult(_message.Message):
    __slots__ = ("succeeded", "results")
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    succeeded: bool
    results: _containers.RepeatedCompositeFieldContainer[TxnOpResult]
    def __init__(self, succeeded: _Optional[bool] = ..., results: _Optional[_Iterable[_Union[TxnOpResult, _Mapping[str, _Any]]]] = ...) -> None: ...

class TxnResponse(_message.Message):
    __slots__ = ("header", "txn")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    txn: TxnResult
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[TxnResult, _Mapping[str, _Any]]] = ...) -> None: ...

class CompactRequest(_message.Message):
    __slots__ = ("request_id", "revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    revision: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., revision: _Optional[int] = ...) -> None: ...

class CompactResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...
