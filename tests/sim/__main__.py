"""Run the simulator over seeds: `python -m tests.sim --seeds 1000`.

A failure prints the seed, its options, and the command that shows it again. With
`--minutes` it hunts: fresh seeds until the time is over, a line of figures now and then,
and every failing seed is appended to the list that `check` replays. With `--json` the
last line is one JSON object of what happened in all runs together. The exit status is 1
if anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator
from itertools import count, islice

from tests.sim import regressions
from tests.sim.mutants import command as mutants
from tests.sim.regressions import SECONDS, Case
from tests.sim.runs import Run, Summary, run_all, run_world
from tests.sim.world import World

PROGRESS_S = 60.0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="how many fresh seeds to run")
    parser.add_argument("--seed", type=lambda text: int(text, 0), help="run this seed only")
    parser.add_argument("--nodes", type=int, choices=(3, 5), help="instead of a drawn number")
    parser.add_argument("--minutes", type=float, help="hunt for so long instead")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of faults in each run")
    parser.add_argument(
        "--no-store", action="store_true", help="workers and registers only, no other clients"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every event")
    parser.add_argument(
        "--mutants", action="store_true", help="plant bugs; --mutants --help tells more"
    )
    parser.add_argument(
        "--mutant", metavar="NAME|FILE", help="plant one bug; --mutants --help tells more"
    )
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1 or arguments.jobs < 1 or arguments.seconds < 10:
        parser.error("--seeds and --jobs are at least 1, --seconds at least 10")
    if arguments.trace and arguments.seed is None:
        parser.error("--trace goes with --seed")
    return arguments


def _case(arguments: argparse.Namespace, seed: int) -> Case:
    return Case(seed, arguments.nodes, arguments.seconds, not arguments.no_store)


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Fresh seeds, as many as asked for, or for as long as asked for."""
    fresh = (_case(arguments, secrets.randbits(32)) for _ in count())
    if arguments.minutes is None:
        yield from islice(fresh, arguments.seeds)
    else:
        end = time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < end:
            yield next(fresh)


def _one(arguments: argparse.Namespace) -> tuple[Case, Run]:
    """One seed, with its options, and every event if asked for."""
    case = _case(arguments, arguments.seed)
    world = World(case.seed, nodes=case.nodes, seconds=case.seconds, store=case.store)
    print(f"seed {case.seed:#x}: {world.options}")
    if arguments.trace:
        world.listen = print
    run = run_world(world)
    print(f"digest {world.digest.hexdigest()}")
    return case, run


def _tell(run: Run, case: Case, *, hunting: bool) -> None:
    """Say what is wrong with a run, and remember it if this is a hunt."""
    print(f"{run.wrong}: seed {run.seed:#x}\n{run.report}", flush=True)
    if hunting:
        regressions.append(case, f"{run.wrong}: {run.message}")


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if any(word.startswith("--mutant") for word in argv):
        return mutants.main(argv)
    arguments = _arguments(argv)
    hunting = arguments.minutes is not None
    summary = Summary()
    began = said = time.monotonic()
    if arguments.seed is None:
        runs = run_all(_cases(arguments), arguments.jobs)
    else:
        runs = iter([_one(arguments)])
    for case, run in runs:
        summary.add(run)
        if run.wrong:
            _tell(run, case, hunting=hunting and arguments.seed is None)
        if hunting and time.monotonic() - said >= PROGRESS_S:
            said = time.monotonic()
            print(summary.as_line(said - began), flush=True)
    print(summary.as_text(time.monotonic() - began))
    if arguments.json:
        print(summary.as_json())
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
