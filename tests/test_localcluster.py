"""What a local cluster decides without a process: layout, ports, files, what it shows."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from raftstate import config as configuration
from raftstate import localcluster
from raftstate.cluster_cli import cluster as commands
from raftstate.localcluster import LocalCluster, LocalClusterError, Member, NodeReport
from raftstate.v1.cluster_service_pb2 import ROLE_FOLLOWER, ROLE_LEADER, Role, StatusResponse


def report(name: str, role: Role, term: int, ready: bool = True) -> NodeReport:
    status = StatusResponse(role=role, ready=ready)
    status.header.term = term
    return NodeReport(Member(name, "a:1", "r:1", "m:1"), 1, "running", status)


def test_a_new_cluster_is_laid_out_as_told(tmp_path: Path) -> None:
    """
    Each node gets a folder and a configuration that loads: its own id and data folder,
    the same members, and the overrides.
    """
    cluster = LocalCluster.create(
        tmp_path / "c", nodes=5, base_port=7411, overrides={"snapshot": {"log_entries": 200}}
    )
    configs = [
        configuration.load(tmp_path / "c" / name / "node.toml", environment={})
        for name in cluster.members
    ]

    assert [one.node.id for one in configs] == ["n1", "n2", "n3", "n4", "n5"]
    assert len({one.node.data_dir for one in configs}) == 5
    assert {one.members for one in configs} == {configs[0].members}
    assert {one.snapshot.log_entries for one in configs} == {200}
    assert configs[1].self_member.api == "127.0.0.1:7412"
    assert configs[1].self_member.raft == "127.0.0.1:7422"
    assert str(configs[1].metrics_listen) == "127.0.0.1:7432"
    assert cluster.endpoints.split(",")[0] == "127.0.0.1:7411"


def test_attaching_finds_what_was_made(tmp_path: Path) -> None:
    """
    `attach` reads the same members back; a second `create` on the folder is refused.
    """
    made = LocalCluster.create(tmp_path / "c")
    found = LocalCluster.attach(tmp_path / "c")

    assert found.members == made.members
    assert [found.state(name) for name in found.members] == ["stopped"] * 3
    with pytest.raises(LocalClusterError, match="already holds a cluster"):
        LocalCluster.create(tmp_path / "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no cluster"),
        ("{", "is damaged"),
        ('{"id": "x"}', "is damaged"),
        ('{"id": "x", "members": [{"id": "n1"}]}', "is damaged"),
    ],
)
def test_a_folder_without_a_usable_cluster_is_told(
    tmp_path: Path, content: str | None, message: str
) -> None:
    """
    A folder that holds no cluster, or a damaged description, is named in the error.
    """
    if content is not None:
        (tmp_path / "cluster.json").write_text(content)

    with pytest.raises(LocalClusterError, match=message) as caught:
        LocalCluster.attach(tmp_path)

    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"snapshot": {"log_entires": 1}},
        {"snapshots": {"log_entries": 1}},
        {"snapshot": {"log_entries": -1}},
    ],
)
def test_wrong_overrides_are_refused_before_a_node_sees_them(
    tmp_path: Path, overrides: dict[str, dict[str, int]]
) -> None:
    """
    An unknown section or key, or a value out of range, fails `create`.
    """
    with pytest.raises(LocalClusterError, match=r"(?i)snapshot"):
        LocalCluster.create(tmp_path / "c", overrides=overrides)

    assert not localcluster.exists(tmp_path / "c")


@pytest.mark.parametrize(("nodes", "port"), [(0, None), (10, None), (3, 65_530), (3, -1)])
def test_impossible_sizes_and_ports_are_refused(
    tmp_path: Path, nodes: int, port: int | None
) -> None:
    """
    Too few or too many nodes, or ports beyond the last, are refused with the limit.
    """
    with pytest.raises(LocalClusterError, match="1 to"):
        LocalCluster.create(tmp_path / "c", nodes=nodes, base_port=port)


def test_unknown_nodes_are_named_with_the_known_ones(tmp_path: Path) -> None:
    """
    Asking for a node that does not exist says which do.
    """
    cluster = LocalCluster.create(tmp_path / "c")

    with pytest.raises(LocalClusterError, match="no node 'n9'; there are n1, n2, n3"):
        cluster.pid("n9")


def test_free_ports_differ() -> None:
    """
    Ports are handed out once, below those that the system takes for itself.
    """
    ports = localcluster.free_ports(30)

    assert len(set(ports)) == 30
    assert all(port in range(12_000, 32_000) for port in ports)


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    """
    The last lines, whole, also of a file that is far longer; nothing of no file.
    """
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(20_000)))

    assert localcluster.tail(log, 2) == "line 19998\nline 19999"
    assert localcluster.tail(log, 0) == ""
    assert localcluster.tail(tmp_path / "none", 5) == ""


def test_the_leader_is_the_ready_one_of_the_highest_term() -> None:
    """
    A leader of the past that does not know it yet, or one that cannot serve yet, is none.
    """
    old, new = report("n1", ROLE_LEADER, 4), report("n2", ROLE_LEADER, 5)
    unready = report("n3", ROLE_LEADER, 6, ready=False)
    silent = NodeReport(Member("n4", "a:1", "r:1", "m:1"), None, "stopped", None)

    assert localcluster.leader_of([old, new, unready, silent]) == "n2"
    assert localcluster.leader_of([report("n1", ROLE_FOLLOWER, 9), unready, silent]) is None


def test_the_environment_of_a_node_holds_no_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What the file says is not overridden by variables that happen to be set here.
    """
    monkeypatch.setenv("RAFTSTATE_API_LISTEN", "127.0.0.1:1")

    assert not [name for name in localcluster._environment() if name.startswith("RAFTSTATE")]


def test_a_stopped_cluster_is_shown_as_such(tmp_path: Path) -> None:
    """
    `status` shows a cluster that does not run, in both forms, and is no failure.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    table = CliRunner().invoke(commands, ["status", "--dir", str(cluster.folder)])
    shown = CliRunner().invoke(commands, ["status", "--dir", str(cluster.folder), "-o", "json"])
    document = json.loads(shown.stdout)

    assert (table.exit_code, table.stdout.count("stopped")) == (0, 3)
    assert shown.exit_code == 0
    assert document["healthy"] is False
    assert document["leader"] is None
    assert [one["state"] for one in document["members"]] == ["stopped"] * 3
