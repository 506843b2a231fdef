"""What a leader sends its followers, and what it makes of their answers.

One `Feeding` is one time in office. It decides by `progress.py` and sends by the
engine; it holds no term of its own, since the engine stamps what leaves and drops what
comes from another term.

A follower that is not settled may have forgotten a later term that it was in on a disk it
lost: to such a follower a deposed leader is as good as any. So it counts for nothing, not
for commitment, reads or contact, until the leader has committed an entry that it appended
after it had heard of the new disk, with settled members alone: then none of them, and no
majority, was in a later term. In a new cluster nobody is settled; there its first leader
counts everybody, and needs everybody.
"""

from __future__ import annotations

from typing import Protocol

from raftstate.consensus import rules
from raftstate.consensus.config import EngineConfig, RaftViolation
from raftstate.consensus.contracts import NO_OP
from raftstate.consensus.hashes import Comparison, Marks
from raftstate.consensus.membership import Learner, Membership, change
from raftstate.consensus.progress import Mode, Progress
from raftstate.core.ports import ChangeRefused, Log, MemberChange, Snapshots
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import (
    AppendEntries,
    AppendReply,
    Envelope,
    HashDiffers,
    InstallReply,
    InstallSnapshot,
    RaftEntry,
    SnapshotManifest,
)

# Raised and cleared by a leader. PEER_LOST_LOG stays: somebody has to look.
LEADERS_ALARMS = ("HASH_DIFFERS",)
RECEIVING_S = 5.0
# How long an answer to a piece is waited for: at first, where the question is only whether
# all is installed, and where data has to travel; and at most, unless pieces take longer.
ASK_AGAIN_S = 0.25
SEND_AGAIN_S = 1.0
AGAIN_MAX_S = 8.0
AGAIN_DOUBLINGS = 5


class Leader(Protocol):
    """What feeding needs of the engine that leads."""

    now: float
    alarms: dict[str, str]
    marks: Marks
    low_on_space: bool

    @property
    def commit_index(self) -> Index:
        """The highest index known to be committed."""
        ...

    def connected_to(self, peer: MemberId) -> bool:
        """Whether messages to a peer can leave."""
        ...

    def append(self, data: bytes) -> Position:
        """Add an entry to the log."""
        ...

    def tell(self, peer: MemberId, envelope: Envelope) -> None:
        """Send a message that claims nothing about the own disk."""
        ...


