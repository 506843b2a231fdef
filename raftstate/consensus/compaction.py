"""When a member takes a snapshot, and when it cuts its log.

A snapshot is taken beside the raft thread. Only once it is verified, durable and
named is the log cut, to a base that names it, and a tail is kept for followers that
are a little behind. Only once the cut is durable do older snapshots go.
"""

from __future__ import annotations

from collections.abc import Mapping

from raftstate.consensus.config import Counters, EngineConfig, RaftViolation
from raftstate.core.ports import Base, Log, SnapshotFailed, Snapshots
from raftstate.core.types import Index, Position, Term
from raftstate.v1.peer_pb2 import SnapshotManifest

RETRY_S = 30.0
# How many times as long as usual a log may become while a snapshot is being sent.
PATIENCE = 4
ALARM = "SNAPSHOT_FAILED"


class Compaction:
    """The snapshots and the base of one member's log."""

    def __init__(
        self,
        config: EngineConfig,
        log: Log,
        snapshots: Snapshots,
        counters: Counters,
        alarms: dict[str, str],
    ) -> None:
        self._config = config
        self._log = log
        self._snapshots = snapshots
        self._counters = counters
        self._alarms = alarms
        self._copying = False
        self._copy_after = float("-inf")
        self._bytes_after_cut = 0
        self._retain: set[str] | None = None

    def tick(
        self, now: float, applied: Index, state_bytes: int, sending: Mapping[str, bool]
    ) -> None:
        """Take a snapshot when the log has grown; cut the log when one is durable.

        Comes before anything is applied in a tick: a copy is of the last committed
        state, which is then the state at `applied`. `sending` are snapshots that
        followers are being sent, or catch up from, and that must stay a little longer,
        and whether they are heard of: then the log is let grow for a while, since a cut
        past what they have would mean to begin anew, for ever if writes are faster than
        the transfer.
        """
        patience = PATIENCE if any(sending.values()) else 1
        if self._copying:
            taken = self._snapshots.poll_copy()
            if isinstance(taken, SnapshotFailed):
                self._alarms[ALARM] = str(taken)
                self._copying, self._copy_after = False, now + RETRY_S
            elif taken is not None:
                self._copying = False
                self._cut_behind(taken, set(sending))
        elif now >= self._copy_after and self._has_grown(applied, state_bytes, patience):
            term = self._log.term_at(applied)
            # Right after an install nothing may be newer than the snapshot there is.
            if term is not None and applied > self._snapshot_index():
                self._copying = True
                self._snapshots.start_copy(term)

    def synced(self) -> None:
        """The log's commit has returned: nothing names an older snapshot any more."""
        if self._retain is not None:
            self._snapshots.retain(self._retain)
            self._retain = None

    def install(self, manifest: SnapshotManifest) -> None:
        """Put the log on a snapshot that came from the leader, durably.

        The state follows. A crash between the two is mended at the next start, which
        finds that the state is not of this log and rebuilds it from the snapshot that
        the base names.
        """
        position = Position(Index(manifest.index), Term(manifest.term))
        self._log.reset(Base(position, manifest.name))
        self._log.commit()
        self._bytes_after_cut = self._log.size_bytes
        self._retain = {manifest.name}
        self._counters.snapshots_installed += 1
        self._alarms.pop(ALARM, None)

    def _snapshot_index(self) -> Index:
        manifest = self._snapshots.manifest(self._log.base.snapshot)
        return Index(manifest.index) if manifest is not None else Index(0)

    def _has_grown(self, applied: Index, state_bytes: int, patience: int) -> bool:
        limit = patience * max(self._config.compact_bytes, state_bytes)
        if self._log.size_bytes - self._bytes_after_cut > limit:
            return True
        entries = patience * self._config.compact_entries
        return bool(entries) and applied - self._snapshot_index() > entries

    def _cut_behind(self, manifest: SnapshotManifest, sending: set[str]) -> None:
        base = self._log.base.position
        self._counters.snapshots_taken += 1
        self._alarms.pop(ALARM, None)
        if manifest.index <= self._snapshot_index() or manifest.index <= base.index:
            # An install overtook this copy: what the log stands on is newer.
            self._retain = {self._log.base.snapshot}
            return
        cut = Index(max(base.index, manifest.index - self._config.keep_entries))
        term = self._log.term_at(cut)
        if term is None or self._log.term_at(Index(manifest.index)) != manifest.term:
            raise RaftViolation(f"snapshot {manifest.name} is not of this log")
        self._log.cut(Base(Position(cut, term), manifest.name))
        self._bytes_after_cut = self._log.size_bytes
        self._retain = {manifest.name} | sending
