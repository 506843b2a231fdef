"""Streams: bounds, the chain, and that what was truncated goes away bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from raftstate.core import history, keys, limits, stream_queries
from raftstate.core.events import event_hash
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.memory import MemoryStore
from raftstate.core.validate import violations
from raftstate.v1.common_pb2 import CONSISTENCY_AT_LEAST, FencingToken, RequestId
from raftstate.v1.event_service_pb2 import (
    EXPECTED_ANY,
    EXPECTED_EXACT,
    AppendEventsRequest,
    DeleteProjectionRequest,
    Event,
    ExportAuditRequest,
    GetProjectionRequest,
    ListProjectionsRequest,
    NewEvent,
    ReadAllRequest,
    SaveProjectionRequest,
    StreamAppend,
    TruncateBeforeRequest,
    VerifyChainRequest,
)
from raftstate.v1.store_pb2 import Command, Outcome, Sweep
from tests.core.bench import Bench, reason

MANY = 1 << 40


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.open("s")
    return made


def append(bench: Bench, stream_id: str, events: Sequence[NewEvent]) -> Outcome:
    request = AppendEventsRequest(
        request_id=bench.request_id("s"),
        appends=[StreamAppend(stream_id=stream_id, events=events)],
    )
    outcome = bench.one(Command(append_events=request))
    assert not reason(outcome), outcome
    return outcome


def plain(*data: str) -> list[NewEvent]:
    return [NewEvent(type="t", data=each.encode()) for each in data]


def save(bench: Bench, name: str, position: int) -> None:
    request = SaveProjectionRequest(
        request_id=bench.request_id("s"), name=name, position=position
    )
    assert not reason(bench.one(Command(save_projection=request)))


def truncate(bench: Bench, stream_id: str, before: int) -> None:
    request = TruncateBeforeRequest(
        request_id=bench.request_id("s"),
        stream_id=stream_id,
        before_seq=before,
        projection="p",
    )
    assert not reason(bench.one(Command(truncate_before=request)))


# --- what was truncated goes -------------------------------------------------


def tables(bench: Bench) -> Counter[bytes]:
    """How many rows each table has."""
    return Counter(key[:1] for key, _ in bench.store.items())


def test_a_thousand_truncated_events_go_in_small_steps(bench: Bench) -> None:
    """
    Nobody sees them from the truncation on; each sweep removes a few; at the end no
    row is left of them, and all else is as if nothing had been.
    """
    for hundred in range(10):
        names = [f"{hundred}.{number}" for number in range(100)]
        append(bench, "f", [NewEvent(type="t", event_id=name) for name in names])
    append(bench, "g", plain("kept"))
    save(bench, "p", 1_001)
    before = tables(bench)

    then = bench.machine.revision
    truncate(bench, "f", 1_001)

    assert before[b"e"] - tables(bench)[b"e"] < 10, "it was all removed at once"
    for reader in (bench.store, PastReader(bench.store, then)):
        order = stream_queries.read_all(reader, 1, MANY, MANY)
        assert [each.stream_id for each in order.events] == ["g"]
        assert stream_queries.read_events(reader, "f", 0, MANY, MANY) == []
    steps = 0
    while history.read_mark(bench.store).has_work:
        left = tables(bench)[b"e"]
        bench.one(Command(sweep=Sweep(rows=40)))
        assert left - tables(bench)[b"e"] <= 50, "one command did too much"
        assert bench.machine.state_hash == full_hash(bench.store)
        steps += 1
        assert steps < 100, "it takes too long"
    assert steps >= 20
    after = tables(bench)
    assert (after[b"e"], after[b"g"], after[b"i"], after[b"z"]) == (1, 1, 0, 0)
    assert stream_queries.last_position(bench.store) == 1_001
    said = append(bench, "f", plain("next")).append_events
    assert (said.first_position, said.appended[0].first_seq) == (1_002, 1_001)
    assert stream_queries.verify(bench.store, "f", 1_001, MANY, MANY).broken_seq == 0


def test_an_id_that_is_used_again_outlives_the_sweep_of_the_old_event(bench: Bench) -> None:
    """
    The row of an id goes only with the event that it names.
    """
    append(bench, "f", [NewEvent(type="t", event_id="one")])
    append(bench, "f", plain(*map(str, range(20))))
    save(bench, "p", 21)
    named = [NewEvent(type="t", event_id=f"x{number}") for number in range(60)]
    append(bench, "g", named)
    save(bench, "p", 81)
    truncate(bench, "g", 61)  # keeps the sweeps busy for a while
    truncate(bench, "f", 22)

    fresh = [NewEvent(type="t", data=b"new", event_id="one")]
    assert append(bench, "f", fresh).append_events.appended[0].first_seq == 22
    bench.one(Command(sweep=Sweep(rows=1_000)))

    again = append(bench, "f", fresh).append_events
    assert (again.duplicate, again.appended[0].first_seq) == (True, 22)


# --- bounds ------------------------------------------------------------------


class CountedReader:
    """A reader that counts the rows which scans have given."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.rows = 0
        self.get = store.get

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for row in self.store.scan(start, stop):
            self.rows += 1
            yield row

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for row in self.store.scan_back(start, stop):
            self.rows += 1
            yield row


