"""Portals: one store for all threads and event loops of a process."""

import asyncio
import os
import threading

import pytest

from raftstate.client.loops import LoopThread
from raftstate.client.portal import Portal, shared_thread
from raftstate.errors import Closed
from tests.client.served import served


def test_threads_and_event_loops_share_a_store() -> None:
    """
    A thread without a loop, a loop that begins anew each time, and several at once.
    """
    with served() as endpoint, Portal(endpoint) as portal:
        portal.run(lambda store: store.keys.put("a", b"1"))

        async def read() -> bytes:
            found = await portal.arun(lambda store: store.keys.get("a"))
            assert found is not None
            return found.value

        assert [asyncio.run(read()) for _ in range(3)] == [b"1"] * 3
        names: list[str] = []
        threads = [
            threading.Thread(
                target=lambda n=n: portal.run(lambda store: store.keys.put(f"t{n}", b""))
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        async def names_of() -> list[str]:
            return [
                one.key.decode()
                async for one in portal._store.keys.range(prefix="t", keys_only=True)
            ]

        names = portal.run(lambda _: names_of())
        assert names == [f"t{n}" for n in range(8)]


def test_a_caller_that_is_cancelled_cancels_its_call() -> None:
    """
    Nothing goes on in the thread for nobody.
    """
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def story() -> None:
        task = asyncio.create_task(shared_thread().arun(work()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    shared_thread().run(asyncio.sleep(0.01))
    assert seen == ["cancelled"]


def test_the_thread_does_not_wait_for_itself() -> None:
    """
    A blocking call on it is an error, not a hang.
    """
    thread = LoopThread("one")

    async def inside() -> None:
        thread.run(asyncio.sleep(0))

    try:
        with pytest.raises(RuntimeError, match="the thread that would have to answer"):
            thread.run(inside())
    finally:
        thread.end()


def test_a_closed_portal_says_so() -> None:
    """
    Definitely: nothing was sent. Closing twice does no harm.
    """
    portal = Portal("127.0.0.1:1")
    portal.close()
    portal.close()
    with pytest.raises(Closed) as raised:
        portal.run(lambda store: store.keys.get("a"))
    assert raised.value.definite


def test_a_forked_process_cannot_use_its_parents_portal() -> None:
    """
    It is told so, at once and definitely, and may close its copy; the parent goes on.
    """
    with served() as endpoint, Portal(endpoint) as portal:
        portal.run(lambda store: store.keys.put("a", b"1"))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                portal.run(lambda store: store.keys.get("a"))
            except Closed as error:
                code = 0 if error.definite and "forked" not in error.details else 2
                portal.close()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        found = portal.run(lambda store: store.keys.get("a"))
        assert found is not None and found.value == b"1"
