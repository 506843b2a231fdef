"""The fenced right to act for one agent, and the steps taken under it.

Two things guard an ownership. The store checks the fencing token inside every
write, so a writer of the past writes nothing. And this process counts, by its own
clock, how long it may believe that it still owns: from when it *sent* the last
renewal that was acknowledged. When that time is nearly over, or a server says that
the ownership has ended, the block that holds it is cancelled. Where the event loop was
blocked meanwhile, whatever runs there next finds it out: entering a step, an effect's
last look before it acts, `check`, and the end of the block.

A step that is being committed is never cancelled for this: the store's answer
decides what became of it, and says so if the writer was of the past.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from raftstate.client import clock, values
from raftstate.client.autosave import Autosave, Costs, inherited
from raftstate.client.calls import deadline_in
from raftstate.client.clock import now
from raftstate.client.doing import LOST
from raftstate.client.effects import AgentEffects, StepEffects
from raftstate.client.engine import Engine
from raftstate.client.recordings import (
    AgentRecordings,
    Recorded,
    StateHashes,
    StepRecordings,
    hashed,
)
from raftstate.client.rollbacks import AgentRollback
from raftstate.client.routing import Peer
from raftstate.client.saving import Draft, Habits, Saver, drafted
from raftstate.client.session import Session
from raftstate.client.streams import event
from raftstate.client.submit import REQUEST_BYTES
from raftstate.errors import Fenced, NotOwner, OwnershipLost, RaftStateError
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipResponse,
    Agent,
    GetAgentRequest,
    GetAgentResponse,
    RenewOwnershipRequest,
    RenewOwnershipResponse,
    TakeoverBundle,
)
from raftstate.v1.checkpoint_service_pb2 import (
    NewCheckpoint,
    NewGroupMember,
    PutCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken, StepHead
from raftstate.v1.effect_service_pb2 import EffectClosing
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.step_service_pb2 import CommitStepRequest, CommitStepResponse

S = TypeVar("S")
# No state was given, which None is one of.
UNSAID: Final = object()

# Asking who owns the agent now may take so long.
_ASK_S: Final = 1.0
# What is being settled with the store may go on for so long after the loss.
_SETTLE_S: Final = 1.2
# What a request holds beside events and a checkpoint's data, at most.
_FRAME_BYTES: Final = 64 << 10


class AgentHandle(AgentEffects, AgentRecordings, AgentRollback):
    """An owned agent. Made by `Store.own`, valid inside its block."""

    def __init__(
        self,
        engine: Engine,
        session: Session,
        granted: AcquireOwnershipResponse,
        valid_from: float | None,
        habits: Habits,
    ) -> None:
        self._engine = engine
        self.session = session
        self.agent_id: str = granted.bundle.agent.agent_id
        self.token: FencingToken = granted.ownership.fence
        self.bundle: TakeoverBundle = granted.bundle
        self.head: StepHead = granted.bundle.agent.head
        self.events_since: list[Event] = list(granted.bundle.events)
        self.ttl: float = granted.ownership.ttl_ms / 1000
        self.interval: float = self.ttl / 3
        # None: nobody knows since when it counts; the first renewal will tell. It is moved
        # by the keep-alive thread, which may also be told that all is over.
        self._valid_until = 0.0 if valid_from is None else valid_from + self.ttl
        self._told = False
        self._margin = min(max(0.1 * self.ttl, 0.02), 0.5)
        self._confirmed = asyncio.Event()
        self._over = asyncio.Event()
        self._loss: tuple[str, dict[str, str], RaftStateError | None] | None = None
        self._in_doubt = False
        self._step_open = False
        self._unsettled = 0
        self._task: asyncio.Task[Any] | None = None
        self.cancelled: bool = False
        self.given_up: bool = False
        self._timers: dict[str, asyncio.TimerHandle | clock.Timer] = {}
        self._asking: asyncio.Task[None] | None = None
        self._habits = habits
        self._saver = Saver(engine, self.agent_id, habits.cut, deltas=habits.deltas)
        self._auto = Autosave(None)
        self._state: Callable[[], Any] | None = None
        self.acting: set[str] = set()
        self.closings: dict[str, EffectClosing] = {}
        self.kept: dict[str, EffectClosing] = {}
        self.over: dict[str, int] = {}
        self.recorded: Recorded = Recorded(self.head.step + 1, self.bundle.recordings)
        self._hashes = StateHashes()

    def settled_in(self) -> None:
        """All that the last owner left is here. Raises InvalidRequest (definite) if the
        policy of checkpoints does not fit the agent."""
        bundle = self.bundle
        if bundle.HasField("checkpoint"):
            self._saver.know(bundle.checkpoint)
        policy = self._habits.auto
        if policy is not None:
            policy = policy.fixed(bundle.agent.rpo_target_ms / 1000)
        self._auto = Autosave(policy, inherited(bundle, self.events_since))

    # --- what users see ---

    @property
    def token_text(self) -> str:
        """The fencing token as fixed-width text, which sorts as tokens do."""
        return values.token_text(self.token)

    @property
    def in_doubt(self) -> bool:
        """Whether a step was sent whose outcome is not known."""
        return self._in_doubt

    @property
    def lost(self) -> bool:
        """Whether the ownership is known to be over, or can no longer be sure. Any thread
        may ask."""
        return self._loss is not None or self._finding() is not None

    def check(self) -> None:
        """Raise OwnershipLost (definite) if the ownership is lost. It asks nobody, and takes
        no time: for what works long without waiting for anything, and would not be told; on
        any thread.

        >>> async with store.own("agents/check") as agent:
        ...     agent.check()
        """
        if not self.lost:
            return
        if self._engine.alive.here:
            self.notice()
        else:
            self._engine.alive.across(self.notice)
        raise self._lost_error(definite=True)

    async def wait_lost(self, timeout: float | None = None) -> bool:
        """Return once the ownership is lost, or its block has ended: True; or False when so
        many seconds have passed before that. For tasks beside the block, which itself is
        cancelled.

        >>> async with store.own("agents/wait-lost") as agent:
        ...     await agent.wait_lost(timeout=0.1)
        False
        """
        try:
            async with asyncio.timeout(timeout):
                await self._over.wait()
        except TimeoutError:
            return self.lost
        return True

    def restore(
        self, default: S | None = None, fold: Callable[[Any, Event], Any] | None = None
    ) -> Any:
        """The state that the agent's last owner left.

        That is the newest checkpoint's value, or a copy of `default` where there is
        none, with `fold(state, event)` applied to each event committed after it.
        Without `fold` those events are left to `events_since`. As everything was read
        when the ownership was granted, this neither waits nor fails.

        >>> async with store.own("agents/restore") as agent:
        ...     async with agent.step() as step:
        ...         step.event("counted", 3)
        >>> async with store.own("agents/restore") as agent:
        ...     agent.restore(0, lambda total, event: total + raftstate.decode(event))
        3
        """
        if self.bundle.HasField("checkpoint"):
            state = values.decode(self.bundle.checkpoint)
        else:
            state = copy.deepcopy(default)
        if fold is not None:
            began = self._auto.clock()
            for event in self.events_since:
                state = fold(state, event)
            self._auto.costs.replayed(len(self.events_since), self._auto.clock() - began)
        return state

    @property
    def costs(self) -> Costs:
        """What committing, checkpoints and replaying have cost so far."""
        return self._auto.costs

    def state_from(self, state: Callable[[], Any]) -> None:
        """Where automatic checkpoints take the agent's state from, and the hash of it that
        a step's last event has: what this gives when a step's block has ended must be the
        state after the step.

        >>> async with store.own("agents/state", auto_checkpoint=raftstate.Every(1)) as agent:
        ...     agent.state_from(lambda: {"total": 3})
        ...     async with agent.step() as step:
        ...         step.event("counted", 3)
        >>> [one.step async for one in store.list_checkpoints("agents/state")]
        [1]
        """
        self._state = state

    def step(self, *, timeout: float | None = None) -> Step:
        """A step: `async with agent.step() as step:`, committed at the block's end.

        Entering raises OwnershipLost (definite) if the ownership is over. See `Step`
        for what leaving raises. `timeout` is for the commit, in seconds.

        >>> async with store.own("agents/step") as agent:
        ...     async with agent.step() as step:
        ...         step.event("counted", 3)
        >>> step.committed, step.head.event_seq
        (True, 1)
        """
        return Step(self, timeout)

    async def checkpoint(
        self,
        state: Any,
        *,
        labels: Mapping[str, str] | None = None,
        tags: Iterable[str] = (),
        pinned: bool = False,
        content_type: str = "",
        timeout: float | None = None,
    ) -> int:
        """Save the agent's state outside of a step; the checkpoint's id. `state` is
        written as JSON, bytes as they are, under `content_type`. `timeout` is for each
        call, in seconds. Raises what `step` and leaving its block do.

        >>> async with store.own("agents/checkpoint") as agent:
        ...     saved = await agent.checkpoint({"total": 3}, tags=["monday"])
        >>> (await store.get_checkpoint("agents/checkpoint", saved)).tags
        ['monday']
        """
        draft = drafted(state, labels, tags, pinned, content_type)
        await self.enter_step()
        try:
            began = self._auto.clock()
            request = PutCheckpointRequest(agent_id=self.agent_id, fence=self.token)

            async def commit(new: NewCheckpoint) -> tuple[int, int]:
                request.checkpoint.CopyFrom(new)
                answer = await self._settled("put_checkpoint", request, timeout)
                return answer.head.checkpoint_id, answer.head.checkpoint_id

            saved = await self._saver.save(draft, self._habits.cut.above, timeout, commit)
            self._auto.saved(began)
            return saved
        finally:
            self.leave_step()

    async def group_member(
        self,
        state: Any,
        *,
        labels: Mapping[str, str] | None = None,
        tags: Iterable[str] = (),
        pinned: bool = False,
        content_type: str = "",
        timeout: float | None = None,
    ) -> NewGroupMember:
        """This agent's part in a group (`Store.put_group`) that saves a new checkpoint of
        it: what is large of it is sent already. Raises what `checkpoint` does.

        >>> async with store.own("agents/member") as agent:
        ...     member = await agent.group_member({"total": 3})
        ...     saved = await store.put_group("agents-group", [member])
        >>> (await store.get_group("agents-group")).members[0].agent_id
        'agents/member'
        """
        self._engine.check()
        draft = drafted(state, labels, tags, pinned, content_type)
        member = NewGroupMember(
            agent_id=self.agent_id, fence=self.token, expected_step=self.head.step
        )
        member.checkpoint.CopyFrom(await self._saver.whole(draft, timeout))
        return member

    # --- the beat: renewals, on the keep-alive thread ---

    def request(self, nonce: int) -> RenewOwnershipRequest:
        return RenewOwnershipRequest(agent_id=self.agent_id, fence=self.token, nonce=nonce)

    def acknowledged(
        self, sent: float, answer: RenewOwnershipResponse
    ) -> Callable[[], None] | None:
        if not answer.held:
            self._told = True
            return self._told_over
        self._valid_until = max(self._valid_until, sent + answer.ttl_ms / 1000)
        return None if self._confirmed.is_set() else self._confirmed.set

    def _told_over(self) -> None:
        """In the store's loop: what the thread was told. A block that has ended meanwhile
        gave the ownership back itself."""
        if self in self._engine.owned:
            self.notice()

    async def confirmed(self, seconds: float) -> bool:
        """Wait until a renewal was acknowledged: whether that happened in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._confirmed.wait()
        except TimeoutError:
            return False
        return self._loss is None and self.time_left > 0

    # --- the clock ---

    @property
    def time_left(self) -> float:
        """Seconds for which this process may believe that it owns the agent. Any thread may
        ask."""
        left = min(self._valid_until, self.session.valid_until) - self._margin - now()
        over = self._loss is not None or self._told or self.session.gone
        return min(left, 0.0) if over else left

    def _finding(self) -> str | None:
        """Why it is over, as far as the thread and the clock can tell."""
        if self._told:
            return "the store says that it has ended"
        if self.session.gone:
            return "its session expired"
        if self.time_left <= 0:
            return "its time ran out without a renewal being acknowledged"
        return None

    def notice(self) -> bool:
        """Whether it is over. What the thread was told counts also where the loop has not
        turned since, and so does the time that has passed."""
        if self._loss is None and (why := self._finding()) is not None:
            self.lose(why)
        return self.ended

    @property
    def ended(self) -> bool:
        """Whether the block was, or is being, told that it is over."""
        return self._loss is not None

    def hold(self, task: asyncio.Task[Any] | None) -> None:
        """Begin to guard the block that `task` runs. None: that is over, and only time is
        kept."""
        self._task = task
        self._watch_clock()

    def release(self) -> None:
        """The block is over: guard it no more."""
        self._task = None
        self._over.set()  # who waits for its loss waits no more: it is given back
        self._engine.renewals.stop(self)
        self._engine.owned.discard(self)
        for timer in self._timers.values():
            timer.cancel()

    def _watch_clock(self) -> None:
        if not self.notice():
            if (timer := self._timers.pop("clock", None)) is not None:
                timer.cancel()
            left = max(self.time_left, 0.0)
            self._timers["clock"] = clock.call_later(left, self._watch_clock)

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    # --- losing it ---

    def lose(self, why: str, error: RaftStateError | None = None) -> None:
        """The ownership is over: cancel the block, unless it is committing."""
        details = dict(error.details) if error is not None else {}
        if error is not None:
            details["reason"] = error.reason
        if self._loss is not None:
            if error is not None and self._loss[2] is None:
                self._loss = (why, self._loss[1] | details, error)  # the store knows best
            return
        self._loss = (why, details, error)
        self._confirmed.set()
        self._over.set()
        self._engine.renewals.stop(self)
        if error is None and not self._engine.closed:
            self._asking = self._engine.spawn(self._ask())
        self._later("cancel", _SETTLE_S if self._unsettled else 0.0, self._cancel)

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """While the block waits for what the store says, which is never long, it is not
        cancelled: the answer belongs into its hands."""
        self._unsettled += 1
        if self._loss is not None:
            self._later("cancel", _SETTLE_S, self._cancel)
        try:
            yield
        finally:
            self._unsettled -= 1
            if self._loss is not None and not self._unsettled:
                self._later("cancel", 0.0, self._cancel)

    def give_up(self, why: str) -> None:
        """It is over because the block itself ended it: the block is not cancelled."""
        self._task = None
        self.given_up = True
        self._engine.renewals.stop(self)
        if self._loss is None:
            self._loss = (why, {}, None)
        self._over.set()

    def _cancel(self) -> None:
        if self._task is not None and not self.cancelled:
            self.cancelled = True
            self._task.cancel(f"ownership of {self.agent_id} was lost")

    async def _ask(self) -> None:
        """Find out who owns the agent now, for the error to say."""

        async def attempt(peer: Peer, patience: float) -> GetAgentResponse:
            request = GetAgentRequest(agent_id=self.agent_id)
            answer: GetAgentResponse = await peer.agents.GetAgent(request, timeout=patience)
            return answer

        details: dict[str, str] = {}
        try:
            answer = await self._engine.calls.call(
                attempt, deadline=deadline_in(_ASK_S), changes=False
            )
        except RaftStateError as error:
            details["unknown_owner"] = str(error)
        else:
            details = self._owner_now(answer.agent)
        assert self._loss is not None
        why, known, cause = self._loss
        self._loss = (why, details | known, cause)

    def _owner_now(self, agent: Agent) -> dict[str, str]:
        details = {"current_fence": values.token_text(agent.newest_fence)}
        if agent.newest_fence != self.token:
            details["reason"] = Fenced.reason
        elif not agent.HasField("owner"):
            details["reason"] = NotOwner.reason
        if agent.HasField("owner"):
            details["current_holder"] = agent.owner.holder
        return details

    async def loss(self, *, definite: bool | None = None) -> OwnershipLost:
        """The error that says how the ownership was lost, and to whom."""
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_ASK_S)
        return self._lost_error(definite=definite)

    def _lost_error(self, *, definite: bool | None) -> OwnershipLost:
        why, details, cause = self._loss or (self._finding() or "", {}, None)
        message = (
            f"ownership of {self.agent_id} under {self.token_text} is over: {cause or why}"
        )
        if "current_fence" in details:
            holder = details.get("current_holder") or "nobody"
            message += f"; now owned by {holder}, newest token {details['current_fence']}"
        known = not self._in_doubt if definite is None else definite
        lost = OwnershipLost(message, definite=known, details=dict(details))
        lost.__cause__ = cause
        return lost

    # --- steps ---

    async def enter_step(self) -> None:
        """Check that a step may begin. Raises OwnershipLost (definite)."""
        self._engine.check()
        if self.notice():
            with self.settling():
                raise await self.loss(definite=True)
        if self._auto.on and self._state is None:
            raise RuntimeError("automatic checkpoints need `agent.state_from(...)`")
        if self._step_open:
            raise RuntimeError(f"a step of {self.agent_id} is already open")
        self._step_open = True

    def leave_step(self) -> None:
        """The step is over, however it ended."""
        self._step_open = False
        self.kept.clear()
        self.recorded.step_over()

    async def commit(
        self, request: CommitStepRequest, draft: Draft | None, timeout: float | None
    ) -> CommitStepResponse:
        """Commit a step under this ownership, with a checkpoint if there is one to save,
        or if one is due."""
        began = self._auto.clock()
        request.agent_id = self.agent_id
        request.fence.CopyFrom(self.token)
        self._hashes.add(request, self._state)
        events, size = len(request.events), sum(len(one.data) for one in request.events)
        if draft is None and self._auto.due(events, size):
            assert self._state is not None
            draft = drafted(self._state())
        if draft is None:
            answer = await self._commit(request, timeout)
            self._auto.committed(events, size, began)
            return answer

        async def commit(new: NewCheckpoint) -> tuple[int, CommitStepResponse]:
            request.checkpoint.CopyFrom(new)
            answer = await self._commit(request, timeout)
            return answer.head.checkpoint_id, answer

        room = REQUEST_BYTES - request.ByteSize() - _FRAME_BYTES
        answer = await self._saver.save(draft, room, timeout, commit)
        self._auto.saved(began)
        return answer

    async def _commit(
        self, request: CommitStepRequest, timeout: float | None
    ) -> CommitStepResponse:
        answer: CommitStepResponse = await self._settled("commit_step", request, timeout)
        return answer

    async def _settled(
        self,
        kind: str,
        request: CommitStepRequest | PutCheckpointRequest,
        timeout: float | None,
    ) -> Any:
        """Write what moves the head; once it is sent, the store's word counts."""
        request.expected_step = self.head.step
        try:
            answer = await self.write(kind, request, timeout)
        except RaftStateError as error:
            self._in_doubt |= not error.definite
            raise
        except asyncio.CancelledError:
            self._in_doubt = True
            raise
        if kind == "commit_step":  # none that was sent before can be committed any more
            self._in_doubt = False
            self.over.clear()
        self.head = answer.head
        return answer

    async def write(self, kind: str, request: Any, timeout: float | None = None) -> Any:
        """Carry out a mutation under this ownership, which a refusal may end."""
        deadline = self._engine.deadline(timeout)
        with self.settling():
            try:
                return await self._engine.mutate_in(self.session, kind, request, deadline)
            except LOST as error:
                self.lose(str(error), error)
                raise


