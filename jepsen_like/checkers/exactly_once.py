"""Acknowledged steps: present exactly once, in order, and nothing that failed.

Every event that a client commits carries a payload that no other event carries. After
the last fault the stored streams are read, and compared with what the clients were
told:

- an `ok` step is there, once, at the place that the client was told;
- a `fail` step is not there; an `info` step is there once, or not at all;
- nothing is there that nobody sent;
- a stream has no gap, its steps and its writers' tokens never go back, and positions
  over all streams have no gap and no double.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Ending = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True)
class StepOp:
    """One step that a client tried to commit, and how that ended for the client.

    `step` and `first_position` are what an `ok` answer said; zero otherwise.
    """

    process: str
    agent_id: str
    ending: Ending
    payloads: tuple[bytes, ...]
    token: tuple[int, int]
    step: int = 0
    first_position: int = 0


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event, as a member gave it back."""

    stream_id: str
    seq: int
    position: int
    step: int
    payload: bytes


def check(
    ops: Iterable[StepOp],
    streams: Mapping[str, Sequence[StoredEvent]],
    others: Iterable[int] = (),
) -> list[str]:
    """Say everything that is wrong; an empty list is a pass. `others` are the positions of
    events in streams that are not looked at."""
    ops = list(ops)
    stored = [event for stream_id in sorted(streams) for event in streams[stream_id]]
    return [
        *_gaps(streams),
        *_doubles(stored, others),
        *_strangers(ops, stored),
        *_endings(ops, stored),
        *_tokens(ops, streams),
    ]


def _gaps(streams: Mapping[str, Sequence[StoredEvent]]) -> Iterator[str]:
    """A stream counts from 1, and its steps and positions never go back."""
    for stream_id in sorted(streams):
        step = position = 0
        for count, event in enumerate(streams[stream_id], start=1):
            if event.stream_id != stream_id:
                yield f"gap: stream {stream_id} holds an event of {event.stream_id}"
            if event.seq != count:
                yield f"gap: stream {stream_id} has seq {event.seq} where {count} belongs"
            if event.step < step:
                yield f"gap: stream {stream_id} goes back to step {event.step} from {step}"
            if event.position <= position:
                yield f"gap: stream {stream_id} goes back to position {event.position}"
            step, position = event.step, event.position


def _doubles(stored: Sequence[StoredEvent], others: Iterable[int]) -> Iterator[str]:
    """Every payload once; the positions of all streams are 1 to n."""
    for payload, count in Counter(event.payload for event in stored).items():
        if count > 1:
            yield f"duplicate: {payload!r} is stored {count} times"
    positions = sorted([*(event.position for event in stored), *others])
    if positions != list(range(1, len(positions) + 1)):
        yield f"gap: positions of {len(positions)} events are not 1 to {len(positions)}"


def _strangers(ops: Sequence[StepOp], stored: Sequence[StoredEvent]) -> Iterator[str]:
    """Nothing is stored that nobody sent."""
    sent = {payload for op in ops for payload in op.payloads}
    for event in stored:
        if event.payload not in sent:
            yield f"stranger: {event.payload!r} in {event.stream_id} was never sent"


def _endings(ops: Sequence[StepOp], stored: Sequence[StoredEvent]) -> Iterator[str]:
    """What happened is there where the client was told; what failed is not."""
    found = {event.payload: event for event in stored}
    for op in ops:
        present = [found[payload] for payload in op.payloads if payload in found]
        if op.ending == "ok" and len(present) < len(op.payloads):
            yield f"lost: {op} was acknowledged; {len(present)} of its events are stored"
        if op.ending == "fail" and present:
            yield f"resurrected: {op} failed for certain, and is stored"
        if op.ending == "info" and present and len(present) < len(op.payloads):
            yield f"torn: {op} is stored in part"
        if op.ending == "ok" and any(event.step != op.step for event in present):
            yield f"moved: {op} was acknowledged as step {op.step}, stored as {present}"
        if op.ending == "ok" and [event.position for event in present] != list(
            range(op.first_position, op.first_position + len(present))
        ):
            yield f"moved: {op} was acknowledged at another position than {present}"


def _tokens(
    ops: Sequence[StepOp], streams: Mapping[str, Sequence[StoredEvent]]
) -> Iterator[str]:
    """In one stream a writer of the past never writes after its successor."""
    token_of = {payload: op.token for op in ops for payload in op.payloads}
    for stream_id in sorted(streams):
        newest = (0, 0)
        for event in streams[stream_id]:
            token = token_of.get(event.payload, newest)
            if token < newest:
                yield f"fence: {event.payload!r} was written under {token} after {newest}"
            newest = max(newest, token)
