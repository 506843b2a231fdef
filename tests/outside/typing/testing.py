"""A test of an agent with the testing kit, as a user's strict type checker sees it."""

from __future__ import annotations

from typing import assert_type

import raftstate
import raftstate.sync
from raftstate import testing


async def asynchronous() -> None:
    """With an event loop."""
    async with testing.served() as kit:
        store = await kit.connect()
        assert_type(store, raftstate.Store)


def synchronous() -> None:
    """Without one."""
    with testing.sync_served() as kit:
        store = kit.connect()
        assert_type(store, raftstate.sync.Store)
