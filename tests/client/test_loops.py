"""Threads with an event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import raftstate
from raftstate.client.loops import LoopThread, call_soon
from raftstate.client.store import Store
from tests.client.scripted import asynchronous, until
from tests.client.served import served


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """One that ends with the test."""
    made = LoopThread("tested")
    yield made
    made.end()


class Handle:
    """A callback as a loop shows it that complains."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<Handle {self._name}()>"


@pytest.mark.parametrize(
    ("name", "message", "told"),
    [
        ("PollerCompletionQueue._handle_events", "Event loop is closed", False),
        ("PollerCompletionQueue._handle_events", "something else", True),
        ("work", "Event loop is closed", True),
    ],
)
def test_only_grpcs_word_about_a_loop_that_is_gone_is_not_told(
    thread: LoopThread, caplog: pytest.LogCaptureFixture, name: str, message: str, told: bool
) -> None:
    """
    Any loop may come upon what gRPC had for one that was closed; all else is told.
    """
    context: dict[str, Any] = {
        "message": "Exception in callback",
        "exception": RuntimeError(message),
        "handle": Handle(name),
    }

    async def complain() -> None:
        thread.loop.call_exception_handler(context)

    with caplog.at_level(logging.ERROR):
        thread.run(complain())

    assert bool(caplog.records) is told


def test_what_is_asked_of_a_loop_that_is_gone_is_not_done() -> None:
    """
    And is said to be so, instead of raised where nobody can help it.
    """
    gone = LoopThread("gone")
    assert gone.call(len, "")
    gone.end()

    assert not gone.call(len, "")
    assert not call_soon(gone.loop, len, "")
    gone.end()


def test_what_still_runs_ends_with_the_thread() -> None:
    """
    It is cancelled, and may say goodbye.
    """
    ended: list[str] = []
    thread = LoopThread("ending")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("in order")

    future = thread.submit(work())
    thread.run(asyncio.sleep(0))
    thread.end()

    assert ended == ["in order"]
    assert future.cancelled()


@asynchronous
async def test_cancelling_who_waits_cancels_the_work(thread: LoopThread) -> None:
    """
    Nothing goes on in the thread for nobody.
    """
    seen: list[str] = []

    async def work() -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    task = asyncio.create_task(thread.arun(work()))
    await until(lambda: seen == ["begun"], "it runs")
    task.cancel()
    await until(lambda: seen == ["begun", "ended"], "it was cancelled")
    assert task.cancelled()


async def put(store: Store) -> None:
    await store.keys.put("k", b"")


async def own(store: Store) -> None:
    await store.own("a").__aenter__()


async def watch(store: Store) -> None:
    await anext(store.watch())


@pytest.mark.parametrize("use", [put, own, watch])
def test_a_store_in_another_loop_than_its_own_is_told(
    thread: LoopThread, use: Callable[[Store], Coroutine[Any, Any, None]]
) -> None:
    """
    Instead of hanging, or failing wherever the two loops meet. It goes on in its own.
    """
    with served() as endpoint:
        store = raftstate.connect(endpoint)
        thread.run(store.__aenter__())
        with pytest.raises(RuntimeError, match="belongs to the event loop that entered it"):
            asyncio.run(use(store))
        thread.run(put(store))
        thread.run(store.close())
