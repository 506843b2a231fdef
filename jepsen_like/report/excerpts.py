"""What the nodes wrote that is worth reading: errors, last words, and the lines around a
violation."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jepsen_like.protocols import Violation
from jepsen_like.report.run import Run
from jepsen_like.report.words import moment, value

LINE_MAX: Final = 400  # characters of a line
BEFORE: Final = 2  # lines before a loud one
BLOCK_MAX: Final = 30  # lines of one excerpt
LOUD_MAX: Final = 6  # excerpts of one node's errors
AROUND_S: Final = 0.5  # before and after a violation
VIOLATIONS_MAX: Final = 8
LOUD: Final = frozenset({"error", "critical"})
# What says no more than the line already says.
COMMON: Final = frozenset({"ts", "level", "event", "node", "logger"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log, as it is shown; `time` counts from the run's begin, if known."""

    text: str
    time: float | None = None
    loud: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines that belong together, and why they are shown."""

    why: str
    lines: tuple[Line, ...]


def excerpts(run: Run) -> list[Excerpt]:
    """All excerpts: unexpected ends, errors of each node, lines around each violation."""
    found = [_said(end) for end in run.record.ends]
    violations = [one for verdict in run.verdicts for one in verdict.violations]
    windows = {_middle(one): one for one in violations[:VIOLATIONS_MAX] if one.operations}
    around: dict[float, list[Line]] = {middle: [] for middle in windows}
    for node, path in sorted(run.record.logs.items()):
        lines = list(read(path, run.wall_offset))
        found += [Excerpt(f"{node}, an error", block) for block in _loud(lines)]
        for middle, near in around.items():
            near += [_named(node, line) for line in lines if _is_near(line, middle)]
    for middle, near in around.items():
        if near:
            near.sort(key=lambda line: line.time or 0.0)
            why = f"all nodes around {windows[middle].workload} key {windows[middle].key}"
            found.append(Excerpt(f"{why} at {moment(middle)}", _capped(near)))
    return found


# --- reading -------------------------------------------------------------------------------


def read(path: Path, wall_offset: float | None) -> Iterator[Line]:
    """The lines of a node's log. One that is no JSON is the node's, or Python's, raw word."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                yield from lines_of(text.rstrip("\n"), wall_offset)
    except OSError as error:
        yield Line(f"the log cannot be read: {error}")


def lines_of(text: str, wall_offset: float | None) -> Iterator[Line]:
    """A line as people read it: time, level, event, and then everything else; what was
    several lines before it became JSON, such as a traceback, is several lines again."""
    said = _parsed(text)
    if said is None:
        loud = text.startswith(("Traceback", "Fatal Python error"))
        yield Line(text[:LINE_MAX], loud=loud)
        return
    rest = {name: value(part, LINE_MAX) for name, part in said.items() if name not in COMMON}
    short = " ".join(f"{name}={part}" for name, part in rest.items() if "\n" not in part)
    level = str(said.get("level", ""))
    shown = f"{level:<8} {said.get('event', '')}  {short}".rstrip()
    yield Line(shown[:LINE_MAX], _time(said.get("ts"), wall_offset), level in LOUD)
    for name, part in said.items():
        if "\n" in rest.get(name, ""):
            yield from (Line(f"    {one}"[:LINE_MAX]) for one in str(part).splitlines())


def _parsed(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _time(written: object, wall_offset: float | None) -> float | None:
    if wall_offset is None or not isinstance(written, str):
        return None
    try:
        return datetime.fromisoformat(written).timestamp() - wall_offset
    except ValueError:
        return None


# --- choosing ------------------------------------------------------------------------------


def _said(end: str) -> Excerpt:
    """An unexpected end: what is said of it comes with the node's last lines."""
    first, *rest = end.splitlines() or [""]
    lines = tuple(Line(text[:LINE_MAX]) for text in rest[-BLOCK_MAX:])
    return Excerpt(f"unexpected end: {first}", lines)


def _loud(lines: Iterable[Line]) -> list[tuple[Line, ...]]:
    """Each error with the lines before it, and with its traceback after it."""
    before: deque[Line] = deque(maxlen=BEFORE)
    blocks: list[list[Line]] = []
    inside = False
    for one in lines:
        if one.loud and not inside:
            if len(blocks) == LOUD_MAX:
                break
            blocks.append([*before, one])
        elif inside and (one.loud or one.time is None):
            blocks[-1].append(one)
        inside = one.loud or (inside and one.time is None)
        before.append(one)
    return [_capped(block) for block in blocks]


def _capped(lines: Sequence[Line]) -> tuple[Line, ...]:
    more = len(lines) - BLOCK_MAX
    return (*lines[:BLOCK_MAX], *([Line(f"… and {more} more lines")] if more > 0 else []))


def _middle(violation: Violation) -> float:
    """When a violation came to light."""
    operations = violation.operations
    one = operations[-1 if violation.stuck is None else violation.stuck]
    return one.invoked if one.completed is None else one.completed


def _is_near(one: Line, middle: float) -> bool:
    return one.time is not None and abs(one.time - middle) <= AROUND_S


def _named(node: str, one: Line) -> Line:
    return Line(f"{node}  {one.text}", one.time, one.loud)
