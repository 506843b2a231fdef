"""What agents, workers and people do in a run: scripts that go by what the store says.

None remembers what one of its role did before: who plays it next begins with what is
stored. A refusal that says that somebody else is in charge ends what a script is at.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from jepsen_like.outside import Said, Way
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import recovery_service_pb2 as recovery
from raftstate.v1 import rollback_service_pb2 as rollbacks
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, RequestId
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    Compensation,
    CompensationItem,
    CompleteEffectRequest,
    DispatchEffectRequest,
    Effect,
    EffectClosing,
    EndSagaRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
)
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.recovery_service_pb2 import (
    Evidence,
    ReportSymptomRequest,
    ReportValidationRequest,
)
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    CompleteCompensationRequest,
    DecideCompensationRequest,
    FinishRollbackRequest,
)
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import Command, Outcome
from tests.recovery.stage import IDLE, Action, Call, Script, Store

OPEN = (
    effects.EFFECT_STATE_PREPARED,
    effects.EFFECT_STATE_DISPATCHED,
    effects.EFFECT_STATE_UNKNOWN,
)
AT_WORK = (agents.LIFECYCLE_IDLE, agents.LIFECYCLE_ACTIVE)
Kind = effects.EffectClass
READ = effects.EFFECT_CLASS_READ_ONLY
KEYED = effects.EFFECT_CLASS_IDEMPOTENT
ASKED = effects.EFFECT_CLASS_RECONCILABLE
FOREVER = effects.EFFECT_CLASS_IRREVERSIBLE
BUSY = (rollbacks.ROLLBACK_STATE_COMPENSATING, rollbacks.ROLLBACK_STATE_BLOCKED)
WAYS: dict[int, Way] = {READ: "plain", KEYED: "keyed", ASKED: "asked", FOREVER: "plain"}


class Refused(Exception):
    """Somebody else is in charge: what a script is at is over."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.refusal))


@dataclass
class Client:
    """A session, and what is done under it."""

    store: Store
    session_id: str
    opened: int = 0
    sequence: int = 0

    def open(self) -> Generator[Action, Any, None]:
        """Open the session."""
        request = OpenSessionRequest(session_id=self.session_id, ttl_ms=5_000)
        outcome = yield Command(open_session=request)
        assert outcome.HasField("open_session"), outcome
        self.opened = outcome.open_session.session.opened_revision

    def do(self, name: str, request: Any) -> Generator[Action, Any, Any]:
        """Send a mutation; its response."""
        self.sequence += 1
        request.request_id.CopyFrom(
            RequestId(
                session_id=self.session_id, sequence=self.sequence, opened_revision=self.opened
            )
        )
        outcome = yield Command(**{name: request})
        if outcome.HasField("refusal"):
            raise Refused(outcome)
        return getattr(outcome, name)

    def act(self, effect: Effect) -> Generator[Action, Any, Said]:
        """Do it outside."""
        key, way, who = effect.idempotency_key, WAYS[effect.effect_class], self.session_id
        if effect.effect_class == READ:
            said: Said = yield Call(lambda books: "done")  # no book says anything of it
        else:
            said = yield Call(lambda books: books.act(key, way, who))
        return said

    def undo(self, effect: Effect, plan: str) -> Generator[Action, Any, Said]:
        """Undo it outside."""
        key, way, who = effect.idempotency_key, WAYS[effect.effect_class], self.session_id
        under = effect.compensation.idempotency_key
        said: Said = yield Call(lambda books: books.undo(key, way, under, plan, who))
        return said

    def ask(self, effect: Effect) -> Generator[Action, Any, Said]:
        """Ask the outside whether it was done."""
        key, who = effect.idempotency_key, self.session_id
        said: Said = yield Call(lambda books: books.ask(key, who))
        return said


def new_effect(name: str, kind: Kind, saga_id: str = "", *, dispatch: bool) -> NewEffect:
    """An effect of a class, with all that the class asks for."""
    new = NewEffect(
        effect_id=name, action="book", effect_class=kind, saga_id=saga_id, dispatch=dispatch
    )
    if kind in (KEYED, ASKED):
        new.compensation.CopyFrom(Compensation(action="cancel", attempts=3))
        new.compensation.leaves_tombstone = kind == KEYED
    if kind == ASKED:
        new.reconcile_action = "look"
    return new


