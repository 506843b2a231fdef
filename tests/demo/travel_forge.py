"""Makes the evidence of a travel demo that never was, true in every detail.

The services' books are real ones, kept by the services' own code under an invented clock;
what the store and the processes say is invented. A call is lost and made again, another
fails, an agent is stopped before a call, a worker dies in the middle of one: what the demo
would have left. `edit` and `edit_book` let a test forge like somebody who knows about
seals and the manifest, so that the rules behind them are tested too.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from raftstate.client.audit import GENESIS, event_hash
from raftstate.examples.census.evidence import NO_SEAL, Journal, Line, seal_of, write_json
from raftstate.examples.census.manifest import write_manifest
from raftstate.examples.travel import book as words
from raftstate.examples.travel.book import (
    MOVES,
    Asked,
    Book,
    Read,
    Row,
    entry_seal,
    read_book,
)
from raftstate.examples.travel.figures import outcome
from raftstate.examples.travel.itinerary import BOOKED, CALLED_OFF, Itinerary
from raftstate.examples.travel.judge import stored_event
from raftstate.examples.travel.plan import LEGS, Plan, draw
from raftstate.examples.travel.record import AGENT_ID, BREAKER, VALIDATOR, Record
from raftstate.examples.travel.report import report
from raftstate.examples.travel.verify import load

SEED = 11
STEP_S = 0.01
ROLLBACK = "00000000000000aa"
INCIDENT = "0000000000000002"
ROLES = {"agent": "agents", "worker": "workers"}


class Forge:
    """Plays a whole run in an instant, and writes what its processes would have."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.revision = folder, 100.0, 10
        for name in ("agents", "workers", "books"):
            (folder / name).mkdir(parents=True)
        self.plan: Plan = draw(SEED)
        self.books = {
            leg: Book(folder / "books" / f"{leg}.sqlite", clock=lambda: int(self.now * 1e9))
            for leg in LEGS
        }
        self.processes = Journal(folder / "processes.jsonl")
        self.signals = Journal(folder / "signals.jsonl")
        self.journals: dict[str, Journal] = {}
        self.counts: dict[str, int] = {}
        self.pids: dict[str, int] = {}
        self.requests: dict[str, int] = {}
        self.effects: list[Line] = []
        self.events: list[Line] = []
        self.checkpoints: list[Line] = []
        self.items: list[Line] = []
        self.state, self.step, self.hash = Itinerary(), 0, GENESIS
        self.token: list[int] = []

    def run(self) -> None:
        """The whole run; afterwards the folder is complete."""
        for leg in LEGS:
            self.hire(leg, "service")
        for name in ("agent-1", "agent-2", "worker-1", "worker-2"):
            self.hire(name, name.split("-")[0])
        self.own("agent-1")
        while self.state.trips < self.plan.stop_trip:
            for leg in self.state.missing:
                self.book("agent-1", leg)
            self.save()
        self.book("agent-1", "flight")
        held = self.stop()
        self.signals.write("down", at=self.tick(), service=BREAKER)
        self.tick(2.0)
        self.own("agent-2", doubts=[held["effect_id"]])
        self.settle(held, "UNKNOWN")
        for _ in range(4):
            self.fail("agent-2", "car")
        rollback = self.trip()
        self.refuse("agent-2", rollback)
        self.compensate(rollback)
        self.resume(held, rollback)
        self.signals.write("up", at=self.tick(), service=BREAKER)
        self.hire("agent-3", "agent")
        self.own("agent-3")
        self.close_trips("agent-3")
        self.finish(rollback)

    # --- the agents --------------------------------------------------------------------

    def own(self, name: str, doubts: list[str] | None = None) -> None:
        self.token = [1, self.revise()]
        have = len(self.state.booked)
        self.note(name, "owned", token=self.token, booked=have, doubts=doubts or [])

    def book(self, name: str, leg: str) -> None:
        """A booking; now and then one that fails first, or whose answer is lost."""
        number = len(self.effects) + 1
        if number == 4:
            self.fail(name, leg)
        effect = self.prepare(name, leg)
        if number == 7:
            self.call(name, leg, effect["key"], "book", heard=False)
            self.note(
                name, "failed", trip=effect["trip"], leg=leg, error="Unanswered", message=""
            )
            self.settle(effect, "UNKNOWN")
            effect |= {"dispatches": 2, "dispatched_revision": self.revise()}
            self.calling(name, effect)
        self.call(name, leg, effect["key"], "book")
        data = {"trip": effect["trip"], "leg": leg, "key": effect["key"]}
        self.event(BOOKED, data)
        self.settle(effect, "COMMITTED", revision=self.revision)
        self.note(name, "step", **data, **self.head(), token=self.token)

    def fail(self, name: str, leg: str) -> None:
        """A booking that a service does not make."""
        effect = self.prepare(name, leg)
        self.call(name, leg, effect["key"], "book", fail=True)
        self.settle(effect, "FAILED_BEFORE_EFFECT")
        self.note(name, "failed", trip=effect["trip"], leg=leg, error="NotDone", message="busy")

    def prepare(self, name: str, leg: str) -> Line:
        number = len(self.effects) + 1
        revision = self.revise()
        effect_id = f"{self.step + 1}/book-{leg}/{number}"
        effect: Line = {
            "agent_id": AGENT_ID,
            "effect_id": effect_id,
            "number": number,
            "state": "DISPATCHED",
            "effect_class": "IDEMPOTENT",
            "action": f"book-{leg}",
            "leg": leg,
            "trip": self.state.trips,
            "key": f"{AGENT_ID}#{effect_id}",
            "undo": "cancel-booking",
            "undo_key": f"{AGENT_ID}#{effect_id}:undo",
            "leaves_tombstone": True,
            "fence": self.token,
            "step": self.step + 1,
            "dispatches": 1,
            "prepared_revision": revision,
            "dispatched_revision": revision,
            "settled_revision": 0,
            "compensated_revision": 0,
            "plan_id": "",
            "error": "",
        }
        self.effects.append(effect)
        self.calling(name, effect)
        return effect

    def calling(self, name: str, effect: Line) -> None:
        told = {key: effect[key] for key in ("trip", "leg", "key", "effect_id")}
        self.note(name, "calling", **told)

    def settle(self, effect: Line, state: str, revision: int = 0) -> None:
        effect |= {"state": state, "settled_revision": revision or self.revise()}

    def call(
        self,
        name: str,
        leg: str,
        key: str,
        what: str,
        *,
        heard: bool = True,
        fail: bool = False,
    ) -> str:
        """A call: sent, entered by the service, and heard of."""
        self.requests[name] = self.requests.get(name, 0) + 1
        request = f"{name}/{self.requests[name]}"
        self.note(name, "sending", leg=leg, key=key, what=what, request=request)
        self.tick()
        asked = Asked(key, self.effect(key)["trip"], name, self.pids[name], request)
        book = self.books[leg]
        act = book.fail if fail else (book.book if what == "book" else book.cancel)
        said = act(asked)
        if heard:
            self.note(name, "answered", request=request, status=200, what=said)
        elif name in self.journals:
            self.note(name, "unanswered", request=request, error="nothing came")
        return said

    def save(self) -> None:
        """A checkpoint, in the step that has just been committed."""
        self.checkpoints.append(
            {
                "checkpoint_id": len(self.checkpoints) + 1,
                "step": self.step,
                "event_seq": len(self.events),
                "revision": self.revision,
                "known_good": self.state.trips == self.plan.known_good
                and not self.state.called_off,
                "restored_from": 0,
                "rollback_id": "",
                "state": self.state.to_dict(),
            }
        )

    def close_trips(self, name: str) -> None:
        self.event(CALLED_OFF, {"trip": self.state.trips, "why": "the car service is down"})
        self.save()
        self.note(name, "closed", **self.head(), token=self.token)
        self.note(name, "finished", booked=len(self.state.booked))
        self.end(name, "exit 0")

    # --- what is done to them ------------------------------------------------------------

    def stop(self) -> Line:
        """The active agent stands still before a call."""
        effect = self.prepare("agent-1", "hotel")
        held = {"held": True, "effect_id": effect["effect_id"], "effect_state": "DISPATCHED"}
        self.signal("stop", "agent-1", "SIGSTOP", "stopped by SIGSTOP", **held)
        return effect

    def trip(self) -> Line:
        """The breaker trips, and a rollback begins, in one command."""
        good = next(one for one in self.checkpoints if one["known_good"])
        former, revision = self.token, self.revise()
        self.token = [1, revision]
        last = len(self.events)
        rollback: Line = {
            "rollback_id": ROLLBACK,
            "state": "FINISHED",
            "reason": "breaker car tripped",
            "started_by": "breaker car",
            "incident_id": INCIDENT,
            "plan_id": f"rollback/{ROLLBACK}",
            "total": 0,
            "open": 0,
            "newest_claim": [1, revision],
            "validators": {VALIDATOR: True},
            "started_revision": revision,
            "started_ms": self.log_ms(),
            "agent_id": AGENT_ID,
            "checkpoint_id": good["checkpoint_id"],
            "restored_checkpoint_id": len(self.checkpoints) + 1,
            "first_undone_seq": good["event_seq"] + 1,
            "last_undone_seq": last,
            "kept_revision": good["revision"],
            "former_fence": former,
            "former_holder": "agent-2",
            "fence": self.token,
        }
        for event in self.events[good["event_seq"] :]:
            event["undone_by"] = ROLLBACK
        self.state = Itinerary(**good["state"])
        copied = {"checkpoint_id": len(self.checkpoints) + 1, "revision": revision}
        origin = {"restored_from": good["checkpoint_id"], "rollback_id": ROLLBACK}
        self.checkpoints.append({**good, **copied, **origin, "known_good": False})
        return rollback

    def refuse(self, name: str, rollback: Line) -> None:
        """The store refuses what a writer of the past writes, and it leaves."""
        token = [1, rollback["former_fence"][1]]
        if name == "agent-1":
            token = next(one["token"] for one in self.journals[name].lines if "token" in one)
        refusal = {"error": "Fenced", "reason": "FENCED", "definite": True, "message": "old"}
        self.note(name, "refused", token=token, judge="server", **refusal)
        self.note(name, "lost", **refusal)
        self.end(name, "exit 3")

    def compensate(self, rollback: Line) -> None:
        """One worker dies while it undoes an effect; the other one finishes."""
        worker, claim = "worker-1", [1, self.revise()]
        todo = [
            one
            for one in self.effects
            if one["state"] == "UNKNOWN"
            or (
                one["state"] == "COMMITTED"
                and one["settled_revision"] > rollback["kept_revision"]
            )
        ]
        todo.sort(key=lambda one: (one["state"] == "UNKNOWN", one["number"]), reverse=True)
        for position, effect in enumerate(todo, 1):
            claims = 1
            if position == self.plan.kill_at:
                self.call_and_die(worker, effect)
                worker, claim, claims = "worker-2", [1, self.revise()], 2
            if position == self.plan.kill_at + 1:
                self.call(worker, effect["leg"], effect["key"], "cancel", fail=True)
            if position == self.plan.kill_at + 2:
                self.call(worker, effect["leg"], effect["key"], "cancel", heard=False)
            self.call(worker, effect["leg"], effect["key"], "cancel")
            revision = self.revise()
            effect |= {
                "state": "COMPENSATED",
                "compensated_revision": revision,
                "plan_id": rollback["plan_id"],
            }
            item = {"effect_id": effect["effect_id"], "number": effect["number"]}
            self.items.append(
                {"position": position, **item, "state": "COMPENSATED", "claims": claims}
                | {"failures": 0, "claimed_under": claim, "settled_revision": revision}
            )
        rollback |= {"total": len(todo), "compensated_ms": self.log_ms(), "newest_claim": claim}
        self.tick()
        self.note(worker, "validated", passed=True, rollback_id=ROLLBACK, differ=[])
        rollback["validated_ms"] = self.log_ms()
        self.revise()
        self.tick()
        rollback["ended_ms"] = self.log_ms()

    def call_and_die(self, worker: str, effect: Line) -> None:
        """The service acts, and the worker is killed before it hears of it."""
        journal = self.journals.pop(worker)
        self.requests[worker] += 1
        request = f"{worker}/{self.requests[worker]}"
        sent = {"leg": effect["leg"], "key": effect["key"], "what": "cancel"}
        journal.write("sending", at=self.tick(), **sent, request=request)
        self.counts[worker] += 1
        at = self.tick()
        asked = Asked(effect["key"], effect["trip"], worker, self.pids[worker], request)
        self.tick(0.001)
        self.books[effect["leg"]].cancel(asked)
        self.signal("kill", worker, "SIGKILL", "killed by SIGKILL", at=at)
        self.bury(worker, "killed by SIGKILL")

    def resume(self, held: Line, rollback: Line) -> None:
        """The stopped agent goes on: the service refuses its call, the store its write."""
        self.signal("resume", "agent-1", "SIGCONT", "continued")
        self.call("agent-1", held["leg"], held["key"], "book")
        self.refuse("agent-1", rollback)

    # --- how it is written ----------------------------------------------------------------

    def tick(self, seconds: float = STEP_S) -> float:
        self.now = round(self.now + seconds, 4)
        return self.now

    def log_ms(self) -> int:
        return int(self.now * 1000)

    def revise(self) -> int:
        self.revision += 1
        return self.revision

    def effect(self, key: str) -> Line:
        return next(one for one in self.effects if one["key"] == key)

    def head(self) -> Line:
        return {"step": self.step, "seq": len(self.events), "revision": self.revision}

    def event(self, kind: str, data: Line) -> None:
        self.step += 1
        self.state = self.state.after(kind, data)
        line: Line = {
            "stream_id": AGENT_ID,
            "seq": len(self.events) + 1,
            "position": len(self.events) + 1,
            "revision": self.revise(),
            "step": self.step,
            "type": kind,
            "content_type": "application/json",
            "data": json.dumps(data),
            "causation_id": "",
            "correlation_id": "",
            "log_time_ms": self.log_ms(),
            "event_id": "",
            "state_hash": "",
            "hash": "",
            "undone_by": "",
        }
        self.hash = event_hash(self.hash, stored_event(line))
        self.events.append({**line, "hash": self.hash.hex()})

    def hire(self, name: str, role: str) -> None:
        self.pids[name] = 1_000 + len(self.pids)
        self.processes.write("born", at=self.tick(), name=name, role=role, pid=self.pids[name])
        if role == "service":
            return
        self.journals[name] = Journal(self.folder / ROLES[role] / f"{name}.jsonl")
        self.counts[name] = 0
        self.note(name, "started", pid=self.pids[name])
        self.note(name, "waiting")

    def note(self, name: str, kind: str, **fields: Any) -> None:
        self.journals[name].write(kind, at=self.tick(), **fields)
        self.counts[name] += 1

    def signal(
        self, kind: str, target: str, name: str, status: str, at: float = 0, **more: Any
    ) -> None:
        said = {"target": target, "pid": self.pids[target], "signal": name}
        at = at or self.tick()
        done = {"done_at": self.tick(), "wait_status": status}
        self.signals.write(kind, at=at, **said, **done, **more)

    def end(self, name: str, status: str) -> None:
        self.journals.pop(name).close(at=self.tick())
        self.counts[name] += 1
        self.bury(name, status)

    def bury(self, name: str, status: str) -> None:
        role = next(ln["role"] for ln in self.processes.lines if ln["name"] == name)
        said = {"name": name, "role": role, "pid": self.pids[name], "wait_status": status}
        lines = self.counts.get(name, 0)
        self.processes.write("ended", at=self.tick(), **said, lines=lines)

    def finish(self, rollback: Line) -> None:
        self.end("worker-2", "exit 0")
        for leg in LEGS:
            self.bury(leg, "exit 0")
            self.books[leg].close()
        for journal in (self.processes, self.signals):
            journal.close(at=self.tick())
        recovery = [("rollback", rollback), *(("item", item) for item in self.items)]
        recovery += [("incident", one) for one in incidents(rollback)]
        recovery += [("breaker", breaker(rollback))]
        recovery += [("agent", self.agent())]
        recovery += [("checkpoint", one) for one in self.checkpoints]
        self.write("recovery", recovery)
        self.write("ledger", [("effect", one) for one in self.effects])
        self.write("events", [("event", one) for one in self.events])
        end = {"last_seq": len(self.events), "last_hash": self.hash.hex()}
        write_json(self.folder / "stream.json", end)
        write_json(self.folder / "plan.json", self.plan.to_dict())
        claim(self.folder)

    def agent(self) -> Line:
        """The agent, as it was left."""
        state = {"agent_id": AGENT_ID, "lifecycle": "IDLE", "rollback_id": ""}
        head = {"step": self.step, "event_seq": len(self.events)}
        ledger = {"effects": len(self.effects), "open_effects": 0}
        last = {"checkpoint_id": len(self.checkpoints), "newest_fence": self.token}
        return {**state, **head, **ledger, **last}

    def write(self, name: str, lines: list[tuple[str, Line]]) -> None:
        with Journal(self.folder / f"{name}.jsonl") as journal:
            for kind, line in lines:
                journal.write(kind, at=self.tick(), **line)


