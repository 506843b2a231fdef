"""`RaftStore` under LangGraph's own tests of stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.outside.published import Outcome, Suite, Unavailable

pytestmark = pytest.mark.slow

PLUGIN: Final = "langgraph_store"
SUITES: Final = {
    "checkpoint": Suite(
        "langgraph-checkpoint",
        PLUGIN,
        ("tests/test_store.py",),
        without=(
            # These are of LangGraph's own functions, and of no store.
            "tests/test_store.py::test_dedupe_ops_maps_repeated_reads_and_puts_to_one_op",
            "tests/test_store.py::test_get_text_at_path",
            "tests/test_store.py::test_get_text_at_path_with_non_dict_mapping",
            "tests/test_store.py::test_async_batch_store_handles_cancellation",
            "tests/test_store.py::test_validate_op_namespace_rejects_invalid_labels",
            "tests/test_store.py::test_validate_op_namespace_allows_empty_prefix_and_wildcards",
        ),
    ),
    "sqlite": Suite(
        "langgraph-checkpoint-sqlite",
        PLUGIN,
        ("tests/test_store.py", "tests/test_async_store.py"),
        without=(
            # These are of SQL: of migrations, tables, and the text of queries.
            "tests/test_store.py::test_vector_store_initialization",
            "tests/test_store.py::test_nonnull_migrations",
            "tests/test_store.py::test_escape_glob_literal",
            "tests/test_store.py::test_namespace_match_pattern",
            "tests/test_store.py::test_list_namespaces_prefix_uses_indexable_condition",
            # A blocking call in an event loop is refused there. Here it is answered by
            # another thread.
            "tests/test_async_store.py::test_no_running_loop",
        ),
    ),
    "ttl": Suite("langgraph-checkpoint-sqlite", PLUGIN, ("tests/test_ttl.py",)),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each that was published."""
    if "published" not in metafunc.fixturenames:
        return
    ids: list[Any] = []
    for name, suite in SUITES.items():
        try:
            found = suite.collected()
        except Unavailable as error:
            skip = pytest.mark.skip(reason=str(error))
            ids.append(pytest.param((name, ""), id=name, marks=skip))
        else:
            ids += [pytest.param((name, one), id=f"{name}:{one}") for one in found]
    metafunc.parametrize("published", ids)


@pytest.fixture(scope="module")
def outcomes(endpoints: str) -> Iterator[Callable[[str], dict[str, Outcome]]]:
    """How the tests of a suite ended. All suites run at the same time, once: those of times
    to live mostly sleep."""
    with ThreadPoolExecutor(len(SUITES)) as threads:
        running = {
            name: threads.submit(
                suite.run,
                {"RAFTSTATE_ENDPOINTS": endpoints, "RAFTSTATE_NAME": f"published-{name}"},
            )
            for name, suite in SUITES.items()
        }
        yield lambda name: running[name].result()


def test_published(
    published: tuple[str, str], outcomes: Callable[[str], dict[str, Outcome]]
) -> None:
    """Published by LangGraph, with `RaftStore` in the place of its own."""
    suite, name = published
    outcome = outcomes(suite)[name]
    assert outcome.how == "passed", outcome.text
