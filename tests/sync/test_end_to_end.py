# ruff: noqa: PLW0108, PT012, SIM117  # blocks and calls are set out as users write them
"""The sync face against the real services and the real state machine, in one process."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import raftstate.sync
from raftstate.client.portal import shared_thread
from raftstate.errors import (
    AgentExists,
    AgentNotFound,
    AgentState,
    BreakerOpen,
    Closed,
    Conflict,
    FutureRevision,
    InvalidRequest,
    NotOwner,
    OutcomeUnknown,
    Owned,
    OwnershipLost,
    ReplayDiverged,
    SagaAborted,
)
from raftstate.sync import txn
from raftstate.sync.store import Store
from raftstate.v1.agent_service_pb2 import LIFECYCLE_HALTED, LIFECYCLE_IDLE, LIFECYCLE_RETIRED
from raftstate.v1.cluster_service_pb2 import ROLE_LEADER
from tests.sync.serving import stores, until


def test_a_successor_goes_on_where_its_predecessor_stopped() -> None:
    """
    Checkpoint and events since come with the ownership; the token grows; nothing is
    lost or doubled.
    """
    with stores(2) as (_, (first, second)):
        with first.own("census", holder="one") as agent:
            assert agent.restore(default={"done": 0}) == {"done": 0}
            for number in range(1, 8):
                with agent.step() as step:
                    step.event("counted", {"n": number})
                    if number == 5:
                        step.checkpoint({"done": 5}, labels={"why": "five"})
                assert step.committed
            token = agent.token_text
        with second.own("census", wait=True) as agent:
            state = agent.restore(
                default={"done": 0},
                fold=lambda state, event: {"done": raftstate.sync.decode(event)["n"]},
            )
            assert agent.restore() == {"done": 5}
            assert agent.head.step == 7
            assert [event.seq for event in agent.events_since] == [6, 7]
            assert agent.token_text > token
            assert second.check_fence("census", agent.token)
        found = [raftstate.sync.decode(event)["n"] for event in second.read_events("census")]
        some = [e.seq for e in second.read_events("census", from_seq=3, max_events=2)]
        everything = [event.position for event in second.read_all()]
        checkpoints = list(first.list_checkpoints("census"))
        newest = first.get_checkpoint("census")
        stream = first.get_stream("census", stale=True)

    assert state == {"done": 7}
    assert found == everything == list(range(1, 8))
    assert some == [3, 4]
    assert [one.checkpoint_id for one in checkpoints] == [1]
    assert raftstate.sync.decode(newest) == {"done": 5}
    assert [(label.name, label.value) for label in newest.labels] == [("why", "five")]
    assert stream.last_seq == 7


def test_a_standby_takes_over_when_the_owner_leaves() -> None:
    """
    Who waits gets the agent at the moment when its owner's block ends.
    """
    with stores(2) as (served, (first, second)), ThreadPoolExecutor() as pool:

        def stand_by() -> int:
            with second.own("a", wait=True) as agent:
                return int(agent.head.step)

        with first.own("a") as agent:
            standing = pool.submit(stand_by)
            until(lambda: served.tell(lambda b: bool(b.fake.waiting)), "the standby waits")
            with agent.step() as step:
                step.event("e")

        assert standing.result(10) == 1


@pytest.mark.parametrize("wait", [True, False])
def test_two_threads_of_one_store_take_turns_or_are_refused(wait: bool) -> None:
    """
    With `wait` the second works after the first, without it is refused: they do not fence
    each other.
    """
    log: list[str] = []
    inside, refused = threading.Event(), threading.Event()

    def work(store: Store, name: str) -> None:
        try:
            with store.own("a", wait=wait) as agent:
                log.append(f"{name} in")
                inside.set()
                refused.wait(0.2 if wait else 10)
                with agent.step() as step:
                    step.event("e")
                log.append(f"{name} out")
        except Owned:
            log.append(f"{name} refused")
            refused.set()

    with stores(1) as (_, (store,)), ThreadPoolExecutor() as pool:
        one = pool.submit(work, store, "one")
        assert inside.wait(10)
        two = pool.submit(work, store, "two")
        one.result(10)
        two.result(10)

    if wait:
        assert log == ["one in", "one out", "two in", "two out"]
    else:
        assert log == ["one in", "two refused", "one out"]


def test_an_owned_agent_is_not_given_away() -> None:
    """
    Without wait or force the claim is refused, and says who owns it.
    """
    with stores(2) as (_, (first, second)), first.own("a", holder="me"):
        with pytest.raises(Owned) as caught, second.own("a"):
            pass

    assert caught.value.details["current_holder"] == "me"


def test_an_outcome_that_the_server_lost_is_found_again() -> None:
    """
    OUTCOME_UNKNOWN is asked again under the same id, and answered with what happened:
    one event, not two.
    """
    with stores(1) as (served, (store,)), ThreadPoolExecutor() as pool:
        with store.own("a") as agent:

            def remember() -> None:
                until(
                    lambda: served.tell(lambda b: b.fake.proposed[-1].HasField("commit_step")),
                    "a try",
                )
                served.tell(lambda b: setattr(b.fake, "forgetful", False))

            served.tell(lambda b: setattr(b.fake, "forgetful", True))
            remembering = pool.submit(remember)
            with agent.step() as step:
                step.event("once")
            remembering.result(10)
        events = [event.seq for event in store.read_events("a")]

    assert events == [1]


def test_after_an_unknown_step_the_next_one_conflicts_if_it_happened() -> None:
    """
    The handle's head is what it knows; the store refuses to write beside the truth.
    """
    with stores(1) as (served, (store,)), store.own("a") as agent:
        served.tell(lambda b: setattr(b.fake, "forgetful", True))
        with pytest.raises(OutcomeUnknown), agent.step(timeout=0.2) as step:
            step.event("perhaps")
        assert agent.in_doubt
        served.tell(lambda b: setattr(b.fake, "forgetful", False))
        with pytest.raises(Conflict) as caught, agent.step() as step:
            step.event("again")

    assert caught.value.details["current_step"] == "1"


def test_the_life_of_an_agent() -> None:
    """
    Create, label, halt, resume, retire; each refusal by its own name.
    """
    with stores(1) as (_, (store,)):
        store.create_agent("a/1", labels={"team": "x"})
        store.create_agent("b")
        with pytest.raises(AgentExists):
            store.create_agent("b")
        updated = store.update_agent("a/1", labels={"team": "y"})
        with pytest.raises(OwnershipLost, match=r"halted|ended"), store.own("b") as agent:
            halted = store.halt_agent("b", reason="for a test")
            with agent.step() as step:
                step.event("e")
        with pytest.raises(AgentState), store.own("b"):
            pass
        resumed = store.resume_agent("b")
        retired = store.retire_agent("b")
        with pytest.raises(AgentNotFound):
            store.get_agent("nobody")
        with pytest.raises(AgentNotFound), store.own("nobody", create=False):
            pass
        with pytest.raises(InvalidRequest) as caught:
            store.create_agent("no spaces")
        everybody = [agent.agent_id for agent in store.list_agents()]
        some = [agent.agent_id for agent in store.list_agents("a/")]

    assert updated.labels[0].value == "y"
    assert halted.lifecycle == LIFECYCLE_HALTED
    assert resumed.lifecycle == LIFECYCLE_IDLE
    assert retired.lifecycle == LIFECYCLE_RETIRED
    assert caught.value.details["field"] == "agent_id"
    assert everybody == ["a/1", "b"]
    assert some == ["a/1"]


def test_many_agents_at_once() -> None:
    """
    Sixteen threads step agents of one store concurrently, each in its own order.
    """

    def work(store: Store, name: str) -> None:
        with store.own(name) as agent:
            for number in range(10):
                with agent.step() as step:
                    step.event("e", number)

    with stores(1) as (_, (store,)):
        with ThreadPoolExecutor(16) as pool:
            for done in [pool.submit(work, store, f"agent-{n}") for n in range(32)]:
                done.result(30)
        heads = [agent.head.step for agent in store.list_agents()]
        found = [raftstate.sync.decode(event) for event in store.read_events("agent-7")]
        total = [event.position for event in store.read_all()]

    assert heads == [10] * 32
    assert found == list(range(10))
    assert total == list(range(1, 321))


def test_sessions_and_status_are_seen_and_closed_in_order() -> None:
    """
    The session is named after its client, and gone when the store is closed; no stream
    of it counts as broken.
    """
    with stores(2) as (served, (first, second)):
        first.create_agent("a")
        with second.own("b"):
            names = sorted(session.client for session in first.sessions())
            status = first.status()
        second.close()
        with pytest.raises(Closed, match="was closed") as caught:
            second.keys.get("a")
        after = [session.client for session in first.sessions()]
        broken = served.tell(lambda b: list(b.fake.broken))

    assert names == ["client 0", "client 1"]
    assert after == ["client 0"]
    assert status.role == ROLE_LEADER
    assert broken == []
    assert caught.value.definite


def test_a_store_is_opened_once() -> None:
    """
    Before its block and after it, it says so; it is not opened again.
    """
    store = raftstate.sync.connect("127.0.0.1:1")
    with pytest.raises(Closed, match="not open: use `with`"):
        store.keys.get("a")
    with pytest.raises(Closed, match="not open: use `with`"):
        store.own("a")
    with store:
        with pytest.raises(Closed, match="open already"), store:
            pass
    with pytest.raises(Closed, match="was closed"), store:
        pass
    store.close()
    with pytest.raises(InvalidRequest):
        raftstate.sync.connect("127.0.0.1:1", timeout=-1)


def test_an_ownership_that_ended_is_not_owner() -> None:
    """
    A step under a grant that ended, without a newer one, ends the block.
    """
    with stores(1) as (_, (store,)):
        with pytest.raises(OwnershipLost) as caught, store.own("a", ttl=60.0) as agent:
            store.halt_agent("a")
            store.resume_agent("a")
            with agent.step() as step:
                step.event("e")

    assert caught.value.details["reason"] == NotOwner.reason


def test_keys_and_transactions() -> None:
    """
    What is put is read, ranged, compared and removed; a lease takes its keys along.
    """
    with stores(1) as (_, (store,)):
        with store.lease(5.0) as lease:
            store.keys.put("k/1", "one", lease=lease)
            done = store.txn(
                when=[txn.missing("k/2")],
                then=[txn.put("k/2", "two", lease=lease), txn.get("k/1")],
            )
            assert done.succeeded
            assert done.results[1].value == b"one"
            assert [kv.key for kv in store.keys.range(prefix="k/")] == [b"k/1", b"k/2"]
            assert not lease.lost
            assert lease.time_left > 0
            assert [one.lease_id for one in store.list_leases()] == [lease.lease_id]
        assert store.keys.get("k/1") is None
        for number in range(1_200):
            store.keys.put(f"many/{number:04}", b"")
        assert len(list(store.keys.range(prefix="many/", page_size=100))) == 1_200
        assert store.keys.delete_prefix("many/") == 1_200


def test_effects_and_values_are_drawn_once() -> None:
    """
    A step that is done again is given what it drew, and does no effect twice; functions run
    in the thread that called.
    """
    done: list[tuple[Any, str]] = []

    def charge(call: raftstate.sync.EffectCall) -> dict[str, int]:
        done.append((call.args, threading.current_thread().name))
        return {"id": 7}

    def once(store: Store, fails: bool) -> tuple[Any, Any]:
        with store.own("a") as agent, agent.step() as step:
            answer = step.record("llm", lambda: [threading.current_thread().name, len(done)])
            charged = step.effect("charge", {"of": 1}, do=charge, undo="refund")
            if fails:
                raise ValueError
            step.event("charged", charged)
            return answer, charged

    with stores(1) as (_, (store,)):
        with pytest.raises(ValueError, match=r"^$"):
            once(store, fails=True)
        answer, charged = once(store, fails=False)
        [effect] = store.list_effects("a", states=["committed"])

    name = threading.current_thread().name
    assert answer == [name, 0]
    assert charged == {"id": 7}
    assert done == [({"of": 1}, name)]
    assert effect.action == "charge"


def test_a_saga_that_fails_is_undone_in_the_callers_thread() -> None:
    """
    Newest first, with what is registered; a coroutine function of the same registry has its
    own event loop, and not the one that all calls run on.
    """
    undone: list[tuple[str, str]] = []
    registry = raftstate.sync.Registry()

    @registry.compensation("cancel-a")
    def cancel_a(call: raftstate.sync.UndoCall) -> None:
        undone.append((call.action, threading.current_thread().name))

    async def cancel_b(call: raftstate.sync.UndoCall) -> None:
        undone.append((call.action, threading.current_thread().name))

    with pytest.raises(TypeError, match="coroutine function"):
        registry.compensation("cancel-b")(cancel_b)
    raftstate.Registry._register(registry, "compensation", "cancel-b")(cancel_b)

    with (
        stores(1) as (served, _),
        raftstate.sync.connect(served.endpoint, registry=registry) as store,
    ):
        with store.own("agent") as agent:
            trip = store.saga("trip", agent=agent)
            with pytest.raises(ValueError, match="no room"), trip as saga:
                saga.step("a", 1, do=lambda _: "booked", undo=cancel_a)
                saga.step("b", 2, do=lambda _: "booked", undo="cancel-b")
                raise ValueError("no room")
            with pytest.raises(SagaAborted), store.saga("trip", agent=agent):
                pass
        assert store.get_saga("trip").reason.endswith("no room")

    name = threading.current_thread().name
    assert [action for action, _ in undone] == ["cancel-b", "cancel-a"]
    assert undone[1] == ("cancel-a", name)
    assert undone[0][1].startswith("raftstate-act")


def test_a_watch_tells_what_changes() -> None:
    """
    What is written after the block has begun is told, once, in order; closing ends it, also
    for a thread that waits.
    """
    with stores(1) as (_, (store,)), ThreadPoolExecutor() as pool:
        with store.watch(prefix="k") as watch:
            store.keys.put("k1", b"1")
            store.keys.put("other", b"1")
            store.keys.put("k2", b"2")
            first, second = next(watch), next(watch)
        told = [change.resource.key.key for one in (first, second) for change in one.changes]
        assert told == [b"k1", b"k2"]
        assert list(watch) == []
        waiting = store.watch(prefix="k")
        waits = pool.submit(list, waiting)
        until(lambda: waiting._lock.acquire(blocking=False) is False, "a thread waits")
        waiting.close()
        assert waits.result(10) == []


def test_projections_and_read_models() -> None:
    """
    A handler sees each event, a read model writes once; both in the thread that asked.
    """
    seen: list[tuple[str, str]] = []

    with stores(1) as (_, (store,)):
        store.append("s/1", [raftstate.sync.event("e", n) for n in range(3)])
        run = store.projection(
            "p",
            lambda event: seen.append((event.type, threading.current_thread().name)),
            prefix="s/",
        )
        assert run.catch_up() == 3
        assert (run.name, run.position) == ("p", 3)
        assert run.catch_up() == 0

        def model(events: Any) -> list[Any]:
            return [txn.put(f"m/{one.seq}", one.type) for one in events]

        assert store.read_model("m", model, prefix="s/").catch_up() == 3
        assert [kv.key for kv in store.keys.range(prefix="m/")] == [b"m/1", b"m/2", b"m/3"]
        assert store.get_projection("p").position == 3

        def fails(event: Any) -> None:
            raise ValueError(event.seq)

        with pytest.raises(ValueError, match="1"):
            store.projection("q", fails, prefix="s/").catch_up()

    assert seen == [("e", threading.current_thread().name)] * 3


def test_a_breaker_opens() -> None:
    """
    Calls run in the thread that makes them, failures are counted, and then no call is made.
    """
    made: list[int] = []

    def search(number: int) -> int:
        made.append(number)
        if number:
            raise ValueError("away")
        return threading.get_ident()

    with stores(1) as (_, (store,)):
        store.put_breaker("search", count_window=4, failure_rate=0.5, minimum_calls=2)
        breaker = store.breaker("search")
        assert breaker.call(search, 0) == threading.get_ident()
        guarded = store.breaker("search", fallback=lambda number: -number)(search)
        with pytest.raises(ValueError, match="away"):
            guarded(1)
        with pytest.raises(ValueError, match="away"), breaker.guard():
            search(2)
        until(lambda: store.get_breaker("search").state != 1, "the trip is known")
        until(lambda: breaker.state == "open", "the watch has told")
        assert guarded(3) == -3
        with pytest.raises(BreakerOpen) as caught:
            breaker.call(search, 4)
        with pytest.raises(BreakerOpen), breaker.guard():
            pass

    assert made == [0, 1, 2]
    assert caught.value.definite


def test_what_an_agent_did_is_replayed() -> None:
    """
    Its own function runs again over what it wrote, with the twin of a replayed agent, in the
    same thread; one that does something else diverges.
    """
    drawn: list[int] = []

    def job(agent: Any, extra: int = 0) -> None:
        state = agent.restore(default={"done": 0})
        agent.state_from(lambda: state)
        while state["done"] < 3:
            with agent.step() as step:
                drawn.append(0)
                answer = step.record("llm", lambda: len(drawn))
                charged = step.effect("charge", do=lambda _: 5, kind="irreversible")
                step.event("done", [answer, charged, extra])
                state = {"done": state["done"] + 1}
                step.checkpoint(state)

    def reducer(state: Any, event: Any) -> Any:
        assert threading.current_thread() is threading.main_thread()
        return {"done": (state or {"done": 0})["done"] + 1}

    with stores(1) as (_, (store,)):
        with store.own("a") as agent:
            job(agent)
            assert agent.replay(lambda again: job(again)).events == 3
        replayed = store.replay("a", job)
        assert (replayed.events, replayed.state) == (3, {"done": 3})
        assert store.replay("a", reducer, default={"done": 0}).state == {"done": 3}
        assert store.reconstruct("a", reducer=reducer).state == {"done": 3}
        assert [raftstate.sync.decode(one) for one in store.get_recorded("a")] == [1, 2, 3]
        with pytest.raises(ReplayDiverged) as caught:
            store.replay("a", lambda agent: job(agent, extra=1))

    assert caught.value.details["seq"] == "1"


def test_rollbacks_run_validators_in_the_callers_thread() -> None:
    """
    An agent is taken back to a good checkpoint, and goes on from there.
    """
    registry = raftstate.sync.Registry()
    asked: list[Any] = []

    @registry.validator("small")
    def small(restored: raftstate.sync.Restored) -> bool:
        asked.append((restored.state, threading.current_thread().name))
        return True

    with (
        stores(1) as (served, _),
        raftstate.sync.connect(served.endpoint, registry=registry) as store,
    ):
        store.put_validator("small")
        with store.own("a") as agent:
            for number in range(3):
                with agent.step() as step:
                    step.event("e", number)
                    step.checkpoint({"n": number})
        done = store.rollback(
            "a", raftstate.sync.to_checkpoint(2), validators=["small"], reason="a test"
        )
        assert done.rollback_id in [one.rollback_id for one in store.list_rollbacks()]
        with store.own("a") as agent:
            assert agent.restore() == {"n": 1}
            # The block goes on after it has taken itself back.
            agent.rollback(raftstate.sync.to_checkpoint(1))
            assert agent.lost
            assert store.keys.get("a") is None
            with pytest.raises(OwnershipLost), agent.step():
                pass

    assert asked[0] == ({"n": 1}, threading.current_thread().name)


def test_a_worker_finishes_what_others_gave_up() -> None:
    """
    Its functions run in threads of their own; `stop`, from any thread, ends it.
    """
    names: list[str] = []
    registry = raftstate.sync.Registry()

    @registry.compensation("undo")
    def undo(call: raftstate.sync.UndoCall) -> None:
        names.append(threading.current_thread().name)

    with stores(2) as (_, (store, other)), ThreadPoolExecutor() as pool:
        worker = raftstate.sync.Worker(other, registry, poll=0.2)
        running = pool.submit(worker.run)
        try:
            with store.own("agent") as agent:
                saga = store.saga("s", agent=agent)
                saga.__enter__()
                saga.step("do", do=lambda _: None, undo="undo")
                store.abort_saga("s", agent=agent)
                until(lambda: worker.finished == 1, "it is undone")
        finally:
            worker.stop()
        running.result(10)

    assert [name.startswith("raftstate-act") for name in names] == [True]


def test_lists_are_fetched_as_they_are_read() -> None:
    """
    One that is left early is ended, whoever collects it; what fails is raised where it is
    read.
    """
    with stores(1) as (_, (store,)):
        for number in range(100):
            store.append("s", [raftstate.sync.event("e", number)] * 10)
        for event in store.read_events("s"):
            if event.seq == 5:
                break
        gc.disable()  # which would end it as well, some time
        try:
            until(lambda: not fetching(), "what is left early is ended")
        finally:
            gc.enable()
        rest = store.read_events("s")
        assert next(rest).seq == 1
        until(lambda: len(fetching()) == 1, "it fetches ahead, and waits")
        assert [one.seq for one in rest] == list(range(2, 1001))
        assert not fetching()
        with pytest.raises(FutureRevision):
            list(store.keys.range(at=1 << 40))
        failed = store.keys.range(at=1 << 40)
        with pytest.raises(FutureRevision):
            next(failed)
        assert list(failed) == []


def fetching() -> list[str]:
    """The lists that are being fetched."""

    async def tasks() -> list[str]:
        return [
            task.get_name()
            for task in asyncio.all_tasks()
            if getattr(task.get_coro(), "__qualname__", "") == "_Pump._fetch"
        ]

    return shared_thread().run(tasks())


def test_practice_agents_are_plain_too() -> None:
    """
    A function for this face is tried without a store, and what it draws in secret is told.
    """

    def good(agent: raftstate.sync.replay.PracticeAgent) -> Any:
        with agent.step() as step:
            drawn = step.record("llm", lambda: {"a": 1})
            step.event("e", drawn)
            step.effect("charge", {"of": 2})
            return [drawn, agent.effect("ask"), agent.record("x", lambda: 4)]

    produced = raftstate.sync.replay.check_deterministic(good, effects={"ask": 3})
    assert produced.result == [{"a": 1}, 3, 4]
    assert [one.get("type") for one in produced.events] == ["e", None]

    def bad(agent: raftstate.sync.replay.PracticeAgent) -> None:
        import random

        with agent.step() as step:
            step.event("e", random.random())

    with pytest.raises(raftstate.sync.replay.UndeclaredNondeterminism):
        raftstate.sync.replay.check_deterministic(bad)
