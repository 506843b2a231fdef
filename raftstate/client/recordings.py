"""What a step draws from outside itself: recorded, so that whoever does it again is given
the same.

    answer = await step.record("llm", lambda: ask(item))

A value belongs to the step that is under way, under a key. It is written with the step, or
with the first effect of it, or at once (`agent.record`); of several values under one key the
first counts. A successor that does the step again draws nothing that is there already.
"""

from __future__ import annotations

import inspect
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from raftstate import content
from raftstate.client import clock, reading, values
from raftstate.client.engine import Engine
from raftstate.client.reading import How
from raftstate.v1.agent_service_pb2 import TakeoverBundle
from raftstate.v1.common_pb2 import FencingToken, StepHead
from raftstate.v1.recording_pb2 import (
    RECORDING_KIND_MODEL,
    RECORDING_KIND_OTHER,
    RECORDING_KIND_RANDOM,
    RECORDING_KIND_TIME,
    RECORDING_KIND_TOOL,
    RECORDING_KIND_UUID,
    NewRecording,
    Recording,
    RecordingKind,
)
from raftstate.v1.replay_service_pb2 import GetRecordedRequest, RecordValueRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest

if TYPE_CHECKING:
    from raftstate.client.replay import Replay

# Words for what a value is; any other is OTHER.
_KINDS: Final[dict[str, RecordingKind]] = {
    "time": RECORDING_KIND_TIME,
    "random": RECORDING_KIND_RANDOM,
    "uuid": RECORDING_KIND_UUID,
    "llm": RECORDING_KIND_MODEL,
    "model": RECORDING_KIND_MODEL,
    "tool": RECORDING_KIND_TOOL,
}
# A state is hashed after each step as long as that costs much less than a step does; of a
# larger one, so many times this, only every so many steps.
HASHED_BYTES: Final = 4 << 10

_SYSTEM = random.SystemRandom()


def drawn(kind: str, key: str, value: Any) -> NewRecording:
    """A value, to be recorded. Raises TypeError or ValueError for what JSON cannot hold."""
    data, content_type = values.encode(value)
    number = _KINDS.get(kind.lower(), RECORDING_KIND_OTHER)
    return NewRecording(kind=number, key=key, content_type=content_type, data=data)


def value_of(recording: NewRecording | Recording) -> Any:
    """What was recorded, as everybody is given it, who drew it included: JSON or bytes."""
    return values.decode(recording)


class Recorded:
    """The values of the step after an agent's head: those that its last owner left, and
    those that were sent since."""

    def __init__(self, step: int, left: Iterable[Recording] = ()) -> None:
        self._step = step
        # By key; and whether it may be that the store does not have it.
        self._held: dict[str, tuple[NewRecording, bool]] = {}
        self._outside: Counter[str] = Counter()
        self.add(left)

    def add(self, left: Iterable[Recording]) -> None:
        """What the store has."""
        for one in left:
            if one.step == self._step:
                new = NewRecording(
                    kind=one.kind, key=one.key, content_type=one.content_type, data=one.data
                )
                self._held[one.key] = (new, False)

    def at(self, step: int) -> Recorded:
        """Go on to a step: what belonged to another is over."""
        if step != self._step:
            self._step = step
            self._held.clear()
            self._outside.clear()
        return self

    def find(self, key: str) -> tuple[NewRecording, bool] | None:
        """The value under a key, and whether it has to be sent again."""
        return self._held.get(key)

    def missing(self, key: str) -> None:
        """A value is about to be drawn. A replay raises."""

    def sent(self, new: NewRecording, *, surely: bool) -> None:
        """A value is with the store, or may be."""
        self._held[new.key] = (new, not surely)

    def next_key(self, kind: str) -> str:
        """The key of a value that is drawn outside of a step's block."""
        self._outside[kind] += 1
        return f"{kind}@{self._outside[kind]}"

    def step_over(self) -> None:
        """A step's block has ended: whatever follows is done anew from its beginning."""
        self._outside.clear()


