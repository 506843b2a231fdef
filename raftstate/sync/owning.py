"""The block of an ownership, for threads: what guards it, and how its loss reaches a thread.

On the event loop an ownership guards a task, which it cancels when it is lost. A thread
cannot be cancelled. So each block has a task there that does nothing but hold the
ownership; when that is cancelled, the calls that the block's thread waits in end with it,
and those that follow raise the same.
"""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Any

from raftstate.client import own, ownership
from raftstate.client.doing import LOST
from raftstate.client.loops import LoopThread
from raftstate.errors import Closed, EffectTooLate, OwnershipLost
from raftstate.sync.running import Running, blocks_of_thread

Error = BaseException | None


class Block:
    """One `with store.own(...)`, from its beginning to its end."""

    def __init__(self, asked: own.Own, running: Running) -> None:
        self.pid: int = os.getpid()
        self.calls: set[asyncio.Task[Any]] = set()
        self.over: bool = False
        self._asked = asked
        self._running = running
        self.thread: LoopThread | None = None
        self._task: asyncio.Task[None] | None = None
        self._agent: ownership.AgentHandle | None = None
        self._leaving: asyncio.Future[tuple[Error, TracebackType | None]] | None = None
        # The list of the thread that entered it: whichever thread leaves takes it out.
        self._stack = blocks_of_thread()

    # --- for the thread ---

    def enter(self) -> ownership.AgentHandle:
        """Acquire the agent. Raises what that raises."""
        self.thread = self._running.thread()
        agent = self._running.run(self._enter())
        self._stack = blocks_of_thread()
        self._stack.append(self)
        return agent

    def leave(self, error: Error, trace: TracebackType | None) -> None:
        """The block has ended, perhaps with an error. Raises OwnershipLost, unless the error
        says enough."""
        self._forget()
        if error is not None and self.pid != os.getpid():
            return
        assert self.thread is not None
        failed = self._running.finish(self.thread, self._leave(error, trace))
        if failed is None or failed is error:
            return
        kinds = (*LOST, OwnershipLost, EffectTooLate, Closed)
        says_so = error is None or isinstance(error, kinds)
        if says_so or not isinstance(failed, OwnershipLost):
            raise failed
        assert error is not None
        error.add_note(f"and meanwhile: {failed}")

    def abandon(self) -> None:
        """Nobody is in it any more, and nobody has left it: it ends, and nobody waits."""
        self._forget()
        if self.thread is not None and self.pid == os.getpid():
            self.thread.call(self._tell, None, None)

    def _forget(self) -> None:
        if self in self._stack:
            self._stack.remove(self)

    # --- on the event loop ---

    async def _enter(self) -> ownership.AgentHandle:
        loop = asyncio.get_running_loop()
        self._leaving = loop.create_future()
        entered = loop.create_future()
        self._task = asyncio.create_task(self._hold(entered))
        self._task.add_done_callback(_seen)
        try:
            await asyncio.wait({self._task, entered}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Nobody will be there to own it.
            self._task.cancel()
            await asyncio.wait({self._task})
            raise
        if self._agent is None:
            await self._task
        assert self._agent is not None
        return self._agent

    async def _hold(self, entered: asyncio.Future[None]) -> None:
        """Own the agent until it is to be left, or is lost."""
        assert self._leaving is not None
        self._agent = await self._asked.__aenter__()
        entered.set_result(None)
        error: Error = None
        trace: TracebackType | None = None
        try:
            error, trace = await self._leaving
        except asyncio.CancelledError as cancelled:
            error, trace = cancelled, cancelled.__traceback__
            self.over = self._agent.notice()
            for call in list(self.calls):
                call.cancel(f"ownership of {self._agent.agent_id} was lost")
        await self._asked.__aexit__(None if error is None else type(error), error, trace)
        if isinstance(error, asyncio.CancelledError):
            raise error

    async def _leave(self, error: Error, trace: TracebackType | None) -> Error:
        """What leaving it raised; None: nothing."""
        assert self._task is not None
        self._tell(error, trace)
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            # The thread goes on when the agent is free, which does not take long.
            await asyncio.wait({self._task})
            raise
        if self._task.cancelled():
            return None
        failed = self._task.exception()
        if failed is None and isinstance(error, Closed):
            # A call found the store closed, and was faster than the word of the loss.
            assert self._agent is not None
            if self._agent.notice() and not self._agent.given_up:
                return await self._agent.loss()
        return failed

    def _tell(self, error: Error, trace: TracebackType | None) -> None:
        if self._leaving is not None and not self._leaving.done():
            self._leaving.set_result((error, trace))

    async def check(self) -> None:
        """Raise OwnershipLost, if it is lost."""
        assert self._agent is not None
        assert self._task is not None
        if self._agent.notice() and not self._agent.given_up:
            await asyncio.wait({self._task})
        if self._task.done() and not self._task.cancelled():
            failed = self._task.exception()
            if isinstance(failed, OwnershipLost):
                raise _again(failed)
            if failed is not None:
                raise failed


def _seen(task: asyncio.Task[None]) -> None:
    """How it ended is for whoever leaves the block; it may be that nobody does."""
    if not task.cancelled():
        task.exception()


def _again(lost: OwnershipLost) -> OwnershipLost:
    """The same error once more, for another call."""
    again = OwnershipLost(str(lost), definite=lost.definite, details=dict(lost.details))
    again.__cause__ = lost.__cause__
    return again
