"""The other side of `diffs`: a process that compares two checkpoints, says what differs,
and ends.

Content may be hostile, and to decode it holds the interpreter for as long as it takes: a
leader that shared its interpreter with that would lose its office. Here it may run out of
time or memory, and nobody else is the worse for it.

The process reads a line of JSON, how long each part of either checkpoint is and of which
type, and then the parts; it writes a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from raftstate import content

MEMORY_MAX = 1 << 30
CPU_S_MAX = 20
# It can wait: the member has better things to do.
NICE = 10


def main() -> None:
    """Compare what comes in."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    task = json.loads(sys.stdin.buffer.readline())
    chains = [[(_read(size), kind) for size, kind in chain] for chain in task["chains"]]
    sys.stdout.write(json.dumps(compared(chains, **task["limits"])))


def compared(
    chains: list[list[tuple[bytes, str]]], values_max: int, differences: int, chars: int
) -> dict[str, Any]:
    """What differs between what two chains amount to; or what is wrong with which."""
    values = []
    for at, chain in enumerate(chains):
        try:
            values.append(content.restore_value(chain, values_max=values_max))
        except content.ContentError as error:
            return {"wrong": at, "why": str(error)}
        except MemoryError:
            return {"wrong": at, "why": "it takes too much memory"}
    before, after = values
    found, truncated = content.diff(before, after, differences, chars)
    return {"found": found, "truncated": truncated}


def _read(size: int) -> bytes:
    data = sys.stdin.buffer.read(size)
    if len(data) < size:
        sys.exit("the server has gone")
    return data
