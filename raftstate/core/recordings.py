"""Recorded values: what a run drew from outside itself.

A value belongs to the step that is under way when it is recorded, whether or not that is
ever committed: who does the step again is given it. So the first value under a key counts.
Its row is written once and never changed. It goes when its step is given up, or when the
events of the step are truncated; until then it is there for every replay.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from raftstate.core import agents, keys, limits, ownership
from raftstate.core.context import Context, refuse_many
from raftstate.core.ports import Reader
from raftstate.v1.recording_pb2 import NewRecording, Recording
from raftstate.v1.replay_service_pb2 import (
    RecordValueRequest,
    RecordValueResponse,
)
from raftstate.v1.store_pb2 import Refusal

_TALLY = struct.Struct(">QQQ")


class _Tally(NamedTuple):
    """How much was recorded in a step."""

    step: int
    values: int = 0
    size: int = 0


def record_value(
    context: Context, request: RecordValueRequest
) -> RecordValueResponse | Refusal:
    """Keep a value of the step that is under way, unless there is one under its key."""
    agent = ownership.held(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    step = agent.head.step + 1
    new = [request.recording]
    if (refusal := check(context.store, agent.agent_id, step, new)) is not None:
        refusal.field = "recording"
        return refusal
    taken = take(context, agent.agent_id, step, new)
    agent.owner.touched_revision = context.revision
    agents.save(context, agent)
    return RecordValueResponse(step=step, existed=not taken)


def check(
    reader: Reader, agent_id: str, step: int, new: Sequence[NewRecording]
) -> Refusal | None:
    """Why values cannot be a step's: there would be too many; None if they can."""
    if not new:
        return None
    tally = _tally(reader, agent_id, step)
    fresh = [each for each in new if not _is_there(reader, agent_id, step, each)]
    if tally.values + len(fresh) > (most := limits.RECORDED_PER_STEP_MAX):
        message = f"step {step} of agent {agent_id} has {tally.values} recorded values"
        return refuse_many(message, most, "recordings")
    size = sum(len(each.data) for each in fresh)
    if tally.size + size > (most := limits.RECORDED_BYTES_PER_STEP_MAX):
        message = f"step {step} of agent {agent_id} has {tally.size} bytes of recorded values"
        return refuse_many(message, most, "recordings")
    return None


def take(context: Context, agent_id: str, step: int, new: Sequence[NewRecording]) -> int:
    """Keep values of a step, which `check` let through, but for those whose key has one;
    how many were kept."""
    if not new:
        return 0
    tally = _tally(context.store, agent_id, step)
    before = tally.values
    for source in new:
        if _is_there(context.store, agent_id, step, source):
            continue
        recording = Recording(
            agent_id=agent_id,
            step=step,
            kind=source.kind,
            key=source.key,
            content_type=source.content_type,
            data=source.data,
            revision=context.revision,
            log_time_ms=context.log_time_ms,
        )
        key = keys.recording(agent_id, step, source.key)
        context.store.replace(key, None, recording.SerializeToString(deterministic=True))
        tally = tally._replace(values=tally.values + 1, size=tally.size + len(source.data))
    context.store.put(keys.recorded(agent_id), _TALLY.pack(*tally))
    return tally.values - before


def forget_step(context: Context, agent_id: str, step: int) -> None:
    """Remove the values of a step that will not be committed as it was begun."""
    if _tally(context.store, agent_id, step).values:
        context.store.delete_span(keys.recordings(agent_id, step, step))
        context.store.delete(keys.recorded(agent_id))


def _tally(reader: Reader, agent_id: str, step: int) -> _Tally:
    """How much was recorded in a step, if that is the newest with a record."""
    raw = reader.get(keys.recorded(agent_id))
    newest = _Tally(0) if raw is None else _Tally(*_TALLY.unpack(raw))
    return newest if newest.step == step else _Tally(step)


def _is_there(reader: Reader, agent_id: str, step: int, new: NewRecording) -> bool:
    return reader.get(keys.recording(agent_id, step, new.key)) is not None
