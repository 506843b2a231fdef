"""The gRPC server of one member: its services, its port, its end.

Sizes. Requests above 1.5 MiB are refused by us, with an error that names the limit.
Above 4 MiB grpc does not hand the message to anybody and answers RESOURCE_EXHAUSTED by
itself, without our details; nothing was proposed then either.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from raftstate.core.ports import Consensus, State
from raftstate.rpc.agents import Agents
from raftstate.rpc.breakers import Breakers
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.checkpoints import Checkpoints
from raftstate.rpc.cluster import Cluster
from raftstate.rpc.edge import Arrive, Edge
from raftstate.rpc.effects import Effects
from raftstate.rpc.events import Events
from raftstate.rpc.frontend import Addresses, Frontend, Limits, Observe
from raftstate.rpc.health import Health
from raftstate.rpc.kv import Keys
from raftstate.rpc.leases import Leases
from raftstate.rpc.reads import Reads
from raftstate.rpc.recovery import Recovery
from raftstate.rpc.replay import Replays
from raftstate.rpc.rollbacks import Rollbacks
from raftstate.rpc.sessions import Sessions
from raftstate.rpc.steps import Steps
from raftstate.rpc.watch import Watches
from raftstate.rpc.watch import add_to_server as add_watches_to_server
from raftstate.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    breaker_service_pb2,
    breaker_service_pb2_grpc,
    checkpoint_service_pb2,
    checkpoint_service_pb2_grpc,
    cluster_service_pb2,
    cluster_service_pb2_grpc,
    effect_service_pb2,
    effect_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    kv_service_pb2,
    kv_service_pb2_grpc,
    lease_service_pb2,
    lease_service_pb2_grpc,
    read_service_pb2,
    read_service_pb2_grpc,
    recovery_service_pb2,
    recovery_service_pb2_grpc,
    replay_service_pb2,
    replay_service_pb2_grpc,
    rollback_service_pb2,
    rollback_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    step_service_pb2,
    step_service_pb2_grpc,
    watch_service_pb2,
)
from raftstate.v1.read_service_pb2 import Query

RECEIVE_BYTES_MAX = 4 << 20

# Each service: its module of messages, what registers it, what serves it.
_SERVICES: tuple[tuple[Any, Any, Any], ...] = (
    (
        session_service_pb2,
        session_service_pb2_grpc.add_SessionServiceServicer_to_server,
        Sessions,
    ),
    (agent_service_pb2, agent_service_pb2_grpc.add_AgentServiceServicer_to_server, Agents),
    (step_service_pb2, step_service_pb2_grpc.add_StepServiceServicer_to_server, Steps),
    (event_service_pb2, event_service_pb2_grpc.add_EventServiceServicer_to_server, Events),
    (
        checkpoint_service_pb2,
        checkpoint_service_pb2_grpc.add_CheckpointServiceServicer_to_server,
        Checkpoints,
    ),
    (kv_service_pb2, kv_service_pb2_grpc.add_KvServiceServicer_to_server, Keys),
    (lease_service_pb2, lease_service_pb2_grpc.add_LeaseServiceServicer_to_server, Leases),
    (
        recovery_service_pb2,
        recovery_service_pb2_grpc.add_RecoveryServiceServicer_to_server,
        Recovery,
    ),
    (effect_service_pb2, effect_service_pb2_grpc.add_EffectServiceServicer_to_server, Effects),
    (
        rollback_service_pb2,
        rollback_service_pb2_grpc.add_RollbackServiceServicer_to_server,
        Rollbacks,
    ),
    (
        breaker_service_pb2,
        breaker_service_pb2_grpc.add_BreakerServiceServicer_to_server,
        Breakers,
    ),
    (
        replay_service_pb2,
        replay_service_pb2_grpc.add_ReplayServiceServicer_to_server,
        Replays,
    ),
    (
        cluster_service_pb2,
        cluster_service_pb2_grpc.add_ClusterServiceServicer_to_server,
        Cluster,
    ),
    (watch_service_pb2, add_watches_to_server, Watches),
    (read_service_pb2, read_service_pb2_grpc.add_ReadServiceServicer_to_server, Reads),
)


# What grpc calls the coroutines that it handles a call in; and how long they may take to
# notice that they were ended.
CALL_TASKS = frozenset({"_schedule_rpc_coro", "_handle_exceptions"})
ENDING_S = 2.0


class PortUnavailable(Exception):
    """The port could not be taken; the message names the address and the reason."""


@dataclass(frozen=True)
class TlsFiles:
    """Mutual TLS: our certificate, and who may call."""

    cert: Path
    key: Path
    ca: Path

    def credentials(self) -> Any:
        """What grpc makes of the files; raises OSError if one cannot be read."""
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=self.ca.read_bytes(),
            require_client_auth=True,
        )


@dataclass(frozen=True)
class Settings:
    """What a server is built with beside the member that it speaks for."""

    addresses: Addresses = field(default_factory=Addresses)
    limits: Limits = field(default_factory=Limits)
    state_found: str = ""  # how the state was found when the process started
    max_concurrent: int = 10_000
    keepalive_min_ms: int = 500
    tls: TlsFiles | None = None


def service_names() -> list[str]:
    """The full names of the services of the API."""
    return [
        service.full_name
        for messages, _, _ in _SERVICES
        for service in messages.DESCRIPTOR.services_by_name.values()
    ]


class RpcServer:
    """The API of one member. Build it, bind it, start it, stop it: on one loop."""

    def __init__(
        self,
        consensus: Consensus,
        state: State,
        bridge: Bridge,
        settings: Settings,
        observe: Observe = lambda _method, _code, _seconds: None,
        arrive: Arrive = lambda _context: None,
    ) -> None:
        self._settings = settings
        self._frontend = Frontend(
            consensus, state, bridge, settings.addresses, settings.limits, settings.state_found
        )
        self._server = grpc.aio.server(
            interceptors=[Edge(observe, arrive)],
            options=_options(settings),
            # Watches last, and have a bound of their own.
            maximum_concurrent_rpcs=settings.max_concurrent + settings.limits.watches.streams,
        )
        self._watch: asyncio.Task[None] | None = None
        for messages, register, service in _SERVICES:
            made = service(self._frontend)
            register(made, self._server)
            self._frontend.handlers |= _handlers(messages, made)
            self._frontend.methods |= _methods(messages)
        self._frontend.observe = observe
        health_pb2_grpc.add_HealthServicer_to_server(Health(self._frontend), self._server)
        names = [*service_names(), _full_name(health_pb2), reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)

    def watch_load(self) -> tuple[int, int]:
        """How many watches are open, and how many bytes wait for their clients. From any
        thread."""
        return self._frontend.watch_load()

    def bind(self, address: str) -> int:
        """Take the port and say which it is; raises PortUnavailable."""
        tls = self._settings.tls
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, tls.credentials())
        except RuntimeError as error:
            check_free(address)
            raise PortUnavailable(f"address {address} cannot be used: {error}") from error
        return int(port)

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()
        self._watch = asyncio.create_task(self._frontend.office.watch())

    def look(self) -> None:
        """Take note of a change of office now, rather than at the next look."""
        self._frontend.office.look()

    def close(self) -> None:
        """Say that we are going: health turns NOT_SERVING, and streams that end from
        now on were ended by us."""
        self._frontend.close()

    async def stop(self, grace_s: float) -> None:
        """Accept no more calls; give those under way some time, then end them."""
        self.close()
        if self._watch is not None:
            self._watch.cancel()
        await self._server.stop(grace_s)
        # grpc says that it has stopped while calls that it ended still find that out. The
        # loop must not end under them: they would tell of it in the log, as a failure.
        if calls := [task for task in asyncio.all_tasks() if _is_call(task)]:
            await asyncio.wait(calls, timeout=ENDING_S)


def _handlers(messages: Any, made: Any) -> dict[str, Any]:
    """What answers each kind of query among the calls of a service."""
    (service,) = messages.DESCRIPTOR.services_by_name.values()
    kinds = {one.message_type: one.name for one in Query.DESCRIPTOR.oneofs[0].fields}
    return {
        kinds[method.input_type]: getattr(made, method.name)
        for method in service.methods
        if method.input_type in kinds
    }


def _methods(messages: Any) -> dict[str, str]:
    """The methods of a service, as calls name them, by the full name of what they take."""
    (service,) = messages.DESCRIPTOR.services_by_name.values()
    return {
        method.input_type.full_name: f"/{service.full_name}/{method.name}"
        for method in service.methods
    }


def _is_call(task: asyncio.Task[Any]) -> bool:
    """Whether a task is one in which grpc handles a call."""
    return getattr(task.get_coro(), "__qualname__", "") in CALL_TASKS


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        # A second process on the same port is an error, not a silent half of it.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),
        # Clients may ping this often, also while they have no call under way.
        ("grpc.http2.min_ping_interval_without_data_ms", settings.keepalive_min_ms),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _full_name(messages: Any) -> str:
    (service,) = messages.DESCRIPTOR.services_by_name.values()
    return str(service.full_name)


def check_free(address: str) -> None:
    """See that a port could be taken now; raises PortUnavailable with the reason.

    grpc does not say why it cannot bind, so the question is put to the system. As grpc
    does, this ignores connections that are still dying down (SO_REUSEADDR).
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortUnavailable(f"address {address} is already in use") from error
            reason = error.strerror or str(error)
            raise PortUnavailable(f"address {address} cannot be used: {reason}") from error
