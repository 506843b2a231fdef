"""A disk that fills up: growth is refused in time, and everything else goes on.

A real node on a file system of 16 MB in memory.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftstate
from raftstate.client import probe
from raftstate.errors import DiskFull, RaftStateError
from raftstate.localcluster import LocalCluster

SIZE_MIB, RESERVE_MIB, BALLAST_MIB = 16, 4, 5
OVERRIDES = {
    "storage": {"reserve_mib": RESERVE_MIB},
    "snapshot": {"log_entries": 30, "keep_entries": 5},
}
EVENT = "x" * 20_000
STEPS_MAX = 2_000
WITHIN_S = 20.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def free_mib(folder: Path) -> float:
    """What is left of the file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize / (1 << 20)


async def fill(store: raftstate.Store, agent_id: str) -> int:
    """Commit steps until the store refuses; how many were acknowledged."""
    acknowledged = 0
    try:
        async with store.own(agent_id, wait=True) as agent:
            for _ in range(STEPS_MAX):
                async with agent.step() as step:
                    step.event("filled", EVENT)
                acknowledged += 1
    except DiskFull:
        return acknowledged
    raise AssertionError(f"{acknowledged} steps, and the disk is not full")


async def count(store: raftstate.Store, agent_id: str) -> int:
    """How many events an agent has."""
    return len([event async for event in store.read_events(agent_id)])


def alarms(cluster: LocalCluster) -> set[str]:
    """The alarms of the node."""
    status = probe.status(cluster.members["n1"].api)
    assert status is not None
    return {alarm.name for alarm in status.alarms}


async def grow_again(store: raftstate.Store) -> None:
    """Write as soon as that is possible."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            await store.create_agent("later")
        except RaftStateError:
            assert time.monotonic() < deadline
        else:
            return


def test_a_full_disk_stops_growth_and_nothing_else(small: Path) -> None:
    """
    Writes are refused before the disk is full, with an error that says so and that nothing
    happened. Reads, releases and halts go on, and with room so do writes.
    """
    (small / "ballast").write_bytes(bytes(BALLAST_MIB << 20))
    with LocalCluster.create(small / "c", nodes=1, overrides=OVERRIDES) as cluster:
        pid = cluster.pid("n1")

        async def use() -> None:
            async with raftstate.connect(cluster.endpoints, timeout=3.0) as store:
                acknowledged = await fill(store, "a")
                assert acknowledged > 5
                assert 0.5 < free_mib(small) < RESERVE_MIB + 1
                # No snapshot may be possible either.
                assert {"DISK_FULL"} <= alarms(cluster) <= {"DISK_FULL", "SNAPSHOT_FAILED"}
                with pytest.raises(DiskFull) as refused:
                    await store.create_agent("b")
                assert refused.value.definite

                assert await count(store, "a") == acknowledged
                await store.halt_agent("a", reason="the disk is full")

                (small / "ballast").unlink()
                await grow_again(store)
                await store.resume_agent("a")
                async with store.own("a", wait=True) as agent, agent.step() as step:
                    step.event("filled", "a little")
                assert await count(store, "a") == acknowledged + 1

        asyncio.run(use())
        assert "DISK_FULL" not in alarms(cluster)
        assert cluster.pid("n1") == pid
