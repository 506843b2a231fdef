"""A client dies after each entry that it had written: another goes on, and all is well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import raftstate
from raftstate.client import compensating
from raftstate.client.store import Store
from raftstate.errors import SagaAborted
from raftstate.v1.effect_service_pb2 import SAGA_STATE_COMPENSATED
from raftstate.v1.rollback_service_pb2 import ROLLBACK_STATE_FINISHED
from raftstate.v1.store_pb2 import Command
from tests.client.books import SOON, Outside, stores
from tests.client.scripted import asynchronous
from tests.rpc.harness import Bench

NAMES = ("flight", "hotel", "car")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compensating, "Backoff", lambda: SOON)


@contextlib.asynccontextmanager
async def dying_after(
    entries: int, served: Bench, victim: Store
) -> AsyncIterator[asyncio.Event]:
    """Keep the answer to the victim's so-manieth entry back, and say so. At the end its
    session is over."""
    fake, dead = served.fake, asyncio.Event()
    left, propose = [entries], fake.propose
    session = victim._engine.sessions.current
    assert session is not None

    def counted(command: Command, ticket: object) -> None:
        left[0] -= 1
        fake.holding = left[0] <= 0
        propose(command, ticket)
        if left[0] <= 0:
            dead.set()

    fake.propose = counted  # type: ignore[method-assign]
    try:
        yield dead
    finally:
        fake.propose = propose  # type: ignore[method-assign]
        fake.let_go()  # nobody hears that any more
        with contextlib.suppress(AssertionError):  # it never opened one
            fake.expire_session(session.session_id)


async def killed(
    entries: int, served: Bench, victim: Store, work: Callable[[Store], Awaitable[Any]]
) -> bool:
    """Let a client work until it has written so many entries, and no further; whether it
    got so far."""

    async def working() -> None:
        await work(victim)

    engine = victim._engine
    async with dying_after(entries, served, victim) as dead:
        task = asyncio.create_task(working())
        dying = asyncio.create_task(dead.wait())
        await asyncio.wait({task, dying}, return_when=asyncio.FIRST_COMPLETED)
        died = not task.done()
        engine.closed = True  # what it would say on its way out is not sent
        for one in (task, dying):
            one.cancel()
        await asyncio.wait({task, dying})
    if task.cancelled() or isinstance(task.exception(), Exception):
        return died
    return False


def in_order(log: list[str]) -> None:
    """What was done was undone once in effect, and in reverse."""
    did = [line.removeprefix("did ") for line in log if line.startswith("did ")]
    undid = [line.removeprefix("undid ") for line in log if line.startswith("undid ")]
    assert len(set(did)) == len(did)
    assert len(set(undid)) == len(undid)
    assert set(did) <= set(undid)
    positions = [NAMES.index(one) for one in undid]
    assert positions == sorted(positions, reverse=True)
    assert all(log.index(f"did {one}") < log.index(f"undid {one}") for one in did)


async def worked_out(store: Store, done: Callable[[], Awaitable[bool]]) -> None:
    """Let a worker finish what is left."""
    worker = raftstate.Worker(store, poll=0.02, backoff=SOON)
    task = asyncio.create_task(worker.run())
    try:
        while not await done():  # noqa: ASYNC110  # what the store says
            await asyncio.sleep(0.01)
    finally:
        worker.stop()
        await task


@asynchronous
async def test_an_agent_may_die_after_any_entry_of_its_saga() -> None:
    """
    Its successor runs the same program, and a worker does what is left: whatever was done
    is undone once, newest first, and nothing is stuck.
    """
    entries = 0
    died = True
    while died:
        entries += 1
        out = Outside()

        async def fails(call: raftstate.EffectCall, out: Outside = out) -> None:
            await out.do(call)
            raise OSError("lost the answer")

        async def program(store: Store, out: Outside = out, fails: Any = fails) -> None:
            with contextlib.suppress(OSError, SagaAborted):
                async with store.own("a") as agent, store.saga("s", agent=agent) as saga:
                    await saga.step("flight", do=out.do, undo="undo")
                    await saga.step("hotel", do=out.do, undo="undo")
                    await saga.step("car", do=fails, undo="undo")

        async with stores(3, out.registry) as (served, opened):
            first, second, third = opened
            await first.create_agent("a")  # so that there is a session
            died = await killed(entries, served, first, program)
            await program(second)

            async def undone(store: Store = third) -> bool:
                return (await store.get_saga("s")).state == SAGA_STATE_COMPENSATED

            await worked_out(third, undone)
        in_order(out.log)
    assert entries > 12


@asynchronous
async def test_a_worker_may_die_after_any_entry_of_a_rollback() -> None:
    """
    Another one finishes it: each effect undone once, newest first, validated, and the agent
    as it was.
    """
    entries = 0
    died = True
    while died:
        entries += 1
        out = Outside()

        @out.registry.validator("sane")
        def sane(restored: raftstate.Restored) -> bool:
            return bool(restored.state == {"n": 0})

        async with stores(3, out.registry) as (served, opened):
            store, first, second = opened
            await store.put_validator("sane", required_in_rollbacks=True)
            await first.put_validator("another")  # so that there is a session
            async with store.own("a") as agent:
                await agent.checkpoint({"n": 0})
                for name in NAMES:
                    async with agent.step() as step:
                        await step.effect(name, do=out.do, undo="undo")
            begun = await store.start_rollback("a", raftstate.to_checkpoint(1))

            async def finish(store: Store, rollback_id: str = begun.rollback_id) -> None:
                await store.resume_rollback(rollback_id)

            async def finished(
                store: Store = store, rollback_id: str = begun.rollback_id
            ) -> bool:
                found = await store.get_rollback(rollback_id)
                return found.state == ROLLBACK_STATE_FINISHED

            died = await killed(entries, served, first, finish)
            await worked_out(second, finished)
            async with store.own("a") as agent:
                assert agent.restore() == {"n": 0}
        in_order(out.log)
    assert entries > 7
