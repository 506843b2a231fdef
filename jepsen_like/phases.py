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
        gen.Any(gen.Sleep(time_s), gen.At(*timeline(schedule))),
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


def timeline(schedule: Sequence[Planned]) -> tuple[tuple[float, Op], ...]:
    """Beginnings and ends of all faults, in order of time. What the nemesis is late for it
    does as soon as it can, in this order."""
    moments: list[tuple[float, int, Op]] = []
    for place, planned in enumerate(schedule):
        fault = planned.fault
        value = {"seconds": fault.seconds, **fault.args}
        begin = Op("nemesis", fault.kind, BEGIN, value)
        end = Op("nemesis", fault.kind, END, value)
        moments.append((planned.at, place, begin))
        moments.append((planned.at + fault.seconds, place, end))
    moments.sort(key=lambda moment: moment[:2])
    return tuple((time, op) for time, _, op in moments)


def _stage(key: str) -> Op:
    return Op("nemesis", _RUN, key)
