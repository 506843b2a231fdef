"""An agent that is replayed: the same function once more, over what it wrote.

A `ReplayAgent` is what the function is given instead of an owned agent. Everything that it
draws is served from what was recorded, effects give what the ledger says that they gave,
and nothing is written: each step's events are held against those of the log.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, Final, Unpack

from raftstate.client import acts, values
from raftstate.client.doing import EffectOptions
from raftstate.client.history import Diverged, Divergence, History, event_hash
from raftstate.client.ownership import Step
from raftstate.client.recordings import AgentRecordings, Recorded, hashed
from raftstate.client.saving import Draft
from raftstate.errors import EffectTooLate, EffectUnknown
from raftstate.v1.agent_service_pb2 import Agent, TakeoverBundle
from raftstate.v1.common_pb2 import FencingToken, StepHead
from raftstate.v1.effect_service_pb2 import (
    EFFECT_STATE_COMMITTED,
    EFFECT_STATE_COMPENSATED,
    EFFECT_STATE_RECONCILED,
    EFFECT_STATE_UNKNOWN,
    FOUND_DONE,
    SAGA_STATE_COMPENSATED,
    AbortSagaResponse,
    BeginSagaResponse,
    Effect,
    EndSagaResponse,
    Saga,
)
from raftstate.v1.event_service_pb2 import Event, NewEvent
from raftstate.v1.step_service_pb2 import CommitStepRequest, CommitStepResponse

# What a saga is answered, which has done then whatever it does.
_SAGAS: Final = {
    "begin_saga": BeginSagaResponse(),
    "end_saga": EndSagaResponse(),
    "abort_saga": AbortSagaResponse(state=SAGA_STATE_COMPENSATED),
}


class Over(BaseException):
    """Ends a replay where the log does, through whatever runs in it."""


class _Served(Recorded):
    """Recorded values of which there are no others than those of the log."""

    def __init__(self, agent: ReplayAgent) -> None:
        super().__init__(agent.head.step + 1)
        self._agent = agent

    def missing(self, key: str) -> None:
        self._agent.diverged(f"step {self._step} draws {key!r}, which was not recorded")


class ReplayAgent(AgentRecordings):
    """What a function is given in a replay, in place of an `AgentHandle`."""

    token: FencingToken = FencingToken()
    token_text = ""
    lost = in_doubt = False
    time_left: float = float("inf")

    def __init__(self, history: History) -> None:
        self._engine = history.engine
        self._history = history
        self.agent_id: str = history.agent_id
        began = history.checkpoint
        self.head: StepHead = StepHead(
            step=began.step,
            event_seq=began.event_seq,
            checkpoint_id=began.checkpoint_id,
        )
        self.bundle: TakeoverBundle = TakeoverBundle(
            agent=Agent(agent_id=self.agent_id, head=self.head)
        )
        self.events_since: list[Event] = []
        self.open_effects: list[Effect] = []
        self.open_sagas: list[Saga] = []
        self.recorded: Recorded = _Served(self)
        self.steps: int = 0
        self.events: int = 0
        self._state: Callable[[], Any] | None = None
        self._step_open = False
        self._ready = 0
        self._found: Divergence | None = None

    # --- what the function sees ---

    def restore(
        self, default: Any = None, fold: Callable[[Any, Event], Any] | None = None
    ) -> Any:
        """The state that the replay begins with: no events come after it.

        >>> async def count(agent):
        ...     total = agent.restore(default=0)
        ...     async with agent.step() as step:
        ...         step.event("counted", total + 1)
        >>> async with store.own("replayed/restore") as agent:
        ...     await count(agent)
        >>> (await store.replay("replayed/restore", count)).events
        1
        """
        if self._history.checkpoint.checkpoint_id:
            return values.decode(self._history.checkpoint)
        return copy.deepcopy(default)

    def state_from(self, state: Callable[[], Any]) -> None:
        """Where the state comes from that is held against what was written: see
        `AgentHandle.state_from`.

        >>> async def count(agent):
        ...     state = agent.restore(default={"total": 0})
        ...     agent.state_from(lambda: state)
        ...     async with agent.step() as step:
        ...         state["total"] += 1
        ...         step.event("counted", 1)
        >>> async with store.own("replayed/state") as agent:
        ...     await count(agent)
        >>> done = await store.replay("replayed/state", count)
        >>> done.state, done.hashes_compared
        ({'total': 1}, 1)
        """
        self._state = state

    def step(self, *, timeout: float | None = None) -> Step:
        """A step that writes nothing: at its block's end its events are held against those
        that were written. The first difference ends the replay, whatever the function does
        about it, with ReplayDiverged (definite).

        >>> async def count(agent, amount=1):
        ...     async with agent.step() as step:
        ...         step.event("counted", amount)
        >>> async with store.own("replayed/step") as agent:
        ...     await count(agent, 2)
        >>> await store.replay("replayed/step", count, report=False)
        Traceback (most recent call last):
        raftstate.errors.ReplayDiverged: ...another event was made...
        """
        return _ReplayStep(self, timeout)  # type: ignore[arg-type]

    async def record(
        self,
        kind: str,
        function: Callable[[], Any],
        key: str = "",
        *,
        timeout: float | None = None,
    ) -> Any:
        """What was recorded; the function is not called. See `AgentHandle.record`. A value
        that was not recorded ends the replay with ReplayDiverged (definite).

        >>> async def roll(agent):
        ...     dice = await agent.record("random", lambda: 4)
        ...     async with agent.step() as step:
        ...         step.event("rolled", dice)
        >>> async with store.own("replayed/record") as agent:
        ...     await roll(agent)
        >>> (await store.replay("replayed/record", roll)).events
        1
        """
        await self._prepare()
        return await super().record(kind, function, key, timeout=timeout)

    async def effect(
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
        >>> async def mail(agent):
        ...     await agent.effect("mail", effect_id="mail", kind="irreversible", do=send)
        ...     async with agent.step() as step:
        ...         step.event("mailed")
        >>> async with store.own("replayed/effect") as agent:
        ...     await mail(agent)
        >>> done = await store.replay("replayed/effect", mail)
        >>> len(sent)
        1
        """
        await self._prepare()
        return await self.effect_done(effect_id, args)

    async def write(self, kind: str, request: Any, timeout: float | None = None) -> Any:
        """Nothing is written: a saga begins and ends as it did then."""
        if kind not in _SAGAS:
            raise RuntimeError(f"a replay of {self.agent_id} does not {kind}")
        return _SAGAS[kind]

    async def checkpoint(self, state: Any, **_: Any) -> int:
        """Nothing is saved; what was saved then has to be the same, or the replay ends with
        ReplayDiverged (definite). The id of the checkpoint that the replay began with.

        >>> async def count(agent):
        ...     async with agent.step() as step:
        ...         step.event("counted", 1)
        ...     await agent.checkpoint({"total": 1})
        ...     async with agent.step() as step:
        ...         step.event("counted", 1)
        >>> async with store.own("replayed/checkpoint") as agent:
        ...     await count(agent)
        >>> (await store.replay("replayed/checkpoint", count)).checkpoints_compared
        1
        """
        await self.enter_step()
        self.leave_step()
        await self._history.compare_saved(None, self.head.event_seq, state)
        return int(self.head.checkpoint_id)

    # --- what a step sees ---

    async def enter_step(self) -> None:
        """Begin the next step, or end the replay."""
        if self._step_open:
            raise RuntimeError(f"a step of {self.agent_id} is already open")
        if self._found is not None:
            raise Diverged(self._found)
        await self._prepare()
        self._step_open = True

    def leave_step(self) -> None:
        """The step is over, however it ended."""
        self._step_open = False
        self.recorded.step_over()

    async def note_closings(self) -> None:
        """Nothing is entered into the ledger."""

    async def commit(
        self, request: CommitStepRequest, draft: Draft | None, timeout: float | None
    ) -> CommitStepResponse:
        """Hold what the step wrote against what was written."""
        try:
            await self._compare(request, draft)
        except Diverged as error:
            self._found = error.divergence
            raise
        self.steps += 1
        return CommitStepResponse(head=self.head)

    def diverged(self, why: str, event: Event | None = None) -> None:
        """It is not what was written. Raises Diverged."""
        seq = self.head.event_seq + 1 if event is None else event.seq
        self._found = Divergence(why=why, seq=seq, event=event)
        raise Diverged(self._found)

    async def effect_done(self, effect_id: str, args: Any) -> Any:
        """What an effect gave. One that was not done raises, as it did then."""
        found: Effect | None = None
        number, at = 1, effect_id
        while (effect := await self._history.effect(at)) is not None:
            found, number = effect, number + 1
            at = f"{effect_id}~{number}"
        if found is None:
            self.diverged(f"effect {effect_id} is not in the ledger")
        assert found is not None
        data, content_type = values.encode(args)
        if (data, content_type) != (found.arguments, found.content_type):
            self.diverged(f"effect {found.effect_id} was asked for with other arguments")
        done = found.state in (EFFECT_STATE_COMMITTED, EFFECT_STATE_COMPENSATED) or (
            found.state == EFFECT_STATE_RECONCILED and found.found == FOUND_DONE
        )
        if not done:
            raise _as_then(found)
        return acts.json_or_bytes(found.result, found.result_content_type)

    # --- how ---

    async def _prepare(self) -> None:
        """Have at hand what the next step drew. Raises Over where the log ends."""
        if await self._history.peek() is None:
            raise Over
        step = self._history.after(self.head.step)
        if step != self._ready:
            self.head.step = step - 1
            self.recorded_now.add(await self._history.recordings(step))
            self._ready = step

    async def _compare(self, request: CommitStepRequest, draft: Draft | None) -> None:
        made = list(request.events)
        first = await self._history.peek()
        if not made:
            if first is not None and first.step == self.head.step + 1:
                self._missing(first)
            self.head.step += 1
            return
        written = await self._history.group()
        self._say_state(written, made)
        for event, new in zip(written, made, strict=False):
            self._history.compare_event(event, new)
        last = written[-1]
        ended = last.seq >= self._history.to_seq
        if len(made) < len(written):
            self._missing(written[len(made)])
        if len(made) > len(written) and not ended:
            self._extra(last.seq + 1, made[len(written)])
        self.events += len(written)
        self.head.step, self.head.event_seq = last.step, last.seq
        if len(made) <= len(written):
            await self._compare_state(last, draft)

    def _say_state(self, written: list[Event], made: list[NewEvent]) -> None:
        """Have the hash of the state after the step wherever one was written: large states
        have one only now and then, and when depends on where one began."""
        if self._state is None or len(written) != len(made) or made[-1].state_hash:
            return
        if written[-1].state_hash:
            made[-1].state_hash, _ = hashed(self._state())

    async def _compare_state(self, last: Event, draft: Draft | None) -> None:
        if draft is not None:
            state = values.decode_as(draft.data, draft.content_type)
        elif self._state is not None:
            state = self._state()
        else:
            return
        await self._history.compare_saved(last, last.seq, state)

    def _missing(self, event: Event) -> None:
        raise Diverged(
            Divergence(
                why=f"no {event.type} was made",
                seq=event.seq,
                expected_hash=event_hash(event),
                event=event,
            )
        )

    def _extra(self, seq: int, made: NewEvent) -> None:
        raise Diverged(
            Divergence(
                why=f"a {made.type} was made, which was not written",
                seq=seq,
                actual_hash=event_hash(made),
            )
        )

    @property
    def state(self) -> Any:
        """The agent's state now, as `state_from` gives it; None if nobody said where."""
        return None if self._state is None else self._state()

    async def finished(self) -> None:
        """The function has returned. Raises Diverged if the log goes on."""
        if self._found is not None:
            raise Diverged(self._found)
        if (event := await self._history.peek()) is not None:
            self._missing(event)


