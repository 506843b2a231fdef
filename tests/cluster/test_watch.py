"""A watch of the SDK and the death of the member that it is on, in a real cluster."""

import asyncio
import secrets

import raftstate
from raftstate.client.watch import Watch
from raftstate.localcluster import LocalCluster

LIMIT_S = 40.0
PUTS = 120
MIDDLE = 40


def test_a_watch_survives_a_kill_of_its_member(cluster: LocalCluster) -> None:
    """
    Keys are put without a pause while the member that serves the watch is killed. Every
    put is told, once and in order; and with a snapshot taken while that member is away and
    what follows it, nothing is missing either.
    """
    prefix = f"watch-{secrets.token_hex(4)}/"
    wanted = [f"{prefix}{number:03d}".encode() for number in range(PUTS)]

    async def follow(watch: Watch) -> list[tuple[int, bytes]]:
        told: list[tuple[int, bytes]] = []
        async for batch in watch:
            told.extend((batch.revision, change.id) for change in batch.changes)
            if told and told[-1][1] == wanted[-1]:
                break
        return told

    async def scene() -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        async with (
            asyncio.timeout(LIMIT_S),
            raftstate.connect(cluster.endpoints, timeout=20) as store,
            raftstate.connect(cluster.endpoints, timeout=20) as writer,
            store.watch(types=["key"], prefix=prefix) as watch,
        ):
            following = asyncio.create_task(follow(watch))
            for key in wanted[:MIDDLE]:
                await writer.keys.put(key, b"v")
            at = [one.id for one in cluster.members.values() if one.api == watch._address]
            await asyncio.to_thread(cluster.kill, at[0])
            other = store.watch(types=["key"], prefix=prefix, snapshot=True)
            beside = asyncio.create_task(follow(other))
            starting = asyncio.create_task(asyncio.to_thread(cluster.start_node, at[0]))
            for key in wanted[MIDDLE:]:
                await writer.keys.put(key, b"v")
            await starting
            return await following, await beside

    told, beside = asyncio.run(scene())
    assert [key for _, key in told] == wanted
    assert [revision for revision, _ in told] == sorted({revision for revision, _ in told})
    assert [key for _, key in beside] == wanted
