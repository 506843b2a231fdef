"""What a local cluster decides without a process: layout, ports, files, what it shows."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from raftstate import config as configuration
from raftstate import localcluster
from raftstate.client import probe
from raftstate.cluster_cli import cluster as commands
from raftstate.localcluster import (
    Launch,
    LocalCluster,
    LocalClusterError,
    Member,
    NodeReport,
    layout,
    ports,
    process,
)
from raftstate.v1.cluster_service_pb2 import ROLE_FOLLOWER, ROLE_LEADER, Role, StatusResponse

SCRIPTS = Path(__file__).parents[1] / "scripts"


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
    assert found.cluster_id == made.cluster_id
    assert [found.state(name) for name in found.members] == ["stopped"] * 3
    with pytest.raises(LocalClusterError, match="already holds a cluster"):
        LocalCluster.create(tmp_path / "c")


def test_each_cluster_has_an_id_of_its_own(tmp_path: Path) -> None:
    """
    An id is drawn for each folder, and every node is told it; a given one is taken.
    """
    drawn = [LocalCluster.create(tmp_path / name).cluster_id for name in "abc"]
    files = (tmp_path / "a").glob("n?/node.toml")
    told = {tomllib.loads(path.read_text())["cluster"]["id"] for path in files}
    given = LocalCluster.create(tmp_path / "d", cluster_id="mine")

    assert len(set(drawn)) == 3
    assert all(re.fullmatch("local-[0-9a-f]{8}", one) for one in drawn)
    assert told == {drawn[0]}
    assert given.cluster_id == "mine"


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


class Told(Exception):
    """What a handler of a signal raises in these tests."""


@pytest.fixture
def told() -> Iterator[None]:
    """A handler of SIGTERM that raises."""

    def handle(*_: object) -> None:
        raise Told

    before = signal.signal(signal.SIGTERM, handle)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("told")
def test_a_signal_finds_a_started_process_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Though it comes as soon as the process is there: its handler runs when it is known, so
    that it can be ended.
    """
    node = process.Node(tmp_path, Member("n1", "a:1", "a:2", "a:3"), Launch())
    start = subprocess.Popen

    def interrupted(*_args: Any, **options: Any) -> Any:
        code = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = start(code, **{**options, "env": None, "cwd": None})
        os.kill(os.getpid(), signal.SIGTERM)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(Told):
        node.spawn()

    assert node.state() == "running"
    process.end([node], 0.0)
    assert node.state() == "stopped"
    with pytest.raises(Told):  # as before
        os.kill(os.getpid(), signal.SIGTERM)


def test_each_process_hands_out_ports_of_its_own() -> None:
    """
    Though nobody listens on them: a node that is down will listen again. Not even those of
    a process that was forked from this one.
    """
    ours = {port for _ in range(20) for port in localcluster.free_ports(9)}
    code = "from raftstate.localcluster import free_ports; print(*free_ports(150))"
    for _ in range(3):
        told = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout
        assert ours.isdisjoint(map(int, told.split()))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert ours.isdisjoint(pool.apply(localcluster.free_ports, (150,)))


def test_ports_are_found_where_every_block_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Or where the system has no such names: then anywhere, and all the same free.
    """
    monkeypatch.setattr(ports, "_taken", lambda _: None)
    monkeypatch.setattr(ports, "_block", None)

    assert len(set(localcluster.free_ports(300))) == 300


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


@pytest.mark.parametrize(
    ("cluster_id", "member_id", "ready", "commit_index", "serves"),
    [
        ("mine", "n1", True, 1, True),
        ("other", "n1", True, 1, False),
        ("mine", "n2", True, 1, False),
        ("mine", "n1", False, 1, False),
        ("mine", "n1", True, 0, False),
    ],
    ids=["serves", "another cluster", "another member", "not ready", "nothing committed yet"],
)
def test_who_counts_as_serving(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster_id: str,
    member_id: str,
    ready: bool,
    commit_index: int,
    serves: bool,
) -> None:
    """
    Only this cluster's own member, ready, and able to elect another leader already.

    Method: wait for a cluster of one with a living process, and with these answers.
    """
    cluster = LocalCluster.create(tmp_path / "c", nodes=1, cluster_id="mine")
    answer = StatusResponse(role=ROLE_LEADER, ready=ready, commit_index=commit_index)
    answer.header.cluster_id, answer.header.member_id = cluster_id, member_id
    monkeypatch.setattr(process.Node, "state", lambda _: "running")
    monkeypatch.setattr(probe, "healthy", lambda _: True)
    monkeypatch.setattr(probe, "status", lambda *_: answer)

    if serves:
        cluster.wait_serving(timeout=0.1)
    else:
        with pytest.raises(LocalClusterError, match="n1 did not serve within"):
            cluster.wait_serving(timeout=0.1)


def test_the_environment_of_a_node_holds_no_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What the file says is not overridden by variables that happen to be set here, and
    none of them keeps the node from starting.
    """
    for name in ("RAFTSTATE_API_LISTEN", "RAFTSTATE_RAFFT_X", "RAFTSTATE_SEED", "RAFTSTATE_"):
        monkeypatch.setenv(name, "127.0.0.1:1")

    assert not [
        name for name in process.environment_of_a_node() if name.startswith("RAFTSTATE")
    ]


