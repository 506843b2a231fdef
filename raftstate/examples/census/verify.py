"""Recompute the outcome of a census from its evidence alone.

    python -m raftstate.examples.verify DIR

No server is asked and no summary is believed: the figures come from the agents'
own journals, the signals, the exported events and the members' own logs. They must be
those of `DIR/result.json`, and every rule of `judge` must hold.

Before that every file must be as `DIR/manifest.json` lists it. Neither the manifest nor
the seals of the journals have a key: they find accidents and careless edits. Who writes
them anew is found by the rules as far as the story no longer fits, and one who invents
another run without a contradiction is not found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raftstate.examples.census.evidence import Line, read_journal, read_json
from raftstate.examples.census.figures import outcome
from raftstate.examples.census.judge import violations
from raftstate.examples.census.manifest import differences
from raftstate.examples.census.members import read_logs
from raftstate.examples.census.record import Record

# What odd but well-formed JSON makes of code that expects a record.
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def load(folder: Path) -> tuple[Record, list[str]]:
    """The record in a folder, and what is wrong with the files themselves.

    Raises one of MALFORMED or OSError if a file is missing or is not what it should be.
    """
    record = Record(
        plan=read_json(folder / "plan.json"),
        reference=read_json(folder / "reference.json"),
        stream=read_json(folder / "stream.json"),
        status_before=read_json(folder / "status-before.json"),
        status_after=read_json(folder / "status-after.json"),
    )
    wrong: list[str] = []

    def journal(name: str, *, closed: bool) -> list[Line]:
        lines, complaints = read_journal(folder / name, closed=closed)
        wrong.extend(complaints)
        return lines

    record.kills = journal("kills.jsonl", closed=True)
    record.processes = journal("processes.jsonl", closed=True)
    record.statuses = journal("statuses.jsonl", closed=True)
    record.events = journal("events.jsonl", closed=True)
    for path in sorted((folder / "agents").glob("*.jsonl")):
        record.agents[path.stem] = journal(f"agents/{path.name}", closed=False)
    record.logs = read_logs(folder / "logs")
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
    except (*MALFORMED, OSError) as error:
        return {}, [*wrong, f"the evidence cannot be read: {type(error).__name__}: {error}"]
    wrong += unlike(claimed, recomputed)
    return recomputed, wrong


def unlike(claimed: dict[str, Any], recomputed: dict[str, Any]) -> list[str]:
    """Where a summary is not what the evidence gives."""
    return [
        f"result.json says {key} is {claimed.get(key)!r}, the evidence {recomputed.get(key)!r}"
        for key in sorted(recomputed.keys() | claimed.keys())
        if recomputed.get(key) != claimed.get(key) or (key in recomputed) != (key in claimed)
    ]
