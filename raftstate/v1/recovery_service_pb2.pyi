from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Validator(_message.Message):
    __slots__ = ("name", "agent_prefix", "description", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    agent_prefix: str
    description: str
    revision: int
    def __init__(self, name: _Optional[str] = ..., agent_prefix: _Optional[str] = ..., description: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class PutValidatorRequest(_message.Message):
    __slots__ = ("request_id", "name", "agent_prefix", "description")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    agent_prefix: str
    description: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping]] = ..., name: _Optional[str] = ..., agent_prefix: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class PutValidatorResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ...) -> None: ...

class ListValidatorsRequest(_message.Message):
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

class ListValidatorsResponse(_message.Message):
    __slots__ = ("header", "validators", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    validators: _containers.RepeatedCompositeFieldContainer[Validator]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping]] = ..., validators: _Optional[_Iterable[_Union[Validator, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
