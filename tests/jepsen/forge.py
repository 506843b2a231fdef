"""A run that never was: a folder as a run leaves it, drawn from a seed.

A small model of a cluster stands behind it: one leader, terms that rise, one log with one
revision a step, clients that ask it. While a fault keeps the leader away, what is asked
waits, or ends as `info`, and then happened or did not. So everything in the folder fits
together, and a checker has nothing to say against it, except for what is planted: with
`stale`, one linearizable read late in the run answers what was there some steps before.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from jepsen_like import folder as folders
from jepsen_like import history, monitor
from jepsen_like.checkers import linear, witness
from jepsen_like.checkers.verdicts import merge
from jepsen_like.history import NEMESIS, Event
from jepsen_like.protocols import LoggedEvent, Record, Sample, Validity, Verdict

NODES: Final = ("n1", "n2", "n3")
KINDS: Final = (
    *("kill-leader", "kill-one", "kill-majority", "pause-leader", "pause-clients"),
    *("partition-halves", "partition-leader", "partition-one-way", "slow", "flaky"),
    *("blackhole", "power-loss", "clock-jump", "rolling-restart"),
)
# Faults that take the leader away, and for how long there is none.
HEADLESS: Final = {"kill-one": 0.0, "pause-clients": 0.0, "slow": 0.0, "clock-jump": 0.0}
THREADS: Final = {"register": 7, "set": 3, "exactly-once": 3, "ownership": 3}
TOOK: Final = {"register": 0.004, "set": 0.006, "exactly-once": 0.011, "ownership": 1.4}
PATIENCE: Final = 1.0  # seconds until a client gives up
BEGAN: Final = 1_790_000_000.0  # the wall clock at the begin
PREFIX: Final = "run"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to forge."""

    seed: int = 7
    seconds: float = 180.0
    rate: float = 25.0
    faults: int = 20
    stale: bool = True
    nodes: tuple[str, ...] = NODES
    workloads: tuple[str, ...] = tuple(THREADS)


@dataclass(frozen=True, slots=True)
class Harm:
    """One fault, whom it met, and how long nobody led because of it."""

    kind: str
    began: float
    ended: float
    victim: str
    headless: float


@dataclass(slots=True)
class Key:
    """What one agent holds: its steps, who wrote them, and at which revision."""

    ids: list[str] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)

    def head(self, back: int = 0) -> dict[str, Any]:
        """The newest step, or one some steps before it."""
        step = max(0, len(self.ids) - back)
        return {"step": step, "id": self.ids[step - 1] if step else None}


@dataclass(slots=True)
class Ask:
    """An operation under way."""

    thread: int
    workload: str
    f: str
    key: str
    value: Any
    invoked: float
    type: str = "info"
    answer: Any = None
    revision: int = 0
    error: str = ""


