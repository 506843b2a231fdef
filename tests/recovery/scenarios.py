"""What happens in one run: who takes part, and how it has to be in the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from jepsen_like.checkers import undoing
from raftstate.core import hashing, queries
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1 import breaker_service_pb2 as breakers
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1 import rollback_service_pb2 as rollbacks
from raftstate.v1.breaker_service_pb2 import (
    BreakerConfig,
    PutBreakerRequest,
    ReportOutcomesRequest,
    TripPlan,
)
from raftstate.v1.checkpoint_service_pb2 import (
    MarkValidRequest,
    NewGroupMember,
    PutGroupCheckpointRequest,
)
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest
from raftstate.v1.rollback_service_pb2 import (
    AgentTarget,
    Rollback,
    RolledBack,
    StartRollbackRequest,
    Target,
)
from tests.recovery.parties import (
    ASKED,
    FOREVER,
    KEYED,
    READ,
    Client,
    Kind,
    Owner,
    Refused,
    owner,
    told_of,
    worker,
)
from tests.recovery.stage import IDLE, Action, Party, Run, Script, Store
from tests.sim.recount import recount
from tests.sim.recount_undoing import was_done

Told = Generator[Action, Any, None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who takes part; and what has to be in the end, beside what always has."""

    name: str
    parties: Callable[[], list[Party]]
    ends: Callable[[Run], None]
    in_reverse: bool = True

    def run(self) -> Run:
        """A run of it, to be struck and played."""
        return Run(self.parties())


# --- what agents do ----------------------------------------------------------------


def trip_that_fails(one: Owner) -> Told:
    """A saga: one booking, two at once, and one that fails; so all is to be undone."""
    known = {saga.saga_id: saga for saga in one.store.sagas()}
    if "trip" not in known:
        yield from one.begin("trip")
        yield from one.book("flight", KEYED, "trip")
        yield from one.both(("room", ASKED), ("cab", KEYED), "trip")
        yield from one.book("meal", ASKED, "trip")
        yield from one.book("car", KEYED, "trip", fails=True)
        yield from one.abort("trip")
    while any(saga.state in UNDOING for saga in one.store.sagas()):
        yield IDLE
    yield from one.step("all over")


def trip_that_ends(one: Owner) -> Told:
    """A saga that completes, if nobody dies."""
    if not one.store.sagas():
        yield from one.begin("trip")
        yield from one.book("flight", KEYED, "trip")
        yield from one.book("room", ASKED, "trip")
        yield from one.book("car", KEYED, "trip")
        yield from one.end("trip")


def effects_of_each_class(one: Owner) -> Told:
    """One effect of each class; whoever comes later redoes what is not done."""
    yield from one.book("weather", READ)
    yield from one.book("flight", KEYED)
    yield from one.book("room", ASKED)
    yield from one.book("mail", FOREVER)
    yield from one.book("car", KEYED)
    yield from one.step("all over")


def travels(*last: tuple[str, Kind]) -> Callable[[Owner], Told]:
    """A checkpoint; then bookings that will have to be undone; and one step more once they
    are."""

    def story(one: Owner) -> Told:
        head = one.store.agent(one.agent_id)
        assert head is not None, f"{one.agent_id} is owned, and is not there"
        if not head.head.checkpoint_id:
            yield from one.step("good", save=True)
        if not one.store.rollbacks():
            saga = f"{one.agent_id}/trip"
            yield from one.book("flight", KEYED)
            if saga not in {each.saga_id for each in one.store.sagas()}:
                yield from one.begin(saga)
                yield from one.book("room", ASKED, saga)
                yield from one.book("car", KEYED, saga)
            yield from one.step("bad", save=True)
            for name, kind in last:
                yield from one.book(name, kind)
            while not one.store.rollbacks():
                yield IDLE
        yield from one.step("resumed")

    return story


UNDOING = (effects.SAGA_STATE_COMPENSATING, effects.SAGA_STATE_STUCK)

# --- what others do ----------------------------------------------------------------


def _life(story: Callable[[Client], Told]) -> Callable[[Store, str], Script]:
    """Somebody with a session, who begins again when he was refused."""

    def life(store: Store, session_id: str) -> Script:
        one = Client(store, session_id)
        yield from one.open()
        while store.touched(session_id) is not None:
            try:
                yield from story(one)
                return
            except Refused:
                continue

    return life


def _until(ready: Callable[[], bool]) -> Told:
    while not ready():
        yield IDLE


