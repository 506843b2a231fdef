"""What members of a real cluster say of faults, and what that shows.

The stories of test_nemeses.py are only as good as this.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import raftstate
from jepsen_like.control import LocalControl
from jepsen_like.monitor import Monitor
from jepsen_like.nemesis.catalogue import packages
from jepsen_like.protocols import Control, Window
from raftstate.errors import RaftStateError

# Slow, since every check has a run with each of these faults in it, all to be proven.
pytestmark = [pytest.mark.live, pytest.mark.slow]

WITHIN_S = 20.0

# What is tried on real nodes, and for how long: what other kinds do differs in who is hit.
TRIED = {
    "kill-leader": 1.5,
    "pause-leader": 2.0,
    "partition-one-way": 2.0,
    "half-open": 2.0,
    "flaky-links": 2.0,
    "slow-links": 3.5,
    "snapshot-install": 2.0,
}


async def work(endpoints: str) -> None:
    """Some 100 small entries a second, whatever becomes of them."""
    async with raftstate.connect(endpoints, timeout=1.0) as store:

        async def one(name: str) -> None:
            draws = random.Random(name)
            for number in itertools.count():
                with contextlib.suppress(RaftStateError):
                    await store.create_agent(f"{name}-{number}", timeout=1.0)
                await asyncio.sleep(draws.uniform(0.0, 0.2))

        await asyncio.gather(*(one(f"a{number}") for number in range(16)))


async def look(monitor: Monitor, seconds: float) -> None:
    """Let the members say how they are for so long."""
    enough = max(one.time for one in monitor.samples) + seconds
    await until(lambda: all(one.time > enough for one in monitor.latest.values()))


def test_a_real_cluster_shows_each_fault(tmp_path: Path) -> None:
    """
    Of a cluster of three under load, each of these kinds is shown by what its members say
    while it is there and shortly after, and by none of what they say before.
    """
    shown: dict[str, str | None] = {}
    false: dict[str, str | None] = {}

    async def one(control: Control, monitor: Monitor, clock: Callable[[], float]) -> None:
        every = packages(control, tuple).values()
        for kind, seconds in TRIED.items():
            package = next(one for one in every if kind in one.kinds)
            fault = replace(package.draw(kind, random.Random(1)), seconds=seconds)
            await look(monitor, 2.0 if kind == "slow-links" else 0.5)
            began = clock()
            begun = await package.begin(fault)
            await asyncio.sleep(max(0.0, began + seconds - clock()))
            undone = await package.end(fault)
            ended = clock()
            assert await control.wait_serving(WITHIN_S)
            await look(monitor, 1.0)
            window = Window(fault, began, ended, begun, undone, monitor.samples, control.nodes)
            shown[kind] = package.evidence(window)
            earlier = [one for one in monitor.samples if one.time < began]
            quiet = replace(window, began=began - 1.0, ended=began, samples=earlier)
            false[kind] = package.evidence(quiet)

    async def whole() -> None:
        control = LocalControl.make(tmp_path / "c", shims=False)
        try:
            await control.start()
            loop = asyncio.get_running_loop()
            working = loop.create_task(work(",".join(control.addresses.values())))
            path = tmp_path / "status.jsonl"
            async with Monitor(control.addresses, time.monotonic, path) as monitor:
                await until(lambda: len(monitor.latest) == 3)
                await one(control, monitor, time.monotonic)
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
        finally:
            await control.stop()
        assert control.unexpected_ends() == []

    asyncio.run(whole())
    assert [kind for kind in TRIED if shown[kind] is None] == [], shown
    assert {kind: said for kind, said in false.items() if said is not None} == {}


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.05)
