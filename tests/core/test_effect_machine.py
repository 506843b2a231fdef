"""Effects, sagas and compensations against the dumb model, now and at every revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from raftstate.core import effect_queries, keys
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import Effect, Found
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core import effect_story as say
from tests.core.bench import EPOCH, Bench, close_session, reason, replayed
from tests.core.effect_model import KINDS, EffectModel, Kind, Refused

SESSIONS = st.sampled_from(["s", "t"])
AGENTS = st.sampled_from(["a", "a", "b"])
# Which of several, whatever there is to choose from then.
PICKS = st.integers(0, 11)
OUTCOMES = st.sampled_from(["committed", "committed", "failed", "unknown"])
# Mostly the right token and name, now and then another one.
SLIPS = st.sampled_from([0] * 15 + [-1, 1])
MANY = 1 << 20


def _something_is_undone(machine: EffectRules) -> bool:
    sagas = machine.model.sagas.values()
    return any(each.state in ("COMPENSATING", "STUCK") for each in sagas)


class EffectRules(RuleBasedStateMachine):
    """One machine, one model, and a copy of the model after each revision."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.model = EffectModel()
        self.copies: list[EffectModel] = [EffectModel()]

    @initialize()
    def begin(self) -> None:
        """There are two sessions, and two agents that are owned and have sagas."""
        for session, agent, saga in (("s", "a", "x"), ("t", "b", "y")):
            self.open(session)
            self.acquire(agent, session)
            self.begin_saga(agent, saga == "y", 0, 0)

    def check(self, command: Command, change: Callable[[int], Any]) -> tuple[Outcome, Any]:
        """Apply a command, and compare whether it is refused with what a change of the
        model says, which leaves the model as it was if it is."""
        before = self.model.copy()
        try:
            want, refused = change(self.bench.machine.revision + 1), ""
        except Refused as refusal:
            want, refused, self.model = None, str(refusal), before
        outcome = self.bench.one(command)
        self.copies.append(self.model.copy())
        assert reason(outcome) == refused, outcome
        return outcome, want

    # --- who is there --------------------------------------------------------

    def open(self, session: str) -> None:
        self.bench.open(session)
        self.copies.append(self.model.copy())

    def end_session(self, session: str, back: bool) -> None:
        """A session ends, and mostly another process takes over what it owned."""
        owned = [agent for agent, owner in self.model.owners.items() if owner[0] == session]
        self.check(close_session(session), lambda _: self.model.end_session(session))
        self.open(session)
        for agent in owned if back else ():
            self.acquire(agent, "t" if session == "s" else "s")

    def acquire(self, agent: str, session: str) -> None:
        command = self.bench.acquire(session, agent, mode="FORCE")
        self.check(command, lambda revision: self.model.acquire(revision, agent, session))

    def owner(self, agent: str, slip: int) -> tuple[str, int, FencingToken]:
        """Who owns an agent, and under which token, or nearly."""
        newest = self.model.newest[agent]
        session = self.model.owners.get(agent, ("s", 0))[0]
        if slip > 0:
            return "t" if session == "s" else "s", newest, _token(newest)
        return session, newest + slip, _token(newest + slip)

    # --- what there is to choose from ----------------------------------------

    def effect(self, agent: str, pick: int, *states: str) -> str:
        """An effect of an agent, in one of some states if there is any."""
        mine = [name for whose, name in self.model.effects if whose == agent]
        fit = [name for name in mine if self.model.effects[(agent, name)].state in states]
        names = fit or mine or ["none"]
        return names[pick % len(names)]

    def saga(self, pick: int, *states: str) -> str:
        """A saga, in one of some states if there is any."""
        every = sorted(self.model.sagas)
        fit = [name for name in every if self.model.sagas[name].state in states]
        names = fit or every
        return names[pick % len(names)]

    def joined(self, agent: str, pick: int) -> str:
        """A saga that an agent may join, or none."""
        sagas = self.model.sagas.items()
        fit = [
            name
            for name, each in sagas
            if each.state == "RUNNING" and (each.shared or each.agent == agent)
        ]
        return [*sorted(fit), *sorted(fit), ""][pick % (2 * len(fit) + 1)]

    # --- what happens: few rules, so that each comes often --------------------

    @rule(agent=AGENTS, session=SESSIONS, pick=PICKS)
    def come_or_go(self, agent: str, session: str, pick: int) -> None:
        """A session ends, or an agent is taken by one, perhaps the same."""
        if pick % 3:
            self.acquire(agent, session)
        else:
            self.end_session(session, back=pick > 0)

    @rule(
        what=st.sampled_from(["prepare", "dispatch", "complete", "reconcile"]),
        agent=AGENTS,
        kind=st.sampled_from(KINDS),
        outcome=OUTCOMES,
        flag=st.booleans(),
        pick=PICKS,
        slip=SLIPS,
    )
    def one_effect(
        self, what: str, agent: str, kind: Kind, outcome: str, flag: bool, pick: int, slip: int
    ) -> None:
        """An owner says something of an effect."""
        if what == "prepare":
            self.prepare(agent, kind, flag, pick, slip)
        elif what == "dispatch":
            self.dispatch(agent, pick, slip)
        elif what == "complete":
            self.complete(agent, outcome, pick, slip)
        else:
            self.reconcile(agent, "done" if flag else "not_done", pick, slip)

    @rule(
        what=st.sampled_from(["begin", "end", "abort", "abort"]),
        agent=AGENTS,
        own=st.sampled_from([True, True, True, False]),
        shared=st.booleans(),
        pick=PICKS,
        slip=SLIPS,
    )
    def one_saga(
        self, what: str, agent: str, own: bool, shared: bool, pick: int, slip: int
    ) -> None:
        """An owner begins or ends a saga, mostly its own."""
        if what == "begin":
            self.begin_saga(agent, shared, pick, slip)
        elif what == "end":
            self.end_saga("" if own else agent, pick, slip)
        else:
            self.abort_saga("" if own else agent, pick, slip)

    @precondition(_something_is_undone)
    @rule(
        what=st.sampled_from(["claim", "finish", "ask", "decide"]),
        session=SESSIONS,
        outcome=st.sampled_from(["done", "failed", "for_good"]),
        decision=st.sampled_from(["retry", "by_hand", "proceed", "escalate"]),
        flag=st.booleans(),
        pick=PICKS,
        slip=st.sampled_from([0, 0, 0, 0, -1, 1]),
    )
    def one_item(
        self,
        what: str,
        session: str,
        outcome: str,
        decision: str,
        flag: bool,
        pick: int,
        slip: int,
    ) -> None:
        """A worker, or a person, does one thing about a plan."""
        if what == "claim":
            self.claim(pick, session, flag)
        elif what == "finish":
            self.finish(pick, slip, int(pick == 7), outcome)
        elif what == "ask":
            self.ask_first("done" if flag else "not_done", pick, slip)
        else:
            self.decide(pick, pick % 4, decision)

    @precondition(_something_is_undone)
    @rule(
        pick=PICKS,
        session=SESSIONS,
        outcomes=st.lists(
            st.sampled_from(["done", "done", "done", "failed", "for_good"]),
            min_size=1,
            max_size=4,
        ),
    )
    def work_at_a_plan(self, pick: int, session: str, outcomes: list[str]) -> None:
        """A worker goes on with a plan for a while."""
        self.carry_out(pick, session, outcomes)

    @rule(agent=AGENTS, kinds=st.lists(st.sampled_from(KINDS[1:]), min_size=2, max_size=4))
    def fail_in_the_middle(self, agent: str, kinds: list[Kind]) -> None:
        """A saga fails at an effect of which nobody knows the end."""
        self.fail(agent, kinds)

    # --- effects -------------------------------------------------------------

    @rule(
        agent=AGENTS,
        jobs=st.lists(
            st.tuples(st.sampled_from(KINDS), st.sampled_from(["", "committed", "committed"])),
            min_size=1,
            max_size=4,
        ),
        pick=PICKS,
    )
    def work(self, agent: str, jobs: list[tuple[Kind, str]], pick: int) -> None:
        """An agent does some things, and perhaps has not said of each what came of it."""
        saga = self.joined(agent, pick)
        for kind, outcome in jobs:
            name = str(len(self.model.effects))
            self.enter(agent, name, kind, saga, True, 0)
            if outcome:
                self.close(agent, name, outcome, 0)

    def prepare(self, agent: str, kind: Kind, go: bool, pick: int, slip: int) -> None:
        """A new effect, or one that is there, perhaps alike, in some saga or none."""
        name, saga = str(len(self.model.effects)), self.joined(agent, pick)
        if pick % 4 == 0:
            name = self.effect(agent, pick)
            known = self.model.effects.get((agent, name))
            kind, saga = (known.kind, known.saga) if known and pick else (kind, saga)
        elif pick % 4 == 1:
            saga = [*sorted(self.model.sagas), "none"][pick % (len(self.model.sagas) + 1)]
        self.enter(agent, name, kind, saga, go, slip)

    def enter(self, agent: str, name: str, kind: Kind, saga: str, go: bool, slip: int) -> None:
        by, token, fence = self.owner(agent, slip)
        new = say.new_effect(f"{name} {kind.words} saga={saga} dispatch={'yes' * go}")

        def change(revision: int) -> bool:
            self.model.fenced(agent, by, token)
            known = self.model.effects.get((agent, name))
            if known is not None and (known.kind, known.saga) == (kind, saga):
                return True
            self.model.check_new(agent, name, saga)
            self.model.enter(revision, agent, name, kind, saga, go)
            return False

        outcome, existed = self.check(say.prepare(self.bench, by, agent, fence, new), change)
        if existed is not None:
            said, effect = outcome.prepare_effect, self.model.effects[(agent, name)]
            assert (said.existed, said.number) == (existed, effect.number)
            assert say.state(said.state) == effect.state

    def dispatch(self, agent: str, pick: int, slip: int) -> None:
        by, token, fence = self.owner(agent, slip)
        name = self.effect(agent, pick, "PREPARED", "UNKNOWN")

        def change(revision: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.dispatch(revision, agent, name)

        self.check(say.dispatch(self.bench, by, agent, fence, name), change)

    def complete(self, agent: str, outcome: str, pick: int, slip: int) -> None:
        self.close(agent, self.effect(agent, pick, "DISPATCHED", "PREPARED"), outcome, slip)

    def close(self, agent: str, name: str, outcome: str, slip: int) -> None:
        by, token, fence = self.owner(agent, slip)
        closing = say.closing(f"{name} {outcome}")

        def change(revision: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.close(revision, agent, name, say.OUTCOMES[outcome])

        self.check(say.complete(self.bench, by, agent, fence, closing), change)

    @rule(
        agent=AGENTS,
        closed=st.lists(st.tuples(PICKS, OUTCOMES), max_size=2),
        opened=st.lists(st.tuples(PICKS, st.sampled_from(KINDS)), max_size=2),
        pick=PICKS,
        slip=SLIPS,
    )
    def step(
        self,
        agent: str,
        closed: list[tuple[int, str]],
        opened: list[tuple[int, Kind]],
        pick: int,
        slip: int,
    ) -> None:
        """All of a step, or nothing: whatever is refused of it."""
        by, token, fence = self.owner(agent, slip)
        ends = {self.effect(agent, at, "DISPATCHED"): outcome for at, outcome in closed}
        fresh = len(self.model.effects)
        begins = {str(fresh + at - (at == 11)): kind for at, kind in opened}
        saga = self.joined(agent, pick)
        command = self.bench.step(
            by,
            agent,
            fence,
            closings=[say.closing(f"{name} {how}") for name, how in ends.items()],
            effects=[
                say.new_effect(f"{name} {kind.words} saga={saga} dispatch=yes")
                for name, kind in begins.items()
            ],
        )

        def change(revision: int) -> None:
            self.model.fenced(agent, by, token)
            for name, how in ends.items():
                self.model.check_close(agent, name, say.OUTCOMES[how])
            for name in begins:
                self.model.check_new(agent, name, "")
            for name in begins:
                self.model.check_new(agent, name, saga)
            for name, how in ends.items():
                self.model.close(revision, agent, name, say.OUTCOMES[how])
            for name, kind in begins.items():
                self.model.enter(revision, agent, name, kind, saga, go=True)

        self.check(command, change)

    def reconcile(self, agent: str, found: str, pick: int, slip: int) -> None:
        """Its owner asks the outside about an effect."""
        by, token, fence = self.owner(agent, slip)
        name = self.effect(agent, pick, "UNKNOWN")

        def change(revision: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.reconcile(revision, agent, name, found.upper(), "")

        self.check(say.reconcile(self.bench, by, agent, fence, name, found), change)

    def ask_first(self, found: str, pick: int, slip: int) -> None:
        """Who has claimed a plan asks the outside about an effect, mostly one of it."""
        plan = f"saga/{self.saga(pick, 'COMPENSATING', 'STUCK')}"
        by, token, fence = self.claimant(plan, slip)
        among = self.model.plans.get(plan)
        asked = [item.effect for item in among.items if item.ask_first] if among else []
        agent, name = asked[0] if asked else ("a", self.effect("a", pick, "UNKNOWN"))

        def change(revision: int) -> None:
            self.model.claimed(plan, by, token)
            self.model.reconcile(revision, agent, name, found.upper(), plan)

        self.check(say.reconcile(self.bench, by, agent, fence, name, found, plan), change)

    # --- sagas ---------------------------------------------------------------

    def begin_saga(self, agent: str, shared: bool, pick: int, slip: int) -> None:
        by, token, fence = self.owner(agent, slip)
        saga = self.saga(pick) if pick == 11 else f"g{len(self.model.sagas)}"
        mode = "choreographed" if shared else ""

        def change(_: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.begin(saga, agent, shared)

        self.check(say.begin_saga(self.bench, by, saga, agent, fence, mode), change)

    def end_saga(self, stranger: str, pick: int, slip: int) -> None:
        saga = self.saga(pick, "RUNNING")
        agent = stranger or self.model.sagas[saga].agent
        by, token, fence = self.owner(agent, slip)

        def change(_: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.end(saga, agent)

        self.check(say.end_saga(self.bench, by, saga, agent, fence), change)

    def fail(self, agent: str, kinds: list[Kind]) -> None:
        """An agent does something, and at the end is not sure, and gives all up."""
        saga, first = f"g{len(self.model.sagas)}", len(self.model.effects)
        self.begin_saga(agent, False, 0, 0)
        for at, kind in enumerate(kinds):
            self.enter(agent, str(first + at), kind, saga, True, 0)
            if at < len(kinds) - 1:
                self.close(agent, str(first + at), "committed", 0)
        by, token, fence = self.owner(agent, 0)

        def change(revision: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.abort(revision, saga, agent)

        self.check(say.abort_saga(self.bench, by, saga, agent, fence), change)

    def abort_saga(self, stranger: str, pick: int, slip: int) -> None:
        saga = self.saga(pick, "RUNNING")
        agent = stranger or self.model.sagas[saga].agent
        by, token, fence = self.owner(agent, slip)

        def change(revision: int) -> None:
            self.model.fenced(agent, by, token)
            self.model.abort(revision, saga, agent)

        self.check(say.abort_saga(self.bench, by, saga, agent, fence), change)

    # --- compensations -------------------------------------------------------

    def claimant(self, plan: str, slip: int) -> tuple[str, int, FencingToken]:
        """Who has a plan's claim, and under which token, or nearly."""
        known = self.model.plans.get(plan)
        session, token = (known.holder, known.token) if known else ("s", 0)
        if slip > 0:
            return "t" if session == "s" else "s", token, _token(token)
        token = max(token + slip, 0)
        return session or "s", token, _token(token)

    def claim(self, pick: int, session: str, force: bool) -> None:
        plan = f"saga/{self.saga(pick, 'COMPENSATING', 'STUCK')}"
        outcome, want = self.check(
            say.claim(self.bench, session, plan, force),
            lambda revision: self.model.claim(revision, plan, session, force),
        )
        if want is not None:
            said = outcome.claim_compensations
            assert (said.claim.fence.revision, said.item.position) == want

    def carry_out(self, pick: int, session: str, outcomes: list[str]) -> None:
        """A worker claims what there is, asks where it must, and goes on while it can."""
        for outcome in outcomes:
            if not _something_is_undone(self):
                return
            self.claim(pick, session, True)
            name = self.saga(pick, "COMPENSATING", "STUCK")
            plan = self.model.plans[f"saga/{name}"]
            if plan.items[plan.turn - 1].state in ("STUCK", "BARRIER"):
                ways = ("retry", "by_hand", "proceed", "escalate")
                self.decide_item(f"saga/{name}", plan.turn, ways[pick % 4])
                continue
            if plan.items[plan.turn - 1].ask_first:
                self.ask_first("done", pick, 0)
            self.finish_item(f"saga/{name}", outcome, 0, 0)

    def finish(self, pick: int, slip: int, late: int, outcome: str) -> None:
        plan = f"saga/{self.saga(pick, 'COMPENSATING', 'STUCK')}"
        self.finish_item(plan, outcome, slip, late)

    def finish_item(self, plan: str, outcome: str, slip: int, late: int) -> None:
        by, token, fence = self.claimant(plan, slip)
        known = self.model.plans.get(plan)
        position = (known.turn if known else 0) + late or 1
        result, want = self.check(
            say.undone(self.bench, by, plan, fence, position, outcome),
            lambda _: self.model.finish(plan, by, token, position, outcome),
        )
        if want is not None:
            assert say.item_state(result.complete_compensation.state) == want

    def decide(self, pick: int, position: int, decision: str) -> None:
        plan = f"saga/{self.saga(pick, 'STUCK')}"
        known = self.model.plans.get(plan)
        self.decide_item(plan, position or (known.turn if known else 0) or 1, decision)

    def decide_item(self, plan: str, position: int, decision: str) -> None:
        result, want = self.check(
            say.decide(self.bench, "s", plan, position, decision, "ann"),
            lambda _: self.model.decide(plan, position, decision),
        )
        if want is not None:
            assert say.item_state(result.decide_compensation.state) == want

    # --- the laws ------------------------------------------------------------

    def same(self, reader: Reader, model: EffectModel) -> None:
        """A reader shows what the model says."""
        for agent in ("a", "b"):
            found = effect_queries.list_effects(reader, agent, 0, MANY).effects
            assert [each.number for each in found] == list(range(1, len(found) + 1))
            assert {each.effect_id: _shown(each) for each in found} == {
                name: (each.state, each.settled, each.found, each.saga, each.plan)
                for (whose, name), each in model.effects.items()
                if whose == agent
            }
        sagas = effect_queries.list_sagas(reader, "", "", MANY).sagas
        assert {each.saga_id: say.saga_state(each.state) for each in sagas} == {
            name: each.state for name, each in model.sagas.items()
        }
        for name, plan in model.plans.items():
            items = effect_queries.items(reader, name, MANY)
            assert [
                (
                    (item.agent_id, item.effect_id),
                    say.item_state(item.state),
                    item.failures,
                    item.reconcile_first,
                )
                for item in items
            ] == [
                (item.effect, item.state, item.failures, item.ask_first) for item in plan.items
            ]

    @invariant()
    def now_and_then_are_what_the_model_says(self) -> None:
        now = self.bench.machine.revision
        assert now == len(self.copies) - 1
        self.same(self.bench.store, self.model)
        then = now * 3 // 4
        self.same(PastReader(self.bench.store, then), self.copies[then])

    @invariant()
    def each_record_counts_what_it_has(self) -> None:
        for agent in self.model.newest:
            record = self.bench.agent(agent)
            mine = [each for (whose, _), each in self.model.effects.items() if whose == agent]
            opened = sum(each.state in ("PREPARED", "DISPATCHED", "UNKNOWN") for each in mine)
            assert (record.effects, record.open_effects) == (len(mine), opened)
        for saga in effect_queries.list_sagas(self.bench.store, "", "", MANY).sagas:
            mine = [each for _, each in self.model.of_saga(saga.saga_id)]
            opened = sum(each.state in ("PREPARED", "DISPATCHED", "UNKNOWN") for each in mine)
            assert (saga.effects, saga.open_effects) == (len(mine), opened)
            # Somebody is called for when a person has to decide.
            assert saga.incident_id or say.saga_state(saga.state) != "STUCK"
            if saga.HasField("undoing"):
                plan = self.model.plans[saga.undoing.plan_id]
                states = [item.state for item in plan.items]
                assert saga.undoing.total == len(states)
                assert saga.undoing.next_position == plan.turn
                assert saga.undoing.stuck == states.count("STUCK") + states.count("BARRIER")
                assert saga.undoing.newest_claim.revision == plan.token
                assert saga.undoing.claim.session_id == plan.holder

    @invariant()
    def the_indices_are_true(self) -> None:
        model = self.model
        numbers = {key: each.number for key, each in model.effects.items()}
        at = keys.open_effect("", 0)[:1]
        assert self.rows(at) == {
            keys.open_effect(key[0], numbers[key])
            for key, each in model.effects.items()
            if each.state in ("PREPARED", "DISPATCHED", "UNKNOWN")
        }
        assert self.rows(keys.done_effect("", 0, 0)[:1]) == {
            keys.done_effect(key[0], each.settled, each.number)
            for key, each in model.effects.items()
            if each.done
        }
        assert self.rows(keys.saga_effect("", "", 0)[:1]) == {
            keys.saga_effect(each.saga, key[0], each.number)
            for key, each in model.effects.items()
            if each.saga
        }
        assert self.rows(keys.open_saga("", "")[:1]) == {
            keys.open_saga(each.agent, name)
            for name, each in model.sagas.items()
            if each.state in ("RUNNING", "COMPENSATING", "STUCK")
        }
        assert self.rows(keys.claimed("", "")[:1]) == {
            keys.claimed(plan.holder, name) for name, plan in model.plans.items() if plan.holder
        }

    def rows(self, table: bytes) -> set[bytes]:
        """The keys of a table."""
        return {key for key, _ in self.bench.store.scan(table, table + b"\xff" * 9)}

    @invariant()
    def what_is_undone_is_undone_in_order(self) -> None:
        """No item is at work, or failed, while one before it is open; and an effect is in
        one open item at most."""
        seen: set[tuple[str, int]] = set()
        for name in self.model.plans:
            waiting = False
            for item in effect_queries.items(self.bench.store, name, MANY):
                state = say.item_state(item.state)
                assert not (waiting and state in ("CLAIMED", "STUCK", "COMPENSATED")) or (
                    item.decided_by
                )
                if state in ("PENDING", "CLAIMED", "STUCK", "BARRIER"):
                    waiting = True
                    assert (item.agent_id, item.effect_number) not in seen
                    seen.add((item.agent_id, item.effect_number))

    @invariant()
    def the_kept_hash_is_the_hash(self) -> None:
        assert self.bench.machine.state_hash == full_hash(self.bench.store)

    def teardown(self) -> None:
        """Another replica ends with the same bytes."""
        assert replayed(self.bench.log) == self.bench.store


def _token(revision: int) -> FencingToken:
    return FencingToken(epoch=EPOCH, revision=revision)


def _shown(each: Effect) -> tuple[str, int, str, str, str]:
    found = Found.Name(each.found).removeprefix("FOUND_") if each.found else ""
    return say.state(each.state), each.settled_revision, found, each.saga_id, each.plan_id


TestEffectRules = EffectRules.TestCase
TestEffectRules.settings = settings(
    max_examples=max(settings().max_examples // 3, 20), stateful_step_count=30
)
