"""Sagas and plans of compensations: bounds, the past, and what a takeover of items leaves."""

from __future__ import annotations

import pytest

from raftstate.core import compensations, effect_queries, incidents, items, keys, limits, pages
from raftstate.core.history import PastReader
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, Label
from raftstate.v1.effect_service_pb2 import CompensationItem, Saga, SagaState
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    BarrierPolicy,
    StartRollbackRequest,
    Target,
)
from raftstate.v1.store_pb2 import Command
from tests.core import effect_story as say
from tests.core.bench import Bench, close_session, expire_session, reason


class Office:
    """Two workers, and an agent of the first, with a checkpoint."""

    def __init__(self) -> None:
        self.bench = Bench()
        for session in ("s", "t"):
            self.bench.open(session)
        self.fence = self.bench.granted(self.bench.acquire("s", "a"))

    def saga(self, saga: str, *effects: str, agent: str = "a") -> None:
        """A saga in which some things were done; the last one nobody knows the end of, if
        its words say so."""
        bench, fence = self.bench, self.fence
        bench.one(say.begin_saga(bench, "s", saga, agent, fence))
        for words in effects:
            lost = words.endswith(" lost")
            name = words.split()[0]
            new = say.new_effect(f"{words.removesuffix(' lost')} saga={saga} dispatch=yes")
            assert not reason(bench.one(say.prepare(bench, "s", agent, fence, new)))
            if not lost:
                closing = say.closing(f"{name} committed")
                bench.one(say.complete(bench, "s", agent, fence, closing))

    def abort(self, saga: str) -> None:
        bench = self.bench
        outcome = bench.one(say.abort_saga(bench, "s", saga, "a", self.fence))
        assert not reason(outcome)

    def claim(self, plan: str, by: str = "t", force: bool = False) -> FencingToken:
        outcome = self.bench.one(say.claim(self.bench, by, plan, force))
        assert not reason(outcome), outcome
        return outcome.claim_compensations.claim.fence

    def undo(self, plan: str, fence: FencingToken, item: int, by: str = "t") -> str:
        """Claim the next item, and say that it is undone; why not, if it is not."""
        self.bench.one(say.claim(self.bench, by, plan))
        return reason(self.bench.one(say.undone(self.bench, by, plan, fence, item)))

    def record(self, saga: str) -> Saga:
        found = effect_queries.get_saga(self.bench.store, saga)
        assert found is not None
        return found

    def states(self, plan: str) -> list[str]:
        found = effect_queries.items(self.bench.store, plan)
        return [say.item_state(each.state) for each in found]

    def roll_back(self, barrier: BarrierPolicy = BarrierPolicy.BARRIER_POLICY_ASK) -> str:
        """Roll the agent back to its first checkpoint; the plan's id."""
        request = StartRollbackRequest(
            request_id=self.bench.request_id("t"),
            agents=[AgentTarget(agent_id="a", target=Target(checkpoint_id=1))],
            on_barrier=barrier,
        )
        outcome = self.bench.one(Command(start_rollback=request))
        assert not reason(outcome), outcome
        return f"rollback/{outcome.start_rollback.rollback_id}"


UNDO = "undo=u"


# --- claims -------------------------------------------------------------------


@pytest.mark.parametrize("expired", [False, True])
def test_a_claim_ends_with_its_session(expired: bool) -> None:
    """
    Nobody has the claim of a worker that is gone, also not one that comes again under the
    same name; and the item is for the next one.
    """
    office = Office()
    office.saga("g", f"1 {UNDO}")
    office.abort("g")
    fence = office.claim("saga/g")
    bench = office.bench
    bench.one(expire_session("t", bench.touched("t")) if expired else close_session("t"))
    bench.open("t")

    assert office.states("saga/g") == ["PENDING"]
    assert not office.record("g").undoing.HasField("claim")
    ended = bench.one(say.undone(bench, "t", "saga/g", fence, 1))
    assert reason(ended) == "NOT_OWNER"
    assert list(bench.store.scan(*keys.claimed_by("t"))) == []
    # The next token is larger than every one before.
    assert office.claim("saga/g", by="s").revision > fence.revision


