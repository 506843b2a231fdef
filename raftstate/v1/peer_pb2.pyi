from raftstate.v1 import membership_pb2 as _membership_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("cluster_id", "cluster_epoch", "from_member", "to_member", "disk_id", "session", "sequence", "term", "cluster_key", "hello", "append_entries", "append_reply", "request_vote", "vote_reply", "install_snapshot", "install_reply", "read_probe", "read_probe_reply", "timeout_now", "dismissal", "hash_differs")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FROM_MEMBER_FIELD_NUMBER: _ClassVar[int]
    TO_MEMBER_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_KEY_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    APPEND_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    APPEND_REPLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_VOTE_FIELD_NUMBER: _ClassVar[int]
    VOTE_REPLY_FIELD_NUMBER: _ClassVar[int]
    INSTALL_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    INSTALL_REPLY_FIELD_NUMBER: _ClassVar[int]
    READ_PROBE_FIELD_NUMBER: _ClassVar[int]
    READ_PROBE_REPLY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NOW_FIELD_NUMBER: _ClassVar[int]
    DISMISSAL_FIELD_NUMBER: _ClassVar[int]
    HASH_DIFFERS_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    cluster_epoch: int
    from_member: str
    to_member: str
    disk_id: str
    session: int
    sequence: int
    term: int
    cluster_key: str
    hello: Hello
    append_entries: AppendEntries
    append_reply: AppendReply
    request_vote: RequestVote
    vote_reply: VoteReply
    install_snapshot: InstallSnapshot
    install_reply: InstallReply
    read_probe: ReadProbe
    read_probe_reply: ReadProbeReply
    timeout_now: TimeoutNow
    dismissal: Dismissal
    hash_differs: HashDiffers
    def __init__(self, cluster_id: _Optional[str] = ..., cluster_epoch: _Optional[int] = ..., from_member: _Optional[str] = ..., to_member: _Optional[str] = ..., disk_id: _Optional[str] = ..., session: _Optional[int] = ..., sequence: _Optional[int] = ..., term: _Optional[int] = ..., cluster_key: _Optional[str] = ..., hello: _Optional[_Union[Hello, _Mapping[str, _Any]]] = ..., append_entries: _Optional[_Union[AppendEntries, _Mapping[str, _Any]]] = ..., append_reply: _Optional[_Union[AppendReply, _Mapping[str, _Any]]] = ..., request_vote: _Optional[_Union[RequestVote, _Mapping[str, _Any]]] = ..., vote_reply: _Optional[_Union[VoteReply, _Mapping[str, _Any]]] = ..., install_snapshot: _Optional[_Union[InstallSnapshot, _Mapping[str, _Any]]] = ..., install_reply: _Optional[_Union[InstallReply, _Mapping[str, _Any]]] = ..., read_probe: _Optional[_Union[ReadProbe, _Mapping[str, _Any]]] = ..., read_probe_reply: _Optional[_Union[ReadProbeReply, _Mapping[str, _Any]]] = ..., timeout_now: _Optional[_Union[TimeoutNow, _Mapping[str, _Any]]] = ..., dismissal: _Optional[_Union[Dismissal, _Mapping[str, _Any]]] = ..., hash_differs: _Optional[_Union[HashDiffers, _Mapping[str, _Any]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("raft_address",)
    RAFT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    raft_address: str
    def __init__(self, raft_address: _Optional[str] = ...) -> None: ...

class Dismissal(_message.Message):
    __slots__ = ("configuration_index", "reason", "disk_id")
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DISK_ID_FIELD_NUMBER: _ClassVar[int]
    configuration_index: int
    reason: str
    disk_id: str
    def __init__(self, configuration_index: _Optional[int] = ..., reason: _Optional[str] = ..., disk_id: _Optional[str] = ...) -> None: ...

class HashMark(_message.Message):
    __slots__ = ("index", "revision", "state_hash", "machine_version")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    MACHINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    index: int
    revision: int
    state_hash: bytes
    machine_version: int
    def __init__(self, index: _Optional[int] = ..., revision: _Optional[int] = ..., state_hash: _Optional[bytes] = ..., machine_version: _Optional[int] = ...) -> None: ...

class HashDiffers(_message.Message):
    __slots__ = ("theirs",)
    THEIRS_FIELD_NUMBER: _ClassVar[int]
    theirs: HashMark
    def __init__(self, theirs: _Optional[_Union[HashMark, _Mapping[str, _Any]]] = ...) -> None: ...

class RaftEntry(_message.Message):
    __slots__ = ("index", "term", "data")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    data: bytes
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class AppendEntries(_message.Message):
    __slots__ = ("prev_index", "prev_term", "entries", "commit_index", "settle_at")
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SETTLE_AT_FIELD_NUMBER: _ClassVar[int]
    prev_index: int
    prev_term: int
    entries: _containers.RepeatedCompositeFieldContainer[RaftEntry]
    commit_index: int
    settle_at: int
    def __init__(self, prev_index: _Optional[int] = ..., prev_term: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[RaftEntry, _Mapping[str, _Any]]]] = ..., commit_index: _Optional[int] = ..., settle_at: _Optional[int] = ...) -> None: ...

class AppendReply(_message.Message):
    __slots__ = ("success", "match_index", "next_index", "prev_index", "settled", "hash", "low_on_space")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    LOW_ON_SPACE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    match_index: int
    next_index: int
    prev_index: int
    settled: bool
    hash: HashMark
    low_on_space: bool
    def __init__(self, success: _Optional[bool] = ..., match_index: _Optional[int] = ..., next_index: _Optional[int] = ..., prev_index: _Optional[int] = ..., settled: _Optional[bool] = ..., hash: _Optional[_Union[HashMark, _Mapping[str, _Any]]] = ..., low_on_space: _Optional[bool] = ...) -> None: ...

class RequestVote(_message.Message):
    __slots__ = ("last_index", "last_term", "pre_vote", "campaign_term", "transfer", "settled")
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_TERM_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    last_index: int
    last_term: int
    pre_vote: bool
    campaign_term: int
    transfer: bool
    settled: bool
    def __init__(self, last_index: _Optional[int] = ..., last_term: _Optional[int] = ..., pre_vote: _Optional[bool] = ..., campaign_term: _Optional[int] = ..., transfer: _Optional[bool] = ..., settled: _Optional[bool] = ...) -> None: ...

class VoteReply(_message.Message):
    __slots__ = ("granted", "pre_vote", "campaign_term")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_TERM_FIELD_NUMBER: _ClassVar[int]
    granted: bool
    pre_vote: bool
    campaign_term: int
    def __init__(self, granted: _Optional[bool] = ..., pre_vote: _Optional[bool] = ..., campaign_term: _Optional[int] = ...) -> None: ...

class InstallSnapshot(_message.Message):
    __slots__ = ("manifest", "offset", "data")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    manifest: SnapshotManifest
    offset: int
    data: bytes
    def __init__(self, manifest: _Optional[_Union[SnapshotManifest, _Mapping[str, _Any]]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class InstallReply(_message.Message):
    __slots__ = ("name", "next_offset", "installed_index")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_INDEX_FIELD_NUMBER: _ClassVar[int]
    name: str
    next_offset: int
    installed_index: int
    def __init__(self, name: _Optional[str] = ..., next_offset: _Optional[int] = ..., installed_index: _Optional[int] = ...) -> None: ...

class SnapshotManifest(_message.Message):
    __slots__ = ("name", "cluster_id", "cluster_epoch", "index", "term", "revision", "size_bytes", "digest", "state_hash", "configuration")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    cluster_id: str
    cluster_epoch: int
    index: int
    term: int
    revision: int
    size_bytes: int
    digest: bytes
    state_hash: bytes
    configuration: _membership_pb2.Configuration
    def __init__(self, name: _Optional[str] = ..., cluster_id: _Optional[str] = ..., cluster_epoch: _Optional[int] = ..., index: _Optional[int] = ..., term: _Optional[int] = ..., revision: _Optional[int] = ..., size_bytes: _Optional[int] = ..., digest: _Optional[bytes] = ..., state_hash: _Optional[bytes] = ..., configuration: _Optional[_Union[_membership_pb2.Configuration, _Mapping[str, _Any]]] = ...) -> None: ...

class ReadProbe(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class ReadProbeReply(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class TimeoutNow(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
