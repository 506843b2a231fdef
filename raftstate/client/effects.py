"""Effects: what a step does to the outside world, with the ledger.

An effect is entered into the ledger, with how it is undone, before it is done; and what
came of it is entered after. A step that is done again, by this process or by a successor,
finds its effects there by their ids, and does none of them twice.

An effect is begun only within a budget that counts, by this client's own clock, from when
the word that it is about to be done was *sent*; and only while the agent is surely owned.
So a process that was stopped in between, and wakes up late, does not begin.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Unpack

from raftstate.client import acts
from raftstate.client.acts import EffectCall
from raftstate.client.clock import now
from raftstate.client.doing import NOTE_S, Asked, EffectOptions, Function, HowToRun, Runner
from raftstate.client.engine import Engine
from raftstate.errors import RaftStateError
from raftstate.v1.agent_service_pb2 import TakeoverBundle
from raftstate.v1.common_pb2 import FencingToken, StepHead
from raftstate.v1.effect_service_pb2 import (
    CompleteEffectRequest,
    Effect,
    EffectClosing,
    NewEffect,
    Saga,
)
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.step_service_pb2 import CommitStepRequest

# What a step carries of its effects' outcomes; the others are noted at once.
_CLOSINGS_MAX: Final = 128
_CLOSINGS_BYTES: Final = 256 << 10
# An id made here has room for what is set before and behind it.
_SLUG_CHARS: Final = 80


class AgentEffects:
    """The part of an owned agent that is about effects."""

    _engine: Engine
    agent_id: str
    token: FencingToken
    bundle: TakeoverBundle
    head: StepHead
    # Effects that are being done, and what came of others that could not be noted yet.
    acting: set[str]
    closings: dict[str, EffectClosing]
    # What came of effects, and goes along with the step that is under way.
    kept: dict[str, EffectClosing]
    # How many attempts at an effect are known to be over, and not to count.
    over: dict[str, int]

    @property
    def time_left(self) -> float:
        """Seconds for which this process may believe that it owns the agent."""
        raise NotImplementedError

    @property
    def lost(self) -> bool:
        """Whether the ownership is known to be over, or can no longer be sure."""
        raise NotImplementedError

    @property
    def in_doubt(self) -> bool:
        """Whether a step was sent whose outcome is not known."""
        raise NotImplementedError

    async def write(self, kind: str, request: Any, timeout: float | None = None) -> Any:
        """Carry out a mutation under this ownership."""
        raise NotImplementedError

    @property
    def open_effects(self) -> list[Effect]:
        """Effects that were PREPARED or UNKNOWN when the agent was taken over."""
        return list(self.bundle.open_effects)

    @property
    def open_sagas(self) -> list[Saga]:
        """Sagas of the agent that were RUNNING, COMPENSATING or STUCK when it was taken
        over, at most 100."""
        return list(self.bundle.open_sagas)

    async def effect(
        self,
        action: str,
        args: Any = None,
        *,
        effect_id: str,
        do: Function,
        timeout: float | None = None,
        **options: Unpack[EffectOptions],
    ) -> Any:
        """Do an effect outside of a step: as `Step.effect`, but that its id has to be
        given, and that what came of it is in the ledger when this returns.

        >>> async with store.own("effects/agent") as agent:
        ...     await agent.effect(
        ...         "mail", effect_id="mail-ada", kind="irreversible", do=lambda call: "sent"
        ...     )
        'sent'
        """
        asked = Asked.of(action, args, do, options)
        return await self.runner(asked, effect_id, timeout=timeout).run()

    def runner(self, asked: Asked, effect_id: str, **how: Unpack[HowToRun]) -> Runner:
        """What does one effect of this agent."""
        return Runner(self, self._engine, asked, effect_id, **how)

    def entry(self, asked: Asked, effect_id: str) -> NewEffect:
        """An effect as the ledger is to have it."""
        return asked.entry(effect_id, self._engine.options.registry)

    async def note_closings(self) -> None:
        """Enter into the ledger what came of effects whose step was not committed. Best
        effort, within a bounded time: what is not entered is UNKNOWN to a successor."""
        deadline = now() + NOTE_S
        for effect_id in list(self.closings):
            if self.lost or (left := deadline - now()) <= 0:
                return
            if (closing := self.closings.get(effect_id)) is None:
                continue  # another task has meanwhile
            request = CompleteEffectRequest(
                agent_id=self.agent_id, fence=self.token, closing=closing
            )
            try:
                await self.write("complete_effect", request, left)
            except RaftStateError as error:
                if not error.definite or error.retryable:
                    continue  # whoever does the step again finds it here
            if self.closings.get(effect_id) is closing:
                del self.closings[effect_id]


def _nothing(call: EffectCall) -> None:
    raise AssertionError(f"{call.effect_id} was only prepared")


class StepEffects:
    """The part of a step that is about effects."""

    _handle: AgentEffects
    _request: CommitStepRequest
    # Whether its block is under way; and how many effects of each name it has had.
    _open: bool
    _counted: Counter[str]
    # Keys of what it has drawn and the store has, with an effect that it came with.
    _durable: set[str]

    async def effect(
        self,
        action: str,
        args: Any = None,
        *,
        do: Function,
        effect_id: str = "",
        timeout: float | None = None,
        **options: Unpack[EffectOptions],
    ) -> Any:
        """Do something to the outside world, once: `do(call)`, with an `EffectCall`.

        How it is undone is stored first: `undo` is what was registered with
        `@raftstate.compensation(...)`, its name, or an `Undo` that says more. What has none
        is of `kind` "read_only" (it changes nothing) or "irreversible". With `undo` it is
        "idempotent" (the outside takes each key once), or "reconcilable" (the outside can
        be asked: `reconcile` is what was registered with `@raftstate.reconciler(...)`).
        `leaves_tombstone`, `attempts` and `undo_timeout` are as in `Undo`, where it is not
        one.
        `key` is the idempotency key; by default it is made of the agent's and effect's ids.

        A step that is done again finds the effect by its `effect_id`, by default the step's
        number, the action, and a count. Is it COMMITTED, its result is given at once. Is it
        UNKNOWN, `on_unknown` decides: "repeat" it under the same key (read-only and
        idempotent ones, by default), "reconcile" it (reconcilable ones, by default),
        "compensate" or "escalate" (irreversible ones, by default), which raise. One that
        surely was not done, or was undone, is done anew under the same id with "~2" behind
        it.

        The result is what `do` gave, as JSON or bytes keep it, at most 64 KiB. That it was
        done is committed with the step; if the step fails, it is noted by itself.
        `begin_by` is how many seconds after the word that it is about to be done it may
        still be begun; `saga` the saga that it belongs to; `timeout` that of each call of
        the store.

        It raises

        * what `do` raises. NotDone: it was not done, and that is noted, unless a former
          attempt left it open whether it was: then it stays open. Anything else, also a
          cancellation: nobody knows, and that is noted.
        * EffectTooLate (definite): it was not begun in time, and that is noted.
        * EffectUnknown (indefinite): a former attempt left open whether it was done, and it
          must not be repeated; or it was done, and that could not be noted.
        * EffectExists (definite): the step was done before with another effect of that id:
          with other arguments, say. CompensationRequired, InvalidRequest, SagaNotFound,
          PlanState (definite); and what every mutation under an ownership raises: then it
          was not done by this call.
        * ValueError, TypeError: it does not make sense as it was asked for, or its result
          cannot be kept.

        >>> def charge(call):  # the outside is told call.key, too
        ...     return {"charged": call.args["amount"]}
        >>> async with store.own("effects/step") as agent:
        ...     async with agent.step() as step:
        ...         await step.effect("charge", {"amount": 3}, do=charge, undo="refund")
        {'charged': 3}
        """
        if not self._open:
            raise RuntimeError("an effect belongs into the block of its step")
        asked = Asked.of(action, args, do, options)
        drawn = self.pending_recordings()
        recordings = [one for one in drawn if one.key not in self._durable]
        runner = self._handle.runner(
            asked,
            effect_id or self._next_id(action),
            keep=self._keep,
            recordings=recordings,
            timeout=timeout,
        )
        try:
            return await runner.run()
        finally:
            if runner.entered:
                self._durable.update(one.key for one in recordings)

    def prepare(
        self,
        action: str,
        args: Any = None,
        *,
        effect_id: str = "",
        **options: Unpack[EffectOptions],
    ) -> str:
        """Enter an effect with this step, for a later one, or a successor, to do; its id.
        It is committed with the step, or not at all, and done by `effect` with that id and
        otherwise as it is entered here: see there for the options. Until then it is among
        a successor's `agent.open_effects`.

        Raises ValueError or TypeError if it does not make sense as it is asked for. Leaving
        the block raises EffectExists, CompensationRequired, SagaNotFound, PlanState
        (definite): then nothing of the step was committed.

        >>> mail = {"action": "mail", "args": "Ada", "kind": "irreversible"}
        >>> async with store.own("effects/prepare") as agent:
        ...     async with agent.step() as step:
        ...         later = step.prepare(**mail)
        ...     await agent.effect(**mail, effect_id=later, do=lambda call: "sent")
        'sent'
        """
        if not self._open:
            raise RuntimeError("an effect belongs into the block of its step")
        entry = self._handle.entry(
            Asked.of(action, args, _nothing, options), effect_id or self._next_id(action)
        )
        entry.dispatch = False
        self._request.effects.append(entry)
        return entry.effect_id

    def pending_recordings(self) -> list[NewRecording]:
        """What this step has drawn so far."""
        raise NotImplementedError

    def _next_id(self, action: str) -> str:
        slug = acts.fit_for_id(action)[:_SLUG_CHARS]
        self._counted[slug] += 1
        return f"{self._handle.head.step + 1}/{slug}/{self._counted[slug]}"

    def _keep(self, closing: EffectClosing) -> bool:
        """Whether what came of an effect goes along with the step."""
        kept = self._request.closings
        size = sum(one.ByteSize() for one in kept) + closing.ByteSize()
        if not self._open or len(kept) >= _CLOSINGS_MAX or size > _CLOSINGS_BYTES:
            return False
        kept.append(closing)
        self._handle.kept[closing.effect_id] = closing
        return True

    async def _note_effects(self) -> None:
        """The step is not committed: what came of its effects goes into the ledger by
        itself."""
        for closing in self._request.closings:
            self._handle.closings[closing.effect_id] = closing
        # Of a step that may yet be committed nothing is said beside it.
        if not self._handle.in_doubt:
            await self._handle.note_closings()
