"""A node of a running cluster whose disk is damaged: it notices, begins anew, and the
cluster loses nothing.

Real nodes, real files, bits flipped behind their backs while agents write.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raftstate.client import probe
from raftstate.localcluster import LocalCluster
from raftstate.v1.cluster_service_pb2 import StatusResponse
from tests.cluster.test_membership import (
    WITHIN_S,
    assert_nothing_is_lost,
    cluster_log,
    read_all,
    under_load,
)

# The scrub hardly rests, and who comes back is sent a snapshot; or the log is kept for
# longer than a test lasts, so that nothing in it goes before it is found.
SCRUB = {"interval_s": 1, "mib_per_s": 200}
OVERRIDES = {"snapshot": {"log_entries": 200, "keep_entries": 50}, "scrub": SCRUB}
ALL_IS_KEPT = {"scrub": SCRUB}
EXIT_CRASH = 4


def flip_all(path: Path, pattern: bytes) -> int:
    """Flip a bit wherever a pattern stands in a file; the file stays the one it is."""
    handle = os.open(path, os.O_RDWR)
    try:
        data, at, count = path.read_bytes(), -1, 0
        while (at := data.find(pattern, at + 1)) >= 0:
            os.pwrite(handle, bytes([data[at] ^ 1]), at)
            count += 1
        return count
    finally:
        os.close(handle)


def state_of(data_dir: Path) -> Path:
    """The file of the newest state."""
    return max(data_dir.glob("state-*"), key=lambda path: int(path.name[6:])) / "data.mdb"


def log_of(data_dir: Path) -> Path:
    """The file of the log."""
    return data_dir / "log" / "data.mdb"


def await_log(cluster: LocalCluster, name: str, event: str, times: int = 1) -> None:
    """Wait until a node has said something in its log."""
    wanted = f'"event": "{event}"'
    deadline = time.monotonic() + 2 * WITHIN_S
    while cluster_log(cluster.folder, name).count(wanted) < times:
        assert time.monotonic() < deadline, f"{event}\n{cluster.logs(name, 40)}"
        time.sleep(0.05)


def statuses(cluster: LocalCluster) -> dict[str, StatusResponse | None]:
    """What every node says of itself."""
    return {name: probe.status(member.api) for name, member in cluster.members.items()}


def await_equal(cluster: LocalCluster) -> None:
    """Wait until all members are at one revision, with one state and without an alarm."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        found = list(statuses(cluster).values())
        told = {
            (one.header.revision, one.state_hash, len(one.alarms)) if one is not None else None
            for one in found
        }
        if len(told) == 1 and None not in told and next(iter(told))[2] == 0:  # type: ignore[index]
            return
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("role", "file"),
    [
        pytest.param("leader", state_of, id="leader-state"),
        pytest.param("follower", log_of, id="follower-log"),
        # The other two halves of these two.
        pytest.param("follower", state_of, id="follower-state", marks=pytest.mark.slow),
        pytest.param("leader", log_of, id="leader-log", marks=pytest.mark.slow),
    ],
)
def test_damage_under_a_running_node_is_found_and_healed(
    tmp_path: Path, role: str, file: Callable[[Path], Path]
) -> None:
    """
    The node says that it is quarantined, begins again in the same process id with what it
    had set aside, and is brought up to date; every acknowledged write is there.

    Method: what was written lately is about to be written again, which would mend it, so
    there is enough that was not.
    """
    overrides = OVERRIDES if file is state_of else ALL_IS_KEPT
    with LocalCluster.create(tmp_path / "c", overrides=overrides) as cluster:
        with under_load(cluster.endpoints) as load:
            for _ in range(4):
                load.go_on()
            leader = cluster.wait_leader()
            name = leader
            if role == "follower":
                name = next(one for one in cluster.members if one != leader)
            pid, data_dir = cluster.pid(name), cluster.data_dir(name)
            assert flip_all(file(data_dir), b"counted") > 0
            await_log(cluster, name, "quarantined")
            load.go_on()
            await_log(cluster, name, "quarantine over")
            load.go_on()
        await_equal(cluster)
        assert cluster.pid(name) == pid
        assert not (data_dir / "quarantine").exists()
        assert (data_dir / "damaged-1" / "log").is_dir()
        stored = asyncio.run(read_all(cluster.endpoints))
    assert_nothing_is_lost(load, stored)


def test_damage_of_a_node_that_is_down_is_found_at_its_start(tmp_path: Path) -> None:
    """
    Its log was damaged; it starts, empty, and is brought up to date. Meanwhile it says so:
    an alarm, and it answers nothing.
    """
    with LocalCluster.create(tmp_path / "c", overrides=OVERRIDES) as cluster:
        with under_load(cluster.endpoints) as load:
            load.go_on()
            leader = cluster.wait_leader()
            name, other = (one for one in cluster.members if one != leader)
            cluster.kill(name)
            load.go_on()
            assert flip_all(log_of(cluster.data_dir(name)), b"counted") > 0
            # Nobody can bring it up to date: it stays as it is.
            cluster.pause(other)
            cluster.pause(leader)
            cluster.start_node(name, wait=False)
            await_log(cluster, name, "rejoining after damage")
            deadline = time.monotonic() + WITHIN_S
            while (status := statuses(cluster)[name]) is None:
                assert time.monotonic() < deadline
            assert "QUARANTINED" in {alarm.name for alarm in status.alarms}
            assert not status.ready
            cluster.resume(other)
            cluster.resume(leader)
            await_log(cluster, name, "quarantine over")
            load.go_on()
        await_equal(cluster)
        stored = asyncio.run(read_all(cluster.endpoints))
    assert_nothing_is_lost(load, stored)


@pytest.mark.slow
def test_a_node_that_is_damaged_again_before_it_is_whole_ends(tmp_path: Path) -> None:
    """
    It does not begin again for ever by itself: whoever watches it decides. And then it may
    heal.
    """
    with LocalCluster.create(tmp_path / "c", overrides=OVERRIDES) as cluster:
        with under_load(cluster.endpoints) as load:
            load.go_on()
        leader = cluster.wait_leader()
        name, other = (one for one in cluster.members if one != leader)
        cluster.kill(name)
        flip_all(log_of(cluster.data_dir(name)), b"counted")
        cluster.kill(other)
        cluster.kill(leader)
        cluster.start_node(name, wait=False)
        await_log(cluster, name, "rejoining after damage")
        data_dir = cluster.data_dir(name)
        deadline = time.monotonic() + WITHIN_S
        while cluster.state(name) == "running":
            assert time.monotonic() < deadline, cluster.logs(name, 40)
            flip_all(log_of(data_dir), b"hard_state")
            time.sleep(0.2)
        assert cluster.returncode(name) == EXIT_CRASH
        cluster.start_node(other, wait=False)
        cluster.start_node(leader, wait=False)
        cluster.start_node(name, wait=False)
        await_log(cluster, name, "quarantine over")
        assert (data_dir / "damaged-2").is_dir()
        await_equal(cluster)
        stored = asyncio.run(read_all(cluster.endpoints))
    assert_nothing_is_lost(load, stored)