def test_a_worker_may_have_many_claims_and_all_end() -> None:
    """
    The end of a session costs what it has claimed, and misses none.
    """
    office = Office()
    for saga in ("g", "g/1", "h"):
        office.saga(saga, f"{saga} {UNDO}")
        office.abort(saga)
        office.claim(f"saga/{saga}")
    office.bench.one(close_session("t"))

    for saga in ("g", "g/1", "h"):
        assert not office.record(saga).undoing.HasField("claim")
        assert office.states(f"saga/{saga}") == ["PENDING"]


def test_who_asks_again_is_told_the_same() -> None:
    """
    The holder of a claim keeps token and item, also if it says that it would use force.
    """
    office = Office()
    office.saga("g", f"1 {UNDO}")
    office.abort("g")

    assert office.claim("saga/g") == office.claim("saga/g", force=True)
    (item,) = effect_queries.items(office.bench.store, "saga/g")
    assert item.claims == 1


def test_a_saga_counts_down_what_is_open_of_it() -> None:
    """
    What was undone without being known to have happened is open no more.
    """
    office = Office()
    office.saga("g", f"1 {UNDO}", f"2 {UNDO} lost", f"3 {UNDO} lost")
    office.abort("g")
    fence = office.claim("saga/g")
    opened = []
    for position in (1, 2, 3):
        assert office.undo("saga/g", fence, position) == ""
        opened.append((office.record("g").open_effects, office.bench.agent("a").open_effects))

    assert opened == [(1, 1), (0, 0), (0, 0)]


def test_a_plan_that_is_done_leaves_no_claim() -> None:
    """
    There is nothing to hold any more when all is undone.
    """
    office = Office()
    office.saga("g", f"1 {UNDO}")
    office.abort("g")
    fence = office.claim("saga/g")

    assert office.undo("saga/g", fence, 1) == ""
    assert list(office.bench.store.scan(*keys.claimed_by("t"))) == []
    assert office.undo("saga/g", fence, 1) == "PLAN_STATE"


@pytest.mark.parametrize("aborted", [False, True])
def test_what_is_to_be_undone_is_not_done_again(aborted: bool) -> None:
    """
    An effect that may be done twice is, by its owner, until a plan is to undo it.
    """
    office = Office()
    bench = office.bench
    office.saga("g", f"1 {UNDO} lost")
    if aborted:
        office.abort("g")
    office.fence = bench.granted(bench.acquire("s", "a"))

    again = bench.one(say.dispatch(bench, "s", "a", office.fence, "1"))

    assert reason(again) == ("CONFLICT" if aborted else "")
    assert not aborted or "saga/g" in again.refusal.message


# --- what a rollback takes over ------------------------------------------------


def test_a_stuck_item_is_taken_over_and_its_incident_closed() -> None:
    """
    What waited for a person in a saga is tried by the rollback; the saga is over.
    """
    office = Office()
    bench = office.bench
    office.bench.one(bench.step("s", "a", office.fence, checkpoint=NewCheckpoint(data=b"1")))
    office.saga("g", f"1 {UNDO} attempts=1", f"2 {UNDO} attempts=1")
    office.abort("g")
    fence = office.claim("saga/g")
    bench.one(say.undone(bench, "t", "saga/g", fence, 1, "for_good", "no"))
    assert office.record("g").state == SagaState.SAGA_STATE_STUCK

    plan = office.roll_back()

    saga = office.record("g")
    assert office.states("saga/g") == ["MOVED", "MOVED"]
    assert office.states(plan) == ["PENDING", "PENDING"]
    assert saga.state == SagaState.SAGA_STATE_ROLLED_BACK
    incident = incidents.load(bench.store, saga.incident_id)
    assert incident is not None and not incident.open
    # No incident came and went while the items were moved one after the other.
    assert incidents.counts(bench.store).opened == 2


