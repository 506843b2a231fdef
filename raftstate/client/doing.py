"""One effect: entered into the ledger, done, and noted; or found there.

See `effects.py` for what its callers see of it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypedDict

from raftstate.client import acts, reading, values
from raftstate.client.acts import EffectCall, NotDone
from raftstate.client.clock import now
from raftstate.client.engine import Engine
from raftstate.client.options import milliseconds, positive
from raftstate.client.registry import Registry
from raftstate.errors import (
    AgentState,
    EffectTooLate,
    EffectUnknown,
    Fenced,
    NotOwner,
    RaftStateError,
    SessionExpired,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    EFFECT_CLASS_IDEMPOTENT,
    EFFECT_CLASS_READ_ONLY,
    EFFECT_OUTCOME_COMMITTED,
    EFFECT_OUTCOME_FAILED_BEFORE_EFFECT,
    EFFECT_OUTCOME_UNKNOWN,
    EFFECT_STATE_DISPATCHED,
    FOUND_DONE,
    FOUND_NOT_DONE,
    UNKNOWN_POLICY_ESCALATE,
    UNKNOWN_POLICY_RECONCILE,
    UNKNOWN_POLICY_REPEAT,
    Compensation,
    CompleteEffectRequest,
    DispatchEffectRequest,
    Effect,
    EffectClass,
    EffectClosing,
    EffectState,
    GetEffectRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
    UnknownPolicy,
)
from raftstate.v1.recording_pb2 import NewRecording
from raftstate.v1.recovery_service_pb2 import (
    SYMPTOM_EFFECT_UNKNOWN,
    Evidence,
    ListIncidentsRequest,
    ReportSymptomRequest,
)

# What came of an effect is noted in the ledger for so long after it has failed.
NOTE_S: Final = 2.0
# What a server says to a writer that owns nothing any more.
LOST: Final = (Fenced, NotOwner, SessionExpired, AgentState)

Function = Callable[[Any], Any]


class HasSaga(Protocol):
    """A saga, or what holds one."""

    @property
    def saga_id(self) -> str:
        """Its id."""
        ...


class EffectOptions(TypedDict, total=False):
    """What an effect may be told beside what it does; see `Step.effect`."""

    undo: Undo | str | Function | None
    leaves_tombstone: bool
    attempts: int
    undo_timeout: float
    key: str
    kind: str
    reconcile: str | Function | None
    on_unknown: str
    begin_by: float
    saga: HasSaga | str | None


class HowToRun(TypedDict, total=False):
    """What a `Runner` may be told; see there."""

    keep: Callable[[EffectClosing], bool]
    recordings: list[NewRecording]
    timeout: float | None


class Owner(Protocol):
    """An agent that is owned."""

    agent_id: str
    token: FencingToken
    acting: set[str]
    closings: dict[str, EffectClosing]
    kept: dict[str, EffectClosing]
    over: dict[str, int]

    @property
    def time_left(self) -> float: ...

    @property
    def lost(self) -> bool: ...

    async def write(self, kind: str, request: Any, timeout: float | None = None) -> Any:
        """Carry out a mutation under this ownership."""
        ...


@dataclass(frozen=True, slots=True)
class Undo:
    """How an effect is undone: by what is registered as `action` (a name, or the function
    itself), called with `args` (None: those of the effect).

    `timeout` is that of one attempt, in seconds. After `attempts` that failed for a passing
    reason, a person has to decide. `leaves_tombstone`: once it is undone, the outside
    refuses the effect's key for good, and undoing what never happened is no failure.

    >>> refund = raftstate.Undo("refund", {"bill": 7}, timeout=5.0, attempts=3)
    >>> async with store.own("undo") as agent:
    ...     async with agent.step() as step:
    ...         await step.effect("charge", 3, do=lambda call: "bill 7", undo=refund)
    'bill 7'
    """

    action: str | Function
    args: Any = None
    key: str = ""
    timeout: float = 30.0
    attempts: int = 10
    leaves_tombstone: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """An effect as the caller asks for it; see `Step.effect`."""

    action: str
    args: Any
    do: Function
    undo: Undo | None
    key: str
    kind: str
    reconcile: str | Function | None
    on_unknown: str
    begin_by: float
    saga_id: str

    @classmethod
    def of(cls, action: str, args: Any, do: Function, given: EffectOptions) -> Asked:
        """What the options say, with the defaults in place of what they do not. Raises
        TypeError for one that there is not."""
        if unknown := given.keys() - EffectOptions.__annotations__.keys():
            raise TypeError(f"an effect has no option {', '.join(sorted(unknown))}")
        saga = given.get("saga") or ""
        return cls(
            action=action,
            args=args,
            do=do,
            undo=_undo(given),
            key=given.get("key", ""),
            kind=given.get("kind", ""),
            reconcile=given.get("reconcile"),
            on_unknown=given.get("on_unknown", ""),
            begin_by=given.get("begin_by", 5.0),
            saga_id=saga if isinstance(saga, str) else saga.saga_id,
        )

    def entry(self, effect_id: str, registry: Registry) -> NewEffect:
        """The ledger's entry. Raises ValueError or TypeError for what cannot be one."""
        data, content_type = values.encode(self.args)
        entry = NewEffect(
            effect_id=effect_id,
            action=self.action,
            content_type=content_type,
            arguments=data,
            effect_class=self._effect_class(),
            idempotency_key=self.key,
            begin_by_ms=milliseconds(positive("begin_by", self.begin_by)),
            saga_id=self.saga_id,
            dispatch=True,
        )
        if self.on_unknown:
            entry.on_unknown = _word(UnknownPolicy, "UNKNOWN_POLICY_", self.on_unknown)
        if self.reconcile is not None:
            entry.reconcile_action = registry.name_of("reconciler", self.reconcile)
        if self.undo is not None:
            entry.compensation.CopyFrom(_compensation(self.undo, self.args, registry))
        return entry

    def _effect_class(self) -> EffectClass:
        if self.kind:
            found: EffectClass = _word(EffectClass, "EFFECT_CLASS_", self.kind)
            return found
        if self.undo is None:
            raise ValueError(
                f"{self.action}: say how it is undone (undo=...), or of what kind it is:"
                ' kind="read_only" or kind="irreversible"'
            )
        return EFFECT_CLASS_IDEMPOTENT


