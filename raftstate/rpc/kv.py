"""KvService: keys, and transactions over them."""

from __future__ import annotations

from functools import partial
from typing import Any

from raftstate.core import kv_queries
from raftstate.core.pages import PAGE_BYTES
from raftstate.core.ports import Reader
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.paging import Page
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    CompactResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    GetResponse,
    KeyValue,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from raftstate.v1.kv_service_pb2_grpc import KvServiceServicer


class Keys(KvServiceServicer):
    """Keys by revision."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def Put(self, request: PutRequest, context: Any) -> PutResponse:
        return await self._frontend.mutate(request, PutResponse)

    async def Delete(self, request: DeleteRequest, context: Any) -> DeleteResponse:
        return await self._frontend.mutate(request, DeleteResponse)

    async def DeleteRange(
        self, request: DeleteRangeRequest, context: Any
    ) -> DeleteRangeResponse:
        return await self._frontend.mutate(request, DeleteRangeResponse)

    async def Txn(self, request: TxnRequest, context: Any) -> TxnResponse:
        return await self._frontend.mutate(request, TxnResponse)

    async def Compact(self, request: CompactRequest, context: Any) -> CompactResponse:
        return await self._frontend.mutate(request, CompactResponse)

    async def Get(self, request: GetRequest, context: Any) -> GetResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            found = kv_queries.get_key(reader, request.key)
        return GetResponse(header=header, kv=found)

    async def Range(self, request: RangeRequest, context: Any) -> RangeResponse:
        page = await self._frontend.page(request)
        look = partial(_read, page, request)
        (found, more), header = await self._frontend.look(page.at, look)
        response = RangeResponse(header=header, kvs=found)
        if more:
            response.next_page_token = page.next_token(header, found[-1].key)
        return response


def _read(
    page: Page, request: RangeRequest, reader: Reader
) -> tuple[list[KeyValue], list[KeyValue]]:
    """The keys of a page, and the one behind them, if there is one."""
    read = partial(kv_queries.read_range, reader, request.range, backwards=request.backwards)
    found = read(
        limit=page.size,
        bytes_max=PAGE_BYTES,
        after=page.after,
        keys_only=request.keys_only,
    )
    if not found:
        return [], []
    return found, read(limit=1, bytes_max=0, after=found[-1].key, keys_only=True)
