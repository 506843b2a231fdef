"""Numbers for Prometheus: the one home of prometheus_client.

What the member is comes from its status at the moment of the scrape; what was called
is counted as calls end. Everything lives in a registry of its own, on a port of its
own, served by threads of its own: a scrape never waits for the event loop.

Start reading at `Metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from raftstate.core.ports import NodeStatus

ROLES = ("follower", "candidate", "leader")
# A durable commit takes about a millisecond, a waiting call as long as its deadline.
_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125),
    *(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
)
# How long a scraper may say nothing, or leave its answer where it is.
_SILENCE_S = 10.0


class Listen(NamedTuple):
    """Where the port is."""

    host: str
    port: int


class DiskNumbers(NamedTuple):
    """What is known of the disk: its room, what the scrub has read, and what it was for."""

    free_bytes: int = 0
    scrubbed_bytes: int = 0
    passes: int = 0
    hashes: int = 0
    seconds: float = 0.0
    damage: int = 0


class Certificates(NamedTuple):
    """Paths of PEM files for mutual TLS."""

    cert: str
    key: str
    ca: str


class Metrics:
    """The exporter of one member."""

    def __init__(
        self,
        status: Callable[[], NodeStatus],
        refused: Callable[[], Mapping[str, int]],
        disk: Callable[[], DiskNumbers] = DiskNumbers,
        watches: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for the birth of each series
        self.registry = CollectorRegistry()
        self.registry.register(_Member(status, refused, disk, watches))
        self._calls = Counter(
            "raftstate_rpc_calls",
            "Calls that ended, by method and status code.",
            ["method", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "raftstate_rpc_seconds",
            "How long calls took; streams as long as they were open.",
            ["method", "code"],
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, code: str, seconds: float) -> None:
        """Count one call."""
        key = (method, code)
        if key not in self._children:
            self._children[key] = (self._calls.labels(*key), self._seconds.labels(*key))
        calls, histogram = self._children[key]
        calls.inc()
        histogram.observe(seconds)

    def serve(self, listen: Listen, tls: Certificates | None) -> Callable[[], None]:
        """Open the port; the answer closes it. Raises OSError if it cannot be taken."""
        server, thread = start_http_server(
            listen.port,
            listen.host,
            self.registry,
            certfile=tls.cert if tls else None,
            keyfile=tls.key if tls else None,
            client_cafile=tls.ca if tls else None,
            client_auth_required=tls is not None,
        )
        server.RequestHandlerClass = _Scrape
        if tls:
            # Each connection's own thread shakes hands. Otherwise `accept` does, in the one
            # thread that serves all: who says nothing would keep everybody out, and
            # `shutdown` waiting, for good.
            server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]  # an SSLSocket

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return close


class _Scrape(WSGIRequestHandler):
    """One connection, in a thread of its own. `timeout` is for each of its waits."""

    timeout = _SILENCE_S

    def handle(self) -> None:
        """Answer it. One that says nothing, breaks off, or has not the certificates is no
        news: it would be a traceback on standard error."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as overridden
        """Log nothing."""


class _Member(Collector):
    """What the status says, asked at each scrape."""

    def __init__(
        self,
        status: Callable[[], NodeStatus],
        refused: Callable[[], Mapping[str, int]],
        disk: Callable[[], DiskNumbers],
        watches: Callable[[], tuple[int, int]],
    ) -> None:
        self._watches = watches
        self._status = status
        self._refused = refused
        self._disk = disk

    def collect(self) -> Iterator[Metric]:
        """Everything that is not about calls."""
        status = self._status()
        yield from _identity(status)
        for name, text, value in _gauges(status):
            yield GaugeMetricFamily(f"raftstate_{name}", text, value)
        for name, text, value in _counters(status):
            yield CounterMetricFamily(f"raftstate_{name}", text, value)
        yield from _disk_metrics(self._disk())
        yield from _watch_metrics(*self._watches())
        yield from self._labelled(status)

    def _labelled(self, status: NodeStatus) -> Iterator[Metric]:
        role = GaugeMetricFamily("raftstate_role", "1 for the role it has.", labels=["role"])
        for name in ROLES:
            role.add_metric([name], float(status.role == name))
        yield role
        peers = GaugeMetricFamily(
            "raftstate_peer_connected", "Whether it can send to a peer.", labels=["peer"]
        )
        for peer in status.peers:
            peers.add_metric([peer.member_id], float(peer.connected))
        yield peers
        alarms = GaugeMetricFamily(
            "raftstate_alarm", "1 for each condition that needs a person.", labels=["name"]
        )
        for name in sorted({name for name, _ in status.alarms}):
            alarms.add_metric([name], 1.0)
        yield alarms
        refused = CounterMetricFamily(
            "raftstate_raft_connections_refused",
            "Connections to the members' port that were refused, by reason.",
            labels=["reason"],
        )
        for reason, count in sorted(self._refused().items()):
            refused.add_metric([reason], count)
        yield refused


def _identity(status: NodeStatus) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "raftstate_member",
        "Which member of which cluster this is.",
        {
            "cluster_id": status.cluster_id,
            "cluster_epoch": str(status.cluster_epoch),
            "member_id": status.member_id,
        },
    )


def _gauges(status: NodeStatus) -> Iterator[tuple[str, str, float]]:
    yield "has_leader", "Whether a leader is known.", float(status.leader is not None)
    yield "ready", "Whether reads can be answered here.", float(status.ready)
    yield "term", "Raft's current term.", status.term
    yield "commit_index", "The newest committed entry.", status.commit_index
    yield "applied_index", "The newest applied entry.", status.applied_index
    yield "revision", "Commands applied since the beginning.", status.revision
    entries = status.last_index - status.first_index + 1
    yield "log_entries", "Entries that the log holds.", max(0, entries)
    yield "log_bytes", "Bytes of entries that the log holds.", status.log_bytes
    yield "state_bytes", "Bytes that the state takes.", status.state_bytes
    connected = sum(peer.connected for peer in status.peers)
    yield "peers_connected", "Peers that it can send to.", connected


def _watch_metrics(count: int, waiting: int) -> Iterator[Metric]:
    for name, text, value in (
        ("watches", "Watches that are open here.", count),
        ("watch_waiting_bytes", "What waits for their clients to take it.", waiting),
    ):
        yield GaugeMetricFamily(f"raftstate_{name}", text, float(value))


def _disk_metrics(disk: DiskNumbers) -> Iterator[Metric]:
    for name, text, value in (
        ("disk_free_bytes", "What the data folder may still take.", float(disk.free_bytes)),
        ("scrub_seconds", "How long the last pass of the scrub took.", disk.seconds),
    ):
        yield GaugeMetricFamily(f"raftstate_{name}", text, value)
    for name, text, value in (
        ("scrub_bytes", "Bytes that the scrub has read.", disk.scrubbed_bytes),
        ("scrub_passes", "Passes of the scrub over everything.", disk.passes),
        ("scrub_hashes", "Passes that compared the state hash too.", disk.hashes),
        ("scrub_damage", "How often damage was set aside in this folder.", disk.damage),
    ):
        yield CounterMetricFamily(f"raftstate_{name}", text, value)


def _counters(status: NodeStatus) -> Iterator[tuple[str, str, float]]:
    yield "snapshots_taken", "Snapshots taken since the start.", status.snapshots_taken
    yield (
        "snapshots_installed",
        "Snapshots installed from a leader.",
        status.snapshots_installed,
    )
    yield "elections_started", "Elections that this member started.", status.elections_started
