"""What runs in a worker: it stands by until it owns the agent, and then does its work.

It says what happens, one JSON object a line. The exit status is 0 when the work is done, and
3 when the ownership was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import raftstate
from raftstate.errors import Fenced, OwnershipLost

GOOD, LOST = 0, 3
# Long enough to outlive an election between two renewals, on a busy machine as well.
TTL_S: Final = 3.0
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is told: the cluster, its agent, the bank's folder, and how much to do."""

    endpoints: str
    agent_id: str
    folder: Path
    count: int


Work = Callable[[raftstate.AgentHandle, Task], Awaitable[None]]


def say(event: str, **what: Any) -> None:
    """One line for whoever listens."""
    print(json.dumps({"event": event, "at": time.time(), **what}), flush=True)


def main(work: Work, counted: str, description: str | None) -> int:
    """Be a worker, whose option `--counted` says how much to do. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="worker", description=str(description).splitlines()[0]
    )
    parser.add_argument("--endpoints", required=True)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(f"--{counted}", type=int, required=True)
    given = parser.parse_args()
    task = Task(given.endpoints, given.agent, given.folder, getattr(given, counted))
    try:
        asyncio.run(_stand_by(task, work))
    except (OwnershipLost, Fenced) as error:
        say("lost", why=str(error))
        return LOST
    return GOOD


async def _stand_by(task: Task, work: Work) -> None:
    async with raftstate.connect(task.endpoints, timeout=TIMEOUT_S) as store:
        say("waiting")
        async with store.own(task.agent_id, wait=True, ttl=TTL_S) as agent:
            say(
                "owned",
                epoch=agent.token.epoch,
                revision=agent.token.revision,
                open=[effect.effect_id for effect in agent.open_effects],
            )
            await work(agent, task)
