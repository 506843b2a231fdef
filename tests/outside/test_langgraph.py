"""LangGraph's published conformance suite for savers, each clause a case, on a live cluster.

Beside the eight capabilities of the published suite: what it has no clauses for yet, delta
channels, and what this saver promises beyond it, in test_langgraph_saver.py.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.report import CapabilityReport, ProgressCallbacks

from raftstate.adapters.langgraph import RaftSaver

README = Path(__file__).parents[2] / "README.md"
Clause = Callable[[BaseCheckpointSaver[str]], Awaitable[None]]

# How many clauses each capability has in the release that is pinned: one that goes missing
# is not passed over.
CLAUSES = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


def clauses(capability: str) -> list[Clause]:
    """The clauses of a capability, as the suite lists them."""
    spec = importlib.import_module(f"langgraph.checkpoint.conformance.spec.test_{capability}")
    found: list[Clause] = getattr(spec, f"ALL_{capability.upper()}_TESTS")
    return found


def all_clauses() -> Iterator[object]:
    """Every clause of the suite, as a case."""
    for capability in Capability:
        for clause in clauses(capability.value):
            yield pytest.param(clause, id=f"{capability.value}-{clause.__name__}")


@pytest.fixture(scope="module")
def saver(endpoints: str) -> Iterator[RaftSaver]:
    """One saver for all clauses, as the suite has one for a capability."""
    with RaftSaver(endpoints, name="conformance") as opened:
        yield opened


def test_the_suite_has_all_its_clauses() -> None:
    """81 clauses of eight capabilities: the release is the one that was counted, and that the
    README tells of."""
    counted = {each.value: len(clauses(each.value)) for each in Capability}
    assert counted == CLAUSES
    assert sum(counted.values()) == 81
    assert "all 81 clauses of LangGraph's conformance suite" in README.read_text()


@pytest.mark.parametrize("clause", [*all_clauses()])
def test_clause(saver: RaftSaver, clause: Clause) -> None:
    """A clause of the suite holds."""
    asyncio.run(clause(saver))  # type: ignore[arg-type]


def test_the_suites_own_report(endpoints: str) -> None:
    """As the suite itself runs: all eight capabilities are found, and pass."""
    failures: list[str] = []

    @checkpointer_test(name="raftstate")
    async def opened() -> AsyncIterator[BaseCheckpointSaver[str]]:
        async with RaftSaver(endpoints, name="report") as saver:
            yield saver

    def told(capability: str, test: str, passed: bool, error: str | None) -> None:
        if not passed:
            failures.append(f"{capability} {test}: {error}")

    async def run() -> CapabilityReport:
        return await validate(opened, progress=ProgressCallbacks(on_test_result=told))

    report = asyncio.run(run())
    assert not failures
    assert report.passed_all_base()
    assert report.conformance_level() == "FULL"
    assert {name: one.tests_passed for name, one in report.results.items()} == CLAUSES
    assert all(one.detected and one.passed for one in report.results.values())
