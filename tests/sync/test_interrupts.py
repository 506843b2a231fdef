# ruff: noqa: PLW0108, PT012, SIM117  # blocks and calls are set out as users write them
"""Ctrl-C, forks, and the end of the process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import raftstate.sync
from raftstate.client import acts
from raftstate.client.loops import LoopThread
from raftstate.errors import Closed, OwnershipLost
from raftstate.sync import calling
from raftstate.sync.store import Store
from tests.sync.serving import serving, stores, until


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Interrupts are heeded, even where a shell that runs this in the background has them
    ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_soon(seconds: float = 0.2) -> threading.Thread:
    """Ctrl-C for this thread, after a while."""
    me = threading.main_thread().ident
    assert me is not None

    def interrupt() -> None:
        time.sleep(seconds)
        signal.pthread_kill(me, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


WAITS: dict[str, Callable[[Store], object]] = {
    "a watch": lambda store: next(store.watch(prefix="never")),
    "an ownership": lambda store: store.own("taken", wait=True).__enter__(),
    "a projection": lambda store: store.projection("p", lambda _: None).run(),
    "a worker": lambda store: raftstate.sync.Worker(store).run(),
    "a member that is not there": lambda store: store.status("127.0.0.1:1", timeout=60),
}


@pytest.mark.parametrize("wait", WAITS)
def test_an_interrupt_ends_a_call(wait: str) -> None:
    """
    At once, whatever it waits in, and nothing of it is left: the store is as usable as
    before, and nobody stands in line for an agent.
    """
    with stores(2) as (_, (store, other)):
        with other.own("taken"):
            thread = interrupt_soon()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                WAITS[wait](store)
            took = time.monotonic() - began
            thread.join()
            store.keys.put("k", b"1")
        with other.own("taken") as agent:
            assert agent.head.step == 0

    assert took < 3.0


class Asleep(queue.SimpleQueue[Any]):
    """A thread that waits here was interrupted just before it fell asleep: the signal is
    seen when it wakes."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        assert timeout is not None, "it would sleep for ever"
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().get(block, timeout)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def test_an_interrupt_that_does_not_wake_the_thread_is_seen_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Soon after: between the look for signals and the wait there is always a gap.
    """
    own = SimpleNamespace(SimpleQueue=Asleep, Empty=queue.Empty)
    with stores(1) as (_, (store,)):
        watch = store.watch(prefix="never")
        with monkeypatch.context() as patch:
            patch.setattr(calling, "queue", own)
            thread = interrupt_soon()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                next(watch)
            took = time.monotonic() - began
            thread.join()

    assert took < 3.0


def test_an_interrupt_in_a_block_gives_the_agent_back() -> None:
    """
    It goes through the step, which is not committed, and through the block.
    """
    with stores(2) as (_, (store, other)):
        thread = interrupt_soon()
        with pytest.raises(KeyboardInterrupt), store.own("a") as agent:
            with agent.step() as step:
                step.event("e")
                next(store.watch(prefix="never"))
        thread.join()
        assert not step.committed
        with other.own("a") as agent:
            assert agent.head.step == 0


def test_a_list_that_was_interrupted_goes_on() -> None:
    """
    Nothing of it is lost by that.
    """
    with stores(1) as (_, (store,)):
        store.append("s", [raftstate.sync.event("e", n) for n in range(3)])
        with store.watch(prefix="k") as watch:
            thread = interrupt_soon()
            with pytest.raises(KeyboardInterrupt):
                next(watch)
            thread.join()
            store.keys.put("k", b"1")
            assert next(watch).changes[0].resource.key.key == b"k"


def interrupt(thread: int) -> None:
    """Ctrl-C, now."""
    signal.pthread_kill(thread, signal.SIGINT)


class Strikes:
    """Interrupts the calls of this thread: when one has just ended, or has not begun."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def after(self, number: int = 1) -> None:
        """The so-manieth call from now on is interrupted when it has come to its end."""
        wait, left = calling.Call._wait, [number]

        def struck(call: Any) -> None:
            wait(call)
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        self._patch.setattr(calling.Call, "_wait", struck)

    def before(self, number: int = 1) -> None:
        """It is interrupted when it was handed over, or just before that."""
        call, left = LoopThread.call, [number]

        def struck(thread: LoopThread, what: Any, *given: Any) -> bool:
            if getattr(what, "__func__", None) is calling.Call._begin:
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
            return call(thread, what, *given)

        self._patch.setattr(LoopThread, "call", struck)

    def within(self, number: int = 1) -> None:
        """It is interrupted while it is handed over."""
        wait, left = calling.Call._wait, [number]

        def struck(call: Any) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            wait(call)

        self._patch.setattr(calling.Call, "_wait", struck)


