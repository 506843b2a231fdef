"""LeaseService: leases, and how long they live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from raftstate.core import kv_queries
from raftstate.core.ports import KeepAliveResult, Unavailable
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.renewals import renewed
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    GrantResponse,
    LeaseServiceKeepAliveRequest,
    LeaseServiceKeepAliveResponse,
    ListLeasesRequest,
    ListLeasesResponse,
    RevokeRequest,
    RevokeResponse,
    TimeToLiveRequest,
    TimeToLiveResponse,
)
from raftstate.v1.lease_service_pb2_grpc import LeaseServiceServicer


class Leases(LeaseServiceServicer):
    """Leases, under which keys go when they end."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def Grant(self, request: GrantRequest, context: Any) -> GrantResponse:
        return await self._frontend.mutate(request, GrantResponse)

    async def Revoke(self, request: RevokeRequest, context: Any) -> RevokeResponse:
        return await self._frontend.mutate(request, RevokeResponse)

    async def KeepAlive(
        self, request_iterator: AsyncIterator[LeaseServiceKeepAliveRequest], context: Any
    ) -> AsyncIterator[LeaseServiceKeepAliveResponse]:
        answers = renewed(self._frontend, request_iterator, self._keep, self._kept)
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    def _keep(self, request: LeaseServiceKeepAliveRequest, ticket: object) -> None:
        self._frontend.consensus.keep_lease(request.lease_id, ticket)

    def _kept(
        self, request: LeaseServiceKeepAliveRequest, ttl_ms: int | None
    ) -> LeaseServiceKeepAliveResponse:
        return LeaseServiceKeepAliveResponse(
            header=self._frontend.status_header(),
            lease_id=request.lease_id,
            nonce=request.nonce,
            held=ttl_ms is not None,
            ttl_ms=ttl_ms or 0,
        )

    async def TimeToLive(self, request: TimeToLiveRequest, context: Any) -> TimeToLiveResponse:
        self._frontend.check(request)
        left = partial(self._frontend.consensus.lease_left, request.lease_id)
        answer = await self._frontend.ask(left)
        if isinstance(answer, Unavailable):
            raise self._frontend.unavailable(answer)
        if not isinstance(answer, KeepAliveResult):
            raise TypeError(f"a lease's time was answered with {answer!r}")
        with self._frontend.view() as (reader, header):
            lease = kv_queries.get_lease(reader, request.lease_id)
            wanted = lease is not None and request.with_keys
            keys = kv_queries.keys_of_lease(reader, request.lease_id) if wanted else []
        # It may have ended since consensus was asked.
        if answer.ttl_ms is None or lease is None:
            raise not_found("lease", str(request.lease_id))
        return TimeToLiveResponse(
            header=header, lease=lease, time_left_ms=answer.ttl_ms, keys=keys
        )

    async def ListLeases(self, request: ListLeasesRequest, context: Any) -> ListLeasesResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: kv_queries.list_leases(reader, page.after_number, page.size + 1),
        )
        response = ListLeasesResponse(header=header, leases=found[: page.size])
        if len(found) > page.size:
            last = found[page.size - 1].lease_id
            response.next_page_token = page.next_token(header, last)
        return response
