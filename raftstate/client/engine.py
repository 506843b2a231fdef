"""The parts of one client, put together: what the store and its handles share."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from google.protobuf.message import Message

from raftstate.client import forks
from raftstate.client.alive import Alive, Beating
from raftstate.client.calls import Calls, deadline_in
from raftstate.client.fair import about
from raftstate.client.options import CLOSE_S, Options, positive
from raftstate.client.roster import Roster
from raftstate.client.routing import Router
from raftstate.client.session import Session, Sessions
from raftstate.client.submit import Submitter
from raftstate.client.turns import Turns
from raftstate.errors import Closed, RaftStateError, SessionExpired
from raftstate.v1.common_pb2 import RequestId


class Holding(Protocol):
    """An ownership: it ends with its session, and with the client."""

    agent_id: str
    session: Session

    def lose(self, why: str, error: RaftStateError | None = None) -> None:
        """It stands no longer."""
        ...


class Engine:
    """A running client: made inside an event loop, closed once."""

    def __init__(self, options: Options) -> None:
        """Raises Closed (definite) in a process that was forked from one with a client."""
        forks.check()
        forks.opened(self)
        self.options = options
        self.router: Router = Router(options)
        self.calls: Calls = Calls(self.router)
        self.alive: Alive = Alive(options, self.router)
        self.sessions: Sessions = Sessions(options, self.alive, self.calls, self._session_ended)
        self.submitter: Submitter = Submitter(self.router)
        self.renewals: Beating = self.alive.beating(lambda peer: peer.agents.RenewOwnership())
        self.leases: Beating = self.alive.beating(lambda peer: peer.leases.KeepAlive())
        self.owned: set[Holding] = set()
        self.turns: Turns = Turns()
        self.closed: bool = False
        # Plans of compensations that tasks of this client carry out, and when they end.
        self.carried: dict[str, asyncio.Future[None]] = {}
        # What still has something to say to the store when the client is closed.
        self.partings: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._closing: asyncio.Task[None] | None = None
        self._pid = os.getpid()
        self._tasks: set[asyncio.Task[None]] = set()
        self.roster: Roster = Roster(self.router, self.alive.learn)
        self.spawn(self.roster.keep_up())

    def check(self) -> None:
        """Raise Closed (definite) if this client cannot be used, or not from here."""
        self.check_process()
        if self.closed:
            raise Closed("the store was closed", definite=True)

    def check_process(self) -> None:
        """Raise Closed (definite) if this client is another process'."""
        if os.getpid() != self._pid:
            raise forks.forked(self._pid)

    def check_loop(self) -> None:
        """Raise RuntimeError in another event loop than the client's, where waiting for it
        would never end."""
        if not self.alive.here:
            raise RuntimeError(
                "this store belongs to the event loop that entered it: connect again here, or"
                " use raftstate.sync, which any thread may"
            )

    def deadline(self, timeout: float | None) -> float:
        """When a call that begins now must be over."""
        self.check()
        self.check_loop()
        return deadline_in(
            self.options.timeout if timeout is None else positive("timeout", timeout)
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside; it ends with the client."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def mutate(self, kind: str, request: Any, timeout: float | None) -> Any:
        """Carry out a mutation that needs no ownership, in whatever session is open.

        Should the session have ended before anything was sent in vain, it is sent
        under a new one."""
        deadline = self.deadline(timeout)
        while True:
            session = await self.sessions.get(deadline)
            try:
                return await self.mutate_in(session, kind, request, deadline)
            except SessionExpired as error:
                if not error.definite:
                    raise
                self.check()

    async def mutate_in(
        self, session: Session, kind: str, request: Any, deadline: float
    ) -> Any:
        """Carry out a mutation under an id of `session`."""
        self.check()
        return await self._send(session, kind, request, deadline)

    async def part_with(self, kind: str, request: Any, deadline: float) -> Any:
        """Carry out a mutation while the client is being closed."""
        session = await self.sessions.get(deadline)
        return await self._send(session, kind, request, deadline)

    async def _send(self, session: Session, kind: str, request: Any, deadline: float) -> Any:
        request_id: RequestId = await session.begin(deadline, about(request))
        try:
            request.request_id.CopyFrom(request_id)
            message: Message = request
            return await self.submitter.submit(kind, message, session, deadline)
        except RaftStateError as error:
            if session_gone(error):
                self.sessions.expired(session)
            raise
        finally:
            session.finish(request_id)

    async def close(self) -> None:
        """End everything in order, within a bounded time: all of it, also if whoever asks
        is cancelled meanwhile."""
        if self._closing is None:
            self.closed = True
            self.turns.close()
            for owned in list(self.owned):
                owned.lose("the store was closed")
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    @property
    def ended(self) -> bool:
        """Whether it is closed, and nothing of it is left."""
        return self._closing is not None and self._closing.done()

    async def _close(self) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.gather(*(parting() for parting in self.partings))
        finally:
            await self._end()

    async def _end(self) -> None:
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        await self.renewals.close()
        await self.leases.close()
        await self.submitter.close()
        await self.sessions.close()
        await self.alive.close()
        await self.router.close()

    def _session_ended(self, session: Session) -> None:
        for owned in [owned for owned in self.owned if owned.session is session]:
            owned.lose("its session expired")


def session_gone(error: RaftStateError) -> bool:
    """Whether a server said that the session is no more, however that ended."""
    return (
        isinstance(error, SessionExpired)
        or error.details.get("last_reason") == SessionExpired.reason
    )
