"""How an ownership is acquired, and how its block ends."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from raftstate.client import reading
from raftstate.client.calls import deadline_in, remaining, too_late
from raftstate.client.checkpoints import assemble
from raftstate.client.chunks import Part, download
from raftstate.client.clock import now
from raftstate.client.doing import LOST
from raftstate.client.engine import Engine, session_gone
from raftstate.client.errors import unanswered
from raftstate.client.options import CLOSE_S, milliseconds
from raftstate.client.ownership import AgentHandle
from raftstate.client.reading import Way
from raftstate.client.routing import Peer
from raftstate.client.saving import Habits
from raftstate.client.session import Session
from raftstate.client.turns import Turn
from raftstate.errors import (
    EffectTooLate,
    NoQuorum,
    OutcomeForgotten,
    Owned,
    OwnershipLost,
    RaftStateError,
)
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_IF_FREE,
    ACQUIRE_MODE_WAIT,
    AcquireMode,
    AcquireOwnershipRequest,
    AcquireOwnershipResponse,
    ReleaseOwnershipRequest,
)
from raftstate.v1.checkpoint_service_pb2 import GetCheckpointRequest
from raftstate.v1.common_pb2 import CONSISTENCY_LINEARIZABLE, RequestId
from raftstate.v1.effect_service_pb2 import (
    EFFECT_STATE_PREPARED,
    EFFECT_STATE_UNKNOWN,
    ListEffectsRequest,
)
from raftstate.v1.event_service_pb2 import ReadEventsRequest


class _AskAgain(Exception):
    """Ask under another request id: this one is forgotten, its session has ended, or a
    block of this store that forces goes first."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What to acquire, and how. `timeout` None is for ever."""

    agent_id: str
    mode: AcquireMode
    ttl: float
    holder: str
    create: bool
    timeout: float | None
    habits: Habits = field(default_factory=Habits)


