# ruff: noqa: PLW0108, PT012, SIM117  # blocks and calls are set out as users write them
"""Ctrl-C, forks, and the end of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import raftstate.sync
from raftstate.errors import Closed
from raftstate.sync.store import Store
from tests.sync.serving import serving, stores


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
