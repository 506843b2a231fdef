# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""The kit without an event loop: the same switches, for threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import raftstate
from raftstate import testing
from raftstate.errors import NoQuorum, OutcomeUnknown, OwnershipLost
from tests.testing_kit.billing import AGENT, sync_work

ITEMS = ["a", "b", "c"]


def test_a_standby_goes_on_where_an_owner_was_cut_off() -> None:
    """
    The owner's call ends at once, the other one goes on; every item is there once.
    """
    done: list[str] = []
    with testing.sync_served() as kit, kit.connect() as first, kit.connect() as second:
        stuck = threading.Event()

        def owner() -> None:
            with first.own(AGENT) as agent:
                with agent.step() as step:
                    step.event("charged", {"item": "a"})
                    step.checkpoint({"done": 1})
                stuck.set()
                agent.wait_lost(30.0)

        with ThreadPoolExecutor() as pool:
            owning = pool.submit(owner)
            assert stuck.wait(10.0)
            kit.advance(3600.0)
            assert not owning.done()
            kit.cut_off(first)
            kit.advance(5.0)
            with pytest.raises(OwnershipLost):
                owning.result(10.0)
            sync_work(second, ITEMS, done.append)
            kit.mend(first)
        found = [raftstate.decode(event)["item"] for event in second.read_events(AGENT)]

    assert done == ["b", "c"]
    assert found == ITEMS


def test_every_switch_is_there() -> None:
    """
    By the same names, and does the same.
    """
    with testing.sync_served() as kit, kit.connect(client_name="me") as store:
        kit.fail(NoQuorum)
        with pytest.raises(NoQuorum):
            store.keys.put("a", "1")
        lost = kit.lose_answer(applied=False)
        with pytest.raises(OutcomeUnknown):
            store.keys.put("a", "1")
        assert lost.arrive() == [""]
        held = kit.hold(kind="put")
        with ThreadPoolExecutor() as pool:
            putting = pool.submit(store.keys.put, "a", "2")
            held.wait()
            found = store.keys.get("a")
            assert found is not None
            assert found.value == b"1"
            held.release()
            putting.result(10.0)
        with pytest.raises(OwnershipLost), store.own("b") as agent:
            kit.take_over("b")
            agent.check()
        kit.give_back("b")
        with pytest.raises(OwnershipLost), store.own("b") as agent:
            kit.expire_ownership("b")
            agent.check()
        with pytest.raises(OwnershipLost), store.own("b") as agent:
            kit.expire_session(store)
            agent.check()
        with store.own("b") as agent:
            kit.change_leader()
            agent.check()
        kit.kill(store)
        kit.mend(store)
        store.keys.put("a", "3")

    assert {one.client for one in kit.log("put")} == {"me"}
    assert [one.refusal for one in kit.log("put")] == [""] * 3


def test_both_kits_have_the_same_names() -> None:
    """
    What can be done to one can be done to the other.
    """
    names = {
        kit: {name for name in dir(kit) if not name.startswith("_")}
        for kit in (testing.Kit, testing.SyncKit)
    }

    assert names[testing.Kit] == names[testing.SyncKit]
