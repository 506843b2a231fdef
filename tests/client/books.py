"""What the tests of effects, sagas and rollbacks share: stores, and an outside world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import raftstate
from raftstate.client.compensating import Backoff
from raftstate.client.store import Store
from raftstate.v1.effect_service_pb2 import EffectState
from tests.rpc.harness import Bench, bench

# In tests nobody waits long before trying again.
SOON = Backoff(first_s=0.005, longest_s=0.02)


@asynccontextmanager
async def stores(
    count: int, registry: raftstate.Registry, timeout: float = 5.0
) -> AsyncIterator[tuple[Bench, list[Store]]]:
    """A served state machine and so many clients of it, which know the same functions."""
    async with bench() as served:
        opened = [
            raftstate.connect(
                f"127.0.0.1:{served.port}",
                client_name=f"client {number}",
                registry=registry,
                timeout=timeout,
            )
            for number in range(count)
        ]
        for store in opened:
            await store.__aenter__()
        try:
            yield served, opened
        finally:
            for store in opened:
                await store.close()


class Outside:
    """A service that takes each idempotency key once, and refuses those that were undone.

    `log` has what it did, in order; `asked` every call that it got. `failing` are what its
    next undoings fail with."""

    def __init__(self) -> None:
        self.registry = raftstate.Registry()
        self.log: list[str] = []
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.done: dict[str, Any] = {}
        self.tombstones: set[str] = set()
        self.failing: list[Exception] = []
        self.hanging: asyncio.Event | None = None
        self.registry.compensation("undo")(self.undo)
        self.registry.reconciler("ask")(self.ask)

    async def do(self, call: raftstate.EffectCall) -> Any:
        """Do it, once for each key."""
        self.asked.append(f"do {call.action}")
        self.keys.append(call.key)
        if call.key in self.tombstones:
            raise raftstate.NotDone("it was undone before")
        if call.key not in self.done:
            self.done[call.key] = {"n": len(self.done) + 1}
            self.log.append(f"did {call.action}")
        return self.done[call.key]

    async def undo(self, call: raftstate.UndoCall) -> str:
        """Undo it, once, and refuse its key from then on."""
        self.asked.append(f"undo {call.effect.action} {call.key}")
        if self.hanging is not None:
            await self.hanging.wait()
        if self.failing:
            raise self.failing.pop(0)
        if call.effect_key not in self.tombstones:
            self.tombstones.add(call.effect_key)
            self.log.append(f"undid {call.effect.action}")
        return "undone"

    async def ask(self, call: raftstate.EffectCall) -> Any:
        """Whether it was done."""
        self.asked.append(f"ask {call.action}")
        if call.key not in self.done:
            self.tombstones.add(call.key)
            raise raftstate.NotDone("no such key")
        return self.done[call.key]


class Broken(Exception):
    """What goes wrong in a test."""


async def states(store: Store, agent_id: str = "a") -> dict[str, str]:
    """Every effect of an agent, and its state."""
    return {
        one.effect_id: EffectState.Name(one.state).removeprefix("EFFECT_STATE_")
        async for one in store.list_effects(agent_id)
    }
