"""What a member does about what a leader sends it: entries and snapshots.

The counterpart of `feeding.py`. The engine has vetted the message: it is of the current
term, from whoever leads it. What is answered reflects this member's disk, and is held
until the log's commit has returned.
"""

from __future__ import annotations

from typing import Protocol

from raftstate.consensus import rules
from raftstate.consensus.compaction import ALARM as COMPACTION_ALARM
from raftstate.consensus.config import Counters, RaftViolation
from raftstate.consensus.contracts import LogJournal
from raftstate.consensus.hashes import Marks
from raftstate.core.ports import Entry, Log, SnapshotFailed, Snapshots
from raftstate.core.types import Index, Position, Term
from raftstate.v1.peer_pb2 import (
    AppendEntries,
    AppendReply,
    InstallReply,
    InstallSnapshot,
    SnapshotManifest,
)


class Follower(Protocol):
    """What following needs of the engine."""

    alarms: dict[str, str]
    counters: Counters
    marks: Marks
    low_on_space: bool

    @property
    def commit_index(self) -> Index:
        """The highest index known to be committed."""
        ...

    def commit_to(self, index: Index) -> None:
        """Note that the log is committed up to an index."""
        ...

    def settle(self, settle_at: Index) -> None:
        """Become settled if the log is committed so far."""
        ...


class Following:
    """The log and the snapshots of one member, as a leader fills them."""

    def __init__(
        self, member: Follower, journal: LogJournal, log: Log, snapshots: Snapshots
    ) -> None:
        self._member = member
        self._journal = journal
        self._log = log
        self._snapshots = snapshots

    # --- entries --------------------------------------------------------------

    def append_entries(self, m: AppendEntries) -> AppendReply:
        """Take in entries of the current leader; the answer (paper, figure 2)."""
        entries = [Entry(Index(e.index), Term(e.term), e.data) for e in m.entries]
        prev = Position(Index(m.prev_index), Term(m.prev_term))
        judged = rules.judge_append(
            self._log.base.position, self._log.last, self._log.term_at, prev, entries
        )
        reply = AppendReply(prev_index=m.prev_index, low_on_space=self._member.low_on_space)
        if (mark := self._member.marks.newest()) is not None:
            reply.hash.CopyFrom(mark)
        if isinstance(judged, rules.Mismatch):
            reply.next_index = judged.next_index
            return reply
        self._take(judged)
        mine = self._member.commit_index
        self._member.commit_to(
            rules.follower_commit(mine, Index(m.commit_index), judged.verified)
        )
        self._member.settle(Index(m.settle_at))
        reply.success, reply.match_index = True, judged.verified
        return reply

    def _take(self, match: rules.Match) -> None:
        if match.truncate is not None:
            if match.truncate <= self._member.commit_index:
                raise RaftViolation(f"would remove committed entry {match.truncate}")
            self._member.counters.truncations += 1
            self._journal.deleteEntriesFrom(match.truncate - self._log.base.position.index)
        for entry in match.append:
            self._journal.add(entry.data, entry.index, entry.term)

    # --- snapshots ------------------------------------------------------------

    def install_snapshot(self, m: InstallSnapshot) -> InstallReply:
        """Take in one piece of a snapshot; the answer says how far it is here, so that
        a transfer that was interrupted goes on from there."""
        reply = InstallReply(name=m.manifest.name)
        position = position_of(m.manifest)
        if not rules.wants_snapshot(self._member.commit_index, position):
            reply.installed_index = position.index
        else:
            reply.next_offset = self._snapshots.stage(m.manifest, m.offset, m.data)
        return reply

    def verified(self) -> SnapshotManifest | None:
        """A snapshot that is complete, verified and durable, once, if it is wanted."""
        staged = self._snapshots.poll_staged()
        if isinstance(staged, SnapshotFailed):
            self._member.alarms[COMPACTION_ALARM] = f"a snapshot from the leader: {staged}"
            return None
        if staged is None:
            return None
        wanted = rules.wants_snapshot(self._member.commit_index, position_of(staged))
        return staged if wanted else None


def position_of(manifest: SnapshotManifest) -> Position:
    """The last entry that a snapshot holds."""
    return Position(Index(manifest.index), Term(manifest.term))
