"""Where the layers meet: what consensus asks of storage, and what rpc asks of consensus.

Siblings never import each other; each side imports these protocols and
`server.py` introduces the implementations. The simulator brings its own.

Threads. One raft thread owns `Log`, `State` (its write half) and `Snapshots`.
`State.view` and `Consensus` may be used from any thread.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from raftstate.core.types import Index, MemberId, Position, Revision, Term
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import SnapshotManifest
from raftstate.v1.store_pb2 import Command, Outcome


class StorageError(Exception):
    """A store cannot be trusted any more: stop the process, release nothing.

    Raised for a failed commit, a failed sync, and, as `Damage`, for a record whose
    checksum is wrong. What was not acknowledged before it is not acknowledged after it.
    """


class Damage(StorageError):
    """Something on disk is not what was written: a checksum is wrong, a record is
    missing, a state hash is not that of the state. The member must quarantine itself."""


class WrongStore(Exception):
    """A data folder belongs to another cluster or member, or has another format."""


# --- the log -----------------------------------------------------------------


class Entry(NamedTuple):
    """One entry of the Raft log. The first byte of `data` is its kind."""

    index: Index  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    term: Term
    data: bytes


class HardState(NamedTuple):
    """What a member must not forget (Raft paper, figure 2): durable before any
    message that reflects it.

    `settled` becomes true, for good, once this log has committed what its leader said
    (see consensus/feeding.py). A member on a new folder does not know what it
    acknowledged, or which term it was in, under its name before: until then it elects
    nobody by majority, and counts for nothing.
    """

    term: Term
    vote: MemberId | None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose data folder this is. `disk_id` is drawn at random when it is made."""

    cluster_id: str
    cluster_epoch: int
    member_id: MemberId
    disk_id: str


class Base(NamedTuple):
    """What stands before the first entry: a position, and a snapshot to start from.

    The snapshot holds the state at the position or later, never past the end of the
    log: a tail of entries that it already covers is kept for slow followers. The
    name is empty only at the origin.
    """

    position: Position
    snapshot: str


class Log(Protocol):
    """The durable log. Changes collect in one transaction until `commit`.

    Reads see uncommitted changes. Entries are contiguous from `base + 1`.
    """

    @property
    def identity(self) -> Identity: ...

    @property
    def incarnation(self) -> int:
        """How often this folder was opened; durable before the first message."""
        ...

    @property
    def hard_state(self) -> HardState: ...

    @property
    def base(self) -> Base: ...

    @property
    def last(self) -> Position:
        """The newest entry, or the base where there is none."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of entry data between the base and the end."""
        ...

    def term_at(self, index: Index) -> Term | None:
        """The term of the entry at `index`, or of the base; None outside."""
        ...

    def read(self, first: Index, bytes_max: int) -> list[Entry]:
        """Entries from `first` on: at least one if there is one, and no more than
        fit into `bytes_max` of data after that.

        Raises StorageError if a record's checksum is wrong."""
        ...

    def append(self, entry: Entry) -> None:
        """Add an entry at `last.index + 1`."""
        ...

    def truncate(self, first: Index) -> None:
        """Remove `first` and all entries after it."""
        ...

    def set_hard_state(self, hard_state: HardState) -> None: ...

    def cut(self, base: Base) -> None:
        """Compact: make `base`, the position of an entry held or of the base itself
        (then only the snapshot's name changes), the new base."""
        ...

    def reset(self, base: Base) -> None:
        """Install: set a base from outside. Entries after it survive only if the
        entry at its index has its term (Raft paper, section 7)."""
        ...

    def commit(self) -> None:
        """Make all changes durable, together. No-op if there are none.

        Raises StorageError; the log must then not be used again."""
        ...

    def close(self) -> None: ...


# --- the state ---------------------------------------------------------------


class Reader(Protocol):
    """An ordered byte map at one point."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in order of key."""
        ...

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in reverse order of key."""
        ...


class Store(Reader, Protocol):
    """The map that the state machine writes, inside one transaction."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        ...


class State(Protocol):
    """The state environment: a cache of snapshot plus log.

    `store` is written by the raft thread only; `commit` ends its transaction. The
    machine keeps the applied position inside the map, so both are one.
    """

    @property
    def store(self) -> Store:
        """The writable map, with this tick's changes."""
        ...

    def commit(self) -> None:
        """Make this tick's changes visible to views. Raises StorageError."""
        ...

    def view(self) -> AbstractContextManager[Reader]:
        """The last committed map, for a bounded slice of work, on any thread."""
        ...

    @property
    def size_bytes(self) -> int: ...

    def close(self) -> None:
        """A clean stop: sync, then mark the state as clean."""
        ...


# --- snapshots ---------------------------------------------------------------


class SnapshotFailed(Exception):
    """A snapshot could not be taken or did not verify. Nothing was replaced."""


