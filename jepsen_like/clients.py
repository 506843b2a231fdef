"""What the clients of all workloads share: connections, ownerships, outcomes.

Two ways lead to a cluster. `Shared.engine` is the SDK's: it knows every member, and
sends again until a request is settled. `Shared.once` is one attempt at one member, whose
answer is taken as it comes. Both may be used under the same session, and a step needs the
fence of its session: so the threads of one process share an engine, and with it one
ownership of each agent.

How an operation ended is what the error says of itself: definite, or not.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol, TypeVar

import grpc
import grpc.aio

from jepsen_like.protocols import Done, Site
from raftstate.client.calls import deadline_in, remaining
from raftstate.client.doing import LOST
from raftstate.client.engine import Engine, session_gone
from raftstate.client.errors import from_rpc, unanswered
from raftstate.client.options import Options
from raftstate.client.own import Claim, Own
from raftstate.client.ownership import AgentHandle
from raftstate.client.routing import Peer
from raftstate.client.session import Session
from raftstate.errors import (
    Closed,
    NoQuorum,
    NotLeader,
    OwnershipLost,
    Quarantined,
    RaftStateError,
)
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_FORCE,
    ListAgentsRequest,
    ListAgentsResponse,
)
from raftstate.v1.checkpoint_service_pb2 import (
    GetCheckpointRequest,
    GetCheckpointResponse,
    NewCheckpoint,
)
from raftstate.v1.common_pb2 import (
    CONSISTENCY_LINEARIZABLE,
    CONSISTENCY_STALE,
    Consistency,
    RequestId,
    ResponseHeader,
)
from raftstate.v1.event_service_pb2 import NewEvent, ReadEventsRequest, ReadEventsResponse
from raftstate.v1.step_service_pb2 import CommitStepRequest, CommitStepResponse

R = TypeVar("R")
# One attempt at a member, given how long it may take.
Attempt = Callable[[Peer, float], Awaitable[R]]

# How long an operation through the SDK may take, over all its attempts.
TIMEOUT_S: Final = 2.0
# How long one attempt at one member may take.
ATTEMPT_S: Final = 1.0
# Within the SDK attempts are shorter, so that several fit.
_SDK_ATTEMPT_S: Final = 0.6
# Without a connection there is nothing to wait for: members are near.
_CONNECT_S: Final = 0.3
SESSION_TTL_S: Final = 10.0
OWN_TTL_S: Final = 5.0
# So many agents are owned at once; those used least recently are let go. Old keys are
# not used again, and each ownership is a renewal every so often.
HOLDINGS_MAX: Final = 6
# Closing may take so long before it is given up: sessions end by themselves.
_CLOSE_S: Final = 1.5
# A thread that was refused, and told of nobody better, rests before it says so: it would
# otherwise fill the history with refusals for as long as nobody leads.
PAUSE_S: Final = 0.1
# What another member may well do.
_ELSEWHERE: Final = (NotLeader, NoQuorum, Quarantined)
_ERROR_CHARS: Final = 160
# The calls that are made by one attempt, by their names in `Mutation`.
_CALLS: Final[Mapping[str, Callable[[Peer], Any]]] = {
    "txn": lambda peer: peer.kv.Txn,
    "compact": lambda peer: peer.kv.Compact,
}


# --- outcomes ------------------------------------------------------------------


def ended(error: RaftStateError, node: str = "", *, changes: bool = True) -> Done:
    """How an operation ended that raised `error`. One that changes nothing (a read) did
    not happen if it was not answered; any other is unknown unless the error is definite."""
    definite = error.definite or not changes
    return Done("fail" if definite else "info", node=node, error=said(error))


def said(error: RaftStateError) -> str:
    """An error in a line: its reason, then what was said."""
    text = " ".join(str(error).split())
    if len(text) > _ERROR_CHARS:
        text = text[: _ERROR_CHARS - 3] + "..."
    return f"{error.reason}: {text}" if text else error.reason


def answered(answer: Any, value: Any) -> Done:
    """An operation that happened: `value`, and what the answer's header says."""
    return Done("ok", value, revision=answer.header.revision, node=answer.header.member_id)


# --- requests ------------------------------------------------------------------


