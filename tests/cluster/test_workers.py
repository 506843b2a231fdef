"""Workers that are killed, and the leader with them, in the middle of undoing."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import raftstate
from raftstate.client.store import Store
from raftstate.localcluster import LocalCluster
from raftstate.v1.effect_service_pb2 import SAGA_STATE_COMPENSATED
from tests.client.scripted import until

LIMIT_S = 60.0
STEPS = 6
ROOT = Path(__file__).parents[2]
# Each attempt takes a while, and is written down when it begins and when it ends.
MODULE = """
import pathlib
import time

import raftstate

BOOK = pathlib.Path(__file__).with_name("book.txt")


def write(line: str) -> None:
    with BOOK.open("a") as book:
        book.write(line + "\\n")


@raftstate.compensation("slowly")
def slowly(call: raftstate.UndoCall) -> None:
    write(f"begin {call.key}")
    time.sleep(0.3)
    write(f"end {call.key}")
"""


@contextmanager
def worker(cluster: LocalCluster, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own."""
    command = [sys.executable, "-m", "raftstate", "worker", "--module", "slow_undoings"]
    with subprocess.Popen(
        [*command, "--endpoints", cluster.endpoints, "--poll", "1"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def given_up(store: Store, saga_id: str) -> None:
    """A saga of some steps, that its process does not undo."""
    async with store.own(f"of/{saga_id}") as agent:
        saga = store.saga(saga_id, agent=agent)
        await saga.__aenter__()
        for number in range(STEPS):
            await saga.step(f"step-{number}", do=lambda call: call.key, undo="slowly")
        await store.abort_saga(saga_id, agent=agent, reason="a test")


@pytest.mark.parametrize("leader_too", [False, True])
def test_another_worker_finishes_what_a_killed_one_began(
    cluster: LocalCluster, tmp_path: Path, leader_too: bool
) -> None:
    """
    The one that has the claim is killed within an attempt, perhaps with the leader: the
    other goes on with that very item. Every item is undone, in the reverse of the order in
    which they were done; as long as the leader lives, no attempt is made twice but the one
    that was cut off.
    """
    tmp_path.joinpath("slow_undoings.py").write_text(MODULE)
    book = tmp_path / "book.txt"
    saga_id = f"trip-{secrets.token_hex(4)}"

    def lines() -> list[str]:
        return book.read_text().splitlines() if book.exists() else []

    async def scene() -> None:
        async with (
            asyncio.timeout(LIMIT_S),
            raftstate.connect(cluster.endpoints, timeout=20) as store,
        ):
            await given_up(store, saga_id)
            with worker(cluster, tmp_path) as first:
                await until(lambda: len(lines()) >= 3, "it is in the middle of the second")
                first.kill()
            with worker(cluster, tmp_path):
                if leader_too:
                    leader = cluster.leader()
                    assert leader is not None
                    await asyncio.to_thread(cluster.kill, leader)
                    await asyncio.to_thread(cluster.start_node, leader)
                async with store.watch(types=["saga"], key=saga_id, snapshot=True) as watch:
                    async for batch in watch:
                        states = [one.resource.saga.state for one in batch.changes]
                        if SAGA_STATE_COMPENSATED in states:
                            break

    asyncio.run(scene())
    keys = [f"of/{saga_id}#{saga_id}/step-{number}:undo" for number in range(STEPS)][::-1]
    begun = [line.removeprefix("begin ") for line in lines() if line.startswith("begin")]
    ended = [line.removeprefix("end ") for line in lines() if line.startswith("end")]
    assert list(dict.fromkeys(begun)) == list(dict.fromkeys(ended)) == keys
    if not leader_too:
        assert begun == [keys[0], keys[1], keys[1], *keys[2:]]
