"""What a run leaves behind, file by file, and how it is read again.

    run.json        what was run: seed, command, nodes, phases, schedule
    history.jsonl   what was asked and what came back (history.py)
    history.edn     the same, for tools of Jepsen's
    status.jsonl    what the members said of themselves (monitor.py)
    log.jsonl       the committed log, read after the heal
    notes.json      what workloads noted beside: an outside resource, say
    results.json    verdicts
    nodes/N.log     what each node wrote
    report.html     all of it, to look at

Judging and reporting need nothing but this folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from jepsen_like import history, monitor
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.protocols import LoggedEvent, Record, Verdict, Violation

RUN: Final = "run.json"
HISTORY: Final = "history.jsonl"
EDN: Final = "history.edn"
STATUS: Final = "status.jsonl"
LOG: Final = "log.jsonl"
NOTES: Final = "notes.json"
RESULTS: Final = "results.json"
NODES: Final = "nodes"


def write_json(path: Path, document: Any) -> None:
    """A document that people may read too."""
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """A document. Raises MalformedHistory if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MalformedHistory(f"{path}: {error}") from error


def write_log(path: Path, log: Iterable[LoggedEvent]) -> None:
    """The committed log, one event a line."""
    with path.open("w", encoding="utf-8") as file:
        for event in log:
            file.write(json.dumps(asdict(event), separators=(",", ":")) + "\n")


def read_log(path: Path) -> list[LoggedEvent]:
    """The committed log of a run; empty if it could not be read at the time."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [LoggedEvent(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise MalformedHistory(f"{path}: {error}") from error


def read_record(folder: Path) -> Record:
    """Everything that may be judged by. Raises MalformedHistory if it is no run's."""
    run = read_json(folder / RUN)
    notes = folder / NOTES
    try:
        nodes = tuple(run["nodes"])
        return Record(
            nodes=nodes,
            workloads=tuple(run["workloads"]),
            nemeses=tuple(run["nemeses"]),
            seed=run["seed"],
            phases=run.get("phases", {}),
            events=history.load(folder / HISTORY),
            samples=monitor.load(folder / STATUS),
            log=read_log(folder / LOG),
            ends=tuple(run.get("ends", ())),
            remote=bool(run.get("endpoints")),
            left_out=tuple(run.get("left_out", ())),
            tally=run.get("tally", {}),
            logs={
                node: path
                for node in nodes
                if (path := folder / NODES / f"{node}.log").exists()
            },
            notes=read_json(notes) if notes.exists() else {},
        )
    except (KeyError, TypeError, OSError) as error:
        raise MalformedHistory(f"{folder} is not the folder of a run: {error!r}") from error


def write_results(
    folder: Path, summary: Mapping[str, Any], verdicts: Sequence[Verdict]
) -> None:
    """What was found: the summary, and under "verdicts" all of it."""
    document = {**summary, "verdicts": [_plain(verdict) for verdict in verdicts]}
    write_json(folder / RESULTS, document)


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "violations": [_drawn(one) for one in verdict.violations]}


def _drawn(violation: Violation) -> dict[str, Any]:
    return {
        **asdict(violation),
        "operations": [asdict(one) for one in violation.operations],
    }
