"""How processes write down what they saw, so that others can judge it later.

A journal is a file of JSON lines, written line by line with one `write` each:
what a killed process wrote before its death is there. Every line has its number,
the time, and a seal over itself and the seal before it, so a line that is missing,
doubled or altered shows, except at the very end: a journal that was closed has a
last line that says so, and how many lines a killed process left is written down
by the process that buried it.

Times are `time.monotonic()`, which on Linux is CLOCK_MONOTONIC: one clock for all
processes of the machine, so times of different files compare.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO, Self

Line = dict[str, Any]

END = "end"
NO_SEAL = ""


def seal_of(previous: str, line: Line) -> str:
    """The seal of a line, over all of it and the seal of the line before."""
    body = json.dumps({k: v for k, v in line.items() if k != "seal"}, sort_keys=True)
    return hashlib.blake2b(previous.encode() + body.encode(), digest_size=8).hexdigest()


def is_taken(path: Path) -> bool:
    """Whether there is anything at a path but an empty folder."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


class Journal:
    """An append-only file of sealed lines. `lines` are those written so far."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self.lines: list[Line] = []
        self._seal = NO_SEAL

    def write(self, kind: str, *, at: float | None = None, **fields: Any) -> Line:
        """Write one line; it is with the kernel, hence safe from our death, on return."""
        line: Line = {
            "n": len(self.lines) + 1,
            "at": time.monotonic() if at is None else at,
            "kind": kind,
            **fields,
        }
        line["seal"] = seal_of(self._seal, line)
        data = json.dumps(line).encode() + b"\n"
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError(f"{written} of {len(data)} bytes of a line of evidence were written")
        self._seal = str(line["seal"])
        self.lines.append(line)
        return line

    def close(self, *, at: float | None = None) -> None:
        """Write the last line, and close."""
        self.write(END, at=at)
        self.lines.pop()  # it says something about the journal, not of the run
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tail:
    """Follows a journal that another process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def read(self) -> list[Line]:
        """The lines that were completed since the last call."""
        if self._file is None:
            if not self._path.exists():
                return []
            self._file = self._path.open("rb")
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Follow it no longer."""
        if self._file is not None:
            self._file.close()


def read_journal(path: Path, *, closed: bool) -> tuple[list[Line], list[str]]:
    """The lines of a journal, and what is wrong with it.

    `closed`: it must have its last line, which is not among those returned.
    """
    if not path.is_file():
        return [], [f"{path.name}: missing"]
    lines: list[Line] = []
    wrong: list[str] = []
    seal = NO_SEAL
    *texts, rest = path.read_text().split("\n")
    if rest:
        wrong.append(f"{path.name}: the last line is torn")
    for number, text in enumerate(texts, 1):
        line = _parse(text)
        if line is None:
            wrong.append(f"{path.name}:{number}: not a line of evidence")
            continue
        if line.get("n") != number:
            wrong.append(f"{path.name}:{number}: says that it is line {line.get('n')}")
        if line.get("seal") != seal_of(seal, line):
            wrong.append(f"{path.name}:{number}: the seal is broken")
        seal = str(line.get("seal"))
        lines.append(line)
    if closed and not (lines and lines.pop()["kind"] == END):
        wrong.append(f"{path.name}: was not closed, its end is missing")
    return lines, wrong


def _parse(text: str) -> Line | None:
    """A line, or None if the text is none."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or not {"n", "at", "kind", "seal"} <= line.keys():
        return None
    return line


def write_json(path: Path, value: object) -> None:
    """Write a value for people and for `read_json`."""
    path.write_text(_json_text(value))


def read_json(path: Path) -> Any:
    """Read back what `write_json` wrote: exactly that, for a line more, such as a key
    that is there twice, need not change what a lenient reader makes of it.

    Raises ValueError if it is anything else.
    """
    text = path.read_text()
    value = json.loads(text)
    if text != _json_text(value):
        raise ValueError(f"{path.name} is not as it was written")
    return value


def _json_text(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
