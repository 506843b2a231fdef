"""What an agent has written, as a replay is held against it.

Only what counts: events that no rollback has undone, in order, and the checkpoints and
recorded values that belong to them. All of it is read as it is needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from raftstate import content
from raftstate.client import reading, values
from raftstate.client.checkpoints import Checkpoints
from raftstate.client.engine import Engine
from raftstate.client.recordings import hashed, plain, recorded
from raftstate.client.streams import Streams
from raftstate.errors import EffectNotFound
from raftstate.v1.agent_service_pb2 import GetAgentRequest
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.effect_service_pb2 import Effect, GetEffectRequest
from raftstate.v1.event_service_pb2 import Event, NewEvent
from raftstate.v1.recording_pb2 import Recording
from raftstate.v1.rollback_service_pb2 import GetRollbackRequest

# What a divergence shows at most, as the servers do.
_DIFFERENCES: Final = 100
_VALUE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a replay is not what was written.

    `seq` is the first event that is another one, or after which the state is, or that one
    of the two does not have; `event` is it as written, if it is. With a `checkpoint_id` it
    is that checkpoint's content that differs. Hashes are of states where states differ
    (`why` says so), else of events; empty: there is none. `differences` are lines for
    people.

    >>> async with store.own("replays/divergence") as agent:
    ...     async with agent.step() as step:
    ...         step.event("counted", 3, state=3)
    >>> try:
    ...     await store.replay("replays/divergence", lambda state, event: 4, report=False)
    ... except raftstate.replay.ReplayDiverged as error:
    ...     print(error.divergence.seq, error.divergence.why)
    1 the state after it is another one
    """

    why: str
    seq: int
    expected_hash: bytes = b""
    actual_hash: bytes = b""
    event: Event | None = None
    checkpoint_id: int = 0
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"event {self.seq}"
        if self.checkpoint_id:
            place += f", checkpoint {self.checkpoint_id}"
        text = f"{place}: {self.why}"
        if self.expected_hash or self.actual_hash:
            expected, actual = self.expected_hash.hex()[:16], self.actual_hash.hex()[:16]
            text += f" (expected {expected or 'none'}, actual {actual or 'none'})"
        return "; ".join((text, *self.differences[:3]))