@pytest.mark.parametrize("backwards", [False, True])
def test_a_rare_prefix_costs_a_slice_no_more_than_any(bench: Bench, backwards: bool) -> None:
    """
    A slice looks at so many places, finds little, and says where to go on.
    """
    append(bench, "rare/1", plain("a"))
    append(bench, "common", plain(*map(str, range(100))))
    append(bench, "rare/2", plain("z"))
    found: list[str] = []
    position, slices = (102 if backwards else 1), 0

    while 0 < position <= 102:
        reader = CountedReader(bench.store)
        events, position = stream_queries.read_all(
            reader, position, 9, MANY, prefix="rare", backwards=backwards, rows_max=10
        )
        assert reader.rows <= 11
        found += [event.stream_id for event in events]
        slices += 1
        assert slices < 20, "a slice does not get on"

    assert slices == 11
    assert position == (0 if backwards else 103)
    assert found == (["rare/2", "rare/1"] if backwards else ["rare/1", "rare/2"])


def test_agents_without_events_do_not_make_a_list_of_streams_longer(bench: Bench) -> None:
    """
    A page looks at so many records; that none of them is a stream is no end.
    """
    for number in range(30):
        bench.one(bench.create("s", f"a{number:02}"))
    append(bench, "b", plain("x"))
    after: str | None = ""
    pages = []

    while after is not None:
        reader = CountedReader(bench.store)
        page = stream_queries.list_streams(reader, "", after, 10)
        assert reader.rows <= 13
        pages.append([info.stream_id for info in page.streams])
        after = page.after

    assert pages == [[], [], [], ["b"]]


def test_slices_are_bounded_by_bytes_and_always_get_on(bench: Bench) -> None:
    """
    In both directions, and whatever the bound.
    """
    append(bench, "f", plain(*["x" * 1_000] * 5))

    def seqs(bytes_max: int, *, backwards: bool) -> list[int]:
        found = stream_queries.read_events(
            bench.store, "f", 0, MANY, bytes_max, backwards=backwards
        )
        order = stream_queries.read_all(
            bench.store, 0 if backwards else 1, MANY, bytes_max, backwards=backwards
        )
        assert order.events == found
        return [event.seq for event in found]

    assert seqs(2_500, backwards=False) == [1, 2]
    assert seqs(2_500, backwards=True) == [5, 4]
    assert seqs(1, backwards=False) == [1]
    assert seqs(1, backwards=True) == [5]


