"""EffectService: what agents did to the outside world, and sagas of that."""

from __future__ import annotations

from functools import partial
from typing import Any

from raftstate.core import effect_queries, queries
from raftstate.core.effect_queries import EffectPage
from raftstate.core.ports import Reader
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.paging import Page
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    AbortSagaResponse,
    BeginSagaRequest,
    BeginSagaResponse,
    CompleteEffectRequest,
    CompleteEffectResponse,
    DispatchEffectRequest,
    DispatchEffectResponse,
    EndSagaRequest,
    EndSagaResponse,
    GetEffectRequest,
    GetEffectResponse,
    GetSagaRequest,
    GetSagaResponse,
    ListEffectsRequest,
    ListEffectsResponse,
    ListSagasRequest,
    ListSagasResponse,
    PrepareEffectRequest,
    PrepareEffectResponse,
    ReconcileEffectRequest,
    ReconcileEffectResponse,
)
from raftstate.v1.effect_service_pb2_grpc import EffectServiceServicer


class Effects(EffectServiceServicer):
    """The ledger of effects, and sagas."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    # --- effects -----------------------------------------------------------------

    async def PrepareEffect(
        self, request: PrepareEffectRequest, context: Any
    ) -> PrepareEffectResponse:
        return await self._frontend.mutate(request, PrepareEffectResponse)

    async def DispatchEffect(
        self, request: DispatchEffectRequest, context: Any
    ) -> DispatchEffectResponse:
        return await self._frontend.mutate(request, DispatchEffectResponse)

    async def CompleteEffect(
        self, request: CompleteEffectRequest, context: Any
    ) -> CompleteEffectResponse:
        return await self._frontend.mutate(request, CompleteEffectResponse)

    async def ReconcileEffect(
        self, request: ReconcileEffectRequest, context: Any
    ) -> ReconcileEffectResponse:
        return await self._frontend.mutate(request, ReconcileEffectResponse)

    async def GetEffect(self, request: GetEffectRequest, context: Any) -> GetEffectResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            effect = effect_queries.get_effect(reader, request.agent_id, request.effect_id)
        if effect is None:
            raise not_found("effect", f"{request.agent_id}#{request.effect_id}")
        return GetEffectResponse(header=header, effect=effect)

    async def ListEffects(
        self, request: ListEffectsRequest, context: Any
    ) -> ListEffectsResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(page.at, partial(_listed, page, request))
        response = ListEffectsResponse(header=header, effects=found.effects)
        if found.next_after:
            response.next_page_token = page.next_token(header, found.next_after)
        return response

    # --- sagas -------------------------------------------------------------------

    async def BeginSaga(self, request: BeginSagaRequest, context: Any) -> BeginSagaResponse:
        return await self._frontend.mutate(request, BeginSagaResponse)

    async def EndSaga(self, request: EndSagaRequest, context: Any) -> EndSagaResponse:
        return await self._frontend.mutate(request, EndSagaResponse)

    async def AbortSaga(self, request: AbortSagaRequest, context: Any) -> AbortSagaResponse:
        return await self._frontend.mutate(request, AbortSagaResponse)

    async def GetSaga(self, request: GetSagaRequest, context: Any) -> GetSagaResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            saga = effect_queries.get_saga(reader, request.saga_id)
            if saga is None:
                raise not_found("saga", request.saga_id)
            turn = saga.undoing.next_position
            items = effect_queries.items(reader, f"saga/{request.saga_id}", turn=turn)
        return GetSagaResponse(header=header, saga=saga, items=items)

    async def ListSagas(self, request: ListSagasRequest, context: Any) -> ListSagasResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: effect_queries.list_sagas(
                reader, request.prefix, page.after_text, page.size, request.states
            ),
        )
        response = ListSagasResponse(header=header, sagas=found.sagas)
        if found.next_after:
            response.next_page_token = page.next_token(header, found.next_after)
        return response


def _listed(page: Page, request: ListEffectsRequest, reader: Reader) -> EffectPage:
    """A page of an agent's effects; raises Failure."""
    agent_id = request.agent_id
    if queries.get_agent(reader, agent_id) is None:
        raise not_found("agent", agent_id)
    return effect_queries.list_effects(
        reader, agent_id, page.after_number, page.size, request.states, request.saga_id
    )
