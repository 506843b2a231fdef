"""The kinds of log there are: made, recognised and opened by name.

Which one a member uses is chosen when its data folder is made, `[storage] log`; how to
choose is in decision 0006. A folder keeps its kind for life.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Literal, Protocol, get_args

from raftstate.core.ports import Damage, Identity, Log, WrongStore
from raftstate.core.types import MemberId
from raftstate.storage import lmdb_log, segment_checks
from raftstate.storage.environment import DATA, MAP_BYTES
from raftstate.storage.lmdb_log import LmdbLog
from raftstate.storage.segment_log import SegmentLog
from raftstate.storage.segments import SEGMENT_BYTES, is_segment_log
from raftstate.storage.space import Use
from raftstate.v1 import disk_pb2

LogKind = Literal["lmdb", "segments"]
LOG_KINDS: tuple[LogKind, ...] = get_args(LogKind)


class DurableLog(Log, Protocol):
    """A log on disk. `repaired` says what its opening cut off, empty if nothing."""

    @property
    def repaired(self) -> str: ...

    def use(self) -> Use:
        """What it takes, and what it can write before its files grow."""
        ...

    def forget_dead_readers(self) -> None:
        """Give up the views of processes that have died. Any thread."""
        ...


def as_log_kind(name: str) -> LogKind:
    """The kind that a configuration names."""
    return next(kind for kind in LOG_KINDS if kind == name)


def kind_of(folder: Path) -> LogKind | None:
    """The kind of the log in a folder; None if it looks like neither."""
    if (folder / DATA).exists():
        return "lmdb"
    return "segments" if is_segment_log(folder) else None


def create_log(
    folder: Path,
    identity: Identity,
    kind: LogKind,
    *,
    map_bytes: int = MAP_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
) -> None:
    """Make an empty log. Under its final name it is whole and durable."""
    if kind == "lmdb":
        LmdbLog.create(folder, identity, map_bytes=map_bytes)
    else:
        SegmentLog.create(folder, identity, segment_bytes=segment_bytes)


def open_log(
    folder: Path,
    kind: LogKind,
    *,
    cluster_id: str,
    member_id: MemberId,
    map_bytes: int = MAP_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
) -> DurableLog:
    """Open a log that was made. Raises WrongStore if it is of another kind, or another's."""
    found = kind_of(folder)
    if found is None:
        raise Damage(f"{folder} holds no log: its files are missing")
    if found != kind:
        raise WrongStore(
            f"the data folder {folder.parent} was made with the log {found!r};"
            f" [storage] log wants {kind!r}"
        )
    if kind == "lmdb":
        return LmdbLog(folder, cluster_id=cluster_id, member_id=member_id, map_bytes=map_bytes)
    return SegmentLog(
        folder, cluster_id=cluster_id, member_id=member_id, segment_bytes=segment_bytes
    )


def read_owner(
    folder: Path,
) -> tuple[disk_pb2.DiskIdentity | None, disk_pb2.HardState | None]:
    """What a log that may be damaged says of its owner: each record, if it is sound.

    Raises StorageError or WrongStore if it cannot be opened at all, and may take the
    process with it."""
    kind = kind_of(folder)
    if kind == "lmdb":
        return lmdb_log.read_owner(folder)
    return segment_checks.read_owner(folder) if kind == "segments" else (None, None)


def check_slices(folder: Path) -> Generator[int, None, None]:
    """Read every record of a log that another process may be writing to, a slice at a
    time; yields how many bytes each slice had. Raises Damage."""
    if kind_of(folder) == "segments":
        return segment_checks.check_slices(folder)
    return lmdb_log.check_slices(folder)
