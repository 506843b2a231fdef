"""A cluster of one without a log: the real machine over memory, applied at once.

Switches make it refuse, lose track or hold back, as a real member may.
"""

from __future__ import annotations

from dataclasses import replace

from raftstate.core import keys, kv_queries, queries
from raftstate.core.ports import (
    Announce,
    Answer,
    ChangeKind,
    ChangeRefused,
    Deliver,
    KeepAliveResult,
    LeadershipTransferred,
    MemberChange,
    NodeStatus,
    PeerStatus,
    ReadPoint,
    Unavailable,
)
from raftstate.core.types import MemberId
from raftstate.testing.member import Member, MemoryState
from raftstate.v1.agent_service_pb2 import AcquireMode, FenceQuery
from raftstate.v1.membership_pb2 import Configuration, ConfiguredMember
from raftstate.v1.store_pb2 import Command, ExpireSession, Outcome

__all__ = ["EPOCH", "FakeConsensus", "MemoryState"]

EPOCH = Member.epoch


class FakeConsensus(Member):
    """A `Consensus` that applies what it is asked at once, while it leads.

    `failing` answers everything with an Unavailable; `forgetful` applies and then
    answers OUTCOME_UNKNOWN; `holding` keeps answers back until `let_go`.
    """

    def __init__(
        self,
        deliver: Deliver,
        state: MemoryState,
        announce: Announce = lambda _revision: None,
    ) -> None:
        super().__init__(deliver, state, announce)
        self.alarms = (("PEER_REFUSED", "n3 is of another cluster"),)
        self.failing: Unavailable | None = None
        self.forgetful = False
        self.holding = False
        self.broken: list[str] = []
        self.abandoned: list[object] = []
        self.proposed: list[Command] = []
        self.read_points = 0
        self.refusing: ChangeRefused | None = None
        # None: no configuration is known yet, as before the first one is in the log.
        self.members: dict[str, ConfiguredMember] | None = None
        self.changes: list[MemberChange] = []
        self.transfers: list[MemberId | None] = []
        self.waiting: list[tuple[Command, object]] = []
        self.held: list[tuple[object, Answer]] = []

    # --- the port ------------------------------------------------------------------

    def change_members(self, change: MemberChange, ticket: object) -> None:
        self.changes.append(change)
        self._answer(ticket, self.failing or self.refusing or self._changed(change))

    def transfer_leadership(self, to: MemberId | None, ticket: object) -> None:
        self.transfers.append(to)
        answer = LeadershipTransferred(to or MemberId("n2"))
        self._answer(ticket, self.failing or self.refusing or answer)

    def propose(self, command: Command, ticket: object) -> None:
        assert not self.state.views_open, "a view is held while a command is proposed"
        if self.failing is not None:
            self._answer(ticket, self.failing)
            return
        self.proposed.append(command)
        if self._must_wait(command):
            self.waiting.append((command, ticket))
            return
        outcome = self.apply(command)
        unknown = Unavailable("OUTCOME_UNKNOWN", definite=False)
        self._answer(ticket, unknown if self.forgetful else outcome)
        self._serve_waiters()

    def abandon(self, ticket: object) -> None:
        self.abandoned.append(ticket)
        self.waiting = [(command, one) for command, one in self.waiting if one is not ticket]

    def read_point(self, ticket: object) -> None:
        self.read_points += 1
        position = self.machine.applied
        self._answer(ticket, self.failing or ReadPoint(position.index, position.term))

    def keep_session(self, session_id: str, ticket: object) -> None:
        record = queries.get_session(self.state.store, session_id)
        ttl = record.session.ttl_ms if record is not None else None
        self._answer(ticket, self.failing or KeepAliveResult(ttl))

    def keep_ownership(self, query: FenceQuery, ticket: object) -> None:
        held = queries.is_current(self.state.store, query)
        agent = queries.get_agent(self.state.store, query.agent_id)
        ttl = agent.owner.ttl_ms if agent is not None and held else None
        self._answer(ticket, self.failing or KeepAliveResult(ttl))

    def keep_lease(self, lease_id: int, ticket: object) -> None:
        lease = kv_queries.get_lease(self.state.store, lease_id)
        ttl = lease.ttl_ms if lease is not None else None
        self._answer(ticket, self.failing or KeepAliveResult(ttl))

    def lease_left(self, lease_id: int, ticket: object) -> None:
        self.keep_lease(lease_id, ticket)

    def session_broken(self, session_id: str) -> None:
        self.broken.append(session_id)

    def status(self) -> NodeStatus:
        status = super().status()
        peer = PeerStatus(MemberId("n2"), True, status.applied_index)
        return replace(status, peers=(peer,), snapshots_taken=1, elections_started=2)

    # --- members ---------------------------------------------------------------------

    def found(self) -> None:
        """Two members are in the configuration, elsewhere than the file says."""
        self.members = {
            name: ConfiguredMember(
                member_id=name, raft_address=f"{name}:1", client_address=f"{name}:2"
            )
            for name in ("n1", "n2")
        }

    def configuration(self) -> Configuration:
        """Who is a member, as the log would say."""
        if self.members is None:
            return Configuration()
        return Configuration(index=5, members=[one for _, one in sorted(self.members.items())])

    def _changed(self, change: MemberChange) -> Configuration | ChangeRefused:
        assert self.members is not None, "nobody was made a member"
        name = change.member_id
        if change.kind is ChangeKind.ADD:
            self.members[name] = ConfiguredMember(
                member_id=name,
                learner=True,
                raft_address=change.raft_address,
                client_address=change.client_address,
            )
        elif change.kind is ChangeKind.PROMOTE and name not in self.members:
            return ChangeRefused("NOT_FOUND", f"{name} is not a member")
        elif change.kind is ChangeKind.PROMOTE:
            self.members[name].learner = False
        else:
            self.members.pop(name, None)
        configuration = self.configuration()
        self.state.store.put(keys.MEMBERS, configuration.SerializeToString(deterministic=True))
        return configuration

    # --- switches --------------------------------------------------------------------

    def fail(self, reason: str, *, definite: bool, leader: str | None = None) -> None:
        """Answer everything with this from now on."""
        hint = MemberId(leader) if leader is not None else None
        self.failing = Unavailable(reason, definite=definite, leader=hint)

    def depose(self, leader: str | None) -> None:
        """Lead no more."""
        self.role, self.leader = "follower", MemberId(leader) if leader else None
        self.fail("NOT_LEADER", definite=True, leader=leader)

    def let_go(self) -> None:
        """Give all answers that were held back, as one batch."""
        self.holding = False
        batch, self.held = self.held, []
        self._deliver(batch)

    def apply(self, command: Command) -> Outcome:
        """Apply a command as the next entry."""
        log_time_ms = (self.machine.applied.index + 1) * 10
        (outcome,) = self.commit([command], log_time_ms).outcomes
        return outcome

    def expire_session(self, session_id: str) -> None:
        """End a session as a leader would."""
        record = queries.get_session(self.state.store, session_id)
        assert record is not None, f"there is no session {session_id}"
        expire = ExpireSession(session_id=session_id, touched_revision=record.touched_revision)
        self.apply(Command(expire_session=expire))
        self._serve_waiters()

    # --- inside ------------------------------------------------------------------------

    def _answer(self, ticket: object, answer: Answer) -> None:
        if self.holding:
            self.held.append((ticket, answer))
        else:
            self._deliver([(ticket, answer)])

    def _must_wait(self, command: Command) -> bool:
        acquire = command.acquire_ownership
        if acquire.mode != AcquireMode.ACQUIRE_MODE_WAIT:
            return False
        agent = queries.get_agent(self.state.store, acquire.agent_id)
        return agent is not None and agent.HasField("owner")

    def _serve_waiters(self) -> None:
        ready = [pair for pair in self.waiting if not self._must_wait(pair[0])]
        for command, ticket in ready[:1]:
            self.waiting.remove((command, ticket))
            self._answer(ticket, self.apply(command))
