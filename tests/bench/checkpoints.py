"""What automatic checkpoints cost, and what they save: live nodes.

One agent commits steps, each with an event that changes its state, under several settings in
turns: a checkpoint every so many steps, or none. Overhead is the time of a step, and the
CPU time of client and nodes for it, beside those without checkpoints. Each round ends as
late after a checkpoint as it can be; then a successor owns the agent and replays. Replay
time is from asking for the agent until its state is there.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from raftstate import content
from raftstate.client import Every, connect
from raftstate.client.store import Store
from raftstate.localcluster import LocalCluster
from raftstate.v1.event_service_pb2 import Event
from tests.bench.figures import median
from tests.bench.processes import cpu_s

_TIMEOUT_S = 60.0
_OWNERSHIP_S = 60.0
_NONE = 0


class _Round(NamedTuple):
    """What one agent's life took, in seconds: a step, the CPU of everybody for it, ..."""

    steps: float
    cpu: float
    replay: float
    replayed: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    settings = [10, 100, 1_000]
    parser.add_argument("--every", type=int, nargs="+", default=settings, help="steps")
    parser.add_argument("--steps", type=int, default=2_000, help="at least, of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=500, help="of the state, 64 bytes each")
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a line for each setting, and answer with the figures."""
    with (
        tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-") as name,
        LocalCluster.create(Path(name), nodes=3) as cluster,
    ):
        taken = asyncio.run(_take_turns(cluster, arguments))
    without = taken.pop(_NONE)
    found: dict[str, Any] = {
        "state_bytes": len(content.encode(_fresh(arguments.slots), content.JSON)),
        "without": _figures(without, without),
    }
    print("without        ", found["without"])
    for every, rounds in taken.items():
        found[f"every_{every}"] = _figures(rounds, without)
        print(f"every {every:9}", found[f"every_{every}"])
    return found


def _figures(rounds: list[_Round], without: list[_Round]) -> dict[str, Any]:
    pairs = list(zip(rounds, without, strict=True))
    overheads = sorted(one.steps / bare.steps for one, bare in pairs)
    dear = sorted(one.cpu / bare.cpu for one, bare in pairs)
    return {
        "step_ms": round(median([one.steps for one in rounds]) * 1_000, 2),
        "to_without": [
            round(one, 2) for one in (overheads[0], median(overheads), overheads[-1])
        ],
        "cpu_ms": round(median([one.cpu for one in rounds]) * 1_000, 3),
        "cpu_to_without": [round(one, 2) for one in (dear[0], median(dear), dear[-1])],
        "replayed_events": rounds[0].replayed,
        "replay_ms": round(median([one.replay for one in rounds]) * 1_000, 1),
    }


async def _take_turns(
    cluster: LocalCluster, arguments: argparse.Namespace
) -> dict[int, list[_Round]]:
    taken: dict[int, list[_Round]] = {every: [] for every in (_NONE, *arguments.every)}
    async with connect(cluster.endpoints, timeout=_TIMEOUT_S) as store:
        for at in range(arguments.rounds):
            for every, rounds in taken.items():
                rounds.append(
                    await _live(cluster, store, f"saved/{every}/{at}", every, arguments)
                )
    return taken


async def _live(
    cluster: LocalCluster,
    store: Store,
    agent_id: str,
    every: int,
    arguments: argparse.Namespace,
) -> _Round:
    """One agent's steps, its end, and its successor's beginning."""
    policy = Every(steps=every) if every else None
    # The last checkpoint is as far behind as this setting allows.
    steps = arguments.steps
    if every:
        steps = -(-steps // every) * every + every - 1
    async with store.own(agent_id, ttl=_OWNERSHIP_S, auto_checkpoint=policy) as agent:
        state = agent.restore(default=_fresh(arguments.slots))
        agent.state_from(lambda: state)
        cpu, began = _cpu(cluster), time.perf_counter()
        for number in range(steps):
            event = {"slot": number % arguments.slots, "text": f"{number:064}"}
            async with agent.step() as step:
                step.event("set", event)
                state["slots"][event["slot"]] = event["text"]
        spent = (time.perf_counter() - began) / steps
        cpu = (_cpu(cluster) - cpu) / steps
    began = time.perf_counter()
    async with store.own(agent_id, ttl=_OWNERSHIP_S) as agent:
        again = agent.restore(default=_fresh(arguments.slots), fold=_fold)
        replay = time.perf_counter() - began
        replayed = len(agent.events_since)
    if again != state:
        raise RuntimeError("the state that was replayed is another one")
    return _Round(spent, cpu, replay, replayed)


def _cpu(cluster: LocalCluster) -> float:
    return time.process_time() + cpu_s(cluster)


def _fresh(slots: int) -> dict[str, Any]:
    return {"slots": ["0" * 64] * slots}


def _fold(state: dict[str, Any], event: Event) -> dict[str, Any]:
    change = content.decode(event.data, event.content_type)
    state["slots"][change["slot"]] = change["text"]
    return state
