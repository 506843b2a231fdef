"""Asking one node how it is, without a session: for operators, tests and scripts.

These are short, synchronous questions to exactly the node named. They find no
leader, retry nothing, and keep no connection. Silence is an answer here (None or
False), because a node that is down is what they are mostly asked about.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from raftstate.v1.cluster_service_pb2 import StatusRequest, StatusResponse
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceStub

_OPTIONS = [
    # A pool of its own: otherwise the back-off after one refused connection, shared
    # between channels, would hide for seconds that the node is up again.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
]


@contextmanager
def _channel(
    address: str, credentials: grpc.ChannelCredentials | None
) -> Iterator[grpc.Channel]:
    if credentials is None:
        channel = grpc.insecure_channel(address, options=_OPTIONS)
    else:
        channel = grpc.secure_channel(address, credentials, options=_OPTIONS)
    with channel:
        yield channel


def status(
    address: str,
    timeout: float = 1.0,
    *,
    credentials: grpc.ChannelCredentials | None = None,
) -> StatusResponse | None:
    """How the node at `address` sees the cluster; None if it does not answer in time."""
    with _channel(address, credentials) as channel:
        try:
            answer: StatusResponse = ClusterServiceStub(channel).Status(
                StatusRequest(), timeout=timeout
            )
        except grpc.RpcError:
            return None
    return answer


def healthy(
    address: str,
    service: str = "",
    timeout: float = 1.0,
    *,
    credentials: grpc.ChannelCredentials | None = None,
) -> bool:
    """Whether the node at `address` says SERVING for `service`.

    The services are "" (the node), "raftstate.read" and "raftstate.write".
    """
    with _channel(address, credentials) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