def test_barriers_before_the_one_at_work_open_no_incident_when_they_go() -> None:
    """
    Items are moved as one: what lies behind the first has no turn in between.
    """
    office = Office()
    bench = office.bench
    bench.one(bench.step("s", "a", office.fence, checkpoint=NewCheckpoint(data=b"1")))
    office.saga("g", "1 class=irreversible", f"2 {UNDO}")
    office.abort("g")

    office.roll_back()

    assert office.record("g").incident_id == ""
    assert incidents.counts(bench.store).opened == 1


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        (BarrierPolicy.BARRIER_POLICY_ASK, ["PENDING", "BARRIER"]),
        (BarrierPolicy.BARRIER_POLICY_PROCEED, ["PENDING", "WAIVED"]),
    ],
)
def test_a_barrier_waits_or_is_waived_from_the_start(
    policy: BarrierPolicy, states: list[str]
) -> None:
    """
    What a plan does about what cannot be undone, was said when it was made.
    """
    office = Office()
    bench = office.bench
    bench.one(bench.step("s", "a", office.fence, checkpoint=NewCheckpoint(data=b"1")))
    office.saga("g", "1 class=irreversible", f"2 {UNDO}")

    plan = office.roll_back(policy)

    assert office.states(plan) == states
    found = compensations.load_plan(bench.store, plan)
    assert found is not None
    assert found.undoing.open == 2 - states.count("WAIVED")
    assert found.undoing.stuck == states.count("BARRIER")


def test_a_rollback_that_is_given_up_lets_go_of_what_it_had() -> None:
    """
    The next one takes over what the one before did not do, and not what it did.
    """
    office = Office()
    bench = office.bench
    bench.one(bench.step("s", "a", office.fence, checkpoint=NewCheckpoint(data=b"1")))
    office.saga("g", f"1 {UNDO}", f"2 {UNDO}")
    first = office.roll_back()
    fence = office.claim(first)
    assert office.undo(first, fence, 1) == ""
    name = first.removeprefix("rollback/")
    request = AbortRollbackRequest(request_id=bench.request_id("t"), rollback_id=name)
    assert not reason(bench.one(Command(abort_rollback=request)))
    assert list(bench.store.scan(*keys.claimed_by("t"))) == []
    bench.one(bench.resume("t", "a"))

    second = office.roll_back()

    assert office.states(first) == ["COMPENSATED", "MOVED"]
    assert office.states(second) == ["PENDING"]
    assert office.undo(second, office.claim(second), 1) == ""


def test_an_abort_leaves_to_a_rollback_what_that_undoes() -> None:
    """
    An effect of another agent that is being rolled back is in one plan only.
    """
    office = Office()
    bench = office.bench
    bench.one(bench.step("s", "a", office.fence, checkpoint=NewCheckpoint(data=b"1")))
    theirs = bench.granted(bench.acquire("s", "b"))
    bench.one(say.begin_saga(bench, "s", "g", "b", theirs, "choreographed"))
    for agent, fence in (("a", office.fence), ("b", theirs)):
        new = say.new_effect(f"{agent} {UNDO} saga=g dispatch=yes")
        bench.one(say.prepare(bench, "s", agent, fence, new))
        bench.one(say.complete(bench, "s", agent, fence, say.closing(f"{agent} committed")))
    plan = office.roll_back()

    outcome = bench.one(say.abort_saga(bench, "s", "g", "b", theirs))

    assert outcome.abort_saga.undoing.total == 1
    assert office.states(plan) == ["PENDING"]
    (item,) = effect_queries.items(bench.store, "saga/g")
    assert item.agent_id == "b"


# --- bounds -------------------------------------------------------------------


