"""What every implementation of `ports.Log` is tested with.

A factory opens the log in a folder, and makes it the first time. Called again with
the same folder, after `close`, it shows what was committed. `LOG_FACTORIES` is a
list of (name, factory); an implementation joins by adding itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from raftstate.core.ports import Base, Entry, Identity, Log
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.storage.lmdb_log import LmdbLog
from raftstate.storage.segment_log import SegmentLog
from tests.sim.disk import SimDisk, SimLog

LogFactory = Callable[[Path], Log]

CLUSTER = "cluster"
MEMBER = MemberId("n1")
IDENTITY = Identity(CLUSTER, 1, MEMBER, "disk")
MAP_BYTES = 64 << 20


def open_lmdb_log(folder: Path, *, cache_bytes: int = 1 << 20) -> LmdbLog:
    """The product's log."""
    if not (folder / "log").exists():
        LmdbLog.create(folder / "log", IDENTITY, map_bytes=MAP_BYTES)
    return LmdbLog(
        folder / "log",
        cluster_id=CLUSTER,
        member_id=MEMBER,
        map_bytes=MAP_BYTES,
        cache_bytes=cache_bytes,
    )


def open_cold_log(folder: Path) -> LmdbLog:
    """The product's log with next to nothing in memory, so that reads go to LMDB."""
    return open_lmdb_log(folder, cache_bytes=1)


def open_segment_log(
    folder: Path, *, cache_bytes: int = 1 << 20, segment_bytes: int = 1 << 20
) -> SegmentLog:
    """The product's other log."""
    if not (folder / "log").exists():
        SegmentLog.create(folder / "log", IDENTITY, segment_bytes=segment_bytes)
    return SegmentLog(
        folder / "log",
        cluster_id=CLUSTER,
        member_id=MEMBER,
        segment_bytes=segment_bytes,
        cache_bytes=cache_bytes,
    )


def open_small_segments(folder: Path) -> SegmentLog:
    """Cold as well, and a new file every few commits."""
    return open_segment_log(folder, cache_bytes=1, segment_bytes=8192)


_DISKS: dict[Path, SimDisk] = {}


def open_simulated_log(folder: Path) -> Log:
    """The simulator's log, on a disk that outlives it."""
    disk = _DISKS.get(folder)
    if disk is None:
        disk = SimDisk(IDENTITY, after=lambda _seconds, _work: None, rng=random.Random(0))
        _DISKS[folder] = disk
    # Without the state beside it, which would want the snapshot that a base names.
    disk.incarnation += 1
    return SimLog(disk)


LOG_FACTORIES: list[tuple[str, LogFactory]] = [
    ("lmdb", open_lmdb_log),
    ("lmdb-cold", open_cold_log),
    ("segments", open_segment_log),
    ("segments-small-cold", open_small_segments),
    ("simulated", open_simulated_log),
]


def entry(index: int, term: int = 1, size: int = 10) -> Entry:
    """An entry whose data says where it belongs."""
    data = f"{index}/{term}:".encode().ljust(size, b".")
    return Entry(Index(index), Term(term), data)


def base(index: int, term: int, snapshot: str = "snap") -> Base:
    """A base that names a snapshot."""
    return Base(Position(Index(index), Term(term)), snapshot)


class ModelLog:
    """A log as a plain list: what the others must agree with."""

    def __init__(self) -> None:
        self.base = Base(Position(Index(0), Term(0)), "")
        self.entries: list[Entry] = []

    @property
    def last(self) -> Position:
        """The newest entry, or the base."""
        return Position(*self.entries[-1][:2]) if self.entries else self.base.position

    def drop_from(self, first: int) -> None:
        """Remove an entry and all after it."""
        self.entries = [entry for entry in self.entries if entry.index < first]

    def cut(self, base: Base) -> None:
        """Move the base within the log."""
        self.entries = [entry for entry in self.entries if entry.index > base.position.index]
        self.base = base

    def reset(self, base: Base) -> None:
        """Take a base from outside."""
        positions = {entry[:2] for entry in self.entries} | {tuple(self.base.position)}
        if tuple(base.position) not in positions:
            self.entries = []
        self.cut(base)

    def copy(self) -> ModelLog:
        """The same content, of its own."""
        twin = ModelLog()
        twin.base, twin.entries = self.base, list(self.entries)
        return twin

    def check(self, log: Log) -> None:
        """Compare everything that a log shows."""
        assert log.base == self.base
        assert log.last == self.last
        assert log.size_bytes == sum(len(entry.data) for entry in self.entries)
        first = Index(self.base.position.index + 1)
        assert log.read(first, 1 << 30) == self.entries
        assert log.term_at(Index(first - 1)) == self.base.position.term
        assert log.term_at(Index(self.last.index + 1)) is None
        for held in self.entries:
            assert log.term_at(held.index) == held.term
            assert log.read(held.index, 0) == [held]
