# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""The kit's clock: it stands still until it is moved, for the store and its clients alike."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import raftstate
from raftstate import testing
from raftstate.client import clock
from raftstate.errors import BreakerOpen, Compacted, OwnershipLost
from tests.client.scripted import asynchronous, until
from tests.testing_kit.billing import AGENT, work

DAY_S = 86_400.0


@asynchronous
async def test_whoever_is_alive_keeps_what_it_holds_for_however_long() -> None:
    """
    Session, ownership and lease, over a second and over a year; the steps go on.
    """
    async with testing.served() as kit, kit.connect() as store:
        async with store.own("a", ttl=0.5) as agent, store.lease(1.0) as lease:
            await store.keys.put("here", "1", lease=lease)
            for seconds in (1.0, 60.0, 365 * DAY_S):
                await kit.advance(seconds)
                assert not agent.lost
                assert not lease.lost
                assert 0 < agent.time_left <= 0.5
                assert 0 < lease.time_left <= 1.0
                async with agent.step() as step:
                    step.event("e")
            assert await store.keys.get("here")
        ended = [one.kind for one in kit.log() if one.kind.startswith("expire")]
        stamps = [one.log_time_ms for one in kit.log("commit_step")]
        assert kit.elapsed == 61.0 + 365 * DAY_S

    assert ended == []
    assert stamps == [2_000, 62_000, 62_000 + 365 * 86_400_000]


@asynchronous
async def test_what_nobody_renews_ends_in_its_order() -> None:
    """
    At the very moment when its time is up, in one move of the clock or in several.
    """
    async with testing.served() as kit, kit.connect() as store:
        for ttl in (3.0, 1.0, 2.0):
            lease = await store.grant_lease(ttl, lease_id=int(ttl))
            await store.keys.put(f"k{lease.lease_id}", "1", lease=lease.lease_id)
        await kit.advance(0.999)
        before = [one.lease_id async for one in store.list_leases()]
        await kit.advance(5.0)
        after = [kv.key async for kv in store.keys.range(prefix="k")]
        ended = [(one.request.lease_id, one.log_time_ms) for one in kit.log("expire_lease")]

    assert before == [1, 2, 3]
    assert after == []
    assert ended == [(1, 2_000), (2, 3_000), (3, 4_000)]


@asynchronous
async def test_nothing_ends_while_the_clock_stands() -> None:
    """
    Real time does not count: a test may be slow, or be stopped in a debugger.
    """
    async with testing.served() as kit, kit.connect() as store:
        await store.grant_lease(0.5)
        async with store.own("a", ttl=0.2) as agent:
            left = agent.time_left
            await asyncio.sleep(0.8)
            assert agent.time_left == left
        assert [one async for one in store.list_leases()]
        assert kit.elapsed == 0.0
        assert kit.log_time_ms == 1_000


@asynchronous
async def test_a_cut_off_owner_loses_it_before_anybody_else_owns() -> None:
    """
    By its own clock, which is moved with the store's.
    """
    async with testing.served() as kit, kit.connect() as store:
        with pytest.raises(OwnershipLost):
            async with store.own("a", ttl=5.0) as agent, store.lease(3.0) as lease:
                kit.cut_off(store)
                await kit.advance(2.9)
                assert not lease.lost
                await kit.advance(1.5)
                assert lease.lost
                assert not agent.lost
                gone = asyncio.create_task(lease.wait_lost())
                await kit.advance(0.2)
                assert agent.lost
                assert kit.log("expire_ownership") == []
                await gone
                kit.mend(store)
                await asyncio.Event().wait()


@asynchronous
async def test_who_waits_for_the_end_of_a_lease_is_woken() -> None:
    """
    By the clock, as soon as it is moved there.
    """
    async with testing.served() as kit, kit.connect() as store, store.lease(3.0) as lease:
        waiting = asyncio.create_task(lease.wait_lost())
        await kit.advance(100.0)
        assert not waiting.done()
        kit.cut_off(store)
        await kit.advance(3.0)
        async with asyncio.timeout(2.0):
            await waiting
        kit.mend(store)


@asynchronous
async def test_a_client_with_a_blocked_loop_is_alive() -> None:
    """
    What it holds is renewed by a thread of its own, here as on a cluster.
    """
    async with testing.served() as kit, kit.connect() as store, store.own("a") as agent:
        with ThreadPoolExecutor() as pool:  # its end blocks this loop
            pool.submit(asyncio.run, kit.advance(60.0)).result()
        assert not agent.lost
        async with agent.step() as step:
            step.event("e")