class _ReplayStep(Step):
    """A step that writes nothing."""

    async def effect(
        self,
        action: str,
        args: Any = None,
        *,
        do: Callable[..., Any],
        effect_id: str = "",
        timeout: float | None = None,
        **options: Unpack[EffectOptions],
    ) -> Any:
        agent: Any = self._handle
        return await agent.effect_done(effect_id or self._next_id(action), args)


def _as_then(effect: Effect) -> Exception:
    """What an effect that was not done raised then, as far as the ledger says."""
    kind, _, text = effect.error.partition(": ")
    if kind == EffectTooLate.__name__:
        return EffectTooLate(text, definite=True)
    if effect.state == EFFECT_STATE_UNKNOWN:
        return EffectUnknown(effect.error, definite=False)
    return acts.NotDone(text if kind == acts.NotDone.__name__ else effect.error)


async def run(history: History, function: Callable[[Any], Any]) -> ReplayAgent:
    """Run an agent's function over what it wrote. Raises Diverged, and what the function
    raises."""
    agent = ReplayAgent(history)
    try:
        result = function(agent)
        if inspect.isawaitable(result):
            await result
    except Over:
        pass
    await agent.finished()
    return agent


async def fold(
    history: History, reducer: Callable[[Any, Event], Any], state: Any
) -> tuple[Any, int]:
    """Fold what was written; the state after it, and how many events that was. Raises
    Diverged, and what the reducer raises."""
    count = 0
    while (event := await history.take()) is not None:
        before = copy.deepcopy(state) if event.state_hash else None
        state = reducer(state, event)
        if inspect.isawaitable(state):
            state = await state
        count += 1
        history.compare_state(event, before, state)
        await history.compare_saved(event, event.seq, state)
    return state, count
