"""A local cluster keeps its promises: it starts, is harmed, comes back, leaves nothing.

Real nodes, real disks, real signals. One cluster serves several tests; those that need a
cluster in a state of its own make one.
"""

import asyncio
import secrets
import socket
from pathlib import Path

import pytest

import raftstate
from raftstate import localcluster
from raftstate.client import probe
from raftstate.localcluster import LocalCluster, LocalClusterError
from tests.cluster.neighbours import neighbour
from tests.rpc.test_server import GARBAGE as HTTP_GARBAGE
from tests.rpc.test_server import PREFACE

STEPS = 30
GARBAGE = {
    **{("api", name): sent for name, sent in HTTP_GARBAGE.items()},
    ("raft", "half a frame"): (100).to_bytes(4, "big") + b"half",
    ("raft", "a huge length"): b"\xff" * 8,
    **{(port, "bytes"): secrets.token_bytes(4_096) for port in ("api", "raft")},
    **{(port, "nothing"): b"" for port in ("api", "raft")},
}
SETTINGS_FRAME = 4


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def processes_of(folder: Path) -> list[str]:
    """Command lines of all processes that mention a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if str(folder) in line:
            found.append(line)
    return found


async def write_steps(endpoints: str, agent_id: str, first: int, count: int) -> list[int]:
    """Commit numbered steps; the answer is what was acknowledged."""
    acknowledged = []
    async with (
        raftstate.connect(endpoints, timeout=20.0) as store,
        store.own(agent_id, wait=True) as agent,
    ):
        for number in range(first, first + count):
            async with agent.step() as step:
                step.event("counted", number)
            acknowledged.append(number)
    return acknowledged


async def read_steps(endpoints: str, agent_id: str) -> list[int]:
    async with raftstate.connect(endpoints, timeout=20.0) as store:
        return [raftstate.decode(event) async for event in store.read_events(agent_id)]


def test_starting_serves_and_stopping_leaves_nothing(tmp_path: Path) -> None:
    """
    After `start` every node serves and one leads; after `stop` there is no process and
    no pid file, and starting again finds what was written.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    cluster.start()
    try:
        leader = cluster.leader()
        served = [probe.healthy(member.api) for member in cluster.members.values()]
        written = asyncio.run(write_steps(cluster.endpoints, "a", 1, STEPS))
        cluster.stop()
        left = processes_of(tmp_path)
        pid_files = list(tmp_path.rglob("pid"))
        cluster.start()
        found = asyncio.run(read_steps(cluster.endpoints, "a"))
    finally:
        cluster.stop()

    assert leader in cluster.members
    assert served == [True, True, True]
    assert left == []
    assert pid_files == []
    assert found == written


def test_a_killed_leader_is_replaced_and_comes_back(cluster: LocalCluster) -> None:
    """
    SIGKILL takes the leader away at once, another one leads, and the old one, started
    again with the same data, serves.
    """
    old = cluster.wait_leader()
    killed = cluster.kill(old)
    state = cluster.state(old)
    new = cluster.wait_leader(not_=old)
    pid = cluster.restart(old)

    assert (killed.node, killed.signal, killed.returncode) == (old, "SIGKILL", -9)
    assert state == "stopped"
    assert new != old
    assert pid == cluster.pid(old) != killed.pid
    assert all(report.status and report.status.ready for report in cluster.status())


def test_a_paused_leader_is_replaced_and_follows_when_resumed(cluster: LocalCluster) -> None:
    """
    A paused leader keeps its process and loses its office; resumed, it accepts that.
    """
    old = cluster.wait_leader()
    cluster.pause(old)
    try:
        state = cluster.state(old)
        new = cluster.wait_leader(not_=old)
    finally:
        cluster.resume(old)
    cluster.wait_serving()

    assert state == "paused"
    assert new != old
    assert cluster.state(old) == "running"
    assert cluster.leader() in cluster.members


