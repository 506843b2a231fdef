"""ReplayService: what runs drew from outside themselves, and what their events amount to."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from raftstate import content
from raftstate.core import (
    checkpoint_queries,
    limits,
    queries,
    recording_queries,
    stream_queries,
    undone,
)
from raftstate.core.ports import Reader
from raftstate.core.recording_queries import RecordingPage
from raftstate.rpc.errors import invalid_field, not_found, truncated
from raftstate.rpc.folds import Folded, Folds, Route
from raftstate.rpc.frontend import Frontend
from raftstate.rpc.paging import Page
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.replay_service_pb2 import (
    Divergence,
    GetRecordedRequest,
    GetRecordedResponse,
    ReconstructRequest,
    ReconstructResponse,
    RecordValueRequest,
    RecordValueResponse,
    Reducer,
    VerifyReplayRequest,
    VerifyReplayResponse,
)
from raftstate.v1.replay_service_pb2_grpc import ReplayServiceServicer

_REDUCERS: Final[dict[int, content.Reducer]] = {
    Reducer.REDUCER_LAST_VALUE: "last_value",
    Reducer.REDUCER_MERGE_PATCH: "merge_patch",
    Reducer.REDUCER_APPEND: "append",
    Reducer.REDUCER_COUNT: "count",
}


class Replays(ReplayServiceServicer):
    """Recorded values, and states made of events."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._folds = Folds(frontend)

    async def RecordValue(
        self, request: RecordValueRequest, context: Any
    ) -> RecordValueResponse:
        return await self._frontend.mutate(request, RecordValueResponse)

    async def GetRecorded(
        self, request: GetRecordedRequest, context: Any
    ) -> GetRecordedResponse:
        page = await self._frontend.page(request)
        found, header = await self._frontend.look(page.at, partial(_recorded, page, request))
        response = GetRecordedResponse(header=header, recordings=found.recordings)
        if found.after is not None:
            response.next_page_token = page.next_token(header, found.after)
        return response

    async def VerifyReplay(
        self, request: VerifyReplayRequest, context: Any
    ) -> VerifyReplayResponse:
        self._frontend.check(request)
        at = await self._frontend.settle(request)
        with self._frontend.view(at) as (reader, header):
            agent = _agent(reader, request.agent_id)
            base = _base(reader, request)
            last = agent.head.event_seq
            route = Route(
                agent_id=request.agent_id,
                revision=header.revision,
                reducer=_REDUCERS[request.reducer],
                base=base,
                last_seq=min(request.to_seq or last, last),
                compare=True,
            )
        found = await self._folds.fold(route)
        return VerifyReplayResponse(
            header=header,
            events=found.events,
            hashes_compared=found.hashes,
            checkpoints_compared=found.checkpoints,
            divergence=_divergence(found),
            state_hash=found.state_hash,
        )

    async def Reconstruct(
        self, request: ReconstructRequest, context: Any
    ) -> ReconstructResponse:
        self._frontend.check(request)
        if at := request.at_revision or None:
            await self._frontend.settle_at(request.at_revision)
        else:
            await self._frontend.read_point(Consistency.CONSISTENCY_LINEARIZABLE)
        reducer = _REDUCERS.get(request.reducer)
        with self._frontend.view(at) as (reader, header):
            agent = _agent(reader, request.agent_id)
            seq = _wanted(reader, agent, request.event_seq)
        base = await self._base(agent.agent_id, seq, header.revision, reducer is not None)
        response = ReconstructResponse(header=header, event_seq=seq)
        if reducer is None:
            self._add_way(response, agent.agent_id, base)
            return response
        route = Route(agent.agent_id, header.revision, reducer, base, seq)
        found = await self._folds.fold(route)
        response.state, response.state_hash = found.state, found.state_hash
        return response

    async def _base(
        self, agent_id: str, seq: int, revision: int, readable: bool
    ) -> Checkpoint | None:
        """The newest checkpoint from which events lead to a state; None: there is none.
        One whose type is not known here is none if it is to be `readable`."""
        before, count = 0, self._frontend.limits.slice_events
        while True:
            look = partial(_nearest, agent_id, seq, readable, before, count)
            (base, before), _ = await self._frontend.look(revision, look)
            if base is not None or not before:
                return base
            await asyncio.sleep(0)  # others' turn

    def _add_way(
        self, response: ReconstructResponse, agent_id: str, base: Checkpoint | None
    ) -> None:
        """Say what leads to a state: the checkpoint, and as many events as one answer
        holds. Raises Failure."""
        first = 1 if base is None else base.event_seq + 1
        response.checkpoint_id = 0 if base is None else base.checkpoint_id
        with self._frontend.view(response.header.revision) as (reader, _):
            oldest = stream_queries.oldest_seq(reader, agent_id)
            if first < oldest and first <= response.event_seq:
                raise truncated(agent_id, oldest)
            events, response.more_events = _way(reader, agent_id, first, response.event_seq)
        response.events.extend(events)


