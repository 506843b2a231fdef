"""When a step carries a checkpoint by itself.

    async with store.own("billing", auto_checkpoint=Every(steps=20)) as agent:
        state = agent.restore(default={"done": 0}, fold=apply)
        agent.state_from(lambda: state)

A policy is asked whenever a step is about to be committed: whether the step should hold a
checkpoint too. It is told what has happened since the last one, this step included, and
what things have cost so far.

`ForRpo` chooses by itself. After a crash, a successor has to replay the events since the
newest checkpoint. Their work is

    w = events x r                r: seconds to replay one event, as `restore` measured;
    w = seconds since then        if nothing was measured: to do them took no less

and with u, the work of one more step (the mean of those taken), a checkpoint is due when

    w + u > target

so that what is left to replay stays below the target at every moment (unless one step
alone is more). That is the latest moment, and so the least overhead. If the mean time
between failures M is given, and the cost c of a checkpoint was measured, it is also due
when the work lost and the cost of saving are together the least: after

    T = sqrt(2 c M)

seconds, J. W. Young's first-order optimum ("A first order approximation to the optimum
checkpoint interval", CACM 17(9), 1974). J. T. Daly's later terms (FGCS 22, 2006) differ
from it by less than c while c is small beside M.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from raftstate.client.clock import now
from raftstate.errors import InvalidRequest
from raftstate.v1.agent_service_pb2 import TakeoverBundle
from raftstate.v1.event_service_pb2 import Event

# How much the newest measurement counts.
_WEIGHT: Final = 0.25


class Inherited(NamedTuple):
    """What former owners have done since the newest checkpoint. Their seconds are those
    from it to the newest event, in log time."""

    steps: int = 0
    events: int = 0
    bytes: int = 0
    seconds: float = 0.0


def inherited(bundle: TakeoverBundle, events: list[Event]) -> Inherited:
    """What the former owners of an agent have done, of which these events are left."""
    seconds = 0.0
    if events:
        # Without a checkpoint, from the first event on.
        began = bundle.checkpoint.log_time_ms or events[0].log_time_ms
        seconds = max(events[-1].log_time_ms - began, 0) / 1000
    return Inherited(
        steps=bundle.agent.head.step - bundle.checkpoint.step,
        events=len(events),
        bytes=sum(len(one.data) for one in events),
        seconds=seconds,
    )


class Since(NamedTuple):
    """What has happened since the newest checkpoint, the step at hand and what is
    `inherited` included."""

    steps: int
    events: int
    bytes: int
    seconds: float
    inherited: Inherited = Inherited()


@dataclass(slots=True)
class Costs:
    """What things have cost so far, in seconds: recent ones count more. None: unknown."""

    checkpoint: float | None = None
    replay_event: float | None = None
    commit: float | None = None

    def committed(self, seconds: float) -> None:
        """A step without a checkpoint took so long to commit."""
        self.commit = _mixed(self.commit, seconds)

    def saved(self, seconds: float) -> None:
        """A step with a checkpoint took so long to encode, send and commit."""
        self.checkpoint = _mixed(self.checkpoint, max(seconds - (self.commit or 0.0), 0.0))

    def replayed(self, events: int, seconds: float) -> None:
        """So many events took so long to replay."""
        if events:
            self.replay_event = _mixed(self.replay_event, seconds / events)


def _mixed(known: float | None, new: float) -> float:
    return new if known is None else known + _WEIGHT * (new - known)


class Policy(Protocol):
    """When a checkpoint is due."""

    def fixed(self, rpo_target: float) -> Policy:
        """The policy for an agent with this target in seconds; zero: it has none."""
        ...

    def due(self, since: Since, costs: Costs) -> bool:
        """Whether the step at hand should carry one."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """A checkpoint every so many steps, bytes of events, or seconds, whichever is first.
    Raises InvalidRequest (definite) if none is given, or one that is not more than 0.

    >>> async with store.own("every", auto_checkpoint=raftstate.Every(steps=2)) as agent:
    ...     agent.state_from(lambda: {"done": agent.head.step + 1})
    ...     for number in range(3):
    ...         async with agent.step() as step:
    ...             step.event("done", number)
    >>> [one.step async for one in store.list_checkpoints("every")]
    [2]
    """

    steps: int | None = None
    bytes: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [one for one in (self.steps, self.bytes, self.seconds) if one is not None]
        if not given or any(not one > 0 for one in given):
            raise _wrong("Every needs steps, bytes or seconds, each more than 0")

    def fixed(self, rpo_target: float) -> Every:
        return self

    def due(self, since: Since, costs: Costs) -> bool:
        return (
            (self.steps is not None and since.steps >= self.steps)
            or (self.bytes is not None and since.bytes >= self.bytes)
            or (self.seconds is not None and since.seconds >= self.seconds)
        )


@dataclass(frozen=True, slots=True)
class ForRpo:
    """As few checkpoints as hold an RPO target: the agent's own, unless one is given here.

    `mtbf` is the mean time between failures, if it is known. All in seconds. Raises
    InvalidRequest (definite) for what is not more than 0; so does owning an agent that has
    no target where none is given here.

    >>> policy = raftstate.ForRpo(target=30.0)
    >>> async with store.own("for-rpo", auto_checkpoint=policy) as agent:
    ...     agent.state_from(lambda: {"done": 1})
    ...     async with agent.step() as step:
    ...         step.event("done", 1)
    >>> [one.step async for one in store.list_checkpoints("for-rpo")]
    []
    """

    target: float | None = None
    mtbf: float | None = None

    def __post_init__(self) -> None:
        for one in (self.target, self.mtbf):
            if one is not None and not one > 0:
                raise _wrong("ForRpo takes a target and a mtbf of more than 0 seconds")

    def fixed(self, rpo_target: float) -> ForRpo:
        if self.target is None and not rpo_target:
            raise _wrong("the agent has no rpo_target_ms, and ForRpo was given no target")
        return ForRpo(self.target or rpo_target, self.mtbf)

    def due(self, since: Since, costs: Costs) -> bool:
        assert self.target is not None
        before = since.inherited
        if costs.replay_event is None:
            work, inherited = since.seconds, before.seconds
        else:
            work = since.events * costs.replay_event
            inherited = before.events * costs.replay_event
        if work + (work - inherited) / (since.steps - before.steps) > self.target:
            return True
        if self.mtbf is None or costs.checkpoint is None:
            return False
        return since.seconds >= math.sqrt(2 * costs.checkpoint * self.mtbf)


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": "auto_checkpoint"})


class Autosave:
    """Keeps account for one ownership, and asks the policy."""

    def __init__(
        self,
        policy: Policy | None,
        inherited: Inherited = Inherited(),  # noqa: B008  # it cannot be changed
        clock: Callable[[], float] = now,
    ) -> None:
        self.costs: Costs = Costs()
        self._policy = policy
        self._clock = clock
        self._inherited = inherited
        self._steps, self._events, self._bytes, _ = inherited
        self._at = clock() - inherited.seconds

    @property
    def on(self) -> bool:
        """Whether there is a policy."""
        return self._policy is not None

    def due(self, events: int, size: int) -> bool:
        """Whether a step of so many events and bytes should carry a checkpoint."""
        since = Since(
            steps=self._steps + 1,
            events=self._events + events,
            bytes=self._bytes + size,
            seconds=self._clock() - self._at,
            inherited=self._inherited,
        )
        return self._policy is not None and self._policy.due(since, self.costs)

    def committed(self, events: int, size: int, began: float) -> None:
        """A step without a checkpoint was committed, which began then."""
        self._steps += 1
        self._events += events
        self._bytes += size
        self.costs.committed(self._clock() - began)

    def saved(self, began: float) -> None:
        """A checkpoint was committed, of which the work began then."""
        self._inherited = Inherited()
        self._steps = self._events = self._bytes = 0
        self._at = self._clock()
        self.costs.saved(self._at - began)

    def clock(self) -> float:
        """The time by which all this goes."""
        return self._clock()
