"""What the `eventsourcing` library publishes for recorders to pass, on a live cluster."""

from __future__ import annotations

import itertools
from typing import TypeVar
from unittest import TestCase

import pytest
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)
from eventsourcing.utils import Environment

from raftstate.adapters.eventsourcing import (
    RaftAggregateRecorder,
    RaftApplicationRecorder,
    RaftDCBRecorder,
    RaftFactory,
    RaftProcessRecorder,
    RaftRecorder,
    RaftTrackingRecorder,
)
from raftstate.client.portal import Portal

R = TypeVar("R", bound=RaftRecorder)
_names = itertools.count(1)


class Live(TestCase):
    """A test case of the library's, with recorders on the live cluster."""

    portal: Portal

    @pytest.fixture(autouse=True)
    def _connect(self, endpoints: str) -> object:
        with Portal(endpoints, timeout=60.0) as self.portal:
            yield

    def made(self, kind: type[R]) -> R:
        """A recorder that nobody has written to."""
        return kind(self.portal, name=f"suite-{next(_names)}")


class TestAggregateRecorder(Live, AggregateRecorderTestCase):
    """Events by aggregate."""

    def create_recorder(self) -> AggregateRecorder:
        """A fresh one."""
        return self.made(RaftAggregateRecorder)


class TestApplicationRecorder(Live, ApplicationRecorderTestCase):
    """Events in the application's order."""

    def create_recorder(self) -> ApplicationRecorder:
        """A fresh one."""
        return self.made(RaftApplicationRecorder)

    def test_insert_subscribe(self) -> None:
        """The clauses about subscriptions, which the library leaves to recorders that have
        them."""
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(Live, TrackingRecorderTestCase):
    """Positions."""

    def create_recorder(self) -> TrackingRecorder:
        """A fresh one."""
        return self.made(RaftTrackingRecorder)


class TestProcessRecorder(Live, ProcessRecorderTestCase):
    """Events together with positions."""

    def create_recorder(self) -> ProcessRecorder:
        """A fresh one."""
        return self.made(RaftProcessRecorder)


class TestNonInterleaving(Live, NonInterleavingNotificationIDsBaseCase):
    """What one call inserts has numbers in a row."""

    def create_recorder(self) -> ApplicationRecorder:
        """A fresh one."""
        return self.made(RaftApplicationRecorder)


class TestDCBRecorder(Live, DCBRecorderTestCase):
    """Events with types and tags, under conditions: all cases that there are."""

    def test_append_read(self) -> None:
        """One recorder alone."""
        self._test_append_read(self.made(RaftDCBRecorder))

    def test_append_subscribe(self) -> None:
        """What is appended wakes who waits for it."""
        self._test_append_subscribe(self.made(RaftDCBRecorder))

    def test_there_are_no_others(self) -> None:
        """A case that the library adds has to be named here."""
        cases = {one for one in dir(self) if one.startswith("_test_")}
        assert cases == {"_test_append_read", "_test_append_subscribe"}


class TrackingSubclass(RaftTrackingRecorder):
    """A user's."""


class TestFactory(InfrastructureFactoryTestCase[RaftFactory]):
    """Recorders by the environment."""

    @pytest.fixture(autouse=True)
    def _environment(self, endpoints: str) -> None:
        self.env = Environment(
            name="TestCase",
            env={
                "PERSISTENCE_MODULE": "raftstate.adapters.eventsourcing",
                "RAFTSTATE_ENDPOINTS": endpoints,
                "RAFTSTATE_NAME": f"suite-{next(_names)}",
            },
        )

    def expected_factory_class(self) -> type[RaftFactory]:
        """The factory."""
        return RaftFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        """Its recorder of aggregates."""
        return RaftAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        """Its recorder of an application."""
        return RaftApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        """Its recorder of positions."""
        return RaftTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        """A user's recorder of positions."""
        return TrackingSubclass

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        """Its recorder of a process."""
        return RaftProcessRecorder


# The library's base cases are not to be run by themselves.
del (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    DCBRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
    Live,
)