# --- agents ------------------------------------------------------------------------


@dataclass
class Owner(Client):
    """Who owns an agent and acts for it."""

    agent_id: str = ""
    fence: FencingToken | None = None

    def acquire(self) -> Generator[Action, Any, None]:
        """Own the agent; wait while somebody else does, or it is being rolled back."""
        while True:
            agent = self.store.agent(self.agent_id)
            if agent is None or agent.lifecycle == agents.LIFECYCLE_IDLE:
                request = AcquireOwnershipRequest(
                    agent_id=self.agent_id, ttl_ms=60_000, holder=self.session_id, create=True
                )
                granted = yield from self.do("acquire_ownership", request)
                self.fence = granted.ownership.fence
                return
            yield IDLE

    def own(self, name: str, request: Any) -> Generator[Action, Any, Any]:
        """Do something under the ownership."""
        request.agent_id = self.agent_id
        request.fence.CopyFrom(self.fence)
        answer = yield from self.do(name, request)
        return answer

    def known(self, effect_id: str) -> Effect | None:
        """What the ledger has of an effect of this agent."""
        found = [e for e in self.store.effects(self.agent_id) if e.effect_id == effect_id]
        return found[0] if found else None

    def step(
        self, data: str, *, save: bool = False, closing: EffectClosing | None = None
    ) -> Generator[Action, Any, None]:
        """One step: an event, perhaps a checkpoint, perhaps the end of an effect."""
        request = CommitStepRequest(events=[NewEvent(type="did", data=data.encode())])
        if save:
            request.checkpoint.CopyFrom(NewCheckpoint(data=data.encode()))
        if closing is not None:
            request.closings.append(closing)
        yield from self.own("commit_step", request)

    def book(
        self, name: str, kind: Kind, saga_id: str = "", *, fails: bool = False
    ) -> Generator[Action, Any, None]:
        """One effect, from its entry in the ledger to its end; nothing, if it has ended."""
        known = self.known(name)
        if known is not None and known.state not in OPEN:
            return
        if known is not None:
            yield from self.settle(known)
            return
        at_once = len(name) % 2 == 0
        new = new_effect(name, kind, saga_id, dispatch=at_once)
        yield from self.own("prepare_effect", PrepareEffectRequest(effect=new))
        if not at_once:
            dispatch = DispatchEffectRequest(effect_id=name)
            yield from self.own("dispatch_effect", dispatch)
        known = self.known(name)
        assert known is not None, f"{name} is not in the ledger"
        yield from self._finish(known, fails=fails)

    def _finish(self, effect: Effect, *, fails: bool = False) -> Generator[Action, Any, None]:
        """Act, and say what came of it: in a step, or alone."""
        closing = EffectClosing(
            effect_id=effect.effect_id, outcome=effects.EFFECT_OUTCOME_FAILED_BEFORE_EFFECT
        )
        if not fails:
            said = yield from self.act(effect)
            if said != "refused":
                closing.outcome = effects.EFFECT_OUTCOME_COMMITTED
        if effect.number % 2:
            yield from self.step(effect.effect_id, closing=closing)
        else:
            request = CompleteEffectRequest(closing=closing)
            yield from self.own("complete_effect", request)

    def both(
        self, one: tuple[str, Kind], other: tuple[str, Kind], saga_id: str
    ) -> Generator[Action, Any, None]:
        """Two effects at once: the one that was begun last ends first."""
        for name, kind in (one, other):
            new = new_effect(name, kind, saga_id, dispatch=True)
            yield from self.own("prepare_effect", PrepareEffectRequest(effect=new))
        for name, _ in (other, one):
            known = self.known(name)
            assert known is not None, f"{name} is not in the ledger"
            yield from self._finish(known)

    # --- what a successor finds ---

    def settle(self, effect: Effect) -> Generator[Action, Any, None]:
        """What the policy of an open effect says."""
        name = effect.effect_id
        if effect.state == effects.EFFECT_STATE_PREPARED:
            outcome = effects.EFFECT_OUTCOME_FAILED_BEFORE_EFFECT
            closing = EffectClosing(effect_id=name, outcome=outcome)
            yield from self.own("complete_effect", CompleteEffectRequest(closing=closing))
        elif effect.state != effects.EFFECT_STATE_UNKNOWN:
            raise AssertionError(f"{name} is {effect.state} after a takeover")
        elif effect.on_unknown == effects.UNKNOWN_POLICY_REPEAT:
            yield from self.own("dispatch_effect", DispatchEffectRequest(effect_id=name))
            yield from self._finish(effect)
        elif effect.on_unknown == effects.UNKNOWN_POLICY_RECONCILE:
            said = yield from self.ask(effect)
            found = effects.FOUND_DONE if said == "done" else effects.FOUND_NOT_DONE
            request = ReconcileEffectRequest(effect_id=name, found=found)
            yield from self.own("reconcile_effect", request)
        elif not told_of(self.store, effect):
            shown = Evidence(kind="effect", ref=f"{effect.agent_id}#{name}")
            symptom = ReportSymptomRequest(
                symptom=recovery.SYMPTOM_EFFECT_UNKNOWN,
                agent_ids=[self.agent_id],
                summary=f"{name} is unknown",
                evidence=[shown],
            )
            yield from self.do("report_symptom", symptom)

    def take_over(self) -> Generator[Action, Any, None]:
        """Own the agent, give up sagas that somebody left, and settle what else is open."""
        yield from self.acquire()
        for saga in self.store.sagas():
            if saga.agent_id == self.agent_id and saga.state == effects.SAGA_STATE_RUNNING:
                request = AbortSagaRequest(saga_id=saga.saga_id, reason="its owner is gone")
                yield from self.own("abort_saga", request)
        for effect in self.store.effects(self.agent_id):
            if effect.state in OPEN and not self._is_listed(effect):
                yield from self.settle(effect)

    def _is_listed(self, effect: Effect) -> bool:
        """Whether a worker sees to it."""
        return bool(effect.plan_id)

    # --- sagas ---

    def begin(self, saga_id: str) -> Generator[Action, Any, None]:
        """Begin a saga."""
        yield from self.own("begin_saga", BeginSagaRequest(saga_id=saga_id))

    def end(self, saga_id: str) -> Generator[Action, Any, None]:
        """Complete it."""
        yield from self.own("end_saga", EndSagaRequest(saga_id=saga_id))

    def abort(self, saga_id: str) -> Generator[Action, Any, None]:
        """Give it up."""
        yield from self.own("abort_saga", AbortSagaRequest(saga_id=saga_id, reason="a step"))


