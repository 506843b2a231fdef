"""No node may end by itself, and none may break inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from jepsen_like.checkers import logs
from jepsen_like.protocols import Record
from tests.checkers.simulated import NODES, record

CALM = '{"event": "elected", "term": 3}\n' * 50


@pytest.fixture
def run(tmp_path: Path) -> Record:
    """Three nodes that wrote of nothing bad."""
    paths = {node: tmp_path / f"{node}.log" for node in NODES}
    for path in paths.values():
        path.write_text(CALM)
    return record(logs=paths)


def test_calm_nodes_pass(run: Record) -> None:
    """
    All lines of all nodes are looked at.
    """
    found = logs.check(run)

    assert found.validity == "valid"
    assert found.figures == {"unexpected_ends": 0, "lines": 150, "errors": 0}


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        '{"level": "error", "exception": "Traceback (most recent call last):\\n  File"}',
        "Fatal Python error: Segmentation fault",
        "MDB_PANIC: Update of meta page failed: panic",
        "Task exception was never retrieved",
        "x" * 9_000 + "Traceback (most recent call last):",
    ],
)
def test_a_node_that_broke_inside_is_found(run: Record, line: str) -> None:
    """
    The excerpt shows the line and what stands around it.
    """
    run.logs["b"].write_text(f"{CALM}before\n{line}\nafter\n{CALM}")

    found = logs.check(run)

    assert found.validity == "invalid"
    assert found.figures["errors"] == 1
    [told] = found.complaints
    assert told.startswith("b broke inside: line 52\n")
    assert "before\n" in told
    assert "\nafter\n" in told
    assert len(told) < 2_000


def test_one_traceback_is_one_error(run: Record) -> None:
    """
    Two that are far from each other are two; there may be very many.
    """
    sign = "Traceback (most recent call last):"
    trace = f"{sign}\n  File\nDuring it:\n{sign}\n"
    run.logs["a"].write_text(f"{trace}{CALM}{trace}")
    assert logs.check(run).figures["errors"] == 2

    run.logs["a"].write_text(f"{trace}{CALM}" * 300)
    found = logs.check(run)
    assert found.figures["errors"] == 300
    assert len(found.complaints) == logs.PER_NODE_MAX


def test_a_node_that_ended_by_itself_is_found(run: Record) -> None:
    """
    However calm its log is.
    """
    found = logs.check(record(logs=run.logs, ends=["b ended with status 1"]))

    assert found.validity == "invalid"
    assert found.complaints == ("unexpected end: b ended with status 1",)


def test_a_log_that_cannot_be_read_is_unknown(run: Record) -> None:
    """
    Nobody knows what it says.
    """
    run.logs["c"].unlink()

    assert logs.check(run).validity == "unknown"
    assert logs.check(record()).complaints == tuple(
        f"what {node} wrote cannot be read" for node in NODES
    )
