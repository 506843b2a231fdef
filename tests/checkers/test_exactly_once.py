"""The checker of acknowledged steps: each way to be wrong has a name, and is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jepsen_like.checkers.exactly_once import StepOp, StoredEvent, check


def op(number: int, **changes: object) -> StepOp:
    """The acknowledged step of that number, with one event."""
    usual = StepOp("p", "a", "ok", (b"%d" % number,), (1, 5), number, number)
    return replace(usual, **changes)  # type: ignore[arg-type]


def event(number: int, **changes: object) -> StoredEvent:
    """The event of that step, where it belongs."""
    usual = StoredEvent("a", number, number, number, b"%d" % number)
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_clean_history_passes() -> None:
    """
    Acknowledged, failed and unknown steps, each as it may be.
    """
    ops = [op(1), op(2), op(8, ending="fail"), op(9, ending="info"), op(3, ending="info")]

    assert check(ops, {"a": [event(1), event(2), event(3)]}) == []


@pytest.mark.parametrize(
    ("name", "ops", "stored"),
    [
        ("lost", [op(1), op(2)], [event(1)]),
        ("duplicate", [op(1)], [event(1), event(2, payload=b"1")]),
        ("resurrected", [op(1), op(2, ending="fail")], [event(1), event(2)]),
        ("stranger", [op(1)], [event(1), event(2)]),
        ("moved", [op(1, step=4)], [event(1)]),
        ("moved", [op(1, first_position=4)], [event(1)]),
        ("gap", [op(1), op(2)], [event(1), event(2, seq=3)]),
        ("gap", [op(1), op(2)], [event(1), event(2, position=3)]),
        ("gap", [op(1), op(2)], [event(1, step=3), event(2)]),
        ("gap", [op(1)], [event(1, stream_id="b")]),
        ("torn", [op(1, ending="info", payloads=(b"1", b"2"))], [event(1)]),
        ("fence", [op(1, token=(1, 6)), op(2)], [event(1), event(2)]),
        ("fence", [op(1, token=(2, 1)), op(2)], [event(1), event(2)]),
    ],
)
def test_each_way_to_be_wrong_is_seen(
    name: str, ops: list[StepOp], stored: list[StoredEvent]
) -> None:
    """
    One thing is wrong, and the checker names it.
    """
    assert any(found.startswith(f"{name}: ") for found in check(ops, {"a": stored}))