def test_the_largest_append_is_remembered_and_found(bench: Bench) -> None:
    """
    Ids as long as they may be fit into keys, and its outcome into its record.
    """
    names = [letter + "x" * (limits.AGENT_ID_CHARS_MAX - 1) for letter in "abcdefgh"]
    ids = [chr(0x1F600 + number) * limits.EVENT_ID_CHARS_MAX for number in range(16)]
    request = AppendEventsRequest(
        request_id=bench.request_id("s"),
        appends=[
            StreamAppend(
                stream_id=name, events=[NewEvent(type="t", event_id=each) for each in ids]
            )
            for name in names
        ],
    )

    first = bench.one(Command(append_events=request))
    request.request_id.sequence += 1
    again = bench.one(Command(append_events=request))
    request.request_id.sequence += 1
    request.appends[7].events[15].data = b"other"
    other = bench.one(Command(append_events=request))

    assert [one.last_seq for one in first.append_events.appended] == [16] * 8
    assert again.append_events.duplicate
    assert again.append_events.appended == first.append_events.appended
    assert reason(other) == "EVENT_ID_REUSED"


# --- the chain ---------------------------------------------------------------


def stored(bench: Bench, seq: int) -> Event:
    raw = bench.store.get(keys.event("f", seq))
    assert raw is not None
    return Event.FromString(raw)


def forged(bench: Bench, seq: int, **fields: Any) -> None:
    """Change an event on disk, as only damage can."""
    event = stored(bench, seq)
    for name, value in fields.items():
        setattr(event, name, value)
    bench.store.put(keys.event("f", seq), event.SerializeToString())


def test_a_chain_that_is_whole_is_verified_piece_by_piece(bench: Bench) -> None:
    """
    Each piece says where the next one begins; the last one that there is none.
    """
    append(bench, "f", plain(*"abcde"))

    pieces = []
    seq = 1
    while seq:
        found = stream_queries.verify(bench.store, "f", seq, 2, MANY)
        pieces.append(tuple(found))
        seq = found.next_seq

    hashes = {seq: stored(bench, seq).hash for seq in (2, 4, 5)}
    assert pieces == [(2, hashes[2], 0, 3), (4, hashes[4], 0, 5), (5, hashes[5], 0, 0)]
    assert stream_queries.verify(bench.store, "f", 6, 2, MANY) == (0, b"", 0, 0)
    assert stream_queries.verify(bench.store, "nobody", 1, 2, MANY) == (0, b"", 0, 0)


def put_other(bench: Bench) -> None:
    bench.store.put(keys.event("f", 4), stored(bench, 3).SerializeToString())


def misplace(bench: Bench) -> None:
    bench.store.put(keys.event("f", 3), stored(bench, 2).SerializeToString())
    bench.store.delete(keys.event("f", 2))


DAMAGES: dict[str, tuple[Callable[[Bench], Any], int]] = {
    "data": (lambda bench: forged(bench, 3, data=b"other"), 3),
    "hash": (lambda bench: forged(bench, 3, hash=bytes(32)), 3),
    "stream": (lambda bench: forged(bench, 2, stream_id="g"), 2),
    "position": (lambda bench: forged(bench, 4, position=99), 4),
    "no message": (lambda bench: bench.store.put(keys.event("f", 3), b"\xff"), 3),
    "gone": (lambda bench: bench.store.delete(keys.event("f", 2)), 2),
    "gone at the end": (lambda bench: bench.store.delete(keys.event("f", 5)), 5),
    "another": (put_other, 4),
    "misplaced": (misplace, 2),
}


@pytest.mark.parametrize("piece", [1, 2, 9])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_a_chain_is_found(bench: Bench, damage: str, piece: int) -> None:
    """
    At the first event that it is in, whatever pieces are looked at.
    """
    append(bench, "f", plain(*"abcde"))
    do, broken = DAMAGES[damage]
    do(bench)

    seq, found = 1, None
    while seq and not (found and found.broken_seq):
        found = stream_queries.verify(bench.store, "f", seq, piece, MANY)
        seq = found.next_seq

    assert found is not None
    assert found.broken_seq == broken
    assert found.next_seq == (broken + 1 if broken < 5 else 0)


