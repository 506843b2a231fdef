"""Run the simulator over seeds: `python -m tests.sim --seeds 1000`.

A failure prints the seed, its options, and the command that shows it again. With
`--json` the last line is one JSON object of what happened in all runs together. The
exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from typing import NamedTuple

from tests.sim.world import SECONDS, NotConverged, World


class Run(NamedTuple):
    """How one seed went. `wrong` is empty, "violation" or "not_converged"."""

    seed: int
    wrong: str
    report: str
    numbers: dict[str, float]
    events: dict[str, int]


def run_seed(seed: int, *, nodes: int | None = None, seconds: float = SECONDS) -> Run:
    """One whole run from its seed."""
    return run_world(World(seed, nodes=nodes, seconds=seconds))


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
        """Count one run."""
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
                "stale_writes_refused": int(self.numbers["stale_refused"]),
                "failed_seeds": [f"{seed:#x}" for seed in sorted(self.failed)],
                "events": dict(sorted(self.events.items())),
            }
        )

    def as_text(self, seconds: float) -> str:
        """A few lines for people."""
        events = ", ".join(f"{n} {kind}" for kind, n in sorted(self.events.items()))
        verdict = "all clean" if not self.failed else f"{len(self.failed)} WRONG"
        simulated = self.numbers["simulated_s"]
        return (
            f"{self.seeds} seeds, {verdict}: {simulated:.0f} simulated seconds in "
            f"{seconds:.1f} s, {simulated / max(seconds, 1e-9):.0f} times real time\n"
            f"{int(self.numbers['acked'])} steps acknowledged, "
            f"{int(self.numbers['reads_checked'])} reads checked\n{events}"
        )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="how many fresh seeds to run")
    parser.add_argument("--seed", type=lambda text: int(text, 0), help="run this seed only")
    parser.add_argument("--nodes", type=int, choices=(3, 5), help="instead of a drawn number")
    parser.add_argument("--minutes", type=float, help="run fresh seeds for so long instead")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of faults in each run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every event")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1 or arguments.jobs < 1 or arguments.seconds < 10:
        parser.error("--seeds and --jobs are at least 1, --seconds at least 10")
    if arguments.trace and arguments.seed is None:
        parser.error("--trace goes with --seed")
    return arguments


def _seeds(arguments: argparse.Namespace) -> Iterator[int]:
    """Fresh seeds, as many as asked for, or for as long as asked for."""
    fresh = (secrets.randbits(32) for _ in count())
    if arguments.minutes is None:
        yield from islice(fresh, arguments.seeds)
    else:
        end = time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < end:
            yield next(fresh)


def _runs(arguments: argparse.Namespace) -> Iterator[Run]:
    run = partial(run_seed, nodes=arguments.nodes, seconds=arguments.seconds)
    if arguments.jobs == 1:
        yield from map(run, _seeds(arguments))
        return
    # In rounds, because a pool would draw all seeds at once, however long they take.
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        seeds = _seeds(arguments)
        while batch := list(islice(seeds, arguments.jobs * 8)):
            yield from pool.imap_unordered(run, batch)


def _one(arguments: argparse.Namespace) -> Run:
    """One seed, with its options, and every event if asked for."""
    world = World(arguments.seed, nodes=arguments.nodes, seconds=arguments.seconds)
    print(f"seed {arguments.seed:#x}: {world.options}")
    if arguments.trace:
        world.listen = print
    run = run_world(world)
    print(f"digest {world.digest.hexdigest()}")
    return run


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    arguments = _arguments(argv)
    summary = Summary()
    began = time.monotonic()
    runs = _runs(arguments) if arguments.seed is None else iter([_one(arguments)])
    for run in runs:
        summary.add(run)
        if run.wrong:
            print(f"{run.wrong}: seed {run.seed:#x}\n{run.report}", flush=True)
    print(summary.as_text(time.monotonic() - began))
    if arguments.json:
        print(summary.as_json())
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
