"""Several blocks of one store and one agent: they take turns, and leave none behind."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from raftstate.client.store import Store, connect
from raftstate.errors import Closed, Owned, OwnershipLost
from tests.client.scripted import Silence, asynchronous, members, store_of, until
from tests.rpc.harness import bench


async def forever() -> None:
    await asyncio.Event().wait()


@asynchronous
async def test_an_agent_owned_by_another_block_of_this_store() -> None:
    """
    The store would grant it to the same session; this client refuses it.
    """
    async with members(1) as (member,), store_of(member) as store:
        async with store.own("a"):
            with pytest.raises(Owned, match="another block"):
                async with store.own("a"):
                    pass
        async with store.own("a"):
            pass

    assert member.asked.count("acquire") == 2


@asynchronous
async def test_of_two_blocks_that_begin_at_once_one_is_refused() -> None:
    """
    The second is refused while the first is still being granted.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.grant_after = asyncio.Event()
        first = asyncio.create_task(store.own("a").__aenter__())
        await until(lambda: "acquire" in member.asked, "the first asks")
        with pytest.raises(Owned, match="another block") as caught:
            await store.own("a").__aenter__()
        member.grant_after.set()
        agent = await first

        assert caught.value.definite
        assert not agent.lost
        assert member.asked.count("acquire") == 1


@asynchronous
async def test_blocks_of_one_store_take_turns_in_order() -> None:
    """
    Who waits asks only when all who came before have given the agent back.
    """
    inside: list[int] = []
    seen: list[list[int]] = []

    async def work(store: Store, number: int) -> None:
        async with store.own("a", wait=True):
            inside.append(number)
            await asyncio.sleep(0.01)
            seen.append(list(inside))
            inside.remove(number)

    async with members(1) as (member,), store_of(member) as store, asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(work(store, number))

    assert seen == [[number] for number in range(5)]
    assert member.asked == ["open", *["acquire", "release"] * 5, "close"]


@asynchronous
async def test_waiting_for_a_block_of_this_store_has_a_deadline() -> None:
    """
    What is still owned by another block then is Owned; nothing was sent.
    """
    async with members(1) as (member,), store_of(member) as store, store.own("a"):
        with pytest.raises(Owned, match="another block") as caught:
            async with store.own("a", wait=True, timeout=0.1):
                pass

        assert caught.value.definite
        assert member.asked == ["open", "acquire"]


@asynchronous
@pytest.mark.parametrize("asks", [False, True])
async def test_who_is_cancelled_leaves_the_line(asks: bool) -> None:
    """
    A block that is cancelled before it owns, in line or while it asks, is in nobody's way.
    """
    async with members(1) as (member,), store_of(member) as store:
        async with AsyncExitStack() as stack:
            if asks:
                member.script.append(Silence())
            else:
                await stack.enter_async_context(store.own("a"))
            task = asyncio.create_task(store.own("a", wait=True).__aenter__())
            await until(lambda: "acquire" in member.asked, "somebody asks")
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        async with store.own("a"):
            pass

        assert task.cancelled()
        assert not store._engine.turns.lines


@asynchronous
async def test_force_goes_before_a_block_that_waits() -> None:
    """
    A request that waits is taken back before the forced one is sent, lest it be granted
    afterwards; it is made again, under a new id, when the forced block has ended.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.script.append(Silence())
        waiting = asyncio.create_task(store.own("a", wait=True).__aenter__())
        await until(lambda: "acquire" in member.asked, "it waits")
        async with store.own("a", force=True):
            floor = member.ids[1].lowest_unfinished
            await until(lambda: not store._engine.turns.lines["a"].asking.locked(), "settled")
            asked = list(member.asked)
        await waiting

    assert asked == ["open", "acquire", "acquire"]
    assert floor == member.ids[1].sequence == 2  # the first is surely not carried out
    assert [one.sequence for one in member.ids[:4]] == [1, 2, 3, 4]


@asynchronous
async def test_force_does_not_wait_for_the_owner() -> None:
    """
    A block that owns the agent is overtaken, and others go on waiting for both.
    """
    async with members(1) as (member,), store_of(member) as store:
        async with store.own("a"):
            async with store.own("a", force=True):
                with pytest.raises(Owned):
                    await store.own("a", wait=True, timeout=0.05).__aenter__()
            with pytest.raises(Owned):
                await store.own("a").__aenter__()
        async with store.own("a"):
            pass

    assert member.asked.count("acquire") == 3


@asynchronous
async def test_closing_the_store_ends_those_in_line() -> None:
    """
    Who waits for a block of the same store learns that it was closed; nothing is sent.
    """
    async with members(1) as (member,):
        store = store_of(member)
        inside = asyncio.Event()

        async def work() -> None:
            async with store.own("a", wait=True):
                inside.set()
                await forever()

        async with store:
            tasks = [asyncio.create_task(work()) for _ in range(3)]
            await inside.wait()
        ends = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in ends] == [OwnershipLost, Closed, Closed]
    assert all(end.definite for end in ends if isinstance(end, Closed))
    assert member.asked.count("acquire") == 1


@pytest.mark.parametrize("how", ["if free", "force", "wait"])
@asynchronous
async def test_what_was_granted_to_a_block_that_was_cancelled(how: str) -> None:
    """
    Its request was carried out, and nobody heard the answer: the agent is given back at
    once, and not when its ttl has ended.
    """
    async with (
        bench() as served,
        connect(f"127.0.0.1:{served.port}") as store,
        connect(f"127.0.0.1:{served.port}") as other,
    ):
        await store.keys.put("k", b"1")
        served.fake.holding = True
        own = store.own("a", ttl=60.0, force=how == "force", wait=how == "wait")
        acquiring = asyncio.create_task(own.__aenter__())

        def granted() -> bool:
            return any(one.HasField("acquire_ownership") for one in served.fake.proposed)

        await until(granted, "it is granted")
        acquiring.cancel()
        await asyncio.sleep(0)
        served.fake.let_go()
        with pytest.raises(asyncio.CancelledError):
            await acquiring
        async with other.own("a") as agent:
            assert not agent.lost
        async with store.own("a", wait=True, timeout=5.0) as agent:
            assert not agent.lost
