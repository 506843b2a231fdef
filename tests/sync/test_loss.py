# ruff: noqa: PLW0108, PT012, SIM117  # blocks and calls are set out as users write them
"""How the loss of an ownership reaches a thread, which nobody can cancel."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import raftstate.sync
from raftstate.errors import Fenced, OwnershipLost
from raftstate.sync.store import Store
from tests.sync.serving import Serving, stores, until

# What the thread of a block may be waiting in.
WAITS: dict[str, Callable[[Store, Any], object]] = {
    "a watch": lambda store, _: next(store.watch(prefix="never")),
    "another ownership": lambda store, _: store.own("other", wait=True).__enter__(),
    "a projection": lambda store, _: store.projection("p", lambda _: None).run(),
    "a lease": lambda store, _: _held(store),
}


def _held(store: Store) -> None:
    with store.lease(30.0) as lease:
        lease.wait_lost()


@pytest.mark.parametrize("wait", WAITS)
def test_a_call_that_waits_ends_at_once(wait: str) -> None:
    """
    Whatever the block's thread waits in, however long that would take, it is told that the
    ownership is over, and who ended it.
    """
    with stores(2) as (_, (store, other)), ThreadPoolExecutor() as pool, other.own("other"):
        ended: list[float] = []

        def halt() -> None:
            time.sleep(0.1)
            other.halt_agent("a")
            ended.append(time.monotonic())

        with pytest.raises(OwnershipLost) as caught, store.own("a", ttl=1.0) as agent:
            halting = pool.submit(halt)
            WAITS[wait](store, agent)
        late = time.monotonic() - ended[0]
        halting.result(10)
        # The store is as usable as before, and nothing is left of the call.
        store.keys.put("k", b"1")
        free = [one.agent_id for one in store.list_agents() if not one.HasField("owner")]

    assert free == ["a"]
    assert caught.value.definite
    assert caught.value.details["reason"] == "NOT_OWNER"
    assert late < 2.0


def lose(served: Serving, agent: Any) -> None:
    """Have somebody end an ownership, and wait until its owner knows."""
    session = agent._it.session.session_id
    served.tell(lambda b: b.fake.expire_session(session))
    assert agent.wait_lost(10)


def test_every_call_of_the_block_raises_after_that() -> None:
    """
    Of the agent and of the store, reads and writes; none of them is carried out. Leaving
    the block raises it too, even if all of these were caught.
    """
    with stores(2) as (served, (store, other)):
        with pytest.raises(OwnershipLost) as caught, store.own("a") as agent:
            lose(served, agent)
            assert agent.lost
            before = len(served.tell(lambda b: list(b.fake.proposed)))
            for call in (
                lambda: store.keys.put("k", b"1"),
                lambda: store.keys.get("k"),
                lambda: list(store.list_agents()),
                lambda: agent.check(),
                lambda: agent.checkpoint(1),
                lambda: agent.record("llm", lambda: 1),
                lambda: agent.effect("x", effect_id="x", do=lambda _: 1, kind="read_only"),
                lambda: agent.step().__enter__(),
                lambda: store.own("b").__enter__(),
            ):
                with pytest.raises(OwnershipLost):
                    call()
            assert agent.wait_lost(0)
            after = len(served.tell(lambda b: list(b.fake.proposed)))
        assert store.keys.get("k") is None
        assert other.keys.get("k") is None

    assert after == before
    assert caught.value.details["reason"] == "NOT_OWNER"


def test_a_thread_that_does_not_call_is_told_when_it_leaves() -> None:
    """
    `lost`, and a thread that waits beside it, know before that.
    """
    with stores(1) as (served, (store,)), ThreadPoolExecutor() as pool:
        with pytest.raises(OwnershipLost), store.own("a") as agent:
            assert agent.wait_lost(0.05) is False
            agent.check()
            waits = pool.submit(agent.wait_lost)
            session = agent._it.session.session_id
            served.tell(lambda b: b.fake.expire_session(session))
            until(lambda: agent.lost, "it is lost")
            assert waits.result(10) is True
        with store.own("a") as agent:
            assert not agent.lost


def test_a_step_in_the_block_is_not_committed() -> None:
    """
    Neither where a newer owner fenced it, nor where its thread found out before its end.
    """
    with stores(2) as (served, (store, other)):
        with pytest.raises(OwnershipLost) as fenced, store.own("a", ttl=60.0) as agent:
            with agent.step() as late:
                late.event("late")
                with other.own("a", force=True) as successor, successor.step() as step:
                    step.event("theirs")
        with pytest.raises(OwnershipLost), store.own("b") as agent, agent.step() as step:
            step.event("never")
            lose(served, agent)
        with store.own("b") as agent:  # no step was left open
            assert agent.head.step == 0
        events = [event.type for event in store.read_events("a")]

    assert isinstance(fenced.value.__cause__, Fenced)
    assert not late.committed
    assert not step.committed
    assert events == ["theirs"]


def test_what_the_block_raises_itself_goes_on() -> None:
    """
    Another error is not hidden by the loss; it says in a note that there was one.
    """
    with stores(1) as (served, (store,)):
        with pytest.raises(ValueError, match="mine") as caught, store.own("a") as agent:
            lose(served, agent)
            raise ValueError("mine")
        with pytest.raises(ValueError, match="mine") as other, store.own("a"):
            raise ValueError("mine")

    assert any("ownership of a" in note for note in caught.value.__notes__)
    assert not getattr(other.value, "__notes__", [])


def test_only_the_block_is_concerned() -> None:
    """
    Other threads of the store go on, and so does the thread after its block; one that was
    given the agent is concerned wherever it uses it.
    """
    with stores(1) as (served, (store,)), ThreadPoolExecutor() as pool:
        with pytest.raises(OwnershipLost), store.own("a") as agent:
            lose(served, agent)
            pool.submit(lambda: store.keys.put("k", b"1")).result(10)
            with pytest.raises(OwnershipLost):
                pool.submit(lambda: agent.checkpoint(1)).result(10)
        assert store.keys.get("k") is not None


def test_the_loss_of_the_outer_block_ends_the_inner() -> None:
    """
    The inner agent is given back in order, and the outer block raises.
    """
    with stores(1) as (_, (store,)):
        with pytest.raises(OwnershipLost, match="ownership of outer"), store.own("outer"):
            with store.own("inner") as inner:
                store.halt_agent("outer")
                while True:
                    store.keys.get("k")
        assert not store.get_agent("inner").HasField("owner")
        assert inner.agent_id == "inner"


def test_a_function_that_is_running_when_it_is_lost() -> None:
    """
    It runs to its end, as nothing can stop it; then the call raises. A call that it makes
    itself raises at once. What is known of the effect is not thrown away.
    """
    seen: list[type[BaseException]] = []

    with stores(1) as (served, (store,)):
        with pytest.raises(OwnershipLost), store.own("a") as agent, agent.step() as step:

            def act(_: object) -> str:
                lose(served, agent)
                try:
                    store.keys.get("k")
                except OwnershipLost as error:
                    seen.append(type(error))
                return "done"

            step.effect("act", do=act, kind="irreversible")
        [effect] = store.list_effects("a")

    assert seen == [OwnershipLost]
    assert effect.action == "act"


def test_closing_the_store_ends_its_blocks() -> None:
    """
    Whoever closes it: the thread in the block is told at once.
    """
    with stores(2) as (_, (store, other)), ThreadPoolExecutor() as pool:
        with pytest.raises(OwnershipLost, match="closed"), store.own("a"):
            waiting = store.watch(prefix="never")

            def close() -> None:
                until(lambda: waiting._it._call is not None, "it waits")
                store.close()

            closing = pool.submit(close)
            next(waiting)
        closing.result(10)
        with other.own("a") as agent:
            assert agent.head.step == 0


def test_user_functions_do_not_hold_up_the_keep_alive() -> None:
    """
    They block for three times the ttl, in a step's function and in an effect; the ownership
    stands.
    """
    with stores(1) as (_, (store,)), store.own("a", ttl=1.5) as agent:
        with agent.step() as step:
            step.record("llm", lambda: time.sleep(2.3))
            step.effect("act", do=lambda _: time.sleep(2.3), kind="read_only")
        assert step.committed
        assert not agent.lost


def test_a_block_that_nobody_leaves_is_left() -> None:
    """
    As where an interrupt comes between the grant and the block: the agent is free again when
    nobody has the block any more.
    """
    with stores(2) as (_, (store, other)):
        own = store.own("a")
        own.__enter__()
        del own
        gc.collect()
        with other.own("a", wait=True, timeout=10) as agent:
            assert agent.agent_id == "a"
        # And this thread is in no block.
        store.keys.put("k", b"1")
        with pytest.raises(RuntimeError, match="entered already"):
            again = store.own("b")
            with again, again:
                pass


def test_a_handle_is_used_by_one_thread_at_a_time() -> None:
    """
    A second thread is told so, and changes nothing; the same thread may call from a function
    of its own.
    """
    inside, on = threading.Event(), threading.Event()

    def slow() -> int:
        inside.set()
        assert on.wait(10)
        return 1

    with stores(1) as (_, (store,)), ThreadPoolExecutor() as pool, store.own("a") as agent:
        with agent.step() as step:

            def intrude() -> list[str]:
                assert inside.wait(10)
                said = []
                for call in (
                    lambda: step.event("e"),
                    lambda: step.effect("x", do=lambda _: 1, kind="read_only"),
                    lambda: step.record("x", lambda: 1),
                ):
                    with pytest.raises(RuntimeError) as caught:
                        call()
                    said.append(str(caught.value))
                on.set()
                return said

            intruding = pool.submit(intrude)
            step.record("llm", slow)
            said = intruding.result(10)
            step.effect("x", do=lambda _: step.record("y", lambda: 2), kind="read_only")
        assert step.committed
        events = list(store.read_events("a", stale=True)) if agent.head.event_seq else []

    assert said == ["Step is in use by another thread: one at a time may"] * 3
    assert events == []


def test_an_agent_can_be_handed_to_another_thread() -> None:
    """
    One after the other is one at a time.
    """

    def work(agent: raftstate.sync.AgentHandle) -> None:
        with agent.step() as step:
            step.event("e")

    with stores(1) as (_, (store,)), ThreadPoolExecutor() as pool:
        with store.own("a") as agent:
            pool.submit(work, agent).result(10)
            work(agent)
        assert len(list(store.read_events("a"))) == 2
