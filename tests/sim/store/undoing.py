"""Who starts rollbacks, who carries out compensations, and who reports to breakers.

Workers look for plans wherever they are, claim them, sometimes by force, call the outside,
and say what came of it; they die and are stopped as travellers are. Who comes next goes on
from what is stored. They also speak for validators and for people.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from raftstate.core import keys, rollback_queries
from raftstate.core.ports import Reader
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1 import breaker_service_pb2 as breakers
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import rollback_service_pb2 as rollbacks
from raftstate.v1.agent_service_pb2 import Agent, ResumeAgentRequest
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    Breaker,
    BreakerConfig,
    ForceCloseRequest,
    ForceOpenRequest,
    PutBreakerRequest,
    ReportOutcomesRequest,
    ResetRequest,
    TripPlan,
)
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    MarkValidRequest,
    NewGroupMember,
    PutGroupCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    CompensationItem,
    Effect,
    ReconcileEffectRequest,
    Saga,
)
from raftstate.v1.recovery_service_pb2 import (
    Incident,
    PutValidatorRequest,
    ReportValidationRequest,
    ResolveIncidentRequest,
)
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
    CompleteCompensationRequest,
    DecideCompensationRequest,
    FinishRollbackRequest,
    PlanRollbackRequest,
    Rollback,
    StartRollbackRequest,
    Target,
)
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim.store.client import StoreClient
from tests.sim.store.travelling import AGENTS, PREFIX, WAYS, Gone, Outsider
from tests.sim.tasks import Script, Wait

VALIDATOR = "rollback-validator"
TO_UNDO = (effects.SAGA_STATE_COMPENSATING, effects.SAGA_STATE_STUCK)
UNDOING = (rollbacks.ROLLBACK_STATE_COMPENSATING, rollbacks.ROLLBACK_STATE_BLOCKED)


class Undoer(Outsider):
    """Somebody who finishes what others have begun to undo."""

    kind = "undoer"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.dies = 0.04

    def act(self) -> Script:
        """Look for something to do, and see some of it through."""
        sight = yield from (self.look if self.rng.random() < 0.5 else self.glance)(self.found)
        if sight is None or not sight.value:
            return
        kind, name = self.rng.choice(sight.value)
        try:
            if kind == "plan":
                yield from self.carry_out(name)
            elif kind == "validate":
                yield from self.validate(name)
            else:
                request = FinishRollbackRequest(rollback_id=name)
                yield from self.say(Command(finish_rollback=request))
                self.common.counts["rollbacks_finished"] += 1
        except Gone:
            return

    def found(self, reader: Reader) -> list[tuple[str, str]]:
        """What there is to do."""
        tasks = []
        for _, raw in reader.scan(*keys.sagas("", "")):
            saga = Saga.FromString(raw)
            if saga.state in TO_UNDO:
                tasks.append(("plan", f"saga/{saga.saga_id}"))
        for _, raw in reader.scan(*keys.rollbacks("")):
            rollback = Rollback.FromString(raw)
            if rollback.state in UNDOING:
                tasks.append(("plan", f"rollback/{rollback.rollback_id}"))
            elif rollback.state == rollbacks.ROLLBACK_STATE_VALIDATING:
                tasks.append(("validate", rollback.rollback_id))
            elif rollback.state == rollbacks.ROLLBACK_STATE_READY:
                tasks.append(("finish", rollback.rollback_id))
        return tasks

    def say(self, command: Command) -> Generator[Wait, None, Outcome]:
        """Send a command, and hear that it was done."""
        outcome, _ = yield from self.do(command)
        if outcome is None or outcome.HasField("refusal"):
            raise Gone
        return outcome

    def danger(self) -> Script:
        """A point at which one may die, or be stopped and know nothing of it."""
        if self.rng.random() < self.dies:
            self.session_over = True
            raise Gone
        if self.rng.random() < self.dies:
            self.session_over = True
            yield Wait(self.habits.session_ttl_ms / 1000 * self.rng.uniform(0.5, 4.0))
            self.common.counts["stopped"] += 1

    def carry_out(self, plan_id: str) -> Script:
        """Item after item, until there is none that can be done."""
        for _ in range(20):
            if self.fleet.closing or self.session_over:
                return
            request = ClaimCompensationsRequest(
                plan_id=plan_id, holder=self.name, force=self.rng.random() < 0.3
            )
            outcome = yield from self.say(Command(claim_compensations=request))
            claimed = outcome.claim_compensations
            yield from self.danger()
            if not claimed.HasField("item"):
                yield from self.decide(plan_id, claimed.undoing.next_position)
                return
            sight = yield from self.look(partial(self.effect, claimed))
            if sight is None or sight.value is None:
                return
            if claimed.item.reconcile_first:
                yield from self.reconcile(plan_id, claimed.claim.fence, sight.value)
            else:
                yield from self.undo(plan_id, claimed.claim.fence, claimed.item, sight.value)

    def effect(self, claimed: ClaimCompensationsResponse, reader: Reader) -> Effect | None:
        """The effect of an item."""
        item = claimed.item
        raw = reader.get(keys.effect(item.agent_id, item.effect_number))
        return None if raw is None else Effect.FromString(raw)

    def reconcile(self, plan_id: str, fence: FencingToken, effect: Effect) -> Script:
        """Ask the outside before anything is undone."""
        said = yield from self.ask_outside(effect)
        yield from self.danger()
        request = ReconcileEffectRequest(
            agent_id=effect.agent_id,
            effect_id=effect.effect_id,
            fence=fence,
            plan_id=plan_id,
            found=effects.FOUND_DONE if said == "done" else effects.FOUND_NOT_DONE,
        )
        yield from self.say(Command(reconcile_effect=request))
        self.common.counts["reconciled"] += 1

    def undo(
        self, plan_id: str, fence: FencingToken, item: CompensationItem, effect: Effect
    ) -> Script:
        """One attempt, which may fail."""
        outcome, error = rollbacks.COMPENSATION_OUTCOME_DONE, ""
        drawn = self.rng.random()
        if drawn < 0.2:
            outcome, error = rollbacks.COMPENSATION_OUTCOME_FAILED, "not now"
        elif drawn < 0.23:
            outcome, error = rollbacks.COMPENSATION_OUTCOME_FAILED_FOR_GOOD, "never"
        else:
            key, way, books = (
                effect.idempotency_key,
                WAYS[effect.effect_class],
                self.common.books,
            )
            under = effect.compensation.idempotency_key
            yield from self.outside(lambda: books.undo(key, way, under, plan_id, self.name))
        yield from self.danger()
        request = CompleteCompensationRequest(
            plan_id=plan_id, fence=fence, position=item.position, outcome=outcome, error=error
        )
        yield from self.say(Command(complete_compensation=request))
        self.common.counts["compensated"] += outcome == rollbacks.COMPENSATION_OUTCOME_DONE

    def decide(self, plan_id: str, position: int) -> Script:
        """What a person says: what is stuck is tried again, what cannot be undone stays."""
        if not position:
            return
        sight = yield from self.look(lambda reader: reader.get(keys.item(plan_id, position)))
        if sight is None or sight.value is None:
            return
        item = CompensationItem.FromString(sight.value)
        decision = {
            effects.COMPENSATION_STATE_STUCK: rollbacks.DECISION_RETRY,
            effects.COMPENSATION_STATE_BARRIER: rollbacks.DECISION_PROCEED,
        }.get(item.state)
        if decision is not None:
            request = DecideCompensationRequest(
                plan_id=plan_id, position=position, decision=decision, decided_by=self.name
            )
            yield from self.say(Command(decide_compensation=request))
            self.common.counts["decided"] += 1

    def validate(self, rollback_id: str) -> Script:
        """Speak for the validators; one says no now and then, and later yes."""
        sight = yield from self.look(lambda reader: reader.get(keys.rollback(rollback_id)))
        if sight is None or sight.value is None:
            return
        rollback = Rollback.FromString(sight.value)
        for report in rollback.validators:
            if not (report.HasField("passed") and report.passed):
                request = ReportValidationRequest(
                    validator=report.validator,
                    agent_id=report.agent_id,
                    rollback_id=rollback_id,
                    passed=self.rng.random() < 0.8,
                )
                yield from self.say(Command(report_validation=request))


class Medic(StoreClient):
    """Somebody who judges checkpoints, and takes agents back to one."""

    kind = "medic"

    def act(self) -> Script:
        """Judge, group, start a rollback; give one up now and then."""
        way = self.rng.random()
        if way < 0.07:
            yield from self.give_up()
        elif way < 0.45:
            yield from self.judge()
        elif way < 0.6:
            yield from self.group()
        elif way < 0.7:
            yield from self.resolve()
        else:
            yield from self.start()

    def judge(self) -> Script:
        """Find the newest checkpoint of an agent good."""
        agent_id = f"{PREFIX}{self.rng.randrange(AGENTS)}"
        share = self.rng.random()

        def look(reader: Reader) -> Checkpoint | None:
            rows = list(reader.scan(*keys.checkpoints(agent_id, 0)))
            return Checkpoint.FromString(rows[int(share * len(rows))][1]) if rows else None

        sight = yield from self.glance(look)
        if sight is None or sight.value is None:
            return
        if self.made == 0 or self.rng.random() < 0.2:
            self.made += 1
            put = PutValidatorRequest(
                name=VALIDATOR,
                agent_prefix=PREFIX,
                required_in_rollbacks=self.rng.random() < 0.5,
            )
            yield from self.do(Command(put_validator=put))
        request = MarkValidRequest(
            agent_id=agent_id,
            checkpoint_id=sight.value.checkpoint_id,
            validator=VALIDATOR,
            valid=True,
            content_hash=sight.value.content_hash,
        )
        yield from self.do(Command(mark_valid=request))

    def group(self) -> Script:
        """Note where all agents are."""
        members = [NewGroupMember(agent_id=f"{PREFIX}{number}") for number in range(AGENTS)]
        request = PutGroupCheckpointRequest(group_id="all of them", members=members)
        request.group_id = f"trips/{self.name}/{self.rng.randrange(3)}"
        yield from self.do(Command(put_group_checkpoint=request))

    def resolve(self) -> Script:
        """Close some incident."""
        share = self.rng.random()

        def look(reader: Reader) -> str:
            rows = [Incident.FromString(raw) for _, raw in reader.scan(*keys.incidents(""))]
            still = [one.incident_id for one in rows if one.open]
            return still[int(share * len(still))] if still else ""

        sight = yield from self.glance(look)
        if sight is not None and sight.value:
            request = ResolveIncidentRequest(incident_id=sight.value, resolution="seen to")
            yield from self.do(Command(resolve_incident=request))

    def give_up(self) -> Script:
        """Abort a rollback, and let its agents go on, or others that were halted so."""

        def look(reader: Reader) -> tuple[str, list[str]]:
            rows = [Rollback.FromString(raw) for _, raw in reader.scan(*keys.rollbacks(""))]
            busy = [one.rollback_id for one in rows if one.state in UNDOING]
            found = (Agent.FromString(raw) for _, raw in reader.scan(*keys.agents(PREFIX, "")))
            halted = [a.agent_id for a in found if a.lifecycle == agents.LIFECYCLE_HALTED]
            return (busy[0] if busy else ""), halted

        sight = yield from self.look(look)
        if sight is None:
            return
        rollback_id, halted = sight.value
        for agent_id in halted:
            yield from self.do(Command(resume_agent=ResumeAgentRequest(agent_id=agent_id)))
        if rollback_id:
            request = AbortRollbackRequest(rollback_id=rollback_id, reason="no more")
            outcome, _ = yield from self.do(Command(abort_rollback=request))
            done = outcome is not None and outcome.HasField("abort_rollback")
            self.common.counts["rollbacks_aborted"] += done

    def start(self) -> Script:
        """A rollback of one agent, or of all; sometimes as it was planned."""
        request = StartRollbackRequest(
            on_barrier=self.rng.choice(
                (
                    rollbacks.BARRIER_POLICY_REFUSE,
                    rollbacks.BARRIER_POLICY_ASK,
                    rollbacks.BARRIER_POLICY_PROCEED,
                )
            ),
            started_by=self.name,
        )
        if self.rng.random() < 0.3:
            request.group_id = f"trips/{self.name}/{self.rng.randrange(3)}"
        else:
            chosen = self.rng.sample(range(AGENTS), self.rng.randint(1, AGENTS))
            for number in chosen:
                target = yield from self.target(f"{PREFIX}{number}")
                request.agents.append(AgentTarget(agent_id=f"{PREFIX}{number}", target=target))
        if self.rng.random() < 0.4:
            plan = PlanRollbackRequest(agents=request.agents, group_id=request.group_id)
            sight = yield from self.look(
                lambda reader: rollback_queries.plan_rollback(reader, plan)
            )
            if sight is not None and hasattr(sight.value, "digest"):
                request.expected_digest = sight.value.digest
        outcome, _ = yield from self.do(Command(start_rollback=request))
        if outcome is not None and outcome.HasField("start_rollback"):
            self.common.counts["rollbacks"] += 1
            self.common.counts["group_rollbacks"] += bool(request.group_id)

    def target(self, agent_id: str) -> Generator[Wait, None, Target]:
        """Somewhere that an agent was."""
        share, way = self.rng.random(), self.rng.randrange(4)

        def look(reader: Reader) -> Target:
            rows = list(reader.scan(*keys.checkpoints(agent_id, 0)))
            found = [Checkpoint.FromString(raw) for _, raw in rows]
            raw = reader.get(keys.agent(agent_id))
            if way == 0 or not found or raw is None:
                return Target(known_good=True)
            chosen = found[int(share * len(found))]
            if way == 1:
                return Target(checkpoint_id=chosen.checkpoint_id)
            if way == 2:
                last = Agent.FromString(raw).head.event_seq
                return Target(before_event_seq=1 + int(share * (last + 1)))
            return Target(revision=chosen.revision)

        sight = yield from self.glance(look)
        return Target(known_good=True) if sight is None else sight.value


class Caller(StoreClient):
    """Somebody who calls through a breaker, and reports what came of it."""

    kind = "caller"

    def act(self) -> Script:
        """Report, ask for a permit, or set it by hand."""
        name = f"breaker/{self.rng.randrange(2)}"
        sight = yield from self.glance(lambda reader: reader.get(keys.breaker(name)))
        if sight is None:
            return
        if sight.value is None or self.rng.random() < 0.02:
            put = PutBreakerRequest(name=name, config=self.config())
            yield from self.do(Command(put_breaker=put))
            return
        breaker = Breaker.FromString(sight.value)
        if self.rng.random() < 0.03:
            yield from self.by_hand(name, breaker)
        elif breaker.state == breakers.BREAKER_STATE_CLOSED:
            yield from self.report(name, breaker.generation, self.rng.randint(1, 4))
        else:
            yield from self.probe(name)

    def config(self) -> BreakerConfig:
        """One that trips often."""
        action = self.rng.choice(
            (
                *(breakers.TRIP_ACTION_ROLLBACK,) * 3,
                breakers.TRIP_ACTION_FAIL_OVER,
                breakers.TRIP_ACTION_DEGRADE,
            )
        )
        plan = TripPlan(action=action)
        if action in (breakers.TRIP_ACTION_ROLLBACK, breakers.TRIP_ACTION_FAIL_OVER):
            plan.agent_ids.extend(f"{PREFIX}{number}" for number in range(AGENTS))
        config = BreakerConfig(
            failure_rate=0.5,
            minimum_calls=3,
            minimum_reporters=self.rng.choice((0, 1, 2)),
            open_ms=self.rng.choice((500, 3_000)),
            probes=self.rng.choice((1, 2)),
            successes=self.rng.choice((1, 3)),
            probe_timeout_ms=self.rng.choice((300, 5_000)),
            on_trip=plan,
        )
        if self.rng.random() < 0.5:
            config.count_window = 8
        else:
            config.time_window_ms = 4_000
        return config

    def report(
        self, name: str, generation: int, calls: int, permit_id: int = 0
    ) -> Generator[Wait, None, Any]:
        """What came of some calls; mostly they fail, or mostly not."""
        failures = sum(self.rng.random() < 0.4 for _ in range(calls))
        request = ReportOutcomesRequest(
            name=name,
            generation=generation,
            calls=calls,
            failures=failures,
            permit_id=permit_id,
            error="no answer",
        )
        outcome, _ = yield from self.do(Command(report_outcomes=request))
        if outcome is not None and outcome.report_outcomes.incident_id:
            self.common.counts["trips"] += 1
            self.common.counts["trips_back"] += bool(outcome.report_outcomes.rollback_id)

    def probe(self, name: str) -> Script:
        """Ask whether a call may be made; make it, or forget to say."""
        asked = AcquirePermitRequest(name=name)
        outcome, _ = yield from self.do(Command(acquire_permit=asked))
        if outcome is None or not outcome.HasField("acquire_permit"):
            return
        given = outcome.acquire_permit
        self.common.counts["probes"] += bool(given.permit_id)
        if self.rng.random() < 0.8:
            yield from self.report(name, given.generation, 1, given.permit_id)

    def by_hand(self, name: str, breaker: Breaker) -> Script:
        """What a person does."""
        forced = (breakers.BREAKER_STATE_FORCED_OPEN, breakers.BREAKER_STATE_FORCED_CLOSED)
        if breaker.state in forced or self.rng.random() < 0.5:
            yield from self.do(Command(reset=ResetRequest(name=name)))
        elif self.rng.random() < 0.5:
            yield from self.do(Command(force_open=ForceOpenRequest(name=name)))
        else:
            yield from self.do(Command(force_close=ForceCloseRequest(name=name)))
