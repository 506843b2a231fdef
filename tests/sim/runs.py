"""One seed, run to its end, and many seeds together.

A module of its own: a pool of processes can only find what it can import by name.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter
from dataclasses import dataclass, field
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
