"""A second cluster, for tests about two of them on one machine."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raftstate.localcluster import LocalCluster, LocalClusterError


@contextmanager
def neighbour(folder: Path) -> Iterator[tuple[LocalCluster, int]]:
    """A running cluster of three whose ports follow a base, and that base."""
    for port in random.sample(range(12_000, 32_000), 50):
        try:
            cluster = LocalCluster.create(folder, base_port=port, check_ports=True)
        except LocalClusterError:
            continue  # one of its ports is in use
        with cluster:
            yield cluster, port
        return
    raise LocalClusterError("no room for another cluster")
