"""What the figures of a run mean, computed from its record.

Everything here is a plain function of what was recorded: it does not matter
whether the record was seen live or read from files a year later.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from raftstate.examples.census.evidence import Line
from raftstate.examples.census.ledger import untold
from raftstate.examples.census.members import INSTALLED, TAKEN, counted
from raftstate.examples.census.record import STALE, Record
from raftstate.examples.census.reference import totals

NEAR_S = 1.0  # a gap is "around" a kill if it began at most this long after it


def outcome(record: Record) -> dict[str, Any]:
    """The object that `--json` prints."""
    agent_kills = record.struck("kill", "agent")
    leader_kills = record.struck("kill", "leader")
    return {
        "files": len(record.reference["rows"]),
        "matches_reference": matches_reference(record),
        "steps_lost": len(steps_lost(record)),
        "steps_duplicated": len(steps_duplicated(record)),
        "agent_kills": len(agent_kills),
        "leader_kills": len(leader_kills),
        "takeover_ms": [takeover_ms(record, kill) for kill in agent_kills],
        "write_gap_ms": [write_gap_ms(record, kill) for kill in leader_kills],
        "stale_writes_refused": len(stale_refusals(record)),
        "snapshots": counted(record, TAKEN),
        "snapshot_installs": counted(record, INSTALLED),
        "seed": record.plan["seed"],
    }


def matches_reference(record: Record) -> bool:
    """Whether the events tell exactly what a plain loop over the files found, one row
    and all totals, and every agent that reached the end had the same totals."""
    rows = [row for _, row in _told(record.events)]
    expected = record.reference["totals"]
    ends = [line["totals"] for _, line in record.lines("finished")]
    return (
        rows == record.reference["rows"]
        and totals(rows) == expected
        and ends != []
        and all(end == expected for end in ends)
    )


def steps_lost(record: Record) -> list[Line]:
    """Acknowledged steps that the store does not hold as they were acknowledged."""
    held = {(event["seq"], event["step"], event["revision"]): event for event in record.events}
    return [
        ack
        for _, ack in record.lines("step")
        if not _tells_of(held.get((ack["seq"], ack["step"], ack["revision"])), ack)
    ]


def steps_duplicated(record: Record) -> list[str]:
    """Files told of more than once, or acknowledged more than once."""
    told = Counter(str(row["path"]) for _, row in _told(record.events))
    acked = Counter(str(ack["path"]) for _, ack in record.lines("step"))
    extra = (told - Counter(set(told))) + (acked - Counter(set(acked)))
    return sorted(extra.elements())


def takeover_ms(record: Record, kill: Line) -> float | None:
    """From just before the signal to the first step acknowledged to somebody else."""
    after = [
        ack["at"]
        for name, ack in record.lines("step")
        if ack["at"] > kill["at"] and name != kill["target"]
    ]
    return _ms(after[0] - kill["at"]) if after else None


def write_gap_ms(record: Record, kill: Line) -> float | None:
    """The longest time without an acknowledged step around the death of a leader."""
    times = [ack["at"] for _, ack in record.lines("step")]
    gaps = [
        later - earlier
        for earlier, later in pairwise(times)
        if later > kill["at"] and earlier < kill["at"] + NEAR_S
    ]
    return _ms(max(gaps)) if gaps else None


def stale_refusals(record: Record) -> list[Line]:
    """Ordinary steps that a resumed process tried, and was definitely refused."""
    resumed = {stop["target"]: resume["at"] for stop, resume in holds(record)}
    return [
        line
        for name, line in record.lines("refused")
        if line["at"] > resumed.get(name, float("inf"))
        and line["definite"] is True
        and line["reason"] in STALE
    ]


def holds(record: Record) -> list[tuple[Line, Line]]:
    """Each stop that was held, with the resume that ended it."""
    pairs = []
    for number, stop in enumerate(record.kills):
        if stop["kind"] == "stop" and stop["held"]:
            later = record.kills[number + 1 :]
            pairs += [
                (stop, line)
                for line in later
                if line["kind"] == "resume" and line["pid"] == stop["pid"]
            ][:1]
    return pairs


def _told(events: list[Line]) -> list[tuple[int, dict[str, Any]]]:
    return [untold(json.loads(event["data"])) for event in events]


def _tells_of(event: Line | None, ack: Line) -> bool:
    """Whether the event is the one that the acknowledgement speaks of."""
    if event is None:
        return False
    told = json.loads(event["data"])
    return (told["path"], told["index"]) == (ack["path"], ack["index"])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