def _begun(store: Store, agent_id: str, name: str) -> bool:
    """Whether an agent has begun an effect."""
    return name in {effect.effect_id for effect in store.effects(agent_id)}


def to_checkpoint(one: Client) -> Told:
    """Take an agent back to its first checkpoint when it has begun its last effect."""
    yield from _until(lambda: _begun(one.store, "a", "meal") or bool(one.store.rollbacks()))
    if not one.store.rollbacks():
        target = AgentTarget(agent_id="a", target=Target(checkpoint_id=1))
        request = StartRollbackRequest(agents=[target], reason="a person", started_by="me")
        yield from one.do("start_rollback", request)


def to_group(one: Client) -> Told:
    """Note where two agents are well; take both back there when they have gone on."""
    store, both = one.store, ("a", "b")

    def saved(agent_id: str) -> bool:
        agent = store.agent(agent_id)
        return agent is not None and agent.head.checkpoint_id >= 1

    yield from _until(lambda: all(saved(name) for name in both))
    if not store.has_group("well"):
        registered = PutValidatorRequest(name="v", required_in_rollbacks=True)
        yield from one.do("put_validator", registered)
        members = [NewGroupMember(agent_id=name) for name in both]
        request = PutGroupCheckpointRequest(group_id="well", members=members)
        yield from one.do("put_group_checkpoint", request)
    yield from _until(lambda: _begun(store, "b", "mail") or bool(store.rollbacks()))
    if not store.rollbacks():
        start = StartRollbackRequest(
            group_id="well", on_barrier=rollbacks.BARRIER_POLICY_ASK, validators=["v"]
        )
        yield from one.do("start_rollback", start)


def by_breaker(one: Client) -> Told:
    """Find an agent's first checkpoint good; then report failures until a breaker trips."""
    store = one.store
    yield from _until(lambda: store.checkpoint("a", 1) is not None)
    found = store.checkpoint("a", 1)
    assert found is not None, "it was there"
    if not found.known_good:
        yield from one.do("put_validator", PutValidatorRequest(name="v"))
        judged = MarkValidRequest(
            agent_id="a",
            checkpoint_id=1,
            validator="v",
            valid=True,
            content_hash=found.content_hash,
        )
        yield from one.do("mark_valid", judged)
    if store.breaker("cars") is None:
        plan = TripPlan(
            action=breakers.TRIP_ACTION_ROLLBACK,
            agent_ids=["a"],
            validators=["v"],
            on_barrier=rollbacks.BARRIER_POLICY_ASK,
        )
        config = BreakerConfig(
            count_window=4, failure_rate=0.5, minimum_calls=3, open_ms=1_000, on_trip=plan
        )
        yield from one.do("put_breaker", PutBreakerRequest(name="cars", config=config))
    yield from _until(lambda: _begun(store, "a", "mail") or bool(store.rollbacks()))
    while not store.rollbacks():
        breaker = store.breaker("cars")
        assert breaker is not None, "it was put"
        report = ReportOutcomesRequest(
            name="cars", generation=breaker.generation, calls=1, failures=1, error="no car"
        )
        yield from one.do("report_outcomes", report)


# --- how it ends -------------------------------------------------------------------


def judge(scenario: Scenario, run: Run) -> None:
    """Nothing is done twice or left over outside, and nothing is open inside."""
    store = run.store
    waived = {
        (item.agent_id, item.effect_number)
        for item in store.items()
        if item.state == effects.COMPENSATION_STATE_WAIVED
    }
    facts = [_fact(store, effect, waived) for effect in store.effects()]
    keys_of = {(e.agent_id, e.number): e.idempotency_key for e in store.effects()}
    items = [
        undoing.Item(
            item.plan_id,
            item.position,
            keys_of[item.agent_id, item.effect_number],
            effects.CompensationState.Name(item.state).removeprefix("COMPENSATION_STATE_"),
        )
        for item in store.items()
    ]
    wrong = undoing.check(run.books.journal, facts, items, reverse=scenario.in_reverse)
    wrong += recount(store.map)
    if hashing.full_hash(store.map) != queries.state_hash(store.map):
        wrong.append("the state hash is not the hash of the state")
    wrong += [
        f"saga {one.saga_id} is {one.state}" for one in store.sagas() if one.state in LEFT
    ]
    wrong += [
        f"rollback {one.rollback_id} is {one.state}"
        for one in store.rollbacks()
        if one.state != rollbacks.ROLLBACK_STATE_FINISHED
    ]
    for agent in store.agents():
        if agent.lifecycle not in (agents.LIFECYCLE_IDLE, agents.LIFECYCLE_ACTIVE):
            wrong.append(f"{agent.agent_id} is {agent.lifecycle}")
    assert not wrong, wrong
    scenario.ends(run)


