# ruff: noqa: ASYNC251, PT012, SIM117  # blocking the event loop is what this is about
"""An event loop that is blocked costs nothing, unless it is for too long."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raftstate
from raftstate.client import clock
from raftstate.client.options import Options
from raftstate.client.portal import Portal
from raftstate.client.routing import Known, Router
from raftstate.client.store import Store
from raftstate.errors import EffectTooLate, InvalidRequest, OwnershipLost
from tests.client.scripted import asynchronous, until
from tests.client.served import served

ROOT = Path(__file__).parents[2]
TTL = 0.6
BLOCKED_S = 4 * TTL


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Pure Python, which shares the interpreter with every other thread."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1_000))


@pytest.mark.parametrize("block", [sleep, compute])
def test_a_blocked_loop_keeps_what_it_owns(block: Callable[[float], None]) -> None:
    """
    Session, ownership and lease are renewed meanwhile, several times over: none is lost,
    and the next step is committed under the same token.
    """

    async def story(endpoint: str) -> None:
        async with raftstate.connect(endpoint, session_ttl=1.0) as store:
            async with store.own("a", ttl=TTL) as agent, store.lease(TTL) as lease:
                await store.keys.put("k", b"", lease=lease)
                block(BLOCKED_S)
                assert 0 < agent.time_left < TTL
                agent.check()
                assert not agent.lost
                assert not lease.lost
                async with agent.step() as step:
                    step.event("after")
                assert await store.keys.get("k") is not None
            assert store.sessions_opened == 1

    with served(expires=True) as endpoint:
        asyncio.run(story(endpoint))


async def in_time(agent: raftstate.AgentHandle) -> None:
    """What runs first when the loop turns again is told."""
    assert agent.lost
    with pytest.raises(OwnershipLost) as caught:
        agent.check()
    assert caught.value.definite


async def enter_a_step(agent: raftstate.AgentHandle) -> None:
    with pytest.raises(OwnershipLost) as caught:
        await agent.step().__aenter__()
    assert caught.value.definite


async def ends(agent: raftstate.AgentHandle) -> None:
    """Not even one wait."""


@pytest.mark.parametrize("afterwards", [in_time, enter_a_step, ends])
def test_a_loop_that_hangs_owns_no_more(
    afterwards: Callable[[raftstate.AgentHandle], object],
) -> None:
    """
    After `stall_limit` nothing is renewed: somebody else owns while the loop still hangs,
    and whatever runs then first is told; at the latest the end of the block. The store goes
    on.
    """

    async def successor(store: Store) -> str:
        async with store.own("a", wait=True, timeout=5.0) as agent:
            return agent.token_text

    async def story(endpoint: str, portal: Portal) -> None:
        options: Any = {"session_ttl": 1.0, "stall_limit": 0.3}
        async with raftstate.connect(endpoint, **options) as store:
            with pytest.raises(OwnershipLost) as caught:
                async with store.own("a", ttl=TTL) as agent:
                    token = portal.run(successor)  # which blocks
                    await afterwards(agent)  # type: ignore[misc]
            assert token > agent.token_text
            assert caught.value.definite
            await store.create_agent("b")

    with served(expires=True) as endpoint, Portal(endpoint) as portal:
        asyncio.run(story(endpoint, portal))


def test_what_the_thread_is_told_counts_at_once() -> None:
    """
    Somebody takes the agent while the loop is blocked: an effect that had been prepared is
    not begun, although nobody had told the loop, and its time had not run out.
    """
    begun: list[str] = []

    async def force(store: Store) -> None:
        async with store.own("a", force=True):
            await asyncio.sleep(1.8)

    async def story(endpoint: str, portal: Portal) -> None:
        async def do(call: raftstate.EffectCall) -> None:
            portal.run(force)  # while this prepares
            assert agent.lost
            call.check()
            begun.append(call.effect_id)

        async with raftstate.connect(endpoint) as store:
            with pytest.raises(OwnershipLost) as caught:
                async with store.own("a", ttl=3.0) as agent:
                    await agent.effect("pay", effect_id="1", do=do, kind="irreversible")
        assert isinstance(caught.value.__cause__, EffectTooLate)

    with served(expires=True) as endpoint, Portal(endpoint) as portal:
        asyncio.run(story(endpoint, portal))
    assert begun == []


def test_a_loop_that_turns_again_in_time_is_renewed_again() -> None:
    """
    A stall that ends before the ownership does costs nothing.
    """

    async def story(endpoint: str) -> None:
        async with raftstate.connect(endpoint, stall_limit=0.2) as store:
            async with store.own("a", ttl=4.0) as agent:
                time.sleep(0.6)
                assert store._engine.alive.stalled
                before = agent.time_left
                await until(lambda: agent.time_left > before + 0.5, "it is renewed")
                assert not store._engine.alive.stalled

    with served(expires=True) as endpoint:
        asyncio.run(story(endpoint))


def test_a_process_that_was_stopped_knows_what_it_missed() -> None:
    """
    Nobody renewed while all of it stood still, which outlasted the ownership: the very next
    line knows, before any loop has turned, and no step is begun.
    """
    with served(expires=True) as endpoint:
        with subprocess.Popen(
            [sys.executable, "-m", "tests.client.leaving", "stopped", endpoint],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            try:
                state = Path(f"/proc/{program.pid}/stat")
                end = time.monotonic() + 30.0
                while state.read_text().rsplit(")", 1)[1].split()[0] != "T":
                    assert time.monotonic() < end, "it was never stopped"
                    time.sleep(0.01)
                time.sleep(2 * TTL)
                program.send_signal(signal.SIGCONT)
                told, _ = program.communicate(timeout=30.0)
            finally:
                program.kill()

    assert json.loads(told) == {"begun": False, "lost": True, "left": False, "definite": True}


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_a_limit_that_makes_no_sense(limit: float) -> None:
    """
    It is refused, by its name.
    """
    with pytest.raises(InvalidRequest, match="stall_limit"):
        raftstate.connect("127.0.0.1:1", stall_limit=limit)


def test_a_store_whose_loop_is_gone_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """
    A program that leaves its loop without closing its store owns no more, without a word;
    other stores of the process are not disturbed.
    """

    async def leave(endpoint: str) -> None:
        store = raftstate.connect(endpoint, session_ttl=1.0)
        await store.__aenter__()
        await store.own("a", ttl=TTL).__aenter__()

    async def own(store: Store) -> None:
        async with store.own("a", wait=True, timeout=10.0) as agent, agent.step() as step:
            step.event("mine")

    others = set(clock._timers)  # those of other tests
    with served(expires=True) as endpoint, Portal(endpoint, session_ttl=1.0) as portal:
        with caplog.at_level(logging.WARNING):
            asyncio.run(leave(endpoint))
            gc.collect()
            portal.run(own)
            portal.run(lambda store: store.keys.put("k", b""))
            assert portal.run(opened) == 1
            left = clock._timers - others
            assert [one for one in left if one.loop.is_closed()] == []
    said = [one for one in caplog.records if "asyncio" in one.name]
    assert said == []


async def opened(store: Store) -> int:
    return store.sessions_opened


@asynchronous
async def test_a_session_that_expired_is_told_apart_from_a_loss() -> None:
    """
    A store that owns nothing goes on under a new session without a word, which is counted.
    """
    with served(expires=True) as endpoint:
        async with raftstate.connect(endpoint, session_ttl=1.0, stall_limit=0.2) as store:
            assert store.sessions_opened == 0
            await store.create_agent("a")
            time.sleep(2 * BLOCKED_S)
            await store.create_agent("b")
            assert store.sessions_opened == 2


def test_a_router_learns_from_another_one() -> None:
    """
    The members, whom to ask, and which cluster it is: one of another is not taken for it.
    """
    store, thread = Router(Options(("h:1", "h:2"))), Router(Options(("h:1", "h:2")))
    store.learn(["h:2", "h:3"])
    store.confirm("h:3")
    thread.take(store.known())

    assert thread.known() == store.known() == Known("", 0, ("h:3",), "h:3")

    thread.take(Known("ours", 2, (), "h:1"))
    thread.confirm("h:2")
    thread.take(Known("theirs", 9, ("h:4",), "h:4"))

    assert thread.known() == Known("ours", 2, ("h:4",), "h:2")
