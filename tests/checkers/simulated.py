"""Runs that never were: what clients of correct registers, and of a correct set, record.

A store does one thing at a time and counts revisions, as the real one; each operation
happens at a moment between its begin and its end. Some outcomes are not known; of these
some happened, and some did not. Tests then change one thing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from jepsen_like.history import NEMESIS, Event, Type
from jepsen_like.protocols import LoggedEvent, Record, Sample

NODES = ("a", "b", "c")


@dataclass
class Store:
    """Registers with revisions, and their committed log."""

    workload: str = "register"
    revision: int = 0
    applied: int = 0  # how far the member is that answers stale reads
    heads: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    past: list[dict[str, tuple[int, str | None]]] = field(default_factory=lambda: [{}])
    log: list[LoggedEvent] = field(default_factory=list)

    def other(self) -> None:
        """A command of somebody else."""
        self.revision += 1
        self.past.append(dict(self.heads))

    def commit(self, key: str, identity: str, expected: int | None = None) -> bool:
        """One step; whether it was made."""
        step, _ = self.heads.get(key, (0, None))
        swapped = expected is None or expected == step
        if swapped:
            self.heads[key] = (step + 1, identity)
        self.other()
        if swapped:
            self.log.append(
                LoggedEvent(
                    stream=f"run/{self.workload}/{key}",
                    seq=step + 1,
                    position=len(self.log) + 1,
                    revision=self.revision,
                    step=step + 1,
                    type=self.workload,
                    data=json.dumps({"id": identity}),
                )
            )
        return swapped

    def at(self, key: str, revision: int) -> dict[str, Any]:
        """What a read of a register answers at a revision."""
        step, identity = self.past[revision].get(key, (0, None))
        return {"step": step, "id": identity}


class Asked(NamedTuple):
    """One operation as it was recorded; `end` is None for an unknown outcome."""

    process: int
    f: str
    key: str
    value: Any
    began: float
    end: float | None
    type: Type = "ok"
    answer: Any = None
    revision: int = 0
    node: str = ""


def events_of(operations: Sequence[Asked], workload: str = "register") -> list[Event]:
    """The history of these operations."""
    made: list[tuple[float, int, Event]] = []
    for one in operations:
        common = {"workload": workload, "f": one.f, "key": one.key, "process": one.process}
        asked = Event(0, one.began, "invoke", value=one.value, **common)  # type: ignore[arg-type]
        made.append((one.began, 0, asked))
        if one.end is not None:
            told = replace(
                asked,
                time=one.end,
                type=one.type,
                value=one.answer,
                revision=one.revision,
                node=one.node,
            )
            made.append((one.end, 1, told))
    made.sort(key=lambda moment: moment[:2])
    return [replace(event, index=index) for index, (_, _, event) in enumerate(made)]


def record(
    events: Sequence[Event] = (),
    log: Sequence[LoggedEvent] = (),
    **changes: Any,
) -> Record:
    """A run with this history and log."""
    usual = Record(
        nodes=NODES,
        workloads=("register",),
        nemeses=(),
        seed=1,
        phases={"warm-up": 0.0},
        events=events,
        samples=(),
        log=log,
    )
    return replace(usual, **changes)


@dataclass
class _Client:
    number: int
    free: float = 0.0
    lives: int = 0
    step: dict[str, int] = field(default_factory=dict)

    def process(self, clients: int) -> int:
        return self.number + self.lives * clients


def registers(seed: int, count: int, clients: int = 4, keys: int = 2) -> Record:
    """A run of the register workload against a correct store."""
    draws = random.Random(seed)
    store = Store()
    crowd = [_Client(number) for number in range(clients)]
    made: list[Asked] = []
    moment = 0.0
    for number in range(count):
        moment = max(moment, min(one.free for one in crowd)) + 0.01 + draws.random()
        client = draws.choice([one for one in crowd if one.free < moment])
        key = str(draws.randrange(keys))
        made.append(_operate(store, draws, client, clients, key, moment, f"r{number}"))
    return record(events_of(made), store.log)


def _operate(
    store: Store,
    draws: random.Random,
    client: _Client,
    clients: int,
    key: str,
    moment: float,
    identity: str,
) -> Asked:
    """One operation that happens at a moment."""
    f = draws.choice(["read", "stale-read", "write", "cas", "cas"])
    value: Any = None
    if f in ("write", "cas"):
        value = {"id": identity}
    if f == "cas":
        value["expected"] = client.step.get(key, 0)
    began = draws.uniform(max(client.free, moment - 3), moment)
    process = client.process(clients)
    asked = Asked(process, f, key, value, began, moment + draws.random() * 3, node="a")
    while draws.random() < 0.3:
        store.other()
    if draws.random() < 0.12:
        client.free, client.lives = moment, client.lives + 1
        if value is not None and draws.random() < 0.5:
            store.commit(key, identity, value.get("expected"))
        return asked._replace(end=None if draws.random() < 0.5 else asked.end, type="info")
    assert asked.end is not None
    client.free = asked.end + 0.001
    if draws.random() < 0.1:
        return asked._replace(type="fail")
    return _answer(store, draws, client, asked)


def _answer(store: Store, draws: random.Random, client: _Client, asked: Asked) -> Asked:
    """What a correct store says, and what the client remembers of it."""
    revision = store.revision
    if asked.f == "stale-read":
        store.applied = revision = draws.randint(store.applied, revision)
    if asked.f in ("read", "stale-read"):
        answer = store.at(asked.key, revision)
        if answer["step"] == 0:
            revision = 0  # nothing is there, and that comes without a revision
        if asked.f == "read":
            client.step[asked.key] = answer["step"]
        return asked._replace(answer=answer, revision=revision)
    swapped = store.commit(asked.key, asked.value["id"], asked.value.get("expected"))
    step = store.heads.get(asked.key, (0, None))[0]
    client.step[asked.key] = step
    told = {"swapped": swapped} if asked.f == "cas" else {}
    return asked._replace(
        answer={**told, "step": step}, revision=store.revision if swapped else 0
    )


def changed(
    run: Record, which: Callable[[Event], bool], change: Callable[[Event], Mapping[str, Any]]
) -> Record:
    """A run in which the last event that fits says something else."""
    events = list(run.events)
    places = [place for place, event in enumerate(events) if which(event)]
    assert places, "nothing fits"
    events[places[-1]] = replace(events[places[-1]], **change(events[places[-1]]))
    return replace(run, events=events)


# --- faults and samples ------------------------------------------------------------


def fault(
    kind: str,
    began: float,
    ended: float | None,
    begun: Any = None,
    error: str = "",
    **args: Any,
) -> list[Event]:
    """What the history holds of one fault; its indexes are the caller's."""
    asked = Event(
        0, began, "invoke", NEMESIS, "nemesis", kind, "begin", {"seconds": 1.0, **args}
    )
    events = [asked, replace(asked, type="info", time=began + 0.1, value=begun, error=error)]
    if ended is not None:
        undo = replace(asked, time=ended, key="end")
        events += [undo, replace(undo, type="info", time=ended + 0.1, value="undone")]
    return events


def in_order(events: Sequence[Event]) -> list[Event]:
    """The same events by time, counted."""
    by_time = sorted(events, key=lambda event: event.time)
    return [replace(event, index=index) for index, event in enumerate(by_time)]


def sample(time: float, node: str, revision: int, state_hash: str = "", **more: Any) -> Sample:
    """A member's answer; its state has the hash that belongs to the revision."""
    return Sample(
        time, node, True, revision=revision, state_hash=state_hash or f"hash{revision}", **more
    )
