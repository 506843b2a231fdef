"""The export for an audit: all that is needed to verify streams without a server.

First comes how each stream's chain begins and ends, then the events, stream by stream,
then a hash over all ends. Everything is of one revision. What is compacted or truncated
before all of it is sent is a failure: an export that ends with its end is whole.

Nothing of it is kept here: the streams are listed twice, the second time for their
events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

from raftstate.core import stream_queries
from raftstate.core.ports import Reader
from raftstate.rpc.errors import truncated
from raftstate.rpc.frontend import Frontend, Limits
from raftstate.v1.event_service_pb2 import (
    AuditEnd,
    Event,
    ExportAuditRequest,
    ExportAuditResponse,
    StreamInfo,
)

# What is known of a stream takes less than 512 bytes.
_STREAMS_PER_MESSAGE = 1_000


async def export(
    frontend: Frontend, request: ExportAuditRequest
) -> AsyncIterator[ExportAuditResponse]:
    """Every message of an export. Raises Failure."""
    frontend.check(request)
    at = await frontend.settle(request)
    with frontend.view(at) as (_, header):
        at = header.revision
    end, head = AuditEnd(), blake2b(digest_size=32)
    async for response in _streams(frontend, at, request.prefix):
        for info in response.streams:
            head.update(_sized(info.stream_id.encode()) + _sized(info.last_hash))
        end.streams += len(response.streams)
        yield response
    async for response in _events(frontend, at, request.prefix):
        end.events += len(response.events)
        yield response
    end.head = head.digest()
    with frontend.view(at) as (_, header):
        yield ExportAuditResponse(header=header, end=end)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


async def _streams(
    frontend: Frontend, at: int, prefix: str
) -> AsyncIterator[ExportAuditResponse]:
    after: str | None = ""
    while after is not None:
        page, header = await frontend.look(at, partial(_listed, prefix, after))
        if page.streams:
            yield ExportAuditResponse(header=header, streams=page.streams)
        await asyncio.sleep(0)  # others' turn
        after = page.after


def _listed(prefix: str, after: str, reader: Reader) -> stream_queries.StreamPage:
    """Some streams, of which every event can be read. Raises Failure."""
    page = stream_queries.list_streams(reader, prefix, after, _STREAMS_PER_MESSAGE)
    for info in page.streams:
        _demand(reader, info, info.first_seq)
    return page


class _Cursor(NamedTuple):
    """Where to go on: with the first stream behind an id, at a seq; zero: its first."""

    after: str
    seq: int


async def _events(
    frontend: Frontend, at: int, prefix: str
) -> AsyncIterator[ExportAuditResponse]:
    cursor: _Cursor | None = _Cursor("", 0)
    while cursor is not None:
        read = partial(_slice, prefix, cursor, frontend.limits)
        (found, cursor), header = await frontend.look(at, read)
        if found:
            yield ExportAuditResponse(header=header, events=found)
        await asyncio.sleep(0)  # others' turn


def _slice(
    prefix: str, cursor: _Cursor, bounds: Limits, reader: Reader
) -> tuple[list[Event], _Cursor | None]:
    """Events from a cursor on, as many as one message holds, and where to go on."""
    page = stream_queries.list_streams(reader, prefix, cursor.after, bounds.slice_events)
    found: list[Event] = []
    size, (after, seq) = 0, cursor
    for info in page.streams:
        seq = seq or info.first_seq
        while seq <= info.last_seq:
            if len(found) >= bounds.slice_events or size >= bounds.slice_bytes:
                return found, _Cursor(after, seq)
            _demand(reader, info, seq)
            count, room = bounds.slice_events - len(found), bounds.slice_bytes - size
            events = stream_queries.read_events(reader, info.stream_id, seq, count, room)
            found += events
            size += sum(event.ByteSize() for event in events)
            seq = events[-1].seq + 1
        after, seq = info.stream_id, 0
    return found, None if page.after is None else _Cursor(page.after, 0)


def _demand(reader: Reader, info: StreamInfo, seq: int) -> None:
    """Raise Failure if events of a stream, from a seq on, are not there any more."""
    oldest = stream_queries.oldest_seq(reader, info.stream_id)
    if seq < oldest:
        raise truncated(info.stream_id, oldest)
