"""Reads of streams, of the order of all events, and of projections.

Any of them works on a reader of the past. Events never change, so of the past only the
ends differ: a stream ended where its head was, and the global order at the last event
that is not of a later revision. What was truncated since is gone from the past too;
`oldest_seq` says from where on a stream can be read.

Each read is a slice of bounded work: whoever wants more goes on where it ended. An id
that cannot be one names nothing, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import NamedTuple

from google.protobuf.message import DecodeError

from raftstate.core import agents, events, keys, limits, projections, undone
from raftstate.core.events import event_hash
from raftstate.core.history import PastReader
from raftstate.core.machine import read_counters
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.event_service_pb2 import Event, Projection, StreamInfo

# How many places of the global order one slice looks at, if few of them are wanted.
ROWS_MAX = 2_048
# How many stretches of events between undone ones a takeover is shown.
SEGMENTS_MAX = 256


# --- streams -----------------------------------------------------------------


def find_stream(reader: Reader, stream_id: str) -> StreamInfo | None:
    """How long a stream is; that of an agent is there, if empty, before its first event."""
    if not limits.AGENT_ID.fullmatch(stream_id):
        return None
    agent = agents.load(reader, stream_id)
    row = events.stream_row(reader, stream_id)
    return row if agent is None else _of_agent(agent, row)


def get_stream(reader: Reader, stream_id: str) -> StreamInfo | None:
    """How long a stream is; None if it never had an event."""
    info = find_stream(reader, stream_id)
    return info if info is not None and info.last_seq else None


def oldest_seq(reader: Reader, stream_id: str) -> int:
    """The oldest event of a stream that can be read, also by readers of the past."""
    row = events.stream_row(_now(reader), stream_id)
    return 1 if row is None else row.first_seq


class StreamPage(NamedTuple):
    """Streams in order of id, and the id behind which to go on; None: there are no more."""

    streams: list[StreamInfo]
    after: str | None


def list_streams(reader: Reader, prefix: str, after: str, rows_max: int) -> StreamPage:
    """Streams that ever had an event, whose id starts with `prefix` and sorts behind
    `after`: those found among the next `rows_max` records."""
    if len(prefix) > limits.AGENT_ID_CHARS_MAX:
        return StreamPage([], None)
    agents_found = reader.scan(*keys.agents(prefix, after))
    streams_found = reader.scan(*keys.streams(prefix, after))
    found: list[StreamInfo] = []
    # Of one id, the agent's record comes first: its table's letter is the smaller.
    merged = merge(agents_found, streams_found, key=lambda row: (row[0][1:], row[0]))
    for seen, (key, raw) in enumerate(merged):
        stream_id = key[1:].decode()
        if seen >= rows_max:
            return StreamPage(found, after)
        after = stream_id
        info = _listed(reader, key, raw)
        if info is not None and info.last_seq:
            found.append(info)
    return StreamPage(found, None)


def _listed(reader: Reader, key: bytes, raw: bytes) -> StreamInfo | None:
    """The stream that a row of either table is about, once."""
    stream_id = key[1:].decode()
    if key == keys.agent(stream_id):
        return _of_agent(Agent.FromString(raw), events.stream_row(reader, stream_id))
    row = StreamInfo.FromString(raw)
    return None if row.agent else row


def _of_agent(agent: Agent, row: StreamInfo | None) -> StreamInfo:
    """An agent's stream; `row` is there if its beginning was truncated."""
    return StreamInfo(
        stream_id=agent.agent_id,
        first_seq=1 if row is None else row.first_seq,
        last_seq=agent.head.event_seq,
        last_hash=agent.head.event_hash,
        base_hash=b"" if row is None else row.base_hash,
        agent=True,
    )


def _now(reader: Reader) -> Reader:
    return reader.now if isinstance(reader, PastReader) else reader


# --- events of one stream ----------------------------------------------------


def read_events(
    reader: Reader,
    stream_id: str,
    from_seq: int,
    limit: int,
    bytes_max: int,
    *,
    backwards: bool = False,
) -> list[Event]:
    """Events of one stream from `from_seq` on (zero backwards: from the last one), of
    those that can be read: at most `limit`, and at least one if there is one, and no
    more than fit into `bytes_max` as stored after that."""
    rows = _rows(reader, stream_id, from_seq, backwards=backwards)
    return [Event.FromString(raw) for _, raw in islice(_fitting(rows, bytes_max), limit)]


