"""A machine on a bench: short ways to make commands, and a log of what was applied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raftstate.core import queries
from raftstate.core.machine import Applied, StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.types import Index, Term
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    Agent,
    CreateAgentRequest,
    HaltAgentRequest,
    ReleaseOwnershipRequest,
    ResumeAgentRequest,
    RetireAgentRequest,
    UpdateAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.effect_service_pb2 import EffectClosing, NewEffect
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.session_service_pb2 import CloseSessionRequest, OpenSessionRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import (
    Command,
    ExpireOwnership,
    ExpireSession,
    LogEntry,
    Outcome,
    Reason,
)

EPOCH = 1
TERM = Term(1)


class Bench:
    """A machine, its store, and the entries that it was given."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.machine = StateMachine(self.store, EPOCH)
        self.log: list[LogEntry] = []
        # What a client would remember of its sessions.
        self.opened: dict[str, int] = {}
        self.sequences: dict[str, int] = {}

    # --- applying ------------------------------------------------------------

    def enter(self, commands: Iterable[Command], at: int = 0) -> Applied:
        """Apply one log entry."""
        entry = LogEntry(log_time_ms=at, commands=commands)
        self.log.append(entry)
        applied = self.machine.apply(Index(len(self.log)), TERM, entry)
        for command, outcome in zip(entry.commands, applied.outcomes, strict=True):
            if outcome.WhichOneof("result") == "open_session":
                session = outcome.open_session.session
                if self.opened.get(session.session_id) != session.opened_revision:
                    self.opened[session.session_id] = session.opened_revision
                    self.sequences[session.session_id] = 0
            else:
                assert outcome.WhichOneof("result"), f"no result for {command}"
        return applied

    def apply(self, *commands: Command, at: int = 0) -> list[Outcome]:
        """Apply commands that travel in one log entry."""
        return self.enter(commands, at).outcomes

    def one(self, command: Command, at: int = 0) -> Outcome:
        """Apply a command that travels alone."""
        (outcome,) = self.apply(command, at=at)
        return outcome

    def granted(self, command: Command) -> FencingToken:
        """Apply an acquisition that is granted."""
        outcome = self.one(command)
        assert outcome.WhichOneof("result") == "acquire_ownership", outcome
        return outcome.acquire_ownership.ownership.fence

    def agent(self, agent_id: str) -> Agent:
        """Read an agent that exists."""
        agent = queries.get_agent(self.store, agent_id)
        assert agent is not None
        return agent

    def touched(self, session_id: str) -> int:
        """The revision that an expiry of a session has to name now."""
        record = queries.get_session(self.store, session_id)
        assert record is not None
        return record.touched_revision

    # --- sessions ------------------------------------------------------------

    def request_id(self, session: str, sequence: int = 0, lowest: int = 0) -> RequestId:
        """The next request id of a session, or the one asked for."""
        self.sequences[session] = max(self.sequences.get(session, 0), sequence - 1)
        if sequence == 0:
            sequence = self.sequences[session] + 1
        self.sequences[session] = max(self.sequences[session], sequence)
        return RequestId(
            session_id=session,
            sequence=sequence,
            lowest_unfinished=lowest,
            opened_revision=self.opened.get(session, 1),
        )

    def open(self, session: str, ttl: int = 0) -> int:
        """Open a session; its opened_revision."""
        outcome = self.one(open_session(session, ttl))
        return outcome.open_session.session.opened_revision

    # --- mutations -----------------------------------------------------------

    def create(self, session: str, agent: str, labels: Sequence[Label] = ()) -> Command:
        request = CreateAgentRequest(
            request_id=self.request_id(session), agent_id=agent, labels=labels
        )
        return Command(create_agent=request)

    def update(self, session: str, agent: str, labels: Sequence[Label] = ()) -> Command:
        request = UpdateAgentRequest(
            request_id=self.request_id(session), agent_id=agent, labels=labels
        )
        return Command(update_agent=request)

    def retire(self, session: str, agent: str) -> Command:
        request = RetireAgentRequest(request_id=self.request_id(session), agent_id=agent)
        return Command(retire_agent=request)

    def halt(self, session: str, agent: str, reason: str = "") -> Command:
        request = HaltAgentRequest(
            request_id=self.request_id(session), agent_id=agent, reason=reason
        )
        return Command(halt_agent=request)

    def resume(self, session: str, agent: str) -> Command:
        request = ResumeAgentRequest(request_id=self.request_id(session), agent_id=agent)
        return Command(resume_agent=request)

    def acquire(
        self,
        session: str,
        agent: str,
        mode: str = "IF_FREE",
        ttl: int = 0,
        create: bool = True,
        holder: str = "",
    ) -> Command:
        request = AcquireOwnershipRequest(
            request_id=self.request_id(session),
            agent_id=agent,
            mode=f"ACQUIRE_MODE_{mode}",
            ttl_ms=ttl,
            holder=holder or f"worker of {session}",
            create=create,
        )
        return Command(acquire_ownership=request)

    def release(self, session: str, agent: str, fence: FencingToken) -> Command:
        request = ReleaseOwnershipRequest(
            request_id=self.request_id(session), agent_id=agent, fence=fence
        )
        return Command(release_ownership=request)

    def step(
        self,
        session: str,
        agent: str,
        fence: FencingToken,
        *events: NewEvent,
        expect: int | None = None,
        checkpoint: NewCheckpoint | None = None,
        closings: Sequence[EffectClosing] = (),
        effects: Sequence[NewEffect] = (),
    ) -> Command:
        request = CommitStepRequest(
            request_id=self.request_id(session),
            agent_id=agent,
            fence=fence,
            events=events,
            checkpoint=checkpoint,
            closings=closings,
            effects=effects,
        )
        if expect is not None:
            request.expected_step = expect
        return Command(commit_step=request)


def open_session(session: str, ttl: int = 0) -> Command:
    return Command(open_session=OpenSessionRequest(session_id=session, ttl_ms=ttl))


def close_session(session: str) -> Command:
    return Command(close_session=CloseSessionRequest(session_id=session))


def expire_session(session: str, touched: int) -> Command:
    expiry = ExpireSession(session_id=session, touched_revision=touched)
    return Command(expire_session=expiry)


def expire_ownership(agent: str, fence: FencingToken, touched: int) -> Command:
    expiry = ExpireOwnership(agent_id=agent, fence=fence, touched_revision=touched)
    return Command(expire_ownership=expiry)


def event(kind: str, data: bytes = b"") -> NewEvent:
    return NewEvent(type=kind, data=data)


def reason(outcome: Outcome) -> str:
    """Why a command was refused, or the empty text if it was not."""
    if outcome.WhichOneof("result") != "refusal":
        return ""
    return Reason.Name(outcome.refusal.reason).removeprefix("REASON_")


def replayed(log: Sequence[LogEntry], times: int = 1) -> MemoryStore:
    """The store of another machine that is given the same log, again and again."""
    store = MemoryStore()
    machine = StateMachine(store, EPOCH)
    for index, entry in [*enumerate(log, 1)] * times:
        machine.apply(Index(index), TERM, entry)
    return store
