# Generated from raftstate/client/practice.py by scripts/generate. Not to be edited.

"""An agent without a store: what its function writes stays in memory, for tests of
it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from raftstate.client import determinism
from raftstate.client import practice as face
from raftstate.client.determinism import Produced
from raftstate.sync.running import Face, plain
from raftstate.sync.trying import AtOnce


def practising(agent: face.PracticeAgent) -> PracticeAgent:
    """What a function is given, which is to be a plain one."""
    return PracticeAgent(agent, AtOnce())


def check_deterministic(
    target: str | Callable[..., Any],
    /,
    *arguments: Any,
    agent: bool | None = None,
    state: Any = None,
    effects: dict[str, Any] | None = None,
    timeout: float = 60.0,
) -> Produced:
    """Run a plain function twice, and raise UndeclaredNondeterminism unless it does the same
    both times and draws nothing that it does not declare: see
    `raftstate.replay.check_deterministic`. Its agent is a `PracticeAgent` of this face.

    Raises what the function raises, and TypeError if its result is no value of JSON."""
    if not isinstance(target, str):
        plain(target)
    return determinism.check_deterministic(
        target,
        *arguments,
        agent=agent,
        state=state,
        effects=effects,
        timeout=timeout,
        face=__name__,
    )


class PracticeAgent(Face, of=face.PracticeAgent):
    """What a function is given in place of an `AgentHandle` when it is only tried.

    `recordings`, by step and key, are served; what is not there is drawn, and noted.
    Effects give what `do` would be asked for: `effects`, by action, says what; None if it
    does not. `events` is what the steps wrote."""

    @property
    def _it(self) -> face.PracticeAgent:
        return cast(face.PracticeAgent, self._object)

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self._it.agent_id

    @property
    def token_text(self) -> str:
        """The fencing token as text."""
        return self._it.token_text

    @property
    def lost(self) -> bool:
        """Always false."""
        return self._it.lost

    @property
    def in_doubt(self) -> bool:
        """Always false."""
        return self._it.in_doubt

    @property
    def time_left(self) -> float:
        """For ever."""
        return self._it.time_left

    @property
    def step_number(self) -> int:
        """How many steps were committed."""
        return self._it.step_number

    @property
    def recordings(self) -> dict[str, Any]:
        """What was drawn, by step and key."""
        return self._it.recordings

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the steps wrote."""
        return self._it.events

    @property
    def events_since(self) -> list[Any]:
        """None."""
        return self._it.events_since

    def restore(self, default: Any = None, fold: Callable[..., Any] | None = None) -> Any:
        """The state to begin with, or a copy of `default`.

        >>> def count(agent):
        ...     return agent.restore(default={"total": 0})
        >>> done = raftstate.sync.replay.check_deterministic(count)
        >>> done.result
        {'total': 0}
        """
        return self._it.restore(default, fold if fold is None else plain(fold))

    def state_from(self, state: Callable[[], Any]) -> None:
        """States are not saved here, and so this one is not asked for.

        >>> def count(agent):
        ...     total = agent.restore(default=0)
        ...     agent.state_from(lambda: total)
        >>> done = raftstate.sync.replay.check_deterministic(count)
        """
        self._it.state_from(plain(state))

    def step(self, *, timeout: float | None = None) -> PracticeStep:
        """A step, whose events are noted when its block ends well. Its block raises nothing
        of its own.

        >>> def count(agent):
        ...     with agent.step() as step:
        ...         step.event("counted", 3)
        >>> done = raftstate.sync.replay.check_deterministic(count)
        >>> done.events
        [{'step': 1, 'type': 'counted', 'data': 3}]
        """
        return PracticeStep(self._it.step(timeout=timeout), self._running)

    def checkpoint(self, state: Any, **_: Any) -> int:
        """Nothing is saved; 0, where an agent that is owned is given the checkpoint's id.

        >>> def count(agent):
        ...     return agent.checkpoint({"total": 3})
        >>> done = raftstate.sync.replay.check_deterministic(count)
        >>> done.result
        0
        """
        return self._do(self._it.checkpoint(state, **_))

    def record(self, kind: str, function: Callable[[], Any], key: str = "", **_: Any) -> Any:
        """See `AgentHandle.record`: a value that is served, or drawn now and kept in
        memory. Raises what the function raises, TypeError or ValueError for what cannot be
        kept.

        >>> def plan(agent):
        ...     return agent.record("llm", lambda: "an answer")
        >>> done = raftstate.sync.replay.check_deterministic(plan)
        >>> done.result, list(done.recordings)
        ('an answer', ['1 llm@1'])
        """
        return self._do(self._it.record(kind, self._running.carried(function), key, **_))

    def effect(self, action: str, args: Any = None, **_: Any) -> Any:
        """What the effect is said to give, None if nothing is said; nothing is done.

        >>> def pay(agent):
        ...     return agent.effect("charge", {"amount": 3})
        >>> done = raftstate.sync.replay.check_deterministic(pay, effects={"charge": "paid"})
        >>> done.result
        'paid'
        """
        return self._do(self._it.effect(action, args, **_))