@asynchronous
async def test_checkpoints_by_time_see_the_clock() -> None:
    """
    A policy of so many seconds is due when they have passed.
    """
    async with testing.served() as kit, kit.connect() as store:
        often = raftstate.Every(seconds=60.0)
        async with store.own("a", auto_checkpoint=often) as agent:
            agent.state_from(lambda: {"at": kit.elapsed})
            for seconds in (1.0, 58.0, 2.0, 1.0):
                await kit.advance(seconds)
                async with agent.step() as step:
                    step.event("e", {"at": step.time()})
        saved = [
            raftstate.decode(await store.get_checkpoint("a", one.checkpoint_id))
            async for one in store.list_checkpoints("a")
        ]
        told = [raftstate.decode(event)["at"] async for event in store.read_events("a")]

    assert saved == [{"at": 61.0}]
    assert [at - told[0] for at in told] == [0.0, 58.0, 60.0, 61.0]
    assert told[0] == 1_767_225_601.0  # 2026-01-01 00:00:01 UTC


@asynchronous
async def test_a_breaker_lets_a_call_through_when_its_time_has_passed() -> None:
    """
    Open for a minute: not before the clock is moved so far.
    """
    broken = True

    def ask() -> str:
        if broken:
            raise ConnectionError("no")
        return "yes"

    async with testing.served() as kit, kit.connect() as store:
        await store.put_breaker(
            "b", count_window=2, failure_rate=0.5, minimum_calls=2, open_ms=60_000, successes=1
        )
        breaker = store.breaker("b")
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await breaker.call(ask)
        await until(lambda: breaker.state == "open", "the breaker is open")
        broken = False
        await kit.advance(59.0)
        with pytest.raises(BreakerOpen) as refused:
            await breaker.call(ask)
        await kit.advance(1.0)
        assert await breaker.call(ask) == "yes"

    assert 0 < (refused.value.retry_after or 0.0) <= 1.0


@asynchronous
async def test_old_history_goes_when_the_clock_is_moved() -> None:
    """
    As a cluster trims it now and then.
    """
    async with testing.served(history_keep=10) as kit, kit.connect() as store:
        for number in range(40):
            await store.keys.put("a", str(number))
        early = await store.keys.get("a", at=2)
        await kit.advance(1.0)
        with pytest.raises(Compacted):
            await store.keys.get("a", at=2)

    assert early is not None
    assert early.value == b"0"


async def _told() -> list[tuple[str, int, str, str]]:
    """A story with two clients, a takeover and two expiries."""
    async with (
        testing.served() as kit,
        kit.connect(client_name="one") as one,
        kit.connect(client_name="two") as two,
    ):
        await work(one, ["a", "b"], lambda _item: None)
        with pytest.raises(OwnershipLost):
            async with one.own(AGENT) as agent:
                await kit.take_over(AGENT, told=False)
                async with agent.step() as step:
                    step.event("e")
        await kit.give_back(AGENT)
        with pytest.raises(OwnershipLost):
            async with one.own(AGENT):
                kit.cut_off(one)
                await kit.advance(30.0)
                await asyncio.Event().wait()
        kit.mend(one)
        await work(two, ["a", "b", "c"], lambda _item: None)
    return [(each.kind, each.log_time_ms, each.client, each.refusal) for each in kit.log()]


def test_a_story_is_the_same_each_time() -> None:
    """
    Command by command, with the time of each.
    """
    first, second = asyncio.run(_told()), asyncio.run(_told())

    assert first == second
    assert ("commit_step", 1_000, "one", "FENCED") in first
    assert [each[:2] for each in first if each[0].startswith("expire")] == [
        ("expire_ownership", 6_000),
        ("expire_session", 11_000),
    ]
    assert first[-3][:3] == ("commit_step", 31_000, "two")


def test_kits_share_one_clock_and_time_never_goes_back() -> None:
    """
    A process has one; after the last kit it goes on from where it was.
    """

    async def story() -> float:
        async with testing.served() as kit:
            async with (
                testing.served() as other,
                other.connect() as store,
                store.own("a") as agent,
            ):
                await kit.advance(3600.0)
                assert other.elapsed == kit.elapsed == 3600.0
                assert not agent.lost
            await kit.advance(1.0)
            return clock.now()

    before = clock.now()
    last = asyncio.run(story())
    after = clock.now()
    time.sleep(0.01)

    assert before < last - 3600.0 < last <= after < clock.now()
    assert abs(clock.wall() - time.time()) < 1.0
