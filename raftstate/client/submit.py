"""Mutations of all concurrent callers, batched onto one stream.

What is queued in one turn of the event loop leaves in one SubmitRequest. So much is in
flight at once; what is beyond that waits here, in a lane for each agent, and the lanes take
turns. An agent's mutations are sent in the order in which they were asked for. A stream
that breaks, falls silent, or turns out to lead to a follower is left; whatever it
had not answered is sent again, under the same request ids, on the next one. Each
request keeps a ledger of its attempts, which decides what its failure means.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2

from raftstate.client.calls import too_late
from raftstate.client.errors import Ledger, from_rpc, from_status, unanswered
from raftstate.client.fair import Lanes, about
from raftstate.client.options import (
    BATCH_BYTES,
    BATCH_MUTATIONS,
    CLOSE_S,
    FLYING_BYTES,
    FLYING_MUTATIONS,
)
from raftstate.client.routing import Router
from raftstate.client.session import Session
from raftstate.errors import (
    ClusterMismatch,
    NoQuorum,
    NotLeader,
    Overloaded,
    RaftStateError,
    RequestTooLarge,
)
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.step_service_pb2 import (
    Mutation,
    MutationResult,
    SubmitRequest,
    SubmitResponse,
)

# The servers' limit; what is longer would break the stream for everybody on it.
REQUEST_BYTES: Final = 1_572_864
# A request that others overtake for so many attempts' time is lost, however lively the
# stream.
_LOST_ATTEMPTS: Final = 5
# What is on its way may take a second for so many bytes, and after a failure twice that.
_BYTES_S: Final = 1 << 20
_DOUBLINGS_MAX: Final = 4
# Turns of the loop from an answer to when who waited for it to be over has been let in.
_LET_IN_TURNS: Final = 2


class _Pending:
    """A mutation whose caller waits."""

    __slots__ = (
        "deadline",
        "flying",
        "future",
        "ledger",
        "lane",
        "mutation",
        "not_before",
        "order",
        "request_id",
        "sent",
        "session",
        "size",
    )

    def __init__(
        self,
        mutation: Mutation,
        lane: str,
        request_id: RequestId,
        session: Session,
        future: Any,
        deadline: float,
        order: int,
    ) -> None:
        self.mutation = mutation
        self.lane = lane
        self.order = order
        self.not_before = 0.0  # of the loop's time
        self.request_id = request_id  # the one inside `mutation`
        self.session = session
        self.deadline = deadline  # of the loop's time
        self.size = mutation.ByteSize()
        self.future: asyncio.Future[Any] = future
        self.ledger = Ledger(changes=True)
        self.sent = 0.0
        self.flying = False  # sent, and neither answered nor given up

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done()

    def fail(self, error: RaftStateError) -> None:
        """Answer the caller, if it still waits."""
        if not self.future.done():
            self.future.set_exception(error)


class _Stream:
    """One Submit call, what is in flight on it, and the task that reads it."""

    def __init__(self, address: str, leader: str | None, call: Any) -> None:
        self.address = address
        self.leader = leader  # who was believed to lead when it began
        self.call = call
        self.flying: dict[int, _Pending] = {}
        self.flying_bytes = 0
        self.heard = 0.0
        self.usable = True
        self.reader: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def send(self, nonce: int, pending: _Pending) -> None:
        """Take note of a mutation that is in flight now."""
        self.flying[nonce] = pending
        self.flying_bytes += pending.size
        pending.flying = True

    def answered(self, nonce: int) -> _Pending | None:
        """Take note that a mutation is not in flight any more; None: it was not."""
        pending = self.flying.pop(nonce, None)
        if pending is not None:
            self.flying_bytes -= pending.size
            pending.flying = False
        return pending

    def room_for(self, pending: _Pending) -> bool:
        """Whether one more may be in flight."""
        return not self.flying or (
            len(self.flying) < FLYING_MUTATIONS
            and self.flying_bytes + pending.size <= FLYING_BYTES
        )


class Submitter:
    """Sends mutations; answers each with its response or its error."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._lanes: Lanes[_Pending] = Lanes(
            lambda pending: pending.over, lambda pending: pending.order
        )
        self._count = 0
        # Whether it is for want of room in flight that anything waits.
        self._full = False
        self._wake = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None
        self._stream: _Stream | None = None
        self._streams: set[_Stream] = set()
        self._later: asyncio.TimerHandle | None = None
        self._nonce = 1
        self._closed = False

    async def submit(
        self, kind: str, request: Message, session: Session, deadline: float
    ) -> Any:
        """Send `request` as the mutation `kind`; its response, or its error raised.

        The request must hold an id of `session`. Cancelling leaves open what happens
        to it; it is not sent again."""
        loop = asyncio.get_running_loop()
        mutation = Mutation(**{kind: request})  # type: ignore[arg-type]
        request_id: RequestId = getattr(mutation, kind).request_id
        self._count += 1
        pending = _Pending(
            mutation,
            about(request),
            request_id,
            session,
            loop.create_future(),
            deadline,
            self._count,
        )
        if pending.size > REQUEST_BYTES:
            raise _too_large(pending.size)
        if self._closed:
            raise pending.ledger.closed()
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = asyncio.create_task(self._pump())
        self._enqueue(pending)
        timer = loop.call_at(deadline, self._overdue, pending)
        try:
            return await pending.future
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Answer everything that waits, and end the streams in order."""
        self._closed = True
        if self._pump_task is not None:
            self._pump_task.cancel()
            await asyncio.wait({self._pump_task})
        for pending in self._lanes.clear():
            _close(pending)
        if self._later is not None:
            self._later.cancel()
        self._stream = None
        for stream in list(self._streams):
            for pending in stream.flying.values():
                _close(pending)
            await self._end(stream)

    # --- out ---

    def _enqueue(self, pending: _Pending) -> None:
        self._lanes.put(pending.lane, pending)
        self._wake.set()

    def _overdue(self, pending: _Pending) -> None:
        if pending.flying:
            pending.ledger.failed(unanswered("the leader", "no answer before the deadline"))
        elif self._full and not pending.ledger.failures:
            pending.fail(_crowded())
        pending.fail(pending.ledger.overdue())

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            if self._full:
                # Answers have made room, here and in the session's window: whoever is let in
                # there comes in time for its turn.
                for _ in range(_LET_IN_TURNS):
                    await asyncio.sleep(0)
            self._wake.clear()
            full = False
            while self._lanes.first(_is_due) is not None:
                try:
                    stream = await self._usable()
                except RaftStateError as error:
                    self._refused(error)
                    continue
                batch, full = self._take(stream)
                if not batch:
                    break
                await self._send(stream, batch)
            self._full = full
            if not full:  # else whatever is answered makes room, and wakes us
                self._wake_later()

    def _take(self, stream: _Stream) -> tuple[list[_Pending], bool]:
        """The next batch: what has been queued so far, of each lane in turn, within the
        bounds. And whether there is no room for one more."""
        batch: list[_Pending] = []
        size = 0
        while len(batch) < BATCH_MUTATIONS:
            pending = self._lanes.first(_is_due)
            if pending is None:
                break
            if not stream.room_for(pending):
                return batch, True
            if batch and size + pending.size > BATCH_BYTES:
                break
            batch.append(self._lanes.take())
            size += pending.size
            stream.send(self._nonce, pending)
            self._nonce += 1
        return batch, False

    def _refused(self, error: RaftStateError) -> None:
        """Nothing can be sent now: that was an attempt of all that it was time for."""
        now = asyncio.get_running_loop().time()
        tried = []
        for pending in self._lanes.clear():
            if pending.not_before > now:
                self._lanes.put(pending.lane, pending)
            else:
                tried.append(pending)
        self._retry(tried, error)

    def _wake_later(self) -> None:
        """Come back when it is time for the next of those that wait before they try again.
        That may be now: time has passed since they were looked at."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._lanes:
            soonest = min(one.not_before for one in self._lanes.heads())
            self._later = asyncio.get_running_loop().call_at(soonest, self._wake.set)

    async def _send(self, stream: _Stream, batch: list[_Pending]) -> None:
        request = SubmitRequest(first_nonce=self._nonce - len(batch))
        sent = asyncio.get_running_loop().time()
        for pending in batch:
            pending.request_id.lowest_unfinished = pending.session.lowest_unfinished
            request.mutations.append(pending.mutation)
            pending.sent = sent
        if stream.timer is None:
            self._watch(stream)
        try:
            await stream.call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reader learns the status, and gives up what is in flight.
            stream.usable = False
        except asyncio.CancelledError:
            stream.usable = False
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # not the stream but this task was cancelled

    async def _usable(self) -> _Stream:
        """The stream to the leader; a new one if there is none that works."""
        stream = self._stream
        if stream is not None:
            elsewhere = self._router.leader not in (stream.leader, stream.address)
            if stream.usable and not elsewhere:
                return stream
            self._leave(stream)
        address = self._router.target
        peer = self._router.peer(address)
        try:
            await peer.ready(self._router.attempt)
        except NoQuorum as error:
            self._router.follow(address, error)
            raise
        self._stream = stream = _Stream(address, self._router.leader, peer.steps.Submit())
        self._streams.add(stream)
        stream.reader = asyncio.create_task(self._read(stream))
        return stream

    def _leave(self, stream: _Stream) -> None:
        """Send nothing more on a stream. What it still answers counts."""
        stream.usable = False
        if self._stream is stream:
            self._stream = None
        if not stream.flying:
            stream.call.cancel()

    # --- in ---

    async def _read(self, stream: _Stream) -> None:
        error: RaftStateError = unanswered(stream.address, "the stream ended")
        try:
            while (response := await stream.call.read()) is not grpc.aio.EOF:
                self._answered(stream, response)
                if not (stream.usable or stream.flying):
                    stream.call.cancel()
        except grpc.aio.AioRpcError as failure:
            error = from_rpc(failure)
        except asyncio.CancelledError:
            # The call was cancelled, by us: nobody cancels this task.
            error = unanswered(stream.address, "the stream fell silent")
        except RaftStateError as failure:
            error = failure
        finally:
            stream.call.cancel()
            self._broken(stream, error)

    def _answered(self, stream: _Stream, response: SubmitResponse) -> None:
        stream.heard = asyncio.get_running_loop().time()
        for result in response.results:
            pending = stream.answered(result.nonce)
            if pending is None:
                continue
            kind = result.WhichOneof("result")
            if kind == "error":
                self._failed(stream, pending, result)
            elif kind is not None:
                self._done(stream, pending, getattr(result, kind))
            else:  # a result of tomorrow
                self._retry([pending], unanswered(stream.address, "an answer without a result"))
        if self._lanes:
            self._wake.set()

    def _done(self, stream: _Stream, pending: _Pending, answer: Any) -> None:
        try:
            self._router.observe(answer.header)
        except ClusterMismatch as error:
            pending.fail(error)
            raise
        self._router.confirm(stream.address)
        if not pending.future.done():
            pending.future.set_result(answer)

    def _failed(self, stream: _Stream, pending: _Pending, result: MutationResult) -> None:
        status = status_pb2.Status()
        status.ParseFromString(result.error)
        error = from_status(status)
        self._router.heed(error)
        if isinstance(error, NotLeader | NoQuorum):
            self._router.follow(stream.address, error)
            self._leave(stream)
        self._retry([pending], error)

    def _broken(self, stream: _Stream, error: RaftStateError) -> None:
        """The stream is over: what it has not answered was an unknown attempt."""
        stream.usable = False
        self._streams.discard(stream)
        if self._stream is stream:
            self._stream = None
            self._router.follow(stream.address, error)
        if stream.timer is not None:
            stream.timer.cancel()
        flying = [stream.flying[nonce] for nonce in stream.flying]
        for nonce in list(stream.flying):
            stream.answered(nonce)
        if not isinstance(error, ClusterMismatch):
            # Even a refusal to take the stream may have come after it took a batch.
            cause, error = error, unanswered(stream.address, f"the stream broke: {error}")
            error.hint = cause.hint
        self._retry(flying, error)

    def _retry(self, batch: list[_Pending], error: RaftStateError) -> None:
        """Settle each request by its ledger, or send it again when it is time."""
        loop = asyncio.get_running_loop()
        for pending in batch:
            if pending.future.done():
                continue
            final = pending.ledger.failed(error)
            if final is not None:
                if final is not error:
                    final.__cause__ = error
                pending.fail(final)
            elif self._closed:
                _close(pending)
            else:
                pause = 0.0
                if not pending.ledger.points_on(error):
                    pause = self._router.backoff(pending.ledger.failures)
                    if too_late(pending.deadline, pause):
                        pending.fail(pending.ledger.overdue())
                        continue
                pending.not_before = loop.time() + pause
                self._enqueue(pending)
        # What waited for room in flight may have some now.
        self._wake.set()

    # --- silence ---

    def _watch(self, stream: _Stream) -> None:
        """Look again when the oldest request in flight has waited too long."""
        loop = asyncio.get_running_loop()
        stream.timer = None
        oldest = next(iter(stream.flying.values()), None)
        if oldest is None:
            return
        # What is on its way takes its time, on a slow link: how slow it is, one attempt after
        # the other finds out, as a leader that has gone is to be left soon.
        slow = 2 ** min(oldest.ledger.failures, _DOUBLINGS_MAX)
        patience = self._router.attempt + stream.flying_bytes / _BYTES_S * slow
        silent_at = max(oldest.sent, stream.heard) + patience
        look_at = min(silent_at, oldest.sent + _LOST_ATTEMPTS * patience)
        if look_at <= loop.time():
            stream.usable = False
            stream.call.cancel()
        else:
            stream.timer = loop.call_at(look_at, self._watch, stream)

    async def _end(self, stream: _Stream) -> None:
        stream.usable = False
        with contextlib.suppress(
            TimeoutError,
            grpc.aio.AioRpcError,
            asyncio.InvalidStateError,
            asyncio.CancelledError,
        ):
            async with asyncio.timeout(CLOSE_S):
                await stream.call.done_writing()
                if stream.reader is not None:
                    await asyncio.wait({stream.reader})
        stream.call.cancel()
        if stream.reader is not None:
            await asyncio.wait({stream.reader})


def _close(pending: _Pending) -> None:
    if pending.flying:
        pending.ledger.failed(
            unanswered("the leader", "no answer before the client was closed")
        )
    pending.fail(pending.ledger.closed())


def _is_due(pending: _Pending) -> bool:
    """Whether it is time to try it: of those behind it in its lane, not before."""
    return pending.not_before <= asyncio.get_running_loop().time()


def _crowded() -> Overloaded:
    return Overloaded(
        f"{FLYING_MUTATIONS} mutations of this client, or {FLYING_BYTES} bytes of them, are"
        " in flight; there was no room for this one before its deadline",
        definite=True,
    )


def _too_large(size: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"the request has {size} bytes; the limit is {REQUEST_BYTES}",
        definite=True,
        details={"field": "request", "limit": str(REQUEST_BYTES), "size": str(size)},
    )
