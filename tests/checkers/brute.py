"""Linearizability by trying everything: slow, and short enough to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jepsen_like.checkers.cycles import Transaction
from jepsen_like.checkers.history import Operation


def linearizable(history: Sequence[Operation], value: Any = None) -> bool:
    """Whether some order explains the history of one register."""
    return _explains([one for one in history if one.outcome != "fail"], value)


def _explains(left: Sequence[Operation], value: Any) -> bool:
    if all(one.outcome == "info" for one in left):
        return True
    ends = [one.completed for one in left if one.completed is not None]
    for one in left:
        if one.invoked > min(ends):
            continue  # something had ended before it began
        rest = [other for other in left if other is not one]
        answer, then = _do(one, value)
        if (one.outcome == "info" or one.result == answer) and _explains(rest, then):
            return True
    return False


def _do(one: Operation, value: Any) -> tuple[Any, Any]:
    """The answer of one operation, and what the register holds after it."""
    if one.kind == "read":
        return value, value
    if one.kind == "write":
        return None, one.value
    if one.kind == "add":
        return (value or 0) + one.value, (value or 0) + one.value
    if one.kind == "step":
        made, writer = value
        identity, wanted = one.value
        if wanted is not None and wanted != made:
            return (False, made), (made, writer)
        return (True, made + 1), (made + 1, identity)
    expected, new = one.value
    return (True, new) if value == expected else (False, value)


def serializable(transactions: Sequence[Transaction]) -> bool:
    """Whether some order of lists' transactions explains them, and keeps that of real
    time; what is unknown may have happened, or not."""
    return _orders([one for one in transactions if one.outcome != "fail"], {})


def _orders(left: Sequence[Transaction], lists: dict[str, tuple[int, ...]]) -> bool:
    if all(one.outcome == "info" for one in left):
        return True
    ends = [one.ended for one in left if one.outcome == "ok" and one.ended is not None]
    for one in left:
        if one.began > min(ends):
            continue  # something had ended before it began
        after = _done(one, lists)
        if after is not None and _orders([other for other in left if other is not one], after):
            return True
    return False


def _done(
    one: Transaction, lists: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]] | None:
    """The lists after a transaction; None if it did not read what there was."""
    lists = dict(lists)
    for f, key, value in one.micros:
        if f == "append":
            lists[key] = (*lists.get(key, ()), value)
        elif one.outcome == "ok" and tuple(value) != lists.get(key, ()):
            return None
    return lists
