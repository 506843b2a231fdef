"""`raftstate serve` as a process: how it begins, what it says, how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from raftstate.config import (
    ApiConfig,
    ClusterConfig,
    Config,
    MemberConfig,
    MetricsConfig,
    NodeConfig,
    RaftConfig,
    TlsConfig,
    render,
)
from raftstate.localcluster import free_ports
from raftstate.v1.agent_service_pb2 import CreateAgentRequest, GetAgentRequest
from raftstate.v1.agent_service_pb2_grpc import AgentServiceStub
from raftstate.v1.cluster_service_pb2 import ROLE_FOLLOWER, StatusRequest
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceStub
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.session_service_pb2 import KeepAliveRequest, OpenSessionRequest
from raftstate.v1.session_service_pb2_grpc import SessionServiceStub
from raftstate.v1.watch_service_pb2 import Selector, WatchRequest
from raftstate.v1.watch_service_pb2_grpc import WatchServiceStub

READY_S = 20.0
# A node that is not up yet is asked again soon.
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]


def alone(folder: Path) -> Config:
    """The configuration of a cluster of one."""
    api, raft, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    return Config(
        cluster=ClusterConfig("c1"),
        members=(MemberConfig("n1", raft, api),),
        node=NodeConfig("n1", str(folder / "data")),
        api=ApiConfig(),
        raft=RaftConfig(
            heartbeat_ms=20, election_timeout_min_ms=100, election_timeout_max_ms=150
        ),
        metrics=MetricsConfig(metrics),
    )


def command(folder: Path, config: Config, *flags: str) -> list[str]:
    path = folder / "node.toml"
    path.write_text(render(config))
    return [sys.executable, "-m", "raftstate", "serve", "--config", str(path), *flags]


def run(folder: Path, config: Config, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a node that is expected to end by itself."""
    return subprocess.run(
        command(folder, config, *flags),
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )


@contextmanager
def serving(folder: Path, config: Config) -> Iterator[subprocess.Popen[str]]:
    """A node that serves; killed at the end if it still runs."""
    process = subprocess.Popen(command(folder, config), stderr=subprocess.PIPE, text=True)
    try:
        with grpc.insecure_channel(config.members[0].api, OPTIONS) as channel:
            wait_healthy(channel, process)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Kill the process if it still runs, and leave nothing of it open."""
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def wait_healthy(channel: Any, process: subprocess.Popen[str]) -> None:
    """Wait until the node may be written to."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="raftstate.write")
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = stub.Check(request, timeout=1, wait_for_ready=True)
        except grpc.RpcError:
            continue
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
        time.sleep(0.02)
    process.kill()
    assert process.stderr is not None
    pytest.fail(f"the node does not serve: {process.stderr.read()}")


def create_agent(channel: Any, agent_id: str) -> None:
    opened = SessionServiceStub(channel).OpenSession(OpenSessionRequest(session_id="s1"))
    request_id = RequestId(
        session_id="s1",
        sequence=1,
        lowest_unfinished=1,
        opened_revision=opened.session.opened_revision,
    )
    request = CreateAgentRequest(request_id=request_id, agent_id=agent_id)
    AgentServiceStub(channel).CreateAgent(request)


def test_a_node_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """
    SIGTERM ends it in order, with an open stream: status 0, one JSON object a line, and
    everything acknowledged is there after the next start.
    """
    config = alone(tmp_path)
    with (
        serving(tmp_path, config) as process,
        grpc.insecure_channel(config.members[0].api) as c,
    ):
        create_agent(c, "a")
        stream = SessionServiceStub(c).KeepAlive(iter([KeepAliveRequest(session_id="s1")]))
        next(stream)
        watch = WatchServiceStub(c).Watch(WatchRequest(selector=Selector()))
        next(watch)
        with urllib.request.urlopen(
            f"http://{config.metrics.listen}/metrics", timeout=5
        ) as page:
            shown = page.read()
        assert b"raftstate_revision 2.0" in shown
        assert b"raftstate_watches 1.0" in shown
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=READY_S)
    assert process.returncode == 0
    events = [json.loads(line) for line in said.splitlines()]
    assert [one["event"] for one in events if one["logger"] == "raftstate.server"] == [
        "data folder opened",
        "serving",
        "stopping",
        "stopped",
    ]
    assert all(one["node"] == "n1" and one["ts"] and one["level"] for one in events)

    with serving(tmp_path, config), grpc.insecure_channel(config.members[0].api) as channel:
        found = AgentServiceStub(channel).GetAgent(GetAgentRequest(agent_id="a"))
        assert found.agent.agent_id == "a"


def test_a_node_that_is_killed_comes_back_with_everything(tmp_path: Path) -> None:
    """
    SIGKILL, and the next start answers a linearizable read with what was acknowledged.
    """
    config = alone(tmp_path)
    with (
        serving(tmp_path, config) as process,
        grpc.insecure_channel(config.members[0].api) as c,
    ):
        create_agent(c, "a")
        process.kill()
        process.wait()

    with serving(tmp_path, config), grpc.insecure_channel(config.members[0].api) as channel:
        found = AgentServiceStub(channel).GetAgent(GetAgentRequest(agent_id="a"))
        assert found.agent.agent_id == "a"


