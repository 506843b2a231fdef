# Generated from raftstate/client/replaying.py by scripts/generate. Not to be edited.

"""An agent that is replayed: the same function once more, over what it wrote.

A `ReplayAgent` is what the function is given instead of an owned agent. Everything that it
draws is served from what was recorded, effects give what the ledger says that they gave,
and nothing is written: each step's events are held against those of the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack, cast

from raftstate.client import replaying as face
from raftstate.client.doing import EffectOptions
from raftstate.sync.ownership import Step
from raftstate.sync.recordings import AgentRecordings
from raftstate.sync.running import plain, plain_options
from raftstate.v1.agent_service_pb2 import TakeoverBundle
from raftstate.v1.common_pb2 import FencingToken, StepHead
from raftstate.v1.effect_service_pb2 import Effect, Saga
from raftstate.v1.event_service_pb2 import Event


class ReplayAgent(AgentRecordings, of=face.ReplayAgent):
    """What a function is given in a replay, in place of an `AgentHandle`."""

    @property
    def _it(self) -> face.ReplayAgent:
        return cast(face.ReplayAgent, self._object)

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self._it.agent_id

    @property
    def token(self) -> FencingToken:
        """The fencing token of this ownership."""
        return self._it.token

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
    def head(self) -> StepHead:
        """The agent's newest step, event and checkpoint, as far as this handle knows."""
        return self._it.head

    @property
    def bundle(self) -> TakeoverBundle:
        """What the store gave when the agent was taken over."""
        return self._it.bundle

    @property
    def events_since(self) -> list[Event]:
        """The events after the newest checkpoint, when the agent was taken over."""
        return self._it.events_since

    @property
    def open_effects(self) -> list[Effect]:
        """None."""
        return self._it.open_effects

    @property
    def open_sagas(self) -> list[Saga]:
        """None."""
        return self._it.open_sagas

    @property
    def steps(self) -> int:
        """How many steps were done again."""
        return self._it.steps

    @property
    def events(self) -> int:
        """How many events were made again."""
        return self._it.events

    def restore(
        self, default: Any = None, fold: Callable[[Any, Event], Any] | None = None
    ) -> Any:
        """The state that the replay begins with: no events come after it.

        >>> def count(agent):
        ...     total = agent.restore(default=0)
        ...     with agent.step() as step:
        ...         step.event("counted", total + 1)
        >>> with store.own("replayed/restore") as agent:
        ...     count(agent)
        >>> (store.replay("replayed/restore", count)).events
        1
        """
        return self._it.restore(default, fold if fold is None else plain(fold))

    def state_from(self, state: Callable[[], Any]) -> None:
        """Where the state comes from that is held against what was written: see
        `AgentHandle.state_from`.

        >>> def count(agent):
        ...     state = agent.restore(default={"total": 0})
        ...     agent.state_from(lambda: state)
        ...     with agent.step() as step:
        ...         state["total"] += 1
        ...         step.event("counted", 1)
        >>> with store.own("replayed/state") as agent:
        ...     count(agent)
        >>> done = store.replay("replayed/state", count)
        >>> done.state, done.hashes_compared
        ({'total': 1}, 1)
        """
        self._states.take(state)
        self._it.state_from(self._states.last)

    def step(self, *, timeout: float | None = None) -> Step:
        """A step that writes nothing: at its block's end its events are held against those
        that were written. The first difference ends the replay, whatever the function does
        about it, with ReplayDiverged (definite).

        >>> def count(agent, amount=1):
        ...     with agent.step() as step:
        ...         step.event("counted", amount)
        >>> with store.own("replayed/step") as agent:
        ...     count(agent, 2)
        >>> store.replay("replayed/step", count, report=False)
        Traceback (most recent call last):
        raftstate.errors.ReplayDiverged: ...another event was made...
        """
        made = Step(self._it.step(timeout=timeout), self._running)
        made._states = self._states
        return made

    def record(
        self,
        kind: str,
        function: Callable[[], Any],
        key: str = "",
        *,
        timeout: float | None = None,
    ) -> Any:
        """What was recorded; the function is not called. See `AgentHandle.record`. A value
        that was not recorded ends the replay with ReplayDiverged (definite).

        >>> def roll(agent):
        ...     dice = agent.record("random", lambda: 4)
        ...     with agent.step() as step:
        ...         step.event("rolled", dice)
        >>> with store.own("replayed/record") as agent:
        ...     roll(agent)
        >>> (store.replay("replayed/record", roll)).events
        1
        """
        return self._do(
            self._it.record(kind, self._running.carried(function), key, timeout=timeout)
        )

    def effect(
        self,
        action: str,
        args: Any = None,
        *,
        effect_id: str,
        do: Callable[..., Any],
        timeout: float | None = None,
        **options: Unpack[EffectOptions],
    ) -> Any:
        """What the effect gave when it was done; `do` is not called. One that was not done
        raises what it raised then: NotDone, EffectTooLate (definite) or EffectUnknown
        (indefinite). One that is not in the ledger, or has other arguments there, ends the
        replay with ReplayDiverged (definite).

        >>> sent = []
        >>> def send(call):
        ...     sent.append(call.key)
        >>> def mail(agent):
        ...     agent.effect("mail", effect_id="mail", kind="irreversible", do=send)
        ...     with agent.step() as step:
        ...         step.event("mailed")
        >>> with store.own("replayed/effect") as agent:
        ...     mail(agent)
        >>> done = store.replay("replayed/effect", mail)
        >>> len(sent)
        1
        """
        return self._do(
            self._it.effect(
                action,
                args,
                effect_id=effect_id,
                do=plain(do),
                timeout=timeout,
                **plain_options(options),
            )
        )

    def checkpoint(self, state: Any, **_: Any) -> int:
        """Nothing is saved; what was saved then has to be the same, or the replay ends with
        ReplayDiverged (definite). The id of the checkpoint that the replay began with.

        >>> def count(agent):
        ...     with agent.step() as step:
        ...         step.event("counted", 1)
        ...     agent.checkpoint({"total": 1})
        ...     with agent.step() as step:
        ...         step.event("counted", 1)
        >>> with store.own("replayed/checkpoint") as agent:
        ...     count(agent)
        >>> (store.replay("replayed/checkpoint", count)).checkpoints_compared
        1
        """
        return self._do(self._it.checkpoint(state, **_))
