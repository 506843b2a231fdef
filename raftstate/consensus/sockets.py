"""Sockets and handshakes that never block the raft thread."""

from __future__ import annotations

import re
import selectors
import socket
import ssl

ADDRESS_CHARS_MAX = 300
UNACKNOWLEDGED_MS_MAX = 3000
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):([0-9]{1,5})")


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` as a pair."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_address(text: str) -> bool:
    """Whether this can be dialled, as far as its form says."""
    found = _ADDRESS.fullmatch(text) if len(text) <= ADDRESS_CHARS_MAX else None
    return found is not None and 0 < int(found[1]) < 65_536


def listen(address: str) -> socket.socket:
    """A listener at `host:port`; raises OSError that names the address."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted member must not wait for its predecessor's closing connections.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{error.strerror}: raft address {address}") from None
    listener.setblocking(False)
    return listener


def dial(host: str, port: int) -> socket.socket:
    """A connection that is under way; the selector says when it is made."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    stream = socket.socket(family, socket.SOCK_STREAM)
    tune(stream)
    try:
        stream.connect((host, port))
    except BlockingIOError:
        pass  # under way; the selector says when it is done
    except OSError:
        stream.close()
        raise
    return stream


def tune(stream: socket.socket) -> None:
    """Send at once, never block, and give up on a host that has gone."""
    stream.setblocking(False)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A host that went away without a word must not hold a link for minutes.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)


def shake_hands(stream: ssl.SSLSocket) -> int:
    """Go on with a handshake: the events to wait for, or 0 when it is done."""
    try:
        stream.do_handshake()
    except ssl.SSLWantReadError:
        return selectors.EVENT_READ
    except ssl.SSLWantWriteError:
        return selectors.EVENT_WRITE
    return 0