class Feeding:
    """The followers of one leader, and how far each is."""

    def __init__(
        self,
        leader: Leader,
        config: EngineConfig,
        log: Log,
        snapshots: Snapshots,
        membership: Membership,
    ) -> None:
        self._leader = leader
        self._config = config
        self._log = log
        self._snapshots = snapshots
        self._membership = membership
        self._comparison = Comparison()
        self.founding = False
        self.misfounded = False
        self.progress: dict[MemberId, Progress] = {}
        self.reconfigure()

    def close(self) -> None:
        """Out of office: what only a leader can know is not known here any more."""
        for alarm in LEADERS_ALARMS:
            self._leader.alarms.pop(alarm, None)

    def heard(self) -> dict[MemberId, float]:
        """When each follower that counts last answered in this term."""
        return {
            peer: progress.heard
            for peer, progress in self.progress.items()
            if self.founding or progress.settled or not progress.disk_id
        }

    def matches(self) -> dict[MemberId, Index]:
        """How far the log of each follower that counts is known to match, durably."""
        return {
            peer: progress.match
            for peer, progress in self.progress.items()
            if self.founding or progress.settled
        }

    def confirms(self, peer: MemberId, disk_id: str) -> bool:
        """Whether a follower's word that this member leads counts; it was heard of."""
        progress = self.progress.get(peer)
        if progress is None:
            return False
        progress.heard = self._leader.now
        return progress.settled and progress.disk_id == disk_id

    def found(self, index: Index) -> None:
        """This is the first leader of a new cluster; everybody settles at its first entry."""
        self.founding = True
        for progress in self.progress.values():
            progress.settle_at = index

    def reconfigure(self) -> None:
        """Another configuration is in force: all its members are fed from now on."""
        following = Index(self._log.last.index + 1)
        self.progress = {
            peer: self.progress.get(peer) or Progress(next=following, heard=self._leader.now)
            for peer in self._membership.others()
        }

    def has_quorum_contact(self) -> bool:
        """Whether a quorum of the voters, this one included, was heard from within the
        longest election timeout (dissertation, 6.2)."""
        since = self._leader.now - self._config.election_max_s
        me = self._config.member_id
        return rules.has_quorum_contact(self.heard(), self._membership.voters, me, since)

    def commit_index(self, term: Term, durable: Index) -> Index:
        """How far the log is committed, the own one being durable so far."""
        return rules.leader_commit(
            self._leader.commit_index,
            term,
            {**self.matches(), self._config.member_id: durable},
            self._membership.voters,
            self._log.term_at,
            everybody=self.founding,
        )

    def successor(self, to: MemberId | None, lag: int) -> MemberId | None:
        """The most advanced voter that can be reached and lacks at most `lag` entries;
        the one that is named, if one is."""
        least = self._log.last.index - lag
        matches = self.matches()
        ready = [
            peer
            for peer in self._membership.other_voters()
            if to in (None, peer) and self._leader.connected_to(peer)
            if peer in matches and matches[peer] >= least
            if to == peer or not self.progress[peer].low_on_space
        ]
        return max(ready, key=lambda peer: matches[peer], default=None)

    def change(self, wanted: MemberChange) -> Configuration | ChangeRefused | None:
        """The configuration with one member changed; None if it is so already."""
        progress = self.progress.get(wanted.member_id)
        learner = None
        if progress is not None:
            # Who is silent may come back on another folder than it was on.
            known = progress.settled and not progress.silent
            lag = self._log.last.index - progress.match if known else None
            learner = Learner(progress.disk_id, lag)
        since = self._leader.now - self._config.election_max_s
        heard = {
            # Who has not answered yet in this office was not heard from.
            peer
            for peer, at in self.heard().items()
            if at > since and self.progress[peer].disk_id
        }
        heard.add(self._config.member_id)
        return change(self._membership.current, wanted, follower=learner, heard=heard)

    def snapshots_in_use(self) -> dict[str, bool]:
        """Names of the snapshots that are being sent, or that somebody has just installed who
        lacks what was written meanwhile; and whether any of those was heard of lately."""
        since = self._leader.now - RECEIVING_S
        found: dict[str, bool] = {}
        for progress in self.progress.values():
            if needed := progress.needs:
                found[needed] = progress.heard > since or found.get(needed, False)
        return found

    def end_founding(self, *, self_settled: bool) -> None:
        """A new cluster is founded once every member is settled."""
        everybody = all(progress.settled for progress in self.progress.values())
        if self.founding and self_settled and everybody:
            self.founding = False

    # --- sending --------------------------------------------------------------

    def feed_all(self, *, heartbeat: bool) -> None:
        """Feed every connected follower as far as its window allows; on a heartbeat,
        let each hear of the leader at least."""
        batches: dict[Index, AppendEntries] = {}
        for peer, progress in self.progress.items():
            if not self._leader.connected_to(peer):
                continue
            if not self._feed(peer, progress, batches) and heartbeat:
                prev = Index(max(progress.next - 1, self._log.base.position.index))
                self._tell(peer, progress, self._after(prev))

    def _tell(self, peer: MemberId, progress: Progress, message: AppendEntries) -> None:
        envelope = Envelope(append_entries=message)
        if not progress.settled:
            envelope.append_entries.settle_at = progress.settle_at
        self._leader.tell(peer, envelope)

    def _feed(
        self, peer: MemberId, progress: Progress, batches: dict[Index, AppendEntries]
    ) -> bool:
        """Send a follower what it lacks; say whether anything with entries left."""
        if progress.next <= self._log.base.position.index:
            self._feed_snapshot(peer, progress)
            return False
        fed = False
        while progress.next <= self._log.last.index and progress.may_send(self._config.window):
            # Followers that are equally far get the very same message.
            batch = batches.get(progress.next)
            if batch is None:
                batch = batches[progress.next] = self._batch(progress.next)
            self._tell(peer, progress, batch)
            progress.sent_entries(Index(batch.entries[-1].index))
            fed = True
        return fed

    def _batch(self, first: Index) -> AppendEntries:
        message = self._after(Index(first - 1))
        for index, term, data in self._log.read(first, self._config.append_bytes_max):
            message.entries.append(RaftEntry(index=index, term=term, data=data))
        return message

    def _after(self, prev: Index) -> AppendEntries:
        term = self._log.term_at(prev)
        assert term is not None, f"no term at {prev}"
        commit_index = self._leader.commit_index
        return AppendEntries(prev_index=prev, prev_term=term, commit_index=commit_index)

    def _feed_snapshot(self, peer: MemberId, progress: Progress) -> None:
        """Send the next piece of the snapshot that the log stands on."""
        manifest = self._snapshot_for(progress)
        progress.begin_snapshot(manifest.name)
        now = self._leader.now
        if progress.waiting and now < progress.ask_again_at:
            return
        offset = progress.snapshot_offset
        size = min(self._config.chunk_bytes, manifest.size_bytes - offset)
        # Only an answer can have been lost, so pieces that crawl are not piled up: all that
        # comes behind them on the link would crawl, too.
        first = SEND_AGAIN_S if size else ASK_AGAIN_S
        patience = first * 2 ** min(progress.unanswered, AGAIN_DOUBLINGS)
        wait = max(min(patience, AGAIN_MAX_S), 2 * progress.piece_s)
        if not progress.unanswered or not progress.asked_at:
            progress.asked_at = now
        progress.waiting, progress.ask_again_at = True, now + wait
        progress.unanswered += 1
        data = self._snapshots.read(manifest.name, offset, size) if size else b""
        piece = InstallSnapshot(manifest=manifest, offset=offset, data=data)
        self._leader.tell(peer, Envelope(install_snapshot=piece))

    def _snapshot_for(self, progress: Progress) -> SnapshotManifest:
        """The snapshot already begun if it is still there, else the newest.

        One that was begun, and that nothing has come of in this connection, is given up if
        the log does not go on behind it any more: another would have to follow it.
        """
        base = self._log.base
        begun = self._snapshots.manifest(progress.snapshot) if progress.snapshot else None
        useful = begun is not None and begun.index >= base.position.index
        if begun is not None and (useful or progress.snapshot_offset):
            return begun
        newest = self._snapshots.manifest(base.snapshot) if base.snapshot else None
        if newest is None:
            raise RaftViolation(f"the log stands on {base}, which is not there")
        return newest

    # --- answers, of the leader's own term --------------------------------------

    def _heard_of(self, peer: MemberId, disk_id: str) -> Progress | None:
        """The follower that an answer is from, unless it is no member (any more). If it
        answers from another disk than before, what it acknowledged is gone."""
        progress = self.progress.get(peer)
        if progress is None:
            return None
        if progress.disk_id and progress.disk_id != disk_id:
            following = Index(self._log.last.index + 1)
            progress = self.progress[peer] = Progress(next=following, heard=progress.heard)
            self._comparison.forget(peer)
        progress.disk_id, progress.heard = disk_id, self._leader.now
        progress.silent = False
        self.misfounded |= self.founding and not self._membership.knows(peer, disk_id)
        return progress

    def on_append_reply(self, peer: MemberId, disk_id: str, m: AppendReply) -> None:
        """Take in what a follower says about AppendEntries."""
        progress = self._heard_of(peer, disk_id)
        if progress is None:
            return
        progress.settled = progress.settled or m.settled
        if not progress.settled and not progress.settle_at:
            progress.settle_at = self._leader.append(NO_OP).index
        progress.low_on_space = m.low_on_space
        if m.HasField("hash") and progress.settled and self._comparison.add(peer, m.hash):
            self._compare(Index(m.hash.index))
        if not m.success:
            # Answers come in order, so this is no late one from before it had the entry.
            if progress.mode is not Mode.SNAPSHOT and m.prev_index <= progress.match != 0:
                self._leader.alarms["PEER_LOST_LOG"] = (
                    f"{peer} acknowledged index {progress.match} and no longer holds it"
                )
            progress.rejected(Index(m.prev_index), Index(m.next_index))
        elif m.match_index > self._log.last.index:
            raise RaftViolation(f"{peer} acknowledged {m.match_index}, past {self._log.last}")
        elif progress.mode is not Mode.SNAPSHOT:
            progress.accepted(Index(m.match_index))
        elif m.match_index >= self._log.base.position.index:
            progress.end_snapshot(Index(m.match_index), self._log.last.index)

    def _compare(self, index: Index) -> None:
        """Tell whoever holds another state than most that its own is damaged; raises
        Damage if that is this member."""
        me = self._config.member_id
        if (mine := self._leader.marks.at(index)) is not None:
            self._comparison.add(me, mine)
        out = [peer for peer, progress in self.progress.items() if not progress.settled]
        verdict = self._comparison.verdict(index, self._membership.voters, out)
        if verdict is None:
            return
        if verdict.alarm:
            self._leader.alarms["HASH_DIFFERS"] = verdict.alarm
        for member in verdict.told:
            if member == me and verdict.agreed is not None:
                self._leader.marks.compare(verdict.agreed)
            else:
                notice = HashDiffers(theirs=verdict.agreed)
                self._leader.tell(member, Envelope(hash_differs=notice))

    def is_short_of_space(self) -> bool:
        """Whether this member's disk or those of most voters are nearly full."""
        low = {peer for peer, progress in self.progress.items() if progress.low_on_space}
        return self._leader.low_on_space or rules.is_quorum(self._membership.voters, low)

    def on_install_reply(self, peer: MemberId, disk_id: str, m: InstallReply) -> None:
        """Take in what a follower says about a piece of a snapshot."""
        progress = self._heard_of(peer, disk_id)
        if progress is None or progress.mode is not Mode.SNAPSHOT:
            return
        if progress.snapshot != m.name:
            progress.heard_of_former_snapshot()
            return
        if progress.unanswered and m.next_offset > progress.snapshot_offset:
            progress.piece_s = self._leader.now - progress.asked_at
        progress.unanswered = 0
        if m.installed_index:
            progress.end_snapshot(Index(m.installed_index), self._log.last.index)
        else:
            # With all of it there, the next question waits: verification takes time.
            # If that fails, the follower wants it again from offset 0.
            progress.waiting = m.next_offset == progress.snapshot_offset
            progress.snapshot_offset = m.next_offset
