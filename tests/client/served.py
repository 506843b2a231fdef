"""A state machine that is served from a thread of its own, for callers that block."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from raftstate.client.loops import LoopThread
from tests.rpc.harness import bench


@contextmanager
def served() -> Iterator[str]:
    """The endpoint of one."""
    thread = LoopThread("served")
    up = thread.loop.create_future()
    down = asyncio.Event()

    async def serve() -> None:
        async with bench() as b:
            up.set_result(f"127.0.0.1:{b.port}")
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
