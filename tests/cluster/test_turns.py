"""Several blocks of one store and one agent: turns, against a real cluster."""

import asyncio
import secrets

import pytest

import raftstate
from raftstate.errors import Owned, OwnershipLost
from raftstate.localcluster import LocalCluster

pytestmark = pytest.mark.live

TTL = 1.0
LIMIT_S = 30.0


def test_blocks_of_one_store_take_turns(cluster: LocalCluster) -> None:
    """
    Blocks that wait own the agent one after the other and none is fenced, though the
    servers grant it to their common session at once; without `wait` a block is refused.

    Method: each block outlives a few renewals, which would tell it that it was fenced.
    """
    agent_id = f"turns-{secrets.token_hex(4)}"
    written: list[str] = []

    async def work(store: raftstate.Store, name: str) -> None:
        async with store.own(agent_id, wait=True, ttl=TTL) as agent:
            for part in ("begin", "end"):
                async with agent.step() as step:
                    step.event(name, part)
                written.append(f"{name} {part}")
                await asyncio.sleep(TTL / 2)
            with pytest.raises(Owned):
                await store.own(agent_id).__aenter__()

    async def scene() -> list[str]:
        async with asyncio.timeout(LIMIT_S), raftstate.connect(cluster.endpoints) as store:
            async with asyncio.TaskGroup() as group:
                for name in ("one", "two", "three"):
                    group.create_task(work(store, name))
            return [
                f"{event.type} {raftstate.decode(event)}"
                async for event in store.read_events(agent_id)
            ]

    found = asyncio.run(scene())

    assert written == [
        f"{name} {part}" for name in ("one", "two", "three") for part in ("begin", "end")
    ]
    assert found == written


def test_force_within_one_store(cluster: LocalCluster) -> None:
    """
    A forced block fences the one of the same store that owns the agent, and is not fenced
    in turn by one that waits at the servers, which works when all others have ended.
    """
    agent_id = f"force-{secrets.token_hex(4)}"
    owns: asyncio.Queue[str] = asyncio.Queue()

    async def work(store: raftstate.Store, name: str) -> None:
        wait, force = name == "waiting", name.startswith("forced")
        async with store.own(agent_id, wait=wait, force=force, ttl=TTL) as agent:
            await owns.put(name)
            if name in ("owner", "forced once"):
                await asyncio.Event().wait()  # until it is fenced
            await asyncio.sleep(TTL)  # renewed a few times
            async with agent.step() as step:
                step.event(name)

    async def scene() -> tuple[list[type], list[str]]:
        async with (
            asyncio.timeout(LIMIT_S),
            raftstate.connect(cluster.endpoints) as other,
            raftstate.connect(cluster.endpoints) as store,
        ):
            tasks = [asyncio.create_task(work(other, "owner"))]
            assert await owns.get() == "owner"
            tasks.append(asyncio.create_task(work(store, "waiting")))
            await asyncio.sleep(TTL / 4)  # it waits at the servers
            for name in ("forced once", "forced twice"):
                tasks.append(asyncio.create_task(work(store, name)))
                assert await owns.get() == name
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            events = [event.type async for event in store.read_events(agent_id)]
        return [type(end) for end in ends], events

    ends, events = asyncio.run(scene())

    nothing = type(None)
    assert ends == [OwnershipLost, nothing, OwnershipLost, nothing]
    assert events == ["forced twice", "waiting"]
