"""How an `eventsourcing` application is told to keep its events in the store."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from eventsourcing.dcb.persistence import DCBInfrastructureFactory
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    ProcessRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

from raftstate.adapters.eventsourcing.dcb import RaftDCBRecorder
from raftstate.adapters.eventsourcing.recorders import (
    RaftAggregateRecorder,
    RaftApplicationRecorder,
    RaftProcessRecorder,
    RaftRecorder,
    RaftTrackingRecorder,
)
from raftstate.adapters.portals import TIMEOUT_S
from raftstate.client.options import Tls
from raftstate.client.portal import Portal

F = TypeVar("F", bound=RaftRecorder)


class RaftFactory(
    InfrastructureFactory[RaftTrackingRecorder], DCBInfrastructureFactory[RaftTrackingRecorder]
):
    """Recorders in the store, for `PERSISTENCE_MODULE=raftstate.adapters.eventsourcing`; of
    applications with aggregates, and of those with dynamic consistency boundaries.

    Of the application's environment:

        RAFTSTATE_ENDPOINTS     members of the cluster, host:port,host:port; required
        RAFTSTATE_NAME          keeps users of one cluster apart; "default"
        RAFTSTATE_TIMEOUT       seconds for a call with all its attempts; 60
        RAFTSTATE_TLS_CA, RAFTSTATE_TLS_CERT, RAFTSTATE_TLS_KEY      files in PEM; none

    Each may have the application's name in front, as the library has it. Applications of
    different names keep their events apart."""

    ENDPOINTS: Final = "RAFTSTATE_ENDPOINTS"
    NAME: Final = "RAFTSTATE_NAME"
    TIMEOUT: Final = "RAFTSTATE_TIMEOUT"
    TLS: Final = ("RAFTSTATE_TLS_CA", "RAFTSTATE_TLS_CERT", "RAFTSTATE_TLS_KEY")

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Raises OSError that names what is missing or wrong in the environment."""
        super().__init__(env)
        endpoints = self._read(self.ENDPOINTS)
        if not endpoints:
            raise OSError(
                "no endpoints in the environment: set one of"
                f" {', '.join(self.env.create_keys(self.ENDPOINTS))}"
            )
        self._name = self._read(self.NAME) or "default"
        self._seconds = self._timeout()
        self._portal = Portal(endpoints, timeout=self._seconds, **self._tls())

    def _read(self, name: str) -> str:
        return (self.env.get(name) or "").strip()

    def _timeout(self) -> float:
        given = self._read(self.TIMEOUT)
        try:
            return float(given) if given else TIMEOUT_S
        except ValueError:
            raise OSError(f"{self.TIMEOUT} is {given!r}; it must be seconds") from None

    def _tls(self) -> dict[str, Any]:
        files = [self._read(name) for name in self.TLS]
        if not any(files):
            return {}
        if not all(files):
            raise OSError(f"of {', '.join(self.TLS)} all are needed, or none")
        return {"tls": Tls(*files)}

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """One for a purpose of its own, as snapshots are."""
        return self._made(RaftAggregateRecorder, None, purpose)

    def application_recorder(self) -> ApplicationRecorder:
        """The application's, or its subclass that APPLICATION_RECORDER_TOPIC names."""
        return self._made(RaftApplicationRecorder, self.APPLICATION_RECORDER_TOPIC)

    def tracking_recorder(
        self, tracking_recorder_class: type[RaftTrackingRecorder] | None = None
    ) -> RaftTrackingRecorder:
        """One of this class, or of the one that TRACKING_RECORDER_TOPIC names."""
        if tracking_recorder_class is not None:
            return self._made(tracking_recorder_class, None)
        return self._made(RaftTrackingRecorder, self.TRACKING_RECORDER_TOPIC)

    def process_recorder(self) -> ProcessRecorder:
        """The application's, or its subclass that PROCESS_RECORDER_TOPIC names."""
        return self._made(RaftProcessRecorder, self.PROCESS_RECORDER_TOPIC)

    def dcb_recorder(self) -> RaftDCBRecorder:
        """The application's, if its consistency boundaries are dynamic."""
        return self._made(RaftDCBRecorder, None)

    def _made(self, base: type[F], topic: str | None, purpose: str = "events") -> F:
        chosen = self.env.get(topic) if topic is not None else None
        made: type[F] = resolve_topic(chosen) if chosen else base
        if not issubclass(made, base):
            raise TypeError(f"{made} is no subclass of {base.__name__}")
        application = self.env.name.lower()
        return made(
            self._portal,
            name=self._name,
            application=application,
            purpose=purpose,
            timeout=self._seconds,
        )

    def close(self) -> None:
        """Close the connections of all recorders that it made."""
        self._portal.close()
