"""What Prometheus finds on the metrics port."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from contextlib import suppress

import pytest

from raftstate.core.ports import NodeStatus, PeerStatus
from raftstate.core.types import Index, MemberId, Revision, Term
from raftstate.localcluster import free_ports
from raftstate.metrics import Certificates, Listen, Metrics
from raftstate.v1.membership_pb2 import Configuration

STATUS = NodeStatus(
    member_id=MemberId("n1"),
    cluster_id="c1",
    cluster_epoch=7,
    role="leader",
    leader=MemberId("n1"),
    term=Term(3),
    commit_index=Index(20),
    applied_index=Index(19),
    revision=Revision(100),
    first_index=Index(11),
    last_index=Index(20),
    log_bytes=1_000,
    state_bytes=2_000,
    state_hash=b"",
    ready=True,
    peers=(
        PeerStatus(MemberId("n2"), True, Index(20)),
        PeerStatus(MemberId("n3"), False, Index(5)),
    ),
    configuration=Configuration(),
    quarantined=False,
    alarms=(("PEER_REFUSED", "n3: another cluster"), ("PEER_REFUSED", "n4: stranger")),
    snapshots_taken=2,
    snapshots_installed=1,
    elections_started=4,
)


def test_a_scrape_tells_the_status_and_the_calls() -> None:
    """
    Everything that the status says, and every call by method and code.
    """
    metrics = Metrics(lambda: STATUS, lambda: {"garbage": 5}, watches=lambda: (3, 4096))
    metrics.observe("/s/M", "OK", 0.003)
    metrics.observe("/s/M", "OK", 0.1)
    metrics.observe("/s/M", "ABORTED", 0.003)
    (port,) = free_ports(1)
    close = metrics.serve(Listen("127.0.0.1", port), None)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = set(answer.read().decode().splitlines())
    finally:
        close()

    assert lines >= {
        'raftstate_member_info{cluster_epoch="7",cluster_id="c1",member_id="n1"} 1.0',
        'raftstate_role{role="leader"} 1.0',
        'raftstate_role{role="follower"} 0.0',
        "raftstate_term 3.0",
        "raftstate_commit_index 20.0",
        "raftstate_applied_index 19.0",
        "raftstate_revision 100.0",
        "raftstate_log_entries 10.0",
        "raftstate_log_bytes 1000.0",
        "raftstate_snapshots_taken_total 2.0",
        "raftstate_snapshots_installed_total 1.0",
        "raftstate_elections_started_total 4.0",
        "raftstate_peers_connected 1.0",
        "raftstate_watches 3.0",
        "raftstate_watch_waiting_bytes 4096.0",
        'raftstate_peer_connected{peer="n3"} 0.0',
        'raftstate_alarm{name="PEER_REFUSED"} 1.0',
        'raftstate_raft_connections_refused_total{reason="garbage"} 5.0',
        'raftstate_rpc_calls_total{code="OK",method="/s/M"} 2.0',
        'raftstate_rpc_calls_total{code="ABORTED",method="/s/M"} 1.0',
        'raftstate_rpc_seconds_bucket{code="OK",le="0.004",method="/s/M"} 1.0',
        'raftstate_rpc_seconds_count{code="OK",method="/s/M"} 2.0',
    }


def test_the_port_is_given_back_and_can_be_taken_only_once() -> None:
    """
    Closing frees the port; a second exporter on it is an error meanwhile.
    """
    metrics = Metrics(lambda: STATUS, dict)
    (port,) = free_ports(1)
    close = metrics.serve(Listen("127.0.0.1", port), None)
    with pytest.raises(OSError, match="in use"):
        metrics.serve(Listen("127.0.0.1", port), None)
    close()
    metrics.serve(Listen("127.0.0.1", port), None)()


# --- connections that say nothing ----------------------------------------------------

SECONDS = 5.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One certificate that signs itself, for both sides."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes the certificates")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", *curve, *name, "-keyout", key, "-out", cert]
    subprocess.run(command, capture_output=True, check=True)
    return Certificates(cert, key, cert)


def scraped(port: int, tls: Certificates | None) -> str:
    """One scrape, within seconds."""
    context = None
    if tls:
        context = ssl.create_default_context(cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
    address = f"{'https' if tls else 'http'}://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(address, timeout=SECONDS, context=context) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("secured", [True, False], ids=["tls", "plain"])
def test_who_connects_and_says_nothing_holds_up_nobody(
    secured: bool, request: pytest.FixtureRequest
) -> None:
    """
    Others are answered meanwhile, and the port can be closed.
    """
    tls = request.getfixturevalue("certificates") if secured else None
    (port,) = free_ports(1)
    close = Metrics(lambda: STATUS, dict).serve(Listen("127.0.0.1", port), tls)
    closer = threading.Thread(target=close, daemon=True)
    silent = socket.create_connection(("127.0.0.1", port))
    try:
        text = scraped(port, tls)
    finally:
        closer.start()
        closer.join(SECONDS)
        stuck = closer.is_alive()
        silent.close()  # which frees who waits for it

    assert "raftstate_term 3.0" in text
    assert not stuck


@pytest.mark.parametrize("secured", [True, False], ids=["tls", "plain"])
def test_who_says_nothing_for_long_is_sent_away(
    secured: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """
    After a while, without a word on standard error; so is one that speaks no TLS.
    """
    monkeypatch.setattr("raftstate.metrics._Scrape.timeout", 0.2)
    tls = request.getfixturevalue("certificates") if secured else None
    (port,) = free_ports(1)
    close = Metrics(lambda: STATUS, dict).serve(Listen("127.0.0.1", port), tls)
    try:
        for words in (b"", b"GET /metrics"):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as stream:
                stream.sendall(words)
                with suppress(ConnectionResetError):
                    while stream.recv(1_000):
                        pass
    finally:
        close()

    assert capfd.readouterr().err == ""
