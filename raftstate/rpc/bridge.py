"""The way back from the raft thread to the event loop.

A request leaves the loop with a ticket; `deliver` is called on the raft thread with
a whole tick's answers and crosses to the loop once for all of them. Waking the loop
costs a system call, so it is done per batch and never per answer.

A ticket has one waiter. A call that is cancelled (its deadline passed, its client
went away) cancels its ticket and nothing else: the proposal is with the raft thread
by then and goes its way, and its answer finds nobody waiting.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from raftstate.core.ports import Answer
from raftstate.rpc.revisions import Revisions


class Recipient(Protocol):
    """What the bridge takes for a ticket."""

    def settle(self, answer: Answer) -> None:
        """Take the answer, on the loop. Must not raise."""
        ...


class Ticket(asyncio.Future[Answer]):
    """A ticket that one coroutine awaits."""

    def settle(self, answer: Answer) -> None:
        """Wake the waiter, if there still is one."""
        if not self.done():
            self.set_result(answer)


class Bridge:
    """Hands answers from the raft thread to the loop that it was made for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # How far the state has come; the raft thread announces it.
        self.revisions = Revisions(loop)

    def ticket(self) -> Ticket:
        """A new ticket to be awaited on the loop."""
        return Ticket(loop=self._loop)

    def deliver(self, batch: list[tuple[object, Answer]]) -> None:
        """Hand over a batch; called on the raft thread, returns at once.

        Once the loop is closed nobody waits any more, and the batch is dropped.
        """
        try:
            self._loop.call_soon_threadsafe(_settle, batch)
        except RuntimeError:
            if not self._loop.is_closed():
                raise


def _settle(batch: list[tuple[object, Answer]]) -> None:
    for ticket, answer in batch:
        cast(Recipient, ticket).settle(answer)  # every ticket was made on this side
