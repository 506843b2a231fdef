"""`raftstate cluster`, as a shell sees it: what it prints, and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raftstate.localcluster import LocalCluster, exists
from tests.cluster.neighbours import neighbour


def run(folder: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one `raftstate cluster` command on a folder."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "raftstate",
            "cluster",
            command,
            "--dir",
            str(folder),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def status(folder: Path) -> dict[str, object]:
    shown = run(folder, "status", "-o", "json")
    document: dict[str, object] = json.loads(shown.stdout)
    assert shown.returncode == (0 if document["healthy"] else 1), shown.stderr
    assert shown.stderr == ""
    return document


def test_the_life_of_a_cluster_by_command(tmp_path: Path) -> None:
    """
    Start, start again, look, kill, restart, pause, resume, read a log, stop: each a
    process of its own, that finds the cluster by its folder.
    """
    folder = tmp_path / "c"
    try:
        started = run(folder, "start", "--nodes", "3", "--base-port", "0")
        again = run(folder, "start")
        healthy = status(folder)
        table = run(folder, "status")
        killed = run(folder, "kill", "n1")
        harmed = status(folder)
        restarted = run(folder, "restart", "n1")
        paused = run(folder, "pause", "n2")
        resumed = run(folder, "resume", "n2")
        log = run(folder, "logs", "n1", "-n", "5")
        stopped = run(folder, "stop")
        stopped_again = run(folder, "stop")
        after = status(folder)
    finally:
        LocalCluster.attach(folder).stop()

    assert (started.returncode, started.stderr) == (0, "")
    assert "started n1, n2, n3" in started.stdout
    assert again.returncode == 0
    assert "already runs" in again.stdout
    assert healthy["healthy"] is True
    assert healthy["leader"] in {"n1", "n2", "n3"}
    assert table.returncode == 0
    assert all(name in table.stdout for name in ("n1", "n2", "n3", "leader", "running"))
    assert "n1: sent SIGKILL" in killed.stdout
    assert harmed["healthy"] is False
    assert [done.returncode for done in (restarted, paused, resumed)] == [0, 0, 0]
    assert len(log.stdout.splitlines()) == 5
    assert (stopped.returncode, stopped_again.returncode) == (0, 0)
    assert after["leader"] is None
    assert after["healthy"] is False


def test_failures_are_told_in_the_exit_status(tmp_path: Path) -> None:
    """
    1 where there is no cluster or no process, 2 where the command line is wrong.
    """
    folder = tmp_path / "c"
    LocalCluster.create(folder)

    nowhere = run(tmp_path / "nowhere", "stop")
    not_running = run(folder, "kill", "n1")
    unknown = run(folder, "kill", "n9")
    other_size = run(folder, "start", "--nodes", "5")
    wrong_size = run(folder, "start", "--nodes", "4")

    assert (nowhere.returncode, "holds no cluster" in nowhere.stderr) == (1, True)
    assert (not_running.returncode, "n1 does not run" in not_running.stderr) == (1, True)
    assert (unknown.returncode, "there are n1, n2, n3" in unknown.stderr) == (2, True)
    assert (other_size.returncode, "holds a cluster of 3" in other_size.stderr) == (2, True)
    assert wrong_size.returncode == 2


@pytest.mark.slow
def test_starting_on_the_ports_of_another_cluster_fails(tmp_path: Path) -> None:
    """
    `start` on ports where another cluster serves says which and whose, makes nothing, and
    leaves that cluster alone; the same folder can then be started on other ports.
    """
    with neighbour(tmp_path / "c1") as (other, port):
        folder = tmp_path / "c2"
        refused = run(folder, "start", "--base-port", str(port))
        made = exists(folder)
        untouched = status(tmp_path / "c1")
        try:
            elsewhere = run(folder, "start", "--base-port", "0")
        finally:
            LocalCluster.attach(folder).stop()

        for name, member in other.members.items():
            for address in (member.api, member.raft, member.metrics):
                assert f"{name} cannot listen on {address}" in refused.stderr
    assert (refused.returncode, refused.stdout) == (1, "")
    assert not made
    assert untouched["healthy"] is True
    assert (elsewhere.returncode, elsewhere.stderr) == (0, "")
