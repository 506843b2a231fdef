"""A program that ends in one of many ways, with a store open or not: see test_leaving.py.

`python -m tests.client.leaving HOW ENDPOINT` prints JSON; nothing is to be said besides.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import raftstate
from raftstate.client.portal import Portal
from raftstate.errors import OwnershipLost

ROUNDS = 5


def tell(found: dict[str, Any]) -> None:
    """Say what came of it."""
    print(json.dumps(found), flush=True)


def sockets() -> int:
    """How many this process has open."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        try:
            found += str(one.readlink()).startswith("socket:")
        except FileNotFoundError:  # the folder's own
            continue
    return found


async def use(endpoint: str) -> None:
    """Open, own, hold a lease, watch, write, and close while all of that is renewed."""
    async with raftstate.connect(endpoint, session_ttl=1.0) as store:
        async with (
            store.own("a", ttl=0.3) as agent,
            store.lease(0.5) as lease,
            store.watch(prefix="k") as watch,
        ):
            await store.keys.put("k", b"", lease=lease)
            await anext(watch)
            async with agent.step() as step:
                step.event("e")
            await asyncio.sleep(0.2)
        store.watch(prefix="k")  # of which nobody asks anything


async def settled(most: int) -> int:
    """How many sockets are left once gRPC has closed what it was told to: `most`, or so many
    as there are for good."""
    gc.collect()
    for _ in range(50):
        if sockets() <= most:
            break
        await asyncio.sleep(0.02)
    return sockets()


async def again_and_again(endpoint: str) -> None:
    """What is left of many stores: no more than of one."""
    await use(endpoint)
    once = await settled(0)
    for _ in range(ROUNDS):
        await use(endpoint)
    tasks = [repr(one) for one in asyncio.all_tasks() if one is not asyncio.current_task()]
    threads = sorted(one.name for one in threading.enumerate() if "raftstate" in one.name)
    tell({"more": await settled(once) - once, "tasks": tasks, "threads": threads})


async def cancelled(endpoint: str) -> None:
    """A store that is closed by a task that is being cancelled."""
    ready = asyncio.Event()
    closed: list[bool] = []

    async def work() -> None:
        async with raftstate.connect(endpoint) as store:
            try:
                async with store.own("a", ttl=0.3):
                    ready.set()
                    await asyncio.Event().wait()
            finally:
                await store.close()
                closed.append(store._engine_or_none is not None and store._engine_or_none.ended)

    task = asyncio.create_task(work())
    await ready.wait()
    task.cancel()
    await asyncio.wait({task})
    tell({"cancelled": task.cancelled(), "closed": closed})


async def interrupted(endpoint: str) -> None:
    """Ctrl-C in the middle of a block."""
    async with raftstate.connect(endpoint) as store, store.own("a", ttl=0.3):
        tell({})
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()


async def left_open(endpoint: str) -> None:
    """The loop ends, and nobody has closed its stores; the program goes on for a while."""
    for number in range(5):
        store = raftstate.connect(endpoint)
        await store.__aenter__()
        await store.own(f"a{number}", ttl=0.3).__aenter__()
        await store.lease(1.0).__aenter__()


async def exits(endpoint: str) -> None:
    """The program ends in the middle of a block."""
    async with raftstate.connect(endpoint) as store, store.own("a", ttl=0.3):
        tell({})
        sys.exit(0)


async def stopped(endpoint: str) -> None:
    """The whole process is stopped in a block, until somebody lets it go on."""
    found: dict[str, Any] = {"begun": False}
    try:
        async with raftstate.connect(endpoint) as store, store.own("a", ttl=0.6) as agent:
            os.kill(os.getpid(), signal.SIGSTOP)
            found["lost"] = agent.lost
            found["left"] = agent.time_left > 0
            async with agent.step():
                found["begun"] = True
    except OwnershipLost as error:
        found["definite"] = error.definite
    tell(found)


def portal(endpoint: str) -> None:
    """A portal that nobody closes."""
    Portal(endpoint).run(lambda store: store.keys.put("k", b""))
    tell({})


if __name__ == "__main__":
    way, where = sys.argv[1:]
    if way == "portal":
        portal(where)
    else:
        ways = {
            one.__name__: one
            for one in (again_and_again, cancelled, interrupted, left_open, exits, stopped)
        }
        try:
            asyncio.run(ways[way](where))
            if way == "left_open":
                portal(where)
                time.sleep(1.5)
        except KeyboardInterrupt:
            sys.exit(0)