class Step(StepRecordings, StepEffects):
    """What one step writes, all of it or nothing, when its block ends.

    An exception inside the block commits nothing. Leaving the block raises

    * Fenced, NotOwner, AgentState, SessionExpired (definite): the agent is not owned
      any more; the `own` block ends as well.
    * Conflict (definite): another step was committed than this handle knows of.
    * InvalidRequest (definite): it breaks a limit.
    * NoQuorum, NotLeader, Overloaded (definite): nothing was written in time.
    * OutcomeUnknown (indefinite): it may have been committed, or may yet be. The next
      step will be refused with Conflict if it was.
    """

    _handle: AgentHandle

    def __init__(self, handle: AgentHandle, timeout: float | None) -> None:
        self._handle = handle
        self._timeout = timeout
        self._request = CommitStepRequest()
        self._open = False
        self._counted: Counter[str] = Counter()
        self._durable: set[str] = set()
        self._drawn: Counter[str] = Counter()
        self._draft: Draft | None = None
        self.committed: bool = False
        self.head: StepHead | None = None
        self.first_position: int = 0
        self.revision: int = 0

    def event(
        self,
        kind: str,
        data: Any = None,
        *,
        event_id: str = "",
        causation_id: str = "",
        correlation_id: str = "",
        state: Any = UNSAID,
    ) -> None:
        """Add an event. `data` is written as JSON, bytes as they are. An `event_id` that
        is in the stream already refuses the step (EventIdReused). `state` is the agent's
        after the event, of which the hash is kept, for replays to compare.

        Raises TypeError or ValueError for what JSON cannot hold.

        >>> async with store.own("steps/event") as agent:
        ...     async with agent.step() as step:
        ...         step.event("charged", {"amount": 3}, event_id="order-7")
        >>> [raftstate.decode(one) async for one in store.read_events("steps/event")]
        [{'amount': 3}]
        """
        new = event(
            kind,
            data,
            event_id=event_id,
            causation_id=causation_id,
            correlation_id=correlation_id,
        )
        if state is not UNSAID:
            new.state_hash, _ = hashed(state)
        self._request.events.append(new)

    def checkpoint(
        self,
        state: Any,
        *,
        labels: Mapping[str, str] | None = None,
        tags: Iterable[str] = (),
        pinned: bool = False,
        content_type: str = "",
    ) -> None:
        """Save the agent's state, as it is now and after this step's events.

        It may be of any size: what is large is sent in chunks before the step commits.
        `state` is written as JSON (tuples come back as lists, and keys as texts), bytes as
        they are, under `content_type`. `tags` move here; `pinned` keeps it for good.

        Raises ValueError if the step has a checkpoint already, and what `event` does.

        >>> async with store.own("steps/checkpoint") as agent:
        ...     async with agent.step() as step:
        ...         step.checkpoint({"done": 1})
        >>> async with store.own("steps/checkpoint") as agent:
        ...     agent.restore()
        {'done': 1}
        """
        if self._draft is not None:
            raise ValueError("a step has at most one checkpoint")
        self._draft = drafted(state, labels, tags, pinned, content_type)

    async def __aenter__(self) -> Self:
        await self._handle.enter_step()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        try:
            if error is None:
                answer = await self._handle.commit(self._request, self._draft, self._timeout)
                self.head = answer.head
                self.first_position = answer.first_position
                self.revision = answer.header.revision
                self.committed = True
        finally:
            try:
                if not self.committed:
                    await self._note_effects()
            finally:
                self._handle.leave_step()
