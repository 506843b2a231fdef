"""The one member behind a kit: what a leader does, without anybody to agree with.

Sessions, ownerships and leases end, and waiters are served, by the very rules of a
cluster's leader (`core.tenure`); only the clock is another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from raftstate.core import kv_queries, queries
from raftstate.core.machine import Applied
from raftstate.core.ports import (
    Announce,
    Answer,
    ChangeRefused,
    Deliver,
    KeepAliveResult,
    MemberChange,
    ReadPoint,
    Unavailable,
)
from raftstate.core.tenure import Tenure
from raftstate.core.types import MemberId, Term
from raftstate.core.upkeep import Upkeep
from raftstate.testing.faults import READ, Committed, Fault, Way, refusal_of
from raftstate.testing.links import Link
from raftstate.testing.member import Member, MemoryState
from raftstate.v1.agent_service_pb2 import ACQUIRE_MODE_WAIT, Agent, FenceQuery
from raftstate.v1.store_pb2 import Command, Outcome

# As a cluster's leader has them if it is not told otherwise.
GRACE_S: Final = 0.3
CHUNK_KEEP_S: Final = 900.0
# Log time at the beginning: zero stands for none.
LOG_TIME_MS: Final = 1_000
_ALONE: Final = ChangeRefused("UNHEALTHY", "a testing kit has one member, and no other")

# Through which connection a call came. Set where it arrives.
caller: ContextVar[object | None] = ContextVar("caller", default=None)

Name = tuple[str, str]


class Solo(Member):
    """A `Consensus` of one. Everything is called on the kit's thread."""

    cluster_id = "raftstate.testing"
    epoch = 1
    name: MemberId = MemberId("kit")

    def __init__(
        self,
        deliver: Deliver,
        state: MemoryState,
        announce: Announce,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        history_keep: int,
    ) -> None:
        super().__init__(deliver, state, announce)
        self.term: Term = Term(1)
        self.log: list[Committed] = []
        self.faults: list[Fault] = []
        # Through which connection a session, or a lease, is kept alive.
        self.links: dict[Name, object | None] = {}
        # Renewals that came since `begin_round`, and since ever.
        self.renewed: set[Name] = set()
        self.beaten: set[Name] = set()
        # Sessions whose client was seen to go, and has not come back.
        self._broken: set[str] = set()
        self.heard: Callable[[], None] = lambda: None
        # For how long a renewal counts beyond its ttl: the clock is about to be moved.
        self.ahead_s: float = 0.0
        self._now, self._wall, self._began = now, wall, now()
        self._clients: dict[str, str] = {}
        self._upkeep = Upkeep(history_keep, CHUNK_KEEP_S)
        self._tenure = Tenure(GRACE_S)
        self._tenure.begin(state.store, now())

    # --- the port ------------------------------------------------------------------

    def propose(self, command: Command, ticket: object) -> None:
        """See `Consensus.propose`."""
        assert not self.state.views_open, "a view is held while a command is proposed"
        name = command.WhichOneof("body") or ""
        request = getattr(command, name)
        if name == "open_session":
            self.links["session", request.session_id] = caller.get()
            self._clients[request.session_id] = request.client
        if not hasattr(request, "request_id"):
            self._carry_out_for(command, ticket)
            return
        call = (request.request_id.session_id, request.request_id.sequence)
        fault = self._met(name, getattr(request, "agent_id", ""), call, command)
        if fault is None:
            self._carry_out_for(command, ticket)
        elif fault.way is Way.HOLD:
            self._hold(fault, command, ticket)
        else:
            if fault.applied and not _answered(self, command):
                self.carry_out(command)
            self._deliver([(ticket, fault.answer)])
        if fault is not None:
            fault.told()

    def abandon(self, ticket: object) -> None:
        """See `Consensus.abandon`."""
        self._tenure.abandon(ticket)

    def read_point(self, ticket: object) -> None:
        """See `Consensus.read_point`."""
        position = self.machine.applied
        self._read(ticket, lambda: ReadPoint(position.index, position.term))

    def lease_left(self, lease_id: int, ticket: object) -> None:
        """See `Consensus.lease_left`."""
        self._read(ticket, lambda: self._tenure.lease_left(lease_id, self._now()))

    def keep_session(self, session_id: str, ticket: object) -> None:
        """See `Consensus.keep_session`."""
        link = caller.get()
        if isinstance(link, Link) and link.dead:
            return  # on its way when it was killed, and too late
        self._broken.discard(session_id)
        self.links["session", session_id] = caller.get()
        kept = self._tenure.keep_session(self.state.store, session_id, ticket, self._arrived)
        self._kept(("session", session_id), ticket, kept)

    def keep_ownership(self, query: FenceQuery, ticket: object) -> None:
        """See `Consensus.keep_ownership`."""
        kept = self._tenure.keep_ownership(self.state.store, query, ticket, self._arrived)
        self._kept(("agent", _grant(query.agent_id, query.fence)), ticket, kept)

    def keep_lease(self, lease_id: int, ticket: object) -> None:
        """See `Consensus.keep_lease`."""
        self.links["lease", str(lease_id)] = caller.get()
        kept = self._tenure.keep_lease(self.state.store, lease_id, ticket, self._arrived)
        self._kept(("lease", str(lease_id)), ticket, kept)

    def session_broken(self, session_id: str) -> None:
        """See `Consensus.session_broken`. Who has gone has gone once: the end of another of
        its streams, noticed later, puts nothing off."""
        if session_id in self._broken:
            return
        self._broken.add(session_id)
        self.beaten.discard(("session", session_id))
        self.links.pop(("session", session_id), None)
        self._tenure.session_broken(session_id, self._now())
        self.heard()

    def change_members(self, change: MemberChange, ticket: object) -> None:
        """See `Consensus.change_members`."""
        self._deliver([(ticket, _ALONE)])

    def transfer_leadership(self, to: MemberId | None, ticket: object) -> None:
        """See `Consensus.transfer_leadership`."""
        self._deliver([(ticket, _ALONE)])

    # --- applying ----------------------------------------------------------------------

    @property
    def log_time_ms(self) -> int:
        """What an entry is stamped with now."""
        return LOG_TIME_MS + round((self._now() - self._began) * 1000)

    def carry_out(self, command: Command) -> Outcome:
        """Apply a command, and whatever follows from it."""
        outcome = self._apply([(command, None)])[0]
        self.follow_up()
        return outcome

    def follow_up(self) -> bool:
        """Do all that is due now: end what has not been renewed, serve who waits. Whether
        there was anything."""
        did = False
        while proposals := self._tenure.due(self.state.store, self._now()):
            self._apply(proposals)
            did = True
        return did

    def tidy(self) -> None:
        """Remove what is old, as a leader does now and then."""
        self._upkeep.begin(self._now())
        while commands := self._upkeep.due(self.state.store, self._now(), self.log_time_ms):
            self._apply([(command, None) for command in commands])
            self._upkeep.begin(self._now())

    @property
    def next_deadline(self) -> float:
        """When `follow_up` may have something to do."""
        deadline = self._tenure.next_deadline()
        return float("inf") if deadline is None else deadline

    def stand_again(self) -> None:
        """Lose the office, and take it again: as a new leader, who gives everybody the full
        time, and whom nobody waits at yet."""
        self.term = Term(self.term + 1)
        refusal = Unavailable("NOT_LEADER", definite=True)
        left = self._tenure.end()
        self._tenure.begin(self.state.store, self._now())
        self._deliver([(ticket, refusal) for ticket in left])

    def _carry_out_for(self, command: Command, ticket: object) -> None:
        if _waits(command):
            self._tenure.wait(command, ticket, self._now())
        else:
            self._apply([(command, ticket)])
        self.follow_up()

    def _apply(self, batch: list[tuple[Command, object | None]]) -> list[Outcome]:
        commands = [command for command, _ in batch]
        log_time_ms = self.log_time_ms
        applied = self.commit(commands, log_time_ms, round(self._wall() * 1000))
        answers: list[tuple[object, Answer]] = [
            (ticket, outcome)
            for (_, ticket), outcome in zip(batch, applied.outcomes, strict=True)
            if ticket is not None
        ]
        self._note(commands, applied, log_time_ms)
        answers += self._tenure.observe(self.state.store, applied, self._now())
        if answers:
            self._deliver(answers)
        self.heard()
        return applied.outcomes

    def _note(self, commands: list[Command], applied: Applied, log_time_ms: int) -> None:
        for command, outcome in zip(commands, applied.outcomes, strict=True):
            kind = command.WhichOneof("body") or ""
            request = getattr(command, kind)
            session_id = getattr(request, "session_id", "")
            if hasattr(request, "request_id"):
                session_id = request.request_id.session_id
            client = "" if kind.startswith("expire") else self._clients.get(session_id, "")
            self.log.append(
                Committed(
                    revision=outcome.revision,
                    log_time_ms=log_time_ms,
                    kind=kind,
                    request=request,
                    refusal=refusal_of(outcome),
                    outcome=outcome,
                    client=client,
                )
            )

    def keep_rival(self, session_id: str) -> None:
        """Keep a session alive that has no client, and all that it owns."""
        store, ticket = self.state.store, object()
        self._tenure.keep_session(store, session_id, ticket, self._arrived)
        for agent_id in queries.agents_owned_by(store, session_id):
            agent = queries.get_agent(store, agent_id)
            assert agent is not None, f"an index entry for nobody: {agent_id}"
            query = FenceQuery(agent_id=agent_id, fence=agent.owner.fence)
            self._tenure.keep_ownership(store, query, ticket, self._arrived)

    def deliver(self, ticket: object, answer: Answer) -> None:
        """Answer what was held."""
        self._deliver([(ticket, answer)])

    # --- faults ----------------------------------------------------------------------

    def _met(self, kind: str, agent_id: str, call: object, command: Command) -> Fault | None:
        """The fault that happens to a call: always the same to one call."""
        link = caller.get()
        for fault in self.faults:
            if call in fault.met_commands and not fault.over:
                return fault
        for fault in self.faults:
            if fault.aim.takes(kind, agent_id, link) and fault.meet(call, command):
                return fault
        return None

    def _hold(self, fault: Fault, command: Command, ticket: object) -> None:
        if fault.applied:
            outcome = self.carry_out(command)
            fault.held.append((ticket, lambda: outcome))
        else:
            fault.held.append((ticket, lambda: self.carry_out(command)))

    def _read(self, ticket: object, answer: Callable[[], Answer]) -> None:
        fault = self._met(READ, "", object(), Command())
        if fault is None:
            self._deliver([(ticket, answer())])
            return
        if fault.way is Way.HOLD:
            fault.held.append((ticket, answer))
        else:
            self._deliver([(ticket, fault.answer)])
        fault.told()

    # --- renewals ----------------------------------------------------------------------

    @property
    def _arrived(self) -> float:
        return self._now() + self.ahead_s

    def _kept(self, name: Name, ticket: object, kept: KeepAliveResult | None) -> None:
        """Answer a renewal, unless it is parked behind an expiry."""
        self.renewed.add(name)
        self.beaten.add(name)
        if kept is not None:
            if kept.ttl_ms is not None:
                kept = KeepAliveResult(kept.ttl_ms + round(self.ahead_s * 1000))
            self._deliver([(ticket, kept)])
        self.heard()

    def live(self) -> dict[Name, object | None]:
        """All that clients keep alive, and through which connection."""
        store, found = self.state.store, dict[Name, object | None]()
        for record in queries.sessions_all(store):
            name = ("session", record.session.session_id)
            if name in self.links:
                found[name] = self.links[name]
        for agent in queries.owned_agents(store):
            session = ("session", agent.owner.session_id)
            if session in found:
                found[ownership_name(agent)] = found[session]
        for name, link in self.links.items():
            if name[0] == "lease" and kv_queries.get_lease(store, int(name[1])) is not None:
                found[name] = link
        return found


def ownership_name(agent: Agent) -> Name:
    """What the ownership that an agent is under is called here."""
    return "agent", _grant(agent.agent_id, agent.owner.fence)


def _grant(agent_id: str, fence: object) -> str:
    epoch, revision = getattr(fence, "epoch", 0), getattr(fence, "revision", 0)
    return f"{agent_id} {epoch}.{revision}"


def _waits(command: Command) -> bool:
    return (
        command.WhichOneof("body") == "acquire_ownership"
        and command.acquire_ownership.mode == ACQUIRE_MODE_WAIT
    )


def _answered(solo: Solo, command: Command) -> bool:
    """Whether a request was carried out before: under its id it happens once."""
    request_id = getattr(command, command.WhichOneof("body") or "").request_id
    return queries.is_answered(
        solo.state.store,
        request_id.session_id,
        request_id.opened_revision,
        request_id.sequence,
    )
