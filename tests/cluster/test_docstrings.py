"""What the docstrings of the SDK show is true: each example runs on a live cluster."""

import asyncio
from collections.abc import Iterator

import pytest

import raftstate
import raftstate.sync
from raftstate.localcluster import LocalCluster
from tests.cluster.docstrings import Documented, arun, public, run

ASYNC = public("client")
SYNC = public("sync")


@pytest.mark.parametrize("face", ["client", "sync"])
def test_everything_public_has_a_runnable_example(face: str) -> None:
    """
    Whatever is called shows how; what a property is, is shown by what gives its object.
    """
    assert [one.name for one in public(face) if not one.examples] == []


@pytest.mark.parametrize(
    "shown", [one for one in ASYNC if one.examples], ids=lambda shown: shown.name
)
def test_the_examples_of_the_async_face(shown: Documented, cluster: LocalCluster) -> None:
    """
    They print what they say they print.
    """

    async def story() -> None:
        async with raftstate.connect(cluster.endpoints) as store:
            names = {"store": store, "endpoints": cluster.endpoints}
            await arun(shown, {**names, "raftstate": raftstate, "asyncio": asyncio})

    asyncio.run(story())


@pytest.fixture(scope="module")
def another_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One where the examples of the async face have left nothing."""
    with LocalCluster.create(tmp_path_factory.mktemp("sync") / "c") as running:
        yield running


@pytest.mark.parametrize(
    "shown", [one for one in SYNC if one.examples], ids=lambda shown: shown.name
)
def test_the_examples_of_the_sync_face(
    shown: Documented, another_cluster: LocalCluster
) -> None:
    """
    They are those of the async face, and are true of this one.
    """
    with raftstate.sync.connect(another_cluster.endpoints) as store:
        names = {"store": store, "endpoints": another_cluster.endpoints}
        run(shown, {**names, "raftstate": raftstate})
