"""Breakers, their trips and incidents against the dumb model, command by command."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftstate.core import breaker_queries, breakers, incidents, keys, windows
from raftstate.core.hashing import full_hash
from raftstate.v1.breaker_service_pb2 import Breaker, BreakerConfig, TripPlan
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.recovery_service_pb2 import Incident
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core.bench import (
    Bench,
    close_session,
    expire_ownership,
    expire_session,
    reason,
    replayed,
)
from tests.core.breaker_model import BreakerModel, ModelBreaker, ModelIncident, Refused, Setting
from tests.core.breaker_story import (
    annotate,
    by_hand,
    close_incident,
    delete_breaker,
    permit,
    put_breaker,
    report,
    symptom,
)

NAMES = st.sampled_from(["x", "x", "x", "x", "x/y"])
SESSIONS = st.sampled_from(["s", "t", "u"])
AGENTS = st.sampled_from(["w", "v"])
RARELY = st.sampled_from([False, False, False, True])
SETTINGS = st.builds(
    Setting,
    last_calls=st.sampled_from([0, 3, 5, 8]),
    window_ms=st.sampled_from([1_000, 1_234, 3_000]),
    failure=st.sampled_from([0.34, 0.5, 1.0]),
    slow=st.sampled_from([0.0, 0.5, 0.7]),
    least=st.integers(1, 3),
    reporters=st.sampled_from([1, 1, 2]),
    open_ms=st.sampled_from([100, 500]),
    factor=st.sampled_from([1.0, 1.5, 2.0]),
    most_ms=st.sampled_from([500, 800]),
    probes=st.sampled_from([1, 1, 2]),
    successes=st.sampled_from([1, 2]),
    timeout_ms=st.sampled_from([1, 1_000, 10_000]),
    action=st.sampled_from(["NOTIFY", "DEGRADE", "FAIL_OVER"]),
    agents=st.just(("w", "nobody", "v")),
).map(
    lambda each: each._replace(
        window_ms=0 if each.last_calls else each.window_ms,
        failure=0.0 if each.slow == 0.5 else each.failure,
        agents=each.agents if each.action == "FAIL_OVER" else (),
    )
)


def config_of(setting: Setting) -> BreakerConfig:
    plan = TripPlan(action=f"TRIP_ACTION_{setting.action}", agent_ids=setting.agents)
    return BreakerConfig(
        count_window=setting.last_calls,
        time_window_ms=setting.window_ms,
        failure_rate=setting.failure,
        slow_rate=setting.slow,
        slow_call_ms=1_000,
        minimum_calls=setting.least,
        minimum_reporters=setting.reporters,
        open_ms=setting.open_ms,
        open_factor=setting.factor,
        open_max_ms=setting.most_ms,
        probes=setting.probes,
        successes=setting.successes,
        probe_timeout_ms=setting.timeout_ms,
        on_trip=plan,
    )


class BreakerRules(RuleBasedStateMachine):
    """One machine and one model; time passes when a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.model = BreakerModel()
        self.fences: dict[str, FencingToken] = {}
        # Every permit that was ever given: whose, of which breaker, in which generation.
        self.given: list[tuple[str, str, int, int]] = []

    @initialize()
    def begin(self) -> None:
        """There are sessions and agents, and a breaker that trips soon."""
        self.model.now = 1_000
        for session in ("boss", "s", "t", "u"):
            self.bench.open(session)
        for agent in ("w", "v"):
            self.apply(self.bench.create("boss", agent))
        setting = Setting(3, 0, 0.5, 0, 2, 1, 100, 2.0, 1_000, 1, 1, 1_000, "NOTIFY", ())
        self.put("x", setting)

    def apply(self, command: Command) -> Outcome:
        return self.bench.one(command, at=self.model.now)

    def check(self, command: Command, change: Any) -> tuple[Outcome, Any]:
        """Apply a command, and compare whether it is refused, and why, with the model."""
        refused, want = "", None
        try:
            want = change()
        except Refused as refusal:
            refused = str(refusal)
        outcome = self.apply(command)
        assert reason(outcome) == refused
        return outcome, want

    # --- breakers ------------------------------------------------------------

    @rule(by=st.sampled_from([0, 1, 99, 100, 101, 500, 1_000, 5_000]))
    def time_passes(self, by: int) -> None:
        self.model.now += by

    @rule(name=NAMES, setting=SETTINGS)
    def put(self, name: str, setting: Setting) -> None:
        command = put_breaker(self.bench, "boss", name, config_of(setting))
        self.check(command, lambda: self.model.put(name, setting))

    @rule(name=NAMES, really=RARELY, setting=SETTINGS)
    def delete(self, name: str, really: bool, setting: Setting) -> None:
        """A breaker is removed; the one that the rules are mostly about comes again."""
        if really:
            command = delete_breaker(self.bench, "boss", name)
            self.check(command, lambda: self.model.delete(name))
            if name == "x":
                self.put(name, setting)

    @rule(name=NAMES)
    def everything_fails(self, name: str) -> None:
        """All sessions report nothing but failed and slow calls."""
        for by in ("s", "t", "u"):
            self.report(name, by, 0, 3, 3, 3)

    @rule(
        name=NAMES,
        by=SESSIONS,
        off=st.sampled_from([0, 0, 0, 0, -1, 20_000]),
        bad=st.sampled_from(["", "", "failed", "slow"]),
        at_once=st.sampled_from([True, True, False]),
    )
    def somebody_probes(self, name: str, by: str, off: int, bad: str, at_once: bool) -> None:
        """A breaker has tripped, its time passes, or almost; somebody asks, and mostly
        says what came of it."""
        known = self.model.breakers.get(name)
        if known is not None and known.state == "CLOSED":
            self.everything_fails(name)
        if known is not None and known.until:
            self.model.now = max(self.model.now, known.until + off)
        before = len(self.given)
        self.permit(name, by)
        if at_once and len(self.given) > before:
            self.a_probe_reports(1, bad == "failed", bad == "slow", False)

    @rule(name=NAMES, by=SESSIONS)
    def somebody_asks(self, name: str, by: str) -> None:
        self.permit(name, by)

    def permit(self, name: str, by: str) -> None:
        revision = self.bench.machine.revision + 1
        command = permit(self.bench, by, name)
        outcome, want = self.check(command, lambda: self.model.permit(name, by, revision))
        if want is not None:
            said = outcome.acquire_permit
            assert said.permit_id == want
            assert said.generation == self.model.breakers[name].generation
            if want:
                self.given.append((by, name, want, said.generation))
        elif reason(outcome) == "BREAKER_OPEN":
            assert outcome.refusal.log_time_ms == self.model.now

    @rule(
        name=NAMES,
        by=SESSIONS,
        late=st.sampled_from([0, 0, 0, 0, 1, -1]),
        calls=st.integers(1, 4),
        failed=st.sampled_from([0, 0, 1, 2, 4]),
        slow=st.sampled_from([0, 0, 1, 2, 4]),
    )
    def somebody_reports(
        self, name: str, by: str, late: int, calls: int, failed: int, slow: int
    ) -> None:
        self.report(name, by, late, calls, failed, slow)

    def report(self, name: str, by: str, late: int, calls: int, failed: int, slow: int) -> None:
        known = self.model.breakers.get(name)
        generation = max((known.generation if known else 1) - late, 1)
        failed, slow = min(failed, calls), min(slow, calls)
        before = len(self.model.incidents)
        command = report(self.bench, by, name, generation, calls, failed, slow, error="boom")
        outcome, want = self.check(
            command,
            lambda: self.model.report(name, by, generation, calls, failed, slow),
        )
        if want is not None:
            said = outcome.report_outcomes
            assert said.counted == want
            assert breakers.state_name(said.state) == self.model.breakers[name].state
            assert bool(said.incident_id) == (len(self.model.incidents) > before)
        if self.model.now % 2:  # sent again, it changes nothing
            assert self.apply(command) == outcome

    @rule(
        back=st.sampled_from([1, 1, 1, 2, 3]),
        failed=RARELY,
        slow=RARELY,
        other=RARELY,
    )
    def a_probe_reports(self, back: int, failed: bool, slow: bool, other: bool) -> None:
        """Mostly one that is out, sometimes one that has no right to."""
        if len(self.given) < back:
            return
        by, name, number, generation = self.given[-back]
        by = "boss" if other else by
        command = report(
            self.bench, by, name, generation, 1, int(failed), int(slow), number, "boom"
        )
        outcome, want = self.check(
            command,
            lambda: self.model.probed(name, by, number, generation, failed, slow),
        )
        if want is not None:
            assert outcome.report_outcomes.counted == want

    @rule(name=NAMES, verb=st.sampled_from(["force_open", "force_close", "reset"]))
    def by_hand(self, name: str, verb: str) -> None:
        command = by_hand(self.bench, "boss", verb, name, "because")
        self.check(command, lambda: getattr(self.model, verb)(name))

    # --- agents and sessions -------------------------------------------------

    @rule(session=SESSIONS, lost=st.booleans())
    def end_session(self, session: str, lost: bool) -> None:
        """A session ends, and its client opens it again."""
        self.model.end_session(session, lost)
        if lost:
            self.apply(expire_session(session, self.bench.touched(session)))
        else:
            self.apply(close_session(session))
        self.bench.open(session)

    @rule(agent=AGENTS, by=SESSIONS, force=st.booleans())
    def acquire(self, agent: str, by: str, force: bool) -> None:
        mode = "FORCE" if force else "IF_FREE"
        command = self.bench.acquire(by, agent, mode)
        outcome, _ = self.check(command, lambda: self.model.acquire(agent, by, force))
        if not reason(outcome):
            self.fences[agent] = outcome.acquire_ownership.ownership.fence

    @rule(agent=AGENTS)
    def expire_ownership(self, agent: str) -> None:
        if agent in self.model.owners:
            touched = self.bench.agent(agent).owner.touched_revision
            self.model.lose(agent)
            self.apply(expire_ownership(agent, self.fences[agent], touched))

    @rule(agent=AGENTS)
    def release(self, agent: str) -> None:
        by = self.model.owners.pop(agent, "")
        if by:
            outcome = self.apply(self.bench.release(by, agent, self.fences[agent]))
            assert reason(outcome) == ""

    @rule(agent=AGENTS)
    def step(self, agent: str) -> None:
        by = self.model.owners.get(agent)
        if by is not None:
            command = self.bench.step(by, agent, self.fences[agent])
            self.check(command, lambda: self.model.step(agent, by))

    @rule(agent=AGENTS, really=RARELY)
    def retire(self, agent: str, really: bool) -> None:
        if really:
            command = self.bench.retire("boss", agent)
            self.check(command, lambda: self.model.retire(agent))

    # --- incidents -----------------------------------------------------------

    @rule(agent=st.sampled_from(["w", "nobody"]))
    def symptom(self, agent: str) -> None:
        def change() -> int:
            if agent == "nobody":
                raise Refused("AGENT_NOT_FOUND")
            return self.model.opened((agent,), 0)

        self.check(symptom(self.bench, "boss", "it is odd", [agent]), change)

    @rule(back=st.integers(0, 3))
    def annotate(self, back: int) -> None:
        number = max(len(self.model.incidents) - back, 0)
        command = annotate(self.bench, "boss", number, "ann", "I looked")
        self.check(command, lambda: self.model.annotate(number))

    @rule(back=st.integers(0, 3), really=RARELY)
    def resolve(self, back: int, really: bool) -> None:
        number = max(len(self.model.incidents) - back, 0) if really else 0
        command = close_incident(self.bench, "boss", number, "it is well")
        self.check(command, lambda: self.model.resolve(number))

    # --- the laws ------------------------------------------------------------

    @invariant()
    def breakers_are_what_the_model_says(self) -> None:
        found = breaker_queries.list_breakers(self.bench.store, "", "", 100)
        assert {each.name: shown(each) for each in found} == {
            name: expected(each) for name, each in self.model.breakers.items()
        }
        for each in found:
            window = windows.load(self.bench.store, each.name)
            assert windows.counts(window.buckets) == each.counts

    @invariant()
    def incidents_are_what_the_model_says(self) -> None:
        page = breaker_queries.list_incidents(self.bench.store, "", 1_000)
        assert [shown_incident(each) for each in page.incidents] == self.model.incidents
        closed = sum(not each.open for each in self.model.incidents)
        counted = incidents.counts(self.bench.store)
        assert counted == (len(self.model.incidents), closed)

    @invariant()
    def each_session_has_its_permits(self) -> None:
        found = {mark for mark, _ in self.bench.store.scan(b"P", b"Q")}
        assert found == {
            keys.permitted(each.by, name)
            for name, breaker in self.model.breakers.items()
            for each in breaker.permits
        }

    @invariant()
    def each_agent_knows_of_its_loss(self) -> None:
        for agent in ("w", "v"):
            record = breaker_queries.get_incident(
                self.bench.store, self.bench.agent(agent).incident_id
            )
            number = int(record.incident_id, 16) if record else 0
            assert number == self.model.losses.get(agent, 0)

    def teardown(self) -> None:
        """The hash is that of the bytes, and another replica ends with the same."""
        assert self.bench.machine.state_hash == full_hash(self.bench.store)
        assert replayed(self.bench.log) == self.bench.store