class Forge:
    """Runs the model. Whatever it draws comes from one seed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.draws = random.Random(f"forge/{plan.seed}")
        self.harms = list(_harms(plan, self.draws))
        self.begins = [harm.began for harm in self.harms]
        self.threads = [
            (workload, number)
            for workload in plan.workloads
            for number in range(THREADS[workload])
        ]
        self.process = list(range(len(self.threads)))
        self.counts = [0] * len(self.threads)
        self.seen: dict[tuple[int, str], int] = {}
        self.keys: dict[tuple[str, str], Key] = {}
        self.writes = 0
        self.revision = 0
        self.log: list[LoggedEvent] = []
        self.events: list[tuple[float, int, Event]] = []
        self.planted = not plan.stale

    def run(self) -> None:
        """Let every thread ask until the end."""
        gap = len(self.threads) / self.plan.rate
        queue: list[tuple[float, int, str, int, Ask | None]] = []
        for thread in range(len(self.threads)):
            heapq.heappush(queue, (self.draws.uniform(0, gap), thread, "ask", thread, None))
        serial = len(self.threads)
        while queue:
            time, _, what, thread, ask = heapq.heappop(queue)
            serial += 1
            if what == "ask":
                if time < self.plan.seconds - 2:
                    ask = self._ask(time, thread)
                    moment, end = self._fate(ask)
                    if moment < math.inf:
                        heapq.heappush(queue, (moment, serial, "do", thread, ask))
                    serial += 1
                    heapq.heappush(queue, (end, serial, "end", thread, ask))
            elif what == "do" and ask is not None:
                self._do(ask)
            elif ask is not None:
                self._end(time, ask)
                again = time + self.draws.expovariate(1 / gap)
                heapq.heappush(queue, (again, serial, "ask", thread, None))

    # --- one operation -----------------------------------------------------------

    def _ask(self, time: float, thread: int) -> Ask:
        workload, number = self.threads[thread]
        self.counts[thread] += 1
        identity = f"{workload[0]}{number}-{self.counts[thread]}"
        f, key, value = self._asked(thread, workload, identity)
        ask = Ask(thread, workload, f, key, value, time)
        self._note(time, ask)
        return ask

    def _asked(self, thread: int, workload: str, identity: str) -> tuple[str, str, Any]:
        if workload == "set":
            rare = self.draws.random() < 0.03
            return ("read", "0", None) if rare else ("add", "0", {"id": identity})
        if workload == "exactly-once":
            return "request", self.draws.choice("abc"), {"id": identity, "sent": 3}
        if workload == "ownership":
            agent = self.draws.choice("abc")
            return "hold", agent, {"id": identity, "agent": agent, "hold_s": 1.2, "pace": 0.2}
        epoch = sum(self.counts[: THREADS["register"]]) // 600
        key = str(3 * epoch + self.draws.randrange(3))
        f = self.draws.choice(["read", "read", "stale-read", "cas", "cas", "write"])
        expected = self.seen.get((thread, key))
        if f == "cas" and expected is None:
            f = "read"
        if f == "cas":
            return f, key, {"id": identity, "expected": expected}
        return f, key, {"id": identity} if f == "write" else None

    def _fate(self, ask: Ask) -> tuple[float, float]:
        """When an operation happens, and when its client is told, or gives up."""
        typical = TOOK[ask.workload]
        took = typical * math.exp(self.draws.gauss(0, 0.5))
        if self._harm(ask.invoked) is not None and self.draws.random() < 0.3:
            took *= self.draws.uniform(2, 12)
        moment = self._serving(ask.invoked + took * 0.6)
        took += moment - (ask.invoked + took * 0.6)
        patience = PATIENCE + typical * 3
        if moment == ask.invoked or took <= patience:
            ask.type = "ok"
            return moment, ask.invoked + took
        ask.error = self.draws.choice(["DEADLINE_EXCEEDED", "UNAVAILABLE: Socket closed"])
        if ask.value is None or self.draws.random() < 0.5:
            ask.type, ask.error = "fail", "UNAVAILABLE: no leader"
            return ask.invoked, ask.invoked + self.draws.uniform(0.01, patience)
        happens = self.draws.random() < 0.5
        return (moment if happens else math.inf), ask.invoked + patience

    def _do(self, ask: Ask) -> None:
        """The moment at which an operation happens, if it does."""
        if ask.type == "fail":
            return
        held = self.keys.setdefault((ask.workload, ask.key), Key())
        match ask.f:
            case "read" if ask.workload == "set":
                ask.answer = {"ids": list(held.ids)}
            case "read" | "stale-read":
                back = self._back(ask, held)
                ask.answer = held.head(back)
                ask.revision = held.revisions[-1 - back] if back else 0
            case "cas" if ask.value["expected"] != len(held.ids):
                ask.answer = {"swapped": False, "step": len(held.ids)}
            case "cas":
                ask.answer = {"swapped": True, "step": self._write(ask, held)}
            case _:
                step = self._write(ask, held)
                ask.answer = {"step": step, "position": self.writes}
        ask.revision = ask.revision or self.revision
        if ask.workload == "register" and ask.f != "stale-read":
            self.seen[ask.thread, ask.key] = len(held.ids)

    def _back(self, ask: Ask, held: Key) -> int:
        """How many steps behind a read is: none, but for the one that is planted."""
        early = len(held.ids) < 8 or ask.invoked < self.plan.seconds * 0.6
        if self.planted or early or ask.f != "read":
            return 0
        self.planted = True
        return 3

    def _write(self, ask: Ask, held: Key) -> int:
        held.ids.append(ask.value["id"])
        self.writes += 1
        self.revision += self.draws.choice([1, 1, 2])
        held.revisions.append(self.revision)
        self.log.append(
            LoggedEvent(
                stream=f"{PREFIX}/{ask.workload}/{ask.key}",
                seq=len(held.ids),
                position=self.writes,
                revision=self.revision,
                step=len(held.ids),
                type=ask.workload,
                data=json.dumps({"id": ask.value["id"]}),
            )
        )
        return len(held.ids)

    def _end(self, time: float, ask: Ask) -> None:
        refused = ask.answer is not None and ask.answer.get("swapped") is False
        nodes = self.plan.nodes
        node = self.draws.choice(nodes)
        if ask.f == "stale-read":  # of the member that the thread is pinned to
            node = nodes[ask.thread % len(nodes)]
        self._note(
            time,
            ask,
            type=ask.type,
            value=ask.answer if ask.type == "ok" else None,
            node=node,
            revision=ask.revision if ask.type == "ok" and not refused else 0,
            error=ask.error if ask.type != "ok" else "",
        )
        if ask.type == "info":
            self.process[ask.thread] += len(self.threads)

    def _note(self, time: float, ask: Ask, **more: Any) -> None:
        """Write an event of an operation down."""
        said = {"type": "invoke", "value": ask.value, **more}
        process = self.process[ask.thread]
        event = Event(
            0, time, process=process, workload=ask.workload, f=ask.f, key=ask.key, **said
        )
        self.events.append((time, len(self.events), event))

    # --- the cluster --------------------------------------------------------------

    def _harm(self, time: float) -> Harm | None:
        """The fault at that time; there is never more than one."""
        place = bisect_right(self.begins, time) - 1
        return self.harms[place] if place >= 0 and time < self.harms[place].ended else None

    def _serving(self, time: float) -> float:
        """The first moment from that on at which somebody leads."""
        harm = self._harm(time)
        if harm is None or time >= harm.began + harm.headless:
            return time
        return harm.began + harm.headless + self.draws.uniform(0, 0.05)

    def samples(self) -> list[Sample]:
        """What the members said of themselves, four times a second."""
        times = [round(tick / 4 + 0.1, 2) for tick in range(int(self.plan.seconds * 4))]
        return [self._sample(time, node) for time in times for node in self.plan.nodes]

    def _sample(self, time: float, node: str) -> Sample:
        away = [harm for harm in self.harms if harm.began <= time and harm.headless]
        harm = self._harm(time)
        if harm is not None and harm.headless and node == harm.victim:
            return Sample(time, node, answered=False)
        term = 1 + len(away)
        leader = _leader(self.plan.nodes, term)
        headless = bool(away) and time < away[-1].began + away[-1].headless
        role = "follower" if node != leader else "candidate" if headless else "leader"
        return Sample(
            time=time,
            node=node,
            answered=True,
            role=role,
            leader="" if headless else leader,
            ready=True,
            term=term,
            wall_time_ms=round((BEGAN + time) * 1000),
        )

    def history(self) -> list[Event]:
        """Everything that was asked and answered, the nemesis' deeds among it."""
        every = [*self.events]
        for harm in self.harms:
            every += [(event.time, len(self.events), event) for event in _deeds(harm)]
        every.sort(key=lambda one: one[:2])
        return [replace(event, index=at) for at, (_, _, event) in enumerate(every)]


