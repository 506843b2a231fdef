"""EventService: streams of events, read in bounded slices, and projections.

Each slice is one view; between slices others are served, and a client that reads
slowly holds no view. A read to the end ends where the end was when it began, so that
a busy writer cannot keep a reader for ever. What is truncated while it is read is a
failure, never a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from raftstate.core import limits, stream_queries
from raftstate.core.ports import Reader, Unavailable
from raftstate.rpc import audit
from raftstate.rpc.errors import not_found, truncated
from raftstate.rpc.frontend import Frontend
from raftstate.v1.common_pb2 import ResponseHeader
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    AppendEventsResponse,
    DeleteProjectionRequest,
    DeleteProjectionResponse,
    Event,
    ExportAuditRequest,
    ExportAuditResponse,
    GetProjectionRequest,
    GetProjectionResponse,
    GetStreamRequest,
    GetStreamResponse,
    ListProjectionsRequest,
    ListProjectionsResponse,
    ReadAllRequest,
    ReadAllResponse,
    ReadEventsRequest,
    ReadEventsResponse,
    SaveProjectionRequest,
    SaveProjectionResponse,
    StreamInfo,
    TruncateBeforeRequest,
    TruncateBeforeResponse,
    VerifyChainRequest,
    VerifyChainResponse,
)
from raftstate.v1.event_service_pb2_grpc import EventServiceServicer


class _Slice(NamedTuple):
    header: ResponseHeader
    events: list[Event]


class Events(EventServiceServicer):
    """Streams, the order of all of them, and who follows it."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    # --- what changes streams ------------------------------------------------

    async def AppendEvents(
        self, request: AppendEventsRequest, context: Any
    ) -> AppendEventsResponse:
        return await self._frontend.mutate(request, AppendEventsResponse)

    async def TruncateBefore(
        self, request: TruncateBeforeRequest, context: Any
    ) -> TruncateBeforeResponse:
        return await self._frontend.mutate(request, TruncateBeforeResponse)

    # --- one stream ----------------------------------------------------------

    async def GetStream(self, request: GetStreamRequest, context: Any) -> GetStreamResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            info = stream_queries.get_stream(reader, request.stream_id)
        if info is None:
            raise not_found("stream", request.stream_id)
        return GetStreamResponse(
            header=header, last_seq=info.last_seq, last_hash=info.last_hash, stream=info
        )

    async def ReadEvents(
        self, request: ReadEventsRequest, context: Any
    ) -> AsyncIterator[ReadEventsResponse]:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            wanted = _wanted(reader, request)
        if not wanted:
            yield ReadEventsResponse(header=header)
        while wanted:
            header, events = self._slice(at, request.stream_id, wanted)
            yield ReadEventsResponse(header=header, events=events)
            wanted = wanted[len(events) :]

    def _slice(self, at: int | None, stream_id: str, wanted: range) -> _Slice:
        """The first of the events wanted, as many as one message holds."""
        bounds = self._frontend.limits
        with self._frontend.view(at) as (reader, header):
            _demand(reader, stream_id, min(wanted[0], wanted[-1]))
            events = stream_queries.read_events(
                reader,
                stream_id,
                wanted[0],
                min(len(wanted), bounds.slice_events),
                bounds.slice_bytes,
                backwards=wanted.step < 0,
            )
            stream_queries.show_undone(reader, events)
        if not events:
            # They were there, and are not yet again: the state is being made anew.
            raise self._frontend.unavailable(Unavailable("NO_QUORUM", definite=True))
        return _Slice(header, events)

    async def VerifyChain(
        self, request: VerifyChainRequest, context: Any
    ) -> VerifyChainResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, _):
            _found(reader, request.stream_id)
            seq = request.from_seq or stream_queries.oldest_seq(reader, request.stream_id)
        response = VerifyChainResponse(intact=True, next_seq=seq)
        left = request.max_events or limits.VERIFY_EVENTS_MAX
        while left and response.next_seq and response.intact:
            left -= self._verify(at, request.stream_id, response, left)
            await asyncio.sleep(0)  # others' turn
        return response

    def _verify(
        self, at: int | None, stream_id: str, response: VerifyChainResponse, left: int
    ) -> int:
        """Verify one slice more; say how many events that were."""
        bounds, seq = self._frontend.limits, response.next_seq
        with self._frontend.view(at) as (reader, header):
            _demand(reader, stream_id, seq)
            found = stream_queries.verify(
                reader, stream_id, seq, min(left, bounds.slice_events), bounds.slice_bytes
            )
        response.header.CopyFrom(header)
        response.next_seq, response.broken_seq = found.next_seq, found.broken_seq
        response.intact = not found.broken_seq
        if not found.last_seq:
            return 0
        response.first_seq = response.first_seq or seq
        response.last_seq, response.last_hash = found.last_seq, found.last_hash
        return found.last_seq - seq + 1

    # --- all streams ---------------------------------------------------------

    async def ReadAll(
        self, request: ReadAllRequest, context: Any
    ) -> AsyncIterator[ReadAllResponse]:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, _):
            end = stream_queries.last_position(reader)
        position = request.from_position or (0 if request.backwards else 1)
        left = request.max_events
        while True:
            response = self._positions(at, request, position, left, end)
            yield response
            position = response.next_position
            left -= min(left, len(response.events))
            if not left and request.max_events:
                return
            if position == 0 if request.backwards else position > end:
                return

    def _positions(
        self, at: int | None, request: ReadAllRequest, position: int, left: int, end: int
    ) -> ReadAllResponse:
        """One slice of the order of all events; perhaps none of it is wanted."""
        bounds = self._frontend.limits
        with self._frontend.view(at) as (reader, header):
            if at is None and stream_queries.last_position(reader) < end:
                # They were there, and are not yet again: the state is being made anew.
                raise self._frontend.unavailable(Unavailable("NO_QUORUM", definite=True))
            found = stream_queries.read_all(
                reader,
                position,
                min(left or bounds.slice_events, bounds.slice_events),
                bounds.slice_bytes,
                prefix=request.prefix,
                backwards=request.backwards,
                last=end,
                rows_max=bounds.slice_rows,
            )
            stream_queries.show_undone(reader, found.events)
        return ReadAllResponse(
            header=header, events=found.events, next_position=found.next_position
        )

    async def ExportAudit(
        self, request: ExportAuditRequest, context: Any
    ) -> AsyncIterator[ExportAuditResponse]:
        async for response in audit.export(self._frontend, request):
            yield response

    # --- projections ---------------------------------------------------------

    async def SaveProjection(
        self, request: SaveProjectionRequest, context: Any
    ) -> SaveProjectionResponse:
        return await self._frontend.mutate(request, SaveProjectionResponse)

    async def GetProjection(
        self, request: GetProjectionRequest, context: Any
    ) -> GetProjectionResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            projection = stream_queries.get_projection(reader, request.name)
        if projection is None:
            raise not_found("projection", request.name)
        return GetProjectionResponse(header=header, projection=projection)

    async def ListProjections(
        self, request: ListProjectionsRequest, context: Any
    ) -> ListProjectionsResponse:
        page = await self._frontend.page(request)
        after, limit = page.after_text, page.size + 1
        found, header = await self._frontend.look(
            page.at, lambda reader: stream_queries.list_projections(reader, after, limit)
        )
        response = ListProjectionsResponse(header=header, projections=found[: page.size])
        if len(found) > page.size:
            last = found[page.size - 1].name
            response.next_page_token = page.next_token(header, last)
        return response

    async def DeleteProjection(
        self, request: DeleteProjectionRequest, context: Any
    ) -> DeleteProjectionResponse:
        return await self._frontend.mutate(request, DeleteProjectionResponse)


def _found(reader: Reader, stream_id: str) -> StreamInfo:
    """A stream that is there, if empty. Raises Failure."""
    info = stream_queries.find_stream(reader, stream_id)
    if info is None:
        raise not_found("stream", stream_id)
    return info


def _demand(reader: Reader, stream_id: str, seq: int) -> None:
    """Raise Failure if an event is not there any more."""
    oldest = stream_queries.oldest_seq(reader, stream_id)
    if seq < oldest:
        raise truncated(stream_id, oldest)


def _wanted(reader: Reader, request: ReadEventsRequest) -> range:
    """Which events of a stream a read is about, in the order in which it wants them."""
    last = _found(reader, request.stream_id).last_seq
    oldest = stream_queries.oldest_seq(reader, request.stream_id)
    if 0 < request.from_seq < oldest and request.from_seq <= last:
        raise truncated(request.stream_id, oldest)
    if request.backwards:
        last = min(request.from_seq or last, last)
        wanted = range(last, min(oldest, last + 1) - 1, -1)
    else:
        wanted = range(request.from_seq or oldest, last + 1)
    return wanted[: request.max_events] if request.max_events else wanted
