"""An agent without a store: what its function writes stays in memory, for tests of it."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from raftstate.client import recordings, values


class PracticeAgent:
    """What a function is given in place of an `AgentHandle` when it is only tried.

    `recordings`, by step and key, are served; what is not there is drawn, and noted.
    Effects give what `do` would be asked for: `effects`, by action, says what; None if it
    does not. `events` is what the steps wrote."""

    agent_id = "practice"
    token_text = ""
    lost = in_doubt = False
    time_left: float = float("inf")

    def __init__(
        self,
        state: Any,
        served: dict[str, Any],
        drawing: Callable[[], AbstractContextManager[None]],
        effects: dict[str, Any] | None = None,
    ) -> None:
        self._begins_with = state
        self._served = served
        self._drawing = drawing
        self._effects = effects or {}
        self._outside: Counter[str] = Counter()
        self.step_number = 0
        self.recordings: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.events_since: list[Any] = []

    def restore(self, default: Any = None, fold: Callable[..., Any] | None = None) -> Any:
        """The state to begin with, or a copy of `default`.

        >>> async def count(agent):
        ...     return agent.restore(default={"total": 0})
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, count)
        >>> done.result
        {'total': 0}
        """
        return copy.deepcopy(default if self._begins_with is None else self._begins_with)

    def state_from(self, state: Callable[[], Any]) -> None:
        """States are not saved here, and so this one is not asked for.

        >>> async def count(agent):
        ...     total = agent.restore(default=0)
        ...     agent.state_from(lambda: total)
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, count)
        """

    def step(self, *, timeout: float | None = None) -> PracticeStep:
        """A step, whose events are noted when its block ends well. Its block raises nothing
        of its own.

        >>> async def count(agent):
        ...     async with agent.step() as step:
        ...         step.event("counted", 3)
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, count)
        >>> done.events
        [{'step': 1, 'type': 'counted', 'data': 3}]
        """
        return PracticeStep(self)

    async def checkpoint(self, state: Any, **_: Any) -> int:
        """Nothing is saved; 0, where an agent that is owned is given the checkpoint's id.

        >>> async def count(agent):
        ...     return await agent.checkpoint({"total": 3})
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, count)
        >>> done.result
        0
        """
        return 0

    async def record(
        self, kind: str, function: Callable[[], Any], key: str = "", **_: Any
    ) -> Any:
        """See `AgentHandle.record`: a value that is served, or drawn now and kept in memory.
        Raises what the function raises, TypeError or ValueError for what cannot be kept.

        >>> async def plan(agent):
        ...     return await agent.record("llm", lambda: "an answer")
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, plan)
        >>> done.result, list(done.recordings)
        ('an answer', ['1 llm@1'])
        """
        self._outside[kind] += 1
        key = key or f"{kind}@{self._outside[kind]}"
        return await self.given(f"{self.step_number + 1} {key}", function)

    async def effect(self, action: str, args: Any = None, **_: Any) -> Any:
        """What the effect is said to give, None if nothing is said; nothing is done.

        >>> async def pay(agent):
        ...     return await agent.effect("charge", {"amount": 3})
        >>> done = await asyncio.to_thread(
        ...     raftstate.replay.check_deterministic, pay, effects={"charge": "paid"}
        ... )
        >>> done.result
        'paid'
        """
        return self._effects.get(action)

    async def given(self, key: str, function: Callable[[], Any]) -> Any:
        """A value that is there, or is drawn now."""
        if (known := self.known(key)) is not None:
            return known[0]
        with self._drawing():
            value = function()
            if inspect.isawaitable(value):
                value = await value
        return self.noted(key, value)

    def drawn(self, key: str, function: Callable[[], Any]) -> Any:
        """The same without waiting."""
        if (known := self.known(key)) is not None:
            return known[0]
        with self._drawing():
            value = function()
        return self.noted(key, value)

    def known(self, key: str) -> tuple[Any] | None:
        """The value under a key, if there is one."""
        for held in (self.recordings, self._served):
            if key in held:
                self.recordings[key] = held[key]
                return (_value(held[key]),)
        return None

    def noted(self, key: str, value: Any) -> Any:
        """Keep a value; it, as it is read again."""
        data, content_type = values.encode(value)
        self.recordings[key] = [data.hex(), content_type]
        return _value(self.recordings[key])


class PracticeStep:
    """What one step writes; see `Step`."""

    def __init__(self, agent: PracticeAgent) -> None:
        self._agent = agent
        self._drawn: Counter[str] = Counter()
        self._events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._agent.step_number += 1
            self._agent.events.extend(self._events)

    def event(self, kind: str, data: Any = None, **_: Any) -> None:
        """Add an event. Raises TypeError or ValueError for what JSON cannot hold.

        >>> async def count(agent):
        ...     async with agent.step() as step:
        ...         step.event("counted", 3)
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, count)
        >>> done.events
        [{'step': 1, 'type': 'counted', 'data': 3}]
        """
        shown = values.decode_as(*values.encode(data))
        if isinstance(shown, bytes):
            shown = shown.hex()
        self._events.append({"step": self._agent.step_number + 1, "type": kind, "data": shown})

    def checkpoint(self, state: Any, **_: Any) -> None:
        """The state after the step has to be the same each time, too. Raises TypeError or
        ValueError for what JSON cannot hold.

        >>> async def count(agent):
        ...     async with agent.step() as step:
        ...         step.checkpoint({"total": 3})
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, count)
        >>> done.events
        [{'step': 1, 'state': {'total': 3}}]
        """
        self._events.append(
            {"step": self._agent.step_number + 1, "state": recordings.plain(state)}
        )

    async def effect(self, action: str, args: Any = None, **_: Any) -> Any:
        """What the effect is said to give; nothing is done, but that it was asked for is
        noted. Raises TypeError or ValueError for arguments that JSON cannot hold.

        >>> async def pay(agent):
        ...     async with agent.step() as step:
        ...         return await step.effect("charge", 3, do=None)
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, pay)
        >>> done.events
        [{'step': 1, 'effect': 'charge', 'args': 3}]
        """
        self._events.append(
            {
                "step": self._agent.step_number + 1,
                "effect": action,
                "args": recordings.plain(args),
            }
        )
        return await self._agent.effect(action, args)

    async def record(self, kind: str, function: Callable[[], Any], key: str = "") -> Any:
        """See `Step.record`: a value that is served, or drawn now and kept in memory. Raises
        what the function raises, TypeError or ValueError for what cannot be kept.

        >>> async def plan(agent):
        ...     async with agent.step() as step:
        ...         return await step.record("llm", lambda: "an answer")
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, plan)
        >>> done.result, list(done.recordings)
        ('an answer', ['1 llm/1'])
        """
        return await self._agent.given(self._key(kind, key), function)

    def time(self, key: str = "") -> float:
        """Seconds since 1970: see `Step.time`.

        >>> async def begin(agent):
        ...     async with agent.step() as step:
        ...         step.event("begun", {"at": step.time()})
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, begin)
        >>> list(done.recordings)
        ['1 time/1']
        """
        found: float = self._agent.drawn(self._key("time", key), recordings.now_time)
        return found

    def random(self, key: str = "") -> float:
        """A number from 0 up to 1: see `Step.random`.

        >>> async def roll(agent):
        ...     async with agent.step() as step:
        ...         step.event("rolled", {"dice": int(6 * step.random("dice")) + 1})
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, roll)
        >>> list(done.recordings)
        ['1 dice']
        """
        found: float = self._agent.drawn(self._key("random", key), recordings.any_number)
        return found

    def uuid(self, key: str = "") -> UUID:
        """A random UUID: see `Step.uuid`.

        >>> async def order(agent):
        ...     async with agent.step() as step:
        ...         step.event("ordered", {"order": str(step.uuid("order"))})
        >>> done = await asyncio.to_thread(raftstate.replay.check_deterministic, order)
        >>> list(done.recordings)
        ['1 order']
        """
        return UUID(self._agent.drawn(self._key("uuid", key), recordings.any_uuid))

    def _key(self, kind: str, key: str) -> str:
        if not key:
            self._drawn[kind] += 1
            key = f"{kind}/{self._drawn[kind]}"
        return f"{self._agent.step_number + 1} {key}"


def practising(agent: PracticeAgent) -> PracticeAgent:
    """What a function is given: here, the agent itself."""
    return agent


def _value(held: list[str]) -> Any:
    data, content_type = held
    return values.decode_as(bytes.fromhex(data), content_type)
