"""Carrying out what is to be undone: claim, undo, say so, one item after the other.

What is to be undone is a frozen list in the store, and the claim of it is fenced. Whoever
carries it out can stop, or die, at any point: another goes on with the same item, under the
same idempotency key. What fails for a passing reason is tried again after a while, which
grows with every failure; what fails for good waits for a person, and so does all behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from raftstate.client import acts, reading
from raftstate.client.acts import FailedForGood, NotDone, UndoCall
from raftstate.client.calls import remaining, too_late
from raftstate.client.clock import now
from raftstate.client.engine import Engine
from raftstate.client.registry import Registry
from raftstate.client.session import Session
from raftstate.errors import (
    Conflict,
    DiskFull,
    NoQuorum,
    NotLeader,
    NotOwner,
    OutcomeUnknown,
    Overloaded,
    Owned,
    PlanState,
    SessionExpired,
)
from raftstate.v1.effect_service_pb2 import (
    COMPENSATION_STATE_BARRIER,
    COMPENSATION_STATE_PENDING,
    COMPENSATION_STATE_STUCK,
    FOUND_DONE,
    FOUND_NOT_DONE,
    CompensationItem,
    Effect,
    GetEffectRequest,
    GetSagaRequest,
    ReconcileEffectRequest,
    Undoing,
)
from raftstate.v1.rollback_service_pb2 import (
    COMPENSATION_OUTCOME_DONE,
    COMPENSATION_OUTCOME_FAILED,
    COMPENSATION_OUTCOME_FAILED_FOR_GOOD,
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompleteCompensationRequest,
    CompleteCompensationResponse,
    GetRollbackRequest,
)

SAGA_PLAN: Final = "saga/"
ROLLBACK_PLAN: Final = "rollback/"
WAITING: Final = (COMPENSATION_STATE_STUCK, COMPENSATION_STATE_BARRIER)
# What is no reason to give a plan up: it is asked again, after a while.
_AGAIN: Final = (
    *(NoQuorum, NotLeader, OutcomeUnknown, Overloaded, DiskFull),
    *(Conflict, NotOwner, SessionExpired),
)
# An attempt whose time is over has so long to end before it is left behind.
_LET_GO_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before something that failed is tried again: jittered, and longer
    with every failure."""

    first_s: float = 0.2
    longest_s: float = 30.0
    rng: random.Random = field(default_factory=random.Random)

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        longest = min(self.first_s * 2.0 ** min(max(failures - 1, 0), 30), self.longest_s)
        return longest * self.rng.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be undone, as it was read: how far it has come, and its items."""

    undoing: Undoing
    items: dict[int, CompensationItem]

    @property
    def next(self) -> CompensationItem | None:
        """The item whose turn it is, if it was shown when the plan was read."""
        return self.items.get(self.undoing.next_position)


@dataclass(frozen=True, slots=True)
class Carried:
    """How far a plan was carried out. `missing` is a function that is not registered here,
    and without which it could not be done; `blocked`: a person has to decide first."""

    undoing: Undoing
    missing: str = ""
    blocked: bool = False

    @property
    def done(self) -> bool:
        """Whether there is nothing left to undo."""
        return not self.undoing.open


class _Stopped(Exception):
    """Whoever carries out was told to stop."""


class Carrier:
    """Carries out plans for one client, each by one task at a time."""

    def __init__(
        self,
        engine: Engine,
        *,
        registry: Registry | None = None,
        holder: str | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._engine = engine
        self._registry = registry or engine.options.registry
        self._holder = (engine.options.client_name if holder is None else holder)[:255]
        self._backoff = backoff or Backoff()
        self._stopped = asyncio.Event()
        self._heard = now()  # from the store
        self._left: set[asyncio.Task[Any]] = set()  # attempts that nobody waits for

    def stop(self) -> None:
        """Begin with nothing new: what is under way is ended in order."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    async def carry(
        self,
        plan_id: str,
        *,
        force: bool = False,
        deadline: float = float("inf"),
        patience: float = float("inf"),
    ) -> Carried:
        """Carry a plan out, as far as that can be done now and here. `patience` is how many
        seconds the store may be away.

        Raises Owned (definite): another live session has claimed it, and `force` is not
        set; Fenced (definite): another has taken it over; PlanNotFound (definite);
        NoQuorum (definite) and OutcomeUnknown (indefinite) at the deadline, or when the
        patience is over. Whatever is raised, the store knows what was undone."""
        async with self._alone(plan_id, deadline):
            self._heard, failures = now(), 0
            while True:
                try:
                    return await self._carry(plan_id, force)
                except _Stopped:
                    return Carried((await self.read(plan_id)).undoing)
                except _AGAIN as error:
                    failures += 1
                    pause = self._backoff.after(failures)
                    if too_late(deadline, pause) or now() - self._heard > patience:
                        raise
                    if isinstance(error, SessionExpired):
                        self._engine.check()
                    await self._pause(pause)
                force = False  # it was taken once, if it could be

    async def _carry(self, plan_id: str, force: bool) -> Carried:
        plan = await self.read(plan_id)
        undoing = plan.undoing
        while undoing.open:
            if self.stopped:
                return Carried(undoing)
            plan = Plan(undoing, plan.items)
            if plan.next is not None:
                if plan.next.state in WAITING:
                    return Carried(undoing, blocked=True)
                if missing := await self.missing(plan.next):
                    return Carried(undoing, missing=missing)
            session, answer = await self._claim(plan_id, force)
            force = False
            if answer is None:  # it is over, or another rollback has taken it over
                return Carried((await self.read(plan_id)).undoing)
            if not answer.HasField("item"):
                return Carried(answer.undoing, blocked=True)
            item = answer.item
            if missing := self._missing(answer.effect, reconcile=item.reconcile_first):
                return Carried(answer.undoing, missing=missing)
            try:
                undoing = await self._one(session, answer)
            except PlanState:  # another has ended it meanwhile
                return Carried((await self.read(plan_id)).undoing)
        return Carried(undoing)

    # --- reading ---

    async def read(self, plan_id: str) -> Plan:
        """A plan as it is now. Raises SagaNotFound, RollbackNotFound (definite)."""
        name = plan_id.partition("/")[2]
        if plan_id.startswith(SAGA_PLAN):
            saga = await reading.read(
                self._engine,
                lambda peer: peer.effects.GetSaga,
                GetSagaRequest(saga_id=name),
                timeout=None,
            )
            return Plan(saga.saga.undoing, {one.position: one for one in saga.items})
        found = await reading.read(
            self._engine,
            lambda peer: peer.rollbacks.GetRollback,
            GetRollbackRequest(rollback_id=name),
            timeout=None,
        )
        return Plan(found.rollback.undoing, {one.position: one for one in found.items})

    async def missing(self, item: CompensationItem) -> str:
        """The name of what it takes to undo an item and is not registered here; empty:
        nothing is missing."""
        request = GetEffectRequest(agent_id=item.agent_id, effect_id=item.effect_id)
        answer = await reading.read(
            self._engine, lambda peer: peer.effects.GetEffect, request, timeout=None
        )
        return self._missing(answer.effect, reconcile=item.reconcile_first)

    def _missing(self, effect: Effect, *, reconcile: bool) -> str:
        undo = effect.compensation.action
        if self._registry.find("compensation", undo) is None:
            return undo
        if reconcile and self._registry.find("reconciler", effect.reconcile_action) is None:
            return effect.reconcile_action
        return ""

    # --- one item ---

    async def _claim(
        self, plan_id: str, force: bool
    ) -> tuple[Session, ClaimCompensationsResponse | None]:
        """The item whose turn it is, claimed; None: there is nothing to undo any more."""
        deadline = self._engine.deadline(None)
        session = await self._engine.sessions.get(deadline)
        request = ClaimCompensationsRequest(plan_id=plan_id, holder=self._holder, force=force)
        try:
            answer = await self._engine.mutate_in(
                session, "claim_compensations", request, deadline
            )
        except PlanState:
            return session, None
        self._heard = now()
        found: ClaimCompensationsResponse = answer
        return session, found

    async def _one(self, session: Session, answer: ClaimCompensationsResponse) -> Undoing:
        """Settle an item, or find out that it has to be tried again later, and wait for
        that. Gives how far the plan has come."""
        item, effect = answer.item, answer.effect
        if session.valid_until <= now():
            raise SessionExpired("it may have ended: nothing is begun under it", definite=True)
        if item.reconcile_first:
            return await self._reconciled(session, answer)
        done = CompleteCompensationRequest(outcome=COMPENSATION_OUTCOME_DONE)
        undo = self._registry.find("compensation", effect.compensation.action)
        call = _call(item, effect)
        result = await self._tried(effect, done, lambda: acts.run(_found(undo), call))
        # It is undone also where that cannot be kept.
        done.result, done.content_type, _ = acts.kept(result)
        return await self._complete(session, answer, done)

    async def _tried(
        self,
        effect: Effect,
        done: CompleteCompensationRequest,
        act: Callable[[], Coroutine[Any, Any, Any]],
    ) -> Any:
        """What user code gives, within the time of one attempt; how it fails is noted in
        `done`. It runs in a task of its own, so that code which does not let itself be
        cancelled is left behind."""
        seconds = effect.compensation.timeout_ms / 1000
        attempt = asyncio.create_task(act())
        late = True
        try:
            late = not (await asyncio.wait({attempt}, timeout=seconds))[0]
        finally:
            if late:
                await self._let_go(attempt)
        done.outcome, done.error = COMPENSATION_OUTCOME_FAILED, f"no answer in {seconds:g} s"
        if not attempt.done():
            return None
        try:
            result = attempt.result()
        except FailedForGood as error:
            done.outcome = COMPENSATION_OUTCOME_FAILED_FOR_GOOD
            done.error = acts.labelled(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # it is noted
            if not late:
                done.error = acts.labelled(error)
        else:
            done.outcome, done.error = COMPENSATION_OUTCOME_DONE, ""
            return result
        return None

    async def _let_go(self, attempt: asyncio.Task[Any]) -> None:
        """Cancel an attempt, and wait for its end, but not for long."""
        attempt.cancel()
        self._left.add(attempt)
        attempt.add_done_callback(self._ended)
        await asyncio.wait({attempt}, timeout=_LET_GO_S)

    def _ended(self, attempt: asyncio.Task[Any]) -> None:
        self._left.discard(attempt)
        if not attempt.cancelled():
            attempt.exception()  # how it failed is of no interest any more

    async def _complete(
        self,
        session: Session,
        answer: ClaimCompensationsResponse,
        done: CompleteCompensationRequest,
    ) -> Undoing:
        done.plan_id = answer.item.plan_id
        done.fence.CopyFrom(answer.claim.fence)
        done.position = answer.item.position
        said: CompleteCompensationResponse = await self._engine.mutate_in(
            session, "complete_compensation", done, self._engine.deadline(None)
        )
        self._heard = now()
        if said.state == COMPENSATION_STATE_PENDING:
            await self._pause(self._backoff.after(answer.item.failures + 1))
        return said.undoing

    async def _reconciled(
        self, session: Session, answer: ClaimCompensationsResponse
    ) -> Undoing:
        """Find out whether an effect happened that cannot be undone before that is known."""
        item, effect = answer.item, answer.effect
        reconcile = self._registry.find("reconciler", effect.reconcile_action)
        request = ReconcileEffectRequest(
            agent_id=item.agent_id,
            effect_id=item.effect_id,
            fence=answer.claim.fence,
            plan_id=item.plan_id,
            found=FOUND_DONE,
        )
        call = acts.call_of(effect)

        async def ask() -> Any:
            try:
                return await acts.run(_found(reconcile), call)
            except NotDone as error:
                request.found, request.error = FOUND_NOT_DONE, acts.short(str(error))
                return None

        failed = CompleteCompensationRequest(outcome=COMPENSATION_OUTCOME_DONE)
        result = await self._tried(effect, failed, ask)
        if failed.outcome != COMPENSATION_OUTCOME_DONE:
            return await self._complete(session, answer, failed)
        if request.found == FOUND_DONE:
            request.result, request.content_type, wrong = acts.kept(result)
            request.error = acts.short(wrong)
        await self._engine.mutate_in(
            session, "reconcile_effect", request, self._engine.deadline(None)
        )
        return (await self.read(item.plan_id)).undoing

    # --- waiting ---

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is told to stop. Raises _Stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        if self.stopped:
            raise _Stopped

    @contextlib.asynccontextmanager
    async def _alone(self, plan_id: str, deadline: float) -> AsyncIterator[None]:
        """One task of this client carries a plan out: to the store they are all one, and
        both would be given the same item. Raises Owned (definite) at the deadline."""
        while (other := self._engine.carried.get(plan_id)) is not None:
            seconds = None if deadline == float("inf") else max(remaining(deadline), 0.0)
            if not (await asyncio.wait({other}, timeout=seconds))[0]:
                raise Owned(
                    f"another task of this client carries {plan_id} out",
                    definite=True,
                    details={"current_holder": self._holder},
                )
        done = asyncio.get_running_loop().create_future()
        self._engine.carried[plan_id] = done
        try:
            yield
        finally:
            del self._engine.carried[plan_id]
            done.set_result(None)


def _found(function: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    assert function is not None, "it was looked for before"
    return function


def _call(item: CompensationItem, effect: Effect) -> UndoCall:
    undo = effect.compensation
    return UndoCall(
        plan_id=item.plan_id,
        agent_id=effect.agent_id,
        effect_id=effect.effect_id,
        action=undo.action,
        args=acts.json_or_bytes(undo.arguments, undo.content_type),
        key=undo.idempotency_key,
        effect_key=effect.idempotency_key,
        result=acts.json_or_bytes(effect.result, effect.result_content_type),
        attempt=item.failures + 1,
        effect=effect,
    )
