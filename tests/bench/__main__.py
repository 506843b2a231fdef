"""Measure on this machine, now: `python -m tests.bench commit-latency`.

    commit-latency    one commit of either log, alternating, one entry and a batch
    step-latency      one step through the SDK, a live cluster with either log, alternating
    failover          the leader of three live nodes is killed; until the next write
    growth            what a commit costs, and memory, with few and with many stored events
    upload-latency    small commits while a large checkpoint is uploaded, and without
    checkpointing     what automatic checkpoints cost, and the replay they save
    batching          steps and reads of many callers at once, together and one by one

With `--json` the last line is one JSON object. Figures of two runs do not compare: those
of one run do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.bench import batching, checkpoints, commits, failover, growth, steps, uploads

COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[..., Any]]] = {
    "commit-latency": (commits.add_arguments, commits.measure),
    "step-latency": (steps.add_arguments, steps.measure),
    "failover": (failover.add_arguments, failover.measure),
    "growth": (growth.add_arguments, growth.measure),
    "upload-latency": (uploads.add_arguments, uploads.measure),
    "checkpointing": (checkpoints.add_arguments, checkpoints.measure),
    "batching": (batching.add_arguments, batching.measure),
}


def main(argv: list[str] | None = None) -> int:
    """Run one measurement; the exit status."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (add_arguments, _) in COMMANDS.items():
        one = commands.add_parser(name)
        one.add_argument("--json", action="store_true", help="one JSON object as the last line")
        add_arguments(one)
    arguments = parser.parse_args(argv)
    found = COMMANDS[arguments.command][1](arguments)
    if arguments.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