def incidents(rollback: Line) -> list[Line]:
    """Who lost the agent first, and then the trip."""
    began = rollback["started_ms"]
    common = {"agent_ids": [AGENT_ID], "evidence": [], "open": False, "resolution": "by itself"}
    common["opened_revision"] = rollback["started_revision"]
    times = {f"{name}_ms": 0 for name in ("compensated", "validated")}
    lost = {
        "incident_id": "0000000000000001",
        "symptom": "OWNERSHIP_LOST",
        "classification": "OWNER_LOST",
        "summary": "",
        "rollback_id": "",
        "breaker": "",
        **times,
        **dict.fromkeys(("detected_ms", "fenced_ms", "restored_ms", "resumed_ms"), began - 500),
        "resolved_ms": began,
    }
    tripped = {
        "incident_id": INCIDENT,
        "symptom": "BREAKER_TRIPPED",
        "summary": "car tripped",
        "classification": "DEPENDENCY_OPEN",
        "rollback_id": rollback["rollback_id"],
        "breaker": BREAKER,
        "compensated_ms": rollback["compensated_ms"],
        **dict.fromkeys(("detected_ms", "fenced_ms", "restored_ms"), began),
        "validated_ms": rollback["validated_ms"],
        "resumed_ms": rollback["ended_ms"],
        "resolved_ms": rollback["ended_ms"],
    }
    return [{**lost, **common}, {**tripped, **common}]


