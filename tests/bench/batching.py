"""What it is worth that concurrent callers of one client share messages: steps and reads.

So many callers at once, on one client, each of which goes on when it was answered. They take
turns with the same callers without batching: for steps, messages of one mutation on the same
stream; for reads, a call each. The ratios are those of rounds, for what else goes on on a
machine changes by the second: above 1, batching is faster.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from raftstate.client import AgentHandle, Store, connect, submit
from raftstate.client.queries import NotServed, Queries
from raftstate.localcluster import LocalCluster
from tests.bench.figures import median, quantile

_OWNERSHIP_S = 60.0
_TIMEOUT_S = 30.0
_KEYS = 100
BATCHED, SINGLE = "batched", "single"

Work = Callable[[int], Awaitable[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn")
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a line for each contest, and answer with the figures."""
    with (
        tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-") as name,
        LocalCluster.create(Path(name) / "cluster", nodes=3) as cluster,
    ):
        contests = asyncio.run(_contests(cluster.endpoints, arguments))
    found: dict[str, Any] = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    found["contests"] = contests
    return found


async def _contests(endpoints: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(connect(endpoints, timeout=_TIMEOUT_S))
        own = [
            stack.enter_async_context(store.own(f"bench/{number}", ttl=_OWNERSHIP_S))
            for number in range(max(arguments.callers))
        ]
        agents = await asyncio.gather(*own)
        for number in range(_KEYS):
            await store.keys.put(f"bench/{number:03}", "x" * 100)
        kinds: dict[str, tuple[Work, Any]] = {
            "steps": (lambda number: _step(agents[number]), _single_mutations),
            "reads": (lambda number: _read(store, number), _calls),
            "stale reads": (lambda number: _read(store, number, stale=True), _calls),
        }
        return [
            await _contest(name, work, without, callers, arguments)
            for name, (work, without) in kinds.items()
            for callers in arguments.callers
        ]


async def _contest(
    name: str, work: Work, without: Any, callers: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Both in turns; each round begins with the other one."""
    taken: dict[str, list[list[float]]] = {BATCHED: [], SINGLE: []}
    order = [BATCHED, SINGLE]
    for _ in range(arguments.rounds):
        for contestant in order:
            with without() if contestant == SINGLE else _as_it_is():
                taken[contestant].append(await _turn(work, callers, arguments.seconds))
        order.reverse()
    found: dict[str, Any] = {"what": name, "callers": callers}
    for contestant, rounds in taken.items():
        whole = [value for one in rounds for value in one]
        found[contestant] = {
            "per_s": round(len(whole) / arguments.seconds / arguments.rounds),
            "p50_ms": round(median(whole), 2),
            "p99_ms": round(quantile(whole, 0.99), 2),
        }
    pairs = list(zip(taken[BATCHED], taken[SINGLE], strict=True))
    found["per_s_ratio"] = _spread([len(batched) / len(single) for batched, single in pairs])
    found["p50_ratio"] = _spread(
        [median(single) / median(batched) for batched, single in pairs]
    )
    print(
        f"{name:12}{callers:4} callers  batched {found[BATCHED]}  single {found[SINGLE]}"
        f"  per_s x{found['per_s_ratio']}  p50 x{found['p50_ratio']}",
        flush=True,
    )
    return found


def _spread(ratios: list[float]) -> list[float]:
    """The least, the middle and the greatest."""
    return [round(one, 2) for one in (min(ratios), median(ratios), max(ratios))]


async def _turn(work: Work, callers: int, seconds: float) -> list[float]:
    """The milliseconds of all that was done in so many seconds."""
    until = time.perf_counter() + seconds
    taken: list[float] = []

    async def call(number: int) -> None:
        while (began := time.perf_counter()) < until:
            await work(number)
            taken.append((time.perf_counter() - began) * 1e3)

    await asyncio.gather(*map(call, range(callers)))
    return taken


async def _step(agent: AgentHandle) -> None:
    async with agent.step() as step:
        step.event("tick", 1)


async def _read(store: Store, number: int, **how: bool) -> None:
    found = await store.keys.get(f"bench/{number % _KEYS:03}", stale="stale" in how)
    assert found is not None


# --- without batching ---


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _single_mutations() -> Iterator[None]:
    """Messages of one mutation."""
    with mock.patch.object(submit, "BATCH_MUTATIONS", 1):
        yield


@contextmanager
def _calls() -> Iterator[None]:
    """No queries: a call for each read."""
    with mock.patch.object(Queries, "ask", _not_served):
        yield


async def _not_served(queries: Queries, request: Any, patience: float) -> Any:
    raise NotServed
