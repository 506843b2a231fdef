"""What must be on the disk before anybody is told."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from raftstate.consensus.adapter import Engine
from raftstate.consensus.replica import Replica
from raftstate.core.ports import HardState
from raftstate.core.types import MemberId, Position
from raftstate.v1.peer_pb2 import Envelope
from tests.sim import disk, invariants
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="justified", known=1)
def skip_the_sync_before_an_ack(patch: Patch) -> None:
    """An acknowledgement leaves in the middle of the step, before the log's commit.
    Found when it leaves: it reflects what is not durable."""
    real = Replica.send

    def send(self: Replica, peer: MemberId, envelope: Envelope, *, gated: bool) -> None:
        real(self, peer, envelope, gated=gated and not envelope.HasField("append_reply"))

    patch.replace(Replica, "send", send)


@mutant(expects="durable_on_a_quorum", known=1)
def count_the_leader_before_its_own_sync(patch: Patch) -> None:
    """A leader leaves the sync of what it appends to the step after, and counts itself
    at once. Found when it calls an entry committed that only a minority holds durably."""
    append, commit = Engine.append, disk.SimLog.commit
    late: WeakSet[Any] = WeakSet()

    def append_lazily(self: Engine, data: bytes) -> Position:
        late.add(self.log)
        return append(self, data)

    def commit_lazily(self: disk.SimLog) -> None:
        if self in late:
            late.discard(self)
        else:
            commit(self)

    patch.replace(Engine, "append", append_lazily)
    patch.replace(disk.SimLog, "commit", commit_lazily)


@mutant(expects="votes_once justified", known=1)
def forget_the_vote(patch: Patch) -> None:
    """Term and vote are stored without the vote. Found at the vote that leaves."""
    real = disk.SimLog.set_hard_state

    def set_hard_state(self: disk.SimLog, hard_state: HardState) -> None:
        real(self, hard_state._replace(vote=None))

    patch.replace(disk.SimLog, "set_hard_state", set_hard_state)


@mutant(
    expects="committed_is_the_same leader_completeness log_matching state_machine_safety "
    "told_what_happened acknowledged_once one_leader_a_term",
    known=1,
)
def sync_now_and_then(patch: Patch) -> None:
    """The log answers commits before its sync, which comes with one of ten, and every
    check that looks at the disk is turned off: found by what a power loss takes back.
    Only a new base is synced in time, so that a snapshot never stands on nothing."""
    real = disk.SimDisk.sync_log

    def sync_log(self: disk.SimDisk, log: disk.SimLog) -> None:
        if self.rng.random() < 0.1 or log.base != self.durable.base:
            real(self, log)

    patch.replace(disk.SimDisk, "sync_log", sync_log)
    patch.silence(
        invariants, "justified", "durable_on_a_quorum", "votes_once", "elected_by_voters"
    )
