# Generated from raftstate/client/effects.py by scripts/generate. Not to be edited.

"""Effects: what a step does to the outside world, with the ledger.

An effect is entered into the ledger, with how it is undone, before it is done; and what
came of it is entered after. A step that is done again, by this process or by a successor,
finds its effects there by their ids, and does none of them twice.

An effect is begun only within a budget that counts, by this client's own clock, from when
the word that it is about to be done was *sent*; and only while the agent is surely owned.
So a process that was stopped in between, and wakes up late, does not begin.
"""

from __future__ import annotations

from typing import Any, Unpack, cast

from raftstate.client import effects as face
from raftstate.client.doing import EffectOptions, Function
from raftstate.sync.running import Handle, plain, plain_options
from raftstate.v1.effect_service_pb2 import Effect, Saga


class AgentEffects(Handle, of=face.AgentEffects):
    """The part of an owned agent that is about effects."""

    @property
    def _it(self) -> face.AgentEffects:
        return cast(face.AgentEffects, self._object)

    @property
    def open_effects(self) -> list[Effect]:
        """Effects that were PREPARED or UNKNOWN when the agent was taken over."""
        return self._it.open_effects

    @property
    def open_sagas(self) -> list[Saga]:
        """Sagas of the agent that were RUNNING, COMPENSATING or STUCK when it was taken
        over, at most 100."""
        return self._it.open_sagas

    def effect(
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

        >>> with store.own("effects/agent") as agent:
        ...     agent.effect(
        ...         "mail", effect_id="mail-ada", kind="irreversible", do=lambda call: "sent"
        ...     )
        'sent'
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


class StepEffects(Handle, of=face.StepEffects):
    """The part of a step that is about effects."""

    @property
    def _it(self) -> face.StepEffects:
        return cast(face.StepEffects, self._object)

    def effect(
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
        `@raftstate.sync.compensation(...)`, its name, or an `Undo` that says more. What has
        none is of `kind` "read_only" (it changes nothing) or "irreversible". With `undo` it
        is "idempotent" (the outside takes each key once), or "reconcilable" (the outside
        can be asked: `reconcile` is what was registered with
        `@raftstate.sync.reconciler(...)`). `leaves_tombstone`, `attempts` and
        `undo_timeout` are as in `Undo`, where it is not one. `key` is the idempotency key;
        by default it is made of the agent's and effect's ids.

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
          attempt left it open whether it was: then it stays open. Anything else, also an
          interrupt: nobody knows, and that is noted.
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
        >>> with store.own("effects/step") as agent:
        ...     with agent.step() as step:
        ...         step.effect("charge", {"amount": 3}, do=charge, undo="refund")
        {'charged': 3}
        """
        return self._do(
            self._it.effect(
                action,
                args,
                do=plain(do),
                effect_id=effect_id,
                timeout=timeout,
                **plain_options(options),
            )
        )

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
        >>> with store.own("effects/prepare") as agent:
        ...     with agent.step() as step:
        ...         later = step.prepare(**mail)
        ...     agent.effect(**mail, effect_id=later, do=lambda call: "sent")
        'sent'
        """
        with self._alone():
            return self._it.prepare(action, args, effect_id=effect_id, **plain_options(options))
