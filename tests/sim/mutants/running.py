"""One seed, or one schedule, with a bug planted or without; and what caught it.

A module of its own: a pool of processes can only find what it can import by name.
"""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from tests.sim.invariants import Violation, must
from tests.sim.mutants import catalogue, schedules
from tests.sim.mutants.catalogue import Plant
from tests.sim.mutants.seam import DoesNotApply, Patch
from tests.sim.mutants.stage import NotSetUp
from tests.sim.world import NotConverged, World

# Shorter than a hunt's: what a bug does, it mostly does soon.
SECONDS = 30.0
ROOT = Path(__file__).parents[3]
# What is raised in here is a verdict, wherever it was called from.
JUDGES = (
    str(ROOT / "jepsen_like/checkers"),
    str(ROOT / "tests/sim/invariants.py"),
    str(ROOT / "tests/sim/store/judging.py"),
    str(ROOT / "tests/sim/store/undoing_judged.py"),
)
HERE = str(Path(__file__).parent)


class Job(NamedTuple):
    """What to run. `bug` is the name of a mutant, or a file with one; empty means none."""

    bug: str
    seed: int = 0
    schedule: str = ""
    seconds: float = SECONDS
    nodes: int | None = None
    store: bool = True  # whether clients of the whole store take part


class Verdict(NamedTuple):
    """How it went. `invariant` is what caught something, or empty; `broken` says why the
    run proves nothing, or is empty."""

    job: Job
    invariant: str = ""
    broken: str = ""
    report: str = ""

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not self.invariant and not self.broken


def run(job: Job) -> Verdict:
    """One whole run; the bug is planted for so long, and no longer."""
    with Patch() as patch:
        try:
            play = _prepare(job, patch)
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing was shown
            return Verdict(job, broken=_words(error), report=_text(error))
        try:
            play()
        except NotSetUp as error:
            return Verdict(job, broken=_words(error), report=_text(error))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            return _judge(job, error)
    return Verdict(job)


def _prepare(job: Job, patch: Patch) -> Callable[[], None]:
    """Plant the bug, if there is one; what to play with it."""
    if job.bug:
        load(job.bug)(patch)
        if not patch.count:
            raise DoesNotApply(f"{job.bug} replaces nothing")
    if job.schedule:
        return schedules.find(job.schedule)
    return partial(_random, job)


def _random(job: Job) -> None:
    with World(job.seed, nodes=job.nodes, seconds=job.seconds, store=job.store) as world:
        world.run()


def load(bug: str) -> Plant:
    """The function that plants a bug: of a mutant by its name, or `plant` of a file."""
    if not bug.endswith(".py"):
        return catalogue.find(bug).plant
    spec = importlib.util.spec_from_file_location("outsider", Path(bug).resolve())
    assert spec is not None and spec.loader is not None, f"{bug} is no Python file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plant = getattr(module, "plant", None)
    if not callable(plant):
        raise DoesNotApply(f"{bug} has no function plant(patch)")
    return plant  # type: ignore[no-any-return]


# --- who caught it -----------------------------------------------------------


def _judge(job: Job, error: Exception) -> Verdict:
    """What an exception out of a run says: a property that does not hold, a process that
    came to an end of its own, or a mutant that does not work."""
    planted = (HERE, str(Path(job.bug).resolve())) if job.bug else (HERE,)
    place = _places(error, planted)[-1]
    if not isinstance(error, Violation) and place.co_filename.startswith(planted):
        return Verdict(job, broken=_words(error), report=_text(error))
    return Verdict(job, invariant=invariant_of(error), report=_text(error))


def invariant_of(error: BaseException) -> str:
    """The name of the property that an exception is about.

    That is the function in `invariants.py`, or the checker, that raised it. The product
    checks itself too: then it is the function that did, with the exception's name.
    """
    if isinstance(error, NotConverged):
        return "converged"
    places = _places(error)
    if isinstance(error, Violation):
        judged = [place for place in places if place.co_filename.startswith(JUDGES)]
        # Properties are public functions; what they or the bookkeeping call is not.
        named = [place for place in judged if place.co_qualname.isidentifier()]
        public = [place for place in named if not place.co_name.startswith("_")]
        return _name((public or judged or places)[-1])
    return f"{_name(places[-1])}: {type(error).__name__}"


def _places(error: BaseException, planted: tuple[str, ...] = ()) -> list[CodeType]:
    """The functions of the project, and of a mutant, on the way to where an exception was
    raised: not those of a library, which they called."""
    found = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = (f"{ROOT}/raftstate", f"{ROOT}/tests", f"{ROOT}/jepsen_like", *planted)
    own = [code for code in found if code.co_filename.startswith(inside)]
    while own and own[-1] is must.__code__:
        own.pop()
    return own or found


def _name(code: CodeType) -> str:
    if code.co_filename.startswith(JUDGES[0]):
        return Path(code.co_filename).stem
    return code.co_qualname.removesuffix(".<locals>.<lambda>")


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