def test_another_process_can_attach(cluster: LocalCluster) -> None:
    """
    What one object started, another finds by the folder, and can signal.
    """
    other = LocalCluster.attach(cluster.folder)
    follower = next(name for name in cluster.members if name != cluster.wait_leader())
    killed = other.kill(follower)

    assert other.endpoints == cluster.endpoints
    assert killed.returncode is None  # no child of `other`
    assert cluster.state(follower) == "stopped"
    cluster.start_node(follower)
    assert other.pid(follower) == cluster.pid(follower) is not None


@pytest.mark.parametrize(("port", "garbage"), GARBAGE)
def test_garbage_on_a_port_leaves_the_node_alive(
    cluster: LocalCluster, port: str, garbage: str
) -> None:
    """
    Whatever a stranger sends to the raft or the API port, the node goes on serving, in
    the same process, under the same leader and term.

    Method: what begins as HTTP/2 is held open until the server has answered in HTTP/2, so
    that it is known to have come that far.
    """
    before = cluster.wait_leader()
    pid = cluster.pid(before)
    sent = GARBAGE[port, garbage]
    for _ in range(5):
        with socket.create_connection(
            address(getattr(cluster.members[before], port)), 5
        ) as one:
            one.sendall(sent)
            if sent.startswith(PREFACE):
                head = one.recv(9, socket.MSG_WAITALL)
                assert head[3] == SETTINGS_FRAME

    written = asyncio.run(
        write_steps(cluster.endpoints, f"{port}-{secrets.token_hex(4)}", 1, 3)
    )

    assert written == [1, 2, 3]
    assert cluster.pid(before) == pid
    assert cluster.leader() == before


@pytest.mark.slow
def test_every_node_killed_at_once_keeps_every_acknowledged_step(tmp_path: Path) -> None:
    """
    Twice, all nodes are killed together right after an acknowledged step; each time
    every acknowledged step is there, once, in order.
    """
    acknowledged: list[int] = []
    with LocalCluster.create(
        tmp_path / "c", overrides={"snapshot": {"log_entries": 40, "keep_entries": 5}}
    ) as cluster:
        for _ in range(2):
            first = len(acknowledged) + 1
            acknowledged += asyncio.run(write_steps(cluster.endpoints, "a", first, STEPS))
            killed = [cluster.kill(name) for name in cluster.members]
            assert [one.returncode for one in killed] == [-9, -9, -9]
            cluster.start()
            assert asyncio.run(read_steps(cluster.endpoints, "a")) == acknowledged


@pytest.mark.parametrize("port", ["api", "raft", "metrics"])
def test_a_port_in_use_is_named_with_its_member(tmp_path: Path, port: str) -> None:
    """
    A cluster that cannot have one of its ports says which and whose it is, and nothing of
    it runs.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    taken = getattr(cluster.members["n2"], port)
    with socket.create_server(address(taken)):
        with pytest.raises(LocalClusterError) as whole:
            cluster.start()
        with pytest.raises(LocalClusterError) as single:
            cluster.start_node("n2")

    expected = f"n2 cannot listen on {taken} (its {port} port): Address already in use"
    assert str(whole.value) == str(single.value) == expected
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_a_cluster_beside_another_on_its_ports_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The answers of another cluster are never taken for one's own: neither when its ports
    are seen to be taken, nor when they are taken just after one has looked, nor when
    one's own processes live and listen elsewhere.
    """
    with neighbour(tmp_path / "c1") as (other, port):
        second = LocalCluster.create(tmp_path / "c2", base_port=port)
        with pytest.raises(LocalClusterError) as taken:
            second.start()
        with pytest.raises(LocalClusterError, match=f"n2 cannot listen .*:{port + 1} "):
            second.start_node("n2")

        nowhere = {one: {"listen": "127.0.0.1:0"} for one in ("api", "raft", "metrics")}
        third = LocalCluster.create(tmp_path / "c3", 1, port, overrides=nowhere)
        try:
            with pytest.raises(LocalClusterError, match="n1 did not serve within 4 s"):
                third.start(timeout=4)
            monkeypatch.setattr(localcluster, "check_free", lambda _: None)
            with pytest.raises(LocalClusterError, match="ended with exit status 1 while"):
                second.start()
            left = [processes_of(one.folder) for one in (second, third)]
        finally:
            second.stop()
            third.stop()
        assert other.leader() in other.members

    assert str(taken.value).count("cannot listen") == 9
    assert left == [[], []]