class Own:
    """`async with store.own(...) as agent:`. See `Store.own`."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        self._engine = engine
        self._claim = claim
        self._handle: AgentHandle | None = None
        self._turn: Turn | None = None
        self._cancelling = 0

    async def __aenter__(self) -> AgentHandle:
        self._engine.check()
        self._engine.check_loop()
        task = asyncio.current_task()
        assert task is not None
        turn = self._engine.turns.enter(self._claim.agent_id, self._claim.mode)
        try:
            handle = await self._acquire(turn, deadline_in(self._claim.timeout))
            try:
                await self._fetch_rest(handle)
                if handle.notice():
                    raise await handle.loss(definite=True)
            except BaseException:
                await self._release(handle)
                raise
        except BaseException:
            turn.leave()
            raise
        self._handle, self._turn = handle, turn
        self._cancelling = task.cancelling()
        handle.hold(task)
        return handle

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        handle, self._handle = self._handle, None
        turn, self._turn = self._turn, None
        assert handle is not None
        assert turn is not None
        try:
            if not handle.notice():
                await self._leave(handle)
                return
            handle.release()
        finally:
            turn.leave()
        task = asyncio.current_task()
        assert task is not None
        ours = handle.cancelled and task.uncancel() <= self._cancelling
        if isinstance(error, OwnershipLost) and not handle.in_doubt:
            return  # it says all that there is to say
        if error is None:  # also if it swallowed that it was cancelled, or never waited
            told = not handle.given_up
        elif isinstance(error, asyncio.CancelledError):
            told = ours
        else:
            told = _is_loss(error)
        if told:
            lost = await handle.loss()
            raise lost from lost.__cause__ or error

    # --- acquiring ---

    async def _acquire(self, turn: Turn, deadline: float) -> AgentHandle:
        waits = self._claim.mode == ACQUIRE_MODE_WAIT
        refusals = 0
        while True:
            session: Session | None = None
            try:
                async with turn.asking(deadline):
                    self._engine.check()
                    session = await self._engine.sessions.get(deadline)
                    handle = await self._ask(turn, session, deadline)
            except _AskAgain:
                continue
            except RaftStateError as error:
                pause = 0.0
                # An ownership ends with its session, so that nothing is in doubt then.
                if session is not None and session_gone(error):
                    self._engine.sessions.expired(session)
                elif waits and isinstance(error, Owned | NoQuorum):
                    # Owned: proposed when the agent was about to be free, which then it was
                    # not. That answer stays with its id: stand in line under a new one.
                    # NoQuorum: that no session can be opened may have been said at once.
                    refusals += 1
                    pause = self._engine.router.backoff(refusals)
                else:
                    raise
                if too_late(deadline, pause):
                    raise
                await asyncio.sleep(pause)
                continue
            if await self._confirm(handle, deadline):
                return handle
            if not waits or too_late(deadline, 0.0):
                raise await handle.loss()

    async def _ask(self, turn: Turn, session: Session, deadline: float) -> AgentHandle:
        """One request, under one id, until it is settled."""
        request_id = await session.begin(deadline)
        claim = self._claim
        waits = claim.mode == ACQUIRE_MODE_WAIT
        first_sent: list[float] = []

        async def attempt(peer: Peer, patience: float) -> AcquireOwnershipResponse:
            if waits and (turn.behind.is_set() or not session.holds(request_id)):
                raise _AskAgain
            request = AcquireOwnershipRequest(
                request_id=request_id,
                agent_id=claim.agent_id,
                mode=claim.mode,
                ttl_ms=milliseconds(claim.ttl),
                holder=claim.holder,
                create=claim.create,
            )
            request.request_id.lowest_unfinished = session.lowest_unfinished
            first_sent.append(now())
            call = peer.agents.AcquireOwnership(
                request, timeout=None if patience == float("inf") else patience
            )
            if waits:
                return await self._wait(call, peer.address, turn, session, request_id)
            answer: AcquireOwnershipResponse = await call
            return answer

        try:
            granted = await self._engine.calls.call(
                attempt,
                deadline=deadline,
                changes=True,
                patience=float("inf") if waits else None,
            )
        except OutcomeForgotten:
            if session.holds(request_id):
                raise
            raise _AskAgain from None
        except asyncio.CancelledError:
            if first_sent:
                await self._take_back(session)
            raise
        finally:
            session.finish(request_id)
        # The store counts from the grant. It lies after the first sending, which is
        # near enough unless the request had to wait.
        counts_from = None if waits or len(first_sent) > 1 else first_sent[0]
        handle = AgentHandle(self._engine, session, granted, counts_from, claim.habits)
        self._engine.owned.add(handle)
        if self._engine.closed:  # and its session with it, so that this is over already
            handle.lose("the store was closed")
        else:
            self._engine.renewals.start(handle)
        return handle

    async def _wait(
        self, call: Any, address: str, turn: Turn, session: Session, request_id: RequestId
    ) -> AcquireOwnershipResponse:
        """The answer of a call that may take for ever, unless something says that it
        had better be asked elsewhere or again.

        When its id has become so old that it would soon hold up all others of this client,
        it is given back. Should the servers have forgotten it by the time the agent is free,
        they say so: this session's grant, had there been one, is granted to it again."""
        answer = asyncio.create_task(_answer(call))
        moved = asyncio.create_task(self._engine.router.moved_from(address))
        aged = asyncio.create_task(session.aged(request_id))
        over = asyncio.create_task(session.over.wait())
        behind = asyncio.create_task(turn.behind.wait())
        tasks: set[asyncio.Task[Any]] = {answer, moved, aged, over, behind}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if aged.done():
                session.finish(request_id)
                await asyncio.wait(tasks - {aged}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if over.done() or behind.done():
                raise _AskAgain
            elsewhere = unanswered(address, "another member leads now")
            elsewhere.hint = self._engine.router.leader
            raise elsewhere
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _confirm(self, handle: AgentHandle, deadline: float) -> bool:
        """Whether the ownership surely stands: renewed once, if its age is unknown."""
        if handle.time_left > 0:
            return True
        try:
            # What was granted right before the deadline has a moment all the same.
            seconds = max(remaining(deadline), CLOSE_S)
            if await handle.confirmed(min(seconds, handle.ttl)):
                return True
        except BaseException:
            await self._release(handle)
            raise
        await self._release(handle)
        handle.lose("no renewal was acknowledged in time")
        return False

    async def _fetch_rest(self, handle: AgentHandle) -> None:
        """What the bundle had no room for: a checkpoint's data, the events after it.
        Raises Corrupt (definite) if the data is not what was saved."""
        checkpoint = handle.bundle.checkpoint
        if handle.bundle.more_data or checkpoint.chunk_count > 1:
            request = GetCheckpointRequest(
                agent_id=handle.agent_id,
                checkpoint_id=checkpoint.checkpoint_id,
                with_chain=True,
            )
            parts = await download(self._engine, request, Way(CONSISTENCY_LINEARIZABLE))
            checkpoint.CopyFrom(await assemble(parts))
        elif handle.bundle.HasField("checkpoint"):
            part = Part(checkpoint)
            part.add(checkpoint.data)
            part.data()
        if handle.bundle.more_events:
            await self._fetch_events(handle)
        if handle.bundle.more_effects:
            await self._fetch_effects(handle)
        if handle.bundle.more_recordings:
            await handle.fetch_recordings()
        handle.settled_in()

    async def _fetch_events(self, handle: AgentHandle) -> None:
        """The events after those of the bundle, but for what rollbacks have undone."""
        seen = handle.bundle.checkpoint.event_seq
        if handle.events_since:
            seen = handle.events_since[-1].seq
        if seen >= handle.head.event_seq:
            return

        def begin(peer: Peer) -> Any:
            return peer.events.ReadEvents(
                ReadEventsRequest(
                    stream_id=handle.agent_id,
                    from_seq=seen + 1,
                    max_events=handle.head.event_seq - seen,
                )
            )

        deadline = deadline_in(self._engine.options.timeout)
        async for answer in self._engine.calls.stream(begin, deadline=deadline):
            handle.events_since.extend(e for e in answer.events if not e.undone_by)
            # Also past those: a broken stream goes on behind what was read of it.
            seen = answer.events[-1].seq if answer.events else seen

    async def _fetch_effects(self, handle: AgentHandle) -> None:
        request = ListEffectsRequest(
            agent_id=handle.agent_id, states=[EFFECT_STATE_PREPARED, EFFECT_STATE_UNKNOWN]
        )
        del handle.bundle.open_effects[:]
        async for page in reading.pages(
            self._engine, lambda peer: peer.effects.ListEffects, request, {}
        ):
            handle.bundle.open_effects.extend(page.effects)

    # --- letting go ---

    async def _leave(self, handle: AgentHandle) -> None:
        """The block has ended: a successor is told what came of its effects, and owns."""
        handle.hold(None)  # there is nothing to be cancelled any more
        try:
            if not handle.in_doubt:
                await handle.note_closings()
        finally:
            await self._release(handle)

    async def _take_back(self, session: Session) -> None:
        """Nobody waits for an answer any more, and the agent may have been granted: then it
        is granted again to the same session, and given back. Best effort, within a bounded
        time, in this block's turn."""
        deadline = deadline_in(CLOSE_S)
        request = AcquireOwnershipRequest(
            agent_id=self._claim.agent_id,
            mode=ACQUIRE_MODE_IF_FREE,
            ttl_ms=milliseconds(self._claim.ttl),
            holder=self._claim.holder,
        )

        async def attempt(peer: Peer, patience: float) -> AcquireOwnershipResponse:
            request.request_id.lowest_unfinished = session.lowest_unfinished
            call = peer.agents.AcquireOwnership(request, timeout=patience)
            granted: AcquireOwnershipResponse = await call
            return granted

        with contextlib.suppress(RaftStateError):
            request_id = await session.begin(deadline)
            request.request_id.CopyFrom(request_id)
            try:
                granted = await self._engine.calls.call(
                    attempt, deadline=deadline, changes=True
                )
            finally:
                session.finish(request_id)
            release = ReleaseOwnershipRequest(
                agent_id=request.agent_id, fence=granted.ownership.fence
            )
            await self._engine.mutate_in(session, "release_ownership", release, deadline)

    async def _release(self, handle: AgentHandle) -> None:
        """Give the ownership back: best effort, within a bounded time. What is not
        given back expires."""
        handle.release()
        if handle.ended or self._engine.closed:
            return
        request = ReleaseOwnershipRequest(agent_id=handle.agent_id, fence=handle.token)
        with contextlib.suppress(RaftStateError):
            await self._engine.mutate_in(
                handle.session, "release_ownership", request, deadline_in(CLOSE_S)
            )


def _is_loss(error: BaseException) -> bool:
    """Whether it says that the ownership is over, and nothing else; a group may say so
    several times, with tasks in it that were cancelled for this."""
    kinds = (*LOST, OwnershipLost, EffectTooLate)
    if isinstance(error, BaseExceptionGroup):
        return error.split((*kinds, asyncio.CancelledError))[1] is None
    return isinstance(error, kinds)


async def _answer(call: Any) -> AcquireOwnershipResponse:
    answer: AcquireOwnershipResponse = await call
    return answer
