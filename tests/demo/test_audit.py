"""The reader's idea of the event chain is the state machine's, byte for byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftstate.client import audit
from raftstate.core import events
from raftstate.v1.event_service_pb2 import Event

NUMBERS = st.integers(0, 2**64 - 1)
EVENTS = st.builds(
    Event,
    stream_id=st.text(),
    seq=NUMBERS,
    position=NUMBERS,
    revision=NUMBERS,
    step=NUMBERS,
    type=st.text(),
    content_type=st.text(),
    data=st.binary(),
    causation_id=st.text(),
    correlation_id=st.text(),
    log_time_ms=NUMBERS,
    hash=st.binary(),
    event_id=st.text(),
    state_hash=st.binary(max_size=32),
)


@given(st.just(audit.GENESIS) | st.binary(min_size=32, max_size=32), EVENTS)
def test_both_sides_compute_the_same_hash(previous: bytes, event: Event) -> None:
    """
    Two implementations, one canonical form: with no event before it, and with one.
    """
    assert audit.event_hash(previous, event) == events.event_hash(previous, event)


@given(EVENTS)
def test_the_first_event_follows_nothing(event: Event) -> None:
    """
    A new head has an empty hash: that is what a chain begins with.
    """
    assert audit.GENESIS == b""
    assert audit.event_hash(audit.GENESIS, event) != audit.event_hash(b"\0" * 32, event)
