"""StepService: one step at a time, or many mutations on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.core.ports import Answer, Unavailable
from raftstate.core.validate import violations
from raftstate.rpc.edge import failure_of
from raftstate.rpc.errors import Failure, invalid
from raftstate.rpc.frontend import Frontend, command_of
from raftstate.rpc.lane import Lane, Settled, end
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest
from raftstate.v1.step_service_pb2 import (
    CommitStepRequest,
    CommitStepResponse,
    MutationResult,
    SubmitRequest,
    SubmitResponse,
)
from raftstate.v1.step_service_pb2_grpc import StepServiceServicer
from raftstate.v1.store_pb2 import Outcome

# A response is closed when its results exceed this, so that even with one more
# takeover bundle it stays below what clients receive by default (4 MiB).
_RESPONSE_BYTES = 512 << 10


class _Asked(NamedTuple):
    """One mutation of a stream. Empty ones have no body, and no name."""

    nonce: int
    name: str
    body: Message
    began: float


class Steps(StepServiceServicer):
    """What agents commit."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def CommitStep(self, request: CommitStepRequest, context: Any) -> CommitStepResponse:
        return await self._frontend.mutate(request, CommitStepResponse)

    async def Submit(
        self, request_iterator: AsyncIterator[SubmitRequest], context: Any
    ) -> AsyncIterator[SubmitResponse]:
        lane: Lane[_Asked] = Lane(self._frontend.limits.in_flight)
        reader = asyncio.ensure_future(self._take(request_iterator, lane))
        try:
            async for batch in lane.batches():
                for response in self._responses(batch):
                    yield response
            await reader
        finally:
            reader.cancel()
            # Waiters of this stream wait for nobody now; for what was proposed
            # this changes nothing.
            for slot in lane.pending:
                if isinstance(slot.key.body, AcquireOwnershipRequest):
                    self._frontend.consensus.abandon(slot)
            await end(reader)

    async def _take(self, requests: AsyncIterator[SubmitRequest], lane: Lane[_Asked]) -> None:
        """Propose batch after batch, each in one turn of the loop."""
        try:
            async for request in requests:
                await lane.room()
                self._propose(request, lane)
        finally:
            lane.complete()

    def _propose(self, request: SubmitRequest, lane: Lane[_Asked]) -> None:
        """Propose a batch in order. A mutation that is invalid is answered alone; of
        a batch that is too large every mutation is refused. Raises Failure for a batch of
        too many."""
        batch_broken = violations(request)
        if len(request.mutations) > limits.MUTATIONS_PER_BATCH_MAX:
            # Nobody would get a word in while each of them was refused by itself.
            raise invalid(batch_broken)
        unsound = self._unsound()
        now = asyncio.get_running_loop().time()
        for nonce, mutation in enumerate(request.mutations, request.first_nonce):
            name = mutation.WhichOneof("body")
            body = mutation if name is None else getattr(mutation, name)
            asked = _Asked(nonce, name or "", body, now)
            if broken := batch_broken or violations(mutation):
                lane.put(asked, invalid(broken))
            elif unsound is not None:
                lane.put(asked, unsound)
            else:
                self._frontend.consensus.propose(command_of(asked.body), lane.slot(asked))

    def _unsound(self) -> Failure | None:
        """Why this member takes no mutation, if it serves nobody."""
        try:
            self._frontend.demand_sound()
        except Failure as failure:
            return failure
        return None

    def _responses(self, batch: list[Settled[_Asked]]) -> Iterator[SubmitResponse]:
        """The results of one turn, in as few responses as their size allows."""
        response, size = SubmitResponse(), 0
        for asked, answer in batch:
            result = self._result(asked, answer)
            response.results.append(result)
            size += result.ByteSize()
            if size > _RESPONSE_BYTES:
                yield response
                response, size = SubmitResponse(), 0
        if response.results:
            yield response

    def _result(self, asked: _Asked, answer: Answer | Exception) -> MutationResult:
        """What the unary call would have said."""
        result = MutationResult(nonce=asked.nonce)
        code = grpc.StatusCode.OK
        try:
            # Consensus says Unavailable as an answer, though it is an exception too.
            if isinstance(answer, Exception) and not isinstance(answer, Unavailable):
                raise answer
            outcome = self._frontend.outcome(answer, asked.body)
            self._fill(result, asked, outcome)
        except Exception as error:  # noqa: BLE001  # told to the client, each by itself
            failure = failure_of(asked.name, error)
            code = failure.code
            result.error = failure.status().SerializeToString()
        seconds = asyncio.get_running_loop().time() - asked.began
        self._frontend.count(asked.body, code.name, seconds)
        return result

    def _fill(self, result: MutationResult, asked: _Asked, outcome: Outcome) -> None:
        """Put the outcome of an applied command into its result; raises Failure."""
        name = outcome.WhichOneof("result")
        assert name is not None, "an outcome without a result"
        response = getattr(result, name)
        response.CopyFrom(getattr(outcome, name))
        self._frontend.complete(response, asked.body, outcome)
