"""PySyncObj's node, with Raft's rules in place of its own.

PySyncObj 0.3.17 supplies the node, its tick, its data model (role, term, vote,
leader, log, commit index, connected nodes) and the contracts of journal and
transport. As a consensus it is not safe, so every decision is overridden here and
taken elsewhere, in plain code: `rules.py`, `feeding.py` with `progress.py`,
`read_index.py`, `compaction.py`.

This is the only file with a name of PySyncObj's inside (`_SyncObj__x`). None of them
is an interface, so the exact version is demanded at import, and a test compares the
hash of its source: see `PRIVATE` for every name that is relied on.

Two kinds of message leave. Ungated ones (AppendEntries, probes) may leave at once:
they claim nothing about this member's own disk. Gated ones (acknowledgements, votes,
vote requests) reflect this member's log, term or vote, and the host holds them until
the log's commit has returned.

Start reading at `Engine._onTick` and `Engine._SyncObj__onMessageReceived`.
"""

from __future__ import annotations

import importlib.metadata
import random
from typing import Any

import pysyncobj.syncobj as upstream

from raftstate.consensus import membership, rules
from raftstate.consensus.admission import Admission
from raftstate.consensus.compaction import Compaction
from raftstate.consensus.config import Counters, EngineConfig, RaftViolation
from raftstate.consensus.contracts import NO_OP, LogJournal, MemberNode, Wire, settings
from raftstate.consensus.feeding import Feeding
from raftstate.consensus.following import Following, position_of
from raftstate.consensus.hashes import Marks
from raftstate.consensus.host import Host
from raftstate.consensus.membership import Membership, folder_of, is_rejoining
from raftstate.consensus.read_index import ReadRounds
from raftstate.core.ports import (
    ChangeRefused,
    HardState,
    Log,
    MemberChange,
    Snapshots,
)
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import (
    AppendEntries,
    AppendReply,
    Envelope,
    HashDiffers,
    InstallReply,
    InstallSnapshot,
    ReadProbe,
    ReadProbeReply,
    RequestVote,
    SnapshotManifest,
    TimeoutNow,
    VoteReply,
)

UPSTREAM_VERSION = "0.3.17"
UPSTREAM_SHA256 = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"

# Attributes and methods of SyncObj that are read, written or overridden below.
PRIVATE = (
    *("applyLogEntries", "connectedNodes", "doApplyCommand", "generateRaftTimeout"),
    *("loadDumpFile", "needLoadDumpFile", "noopIDx", "onBecomeLeader"),
    *("onMessageReceived", "raftCommitIndex"),
    *("raftCurrentTerm", "raftElectionDeadline", "raftLastApplied", "raftLeader"),
    *("raftLog", "raftState", "selfNode", "sendAppendEntries", "sendNextNodeIdx"),
    *("setCurrentTerm", "setState", "transport", "tryLogCompaction", "votedForNodeId"),
)

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
ROLES = {FOLLOWER: "follower", CANDIDATE: "candidate", LEADER: "leader"}

FOUND_VERSION = importlib.metadata.version("pysyncobj")
if FOUND_VERSION != UPSTREAM_VERSION:
    raise ImportError(
        f"pysyncobj {FOUND_VERSION} is installed, and only {UPSTREAM_VERSION} is known inside"
    )


