"""ReadService: many reads on one stream, each answered as its own call answers it.

A stream does three things beside each other. It takes batches, as long as there is room.
It settles what each query may be answered from: all linearizable ones of a batch wait for
one read point. And it answers what is settled, one query after the other, for a short time
in each of its turns: a thousand queries that are settled at once hold up nobody for long.
An answer that its client has not taken takes up room, so that one who reads slowly costs
no more than that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.core.ports import ReadPoint, Unavailable
from raftstate.core.validate import violations
from raftstate.rpc.edge import failure_of
from raftstate.rpc.errors import Failure, invalid
from raftstate.rpc.frontend import POINT_HAD, Frontend
from raftstate.rpc.lane import end
from raftstate.rpc.turns import Turns
from raftstate.v1.agent_service_pb2 import CheckFenceRequest
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.lease_service_pb2 import TimeToLiveRequest
from raftstate.v1.read_service_pb2 import Query, QueryResult, ReadRequest, ReadResponse
from raftstate.v1.read_service_pb2_grpc import ReadServiceServicer

# A stream that has this many queries under way is not read from; nor one whose client
# leaves so many bytes of answers where they are.
IN_FLIGHT = 1_024
_UNTAKEN_BYTES = 1 << 20
# What goes into one message, but for an answer that is larger.
_MESSAGE_BYTES = 512 << 10
# How long one stream answers before others have their turn.
_SLICE_S = 0.002


class Reads(ReadServiceServicer):
    """What many ask at once."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._turns = Turns(1)

    async def Read(
        self, request_iterator: AsyncIterator[ReadRequest], context: Any
    ) -> AsyncIterator[ReadResponse]:
        stream = _Stream(self._frontend, self._turns)
        work = [
            asyncio.ensure_future(stream.take(request_iterator)),
            asyncio.ensure_future(stream.answer()),
        ]
        try:
            async for response in stream.responses():
                yield response
            for each in work:
                if each.done():
                    each.result()
        finally:
            stream.close()
            # All of them first: this handler may be broken off at any wait.
            for each in work:
                each.cancel()
            for each in work:
                await end(each)


class _Asked:
    """One query of a stream. Empty ones have no body. `point` is the index that must be
    applied before it may be answered, where a read point says so."""

    __slots__ = ("began", "body", "name", "nonce", "point", "until")

    def __init__(self, nonce: int, query: Query, now: float) -> None:
        self.nonce = nonce
        self.began = now
        name = query.WhichOneof("body")
        self.name = name or ""
        self.body: Message = query if name is None else getattr(query, name)
        self.until = now + query.timeout_ms / 1_000 if query.timeout_ms else float("inf")
        self.point = 0


