"""A live cluster for all suites of a run, and what kills its leader."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raftstate.localcluster import LocalCluster

_names = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes on loopback, which fsync."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    with LocalCluster.create(folder, nodes=3) as running:
        running.wait_leader()
        yield running


@pytest.fixture(scope="session")
def endpoints(cluster: LocalCluster) -> str:
    """All members of the cluster, as `connect` takes them."""
    return cluster.endpoints


@pytest.fixture
def name() -> str:
    """A name that nobody has used in this cluster: what is kept under it is the test's."""
    return f"test-{next(_names)}"


class Kills:
    """Kills the leader again and again, and restarts it."""

    def __init__(self, cluster: LocalCluster, pause: float) -> None:
        self._cluster = cluster
        self._pause = pause
        self._over = threading.Event()
        self.count = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Until it is told that it is over; all members run again then."""
        try:
            while not self._over.wait(self._pause):
                leader = self._cluster.wait_leader()
                self._cluster.kill(leader)
                self.count += 1
                self._cluster.wait_leader(not_=leader)
                self._cluster.start_node(leader)
        except BaseException as error:  # noqa: BLE001  # raised again where the block ends
            self.error = error

    def end(self) -> None:
        """No more."""
        self._over.set()


@contextmanager
def kills(cluster: LocalCluster, pause: float = 2.0) -> Iterator[Kills]:
    """While the block runs, the leader is killed every few seconds. At its end, all members
    run; at least one kill has happened, or the block proves nothing."""
    killing = Kills(cluster, pause)
    thread = threading.Thread(target=killing.run, name="kills")
    thread.start()
    try:
        yield killing
        until = time.monotonic() + 30
        while not killing.count and time.monotonic() < until and thread.is_alive():
            time.sleep(0.05)
    finally:
        killing.end()
        thread.join()
    if killing.error is not None:
        raise killing.error
    assert killing.count, "no leader was killed"