class Diverged(BaseException):
    """Ends a replay at its first difference, through whatever runs in it."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


class Reader(Streams, Checkpoints):
    """The reads of a store that are needed here."""

    def __init__(self, engine: Engine) -> None:
        self._reading_engine = engine

    @property
    def _engine(self) -> Engine:
        return self._reading_engine


class History:
    """One agent's events from a checkpoint on, up to `to_seq`."""

    def __init__(self, engine: Engine, agent_id: str) -> None:
        self.engine = engine
        self.agent_id = agent_id
        self.checkpoint: Checkpoint = Checkpoint()
        self.to_seq: int = 0
        self.hashes_compared: int = 0
        self.checkpoints_compared: int = 0
        self._reader = Reader(engine)
        self._saved: dict[int, list[int]] = {}
        self._events: AsyncIterator[Event] | None = None
        self._next: Event | None = None
        # Steps that rollbacks have undone, as far as it was read: from one to another, by
        # rollback. There may be some without an event, so that events do not tell.
        self._undone: dict[str, tuple[int, int]] = {}
        self._recordings: AsyncIterator[Recording] | None = None
        self._recording: Recording | None = None

    async def begin(self, checkpoint_id: int, to_seq: int) -> None:
        """Find the beginning and the end. Raises AgentNotFound, CheckpointNotFound,
        Compacted (definite): the events behind the checkpoint are truncated."""
        answer = await reading.read(
            self.engine,
            lambda peer: peer.agents.GetAgent,
            GetAgentRequest(agent_id=self.agent_id),
            timeout=None,
        )
        newest = answer.agent.head.event_seq
        self.to_seq = min(to_seq, newest) if to_seq else newest
        if not checkpoint_id and answer.agent.HasField("forked_from"):
            checkpoint_id = await self._brought_along()
        if checkpoint_id:
            self.checkpoint = await self._reader.get_checkpoint(self.agent_id, checkpoint_id)
        async for one in self._reader.list_checkpoints(self.agent_id):
            if one.rollback_id:
                await self._note_undone(one.rollback_id)
            if self.checkpoint.event_seq < one.event_seq <= self.to_seq:
                self._saved.setdefault(one.event_seq, []).append(one.checkpoint_id)
        if self.checkpoint.event_seq < self.to_seq:
            self._events = self._reader.read_events(
                self.agent_id,
                from_seq=self.checkpoint.event_seq + 1,
                max_events=self.to_seq - self.checkpoint.event_seq,
            )

    async def _brought_along(self) -> int:
        """The checkpoint that a fork or a copy began with: what came before it is another
        agent's."""
        found = 0
        async for one in self._reader.list_checkpoints(self.agent_id):
            if one.HasField("origin"):
                found = max(found, one.checkpoint_id)
        return found

    # --- events ---

    async def peek(self) -> Event | None:
        """The next event that counts; None: there are no more."""
        while self._next is None and self._events is not None:
            event = await anext(self._events, None)
            if event is None:
                self._events = None
            elif event.undone_by:
                await self._note_undone(event.undone_by)
            else:
                self._next = event
        return self._next

    async def take(self) -> Event | None:
        """The next event that counts, which is then over."""
        event, self._next = await self.peek(), None
        return event

    async def group(self) -> list[Event]:
        """The events of the next step that has any."""
        events: list[Event] = []
        while (event := await self.peek()) is not None:
            if events and event.step != events[0].step:
                break
            events.append(event)
            self._next = None
        return events

    def after(self, step: int) -> int:
        """The step that came after one: no rollback has undone it."""
        step += 1
        for first, last in sorted(self._undone.values()):
            if first <= step <= last:
                step = last + 1
        return step

    async def _note_undone(self, rollback_id: str) -> None:
        """Note which steps a rollback has undone."""
        if rollback_id in self._undone:
            return
        answer = await reading.read(
            self.engine,
            lambda peer: peer.rollbacks.GetRollback,
            GetRollbackRequest(rollback_id=rollback_id),
            timeout=None,
        )
        self._undone[rollback_id] = next(
            (one.first_undone_step, one.last_undone_step)
            for one in answer.rollback.agents
            if one.agent_id == self.agent_id
        )

    # --- what else was written ---

    async def recordings(self, step: int) -> list[Recording]:
        """The recorded values of a step; those of earlier ones are passed over."""
        if self._recordings is None:
            self._recordings = recorded(self.engine, self.agent_id, step, 0, "", {})
            self._recording = await anext(self._recordings, None)
        found: list[Recording] = []
        while (one := self._recording) is not None and one.step <= step:
            if one.step == step:
                found.append(one)
            self._recording = await anext(self._recordings, None)
        return found

    async def effect(self, effect_id: str) -> Effect | None:
        """An effect, if there is one of that id."""
        try:
            answer = await reading.read(
                self.engine,
                lambda peer: peer.effects.GetEffect,
                GetEffectRequest(agent_id=self.agent_id, effect_id=effect_id),
                timeout=None,
            )
        except EffectNotFound:
            return None
        found: Effect = answer.effect
        return found

    # --- comparing ---

    def compare_state(self, event: Event, before: Any, after: Any) -> None:
        """Hold the state after an event against what the event says of it."""
        if not event.state_hash:
            return
        self.hashes_compared += 1
        actual, _ = hashed(after)
        if actual != event.state_hash:
            raise Diverged(
                Divergence(
                    why="the state after it is another one",
                    seq=event.seq,
                    expected_hash=event.state_hash,
                    actual_hash=actual,
                    event=event,
                    differences=differences(before, after),
                )
            )

    async def compare_saved(self, event: Event | None, event_seq: int, state: Any) -> None:
        """Hold a state against the checkpoints that were saved after an event: one of
        them has to hold it."""
        held: list[tuple[int, Any]] = []
        actual, _ = hashed(state)
        for checkpoint_id in self._saved.pop(event_seq, ()):
            saved = await self._reader.get_checkpoint(self.agent_id, checkpoint_id)
            value = values.decode(saved)
            if hashed(value)[0] == actual:
                self.checkpoints_compared += 1
                return
            held.append((checkpoint_id, value))
        if held:
            self.checkpoints_compared += 1
            checkpoint_id, value = held[-1]
            raise Diverged(
                Divergence(
                    why="a checkpoint after it holds another state",
                    seq=event_seq,
                    expected_hash=hashed(value)[0],
                    actual_hash=actual,
                    event=event,
                    checkpoint_id=checkpoint_id,
                    differences=differences(value, state),
                )
            )

    def compare_event(self, written: Event, made: NewEvent) -> None:
        """Hold an event of a replay against the one that was written."""
        if written.type != made.type or not _alike(written, made):
            raise Diverged(
                Divergence(
                    why="another event was made",
                    seq=written.seq,
                    expected_hash=event_hash(written),
                    actual_hash=event_hash(made),
                    event=written,
                    differences=_said_of(written, made),
                )
            )
        if written.state_hash and made.state_hash:
            self.hashes_compared += 1
            if written.state_hash != made.state_hash:
                raise Diverged(
                    Divergence(
                        why="the state after it is another one",
                        seq=written.seq,
                        expected_hash=written.state_hash,
                        actual_hash=made.state_hash,
                        event=written,
                    )
                )


def event_hash(event: Event | NewEvent) -> bytes:
    """What an event is recognised by, whoever made it: type and data."""
    return hashed({"type": event.type, "data": _shown(event)})[0]


def differences(expected: Any, actual: Any) -> tuple[str, ...]:
    """Where two values differ, one to a line, 100 at most.

    >>> raftstate.replay.differences({"total": 1}, {"total": 2})
    ('/total changed: 1 -> 2',)
    """
    try:
        found, _ = content.diff(plain(expected), plain(actual), _DIFFERENCES, _VALUE_CHARS)
    except (content.ContentError, TypeError, ValueError):
        return (f"{expected!r:.{_VALUE_CHARS}} -> {actual!r:.{_VALUE_CHARS}}",)
    lines = []
    for one in found:
        change = " -> ".join(text for text in (one.before, one.after) if text)
        lines.append(f"{one.path or '/'} {one.kind}: {change}")
    return tuple(lines)


def _alike(written: Event, made: NewEvent) -> bool:
    if written.content_type != made.content_type:
        return False
    return written.data == made.data or (
        made.content_type == values.JSON and _shown(written) == _shown(made)
    )


def _said_of(written: Event, made: NewEvent) -> tuple[str, ...]:
    if written.type != made.type:
        return (f"type: {written.type} -> {made.type}",)
    return differences(_shown(written), _shown(made))


def _shown(event: Message) -> Any:
    """An event's data as a value that can be compared and shown."""
    assert isinstance(event, Event | NewEvent)
    if event.content_type == values.JSON:
        return values.decode(event)
    return {"content_type": event.content_type, "data": event.data.hex()}