def step_request(
    agent_id: str,
    event_type: str,
    event: Mapping[str, Any],
    *,
    expected_step: int | None = None,
    checkpoint: bytes | None = None,
) -> CommitStepRequest:
    """A step of one event, whose data is JSON. Who sends it adds fence and request id."""
    data = json.dumps(event, separators=(",", ":")).encode()
    request = CommitStepRequest(
        agent_id=agent_id,
        expected_step=expected_step,
        events=[NewEvent(type=event_type, content_type="application/json", data=data)],
    )
    if checkpoint is not None:
        request.checkpoint.CopyFrom(NewCheckpoint(data=checkpoint, content_type="text/plain"))
    return request


async def newest_checkpoint(
    peer: Peer, agent_id: str, patience: float, *, stale: bool = False
) -> GetCheckpointResponse:
    """Read an agent's newest checkpoint at one member; its data whole, in `chunk`."""
    request = GetCheckpointRequest(agent_id=agent_id, consistency=_consistency(stale))
    whole = GetCheckpointResponse()
    data = bytearray()
    async for answer in peer.checkpoints.GetCheckpoint(request, timeout=patience):
        if answer.HasField("header"):
            whole.CopyFrom(answer)
        data += answer.chunk
    whole.chunk = bytes(data)
    return whole


async def head(
    peer: Peer, agent_id: str, patience: float, *, stale: bool = False
) -> tuple[int, ResponseHeader]:
    """How many steps an agent has at one member, none if there is no such agent; and the
    header that says at which revision, which an answer of "not found" would not."""
    request = ListAgentsRequest(prefix=agent_id, page_size=1, consistency=_consistency(stale))
    page: ListAgentsResponse = await peer.agents.ListAgents(request, timeout=patience)
    # In order of id: the first one with that prefix is the agent itself, if it is there.
    steps = [one.head.step for one in page.agents if one.agent_id == agent_id]
    return (steps[0] if steps else 0), page.header


async def whole_stream(
    peer: Peer, agent_id: str, patience: float, *, stale: bool = False
) -> ReadEventsResponse:
    """Read all events of one agent at one member, under the first answer's header."""
    request = ReadEventsRequest(stream_id=agent_id, consistency=_consistency(stale))
    whole = ReadEventsResponse()
    async for answer in peer.events.ReadEvents(request, timeout=patience):
        if answer.HasField("header") and not whole.HasField("header"):
            whole.header.CopyFrom(answer.header)
        whole.events.extend(answer.events)
    return whole


def _consistency(stale: bool) -> Consistency:
    return CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE


# --- who leads, as one thread believes -----------------------------------------


class Belief:
    """Whom one thread takes for the leader: at first its own member. It learns from what
    its own attempts were answered with, and from nothing else."""

    def __init__(self, site: Site, node: str) -> None:
        self.node = node
        self._nodes = site.nodes
        # Who could not be reached, or said nothing: followers go on naming a leader that
        # has died until they have another one.
        self._silent: set[str] = set()

    def confirm(self) -> None:
        """It answered as a leader does."""
        self._silent.clear()

    def heed(self, node: str, error: RaftStateError) -> bool:
        """An attempt at `node` failed: believe whom it names, or else take the next one.
        Whether it named somebody worth asking at once."""
        if "unreachable" in error.details or not error.definite:
            self._silent.add(node)
        named = error.details.get("leader")
        if named in self._nodes and named != node and named not in self._silent:
            self.node = named
            return True
        if node == self.node:
            self.node = self._nodes[(self._nodes.index(node) + 1) % len(self._nodes)]
        return False


# --- what the threads of one process share -------------------------------------


