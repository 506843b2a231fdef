"""A whole run as one generator: who does what, from the warm-up to the final reads.

The nemesis leads. Clients work beside it from the first moment to the end of the quiet
time, without a break, for a break would be a moment in which nothing could be caught. Its
stages stand in the history like its faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from jepsen_like import generator as gen
from jepsen_like.history import Event
from jepsen_like.nemesis.schedule import Planned
from jepsen_like.protocols import PENDING, Context, Generator, Op, Workload

BEGIN: Final = "begin"
END: Final = "end"
WARM_UP: Final = "warm-up"
FAULTS: Final = "faults"
HEAL: Final = "heal"
SETTLE: Final = "settle"
# The nemesis' operation that says that a phase begins, and the phase.
STAGES: Final[Mapping[str, str]] = {WARM_UP: "warm-up", FAULTS: "faults", HEAL: "heal"}
_LATE_S: Final = 60.0
OPENED_S: Final = 20.0  # for all clients to be open
_RUN: Final = "run"  # what these operations are of, in the place of a fault's kind


@dataclass(frozen=True, slots=True)
class AllFree:
    """Nothing, until every thread is free: all clients are open. Not for ever: one that
    cannot be opened for so many seconds holds nobody up."""

    seconds: float
    began: float | None = None

    def op(self, context: Context) -> gen.Answer:
        if self.began is None:
            return gen.Instead(replace(self, began=context.time))
        over = context.time >= self.began + self.seconds
        return None if over or len(context.free) == len(context.threads) else PENDING

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return self


@dataclass(frozen=True, slots=True)
class Lane:
    """Faults one after another, by one thread. A fault lasts from when it is really begun,
    and the next one begins a gap after it has really ended, however late that is; none
    begins after `last` seconds."""

    schedule: tuple[Planned, ...]
    thread: str
    last: float
    began: float = -1.0
    key: str = BEGIN
    due: float = 0.0
    waits: bool = False  # for what it began to be done

    def op(self, context: Context) -> gen.Answer:
        if self.began < 0:
            first = self.schedule[0].at if self.schedule else 0.0
            return gen.Instead(replace(self, began=context.time, due=context.time + first))
        late = context.time > self.began + self.last
        if not self.schedule or (late and self.key == BEGIN and not self.waits):
            return None
        if self.waits or self.thread not in context.free:
            return PENDING
        fault = self.schedule[0].fault
        value = {"seconds": fault.seconds, **fault.args}
        time = max(self.due, context.time)
        op = Op("nemesis", fault.kind, self.key, value, self.thread, time)
        return op, replace(self, waits=True)

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        if thread != self.thread or not self.waits:
            return self
        now, rest = self.schedule[0], self.schedule[1:]
        if event.type == "invoke":
            if self.key == BEGIN:
                return replace(self, due=event.time + now.fault.seconds)
            return self
        if self.key == BEGIN:
            return replace(self, key=END, waits=False)
        gap = rest[0].at - now.at - now.fault.seconds if rest else 0.0
        due = max(event.time + gap, self.began + (rest[0].at if rest else 0.0))
        return replace(self, schedule=rest, key=BEGIN, due=due, waits=False)


def lanes(schedule: Sequence[Planned], seconds: float) -> list[Lane]:
    """What waits for the cluster, and beside it what does not. What is late is made up for
    by some time at the end, and no more."""
    last = seconds + min(_LATE_S, seconds / 4)
    return [
        Lane(tuple(one for one in schedule if one.beside is beside), thread, last)
        for beside, thread in zip((False, True), gen.NEMESIS_THREADS, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Beside:
    """Two generators at the same time, for as long as the first has something to say."""

    leading: Generator
    beside: Generator

    def op(self, context: Context) -> gen.Answer:
        first = self.leading.op(context)
        if first is None:
            return None
        if isinstance(first, gen.Instead):
            return gen.Instead(replace(self, leading=first.generator))
        second = self.beside.op(context)
        if isinstance(second, gen.Instead):
            return gen.Instead(replace(self, beside=second.generator))
        if isinstance(second, tuple) and not _is_sooner(first, second):
            return second[0], replace(self, beside=second[1])
        if isinstance(first, tuple):
            return first[0], replace(self, leading=first[1])
        return first

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        return Beside(
            self.leading.update(context, thread, event),
            self.beside.update(context, thread, event),
        )


def _is_sooner(first: gen.Answer, second: tuple[Op, Generator]) -> bool:
    """Whether the leading one's operation comes first; where both are due, it does."""
    return isinstance(first, tuple) and (first[0].time or 0.0) <= (second[0].time or 0.0)


def whole(
    workloads: Mapping[str, Workload],
    schedule: Sequence[Planned],
    *,
    seed: int,
    nodes: tuple[str, ...],
    warm_up_s: float,
    time_s: float,
    quiet_s: float,
    load: float,
) -> Generator:
    """Everything that is done in a run. `load` is what the workloads' own rates are
    multiplied with. The final reads come when the nemesis has settled."""
    nemesis = gen.Phases(
        gen.Sleep(warm_up_s),
        gen.Once(_stage(FAULTS)),
        gen.Any(gen.Sleep(time_s), *lanes(schedule, time_s)),
        gen.Once(_stage(HEAL)),
        gen.Sleep(quiet_s),
    )
    clients = [
        gen.On(
            name,
            gen.at_rate(workload.rate * load, workload.generator(seed), f"{seed}:{name}"),
        )
        for name, workload in workloads.items()
    ]
    final = [gen.On(name, one.final(seed, nodes)) for name, one in workloads.items()]
    return gen.Phases(
        AllFree(OPENED_S),
        gen.On(gen.NEMESIS_THREAD, gen.Once(_stage(WARM_UP))),
        Beside(gen.On(gen.NEMESIS_THREAD, nemesis), gen.Any(*clients)),
        gen.On(gen.NEMESIS_THREAD, gen.Once(_stage(SETTLE))),
        gen.Any(*final),
    )


def _stage(key: str) -> Op:
    return Op("nemesis", _RUN, key)
