"""What users put into events and checkpoints, as bytes with a content type.

Bytes stay as they are; anything else is JSON, as Python's `json` writes it: tuples come
back as lists, and the keys of maps as texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import FencingToken, Label
from raftstate.v1.event_service_pb2 import Event, NewEvent
from raftstate.v1.recording_pb2 import NewRecording, Recording

JSON = "application/json"
BYTES = "application/octet-stream"


def encode(value: Any) -> tuple[bytes, str]:
    """Data and content type. None is no data at all.

    Raises TypeError or ValueError for what JSON cannot hold."""
    if value is None:
        return b"", ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), BYTES
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(), JSON


def decode(stored: Event | NewEvent | Checkpoint | Recording | NewRecording) -> Any:
    """What was put in: the JSON value, the bytes, or None where there was no data. Raises
    ValueError for what calls itself JSON and is none.

    >>> _ = await store.append("decode", [raftstate.event("paid", {"amount": 3})])
    >>> [raftstate.decode(one) async for one in store.read_events("decode")]
    [{'amount': 3}]
    """
    return decode_as(stored.data, stored.content_type)


def decode_as(data: bytes, content_type: str) -> Any:
    """What data of a type was before `encode`."""
    if content_type == JSON:
        return json.loads(data)
    return data if data or content_type else None


def labels(given: Mapping[str, str] | None) -> Iterable[Label]:
    """Labels as messages, in order of name."""
    return [Label(name=name, value=value) for name, value in sorted((given or {}).items())]


def token_text(token: FencingToken) -> str:
    """A token as fixed-width text, which sorts as the tokens do."""
    return f"{token.epoch:016x}-{token.revision:016x}"
