"""A dumb model of streams and projections: lists of all that was ever appended.

It is written from the rules, not from the code. Nothing is removed from it: what was
truncated lies below `first`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from raftstate.v1.event_service_pb2 import Expected, NewEvent, StreamAppend


class Stored(NamedTuple):
    """An event, as far as the model knows it."""

    stream_id: str
    seq: int
    position: int
    revision: int
    step: int
    kind: str
    data: bytes
    name: str


@dataclass
class ModelStream:
    """A stream, and of an agent who may write it."""

    agent: bool = False
    events: list[Stored] = field(default_factory=list)
    first: int = 1
    owner: str = ""
    fence: int = 0
    step: int = 0
    checkpoints: list[int] = field(default_factory=list)  # the seq that each reflects

    @property
    def last(self) -> int:
        return len(self.events)

    def known(self, name: str) -> Stored | None:
        """The event that has an id, unless it was truncated."""
        found = [e for e in self.events if name and e.name == name and e.seq >= self.first]
        return found[-1] if found else None

    def copy(self) -> ModelStream:
        return replace(self, events=self.events.copy(), checkpoints=self.checkpoints.copy())


class Span(NamedTuple):
    """What an append or a truncation said."""

    duplicate: bool
    spans: list[tuple[int, int]]
    first_position: int


@dataclass
class StreamModel:
    """Every stream and projection, and what they were at each revision."""

    streams: dict[str, ModelStream] = field(default_factory=dict)
    projections: dict[str, int] = field(default_factory=dict)
    positions: int = 0
    revision: int = 0
    oldest: int = 0
    past: dict[int, tuple[dict[str, ModelStream], dict[str, int], int]] = field(
        default_factory=dict
    )

    def note(self) -> None:
        """Remember what there is at this revision."""
        streams = {name: stream.copy() for name, stream in self.streams.items()}
        self.past[self.revision] = (streams, self.projections.copy(), self.positions)

    # --- appending -----------------------------------------------------------

    def append(self, session: str, appends: list[StreamAppend]) -> str | Span:
        found = {one.stream_id: self.streams.get(one.stream_id) for one in appends}
        for one in appends:
            stream = found[one.stream_id]
            if one.HasField("fence") != (stream is not None and stream.agent):
                return "INVALID_REQUEST"
        for one in appends:
            names = [event.event_id for event in one.events if event.event_id]
            if len(set(names)) < len(names):
                return "EVENT_ID_REUSED"
        known = [
            (found[one.stream_id] or ModelStream()).known(event.event_id)
            for one in appends
            for event in one.events
        ]
        if any(known):
            return self._again(appends, known)
        for one in appends:
            refusal = self._refusal(session, one, found[one.stream_id])
            if refusal:
                return refusal
        first_position = self.positions + 1
        spans = []
        for one in appends:
            stream = self.streams.setdefault(one.stream_id, ModelStream())
            spans.append((stream.last + 1, stream.last + len(one.events)))
            self.write(one.stream_id, list(one.events))
        return Span(False, spans, first_position)

    def _again(self, appends: list[StreamAppend], known: list[Stored | None]) -> str | Span:
        spans, positions = [], []
        for one in appends:
            mine, known = known[: len(one.events)], known[len(one.events) :]
            if not all(mine):
                return "EVENT_ID_REUSED"
            there = [each for each in mine if each is not None]
            seqs = [each.seq for each in there]
            if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
                return "EVENT_ID_REUSED"
            given = [(event.type, event.data) for event in one.events]
            if given != [(each.kind, each.data) for each in there]:
                return "EVENT_ID_REUSED"
            spans.append((seqs[0], seqs[-1]))
            positions.append(there[0].position)
        return Span(True, spans, positions[0])

    def _refusal(self, session: str, one: StreamAppend, stream: ModelStream | None) -> str:
        fence = one.fence.revision
        if stream is not None and stream.agent and self.fenced(session, stream, fence):
            return self.fenced(session, stream, fence)
        last = stream.last if stream is not None else 0
        fits = {
            Expected.EXPECTED_NONE: last == 0,
            Expected.EXPECTED_EXISTS: last > 0,
            Expected.EXPECTED_EXACT: last == one.expected_seq,
        }
        return "" if fits.get(one.expected, True) else "CONFLICT"

    def fenced(self, session: str, stream: ModelStream, fence: int) -> str:
        if fence < stream.fence:
            return "FENCED"
        return "" if fence == stream.fence and session == stream.owner else "NOT_OWNER"

    def write(self, stream_id: str, events: list[NewEvent]) -> None:
        stream = self.streams[stream_id]
        for event in events:
            self.positions += 1
            where = (stream_id, stream.last + 1, self.positions, self.revision, stream.step)
            what = (event.type, event.data, event.event_id)
            stream.events.append(Stored(*where, *what))

    def commit(self, session: str, agent: str, fence: int, events: list[NewEvent]) -> str:
        """A step's events; what it saves besides is the caller's affair."""
        stream = self.streams[agent]
        if refusal := self.fenced(session, stream, fence):
            return refusal
        names = [event.event_id for event in events if event.event_id]
        if len(set(names)) < len(names) or any(map(stream.known, names)):
            return "EVENT_ID_REUSED"
        stream.step += 1
        self.write(agent, events)
        return ""

    # --- truncation and projections ------------------------------------------

    def covered(self, name: str) -> list[tuple[int, str | int]]:
        """Up to which seq something stands for a stream's events, and what does."""
        stream = self.streams.get(name, ModelStream())
        if stream.agent:
            return [(seq, at) for at, seq in enumerate(stream.checkpoints, 1) if seq]
        found: list[tuple[int, str | int]] = [
            (len([one for one in stream.events if one.position <= at]), projection)
            for projection, at in sorted(self.projections.items())
        ]
        return sorted(each for each in found if each[0])

    def truncate(self, name: str, before: int, checkpoint: int, projection: str) -> str | int:
        stream = self.streams.get(name)
        if stream is None or not stream.events:
            return "STREAM_NOT_FOUND"
        if stream.agent == bool(projection):
            return "INVALID_REQUEST"
        if stream.agent:
            if checkpoint > len(stream.checkpoints):
                return "CHECKPOINT_NOT_FOUND"
            covered = stream.checkpoints[checkpoint - 1]
        else:
            if projection not in self.projections:
                return "PROJECTION_NOT_FOUND"
            at = self.projections[projection]
            covered = len([one for one in stream.events if one.position <= at])
        if before > max(covered + 1, 1 if stream.agent else stream.first):
            return "NOT_COVERED"
        stream.first = max(stream.first, before)
        return stream.first

    def save(self, name: str, position: int, expected: int | None) -> str:
        if position > self.positions:
            return "INVALID_REQUEST"
        if expected is not None and expected != self.projections.get(name, 0):
            return "CONFLICT"
        self.projections[name] = position
        return ""

    def forget(self, name: str) -> str:
        return "" if self.projections.pop(name, None) is not None else "PROJECTION_NOT_FOUND"
