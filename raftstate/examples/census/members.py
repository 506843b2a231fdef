"""What the members' own logs say of a run, and the rules about the cluster.

A log is one member's words over all its lives, a life being one process. The samples in
`statuses.jsonl` come from elsewhere, by way of the API, at moments of their own; so what
the two say must fit, and what one of them no longer says shows in the other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from raftstate.examples.census.evidence import Line
from raftstate.examples.census.record import Record

COMPACTIONS_MIN = 3
INSTALLS_MIN = 1

OPENED, SERVING, STOPPING, STOPPED = "data folder opened", "serving", "stopping", "stopped"
ROLE, TAKEN, INSTALLED = "role", "snapshot taken", "snapshot installed"
COUNTED = {TAKEN: "snapshots_taken", INSTALLED: "snapshots_installed"}


def read_logs(folder: Path) -> dict[str, list[Line]]:
    """The lines of every member's log that are its own, not some library's last words."""
    return {
        path.stem: [
            json.loads(text)
            for text in path.read_text(errors="replace").splitlines()
            if text.startswith("{")
        ]
        for path in sorted(folder.glob("*.log"))
    }


@dataclass(frozen=True, slots=True)
class Life:
    """What one process of a member wrote into the member's log, in order."""

    member: str
    lines: list[Line]

    @property
    def pids(self) -> list[int]:
        """The process id: once, if the life is whole."""
        return [line["pid"] for line in self.of(SERVING)]

    def of(self, event: str) -> list[Line]:
        """The lines of one kind."""
        return [line for line in self.lines if line["event"] == event]


def lives(record: Record) -> list[Life]:
    """Every life of every member. One begins where a process opens the data folder."""
    found: list[Life] = []
    for member, lines in record.logs.items():
        begins = [number for number, line in enumerate(lines) if line["event"] == OPENED]
        for begin, end in pairwise([*begins, len(lines)]):
            found.append(Life(member, lines[begin:end]))
    return found


def counted(record: Record, event: str) -> int:
    """How often any member wrote of an event, in all its lives."""
    return sum(line["event"] == event for lines in record.logs.values() for line in lines)


# --- the logs --------------------------------------------------------------------


def every_life_is_in_the_logs(record: Record) -> Iterator[str]:
    """Each member's log tells of the process it began with and of every restart, in that
    order and of no others; killed ones did not stop, and the last one did, in order."""
    if not record.logs.keys() == record.status_before.keys() == record.status_after.keys():
        yield "logs, status-before and status-after name different members"
    expected = {name: [line["pid"]] for name, line in record.status_before.items()}
    for line in record.kills:
        if line["kind"] == "restart":
            expected.setdefault(line["target"], []).append(line["pid"])
    found: dict[str, list[Life]] = {}
    for life in lives(record):
        found.setdefault(life.member, []).append(life)
    for member, pids in expected.items():
        own = found.get(member, [])
        if [life.pids for life in own] != [[pid] for pid in pids]:
            yield f"logs: {member} lived as {[life.pids for life in own]}, not as {pids}"
        for life in own:
            ends = [ln["event"] for ln in life.lines if ln["event"] in {STOPPING, STOPPED}]
            if ends != ([STOPPING, STOPPED] if life is own[-1] else []):
                yield f"logs: process {life.pids} of {member} ended with {ends}"
    for member, lines in record.logs.items():
        if any(line["node"] != member for line in lines):
            yield f"logs: the log of {member} holds lines of another member"
    known = {(life.member, pid) for life in lives(record) for pid in life.pids}
    for name, pid in sorted({(ln["member"], ln["pid"]) for ln in record.statuses} - known):
        yield f"logs: process {pid} of {name} is in no log"


def the_logs_agree_on_leaders(record: Record) -> Iterator[str]:
    """No two members say of a term that different members led it; who was seen leading
    says so itself, and who was killed as the leader said nothing later."""
    leaders: dict[int, set[str]] = {}
    roles: dict[tuple[str, int], list[str]] = {}
    for life in lives(record):
        for line in life.of(ROLE):
            if line["leader"]:
                leaders.setdefault(line["term"], set()).add(line["leader"])
            for pid in life.pids:
                roles.setdefault((life.member, pid), []).append(line["role"])
        terms = [line["term"] for line in life.lines if "term" in line]
        if terms != sorted(terms):
            yield f"logs: the term of {life.member} runs backwards"
    for term, names in sorted(leaders.items()):
        if len(names) > 1:
            yield f"logs: {sorted(names)} all led term {term}"
    seen = {(ln["member"], ln["pid"]) for ln in record.statuses if ln["role"] == "leader"}
    for member, pid in sorted(seen):
        if "leader" not in roles.get((member, pid), []):
            yield f"logs: process {pid} of {member} was seen leading, and says nothing of it"
    for kill in record.struck("kill", "leader"):
        if roles.get((kill["target"], kill["pid"]), [])[-1:] != ["leader"]:
            yield f"logs: {kill['target']} did not lead when it was killed"


