"""What a leader proposes of its own accord, so that a store does not grow for ever.

History older than what is kept, rows that earlier commands have given up, chunks of
checkpoints that nobody has named for long: each is removed by a command, and so by every
replica alike. The leader only looks, seldom, and proposes when there is something; where
nothing is to be done, nothing is written. What it proposed last must have been applied
before it proposes again, so that a leader without a quorum does not fill its log.

Sans-io: `now` is the leader's monotonic clock in seconds.

Start reading at `Upkeep.due`.
"""

from __future__ import annotations

from raftstate.core import keys
from raftstate.core.history import HistoryMark, read_mark
from raftstate.core.machine import read_counters
from raftstate.core.ports import Reader
from raftstate.v1.store_pb2 import CollectChunks, Command, Sweep, TrimHistory

# How long until the next look, after one that found something, and one that did not.
BUSY_S = 0.1
IDLE_S = 1.0
SWEEP_ROWS = 500
CHUNKS_PER_COMMAND = 100
# History is trimmed when it is longer than what is kept by a tenth, and at least by this:
# commands that trim and sweep count as revisions too, and must not bring on the next.
_MARGIN_MIN = 10


class Upkeep:
    """When to look, and what to propose. It holds nothing that matters.

    `history_keep` is how many revisions can be read, zero for all; `chunk_keep_s` how
    long, in log time, an unused chunk is kept.
    """

    def __init__(self, history_keep: int, chunk_keep_s: float) -> None:
        self._history_keep = history_keep
        self._chunk_keep_ms = int(chunk_keep_s * 1000)
        self._look_at = 0.0
        # The state's revision when something was last proposed.
        self._proposed_at = -1

    def begin(self, now: float) -> None:
        """Take office: look at once, and know of no proposal."""
        self._look_at, self._proposed_at = now, -1

    @property
    def next_deadline(self) -> float:
        """When `due` looks again."""
        return self._look_at

    def due(self, reader: Reader, now: float, log_time_ms: int) -> list[Command]:
        """What to propose now. `log_time_ms` is what an entry would be stamped with."""
        if now < self._look_at:
            return []
        revision = read_counters(reader).revision
        wanted = self._wanted(reader, revision, log_time_ms)
        self._look_at = now + (BUSY_S if wanted else IDLE_S)
        if not wanted or revision == self._proposed_at:
            return []
        self._proposed_at = revision
        return wanted

    def _wanted(self, reader: Reader, revision: int, log_time_ms: int) -> list[Command]:
        mark = read_mark(reader)
        wanted: list[Command] = []
        if self._is_too_long(mark, revision):
            trim = TrimHistory(revision=revision - self._history_keep)
            wanted.append(Command(trim_history=trim))
        if mark.has_work:
            wanted.append(Command(sweep=Sweep(rows=SWEEP_ROWS)))
        before_ms = log_time_ms - self._chunk_keep_ms
        if before_ms > 0 and any(True for _ in reader.scan(*keys.unused_chunks(before_ms))):
            collect = CollectChunks(unused_since_ms=before_ms, limit=CHUNKS_PER_COMMAND)
            wanted.append(Command(collect_chunks=collect))
        return wanted

    def _is_too_long(self, mark: HistoryMark, revision: int) -> bool:
        keep = self._history_keep
        if keep == 0:
            return False
        return revision - mark.oldest > keep + max(keep // 10, _MARGIN_MIN)
