"""One running cluster for the tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from raftstate.localcluster import LocalCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster of three that serves; each test leaves all of it serving."""
    with LocalCluster.create(tmp_path_factory.mktemp("shared") / "c") as running:
        yield running
