"""Sagas: effects that are undone together, newest first, if one of them fails.

    async with store.saga("trip/1", agent=agent) as saga:
        flight = await saga.step("book-flight", trip, do=book_flight, undo=cancel_flight)
        await saga.step("book-hotel", trip, do=book_hotel, undo=cancel_hotel)

What was done is in the ledger, with how it is undone: whoever knows those functions by
their names can finish a saga, also when the process that began it is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self, Unpack

from raftstate.client import acts, reading, values
from raftstate.client.compensating import SAGA_PLAN, Carrier
from raftstate.client.doing import EffectOptions, Function
from raftstate.client.effects import AgentEffects
from raftstate.client.engine import Engine
from raftstate.client.incidents import word
from raftstate.client.reading import How
from raftstate.errors import (
    OwnershipLost,
    RaftStateError,
    SagaAborted,
    SagaExists,
)
from raftstate.v1.effect_service_pb2 import (
    SAGA_MODE_CHOREOGRAPHED,
    SAGA_MODE_ORCHESTRATED,
    SAGA_STATE_COMPENSATED,
    SAGA_STATE_COMPLETED,
    SAGA_STATE_RUNNING,
    AbortSagaRequest,
    BeginSagaRequest,
    CompensationItem,
    Effect,
    EffectState,
    EndSagaRequest,
    GetEffectRequest,
    GetSagaRequest,
    ListEffectsRequest,
    ListSagasRequest,
    SagaState,
)
from raftstate.v1.effect_service_pb2 import Saga as SagaRecord

_ID_CHARS: Final = 120


class Saga:
    """A saga under way: `async with store.saga(...) as saga`. See `Sagas.saga`."""

    def __init__(
        self,
        engine: Engine,
        saga_id: str,
        agent: AgentEffects,
        *,
        choreographed: bool = False,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.saga_id = saga_id
        self._engine = engine
        self._agent = agent
        self._mode = SAGA_MODE_CHOREOGRAPHED if choreographed else SAGA_MODE_ORCHESTRATED
        self._labels = list(values.labels(labels))
        self._timeout = timeout
        self._counted: Counter[str] = Counter()
        self.resumed: bool = False

    async def step(
        self,
        action: str,
        args: Any = None,
        *,
        do: Function,
        name: str = "",
        **options: Unpack[EffectOptions],
    ) -> Any:
        """Do one effect of the saga, and note at once that it was done: see `Step.effect`
        for what it takes and raises. Several may be done at once; they are undone in the
        reverse of the order in which they were done.

        `name` tells it from the saga's other steps: asking again under the same name is
        asking for the same. By default it is the action, and a count if it was done before.
        A saga that is gone on with finds what it has done by these names, and gives its
        results.

        >>> async with store.own("sagas/step") as agent:
        ...     async with store.saga("sagas-step", agent=agent) as saga:
        ...         await saga.step("book", "flight", do=lambda call: "7F", undo="unbook")
        '7F'
        """
        options["saga"] = self
        if not name:
            self._counted[action] += 1
            count = self._counted[action]
            name = action if count == 1 else f"{action}-{count}"
        return await self._agent.effect(
            action,
            args,
            effect_id=self._effect_id(name),
            do=do,
            timeout=self._timeout,
            **options,
        )

    def _effect_id(self, name: str) -> str:
        wanted = f"{self.saga_id}/{name}"
        if len(wanted) <= _ID_CHARS and acts.fit_for_id(wanted) == wanted:
            return wanted
        # The same for every process that goes on with it.
        digest = hashlib.blake2b(wanted.encode(), digest_size=12).hexdigest()
        return f"{acts.fit_for_id(name)[:80]}/{digest}"

    async def __aenter__(self) -> Self:
        request = BeginSagaRequest(
            saga_id=self.saga_id,
            agent_id=self._agent.agent_id,
            fence=self._agent.token,
            mode=self._mode,
            labels=self._labels,
        )
        try:
            await self._agent.write("begin_saga", request, self._timeout)
        except SagaExists as error:
            await self._go_on(error)
        return self

    async def _go_on(self, error: SagaExists) -> None:
        """Go on with a saga that this agent began before."""
        saga = await get_saga(self._engine, self.saga_id, {})
        if saga.state == SAGA_STATE_COMPLETED or saga.agent_id != self._agent.agent_id:
            raise error
        if saga.state != SAGA_STATE_RUNNING:
            state = SagaState.Name(saga.state).removeprefix("SAGA_STATE_")
            raise SagaAborted(
                f"saga {self.saga_id} is {state}: {saga.reason or 'it was given up'}",
                definite=True,
                details={"saga_id": self.saga_id, "current_state": state},
            )
        self.resumed = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            request = EndSagaRequest(
                saga_id=self.saga_id, agent_id=self._agent.agent_id, fence=self._agent.token
            )
            await self._agent.write("end_saga", request, self._timeout)
        elif self._gives_up(error):
            try:
                await self._undo(error)
            except RaftStateError as why:
                error.add_note(f"saga {self.saga_id} is not undone yet: {why}")

    def _gives_up(self, error: BaseException) -> bool:
        """Whether the saga is to be undone. When the agent is somebody else's by now, it is
        for them to decide."""
        if self._agent.lost or isinstance(error, OwnershipLost):
            return False
        return isinstance(error, Exception | asyncio.CancelledError)

    async def _undo(self, error: BaseException) -> None:
        request = AbortSagaRequest(
            saga_id=self.saga_id,
            agent_id=self._agent.agent_id,
            fence=self._agent.token,
            reason=acts.labelled(error),
        )
        answer = await self._agent.write("abort_saga", request, self._timeout)
        if answer.state == SAGA_STATE_COMPENSATED:
            return
        carried = await Carrier(self._engine).carry(
            SAGA_PLAN + self.saga_id, patience=self._engine.options.timeout
        )
        if carried.missing:
            error.add_note(
                f"saga {self.saga_id} is not undone yet: nothing is registered here as"
                f" {carried.missing!r}; a worker that knows it goes on"
            )
        elif carried.blocked:
            error.add_note(
                f"saga {self.saga_id} is not undone yet: item"
                f" {carried.undoing.next_position} waits for a person"
            )


class Sagas:
    """The part of a `Store` that is about sagas, and the effects that agents had."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    def saga(
        self,
        saga_id: str,
        *,
        agent: AgentEffects,
        choreographed: bool = False,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Saga:
        """A saga of an agent that is owned: `async with store.saga("trip/1", agent=agent)`.

        Its steps are done with `saga.step`, or with `step.effect(..., saga=saga)`. When its
        block ends, the saga is COMPLETED. When it ends with an exception, the saga is given
        up, what it did is undone, newest first, with pauses where that fails for a passing
        reason, and then the exception goes on. What cannot be undone here (it is not
        registered here, fails for good, or the store is away) is said in a note of that
        exception, and is for a worker, or a person. An ownership that is lost undoes
        nothing: the saga is the next owner's to go on with.

        A saga of that id that this agent has begun and not ended is gone on with
        (`saga.resumed`). `choreographed`: other agents may take part, by its id.

        Entering raises SagaAborted (definite): it was given up before; SagaExists
        (definite): it has ended, or is another agent's; and what writing under an ownership
        raises. Leaving raises Conflict (definite): an effect of it is not settled; and the
        same.

        >>> undone = []
        >>> @raftstate.compensation("sagas-saga-unbook")
        ... def unbook(call):
        ...     undone.append((call.args, call.result))
        >>> async with store.own("sagas/saga") as agent:
        ...     async with store.saga("sagas-saga", agent=agent) as saga:
        ...         _ = await saga.step("book", "flight", do=lambda call: "7F", undo=unbook)
        ...         raise ValueError("there is no hotel")
        Traceback (most recent call last):
        ValueError: there is no hotel
        >>> undone
        [('flight', '7F')]
        """
        return Saga(
            self._engine,
            saga_id,
            agent,
            choreographed=choreographed,
            labels=labels,
            timeout=timeout,
        )

    async def get_saga(self, saga_id: str, **how: Unpack[How]) -> SagaRecord:
        """One saga, as the store has it. Raises SagaNotFound (definite), and what every
        read does.

        >>> async with store.own("sagas/get") as agent:
        ...     async with store.saga("sagas-get", agent=agent) as saga:
        ...         _ = await saga.step("book", do=lambda call: None, undo="unbook")
        >>> (await store.get_saga("sagas-get")).effects
        1
        """
        return await get_saga(self._engine, saga_id, how)

    async def saga_items(self, saga_id: str, **how: Unpack[How]) -> list[CompensationItem]:
        """What is to be undone of a saga, in order; the first 1,000, and the one whose turn
        it is. Raises SagaNotFound (definite), and what every read does.

        >>> async with store.own("sagas/items") as agent:
        ...     async with store.saga("sagas-items", agent=agent) as saga:
        ...         _ = await saga.step("book", do=lambda call: None, undo="unbook")
        ...         raise ValueError("there is no hotel")
        Traceback (most recent call last):
        ValueError: there is no hotel...
        >>> [one.effect_id for one in await store.saga_items("sagas-items")]
        ['sagas-items/book']
        """
        answer = await _read(self._engine, saga_id, how)
        return list(answer.items)

    async def list_sagas(
        self, prefix: str = "", *, states: Iterable[str] = (), **how: Unpack[How]
    ) -> AsyncIterator[SagaRecord]:
        """Sagas whose id begins with `prefix`, in order of id; only those in one of
        `states` ("running", "stuck" and so on), if any are given. All are read at one
        revision. Raises Compacted (definite) should that be forgotten meanwhile,
        InvalidRequest (definite) for a state that there is not, and what every read does.

        >>> async with store.own("sagas/list") as agent:
        ...     async with store.saga("sagas-list", agent=agent):
        ...         pass
        >>> [one.saga_id async for one in store.list_sagas("sagas-list", states=["completed"])]
        ['sagas-list']
        """
        request = ListSagasRequest(
            prefix=prefix,
            states=[word(SagaState, "SAGA_STATE_", "states", one) for one in states],
        )
        async for page in reading.pages(
            self._engine, lambda peer: peer.effects.ListSagas, request, how
        ):
            for saga in page.sagas:
                yield saga

    async def abort_saga(
        self,
        saga_id: str,
        *,
        agent: AgentEffects,
        reason: str = "",
        timeout: float | None = None,
    ) -> None:
        """Give a saga up without a block of its own, by an agent that is owned, and leave
        it to workers to undo what it did. Raises SagaNotFound, PlanState, Conflict
        (definite), and what writing under an ownership raises.

        >>> async with store.own("sagas/abort") as agent:
        ...     async with store.saga("sagas-abort", agent=agent):
        ...         await store.abort_saga("sagas-abort", agent=agent, reason="it rains")
        Traceback (most recent call last):
        raftstate.errors.Conflict: ...
        >>> (await store.get_saga("sagas-abort")).reason
        'it rains'
        """
        request = AbortSagaRequest(
            saga_id=saga_id, agent_id=agent.agent_id, fence=agent.token, reason=reason
        )
        await agent.write("abort_saga", request, timeout)

    # --- effects ---

    async def get_effect(self, agent_id: str, effect_id: str, **how: Unpack[How]) -> Effect:
        """One effect, as the ledger has it. Raises EffectNotFound (definite), and what every
        read does.

        >>> async with store.own("sagas/effect") as agent:
        ...     _ = await agent.effect(
        ...         "charge", 3, effect_id="charge-1", undo="refund", do=lambda call: None
        ...     )
        >>> (await store.get_effect("sagas/effect", "charge-1")).action
        'charge'
        """
        request = GetEffectRequest(agent_id=agent_id, effect_id=effect_id)
        answer = await reading.read_as(
            self._engine, lambda peer: peer.effects.GetEffect, request, how
        )
        effect: Effect = answer.effect
        return effect

    async def list_effects(
        self,
        agent_id: str,
        *,
        states: Iterable[str] = (),
        saga_id: str = "",
        **how: Unpack[How],
    ) -> AsyncIterator[Effect]:
        """An agent's effects in the order in which they were entered; only those in one of
        `states` ("committed", "unknown" and so on), and of one saga, if these are given.
        All are read at one revision. Raises AgentNotFound (definite), Compacted (definite)
        should that revision be forgotten meanwhile, InvalidRequest (definite) for a state
        that there is not, and what every read does.

        >>> async with store.own("sagas/effects") as agent:
        ...     _ = await agent.effect(
        ...         "charge", 3, effect_id="charge-1", undo="refund", do=lambda call: None
        ...     )
        >>> done = store.list_effects("sagas/effects", states=["committed"])
        >>> [one.effect_id async for one in done]
        ['charge-1']
        """
        request = ListEffectsRequest(
            agent_id=agent_id,
            states=[word(EffectState, "EFFECT_STATE_", "states", one) for one in states],
            saga_id=saga_id,
        )
        async for page in reading.pages(
            self._engine, lambda peer: peer.effects.ListEffects, request, how
        ):
            for effect in page.effects:
                yield effect


async def get_saga(engine: Engine, saga_id: str, how: How) -> SagaRecord:
    """One saga. Raises SagaNotFound (definite)."""
    saga: SagaRecord = (await _read(engine, saga_id, how)).saga
    return saga


async def _read(engine: Engine, saga_id: str, how: How) -> Any:
    request = GetSagaRequest(saga_id=saga_id)
    return await reading.read_as(engine, lambda peer: peer.effects.GetSaga, request, how)