def snapshots_are_told_once(record: Record) -> Iterator[str]:
    """The beginning of a log only grows, and with every snapshot: one that is told twice
    did not happen twice."""
    for member, lines in record.logs.items():
        for event in COUNTED:
            firsts = [line["first_index"] for line in lines if line["event"] == event]
            if any(later <= earlier for earlier, later in pairwise(firsts)):
                yield f"logs: {member}: {event!r} does not move the beginning of the log"
        firsts = [line["first_index"] for line in lines if line["event"] in COUNTED]
        if firsts != sorted(firsts):
            yield f"logs: {member}: the beginning of the log moves back"


def samples_fit_the_logs(record: Record) -> Iterator[str]:
    """A process that showed a counter of k at some commit index has written of k such
    events up to there, and of the others later."""
    for life in lives(record):
        own = [
            line
            for line in record.statuses
            if line["member"] == life.member and line["pid"] in life.pids
        ]
        for event, counter in COUNTED.items():
            at = [line["commit_index"] for line in life.of(event)]
            for line in own:
                count, commit = line[counter], line["commit_index"]
                if (
                    count > len(at)
                    or any(index > commit for index in at[:count])
                    or any(index < commit for index in at[count:])
                ):
                    yield (
                        f"statuses.jsonl:{line['n']}: {counter} is {count} at entry {commit}, "
                        f"but the log of {life.member} says otherwise"
                    )


def statuses_are_samples(record: Record) -> Iterator[str]:
    """status-before and status-after are each member's first and last sample."""
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for line in record.statuses:
        first.setdefault(line["member"], line)
        last[line["member"]] = line
    if record.status_before != first:
        yield "status-before.json is not the first sample of every member"
    if record.status_after != last:
        yield "status-after.json is not the last sample of every member"


# --- the cluster -----------------------------------------------------------------


def the_log_was_cut_and_installed(record: Record) -> Iterator[str]:
    """One member cut its log at least three times; a killed leader that was restarted
    came back by snapshot install."""
    taken: Counter[str] = Counter()
    installs = 0
    restarted = {(ln["target"], ln["pid"]) for ln in record.kills if ln["kind"] == "restart"}
    for life in lives(record):
        taken[life.member] += len(life.of(TAKEN))
        if any((life.member, pid) in restarted for pid in life.pids):
            installs += len(life.of(INSTALLED))
    if max(taken.values(), default=0) < COMPACTIONS_MIN:
        yield f"no member compacted its log {COMPACTIONS_MIN} times: {dict(taken)}"
    if installs < INSTALLS_MIN:
        yield "no restarted member came back by snapshot install"


def leaders_were_restarted(record: Record) -> Iterator[str]:
    """Every killed leader came back as another process, before the next one was killed."""
    for kill in record.struck("kill", "leader"):
        back = [
            line
            for line in record.kills
            if line["kind"] == "restart"
            and line["target"] == kill["target"]
            and line["at"] > kill["done_at"]
            and line["pid"] != kill["pid"]
        ]
        if not back:
            yield f"leader {kill['target']} was not restarted"
    if len([ln for ln in record.kills if ln["kind"] == "restart"]) != len(
        record.struck("kill", "leader")
    ):
        yield "there are not as many restarts as killed leaders"
    down = 0
    for line in record.kills:
        down += (line["kind"], line.get("role")) == ("kill", "leader")
        down -= line["kind"] == "restart"
        if down > 1:
            yield f"{line['target']} was killed while another member was down"


def members_agree(record: Record) -> Iterator[str]:
    """At the end every member holds the same state, hash for hash."""
    said: dict[str, Any] = record.status_after
    if len(said) != len(record.status_before):
        yield f"{len(said)} of {len(record.status_before)} members answered at the end"
    if len({(line["revision"], line["state_hash"]) for line in said.values()}) != 1:
        yield "the members do not hold the same state at the end"


RULES = (
    every_life_is_in_the_logs,
    the_logs_agree_on_leaders,
    snapshots_are_told_once,
    samples_fit_the_logs,
    statuses_are_samples,
    the_log_was_cut_and_installed,
    leaders_were_restarted,
    members_agree,
)
