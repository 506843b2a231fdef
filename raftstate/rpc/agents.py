"""AgentService: agents, and the fenced right to act for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from raftstate.core import queries
from raftstate.core.pages import PAGE_BYTES
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend, command_of
from raftstate.rpc.renewals import renewed
from raftstate.v1.agent_service_pb2 import (
    AcquireMode,
    AcquireOwnershipRequest,
    AcquireOwnershipResponse,
    CheckFenceRequest,
    CheckFenceResponse,
    CreateAgentRequest,
    CreateAgentResponse,
    FenceQuery,
    ForkAgentRequest,
    ForkAgentResponse,
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

    async def ForkAgent(self, request: ForkAgentRequest, context: Any) -> ForkAgentResponse:
        return await self._frontend.mutate(request, ForkAgentResponse)

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
        return self._frontend.response(answer, request, AcquireOwnershipResponse)

    async def RenewOwnership(
        self, request_iterator: AsyncIterator[RenewOwnershipRequest], context: Any
    ) -> AsyncIterator[RenewOwnershipResponse]:
        answers = renewed(self._frontend, request_iterator, self._keep, self._kept)
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    def _keep(self, request: RenewOwnershipRequest, ticket: object) -> None:
        query = FenceQuery(agent_id=request.agent_id, fence=request.fence)
        self._frontend.consensus.keep_ownership(query, ticket)

    def _kept(
        self, request: RenewOwnershipRequest, ttl_ms: int | None
    ) -> RenewOwnershipResponse:
        return RenewOwnershipResponse(
            header=self._frontend.status_header(),
            agent_id=request.agent_id,
            nonce=request.nonce,
            held=ttl_ms is not None,
            ttl_ms=ttl_ms or 0,
        )

    async def GetAgent(self, request: GetAgentRequest, context: Any) -> GetAgentResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            agent = queries.get_agent(reader, request.agent_id)
        if agent is None:
            raise not_found("agent", request.agent_id)
        return GetAgentResponse(header=header, agent=agent)

    async def ListAgents(self, request: ListAgentsRequest, context: Any) -> ListAgentsResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: queries.list_agents(
                reader, request.prefix, page.after_text, page.size + 1, PAGE_BYTES
            ),
        )
        shown = page.cut(found)
        response = ListAgentsResponse(header=header, agents=shown)
        if len(found) > len(shown):
            response.next_page_token = page.next_token(header, shown[-1].agent_id)
        return response

    async def CheckFence(self, request: CheckFenceRequest, context: Any) -> CheckFenceResponse:
        self._frontend.check(request)
        await self._frontend.read_point(Consistency.CONSISTENCY_LINEARIZABLE)
        with self._frontend.view() as (reader, header):
            current = [queries.is_current(reader, query) for query in request.fences]
        return CheckFenceResponse(header=header, current=current)