def test_a_node_that_joins_waits_to_be_added(tmp_path: Path) -> None:
    """
    It runs, says how it is, serves nobody, and never takes an office that nobody gave it.
    """
    config = alone(tmp_path)
    config = replace(config, cluster=replace(config.cluster, join=True))
    process = subprocess.Popen(command(tmp_path, config), stderr=subprocess.PIPE, text=True)
    try:
        with grpc.insecure_channel(config.members[0].api, OPTIONS) as channel:
            stub: Any = ClusterServiceStub(channel)
            stub.Status(StatusRequest(), timeout=READY_S, wait_for_ready=True)
            time.sleep(0.5)  # several election timeouts, in which nothing happens
            status = stub.Status(StatusRequest(), timeout=READY_S)
            health: Any = health_pb2_grpc.HealthStub(channel)
            said = health.Check(health_pb2.HealthCheckRequest(), timeout=READY_S)
    finally:
        end(process)

    assert (status.role, status.leader_id, status.elections_started) == (ROLE_FOLLOWER, "", 0)
    assert status.state_found == "made anew"
    assert [one.member_id for one in status.members] == ["n1"]
    assert said.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_second_node_on_the_same_ports(tmp_path: Path) -> None:
    """
    One line names the address, status 1, and the first node goes on.
    """
    config = alone(tmp_path)
    with serving(tmp_path, config), grpc.insecure_channel(config.members[0].api) as channel:
        ended = run(tmp_path, config)
        address = config.members[0].api
        line = f"raftstate: cannot start: address {address} is already in use\n"
        assert (ended.returncode, ended.stderr) == (1, line)
        (api,) = free_ports(1)
        ended = run(tmp_path, config, "--api-listen", f"127.0.0.1:{api}")
        assert ended.returncode == 1
        assert ended.stderr.endswith(f"address {config.members[0].raft} is already in use\n")
        create_agent(channel, "a")


def test_a_data_folder_that_is_in_use_or_another_s(tmp_path: Path) -> None:
    """
    The folder of a running node, of another member, of another cluster: status 1, a line
    that says which, and nothing lost.
    """
    config = alone(tmp_path)
    other = replace(alone(tmp_path), node=config.node)
    with serving(tmp_path, config), grpc.insecure_channel(config.members[0].api) as channel:
        create_agent(channel, "a")
        ended = run(tmp_path, other)
        assert ended.returncode == 1
        assert str(tmp_path / "data") in ended.stderr.splitlines()[-1]

    stranger = replace(other, cluster=ClusterConfig("c2"))
    ended = run(tmp_path, stranger)
    assert ended.returncode == 1
    assert "c1" in ended.stderr
    assert "c2" in ended.stderr
    twin = replace(
        other,
        members=(replace(other.members[0], id="n2"),),
        node=replace(other.node, id="n2"),
    )
    ended = run(tmp_path, twin)
    assert ended.returncode == 1
    assert "n1" in ended.stderr
    assert "n2" in ended.stderr

    with serving(tmp_path, config), grpc.insecure_channel(config.members[0].api) as channel:
        AgentServiceStub(channel).GetAgent(GetAgentRequest(agent_id="a"))


def test_a_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    """
    Status 2 and one line, for an unreadable file, an unknown key and an open address.
    """
    config = alone(tmp_path)
    for flags, expected in (
        (("--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
        (("--api-listen", "0.0.0.0:1"), "api.listen: 0.0.0.0:1 is not a loopback address"),
    ):
        ended = run(tmp_path, config, *flags)
        assert ended.returncode == 2
        assert expected in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    path = tmp_path / "node.toml"
    path.write_text(path.read_text() + "[api2]\n")
    ended = subprocess.run(
        [sys.executable, "-m", "raftstate", "serve", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (2, f"raftstate: {path}: unknown key [api2]\n")


def test_a_crash_stop(tmp_path: Path) -> None:
    """
    An error of the raft thread ends the process with status 4, and the log says why.
    """
    config = alone(tmp_path)
    path = tmp_path / "node.toml"
    path.write_text(render(config))
    script = (
        "import pathlib, sys\n"
        "from raftstate import config, server\n"
        "server.configure_logging(config.load(pathlib.Path(sys.argv[1]), environment={}))\n"
        "server.crash_stop(RuntimeError('entry 17 cannot be applied'))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 4
    (event,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (event["level"], event["event"]) == ("critical", "crash-stop")
    assert "entry 17 cannot be applied" in event["exception"]


# --- certificates --------------------------------------------------------------------


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of it for the member `n1`."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "rsa:2048", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca", "-subj", "/CN=ca")
    openssl(folder, "req", *key, "-keyout", "key", "-out", "request", "-subj", "/CN=n1")
    (folder / "extensions").write_text("subjectAltName=DNS:n1,DNS:localhost,IP:127.0.0.1")
    openssl(
        folder,
        *("x509", "-req", "-in", "request", "-CA", "ca", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-extfile", "extensions", "-out", "cert"),
    )
    return folder


def test_mutual_tls(tmp_path: Path, certificates: Path) -> None:
    """
    With [tls] a caller needs a certificate: without one, or in the clear, it gets nothing.
    """
    files = TlsConfig(*(str(certificates / name) for name in ("cert", "key", "ca")))
    config = replace(alone(tmp_path), tls=files)
    process = subprocess.Popen(command(tmp_path, config), stderr=subprocess.PIPE, text=True)
    address = config.members[0].api
    ca, cert, key = ((certificates / name).read_bytes() for name in ("ca", "cert", "key"))
    try:
        known = grpc.ssl_channel_credentials(ca, key, cert)
        with grpc.secure_channel(address, known, OPTIONS) as channel:
            wait_healthy(channel, process)
            create_agent(channel, "a")
        for stranger in (
            grpc.secure_channel(address, grpc.ssl_channel_credentials(ca)),
            grpc.insecure_channel(address),
        ):
            with stranger as channel, pytest.raises(grpc.RpcError) as caught:
                AgentServiceStub(channel).GetAgent(GetAgentRequest(agent_id="a"), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=READY_S)
        assert process.returncode == 0
    finally:
        end(process)
