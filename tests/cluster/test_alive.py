# ruff: noqa: ASYNC251, PT012  # that it blocks the event loop is what this is about
"""An agent's program that blocks its event loop while the leader is killed."""

import asyncio
import time

import pytest

import raftstate
from raftstate.errors import OwnershipLost
from raftstate.localcluster import LocalCluster

LIMIT_S = 90.0
TTL = 3.0


def leader(cluster: LocalCluster) -> str:
    """Who leads."""
    return cluster.wait_leader()


def test_an_ownership_stands_while_the_loop_is_blocked_and_the_leader_dies(
    cluster: LocalCluster,
) -> None:
    """
    Three times the ttl, in which nothing of the program runs but this. Nobody else can own
    meanwhile, and the next step is committed under the same token.
    """

    async def story() -> None:
        async with (
            asyncio.timeout(LIMIT_S),
            raftstate.connect(cluster.endpoints, session_ttl=TTL, timeout=20.0) as store,
            store.own("blocked", ttl=TTL) as agent,
        ):
            async with agent.step() as step:
                step.event("before")
            blocked_until = time.monotonic() + 3 * TTL
            cluster.kill(killed := leader(cluster))
            time.sleep(max(blocked_until - time.monotonic(), 0.0))
            assert agent.time_left > 0
            agent.check()
            async with agent.step() as step:
                step.event("after")
            assert step.committed
            assert store.sessions_opened == 1
            found = await store.get_agent("blocked")
            assert found.owner.fence == agent.token
            await asyncio.to_thread(cluster.start_node, killed)

    asyncio.run(story())


def test_an_ownership_that_nobody_could_renew_is_given_up(cluster: LocalCluster) -> None:
    """
    The same without a quorum: what runs first after the block is told, before it asks anybody;
    when the cluster is back the store goes on, and owns anew under a higher token.
    """

    async def story() -> None:
        async with (
            asyncio.timeout(LIMIT_S),
            raftstate.connect(cluster.endpoints, timeout=30.0) as store,
        ):
            with pytest.raises(OwnershipLost) as caught:
                async with store.own("given-up", ttl=TTL) as agent:
                    first = leader(cluster)
                    second = next(one for one in cluster.members if one != first)
                    for one in (first, second):
                        cluster.kill(one)
                    time.sleep(1.5 * TTL)
                    assert agent.lost
                    with pytest.raises(OwnershipLost):
                        agent.check()
                    for one in (first, second):
                        await asyncio.to_thread(cluster.start_node, one)
            assert caught.value.definite
            async with store.own("given-up", wait=True) as again:
                assert again.token_text > agent.token_text
                async with again.step() as step:
                    step.event("again")

    asyncio.run(story())
