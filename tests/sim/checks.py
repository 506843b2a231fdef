"""What was noted of a run, and what is looked at after every step of every member.

The oracle is a state machine of its own, fed with every entry at the moment that some
member first calls it committed: what it holds is what every member must hold at the same
index, and what every client must be told. The properties are in `invariants`, and those
of the store in `store/judging.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from raftstate.consensus.membership import decode
from raftstate.core import keys
from raftstate.core.machine import StateMachine
from raftstate.core.ports import Entry, HardState, NodeStatus
from raftstate.core.types import ORIGIN, Index, MemberId, Position, Revision, Term
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.rollback_service_pb2 import Rollback
from raftstate.v1.store_pb2 import Command, LogEntry, Outcome
from tests.sim import invariants
from tests.sim.disk import SimLog
from tests.sim.invariants import Committed, Grant, Member, Seen, must
from tests.sim.store.chronicle import Chronicle

COMMANDS = 0


@dataclass(slots=True)
class Checks:
    """Everything noted so far."""

    epoch: int
    members: Mapping[MemberId, Member]
    leaders: dict[Term, MemberId] = field(default_factory=dict)
    entries: dict[Position, tuple[bytes, Position]] = field(default_factory=dict)
    seen: dict[MemberId, Seen] = field(default_factory=dict)
    committed: list[Committed] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    heads: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    expired: dict[str, float] = field(default_factory=dict)  # session -> when
    on_expiry: Callable[[str], None] = lambda session_id: None
    on_lease_expiry: Callable[[int], None] = lambda lease_id: None
    removed: dict[MemberId, tuple[Index, Term | None]] = field(default_factory=dict)
    truncations: int = 0
    led_since: float = 0.0  # when an entry of the newest term was committed first
    takeovers: int = 0
    elections: int = 0
    snapshots: int = 0
    installs: int = 0
    membership_changes: int = 0
    # What is committed: who votes, who is in the cluster, and each configuration.
    voters: set[MemberId] = field(default_factory=set)
    named: set[MemberId] = field(default_factory=set)
    configurations: list[Configuration] = field(default_factory=list)
    chronicle: Chronicle = field(default_factory=Chronicle)
    oracle: StateMachine = field(init=False)

    def __post_init__(self) -> None:
        self.oracle = StateMachine(self.chronicle.witness, self.epoch)

    # -- LogWatch: called by the simulated logs --

    def appended(self, log: SimLog, entry: Entry) -> None:
        """See `log_matching` and `removed_on_conflict_only`."""
        invariants.log_matching(self, log, entry)
        invariants.removed_on_conflict_only(self, log, entry)

    def truncated(self, log: SimLog, first: Index) -> None:
        """See `leader_append_only` and `committed_is_kept`."""
        self.truncations += 1
        self.removed[log.identity.member_id] = (first, log.term_at(first))
        invariants.leader_append_only(self, log, first)
        invariants.committed_is_kept(self, log, first)

    def voted(self, log: SimLog, before: HardState, after: HardState) -> None:
        """See `votes_once`."""
        invariants.votes_once(log, before, after)

    # -- called by the world --

    def started(self, member_id: MemberId) -> None:
        """A new process: its counters and its commit index begin anew."""
        self.seen[member_id] = Seen()
        self.removed.pop(member_id, None)

    def after_step(self, member: Member, status: NodeStatus, now: float) -> None:
        """Every property of one member's status, and of what it newly committed."""
        seen = self.seen[member.member_id]
        if status.commit_index > seen.commit:
            invariants.committed_is_the_same(self, member, status)
        invariants.moves_forward(seen, status)
        if status.role == "leader":
            invariants.one_leader_a_term(self, status)
        if status.commit_index > self.last_committed.index:
            self._commit(member, status, now)
        invariants.state_machine_safety(self, status)
        invariants.one_configuration(self, status)
        if member.log.base != seen.base:
            seen.base = member.log.base
            invariants.snapshot_is_of_the_log(self, member, seen.base)
        self._count(seen, status)

    @property
    def last_committed(self) -> Position:
        """The newest entry that any member called committed."""
        return self.committed[-1].position if self.committed else ORIGIN

    def _commit(self, member: Member, status: NodeStatus, now: float) -> None:
        """Feed the oracle what a member newly calls committed."""
        log, commit = member.log, status.commit_index
        first = Index(self.last_committed.index + 1)
        must(
            log.base.position.index < first,
            f"{member.member_id} compacted {log.base.position}, past what was committed",
        )
        invariants.durable_on_a_quorum(self, status, log.term_at(commit))
        while first <= commit:
            for entry in log.read(first, 1 << 30):
                if entry.index > commit:
                    return
                self._apply(entry, now)
                first = Index(entry.index + 1)

    def _apply(self, entry: Entry, now: float) -> None:
        if entry.term > self.last_committed.term:
            self.led_since = now
        if entry.data[0] == COMMANDS:
            record = LogEntry.FromString(entry.data[1:])
            revision = self.oracle.revision
            applied = self.oracle.apply(entry.index, entry.term, record)
            for command, outcome in zip(record.commands, applied.outcomes, strict=True):
                revision = Revision(revision + 1)
                self._note(command, outcome, revision, now)
            self.chronicle.entry_applied()
        elif (configuration := decode(entry)) is not None:
            self.oracle.configure(entry.index, entry.term, configuration)
            self._configure(configuration)
        else:
            self.oracle.skip(entry.index, entry.term)
        self.committed.append(
            Committed(
                Position(entry.index, entry.term),
                invariants.entry_digest(entry),
                self.oracle.revision,
                self.oracle.state_hash,
            )
        )

    def _configure(self, configuration: Configuration) -> None:
        if self.configurations:
            invariants.one_member_at_a_time(self.configurations[-1], configuration)
            self.membership_changes += 1
        self.configurations.append(configuration)
        self.voters = invariants.voters_of(configuration)
        self.named = {MemberId(member.member_id) for member in configuration.members}

    def _note(self, command: Command, outcome: Outcome, revision: int, now: float) -> None:
        """Take in one command's outcome. A command that asks again is answered with the
        first outcome, of an earlier revision, and changes nothing."""
        if outcome.revision != revision:
            must(
                self.outcomes.get(outcome.revision) == outcome,
                f"revision {revision} is answered with another {outcome.revision} than before",
            )
            return
        self.outcomes[revision] = outcome
        invariants.written_under_the_newest_grant(self, command, outcome)
        if lease_id := self.chronicle.command_applied(command, outcome, revision, now):
            self.on_lease_expiry(lease_id)
        kind = outcome.WhichOneof("result")
        if kind == "commit_step":
            heads = self.heads.setdefault(command.commit_step.agent_id, [])
            heads.append((revision, outcome.commit_step.head.step))
        elif kind == "acquire_ownership":
            invariants.tokens_rise(self, command, outcome)
        elif kind in ("start_rollback", "report_outcomes"):
            raw = self.chronicle.witness.get(keys.rollback(f"{revision:016x}"))
            if raw is not None:
                invariants.rollback_takes_the_token(self, Rollback.FromString(raw))
        elif kind == "open_session":
            session = outcome.open_session.session
            if session.opened_revision == revision:  # perhaps the id of one that ended
                self.expired.pop(session.session_id, None)
        elif kind == "done" and command.WhichOneof("body") == "expire_session":
            self.expired[command.expire_session.session_id] = now
            self.on_expiry(command.expire_session.session_id)

    def _count(self, seen: Seen, status: NodeStatus) -> None:
        self.elections += status.elections_started - seen.elections
        self.snapshots += status.snapshots_taken - seen.taken
        self.installs += status.snapshots_installed - seen.installed
        seen.elections = status.elections_started
        seen.taken, seen.installed = status.snapshots_taken, status.snapshots_installed

    def step_at(self, agent_id: str, revision: int) -> int:
        """The head step of an agent at a revision."""
        heads = self.heads.get(agent_id, [])
        place = bisect_right(heads, (revision, 1 << 62))
        return heads[place - 1][1] if place else 0
