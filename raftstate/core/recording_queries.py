"""Reads of recorded values.

A row is written once, so a reader of the past shows those that came up to its revision.
What was removed since, with the step that drew it or with the events of that, is gone from
the past too.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import keys, limits, pages
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.recording_pb2 import Recording
from raftstate.v1.replay_service_pb2 import GetRecordedRequest

_STEP_MAX = (1 << 64) - 1
# A place in the order of recorded values: a step, and a key in it.
_STEP_BYTES = 8


class RecordingPage(NamedTuple):
    """Some recorded values, and the place behind which to go on; None: there are no more."""

    recordings: list[Recording]
    after: bytes | None


def get_recorded(
    reader: Reader,
    wanted: GetRecordedRequest,
    after: bytes,
    limit: int,
    scanned_max: int = limits.SCANNED_PER_PAGE_MAX,
) -> RecordingPage:
    """Up to `limit` of the values that a request wants, behind a place (none: from the
    first), in order of step and key. What it looks at is bounded, and what it gives is about
    `pages.PAGE_BYTES`, so that may be less, and nothing, before the end."""
    if not limits.AGENT_ID.fullmatch(wanted.agent_id):
        return RecordingPage([], None)
    name = wanted.key.encode()
    found: list[Recording] = []
    scanned = looked = size = 0
    for row, raw in reader.scan(*_span(wanted, after)):
        if len(found) == limit or size > pages.PAGE_BYTES:
            return RecordingPage(found, after)
        if scanned == scanned_max or looked > limits.LOOKED_BYTES_MAX:
            return RecordingPage(found, after)
        step, own = keys.recording_named(row)
        after = keys.number(step) + own
        scanned, looked = scanned + 1, looked + len(raw)
        if name and own != name:
            continue
        size += len(raw)
        recording = Recording.FromString(raw)
        if _was_there(reader, recording):
            found.append(recording)
    return RecordingPage(found, None)


def _span(wanted: GetRecordedRequest, after: bytes) -> keys.Span:
    last = wanted.to_step or _STEP_MAX
    if after:
        step = int.from_bytes(after[:_STEP_BYTES], "big")
        return keys.recordings_behind(wanted.agent_id, step, after[_STEP_BYTES:], last)
    return keys.recordings(wanted.agent_id, max(wanted.from_step, 1), last)


def of_step(
    reader: Reader, agent_id: str, step: int, bytes_max: int
) -> tuple[list[Recording], bool]:
    """What was recorded in a step, in order of key, as far as it fits into `bytes_max`; and
    whether there is more."""
    found: list[Recording] = []
    size = 0
    for _, raw in reader.scan(*keys.recordings(agent_id, step, step)):
        size += len(raw)
        if size > bytes_max:
            return found, True
        recording = Recording.FromString(raw)
        if _was_there(reader, recording):
            found.append(recording)
    return found, False


def _was_there(reader: Reader, recording: Recording) -> bool:
    return not isinstance(reader, PastReader) or recording.revision <= reader.revision
