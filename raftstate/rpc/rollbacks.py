"""RollbackService: agents are taken back to a state that can be trusted."""

from __future__ import annotations

from typing import Any

from raftstate.core import effect_queries, rollback_queries
from raftstate.rpc.errors import not_found, refused
from raftstate.rpc.frontend import Frontend
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AbortRollbackResponse,
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompleteCompensationRequest,
    CompleteCompensationResponse,
    DecideCompensationRequest,
    DecideCompensationResponse,
    FinishRollbackRequest,
    FinishRollbackResponse,
    GetRollbackRequest,
    GetRollbackResponse,
    ListRollbacksRequest,
    ListRollbacksResponse,
    PlanRollbackRequest,
    PlanRollbackResponse,
    StartRollbackRequest,
    StartRollbackResponse,
)
from raftstate.v1.rollback_service_pb2_grpc import RollbackServiceServicer
from raftstate.v1.store_pb2 import Outcome, Refusal


class Rollbacks(RollbackServiceServicer):
    """Rollbacks, and the compensations of any plan."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def StartRollback(
        self, request: StartRollbackRequest, context: Any
    ) -> StartRollbackResponse:
        return await self._frontend.mutate(request, StartRollbackResponse)

    async def ClaimCompensations(
        self, request: ClaimCompensationsRequest, context: Any
    ) -> ClaimCompensationsResponse:
        return await self._frontend.mutate(request, ClaimCompensationsResponse)

    async def CompleteCompensation(
        self, request: CompleteCompensationRequest, context: Any
    ) -> CompleteCompensationResponse:
        return await self._frontend.mutate(request, CompleteCompensationResponse)

    async def DecideCompensation(
        self, request: DecideCompensationRequest, context: Any
    ) -> DecideCompensationResponse:
        return await self._frontend.mutate(request, DecideCompensationResponse)

    async def FinishRollback(
        self, request: FinishRollbackRequest, context: Any
    ) -> FinishRollbackResponse:
        return await self._frontend.mutate(request, FinishRollbackResponse)

    async def AbortRollback(
        self, request: AbortRollbackRequest, context: Any
    ) -> AbortRollbackResponse:
        return await self._frontend.mutate(request, AbortRollbackResponse)

    async def PlanRollback(
        self, request: PlanRollbackRequest, context: Any
    ) -> PlanRollbackResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            plan = rollback_queries.plan_rollback(reader, request)
        if isinstance(plan, Refusal):
            raise refused(
                Outcome(revision=header.revision, raft_index=header.raft_index, refusal=plan),
                "",
            )
        plan.header.CopyFrom(header)
        return plan

    async def GetRollback(
        self, request: GetRollbackRequest, context: Any
    ) -> GetRollbackResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            rollback = rollback_queries.get_rollback(reader, request.rollback_id)
            if rollback is None:
                raise not_found("rollback", request.rollback_id)
            plan_id, turn = f"rollback/{request.rollback_id}", rollback.undoing.next_position
            items = effect_queries.items(reader, plan_id, turn=turn)
        return GetRollbackResponse(header=header, rollback=rollback, items=items)

    async def ListRollbacks(
        self, request: ListRollbacksRequest, context: Any
    ) -> ListRollbacksResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: rollback_queries.list_rollbacks(
                reader, page.after_text, page.size, request.states
            ),
        )
        response = ListRollbacksResponse(header=header, rollbacks=found.rollbacks)
        if found.next_after:
            response.next_page_token = page.next_token(header, found.next_after)
        return response
