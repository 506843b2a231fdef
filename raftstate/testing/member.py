"""A cluster of one without a log: the real state machine over memory, applied at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from raftstate.core.machine import Applied, StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Announce, Deliver, NodeStatus, PeerStatus, Reader
from raftstate.core.types import Index, MemberId, Revision, Term
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.store_pb2 import Command, LogEntry


class _Weighed(MemoryStore):
    """Knows its size: each answer of a member tells it."""

    size_bytes: int = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value at a key."""
        self._forget(key)
        self.size_bytes += len(key) + len(value)
        super().put(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        self._forget(key)
        return super().delete(key)

    def _forget(self, key: bytes) -> None:
        if (old := self.get(key)) is not None:
            self.size_bytes -= len(key) + len(old)


class MemoryState:
    """A `State` whose views are counted: none may be open when another call comes."""

    def __init__(self) -> None:
        self.store: MemoryStore = _Weighed()
        self.views: int = 0
        self.views_open: int = 0

    @contextmanager
    def view(self) -> Iterator[Reader]:
        """The map itself: nobody changes it while one is open."""
        self.views += 1
        self.views_open += 1
        try:
            yield self.store
        finally:
            self.views_open -= 1

    def commit(self) -> None:
        """Views show the store itself."""

    @property
    def size_bytes(self) -> int:
        """The bytes of all keys and values."""
        if isinstance(self.store, _Weighed):
            return self.store.size_bytes
        return sum(len(key) + len(value) for key, value in self.store.items())

    def close(self) -> None:
        """Nothing to mark."""


class Member:
    """What a member without Raft is made of: a machine, and what it says of itself."""

    cluster_id = "test"
    epoch = 7
    name: MemberId = MemberId("n1")

    def __init__(self, deliver: Deliver, state: MemoryState, announce: Announce) -> None:
        self.state = state
        self.machine: StateMachine = StateMachine(state.store, self.epoch)
        self.role = "leader"
        self.leader: MemberId | None = self.name
        self.term: Term = Term(3)
        self.ready = True
        self.quarantined = False
        self.peers: tuple[PeerStatus, ...] = ()
        self.alarms: tuple[tuple[str, str], ...] = ()
        self._deliver = deliver
        self._announce = announce

    def commit(
        self, commands: Sequence[Command], log_time_ms: int, wall_time_ms: int = 0
    ) -> Applied:
        """Apply commands as the next entry."""
        index = Index(self.machine.applied.index + 1)
        entry = LogEntry(log_time_ms=log_time_ms, wall_time_ms=wall_time_ms, commands=commands)
        applied = self.machine.apply(index, self.term, entry)
        self._announce(self.machine.revision)
        return applied

    def configuration(self) -> Configuration:
        """Who is a member, as the log would say."""
        return Configuration()

    def status(self) -> NodeStatus:
        """See `Consensus.status`."""
        index = self.machine.applied.index
        return NodeStatus(
            member_id=self.name,
            cluster_id=self.cluster_id,
            cluster_epoch=self.epoch,
            role=self.role,
            leader=self.leader,
            term=self.term,
            commit_index=index,
            applied_index=index,
            revision=Revision(self.machine.revision),
            first_index=Index(1),
            last_index=index,
            log_bytes=0,
            state_bytes=self.state.size_bytes,
            state_hash=self.machine.state_hash,
            ready=self.ready,
            peers=self.peers,
            configuration=self.configuration(),
            quarantined=self.quarantined,
            alarms=self.alarms,
            snapshots_taken=0,
            snapshots_installed=0,
            elections_started=0,
        )