def _deeds(harm: Harm) -> Iterator[Event]:
    """What the nemesis did, as it stands in a history."""
    drawn = {"seconds": round(harm.ended - harm.began, 3), "pick": 4}
    told = {"nodes": [harm.victim]}
    deed = partial(Event, 0, process=NEMESIS, workload="nemesis", f=harm.kind)
    yield deed(harm.began, "invoke", key="begin", value=drawn)
    yield deed(harm.began + 0.02, "info", key="begin", value=told)
    yield deed(harm.ended - 0.03, "invoke", key="end")
    yield deed(harm.ended, "info", key="end", value=told)


def _leader(nodes: Sequence[str], term: int) -> str:
    return nodes[(term * 2) % len(nodes)]


def _harms(plan: Plan, draws: random.Random) -> Iterator[Harm]:
    """Faults one after another, from a twelfth of the run to a twelfth before its end."""
    if not plan.faults:
        return
    begin, end = plan.seconds / 12, plan.seconds * 11 / 12
    room = (end - begin) / plan.faults
    kinds = [KINDS[number % len(KINDS)] for number in range(plan.faults)]
    draws.shuffle(kinds)
    term = 1
    for number, kind in enumerate(kinds):
        began = begin + room * (number + draws.uniform(0.05, 0.25))
        headless = HEADLESS.get(kind, draws.uniform(0.6, 1.9))
        victim = _leader(plan.nodes, term)
        term += headless > 0
        lasts = room * draws.uniform(0.35, 0.6)
        yield Harm(kind, began, began + max(lasts, headless), victim, headless)


