"""Histories: what clients asked, when, and what they were told.

An operation begins when its client asks and ends when the client is told, and ended in
one of three ways: `ok` (it happened between the two), `fail` (it did not and never
will), `info` (nobody knows: it may happen at any time after it began, or never). A
process does one thing after another, so one that does not know the end of an operation
can do no more: whoever goes on does so as another process. `Recorder` sees to that.

On file a history is JSON lines, one operation a line, in the order in which they began.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Outcome = Literal["ok", "fail", "info"]
OUTCOMES = ("ok", "fail", "info")
FIELDS = ("process", "kind", "key", "value", "outcome", "result", "invoked", "completed")


class MalformedHistory(ValueError):
    """What was recorded cannot be a history: judge nothing by it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `value` is what was asked with; `result` is what an `ok` answer
    said. Times are of one clock, in seconds; an `info` operation never completed."""

    process: str
    kind: str
    key: str
    value: Any
    outcome: Outcome
    result: Any
    invoked: float
    completed: float | None

    def __str__(self) -> str:
        asked = f"{self.process}: {self.kind} {self.key} {self.value!r}"
        if self.completed is None:
            return f"{asked} from {self.invoked:.4f}, outcome unknown"
        said = f"ok {self.result!r}" if self.outcome == "ok" else "failed"
        return f"{asked} from {self.invoked:.4f} to {self.completed:.4f}, {said}"


# --- recording ---------------------------------------------------------------


class Recorder:
    """Collects a history while it happens. Processes are named after whoever asks; one
    whose outcome is not known asks under another name from then on."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._lives: dict[str, int] = {}
        self._busy: dict[str, int] = {}  # who -> the number of the operation under way

    def __len__(self) -> int:
        return len(self._operations)

    def invoke(self, who: str, kind: str, key: str, value: Any, at: float) -> int:
        """Note that somebody asks; the number of the operation."""
        if who in self._busy:  # never completed: whoever asked is gone
            self._retire(who)
        process = f"{who}#{self._lives.setdefault(who, 1)}"
        self._busy[who] = number = len(self._operations)
        self._operations.append(Operation(process, kind, key, value, "info", None, at, None))
        return number

    def complete(self, number: int, outcome: Outcome, at: float, result: Any = None) -> None:
        """Note what the client was told about an operation."""
        operation = self._operations[number]
        who = operation.process.rpartition("#")[0]
        if self._busy.get(who) != number:
            raise MalformedHistory(f"an answer to what is not under way: {operation}")
        if outcome == "info":
            self._retire(who)
            return
        del self._busy[who]
        self._operations[number] = replace(
            operation, outcome=outcome, result=result, completed=at
        )

    def history(self) -> list[Operation]:
        """All operations; those under way have an unknown outcome."""
        return list(self._operations)

    def _retire(self, who: str) -> None:
        del self._busy[who]
        self._lives[who] += 1


# --- validation --------------------------------------------------------------


def validate(history: Sequence[Operation]) -> None:
    """Raise MalformedHistory for what no clients could have recorded."""
    free_at: dict[str, float] = {}
    retired: set[str] = set()
    began = float("-inf")
    for number, operation in enumerate(history):
        where = f"operation {number} ({operation})"
        for complaint in _complaints(operation):
            raise MalformedHistory(f"{where}: {complaint}")
        if operation.invoked < began:
            raise MalformedHistory(f"{where} began before the one noted before it")
        began = operation.invoked
        if operation.process in retired:
            raise MalformedHistory(f"{where}: its process does not know an earlier outcome")
        if operation.invoked < free_at.get(operation.process, float("-inf")):
            raise MalformedHistory(f"{where}: its process was busy until later")
        if operation.completed is None:
            retired.add(operation.process)
        else:
            free_at[operation.process] = operation.completed


def _complaints(operation: Operation) -> Iterator[str]:
    """What is wrong with one operation by itself."""
    for name in ("process", "kind", "key"):
        if not isinstance(getattr(operation, name), str) or not getattr(operation, name):
            yield f"{name} is not a name"
    if operation.outcome not in OUTCOMES:
        yield f"{operation.outcome!r} is no outcome"
    if not _is_time(operation.invoked):
        yield "it did not begin"
    elif operation.outcome == "info":
        if operation.completed is not None:
            yield "it completed, and nobody knows how"
    elif not _is_time(operation.completed):
        yield "it did not complete"
    elif operation.completed is not None and operation.completed < operation.invoked:
        yield "it completed before it began"
    if operation.outcome != "ok" and operation.result is not None:
        yield "it has a result, and was not answered"


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


# --- JSON lines --------------------------------------------------------------


def dumps(history: Iterable[Operation]) -> str:
    """A history as JSON lines."""
    lines = (
        json.dumps({name: getattr(operation, name) for name in FIELDS}) + "\n"
        for operation in history
    )
    return "".join(lines)


def loads(text: str) -> list[Operation]:
    """The history that JSON lines hold, validated. Lists come back as tuples."""
    history: list[Operation] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise MalformedHistory(f"line {number} is not JSON: {error}") from error
        if not isinstance(record, dict) or set(record) != set(FIELDS):
            raise MalformedHistory(f"line {number} does not have the fields {FIELDS}")
        history.append(Operation(**{name: _frozen(value) for name, value in record.items()}))
    validate(history)
    return history


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
