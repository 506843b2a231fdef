"""A member on a bench: an open data folder with a machine on it, and no consensus.

Every entry opens one session, so entry i is the same bytes for everybody, and what
the state must be after entry i can be computed beside, in memory.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from raftstate.core import keys
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Base, Entry, SnapshotFailed
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.storage import images, scrub
from raftstate.storage.logs import LogKind
from raftstate.storage.open import Storage, open_storage
from raftstate.v1.peer_pb2 import SnapshotManifest
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry

CLUSTER = "cluster"
MEMBER = MemberId("n1")
MEMBERS = [MemberId("n1"), MemberId("n2"), MemberId("n3")]
EPOCH = 1
BOOT = "this-boot"
MAP_BYTES = 64 << 20
SEGMENT_BYTES = 8 << 10
PATIENCE_S = 20.0

_T = TypeVar("_T")
Pairs = dict[bytes, bytes]


def log_entry(index: int, term: int = 1) -> Entry:
    """Entry `index`: the same for every member."""
    opening = OpenSessionRequest(session_id=f"session-{index}", client="x" * 100)
    logged = LogEntry(log_time_ms=index, commands=[Command(open_session=opening)])
    return Entry(Index(index), Term(term), logged.SerializeToString(deterministic=True))


@cache
def expected(last: int, term: int = 1) -> Pairs:
    """The whole state after entry `last`."""
    store = MemoryStore()
    machine = StateMachine(store, EPOCH)
    for index in range(1, last + 1):
        apply(machine, log_entry(index, term))
    return dict(store.items())


def apply(machine: StateMachine, entry: Entry) -> None:
    """Apply an entry as a replica does."""
    machine.apply(entry.index, entry.term, LogEntry.FromString(entry.data))


def until(ask: Callable[[], _T | None]) -> _T:
    """Ask until there is an answer."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        time.sleep(0.001)
    raise AssertionError(f"no answer within {PATIENCE_S} s")


def readers_hang(
    monkeypatch: pytest.MonkeyPatch, folder: Path, patience_s: float = 0.3
) -> None:
    """From now on every process that is to read something says nothing for half a minute;
    and those who wait for it wait for so long."""
    program = folder / "hangs"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    for module in (images, scrub):
        monkeypatch.setattr(module, "START_S", patience_s)


class Member:
    """An open data folder. Opening applies what the log holds beyond the state."""

    # The kind of log that folders are made and opened with; tests put another here.
    log_kind: LogKind = "lmdb"

    def __init__(
        self, data_dir: Path, *, boot_id: str = BOOT, member_id: MemberId = MEMBER
    ) -> None:
        self.data_dir = data_dir
        self.storage: Storage = open_storage(
            data_dir,
            cluster_id=CLUSTER,
            member_id=member_id,
            boot_id=boot_id,
            wake=lambda: None,
            log_kind=self.log_kind,
            map_bytes=MAP_BYTES,
            segment_bytes=SEGMENT_BYTES,
        )
        self.log = self.storage.log
        self.state = self.storage.state
        self.snapshots = self.storage.snapshots
        self.found = self.machine().applied
        self.catch_up()

    def machine(self) -> StateMachine:
        """A machine on the state as it is."""
        return StateMachine(self.state.store, EPOCH)

    def catch_up(self) -> None:
        """Apply the log from where the state is."""
        machine = self.machine()
        for entry in self.log.read(Index(machine.applied.index + 1), 1 << 30):
            apply(machine, entry)
        self.state.commit()

    def write(self, count: int, *, at_a_time: int = 1, term: int = 1) -> None:
        """Log and apply more entries, committed in the order that is promised."""
        machine = self.machine()
        last = self.log.last.index + count
        while self.log.last.index < last:
            first = Index(self.log.last.index + 1)
            for index in range(first, min(first + at_a_time, last + 1)):
                self.log.append(log_entry(index, term))
            self.log.commit()
            for entry in self.log.read(first, 1 << 30):
                apply(machine, entry)
            self.state.commit()

    def pairs(self) -> Pairs:
        """The whole committed state."""
        with self.state.view() as reader:
            return dict(reader.scan(*keys.EVERYTHING))

    def check(self) -> None:
        """The state is what the log says, and nothing else."""
        last = self.log.last
        assert self.machine().applied == last
        assert self.pairs() == expected(last.index, last.term or 1)

    def try_snapshot(self) -> SnapshotManifest | SnapshotFailed:
        """Take a snapshot; answer with the outcome."""
        self.snapshots.start_copy(self.log.last.term)
        outcome = until(self.snapshots.poll_copy)
        assert isinstance(outcome, SnapshotManifest | SnapshotFailed)
        return outcome

    def snapshot(self) -> SnapshotManifest:
        """Take a snapshot that succeeds."""
        outcome = self.try_snapshot()
        assert isinstance(outcome, SnapshotManifest), outcome
        return outcome

    def cut(self, manifest: SnapshotManifest, *, keep: int = 0) -> None:
        """Compact the log behind a snapshot, and drop the snapshots before."""
        index = Index(max(self.log.base.position.index, manifest.index - keep))
        term = self.log.term_at(index)
        assert term is not None
        self.log.cut(Base(Position(index, term), manifest.name))
        self.log.commit()
        self.snapshots.retain({manifest.name})

    def bytes_of(self, manifest: SnapshotManifest) -> bytes:
        """A whole snapshot, as a leader would send it."""
        return self.snapshots.read(manifest.name, 0, manifest.size_bytes)

    def stage(
        self, manifest: SnapshotManifest, image: bytes, *, piece: int = 10_000
    ) -> SnapshotManifest | SnapshotFailed:
        """Receive a whole snapshot; answer with the outcome."""
        offset = 0
        while offset < len(image):
            offset = self.snapshots.stage(manifest, offset, image[offset : offset + piece])
        outcome = until(self.snapshots.poll_staged)
        assert isinstance(outcome, SnapshotManifest | SnapshotFailed)
        return outcome

    def install(self, manifest: SnapshotManifest, image: bytes) -> None:
        """Receive a snapshot and go on from it."""
        staged = self.stage(manifest, image)
        assert isinstance(staged, SnapshotManifest), staged
        position = Position(Index(staged.index), Term(staged.term))
        self.log.reset(Base(position, staged.name))
        self.log.commit()
        self.snapshots.adopt(staged.name)
        self.snapshots.retain({staged.name})

    def snapshot_names(self) -> set[str]:
        """The snapshots in the folder."""
        return {path.name for path in (self.data_dir / "snapshots").glob("snap-*")}

    def close(self) -> None:
        """A clean stop."""
        self.storage.close()


def copy_folder(source: Path, target: Path) -> Path:
    """The folder as a crash at this moment leaves it: what the kernel has, it keeps."""
    shutil.copytree(source, target, ignore_dangling_symlinks=True)
    return target