class PracticeStep(Face, of=face.PracticeStep):
    """What one step writes; see `Step`."""

    @property
    def _it(self) -> face.PracticeStep:
        return cast(face.PracticeStep, self._object)

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.leave(self._it.__aexit__, error, trace)

    def event(self, kind: str, data: Any = None, **_: Any) -> None:
        """Add an event. Raises TypeError or ValueError for what JSON cannot hold.

        >>> def count(agent):
        ...     with agent.step() as step:
        ...         step.event("counted", 3)
        >>> done = raftstate.sync.replay.check_deterministic(count)
        >>> done.events
        [{'step': 1, 'type': 'counted', 'data': 3}]
        """
        return self._it.event(kind, data, **_)

    def checkpoint(self, state: Any, **_: Any) -> None:
        """The state after the step has to be the same each time, too. Raises TypeError or
        ValueError for what JSON cannot hold.

        >>> def count(agent):
        ...     with agent.step() as step:
        ...         step.checkpoint({"total": 3})
        >>> done = raftstate.sync.replay.check_deterministic(count)
        >>> done.events
        [{'step': 1, 'state': {'total': 3}}]
        """
        return self._it.checkpoint(state, **_)

    def effect(self, action: str, args: Any = None, **_: Any) -> Any:
        """What the effect is said to give; nothing is done, but that it was asked for is
        noted. Raises TypeError or ValueError for arguments that JSON cannot hold.

        >>> def pay(agent):
        ...     with agent.step() as step:
        ...         return step.effect("charge", 3, do=None)
        >>> done = raftstate.sync.replay.check_deterministic(pay)
        >>> done.events
        [{'step': 1, 'effect': 'charge', 'args': 3}]
        """
        return self._do(self._it.effect(action, args, **_))

    def record(self, kind: str, function: Callable[[], Any], key: str = "") -> Any:
        """See `Step.record`: a value that is served, or drawn now and kept in memory.
        Raises what the function raises, TypeError or ValueError for what cannot be kept.

        >>> def plan(agent):
        ...     with agent.step() as step:
        ...         return step.record("llm", lambda: "an answer")
        >>> done = raftstate.sync.replay.check_deterministic(plan)
        >>> done.result, list(done.recordings)
        ('an answer', ['1 llm/1'])
        """
        return self._do(self._it.record(kind, self._running.carried(function), key))

    def time(self, key: str = "") -> float:
        """Seconds since 1970: see `Step.time`.

        >>> def begin(agent):
        ...     with agent.step() as step:
        ...         step.event("begun", {"at": step.time()})
        >>> done = raftstate.sync.replay.check_deterministic(begin)
        >>> list(done.recordings)
        ['1 time/1']
        """
        return self._it.time(key)

    def random(self, key: str = "") -> float:
        """A number from 0 up to 1: see `Step.random`.

        >>> def roll(agent):
        ...     with agent.step() as step:
        ...         step.event("rolled", {"dice": int(6 * step.random("dice")) + 1})
        >>> done = raftstate.sync.replay.check_deterministic(roll)
        >>> list(done.recordings)
        ['1 dice']
        """
        return self._it.random(key)

    def uuid(self, key: str = "") -> UUID:
        """A random UUID: see `Step.uuid`.

        >>> def order(agent):
        ...     with agent.step() as step:
        ...         step.event("ordered", {"order": str(step.uuid("order"))})
        >>> done = raftstate.sync.replay.check_deterministic(order)
        >>> list(done.recordings)
        ['1 order']
        """
        return self._it.uuid(key)
