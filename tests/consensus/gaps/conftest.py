"""Virtual time for the stock class, and an end for what a test leaves open."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.consensus.gaps import stock

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def stock_environment() -> Iterator[None]:
    """The stock class sees the virtual clock and seeded randomness for one test."""
    with stock.virtual_time():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stock class leaves the files that it has read to the garbage collector, and
    writes its dumps in a child."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"))