class Holding:
    """The ownership of one agent, held by a task of its own: the SDK cancels whoever is
    in the block when it is lost, and no operation is to be cancelled for that."""

    def __init__(self, engine: Engine, agent_id: str, ttl: float) -> None:
        # Whoever had it before is this process under an older session, so take it.
        claim = Claim(
            agent_id=agent_id,
            mode=ACQUIRE_MODE_FORCE,
            ttl=ttl,
            holder=engine.options.client_name,
            create=True,
            timeout=engine.options.timeout,
        )
        self._own = Own(engine, claim)
        self._agent_id = agent_id
        self._let_go = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._granted: asyncio.Future[AgentHandle] = loop.create_future()
        self._granted.add_done_callback(_seen)
        self.task = asyncio.create_task(self._hold())

    @property
    def over(self) -> bool:
        """Whether another one has to be made."""
        if not self._granted.done():
            return False
        return self.task.done() or self._granted.exception() is not None or self._lost()

    async def handle(self, deadline: float) -> AgentHandle:
        """The ownership, once it is granted. Raises OwnershipLost if it is not, or not by
        the deadline: definite, for what it was wanted for was not sent."""
        done, _ = await asyncio.wait({self._granted}, timeout=max(remaining(deadline), 0.0))
        if not done:
            raise OwnershipLost(
                f"{self._agent_id} is not owned yet, at the deadline", definite=True
            )
        try:
            return self._granted.result()
        except RaftStateError as error:
            raise OwnershipLost(
                f"{self._agent_id} is not owned: {said(error)}",
                definite=True,
                details=dict(error.details),
            ) from error

    def let_go(self) -> None:
        """Give the ownership back. Returns at once; the task ends when it is done."""
        self._let_go.set()

    def _lost(self) -> bool:
        return self._granted.result().lost

    async def _hold(self) -> None:
        try:
            async with self._own as handle:
                self._granted.set_result(handle)
                await self._let_go.wait()
        except RaftStateError as error:
            # Once it was granted this says that it was lost, as the handle does too.
            if not self._granted.done():
                self._granted.set_exception(error)
        finally:
            if not self._granted.done():
                why = f"acquiring {self._agent_id} was given up"
                self._granted.set_exception(Closed(why, definite=True))


