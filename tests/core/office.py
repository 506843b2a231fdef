"""A leader's office for tests: what a tenure says of a machine whose log a test commits."""

from __future__ import annotations

from raftstate.core.machine import Applied
from raftstate.core.ports import KeepAliveResult
from raftstate.core.tenure import Tenure
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core.bench import Bench, open_session
from tests.core.key_story import grant, put

GRACE = 0.3
RETRY = 1.0
# Session and ownership ttl, in the messages' unit and in the clock's.
TTL_MS, TTL = 2_000, 2.0
OWN_MS, OWN = 1_000, 1.0


class Office:
    """A leader: a machine, a tenure, a clock, and a log that commits when told to."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.tenure = Tenure(GRACE, RETRY)
        self.tenure.begin(self.bench.store, 0.0)
        self.now = 0.0
        self.answers: list[tuple[object, KeepAliveResult]] = []

    def commit(self, *commands: Command) -> list[Outcome]:
        """Commit one log entry, and observe it."""
        applied = self.bench.enter(commands)
        self.observe(applied)
        return applied.outcomes

    def observe(self, applied: Applied) -> None:
        self.answers += self.tenure.observe(self.bench.store, applied, self.now)

    def due(self, at: float | None = None) -> list[tuple[Command, object | None]]:
        self.now = self.now if at is None else at
        return self.tenure.due(self.bench.store, self.now)

    def said(self, at: float | None = None) -> list[tuple[str, object | None]]:
        """What is due, in short: the kind of command and its ticket."""
        return [(str(c.WhichOneof("body")), ticket) for c, ticket in self.due(at)]

    def open(self, session: str, ttl: int = TTL_MS) -> None:
        self.commit(open_session(session, ttl))

    def own(self, session: str, agent: str, ttl: int = OWN_MS) -> FencingToken:
        (outcome,) = self.commit(self.bench.acquire(session, agent, ttl=ttl))
        return outcome.acquire_ownership.ownership.fence

    def wait(self, session: str, agent: str, ticket: object, create: bool = False) -> Command:
        command = self.bench.acquire(session, agent, "WAIT", create=create)
        self.tenure.wait(command, ticket, self.now)
        return command

    def keep(self, session: str, ticket: object, arrived: float) -> KeepAliveResult | None:
        return self.tenure.keep_session(self.bench.store, session, ticket, arrived)

    def renew(
        self, agent: str, fence: FencingToken, ticket: object, arrived: float
    ) -> KeepAliveResult | None:
        query = FenceQuery(agent_id=agent, fence=fence)
        return self.tenure.keep_ownership(self.bench.store, query, ticket, arrived)

    # --- leases --------------------------------------------------------------

    def grant(self, lease_id: int, ttl: int = TTL_MS) -> None:
        self.commit(grant(self.bench, "s", ttl, lease_id))

    def put(self, lease_id: int) -> None:
        self.commit(put(self.bench, "s", b"k", b"", lease_id))

    def keep_lease(
        self, lease_id: int, ticket: object, arrived: float
    ) -> KeepAliveResult | None:
        return self.tenure.keep_lease(self.bench.store, lease_id, ticket, arrived)

    def left(self, lease_id: int) -> int | None:
        """How long a lease lives on, in milliseconds."""
        return self.tenure.lease_left(lease_id, self.now).ttl_ms
