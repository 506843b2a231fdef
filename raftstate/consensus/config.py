"""How a member behaves, what it has counted, and how it ends when it must."""

from __future__ import annotations

from dataclasses import dataclass

from raftstate.core.types import MemberId


class RaftViolation(Exception):
    """Something happened that Raft rules out. Stop the process: going on would
    spread it."""


class Dismissed(Exception):
    """This member is not in the cluster, or no longer: it was removed, or its data folder
    is not the one that the cluster knows under its name. Stop the process, in order;
    starting it again does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Timing in seconds, sizes in bytes."""

    member_id: MemberId
    heartbeat_s: float = 0.05
    election_min_s: float = 0.30
    election_max_s: float = 0.60
    append_bytes_max: int = 1 << 20
    window: int = 8
    apply_bytes_max: int = 128 << 10
    compact_bytes: int = 64 << 20
    compact_entries: int = 0
    keep_entries: int = 1000
    chunk_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        if not 3 * self.heartbeat_s < self.election_min_s < self.election_max_s:
            raise ValueError("heartbeats must be thrice as frequent as elections")


@dataclass(slots=True)
class Counters:
    """What happened since the start of the process."""

    elections_started: int = 0
    snapshots_taken: int = 0
    snapshots_installed: int = 0
    truncations: int = 0
