"""What a client is told once, when it connects."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from raftstate.client import registry
from raftstate.client.registry import Registry
from raftstate.errors import InvalidRequest

# Between attempts: jittered, growing, within these.
BACKOFF_MIN_S: Final = 0.005
BACKOFF_MAX_S: Final = 0.5
# What one SubmitRequest carries. The server takes 1,000 and 1.5 MiB.
BATCH_MUTATIONS: Final = 256
BATCH_BYTES: Final = 1 << 20
# What is in flight on a Submit stream at once: so much is in front of whoever comes next.
# With more nothing is faster.
FLYING_MUTATIONS: Final = 256
FLYING_BYTES: Final = 2 << 20
# What one ReadRequest carries. The server takes 1,000 and 1.5 MiB.
BATCH_QUERIES: Final = 500
# How long any one thing may hold up a clean shutdown.
CLOSE_S: Final = 1.0

_MESSAGE_BYTES = 16 << 20
_MILLISECONDS_MAX = (1 << 32) - 1
_CHANNEL: Final[tuple[tuple[str, int], ...]] = (
    # A peer whose kernel still answers but whose process does not: noticed in 3 s.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A member that restarts is back within half a second of listening again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    # This client retries by itself, under request ids.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM for mutual TLS: who signs the members, and who we are.

    >>> tls = raftstate.Tls(ca="ca.pem", cert="agents.pem", key="agents.key")
    >>> over_tls = raftstate.connect("store-1:7411,store-2:7411", tls=tls)
    """

    ca: str | Path
    cert: str | Path
    key: str | Path

    def credentials(self) -> Any:
        """The channel credentials. Raises OSError if a file cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=Path(self.ca).read_bytes(),
            private_key=Path(self.key).read_bytes(),
            certificate_chain=Path(self.cert).read_bytes(),
        )


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that `connect` takes, checked. Times are in seconds."""

    endpoints: tuple[str, ...]
    timeout: float = 10.0
    session_ttl: float = 10.0
    tls: Tls | None = None
    client_name: str = ""
    # An attempt that is not answered in this time is left for another member, and the
    # request is sent again under the same id.
    attempt: float = 1.0
    # A store whose event loop has not turned for so long is kept alive no more.
    stall_limit: float = 60.0
    rng: random.Random = field(default_factory=random.Random)
    # What undoes, finds out and validates, by name.
    registry: Registry = registry.default

    @property
    def channel_options(self) -> list[tuple[str, int]]:
        """How every channel of this client is set up."""
        return list(_CHANNEL)


def parse_endpoints(endpoints: str | Iterable[str]) -> tuple[str, ...]:
    """`"h:p,h:p"` or a list of `"h:p"`, without doubles, in order.

    Raises InvalidRequest (definite) that names what is wrong.
    """
    parts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    found = [part.strip() for part in parts if part.strip()]
    if not found:
        raise _invalid("no endpoint given; expected host:port", "endpoints", "at least one")
    for endpoint in found:
        host, colon, port = endpoint.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            raise _invalid(
                f"endpoint {endpoint!r} is not host:port",
                "endpoints",
                "host:port, port 1 to 65535",
            )
    return tuple(dict.fromkeys(found))


def positive(name: str, seconds: float) -> float:
    """`seconds`, if it is a time to wait. Raises InvalidRequest (definite)."""
    if not seconds > 0:
        raise _invalid(f"{name} is {seconds}; it must be more than 0 seconds", name, "> 0")
    return float(seconds)


def milliseconds(seconds: float) -> int:
    """For the wire, where zero means a default: nothing that is asked for becomes that.
    What is too long for any number there is still too long for the servers."""
    return max(round(min(seconds * 1000, _MILLISECONDS_MAX)), 1)


def default_name() -> str:
    """Who this client is, for people: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"[:255]


def _invalid(message: str, name: str, limit: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": name, "limit": limit})
