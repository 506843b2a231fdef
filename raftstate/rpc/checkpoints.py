"""CheckpointService: the states that agents saved.

A checkpoint never changes, so its data (1 MiB at most) is read in one view and sent in
pieces afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from raftstate.core import queries
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.paging import page_size, page_start, page_token
from raftstate.v1.checkpoint_service_pb2 import (
    GetCheckpointRequest,
    GetCheckpointResponse,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
)
from raftstate.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer


class Checkpoints(CheckpointServiceServicer):
    """Reads of the states that agents saved."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def GetCheckpoint(
        self, request: GetCheckpointRequest, context: Any
    ) -> AsyncIterator[GetCheckpointResponse]:
        self._frontend.check(request)
        await self._frontend.read_point(request.consistency)
        agent_id, wanted = request.agent_id, request.checkpoint_id
        with self._frontend.view() as (reader, header):
            checkpoint = queries.get_checkpoint(reader, agent_id, wanted, with_data=True)
        if checkpoint is None:
            raise not_found("checkpoint", f"{agent_id}#{wanted or 'newest'}")
        data, size = checkpoint.data, self._frontend.limits.chunk_bytes
        checkpoint.ClearField("data")
        yield GetCheckpointResponse(header=header, checkpoint=checkpoint, chunk=data[:size])
        for start in range(size, len(data), size):
            yield GetCheckpointResponse(chunk=data[start : start + size])

    async def ListCheckpoints(
        self, request: ListCheckpointsRequest, context: Any
    ) -> ListCheckpointsResponse:
        self._frontend.check(request)
        scope = f"checkpoints {request.agent_id}"
        before = int(page_start(scope, request.page_token) or "0")
        await self._frontend.read_point(request.consistency)
        size = page_size(request.page_size)
        with self._frontend.view() as (reader, header):
            agent = queries.get_agent(reader, request.agent_id)
            found = queries.list_checkpoints(reader, request.agent_id, before, size + 1)
        if agent is None:
            raise not_found("agent", request.agent_id)
        response = ListCheckpointsResponse(header=header, checkpoints=found[:size])
        if len(found) > size:
            last = found[size - 1].checkpoint_id
            response.next_page_token = page_token(scope, str(last))
        return response