def test_an_agent_has_so_many_sagas_that_have_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Sagas that have ended do not count.
    """
    monkeypatch.setattr(limits, "OPEN_SAGAS_MAX", 3)
    office = Office()
    for saga in ("1", "2", "3"):
        office.saga(saga)
    bench = office.bench
    full = bench.one(say.begin_saga(bench, "s", "4", "a", office.fence))
    office.bench.one(say.end_saga(bench, "s", "2", "a", office.fence))

    assert (reason(full), full.refusal.limit) == ("TOO_MANY", 3)
    assert not reason(bench.one(say.begin_saga(bench, "s", "4", "a", office.fence)))


def test_a_bundle_names_so_many_sagas() -> None:
    """
    A successor is told of the first hundred, and of fewer if they are large.
    """
    office = Office()
    for at in range(4):
        office.saga(f"g{at}")
    store = office.bench.store
    few = effect_queries.open_sagas(store, "a", limit=3)
    for at in range(100, 120):
        command = say.begin_saga(office.bench, "s", f"h{at}", "a", office.fence)
        labels = [Label(name=str(each), value="\N{GRINNING FACE}" * 255) for each in range(32)]
        command.begin_saga.labels.extend(labels)
        office.bench.one(command)
    large = effect_queries.open_sagas(store, "a")

    assert [each.saga_id for each in few] == ["g0", "g1", "g2"]
    assert len(large) < 24
    assert sum(each.ByteSize() for each in large) < 2 * pages.PAGE_BYTES


def test_items_are_shown_up_to_a_size() -> None:
    """
    Of many results the first are shown; the items themselves are, as far as they fit.
    """
    office = Office()
    office.saga("g", *(f"e{at} {UNDO}" for at in range(12)))
    office.abort("g")
    fence = office.claim("saga/g")
    for position in range(1, 13):
        bench = office.bench
        bench.one(say.claim(bench, "t", "saga/g"))
        command = say.undone(bench, "t", "saga/g", fence, position)
        command.complete_compensation.result = bytes(limits.EFFECT_BYTES_MAX)
        assert not reason(bench.one(command))

    found = effect_queries.items(office.bench.store, "saga/g")

    assert len(found) == 12
    assert found[0].result and not found[-1].result
    assert sum(each.ByteSize() for each in found) < 2 * pages.PAGE_BYTES
    assert len(effect_queries.items(office.bench.store, "saga/g", limit=5)) == 5
    assert effect_queries.items(office.bench.store, "saga/" + "g" * 300) == []


def test_sagas_are_listed_by_state_a_page_at_a_time() -> None:
    """
    A page ends when it is full, or when enough was looked at, and says where to go on.
    """
    office = Office()
    for at in range(5):
        office.saga(f"g{at}", f"{at} {UNDO}")
    office.abort("g1")
    office.abort("g4")
    store = office.bench.store
    undone = [SagaState.SAGA_STATE_COMPENSATING]

    first = effect_queries.list_sagas(store, "g", "", 3)
    rest = effect_queries.list_sagas(store, "g", first.next_after, 3)
    looked = effect_queries.list_sagas(store, "g", "", 3, undone, scanned_max=3)

    assert [each.saga_id for each in first.sagas] == ["g0", "g1", "g2"]
    assert [each.saga_id for each in rest.sagas] == ["g3", "g4"]
    assert rest.next_after == ""
    assert ([each.saga_id for each in looked.sagas], looked.next_after) == (["g1"], "g2")
    assert effect_queries.list_sagas(store, "g" * 201, "", 3) == effect_queries.SagaPage([], "")
    assert effect_queries.get_saga(store, "\0") is None


def test_a_saga_and_its_items_are_what_they_were() -> None:
    """
    Both have a past.
    """
    office = Office()
    office.saga("g", f"1 {UNDO}")
    office.abort("g")
    before = office.bench.machine.revision
    office.undo("saga/g", office.claim("saga/g"), 1)
    past = PastReader(office.bench.store, before)

    saga = effect_queries.get_saga(past, "g")

    assert saga is not None and saga.state == SagaState.SAGA_STATE_COMPENSATING
    (item,) = effect_queries.items(past, "saga/g")
    assert item.state == items.PENDING
    assert effect_queries.items(PastReader(office.bench.store, before - 1), "saga/g") == []


def test_parallel_effects_are_undone_in_the_reverse_of_their_commits() -> None:
    """
    It does not matter in which order they were entered, or dispatched.
    """
    office = Office()
    bench, fence = office.bench, office.fence
    bench.one(say.begin_saga(bench, "s", "g", "a", fence))
    for name in ("1", "2", "3"):
        new = say.new_effect(f"{name} {UNDO} saga=g dispatch=yes")
        bench.one(say.prepare(bench, "s", "a", fence, new))
    for name in ("2", "3", "1"):
        bench.one(say.complete(bench, "s", "a", fence, say.closing(f"{name} committed")))
    office.abort("g")

    found: list[CompensationItem] = effect_queries.items(bench.store, "saga/g")

    assert [each.effect_id for each in found] == ["1", "3", "2"]
