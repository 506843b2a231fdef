"""What can be read of agents, sessions and members. `reading` says how: the options.

The reads of streams, projections, checkpoints, keys and leases are beside what writes
them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Unpack

from raftstate.client import reading
from raftstate.client.engine import Engine
from raftstate.client.reading import How
from raftstate.client.routing import Peer
from raftstate.v1.agent_service_pb2 import (
    Agent,
    CheckFenceRequest,
    FenceQuery,
    GetAgentRequest,
    ListAgentsRequest,
)
from raftstate.v1.cluster_service_pb2 import (
    GetLimitsRequest,
    StatusRequest,
    StatusResponse,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.session_service_pb2 import ListSessionsRequest, Session


class Reads:
    """The reading half of a `Store`: see there for the options and errors of every read."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    # --- agents ---

    async def get_agent(self, agent_id: str, **how: Unpack[How]) -> Agent:
        """One agent. Raises AgentNotFound (definite), and what every read does.

        >>> _ = await store.create_agent("reads/get", labels={"team": "red"})
        >>> agent = await store.get_agent("reads/get")
        >>> [(label.name, label.value) for label in agent.labels]
        [('team', 'red')]
        """
        request = GetAgentRequest(agent_id=agent_id)
        answer = await reading.read_as(
            self._engine, lambda peer: peer.agents.GetAgent, request, how
        )
        agent: Agent = answer.agent
        return agent

    async def list_agents(self, prefix: str = "", **how: Unpack[How]) -> AsyncIterator[Agent]:
        """Agents whose id begins with `prefix`, in order of id, all at one revision. Raises
        Compacted (definite) should that be forgotten meanwhile, and what every read does.

        >>> for agent_id in ("reads/list/b", "reads/list/a"):
        ...     _ = await store.create_agent(agent_id)
        >>> [agent.agent_id async for agent in store.list_agents("reads/list/")]
        ['reads/list/a', 'reads/list/b']
        """
        request = ListAgentsRequest(prefix=prefix)
        async for page in reading.pages(
            self._engine, lambda peer: peer.agents.ListAgents, request, how
        ):
            for agent in page.agents:
                yield agent

    async def check_fences(
        self, fences: Iterable[tuple[str, FencingToken]], *, timeout: float | None = None
    ) -> list[bool]:
        """For each agent and token, 128 at most, in order: whether it is the owner's now.
        Advice only: a resource outside the store must keep the highest token it has seen.
        Raises what every read does.

        >>> async with store.own("reads/fences") as agent:
        ...     asked = [("reads/fences", agent.token), ("reads/fences/none", agent.token)]
        ...     print(await store.check_fences(asked))
        [True, False]
        >>> await store.check_fences(asked)
        [False, False]
        """
        request = CheckFenceRequest(
            fences=[FenceQuery(agent_id=agent, fence=fence) for agent, fence in fences]
        )
        answer = await reading.read(
            self._engine, lambda peer: peer.agents.CheckFence, request, timeout=timeout
        )
        return list(answer.current)

    async def check_fence(
        self, agent_id: str, token: FencingToken, *, timeout: float | None = None
    ) -> bool:
        """Whether `token` is that of the agent's owner now. See `check_fences`.

        >>> async with store.own("reads/fence") as agent:
        ...     print(await store.check_fence("reads/fence", agent.token))
        True
        """
        [current] = await self.check_fences([(agent_id, token)], timeout=timeout)
        return current

    # --- the cluster ---

    async def sessions(self, **how: Unpack[How]) -> AsyncIterator[Session]:
        """The live sessions, in order of id, all at one revision. Raises Compacted
        (definite) should that be forgotten meanwhile, and what every read does.

        >>> _ = await store.keys.put("reads/sessions", b"")
        >>> 10_000 in [session.ttl_ms async for session in store.sessions()]
        True
        """
        request = ListSessionsRequest()
        async for page in reading.pages(
            self._engine, lambda peer: peer.sessions.ListSessions, request, how
        ):
            for session in page.sessions:
                yield session

    async def limits(self, *, timeout: float | None = None) -> dict[str, int]:
        """What requests are held to, by name (`"request.bytes"`, `"key.bytes"`), as any
        member says. Raises NoQuorum (definite) if none answers in time.

        >>> limits = await store.limits()
        >>> limits["key.bytes"]
        480
        """
        answer = await reading.read(
            self._engine,
            lambda peer: peer.cluster.GetLimits,
            GetLimitsRequest(),
            timeout=timeout,
            leads=False,
        )
        return {limit.name: limit.value for limit in answer.limits}

    async def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> StatusResponse:
        """How one member sees the cluster: the one at `endpoint`, or any that answers.
        Raises NoQuorum (definite) if it does not answer in time.

        >>> status = await store.status(endpoints.split(",")[0])
        >>> [member.member_id for member in status.members]
        ['n1', 'n2', 'n3']
        """

        async def attempt(peer: Peer, patience: float) -> StatusResponse:
            answer: StatusResponse = await peer.cluster.Status(
                StatusRequest(), timeout=patience
            )
            return answer

        answer = await self._engine.calls.call(
            attempt,
            deadline=self._engine.deadline(timeout),
            changes=False,
            leads=False,
            address=endpoint,
        )
        self._engine.router.learn(one.client_address for one in answer.members)
        return answer