class Shared:
    """One engine, one session and one ownership of each agent, for all threads of a
    workload in this process. Opened by each client, closed by the last."""

    def __init__(self, site: Site, workload: str, *, own_ttl: float = OWN_TTL_S) -> None:
        self.site = site
        self.workload = workload
        self._own_ttl = own_ttl
        self._users: set[object] = set()
        self._engine: Engine | None = None
        self._holdings: dict[str, Holding] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._beliefs: dict[int, Belief] = {}

    async def open(self, user: object) -> None:
        """One more client uses it. Nothing is sent for it that changes anything."""
        self._users.add(user)
        if self._engine is None:
            self._engine = Engine(
                Options(
                    endpoints=self.site.endpoints,
                    timeout=TIMEOUT_S,
                    session_ttl=SESSION_TTL_S,
                    client_name=f"jepsen {self.workload}",
                    attempt=_SDK_ATTEMPT_S,
                    rng=random.Random(f"{self.site.seed}/{self.workload}/backoff"),
                )
            )

    async def close(self, user: object) -> None:
        """One client less. The last one gives back what is owned, and ends the session."""
        self._users.discard(user)
        if self._users or self._engine is None:
            return
        engine, self._engine = self._engine, None
        tasks = {holding.task for holding in self._holdings.values()} | self._leaving
        for holding in self._holdings.values():
            holding.let_go()
        self._holdings.clear()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await engine.close()
        for task in tasks:
            if not task.cancelled():
                task.result()  # what it raises is a defect, not an outcome

    async def vanish(self, user: object) -> None:
        """As `close`, but as a process ends that is killed: no member is told. What was owned
        and claimed ends with the session, when that runs out."""
        if self._engine is not None and (session := self._engine.sessions.current) is not None:
            self._engine.sessions.expired(session)
        await self.close(user)

    @property
    def engine(self) -> Engine:
        """The SDK's engine. Raises Closed (definite) if no thread has it open."""
        if self._engine is None:
            raise Closed(f"the clients of {self.workload} are closed", definite=True)
        return self._engine

    def agent(self, key: str) -> str:
        """The id of the agent that stands for a key."""
        return f"{self.site.prefix}/{self.workload}/{key}"

    def belief(self, thread: int, node: str) -> Belief:
        """Whom a thread takes for the leader, over all clients it has in a run."""
        return self._beliefs.setdefault(thread, Belief(self.site, node))

    # --- through the SDK ---

    async def ask(
        self, attempt: Attempt[R], *, timeout: float = TIMEOUT_S, patience: float | None = None
    ) -> R:
        """A linearizable read: of whoever leads, until it is answered. One attempt gets
        `patience` seconds; None is what the SDK gives it."""
        answer: R = await self.engine.calls.call(
            attempt, deadline=deadline_in(timeout), changes=False, patience=patience
        )
        return answer

    async def commit(
        self, request: CommitStepRequest, *, timeout: float = TIMEOUT_S
    ) -> CommitStepResponse:
        """Commit a step under our ownership, sent until it is settled."""
        deadline = deadline_in(timeout)
        handle = await self.own(request.agent_id, deadline)
        request.fence.CopyFrom(handle.token)
        with telling(handle):
            answer: CommitStepResponse = await self.engine.mutate_in(
                handle.session, "commit_step", request, deadline
            )
        return answer

    # --- one attempt at one member ---

    async def once(self, node: str, attempt: Attempt[R], *, timeout: float = ATTEMPT_S) -> R:
        """Ask one member one time. Raises what its answer says, NoQuorum (definite) if
        there is no connection to it, OutcomeUnknown if no answer comes in time."""
        engine = self.engine
        peer = engine.router.peer(self.site.addresses[node])
        deadline = deadline_in(timeout)
        await peer.ready(min(_CONNECT_S, timeout))
        try:
            answer = await attempt(peer, max(remaining(deadline), 0.001))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.CancelledError:
            if engine.closed:  # then it is the call that was cancelled
                raise unanswered(peer.address, "the client was closed") from None
            raise
        header = getattr(answer, "header", None)
        if header is not None:
            engine.router.observe(header)
        return answer

    async def commit_once(
        self, node: str, request: CommitStepRequest, *, timeout: float = ATTEMPT_S
    ) -> CommitStepResponse:
        """Commit a step under our ownership, by one attempt at one member."""
        handle = await self.own(request.agent_id, deadline_in(TIMEOUT_S))
        request.fence.CopyFrom(handle.token)
        async with self.request_id(handle.session) as request_id:
            request.request_id.CopyFrom(request_id)
            with telling(handle):
                return await self.once(
                    node,
                    lambda peer, patience: peer.steps.CommitStep(request, timeout=patience),
                    timeout=timeout,
                )

    async def mutate_once(
        self, node: str, kind: str, request: Any, *, timeout: float = ATTEMPT_S
    ) -> Any:
        """A mutation that needs no ownership, by one attempt at one member. Fills in the
        request's id."""
        session = await self.engine.sessions.get(deadline_in(TIMEOUT_S))
        async with self.request_id(session) as request_id:
            request.request_id.CopyFrom(request_id)
            return await self.once(
                node,
                lambda peer, patience: _CALLS[kind](peer)(request, timeout=patience),
                timeout=timeout,
            )

    @asynccontextmanager
    async def request_id(self, session: Session) -> AsyncIterator[RequestId]:
        """An id of the session, for as long as somebody waits for its outcome."""
        request_id = await session.begin(deadline_in(TIMEOUT_S))
        try:
            yield request_id
        except RaftStateError as error:
            if session_gone(error):
                self.engine.sessions.expired(session)
            raise
        finally:
            session.finish(request_id)

    # --- owning ---

    async def own(self, agent_id: str, deadline: float) -> AgentHandle:
        """Our ownership of an agent: acquired, with the agent made if there is none, when
        it is first needed and again after it was lost.

        Raises OwnershipLost (definite) if it cannot be had by the deadline."""
        holding = self._holdings.pop(agent_id, None)
        if holding is None or holding.over:
            if holding is not None:
                self._leave(holding)
            holding = Holding(self.engine, agent_id, self._own_ttl)
        self._holdings[agent_id] = holding  # the newest is the last
        if len(self._holdings) > HOLDINGS_MAX:
            self._leave(self._holdings.pop(next(iter(self._holdings))))
        return await holding.handle(deadline)

    def _leave(self, holding: Holding) -> None:
        holding.let_go()
        self._leaving.add(holding.task)
        holding.task.add_done_callback(self._leaving.discard)