def breaker(rollback: Line) -> Line:
    """The breaker of the car service, open."""
    links = {name: rollback[name] for name in ("incident_id", "rollback_id")}
    said = {"name": BREAKER, "state": "OPEN", "generation": 2, "on_trip": "ROLLBACK"}
    said["changed_revision"] = rollback["started_revision"]
    return {**said, "reason": "5 of 6 calls failed", **links}


def edit_book(path: Path, change: Callable[[list[Row]], object], *, bookings: bool) -> None:
    """Change the entries of a book, number and seal them anew, and redo its bookings if
    that is wanted."""
    read = forged_book(read_book(path).entries, change)
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("DELETE FROM entries")
    for row in read.entries:
        marks = ", ".join("?" * len(row))
        db.execute(f"INSERT INTO entries ({', '.join(row)}) VALUES ({marks})", [*row.values()])
    if bookings:
        db.execute("DELETE FROM bookings")
        for row in read.bookings.values():
            values = [row["key"], row["trip"], row["state"]]
            db.execute("INSERT INTO bookings VALUES (?, ?, ?)", values)
    db.commit()
    db.close()


def forged_book(entries: list[Row], change: Callable[[list[Row]], object]) -> Read:
    """A book with other entries, numbered and sealed anew, and the bookings that follow."""
    rows = [dict(row) for row in entries]
    change(rows)
    seal, states = "", dict[str, Row]()
    for number, row in enumerate(rows, 1):
        row["n"] = number
        row["seal"] = seal = entry_seal(seal, row)
        before = states.get(row["key"], {"state": ""})["state"]
        if after := MOVES[row["what"]].get(before, before):
            states[row["key"]] = {"key": row["key"], "trip": row["trip"], "state": after}
    return Read(rows, states)


def forged(truth: Record, name: str, change: Callable[[list[Line]], object]) -> Record:
    """The record that `load` would find if one journal or book were changed as `edit` and
    `edit_book` change it."""
    place, made = Path(name), replace(truth)
    group = place.parent.name
    if group == "books":
        read = forged_book(truth.books[place.stem].entries, change)
        made.books = {**truth.books, place.stem: read}
        return made
    found = getattr(truth, group)[place.stem] if group else getattr(truth, place.stem)
    lines: list[Line] = [dict(line) for line in found]
    change(lines)
    seal = NO_SEAL
    for number, line in enumerate(lines, 1):
        line["n"] = number
        line["seal"] = seal = seal_of(seal, line)
    if group:
        setattr(made, group, {**getattr(truth, group), place.stem: lines})
    else:
        setattr(made, place.stem, lines)
    return made


def claim(folder: Path) -> None:
    """Write the result and the report that the changed evidence leads to, and the manifest
    anew, as a careful forger would."""
    record = load(folder)[0]
    write_json(folder / "result.json", outcome(record))
    (folder / "report.txt").write_text(report(record))
    write_manifest(folder)


__all__ = ["SEED", "Forge", "claim", "edit_book", "forged", "words"]