def test_another_that_answers_is_not_shown_as_a_member(tmp_path: Path) -> None:
    """
    While another cluster answers at a member's address, the member is silent.
    """
    with neighbour(tmp_path / "c1") as (other, port):
        nowhere = {one: {"listen": "127.0.0.1:0"} for one in ("api", "raft", "metrics")}
        second = LocalCluster.create(tmp_path / "c2", 1, port, overrides=nowhere)
        second.start_node("n1", wait=False)
        try:
            (report,) = second.status()
            answered = probe.status(report.member.api)
        finally:
            second.stop()

    assert answered is not None
    assert answered.header.cluster_id == other.cluster_id
    assert (report.state, report.status) == ("running", None)


def test_a_node_gets_no_variables_that_were_not_meant_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A node of a local cluster starts whatever is set here: none of it reaches its process.
    """
    monkeypatch.setenv("RAFTSTATE_RAFFT_HEARTBEAT_MS", "60")
    monkeypatch.setenv("RAFTSTATE_API_LISTEN", "127.0.0.1:1")
    with LocalCluster.create(tmp_path / "c", nodes=1) as cluster:
        environment = Path(f"/proc/{cluster.pid('n1')}/environ").read_bytes()

    assert environment
    assert b"RAFTSTATE_" not in environment


def test_a_data_folder_of_another_is_refused(tmp_path: Path) -> None:
    """
    A node does not start on data of another member or of another cluster; it says whose
    it is, and the data is as it was.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    with cluster:
        asyncio.run(write_steps(cluster.endpoints, "a", 1, 3))
    config = tmp_path / "c" / "n2" / "node.toml"
    original = config.read_text()
    own, others = (str(cluster.data_dir(name)) for name in ("n2", "n1"))
    refused = []
    for wrong in (
        original.replace(own, others),
        original.replace(f'"{cluster.cluster_id}"', '"elsewhere"'),
    ):
        config.write_text(wrong)
        with pytest.raises(LocalClusterError, match="n2 ended with exit status 1") as caught:
            cluster.start_node("n2")
        refused.append(str(caught.value))
    config.write_text(original)
    with cluster:
        kept = asyncio.run(read_steps(cluster.endpoints, "a"))

    owners = ("n1", cluster.cluster_id)
    assert [owner in text for owner, text in zip(owners, refused, strict=True)] == [True, True]
    assert kept == [1, 2, 3]


def test_an_unreadable_configuration_is_told(tmp_path: Path) -> None:
    """
    A node whose configuration is damaged ends with the status for that, naming the file.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    config = tmp_path / "c" / "n1" / "node.toml"
    config.write_text("[cluster\n")

    with pytest.raises(LocalClusterError) as caught:
        cluster.start_node("n1")

    assert "n1 ended with exit status 2" in str(caught.value)
    assert str(config) in str(caught.value)
    assert processes_of(tmp_path) == []


def test_a_pid_file_of_a_past_process_hits_nobody(tmp_path: Path) -> None:
    """
    A pid file that outlived its process, whose number is now somebody else's, names no
    process: it is neither signalled nor taken for a running node.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    (tmp_path / "c" / "n1" / "pid").write_text("1 1\n")

    assert cluster.state("n1") == "stopped"
    assert cluster.pid("n1") is None
    with pytest.raises(LocalClusterError, match="n1 does not run"):
        cluster.kill("n1")
