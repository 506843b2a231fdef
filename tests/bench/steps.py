"""How long one durable step takes through the SDK, with either log: two live clusters.

One caller, one event a step. The clusters of three members each take turns within one run;
the one whose turn it is not has nothing to do but heartbeats.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from raftstate.client import AgentHandle, connect
from raftstate.localcluster import LocalCluster
from raftstate.storage.logs import LOG_KINDS
from tests.bench.figures import median, quantile

_OWNERSHIP_S = 60.0
_TIMEOUT_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    parser.add_argument("--steps", type=int, default=25, help="of each cluster in each round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a line for each log, and answer with the figures in milliseconds."""
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-")
        folder = Path(stack.enter_context(made))
        endpoints: dict[str, str] = {}
        for kind in LOG_KINDS:
            overrides = {"storage": {"log": kind}}
            cluster = LocalCluster.create(folder / kind, nodes=3, overrides=overrides)
            endpoints[kind] = stack.enter_context(cluster).endpoints
        taken = asyncio.run(_take_turns(endpoints, arguments.steps, arguments.rounds))
    found: dict[str, Any] = {"steps": arguments.steps, "rounds": arguments.rounds}
    for name, rounds in taken.items():
        whole = [value for one in rounds for value in one]
        found[name] = {
            f"p{share}_ms": round(quantile(whole, share / 100), 2) for share in (10, 50, 90, 99)
        }
        print(f"{name:10}", found[name])
    pairs = zip(taken["segments"], taken["lmdb"], strict=True)
    ratios = sorted(median(segments) / median(lmdb) for segments, lmdb in pairs)
    found["segments_to_lmdb"] = {
        "p10": round(found["segments"]["p10_ms"] / found["lmdb"]["p10_ms"], 3),
        "p50": round(found["segments"]["p50_ms"] / found["lmdb"]["p50_ms"], 3),
        "rounds": [round(one, 3) for one in (ratios[0], median(ratios), ratios[-1])],
    }
    print("segments to lmdb", found["segments_to_lmdb"])
    return found


async def _take_turns(
    endpoints: dict[str, str], steps: int, rounds: int
) -> dict[str, list[list[float]]]:
    """The milliseconds of each step, by log and round."""
    taken: dict[str, list[list[float]]] = {kind: [] for kind in endpoints}
    async with AsyncExitStack() as stack:
        agents: dict[str, AgentHandle] = {}
        for kind, where in endpoints.items():
            store = await stack.enter_async_context(connect(where, timeout=_TIMEOUT_S))
            own = store.own("bench", ttl=_OWNERSHIP_S)
            agents[kind] = await stack.enter_async_context(own)
        kinds = list(agents)
        for _ in range(rounds):
            for kind in kinds:
                taken[kind].append([await _step(agents[kind], n) for n in range(steps)])
            kinds.reverse()
    return taken


async def _step(agent: AgentHandle, number: int) -> float:
    began = time.perf_counter()
    async with agent.step() as step:
        step.event("tick", number)
    return (time.perf_counter() - began) * 1e3
