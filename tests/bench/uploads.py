"""What a large checkpoint's upload does to the commits of other agents: live nodes.

Agents commit one small step after the other, at a pace far below what the cluster can do;
the latency of each counts. In every other round a process of its own uploads a
checkpoint meanwhile, each time of other content, and the round lasts until it is committed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from raftstate.client import AgentHandle, connect
from raftstate.localcluster import LocalCluster
from tests.bench.figures import median, quantile

_TIMEOUT_S = 300.0
_OWNERSHIP_S = 60.0
_QUIET, _BUSY = "without", "during"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    parser.add_argument("--mib", type=int, default=64, help="of each upload")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round without one")
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--pace", type=float, default=10.0, help="steps a second and agent")
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a line for each kind of round, and answer with the figures."""
    with (
        tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-") as name,
        LocalCluster.create(Path(name), nodes=3) as cluster,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as uploader,
    ):
        taken, uploads = asyncio.run(_take_turns(cluster.endpoints, uploader, arguments))
    found: dict[str, Any] = {
        "mib": arguments.mib,
        "uploads_s": [round(one, 1) for one in uploads],
    }
    for kind, rounds in taken.items():
        whole = [value for one in rounds for value in one]
        found[kind] = {
            "steps": len(whole),
            "p50_ms": round(median(whole), 1),
            "p99_ms": round(quantile(whole, 0.99), 1),
            "max_ms": round(max(whole), 1),
            "p99_of_rounds_ms": [round(quantile(one, 0.99), 1) for one in rounds],
        }
        print(f"{kind:8}", found[kind])
    pairs = zip(taken[_BUSY], taken[_QUIET], strict=True)
    ratios = sorted(quantile(busy, 0.99) / quantile(quiet, 0.99) for busy, quiet in pairs)
    found["p99_during_to_without"] = {
        "all": round(found[_BUSY]["p99_ms"] / found[_QUIET]["p99_ms"], 2),
        "rounds": [round(one, 2) for one in (ratios[0], median(ratios), ratios[-1])],
    }
    print("p99, during to without", found["p99_during_to_without"])
    return found


async def _take_turns(
    endpoints: str, uploader: ProcessPoolExecutor, arguments: argparse.Namespace
) -> tuple[dict[str, list[list[float]]], list[float]]:
    """The milliseconds of each step, by kind and round; the seconds of each upload."""
    taken: dict[str, list[list[float]]] = {_QUIET: [], _BUSY: []}
    uploads: list[float] = []
    loop = asyncio.get_running_loop()
    # The process takes a while to start: that is no part of an upload.
    await loop.run_in_executor(uploader, os.getpid)
    async with connect(endpoints, timeout=_TIMEOUT_S) as store:
        owns = [store.own(f"small/{at}", ttl=_OWNERSHIP_S) for at in range(arguments.agents)]
        agents = await asyncio.gather(*(own.__aenter__() for own in owns))
        for _ in range(arguments.rounds):
            over: asyncio.Future[Any] = asyncio.create_task(asyncio.sleep(arguments.seconds))
            taken[_QUIET].append(await _steps(agents, 1 / arguments.pace, over))
            upload = loop.run_in_executor(uploader, upload_one, endpoints, arguments.mib << 20)
            over = asyncio.ensure_future(upload)
            taken[_BUSY].append(await _steps(agents, 1 / arguments.pace, over))
            uploads.append(await upload)
        await asyncio.gather(*(own.__aexit__(None, None, None) for own in owns))
    return taken, uploads


async def _steps(
    agents: list[AgentHandle], interval: float, over: asyncio.Future[Any]
) -> list[float]:
    """Steps of all agents, each at its pace, until something is over."""
    taken: list[float] = []

    async def commit(agent: AgentHandle) -> None:
        while not over.done():
            began = time.perf_counter()
            async with agent.step() as step:
                step.event("small", {"at": agent.head.step})
            spent = time.perf_counter() - began
            taken.append(spent * 1_000)
            await asyncio.sleep(max(interval - spent, 0.0))

    await asyncio.gather(*(commit(agent) for agent in agents))
    return taken


def upload_one(endpoints: str, size: int) -> float:
    """Save a checkpoint of so many bytes that nobody has seen; the seconds it took."""
    return asyncio.run(_upload(endpoints, os.urandom(size)))


async def _upload(endpoints: str, data: bytes) -> float:
    async with (
        connect(endpoints, timeout=_TIMEOUT_S) as store,
        store.own("large", ttl=_OWNERSHIP_S, wait=True) as agent,
    ):
        began = time.perf_counter()
        await agent.checkpoint(data)
        return time.perf_counter() - began
