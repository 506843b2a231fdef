"""The agent's state: what it has counted so far, and how one event changes it.

The state after a takeover is the head checkpoint with the events since folded in.
A fold that met an event out of turn would count a file twice or never, so it
refuses instead.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from raftstate.examples.census.analyse import Row


class OutOfTurn(Exception):
    """An event is not the next one that this state waits for."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals over the first `next_index` files. Never changed in place: a step that
    was refused must leave no trace. `asdict` makes the value that a checkpoint holds."""

    next_index: int = 0
    counted: int = 0
    failed: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: int = 0
    longest: dict[str, Any] = field(
        default_factory=lambda: {"path": "", "name": "", "lines": 0}
    )

    def after(self, index: int, row: Row) -> Ledger:
        """The state once the file at `index` has been taken up."""
        if index != self.next_index:
            raise OutOfTurn(f"file {index} ({row['path']}) came, {self.next_index} is next")
        if "error" in row:
            return replace(self, next_index=index + 1, failed=self.failed + 1)
        return replace(
            self,
            next_index=index + 1,
            counted=self.counted + 1,
            lines=self.lines + row["lines"],
            functions=self.functions + row["functions"],
            classes=self.classes + row["classes"],
            imports=self.imports + row["imports"],
            longest=self._longest(row),
        )

    def _longest(self, row: Row) -> dict[str, Any]:
        longest: dict[str, Any] = row["longest"]
        if longest["lines"] <= self.longest["lines"]:
            return self.longest
        return {"path": row["path"], **longest}

    def totals(self) -> dict[str, Any]:
        """What is compared with the reference."""
        totals = asdict(self)
        totals["files"] = totals.pop("next_index")
        return totals


def told(index: int, row: Row) -> Row:
    """What the event of the file at `index` tells."""
    return {"index": index, **row}


def untold(value: Row) -> tuple[int, Row]:
    """The index and the row that an event tells of."""
    return value["index"], {name: item for name, item in value.items() if name != "index"}
