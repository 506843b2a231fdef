# ruff: noqa: N802  # the names of calls are those of the API
"""Members that do what a test tells them, attempt by attempt.

A real grpc.aio server without a store behind it. Each mutation takes the next action
of the member's script, and is answered well when the script is empty. What was asked
is kept, so that a test can compare request ids and count batches.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from raftstate.client.clock import now
from raftstate.client.options import Options
from raftstate.client.store import Store
from raftstate.v1 import (
    agent_service_pb2_grpc,
    breaker_service_pb2_grpc,
    cluster_service_pb2_grpc,
    event_service_pb2_grpc,
    read_service_pb2_grpc,
    session_service_pb2_grpc,
    step_service_pb2_grpc,
    watch_service_pb2_grpc,
)
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipResponse,
    Agent,
    CreateAgentResponse,
    GetAgentResponse,
    Ownership,
    ReleaseOwnershipResponse,
    RenewOwnershipResponse,
    TakeoverBundle,
)
from raftstate.v1.cluster_service_pb2 import (
    AddMemberResponse,
    ListMembersResponse,
    PromoteMemberResponse,
    RemoveMemberResponse,
    StatusResponse,
    TransferLeadershipResponse,
)
from raftstate.v1.cluster_service_pb2 import Member as ClusterMember
from raftstate.v1.common_pb2 import FencingToken, RequestId, ResponseHeader, StepHead
from raftstate.v1.event_service_pb2 import Event, ReadEventsResponse
from raftstate.v1.session_service_pb2 import (
    CloseSessionResponse,
    KeepAliveResponse,
    OpenSessionResponse,
    Session,
)
from raftstate.v1.step_service_pb2 import CommitStepResponse, MutationResult, SubmitResponse

LIMIT_S = 20.0
# How long an attempt lasts in tests of silence: the machine may be busy.
QUICK_S = 0.2


# --- actions -----------------------------------------------------------------


@dataclass(frozen=True)
class Refuse:
    """Answer with a failure. `definite` of None says nothing about it."""

    reason: str
    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION
    metadata: dict[str, str] = field(default_factory=dict)
    definite: bool | None = True

    def status(self) -> Any:
        info = error_details_pb2.ErrorInfo(
            domain="raftstate", reason=self.reason, metadata=self.metadata
        )
        if self.definite is not None:
            info.metadata["definite"] = "true" if self.definite else "false"
        packed = AnyMessage()
        packed.Pack(info)
        return status_pb2.Status(
            code=self.code.value[0], message=f"scripted: {self.reason}", details=[packed]
        )


@dataclass(frozen=True)
class Silence:
    """Do not answer at all."""


@dataclass(frozen=True)
class Drop:
    """Break the call, as a connection that is lost does."""


def not_leader(hint: str = "") -> Refuse:
    """This member does not lead; perhaps it says who does."""
    metadata = {"leader_address": hint} if hint else {}
    return Refuse("NOT_LEADER", grpc.StatusCode.UNAVAILABLE, metadata)


UNKNOWN = Refuse("OUTCOME_UNKNOWN", grpc.StatusCode.UNAVAILABLE, definite=False)
FENCED = Refuse("FENCED", metadata={"current_fence": "2-9", "current_holder": "other"})
SESSION_EXPIRED = Refuse("SESSION_EXPIRED")

Action = Refuse | Silence | Drop | None


# --- a member ----------------------------------------------------------------


class Member:
    """One scripted member. Set its fields at any time."""

    def __init__(self) -> None:
        self.address = ""
        self.cluster_id = "test"
        self.epoch = 1
        # What to do with the next mutations, one each; then `always`.
        self.script: deque[Action] = deque()
        self.always: Action = None
        # What to do with everything that only a leader answers, mutations included.
        self.office: Action = None
        self.keep_alive: Action = None
        self.renew: Action = None
        self.held = True
        self.grant_after: asyncio.Event | None = None
        self.newest_fence = FencingToken(epoch=1, revision=5)
        self.holder = "me"
        self.events: list[Event] = []
        self.break_reads_after = 0
        self.more_events = False
        # Addresses of the members that it tells of.
        self.roster: list[str] = []
        self.looked = 0
        # What was asked.
        self.ids: list[RequestId] = []
        self.batches: list[int] = []
        self.expected: list[int] = []
        self.asked: list[str] = []
        self.renewals = 0
        self.acquired_at = 0.0
        self.streams_ended_in_order = 0
        self._step = 0
        self._ttl_ms = 400

    def header(self) -> ResponseHeader:
        return ResponseHeader(
            cluster_id=self.cluster_id, cluster_epoch=self.epoch, member_id=self.address
        )

    def next_action(self) -> Action:
        if self.office is not None:
            return self.office
        return self.script.popleft() if self.script else self.always

    async def act(self, action: Action, context: Any) -> None:
        """Carry out an action other than answering well."""
        if isinstance(action, Refuse):
            raw = action.status().SerializeToString()
            trailer = (("grpc-status-details-bin", raw),)
            await context.abort(action.code, "scripted", trailing_metadata=trailer)
        elif isinstance(action, Drop):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        elif isinstance(action, Silence):
            await asyncio.Event().wait()

    # --- sessions ---

    async def OpenSession(self, request: Any, context: Any) -> OpenSessionResponse:
        self.asked.append("open")
        await self.act(self.office, context)
        session = Session(session_id=request.session_id, ttl_ms=request.ttl_ms)
        session.opened_revision = 3
        return OpenSessionResponse(header=self.header(), session=session)

    async def KeepAlive(self, requests: Any, context: Any) -> AsyncIterator[KeepAliveResponse]:
        async for request in requests:
            await self.act(self.office or self.keep_alive, context)
            yield KeepAliveResponse(header=self.header(), nonce=request.nonce, ttl_ms=10_000)
        self.streams_ended_in_order += 1

    async def CloseSession(self, request: Any, context: Any) -> CloseSessionResponse:
        self.asked.append("close")
        await self.act(self.office, context)
        return CloseSessionResponse(header=self.header())

    # --- agents ---

    async def AcquireOwnership(self, request: Any, context: Any) -> AcquireOwnershipResponse:
        self.asked.append("acquire")
        self.acquired_at = now()
        self._ttl_ms = request.ttl_ms
        self.ids.append(request.request_id)
        await self.act(self.next_action(), context)
        if self.grant_after is not None:
            await self.grant_after.wait()
        agent = Agent(agent_id=request.agent_id, head=StepHead(step=self._step))
        agent.head.event_seq = len(self.events)
        bundle = TakeoverBundle(agent=agent, more_events=self.more_events)
        fence = FencingToken(epoch=1, revision=5)
        ownership = Ownership(fence=fence, ttl_ms=request.ttl_ms, holder=request.holder)
        return AcquireOwnershipResponse(
            header=self.header(), ownership=ownership, bundle=bundle
        )

    async def RenewOwnership(
        self, requests: Any, context: Any
    ) -> AsyncIterator[RenewOwnershipResponse]:
        async for request in requests:
            self.renewals += 1
            await self.act(self.office or self.renew, context)
            yield RenewOwnershipResponse(
                header=self.header(),
                agent_id=request.agent_id,
                nonce=request.nonce,
                held=self.held,
                ttl_ms=self._ttl_ms,
            )

    async def GetAgent(self, request: Any, context: Any) -> GetAgentResponse:
        await self.act(self.office, context)
        agent = Agent(agent_id=request.agent_id, newest_fence=self.newest_fence)
        agent.owner.holder = self.holder
        return GetAgentResponse(header=self.header(), agent=agent)

    async def ReadEvents(self, request: Any, context: Any) -> AsyncIterator[ReadEventsResponse]:
        self.asked.append(f"read from {request.from_seq}")
        await self.act(self.office, context)
        for sent, event in enumerate(self.events[max(request.from_seq, 1) - 1 :], 1):
            yield ReadEventsResponse(header=self.header(), events=[event])
            if sent == self.break_reads_after:
                await self.act(Drop(), context)

    # --- the cluster ---

    async def Status(self, request: Any, context: Any) -> StatusResponse:
        self.looked += 1
        return StatusResponse(header=self.header(), members=self.known())

    def known(self) -> list[ClusterMember]:
        return [ClusterMember(member_id=one, client_address=one) for one in self.roster]

    async def ListMembers(self, request: Any, context: Any) -> ListMembersResponse:
        await self.act(self.office, context)
        return ListMembersResponse(header=self.header(), members=self.known())

    async def AddMember(self, request: Any, context: Any) -> AddMemberResponse:
        self.asked.append(f"add {request.member_id} {request.raft_address}")
        await self.act(self.next_action(), context)
        self.roster.append(request.client_address)
        return AddMemberResponse(header=self.header(), members=self.known())

    async def PromoteMember(self, request: Any, context: Any) -> PromoteMemberResponse:
        self.asked.append(f"promote {request.member_id}")
        await self.act(self.next_action(), context)
        return PromoteMemberResponse(header=self.header(), members=self.known())

    async def RemoveMember(self, request: Any, context: Any) -> RemoveMemberResponse:
        self.asked.append(f"remove {request.member_id}")
        await self.act(self.next_action(), context)
        return RemoveMemberResponse(header=self.header(), members=self.known())

    async def TransferLeadership(
        self, request: Any, context: Any
    ) -> TransferLeadershipResponse:
        self.asked.append(f"transfer to {request.to_member_id or 'anybody'}")
        await self.act(self.next_action(), context)
        return TransferLeadershipResponse(header=self.header(), leader_id="n2")

    # --- mutations ---

    async def Submit(self, requests: Any, context: Any) -> AsyncIterator[SubmitResponse]:
        async for request in requests:
            self.batches.append(len(request.mutations))
            response = SubmitResponse()
            for nonce, mutation in enumerate(request.mutations, request.first_nonce):
                action = self._note(mutation)
                if isinstance(action, Drop):
                    await self.act(action, context)
                elif isinstance(action, Refuse):
                    raw = action.status().SerializeToString()
                    response.results.append(MutationResult(nonce=nonce, error=raw))
                elif action is None:
                    response.results.append(self._result(nonce, mutation))
            if response.results:
                yield response

    def _note(self, mutation: Any) -> Action:
        body = getattr(mutation, mutation.WhichOneof("body"))
        self.ids.append(RequestId.FromString(body.request_id.SerializeToString()))
        if mutation.HasField("commit_step"):
            self.expected.append(mutation.commit_step.expected_step)
        return self.next_action()

    def _result(self, nonce: int, mutation: Any) -> MutationResult:
        if mutation.HasField("commit_step"):
            self._step += 1
            step = CommitStepResponse(header=self.header(), head=StepHead(step=self._step))
            return MutationResult(nonce=nonce, commit_step=step)
        if mutation.HasField("release_ownership"):
            self.asked.append("release")
            release = ReleaseOwnershipResponse(header=self.header())
            return MutationResult(nonce=nonce, release_ownership=release)
        agent = Agent(agent_id=mutation.create_agent.agent_id)
        create = CreateAgentResponse(header=self.header(), agent=agent)
        return MutationResult(nonce=nonce, create_agent=create)


# --- a cluster of them -------------------------------------------------------


@asynccontextmanager
async def members(
    count: int, credentials: Any = None, kind: Callable[[], Member] = Member
) -> AsyncIterator[list[Any]]:
    """So many members, served on free ports, over TLS if there are credentials."""
    async with AsyncExitStack() as stack:
        made = [kind() for _ in range(count)]
        for member in made:
            await stack.enter_async_context(_served(member, credentials))
        yield made


@asynccontextmanager
async def _served(member: Member, credentials: Any) -> AsyncIterator[Member]:
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ]
    )
    for register in (
        session_service_pb2_grpc.add_SessionServiceServicer_to_server,
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server,
        breaker_service_pb2_grpc.add_BreakerServiceServicer_to_server,
        cluster_service_pb2_grpc.add_ClusterServiceServicer_to_server,
        event_service_pb2_grpc.add_EventServiceServicer_to_server,
        step_service_pb2_grpc.add_StepServiceServicer_to_server,
        watch_service_pb2_grpc.add_WatchServiceServicer_to_server,
    ):
        untyped: Any = register
        untyped(_Partial(member), server)
    if hasattr(member, "Read"):
        answers: Any = read_service_pb2_grpc.add_ReadServiceServicer_to_server
        answers(member, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    member.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield member
    finally:
        await server.stop(0)


class _Partial:
    """A servicer of which only a part is written: the rest is never called."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def __getattr__(self, name: str) -> Any:
        return getattr(self._member, name, None)


def store_of(*asked: Member | str, attempt: float = 1.0, timeout: float = 10.0) -> Store:
    """A store that knows these members (or addresses), in this order, and leaves one
    that is silent after `attempt` seconds."""
    endpoints = tuple(one if isinstance(one, str) else one.address for one in asked)
    return Store(Options(endpoints, timeout=timeout, attempt=attempt, client_name="test"))


def asynchronous(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that is a coroutine function, on a loop of its own, for a bounded time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(LIMIT_S):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds, but not for ever."""
    try:
        async with asyncio.timeout(LIMIT_S / 2):
            while not condition():  # noqa: ASYNC110  # other people's state
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited in vain until {what}") from None