class Snapshots(Protocol):
    """Copies of the state, taken and verified off the raft thread.

    Everything here returns at once. Work goes on beside the caller and its result
    is fetched with a `poll`; a `wake` given at construction is called when one is
    ready.
    """

    def start_copy(self, term: Term) -> None:
        """Begin a copy of the last committed state; `term` is of its applied
        index. The manifest's index and revision are read from the copy."""
        ...

    def poll_copy(self) -> SnapshotManifest | SnapshotFailed | None:
        """The outcome of `start_copy`, once. When a manifest is returned the copy
        is verified, durable and named."""
        ...

    def manifest(self, name: str) -> SnapshotManifest | None:
        """The manifest of a durable snapshot of this member."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes: ...

    def stage(self, manifest: SnapshotManifest, offset: int, data: bytes) -> int:
        """Take one piece of a snapshot that the leader sends; answer with the next
        offset wanted. A piece at another offset changes nothing; a manifest of
        another snapshot drops what was staged. When the last piece is in,
        verification begins."""
        ...

    def poll_staged(self) -> SnapshotManifest | SnapshotFailed | None:
        """The outcome of a complete staging, once: verified, durable and named, or
        failed and thrown away."""
        ...

    def adopt(self, name: str) -> None:
        """Replace the state by a durable snapshot of this member (a new generation).
        The log's base must already name it. `State.store` and `State.view` show the
        new state afterwards. Raises StorageError."""
        ...

    def retain(self, names: set[str]) -> None:
        """Delete every durable snapshot that is not named."""
        ...

    def close(self) -> None: ...


# --- consensus, as rpc sees it -----------------------------------------------


class Unavailable(Exception):
    """Consensus did not carry out what was asked.

    `definite`: it was not proposed, and never will be. Otherwise it may have
    happened, or may yet; the same request id may be sent again. `details` go to the
    client with it.
    """

    def __init__(
        self,
        reason: str,
        *,
        definite: bool,
        leader: MemberId | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason  # NOT_LEADER, NO_QUORUM, OVERLOADED, OUTCOME_UNKNOWN
        self.definite = definite
        self.leader = leader
        self.details: dict[str, str] = dict(details or {})


class ReadPoint(NamedTuple):
    """Where a linearizable read may be answered: the state now applied covers it."""

    index: Index  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    term: Term


class KeepAliveResult(NamedTuple):
    """`ttl_ms` is None if the session or ownership has ended."""

    ttl_ms: int | None


class ChangeKind(enum.Enum):
    """A change of one member (dissertation, 4.1)."""

    ADD = "add"
    PROMOTE = "promote"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class MemberChange:
    """One change of membership. Addresses matter to ADD only."""

    kind: ChangeKind
    member_id: MemberId
    raft_address: str = ""
    client_address: str = ""


class ChangeRefused(NamedTuple):
    """A change of membership that was not made, and never will be."""

    reason: str  # CONFLICT, NOT_CAUGHT_UP, NOT_FOUND, LAST_VOTER, TOO_MANY, UNHEALTHY
    message: str


class LeadershipTransferred(NamedTuple):
    """The leader gave up its office, and this is who leads now."""

    leader: MemberId


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """Another member, as this one sees it. Only a leader knows a match index."""

    member_id: MemberId
    connected: bool
    match_index: Index


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A member as it sees itself, published by the raft thread after each tick."""

    member_id: MemberId
    cluster_id: str
    cluster_epoch: int
    role: str  # follower, candidate, leader
    leader: MemberId | None
    term: Term
    commit_index: Index
    applied_index: Index
    revision: Revision
    first_index: Index
    last_index: Index
    log_bytes: int
    state_bytes: int
    state_hash: bytes
    ready: bool
    peers: tuple[PeerStatus, ...]
    # In force: the newest one in this member's log.
    configuration: Configuration
    # Damage was found here; it counts for nothing and serves nothing until it is mended.
    quarantined: bool
    alarms: tuple[tuple[str, str], ...]  # (name, message)
    snapshots_taken: int
    snapshots_installed: int
    elections_started: int


Answer = (
    Outcome
    | ReadPoint
    | KeepAliveResult
    | Unavailable
    # of a change of membership: the configuration, committed and applied
    | Configuration
    | ChangeRefused
    | LeadershipTransferred
)


class Consensus(Protocol):
    """A running member. Every method may be called on any thread and returns at once.

    A `ticket` is whatever the caller wants to recognise its answer by. Answers are
    given to the `deliver` function that the member was built with, a whole tick's
    at a time: `deliver([(ticket, answer), ...])`, on the raft thread. Every ticket
    is answered exactly once unless it is abandoned or the process ends.
    """

    def propose(self, command: Command, ticket: object) -> None:
        """Replicate and apply a command; answered with what apply said.

        An AcquireOwnership with mode WAIT stays pending until granted or refused;
        `abandon` takes it out of the queue."""
        ...

    def abandon(self, ticket: object) -> None:
        """Stop waiting. What was already proposed still happens."""
        ...

    def read_point(self, ticket: object) -> None:
        """Confirm leadership by a quorum round that begins after this call, and
        wait until what was committed then is applied here: a ReadPoint."""
        ...

    def keep_session(self, session_id: str, ticket: object) -> None:
        """Keep a session alive: answered after a quorum round that begins after
        this call, and after any expiry already proposed is settled."""
        ...

    def keep_ownership(self, query: FenceQuery, ticket: object) -> None:
        """As `keep_session`, for one ownership."""
        ...

    def keep_lease(self, lease_id: int, ticket: object) -> None:
        """As `keep_session`, for one lease."""
        ...

    def lease_left(self, lease_id: int, ticket: object) -> None:
        """After a quorum round as for a read: a KeepAliveResult with the time that the
        lease lives on if nobody keeps it alive."""
        ...

    def session_broken(self, session_id: str) -> None:
        """The session's stream failed at the transport: start its grace."""
        ...

    def change_members(self, change: MemberChange, ticket: object) -> None:
        """Change the membership by one member: a Configuration once it is applied. What
        is so already is answered at once. ChangeRefused is definite."""
        ...

    def transfer_leadership(self, to: MemberId | None, ticket: object) -> None:
        """Let another voter take over, the most advanced one if none is named:
        LeadershipTransferred once it leads. Unavailable if that does not happen within
        two election timeouts; this member may then lead on."""
        ...

    def status(self) -> NodeStatus: ...


Announce = Callable[[Revision], None]
"""Told, on the raft thread, that views show a revision now. Returns at once."""

Deliver = Callable[[list[tuple[object, Answer]]], None]
