"""Reads of all concurrent callers from one member, batched onto one stream.

What is asked in one turn of the event loop leaves in one ReadRequest. A read is one attempt
here: when the stream breaks or falls silent, it fails as its own call would have failed, and
`calls` decides what comes next. A member that does not know the stream is asked in calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from raftstate.client.errors import from_rpc, from_status, unanswered
from raftstate.client.fair import Lanes, about
from raftstate.client.options import BATCH_BYTES, BATCH_QUERIES, milliseconds
from raftstate.errors import Overloaded
from raftstate.v1.read_service_pb2 import Query, QueryResult, ReadRequest

# What is on its way to one member at once: what the servers take without a pause.
IN_FLIGHT: Final = 1_000
# A query that is larger goes by itself: it would fill a batch.
_QUERY_BYTES: Final = BATCH_BYTES // 4

_BODIES: list[Any] = list(Query.DESCRIPTOR.oneofs[0].fields)
_KINDS: Final[dict[Any, str]] = {
    GetMessageClass(body.message_type): body.name for body in _BODIES
}


class NotServed(Exception):
    """The member does not take this in a batch: ask it in a call."""


class _Asked:
    """A query whose caller waits."""

    __slots__ = ("_deadline", "_patience", "future", "limit", "nonce", "query", "size")

    def __init__(self, query: Query, patience: float, deadline: float) -> None:
        self.query = query
        self.size = query.ByteSize()
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.nonce: int | None = None  # once it was sent
        self.limit: asyncio.Timeout = asyncio.timeout_at(deadline)
        self._patience, self._deadline = patience, deadline

    def leaves(self, nonce: int, now: float) -> None:
        """It is sent: from now on it is for the member to answer."""
        self.nonce = nonce
        until = min(now + self._patience, self._deadline)
        self.query.timeout_ms = milliseconds(until - now)
        self.limit.reschedule(until)

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done()


class Queries:
    """The reads of one member."""

    def __init__(self, address: str, begin: Callable[[], Any], attempt: float) -> None:
        """`begin` makes a stream. One that leaves what was asked unanswered for about an
        `attempt`, in seconds, is silent."""
        self._address = address
        self._begin = begin
        self._attempt = attempt
        self._serves = True
        self._lanes: Lanes[_Asked] = Lanes(lambda asked: asked.over)
        self._flying: dict[int, _Asked] = {}
        self._nonce = 1
        self._call: Any = None
        self._heard = 0.0
        self._asked = 0.0  # when, for the first time after that
        self._sender: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(self, request: Message, patience: float, deadline: float) -> Any:
        """The answer to a reading request, within so many seconds from when it leaves; until
        there is room for it, it waits no longer than to its deadline.

        Raises what its own call would, as RaftStateError; Overloaded (definite), if there
        was no room in time; NotServed, if it must be asked in a call of its own, and was not
        asked here."""
        kind = _KINDS.get(type(request))
        if kind is None or not self._serves:
            raise NotServed
        body: dict[str, Any] = {kind: request}
        asked = _Asked(Query(**body), patience, deadline)
        if asked.size > _QUERY_BYTES:
            raise NotServed
        if self._closed:
            raise unanswered(self._address, "the client was closed")
        self._lanes.put(about(request), asked)
        self._send()
        try:
            async with asked.limit:
                return await asked.future
        except TimeoutError:
            if self._call is not None and self._is_silent:
                # The next one had better not wait here.
                self._call.cancel()
            if asked.nonce is None:
                raise _crowded(self._address) from None
            raise unanswered(self._address, f"no answer in {patience:.3g} s") from None
        finally:
            if asked.nonce in self._flying:
                del self._flying[asked.nonce]
                if self._lanes:
                    self._send()  # there is room for one more

    @property
    def _is_silent(self) -> bool:
        """Whether nothing has come for too long. How little patience one caller has, the
        others do not suffer from; but an attempt that began somewhat late is one."""
        now = asyncio.get_running_loop().time()
        return self._heard < self._asked < now - self._attempt / 2

    # --- out ---

    def _send(self) -> None:
        """Send what waits, as soon as everybody has asked whose turn it is."""
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while batch := self._batch():
            if self._call is None:
                self._call = self._begin()
                self._asked = self._heard = 0.0
                reader = asyncio.create_task(self._read(self._call))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
            request = ReadRequest(first_nonce=self._nonce)
            now = asyncio.get_running_loop().time()
            if self._asked <= self._heard:
                self._asked = now
            for asked in batch:
                asked.leaves(self._nonce, now)
                self._flying[self._nonce] = asked
                self._nonce += 1
                request.queries.append(asked.query)
            # If this fails, the reader learns why, and gives up what is on its way.
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._write(self._call, request)

    async def _write(self, call: Any, request: ReadRequest) -> None:
        try:
            await call.write(request)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # not the stream but this task was cancelled

    def _batch(self) -> list[_Asked]:
        """The next batch: of all who ask in turn, within the bounds."""
        batch: list[_Asked] = []
        size = 0
        most = min(BATCH_QUERIES, IN_FLIGHT - len(self._flying))
        while len(batch) < most and (asked := self._lanes.first()) is not None:
            if batch and size + asked.size > BATCH_BYTES:
                break
            batch.append(self._lanes.take())
            size += asked.size
        return batch

    # --- in ---

    async def _read(self, call: Any) -> None:
        failure: Any = "the stream ended"
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                self._heard = asyncio.get_running_loop().time()
                for result in response.results:
                    self._answered(result)
                if self._lanes:
                    self._send()
        except grpc.aio.AioRpcError as error:
            failure = error
        except asyncio.CancelledError:
            # The call was cancelled, by us: nobody cancels this task.
            failure = "the client was closed" if self._closed else "the stream fell silent"
        finally:
            call.cancel()
            self._broken(call, failure)

    def _answered(self, result: QueryResult) -> None:
        asked = self._flying.pop(result.nonce, None)
        if asked is None or asked.over:
            return
        kind = result.WhichOneof("result")
        if kind == "error":
            status = status_pb2.Status()
            status.ParseFromString(result.error)
            asked.future.set_exception(from_status(status))
        elif kind is not None:
            asked.future.set_result(getattr(result, kind))
        else:  # an answer of tomorrow
            asked.future.set_exception(unanswered(self._address, "an answer without a result"))

    def _broken(self, call: Any, failure: Any) -> None:
        """The stream is over: what it has not answered has failed; and what waits had better
        not wait here."""
        if self._call is call:
            self._call = None
        if isinstance(failure, grpc.aio.AioRpcError):
            self._serves = failure.code() is not grpc.StatusCode.UNIMPLEMENTED
        lost = [*self._flying.values(), *self._lanes.clear()]
        self._flying.clear()
        for asked in lost:
            if not asked.over:
                asked.future.set_exception(self._error(failure))

    def _error(self, failure: Any) -> Exception:
        if isinstance(failure, str):
            return unanswered(self._address, failure)
        return from_rpc(failure) if self._serves else NotServed()

    async def close(self) -> None:
        """End the stream; whoever waits is told."""
        self._closed = True
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait({self._sender})
        if self._call is not None:
            self._call.cancel()
        if self._readers:
            await asyncio.wait(self._readers)
        closed = [one for one in self._lanes.clear() if not one.over]
        for asked in closed:
            asked.future.set_exception(unanswered(self._address, "the client was closed"))


def _crowded(address: str) -> Overloaded:
    return Overloaded(
        f"{IN_FLIGHT} reads of this client are on their way to {address}; there was no room"
        " for this one before its deadline",
        definite=True,
    )