class LiveEvents(NamedTuple):
    """Events that no rollback has undone, and whether there are more."""

    events: list[Event]
    more: bool


def read_live(reader: Reader, agent: Agent, from_seq: int, bytes_max: int) -> LiveEvents:
    """An agent's events from `from_seq` on that no rollback has undone, bounded as in
    `read_events`, and to those of the first few stretches between what was undone."""
    found: list[Event] = []
    left = bytes_max
    first = max(from_seq, oldest_seq(reader, agent.agent_id))
    segments = undone.live(reader, agent.agent_id, first, agent.head.event_seq)
    for seen, segment in enumerate(segments):
        if seen == SEGMENTS_MAX or left <= 0:
            return LiveEvents(found, more=True)
        span = keys.events_between(agent.agent_id, segment.first, segment.last)
        for _, raw in reader.scan(*span):
            if found and len(raw) > left:
                return LiveEvents(found, more=True)
            found.append(Event.FromString(raw))
            left -= len(raw)
    return LiveEvents(found, more=False)


def show_undone(reader: Reader, shown: Iterable[Event]) -> None:
    """Say of each event which rollback has undone it, if any."""
    told: dict[str, undone.Stretch] = {}
    for event in shown:
        known = told.get(event.stream_id)
        if known is None or not known.first <= event.seq <= known.last:
            known = undone.around(reader, event.stream_id, event.seq)
            told[event.stream_id] = known
        event.undone_by = known.rollback_id


