"""A handshake that goes wrong ends its link and nothing else."""

import socket
import struct
import time
from pathlib import Path

import pytest

from raftstate.consensus.transport import PeerTransport
from tests.consensus.test_transport import (  # noqa: F401  (authority is a fixture)
    A,
    B,
    Ear,
    authority,
    badge,
    certificate,
)


# CPython leaves the socket that it could not wrap to the collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reset_right_after_the_connect_ends_the_link_and_not_the_process(
    authority: Path,  # noqa: F811
) -> None:
    """The peer resets the connection between the look at SO_ERROR and `wrap_socket`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tls = certificate(authority, "reset", "a")
        made = PeerTransport(badge(A), "127.0.0.1:0", {B: f"127.0.0.1:{port}"}, Ear(), tls)
        context = made._client_tls
        assert context is not None
        wrap = context.wrap_socket

        def resetting(stream: socket.socket, **options: object) -> object:
            accepted, _ = server.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
            time.sleep(0.05)
            return wrap(stream, **options)  # type: ignore[arg-type]

        class Context:
            wrap_socket = staticmethod(resetting)

        made._client_tls = Context()  # type: ignore[assignment]
        until = time.monotonic() + 1.0
        while time.monotonic() < until and not made._links[B].complaint:
            made.poll(0.01, time.monotonic)
        assert made._links[B].complaint
        made.close()


def test_a_handshake_that_is_never_answered_is_given_up(
    authority: Path,  # noqa: F811
) -> None:
    """
    The peer's kernel takes the connection and its process hangs; then its machine goes
    away without a word. Nothing is under way that TCP would miss an acknowledgement of.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tls = certificate(authority, "hung", "a")
        made = PeerTransport(badge(A), "127.0.0.1:0", {B: f"127.0.0.1:{port}"}, Ear(), tls)
        clock = [time.monotonic()]
        for _ in range(50):
            made.poll(0.01, lambda: clock[0])
        first = made._links[B].stream
        assert first is not None
        clock[0] += 3600.0
        for _ in range(50):
            made.poll(0.01, lambda: clock[0])
        try:
            assert made._links[B].stream is not first, "after an hour it still waits"
        finally:
            made.close()
