"""One request, as many attempts as the deadline allows.

For calls that are not batched: sessions, acquiring, reads. Mutations go through
submit.py, by the same rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from raftstate.client.errors import Ledger, from_rpc, unanswered
from raftstate.client.routing import Peer, Router
from raftstate.errors import RaftStateError

R = TypeVar("R")

# Between two messages of a reading stream.
_SILENCE_S = 3.0
_ATTEMPT_MIN_S = 0.05

# One attempt at a member, given how long it may take.
Attempt = Callable[[Peer, float], Awaitable[R]]


def deadline_in(seconds: float | None) -> float:
    """The loop's time in so many seconds; None is never."""
    return float("inf") if seconds is None else asyncio.get_running_loop().time() + seconds


def remaining(deadline: float) -> float:
    """Seconds until `deadline`; negative after it."""
    return deadline - asyncio.get_running_loop().time()


def too_late(deadline: float, pause: float) -> bool:
    """Whether there is no time for another attempt after a pause: less than it takes to
    be answered, so that it would only hide what the last one said."""
    return remaining(deadline) <= pause + _ATTEMPT_MIN_S


def cancelled() -> bool:
    """Whether somebody wants this task to stop. If nobody does, it is the call that it
    awaits that was cancelled, and the task goes on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Calls:
    """Sends requests to whoever leads, until one attempt settles them."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def call(
        self,
        attempt: Attempt[R],
        *,
        deadline: float,
        changes: bool,
        patience: float | None = None,
        leads: bool = True,
        address: str | None = None,
        ledger: Ledger | None = None,
    ) -> R:
        """The answer to a request. Each attempt gets `patience` seconds,
        or as many as the options say.

        `changes`: whether a repetition matters, and so whether silence is unknown.
        `leads`: whether only a leader answers it. `address`: ask there and nowhere else.
        `ledger`: where to keep account of the attempts, for others to see.
        Raises what `errors.Ledger` makes of all attempts."""
        ledger = ledger or Ledger(changes=changes)
        if patience is None:
            patience = self._router.attempt
        while True:
            target = address or self._router.target
            began = deadline_in(0.0)
            try:
                answer = await self._once(attempt, target, min(patience, remaining(deadline)))
            except RaftStateError as error:
                if remaining(began) <= -self._router.attempt:
                    # It has waited long enough already; perhaps for hours.
                    ledger.failures = 0
                    ledger.hints.clear()
                await self._failed(ledger, target, error, deadline)
            else:
                if leads:
                    self._router.confirm(target)
                return answer

    async def stream(
        self, begin: Callable[[Peer], Any], *, deadline: float, leads: bool = True
    ) -> AsyncIterator[Any]:
        """The answers of a reading stream, from one member. `begin` is asked again,
        and so must go on where the answers ended, whenever the stream breaks; the
        deadline is counted anew from each answer."""
        allowed = remaining(deadline)
        ledger = Ledger(changes=False)
        while True:
            address = self._router.target
            try:
                peer = self._router.peer(address)
                await peer.ready(min(self._router.attempt, remaining(deadline)))
                call = begin(peer)
                try:
                    while (answer := await self._read(call, address, deadline)) is not None:
                        if answer.HasField("header"):
                            self._router.observe(answer.header)
                        if leads:
                            self._router.confirm(address)
                        yield answer
                        ledger = Ledger(changes=False)
                        deadline = deadline_in(allowed)
                finally:
                    call.cancel()
                return
            except RaftStateError as error:
                await self._failed(ledger, address, error, deadline)

    async def _once(self, attempt: Attempt[R], address: str, patience: float) -> R:
        peer = self._router.peer(address)
        deadline = deadline_in(patience)
        await peer.ready(min(patience, self._router.attempt))
        try:
            answer = await attempt(peer, max(remaining(deadline), 0.001))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.CancelledError:
            if self._router.closed and not cancelled():
                raise unanswered(peer.address, "the client was closed") from None
            raise
        header = getattr(answer, "header", None)
        if header is not None:
            self._router.observe(header)
        return answer

    async def _read(self, call: Any, address: str, deadline: float) -> Any:
        """The next message of a reading stream; None: there are no more. Raises
        RaftStateError when it breaks."""
        patience = min(_SILENCE_S, max(remaining(deadline), 0.0))
        try:
            async with asyncio.timeout(patience):
                answer = await call.read()
        except TimeoutError as error:
            raise unanswered(address, f"no answer in {patience:.3g} s") from error
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.CancelledError:
            if self._router.closed and not cancelled():
                raise unanswered(address, "the client was closed") from None
            raise
        return None if answer is grpc.aio.EOF else answer

    async def _failed(
        self, ledger: Ledger, address: str, error: RaftStateError, deadline: float
    ) -> None:
        """Settle, or wait for the right moment to try again."""
        self._router.follow(address, error)
        final = ledger.failed(error)
        if final is error:
            raise error
        if final is not None:
            raise final from error
        if self._router.closed:
            raise ledger.closed()
        pause = 0.0 if ledger.points_on(error) else self._router.backoff(ledger.failures)
        if too_late(deadline, pause):
            raise ledger.overdue()
        await asyncio.sleep(pause)
