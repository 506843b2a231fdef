"""A write that fails on a TLS link ends that link and nothing else."""

import socket
import struct
import time
from pathlib import Path

from raftstate.v1.peer_pb2 import Envelope, ReadProbe
from tests.consensus.test_transport import (  # noqa: F401  (authority is a fixture)
    A,
    B,
    authority,
    badge,
    certificate,
    free_port,
    secured,
    until,
)


def test_a_failed_write_on_a_tls_link_ends_the_link_and_nothing_else(
    authority: Path,  # noqa: F811
) -> None:
    """
    A peer is killed; what its leader writes next finds the connection reset. The error's
    traceback holds `SSLSocket.send`'s frame, and with it the view of `link.out`, which
    then cannot be cleared: BufferError, on the raft thread.
    """
    ports = free_port(), free_port()
    one = secured(badge(A), B, ports[0], ports[1], certificate(authority, "one", "a"))
    other = secured(badge(B), A, ports[1], ports[0], certificate(authority, "other", "b"))
    until(lambda: one.ear.up and other.transport._newest, one, other)
    for inbound in other.transport._inbound.values():
        reset = struct.pack("ii", 1, 0)
        inbound.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    other.transport.close()
    time.sleep(0.05)

    one.transport.send(B, Envelope(read_probe=ReadProbe(round=1)))
    one.transport.flush(time.monotonic())

    assert one.ear.down == [B]
    one.transport.close()
