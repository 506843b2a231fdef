"""One seed, run to its end, and many seeds together.

A module of its own: a pool of processes can only find what it can import by name.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.sim.regressions import Case
from tests.sim.world import NotConverged, World

# What is rare in a cluster's life, and common here: the counts that people want to see.
RARE = (
    "elections",
    "truncations",
    "snapshot_installs",
    "membership_changes",
    "power_losses",
)


_RAISED = re.compile(r"^(?:[a-z_]\w*\.)*[A-Z]\w*: .*", re.MULTILINE)  # how a traceback ends


class Run(NamedTuple):
    """How one seed went. `wrong` is empty, "violation" or "not_converged"."""

    seed: int
    wrong: str
    report: str
    numbers: dict[str, float]
    events: dict[str, int]

    @property
    def message(self) -> str:
        """What is wrong, on one line."""
        told = _RAISED.findall(self.report.partition("\nseed 0x")[0])
        return told[-1] if told else self.report.partition("\n")[0]


def run_case(case: Case) -> Run:
    """One whole run of a seed under its options."""
    world = World(case.seed, nodes=case.nodes, seconds=case.seconds, store=case.store)
    return run_world(world)


def run_all(cases: Iterable[Case], jobs: int) -> Iterator[tuple[Case, Run]]:
    """Run cases in processes of their own, and give each when it ends. Cases are drawn
    only when there is room, so that an endless supply can end by the clock."""
    if jobs == 1:
        yield from ((case, run_case(case)) for case in cases)
        return
    supply = iter(cases)
    under_way: dict[Future[Run], Case] = {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while True:
            while len(under_way) < 2 * jobs and (case := next(supply, None)) is not None:
                under_way[pool.submit(run_case, case)] = case
            if not under_way:
                return
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in ended:
                yield under_way.pop(future), future.result()


def run_world(world: World) -> Run:
    """One whole run; whatever goes wrong in it is in the answer."""
    seed = world.seed
    try:
        with world:
            world.run()
        return Run(seed, "", "", world.numbers(), world.events())
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
        wrong = "not_converged" if isinstance(error, NotConverged) else "violation"
        report = "".join(traceback.format_exception(error))
        return Run(seed, wrong, report, world.numbers(), world.events())


@dataclass(slots=True)
class Summary:
    """All runs together."""

    seeds: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Take in one run."""
        self.seeds += 1
        self.numbers.update(run.numbers)
        self.events.update(run.events)
        if run.wrong:
            self.wrong[run.wrong] += 1
            self.failed.append(run.seed)

    def as_json(self) -> str:
        """One line for machines."""
        return json.dumps(
            {
                "seeds": self.seeds,
                "violations": self.wrong["violation"],
                "not_converged": self.wrong["not_converged"],
                "simulated_s": round(self.numbers["simulated_s"], 1),
                "acked": int(self.numbers["acked"]),
                "reads_checked": int(self.numbers["reads_checked"]),
                "operations_judged": int(self.numbers["operations"]),
                "stale_writes_refused": int(self.numbers["stale_refused"]),
                "failed_seeds": [f"{seed:#x}" for seed in sorted(self.failed)],
                "events": dict(sorted(self.events.items())),
            }
        )

    def as_text(self, seconds: float) -> str:
        """A few lines for people."""
        others = ", ".join(
            f"{self.events[kind]} {kind}" for kind in sorted(self.events) if kind not in RARE
        )
        return (
            f"{self.as_line(seconds)}\n"
            f"{int(self.numbers['operations'])} operations on registers judged, "
            f"{int(self.numbers['stale_refused'])} stale writes refused\n{others}"
        )

    def as_line(self, seconds: float) -> str:
        """How it goes, on one line."""
        verdict = "all clean" if not self.failed else f"{len(self.failed)} WRONG"
        simulated, spent = self.numbers["simulated_s"], max(seconds, 1e-9)
        rare = ", ".join(f"{self.events[kind]} {kind.replace('_', ' ')}" for kind in RARE)
        return (
            f"{self.seeds} seeds, {verdict}; {60 * self.seeds / spent:.1f} seeds a minute, "
            f"{simulated / 3600:.2f} simulated hours ({simulated / spent:.0f} times real "
            f"time), {int(self.numbers['acked'])} operations acknowledged, "
            f"{int(self.numbers['reads_checked'])} reads checked; {rare}"
        )
