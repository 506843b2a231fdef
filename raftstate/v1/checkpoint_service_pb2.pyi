from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DifferenceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIFFERENCE_KIND_UNSPECIFIED: _ClassVar[DifferenceKind]
    DIFFERENCE_KIND_ADDED: _ClassVar[DifferenceKind]
    DIFFERENCE_KIND_REMOVED: _ClassVar[DifferenceKind]
    DIFFERENCE_KIND_CHANGED: _ClassVar[DifferenceKind]
DIFFERENCE_KIND_UNSPECIFIED: DifferenceKind
DIFFERENCE_KIND_ADDED: DifferenceKind
DIFFERENCE_KIND_REMOVED: DifferenceKind
DIFFERENCE_KIND_CHANGED: DifferenceKind

class ChunkRef(_message.Message):
    __slots__ = ("hash", "size_bytes")
    HASH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    hash: bytes
    size_bytes: int
    def __init__(self, hash: _Optional[bytes] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class NewCheckpoint(_message.Message):
    __slots__ = ("data", "content_type", "labels", "chunks", "base_checkpoint_id", "tags", "pinned")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    BASE_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    content_type: str
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    chunks: _containers.RepeatedCompositeFieldContainer[ChunkRef]
    base_checkpoint_id: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    pinned: bool
    def __init__(self, data: _Optional[bytes] = ..., content_type: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., chunks: _Optional[_Iterable[_Union[ChunkRef, _Mapping[str, _Any]]]] = ..., base_checkpoint_id: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., pinned: _Optional[bool] = ...) -> None: ...

class Validation(_message.Message):
    __slots__ = ("validator", "valid", "revision", "log_time_ms", "evidence")
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    validator: str
    valid: bool
    revision: int
    log_time_ms: int
    evidence: str
    def __init__(self, validator: _Optional[str] = ..., valid: _Optional[bool] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ..., evidence: _Optional[str] = ...) -> None: ...

class CheckpointOrigin(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "step", "event_seq")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    step: int
    event_seq: int
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., step: _Optional[int] = ..., event_seq: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "step", "event_seq", "revision", "log_time_ms", "content_type", "labels", "size_bytes", "content_hash", "data", "base_checkpoint_id", "chain_length", "tags", "pinned", "known_good", "validations", "chunk_count", "origin", "dependents", "groups", "restored_from", "rollback_id")
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
    BASE_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    CHAIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    VALIDATIONS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    DEPENDENTS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FROM_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
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
    base_checkpoint_id: int
    chain_length: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    pinned: bool
    known_good: bool
    validations: _containers.RepeatedCompositeFieldContainer[Validation]
    chunk_count: int
    origin: CheckpointOrigin
    dependents: int
    groups: int
    restored_from: int
    rollback_id: str
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., step: _Optional[int] = ..., event_seq: _Optional[int] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ..., content_type: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., size_bytes: _Optional[int] = ..., content_hash: _Optional[bytes] = ..., data: _Optional[bytes] = ..., base_checkpoint_id: _Optional[int] = ..., chain_length: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., pinned: _Optional[bool] = ..., known_good: _Optional[bool] = ..., validations: _Optional[_Iterable[_Union[Validation, _Mapping[str, _Any]]]] = ..., chunk_count: _Optional[int] = ..., origin: _Optional[_Union[CheckpointOrigin, _Mapping[str, _Any]]] = ..., dependents: _Optional[int] = ..., groups: _Optional[int] = ..., restored_from: _Optional[int] = ..., rollback_id: _Optional[str] = ...) -> None: ...

class PutCheckpointRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "expected_step", "checkpoint")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STEP_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    expected_step: int
    checkpoint: NewCheckpoint
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., expected_step: _Optional[int] = ..., checkpoint: _Optional[_Union[NewCheckpoint, _Mapping[str, _Any]]] = ...) -> None: ...

class PutCheckpointResponse(_message.Message):
    __slots__ = ("header", "head")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    head: _common_pb2.StepHead
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., head: _Optional[_Union[_common_pb2.StepHead, _Mapping[str, _Any]]] = ...) -> None: ...

class PutChunkRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "data", "hash")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    data: bytes
    hash: bytes
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., data: _Optional[bytes] = ..., hash: _Optional[bytes] = ...) -> None: ...

class PutChunkResponse(_message.Message):
    __slots__ = ("header", "known")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    known: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., known: _Optional[bool] = ...) -> None: ...

class MissingChunksRequest(_message.Message):
    __slots__ = ("agent_id", "hashes", "consistency", "revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, agent_id: _Optional[str] = ..., hashes: _Optional[_Iterable[bytes]] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class MissingChunksResponse(_message.Message):
    __slots__ = ("header", "missing")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    missing: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., missing: _Optional[_Iterable[int]] = ...) -> None: ...

class GetCheckpointRequest(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id", "consistency", "revision", "tag", "with_chain", "without_data")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    WITH_CHAIN_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_DATA_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    consistency: _common_pb2.Consistency
    revision: int
    tag: str
    with_chain: bool
    without_data: bool
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., tag: _Optional[str] = ..., with_chain: _Optional[bool] = ..., without_data: _Optional[bool] = ...) -> None: ...

class GetCheckpointResponse(_message.Message):
    __slots__ = ("header", "checkpoint", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    checkpoint: Checkpoint
    chunk: bytes
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping[str, _Any]]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ListCheckpointsRequest(_message.Message):
    __slots__ = ("agent_id", "consistency", "page_size", "page_token", "revision", "labels", "known_good", "pinned", "tagged", "min_step", "max_step")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    TAGGED_FIELD_NUMBER: _ClassVar[int]
    MIN_STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_STEP_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    consistency: _common_pb2.Consistency
    page_size: int
    page_token: str
    revision: int
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    known_good: bool
    pinned: bool
    tagged: bool
    min_step: int
    max_step: int
    def __init__(self, agent_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., revision: _Optional[int] = ..., labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ..., known_good: _Optional[bool] = ..., pinned: _Optional[bool] = ..., tagged: _Optional[bool] = ..., min_step: _Optional[int] = ..., max_step: _Optional[int] = ...) -> None: ...

class ListCheckpointsResponse(_message.Message):
    __slots__ = ("header", "checkpoints", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class LabelSet(_message.Message):
    __slots__ = ("labels",)
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[_common_pb2.Label]
    def __init__(self, labels: _Optional[_Iterable[_Union[_common_pb2.Label, _Mapping[str, _Any]]]] = ...) -> None: ...

class TagCheckpointRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "checkpoint_id", "add_tags", "remove_tags", "pinned", "labels")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    ADD_TAGS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_TAGS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    checkpoint_id: int
    add_tags: _containers.RepeatedScalarFieldContainer[str]
    remove_tags: _containers.RepeatedScalarFieldContainer[str]
    pinned: bool
    labels: LabelSet
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., add_tags: _Optional[_Iterable[str]] = ..., remove_tags: _Optional[_Iterable[str]] = ..., pinned: _Optional[bool] = ..., labels: _Optional[_Union[LabelSet, _Mapping[str, _Any]]] = ...) -> None: ...

class TagCheckpointResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class MarkValidRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "checkpoint_id", "validator", "valid", "content_hash", "evidence")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    checkpoint_id: int
    validator: str
    valid: bool
    content_hash: bytes
    evidence: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., validator: _Optional[str] = ..., valid: _Optional[bool] = ..., content_hash: _Optional[bytes] = ..., evidence: _Optional[str] = ...) -> None: ...

class MarkValidResponse(_message.Message):
    __slots__ = ("header", "known_good")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    known_good: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., known_good: _Optional[bool] = ...) -> None: ...

class PruneCheckpointsRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "keep_last", "before_checkpoint_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    KEEP_LAST_FIELD_NUMBER: _ClassVar[int]
    BEFORE_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    keep_last: int
    before_checkpoint_id: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., keep_last: _Optional[int] = ..., before_checkpoint_id: _Optional[int] = ...) -> None: ...

