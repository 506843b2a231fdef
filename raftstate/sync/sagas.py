# Generated from raftstate/client/sagas.py by scripts/generate. Not to be edited.

"""Sagas: effects that are undone together, newest first, if one of them fails.

    with store.saga("trip/1", agent=agent) as saga:
        flight = saga.step("book-flight", trip, do=book_flight, undo=cancel_flight)
        saga.step("book-hotel", trip, do=book_hotel, undo=cancel_hotel)

What was done is in the ledger, with how it is undone: whoever knows those functions by
their names can finish a saga, also when the process that began it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack, cast

from raftstate.client import sagas as face
from raftstate.client.doing import EffectOptions, Function
from raftstate.client.reading import How
from raftstate.sync.effects import AgentEffects
from raftstate.sync.running import Face, Handle, listed, plain, plain_options
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect
from raftstate.v1.effect_service_pb2 import Saga as SagaRecord


class Saga(Handle, of=face.Saga):
    """A saga under way: `with store.saga(...) as saga`. See `Sagas.saga`."""

    @property
    def _it(self) -> face.Saga:
        return cast(face.Saga, self._object)

    @property
    def saga_id(self) -> str:
        """The saga's id."""
        return self._it.saga_id

    @property
    def resumed(self) -> bool:
        """Whether it was begun before, and is gone on with."""
        return self._it.resumed

    def step(
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

        >>> with store.own("sagas/step") as agent:
        ...     with store.saga("sagas-step", agent=agent) as saga:
        ...         saga.step("book", "flight", do=lambda call: "7F", undo="unbook")
        '7F'
        """
        return self._do(
            self._it.step(action, args, do=plain(do), name=name, **plain_options(options))
        )

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


class Sagas(Face, of=face.Sagas):
    """The part of a `Store` that is about sagas, and the effects that agents had."""

    @property
    def _it(self) -> face.Sagas:
        return cast(face.Sagas, self._object)

    def saga(
        self,
        saga_id: str,
        *,
        agent: AgentEffects,
        choreographed: bool = False,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Saga:
        """A saga of an agent that is owned: `with store.saga("trip/1", agent=agent)`.

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
        >>> @raftstate.sync.compensation("sagas-saga-unbook")
        ... def unbook(call):
        ...     undone.append((call.args, call.result))
        >>> with store.own("sagas/saga") as agent:
        ...     with store.saga("sagas-saga", agent=agent) as saga:
        ...         _ = saga.step("book", "flight", do=lambda call: "7F", undo=unbook)
        ...         raise ValueError("there is no hotel")
        Traceback (most recent call last):
        ValueError: there is no hotel
        >>> undone
        [('flight', '7F')]
        """
        return Saga(
            self._it.saga(
                saga_id,
                agent=agent._it,
                choreographed=choreographed,
                labels=labels,
                timeout=timeout,
            ),
            agent._running,
        )

    def get_saga(self, saga_id: str, **how: Unpack[How]) -> SagaRecord:
        """One saga, as the store has it. Raises SagaNotFound (definite), and what every
        read does.

        >>> with store.own("sagas/get") as agent:
        ...     with store.saga("sagas-get", agent=agent) as saga:
        ...         _ = saga.step("book", do=lambda call: None, undo="unbook")
        >>> (store.get_saga("sagas-get")).effects
        1
        """
        return self._do(self._it.get_saga(saga_id, **how))

    def saga_items(self, saga_id: str, **how: Unpack[How]) -> list[CompensationItem]:
        """What is to be undone of a saga, in order; the first 1,000, and the one whose turn
        it is. Raises SagaNotFound (definite), and what every read does.

        >>> with store.own("sagas/items") as agent:
        ...     with store.saga("sagas-items", agent=agent) as saga:
        ...         _ = saga.step("book", do=lambda call: None, undo="unbook")
        ...         raise ValueError("there is no hotel")
        Traceback (most recent call last):
        ValueError: there is no hotel...
        >>> [one.effect_id for one in store.saga_items("sagas-items")]
        ['sagas-items/book']
        """
        return self._do(self._it.saga_items(saga_id, **how))

    def list_sagas(
        self, prefix: str = "", *, states: Iterable[str] = (), **how: Unpack[How]
    ) -> Iterator[SagaRecord]:
        """Sagas whose id begins with `prefix`, in order of id; only those in one of
        `states` ("running", "stuck" and so on), if any are given. All are read at one
        revision. Raises Compacted (definite) should that be forgotten meanwhile,
        InvalidRequest (definite) for a state that there is not, and what every read does.

        >>> with store.own("sagas/list") as agent:
        ...     with store.saga("sagas-list", agent=agent):
        ...         pass
        >>> [one.saga_id for one in store.list_sagas("sagas-list", states=["completed"])]
        ['sagas-list']
        """
        return self._running.each(self._it.list_sagas(prefix, states=listed(states), **how))

    def abort_saga(
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

        >>> with store.own("sagas/abort") as agent:
        ...     with store.saga("sagas-abort", agent=agent):
        ...         store.abort_saga("sagas-abort", agent=agent, reason="it rains")
        Traceback (most recent call last):
        raftstate.errors.Conflict: ...
        >>> (store.get_saga("sagas-abort")).reason
        'it rains'
        """
        self._do(self._it.abort_saga(saga_id, agent=agent._it, reason=reason, timeout=timeout))

    def get_effect(self, agent_id: str, effect_id: str, **how: Unpack[How]) -> Effect:
        """One effect, as the ledger has it. Raises EffectNotFound (definite), and what
        every read does.

        >>> with store.own("sagas/effect") as agent:
        ...     _ = agent.effect(
        ...         "charge", 3, effect_id="charge-1", undo="refund", do=lambda call: None
        ...     )
        >>> (store.get_effect("sagas/effect", "charge-1")).action
        'charge'
        """
        return self._do(self._it.get_effect(agent_id, effect_id, **how))

    def list_effects(
        self,
        agent_id: str,
        *,
        states: Iterable[str] = (),
        saga_id: str = "",
        **how: Unpack[How],
    ) -> Iterator[Effect]:
        """An agent's effects in the order in which they were entered; only those in one of
        `states` ("committed", "unknown" and so on), and of one saga, if these are given.
        All are read at one revision. Raises AgentNotFound (definite), Compacted (definite)
        should that revision be forgotten meanwhile, InvalidRequest (definite) for a state
        that there is not, and what every read does.

        >>> with store.own("sagas/effects") as agent:
        ...     _ = agent.effect(
        ...         "charge", 3, effect_id="charge-1", undo="refund", do=lambda call: None
        ...     )
        >>> done = store.list_effects("sagas/effects", states=["committed"])
        >>> [one.effect_id for one in done]
        ['charge-1']
        """
        return self._running.each(
            self._it.list_effects(agent_id, states=listed(states), saga_id=saga_id, **how)
        )
