"""The hash that chains events: what it covers, and that it is what it is said to be."""

from __future__ import annotations

import hashlib
import struct

import pytest

from raftstate.core import stream_queries
from raftstate.core.events import event_hash
from raftstate.v1.event_service_pb2 import Event, NewEvent
from tests.core.bench import Bench

EVENT = Event(
    stream_id="a",
    seq=1,
    position=2,
    revision=3,
    step=4,
    type="t",
    content_type="c",
    data=b"d",
    causation_id="x",
    correlation_id="y",
    log_time_ms=5,
    event_id="z",
)


def test_the_hash_is_what_its_docstring_says() -> None:
    """
    Computed by hand from the description, as a verifier in another language would.
    """
    data = struct.pack(">QQQQQ", 1, 2, 3, 4, 5)
    for part in (b"previous", b"a", b"t", b"c", b"d", b"x", b"y", b"z"):
        data += struct.pack(">Q", len(part)) + part

    assert event_hash(b"previous", EVENT) == hashlib.blake2b(data, digest_size=32).digest()


@pytest.mark.parametrize("field", [each.name for each in Event.DESCRIPTOR.fields])
def test_each_field_is_covered(field: str) -> None:
    """
    Another value in any field but the hash itself gives another hash; so does not what a
    rollback says of an event later on.
    """
    other = Event()
    other.CopyFrom(EVENT)
    match getattr(other, field):
        case int(number):
            setattr(other, field, number + 1)
        case str(text):
            setattr(other, field, text + "z")
        case bytes(data):
            setattr(other, field, data + b"z")
    assert other != EVENT

    covered = event_hash(b"", other) != event_hash(b"", EVENT)

    assert covered == (field not in ("hash", "undone_by"))


def test_a_state_hash_is_one_more_part() -> None:
    """
    Behind all others, where there is one: events without keep the hash that they had.
    """
    other = Event()
    other.CopyFrom(EVENT)
    other.state_hash = b"h"
    data = struct.pack(">QQQQQ", 1, 2, 3, 4, 5)
    for part in (b"previous", b"a", b"t", b"c", b"d", b"x", b"y", b"z", b"h"):
        data += struct.pack(">Q", len(part)) + part

    assert event_hash(b"previous", other) == hashlib.blake2b(data, digest_size=32).digest()


def test_moving_bytes_between_fields_is_seen() -> None:
    """
    Lengths are part of it, so what stands side by side cannot be cut elsewhere.
    """
    one = Event(type="ab", content_type="c")
    two = Event(type="a", content_type="bc")

    assert event_hash(b"", one) != event_hash(b"", two)
    assert event_hash(b"p", Event()) != event_hash(b"", Event())


def test_a_stored_event_says_all_that_was_given() -> None:
    """
    What the client wrote comes back, with its place and its time.
    """
    bench = Bench()
    bench.open("s")
    fence = bench.granted(bench.acquire("s", "a"))
    given = NewEvent(
        type="t",
        content_type="c",
        data=b"\x00\xff",
        causation_id="x",
        correlation_id="y",
        event_id="z",
    )

    bench.one(bench.step("s", "a", fence, given), at=77)
    (stored,) = stream_queries.read_events(bench.store, "a", 1, 9, 1 << 20)

    assert stored.hash == event_hash(b"", stored)
    stored.ClearField("hash")
    assert stored == Event(
        stream_id="a",
        seq=1,
        position=1,
        revision=3,
        step=1,
        type="t",
        content_type="c",
        data=b"\x00\xff",
        causation_id="x",
        correlation_id="y",
        log_time_ms=77,
        event_id="z",
    )
