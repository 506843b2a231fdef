"""A state machine that is served from a thread, and sync stores of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import raftstate.sync
from raftstate.client.loops import LoopThread
from raftstate.sync.store import Store
from tests.rpc.harness import Bench, bench

T = TypeVar("T")
WAIT_S = 10.0


class Serving:
    """Where it is served, and how to tell it to fail."""

    def __init__(self, thread: LoopThread, served: Bench) -> None:
        self._thread = thread
        self._bench = served
        self.endpoint = f"127.0.0.1:{served.port}"

    def tell(self, act: Callable[[Bench], T]) -> T:
        """Have its own thread do something with it."""

        async def work() -> T:
            return act(self._bench)

        return self._thread.run(work())


@contextmanager
def serving() -> Iterator[Serving]:
    """One, on a thread of its own."""
    thread = LoopThread("serving")
    up: asyncio.Future[Bench] = thread.loop.create_future()
    down = asyncio.Event()

    async def serve() -> None:
        async with bench() as served:
            up.set_result(served)
            await down.wait()

    async def wait() -> Bench:
        return await up

    task = thread.submit(serve())
    try:
        yield Serving(thread, thread.run(wait()))
    finally:
        thread.loop.call_soon_threadsafe(down.set)
        task.result(WAIT_S)
        thread.end()


@contextmanager
def stores(count: int) -> Iterator[tuple[Serving, list[Store]]]:
    """A served state machine and so many clients of it."""
    with serving() as served, ExitStack() as stack:
        yield (
            served,
            [
                stack.enter_context(
                    raftstate.sync.connect(served.endpoint, client_name=f"client {number}")
                )
                for number in range(count)
            ],
        )


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds, but not for ever."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_S} s in vain until {what}"
        time.sleep(0.005)
