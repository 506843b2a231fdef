"""What is done outside is undone, once and in reverse, whoever dies meanwhile.

    python -m raftstate.examples.travel.demo [--json] [--seed N] [--out DIR]

Three members, three booking services with books of their own, and an agent that books
trips. It is stopped before a call that the ledger already has; the car service fails, its
breaker trips, and the trip rolls the agent back; the worker that undoes the bookings is
killed, and another finishes; the stopped agent goes on, and is refused. Afterwards the
services' own books must show every booking since the known good checkpoint undone once,
in reverse order.

With `--json` the last line of standard output is one object with the figures; progress
goes to standard error. `--out` keeps the evidence for `verify`. The exit status is 0 if
all is well, 1 if any property does not hold, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import raftstate
from raftstate.errors import RaftStateError
from raftstate.examples.census.crew import CrewError
from raftstate.examples.census.evidence import Journal, is_taken, write_json
from raftstate.examples.census.manifest import write_manifest
from raftstate.examples.census.strikes import NotAsPlanned
from raftstate.examples.travel.book import copy_book
from raftstate.examples.travel.crew import Crew
from raftstate.examples.travel.export import export
from raftstate.examples.travel.figures import outcome
from raftstate.examples.travel.outside import Unanswered
from raftstate.examples.travel.plan import LEGS, Plan, draw
from raftstate.examples.travel.record import SERVICE, WORKER
from raftstate.examples.travel.report import report
from raftstate.examples.travel.story import Story, ports_in
from raftstate.examples.travel.verify import load, verify
from raftstate.localcluster import LocalCluster, LocalClusterError

GOOD, BAD, USAGE = 0, 1, 2
RUN_S = 240.0  # a run takes half a minute at most; one that takes this long hangs
FAILED = (NotAsPlanned, CrewError, LocalClusterError, RaftStateError, Unanswered, TimeoutError)


@dataclass(slots=True)
class Demo:
    """One run. `run` returns the figures and everything that is wrong."""

    plan: Plan
    out: Path
    began: float = 0.0

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """Run it all, leave the evidence, and judge it from there."""
        self.began = time.monotonic()
        for name in ("agents", "workers", "books"):
            (self.out / name).mkdir()
        write_json(self.out / "plan.json", self.plan.to_dict())
        with tempfile.TemporaryDirectory(prefix="travel-") as folder:
            scratch = Path(folder)
            with _journals(self.out) as (processes, signals):
                crew = Crew(self.out, scratch, processes, signals)
                try:
                    ready = {leg: crew.service(leg, self.plan.seed) for leg in LEGS}
                    with LocalCluster.create(scratch / "cluster", nodes=3) as cluster:
                        asyncio.run(self._within(cluster.endpoints, crew, ready))
                finally:
                    crew.close()
            for leg in LEGS:
                copy_book(crew.book(leg), self.out / "books" / f"{leg}.sqlite")
        record, _ = load(self.out)
        figures = outcome(record)
        write_json(self.out / "result.json", figures)
        (self.out / "report.txt").write_text(report(record))
        write_manifest(self.out)
        recomputed, wrong = verify(self.out)
        if recomputed != figures:
            wrong.append("verify comes to other figures")
        return figures, wrong

    async def _within(self, endpoints: str, crew: Crew, ready: dict[str, Path]) -> None:
        """The story, and what the store says of it afterwards."""
        async with (
            asyncio.timeout(RUN_S),
            raftstate.connect(endpoints, client_name="travel-demo") as store,
        ):
            ports = await ports_in(ready)
            await Story(self.plan, store, endpoints, crew, self.tell, ports).run()
            crew.dismiss(WORKER)
            crew.dismiss(SERVICE)
            self.tell("reading the log through the SDK")
            await export(store, self.out)

    def tell(self, news: str) -> None:
        """Something happened."""
        print(f"[{time.monotonic() - self.began:5.1f} s] {news}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _journals(out: Path) -> Iterator[tuple[Journal, Journal]]:
    with Journal(out / "processes.jsonl") as one, Journal(out / "signals.jsonl") as two:
        yield one, two


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and say how it went."""
    parser = argparse.ArgumentParser(
        prog="demo-rollback", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--seed", type=lambda text: int(text, 0), help="default: a fresh one")
    parser.add_argument("--out", type=Path, help="keep the evidence in this new folder")
    args = parser.parse_args(arguments)
    seed = secrets.randbits(32) if args.seed is None else args.seed
    if args.out is not None and is_taken(args.out):
        print(f"demo-rollback: {args.out} is not empty", file=sys.stderr)
        return USAGE
    print(f"seed {seed}; again: scripts/demo-rollback --seed {seed}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        if args.out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="travel-")))
        else:
            out = args.out.absolute()
            out.mkdir(parents=True, exist_ok=True)
        return _run(Demo(draw(seed), out), as_json=args.json)


def _run(demo: Demo, *, as_json: bool) -> int:
    started = time.monotonic()
    try:
        figures, wrong = demo.run()
    except FAILED as error:
        print(f"demo-rollback: seed {demo.plan.seed}: {error}", file=sys.stderr)
        return BAD
    for complaint in wrong:
        print(f"demo-rollback: {complaint}", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{'FAILED' if wrong else 'passed'} in {seconds:.1f} s", file=sys.stderr)
    if as_json:
        print(json.dumps(figures))
    else:
        print((demo.out / "report.txt").read_text(), end="")
    return BAD if wrong else GOOD


def _end(number: int, _frame: object) -> None:
    """On a signal to end: leave through every `finally`, so that nobody stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    sys.exit(main())
