"""Removing, a few rows at a time, what earlier commands gave up.

To forget a million revisions, or a stream's first million events, is one command and
costs nothing: it moves a mark. The rows behind the mark are removed by the commands
after it, each a few more than it has added, and by Sweep, which a leader proposes while
there is work and nothing else to do. All of it happens in apply, so every replica holds
the same rows.
"""

from __future__ import annotations

from itertools import islice

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
    mark = context.history
    events = TruncatedEvents(stream_id=stream_id, first_seq=first_seq, last_seq=last_seq)
    job = GarbageJob(events=events)
    context.store.put(keys.garbage(mark.next_job), job.SerializeToString(deterministic=True))
    context.history = mark._replace(next_job=mark.next_job + 1)


def work(context: Context, rows: int) -> None:
    """Remove about so many rows of what was given up: history first, then garbage."""
    mark = context.history
    while rows > 0 and mark.swept < mark.oldest:
        mark, removed = _forget_one(context, mark)
        rows -= removed
    while rows > 0 and mark.first_job < mark.next_job:
        mark, removed = _work_off(context, mark, rows)
        rows -= removed
    context.history = mark


def _forget_one(context: Context, mark: HistoryMark) -> tuple[HistoryMark, int]:
    """Remove the history of the oldest revision that still has any."""
    span = keys.changes_between(mark.swept + 1, mark.oldest)
    row = next(iter(context.store.scan(*span)), None)
    if row is None:
        return mark._replace(swept=mark.oldest), 0
    revision = keys.to_number(row[0])
    changed = ChangedKeys.FromString(row[1]).keys
    for key in changed:
        context.store.delete(keys.undo(key, revision))
    context.store.delete(row[0])
    return mark._replace(swept=revision), len(changed) + 1


def _work_off(context: Context, mark: HistoryMark, rows: int) -> tuple[HistoryMark, int]:
    """Remove some of the oldest job's rows."""
    place = keys.garbage(mark.first_job)
    raw = context.store.get(place)
    assert raw is not None, f"garbage job {mark.first_job} is missing"
    job = GarbageJob.FromString(raw).events
    span = keys.events_between(job.stream_id, job.first_seq, job.last_seq)
    found = list(islice(context.store.scan(*span), rows))
    for key, event in found:
        _remove_event(context, key, event)
    if len(found) < rows:
        context.store.delete(place)
        return mark._replace(first_job=mark.first_job + 1), len(found) + 1
    return mark, len(found)


def _remove_event(context: Context, key: bytes, raw: bytes) -> None:
    event = Event.FromString(raw)
    context.store.delete(keys.position(event.position))
    named = keys.event_id(event.stream_id, event.event_id)
    # A newer event may have the id of one that was truncated.
    if event.event_id and context.store.get(named) == keys.number(event.seq):
        context.store.delete(named)
    context.store.delete(key)
