"""One short run with each planted fault, one of the same plan without; who caught it.

A fault is caught if one of the verdicts that are named beside it says `invalid`, and no
verdict does on a run of the same plan and seed without it. What faults and loads come to
light by chance is given a few tries, each with another seed.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from jepsen_like.checkers.vacuity import Limits
from jepsen_like.mutants.catalogue import MUTANTS, Mutant, Plan
from jepsen_like.nemesis.catalogue import packages_of
from jepsen_like.run import CannotRun, Results, Settings, conduct
from raftstate.localcluster import LocalClusterError

TRIES: Final = 3
WARM_UP_S: Final = 1.5
QUIET_S: Final = 1.0
# What a planted fault has broken for good is not waited for for long.
PATIENCE_S: Final = 8.0
_FIRST_SEED: Final = 1

Say = Callable[[str], None]
Conduct = Callable[[Settings, Say], Awaitable[Results]]


class NoSuchMutant(Exception):
    """A name that is not in the catalogue."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one planted fault. `by` are the verdicts that caught it, `complaint`
    the first thing that the first of these said; `control` is what all verdicts on the run
    without it came to."""

    name: str
    breaks: str
    plan: str
    caught: bool
    by: tuple[str, ...]
    complaint: str
    control: str
    tries: int
    seed: int
    seconds: float


async def run_all(only: Sequence[str], say: Say, conduct: Conduct = conduct) -> dict[str, Any]:
    """Run the faults of these names (none: all), one after another; what was planted, what
    was caught, and how, for JSON. Raises NoSuchMutant before anything is run."""
    chosen = find(only)
    folder = Path(tempfile.mkdtemp(prefix="jepsen-mutants-"))
    series = _Series(folder, say, conduct)
    found = [await series.judge(mutant) for mutant in chosen]
    caught = sum(one.caught for one in found)
    if caught == len(found):
        shutil.rmtree(folder)
    else:
        say(f"what was not caught is in {folder}")
    return {
        "planted": len(found),
        "caught": caught,
        "mutants": [asdict(one) for one in found],
    }


def find(names: Sequence[str]) -> tuple[Mutant, ...]:
    """The mutants of these names, in the order of the catalogue; all, if there are none."""
    known = [mutant.name for mutant in MUTANTS]
    if unknown := [name for name in names if name not in known]:
        raise NoSuchMutant(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(mutant for mutant in MUTANTS if not names or mutant.name in names)


class _Series:
    """Runs, each in a folder of its own; a plan without a fault is run once a seed."""

    def __init__(self, folder: Path, say: Say, conduct: Conduct) -> None:
        self._folder = folder
        self._say = say
        self._conduct = conduct
        self._controls: dict[tuple[str, int], str] = {}

    async def judge(self, mutant: Mutant) -> Found:
        """Try one fault until it is caught, and its plan without it."""
        began = time.monotonic()
        self._say(f"{mutant.name}: {mutant.breaks}")
        by: tuple[str, ...] = ()
        complaint = control = ""
        seed = tries = 0
        while tries < TRIES and not by:
            seed, tries = _FIRST_SEED + tries, tries + 1
            try:
                results = await self._run(mutant.plan, seed, mutant.name)
            except (CannotRun, LocalClusterError) as error:
                complaint = f"not run: {error}"
                break
            by, complaint = caught_by(mutant, results)
        if by:
            control = await self._control(mutant.plan, seed)
        found = Found(
            name=mutant.name,
            breaks=mutant.breaks,
            plan=mutant.plan.name,
            caught=bool(by) and control != "invalid",
            by=by,
            complaint=complaint,
            control=control,
            tries=tries,
            seed=seed,
            seconds=round(time.monotonic() - began, 1),
        )
        self._say(as_text(found))
        return found

    async def _control(self, plan: Plan, seed: int) -> str:
        """What the verdicts come to where nothing is planted."""
        if (plan.name, seed) not in self._controls:
            results = await self._run(plan, seed, "")
            self._controls[plan.name, seed] = str(results.summary["verdict"])
            for verdict in results.verdicts:
                if verdict.validity != "valid":
                    self._say(f"  without it: {verdict.name}: {verdict.summary}")
        return self._controls[plan.name, seed]

    async def _run(self, plan: Plan, seed: int, mutant: str) -> Results:
        folder = self._folder / f"{mutant or f'no-fault-{plan.name}'}-{seed}"
        return await self._conduct(settings(plan, folder, seed, mutant), lambda _: None)


def settings(plan: Plan, folder: Path, seed: int, mutant: str) -> Settings:
    """How a plan is run."""
    return Settings(
        folder=folder,
        seed=seed,
        workloads=plan.workloads,
        nemeses=packages_of(planned.fault.kind for planned in plan.schedule),
        time_s=plan.seconds,
        warm_up_s=WARM_UP_S,
        quiet_s=QUIET_S,
        patience_s=PATIENCE_S,
        load=plan.load,
        mutant=mutant,
        schedule=plan.schedule,
        # These runs are as short as can be: what catches a fault need not be busy.
        limits=Limits(rate_min=0.0, concurrent_min=1, last_count=1, unknown_min=0),
    )


def caught_by(mutant: Mutant, results: Results) -> tuple[tuple[str, ...], str]:
    """The verdicts that were expected to catch a fault and did, and what the first of
    them has to say."""
    caught = [
        verdict
        for verdict in results.verdicts
        if verdict.name in mutant.expects and verdict.validity == "invalid"
    ]
    return tuple(verdict.name for verdict in caught), caught[0].summary if caught else ""


def as_text(found: Found) -> str:
    """One line for people."""
    took = f"{found.tries} tries, {found.seconds:.0f} s"
    if not found.by:
        return f"  MISSED in {took} {found.complaint}".rstrip()
    word = "caught" if found.caught else "UNCLEAN"
    return (
        f"  {word} by {', '.join(found.by)} ({took}; without it {found.control}): "
        f"{found.complaint}"
    )
