"""One member, complete but for thread, clock and socket.

A replica puts together the engine (Raft), the state machine, the leader's tenure
(deadlines, graces, waiters) and upkeep, and the storage. The raft thread runs one in real life,
and the simulator several in virtual time: the same code.

The tick contract, in `step`: take in messages and requests, one tick of the engine,
one blocking commit of the log, then the commit of the state, and only then release
what reflects them: acknowledgements, votes, answers. Strictly serial. Any exception
out of `step` means that memory and disk may differ: stop the process.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from raftstate.consensus.adapter import Engine
from raftstate.consensus.arrivals import Keep, Left, Proposed, Read, Transfer
from raftstate.consensus.config import Dismissed, EngineConfig
from raftstate.consensus.contracts import NO_OP
from raftstate.consensus.hashes import Marks
from raftstate.consensus.membership import decode, founding
from raftstate.core import queries
from raftstate.core.growth import grows
from raftstate.core.heavy import is_heavy
from raftstate.core.machine import Applied, StateMachine
from raftstate.core.poison import PoisonEntry, entry_digest
from raftstate.core.ports import (
    Announce,
    Answer,
    ChangeRefused,
    Deliver,
    Entry,
    KeepAliveResult,
    LeadershipTransferred,
    Log,
    MemberChange,
    NodeStatus,
    PeerStatus,
    ReadPoint,
    Snapshots,
    State,
    StorageError,
    Unavailable,
)
from raftstate.core.tenure import Tenure
from raftstate.core.types import Index, MemberId, Position
from raftstate.core.upkeep import Upkeep
from raftstate.v1.agent_service_pb2 import ACQUIRE_MODE_WAIT, FenceQuery
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import Envelope, SnapshotManifest
from raftstate.v1.store_pb2 import Command, LogEntry

COMMANDS = b"\x00"
INBOX_MAX = 256
UNCOMMITTED_BYTES_MAX = 32 << 20
# So much at most is taken up in one step: it is synced, and sent, at once.
STEP_BYTES_MAX = 4 << 20
NO_LEADER_ALARM_S = 5.0
LOOK_FOR_SPACE_S = 10.0
NO_OP_KIND = NO_OP[:1]
_DISK_FULL = Unavailable("DISK_FULL", definite=True)
_UNKNOWN = Unavailable("OUTCOME_UNKNOWN", definite=False)


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """How a replica behaves. Times in seconds, sizes in bytes.

    `members` are the voters of a new cluster, this one included, and `addresses` where
    each is: raft and client. Once the log has a configuration, that counts instead. Who
    joins a cluster begins with no configuration, and waits to be fed.
    """

    member_id: MemberId
    members: tuple[MemberId, ...]
    addresses: Mapping[MemberId, tuple[str, str]] = field(default_factory=dict)
    join: bool = False
    heartbeat_s: float = 0.05
    election_min_s: float = 0.30
    election_max_s: float = 0.60
    entry_bytes_max: int = 1 << 20
    append_bytes_max: int = 1 << 20
    window: int = 8
    queue_max: int = 10_000
    compact_bytes: int = 64 << 20
    compact_entries: int = 0
    keep_entries: int = 1000
    chunk_bytes: int = 256 << 10
    grace_s: float = 0.3
    history_keep: int = 100_000  # revisions; zero: all of them
    chunk_keep_s: float = 900.0

    def __post_init__(self) -> None:
        if not self.join and self.member_id not in self.members:
            raise ValueError(f"{self.member_id} is not among the members {self.members}")

    def founding(self) -> Configuration:
        """The configuration of a member whose log has none yet."""
        if self.join:
            return Configuration()
        nowhere = ("", "")
        return founding({m: self.addresses.get(m, nowhere) for m in self.members})

    def engine(self) -> EngineConfig:
        """The part that the engine needs."""
        return EngineConfig(
            member_id=self.member_id,
            heartbeat_s=self.heartbeat_s,
            election_min_s=self.election_min_s,
            election_max_s=self.election_max_s,
            append_bytes_max=self.append_bytes_max,
            window=self.window,
            compact_bytes=self.compact_bytes,
            compact_entries=self.compact_entries,
            keep_entries=self.keep_entries,
            chunk_bytes=self.chunk_bytes,
        )


class Replica:
    """A member of the cluster. Not thread-safe: one owner calls everything.

    `send` gets envelopes for connected peers, complete but for session and sequence, and
    may keep them until `flush` or the end of the step;
    `deliver` gets each step's answers at once. `skipped` are the digests of entries that
    an operator decided to pass over (see core/poison.py).
    """

    def __init__(
        self,
        config: ReplicaConfig,
        *,
        log: Log,
        state: State,
        snapshots: Snapshots,
        rng: random.Random,
        now: float,
        send: Callable[[MemberId, Envelope], None],
        deliver: Deliver,
        flush: Callable[[], None] = lambda: None,
        wall_ms: Callable[[], int] = lambda: 0,
        skipped: Mapping[Index, bytes] = MappingProxyType({}),
        space_low: Callable[[], bool] = lambda: False,
        announce: Announce = lambda _revision: None,
    ) -> None:
        self.config = config
        self._skipped = skipped
        self._space_low = space_low
        self._announce = announce
        self._announced = -1
        self._log = log
        self._state = state
        self._snapshots = snapshots
        self._send = send
        self._deliver = deliver
        self._flush = flush
        self._wall_ms = wall_ms
        self._now = now
        self._identity = log.identity
        self._machine = StateMachine(state.store, self._identity.cluster_epoch)
        self._tenure = Tenure(config.grace_s)
        self._upkeep = Upkeep(config.history_keep, config.chunk_keep_s)
        self._serving = False  # in office, and the tenure has begun
        self._transfer: Transfer | None = None
        self._look_for_space_at = now
        self._changes: deque[tuple[MemberChange, object]] = deque()
        self._inbox: deque[Envelope] = deque()
        self._proposals: deque[tuple[Command, object]] = deque()
        self._arrivals: list[Read | Keep | Left] = []
        self._abandoned: list[object] = []
        self._broken: list[str] = []
        self._proposed: dict[Index, Proposed] = {}
        self._proposed_bytes = 0
        self._applied: list[Applied] = []
        self._gated: list[tuple[MemberId, Envelope]] = []
        self._answers: list[tuple[object, Answer]] = []
        self._stamp_base = self._machine.log_time_ms
        self._stamp_at = now
        self._led_at = now
        self.engine = Engine(
            config.engine(),
            log,
            snapshots,
            rng,
            now,
            self,
            self._machine.applied.index,
            queries.configuration(state.store) or config.founding(),
        )
        self._note_machine()
        self._status = self._make_status()

    # --- requests: queued here, taken up by the next step ---------------------

    def receive(self, envelope: Envelope) -> None:
        """Take in a message that the transport has vetted."""
        self._inbox.append(envelope)

    def admits(self, envelope: Envelope) -> bool:
        """Whether to take in messages of a sender that no configuration here names."""
        return self.engine.admission.wants(envelope)

    def peer_connected(self, peer: MemberId) -> None:
        """Messages to this peer can leave from now on."""
        self.engine.connect(peer)

    def peer_disconnected(self, peer: MemberId) -> None:
        """What was in flight to this peer is lost."""
        self.engine.disconnect(peer)

    def propose(self, command: Command, ticket: object) -> None:
        """See `ports.Consensus.propose`."""
        if len(self._proposals) >= self.config.queue_max:
            self._answers.append((ticket, Unavailable("OVERLOADED", definite=True)))
        else:
            self._proposals.append((command, ticket))

    def abandon(self, ticket: object) -> None:
        """See `ports.Consensus.abandon`."""
        self._abandoned.append(ticket)

    def read_point(self, ticket: object) -> None:
        """See `ports.Consensus.read_point`."""
        self._arrivals.append(Read(ticket))

    def keep_session(self, session_id: str, ticket: object) -> None:
        """See `ports.Consensus.keep_session`."""
        self._arrivals.append(Keep(session_id, ticket))

    def keep_ownership(self, query: FenceQuery, ticket: object) -> None:
        """See `ports.Consensus.keep_ownership`."""
        self._arrivals.append(Keep(query, ticket))

    def keep_lease(self, lease_id: int, ticket: object) -> None:
        """See `ports.Consensus.keep_lease`."""
        self._arrivals.append(Keep(lease_id, ticket))

    def lease_left(self, lease_id: int, ticket: object) -> None:
        """See `ports.Consensus.lease_left`."""
        self._arrivals.append(Left(lease_id, ticket))

    def session_broken(self, session_id: str) -> None:
        """See `ports.Consensus.session_broken`."""
        self._broken.append(session_id)

    def change_members(self, change: MemberChange, ticket: object) -> None:
        """See `ports.Consensus.change_members`."""
        self._changes.append((change, ticket))

    def transfer_leadership(self, to: MemberId | None, ticket: object) -> None:
        """See `ports.Consensus.transfer_leadership`."""
        if not self._serving or self._transfer is not None:
            self._refuse([ticket])
            return
        if to not in (None, *self.engine.membership.other_voters()):
            refused = ChangeRefused("NOT_FOUND", f"{to} is not another voter")
            self._answers.append((ticket, refused))
            return
        deadline = self._now + 2 * self.config.election_max_s
        self._transfer = Transfer(to, deadline, ticket)

    def hand_over(self) -> None:
        """Begin an orderly end of office: propose nothing more, and ask the most
        advanced follower to take over, in each step until one does."""
        if self._transfer is not None and self._transfer.ticket is not None:
            self._answers.append((self._transfer.ticket, _UNKNOWN))
        self._transfer = Transfer(None, float("inf"), None)

    # --- the step -------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether a step would do something at once."""
        return bool(
            self._inbox
            or self._answers
            or self._arrivals
            or self._abandoned
            or self._broken
            or self._changes
            or (self._proposals and not self._is_full())
            or self.engine.has_work
        )

    @property
    def wake_at(self) -> float:
        """When a step is due without any new input."""
        wake = self.engine.wake_at
        if self._serving and self._transfer is None:
            deadline = self._tenure.next_deadline()
            wake = min(wake, self._upkeep.next_deadline)
            wake = wake if deadline is None else min(wake, deadline)
        return wake

    def step(self, now: float) -> None:
        """One turn of the tick contract. An exception means: stop the process."""
        assert now >= self._now, f"time went from {self._now} back to {now}"
        self._now = self.engine.now = now
        for _ in range(min(INBOX_MAX, len(self._inbox))):
            self.engine.receive(self._inbox.popleft())
        self.engine.low_on_space = self._space_low()
        self._take_requests()
        self.engine.tick()
        self._go_on_with_transfer()
        self.engine.begin_read_round()
        # What leaves before the commit leaves now: followers sync meanwhile.
        self._flush()

        self._log.commit()
        self.engine.synced()
        if self._applied:
            self._note_machine()
            self._state.commit()
            self._observe()
        if self.engine.in_office and not self._serving:
            self._serving = True
            self._tenure.begin(self._state.store, now)
            self._upkeep.begin(now)
        self._give_up_office_for_space()
        self._serve_reads()

        self._release()
        self._status = self._make_status()
        if self.engine.dismissed:
            raise Dismissed(self.engine.dismissed)

    def status(self) -> NodeStatus:
        """The member as it was after the last step."""
        return self._status

    def _is_full(self) -> bool:
        return self._proposed_bytes > UNCOMMITTED_BYTES_MAX

    def _release(self) -> None:
        """Let go of everything that reflects what is durable and applied now."""
        gated, self._gated = self._gated, []
        for peer, envelope in gated:
            self._send(peer, envelope)
        if self._revision != self._announced:
            self._announced = self._revision
            self._announce(self._revision)
        if self._answers:
            answers, self._answers = self._answers, []
            self._deliver(answers)

    # --- requests -------------------------------------------------------------

    def _take_requests(self) -> None:
        self._let_go_of_abandoned()
        broken, self._broken = self._broken, []
        if self._serving:
            for session_id in broken:
                self._tenure.session_broken(session_id, self._now)
        if not self.engine.leads or self._transfer is not None or self.engine.founding:
            self._turn_away()
            return
        self._take_changes()
        self._take_arrivals()
        self._take_proposals()

    def _let_go_of_abandoned(self) -> None:
        """Take waiters out of the queues: out of the own one too, if nobody has looked
        at them yet. Whatever else was asked for goes its way, and nobody listens."""
        if not self._abandoned:
            return
        gone, self._abandoned = self._abandoned, []
        for ticket in gone:
            self._tenure.abandon(ticket)
        tickets = set(gone)
        self._proposals = deque(
            (command, ticket)
            for command, ticket in self._proposals
            if not (_is_wait(command) and ticket in tickets)
        )

    def _turn_away(self) -> None:
        """Refuse everything that has not been proposed: nothing of it will happen."""
        proposals, self._proposals = self._proposals, deque()
        self._refuse([ticket for _, ticket in proposals])
        arrivals, self._arrivals = self._arrivals, []
        self._refuse([arrival.ticket for arrival in arrivals])
        changes, self._changes = self._changes, deque()
        self._refuse([ticket for _, ticket in changes])

    def _refuse(self, tickets: list[object]) -> None:
        leader = self.engine.leader
        known = leader is not None and leader != self.config.member_id
        reason = "NOT_LEADER" if known else "NO_QUORUM"
        refusal = Unavailable(reason, definite=True, leader=leader if known else None)
        self._answers.extend((ticket, refusal) for ticket in tickets if ticket is not None)

    def _take_changes(self) -> None:
        """Changes of membership: one is under way at a time, and has an entry of its own."""
        while self._changes:
            change, ticket = self._changes.popleft()
            if not self._serving:  # nothing of its own term is applied yet
                self._refuse([ticket])
                continue
            begun = self.engine.change_members(change)
            if isinstance(begun, Position):
                self._proposed[begun.index] = Proposed(begun.term, [ticket], 0)
            else:
                self._answers.append((ticket, begun))

    def _give_up_office_for_space(self) -> None:
        """A leader whose disk is nearly full lets a voter lead whose disk is not."""
        due = self._serving and self._now >= self._look_for_space_at
        if due and self._transfer is None and self.engine.low_on_space:
            self._look_for_space_at = self._now + LOOK_FOR_SPACE_S
            if self.engine.transfer() is not None:
                self._transfer = Transfer(None, self._now + self.config.election_max_s, None)

    def _go_on_with_transfer(self) -> None:
        """Ask again, since a moment ago nobody may have been up to date, until another
        member leads or the time is over."""
        transfer = self._transfer
        if transfer is None:
            return
        if self.engine.leads and self._now < transfer.deadline:
            self.engine.transfer(transfer.to)
            return
        leader, me = self.engine.leader, self.config.member_id
        if leader is None and self._now < transfer.deadline:
            return
        self._transfer = None
        if transfer.ticket is not None:
            moved = leader is not None and leader != me
            answer = LeadershipTransferred(leader) if moved and leader else _UNKNOWN
            self._answers.append((transfer.ticket, answer))

    def _take_arrivals(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            if not self._serving:  # it cannot know yet what is committed
                self._refuse([arrival.ticket])
            elif isinstance(arrival, Keep):
                kept = arrival._replace(arrived=self._now)
                self.engine.reads.add(kept, self.engine.commit_index)
            else:
                self.engine.reads.add(arrival, self.engine.commit_index)

    def _take_proposals(self) -> None:
        """Everything that waits becomes one log entry, or a few where that would be too
        large. Waiters come first: who waits for a free agent is proposed at once."""
        batch: list[tuple[Command, object]] = []
        size, full = 0, self.engine.is_short_of_space
        while self._proposals and size < STEP_BYTES_MAX and not self._is_full():
            command, ticket = self._proposals.popleft()
            if full and grows(command):
                self._answers.append((ticket, _DISK_FULL))
            elif not _is_wait(command):
                batch.append((command, ticket))
                size += command.ByteSize()
            elif self._serving:
                self._tenure.wait(command, ticket, self._now)
            else:
                self._refuse([ticket])
        if self._serving:
            batch = self._tenure.due(self._state.store, self._now) + batch
            upkeep = self._upkeep.due(self._state.store, self._now, self._log_time())
            batch += [(command, None) for command in upkeep]
        self._append_all(batch)

    def _append_all(self, commands: list[tuple[Command, object]]) -> None:
        """Append commands in order, in entries of bounded size and work."""
        batch: list[tuple[Command, object]] = []
        size = 0
        for command, ticket in commands:
            size += command.ByteSize()
            if batch and size > self.config.entry_bytes_max:
                self._append(batch)
                batch, size = [], command.ByteSize()
            batch.append((command, ticket))
            if is_heavy(command, self._state.store):
                self._append(batch)
                batch, size = [], 0
        if batch:
            self._append(batch)

    def _append(self, batch: list[tuple[Command, object]]) -> None:
        """Write one log entry: everything that waits becomes one entry."""
        entry = LogEntry(
            log_time_ms=self._log_time(),
            wall_time_ms=self._wall_ms(),
            commands=[command for command, _ in batch],
        )
        data = COMMANDS + entry.SerializeToString(deterministic=True)
        position = self.engine.append(data)
        tickets = [ticket for _, ticket in batch]
        self._proposed[position.index] = Proposed(position.term, tickets, len(data))
        self._proposed_bytes += len(data)

    def _log_time(self) -> int:
        """Log time: the stamp of the newest entry and the own time since it came."""
        return self._stamp_base + int((self._now - self._stamp_at) * 1000)

    def _note_stamp(self, stamp: int) -> None:
        if stamp > self._log_time():
            self._stamp_base, self._stamp_at = stamp, self._now

    # --- what the engine asks (adapter.Host) ------------------------------------

    def send(self, peer: MemberId, envelope: Envelope, *, gated: bool) -> None:
        """Complete an envelope; let it go, or keep it until the log is durable."""
        envelope.cluster_id = self._identity.cluster_id
        envelope.cluster_epoch = self._identity.cluster_epoch
        envelope.from_member = self.config.member_id
        envelope.to_member = peer
        envelope.disk_id = self._identity.disk_id
        if gated:
            self._gated.append((peer, envelope))
        else:
            self._send(peer, envelope)

    def apply(self, entry: Entry) -> bool:
        """Apply an entry to the machine, and note what its proposers are told; whether it
        was a heavy one."""
        heavy = self._apply(entry)
        if Marks.due(entry.index):
            machine = self._machine
            self.engine.marks.note(entry.index, machine.revision, machine.state_hash)
        return heavy

    def _apply(self, entry: Entry) -> bool:
        wanted = self._skipped.get(entry.index)
        if entry.data[:1] == NO_OP_KIND or (wanted and wanted == entry_digest(entry)):
            self._machine.skip(entry.index, entry.term)
            self._applied.append(Applied([], set(), set()))
            return False
        try:
            if (configuration := decode(entry)) is not None:
                self._configure(entry, configuration)
                return False
            if entry.data[:1] != COMMANDS:
                # Of a later version. Passing over it would be to hold another state.
                raise ValueError(f"entries of kind {entry.data[:1]!r} are not known")
            decoded = LogEntry.FromString(entry.data[1:])
            heavy = any(is_heavy(one, self._state.store) for one in decoded.commands[-1:])
            applied = self._machine.apply(entry.index, entry.term, decoded)
        except StorageError:
            raise
        except Exception as error:
            raise PoisonEntry(entry, error) from error
        self._applied.append(applied)
        self._note_stamp(decoded.log_time_ms)
        self._answer(entry, applied)
        return heavy

    def _answer(self, entry: Entry, applied: Applied) -> None:
        proposed = self._proposed.pop(entry.index, None)
        if proposed is None:
            return
        self._proposed_bytes -= proposed.size
        # Leaving office answers everybody, so whoever still waits is of this term.
        assert proposed.term == entry.term, f"{proposed} waits for {entry.index}"
        self._answers.extend(
            (ticket, outcome)
            for ticket, outcome in zip(proposed.tickets, applied.outcomes, strict=True)
            if ticket is not None
        )

    def _configure(self, entry: Entry, configuration: Configuration) -> None:
        self._machine.configure(entry.index, entry.term, configuration)
        self._applied.append(Applied([], set(), set()))
        proposed = self._proposed.pop(entry.index, None)
        if proposed is not None:
            self._answers.extend((ticket, configuration) for ticket in proposed.tickets)

    def installed(self, manifest: SnapshotManifest) -> None:
        """Replace the state by a snapshot."""
        assert not self._applied, "the state has uncommitted changes"
        self._snapshots.adopt(manifest.name)
        self._machine = StateMachine(self._state.store, self._identity.cluster_epoch)
        self._note_machine()
        self._note_stamp(self._machine.log_time_ms)
        assert self._machine.applied.index == manifest.index, (
            f"{manifest.name} holds {self._machine.applied}"
        )

    def left_office(self) -> None:
        """Answer everybody who waits: what is in the log may still happen."""
        self._serving = False
        for proposed in self._proposed.values():
            self._answers.extend((t, _UNKNOWN) for t in proposed.tickets if t is not None)
        self._proposed, self._proposed_bytes = {}, 0
        waiting = [arrival.ticket for arrival in self.engine.reads.drop()]
        self._refuse([*waiting, *self._tenure.end()])

    def state_bytes(self) -> int:
        """The size of the state."""
        return self._state.size_bytes

    # --- after the commits ------------------------------------------------------

    def _observe(self) -> None:
        """Tell the tenure what was applied, and pass on whom it answers."""
        applied, self._applied = self._applied, []
        if self._serving:
            for one in applied:
                self._answers.extend(self._tenure.observe(self._state.store, one, self._now))

    def _serve_reads(self) -> None:
        """Answer what a quorum round has confirmed and the state covers."""
        applied = self.engine.applied_index
        for arrival in self.engine.reads.ready(applied):
            if isinstance(arrival, Keep):
                self._keep(arrival)
            elif isinstance(arrival, Left):
                left = self._tenure.lease_left(arrival.lease_id, self._now)
                self._answers.append((arrival.ticket, left))
            else:
                self._answers.append((arrival.ticket, ReadPoint(applied, self.engine.term)))

    def _keep(self, keep: Keep) -> None:
        store, target = self._state.store, keep.target
        kept: KeepAliveResult | None
        if isinstance(target, str):
            kept = self._tenure.keep_session(store, target, keep.ticket, keep.arrived)
        elif isinstance(target, int):
            kept = self._tenure.keep_lease(store, target, keep.ticket, keep.arrived)
        else:
            kept = self._tenure.keep_ownership(store, target, keep.ticket, keep.arrived)
        if kept is not None:
            self._answers.append((keep.ticket, kept))

    def _note_machine(self) -> None:
        """Keep what `status` tells, so that an idle step does not touch the state."""
        self._revision = self._machine.revision
        self._state_hash = self._machine.state_hash

    def _alarms(self) -> tuple[tuple[str, str], ...]:
        alarms = dict(self.engine.alarms)
        if self.engine.leader is not None:
            self._led_at = self._now
        elif self._now - self._led_at > NO_LEADER_ALARM_S:
            alarms["NO_LEADER"] = f"no leader for {self._now - self._led_at:.0f} s"
        if self.engine.low_on_space:
            alarms["DISK_FULL"] = "this member's disk is nearly full"
        elif self.engine.is_short_of_space:
            alarms["DISK_FULL"] = "the disks of most voters are nearly full"
        if self.engine.quarantined:
            alarms["QUARANTINED"] = "damage was found here; waiting to be brought up to date"
        return tuple(sorted(alarms.items()))

    def _make_status(self) -> NodeStatus:
        engine, log = self.engine, self._log
        leader = engine.leader
        return NodeStatus(
            member_id=self.config.member_id,
            cluster_id=self._identity.cluster_id,
            cluster_epoch=self._identity.cluster_epoch,
            role=engine.role,
            leader=leader,
            term=engine.term,
            commit_index=engine.commit_index,
            applied_index=engine.applied_index,
            revision=self._revision,
            first_index=Index(log.base.position.index + 1),
            last_index=log.last.index,
            log_bytes=log.size_bytes,
            state_bytes=self._state.size_bytes,
            state_hash=self._state_hash,
            ready=self._serving or (not engine.leads and leader is not None),
            peers=tuple(
                PeerStatus(peer, engine.connected_to(peer), engine.match_index(peer))
                for peer in engine.membership.others()
            ),
            configuration=engine.membership.current,
            quarantined=engine.quarantined,
            alarms=self._alarms(),
            snapshots_taken=engine.counters.snapshots_taken,
            snapshots_installed=engine.counters.snapshots_installed,
            elections_started=engine.counters.elections_started,
        )


def _is_wait(command: Command) -> bool:
    if not command.HasField("acquire_ownership"):
        return False
    return command.acquire_ownership.mode == ACQUIRE_MODE_WAIT