class AgentRecordings:
    """The part of an owned agent that is about recorded values."""

    agent_id: str
    token: FencingToken
    bundle: TakeoverBundle
    head: StepHead
    recorded: Recorded
    _engine: Engine

    async def write(self, kind: str, request: Any, timeout: float | None = None) -> Any:
        """Carry out a mutation under this ownership."""
        raise NotImplementedError

    @property
    def recorded_now(self) -> Recorded:
        """The values of the step that comes next, or is under way."""
        return self.recorded.at(self.head.step + 1)

    async def record(
        self,
        kind: str,
        function: Callable[[], Any],
        key: str = "",
        *,
        timeout: float | None = None,
    ) -> Any:
        """Draw a value outside of a step's block, and have it kept at once: it is there
        even if the step that follows is never committed. See `Step.record`.

        Raises what the function raises, and what leaving a step's block does.

        >>> async with store.own("recordings/agent") as agent:
        ...     await agent.record("llm", lambda: "an answer", key="plan")
        'an answer'
        """
        step = self.head.step + 1
        known = self.recorded_now
        key = key or known.next_key(kind)
        if (found := known.find(key)) is not None and not found[1]:
            return value_of(found[0])
        known.missing(key)
        new = found[0] if found is not None else drawn(kind, key, await _given(function))
        request = RecordValueRequest(agent_id=self.agent_id, fence=self.token, recording=new)
        answer = await self.write("record_value", request, timeout)
        if answer.existed:
            new = await self._first(answer.step, key, new)
        if answer.step == step:
            self.recorded_now.sent(new, surely=True)
        return value_of(new)

    async def _first(self, step: int, key: str, new: NewRecording) -> NewRecording:
        """The value that was there already."""
        async for one in recorded(self._engine, self.agent_id, step, step, key, {}):
            new.kind, new.content_type, new.data = one.kind, one.content_type, one.data
        return new

    async def replay(
        self,
        function: Callable[..., Any],
        *,
        from_checkpoint: int = 0,
        to_seq: int = 0,
        default: Any = None,
        report: bool = True,
    ) -> Replay:
        """Run a function over what this agent wrote, and compare: see `Store.replay` for
        what it takes and raises.

        >>> async def roll(agent):
        ...     async with agent.step() as step:
        ...         step.event("rolled", step.random())
        >>> async with store.own("recordings/replay") as agent:
        ...     await roll(agent)
        ...     print((await agent.replay(roll)).events)
        1
        """
        from raftstate.client.replay import replay

        return await replay(
            self._engine,
            self.agent_id,
            function,
            from_checkpoint=from_checkpoint,
            to_seq=to_seq,
            default=default,
            report=report,
        )

    async def fetch_recordings(self) -> None:
        """Read what the bundle had no room for."""
        step = self.head.step + 1
        left = [one async for one in recorded(self._engine, self.agent_id, step, step, "", {})]
        self.recorded_now.add(left)


