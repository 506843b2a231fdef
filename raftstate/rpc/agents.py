"""AgentService: agents, and the fenced right to act for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from raftstate.core import queries
from raftstate.core.ports import Answer, KeepAliveResult, Unavailable
from raftstate.rpc.errors import Failure, not_found
from raftstate.rpc.frontend import Frontend, command_of
from raftstate.rpc.lane import Lane, end
from raftstate.rpc.paging import page_size, page_start, page_token
from raftstate.v1.agent_service_pb2 import (
    AcquireMode,
    AcquireOwnershipRequest,
    AcquireOwnershipResponse,
    CheckFenceRequest,
    CheckFenceResponse,
    CreateAgentRequest,
    CreateAgentResponse,
    FenceQuery,
    GetAgentRequest,
    GetAgentResponse,
    HaltAgentRequest,
    HaltAgentResponse,
    ListAgentsRequest,
    ListAgentsResponse,
    ReleaseOwnershipRequest,
    ReleaseOwnershipResponse,
    RenewOwnershipRequest,
    RenewOwnershipResponse,
    ResumeAgentRequest,
    ResumeAgentResponse,
    RetireAgentRequest,
    RetireAgentResponse,
    UpdateAgentRequest,
    UpdateAgentResponse,
)
from raftstate.v1.agent_service_pb2_grpc import AgentServiceServicer
from raftstate.v1.common_pb2 import Consistency


class Agents(AgentServiceServicer):
    """Agents and their ownership."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def CreateAgent(
        self, request: CreateAgentRequest, context: Any
    ) -> CreateAgentResponse:
        return await self._frontend.mutate(request, CreateAgentResponse)

    async def UpdateAgent(
        self, request: UpdateAgentRequest, context: Any
    ) -> UpdateAgentResponse:
        return await self._frontend.mutate(request, UpdateAgentResponse)

    async def RetireAgent(
        self, request: RetireAgentRequest, context: Any
    ) -> RetireAgentResponse:
        return await self._frontend.mutate(request, RetireAgentResponse)

    async def HaltAgent(self, request: HaltAgentRequest, context: Any) -> HaltAgentResponse:
        return await self._frontend.mutate(request, HaltAgentResponse)

    async def ResumeAgent(
        self, request: ResumeAgentRequest, context: Any
    ) -> ResumeAgentResponse:
        return await self._frontend.mutate(request, ResumeAgentResponse)

    async def ReleaseOwnership(
        self, request: ReleaseOwnershipRequest, context: Any
    ) -> ReleaseOwnershipResponse:
        return await self._frontend.mutate(request, ReleaseOwnershipResponse)

    async def AcquireOwnership(
        self, request: AcquireOwnershipRequest, context: Any
    ) -> AcquireOwnershipResponse:
        self._frontend.check(request)
        ticket = self._frontend.bridge.ticket()
        self._frontend.consensus.propose(command_of(request), ticket)
        try:
            answer = await ticket
        except asyncio.CancelledError:
            if request.mode == AcquireMode.ACQUIRE_MODE_WAIT:
                self._frontend.consensus.abandon(ticket)
            raise
        response = self._frontend.response(answer, request, AcquireOwnershipResponse)
        add_bundle(self._frontend, response, request.agent_id)
        return response

    async def RenewOwnership(
        self, request_iterator: AsyncIterator[RenewOwnershipRequest], context: Any
    ) -> AsyncIterator[RenewOwnershipResponse]:
        lane: Lane[RenewOwnershipRequest] = Lane(self._frontend.limits.in_flight)
        reader = asyncio.ensure_future(self._take_renewals(request_iterator, lane))
        try:
            async for batch in lane.batches():
                for request, answer in batch:
                    yield self._renewed(request, answer)
            await reader
        finally:
            await end(reader)

    async def _take_renewals(
        self,
        requests: AsyncIterator[RenewOwnershipRequest],
        lane: Lane[RenewOwnershipRequest],
    ) -> None:
        """Ask for every renewal; answers need not come in the order of requests."""
        try:
            async for request in self._frontend.while_leading(requests):
                self._frontend.check(request)
                await lane.room()
                query = FenceQuery(agent_id=request.agent_id, fence=request.fence)
                self._frontend.consensus.keep_ownership(query, lane.slot(request))
        finally:
            lane.complete()

    def _renewed(
        self, request: RenewOwnershipRequest, answer: Answer | Exception
    ) -> RenewOwnershipResponse:
        if isinstance(answer, Unavailable):
            raise self._frontend.unavailable(answer)
        if not isinstance(answer, KeepAliveResult):
            raise TypeError(f"a renewal was answered with {answer!r}")
        return RenewOwnershipResponse(
            header=self._frontend.status_header(),
            agent_id=request.agent_id,
            nonce=request.nonce,
            held=answer.ttl_ms is not None,
            ttl_ms=answer.ttl_ms or 0,
        )

    async def GetAgent(self, request: GetAgentRequest, context: Any) -> GetAgentResponse:
        self._frontend.check(request)
        await self._frontend.read_point(request.consistency)
        with self._frontend.view() as (reader, header):
            agent = queries.get_agent(reader, request.agent_id)
        if agent is None:
            raise not_found("agent", request.agent_id)
        return GetAgentResponse(header=header, agent=agent)

    async def ListAgents(self, request: ListAgentsRequest, context: Any) -> ListAgentsResponse:
        self._frontend.check(request)
        scope = f"agents {request.prefix}"
        after = page_start(scope, request.page_token)
        await self._frontend.read_point(request.consistency)
        size = page_size(request.page_size)
        with self._frontend.view() as (reader, header):
            found = queries.list_agents(reader, request.prefix, after, size + 1)
        response = ListAgentsResponse(header=header, agents=found[:size])
        if len(found) > size:
            response.next_page_token = page_token(scope, found[size - 1].agent_id)
        return response

    async def CheckFence(self, request: CheckFenceRequest, context: Any) -> CheckFenceResponse:
        self._frontend.check(request)
        await self._frontend.read_point(Consistency.CONSISTENCY_LINEARIZABLE)
        with self._frontend.view() as (reader, header):
            current = [queries.is_current(reader, query) for query in request.fences]
        return CheckFenceResponse(header=header, current=current)


def add_bundle(frontend: Frontend, response: AcquireOwnershipResponse, agent_id: str) -> None:
    """Put what a successor needs beside a grant, read at or after the grant."""
    try:
        with frontend.view() as (reader, _):
            bundle = queries.takeover_bundle(reader, agent_id)
    except Failure as failure:
        # It was granted: only what is said of it is not to be had here.
        unknown = Unavailable("OUTCOME_UNKNOWN", definite=False)
        raise frontend.unavailable(unknown) from failure
    if bundle is not None:
        response.bundle.CopyFrom(bundle)
