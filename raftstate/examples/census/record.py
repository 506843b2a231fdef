"""All that is known of one run: what `demo` saw live, or what `verify` read from files.

The words of the journals, one kind of line each:

agents/NAME.jsonl, written by the agent process itself
    started   pid
    waiting   asked for ownership
    owned     token, restored (how many files the restored state has done)
    begun     index, path: the step's block was entered
    sending   index, path: the block is done, the commit comes next
    step      index, path, step, seq, revision, token: acknowledged
    refused   index, path, token, error, reason, definite, judge
    lost      error, reason, definite: ownership ended outside a step
    finished  totals: nothing left to do
kills.jsonl, written by the demo: `at` is the time just before the signal
    kill      strike, role, target, pid, signal, files_done, done_at, wait_status
    stop      as kill; held (stopped inside a step; otherwise resumed at once)
    resume    as kill
    restart   target, pid: a killed member is back
processes.jsonl, written by the demo
    born      name, pid
    ended     name, pid, wait_status, lines (how many its journal has)
statuses.jsonl: status, with member, pid and what the member said of itself when asked;
    status-before.json and status-after.json are each member's first and last
logs/NAME.log, written by the member itself: what `members` says of them
events.jsonl: event, with every field of the stored event
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from raftstate.examples.census.evidence import Line

SERVER, CLIENT = "server", "client"
STALE = frozenset({"FENCED", "NOT_OWNER", "OWNERSHIP_LOST", "SESSION_EXPIRED"})


@dataclass(slots=True)
class Record:
    """One run. Lists are in the order in which the lines were written."""

    plan: dict[str, Any]
    reference: dict[str, Any]
    stream: dict[str, Any]
    status_before: dict[str, Any]
    status_after: dict[str, Any]
    agents: dict[str, list[Line]] = field(default_factory=dict)
    kills: list[Line] = field(default_factory=list)
    processes: list[Line] = field(default_factory=list)
    statuses: list[Line] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)
    logs: dict[str, list[Line]] = field(default_factory=dict)

    def lines(self, kind: str) -> list[tuple[str, Line]]:
        """All agents' lines of one kind with the process that wrote them, in time."""
        found = [
            (name, line)
            for name, lines in self.agents.items()
            for line in lines
            if line["kind"] == kind
        ]
        return sorted(found, key=lambda pair: float(pair[1]["at"]))

    def struck(self, kind: str, role: str) -> list[Line]:
        """The signals of one kind that were sent to agents, or to leaders."""
        return [line for line in self.kills if (line["kind"], line.get("role")) == (kind, role)]
