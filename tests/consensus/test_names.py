"""Host names are never resolved on the raft thread."""

import ipaddress
import socket
import time
from typing import Any

import pytest

from raftstate.consensus.transport import PeerTransport
from tests.consensus.test_transport import A, B, Ear, badge, free_port


def test_a_name_is_not_resolved_on_the_raft_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `connect` with a name asks the resolver first, and blocks for seconds where that does
    not answer (of a container that is gone, say): no heartbeat leaves meanwhile.
    """
    asked: list[str] = []
    connect = socket.socket.connect

    def connecting(self: socket.socket, address: Any) -> None:
        asked.append(address[0])
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    made = PeerTransport(badge(A), "127.0.0.1:0", {B: f"localhost:{free_port()}"}, Ear())
    until = time.monotonic() + 1.0
    while time.monotonic() < until and not asked:
        made.poll(0.01, time.monotonic)
    made.close()
    for host in asked:
        ipaddress.ip_address(host)
