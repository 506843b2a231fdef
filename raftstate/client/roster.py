"""Who is in the cluster, as a client keeps up with it: where to turn when all the
endpoints that it was given have gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import grpc.aio

from raftstate.client.routing import Router
from raftstate.errors import ClusterMismatch
from raftstate.v1.cluster_service_pb2 import StatusRequest

# Whenever somebody else leads, and so often besides: members that say that they do not
# lead tell as well, so this is for a client whose leader stays for long.
REFRESH_S: Final = 10.0
_PATIENCE_S: Final = 2.0


class Roster:
    """Asks the leader now and then who is a member, and tells the router."""

    def __init__(self, router: Router, learnt: Callable[[], None]) -> None:
        """`learnt` is called when the router has been told."""
        self._router = router
        self._learnt = learnt

    async def keep_up(self) -> None:
        """Go on until cancelled."""
        asked = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._router.moved_from(asked)
            asked = self._router.leader or ""
            if asked:
                await self._refresh(asked)

    async def _refresh(self, address: str) -> None:
        """Ask one member. Nothing depends on the answer: what fails, and what comes from
        another cluster, is for the calls to find out that somebody waits for."""
        status = self._router.peer(address).cluster.Status
        with contextlib.suppress(grpc.aio.AioRpcError, ClusterMismatch):
            answer = await status(StatusRequest(), timeout=_PATIENCE_S)
            self._router.observe(answer.header)
            self._router.learn(one.client_address for one in answer.members)
            self._learnt()
