"""The checks of effects, sagas, rollbacks and breakers: what they let pass, and what not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from unittest import mock

import pytest

from raftstate.core import keys
from raftstate.core.memory import MemoryStore
from raftstate.v1 import breaker_service_pb2 as breakers
from raftstate.v1 import effect_service_pb2 as effects
from raftstate.v1.agent_service_pb2 import LIFECYCLE_IDLE, Agent, TakeoverBundle
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import (
    CompensationItem,
    Effect,
    EffectClass,
    EffectState,
    Saga,
    Undoing,
)
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.rollback_service_pb2 import Rollback, RolledBack
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim import invariants
from tests.sim import world as world_
from tests.sim.checks import Checks
from tests.sim.invariants import Grant, Violation
from tests.sim.recount import recount
from tests.sim.store import undoing_judged as judging
from tests.sim.store.chronicle import Change, Chronicle, Group
from tests.sim.store.habits import StoreHabits
from tests.sim.world import World

EVERYBODY = StoreHabits(
    travellers=4, undoers=2, medics=1, callers=3, pace_s=0.25, watch_s=1.0
)  # fmt: skip
SEED = 16


@cache
def busy_world() -> World:
    """A world after a run in which everybody took part."""
    with mock.patch.object(world_, "draw_store", return_value=EVERYBODY):
        world = World(SEED, nodes=3, seconds=40.0)
    world.run()
    return world


def busy() -> MemoryStore:
    """What its members hold; a copy."""
    return busy_world().checks.chronicle.witness.below.copy()


# --- recount -------------------------------------------------------------------


def test_a_busy_world_has_something_to_count() -> None:
    """Effects, sagas, plans, rollbacks, trips: all of it happened, and it all fits."""
    counts = busy_world().store.common.counts
    tables = {key[:1].decode("latin-1") for key, _ in busy().items()}

    assert recount(busy()) == []
    assert tables >= set("ABDEFIJKLNRUV")
    for name in ("effects", "sagas", "compensated", "rollbacks_finished", "trips_back"):
        assert counts[name], f"{name} did not happen"
    assert counts["late_originals"] and counts["stopped"], "nobody came late"


@pytest.mark.parametrize("letter", sorted("ADEFJKLNRU"))
def test_a_row_that_is_missing_is_missed(letter: str) -> None:
    """Whatever table it is of: something else refers to it, or counts it."""
    store = busy()
    rows = [key for key, _ in store.scan(letter.encode(), bytes([ord(letter) + 1]))]
    found = [bool(without(store, key)) for key in rows]

    assert any(found)
    assert letter in "AR" or all(found), f"some rows of {letter} are not missed"


def without(store: MemoryStore, key: bytes) -> list[str]:
    value = store.get(key)
    assert value is not None
    store.delete(key)
    found = recount(store)
    store.put(key, value)
    return found


@pytest.mark.parametrize(
    "key",
    [
        keys.open_effect("trip/0", 1 << 40),
        keys.done_effect("trip/0", 1 << 40, 1),
        keys.effect_named("trip/0", "nobody's"),
        keys.open_saga("trip/0", "nobody's"),
        keys.saga_effect("nobody's", "trip/0", 1),
        keys.claimed("nobody", "saga/nobody's"),
        keys.permitted("nobody", "breaker/0"),
        keys.resolved(1 << 40),
        keys.window("no-breaker"),
    ],
    ids=repr,
)
def test_a_row_too_many_is_found(key: bytes) -> None:
    """An index entry for nothing."""
    store = busy()
    store.put(key, b"" if key[:1] == b"W" else keys.number(1))

    assert recount(store)


def changed(table: str, record: Any, change: Callable[[Any], object]) -> list[str]:
    """What a recount says when the first record of a table is another."""
    store = busy()
    key, raw = next(iter(store.scan(table.encode(), bytes([ord(table) + 1]))))
    row = record.FromString(raw)
    change(row)
    store.put(key, row.SerializeToString(deterministic=True))
    return recount(store)


@pytest.mark.parametrize(
    ("table", "record", "field"),
    [
        ("A", Saga, "effects"),
        ("A", Saga, "open_effects"),
        ("R", Rollback, "undoing.total"),
        ("R", Rollback, "undoing.open"),
        ("R", Rollback, "undoing.stuck"),
        ("R", Rollback, "undoing.next_position"),
        ("K", CompensationItem, "position"),
        ("E", Effect, "number"),
    ],
)
def test_a_wrong_count_is_found(table: str, record: Any, field: str) -> None:
    """One more than there are."""

    def count(row: Any) -> None:
        *path, name = field.split(".")
        for part in path:
            row = getattr(row, part)
        setattr(row, name, getattr(row, name) + 1)

    assert changed(table, record, count)


# --- what a revision may do ------------------------------------------------------

PREPARED, DISPATCHED = effects.EFFECT_STATE_PREPARED, effects.EFFECT_STATE_DISPATCHED
COMMITTED, UNKNOWN = effects.EFFECT_STATE_COMMITTED, effects.EFFECT_STATE_UNKNOWN
COMPENSATED = effects.EFFECT_STATE_COMPENSATED
CLAIMED = effects.COMPENSATION_STATE_CLAIMED
KEYED, ASKED = effects.EFFECT_CLASS_IDEMPOTENT, effects.EFFECT_CLASS_RECONCILABLE


def effect(state: EffectState, kind: EffectClass = KEYED, **more: Any) -> Effect:
    """An effect of an agent."""
    made = Effect(agent_id="a", number=1, effect_id="e", effect_class=kind, state=state, **more)
    made.compensation.leaves_tombstone = kind == KEYED
    return made


def moved(before: Effect, after: Effect) -> None:
    judging.effect_moves_as_drawn(
        9, Change(before.SerializeToString(), after.SerializeToString())
    )


def in_turn(*states: effects.CompensationState) -> None:
    """The first of some items was open, and is compensated."""
    chronicle = Chronicle()
    for place, state in enumerate(states, 1):
        item = CompensationItem(plan_id="saga/s", position=place, state=state)
        chronicle.witness.below.put(keys.item("saga/s", place), item.SerializeToString())
    last = CompensationItem(plan_id="saga/s", position=len(states), state=states[-1])
    before = CompensationItem(plan_id="saga/s", position=len(states), state=CLAIMED)
    change = Change(before.SerializeToString(), last.SerializeToString())
    judging.item_has_its_turn(chronicle, change)


def claimed(before: int, after: int, session: str = "s") -> None:
    def undoing(revision: int, session_id: str) -> Undoing:
        made = Undoing(newest_claim=FencingToken(revision=revision))
        made.claim.fence.revision, made.claim.session_id = revision, session_id
        return made

    judging.claims_rise(undoing(before, "s"), undoing(after, session))


def newest_first(*settled: int) -> None:
    store = MemoryStore()
    for place, revision in enumerate(settled, 1):
        one = effect(COMMITTED, settled_revision=revision)
        one.number = place
        store.put(keys.effect("a", place), one.SerializeToString())
        item = CompensationItem(plan_id="p", position=place, agent_id="a", effect_number=place)
        store.put(keys.item("p", place), item.SerializeToString())
    judging.plan_is_newest_first(store, "p")


def completed(revision: int, session: str) -> None:
    chronicle = Chronicle(claims={"saga/s": ((1, 20), "s1")})
    command = Command()
    command.complete_compensation.plan_id = "saga/s"
    command.complete_compensation.fence.CopyFrom(FencingToken(epoch=1, revision=revision))
    command.complete_compensation.request_id.session_id = session
    judging.completion_is_claimed(chronicle, command, Outcome())


def claimed_anew(revision: int) -> None:
    chronicle = Chronicle(claims={"saga/s": ((1, 20), "s1")})
    command, outcome = Command(), Outcome()
    command.claim_compensations.plan_id = "saga/s"
    claim = outcome.claim_compensations.claim
    claim.session_id = "s2"
    claim.fence.CopyFrom(FencingToken(epoch=1, revision=revision))
    judging.completion_is_claimed(chronicle, command, outcome)


def begun(token: int, *, owned: bool = False) -> None:
    rollback = rolled()
    store = MemoryStore()
    agent = Agent(agent_id="a", newest_fence=FencingToken(revision=token), rollback_id="r")
    if owned:
        agent.owner.session_id = "s"
    store.put(keys.agent("a"), agent.SerializeToString())
    judging.rollback_fences(store, rollback)


def rolled() -> Rollback:
    one = RolledBack(agent_id="a", checkpoint_id=1, restored_checkpoint_id=3, kept_revision=10)
    one.former_fence.revision, one.fence.revision = 5, 20
    return Rollback(rollback_id="r", agents=[one], started_revision=20)


def restored(content: bytes) -> None:
    store = MemoryStore()
    agent = Agent(agent_id="a")
    agent.head.checkpoint_id = 3
    store.put(keys.agent("a"), agent.SerializeToString())
    for number, held in ((1, b"x"), (3, content)):
        saved = Checkpoint(agent_id="a", checkpoint_id=number, content_hash=held)
        store.put(keys.checkpoint("a", number), saved.SerializeToString())
    judging.rollback_restores(store, rolled())


def planned(*, listed: bool) -> None:
    store = MemoryStore()
    done = effect(COMMITTED, settled_revision=15, prepared_revision=12)
    store.put(keys.effect("a", 1), done.SerializeToString())
    if listed:
        item = CompensationItem(agent_id="a", effect_number=1)
        store.put(keys.item("rollback/r", 1), item.SerializeToString())
    judging.nothing_is_forgotten(store, rolled())


def finished(state: EffectState, *, passed: bool = True) -> None:
    store = MemoryStore()
    store.put(keys.effect("a", 1), effect(state).SerializeToString())
    item = CompensationItem(
        agent_id="a", effect_number=1, state=effects.COMPENSATION_STATE_COMPENSATED
    )
    store.put(keys.item("rollback/r", 1), item.SerializeToString())
    rollback = rolled()
    rollback.validators.add(validator="v", passed=passed)
    judging.rollback_leaves_nothing(store, rollback)


def saga_over(state: EffectState) -> None:
    store = MemoryStore()
    store.put(keys.effect("a", 1), effect(state).SerializeToString())
    store.put(keys.saga_effect("s", "a", 1), b"")
    judging.saga_leaves_nothing(store, Saga(saga_id="s"))


def tripped(*, incident: bool = True, started: bool = True) -> None:
    chronicle = Chronicle()
    agent = Agent(agent_id="a", lifecycle=LIFECYCLE_IDLE, newest_known_good=1)
    chronicle.witness.below.put(keys.agent("a"), agent.SerializeToString())
    breaker = Breaker(name="b", state=breakers.BREAKER_STATE_OPEN, incident_id="i")
    breaker.config.on_trip.action = breakers.TRIP_ACTION_ROLLBACK
    breaker.config.on_trip.agent_ids.append("a")
    group: Group = {}
    if incident:
        group[keys.incident("i")] = Change(None, b"")
    if started:
        breaker.rollback_id = "r"
        group[keys.rollback("r")] = Change(None, rolled().SerializeToString())
    change = Change(
        Breaker(name="b", state=breakers.BREAKER_STATE_CLOSED).SerializeToString(),
        breaker.SerializeToString(),
    )
    judging.trip_does_what_it_should(chronicle, 9, group, change)


def granted(state: EffectState) -> None:
    store = MemoryStore()
    store.put(keys.effect("a", 1), effect(state).SerializeToString())
    agent = Agent(agent_id="a", newest_fence=FencingToken(revision=7))
    change = Change(Agent(agent_id="a").SerializeToString(), agent.SerializeToString())
    judging.nothing_is_dispatched_before_its_owner(store, change, agent)


def bundled(*seqs: int, undone: tuple[int, ...] = ()) -> None:
    bundle = TakeoverBundle(events=[Event(seq=seq) for seq in seqs])
    bundle.agent.head.event_seq, bundle.checkpoint.event_seq = 6, 3
    judging.bundle_is_live(bundle, set(undone))


def opened(*numbers: int) -> None:
    bundle = TakeoverBundle(open_effects=[Effect(number=number) for number in numbers])
    every = [
        Effect(number=n, state=s) for n, s in ((1, COMMITTED), (2, UNKNOWN), (3, PREPARED))
    ]
    judging.bundle_shows_what_is_open(bundle, every)


def written(revision: int, kind: str) -> None:
    checks = Checks(1, {})
    checks.grants["a"] = Grant((1, 20), "s1")
    command = Command()
    body = getattr(command, kind)
    body.agent_id = "a"
    body.fence.CopyFrom(FencingToken(epoch=1, revision=revision))
    body.request_id.session_id = "s1"
    invariants.written_under_the_newest_grant(checks, command, Outcome(revision=30))


def rolled_over(before: int) -> None:
    checks = Checks(1, {})
    checks.grants["a"] = Grant((0, before), "s1")
    invariants.rollback_takes_the_token(checks, rolled())
    assert checks.grants["a"] == Grant((0, 20), "")


SETTLED = effects.COMPENSATION_STATE_COMPENSATED
OPEN = effects.COMPENSATION_STATE_PENDING
# What holds, and what nearly does.
PAIRS: list[tuple[Callable[[], None], Callable[[], None]]] = [
    (
        lambda: moved(effect(PREPARED), effect(DISPATCHED)),
        lambda: moved(effect(PREPARED), effect(COMMITTED)),
    ),
    (
        lambda: moved(effect(COMMITTED), effect(COMPENSATED)),
        lambda: moved(effect(COMPENSATED), effect(COMMITTED)),
    ),
    (
        lambda: moved(effect(UNKNOWN), effect(DISPATCHED)),
        lambda: moved(effect(UNKNOWN, ASKED), effect(DISPATCHED, ASKED)),
    ),
    (
        lambda: moved(effect(UNKNOWN), effect(COMPENSATED)),
        lambda: moved(effect(UNKNOWN, ASKED), effect(COMPENSATED, ASKED)),
    ),
    (
        lambda: moved(effect(DISPATCHED), effect(UNKNOWN)),
        lambda: moved(effect(DISPATCHED), effect(UNKNOWN, idempotency_key="new")),
    ),
    (lambda: in_turn(SETTLED, SETTLED), lambda: in_turn(OPEN, SETTLED)),
    (lambda: claimed(5, 6, "t"), lambda: claimed(5, 5, "t")),
    (lambda: claimed(5, 5), lambda: claimed(5, 4)),
    (lambda: newest_first(9, 7, 3), lambda: newest_first(7, 9, 3)),
    (lambda: completed(20, "s1"), lambda: completed(19, "s1")),
    (lambda: completed(20, "s1"), lambda: completed(20, "s2")),
    (lambda: claimed_anew(21), lambda: claimed_anew(20)),
    (lambda: begun(20), lambda: begun(5)),
    (lambda: begun(20), lambda: begun(20, owned=True)),
    (lambda: restored(b"x"), lambda: restored(b"y")),
    (lambda: planned(listed=True), lambda: planned(listed=False)),
    (lambda: finished(COMPENSATED), lambda: finished(COMMITTED)),
    (lambda: finished(COMPENSATED), lambda: finished(COMPENSATED, passed=False)),
    (lambda: saga_over(COMPENSATED), lambda: saga_over(UNKNOWN)),
    (tripped, lambda: tripped(incident=False)),
    (tripped, lambda: tripped(started=False)),
    (lambda: granted(UNKNOWN), lambda: granted(DISPATCHED)),
    (lambda: bundled(4, 6, undone=(5,)), lambda: bundled(4, 5, 6, undone=(5,))),
    (lambda: bundled(4, 5, 6), lambda: bundled(4, 6)),
    (lambda: opened(2, 3), lambda: opened(2)),
    (lambda: written(20, "prepare_effect"), lambda: written(19, "prepare_effect")),
    (lambda: written(20, "abort_saga"), lambda: written(19, "abort_saga")),
    (lambda: written(20, "reconcile_effect"), lambda: written(19, "reconcile_effect")),
    (lambda: rolled_over(19), lambda: rolled_over(20)),
]


@pytest.mark.parametrize(("right", "wrong"), PAIRS, ids=[str(n) for n in range(len(PAIRS))])
def test_a_property_tells_right_from_wrong(
    right: Callable[[], None], wrong: Callable[[], None]
) -> None:
    """What holds passes; what nearly does, does not."""
    right()
    with pytest.raises(Violation):
        wrong()