def told_of(store: Store, effect: Effect) -> bool:
    """Whether somebody has been told that an effect is unknown."""
    name = f"{effect.agent_id}#{effect.effect_id}"
    return any(one.ref == name for each in store.incidents() for one in each.evidence)


Story = Callable[[Owner], Generator[Action, Any, None]]


def owner(agent_id: str, story: Story) -> Callable[[Store, str], Script]:
    """Who takes over an agent and goes on with its story; again, if he is overtaken by a
    rollback, and while his session lasts."""

    def life(store: Store, session_id: str) -> Script:
        one = Owner(store, session_id, agent_id=agent_id)
        yield from one.open()
        while True:
            try:
                yield from one.take_over()
                yield from story(one)
                return
            except Refused:
                if store.touched(session_id) is None:
                    return

    return life


# --- workers -----------------------------------------------------------------------


@dataclass
class Worker(Client):
    """Who carries out compensations, validates, finishes, and decides like a person."""

    def work(self) -> Script:
        """Look for plans, and do one thing at a time, for ever."""
        yield from self.open()
        while self.store.touched(self.session_id) is not None:
            did = False
            for task in self._tasks():
                try:
                    did = (yield from task) or did
                except Refused:
                    continue
            if not did:
                yield IDLE

    def _tasks(self) -> list[Generator[Action, Any, bool]]:
        plans = [
            (f"saga/{one.saga_id}", one.undoing)
            for one in self.store.sagas()
            if one.state in (effects.SAGA_STATE_COMPENSATING, effects.SAGA_STATE_STUCK)
        ]
        tasks: list[Generator[Action, Any, bool]] = []
        for each in self.store.rollbacks():
            if each.state in BUSY:
                plans.append((f"rollback/{each.rollback_id}", each.undoing))
            elif each.state == rollbacks.ROLLBACK_STATE_VALIDATING:
                tasks.append(self._validate(each.rollback_id))
            elif each.state == rollbacks.ROLLBACK_STATE_READY:
                tasks.append(self._finish(each.rollback_id))
        free = (plan_id for plan_id, undoing in plans if self._may(undoing.claim))
        return [*tasks, *map(self._carry_out, free)]

    def _may(self, claim: effects.Claim) -> bool:
        return claim.session_id in ("", self.session_id)

    def _carry_out(self, plan_id: str) -> Generator[Action, Any, bool]:
        """Claim the next item, and see it through."""
        request = ClaimCompensationsRequest(plan_id=plan_id, holder=self.session_id)
        claimed = yield from self.do("claim_compensations", request)
        if not claimed.HasField("item"):
            waiting = self.store.items(plan_id)[claimed.undoing.next_position - 1]
            yield from self._decide(waiting)
            return True
        item = claimed.item
        effect = self.store.effect(item.agent_id, item.effect_number)
        if item.reconcile_first:
            said = yield from self.ask(effect)
            found = effects.FOUND_DONE if said == "done" else effects.FOUND_NOT_DONE
            asked = ReconcileEffectRequest(
                agent_id=item.agent_id,
                effect_id=item.effect_id,
                fence=claimed.claim.fence,
                plan_id=plan_id,
                found=found,
            )
            yield from self.do("reconcile_effect", asked)
            return True
        outcome = rollbacks.COMPENSATION_OUTCOME_FAILED
        if item.error or effect.number % 3:
            yield from self.undo(effect, plan_id)
            outcome = rollbacks.COMPENSATION_OUTCOME_DONE
        elif effect.number % 6:
            outcome = rollbacks.COMPENSATION_OUTCOME_FAILED_FOR_GOOD
        done = CompleteCompensationRequest(
            plan_id=plan_id, fence=claimed.claim.fence, position=item.position, outcome=outcome
        )
        if outcome != rollbacks.COMPENSATION_OUTCOME_DONE:
            done.error = "not now"
        yield from self.do("complete_compensation", done)
        return True

    def _decide(self, item: CompensationItem) -> Generator[Action, Any, None]:
        """What a person would say: try it again; leave what cannot be undone."""
        decision = rollbacks.DECISION_PROCEED
        if item.state == effects.COMPENSATION_STATE_STUCK:
            decision = rollbacks.DECISION_RETRY
        request = DecideCompensationRequest(
            plan_id=item.plan_id, position=item.position, decision=decision, decided_by="me"
        )
        yield from self.do("decide_compensation", request)

    def _validate(self, rollback_id: str) -> Generator[Action, Any, bool]:
        """Say that all is well, for each validator that has not."""
        [each] = [one for one in self.store.rollbacks() if one.rollback_id == rollback_id]
        for report in each.validators:
            if not report.HasField("passed"):
                request = ReportValidationRequest(
                    validator=report.validator,
                    agent_id=report.agent_id,
                    rollback_id=rollback_id,
                    passed=True,
                )
                yield from self.do("report_validation", request)
                return True
        return False

    def _finish(self, rollback_id: str) -> Generator[Action, Any, bool]:
        yield from self.do("finish_rollback", FinishRollbackRequest(rollback_id=rollback_id))
        return True


def worker(store: Store, session_id: str) -> Script:
    """Somebody who carries out whatever there is to undo."""
    yield from Worker(store, session_id).work()