LEFT = (effects.SAGA_STATE_RUNNING, *UNDOING)


def _fact(store: Store, effect: effects.Effect, waived: set[tuple[str, int]]) -> undoing.Effect:
    state = effects.EffectState.Name(effect.state).removeprefix("EFFECT_STATE_")
    if state == "RECONCILED":
        state += "_" + effects.Found.Name(effect.found).removeprefix("FOUND_")
    return undoing.Effect(
        effect.agent_id,
        effect.effect_id,
        effect.idempotency_key,
        state,
        escalated=told_of(store, effect) or (effect.agent_id, effect.number) in waived,
        reads=effect.effect_class == READ,
    )


def saga_is_undone(run: Run) -> None:
    """The saga is compensated, and its agent has gone on."""
    [saga] = run.store.sagas() or [effects.Saga()]
    assert saga.state == effects.SAGA_STATE_COMPENSATED
    assert _last_event(run.store, "a") == b"all over"


def saga_is_whole_or_undone(run: Run) -> None:
    """All or nothing."""
    [saga] = run.store.sagas()
    assert saga.state in (effects.SAGA_STATE_COMPLETED, effects.SAGA_STATE_COMPENSATED)


def each_class_has_ended(run: Run) -> None:
    """All that the agent meant to do is done, but for what only a person can tell."""
    assert len(run.store.effects()) == 5
    assert _last_event(run.store, "a") == b"all over"


def rolled_back(*names: str) -> Callable[[Run], None]:
    """One rollback took these agents back, and they have gone on from there."""

    def ends(run: Run) -> None:
        [rollback] = run.store.rollbacks()
        assert [one.agent_id for one in rollback.agents] == list(names)
        for one in rollback.agents:
            copy = run.store.checkpoint(one.agent_id, one.restored_checkpoint_id)
            target = run.store.checkpoint(one.agent_id, one.checkpoint_id)
            assert copy is not None and target is not None
            assert copy.content_hash == target.content_hash
            assert one.fence.revision > one.former_fence.revision
            _nothing_is_left(run.store, rollback, one)
            assert _last_event(run.store, one.agent_id) == b"resumed"

    return ends


def _nothing_is_left(store: Store, rollback: Rollback, one: RolledBack) -> None:
    """What was begun before the rollback, and not kept, is not done, nor done later."""
    waived = {
        item.effect_number
        for item in store.items(f"rollback/{rollback.rollback_id}")
        if item.agent_id == one.agent_id and item.state == effects.COMPENSATION_STATE_WAIVED
    }
    for effect in store.effects(one.agent_id):
        if one.kept_revision < effect.prepared_revision < rollback.started_revision:
            left = was_done(effect) and effect.number not in waived
            assert not left, f"{effect.effect_id} is {effect.state} after the rollback"


def _last_event(store: Store, agent_id: str) -> bytes:
    agent = store.agent(agent_id)
    return b"" if agent is None else store.event(agent_id, agent.head.event_seq).data


def _cast(*others: tuple[str, Callable[[Store, str], Script]]) -> Callable[[], list[Party]]:
    """These, and two workers, of which the second waits for the first."""
    everybody = (*others, ("worker", worker), ("helper", worker))
    return lambda: [Party(role, begin) for role, begin in everybody]


SCENARIOS = (
    Scenario("saga that aborts", _cast(("agent", owner("a", trip_that_fails))), saga_is_undone),
    Scenario(
        "saga that ends", _cast(("agent", owner("a", trip_that_ends))), saga_is_whole_or_undone
    ),
    Scenario(
        "takeover",
        _cast(("agent", owner("a", effects_of_each_class))),
        each_class_has_ended,
    ),
    Scenario(
        "rollback",
        _cast(
            ("agent", owner("a", travels(("meal", ASKED)))), ("person", _life(to_checkpoint))
        ),
        rolled_back("a"),
    ),
    Scenario(
        "group rollback",
        _cast(
            ("agent", owner("a", travels())),
            ("second", owner("b", travels(("mail", FOREVER)))),
            ("person", _life(to_group)),
        ),
        rolled_back("a", "b"),
        in_reverse=False,
    ),
    Scenario(
        "breaker trip",
        _cast(("agent", owner("a", travels(("mail", FOREVER)))), ("caller", _life(by_breaker))),
        rolled_back("a"),
    ),
)