# --- what is left behind -------------------------------------------------------------------


def record(plan: Plan | None = None) -> Record:
    """A forged run, as checkers take it; without the logs of nodes."""
    forge = Forge(plan or Plan())
    forge.run()
    return _record(forge)


def _record(forge: Forge) -> Record:
    plan = forge.plan
    return Record(
        nodes=plan.nodes,
        workloads=plan.workloads,
        nemeses=tuple(sorted({harm.kind.partition("-")[0] for harm in forge.harms})),
        seed=plan.seed,
        phases={
            "warm-up": 0.0,
            "faults": plan.seconds / 12,
            "heal": plan.seconds * 11 / 12,
            "quiet": plan.seconds * 23 / 24,
            "final": plan.seconds - 2,
            "end": plan.seconds,
        },
        events=forge.history(),
        samples=forge.samples(),
        log=forge.log,
    )


def write(folder: Path, plan: Plan | None = None) -> Record:
    """A forged run in a folder, judged: all files but the report."""
    forge = Forge(plan or Plan())
    forge.run()
    made = _record(forge)
    (folder / folders.NODES).mkdir(parents=True)
    write_history(folder, made)
    for node in made.nodes:
        path = folder / folders.NODES / f"{node}.log"
        path.write_text("".join(_log_lines(forge, node)), encoding="utf-8")
    folders.write_json(folder / folders.RUN, run_document(made))
    found = verdicts(made, forge.harms)
    folders.write_results(folder, _summary(made, found), found)
    return made


def write_history(folder: Path, made: Record) -> None:
    """What clients saw, what members said, and the committed log."""
    with (folder / folders.HISTORY).open("w", encoding="utf-8") as file:
        file.writelines(map(history.dump, made.events))
    with (folder / folders.STATUS).open("w", encoding="utf-8") as file:
        file.writelines(map(monitor.dump, made.samples))
    folders.write_log(folder / folders.LOG, made.log)


def run_document(made: Record) -> dict[str, Any]:
    """What run.json says."""
    return {
        "seed": made.seed,
        "command": "./scripts/jepsen run --workload all --nemesis all --time 180 --nodes 3",
        "nodes": made.nodes,
        "workloads": made.workloads,
        "nemeses": made.nemeses,
        "phases": dict(made.phases),
        "ends": [],
        "rate": 150.0,
        "versions": {"python": "3.11.2", "raftstate": "0.1.0"},
    }


