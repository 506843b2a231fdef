"""What requests about events, streams and projections may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from raftstate.core import parts
from raftstate.core.parts import Violation
from raftstate.v1.event_service_pb2 import GetStreamRequest, ReadAllRequest, ReadEventsRequest


def _stream_read(message: Any) -> Iterator[Violation]:
    yield from parts.agent_id(message.stream_id, "stream_id")
    yield from parts.consistency(message)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    ReadEventsRequest: _stream_read,
    ReadAllRequest: parts.consistency,
    GetStreamRequest: _stream_read,
}