def _undo(given: EffectOptions) -> Undo | None:
    undo = given.get("undo")
    if undo is None or isinstance(undo, Undo):
        return undo
    return Undo(
        undo,
        leaves_tombstone=given.get("leaves_tombstone", True),
        attempts=given.get("attempts", 10),
        timeout=given.get("undo_timeout", 30.0),
    )


def _word(kinds: Any, prefix: str, given: str) -> Any:
    """A word of the API, as the caller spells it. Raises ValueError."""
    words = [name.removeprefix(prefix).lower() for name in kinds.keys()[1:]]
    if given not in words:
        raise ValueError(f"{given!r} is none of {', '.join(words)}")
    return kinds.Value(prefix + given.upper())


def _compensation(undo: Undo, args: Any, registry: Registry) -> Compensation:
    data, content_type = values.encode(args if undo.args is None else undo.args)
    return Compensation(
        action=registry.name_of("compensation", undo.action),
        content_type=content_type,
        arguments=data,
        idempotency_key=undo.key,
        timeout_ms=milliseconds(positive("timeout", undo.timeout)),
        attempts=undo.attempts,
        leaves_tombstone=undo.leaves_tombstone,
    )


class _Attempt:
    """One call of what does an effect. It is known to be under way for as long as it is,
    also when nobody waits for it any more because it runs in a thread."""

    def __init__(self, acting: set[str], effect_id: str) -> None:
        self._acting = acting
        self._effect_id = effect_id
        self.begun = False
        self._given_up = False
        acting.add(effect_id)  # before its thread has begun

    def __enter__(self) -> None:
        # Here and in `give_up` the order matters: one of the two sees the other.
        self.begun = True
        if self._given_up:
            self._acting.discard(self._effect_id)
            raise NotDone("it was cancelled before it began")
        self._acting.add(self._effect_id)

    def __exit__(self, *_: object) -> None:
        self._acting.discard(self._effect_id)

    def give_up(self) -> bool:
        """Nobody waits for it any more: whether it may have begun."""
        self._given_up = True
        if not self.begun:
            self._acting.discard(self._effect_id)
        return self.begun