def _summary(made: Record, found: Sequence[Verdict]) -> dict[str, Any]:
    overall = merge([one.validity for one in found])
    anomalies = sum(len(one.complaints) for one in found if one.validity == "invalid")
    return {
        "valid": overall == "valid",
        "verdict": overall,
        "seed": made.seed,
        "lost": 0,
        "anomalies": anomalies,
    }


def verdicts(made: Record, harms: Sequence[Harm]) -> list[Verdict]:
    """Real verdicts on the registers and the set; what else there would be is made up."""
    found: list[Verdict] = []
    if "register" in made.workloads:
        found += [witness.check(made), linear.check(made)]
    if "set" in made.workloads:
        found.append(Verdict("set:full", "valid", "1,012 elements, none lost", (), {"lost": 0}))
    if "ownership" in made.workloads:
        said = "the unfenced counter lost 7 updates, the fenced one none"
        found.append(Verdict("ownership:fences", "valid", said, (), {"grants": 214}))
    if "exactly-once" in made.workloads:
        said = "every acknowledged request is there once"
        found.append(Verdict("exactly-once:once", "valid", said))
    said = f"equal hashes on {len(made.nodes)} nodes at 610 revisions"
    return [*found, Verdict("states", "valid", said), _effects(harms)]


def _effects(harms: Sequence[Harm]) -> Verdict:
    """What the cluster said that shows the faults, as the checker would put it."""
    kinds: dict[str, dict[str, Any]] = {}
    for harm in harms:
        of_kind = kinds.setdefault(harm.kind, {"times": 0, "proven": 0, "evidence": []})
        of_kind["times"] += 1
        of_kind["proven"] += harm.kind != "flaky"
        shown = f"{harm.victim} was silent for {harm.ended - harm.began:.2f} s"
        if harm.headless:
            shown += f", and the term rose after {harm.headless:.2f} s without a leader"
        if harm.kind == "flaky":
            shown = "nothing shows it"
        of_kind["evidence"].append(f"{harm.began:.2f} s: {shown}")
    wrong = tuple(f"no effect: {kind}" for kind, one in kinds.items() if not one["proven"])
    said = wrong[0] if wrong else f"{len(harms)} faults are shown by the cluster itself"
    validity: Validity = "invalid" if wrong else "valid"
    return Verdict("effects", validity, said, wrong, {"kinds": kinds})


def _log_lines(forge: Forge, node: str) -> Iterator[str]:
    """What a node wrote: its roles, its snapshots, and once a traceback."""
    term = 1
    for number, harm in enumerate(forge.harms):
        term += harm.headless > 0
        role = "leader" if _leader(forge.plan.nodes, term) == node else "follower"
        yield _said(
            harm.began + harm.headless + 0.01, node, "info", "role", role=role, term=term
        )
        yield _said(harm.ended, node, "info", "link up", peer="n2", session=number)
        if number == 11 and node == forge.plan.nodes[1]:
            yield _said(harm.ended + 0.2, node, "error", "scrub failed", segment=4)
            yield "Traceback (most recent call last):\n"
            yield '  File "raftstate/storage/scrub.py", line 81, in scrub\n'
            yield "OSError: [Errno 5] Input/output error\n"
    for _, _, event in forge.events[:: max(1, len(forge.events) // 400)]:
        yield _said(event.time, node, "info", "snapshot taken", revision=event.revision)


def _said(time: float, node: str, level: str, event: str, **more: Any) -> str:
    moment = datetime.fromtimestamp(BEGAN + time, UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said = {"ts": stamp, "level": level, "event": event, "node": node, "logger": "raftstate"}
    return json.dumps({**said, **more}) + "\n"
