"""Run the simulator over seeds: `python -m tests.sim --seeds 1000`.

A failure prints the seed, its options, and the command that shows it again. With
`--json` the last line is one JSON object of what happened in all runs together. The
exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice

from tests.sim.runs import Run, Summary, run_seed, run_world
from tests.sim.world import SECONDS, World


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
