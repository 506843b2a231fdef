"""CheckpointService: the states that agents saved.

A checkpoint never changes, so one that has been found is sent a chunk at a time, a view
for each: others are served in between, and a client that reads slowly holds no view. What
is sent was hashed here and is what it was. A checkpoint may be pruned meanwhile; its data
is then gone at whatever revision it is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from raftstate.core import checkpoint_queries, queries
from raftstate.core.checkpoint_queries import CheckpointPage
from raftstate.core.pages import PAGE_BYTES
from raftstate.core.ports import Reader
from raftstate.rpc.contents import pieces
from raftstate.rpc.diffs import Diffs
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.paging import Page
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    CopyLineageRequest,
    CopyLineageResponse,
    DeleteGroupCheckpointRequest,
    DeleteGroupCheckpointResponse,
    DiffCheckpointsRequest,
    DiffCheckpointsResponse,
    GetCheckpointRequest,
    GetCheckpointResponse,
    GetGroupCheckpointRequest,
    GetGroupCheckpointResponse,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
    ListGroupCheckpointsRequest,
    ListGroupCheckpointsResponse,
    MarkValidRequest,
    MarkValidResponse,
    MissingChunksRequest,
    MissingChunksResponse,
    PruneCheckpointsRequest,
    PruneCheckpointsResponse,
    PutCheckpointRequest,
    PutCheckpointResponse,
    PutChunkRequest,
    PutChunkResponse,
    PutGroupCheckpointRequest,
    PutGroupCheckpointResponse,
    TagCheckpointRequest,
    TagCheckpointResponse,
)
from raftstate.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer


class Checkpoints(CheckpointServiceServicer):
    """States that agents saved, alone or in groups."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._diffs = Diffs(frontend)

    # --- mutations ---------------------------------------------------------------

    async def PutCheckpoint(
        self, request: PutCheckpointRequest, context: Any
    ) -> PutCheckpointResponse:
        return await self._frontend.mutate(request, PutCheckpointResponse)

    async def PutChunk(self, request: PutChunkRequest, context: Any) -> PutChunkResponse:
        return await self._frontend.mutate(request, PutChunkResponse)

    async def TagCheckpoint(
        self, request: TagCheckpointRequest, context: Any
    ) -> TagCheckpointResponse:
        return await self._frontend.mutate(request, TagCheckpointResponse)

    async def MarkValid(self, request: MarkValidRequest, context: Any) -> MarkValidResponse:
        return await self._frontend.mutate(request, MarkValidResponse)

    async def PruneCheckpoints(
        self, request: PruneCheckpointsRequest, context: Any
    ) -> PruneCheckpointsResponse:
        return await self._frontend.mutate(request, PruneCheckpointsResponse)

    async def CopyLineage(
        self, request: CopyLineageRequest, context: Any
    ) -> CopyLineageResponse:
        return await self._frontend.mutate(request, CopyLineageResponse)

    async def PutGroupCheckpoint(
        self, request: PutGroupCheckpointRequest, context: Any
    ) -> PutGroupCheckpointResponse:
        return await self._frontend.mutate(request, PutGroupCheckpointResponse)

    async def DeleteGroupCheckpoint(
        self, request: DeleteGroupCheckpointRequest, context: Any
    ) -> DeleteGroupCheckpointResponse:
        return await self._frontend.mutate(request, DeleteGroupCheckpointResponse)

    # --- reads -------------------------------------------------------------------

    async def GetCheckpoint(
        self, request: GetCheckpointRequest, context: Any
    ) -> AsyncIterator[GetCheckpointResponse]:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            wanted = _found(reader, request.agent_id, request.checkpoint_id, request.tag)
            whole = request.with_chain
            chain = checkpoint_queries.chain(reader, wanted) if whole else [wanted]
        response = GetCheckpointResponse(header=header)
        for checkpoint in chain:
            response.checkpoint.CopyFrom(checkpoint)
            if request.without_data:
                yield response
                response = GetCheckpointResponse()
                continue
            data = pieces(self._frontend, checkpoint, at, header.revision)
            async with aclosing(data):
                async for response.chunk in data:
                    yield response
                    response = GetCheckpointResponse()

    async def ListCheckpoints(
        self, request: ListCheckpointsRequest, context: Any
    ) -> ListCheckpointsResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(page.at, partial(_listed, page, request))
        response = ListCheckpointsResponse(header=header, checkpoints=found.checkpoints)
        if found.next_before:
            response.next_page_token = page.next_token(header, found.next_before)
        return response

    async def MissingChunks(
        self, request: MissingChunksRequest, context: Any
    ) -> MissingChunksResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            agent = queries.get_agent(reader, request.agent_id)
            if agent is None:
                raise not_found("agent", request.agent_id)
            missing = checkpoint_queries.missing_chunks(reader, agent, request.hashes)
        return MissingChunksResponse(header=header, missing=missing)

    async def DiffCheckpoints(
        self, request: DiffCheckpointsRequest, context: Any
    ) -> DiffCheckpointsResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            other = request.to_agent_id or request.agent_id
            ends = (
                _found(reader, request.agent_id, request.from_checkpoint_id),
                _found(reader, other, request.to_checkpoint_id),
            )
            before, after = (checkpoint_queries.chain(reader, end) for end in ends)
        response = await self._diffs.between(before, after, at, header.revision)
        response.header.CopyFrom(header)
        return response

    async def GetGroupCheckpoint(
        self, request: GetGroupCheckpointRequest, context: Any
    ) -> GetGroupCheckpointResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            group = checkpoint_queries.get_group(reader, request.group_id)
        if group is None:
            raise not_found("group", request.group_id)
        return GetGroupCheckpointResponse(header=header, group=group)

    async def ListGroupCheckpoints(
        self, request: ListGroupCheckpointsRequest, context: Any
    ) -> ListGroupCheckpointsResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(
            page.at,
            lambda reader: checkpoint_queries.list_groups(
                reader, request.prefix, page.after_text, page.size + 1, PAGE_BYTES
            ),
        )
        shown = page.cut(found)
        response = ListGroupCheckpointsResponse(header=header, groups=shown)
        if len(found) > len(shown):
            response.next_page_token = page.next_token(header, shown[-1].group_id)
        return response


def _listed(page: Page, request: ListCheckpointsRequest, reader: Reader) -> CheckpointPage:
    """A page of an agent's checkpoints; raises Failure."""
    agent_id = request.agent_id
    if queries.get_agent(reader, agent_id) is None:
        raise not_found("agent", agent_id)
    return checkpoint_queries.list_checkpoints(
        reader, agent_id, page.after_number, page.size, request
    )


def _found(reader: Reader, agent_id: str, checkpoint_id: int, tag: str = "") -> Checkpoint:
    """A checkpoint that must be there; raises Failure."""
    found = checkpoint_queries.get_checkpoint(reader, agent_id, checkpoint_id, tag)
    if found is not None:
        return found
    if queries.get_agent(reader, agent_id) is None:
        raise not_found("agent", agent_id)
    raise not_found("checkpoint", f"{agent_id}#{tag or checkpoint_id or 'newest'}")
