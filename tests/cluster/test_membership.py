"""A cluster whose members change while it serves: nothing acknowledged is lost.

Real nodes, real disks. Clients write all the time, and know only the members that the
cluster began with.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import raftstate
from raftstate.client import probe
from raftstate.errors import NotCaughtUp, RaftStateError
from raftstate.localcluster import LocalCluster, LocalClusterError
from raftstate.v1.cluster_service_pb2 import Member
from tests.cluster.test_cluster_cli import run

AGENTS = [f"writer/{number}" for number in range(4)]
# Small, so that who joins is sent a snapshot; and long enough to catch up after it.
OVERRIDES = {"snapshot": {"log_entries": 100, "keep_entries": 300}}
WITHIN_S = 30.0
MORE = 20
DISMISSED = 5  # a node's exit status


@dataclass
class Writer:
    """What one agent knows of its own numbers."""

    acknowledged: list[int] = field(default_factory=list)
    in_doubt: list[int] = field(default_factory=list)
    number: int = 0


@dataclass
class Load:
    """Agents that count, each in events of its own, until they are told to stop."""

    endpoints: str
    writers: dict[str, Writer] = field(
        default_factory=lambda: {agent: Writer() for agent in AGENTS}
    )
    stop: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Write until told to stop; called on a thread of its own."""
        try:
            asyncio.run(self._write_all())
        except BaseException as error:  # noqa: BLE001  # told by whoever waits for it
            self.failed.append(error)

    async def _write_all(self) -> None:
        async with (
            raftstate.connect(self.endpoints, timeout=WITHIN_S) as store,
            asyncio.TaskGroup() as tasks,
        ):
            for agent, writer in self.writers.items():
                tasks.create_task(self._write(store, agent, writer))

    async def _write(self, store: raftstate.Store, agent: str, writer: Writer) -> None:
        while not self.stop.is_set():
            try:
                async with store.own(agent, wait=True) as handle:
                    while not self.stop.is_set():
                        writer.number += 1
                        async with handle.step() as step:
                            step.event("counted", writer.number)
                        writer.acknowledged.append(writer.number)
            except RaftStateError as error:
                if not error.definite:
                    writer.in_doubt.append(writer.number)

    def go_on(self) -> None:
        """Wait until every agent has written some more."""
        goal = {agent: len(one.acknowledged) + MORE for agent, one in self.writers.items()}
        deadline = time.monotonic() + WITHIN_S
        while any(len(self.writers[agent].acknowledged) < goal[agent] for agent in goal):
            assert not self.failed, self.failed
            assert time.monotonic() < deadline, "the agents cannot write"
            time.sleep(0.05)


@contextmanager
def under_load(endpoints: str) -> Iterator[Load]:
    """Agents that write as long as the block runs."""
    load = Load(endpoints)
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert not load.failed, load.failed


async def read_all(endpoints: str) -> dict[str, list[int]]:
    """What is stored of every agent."""
    async with raftstate.connect(endpoints, timeout=WITHIN_S) as store:
        return {
            agent: [raftstate.decode(event) async for event in store.read_events(agent)]
            for agent in AGENTS
        }


async def members_of(endpoints: str) -> list[Member]:
    """Who is in the cluster."""
    async with raftstate.connect(endpoints, timeout=WITHIN_S) as store:
        return await store.members()


def assert_nothing_is_lost(load: Load, stored: dict[str, list[int]]) -> None:
    """Each acknowledged number is there, once, in order, and nothing else but what nobody
    could tell."""
    for agent, writer in load.writers.items():
        found = stored[agent]
        assert sorted(set(found)) == found, agent
        assert set(writer.acknowledged) <= set(found), agent
        assert set(found) <= {*writer.acknowledged, *writer.in_doubt}, agent


def await_end(cluster: LocalCluster, name: str) -> None:
    """Wait until a node's process has ended by itself."""
    deadline = time.monotonic() + WITHIN_S
    while cluster.state(name) != "stopped":
        assert time.monotonic() < deadline, f"{name} goes on\n{cluster.logs(name)}"
        time.sleep(0.05)


def await_compaction(cluster: LocalCluster, load: Load) -> None:
    """Write until no member has all of the log any more."""
    deadline = time.monotonic() + WITHIN_S
    while any(one.status is None or one.status.first_index == 1 for one in cluster.status()):
        assert time.monotonic() < deadline, "nobody compacts its log"
        load.go_on()


def installs(cluster: LocalCluster, name: str) -> int:
    """How many snapshots a node has installed."""
    status = probe.status(cluster.members[name].api)
    assert status is not None
    return status.snapshots_installed


