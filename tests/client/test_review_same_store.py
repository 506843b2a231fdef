"""Review: two blocks of one store own the same agent, and fence each other."""

import asyncio

import pytest

from raftstate.client.store import Store
from raftstate.errors import Owned
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores


async def worker(store: Store, log: list[str], name: str, *, wait: bool) -> None:
    try:
        async with store.own("a", wait=wait) as agent:
            log.append(f"{name} in")
            await asyncio.sleep(0.3)
            async with agent.step() as step:
                step.event("e")
            log.append(f"{name} out")
    except Owned:
        log.append(f"{name} refused")


@pytest.mark.parametrize("wait", [True, False])
@asynchronous
async def test_two_tasks_of_one_store_take_turns_or_are_refused(wait: bool) -> None:
    """`wait` "stands in line until the agent is free"; without it the second is refused."""
    async with stores(1) as (_, (store,)):
        log: list[str] = []
        found = await asyncio.gather(
            worker(store, log, "one", wait=wait),
            worker(store, log, "two", wait=wait),
            return_exceptions=True,
        )
        assert [repr(each) for each in found if each is not None] == [], log