def test_each_node_may_dial_another_at_another_address(tmp_path: Path) -> None:
    """
    What `dial` says of a node stands in its configuration alone, beside what all are told
    of raft; a node that joins later goes its own ways.
    """
    cluster = LocalCluster.create(
        tmp_path / "c",
        overrides={"raft": {"heartbeat_ms": 40}},
        dial={"n1": {"n2": "127.0.0.1:9001", "n3": "127.0.0.1:9002"}},
    )
    configs = {
        name: configuration.load(tmp_path / "c" / name / "node.toml", environment={})
        for name in cluster.members
    }
    joining = tmp_path / "joining.toml"
    joining.write_text(
        layout.joining_toml(
            tmp_path / "c" / "n1" / "node.toml",
            layout.another("n4", cluster.members.values()),
            tmp_path / "data",
        )
    )

    assert configs["n1"].raft.dial == {"n2": "127.0.0.1:9001", "n3": "127.0.0.1:9002"}
    assert configs["n2"].raft.dial == configs["n3"].raft.dial == {}
    assert {one.raft.heartbeat_ms for one in configs.values()} == {40}
    assert configuration.load(joining, environment={}).raft.dial == {}


def test_nodes_are_launched_as_told(tmp_path: Path) -> None:
    """
    Another command is given the same configuration, and each node gets the variables that
    were meant for it; also by an object that attached.
    """
    code = "import os, sys; print(sys.argv[1:], os.environ.get('WHO'), flush=True)"
    environment = {"n1": {"WHO": "me"}, "n2": {"WHO": "you"}}
    launch = Launch((sys.executable, "-c", code), environment)
    LocalCluster.create(tmp_path / "c")
    cluster = LocalCluster.attach(tmp_path / "c", launch)
    for name, who in (("n1", "me"), ("n2", "you"), ("n3", "None")):
        cluster.start_node(name, wait=False)
        config = tmp_path / "c" / name / "node.toml"
        assert process.poll(lambda name=name: cluster.returncode(name) == 0, 10)  # type: ignore[misc]
        assert cluster.logs(name) == f"['--config', '{config}'] {who}"


def test_several_nodes_are_killed_at_once(tmp_path: Path) -> None:
    """
    All have their signal before the first is waited for; one that does not run is passed
    over, and an unknown one is an error.
    """
    code = "import time; time.sleep(60)"
    launch = Launch((sys.executable, "-c", code))
    cluster = LocalCluster.create(tmp_path / "c", launch=launch)
    for name in ("n1", "n3"):
        cluster.start_node(name, wait=False)
    with pytest.raises(LocalClusterError, match="no node 'n9'"):
        cluster.kill_all(["n1", "n9"])
    sent = cluster.kill_all(["n1", "n2", "n3"])

    assert [(one.node, one.returncode) for one in sent] == [("n1", -9), ("n3", -9)]
    assert sent[1].monotonic_s - sent[0].monotonic_s < 0.05
    assert [cluster.state(name) for name in cluster.members] == ["stopped"] * 3
    assert cluster.kill_all(["n1"]) == []


