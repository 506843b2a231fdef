"""Whether this member leads, watched for streams that live only under a leader.

Consensus publishes its status after each tick and tells nobody; this looks at it
regularly. A stream that would otherwise sit idle until its client's next request
learns within one look that it has to go elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from raftstate.core.ports import Consensus
from raftstate.core.types import Term

LOOK_EVERY_S = 0.05

Request = TypeVar("Request")


class OfficeLost(Exception):
    """This member led when the stream began to wait, and leads no more."""


class Office:
    """The terms of office of this member, as far as they are noticed."""

    def __init__(self, consensus: Consensus) -> None:
        self._consensus = consensus
        self._term: Term | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Take note of the current status."""
        status = self._consensus.status()
        term = status.term if status.role == "leader" else None
        if term != self._term:
            if self._term is not None:
                self._lost.set_result(None)
                self._lost = asyncio.get_running_loop().create_future()
            self._term = term

    async def requests(self, iterator: AsyncIterator[Request]) -> AsyncIterator[Request]:
        """The requests of a stream; raises OfficeLost when the office is lost, also if that
        was while a request was answered.

        A stream that began before the office was noticed is of that office.
        """
        lost = self._lost
        while True:
            read = asyncio.ensure_future(anext(iterator, None))
            read.add_done_callback(_seen)
            try:
                waiting: set[asyncio.Future[Any]] = {read, lost}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not read.done():
                    read.cancel()
            if lost.done():
                raise OfficeLost
            request = read.result()
            if request is None:
                return
            yield request


def _seen(read: asyncio.Future[Any]) -> None:
    """Nobody may be left to hear how a read failed: its stream, or the server, has ended."""
    if not read.cancelled():
        read.exception()
