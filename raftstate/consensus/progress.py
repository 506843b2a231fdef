"""What a leader knows of one follower, and what it may send next.

Three modes. PROBE: it is not known where the logs part, so one message at a time.
REPLICATE: they match up to `match`, so several batches may be in flight, a bounded
number. SNAPSHOT: the entries that the follower lacks are compacted away.

Invariant: match < next. What a follower acknowledged in this term is never sent
again, whatever a late reply says.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field

from raftstate.core.types import Index


class Mode(enum.Enum):
    """How the leader feeds a follower."""

    PROBE = enum.auto()
    REPLICATE = enum.auto()
    SNAPSHOT = enum.auto()


@dataclass(slots=True)
class Progress:
    """One follower, as its leader sees it. Times are seconds of the leader's clock."""

    next: Index
    match: Index = Index(0)
    mode: Mode = Mode.PROBE
    heard: float = 0.0
    disk_id: str = ""
    settled: bool = False  # until it says so, it counts for nothing (see feeding.py)
    settle_at: Index = Index(0)
    low_on_space: bool = False
    silent: bool = True  # since the connection broke, or since the beginning
    in_flight: deque[Index] = field(default_factory=deque)
    waiting: bool = False  # PROBE and SNAPSHOT: a message is out, its answer is not here
    ask_again_at: float = 0.0
    unanswered: int = 0  # pieces sent since the last answer to one
    asked_at: float = 0.0  # when the first of these was sent, of this snapshot
    piece_s: float = 0.0  # how long the last piece took
    snapshot: str = ""
    snapshot_offset: int = 0
    installed: str = ""  # the snapshot that it began with, when there was no entry for it
    catches_up_at: Index = Index(0)  # what was written until it had that one

    @property
    def needs(self) -> str:
        """The snapshot that it is being sent, or has, while it lacks what was written since;
        empty if it lives on entries."""
        if self.snapshot:
            return self.snapshot
        return self.installed if self.match < self.catches_up_at else ""

    def may_send(self, window: int) -> bool:
        """Whether another message with entries or a snapshot piece may leave now."""
        if self.mode is Mode.REPLICATE:
            return len(self.in_flight) < window
        return not self.waiting

    def sent_entries(self, last: Index) -> None:
        """Note a batch of entries that has left."""
        assert last >= self.next, f"batch ends at {last}, before {self.next}"
        if self.mode is Mode.REPLICATE:
            self.in_flight.append(last)
            self.next = Index(last + 1)
        else:
            self.waiting = True

    def accepted(self, match: Index) -> bool:
        """Note what the follower verified; say whether that is news."""
        while self.in_flight and self.in_flight[0] <= match:
            self.in_flight.popleft()
        news = match > self.match
        self.match = max(self.match, match)
        self.next = Index(max(self.next, self.match + 1))
        if self.mode is Mode.PROBE:
            self.mode, self.waiting = Mode.REPLICATE, False
        return news

    def rejected(self, prev: Index, hint: Index) -> None:
        """Note that the follower has no matching entry at `prev`; go back to `hint`.

        A rejection of anything but the newest probe is old news, and going back by it
        could undo a step back that was made since.
        """
        if self.mode is Mode.REPLICATE:
            if prev > self.match:
                self._probe_from(Index(self.match + 1))
        elif self.mode is Mode.PROBE and prev == self.next - 1:
            self._probe_from(Index(max(self.match + 1, min(prev, hint))))

    def disconnected(self) -> None:
        """Everything in flight is lost. A snapshot goes on where the follower says."""
        self.snapshot_offset = self.unanswered = 0
        self.silent = True
        if self.mode is Mode.REPLICATE:
            self._probe_from(Index(self.match + 1))
        self.waiting = False

    def _probe_from(self, index: Index) -> None:
        self.mode, self.next, self.waiting = Mode.PROBE, index, False
        self.in_flight.clear()

    def begin_snapshot(self, name: str) -> None:
        """Start to send a snapshot, or go on; the follower says from which offset.

        Pieces of a former one that were not answered may still be on the link: they count.
        """
        if self.mode is not Mode.SNAPSHOT:
            self.waiting, self.unanswered = False, 0
        if self.mode is not Mode.SNAPSHOT or self.snapshot != name:
            self.mode, self.snapshot, self.snapshot_offset = Mode.SNAPSHOT, name, 0
            self.installed, self.asked_at = "", 0.0
            self.in_flight.clear()

    def heard_of_former_snapshot(self) -> None:
        """A piece of a snapshot that was given up has come through the link. With the last
        of them, there is room for another."""
        self.unanswered = max(self.unanswered - 1, 0)
        if not self.unanswered:
            self.waiting = False

    def end_snapshot(self, installed: Index, last: Index) -> None:
        """The follower's state is the snapshot at `installed` now, and the log ends at
        `last`: it catches up once it has that too."""
        self.match = max(self.match, installed)
        self.installed, self.catches_up_at = self.snapshot, last
        self.snapshot, self.snapshot_offset = "", 0
        self._probe_from(Index(self.match + 1))
