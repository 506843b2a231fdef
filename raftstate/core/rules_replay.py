"""What requests about recorded values and replays may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits, parts
from raftstate.core.parts import Violation
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.replay_service_pb2 import (
    GetRecordedRequest,
    ReconstructRequest,
    RecordValueRequest,
    VerifyReplayRequest,
)

_KINDS_MAX = 6
_REDUCERS_MAX = 4

# --- parts -------------------------------------------------------------------


def recordings(new: Sequence[NewRecording], place: str) -> Iterator[Violation]:
    """Values as a client records them, each key once."""
    if (count := len(new)) > limits.RECORDINGS_PER_STEP_MAX:
        yield Violation(place, f"has {count} values", str(limits.RECORDINGS_PER_STEP_MAX))
        return
    seen = set()
    for at, each in enumerate(new):
        yield from _recording(each, f"{place}[{at}]")
        if each.key in seen:
            said = f"{parts.shown(each.key)} is there twice"
            yield Violation(f"{place}[{at}].key", said, "each key once")
        seen.add(each.key)


def _recording(new: NewRecording, place: str) -> Iterator[Violation]:
    if not 1 <= new.kind <= _KINDS_MAX:
        yield Violation(f"{place}.kind", f"{new.kind} is not known", f"1 to {_KINDS_MAX}")
    yield from _key(new.key, f"{place}.key", 1)
    most = limits.EVENT_WORD_CHARS_MAX
    yield from parts.words(f"{place}.content_type", new.content_type, most)


def _key(value: str, place: str, least: int) -> Iterator[Violation]:
    wrong = [*parts.words(place, value, limits.RECORDING_KEY_CHARS_MAX, least)]
    if not wrong and (size := len(value.encode())) > limits.RECORDING_KEY_BYTES_MAX:
        wrong = [
            Violation(place, f"has {size} bytes", f"{limits.RECORDING_KEY_BYTES_MAX} bytes")
        ]
    yield from wrong


def _reducer(value: int, least: int) -> Iterator[Violation]:
    if not least <= value <= _REDUCERS_MAX:
        yield Violation("reducer", f"{value} is not known", f"{least} to {_REDUCERS_MAX}")


# --- one rule a request ------------------------------------------------------


def _record_value(message: RecordValueRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    if not message.HasField("recording"):
        yield Violation("recording", "is required", "a value")
        return
    yield from _recording(message.recording, "recording")


def _get_recorded(message: GetRecordedRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    if message.to_step and message.from_step > message.to_step:
        said = f"is {message.from_step}, to_step {message.to_step}"
        yield Violation("from_step", said, "at most to_step")
    yield from _key(message.key, "key", 0)
    yield from parts.page(message)


def _verify_replay(message: VerifyReplayRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _reducer(message.reducer, 1)
    yield from parts.consistency(message)


def _reconstruct(message: ReconstructRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from _reducer(message.reducer, 0)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    RecordValueRequest: _record_value,
    GetRecordedRequest: _get_recorded,
    VerifyReplayRequest: _verify_replay,
    ReconstructRequest: _reconstruct,
}
