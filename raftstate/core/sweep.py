"""Removing, a few rows at a time, what earlier commands gave up.

To forget a million revisions, or a stream's first million events, is one command and
costs nothing: it moves a mark. The rows behind the mark are removed by the commands
after it, each a few more than it has added unless they are large, and by Sweep, which a
leader proposes while there is work and nothing else to do. All of it happens in apply, so
every replica holds the same rows.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import keys, limits
from raftstate.core.context import Context, refuse
from raftstate.core.history import HistoryMark
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.kv_service_pb2 import CompactRequest, CompactResponse
from raftstate.v1.store_pb2 import (
    ChangedKeys,
    Done,
    GarbageJob,
    Reason,
    Refusal,
    Sweep,
    TrimHistory,
    TruncatedEvents,
    TruncatedRecordings,
)


def compact(context: Context, request: CompactRequest) -> CompactResponse | Refusal:
    """Forget what the store was below a revision."""
    mark = context.history
    if request.revision > context.revision:
        message = f"revision {request.revision} is not reached: it is {context.revision}"
        refusal = refuse(Reason.REASON_FUTURE_REVISION, message, field="revision")
        refusal.current_revision = context.revision
        return refusal
    if request.revision <= mark.oldest:
        message = f"revisions below {mark.oldest} are compacted"
        refusal = refuse(Reason.REASON_COMPACTED, message, field="revision")
        refusal.oldest_revision = mark.oldest
        return refusal
    context.history = mark._replace(oldest=request.revision)
    return CompactResponse()


def trim_history(context: Context, request: TrimHistory) -> Done:
    """As `compact`, by the leader: one that says nothing new is no failure."""
    mark = context.history
    oldest = min(request.revision, context.revision)
    if oldest > mark.oldest:
        context.history = mark._replace(oldest=oldest)
    return Done()


def sweep(context: Context, request: Sweep) -> Done:
    """Remove some rows."""
    work(context, min(request.rows, limits.SWEEP_ROWS_MAX))
    return Done()


def give_up_events(context: Context, stream_id: str, first_seq: int, last_seq: int) -> None:
    """Have events of a stream, which nobody can read any more, removed."""
    events = TruncatedEvents(stream_id=stream_id, first_seq=first_seq, last_seq=last_seq)
    _give_up(context, GarbageJob(events=events))


def give_up_recordings(context: Context, agent_id: str, last_step: int) -> None:
    """Have an agent's recorded values removed, up to those of a step."""
    if last_step < 1:
        return
    span = keys.recordings(agent_id, 1, last_step)
    if next(iter(context.store.scan(*span)), None) is not None:
        recordings = TruncatedRecordings(agent_id=agent_id, last_step=last_step)
        _give_up(context, GarbageJob(recordings=recordings))


def _give_up(context: Context, job: GarbageJob) -> None:
    mark = context.history
    context.store.put(keys.garbage(mark.next_job), job.SerializeToString(deterministic=True))
    context.history = mark._replace(next_job=mark.next_job + 1)


class _Room(NamedTuple):
    """How much one command may still remove."""

    rows: int
    size: int

    @property
    def is_left(self) -> bool:
        return self.rows > 0 and self.size > 0

    def without(self, rows: int, size: int) -> _Room:
        return _Room(self.rows - rows, self.size - size)


def work(context: Context, rows: int) -> None:
    """Remove about so many rows of what was given up, fewer if they are large: history
    first, then garbage."""
    mark, room = context.history, _Room(rows - context.sweep_owed, context.sweep_bytes)
    while room.is_left and mark.swept < mark.oldest:
        mark, room = _forget_one(context, mark, room)
    while room.is_left and mark.first_job < mark.next_job:
        mark, room = _work_off(context, mark, room)
    context.history, context.sweep_bytes = mark, room.size
    context.sweep_owed = max(0, -room.rows)


def _forget_one(context: Context, mark: HistoryMark, room: _Room) -> tuple[HistoryMark, _Room]:
    """Remove the history of the oldest revision that still has any."""
    span = keys.changes_between(mark.swept + 1, mark.oldest)
    row = next(iter(context.store.scan(*span)), None)
    if row is None:
        return mark._replace(swept=mark.oldest), room
    revision = keys.to_number(row[0])
    changed = ChangedKeys.FromString(row[1]).keys
    size = 0
    for key in changed:
        if key[:1] in keys.HISTORIED:
            size += len(context.store.take(keys.undo(key, revision)) or b"")
    context.store.delete(row[0])
    return mark._replace(swept=revision), room.without(len(changed) + 1, size)


def _work_off(context: Context, mark: HistoryMark, room: _Room) -> tuple[HistoryMark, _Room]:
    """Remove some of the oldest job's rows."""
    place = keys.garbage(mark.first_job)
    raw = context.store.get(place)
    assert raw is not None, f"garbage job {mark.first_job} is missing"
    job = GarbageJob.FromString(raw)
    found: list[tuple[bytes, bytes]] = []
    for row in context.store.scan(*_given_up(job)):
        found.append(row)
        room = room.without(1, len(row[1]))
        if not room.is_left:
            break
    for key, row_raw in found:
        if job.HasField("events"):
            _remove_event(context, key, row_raw)
        else:
            context.store.delete(key)
    if room.is_left:
        context.store.delete(place)
        return mark._replace(first_job=mark.first_job + 1), room.without(1, 0)
    return mark, room


def _given_up(job: GarbageJob) -> keys.Span:
    """The rows that a job removes."""
    if job.HasField("events"):
        events = job.events
        return keys.events_between(events.stream_id, events.first_seq, events.last_seq)
    return keys.recordings(job.recordings.agent_id, 1, job.recordings.last_step)


def _remove_event(context: Context, key: bytes, raw: bytes) -> None:
    event = Event.FromString(raw)
    context.store.delete(keys.position(event.position))
    named = keys.event_id(event.stream_id, event.event_id)
    # A newer event may have the id of one that was truncated.
    if event.event_id and context.store.get(named) == keys.number(event.seq):
        context.store.delete(named)
    context.store.delete(key)