def _recorded(page: Page, request: GetRecordedRequest, reader: Reader) -> RecordingPage:
    """A page of an agent's recorded values; raises Failure."""
    _agent(reader, request.agent_id)
    return recording_queries.get_recorded(reader, request, page.after, page.size)


def _agent(reader: Reader, agent_id: str) -> Agent:
    """An agent that must be there; raises Failure."""
    agent = queries.get_agent(reader, agent_id)
    if agent is None:
        raise not_found("agent", agent_id)
    return agent


def _base(reader: Reader, request: VerifyReplayRequest) -> Checkpoint | None:
    """The checkpoint that a verification begins with; raises Failure."""
    agent_id, number = request.agent_id, request.checkpoint_id
    if not number:
        return None
    base = checkpoint_queries.load(reader, agent_id, number)
    if base is None:
        raise not_found("checkpoint", f"{agent_id}#{number}")
    if (left := undone.branch(reader, agent_id, number)) is not None:
        words = f"was left behind by rollback {left.rollback_id}"
        raise invalid_field("checkpoint_id", words, "one that leads to the newest")
    return base


def _divergence(found: Folded) -> Divergence | None:
    if (said := found.divergence) is None:
        return None
    return Divergence(
        seq=said["seq"],
        checkpoint_id=said["checkpoint_id"],
        expected_hash=bytes.fromhex(said["expected"]),
        actual_hash=bytes.fromhex(said["actual"]),
        event=found.last,
        differences=said["differences"],
    )


# --- the state at an event -----------------------------------------------------------


def _wanted(reader: Reader, agent: Agent, seq: int) -> int:
    """The event whose state is wanted; the newest that counts for zero. Raises Failure."""
    newest = agent.head.event_seq
    if seq > newest:
        raise invalid_field("event_seq", f"is {seq}", f"0 to {newest}, the newest event")
    gone = undone.find(reader, agent.agent_id, seq or newest)
    if gone is None:
        return seq or newest
    if seq:
        words = f"is of an event that rollback {gone.rollback_id} has undone"
        raise invalid_field("event_seq", words, "one that counts, or at_revision before that")
    return gone.first_seq - 1


def _nearest(
    agent_id: str, seq: int, readable: bool, before: int, count: int, reader: Reader
) -> tuple[Checkpoint | None, int]:
    """The newest checkpoint before one from which events lead to a state, and before which
    to go on; zero: there are no more. One whose data has gone is none."""
    page = checkpoint_queries.list_checkpoints(reader, agent_id, before, count)
    for one in page.checkpoints:
        if one.event_seq > seq:
            continue
        if undone.branch(reader, agent_id, one.checkpoint_id) is not None:
            continue
        chain = checkpoint_queries.chain(reader, one)
        if readable and content.family(chain[0].content_type) is None:
            continue
        if checkpoint_queries.content(reader, one) is not None:
            return one, 0
    return None, page.next_before


def _way(reader: Reader, agent_id: str, first: int, last: int) -> tuple[list[Event], bool]:
    """The events that count from `first` to `last`, up to about what a bundle has of them;
    and whether there are more."""
    found: list[Event] = []
    left = limits.BUNDLE_EVENT_BYTES_MAX
    for segment in undone.live(reader, agent_id, first, last):
        count = segment.last - segment.first + 1
        if left <= 0:
            return found, True
        some = stream_queries.read_events(reader, agent_id, segment.first, count, left)
        found += some
        if len(some) < count:
            return found, True
        left -= sum(one.ByteSize() for one in some)
    return found, False
