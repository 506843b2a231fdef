"""Snapshots: what is in them, and what goes once there is one."""

from __future__ import annotations

from collections.abc import Mapping

from raftstate.consensus.compaction import Compaction
from raftstate.consensus.replica import Replica
from raftstate.core import keys, machine
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Base
from raftstate.core.types import Index, Position
from raftstate.v1.peer_pb2 import SnapshotManifest
from tests.sim import disk
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="state_machine_safety", known=2)
def forget_the_session_table_in_the_snapshot(patch: Patch) -> None:
    """A snapshot brings no sessions and no remembered outcomes: members differ as soon as
    a session is used."""
    real = disk.decode_map

    def decode_map(data: bytes) -> MemoryStore:
        pairs = real(data).items()
        return MemoryStore((key, value) for key, value in pairs if key[:1] not in b"rs")

    patch.replace(disk, "decode_map", decode_map)


@mutant(expects="snapshot_is_of_the_log", known=2)
def cut_the_log_before_the_snapshot_is_durable(patch: Patch) -> None:
    """The log is cut when a copy begins: if the copy fails, or the power does, nothing
    holds what was cut. Found when it is cut."""
    real = Compaction.tick

    def tick(
        self: Compaction,
        now: float,
        applied: Index,
        state_bytes: int,
        sending: Mapping[str, bool],
    ) -> None:
        copying = self._copying
        real(self, now, applied, state_bytes, sending)
        if self._copying and not copying:
            term = self._log.term_at(applied)
            assert term is not None, f"no term at {applied}"
            self._log.cut(Base(Position(applied, term), self._log.base.snapshot))

    patch.replace(Compaction, "tick", tick)


@mutant(expects="state_machine_safety", known=2)
def reset_the_revision_on_snapshot(patch: Patch) -> None:
    """Who installs a snapshot counts its commands from zero again."""
    real = Replica.installed

    def installed(self: Replica, manifest: SnapshotManifest) -> None:
        real(self, manifest)
        counters = machine.read_counters(self._state.store)._replace(revision=0)
        self._state.store.put(keys.COUNTERS, machine._COUNTERS.pack(*counters))
        self._note_machine()

    patch.replace(Replica, "installed", installed)