def _rows(
    reader: Reader, stream_id: str, from_seq: int, *, backwards: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    info = find_stream(reader, stream_id)
    if info is None:
        return iter(())
    first, last = oldest_seq(reader, stream_id), info.last_seq
    if backwards:
        last = min(from_seq or last, last)
    else:
        first = max(from_seq, first)
    if first > last:
        return iter(())
    span = keys.events_between(stream_id, first, last)
    return reader.scan_back(*span) if backwards else reader.scan(*span)


def _fitting(
    rows: Iterator[tuple[bytes, bytes]], bytes_max: int
) -> Iterator[tuple[bytes, bytes]]:
    """The first, and those after it while all together stay within the bound."""
    total = 0
    for row in rows:
        if total and total + len(row[1]) > bytes_max:
            return
        total += len(row[1])
        yield row


# --- the chain ---------------------------------------------------------------


class Verified(NamedTuple):
    """What was found of a piece of a chain. It ends with `last_seq`, or before it began.

    `broken_seq` is the first event that is not what its hash says; zero: none is.
    `next_seq` is where to go on; zero: the end of the stream was reached.
    """

    last_seq: int
    last_hash: bytes
    broken_seq: int
    next_seq: int


def verify(
    reader: Reader, stream_id: str, from_seq: int, limit: int, bytes_max: int
) -> Verified:
    """Compute the hashes of a stream anew, from an event on that can be read; bounded as
    in `read_events`. The last hash of all must be that of the head."""
    info = find_stream(reader, stream_id)
    if info is None or from_seq > info.last_seq:
        return Verified(0, b"", 0, 0)
    previous = _hash_before(reader, stream_id, from_seq)
    seq, full = from_seq - 1, False
    rows = _fitting(_rows(reader, stream_id, from_seq), bytes_max)
    for key, raw in islice(rows, limit):
        seq += 1
        event = _decoded(raw)
        if (
            event is None
            or key != keys.event(stream_id, seq)
            or (event.stream_id, event.seq) != (stream_id, seq)
            or event.hash != event_hash(previous, event)
        ):
            return _broken(info, seq, b"" if event is None else event.hash)
        previous, full = event.hash, True
    if not full:
        return _broken(info, from_seq, b"")
    if seq == info.last_seq:
        broken = 0 if previous == info.last_hash else seq
        return Verified(seq, previous, broken, 0)
    return Verified(seq, previous, 0, seq + 1)


def _hash_before(reader: Reader, stream_id: str, seq: int) -> bytes:
    """What chains all before an event. Of what is missing it is nothing, which then does
    not fit."""
    row = events.stream_row(_now(reader), stream_id)
    if row is not None and row.first_seq == seq:
        return row.base_hash
    if seq == 1:
        return b""
    raw = reader.get(keys.event(stream_id, seq - 1))
    event = None if raw is None else _decoded(raw)
    return b"" if event is None else event.hash


def _broken(info: StreamInfo, seq: int, hashed: bytes) -> Verified:
    return Verified(seq, hashed, seq, seq + 1 if seq < info.last_seq else 0)


def _decoded(raw: bytes) -> Event | None:
    try:
        return Event.FromString(raw)
    except DecodeError:
        return None


# --- the order of all events -------------------------------------------------


def last_position(reader: Reader) -> int:
    """How many events there are in all streams together, truncated ones included.

    Of the past: the last one of then that is still there.
    """
    newest = read_counters(_now(reader)).last_position
    if not isinstance(reader, PastReader):
        return newest
    low, high = 0, newest
    while low < high:
        middle = (low + high + 1) // 2
        found = _event_from(reader, middle)
        if found is None or found.revision > reader.revision:
            high = middle - 1
        else:
            low = found.position
    return low


def _event_from(reader: Reader, position: int) -> Event | None:
    """The first event at a position or behind it."""
    row = next(iter(reader.scan(*keys.positions(position))), None)
    return None if row is None else Event.FromString(_referenced(reader, row[1]))


class Slice(NamedTuple):
    """Events in the order that was asked for, and the position to go on from: behind the
    end, or zero backwards, if this is all."""

    events: list[Event]
    next_position: int


def read_all(
    reader: Reader,
    from_position: int,
    limit: int,
    bytes_max: int,
    *,
    prefix: str = "",
    backwards: bool = False,
    last: int | None = None,
    rows_max: int = ROWS_MAX,
) -> Slice:
    """Events of all streams whose id starts with `prefix`, from a position on (zero
    backwards: from the last one) up to `last`, in the order of the log.

    Bounded as in `read_events`, and to those found among the next `rows_max`.
    """
    end = last_position(reader) if last is None else last
    start = min(from_position or end, end) if backwards else from_position
    span = keys.positions_between(1, start) if backwards else keys.positions_between(start, end)
    if span.start >= span.stop:
        return Slice([], 0 if backwards else max(start, end + 1))
    rows = reader.scan_back(*span) if backwards else reader.scan(*span)
    wanted = _Wanted(reader, prefix)
    found: list[Event] = []
    total = 0
    for seen, (key, reference) in enumerate(rows):
        if seen == rows_max or len(found) == limit:
            return Slice(found, keys.to_number(key))
        if not wanted.has(reference):
            continue
        raw = _referenced(reader, reference)
        if found and total + len(raw) > bytes_max:
            return Slice(found, keys.to_number(key))
        total += len(raw)
        found.append(Event.FromString(raw))
    return Slice(found, 0 if backwards else end + 1)


class _Wanted:
    """Which events of the global order a read is about: those under a prefix that were
    not truncated. A stream is looked up once a slice."""

    def __init__(self, reader: Reader, prefix: str) -> None:
        self._reader = reader
        self._prefix = prefix.encode()
        self._oldest: dict[bytes, int] = {}

    def has(self, reference: bytes) -> bool:
        """Whether the event that a position refers to is one of them."""
        stream_id = reference[:-9]
        if not stream_id.startswith(self._prefix):
            return False
        oldest = self._oldest.get(stream_id)
        if oldest is None:
            oldest = oldest_seq(self._reader, stream_id.decode())
            self._oldest[stream_id] = oldest
        return keys.to_number(reference) >= oldest


def _referenced(reader: Reader, reference: bytes) -> bytes:
    raw = reader.get(keys.referenced_event(reference))
    assert raw is not None, f"a position refers to no event: {reference!r}"
    return raw


# --- projections -------------------------------------------------------------


def get_projection(reader: Reader, name: str) -> Projection | None:
    """One projection."""
    return projections.load(reader, name) if limits.AGENT_ID.fullmatch(name) else None


def list_projections(reader: Reader, after: str, limit: int) -> list[Projection]:
    """Up to `limit` projections behind `after`, by name."""
    found = islice(reader.scan(*keys.projections(after)), limit)
    return [Projection.FromString(raw) for _, raw in found]