def shown(each: Breaker) -> tuple[Any, ...]:
    counts = each.counts
    return (
        breakers.state_name(each.state),
        each.generation,
        (counts.calls, counts.failures, counts.slow, list(counts.reporters)),
        each.open_until_ms,
        each.in_a_row,
        [(probe.permit_id, probe.session_id) for probe in each.permits],
        each.successes,
        each.degraded,
        int(each.incident_id or "0", 16),
    )


def expected(each: ModelBreaker) -> tuple[Any, ...]:
    calls = each.counted()
    failed, slow = sum(call.failed for call in calls), sum(call.slow for call in calls)
    return (
        each.state,
        each.generation,
        (len(calls), failed, slow, each.reporters()),
        each.until,
        each.openings,
        [(probe.number, probe.by) for probe in each.permits],
        each.successes,
        each.degraded,
        each.incident,
    )


def shown_incident(each: Incident) -> ModelIncident:
    return ModelIncident(
        about=tuple(each.agent_ids),
        detected=each.detected_ms,
        breaker=each.breaker,
        evidence=len(each.evidence),
        notes=len(each.notes),
        fenced=each.fenced_ms,
        restored=each.restored_ms,
        resumed=each.resumed_ms,
        resolved=each.resolved_ms,
        open=each.open,
    )


TestBreakerRules = BreakerRules.TestCase
TestBreakerRules.settings = settings(max_examples=max(settings().max_examples // 2, 30))