class Engine(upstream.SyncObj):  # type: ignore[misc]  # pysyncobj is untyped
    """One member of the consensus: no thread, no clock, no socket.

    The host sets `now` before anything else in a step, then delivers messages, then
    calls `tick`, then commits the log and calls `synced`.
    """

    def __init__(
        self,
        config: EngineConfig,
        log: Log,
        snapshots: Snapshots,
        rng: random.Random,
        now: float,
        host: Host,
        applied: Index,
        configuration: Configuration,
    ) -> None:
        # Before PySyncObj's own constructor, which calls back into overridden methods.
        self.now = now
        self.config = config
        self.counters = Counters()
        self.alarms: dict[str, str] = {}
        self.marks = Marks()
        self.low_on_space = False
        self.membership = Membership(config.member_id, configuration, log, applied)
        self.reads: ReadRounds[Any] = ReadRounds(config.member_id, self.membership.voters)
        # Why this member has to go, once it does (see `config.Dismissed`).
        gone = log.hard_state.settled and self.membership.is_without_me()
        self.dismissed = "removed before: it needs an empty folder" if gone else ""
        self.log = log
        self._rng = rng
        self._host = host
        self._snapshots = snapshots
        self._nodes = {member: MemberNode(member) for member in self.membership.others()}
        self._in_force = self.membership.current
        self._feeding: Feeding | None = None
        self._compaction = Compaction(config, log, snapshots, self.counters, self.alarms)
        self._campaign: rules.Campaign | None = None
        self._durable, self._durable_term = log.last.index, log.hard_state.term
        self._heard = float("-inf")
        self._disks: dict[MemberId, str] = {}
        self._due = now  # when the next tick was to come, at the latest
        self._heartbeat_at = now
        super().__init__(
            MemberNode(config.member_id),
            list(self._nodes.values()),
            settings(config, LogJournal(log, self.membership)),
            nodeClass=MemberNode,
            transport=Wire(lambda peer, envelope: host.send(peer, envelope, gated=False)),
        )
        self.admission = Admission(self, self.membership, log)
        self._following = Following(self, self._SyncObj__raftLog, log, snapshots)
        self._SyncObj__needLoadDumpFile = False
        self._SyncObj__raftLeader: MemberNode | None = None
        self._SyncObj__raftElectionDeadline = now + self._SyncObj__generateRaftTimeout()
        self._SyncObj__raftLastApplied = applied
        # Applied is committed; nothing more is known to be before a leader says so.
        self._SyncObj__raftCommitIndex = max(applied, log.base.position.index)

    # --- what the host reads ------------------------------------------------

    @property
    def term(self) -> Term:
        """The current term."""
        return Term(self._SyncObj__raftCurrentTerm)

    @property
    def role(self) -> str:
        """follower, candidate or leader."""
        return ROLES[self._SyncObj__raftState]

    @property
    def leads(self) -> bool:
        """Whether this member believes that it leads."""
        return bool(self._SyncObj__raftState == LEADER)

    @property
    def leader(self) -> MemberId | None:
        """Who leads the current term, as far as this member knows."""
        node: MemberNode | None = self._SyncObj__raftLeader
        return None if node is None else MemberId(node.id)

    @property
    def commit_index(self) -> Index:
        """The highest index known to be committed."""
        return Index(self._SyncObj__raftCommitIndex)

    @property
    def applied_index(self) -> Index:
        """The highest index whose entry was applied."""
        return Index(self._SyncObj__raftLastApplied)

    @property
    def in_office(self) -> bool:
        """Whether this member leads and an entry of its own term is applied: only then
        does it know all that is committed (dissertation, 6.4)."""
        if not self.leads or self.founding:
            return False
        return bool(self.applied_index >= self._SyncObj__noopIDx)

    @property
    def founding(self) -> bool:
        """Whether this member leads a new cluster in which not everybody is settled yet:
        it does not serve before, since without it the others could elect nobody."""
        return self._feeding is not None and self._feeding.founding

    @property
    def is_short_of_space(self) -> bool:
        """Whether what grows the state should be refused, as far as a leader knows."""
        return self._feeding is not None and self._feeding.is_short_of_space()

    @property
    def quarantined(self) -> bool:
        """Whether damage was found in this member's folder, and it is not settled since:
        it neither votes nor campaigns, and counts for nothing."""
        return is_rejoining(self.log.identity.disk_id) and not self.log.hard_state.settled

    @property
    def has_work(self) -> bool:
        """Whether another tick would do something without any new input."""
        return self.applied_index < self.commit_index or self._next_commit() > self.commit_index

    @property
    def wake_at(self) -> float:
        """When a tick is due without any new input, on the host's clock."""
        if self.leads:
            return self._heartbeat_at
        return float(self._SyncObj__raftElectionDeadline)

    def connected_to(self, peer: MemberId) -> bool:
        """Whether messages to a peer can leave."""
        return self._node(peer) in self._SyncObj__connectedNodes

    def match_index(self, peer: MemberId) -> Index:
        """How far a peer's log is known to match; zero unless this member leads."""
        progress = self._feeding.progress.get(peer) if self._feeding else None
        return Index(0) if progress is None else progress.match

    def _node(self, member: MemberId) -> MemberNode:
        """PySyncObj's node of a member; also of one that is not known (any more)."""
        node = self._nodes.get(member)
        if node is None:
            node = self._nodes[member] = MemberNode(member)
        return node

    # --- what the host does -------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """Take in a message from a member; the transport has vetted where it is from."""
        peer = MemberId(envelope.from_member)
        if self.admission.admits(peer, envelope):
            self._SyncObj__transport._onMessageReceived(self._node(peer), envelope)

    def connect(self, peer: MemberId) -> None:
        """Messages to this peer can leave from now on."""
        self._SyncObj__transport._onNodeConnected(self._node(peer))

    def disconnect(self, peer: MemberId) -> None:
        """The connection to this peer broke, and what was in flight is lost."""
        self._SyncObj__transport._onNodeDisconnected(self._node(peer))
        if self._feeding is not None and peer in self._feeding.progress:
            self._feeding.progress[peer].disconnected()

    def append(self, data: bytes) -> Position:
        """Add an entry to the leader's log; it leaves with the next tick."""
        assert self.leads, "only a leader appends"
        position = Position(Index(self.log.last.index + 1), self.term)
        self._SyncObj__raftLog.add(data, position.index, position.term)
        self._note_configuration()
        return position

    def tick(self) -> None:
        """Do what is due: timers, commitment, apply, sending."""
        self.doTick(0.0)

    def synced(self) -> None:
        """The log's commit has returned: what it holds counts as durable."""
        self._durable, self._durable_term = self.log.last.index, self.term
        self._compaction.synced()

    def begin_read_round(self) -> None:
        """Let the probes of the next read round leave, if reads wait for one."""
        number = self.reads.begin()
        if number is not None:
            for peer in self.membership.other_voters():
                self._probe_read(peer, number)

    def transfer(self, to: MemberId | None = None, *, lag: int = 0) -> MemberId | None:
        """Ask a voter to take over (dissertation, 3.10), the most advanced one if none is
        named; who it is.

        None if no such voter is reachable and lacks at most `lag` entries. The caller
        proposes nothing more, and waits for a bounded time.
        """
        successor = self._feeding.successor(to, lag) if self._feeding is not None else None
        if successor is not None:
            self._send(successor, Envelope(timeout_now=TimeoutNow()))
        return successor

    def change_members(self, wanted: MemberChange) -> Position | Configuration | ChangeRefused:
        """Append the configuration with one member changed, as a leader in office; the
        one in force if that is so already (dissertation, 4.1)."""
        assert self._feeding is not None and self.in_office, "only a leader in office"
        if self.membership.index > self.commit_index:
            return ChangeRefused("CONFLICT", "another change of membership is under way")
        changed = self._feeding.change(wanted)
        if changed is None or isinstance(changed, ChangeRefused):
            return self.membership.current if changed is None else changed
        return self.append(self.membership.encode(changed))

    # --- the tick (replaces SyncObj._onTick) --------------------------------

    def _onTick(self, timeToWait: float = 0.0) -> None:  # noqa: N802, N803
        """One turn. Messages were delivered before, so that no timer fires while the
        heartbeat that would have stopped it waits unread."""
        assert timeToWait == 0.0, "the host does the waiting"
        self._forgive_oversleeping()
        self._install_when_verified()
        # Before anything is applied: a copy is of the last committed state.
        self._SyncObj__tryLogCompaction()
        if self._feeding is not None:
            self._keep_office(self._feeding)
        elif self.now >= self._SyncObj__raftElectionDeadline:
            self._election_is_due()
        self._advance_commit()
        self._SyncObj__applyLogEntries()
        self._SyncObj__sendAppendEntries()
        self._due = self.wake_at

    def _forgive_oversleeping(self) -> None:
        """A process that was paused knows nothing about the time since: it waits for
        the heartbeats that may be on their way before it campaigns."""
        if self.now - self._due > self.config.election_min_s / 2:
            deadline, beat = self._SyncObj__raftElectionDeadline, self.config.heartbeat_s
            self._SyncObj__raftElectionDeadline = max(deadline, self.now + 2 * beat)

    def _keep_office(self, feeding: Feeding) -> None:
        """Check-quorum (dissertation, 6.2): a leader that is cut off steps down. So does
        the first one, if somebody is on another disk than it had voted from."""
        if feeding.misfounded or not feeding.has_quorum_contact():
            self._step_down(self.term)

    def _next_commit(self) -> Index:
        if self._feeding is None:
            return self.commit_index
        return self._feeding.commit_index(self.term, self._durable)

    def _advance_commit(self) -> None:
        if self._feeding is not None:
            self.commit_to(self._next_commit())
            if self._feeding.founding:
                self.settle(Index(self._SyncObj__noopIDx))
            self._feeding.end_founding(self_settled=self.log.hard_state.settled)

    def settle(self, settle_at: Index) -> None:
        """This log holds all that was ever committed, whatever disk it is on, once it
        has committed what the leader said (see feeding.py).

        The leader gets the vote of this term: a former disk may have given it, and
        another may not have it too.
        """
        if self.log.hard_state.settled or not 0 < settle_at <= self.commit_index:
            return
        leader = self.leader
        assert leader is not None, f"committed in term {self.term} without a leader"
        self._SyncObj__setCurrentTerm(self.term, self._SyncObj__votedForNodeId or leader)
        self.log.set_hard_state(self.log.hard_state._replace(settled=True))
        self._heartbeat_at = self.now  # the followers shall hear of it at once

    def commit_to(self, index: Index) -> None:
        """Note that the log is committed up to an index; never goes back."""
        if index > self.commit_index:
            assert index <= self.log.last.index, f"commit {index} past {self.log.last}"
            self._SyncObj__raftCommitIndex = index
            self._SyncObj__raftLog.setRaftCommitIndex(index)

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        """Apply what is committed, so much a tick that no heartbeat comes late."""
        last = self.commit_index
        if self.applied_index >= last:
            return False
        for entry in self.log.read(Index(self.applied_index + 1), self.config.apply_bytes_max):
            if entry.index > last:
                break
            heavy = self._host.apply(entry)
            self._SyncObj__raftLastApplied = entry.index
            if (configuration := membership.decode(entry)) is not None:
                self._configuration_applied(configuration)
            if heavy:
                break
        return False

    # --- membership ---------------------------------------------------------

    def _note_configuration(self) -> None:
        """Go by the configuration in force, if it is another one since the last time."""
        if self._in_force is not self.membership.current:
            self._in_force = self.membership.current
            self.reads.electorate(self.membership.voters)
            if self._feeding is not None:
                self._feeding.reconfigure()

    def _configuration_applied(self, configuration: Configuration) -> None:
        """Whoever is left out by what is committed now is told, and goes."""
        reason = f"removed by configuration {configuration.index}: it needs an empty folder"
        for member in self.membership.applied(configuration):
            member_id = MemberId(member.member_id)
            self.admission.forget(member_id)
            # Not who is back since: what is applied here may be long past.
            if self.leads and member.disk_id and not self.membership.names(member_id):
                self.admission.dismiss(member_id, member.disk_id, reason)
            # A member of this name may have been another folder, in a former life.
            mine = self.leads or member.disk_id == folder_of(self.log.identity.disk_id)
            if member_id == self.config.member_id and mine:
                self._leave(reason)

    def _leave(self, reason: str) -> None:
        """A leader that was removed led on until that was committed, and lets another
        take over at once (dissertation, 4.2.2)."""
        if self.membership.names(self.config.member_id):
            return  # it was added again since
        if self._feeding is not None:
            self._feeding.feed_all(heartbeat=True)
            self.transfer(lag=membership.LAG_MAX)
            self._step_down(self.term)
        self.dismissed = reason

    # --- elections ----------------------------------------------------------

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        return self._rng.uniform(self.config.election_min_s, self.config.election_max_s)

    def _reset_election_timer(self) -> None:
        timeout = self._SyncObj__generateRaftTimeout()
        self._SyncObj__raftElectionDeadline = self.now + timeout

    def is_led(self) -> bool:
        """Whether there is a leader that this member should stick to."""
        return self.leads or self.now - self._heard < self.config.election_min_s

    def _election_is_due(self) -> None:
        """No leader was heard of for long: a voter asks who would vote for it."""
        self._reset_election_timer()
        self._SyncObj__raftLeader = None
        self._SyncObj__setState(FOLLOWER)
        if self._may_campaign():
            self._canvass(pre=True, transfer=False)
        elif self.quarantined or self.membership.was_let_in(self.commit_index):
            # It cannot win, and may be told why it hears of no leader: it was removed.
            self._ask_for_votes(pre=True, transfer=False)

    def _may_campaign(self) -> bool:
        """A voter does; also one whose removal is not committed, or nobody might who has
        that entry (dissertation, 4.2.2)."""
        return self.membership.votes(self.commit_index) and not self.quarantined

    def _run(self, *, transfer: bool) -> None:
        """Become a candidate of the next term (paper, 5.2)."""
        self.counters.elections_started += 1
        self._reset_election_timer()
        self._SyncObj__raftLeader = None
        self._SyncObj__setCurrentTerm(self.term + 1, self.config.member_id)
        self._SyncObj__setState(CANDIDATE)
        self._canvass(pre=False, transfer=transfer)

    def _canvass(self, *, pre: bool, transfer: bool) -> None:
        self._campaign = rules.Campaign(self._ask_for_votes(pre=pre, transfer=transfer), pre)
        self._count_vote(self.config.member_id, self.log.identity.disk_id)

    def _ask_for_votes(self, *, pre: bool, transfer: bool) -> Term:
        """Ask every other voter; the term that it is about."""
        term = Term(self.term + 1) if pre else self.term
        last, settled = self.log.last, self.log.hard_state.settled
        asked = rules.vote_request(last, term, settled=settled, pre=pre, transfer=transfer)
        for peer in self.membership.other_voters():
            self._send(peer, Envelope(request_vote=asked), gated=True)
        return term

    def _count_vote(self, voter: MemberId, disk_id: str) -> None:
        campaign = self._campaign
        assert campaign is not None, "a vote without a campaign"
        campaign.votes[voter] = disk_id
        settled = self.log.hard_state.settled
        if rules.wins(self.membership.voters, campaign.votes, settled=settled):
            self._campaign = None
            if campaign.pre:
                self._run(transfer=False)
            else:
                self._disks = campaign.votes
                self._SyncObj__onBecomeLeader()

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        assert self._SyncObj__raftState == CANDIDATE, "only a candidate wins"
        self._SyncObj__raftLeader = self._SyncObj__selfNode
        self._SyncObj__setState(LEADER)
        self._feeding = Feeding(self, self.config, self.log, self._snapshots, self.membership)
        # An entry of the own term, without which nothing older can be committed.
        if self.log.hard_state.settled:
            self._SyncObj__noopIDx = self.append(NO_OP).index
        else:
            # Everybody has voted, so all disks are known.
            founded = self.membership.founded(self._disks, self.log.identity.disk_id)
            self._SyncObj__noopIDx = self.append(founded).index
            self._feeding.found(Index(self._SyncObj__noopIDx))
        self._heartbeat_at = self.now

    def _step_down(self, term: Term) -> None:
        """Follow, in this term or a later one. The leader is not known yet."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
        self._campaign = None
        self._SyncObj__raftLeader = None
        if self.leads:
            self._reset_election_timer()
        self._SyncObj__setState(FOLLOWER)

    def _SyncObj__setState(self, newState: int) -> None:  # noqa: N802, N803
        led = self.leads
        self._SyncObj__raftState = newState
        if led and newState != LEADER and self._feeding is not None:
            self._feeding.close()
            self._feeding = None
            self._host.left_office()

    # --- messages (replaces SyncObj.__onMessageReceived) --------------------

    def _SyncObj__onMessageReceived(self, node: MemberNode, envelope: Envelope) -> None:  # noqa: N802
        """Obey terms first (paper, 5.1), then the message.

        Nothing of an earlier term is obeyed. What asks is answered with the own term,
        so that a deposed leader or candidate learns of it; what answers is dropped.
        """
        kind = envelope.WhichOneof("message")
        peer = MemberId(node.id)
        if kind is None or kind == "hello" or self._ignores(envelope):
            return
        if envelope.term > self.term and not self._is_pre_vote(envelope):
            self._step_down(Term(envelope.term))
        handler = getattr(self, f"_on_{kind}")
        handler(peer, envelope, getattr(envelope, kind))

    @staticmethod
    def _is_pre_vote(envelope: Envelope) -> bool:
        return envelope.HasField("request_vote") and envelope.request_vote.pre_vote

    def _ignores(self, envelope: Envelope) -> bool:
        """Stickiness: a vote request does not count while there is a leader, whatever
        its term, unless that leader asked for it (dissertation, 4.2.3)."""
        if not envelope.HasField("request_vote"):
            return False
        request = envelope.request_vote
        return not request.pre_vote and not request.transfer and self.is_led()

    def tell(self, peer: MemberId, envelope: Envelope) -> None:
        """Send a message that claims nothing about the own disk, in the own term."""
        self._send(peer, envelope)

    def _send(self, peer: MemberId, envelope: Envelope, *, gated: bool = False) -> None:
        if not self.connected_to(peer):
            return
        envelope.term, envelope.cluster_key = self.term, self.membership.cluster_key
        # A term that is not durable could be forgotten, and begun again by another.
        if gated or self.term != self._durable_term:
            self._host.send(peer, envelope, gated=True)
        else:
            self._SyncObj__transport.send(self._node(peer), envelope)

    def _on_request_vote(self, peer: MemberId, envelope: Envelope, m: RequestVote) -> None:
        vote = self._SyncObj__votedForNodeId
        mine = HardState(
            self.term, None if vote is None else MemberId(vote), self.log.hard_state.settled
        )
        granted = not self.quarantined and rules.grants(
            mine, self.log.last, Term(envelope.term), peer, m, led=self.is_led()
        )
        if granted and not m.pre_vote:
            self._SyncObj__setCurrentTerm(self.term, peer)
            self._reset_election_timer()
        reply = VoteReply(granted=granted, pre_vote=m.pre_vote, campaign_term=m.campaign_term)
        self._send(peer, Envelope(vote_reply=reply), gated=True)

    def _on_vote_reply(self, peer: MemberId, envelope: Envelope, m: VoteReply) -> None:
        campaign, given = self._campaign, (m.pre_vote, m.campaign_term)
        if m.granted and campaign is not None and (campaign.pre, campaign.term) == given:
            self._count_vote(peer, envelope.disk_id)

    def _on_timeout_now(self, peer: MemberId, envelope: Envelope, m: TimeoutNow) -> None:
        if envelope.term == self.term and self.leader == peer and self._may_campaign():
            self._run(transfer=True)

    def _hear_leader(self, peer: MemberId) -> None:
        """A message of the leader of the current term has come."""
        if self.leads:
            raise RaftViolation(f"{peer} leads term {self.term}, and so do I")
        self._heard = self.now
        self._campaign = None
        self._reset_election_timer()
        self._SyncObj__raftLeader = self._node(peer)
        self._SyncObj__setState(FOLLOWER)

    # --- the log, as a follower ---------------------------------------------

    def _on_append_entries(self, peer: MemberId, envelope: Envelope, m: AppendEntries) -> None:
        if envelope.term < self.term:
            self._SyncObj__sendNextNodeIdx(peer, AppendReply(prev_index=m.prev_index))
            return
        self._hear_leader(peer)
        reply = self._following.append_entries(m)
        # A truncation took back what was durable.
        self._durable = min(self._durable, self.log.last.index)
        self._note_configuration()
        self._SyncObj__sendNextNodeIdx(peer, reply)

    def _SyncObj__sendNextNodeIdx(self, peer: MemberId, reply: AppendReply) -> None:  # noqa: N802
        reply.settled = self.log.hard_state.settled
        self._send(peer, Envelope(append_reply=reply), gated=True)

    # --- the log, as a leader -----------------------------------------------

    def _on_append_reply(self, peer: MemberId, envelope: Envelope, m: AppendReply) -> None:
        if self._feeding is not None and envelope.term == self.term:
            self._feeding.on_append_reply(peer, envelope.disk_id, m)

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Feed the followers; once in a heartbeat, let all of them hear of the leader."""
        if self._feeding is None:
            return
        due = self.now >= self._heartbeat_at
        if due:
            self._heartbeat_at = self.now + self.config.heartbeat_s
            self._repeat_read_probes()
        self._feeding.feed_all(heartbeat=due)

    def _on_hash_differs(self, peer: MemberId, envelope: Envelope, m: HashDiffers) -> None:
        if envelope.term == self.term and self.leader == peer:
            self.marks.compare(m.theirs)

    # --- linearizable reads -------------------------------------------------

    def _probe_read(self, peer: MemberId, number: int) -> None:
        self._send(peer, Envelope(read_probe=ReadProbe(round=number)))

    def _repeat_read_probes(self) -> None:
        pending = self.reads.unanswered()
        if pending is not None:
            number, peers = pending
            for peer in peers:
                self._probe_read(peer, number)

    def _on_read_probe(self, peer: MemberId, envelope: Envelope, m: ReadProbe) -> None:
        # Of an earlier term: the answer carries the own, and unseats the asker.
        if envelope.term == self.term:
            self._hear_leader(peer)
        reply = ReadProbeReply(round=m.round)
        self._send(peer, Envelope(read_probe_reply=reply), gated=True)

    def _on_read_probe_reply(
        self, peer: MemberId, envelope: Envelope, m: ReadProbeReply
    ) -> None:
        if self._feeding is None or envelope.term != self.term:
            return
        if self._feeding.confirms(peer, envelope.disk_id):
            self.reads.agree(peer, m.round)

    # --- snapshots ----------------------------------------------------------

    def _on_install_reply(self, peer: MemberId, envelope: Envelope, m: InstallReply) -> None:
        if self._feeding is not None and envelope.term == self.term:
            self._feeding.on_install_reply(peer, envelope.disk_id, m)

    def _on_install_snapshot(
        self, peer: MemberId, envelope: Envelope, m: InstallSnapshot
    ) -> None:
        reply = InstallReply(name=m.manifest.name)
        if envelope.term == self.term:
            self._hear_leader(peer)
            reply = self._following.install_snapshot(m)
        self._send(peer, Envelope(install_reply=reply), gated=True)

    def _install_when_verified(self) -> None:
        manifest = self._following.verified()
        if manifest is not None and not self.leads:
            self._SyncObj__loadDumpFile(manifest)

    def _SyncObj__loadDumpFile(self, manifest: SnapshotManifest) -> None:  # noqa: N802
        """Install a verified snapshot: first the log's base, durably, then the state."""
        position = position_of(manifest)
        self._compaction.install(manifest)
        self._host.installed(manifest)
        self.membership.adopted(manifest.configuration, position.index)
        self._note_configuration()
        self._SyncObj__raftCommitIndex = position.index
        self._SyncObj__raftLastApplied = position.index
        self._SyncObj__raftLog.setRaftCommitIndex(position.index)
        self._durable = self.log.last.index
        self._reset_election_timer()
        leader = self.leader
        if leader is not None:
            reply = InstallReply(name=manifest.name, installed_index=position.index)
            self._send(leader, Envelope(install_reply=reply), gated=True)

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """Take a snapshot when the log has grown, and cut the log once it is durable."""
        sending = self._feeding.snapshots_in_use() if self._feeding else {}
        size = self._host.state_bytes()
        self._compaction.tick(self.now, self.applied_index, size, sending)

    # --- what is not used of PySyncObj --------------------------------------

    def _SyncObj__doApplyCommand(self, *_: object) -> None:  # noqa: N802
        raise AssertionError("commands are opaque: appended, never queued nor unpickled")

    _applyCommand = _checkCommandsToApply = _SyncObj__doApplyCommand  # noqa: N815
