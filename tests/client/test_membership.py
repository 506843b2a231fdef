"""Changing the cluster through the SDK, and keeping up with it."""

from __future__ import annotations

import grpc
import pytest

from raftstate.client.store import Store
from raftstate.errors import (
    BY_REASON,
    Conflict,
    DiskFull,
    NotCaughtUp,
    OutcomeUnknown,
    RaftStateError,
)
from tests.client.scripted import (
    QUICK_S,
    UNKNOWN,
    Drop,
    Refuse,
    Silence,
    asynchronous,
    members,
    not_leader,
    store_of,
    until,
)

CONFLICT = Refuse("CONFLICT", grpc.StatusCode.ABORTED)


async def add(store: Store, name: str = "n9", timeout: float | None = None) -> list[str]:
    """Add a member; the answer is where everybody is then."""
    found = await store.add_member(
        name, raft_address="h:1", client_address="h:2", timeout=timeout
    )
    return [one.client_address for one in found]


@asynchronous
async def test_every_change_is_asked_of_the_leader() -> None:
    """
    A member that does not lead points on; the leader is asked once, without a session.
    """
    async with members(2) as (follower, leader):
        follower.always = follower.office = not_leader(leader.address)
        async with store_of(follower) as store:
            assert await add(store) == ["h:2"]
            await store.promote_member("n9")
            await store.remove_member("n1")
            assert await store.transfer_leadership() == "n2"
            assert await store.transfer_leadership("n2") == "n2"
            assert [one.client_address for one in await store.members()] == ["h:2"]

    assert follower.asked == ["add n9 h:1"]
    assert leader.asked == [
        "add n9 h:1",
        "promote n9",
        "remove n1",
        "transfer to anybody",
        "transfer to n2",
    ]


@asynchronous
async def test_a_change_waits_for_its_turn() -> None:
    """
    While another change is under way it is asked again, until the deadline.
    """
    async with members(1) as (leader,), store_of(leader) as store:
        leader.script.extend([CONFLICT, CONFLICT])
        assert await add(store) == ["h:2"]
        assert leader.asked == ["add n9 h:1"] * 3

        leader.always = CONFLICT
        with pytest.raises(Conflict) as caught:
            await add(store, timeout=0.2)

    assert caught.value.definite


@asynchronous
async def test_a_change_in_doubt_is_asked_again() -> None:
    """
    What was not answered may have happened: asked again, it is answered as the first time.
    """
    async with members(1) as (leader,), store_of(leader) as store:
        leader.script.extend([UNKNOWN, Drop()])
        assert await add(store) == ["h:2"]

    assert leader.asked == ["add n9 h:1"] * 3


@pytest.mark.parametrize("reason", ["TOO_MANY", "NOT_FOUND", "LAST_VOTER", "NOT_CAUGHT_UP"])
@asynchronous
async def test_a_change_in_doubt_is_not_settled_by_a_refusal(reason: str) -> None:
    """
    The refusal may be the work of the attempt that nobody answered; alone it is definite.
    """
    refusal = Refuse(reason)
    async with members(1) as (leader,), store_of(leader) as store:
        leader.script.extend([UNKNOWN, refusal])
        with pytest.raises(OutcomeUnknown) as caught:
            await add(store)
        leader.script.append(refusal)
        with pytest.raises(RaftStateError) as alone:
            await add(store)

    assert not caught.value.definite
    assert caught.value.details["last_reason"] == reason
    assert type(alone.value) is BY_REASON[reason]
    assert alone.value.definite


@asynchronous
async def test_a_learner_that_lacks_much_is_told_at_once() -> None:
    """
    Catching up takes as long as it takes: whoever asked decides whether to wait.
    """
    async with members(1) as (leader,), store_of(leader) as store:
        leader.script.append(Refuse("NOT_CAUGHT_UP"))
        with pytest.raises(NotCaughtUp) as caught:
            await store.promote_member("n9")

    assert (caught.value.definite, caught.value.retryable) == (True, True)
    assert leader.asked == ["promote n9"]


@pytest.mark.parametrize("action", [UNKNOWN, Drop(), Silence()])
@asynchronous
async def test_leadership_is_not_moved_twice(action: Refuse | Drop | Silence) -> None:
    """
    Whoever leads after an attempt that was not answered is not asked to go as well.
    """
    async with members(2) as (first, second), store_of(first, second) as store:
        first.script.append(action)
        with pytest.raises(OutcomeUnknown) as caught:
            await store.transfer_leadership(timeout=5 * QUICK_S)

    assert not caught.value.definite
    assert (first.asked, second.asked) == (["transfer to anybody"], [])


@asynchronous
async def test_a_member_in_quarantine_is_left_for_another() -> None:
    """
    It serves nobody, and says who leads; without that the next endpoint is asked.
    """
    quarantined = Refuse("QUARANTINED", grpc.StatusCode.UNAVAILABLE)
    async with members(2) as (damaged, leader):
        for hint in ({"leader_address": leader.address}, {}):
            damaged.office = Refuse(quarantined.reason, quarantined.code, hint)
            async with store_of(damaged, leader) as store:
                await store.create_agent("a")

    assert damaged.ids == []
    assert len(leader.ids) == 2


@asynchronous
async def test_a_full_disk_is_told_at_once() -> None:
    """
    Waiting makes no room: the error is definite, and comes after one attempt.
    """
    async with members(1) as (leader,), store_of(leader) as store:
        leader.script.append(Refuse("DISK_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED))
        with pytest.raises(DiskFull) as caught:
            await store.create_agent("a")

    assert caught.value.definite
    assert len(leader.ids) == 1


@asynchronous
async def test_a_member_that_joined_is_found_when_all_endpoints_are_gone() -> None:
    """
    The client learns from the leader where the others are, and turns to them.

    Method: a client knows one member, which tells of another and then answers no more.
    """
    async with members(2) as (old, new):
        old.roster = [old.address, new.address]
        async with store_of(old, attempt=QUICK_S) as store:
            await store.create_agent("a")
            await until(lambda: old.looked, "the client has asked who is a member")
            await until(
                lambda: new.address in store._engine.router.endpoints, "it knows the other"
            )
            old.office = Drop()
            await store.create_agent("b")

    assert old.address in old.roster
    assert [one.sequence for one in new.ids] == [2]


@pytest.mark.parametrize(
    "last_words", [not_leader(), Refuse("OUTCOME_UNKNOWN", grpc.StatusCode.UNAVAILABLE)]
)
@asynchronous
async def test_the_last_words_of_a_member_that_goes_lead_on(last_words: Refuse) -> None:
    """
    A leader that was removed says who is a member when it refuses, and then is gone: the
    only one that the client knew.
    """
    async with members(2) as (old, new), store_of(old, attempt=QUICK_S) as store:
        await store.create_agent("a")
        told = Refuse(last_words.reason, last_words.code, {"members": new.address})
        old.script.append(told)
        old.always = Drop()
        await store.create_agent("b")

    assert [one.sequence for one in new.ids] == [2]


@asynchronous
async def test_what_the_client_was_given_stays() -> None:
    """
    Members that a cluster names come after the endpoints, and go when it names others.
    """
    async with members(1) as (leader,), store_of(leader, "h:9") as store:
        router = store._engine.router
        router.learn(["h:1", "", "h:9", "h:1"])
        assert router.endpoints == (leader.address, "h:9", "h:1")
        router.learn(f"h:{port}" for port in range(100, 200))
        assert router.endpoints[:3] == (leader.address, "h:9", "h:100")
        assert len(router.endpoints) < 50
