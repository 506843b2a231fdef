"""The chain of events, computed by the reader: what `Event.hash` must be.

The same canonical form that the state machine uses, written down a second time on
this side, so that whoever reads an export need not take the store's word for it. A
test holds the two together.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final

from raftstate.v1.event_service_pb2 import Event

# What stands before a stream's first event.
GENESIS: Final = b""

_NUMBER = struct.Struct(">Q").pack


def event_hash(previous: bytes, event: Event) -> bytes:
    """The hash of an event that follows one whose hash is `previous`.

    blake2b-32 over: seq, position, revision, step and log_time_ms, each as eight
    big-endian bytes; then previous, stream_id, type, content_type, data,
    causation_id, correlation_id and event_id, each as its length in eight big-endian
    bytes and then its bytes (texts in UTF-8). A state_hash, where there is one, is one more
    part behind these.
    """
    numbers = (event.seq, event.position, event.revision, event.step, event.log_time_ms)
    texts = [
        previous,
        event.stream_id.encode(),
        event.type.encode(),
        event.content_type.encode(),
        event.data,
        event.causation_id.encode(),
        event.correlation_id.encode(),
        event.event_id.encode(),
    ]
    if event.state_hash:
        texts.append(event.state_hash)
    digest = blake2b(b"".join(map(_NUMBER, numbers)), digest_size=32)
    for text in texts:
        digest.update(_NUMBER(len(text)) + text)
    return digest.digest()
