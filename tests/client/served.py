"""A state machine that is served from a thread of its own, for callers that block."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from raftstate.client.loops import LoopThread
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.server import RpcServer, Settings
from raftstate.testing.member import MemoryState
from raftstate.testing.solo import Solo
from tests.rpc.harness import ADDRESSES, bench

_TICK_S = 0.02


@contextmanager
def served(*, expires: bool = False) -> Iterator[str]:
    """The endpoint of one. `expires`: what is not renewed ends, as in a cluster."""
    thread = LoopThread("served")
    up = thread.loop.create_future()
    down = asyncio.Event()

    async def serve() -> None:
        kind: AbstractAsyncContextManager[int] = _ticking() if expires else _still()
        async with kind as port:
            up.set_result(f"127.0.0.1:{port}")
            await down.wait()

    async def wait() -> str:
        endpoint: str = await up
        return endpoint

    task = thread.submit(serve())
    try:
        yield thread.run(wait())
    finally:
        thread.loop.call_soon_threadsafe(down.set)
        task.result(10.0)
        thread.end()


@asynccontextmanager
async def _still() -> AsyncIterator[int]:
    async with bench() as b:
        yield b.port


@asynccontextmanager
async def _ticking() -> AsyncIterator[int]:
    bridge = Bridge(asyncio.get_running_loop())
    solo = Solo(
        bridge.deliver,
        (state := MemoryState()),
        bridge.revisions.announce,
        now=time.monotonic,
        wall=time.time,
        history_keep=1_000,
    )
    server = RpcServer(solo, state, bridge, Settings(addresses=ADDRESSES), lambda *_: None)
    port = server.bind("127.0.0.1:0")
    await server.start()

    async def tick() -> None:
        while True:
            solo.follow_up()
            await asyncio.sleep(_TICK_S)

    ticking = asyncio.create_task(tick())
    try:
        yield port
    finally:
        ticking.cancel()
        await asyncio.wait({ticking})
        await server.stop(0)
