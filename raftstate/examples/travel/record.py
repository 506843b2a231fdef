"""All that is known of one run: what the demo saw, or what `verify` read from files.

The kinds of lines of each journal:

agents/NAME.jsonl and workers/NAME.jsonl, written by the process itself
    started    pid
    waiting    asked for ownership
    owned      token, booked (how many bookings the restored state has), doubts (effects
               whose outcome nobody knows)
    calling    trip, leg, key, effect_id: in the ledger as dispatched; the call comes next
    sending    leg, key, what (book or cancel), request: the call itself
    answered   request, status, what
    unanswered request, error
    failed     trip, leg, error, message: the step was given up, and is tried again
    step       trip, leg, key, step, seq, revision, token: acknowledged
    closed     step, seq, revision, token: the rest was called off
    refused    token, error, reason, definite, judge
    lost       error, reason, definite
    finished   booked
    validated  passed, rollback_id, differ (keys of which book and state say another thing)
processes.jsonl, written by the demo
    born       name, role, pid
    ended      name, role, pid, wait_status, lines (how many its journal has)
signals.jsonl, written by the demo: `at` is the time just before the signal
    stop       target, pid, signal, done_at, wait_status, held; where it was held, also
               effect_id and effect_state, as the ledger had it then
    resume     target, pid, signal, done_at, wait_status
    kill       target, pid, signal, done_at, wait_status
    down, up   service: its bookings fail from now on, or no longer do
ledger.jsonl     effect, with every field that the judge looks at
recovery.jsonl   rollback, item, incident, breaker, checkpoint, agent
events.jsonl     event, with every field of the stored event, and undone_by
books/NAME.sqlite   the services' own books
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raftstate.examples.census.evidence import Line
from raftstate.examples.travel.book import Read, Row

AGENT, WORKER, SERVICE = "agent", "worker", "service"
AGENT_ID, BREAKER, VALIDATOR = "travel", "car", "travel-books"
SERVER, CLIENT = "server", "client"
# What the store says to a writer of the past.
STALE = frozenset({"FENCED", "NOT_OWNER", "AGENT_STATE"})


@dataclass(slots=True)
class Record:
    """One run. Lists are in the order in which the lines were written."""

    plan: dict[str, Any]
    stream: dict[str, Any]
    books: dict[str, Read]
    agents: dict[str, list[Line]] = field(default_factory=dict)
    workers: dict[str, list[Line]] = field(default_factory=dict)
    processes: list[Line] = field(default_factory=list)
    signals: list[Line] = field(default_factory=list)
    ledger: list[Line] = field(default_factory=list)
    recovery: list[Line] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)

    # --- what the store said ---

    @property
    def rollback(self) -> Line:
        """The rollback. Raises ValueError unless there is exactly one."""
        return self._only("rollback")

    @property
    def breaker(self) -> Line:
        """The breaker of the car service. Raises ValueError unless there is one."""
        return self._only("breaker")

    @property
    def agent(self) -> Line:
        """The agent, as it was left. Raises ValueError unless there is one."""
        return self._only("agent")

    @property
    def items(self) -> list[Line]:
        """What the rollback had to undo, in its order."""
        return self.told("item")

    @property
    def incident(self) -> Line:
        """The incident that the rollback belongs to. Raises ValueError if it is missing."""
        wanted = self.rollback["incident_id"]
        found = [one for one in self.told("incident") if one["incident_id"] == wanted]
        if len(found) != 1:
            raise ValueError(f"there are {len(found)} incidents {wanted!r}")
        return found[0]

    def told(self, kind: str) -> list[Line]:
        """The lines of one kind in recovery.jsonl."""
        return [line for line in self.recovery if line["kind"] == kind]

    def checkpoint(self, checkpoint_id: int) -> Line:
        """A checkpoint of the agent. Raises ValueError if it is missing."""
        found = [
            line for line in self.told("checkpoint") if line["checkpoint_id"] == checkpoint_id
        ]
        if len(found) != 1:
            raise ValueError(f"there are {len(found)} checkpoints {checkpoint_id}")
        return found[0]

    def effects(self) -> dict[str, Line]:
        """The ledger by idempotency key."""
        return {line["key"]: line for line in self.ledger}

    def _only(self, kind: str) -> Line:
        found = self.told(kind)
        if len(found) != 1:
            raise ValueError(f"there are {len(found)} lines of kind {kind} in recovery.jsonl")
        return found[0]

    # --- what the services say ---

    def entries(self, *kinds: str) -> list[Row]:
        """The entries of all books that say one of these, in the order of their times,
        each with the service it is of."""
        found = [
            {**entry, "leg": leg}
            for leg, book in self.books.items()
            for entry in book.of(*kinds)
        ]
        return sorted(found, key=lambda entry: int(entry["at_ns"]))

    # --- what the processes say ---

    @property
    def callers(self) -> Mapping[str, list[Line]]:
        """Every process that called a service, and what it wrote."""
        return {**self.agents, **self.workers}

    def lines(self, kind: str) -> list[tuple[str, Line]]:
        """All processes' lines of one kind with who wrote them, in time."""
        found = [
            (name, line)
            for name, lines in self.callers.items()
            for line in lines
            if line["kind"] == kind
        ]
        return sorted(found, key=lambda pair: float(pair[1]["at"]))

    def signalled(self, kind: str) -> list[Line]:
        """The signals of one kind."""
        return [line for line in self.signals if line["kind"] == kind]
