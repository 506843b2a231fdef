"""EventService: streams of events, read in bounded slices.

Each slice is one view; between slices others are served, and a client that reads
slowly holds no view. A read to the end ends where the end was when it began, so that
a busy writer cannot keep a reader for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from raftstate.core import queries
from raftstate.core.ports import Reader
from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend
from raftstate.v1.common_pb2 import ResponseHeader
from raftstate.v1.event_service_pb2 import (
    Event,
    GetStreamRequest,
    GetStreamResponse,
    ReadAllRequest,
    ReadAllResponse,
    ReadEventsRequest,
    ReadEventsResponse,
)
from raftstate.v1.event_service_pb2_grpc import EventServiceServicer


class _Slice(NamedTuple):
    header: ResponseHeader
    events: list[Event]


class Events(EventServiceServicer):
    """Reads of what agents committed."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def ReadEvents(
        self, request: ReadEventsRequest, context: Any
    ) -> AsyncIterator[ReadEventsResponse]:
        self._frontend.check(request)
        await self._frontend.read_point(request.consistency)
        with self._frontend.view() as (reader, header):
            agent = queries.get_agent(reader, request.stream_id)
        if agent is None:
            raise not_found("stream", request.stream_id)

        def read(reader: Reader, first: int, count: int) -> list[Event]:
            size = self._frontend.limits.slice_bytes
            return queries.read_events(reader, request.stream_id, first, count, size)

        first = request.from_seq or 1
        if first > agent.head.event_seq:
            yield ReadEventsResponse(header=header)
        async for header, events in self._slices(
            first, _last(first, request.max_events, agent.head.event_seq), read
        ):
            yield ReadEventsResponse(header=header, events=events)

    async def ReadAll(
        self, request: ReadAllRequest, context: Any
    ) -> AsyncIterator[ReadAllResponse]:
        self._frontend.check(request)
        await self._frontend.read_point(request.consistency)
        with self._frontend.view() as (reader, header):
            end = queries.last_position(reader)

        def read(reader: Reader, first: int, count: int) -> list[Event]:
            return queries.read_all(reader, first, count, self._frontend.limits.slice_bytes)

        first = request.from_position or 1
        if first > end:
            yield ReadAllResponse(header=header)
        async for header, events in self._slices(
            first, _last(first, request.max_events, end), read
        ):
            yield ReadAllResponse(header=header, events=events)

    async def GetStream(self, request: GetStreamRequest, context: Any) -> GetStreamResponse:
        self._frontend.check(request)
        await self._frontend.read_point(request.consistency)
        with self._frontend.view() as (reader, header):
            head = queries.get_stream(reader, request.stream_id)
        if head is None:
            raise not_found("stream", request.stream_id)
        return GetStreamResponse(
            header=header, last_seq=head.last_seq, last_hash=head.last_hash
        )

    async def _slices(
        self, first: int, last: int, read: Callable[[Reader, int, int], list[Event]]
    ) -> AsyncIterator[_Slice]:
        """Events `first` to `last`, a view at a time."""
        while first <= last:
            count = min(self._frontend.limits.slice_events, last - first + 1)
            with self._frontend.view() as (reader, header):
                events = read(reader, first, count)
            if not events:
                return
            first += len(events)
            yield _Slice(header, events)


def _last(first: int, count: int, end: int) -> int:
    """The last event of a read of `count` (zero: all) events from `first` on."""
    return min(end, first + count - 1) if count else end
