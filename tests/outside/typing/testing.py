"""A test of an agent with the testing kit, as a user's strict type checker sees it."""

from __future__ import annotations

from typing import assert_type

import raftstate
import raftstate.sync
from raftstate import testing


async def asynchronous() -> None:
    """With an event loop."""
    async with testing.served() as kit, kit.connect() as store:
        assert_type(store, raftstate.Store)
        await kit.advance(5.0)


def synchronous() -> None:
    """Without one."""
    with testing.sync_served() as kit, kit.connect() as store:
        assert_type(store, raftstate.sync.Store)
        kit.advance(5.0)