class PruneCheckpointsResponse(_message.Message):
    __slots__ = ("header", "pruned", "more")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    pruned: int
    more: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., pruned: _Optional[int] = ..., more: _Optional[bool] = ...) -> None: ...

class CopyLineageRequest(_message.Message):
    __slots__ = ("request_id", "source_agent_id", "agent_id", "up_to_checkpoint_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    UP_TO_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    source_agent_id: str
    agent_id: str
    up_to_checkpoint_id: int
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., source_agent_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., up_to_checkpoint_id: _Optional[int] = ...) -> None: ...

class CopyLineageResponse(_message.Message):
    __slots__ = ("header", "copied")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    COPIED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    copied: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., copied: _Optional[int] = ...) -> None: ...

class DiffCheckpointsRequest(_message.Message):
    __slots__ = ("agent_id", "from_checkpoint_id", "to_checkpoint_id", "to_agent_id", "consistency", "revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    from_checkpoint_id: int
    to_checkpoint_id: int
    to_agent_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, agent_id: _Optional[str] = ..., from_checkpoint_id: _Optional[int] = ..., to_checkpoint_id: _Optional[int] = ..., to_agent_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("path", "kind", "before", "after")
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    path: str
    kind: DifferenceKind
    before: str
    after: str
    def __init__(self, path: _Optional[str] = ..., kind: _Optional[_Union[DifferenceKind, str]] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class DiffCheckpointsResponse(_message.Message):
    __slots__ = ("header", "differences", "truncated")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    truncated: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping[str, _Any]]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class NewGroupMember(_message.Message):
    __slots__ = ("agent_id", "checkpoint", "fence", "expected_step", "checkpoint_id")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STEP_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint: NewCheckpoint
    fence: _common_pb2.FencingToken
    expected_step: int
    checkpoint_id: int
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint: _Optional[_Union[NewCheckpoint, _Mapping[str, _Any]]] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., expected_step: _Optional[int] = ..., checkpoint_id: _Optional[int] = ...) -> None: ...

class PutGroupCheckpointRequest(_message.Message):
    __slots__ = ("request_id", "group_id", "members")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    group_id: str
    members: _containers.RepeatedCompositeFieldContainer[NewGroupMember]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., group_id: _Optional[str] = ..., members: _Optional[_Iterable[_Union[NewGroupMember, _Mapping[str, _Any]]]] = ...) -> None: ...

class PutGroupCheckpointResponse(_message.Message):
    __slots__ = ("header", "checkpoint_ids")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_IDS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    checkpoint_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., checkpoint_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class GroupMember(_message.Message):
    __slots__ = ("agent_id", "checkpoint_id")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    checkpoint_id: int
    def __init__(self, agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ...) -> None: ...

class GroupCheckpoint(_message.Message):
    __slots__ = ("group_id", "revision", "log_time_ms", "members")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    revision: int
    log_time_ms: int
    members: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, group_id: _Optional[str] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ..., members: _Optional[_Iterable[_Union[GroupMember, _Mapping[str, _Any]]]] = ...) -> None: ...

class GetGroupCheckpointRequest(_message.Message):
    __slots__ = ("group_id", "consistency", "revision")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, group_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetGroupCheckpointResponse(_message.Message):
    __slots__ = ("header", "group")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    group: GroupCheckpoint
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., group: _Optional[_Union[GroupCheckpoint, _Mapping[str, _Any]]] = ...) -> None: ...

class ListGroupCheckpointsRequest(_message.Message):
    __slots__ = ("prefix", "consistency", "revision", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGroupCheckpointsResponse(_message.Message):
    __slots__ = ("header", "groups", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    groups: _containers.RepeatedCompositeFieldContainer[GroupCheckpoint]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., groups: _Optional[_Iterable[_Union[GroupCheckpoint, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteGroupCheckpointRequest(_message.Message):
    __slots__ = ("request_id", "group_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    group_id: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., group_id: _Optional[str] = ...) -> None: ...

class DeleteGroupCheckpointResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...
