"""What requests about events, streams and projections may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits, parts
from raftstate.core.parts import Violation
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    DeleteProjectionRequest,
    Expected,
    ExportAuditRequest,
    GetProjectionRequest,
    GetStreamRequest,
    ListProjectionsRequest,
    ReadAllRequest,
    ReadEventsRequest,
    SaveProjectionRequest,
    StreamAppend,
    TruncateBeforeRequest,
    VerifyChainRequest,
)


def _append_events(message: AppendEventsRequest) -> Iterator[Violation]:
    count, most = len(message.appends), limits.STREAMS_PER_APPEND_MAX
    if not 1 <= count <= most:
        yield Violation("appends", f"has {count} streams", f"1 to {most}")
        return
    events = sum(len(append.events) for append in message.appends)
    if events > limits.EVENTS_PER_APPEND_MAX:
        span = str(limits.EVENTS_PER_APPEND_MAX)
        yield Violation("appends", f"has {events} events", span)
        return
    seen = set()
    for at, append in enumerate(message.appends):
        place = f"appends[{at}]"
        yield from _append(append, place)
        if append.stream_id in seen:
            said = f"{parts.shown(append.stream_id)} is there twice"
            yield Violation(f"{place}.stream_id", said, "each stream once")
        seen.add(append.stream_id)


def _append(append: StreamAppend, place: str) -> Iterator[Violation]:
    yield from parts.agent_id(append.stream_id, f"{place}.stream_id")
    yield from parts.enum(f"{place}.expected", append.expected, 4)
    if append.expected_seq and append.expected != Expected.EXPECTED_EXACT:
        said, span = f"is {append.expected_seq}", "0, unless expected is EXACT"
        yield Violation(f"{place}.expected_seq", said, span)
    if not append.events:
        yield Violation(f"{place}.events", "is empty", "1 or more")
    for at, event in enumerate(append.events):
        if not parts.event_is_fine(event):
            yield from parts.event(event, f"{place}.events[{at}]")


def _stream_read(message: Any) -> Iterator[Violation]:
    yield from parts.agent_id(message.stream_id, "stream_id")
    yield from parts.consistency(message)


def _prefixed(message: ReadAllRequest | ExportAuditRequest) -> Iterator[Violation]:
    yield from parts.words("prefix", message.prefix, limits.AGENT_ID_CHARS_MAX)
    yield from parts.consistency(message)


def _verify_chain(message: VerifyChainRequest) -> Iterator[Violation]:
    yield from _stream_read(message)
    if message.max_events > limits.VERIFY_EVENTS_MAX:
        said, span = f"is {message.max_events}", f"{limits.VERIFY_EVENTS_MAX}"
        yield Violation("max_events", said, span)


def _truncate_before(message: TruncateBeforeRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.stream_id, "stream_id")
    if not message.before_seq:
        yield Violation("before_seq", "is required", "1 or more")
    if message.projection:
        yield from parts.agent_id(message.projection, "projection")
    if bool(message.checkpoint_id) == bool(message.projection):
        said = "is there with a projection" if message.projection else "is required"
        yield Violation("checkpoint_id", said, "either it or a projection")


def _projection(message: Any) -> Iterator[Violation]:
    return parts.agent_id(message.name, "name")


def _projection_read(message: GetProjectionRequest) -> Iterator[Violation]:
    yield from _projection(message)
    yield from parts.consistency(message)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    AppendEventsRequest: _append_events,
    ReadEventsRequest: _stream_read,
    ReadAllRequest: _prefixed,
    GetStreamRequest: _stream_read,
    TruncateBeforeRequest: _truncate_before,
    VerifyChainRequest: _verify_chain,
    ExportAuditRequest: _prefixed,
    SaveProjectionRequest: _projection,
    GetProjectionRequest: _projection_read,
    ListProjectionsRequest: parts.page,
    DeleteProjectionRequest: _projection,
}
