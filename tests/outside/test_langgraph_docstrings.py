"""What the docstrings of `RaftSaver` and `RaftStore` show is true: each example runs, on a live
cluster, with `saver`, `memory` and `endpoints` at hand.
"""

from __future__ import annotations

import asyncio
import inspect

import pytest

from raftstate.adapters.langgraph import RaftSaver, RaftStore
from tests.cluster.docstrings import Documented, arun

SHOWN = [
    Documented(f"{kind.__name__}.{name}", inspect.getdoc(member) or "")
    for kind in (RaftSaver, RaftStore)
    for name, member in vars(kind).items()
    if inspect.isfunction(member) and not name.startswith("_")
]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.name)
def test_an_example(shown: Documented, endpoints: str) -> None:
    """There is one for whatever is called, and it prints what it says."""
    assert shown.examples

    async def story() -> None:
        async with RaftSaver(endpoints) as saver, RaftStore(endpoints) as memory:
            adapters = {"RaftSaver": RaftSaver, "RaftStore": RaftStore}
            names = {"saver": saver, "memory": memory, "endpoints": endpoints}
            await arun(shown, {**adapters, **names})

    asyncio.run(story())


def test_it_is_all_of_both() -> None:
    """23 methods of the saver and eight of the store."""
    assert len(SHOWN) == 23 + 8
