"""A dumb model of the machine: plain dicts, no store, no hash, no thought of speed.

It is written from the rules, not from the code, and says of each command only what
matters: the name of the response, or the reason of the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from raftstate.v1.agent_service_pb2 import AcquireMode
from raftstate.v1.store_pb2 import Command

Token = tuple[int, int]


@dataclass
class ModelSession:
    opened: int
    ttl: int
    touched: int
    low: int = 1
    # sequence -> (kind, request without its id, what was said, revision of it)
    answers: dict[int, tuple[str, Any, str, int]] = field(default_factory=dict)


@dataclass
class ModelAgent:
    lifecycle: str = "IDLE"
    owner: str | None = None
    touched: int = 0
    newest: Token | None = None
    step: int = 0
    events: list[tuple[int, str, bytes]] = field(default_factory=list)  # position, type, data
    checkpoints: list[tuple[int, int, bytes]] = field(default_factory=list)  # step, seq, data
    labels: list[tuple[str, str]] = field(default_factory=list)


class Model:
    """What there is, and what is said of each command."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.revision = 0
        self.positions = 0
        self.sessions: dict[str, ModelSession] = {}
        self.agents: dict[str, ModelAgent] = {}
        self.grants: dict[str, list[Token]] = {}

    def apply(self, command: Command) -> tuple[str, int]:
        """What is said, and the revision that the answer carries."""
        self.revision += 1
        kind = command.WhichOneof("body")
        assert kind is not None
        request = getattr(command, kind)
        plain = getattr(self, f"_{kind}_plain", None)
        if plain is not None:
            return plain(request), self.revision
        return self._once(kind, request)

    # --- sessions ------------------------------------------------------------

    def _open_session_plain(self, request: Any) -> str:
        ttl = request.ttl_ms or 10_000
        session = self.sessions.setdefault(
            request.session_id, ModelSession(self.revision, ttl, self.revision)
        )
        if session.ttl != ttl:
            return "REQUEST_ID_REUSED"
        session.touched = self.revision
        return "open_session"

    def _close_session_plain(self, request: Any) -> str:
        self._end(request.session_id)
        return "close_session"

    def _expire_session_plain(self, request: Any) -> str:
        session = self.sessions.get(request.session_id)
        if session is None or session.touched != request.touched_revision:
            return "EXPIRY_OVERTAKEN"
        self._end(request.session_id)
        return "done"

    def _expire_ownership_plain(self, request: Any) -> str:
        agent = self.agents.get(request.agent_id)
        fence = (request.fence.epoch, request.fence.revision)
        if agent is None or agent.owner is None or agent.newest != fence:
            return "EXPIRY_OVERTAKEN"
        if agent.touched != request.touched_revision:
            return "EXPIRY_OVERTAKEN"
        agent.owner, agent.lifecycle = None, "IDLE"
        return "done"

    def _end(self, session_id: str) -> None:
        self.sessions.pop(session_id, None)
        for agent in self.agents.values():
            if agent.owner == session_id:
                agent.owner, agent.lifecycle = None, "IDLE"

    def _once(self, kind: str, request: Any) -> tuple[str, int]:
        identity = request.request_id
        if identity.sequence >= max(identity.lowest_unfinished, 1) + 1024:
            return "INVALID_REQUEST", self.revision
        session = self.sessions.get(identity.session_id)
        if session is None or session.opened != identity.opened_revision:
            return "SESSION_EXPIRED", self.revision
        session.touched = self.revision
        session.low = max(session.low, identity.lowest_unfinished)
        for sequence in [each for each in session.answers if each < session.low]:
            del session.answers[sequence]
        if identity.sequence < session.low:
            return "OUTCOME_FORGOTTEN", self.revision
        payload = type(request).FromString(request.SerializeToString())
        payload.ClearField("request_id")
        if identity.sequence in session.answers:
            *before, said, revision = session.answers[identity.sequence]
            if before == [kind, payload]:
                return said, revision
            return "REQUEST_ID_REUSED", self.revision
        said = getattr(self, f"_{kind}")(request)
        session.answers[identity.sequence] = (kind, payload, said, self.revision)
        return said, self.revision

    # --- agents --------------------------------------------------------------

    def _create_agent(self, request: Any) -> str:
        if request.agent_id in self.agents:
            return "AGENT_EXISTS"
        labels = [(label.name, label.value) for label in request.labels]
        self.agents[request.agent_id] = ModelAgent(labels=labels)
        return "create_agent"

    def _update_agent(self, request: Any) -> str:
        agent = self.agents.get(request.agent_id)
        if agent is None:
            return "AGENT_NOT_FOUND"
        if agent.lifecycle == "RETIRED":
            return "AGENT_STATE"
        agent.labels = [(label.name, label.value) for label in request.labels]
        return "update_agent"

    def _move(self, request: Any, start: set[str], end: str, said: str) -> str:
        agent = self.agents.get(request.agent_id)
        if agent is None:
            return "AGENT_NOT_FOUND"
        if agent.lifecycle not in start:
            return "AGENT_STATE"
        agent.lifecycle, agent.owner = end, None
        return said

    def _retire_agent(self, request: Any) -> str:
        return self._move(request, {"IDLE", "ACTIVE", "HALTED"}, "RETIRED", "retire_agent")

    def _halt_agent(self, request: Any) -> str:
        return self._move(request, {"IDLE", "ACTIVE"}, "HALTED", "halt_agent")

    def _resume_agent(self, request: Any) -> str:
        return self._move(request, {"HALTED"}, "IDLE", "resume_agent")

    def _acquire_ownership(self, request: Any) -> str:
        agent = self.agents.get(request.agent_id)
        if agent is None and not request.create:
            return "AGENT_NOT_FOUND"
        agent = agent or self.agents.setdefault(request.agent_id, ModelAgent())
        if agent.lifecycle not in {"IDLE", "ACTIVE"}:
            return "AGENT_STATE"
        session_id = request.request_id.session_id
        forced = request.mode == AcquireMode.ACQUIRE_MODE_FORCE
        if agent.owner not in {None, session_id} and not forced:
            return "OWNED"
        agent.owner, agent.lifecycle = session_id, "ACTIVE"
        agent.newest, agent.touched = (self.epoch, self.revision), self.revision
        self.grants.setdefault(request.agent_id, []).append(agent.newest)
        return "acquire_ownership"

    def _fence(self, agent: ModelAgent, request: Any) -> str:
        fence = (request.fence.epoch, request.fence.revision)
        if agent.newest is not None and fence < agent.newest:
            return "FENCED"
        if fence != agent.newest or agent.owner != request.request_id.session_id:
            return "NOT_OWNER"
        return ""

    def _release_ownership(self, request: Any) -> str:
        agent = self.agents.get(request.agent_id)
        if agent is None:
            return "AGENT_NOT_FOUND"
        if refused := self._fence(agent, request):
            return refused
        agent.owner, agent.lifecycle = None, "IDLE"
        return "release_ownership"

    def _commit_step(self, request: Any) -> str:
        agent = self.agents.get(request.agent_id)
        if agent is None:
            return "AGENT_NOT_FOUND"
        if agent.lifecycle not in {"IDLE", "ACTIVE"}:
            return "AGENT_STATE"
        if refused := self._fence(agent, request):
            return refused
        if request.HasField("expected_step") and request.expected_step != agent.step:
            return "CONFLICT"
        agent.step += 1
        for each in request.events:
            self.positions += 1
            agent.events.append((self.positions, each.type, each.data))
        if request.HasField("checkpoint"):
            saved = (agent.step, len(agent.events), request.checkpoint.data)
            agent.checkpoints.append(saved)
        agent.touched = self.revision
        return "commit_step"
