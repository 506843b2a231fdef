"""What rollbacks have taken back: which of an agent's events are undone, and which of its
checkpoints are left behind.

A rollback removes neither. What it took back stands beside them, in ranges that do not
overlap: an event that two rollbacks went back behind is said to be undone by the newer one.
A rollback takes back everything from one event, and from one checkpoint, to the end; so it
writes one range of each, which replaces those that lie in it, and cuts at most one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from raftstate.core import keys
from raftstate.core.context import Context
from raftstate.core.ports import Reader
from raftstate.v1.store_pb2 import UndoneRange

_LAST = (1 << 64) - 1


class Segment(NamedTuple):
    """Events from one to another, both included."""

    first: int
    last: int


class Stretch(NamedTuple):
    """Events that all were undone by one rollback, or that are all live: then it is empty."""

    first: int
    last: int
    rollback_id: str


class _Table(NamedTuple):
    """Where ranges of one kind are: one of them, those from a number on, those before."""

    row: Callable[[str, int], bytes]
    starting: Callable[[str, int], keys.Span]
    before: Callable[[str, int], keys.Span]


_EVENTS = _Table(keys.undone_range, keys.undone_ranges_from, keys.undone_ranges_before)
_CHECKPOINTS = _Table(keys.left_behind, keys.left_behind_from, keys.left_behind_before)


def add(context: Context, agent_id: str, gone: Segment, rollback_id: str) -> None:
    """Note that a rollback has undone an agent's events, up to its newest."""
    _add(context, _EVENTS, agent_id, gone, rollback_id)


def leave_behind(context: Context, agent_id: str, gone: Segment, rollback_id: str) -> None:
    """Note that a rollback has left an agent's checkpoints behind, up to its newest."""
    _add(context, _CHECKPOINTS, agent_id, gone, rollback_id)


def find(reader: Reader, agent_id: str, seq: int) -> UndoneRange | None:
    """The range that an event is in; None: it was not undone."""
    return _find(reader, _EVENTS, agent_id, seq)


def branch(reader: Reader, agent_id: str, checkpoint_id: int) -> UndoneRange | None:
    """The range that a checkpoint is in; None: it was not left behind."""
    return _find(reader, _CHECKPOINTS, agent_id, checkpoint_id)


def undone_by(reader: Reader, agent_id: str, seq: int) -> str:
    """The rollback that undid an event; empty: none did."""
    found = find(reader, agent_id, seq)
    return "" if found is None else found.rollback_id


def around(reader: Reader, agent_id: str, seq: int) -> Stretch:
    """All the events around one of which the same is to be said as of it."""
    first = 1
    before = next(iter(reader.scan_back(*keys.undone_ranges_before(agent_id, seq + 1))), None)
    if before is not None:
        known = UndoneRange.FromString(before[1])
        if seq <= known.last_seq:
            return Stretch(known.first_seq, known.last_seq, known.rollback_id)
        first = known.last_seq + 1
    behind = next(iter(reader.scan(*keys.undone_ranges_from(agent_id, seq + 1))), None)
    return Stretch(first, _LAST if behind is None else keys.to_number(behind[0]) - 1, "")


def ranges(reader: Reader, agent_id: str, first: int, last: int) -> Iterator[UndoneRange]:
    """The ranges that have events from `first` to `last`, in order."""
    found = find(reader, agent_id, first)
    if found is not None:
        yield found
        first = found.last_seq + 1
    for _, raw in reader.scan(*keys.undone_ranges_from(agent_id, first)):
        found = UndoneRange.FromString(raw)
        if found.first_seq > last:
            return
        yield found


def live(reader: Reader, agent_id: str, first: int, last: int) -> Iterator[Segment]:
    """What no rollback has undone of an agent's events from `first` to `last`, in order."""
    for gone in ranges(reader, agent_id, first, last):
        if first < gone.first_seq:
            yield Segment(first, gone.first_seq - 1)
        first = gone.last_seq + 1
    if first <= last:
        yield Segment(first, last)


def _find(reader: Reader, table: _Table, agent_id: str, place: int) -> UndoneRange | None:
    row = next(iter(reader.scan_back(*table.before(agent_id, place + 1))), None)
    if row is None:
        return None
    found = UndoneRange.FromString(row[1])
    return found if found.last_seq >= place else None


def _add(
    context: Context, table: _Table, agent_id: str, gone: Segment, rollback_id: str
) -> None:
    around = _find(context.store, table, agent_id, gone.first)
    if around is not None and around.first_seq < gone.first:
        around.last_seq = gone.first - 1
        _put(context, table, agent_id, around)
    context.store.delete_span(table.starting(agent_id, gone.first))
    newest = UndoneRange(first_seq=gone.first, last_seq=gone.last, rollback_id=rollback_id)
    _put(context, table, agent_id, newest)


def _put(context: Context, table: _Table, agent_id: str, record: UndoneRange) -> None:
    place = table.row(agent_id, record.first_seq)
    context.store.put(place, record.SerializeToString(deterministic=True))