# --- how one thread asks --------------------------------------------------------


class Way(Protocol):
    """How one thread's requests reach the cluster. `asked` is the member that was asked
    last, if it was a certain one."""

    asked: str

    async def ask(self, attempt: Attempt[R], patience: float | None = None) -> R:
        """A linearizable read; one attempt may take `patience` seconds."""
        ...

    async def commit(self, request: CommitStepRequest) -> CommitStepResponse:
        """A step."""
        ...

    async def mutate(self, kind: str, request: Any) -> Any:
        """A mutation that needs no ownership, by its name in `Mutation`. Fills in the
        request's id."""
        ...


class ThroughSdk:
    """Everything through the SDK, as a program would."""

    asked = ""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def ask(self, attempt: Attempt[R], patience: float | None = None) -> R:
        """A linearizable read."""
        timeout = max(TIMEOUT_S, 2 * (patience or 0.0))
        return await self._shared.ask(attempt, timeout=timeout, patience=patience)

    async def commit(self, request: CommitStepRequest) -> CommitStepResponse:
        """A step."""
        return await self._shared.commit(request)

    async def mutate(self, kind: str, request: Any) -> Any:
        """A mutation that needs no ownership."""
        return await self._shared.engine.mutate(kind, request, TIMEOUT_S)


class ByOneAttempt:
    """One attempt an operation, at whomever this thread takes for the leader. What that
    is answered with decides whom the next operation asks."""

    def __init__(self, shared: Shared, thread: int, node: str) -> None:
        self._shared = shared
        self._belief = shared.belief(thread, node)
        self.asked = ""

    async def ask(self, attempt: Attempt[R], patience: float | None = None) -> R:
        """A linearizable read."""
        self.asked = node = self._belief.node
        async with self._learning(node):
            return await self._shared.once(node, attempt, timeout=patience or ATTEMPT_S)

    async def commit(self, request: CommitStepRequest) -> CommitStepResponse:
        """A step."""
        self.asked = node = self._belief.node
        async with self._learning(node):
            return await self._shared.commit_once(node, request)

    async def mutate(self, kind: str, request: Any) -> Any:
        """A mutation that needs no ownership."""
        self.asked = node = self._belief.node
        async with self._learning(node):
            return await self._shared.mutate_once(node, kind, request)

    @asynccontextmanager
    async def _learning(self, node: str) -> AsyncIterator[None]:
        try:
            yield
        except OwnershipLost:
            raise  # the member was not asked
        except RaftStateError as error:
            if error.definite and not isinstance(error, _ELSEWHERE):
                self._belief.confirm()
            elif not self._belief.heed(node, error):
                await asyncio.sleep(PAUSE_S)
            raise
        self._belief.confirm()


class SharingClient:
    """A client of which all threads share one engine. The first `sdk_threads` of them ask
    through the SDK; the others are pinned to a member each, and ask once."""

    def __init__(self, shared: Shared, number: int, sdk_threads: int) -> None:
        nodes = shared.site.nodes
        self._shared = shared
        self._node = nodes[(number - sdk_threads) % len(nodes)]
        self._way: Way = (
            ThroughSdk(shared)
            if number < sdk_threads
            else ByOneAttempt(shared, number, self._node)
        )

    async def open(self) -> None:
        """Share the engine with the other threads."""
        await self._shared.open(self)

    async def close(self) -> None:
        """Share it no more."""
        await self._shared.close(self)


class Pool:
    """What makes a workload's clients share: the same site is given the same `Shared`."""

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._shared: dict[tuple[str, tuple[str, ...]], Shared] = {}

    def of(self, site: Site) -> Shared:
        """What the clients of this site share."""
        key = (site.prefix, site.endpoints)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = Shared(site, self._workload)
        return shared


@contextmanager
def telling(handle: AgentHandle) -> Iterator[None]:
    """Tell an ownership of a refusal that says that it is over."""
    try:
        yield
    except LOST as error:
        handle.lose(str(error), error)
        raise


def _seen(future: asyncio.Future[AgentHandle]) -> None:
    """Whoever asked may have left: a failure that nobody fetches is no news."""
    if not future.cancelled():
        future.exception()
