"""Makes the evidence of a run that never was, true in every detail.

Sixty small files, three agents killed, one stopped, two leaders killed: what the demo
would have written, with invented times. `reseal` lets a test forge like somebody who
knows about seals and the manifest, so that the rules behind them are tested too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raftstate.client.audit import GENESIS, event_hash
from raftstate.examples.census.analyse import Row, event_type
from raftstate.examples.census.evidence import (
    NO_SEAL,
    Journal,
    Line,
    read_json,
    seal_of,
    write_json,
)
from raftstate.examples.census.figures import outcome
from raftstate.examples.census.judge import stored_event
from raftstate.examples.census.ledger import Ledger, told
from raftstate.examples.census.manifest import write_manifest
from raftstate.examples.census.members import (
    INSTALLED,
    OPENED,
    ROLE,
    SERVING,
    STOPPED,
    STOPPING,
    TAKEN,
)
from raftstate.examples.census.plan import AGENT_KILL, LEADER_KILL, Plan, Strike, draw
from raftstate.examples.census.reference import reference
from raftstate.examples.census.verify import load

SEED = 5
FILES = 60
STEP_S, ELECTION_S, TTL_S, TAKEOVER_S = 0.01, 0.7, 1.5, 0.4
MEMBERS = ("n1", "n2", "n3")


class Forge:
    """Plays a whole run in an instant, and writes what its processes would have."""

    def __init__(self, folder: Path, sources: Path) -> None:
        self.folder, self.now, self.revision = folder, 100.0, 0
        (folder / "agents").mkdir(parents=True)
        (folder / "logs").mkdir()
        self.files = _sources(sources)
        self.reference = reference(sources, self.files)
        self.plan: Plan = draw(SEED, self.reference["sizes"])
        self.kills = Journal(folder / "kills.jsonl")
        self.processes = Journal(folder / "processes.jsonl")
        self.statuses = Journal(folder / "statuses.jsonl")
        self.events = Journal(folder / "events.jsonl")
        self.journals: dict[str, Journal] = {}
        self.count: dict[str, int] = {}
        self.queue: list[str] = []
        self.state = Ledger()
        self.hash, self.last_event = GENESIS, 0
        self.pids = {member: 900 + number for number, member in enumerate(MEMBERS)}
        self.logs: dict[str, list[Line]] = {member: [] for member in MEMBERS}
        self.taken = dict.fromkeys(MEMBERS, 0)
        self.installed = dict.fromkeys(MEMBERS, 0)
        self.leader, self.term, self.cut = "n1", 1, 1

    def run(self) -> None:
        """The whole run; afterwards the folder is complete."""
        for member in MEMBERS:
            self.open(member)
        self.elect()
        before = self.sample()
        self.hire()
        self.hire()
        self.own()
        strikes = {strike.at: strike for strike in self.plan.strikes}
        while self.state.next_index < FILES:
            if strike := strikes.pop(self.state.next_index, None):
                self.strike(strike)
            self.step()
            if self.state.next_index % 10 == 0:
                self.compact()
        self.retire()
        self.retire()
        self.close(before)

    # --- what happens -----------------------------------------------------------

    def hire(self) -> None:
        """A fresh standby is started."""
        name = f"agent-{len(self.journals) + 1}"
        pid = 1_000 + len(self.journals)
        self.journals[name] = Journal(self.folder / "agents" / f"{name}.jsonl")
        self.count[name] = 0
        self.processes.write("born", at=self.tick(), name=name, pid=pid)
        self.note(name, "started", pid=pid)
        self.note(name, "waiting")
        self.queue.append(name)

    def own(self) -> None:
        """The first of the queue takes over."""
        self.revision += 1
        self.token = [1, self.revision]
        self.note(self.queue[0], "owned", token=self.token, restored=self.state.next_index)

    def step(self, *, acknowledged: bool = True) -> None:
        """The active agent takes up the next file."""
        name, index = self.queue[0], self.state.next_index
        row = self.reference["rows"][index]
        self.note(name, "begun", index=index, path=row["path"])
        self.note(name, "sending", index=index, path=row["path"])
        self.commit(index, row)
        if acknowledged:
            self.note(
                name,
                "step",
                index=index,
                path=row["path"],
                step=index + 1,
                seq=index + 1,
                revision=self.revision,
                token=self.token,
            )

    def commit(self, index: int, row: Row) -> None:
        """The store takes one step."""
        self.revision += 1
        self.state = self.state.after(index, row)
        line: Line = {
            "stream_id": "census",
            "seq": index + 1,
            "position": index + 1,
            "revision": self.revision,
            "step": index + 1,
            "type": event_type(row),
            "content_type": "application/json",
            "data": json.dumps(told(index, row)),
            "causation_id": "",
            "correlation_id": "",
            "log_time_ms": int(self.now * 1000),
            "hash": "",
        }
        self.hash = event_hash(self.hash, stored_event(line))
        self.events.write("event", at=self.now, **{**line, "hash": self.hash.hex()})

    def strike(self, strike: Strike) -> None:
        """What the plan says happens."""
        if strike.kind == AGENT_KILL:
            self.kill_agent(strike)
        elif strike.kind == LEADER_KILL:
            self.kill_leader(strike)
        else:
            self.pause(strike)

    def kill_agent(self, strike: Strike) -> None:
        """The active agent dies between a commit and its acknowledgement."""
        name = self.queue[0]
        done = self.state.next_index
        self.step(acknowledged=False)
        self.signal("kill", strike, name, "SIGKILL", "killed by SIGKILL", done, role="agent")
        self.bury(name, "killed by SIGKILL")
        self.queue.pop(0)
        self.hire()
        self.tick(TAKEOVER_S)
        self.own()

    def kill_leader(self, strike: Strike) -> None:
        """The leader dies; another is elected; the dead one comes back by install."""
        dead = self.leader
        self.sample()
        done = self.state.next_index
        self.signal("kill", strike, dead, "SIGKILL", "killed by SIGKILL", done, role="leader")
        self.leader, self.term = next(one for one in MEMBERS if one != dead), self.term + 1
        self.tick(ELECTION_S)
        self.elect(but=dead)
        self.pids[dead] += 10
        self.taken[dead], self.installed[dead] = 0, 1
        self.kills.write(
            "restart", at=self.tick(), strike=strike.number, target=dead, pid=self.pids[dead]
        )
        self.open(dead)
        self.compact(but=dead)
        self.say(dead, ROLE, role="follower", leader=self.leader)
        self.say(dead, INSTALLED, first_index=self.cut)
        self.sample()

    def pause(self, strike: Strike) -> None:
        """The active agent freezes inside a step; resumed, it is refused."""
        name, index = self.queue[0], self.state.next_index
        row = self.reference["rows"][index]
        self.note(name, "begun", index=index, path=row["path"])
        token = self.token
        stop = "stopped by SIGSTOP"
        self.signal("stop", strike, name, "SIGSTOP", stop, index, role="agent", held=True)
        self.queue.pop(0)
        self.hire()
        self.tick(TTL_S)
        self.own()
        self.step()
        self.signal("resume", strike, name, "SIGCONT", "continued", index, role="agent")
        self.note(name, "sending", index=index, path=row["path"])
        self.note(
            name,
            "refused",
            index=index,
            path=row["path"],
            token=token,
            error="Fenced",
            reason="FENCED",
            definite=True,
            judge="server",
        )
        self.journals[name].close(at=self.tick())
        self.count[name] += 1
        self.bury(name, "exit 3")

    def compact(self, but: str = "") -> None:
        """Every member that is up cuts its log."""
        self.cut += 1
        for member in MEMBERS:
            if member != but:
                self.taken[member] += 1
                self.say(member, TAKEN, first_index=self.cut)
        if not but:
            self.sample()

    def open(self, member: str) -> None:
        """A process of a member begins."""
        self.say(member, OPENED)
        self.say(member, SERVING, pid=self.pids[member])

    def elect(self, but: str = "") -> None:
        """Every member that is up hears who leads."""
        for member in MEMBERS:
            if member != but:
                role = "leader" if member == self.leader else "follower"
                self.say(member, ROLE, role=role, leader=self.leader)

    def retire(self) -> None:
        """The active agent finds nothing left to do; its standby takes over."""
        name = self.queue.pop(0)
        self.note(name, "finished", totals=self.state.totals(), token=self.token)
        self.journals[name].close(at=self.tick())
        self.count[name] += 1
        self.bury(name, "exit 0")
        if self.queue:
            self.own()

    # --- how it is written ------------------------------------------------------

    def tick(self, seconds: float = STEP_S) -> float:
        self.now = round(self.now + seconds, 3)
        return self.now

    def note(self, name: str, kind: str, **fields: Any) -> None:
        self.journals[name].write(kind, at=self.tick(), **fields)
        self.count[name] += 1

    def signal(
        self,
        kind: str,
        strike: Strike,
        target: str,
        signal: str,
        status: str,
        done: int,
        **more: Any,
    ) -> None:
        pid = self.pids[target] if target in self.pids else 999 + int(target.split("-")[1])
        at = self.tick()
        self.kills.write(
            kind,
            at=at,
            strike=strike.number,
            target=target,
            pid=pid,
            signal=signal,
            files_done=done,
            done_at=self.tick(),
            wait_status=status,
            **more,
        )

    def bury(self, name: str, status: str) -> None:
        pid = 999 + int(name.split("-")[1])
        self.processes.write(
            "ended",
            at=self.tick(1.0),
            name=name,
            pid=pid,
            wait_status=status,
            lines=self.count[name],
        )
        self.now -= 1.0  # the undertaker comes late and keeps nobody waiting

    def say(self, member: str, event: str, **fields: Any) -> None:
        """One line in a member's own log."""
        place = {"term": self.term, "commit_index": self.revision}
        self.logs[member].append({"event": event, "node": member, **place, **fields})

    def sample(self) -> dict[str, Line]:
        """What every member says of itself now."""
        return {
            member: self.statuses.write(
                "status",
                at=self.tick(),
                member=member,
                pid=self.pids[member],
                role="leader" if member == self.leader else "follower",
                leader=self.leader,
                term=self.term,
                revision=self.revision,
                commit_index=self.revision,
                applied_index=self.revision,
                first_index=self.cut,
                last_index=self.revision,
                state_hash=f"{self.revision:032x}",
                snapshots_taken=self.taken[member],
                snapshots_installed=self.installed[member],
            )
            for member in MEMBERS
        }

    def close(self, before: dict[str, Line]) -> None:
        after = self.sample()
        for journal in (self.kills, self.processes, self.statuses, self.events):
            journal.close()
        for member in MEMBERS:
            self.say(member, STOPPING)
            self.say(member, STOPPED)
            write_log(self.folder, member, self.logs[member])
        write_json(self.folder / "plan.json", self.plan.to_dict())
        write_json(self.folder / "reference.json", self.reference)
        write_json(
            self.folder / "stream.json", {"last_seq": FILES, "last_hash": self.hash.hex()}
        )
        write_json(self.folder / "status-before.json", before)
        write_json(self.folder / "status-after.json", after)
        claim(self.folder)


