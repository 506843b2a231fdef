"""How long nothing is written after the leader was killed: three live nodes on loopback.

One writer commits one step after the other through the SDK. The leader gets SIGKILL; what
counts is the time from there until a step that was begun afterwards is acknowledged. Then
the member is started again, and when all serve and writes go on, the next one is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from raftstate.client import AgentHandle, connect
from raftstate.localcluster import LocalCluster
from raftstate.storage.logs import LOG_KINDS
from tests.bench.figures import median, quantile

_TIMEOUT_S = 30.0
_OWNERSHIP_S = 60.0
# So many acknowledged writes between two kills, so that none is measured on the heels of
# the one before.
_SETTLED = 50
_POLL_S = 0.0005

_T = TypeVar("_T")


class _Write(NamedTuple):
    """An acknowledged write, in seconds of the monotonic clock."""

    began: float
    ended: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--log", choices=LOG_KINDS, default="lmdb", help="of the members")
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a line for each kill, and answer with the figures in milliseconds."""
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-") as name:
        overrides = {"storage": {"log": arguments.log}}
        with LocalCluster.create(Path(name), nodes=3, overrides=overrides) as cluster:
            gaps = asyncio.run(_kill_again_and_again(cluster, arguments.kills))
    found = {
        "kills": len(gaps),
        "log": arguments.log,
        "p50_ms": round(median(gaps), 1),
        "p90_ms": round(quantile(gaps, 0.9), 1),
        "max_ms": round(max(gaps), 1),
        "min_ms": round(min(gaps), 1),
        "all_ms": [round(gap, 1) for gap in gaps],
    }
    print(
        f"{found['kills']} kills, {found['log']} log, until the next write: p50"
        f" {found['p50_ms']:.0f} ms, p90 {found['p90_ms']:.0f} ms, max {found['max_ms']:.0f} ms"
    )
    return found


async def _kill_again_and_again(cluster: LocalCluster, kills: int) -> list[float]:
    """The milliseconds until the next write, for each kill."""
    gaps: list[float] = []
    async with (
        connect(cluster.endpoints, timeout=_TIMEOUT_S, session_ttl=_OWNERSHIP_S) as store,
        store.own("bench", ttl=_OWNERSHIP_S) as agent,
    ):
        writes: list[_Write] = []
        writer = asyncio.create_task(_write(agent, writes))
        try:
            for number in range(1, kills + 1):
                leader, gap = await _kill_once(cluster, writer, writes)
                gaps.append(gap)
                print(f"kill {number} of {kills}: {leader}, {gap:.0f} ms", flush=True)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
    return gaps


async def _write(agent: AgentHandle, writes: list[_Write]) -> None:
    number = 0
    while True:
        number += 1
        began = time.monotonic()
        async with agent.step() as step:
            step.event("tick", number)
        writes.append(_Write(began, time.monotonic()))


async def _kill_once(
    cluster: LocalCluster, writer: asyncio.Task[None], writes: list[_Write]
) -> tuple[str, float]:
    """Who was killed, and the milliseconds until a write begun after that was acknowledged."""
    await asyncio.to_thread(cluster.wait_serving, *cluster.members, timeout=_TIMEOUT_S)
    settled = len(writes) + _SETTLED
    await _until(writer, lambda: len(writes) >= settled or None)
    leader = await asyncio.to_thread(cluster.wait_leader, _TIMEOUT_S)
    # Here, not in a thread: the clock is read when the signal is out.
    cluster.kill(leader)
    killed = time.monotonic()
    write = await _until(
        writer, lambda: next((w for w in writes[-2:] if w.began >= killed), None)
    )
    await asyncio.to_thread(cluster.start_node, leader, _TIMEOUT_S)
    return leader, (write.ended - killed) * 1e3


async def _until(writer: asyncio.Task[None], ask: Callable[[], _T | None]) -> _T:
    """Ask until there is an answer; what the writer raises comes up here."""
    async with asyncio.timeout(_TIMEOUT_S):
        while (answer := ask()) is None:
            if writer.done():
                await writer
            await asyncio.sleep(_POLL_S)
        return answer