class _Over:
    """Said of an effect that is over and was not done, or was undone."""


class Runner:
    """Does one effect for an owner, or finds what came of it before."""

    def __init__(
        self,
        owner: Owner,
        engine: Engine,
        asked: Asked,
        effect_id: str,
        *,
        keep: Callable[[EffectClosing], bool] = lambda _: False,
        recordings: list[NewRecording] | None = None,
        timeout: float | None = None,
    ) -> None:
        """`keep` takes along what came of it, if it can, to be committed with a step."""
        self._owner = owner
        self._engine = engine
        self._asked = asked
        self._registry = engine.options.registry
        self._effect_id = effect_id
        self._entry = asked.entry(effect_id, self._registry)
        self._keep = keep
        self._recordings = recordings or []
        self._timeout = timeout
        self.entered: bool = False  # and its recordings with it

    async def run(self) -> Any:
        """Its result. See `Step.effect`."""
        over = self._owner.over
        for tries in itertools.count(over.get(self._effect_id, 0) + 1):
            if tries > 1:
                self._entry.effect_id = f"{self._effect_id}~{tries}"
                if self._asked.key:
                    self._entry.idempotency_key = f"{self._asked.key}~{tries}"
            self._check_alone()
            found = await self._once()
            if not isinstance(found, _Over):
                return found
            over[self._effect_id] = tries
        raise AssertionError("unreachable")

    async def _once(self) -> Any:
        """Do it, or find it in the ledger: its result, or that it is over."""
        sent = now()
        request = PrepareEffectRequest(
            agent_id=self._owner.agent_id,
            fence=self._owner.token,
            effect=self._entry,
            recordings=self._recordings,
        )
        try:
            answer = await self._owner.write("prepare_effect", request, self._timeout)
        except (RaftStateError, asyncio.CancelledError) as error:
            self._never_begun(error)
            raise
        if not answer.existed:
            self._owner.closings.pop(self._entry.effect_id, None)
            self.entered = True
            return await self._act(sent, answer.idempotency_key)
        if (kept := self._owner.kept.get(self._entry.effect_id)) is not None:
            return _given(kept)  # the step that is under way has done it
        effect = await self._read()
        self._check_alone()  # two tasks may have asked for it at the same time
        if effect.state == EFFECT_STATE_DISPATCHED:
            effect = await self._closed(effect)
        self._owner.closings.pop(effect.effect_id, None)
        match effect.state:
            case EffectState.EFFECT_STATE_PREPARED:
                return await self._dispatch(again=False)
            case EffectState.EFFECT_STATE_UNKNOWN:
                return await self._unknown(effect)
            case EffectState.EFFECT_STATE_COMMITTED:
                return _result(effect)
            case EffectState.EFFECT_STATE_RECONCILED if effect.found == FOUND_DONE:
                return _result(effect)
        return _Over()

    def _check_alone(self) -> None:
        """Raise EffectUnknown if it is being done."""
        if self._entry.effect_id in self._owner.acting:
            raise self._in_doubt("an attempt of this process still does it")

    def _never_begun(self, error: BaseException) -> None:
        """It may have been entered as dispatched. Whoever finds it so is to know that it was
        not begun, unless it was by an attempt before this one."""
        if not isinstance(error, RaftStateError) or not error.definite:
            closing = EffectClosing(
                effect_id=self._entry.effect_id,
                outcome=EFFECT_OUTCOME_FAILED_BEFORE_EFFECT,
                error="it was not known to be dispatched, and so was not begun",
            )
            self._owner.closings.setdefault(closing.effect_id, closing)

    async def _read(self) -> Effect:
        request = GetEffectRequest(
            agent_id=self._owner.agent_id, effect_id=self._entry.effect_id
        )
        answer = await reading.read(
            self._engine, lambda peer: peer.effects.GetEffect, request, timeout=self._timeout
        )
        effect: Effect = answer.effect
        return effect

    async def _dispatch(self, *, again: bool) -> Any:
        """Do what is in the ledger and was not done, or may be repeated (`again`)."""
        sent = now()
        request = DispatchEffectRequest(
            agent_id=self._owner.agent_id,
            fence=self._owner.token,
            effect_id=self._entry.effect_id,
        )
        try:
            answer = await self._owner.write("dispatch_effect", request, self._timeout)
        except (RaftStateError, asyncio.CancelledError) as error:
            if not again:
                self._never_begun(error)
            raise
        return await self._act(sent, answer.idempotency_key, again=again)

    # --- acting ---

    async def _act(self, sent: float, key: str, *, again: bool = False) -> Any:
        """Act. That it was not done this time says nothing about a former attempt, which
        left that open (`again`): then it stays open."""
        asked, entry = self._asked, self._entry
        call = EffectCall(
            agent_id=self._owner.agent_id,
            effect_id=entry.effect_id,
            action=asked.action,
            args=acts.json_or_bytes(entry.arguments, entry.content_type),
            key=key,
            begin_by=sent + asked.begin_by,
            owned_for=lambda: self._owner.time_left,
        )
        attempt = _Attempt(self._owner.acting, entry.effect_id)
        try:
            result = await acts.run(asked.do, call, lambda: attempt)
        except asyncio.CancelledError as error:
            await self._failed(error, done=attempt.give_up() or again)
            raise
        except (NotDone, EffectTooLate) as error:
            await self._failed(error, done=again)
            raise
        except BaseException as error:
            await self._failed(error, done=attempt.give_up() or again)
            raise
        return await self._succeeded(result)

    async def _succeeded(self, result: Any) -> Any:
        """It was done: note that, with what it gave, which is what a redo is given too."""
        closing = EffectClosing(
            effect_id=self._entry.effect_id, outcome=EFFECT_OUTCOME_COMMITTED
        )
        closing.result, closing.content_type, wrong = acts.kept(result)
        closing.error = acts.short(wrong)
        if not self._keep(closing):
            await self._noted(closing)
        if wrong:
            raise TypeError(wrong)
        return acts.json_or_bytes(closing.result, closing.content_type)

    async def _noted(self, closing: EffectClosing) -> None:
        """Say at once that it was done. Whoever cannot say so must not be told that
        nothing happened."""
        self._owner.closings[closing.effect_id] = closing
        try:
            await self._complete(closing, self._timeout)
        except LOST:
            raise  # the whole block ends
        except RaftStateError as error:
            raise self._in_doubt(
                f"it was done, and that could not be noted: {error}"
            ) from error

    async def _failed(self, error: BaseException, *, done: bool) -> None:
        """Note that it was not done, or that nobody knows (`done`)."""
        unknown = done and self._entry.effect_class != EFFECT_CLASS_READ_ONLY
        closing = EffectClosing(
            effect_id=self._entry.effect_id,
            outcome=EFFECT_OUTCOME_UNKNOWN if unknown else EFFECT_OUTCOME_FAILED_BEFORE_EFFECT,
            error=acts.labelled(error),
        )
        self._owner.closings[closing.effect_id] = closing
        if self._owner.lost:
            return  # a successor finds it UNKNOWN
        try:
            await self._complete(closing, NOTE_S)
        except RaftStateError as refused:
            error.add_note(f"which could not be noted in the ledger: {refused}")

    async def _complete(self, closing: EffectClosing, timeout: float | None) -> None:
        request = CompleteEffectRequest(
            agent_id=self._owner.agent_id, fence=self._owner.token, closing=closing
        )
        await self._owner.write("complete_effect", request, timeout)
        self._owner.closings.pop(closing.effect_id, None)

    # --- what was begun before ---

    async def _closed(self, effect: Effect) -> Effect:
        """What this process began, and whose end it could not note: noted now."""
        closing = self._owner.closings.get(effect.effect_id)
        if closing is None:
            closing = EffectClosing(
                effect_id=effect.effect_id,
                outcome=EFFECT_OUTCOME_UNKNOWN,
                error="it was begun, and its end was not noted",
            )
        await self._complete(closing, self._timeout)
        return await self._read()

    async def _unknown(self, effect: Effect) -> Any:
        """Go by the policy of an effect of which nobody knows whether it was done."""
        if effect.on_unknown == UNKNOWN_POLICY_REPEAT:
            return await self._dispatch(again=True)
        if effect.on_unknown == UNKNOWN_POLICY_RECONCILE:
            return await self._reconcile(effect)
        error = self._in_doubt("a former attempt left open whether it was done")
        if effect.on_unknown == UNKNOWN_POLICY_ESCALATE:
            try:
                error.details["incident_id"] = await self._escalate(effect)
            except RaftStateError as refused:
                error.add_note(f"no incident could be opened for it: {refused}")
        raise error

    async def _reconcile(self, effect: Effect) -> Any:
        """Ask the outside; what it says is noted first."""
        name = effect.reconcile_action
        reconciler = self._registry.find("reconciler", name)
        if reconciler is None:
            raise self._in_doubt(f"nothing is registered here as the reconciler {name!r}")
        request = ReconcileEffectRequest(
            agent_id=self._owner.agent_id,
            effect_id=effect.effect_id,
            fence=self._owner.token,
            found=FOUND_DONE,
        )
        wrong = ""
        try:
            result = await acts.run(reconciler, acts.call_of(effect))
            request.result, request.content_type, wrong = acts.kept(result)
            request.error = acts.short(wrong)
        except NotDone as error:
            request.found, request.error = FOUND_NOT_DONE, acts.short(str(error))
        except Exception as error:
            raise self._in_doubt(f"the reconciler {name!r} does not know: {error}") from error
        await self._owner.write("reconcile_effect", request, self._timeout)
        if request.found == FOUND_NOT_DONE:
            return _Over()
        if wrong:
            raise TypeError(wrong)
        return acts.json_or_bytes(request.result, request.content_type)

    async def _escalate(self, effect: Effect) -> str:
        """The id of an incident that asks a person: the one that is open already, or a
        new one."""
        listing = ListIncidentsRequest(only_open=True, agent_id=effect.agent_id)
        async for page in reading.pages(
            self._engine, lambda peer: peer.recovery.ListIncidents, listing, {}
        ):
            for incident in page.incidents:
                about = {(one.kind, one.ref) for one in incident.evidence}
                if incident.symptom == SYMPTOM_EFFECT_UNKNOWN and (
                    ("effect", _ref(effect)) in about
                ):
                    known: str = incident.incident_id
                    return known
        request = ReportSymptomRequest(
            symptom=SYMPTOM_EFFECT_UNKNOWN,
            agent_ids=[effect.agent_id],
            summary=f"{effect.action}: nobody knows whether effect {effect.effect_id} was done",
            evidence=[Evidence(kind="effect", ref=_ref(effect), detail=effect.error)],
        )
        answer = await self._engine.mutate("report_symptom", request, self._timeout)
        incident_id: str = answer.incident_id
        return incident_id

    def _in_doubt(self, why: str) -> EffectUnknown:
        agent_id, effect_id = self._owner.agent_id, self._entry.effect_id
        return EffectUnknown(
            f"effect {effect_id} of {agent_id}: {why}",
            definite=False,
            details={"agent_id": agent_id, "effect_id": effect_id},
        )


def _ref(effect: Effect) -> str:
    return f"{effect.agent_id}#{effect.effect_id}"[:300]


def _given(closing: EffectClosing) -> Any:
    """What an effect gave whose closing goes along with a step."""
    if closing.error:
        raise TypeError(closing.error)
    return acts.json_or_bytes(closing.result, closing.content_type)


def _result(effect: Effect) -> Any:
    """What an effect gave when it was done."""
    if effect.error.startswith(acts.UNKEPT):
        raise TypeError(effect.error)
    return acts.json_or_bytes(effect.result, effect.result_content_type)