def _sources(root: Path) -> list[str]:
    """Sixty files of different sizes, one of which does not parse."""
    root.mkdir(parents=True)
    names = [f"f{number:02}.py" for number in range(FILES)]
    for number, name in enumerate(names):
        body = "".join(f"def f{n}():\n    return {n}\n" for n in range(number * 7 % 11))
        (root / name).write_text(body if number != 17 else "def (")
    return names


def write_log(folder: Path, member: str, lines: list[Line]) -> None:
    """Write a member's log."""
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "logs" / f"{member}.log").write_text(text)


def edit(
    folder: Path, name: str, change: Callable[[list[Line]], object], *, reseal: bool
) -> None:
    """Change the lines of a journal, or of a log; with `reseal`, number and seal them anew,
    and redo the manifest."""
    path = folder / name
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    change(lines)
    seal = NO_SEAL
    for number, line in enumerate(lines, 1):
        if reseal and path.suffix == ".jsonl":
            line["n"] = number
            line["seal"] = seal = seal_of(seal, line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if reseal:
        write_manifest(folder)


def claim(folder: Path) -> None:
    """Write the result that the changed evidence leads to, and the manifest anew, as a
    careful forger would."""
    write_json(folder / "result.json", outcome(load(folder)[0]))
    write_manifest(folder)


def claimed(folder: Path) -> dict[str, Any]:
    """The result as the folder has it."""
    result: dict[str, Any] = read_json(folder / "result.json")
    return result


__all__ = ["FILES", "LEADER_KILL", "SEED", "Forge", "claim", "claimed", "edit"]
