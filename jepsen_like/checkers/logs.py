"""What the nodes themselves wrote: none may end by itself, and none may break inside.

A node that was told to end, or was killed, is no complaint; one that ended on its own is.
In what the nodes wrote no line may tell of an error that nobody expected.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jepsen_like.checkers.verdicts import verdict
from jepsen_like.protocols import Record, Verdict

# The ways in which the interpreter, its libraries and the C library say that it broke.
SIGNS: Final = re.compile(
    r"Traceback \(most recent call last\)|Fatal Python error|Exception ignored in"
    r"|exception was never retrieved|was never awaited"
    r"|\bpanic\b|Segmentation fault|double free|AddressSanitizer",
    re.IGNORECASE,
)
PER_NODE_MAX: Final = 5
_BEFORE = 2  # lines of an excerpt
_AFTER = 12
_LINE_MAX = 600  # characters of an excerpt's line


def check(record: Record) -> Verdict:
    """Whether no node ended unexpectedly, and none wrote of an unexpected error."""
    wrong = [f"unexpected end: {end}" for end in record.ends]
    unsure = []
    lines = found = 0
    for node in record.nodes:
        path = record.logs.get(node)
        if path is None or not path.is_file():
            unsure.append(f"what {node} wrote cannot be read")
            continue
        count, excerpts = _excerpts(path)
        lines += count
        found += len(excerpts)
        wrong += [f"{node} broke inside: {excerpt}" for excerpt in excerpts[:PER_NODE_MAX]]
    return verdict(
        "logs",
        f"no node ended unexpectedly, and none of {lines} lines tells of an unexpected error",
        wrong=wrong,
        unsure=unsure,
        figures={"unexpected_ends": len(record.ends), "lines": lines, "errors": found},
    )


def _excerpts(path: Path) -> tuple[int, list[str]]:
    """How many lines a log has, and the lines around each sign. What follows a sign within
    its excerpt belongs to it: one traceback is one error."""
    excerpts: list[list[str]] = []
    before: deque[str] = deque(maxlen=_BEFORE)
    count = left = 0
    for line in _lines(path):
        count += 1
        if left:
            excerpts[-1].append(line)
            left -= 1
        elif SIGNS.search(line):
            excerpts.append([f"line {count}", *before, line])
            left = _AFTER
        before.append(line)
    return count, ["\n".join(excerpt) for excerpt in excerpts]


def _lines(path: Path) -> Iterator[str]:
    """The lines of a log, none longer than an excerpt shows, without losing a sign."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            sign = SIGNS.search(line)
            start = max(0, sign.start() - _LINE_MAX // 2) if sign else 0
            yield line[start : start + _LINE_MAX].rstrip("\n")
