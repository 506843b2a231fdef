"""Recompute the travel demo's outcome from the evidence it left, and nothing else.

It reads the folder that the demo's `--out` filled: the services' own books, the log as
it was exported, and what the processes wrote down. It needs no cluster and takes nothing
from `result.json` but the claim that it is to check.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from raftstate.examples.census.evidence import Line, read_journal, read_json
from raftstate.examples.census.manifest import differences
from raftstate.examples.census.verify import unlike
from raftstate.examples.travel.book import read_book
from raftstate.examples.travel.figures import outcome
from raftstate.examples.travel.judge import violations
from raftstate.examples.travel.record import Record
from raftstate.examples.travel.report import report

# What reading or judging an ill-formed file may end in.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, sqlite3.Error)


def load(folder: Path) -> tuple[Record, list[str]]:
    """The record in a folder, and what is wrong with the files themselves.

    Raises one of MALFORMED or OSError if a file is missing or is not what it should be.
    """
    wrong: list[str] = []

    def journal(name: str, *, closed: bool = True) -> list[Line]:
        lines, complaints = read_journal(folder / name, closed=closed)
        wrong.extend(complaints)
        return lines

    def journals(name: str) -> dict[str, list[Line]]:
        paths = sorted((folder / name).glob("*.jsonl"))
        return {path.stem: journal(f"{name}/{path.name}", closed=False) for path in paths}

    record = Record(
        plan=read_json(folder / "plan.json"),
        stream=read_json(folder / "stream.json"),
        books={
            path.stem: read_book(path) for path in sorted((folder / "books").glob("*.sqlite"))
        },
        agents=journals("agents"),
        workers=journals("workers"),
        processes=journal("processes.jsonl"),
        signals=journal("signals.jsonl"),
        ledger=journal("ledger.jsonl"),
        recovery=journal("recovery.jsonl"),
        events=journal("events.jsonl"),
    )
    return record, wrong


def verify(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The recomputed outcome, and everything that is wrong."""
    try:
        wrong = differences(folder)
    except (*MALFORMED, OSError) as error:
        wrong = [f"the manifest cannot be read: {type(error).__name__}: {error}"]
    try:
        record, complaints = load(folder)
        recomputed = outcome(record)
        wrong += complaints + violations(record)
        claimed = read_json(folder / "result.json")
        if (folder / "report.txt").read_text() != report(record):
            wrong.append("report.txt is not what the evidence says")
    except (*MALFORMED, OSError) as error:
        return {}, [*wrong, f"the evidence cannot be read: {type(error).__name__}: {error}"]
    wrong += unlike(claimed, recomputed)
    return recomputed, wrong