def test_a_cluster_grows_shrinks_and_replaces_a_lost_disk_under_writes(tmp_path: Path) -> None:
    """
    From three members to five, the leader removed, a wiped one refused and replaced: every
    acknowledged write is there at the end, also after all members were killed at once.

    Method: four agents count all the time. Who joins gets a snapshot, since the log is
    short. Of the members that the clients began with one is left at the end.
    """
    with LocalCluster.create(tmp_path / "c", overrides=OVERRIDES) as cluster:
        with under_load(cluster.endpoints) as load:
            await_compaction(cluster, load)
            assert [cluster.add_node(), cluster.add_node()] == ["n4", "n5"]
            load.go_on()
            joined = {name: installs(cluster, name) for name in ("n4", "n5")}

            removed = cluster.wait_leader()
            cluster.remove_node(removed)
            assert "dismissed" in cluster_log(tmp_path / "c", removed)
            load.go_on()

            lost = next(name for name in ("n1", "n2", "n3") if name in cluster.members)
            cluster.kill(lost)
            cluster.wipe(lost)
            cluster.start_node(lost, wait=False)
            await_end(cluster, lost)
            assert cluster.returncode(lost) == DISMISSED
            assert "the cluster knows another data folder" in cluster.logs(lost, 5)
            assert "PEER_LOST_DISK" in alarms(cluster)
            load.go_on()
            cluster.remove_node(lost)
            assert cluster.add_node(lost) == lost
            load.go_on()
            assert alarms(cluster) == set()

        members = asyncio.run(members_of(cluster.endpoints))
        for name in cluster.members:
            cluster.kill(name)
        cluster.start()
        stored = asyncio.run(read_all(cluster.endpoints))

    assert joined == {"n4": 1, "n5": 1}
    assert {(one.member_id, one.learner) for one in members} == {
        (name, False) for name in {"n1", "n2", "n3", "n4", "n5"} - {removed}
    }
    assert_nothing_is_lost(load, stored)


def cluster_log(folder: Path, name: str) -> str:
    """What a node said, also one that is no member any more."""
    return (folder / name / "node.log").read_text()


def alarms(cluster: LocalCluster) -> set[str]:
    """The alarms of all members."""
    return {
        alarm.name
        for report in cluster.status()
        if report.status is not None
        for alarm in report.status.alarms
    }


@pytest.mark.slow
def test_clients_follow_a_cluster_that_leaves_its_first_members_behind(tmp_path: Path) -> None:
    """
    A client that runs all the time finds members that it was never told of, when none of
    those that it was told of is left.
    """
    with LocalCluster.create(tmp_path / "c") as cluster:
        with under_load(cluster.endpoints) as load:
            for old in ("n1", "n2", "n3"):
                cluster.add_node()
                cluster.remove_node(old)
                load.go_on()
        left = set(cluster.members)
        stored = asyncio.run(read_all(cluster.endpoints))

    assert left == {"n4", "n5", "n6"}
    assert_nothing_is_lost(load, stored)


def test_what_cannot_be_changed_is_refused(tmp_path: Path) -> None:
    """
    The last voter stays; a learner that nobody reaches is not promoted; a member at other
    addresses is a conflict; and the cluster serves on.
    """
    with LocalCluster.create(tmp_path / "c", nodes=1) as cluster:

        async def ask() -> None:
            async with raftstate.connect(cluster.endpoints, timeout=2.0) as store:
                with pytest.raises(RaftStateError, match="last voter"):
                    await store.remove_member("n1")
                await store.add_member(
                    "n9", raft_address="127.0.0.1:1", client_address="127.0.0.1:2"
                )
                with pytest.raises(NotCaughtUp):
                    await store.promote_member("n9")
                with pytest.raises(RaftStateError, match="remove it first"):
                    await store.add_member(
                        "n9", raft_address="127.0.0.1:3", client_address="127.0.0.1:4"
                    )
                await store.remove_member("n9")
                await store.remove_member("n9")  # as it was answered the first time
                assert [one.member_id for one in await store.members()] == ["n1"]
                await store.create_agent("a")

        asyncio.run(ask())
        with pytest.raises(LocalClusterError, match="n1 is a member"):
            cluster.add_node("n1")


def test_the_leadership_is_moved(cluster: LocalCluster) -> None:
    """
    To whom it is told, and back; writing goes on.
    """

    async def move() -> list[str]:
        async with raftstate.connect(cluster.endpoints, timeout=WITHIN_S) as store:
            first = cluster.leader() or ""
            other = next(name for name in cluster.members if name != first)
            moved = [await store.transfer_leadership(other)]
            await store.create_agent(f"moved/{time.monotonic_ns()}")
            moved.append(await store.transfer_leadership(first))
            moved.append(await store.transfer_leadership())
            return [other, first, *moved]

    other, first, *moved = asyncio.run(move())
    cluster.wait_serving()

    assert moved[:2] == [other, first]
    assert moved[2] in set(cluster.members) - {first}


@pytest.mark.slow
def test_nodes_come_and_go_by_command(tmp_path: Path) -> None:
    """
    `cluster add` and `cluster remove` do all the steps, each a process of its own.
    """
    folder = tmp_path / "c"
    with LocalCluster.create(folder) as cluster:
        added = run(folder, "add")
        learner = run(folder, "add", "--learner")
        table = run(folder, "status")
        again = run(folder, "add", "n4")
        removed = run(folder, "remove", "n1")
        unknown = run(folder, "remove", "n1")
        members = asyncio.run(members_of(cluster.endpoints))
        LocalCluster.attach(folder).stop()

    assert (added.returncode, added.stdout) == (0, "n4: is a member, and votes\n"), added.stderr
    assert (learner.returncode, "does not vote" in learner.stdout) == (0, True)
    assert (table.returncode, "learner" in table.stdout) == (0, True)
    assert (again.returncode, "n4 is a member" in again.stderr) == (1, True)
    assert (removed.returncode, removed.stderr) == (0, "")
    assert unknown.returncode == 2
    assert [(one.member_id, one.learner) for one in members] == [
        ("n2", False),
        ("n3", False),
        ("n4", False),
        ("n5", True),
    ]
