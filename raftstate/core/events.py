"""Events: what agents did, append-only, each chained to the one before by its hash.

An event has two numbers, both without gaps: its `seq` in its agent's stream, and
its `position` in the order of all streams.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b

from raftstate.core import keys
from raftstate.core.context import Context
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.event_service_pb2 import Event, NewEvent

_NUMBERS = struct.Struct(">QQQQQ").pack
_LENGTH = struct.Struct(">Q").pack


def event_hash(previous: bytes, event: Event) -> bytes:
    """The hash that chains an event to the one before it.

    blake2b-32 over: seq, position, revision, step and log_time_ms, each as eight
    big-endian bytes; then previous, stream_id, type, content_type, data,
    causation_id, correlation_id and event_id, each as its length in eight big-endian
    bytes and then its bytes (texts in UTF-8). `previous` is empty for the first event.
    """
    parts = [_NUMBERS(event.seq, event.position, event.revision, event.step, event.log_time_ms)]
    for part in (
        previous,
        event.stream_id.encode(),
        event.type.encode(),
        event.content_type.encode(),
        event.data,
        event.causation_id.encode(),
        event.correlation_id.encode(),
        event.event_id.encode(),
    ):
        parts.append(_LENGTH(len(part)))
        parts.append(part)
    return blake2b(b"".join(parts), digest_size=32).digest()


def append(context: Context, stream_id: str, head: StepHead, new: Iterable[NewEvent]) -> None:
    """Add a step's events to its agent's stream, and move the head past them."""
    for source in new:
        head.event_seq += 1
        context.last_position += 1
        event = Event(
            stream_id=stream_id,
            seq=head.event_seq,
            position=context.last_position,
            revision=context.revision,
            step=head.step,
            type=source.type,
            content_type=source.content_type,
            data=source.data,
            causation_id=source.causation_id,
            correlation_id=source.correlation_id,
            log_time_ms=context.log_time_ms,
        )
        event.hash = head.event_hash = event_hash(head.event_hash, event)
        key = keys.event(stream_id, event.seq)
        context.store.put(key, event.SerializeToString(deterministic=True))
        context.store.put(keys.position(event.position), keys.event_reference(key))