def test_a_head_that_is_not_the_last_events_is_found(bench: Bench) -> None:
    """
    A chain that was made anew, from an event on, does not end with the head's hash.
    """
    append(bench, "f", plain(*"ab"))
    last = stored(bench, 2)
    last.data = b"other"
    last.hash = event_hash(stored(bench, 1).hash, last)
    bench.store.put(keys.event("f", 2), last.SerializeToString())

    assert stream_queries.verify(bench.store, "f", 1, MANY, MANY).broken_seq == 2


# --- what requests may hold --------------------------------------------------

ID = RequestId(session_id="s", sequence=1, opened_revision=1)
ONE = [NewEvent(type="t")]


def appends(*each: StreamAppend) -> AppendEventsRequest:
    return AppendEventsRequest(request_id=ID, appends=each)


def stream(name: str = "f", **fields: Any) -> StreamAppend:
    return StreamAppend(stream_id=name, **{"events": ONE, **fields})


def truncation(**fields: Any) -> TruncateBeforeRequest:
    asked = {"stream_id": "f", "before_seq": 1, "checkpoint_id": 1, **fields}
    return TruncateBeforeRequest(request_id=ID, **asked)


BOUNDS: list[tuple[Any, str | None]] = [
    (appends(stream(fence=FencingToken(revision=1)), stream("g")), None),
    (appends(*[stream(f"f{number}") for number in range(8)]), None),
    (appends(*[stream(f"f{number}") for number in range(9)]), "appends"),
    (appends(), "appends"),
    (appends(stream(events=ONE * 128)), None),
    (appends(stream(events=ONE * 128), stream("g")), "appends"),
    (appends(stream(events=[])), "appends[0].events"),
    (appends(stream(), stream()), "appends[1].stream_id"),
    (appends(stream("/f")), "appends[0].stream_id"),
    (appends(stream(expected=EXPECTED_EXACT, expected_seq=3)), None),
    (appends(stream(expected=EXPECTED_ANY, expected_seq=3)), "appends[0].expected_seq"),
    (appends(stream(expected_seq=3)), "appends[0].expected_seq"),
    (appends(stream(expected=5)), "appends[0].expected"),
    (appends(stream(events=[NewEvent(type="t", event_id="é" * 64)])), None),
    (
        appends(stream(events=[NewEvent(type="t", event_id="e" * 65)])),
        "appends[0].events[0].event_id",
    ),
    (appends(stream(events=[NewEvent()])), "appends[0].events[0].type"),
    (truncation(), None),
    (truncation(checkpoint_id=0, projection="p/q"), None),
    (truncation(before_seq=0), "before_seq"),
    (truncation(stream_id=""), "stream_id"),
    (truncation(checkpoint_id=0), "checkpoint_id"),
    (truncation(projection="p"), "checkpoint_id"),
    (truncation(checkpoint_id=0, projection="/"), "projection"),
    (ReadAllRequest(prefix="p" * 200), None),
    (ReadAllRequest(prefix="p" * 201), "prefix"),
    (ExportAuditRequest(prefix="p" * 201), "prefix"),
    (ExportAuditRequest(consistency=CONSISTENCY_AT_LEAST), "revision"),
    (VerifyChainRequest(stream_id="f", max_events=100_000), None),
    (VerifyChainRequest(stream_id="f", max_events=100_001), "max_events"),
    (VerifyChainRequest(), "stream_id"),
    (SaveProjectionRequest(request_id=ID, name="p"), None),
    (SaveProjectionRequest(request_id=ID), "name"),
    (SaveProjectionRequest(request_id=ID, name="p" * 201), "name"),
    (DeleteProjectionRequest(request_id=ID, name="p\n"), "name"),
    (GetProjectionRequest(name="é"), "name"),
    (ListProjectionsRequest(page_size=1_001), "page_size"),
]


@pytest.mark.parametrize("at", range(len(BOUNDS)))
def test_what_requests_may_hold(at: int) -> None:
    """
    Each limit, met and exceeded by one.
    """
    request, field = BOUNDS[at]
    assert [found.field for found in violations(request)] == ([field] if field else [])