class _Stream:
    """One client's queries."""

    def __init__(self, frontend: Frontend, turns: Turns) -> None:
        self._frontend = frontend
        self._turns = turns
        # What is taken, and neither answered to the client nor dropped.
        self._under_way = 0
        self._settled: deque[_Asked] = deque()
        self._results: deque[tuple[QueryResult, int]] = deque()
        self._untaken = 0
        self._complete = False
        self._settling: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self._work = asyncio.Event()
        self._news = asyncio.Event()

    # --- in ---

    async def take(self, requests: AsyncIterator[ReadRequest]) -> None:
        """Take batch after batch."""
        try:
            async for request in requests:
                self._taken(request)
                await self._room.wait()
        finally:
            self._complete = True
            self._news.set()

    def _taken(self, request: ReadRequest) -> None:
        """Sort a batch, or raise Failure if it is one of too many."""
        batch_broken = violations(request)
        if len(request.queries) > limits.QUERIES_PER_BATCH_MAX:
            # Nobody would get a word in while each of them was refused by itself.
            raise invalid(batch_broken)
        now = asyncio.get_running_loop().time()
        pointed: list[_Asked] = []
        self._under_way += len(request.queries)
        for nonce, query in enumerate(request.queries, request.first_nonce):
            asked = _Asked(nonce, query, now)
            if broken := batch_broken or violations(query):
                self._failed(asked, invalid(broken))
            else:
                self._sort(asked, pointed)
        if pointed:
            self._spawn(self._point(pointed))
        self._measure()

    def _sort(self, asked: _Asked, pointed: list[_Asked]) -> None:
        """Find out what a query waits for."""
        body: Any = asked.body
        if isinstance(body, TimeToLiveRequest):
            # It asks consensus about its lease, and that is all that it waits for.
            self._spawn(self._alone(asked))
        elif isinstance(body, CheckFenceRequest):
            pointed.append(asked)
        elif "consistency" not in body.DESCRIPTOR.fields_by_name or _is_later_page(body):
            self._settle(asked)
        elif body.consistency == Consistency.CONSISTENCY_AT_LEAST:
            self._spawn(self._reach(asked, body.revision))
        elif body.consistency == Consistency.CONSISTENCY_STALE:
            self._settle(asked)
        elif body.consistency != Consistency.CONSISTENCY_AT_REVISION:
            pointed.append(asked)
        elif self._frontend.shown() >= body.revision:
            self._settle(asked)
        else:
            pointed.append(asked)

    # --- what a query waits for ---

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _point(self, pointed: list[_Asked]) -> None:
        """Wait for one read point, for all of them."""
        try:
            self._frontend.demand_sound()
            answer = await self._frontend.ask(self._frontend.consensus.read_point)
            if isinstance(answer, Unavailable):
                raise self._frontend.unavailable(answer)
            if not isinstance(answer, ReadPoint):
                raise TypeError(f"a read was answered with {answer!r}")
        except Exception as error:  # noqa: BLE001  # told to the client, each by itself
            for asked in pointed:
                self._failed(asked, failure_of(asked.name, error))
            return
        for asked in pointed:
            asked.point = answer.index
            self._settle(asked)

    async def _reach(self, asked: _Asked, revision: int) -> None:
        """Wait until a revision is there."""
        try:
            async with asyncio.timeout_at(_never(asked.until)):
                await self._frontend.reach(revision)
        except TimeoutError:
            self._drop(asked)
        except Exception as error:  # noqa: BLE001  # told to the client
            self._failed(asked, failure_of(asked.name, error))
        else:
            self._settle(asked)

    async def _alone(self, asked: _Asked) -> None:
        """Answer a query that waits by itself."""
        try:
            async with asyncio.timeout_at(_never(asked.until)):
                await self._look(asked)
        except TimeoutError:
            self._drop(asked)

    def _settle(self, asked: _Asked) -> None:
        self._settled.append(asked)
        self._work.set()

    # --- answers ---

    async def answer(self) -> None:
        """Answer what is settled, in turns with the other streams. Ends only if it breaks."""
        try:
            while True:
                await self._work.wait()
                await self._turns.ask()
                await self._slice()
                if not self._settled or self._untaken >= _UNTAKEN_BYTES:
                    self._work.clear()
        finally:
            self._complete, self._under_way = True, 0
            self._news.set()

    async def _slice(self) -> None:
        """Answer for a short time."""
        until = time.perf_counter() + _SLICE_S
        applied = self._frontend.applied()
        while self._settled and self._untaken < _UNTAKEN_BYTES:
            asked = self._settled.popleft()
            if asked.point > applied:
                applied = self._frontend.applied()
            if asked.until <= asyncio.get_running_loop().time():
                self._drop(asked)
            elif asked.point > applied:
                # It was there, and is not any more: the state is being made anew.
                gone = Unavailable("NO_QUORUM", definite=True)
                self._failed(asked, self._frontend.unavailable(gone))
            else:
                await self._look(asked)
            if time.perf_counter() >= until:
                return

    async def _look(self, asked: _Asked) -> None:
        """What the unary call would have said."""
        had = POINT_HAD.set(bool(asked.point))
        try:
            answer = await self._frontend.handlers[asked.name](asked.body, None)
        except Exception as error:  # noqa: BLE001  # told to the client
            self._failed(asked, failure_of(asked.name, error))
        else:
            result = QueryResult(nonce=asked.nonce)
            getattr(result, asked.name).CopyFrom(answer)
            self._put(result)
            self._count(asked, grpc.StatusCode.OK.name)
        finally:
            POINT_HAD.reset(had)

    def _failed(self, asked: _Asked, failure: Failure) -> None:
        raw = failure.status().SerializeToString()
        self._put(QueryResult(nonce=asked.nonce, error=raw))
        self._count(asked, failure.code.name)

    def _drop(self, asked: _Asked) -> None:
        """Nobody waits for it any more."""
        self._count(asked, grpc.StatusCode.DEADLINE_EXCEEDED.name)
        self._under_way -= 1
        self._measure()
        self._news.set()

    def _put(self, result: QueryResult) -> None:
        size = result.ByteSize()
        self._results.append((result, size))
        self._untaken += size
        self._measure()
        self._news.set()

    def _count(self, asked: _Asked, code: str) -> None:
        seconds = asyncio.get_running_loop().time() - asked.began
        self._frontend.count(asked.body, code, seconds)

    def _measure(self) -> None:
        if self._under_way < IN_FLIGHT and self._untaken < _UNTAKEN_BYTES:
            self._room.set()
        else:
            self._room.clear()

    # --- out ---

    async def responses(self) -> AsyncIterator[ReadResponse]:
        """Answers as they are known, until the last query is answered."""
        # Below zero if answering broke off: what it left is answered all the same.
        while self._under_way > 0 or not self._complete:
            await self._news.wait()
            self._news.clear()
            while self._results:
                response = ReadResponse(results=self._message())
                yield response
                # Only now has the client taken it, or at least what was before it.
                self._under_way -= len(response.results)
                self._untaken -= sum(one.ByteSize() for one in response.results)
                self._measure()
                if self._settled:
                    self._work.set()

    def _message(self) -> Iterator[QueryResult]:
        """What goes into the next message."""
        room = _MESSAGE_BYTES
        while self._results and (room == _MESSAGE_BYTES or self._results[0][1] <= room):
            result, size = self._results.popleft()
            room -= size
            yield result

    def close(self) -> None:
        """Nobody is there any more who would take an answer."""
        for task in self._settling:
            task.cancel()


def _is_later_page(body: Any) -> bool:
    """Whether the page before has said which revision is shown."""
    return bool(getattr(body, "page_token", ""))


def _never(until: float) -> float | None:
    return None if until == float("inf") else until
