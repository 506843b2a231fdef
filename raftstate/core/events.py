"""Events: append-only, each chained to the one before in its stream by its hash.

An event has two numbers, both without gaps: its `seq` in its stream, and its
`position` in the order of all streams. One that has an id is found by it, so that it
is appended once however often it is sent.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from raftstate.core import keys
from raftstate.core.context import Context, refuse_subject
from raftstate.core.ports import Reader
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.event_service_pb2 import Event, NewEvent, StreamInfo
from raftstate.v1.store_pb2 import Reason, Refusal

_NUMBERS = struct.Struct(">QQQQQ").pack
_LENGTH = struct.Struct(">Q").pack


def event_hash(previous: bytes, event: Event) -> bytes:
    """The hash that chains an event to the one before it.

    blake2b-32 over: seq, position, revision, step and log_time_ms, each as eight
    big-endian bytes; then previous, stream_id, type, content_type, data,
    causation_id, correlation_id and event_id, each as its length in eight big-endian
    bytes and then its bytes (texts in UTF-8). `previous` is empty for the first event. A
    state_hash, where there is one, is one more part behind these.
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
    if event.state_hash:
        parts += (_LENGTH(len(event.state_hash)), event.state_hash)
    return blake2b(b"".join(parts), digest_size=32).digest()


def append(context: Context, stream_id: str, head: StepHead, new: Iterable[NewEvent]) -> None:
    """Add events to a stream, and move its head past them. The step stays."""
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
            event_id=source.event_id,
            state_hash=source.state_hash,
        )
        event.hash = head.event_hash = event_hash(head.event_hash, event)
        key = keys.event(stream_id, event.seq)
        # Both numbers are new, so nothing is there.
        context.store.replace(key, None, event.SerializeToString(deterministic=True))
        place = keys.position(event.position)
        context.store.replace(place, None, keys.event_reference(key))
        if event.event_id:
            named = keys.event_id(stream_id, event.event_id)
            context.store.put(named, keys.number(event.seq))


# --- ids ---------------------------------------------------------------------


def stream_row(reader: Reader, stream_id: str) -> StreamInfo | None:
    """A free stream's record, or what was truncated of an agent's; None for neither."""
    raw = reader.get(keys.stream(stream_id))
    return None if raw is None else StreamInfo.FromString(raw)


def known_seqs(reader: Reader, stream_id: str, new: Sequence[NewEvent]) -> list[int]:
    """For each event, the seq of the one in the stream that has its id, or zero.

    The id of an event that was truncated is forgotten, whether or not its row is gone.
    """
    named = [event.event_id for event in new]
    if not any(named):
        return [0] * len(named)
    row = stream_row(reader, stream_id)
    first = 1 if row is None else row.first_seq
    seqs = []
    for name in named:
        raw = reader.get(keys.event_id(stream_id, name)) if name else None
        seq = 0 if raw is None else keys.to_number(raw)
        seqs.append(seq if seq >= first else 0)
    return seqs


def refuse_reused(stream_id: str, name: str) -> Refusal:
    """The refusal of an event whose id another event of the stream has."""
    message = f"stream {stream_id} has another event {name}"
    return refuse_subject(Reason.REASON_EVENT_ID_REUSED, message, stream_id)


def check_new(reader: Reader, stream_id: str, new: Sequence[NewEvent]) -> Refusal | None:
    """Why events cannot be new ones of a stream; None if they can.

    Their ids must be known neither to the stream nor to each other.
    """
    for event, seq in zip(new, known_seqs(reader, stream_id, new), strict=True):
        if seq:
            return refuse_reused(stream_id, event.event_id)
    return check_different(stream_id, new)


def check_different(stream_id: str, new: Iterable[NewEvent]) -> Refusal | None:
    """Why events cannot be in one stream: two have the same id; None if they can."""
    seen: set[str] = set()
    for event in new:
        if event.event_id in seen:
            return refuse_reused(stream_id, event.event_id)
        if event.event_id:
            seen.add(event.event_id)
    return None