class StepRecordings:
    """The part of a step that is about recorded values."""

    _handle: AgentRecordings
    _request: CommitStepRequest
    # How many values of each kind it has drawn.
    _drawn: Counter[str]

    async def record(self, kind: str, function: Callable[[], Any], key: str = "") -> Any:
        """What the function gives, drawn once for this step: whoever does it again, and
        every replay, is given the same without calling.

        `kind` says what it is ("llm", "tool", "time", "random", "uuid", or a word of
        yours). The function takes nothing and may be a coroutine function; it gives bytes,
        or what JSON can hold, and everybody is given it as read again (tuples are lists).
        `key` names the value within the step; without one it is the kind's first, second
        and so on. Where calls run at the same time, name them. An error is not kept: of one
        that the step is to go on with, have the function give a value that says so.

        Raises what the function raises, TypeError or ValueError for what cannot be kept.

        >>> async with store.own("recordings/record") as agent:
        ...     async with agent.step() as step:
        ...         step.event("answered", await step.record("llm", lambda: "an answer"))
        >>> drawn = [one async for one in store.get_recorded("recordings/record")]
        >>> drawn[0].key, raftstate.decode(drawn[0])
        ('llm/1', 'an answer')
        """
        key = self._recording_key(kind, key)
        if (known := self._recorded_under(key)) is None:
            self._handle.recorded_now.missing(key)
            known = self._keep_recording(drawn(kind, key, await _given(function)))
        return value_of(known)

    def time(self, key: str = "") -> float:
        """Seconds since 1970, drawn once for this step; `key` is as in `record`.

        >>> async with store.own("recordings/time") as agent:
        ...     async with agent.step() as step:
        ...         step.event("begun", {"at": step.time()})
        >>> [one.key async for one in store.get_recorded("recordings/time")]
        ['time/1']
        """
        found: float = self._draw("time", now_time, key)
        return found

    def random(self, key: str = "") -> float:
        """A number from 0 up to 1, drawn once for this step; `key` is as in `record`.

        >>> async with store.own("recordings/random") as agent:
        ...     async with agent.step() as step:
        ...         step.event("rolled", {"dice": int(6 * step.random("dice")) + 1})
        >>> [one.key async for one in store.get_recorded("recordings/random")]
        ['dice']
        """
        found: float = self._draw("random", any_number, key)
        return found

    def uuid(self, key: str = "") -> uuid.UUID:
        """A random UUID, drawn once for this step; `key` is as in `record`.

        >>> async with store.own("recordings/uuid") as agent:
        ...     async with agent.step() as step:
        ...         step.event("ordered", {"order": str(step.uuid("order"))})
        >>> [one.key async for one in store.get_recorded("recordings/uuid")]
        ['order']
        """
        return uuid.UUID(self._draw("uuid", any_uuid, key))

    def pending_recordings(self) -> list[NewRecording]:
        """What this step has drawn so far, for a request that makes it durable before the
        step is committed. From here on it counts as drawn, whatever becomes of the
        request: a step that is done again by this handle is given it."""
        pending = list(self._request.recordings)
        for new in pending:
            self._handle.recorded_now.sent(new, surely=False)
        return pending

    def _draw(self, kind: str, function: Callable[[], Any], key: str) -> Any:
        key = self._recording_key(kind, key)
        if (known := self._recorded_under(key)) is None:
            self._handle.recorded_now.missing(key)
            known = self._keep_recording(drawn(kind, key, function()))
        return value_of(known)

    def _recording_key(self, kind: str, key: str) -> str:
        if key:
            return key
        self._drawn[kind] += 1
        return f"{kind}/{self._drawn[kind]}"

    def _recorded_under(self, key: str) -> NewRecording | None:
        """The value under a key, if there is one."""
        for new in self._request.recordings:
            if new.key == key:
                return new
        held = self._handle.recorded_now.find(key)
        if held is None:
            return None
        new, unsure = held
        if unsure:  # it goes with this step too; what is there already is left as it is
            self._request.recordings.append(new)
        return new

    def _keep_recording(self, new: NewRecording) -> NewRecording:
        """Take a value; if another came under its key meanwhile, that one counts."""
        if (earlier := self._recorded_under(new.key)) is not None:
            return earlier
        self._request.recordings.append(new)
        return new


class StateHashes:
    """What states are recognised by, for as long as it costs little."""

    def __init__(self) -> None:
        self._left_out = 0

    def add(self, request: CommitStepRequest, state: Callable[[], Any] | None) -> None:
        """Say of a step's last event what the agent's state is after it, if that is known,
        and nobody has said it."""
        if state is None or not request.events or request.events[-1].state_hash:
            return
        if self._left_out:
            self._left_out -= 1
            return
        found, size = hashed(state())
        self._left_out = size // HASHED_BYTES
        request.events[-1].state_hash = found


def hashed(state: Any) -> tuple[bytes, int]:
    """What a state is recognised by, and its size: of bytes their hash, of anything else
    that of its canonical JSON, as a checkpoint of it is read. Raises TypeError or
    ValueError for what JSON cannot hold."""
    data, content_type = values.encode(state)
    size = len(data)
    if content_type != values.BYTES:
        data = content.canonical_of_json(values.decode_as(data, content_type))
    return blake2b(data, digest_size=32).digest(), size


def plain(state: Any) -> Any:
    """A state as a checkpoint of it is read. Raises TypeError or ValueError."""
    data, content_type = values.encode(state)
    return values.decode_as(data, content_type)


def now_time() -> float:
    """Seconds since 1970."""
    return clock.wall()


def any_number() -> float:
    """A number from 0 up to 1."""
    return _SYSTEM.random()


def any_uuid() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


async def recorded(
    engine: Engine, agent_id: str, from_step: int, to_step: int, key: str, how: How
) -> AsyncIterator[Recording]:
    """An agent's recorded values."""
    request = GetRecordedRequest(
        agent_id=agent_id, from_step=from_step, to_step=to_step, key=key
    )
    async for page in reading.pages(
        engine, lambda peer: peer.replays.GetRecorded, request, how
    ):
        for one in page.recordings:
            yield one


async def _given(function: Callable[[], Any]) -> Any:
    found = function()
    return await found if inspect.isawaitable(found) else found
