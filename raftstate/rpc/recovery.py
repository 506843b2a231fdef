"""RecoveryService: what recovery goes by."""

from __future__ import annotations

from typing import Any

from raftstate.core import checkpoint_queries
from raftstate.rpc.frontend import Frontend
from raftstate.v1.recovery_service_pb2 import (
    ListValidatorsRequest,
    ListValidatorsResponse,
    PutValidatorRequest,
    PutValidatorResponse,
)
from raftstate.v1.recovery_service_pb2_grpc import RecoveryServiceServicer


class Recovery(RecoveryServiceServicer):
    """Who may say that a checkpoint is good."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def PutValidator(
        self, request: PutValidatorRequest, context: Any
    ) -> PutValidatorResponse:
        return await self._frontend.mutate(request, PutValidatorResponse)

    async def ListValidators(
        self, request: ListValidatorsRequest, context: Any
    ) -> ListValidatorsResponse:
        page = await self._frontend.page(request)
        after, limit = page.after_text, page.size + 1
        found, header = await self._frontend.look(
            page.at, lambda reader: checkpoint_queries.list_validators(reader, after, limit)
        )
        response = ListValidatorsResponse(header=header, validators=found[: page.size])
        if len(found) > page.size:
            last = found[page.size - 1].name
            response.next_page_token = page.next_token(header, last)
        return response
