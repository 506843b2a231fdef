"""Each limit of recorded values and replays, at the limit and one beyond it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import AppendEventsRequest, NewEvent, StreamAppend
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.replay_service_pb2 import (
    GetRecordedRequest,
    ReconstructRequest,
    RecordValueRequest,
    VerifyReplayRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest
from tests.core.limit_table import RID, Limit, number, text

ID = "a" * limits.AGENT_ID_CHARS_MAX
FENCE = FencingToken(epoch=1, revision=1)
OWNED: dict[str, Any] = {"request_id": RID, "agent_id": "a", "fence": FENCE}


def _new(**fields: Any) -> NewRecording:
    plain: dict[str, Any] = {"kind": 1, "key": "k"}
    return NewRecording(**plain | fields)


def record(**fields: Any) -> Message:
    return RecordValueRequest(**OWNED, recording=_new(**fields))


def recording(value: NewRecording | None) -> Message:
    return RecordValueRequest(**OWNED, recording=value)


def whole(**fields: Any) -> Message:
    return RecordValueRequest(**OWNED | {"recording": _new()} | fields)


def step(*keys: str) -> Message:
    return CommitStepRequest(**OWNED, recordings=[_new(key=key) for key in keys])


def recorded(**fields: Any) -> Message:
    return GetRecordedRequest(**{"agent_id": "a"} | fields)


def verify(**fields: Any) -> Message:
    plain: dict[str, Any] = {"agent_id": "a", "reducer": 1}
    return VerifyReplayRequest(**plain | fields)


def reconstruct(**fields: Any) -> Message:
    return ReconstructRequest(**{"agent_id": "a"} | fields)


def hashed(value: bytes) -> Message:
    events = [NewEvent(type="e", state_hash=value)]
    append = StreamAppend(stream_id="a", fence=FENCE, events=events)
    return AppendEventsRequest(request_id=RID, appends=[append])


def names(count: int) -> list[str]:
    return [f"k{at}" for at in range(count)]


TABLE = [
    Limit(lambda v: whole(agent_id=v), ID, ID + "a", "agent_id"),
    Limit(lambda v: whole(fence=v), FENCE, None, "fence"),
    Limit(recording, _new(), None, "recording"),
    number("kind", 1, 0, "recording.kind", record),
    number("kind", 6, 7, "recording.kind", record),
    number("kind", 1, -1, "recording.kind", record),
    text("key", 128, "recording.key", record),
    Limit(lambda v: record(key=v), "k", "", "recording.key"),
    Limit(lambda v: record(key=v), "\u20ac" * 85, "\u20ac" * 86, "recording.key"),
    text("content_type", 128, "recording.content_type", record),
    Limit(lambda v: step(*v), names(128), names(129), "recordings"),
    Limit(lambda v: step(*v), ["a", "b"], ["a", "a"], "recordings[1].key"),
    Limit(lambda v: recorded(agent_id=v), ID, ID + "a", "agent_id"),
    Limit(lambda v: recorded(from_step=v, to_step=3), 3, 4, "from_step"),
    text("key", 128, "key", recorded),
    number("page_size", 1_000, 1_001, "page_size", recorded),
    text("page_token", 1_024, "page_token", recorded),
    number("revision", 0, 1, "revision", recorded),
    Limit(lambda v: verify(agent_id=v), ID, ID + "a", "agent_id"),
    number("reducer", 1, 0, "reducer", verify),
    number("reducer", 4, 5, "reducer", verify),
    number("revision", 0, 1, "revision", verify),
    Limit(lambda v: reconstruct(agent_id=v), ID, ID + "a", "agent_id"),
    number("reducer", 0, -1, "reducer", reconstruct),
    number("reducer", 4, 5, "reducer", reconstruct),
    Limit(hashed, b"h" * 32, b"h" * 33, "appends[0].events[0].state_hash"),
]


@pytest.mark.parametrize(
    "limit", TABLE, ids=[f"{at}-{limit.field}" for at, limit in enumerate(TABLE)]
)
def test_each_limit_holds(limit: Limit) -> None:
    """
    At the limit a request is fine; beyond it, the field is named.
    """
    limit.check()
