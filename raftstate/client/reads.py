"""What can be read from the store.

Reads reflect every write acknowledged before they began, unless `stale=True`: then
any member answers with some earlier state. A read changes nothing, so its failures
are all definite: NoQuorum when nobody answered in time, AgentNotFound, InvalidRequest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from hashlib import blake2b
from typing import Any

from raftstate.client.engine import Engine
from raftstate.client.routing import Peer
from raftstate.errors import Corrupt
from raftstate.v1.agent_service_pb2 import (
    Agent,
    CheckFenceRequest,
    FenceQuery,
    GetAgentRequest,
    ListAgentsRequest,
)
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    GetCheckpointRequest,
    ListCheckpointsRequest,
)
from raftstate.v1.cluster_service_pb2 import StatusRequest, StatusResponse
from raftstate.v1.common_pb2 import (
    CONSISTENCY_LINEARIZABLE,
    CONSISTENCY_STALE,
    Consistency,
    FencingToken,
)
from raftstate.v1.event_service_pb2 import (
    Event,
    GetStreamRequest,
    GetStreamResponse,
    ReadAllRequest,
    ReadEventsRequest,
)
from raftstate.v1.session_service_pb2 import ListSessionsRequest, Session


class Reads:
    """The reading half of a `Store`."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    # --- agents ---

    async def get_agent(
        self, agent_id: str, *, stale: bool = False, timeout: float | None = None
    ) -> Agent:
        """One agent. Raises AgentNotFound (definite)."""
        request = GetAgentRequest(agent_id=agent_id, consistency=_consistency(stale))
        answer = await self._read(
            lambda peer: peer.agents.GetAgent, request, timeout, not stale
        )
        agent: Agent = answer.agent
        return agent

    async def list_agents(
        self, prefix: str = "", *, stale: bool = False, timeout: float | None = None
    ) -> AsyncIterator[Agent]:
        """Agents whose id begins with `prefix`, in order of id. `timeout` is a page's."""
        request = ListAgentsRequest(prefix=prefix, consistency=_consistency(stale))
        async for page in self._pages(
            lambda peer: peer.agents.ListAgents, request, timeout, not stale
        ):
            for agent in page.agents:
                yield agent

    async def check_fences(
        self, fences: Iterable[tuple[str, FencingToken]], *, timeout: float | None = None
    ) -> list[bool]:
        """For each agent and token, in order: whether it is the owner's now. Advice
        only: a resource outside the store must keep the highest token it has seen."""
        request = CheckFenceRequest(
            fences=[FenceQuery(agent_id=agent, fence=fence) for agent, fence in fences]
        )
        answer = await self._read(lambda peer: peer.agents.CheckFence, request, timeout)
        return list(answer.current)

    async def check_fence(
        self, agent_id: str, token: FencingToken, *, timeout: float | None = None
    ) -> bool:
        """Whether `token` is that of the agent's owner now. See `check_fences`."""
        [current] = await self.check_fences([(agent_id, token)], timeout=timeout)
        return current

    # --- events ---

    async def read_events(
        self,
        agent_id: str,
        *,
        from_seq: int = 1,
        max_events: int = 0,
        stale: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[Event]:
        """An agent's events in order, up to the newest; `max_events` zero is all.

        Goes on at another member if one fails, without a gap. `timeout` is how long it
        may take until more events come. `raftstate.decode(event)` is what was put in."""
        seen = from_seq - 1 if from_seq > 0 else 0
        last = seen + max_events

        def begin(peer: Peer) -> Any:
            return peer.events.ReadEvents(
                ReadEventsRequest(
                    stream_id=agent_id,
                    from_seq=seen + 1,
                    max_events=last - seen if max_events else 0,
                    consistency=_consistency(stale),
                )
            )

        deadline = self._engine.deadline(timeout)
        async for answer in self._engine.calls.stream(
            begin, deadline=deadline, leads=not stale
        ):
            for event in answer.events:
                seen = event.seq
                yield event
            if max_events and seen >= last:
                return

    async def read_all(
        self,
        *,
        from_position: int = 1,
        max_events: int = 0,
        stale: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[Event]:
        """The events of all agents in the order of the log. Otherwise as `read_events`."""
        seen = from_position - 1 if from_position > 0 else 0
        last = seen + max_events

        def begin(peer: Peer) -> Any:
            return peer.events.ReadAll(
                ReadAllRequest(
                    from_position=seen + 1,
                    max_events=last - seen if max_events else 0,
                    consistency=_consistency(stale),
                )
            )

        deadline = self._engine.deadline(timeout)
        async for answer in self._engine.calls.stream(
            begin, deadline=deadline, leads=not stale
        ):
            for event in answer.events:
                seen = event.position
                yield event
            if max_events and seen >= last:
                return

    async def get_stream(
        self, agent_id: str, *, stale: bool = False, timeout: float | None = None
    ) -> GetStreamResponse:
        """How long an agent's stream is, and the hash that chains it. Raises
        AgentNotFound (definite) if it never had an event."""
        request = GetStreamRequest(stream_id=agent_id, consistency=_consistency(stale))
        answer: GetStreamResponse = await self._read(
            lambda peer: peer.events.GetStream, request, timeout, not stale
        )
        return answer

    # --- checkpoints ---

    async def get_checkpoint(
        self,
        agent_id: str,
        checkpoint_id: int = 0,
        *,
        stale: bool = False,
        timeout: float | None = None,
    ) -> Checkpoint:
        """One checkpoint with its data, the newest by default. Raises AgentNotFound
        (definite) if there is none, Corrupt if its data is not what was written."""
        request = GetCheckpointRequest(
            agent_id=agent_id, checkpoint_id=checkpoint_id, consistency=_consistency(stale)
        )

        async def attempt(peer: Peer, patience: float) -> Checkpoint:
            checkpoint = Checkpoint()
            data = bytearray()
            async for answer in peer.checkpoints.GetCheckpoint(request, timeout=patience):
                if answer.HasField("header"):
                    self._engine.router.observe(answer.header)
                    checkpoint = answer.checkpoint
                data += answer.chunk
            checkpoint.data = bytes(data)
            return checkpoint

        checkpoint = await self._engine.calls.call(
            attempt,
            deadline=self._engine.deadline(timeout),
            changes=False,
            leads=not stale,
        )
        if blake2b(checkpoint.data, digest_size=32).digest() != checkpoint.content_hash:
            raise Corrupt(
                f"checkpoint {checkpoint.checkpoint_id} of {agent_id} is not what was written",
                definite=True,
            )
        return checkpoint

    async def list_checkpoints(
        self, agent_id: str, *, stale: bool = False, timeout: float | None = None
    ) -> AsyncIterator[Checkpoint]:
        """An agent's checkpoints without their data, newest first. `timeout` is a page's."""
        request = ListCheckpointsRequest(agent_id=agent_id, consistency=_consistency(stale))
        async for page in self._pages(
            lambda peer: peer.checkpoints.ListCheckpoints, request, timeout, not stale
        ):
            for checkpoint in page.checkpoints:
                yield checkpoint

    # --- the cluster ---

    async def sessions(
        self, *, stale: bool = False, timeout: float | None = None
    ) -> AsyncIterator[Session]:
        """The live sessions, in order of id. `timeout` is a page's."""
        request = ListSessionsRequest(consistency=_consistency(stale))
        async for page in self._pages(
            lambda peer: peer.sessions.ListSessions, request, timeout, not stale
        ):
            for session in page.sessions:
                yield session

    async def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> StatusResponse:
        """How one member sees the cluster: the one at `endpoint`, or any that answers."""

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

    # --- how ---

    async def _read(
        self,
        method: Callable[[Peer], Any],
        request: Any,
        timeout: float | None,
        leads: bool = True,
    ) -> Any:
        def attempt(peer: Peer, patience: float) -> Awaitable[Any]:
            call: Awaitable[Any] = method(peer)(request, timeout=patience)
            return call

        return await self._engine.calls.call(
            attempt, deadline=self._engine.deadline(timeout), changes=False, leads=leads
        )

    async def _pages(
        self, method: Callable[[Peer], Any], request: Any, timeout: float | None, leads: bool
    ) -> AsyncIterator[Any]:
        while True:
            page = await self._read(method, request, timeout, leads)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def _consistency(stale: bool) -> Consistency:
    return CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE
