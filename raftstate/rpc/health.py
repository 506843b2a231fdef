"""grpc.health.v1, answered from what consensus says at that moment.

    ""               the member runs, and knows a leader
    raftstate.read   the member may answer reads: as leader, any; else stale ones
    raftstate.write  the member leads, and has committed an entry of its own term

A member that is in quarantine, or is about to stop, says NOT_SERVING to all three.

Nothing is remembered, so nothing can be out of date. A watch looks regularly and
sends what has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc_health.v1 import health_pb2

from raftstate.rpc.errors import not_found
from raftstate.rpc.frontend import Frontend

LOOK_EVERY_S = 0.05
NAMES = ("", "raftstate.read", "raftstate.write")

_Status = health_pb2.HealthCheckResponse


class Health:
    """The health service; it needs no base class, grpc only looks for the methods."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    def status(self, name: str) -> Any:
        """The serving status of a name, or None if there is no such name."""
        status = self._frontend.consensus.status()
        serving = {
            "": status.leader is not None,
            "raftstate.read": status.ready,
            "raftstate.write": status.ready and status.role == "leader",
        }
        if name not in serving:
            return None
        sound = not status.quarantined and not self._frontend.closing
        healthy = serving[name] and sound
        return _Status.SERVING if healthy else _Status.NOT_SERVING

    async def Check(self, request: Any, context: Any) -> Any:
        """The status of one name; NOT_FOUND if there is none of that name."""
        status = self.status(request.service)
        if status is None:
            raise not_found("service", request.service)
        return _Status(status=status)

    async def List(self, request: Any, context: Any) -> Any:
        """The status of every name."""
        statuses = {name: _Status(status=self.status(name)) for name in NAMES}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The status of one name, and again whenever it changes."""
        sent = None
        while True:
            status = self.status(request.service)
            if status is None:
                status = _Status.SERVICE_UNKNOWN
            if status != sent:
                yield _Status(status=status)
                sent = status
            await asyncio.sleep(LOOK_EVERY_S)