def test_a_stopped_cluster_is_shown_as_such(tmp_path: Path) -> None:
    """
    `status` shows a cluster that does not run, in both forms, and says by its exit
    status that it is not healthy.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    table = CliRunner().invoke(commands, ["status", "--dir", str(cluster.folder)])
    shown = CliRunner().invoke(commands, ["status", "--dir", str(cluster.folder), "-o", "json"])
    document = json.loads(shown.stdout)

    assert (table.exit_code, table.stdout.count("stopped")) == (1, 3)
    assert shown.exit_code == 1
    assert table.stderr == shown.stderr == ""
    assert document["healthy"] is False
    assert document["leader"] is None
    assert [one["state"] for one in document["members"]] == ["stopped"] * 3


HEALTHY = [
    report("n1", ROLE_LEADER, 5),
    report("n2", ROLE_FOLLOWER, 5),
    report("n3", ROLE_FOLLOWER, 5),
]


def alarmed() -> NodeReport:
    found = report("n3", ROLE_FOLLOWER, 5)
    assert found.status is not None
    found.status.alarms.add(name="SNAPSHOT_FAILED", message="no space")
    return found


@pytest.mark.parametrize(
    ("reports", "exit_status"),
    [
        (HEALTHY, 0),
        ([*HEALTHY[:2], NodeReport(HEALTHY[2].member, None, "stopped", None)], 1),
        ([*HEALTHY[:2], report("n3", ROLE_FOLLOWER, 5, ready=False)], 1),
        ([*HEALTHY[:2], alarmed()], 1),
        (HEALTHY[1:], 1),
    ],
    ids=["healthy", "one stopped", "one not ready", "an alarm", "no leader"],
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_status_fails_unless_the_cluster_is_healthy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reports: list[NodeReport],
    exit_status: int,
    output: str,
) -> None:
    """
    Exit status 0 only if one leads, all are ready, and there is no alarm; the same in
    both forms, and as the help says.
    """
    cluster = LocalCluster.create(tmp_path / "c")
    monkeypatch.setattr(LocalCluster, "status", lambda _: reports)

    shown = CliRunner().invoke(commands, ["status", "--dir", str(cluster.folder), "-o", output])
    told = CliRunner().invoke(commands, ["status", "--help"]).stdout

    assert shown.exit_code == exit_status
    assert "n3" in shown.stdout
    assert output == "table" or json.loads(shown.stdout)["healthy"] is (exit_status == 0)
    assert "exit status is 0 if the cluster is healthy" in " ".join(told.split())


def test_each_cluster_command_has_its_script() -> None:
    """
    scripts/cluster-X passes everything on to `raftstate cluster X`; no more, no fewer.
    """
    scripts = {path.name.removeprefix("cluster-"): path for path in SCRIPTS.glob("cluster-*")}

    assert isinstance(commands, click.Group)
    assert set(scripts) == set(commands.commands)
    for name, path in scripts.items():
        lines = path.read_text().splitlines()
        assert os.access(path, os.X_OK), path
        assert f"cluster-{name} [" in lines[1]
        assert lines[2:-1] == (SCRIPTS / "cluster-start").read_text().splitlines()[2:-1]
        assert lines[-1] == f'exec "$root/.venv/bin/raftstate" cluster {name} "$@"'


@pytest.mark.parametrize(
    ("module", "given", "expected"),
    [
        ("raftstate.cli", None, "ERROR"),
        ("raftstate.cli", "DEBUG", "DEBUG"),
        ("raftstate.examples.census.agent", None, "ERROR"),
        ("raftstate.examples.census.demo", None, "ERROR"),
        ("raftstate.client", None, "None"),
        ("raftstate.localcluster", None, "None"),
    ],
)
def test_programs_keep_grpc_quiet_and_libraries_do_not(
    module: str, given: str | None, expected: str
) -> None:
    """
    Programs tell grpc to say errors alone, before it is imported, unless they are told
    otherwise. The SDK, a guest in another's process, sets nothing.

    Method: note what the environment holds when grpc is first looked for, by the module or
    after it.
    """
    watcher = f"""
import importlib.abc, os, sys
class Watcher(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_VERBOSITY"))
            sys.meta_path.remove(self)
sys.meta_path.insert(0, Watcher())
import {module}
import grpc
"""
    environment = {key: text for key, text in os.environ.items() if key != "GRPC_VERBOSITY"}
    seen = subprocess.run(
        [sys.executable, "-c", watcher],
        env=environment | ({"GRPC_VERBOSITY": given} if given else {}),
        cwd=SCRIPTS.parent,
        capture_output=True,
        text=True,
        check=True,
    )

    assert seen.stdout == f"{expected}\n"
