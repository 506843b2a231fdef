"""The history of a run: what was asked and what came back, one line an event.

An operation is two events: its `invoke`, and later its `ok` (it happened), `fail` (it did
not and never will) or `info` (nobody knows). A process does one thing after another; one
whose operation ended as `info` does nothing more, and its thread goes on under another
process number. What the nemesis does stands in the same history, always as `info`.

On file a history is JSON lines, written as it happens and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, NamedTuple, Self

from jepsen_like.checkers.history import MalformedHistory, Operation, Outcome

Type = Literal["invoke", "ok", "fail", "info"]
NEMESIS: Final = -1  # the nemesis as a process
# What a field is if it is left out of a line.
_UNSAID: Final = {"key": "", "value": None, "node": "", "revision": 0, "error": ""}


@dataclass(frozen=True, slots=True)
class Event:
    """One line. Values are what JSON can hold.

    `time` is in seconds since the run began, by one monotonic clock. `workload` is
    "nemesis" for what the nemesis does; then `f` is the fault's kind and `key` is "begin",
    "end" or "heal". `value` is what was asked with, and in an `ok` what was answered.
    `node` is the member that was asked, or that answered; `revision` is what its header
    said. `error` is why an operation failed, or why its outcome is not known.
    """

    index: int
    time: float
    type: Type
    process: int
    workload: str
    f: str
    key: str = ""
    value: Any = None
    node: str = ""
    revision: int = 0
    error: str = ""


class Pair(NamedTuple):
    """An operation: how it began, and how it ended, if it did."""

    invoke: Event
    completion: Event | None

    @property
    def outcome(self) -> Outcome:
        """How it ended; what never ended is `info`."""
        if self.completion is None or self.completion.type == "info":
            return "info"
        return "ok" if self.completion.type == "ok" else "fail"


class Writer:
    """Appends events to a file, and keeps them: as they are read from the file, so that a
    run is judged by what can be judged again, and nobody can change a value afterwards."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("x", encoding="utf-8")
        self.events: list[Event] = []

    def append(self, event: Event) -> Event:
        """Write one event down; the answer is what was kept, with its index.

        Raises TypeError or ValueError for what JSON cannot hold; then nothing is written."""
        line = dump(replace(event, index=len(self.events)))
        event = Event(**json.loads(line))
        self.events.append(event)
        self._file.write(line)
        self._file.flush()
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def dump(event: Event) -> str:
    """One event as its line; fields that say nothing are left out."""
    every = asdict(event)
    fields = {name: every[name] for name in every if every[name] != _UNSAID.get(name, ...)}
    fields["time"] = round(event.time, 6)
    return json.dumps(fields, separators=(",", ":"), allow_nan=False) + "\n"


def load(path: Path) -> list[Event]:
    """The history in a file. A last line that was cut off by a crash is left out.

    Raises MalformedHistory for what no run can have written."""
    events: list[Event] = []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if number == len(lines) - 1 and not line.endswith("\n"):
            break
        try:
            event = Event(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise MalformedHistory(f"line {number + 1} is no event: {error}") from error
        if event.index != number:
            raise MalformedHistory(f"line {number + 1} has index {event.index}")
        events.append(event)
    return events


def pairs(events: Iterable[Event]) -> Iterator[Pair]:
    """Operations in the order in which they began, without those of the nemesis.

    Raises MalformedHistory for a completion of nothing, and for a process that does two
    things at once or goes on after an unknown outcome."""
    events = list(events)
    ends: dict[int, Event] = {}
    busy: dict[int, Event] = {}
    retired: set[int] = set()
    for event in events:
        if event.process == NEMESIS:
            continue
        if event.type == "invoke":
            if event.process in busy or event.process in retired:
                raise MalformedHistory(f"process {event.process} is not free for {event}")
            busy[event.process] = event
            continue
        begun = busy.pop(event.process, None)
        if begun is None or _what(begun) != _what(event):
            raise MalformedHistory(f"it completes nothing: {event}")
        if event.type == "info":
            retired.add(event.process)
        ends[begun.index] = event
    for event in events:
        if event.type == "invoke" and event.process != NEMESIS:
            yield Pair(event, ends.get(event.index))


def _what(event: Event) -> tuple[str, str, str]:
    """What an invoke and its completion have in common."""
    return event.workload, event.f, event.key


def of_workload(events: Iterable[Event], workload: str) -> list[Event]:
    """The events of one workload."""
    return [event for event in events if event.workload == workload]


def operation(pair: Pair, kind: str, value: Any, result: Any) -> Operation:
    """An operation as checkers take it: `kind`, `value` and `result` in a checker's words."""
    end = pair.completion if pair.outcome != "info" else None
    return Operation(
        process=str(pair.invoke.process),
        kind=kind,
        key=pair.invoke.key,
        value=value,
        outcome=pair.outcome,
        result=result if pair.outcome == "ok" else None,
        invoked=pair.invoke.time,
        completed=None if end is None else end.time,
    )


def last_time(events: Sequence[Event]) -> float:
    """When the last event happened; zero for none."""
    return events[-1].time if events else 0.0
