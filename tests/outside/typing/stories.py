"""What agents are made of: a takeover loop, a saga, a watch, breakers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import assert_type

import raftstate
from raftstate import txn
from raftstate.errors import (
    BreakerOpen,
    Compacted,
    EffectUnknown,
    OutcomeUnknown,
    OwnershipLost,
    RaftStateError,
)
from raftstate.v1.common_pb2 import FencingToken, StepHead

registry = raftstate.Registry()


@registry.compensation("cancel-flight")
async def cancel_flight(call: raftstate.UndoCall) -> None:
    """Undo a booking."""
    if call.result is None:
        raise raftstate.FailedForGood("nobody knows the booking")


@registry.reconciler("was-booked")
def was_booked(call: raftstate.EffectCall) -> dict[str, str]:
    """Find out whether it happened."""
    raise raftstate.NotDone(call.key)


@dataclass
class Bill:
    """The state of an agent."""

    done: int = 0
    total: float = 0.0


class Biller:
    """A program that owns its agent for as long as it can."""

    def __init__(self, store: raftstate.Store, items: list[float]) -> None:
        self._store = store
        self._items = items
        self._bill = Bill()

    async def run(self) -> Bill:
        """Go on, whoever takes over in between."""
        while True:
            try:
                async with self._store.own("biller", wait=True, ttl=3.0) as agent:
                    return await self._work(agent)
            except OwnershipLost as lost:
                print(lost.details.get("current_holder"), lost.definite)
            except OutcomeUnknown:
                continue

    async def _work(self, agent: raftstate.AgentHandle) -> Bill:
        self._bill = Bill(**agent.restore(default={"done": 0, "total": 0.0}))
        assert_type(agent.head, StepHead)
        assert_type(agent.token, FencingToken)
        for item in self._items[self._bill.done :]:
            async with agent.step() as step:
                await self._charge(step, item)
            assert_type(step.revision, int)
        return self._bill

    async def _charge(self, step: raftstate.Step, item: float) -> None:
        try:
            await step.effect("charge", item, do=self._pay, undo="cancel-flight")
        except EffectUnknown as error:
            print(error.details)
        self._bill = Bill(self._bill.done + 1, self._bill.total + item)
        step.event("charged", {"of": item})
        step.checkpoint(self._bill.__dict__)

    async def _pay(self, call: raftstate.EffectCall) -> dict[str, float]:
        return {"paid": call.time_left}


async def book(store: raftstate.Store, agent: raftstate.AgentHandle) -> None:
    """A saga: all of it, or nothing."""
    async with store.saga("trip-7", agent=agent) as saga:
        assert_type(saga, raftstate.Saga)
        if not saga.resumed:
            await saga.step(
                "flight",
                {"to": "OSL"},
                do=lambda call: {"id": call.key},
                undo=raftstate.Undo("cancel-flight"),
            )
    async for plan in store.list_sagas(states=["compensating"]):
        print(plan.saga_id)


async def follow(store: raftstate.Store) -> AsyncIterator[tuple[bytes, int]]:
    """A cache that goes on where it stopped."""
    token: str | None = None
    while True:
        try:
            async with store.watch(prefix="cfg/", snapshot=token is None, token=token) as watch:
                async for batch in watch:
                    token = batch.token
                    for change in batch.changes:
                        yield change.id, batch.revision
        except Compacted:
            token = None


def searching(store: raftstate.Store) -> Callable[[str], Awaitable[list[str]]]:
    """A breaker as a decorator, of a function and of a method."""

    @store.breaker("search", fallback=lambda text: [text])
    async def search(text: str) -> list[str]:
        return [text]

    return search


async def careful(store: raftstate.Store) -> int:
    """Many blocks in one stack; and all errors in one place."""
    async with AsyncExitStack() as blocks:
        one = await blocks.enter_async_context(store.own("one"))
        two = await blocks.enter_async_context(store.own("two"))
        lease = await blocks.enter_async_context(store.lease(9.0))
        assert_type(one, raftstate.AgentHandle)
        done = await store.txn(
            when=[txn.missing("lock")], then=[txn.put("lock", two.token_text, lease=lease)]
        )
        if not done.succeeded:
            return 0
    try:
        found = await searching(store)("pens")
    except BreakerOpen as open_:
        print(open_.retry_after)
        return 1
    except RaftStateError as error:
        return 2 if error.definite else 3
    return len(found)


async def main() -> None:
    """All of it."""
    async with raftstate.connect(["127.0.0.1:7411"], registry=registry) as store:
        print(await Biller(store, [1.0, 2.0]).run(), await careful(store))
        async with store.own("b") as agent:
            await book(store, agent)
        async for key, revision in follow(store):
            assert_type(key, bytes)
            assert_type(revision, int)
        await raftstate.Worker(store, registry).run()