@pytest.fixture
def strikes(monkeypatch: pytest.MonkeyPatch) -> Strikes:
    """Interrupts at odd moments."""
    return Strikes(monkeypatch)


MOMENTS = ["before", "within", "after"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_while_an_agent_is_acquired(strikes: Strikes, moment: str) -> None:
    """
    Also in the moment in which it was: nobody has it then, at once.
    """
    with stores(2) as (_, (store, other)):
        store.keys.put("k", b"1")
        began = time.monotonic()
        getattr(strikes, moment)()
        with pytest.raises(KeyboardInterrupt), store.own("a", ttl=60.0):
            raise AssertionError("it was interrupted")
        with other.own("a", wait=True, timeout=5.0):
            pass
        with store.own("a", wait=True, timeout=5.0) as agent:
            assert not agent.lost
        assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_while_a_block_is_left(strikes: Strikes, moment: str) -> None:
    """
    The agent is free when the thread goes on.
    """
    with stores(2) as (_, (store, other)):
        own = store.own("a", ttl=60.0)
        own.__enter__()
        getattr(strikes, moment)()
        with pytest.raises(KeyboardInterrupt):
            own.__exit__(None, None, None)
        with other.own("a", wait=True, timeout=5.0):
            pass


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_while_a_step_is_entered_or_left(strikes: Strikes, moment: str) -> None:
    """
    It is not left open: the next one can be entered. One that was not committed for sure is
    in doubt.
    """
    with stores(1) as (_, (store,)), store.own("a", ttl=60.0) as agent:
        with strikes._patch.context() as patch:
            getattr(Strikes(patch), moment)()
            with pytest.raises(KeyboardInterrupt), agent.step():
                raise AssertionError("it was interrupted")
        with agent.step() as step:
            step.event("e")
        with strikes._patch.context() as patch, pytest.raises(KeyboardInterrupt):
            with agent.step() as step:
                step.event("e")
                getattr(Strikes(patch), moment)()
        if moment == "before":
            return  # nothing could tell the store
        agent._it.head = store.get_agent("a").head
        with agent.step() as step:
            step.event("e")
        assert step.committed


def test_an_interrupt_as_a_lease_was_granted(strikes: Strikes) -> None:
    """
    It is given back.
    """
    with stores(1) as (_, (store,)):
        with strikes._patch.context() as patch:
            Strikes(patch).after()
            with pytest.raises(KeyboardInterrupt), store.lease(60.0):
                raise AssertionError("it was interrupted")
        assert list(store.list_leases()) == []


def test_a_second_interrupt() -> None:
    """
    While the first is being dealt with: the thread goes on at once, and what its call asks
    of it later is refused, so that it ends too.
    """
    inside, on = threading.Event(), threading.Event()
    ended: list[str] = []
    me = threading.main_thread().ident
    assert me is not None
    with stores(1) as (_, (store,)):

        async def stubborn() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                inside.set()
                await asyncio.to_thread(on.wait, 10)
                asked = acts.elsewhere.get()
                assert asked is not None
                try:
                    async with asyncio.timeout(5):
                        await asked(lambda: ended.append("asked"))
                except BaseException as error:
                    ended.append(type(error).__name__)
                    raise

        def second() -> None:
            assert inside.wait(10)
            interrupt(me)

        thread, then = interrupt_soon(), threading.Thread(target=second)
        then.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            store._running.run(stubborn())
        took = time.monotonic() - began
        thread.join()
        then.join()
        on.set()
        until(lambda: ended, "it has ended")

    assert ended == ["CancelledError"]
    assert took < 3.0


def test_an_interrupt_while_a_store_is_closed(strikes: Strikes) -> None:
    """
    It is closed all the same; closing it again waits for that.
    """
    with stores(1) as (_, (other,)), serving() as served:
        store = raftstate.sync.connect(served.endpoint)
        store.__enter__()
        own = store.own("a", ttl=60.0)
        own.__enter__()
        result = concurrent.futures.Future.result

        def struck(*_: Any) -> None:
            strikes._patch.setattr(concurrent.futures.Future, "result", result)
            raise KeyboardInterrupt

        strikes._patch.setattr(concurrent.futures.Future, "result", struck)
        with pytest.raises(KeyboardInterrupt):
            store.close()
        store.close()
        assert store._object._engine_or_none.ended
        with pytest.raises(OwnershipLost):
            own.__exit__(None, None, None)
        with raftstate.sync.connect(served.endpoint) as again:
            assert not again.get_agent("a").HasField("owner")
        other.keys.put("k", b"1")


LEFT: dict[str, Callable[[Store, Any], Iterator[Any]]] = {}


def left(function: Callable[[Store, Any], Iterator[Any]]) -> Any:
    """A generator with a block, to be left half-way."""
    LEFT[function.__name__] = function
    return function


@left
def an_agent(store: Store, _: Any) -> Iterator[Any]:
    """In the block of an agent."""
    with store.own("a", ttl=60.0) as agent:
        yield agent


@left
def a_step(_: Store, agent: Any) -> Iterator[Any]:
    """In a step."""
    with agent.step() as step:
        yield step


@left
def a_store(store: Store, _: Any) -> Iterator[Any]:
    """In the block of a store."""
    endpoint = store._running.portal._store._options.endpoints
    with raftstate.sync.connect(endpoint) as own, own.own("a", ttl=60.0) as agent:
        yield agent


@pytest.mark.parametrize("kind", LEFT)
def test_a_block_that_is_collected_on_a_thread_of_the_sdk(kind: str) -> None:
    """
    A generator in a cycle is ended by whichever thread collects it. Where that is the one
    that all calls run on, it does not wait for itself; and the block is left.
    """
    with stores(2) as (_, (store, other)), store.own("mine") as agent:
        other.keys.put("k", b"1")
        box: list[Any] = [LEFT[kind](store, agent)]
        next(box[0])
        box.append(box)
        done = threading.Event()
        thread = store._running.thread()
        gc.disable()
        try:
            del box

            def collect() -> None:
                gc.collect()
                done.set()

            thread.call(collect)
            assert done.wait(5), "it waits for itself"
        finally:
            gc.enable()
        with other.own("a", wait=True, timeout=5.0):
            pass
        with agent.step() as step:
            step.event("e")


def test_a_forked_process_has_nothing_of_its_parents() -> None:
    """
    Every call of it is refused there, at once and definitely, an iterator and a block's end
    included; the parent goes on. The child may fall out of its blocks.
    """
    with stores(1) as (_, (store,)), store.own("a") as agent:
        events = store.read_all()
        watch = store.watch()
        own = store.own("b")
        keys, breaker, step = store.keys, store.breaker("x"), agent.step()
        calls: list[Callable[[], Any]] = [
            lambda: store.keys,
            lambda: keys.get("a"),
            lambda: store.own("c"),
            lambda: own.__enter__(),
            lambda: next(events),
            lambda: next(watch),
            lambda: breaker.call(lambda: 1),
            lambda: step.__enter__(),
            lambda: agent.checkpoint(1),
            lambda: store.close(),
            lambda: store.__enter__(),
            lambda: store.status(),
        ]
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                for number, call in enumerate(calls, 1):
                    try:
                        call()
                        code = number
                    except Closed as error:
                        code = code or (0 if error.definite else 100 + number)
                watch.close()
                del events, watch
            except BaseException:  # noqa: BLE001  # only its number gets out
                code = 99
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        store.keys.put("k", b"1")
        with agent.step() as going_on:
            going_on.event("e")

    assert os.waitstatus_to_exitcode(status) == 0


def run(script: str, endpoint: str, *, interrupt: bool = False) -> subprocess.Popen[str]:
    """A process of its own, to its end."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(script), endpoint],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GRPC_VERBOSITY": "NONE"},
    )
    if interrupt:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
    return process


def test_a_process_ends_with_its_store_open() -> None:
    """
    Soon, without a word, and what it owned is free: it was closed in order.
    """
    with serving() as served:
        process = run(
            """
            import sys, raftstate.sync
            store = raftstate.sync.connect(sys.argv[1]).__enter__()
            own = store.own("a", ttl=60.0)
            agent = own.__enter__()
            events = store.read_all()
            watch = store.watch().__enter__()
            """,
            served.endpoint,
        )
        out, err = process.communicate(timeout=20)
        with raftstate.sync.connect(served.endpoint) as store:
            assert not store.get_agent("a").HasField("owner")

    assert (process.returncode, out, err) == (0, "", "")


def test_an_interrupt_ends_a_process_in_order() -> None:
    """
    While it waits: with a KeyboardInterrupt, as any program, and its agent is free.
    """
    with serving() as served:
        process = run(
            """
            import sys, raftstate.sync
            with raftstate.sync.connect(sys.argv[1]) as store, store.own("a", ttl=60.0):
                print("ready", flush=True)
                next(store.watch(prefix="never"))
            """,
            served.endpoint,
            interrupt=True,
        )
        _, err = process.communicate(timeout=20)
        with raftstate.sync.connect(served.endpoint) as store:
            assert not store.get_agent("a").HasField("owner")

    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "never awaited" not in err
    assert "was destroyed" not in err
