"""Plant bugs, and see what catches them.

    scripts/simulate --mutants [--known] [--json]
        every bug that the project knows to plant, one after another
    scripts/simulate --mutant NAME
        one of them
    scripts/simulate --mutant FILE.py
        a bug of your own

A FILE holds one function, which replaces parts of the product through what it is given:

    from raftstate.consensus import rules

    def plant(patch):
        \"\"\"Half of the voters, rounded down, decide.\"\"\"
        patch.replace(rules, "majority", lambda voters: voters // 2)

`patch.replace(owner, name, new)` replaces a function, a method or a property of a module
or class; `patch.item(table, key, new)` one in a dict; `patch.silence(owner, name, ...)`
makes checks say nothing, to see which other one would find the bug. What no longer fits
the product is reported, and counts as a failure. tests/sim/mutants/example_outsider.py is
an example.

Seeds are tried from 1 on until one catches the bug; then the very same seeds are run
without it, and must be clean. A bug that random seeds cannot be expected to find is looked
for by a schedule, a scripted story with a name, which is run with the bug and without; it
is then reported with 0 seeds. With --known every schedule that there is is used, and
otherwise the seed that is written beside a bug is tried before all others.

The exit status is 0 only if every bug was caught and everything without it was clean.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, islice
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, NamedTuple

from tests.sim.mutants import catalogue
from tests.sim.mutants.catalogue import Mutant
from tests.sim.mutants.running import SECONDS, Job, Verdict, run

SEEDS = 2_000


class Outcome(NamedTuple):
    """What became of one mutant. `caught_by` tells the run that caught it; `unclean` what
    was wrong without it."""

    name: str
    seeds: int
    caught_by: Verdict | None
    unclean: Verdict | None
    broken: str = ""

    @property
    def caught(self) -> bool:
        """Whether the simulator has shown that it finds this bug."""
        return self.caught_by is not None and self.unclean is None

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        by, unclean = self.caught_by, self.unclean
        control = "clean" if by else "not run"
        if unclean is not None:
            control = unclean.invariant or unclean.broken
        return {
            "name": self.name,
            "caught": self.caught,
            "seeds": self.seeds,
            "invariant": by.invariant if by else "",
            "seed": by.job.seed if by and not by.job.schedule else None,
            "schedule": by.job.schedule or None if by else None,
            "control": control,
            "broken": self.broken,
        }

    def as_text(self) -> str:
        """One line for people."""
        if self.broken:
            return f"BROKEN  {self.name}: {self.broken}"
        if self.caught_by is None:
            return f"MISSED  {self.name}: {self.seeds} seeds found nothing"
        by = self.caught_by
        how = f"the schedule {by.job.schedule}" if by.job.schedule else f"seed {by.job.seed:#x}"
        tried = "" if by.job.schedule else f", {self.seeds} tried"
        text = f"{self.name}: {by.invariant} ({how}{tried})"
        if self.unclean is None:
            return f"caught  {text}"
        without = self.unclean.invariant or self.unclean.broken
        return f"UNCLEAN {text}; without it, {_where(self.unclean.job)} ends with {without}"


class Hunt:
    """Runs, on all cores, and what was already seen to be clean."""

    def __init__(self, pool: Pool | None, jobs: int, template: Job) -> None:
        self._pool = pool
        self._jobs = jobs
        self._template = template
        self._clean: dict[Job, Verdict] = {}

    def hunt(self, mutant: Mutant, seeds: Iterable[int], schedule: str | None) -> Outcome:
        """Look for one mutant, by a schedule or by seeds; then run without it what was run
        with it."""
        planted = self._template._replace(bug=mutant.name, store=mutant.store)
        runs: Iterable[Job] = (planted._replace(seed=seed) for seed in seeds)
        if schedule:
            runs = [planted._replace(schedule=schedule)]
        tried: list[Job] = []
        last: Verdict | None = None
        for last in self._in_order(runs):
            tried.append(last.job)
            if not last.clean:
                break
        number = 0 if schedule else len(tried)
        if last is None or last.clean:
            return Outcome(mutant.name, number, None, None)
        if last.broken:
            return Outcome(mutant.name, number, None, None, last.broken)
        unclean = self._first_unclean(job._replace(bug="") for job in tried)
        return Outcome(mutant.name, number, last, unclean)

    def _first_unclean(self, controls: Iterable[Job]) -> Verdict | None:
        """Runs without a bug, each once however many bugs it was run with."""
        controls = list(controls)
        for verdict in self._in_order(job for job in controls if job not in self._clean):
            self._clean[verdict.job] = verdict
        return next((v for job in controls if not (v := self._clean[job]).clean), None)

    def _in_order(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        """Verdicts in the order of the jobs. In rounds, so that little is run in vain once
        the first has caught something."""
        todo = iter(jobs)
        sizes = chain((self._jobs, self._jobs * 2), (self._jobs * 4 for _ in count()))
        while batch := list(islice(todo, next(sizes))):
            yield from map(run, batch) if self._pool is None else self._pool.map(run, batch, 1)


def _where(job: Job) -> str:
    return f"the schedule {job.schedule}" if job.schedule else f"seed {job.seed:#x}"


# --- the command line --------------------------------------------------------


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--mutants", action="store_true", help="plant every known bug")
    what.add_argument("--mutant", metavar="NAME|FILE", help="plant this one")
    parser.add_argument("--known", action="store_true", help="try first what is known to work")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="try so many at most")
    parser.add_argument("--seed", type=lambda text: int(text, 0), help="try this one only")
    parser.add_argument("--nodes", type=int, choices=(3, 5), help="instead of a drawn number")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of faults in each run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1 or arguments.jobs < 1 or arguments.seconds < 10:
        parser.error("--seeds and --jobs are at least 1, --seconds at least 10")
    if arguments.seed is not None and arguments.mutants:
        parser.error("--seed goes with --mutant")
    return arguments


def _chosen(arguments: argparse.Namespace) -> list[Mutant]:
    if arguments.mutants:
        return catalogue.mutants()
    name = arguments.mutant
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SystemExit(f"simulate: there is no file {name}")
        return [Mutant(name, lambda patch: None, frozenset(), store=True)]
    try:
        found = catalogue.find(name)
    except KeyError:
        known = "\n  ".join(one.name for one in catalogue.mutants())
        raise SystemExit(f"simulate: {name} is no file and none of\n  {known}") from None
    print(f"{found.name}: {found.story}")
    return [found]


def _seeds(arguments: argparse.Namespace, mutant: Mutant) -> Iterable[int]:
    if arguments.seed is not None:
        return [arguments.seed]
    every: Iterable[int] = range(1, arguments.seeds + 1)
    if arguments.known and mutant.known is not None:
        return chain([mutant.known], (seed for seed in every if seed != mutant.known))
    return every


def _schedule(arguments: argparse.Namespace, mutant: Mutant) -> str | None:
    """The schedule to use: if it is the only way, or the quick one that was asked for."""
    if arguments.seed is None and (mutant.known is None or arguments.known):
        return mutant.schedule
    return None


def main(argv: list[str]) -> int:
    """Run what was asked for; the exit status."""
    arguments = _arguments(argv)
    chosen = _chosen(arguments)
    template = Job("", seconds=arguments.seconds, nodes=arguments.nodes)
    began = time.monotonic()

    def all_of_them(pool: Pool | None) -> list[Outcome]:
        hunt = Hunt(pool, arguments.jobs, template)
        return [
            _tell(hunt.hunt(one, _seeds(arguments, one), _schedule(arguments, one)), arguments)
            for one in chosen
        ]

    outcomes = _with_pool(arguments.jobs, all_of_them)
    caught = sum(outcome.caught for outcome in outcomes)
    print(f"{caught} of {len(chosen)} caught in {time.monotonic() - began:.0f} s")
    if arguments.json:
        told = [outcome.as_dict() for outcome in outcomes]
        print(json.dumps({"mutants": told, "caught": caught, "planted": len(chosen)}))
    return 0 if caught == len(chosen) else 1


def _with_pool(jobs: int, work: Callable[[Pool | None], list[Outcome]]) -> list[Outcome]:
    if jobs == 1:
        return work(None)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        return work(pool)


def _tell(outcome: Outcome, arguments: argparse.Namespace) -> Outcome:
    """Say at once what became of a mutant; for one alone, also how."""
    if not arguments.mutants:
        for verdict in (outcome.caught_by, outcome.unclean):
            if verdict is not None:
                print(verdict.report)
    print(outcome.as_text(), flush=True)
    return outcome
