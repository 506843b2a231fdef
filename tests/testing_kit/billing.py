"""A small agent, as its author would write it: it charges items, each in a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import raftstate

if TYPE_CHECKING:
    from raftstate import sync

AGENT = "billing/nightly"
Charge = Callable[[str], None]


async def work(store: raftstate.Store, items: list[str], charge: Charge) -> None:
    """Charge every item, from where the last owner stopped."""
    async with store.own(AGENT, wait=True) as agent:
        state = agent.restore(default={"done": 0})
        for number, item in enumerate(items[state["done"] :], state["done"] + 1):
            async with agent.step() as step:
                charge(item)
                step.event("charged", {"item": item})
                step.checkpoint({"done": number})


def sync_work(store: sync.Store, items: list[str], charge: Charge) -> None:
    """The same, without an event loop."""
    with store.own(AGENT, wait=True) as agent:
        state = agent.restore(default={"done": 0})
        for number, item in enumerate(items[state["done"] :], state["done"] + 1):
            with agent.step() as step:
                charge(item)
                step.event("charged", {"item": item})
                step.checkpoint({"done": number})


async def charged(store: raftstate.Store) -> list[Any]:
    """What the store says was charged."""
    return [raftstate.decode(event)["item"] async for event in store.read_events(AGENT)]
