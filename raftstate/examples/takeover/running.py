"""A demo as a program: its options, a cluster for it, what it tells, and its exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from raftstate.errors import RaftStateError
from raftstate.examples.takeover.demo import Demo
from raftstate.examples.takeover.workers import NotAsPlanned
from raftstate.localcluster import LocalCluster, LocalClusterError

GOOD, BAD, USAGE = 0, 1, 2
COUNT_MAX: Final = 200


def main(kind: type[Demo], description: str | None) -> int:
    """Run a demo of a kind, and say how it went. Returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    name, counted = kind.example, kind.counted
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--endpoints", help="a cluster that runs; else one of three is started")
    parser.add_argument(f"--{counted}", type=int, default=kind.usual, help=f"2 to {COUNT_MAX}")
    parser.add_argument("--json", action="store_true", help="the figures as one line")
    given = parser.parse_args()
    count: int = getattr(given, counted)
    if not 2 <= count <= COUNT_MAX:
        print(f"{name}: --{counted} is 2 to {COUNT_MAX}", file=sys.stderr)
        return USAGE
    out = sys.stderr if given.json else sys.stdout
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.2f} s  {text}", file=out, flush=True)

    try:
        with (
            tempfile.TemporaryDirectory(prefix=f"raftstate-{name}-") as scratch,
            _running(given.endpoints, Path(scratch)) as (endpoints, cluster),
        ):
            demo = kind(endpoints, cluster, Path(scratch), count, tell)
            figures, wrong = demo.run()
    except (NotAsPlanned, LocalClusterError, RaftStateError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return BAD
    for complaint in wrong:
        print(f"{name}: {complaint}", file=sys.stderr)
    tell(demo.summary(figures))
    if given.json:
        print(json.dumps(figures))
    return BAD if wrong else GOOD


def _end(number: int, _frame: object) -> None:
    """On a signal to end: leave through every `finally`, so that nobody stays behind."""
    sys.exit(128 + number)


@contextlib.contextmanager
def _running(endpoints: str | None, folder: Path) -> Iterator[tuple[str, LocalCluster | None]]:
    if endpoints is not None:
        yield endpoints, None
        return
    with LocalCluster.create(folder / "cluster", nodes=3) as cluster:
        cluster.wait_leader()
        yield cluster.endpoints, cluster
