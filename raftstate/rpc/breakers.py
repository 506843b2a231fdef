"""BreakerService: circuit breakers that everybody shares."""

from __future__ import annotations

from typing import Any

from raftstate.core import breaker_queries, queries
from raftstate.core.pages import PAGE_BYTES
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    AcquirePermitResponse,
    DeleteBreakerRequest,
    DeleteBreakerResponse,
    ForceCloseRequest,
    ForceCloseResponse,
    ForceOpenRequest,
    ForceOpenResponse,
    GetBreakerRequest,
    GetBreakerResponse,
    ListBreakersRequest,
    ListBreakersResponse,
    PutBreakerRequest,
    PutBreakerResponse,
    ReportOutcomesRequest,
    ReportOutcomesResponse,
    ResetRequest,
    ResetResponse,
)
from raftstate.v1.breaker_service_pb2_grpc import BreakerServiceServicer


class Breakers(BreakerServiceServicer):
    """Breakers, what is reported to them, and who may try."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def PutBreaker(self, request: PutBreakerRequest, context: Any) -> PutBreakerResponse:
        return await self._frontend.mutate(request, PutBreakerResponse)

    async def DeleteBreaker(
        self, request: DeleteBreakerRequest, context: Any
    ) -> DeleteBreakerResponse:
        return await self._frontend.mutate(request, DeleteBreakerResponse)

    async def AcquirePermit(
        self, request: AcquirePermitRequest, context: Any
    ) -> AcquirePermitResponse:
        return await self._frontend.mutate(request, AcquirePermitResponse)

    async def ReportOutcomes(
        self, request: ReportOutcomesRequest, context: Any
    ) -> ReportOutcomesResponse:
        return await self._frontend.mutate(request, ReportOutcomesResponse)

    async def ForceOpen(self, request: ForceOpenRequest, context: Any) -> ForceOpenResponse:
        return await self._frontend.mutate(request, ForceOpenResponse)

    async def ForceClose(self, request: ForceCloseRequest, context: Any) -> ForceCloseResponse:
        return await self._frontend.mutate(request, ForceCloseResponse)

    async def Reset(self, request: ResetRequest, context: Any) -> ResetResponse:
        return await self._frontend.mutate(request, ResetResponse)

    async def GetBreaker(self, request: GetBreakerRequest, context: Any) -> GetBreakerResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            breaker = breaker_queries.get_breaker(reader, request.name)
            log_time_ms = queries.log_time_ms(reader)
        if breaker is None:
            raise not_found("breaker", request.name)
        return GetBreakerResponse(header=header, breaker=breaker, log_time_ms=log_time_ms)

    async def ListBreakers(
        self, request: ListBreakersRequest, context: Any
    ) -> ListBreakersResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: breaker_queries.list_breakers(
                reader, request.prefix, page.after_text, page.size + 1, PAGE_BYTES
            ),
        )
        shown = page.cut(found)
        response = ListBreakersResponse(header=header, breakers=shown)
        if len(found) > len(shown):
            response.next_page_token = page.next_token(header, shown[-1].name)
        return response
