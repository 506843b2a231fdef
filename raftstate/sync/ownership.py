# Generated from raftstate/client/ownership.py by scripts/generate. Not to be edited.

"""The fenced right to act for one agent, and the steps taken under it.

Two things guard an ownership. The store checks the fencing token inside every write, so a
writer of the past writes nothing. And this process counts, by its own clock, how long it
may believe that it still owns: from when it *sent* the last renewal that was acknowledged.
When that time is nearly over, or a server says that the ownership has ended, the calls
under way in the block that holds it end, and those that follow raise OwnershipLost; so does
`check`, and the end of the block.

A step that is being committed is never broken off for this: the store's answer
decides what became of it, and says so if the writer was of the past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, cast

from raftstate.client import ownership as face
from raftstate.client.autosave import Costs
from raftstate.client.ownership import UNSAID, S
from raftstate.sync.effects import AgentEffects, StepEffects
from raftstate.sync.recordings import AgentRecordings, StepRecordings
from raftstate.sync.rollbacks import AgentRollback
from raftstate.sync.running import listed, plain
from raftstate.v1.agent_service_pb2 import TakeoverBundle
from raftstate.v1.checkpoint_service_pb2 import NewGroupMember
from raftstate.v1.common_pb2 import FencingToken, StepHead
from raftstate.v1.event_service_pb2 import Event


class AgentHandle(AgentEffects, AgentRecordings, AgentRollback, of=face.AgentHandle):
    """An owned agent. Made by `Store.own`, valid inside its block."""

    @property
    def _it(self) -> face.AgentHandle:
        return cast(face.AgentHandle, self._object)

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self._it.agent_id

    @property
    def token(self) -> FencingToken:
        """The fencing token of this ownership."""
        return self._it.token

    @property
    def bundle(self) -> TakeoverBundle:
        """What the store gave when the agent was taken over."""
        return self._it.bundle

    @property
    def head(self) -> StepHead:
        """The agent's newest step, event and checkpoint, as far as this handle knows."""
        return self._it.head

    @property
    def events_since(self) -> list[Event]:
        """The events after the newest checkpoint, when the agent was taken over."""
        return self._it.events_since

    @property
    def ttl(self) -> float:
        """How long the ownership outlives the last renewal, in seconds."""
        return self._it.ttl

    @property
    def token_text(self) -> str:
        """The fencing token as fixed-width text, which sorts as tokens do."""
        return self._it.token_text

    @property
    def in_doubt(self) -> bool:
        """Whether a step was sent whose outcome is not known."""
        return self._it.in_doubt

    @property
    def lost(self) -> bool:
        """Whether the ownership is known to be over, or can no longer be sure. Any thread
        may ask."""
        return self._it.lost

    def check(self) -> None:
        """Raise OwnershipLost (definite) if the ownership is lost. It asks nobody, and
        takes no time: for what works long without waiting for anything, and would not be
        told; on any thread.

        >>> with store.own("agents/check") as agent:
        ...     agent.check()
        """
        if self._it.lost:
            self._running.call(self._it.check)

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Return once the ownership is lost, or its block has ended: True; or False when so
        many seconds have passed before that. For threads beside the block, in which every
        call raises OwnershipLost then.

        >>> with store.own("agents/wait-lost") as agent:
        ...     agent.wait_lost(timeout=0.1)
        False
        """
        return self._running.run(self._it.wait_lost(timeout), bound=False)

    def restore(
        self, default: S | None = None, fold: Callable[[Any, Event], Any] | None = None
    ) -> Any:
        """The state that the agent's last owner left.

        That is the newest checkpoint's value, or a copy of `default` where there is
        none, with `fold(state, event)` applied to each event committed after it.
        Without `fold` those events are left to `events_since`. As everything was read
        when the ownership was granted, this neither waits nor fails.

        >>> with store.own("agents/restore") as agent:
        ...     with agent.step() as step:
        ...         step.event("counted", 3)
        >>> with store.own("agents/restore") as agent:
        ...     agent.restore(0, lambda total, event: total + raftstate.decode(event))
        3
        """
        return self._it.restore(default, fold if fold is None else plain(fold))

    @property
    def costs(self) -> Costs:
        """What committing, checkpoints and replaying have cost so far."""
        return self._it.costs

    def state_from(self, state: Callable[[], Any]) -> None:
        """Where automatic checkpoints take the agent's state from, and the hash of it that
        a step's last event has: what this gives when a step's block has ended must be the
        state after the step.

        >>> with store.own("agents/state", auto_checkpoint=raftstate.Every(1)) as agent:
        ...     agent.state_from(lambda: {"total": 3})
        ...     with agent.step() as step:
        ...         step.event("counted", 3)
        >>> [one.step for one in store.list_checkpoints("agents/state")]
        [1]
        """
        self._states.take(state)
        self._it.state_from(self._states.last)

    def step(self, *, timeout: float | None = None) -> Step:
        """A step: `with agent.step() as step:`, committed at the block's end.

        Entering raises OwnershipLost (definite) if the ownership is over. See `Step`
        for what leaving raises. `timeout` is for the commit, in seconds.

        >>> with store.own("agents/step") as agent:
        ...     with agent.step() as step:
        ...         step.event("counted", 3)
        >>> step.committed, step.head.event_seq
        (True, 1)
        """
        made = Step(self._it.step(timeout=timeout), self._running)
        made._states = self._states
        return made

    def checkpoint(
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

        >>> with store.own("agents/checkpoint") as agent:
        ...     saved = agent.checkpoint({"total": 3}, tags=["monday"])
        >>> (store.get_checkpoint("agents/checkpoint", saved)).tags
        ['monday']
        """
        return self._do(
            self._it.checkpoint(
                state,
                labels=labels,
                tags=listed(tags),
                pinned=pinned,
                content_type=content_type,
                timeout=timeout,
            )
        )

    def group_member(
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

        >>> with store.own("agents/member") as agent:
        ...     member = agent.group_member({"total": 3})
        ...     saved = store.put_group("agents-group", [member])
        >>> (store.get_group("agents-group")).members[0].agent_id
        'agents/member'
        """
        return self._do(
            self._it.group_member(
                state,
                labels=labels,
                tags=listed(tags),
                pinned=pinned,
                content_type=content_type,
                timeout=timeout,
            )
        )

    @property
    def time_left(self) -> float:
        """Seconds for which this process may believe that it owns the agent. Any thread may
        ask."""
        return self._it.time_left


class Step(StepRecordings, StepEffects, of=face.Step):
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

    @property
    def _it(self) -> face.Step:
        return cast(face.Step, self._object)

    @property
    def committed(self) -> bool:
        """Whether it is known to be committed."""
        return self._it.committed

    @property
    def head(self) -> StepHead | None:
        """The agent's head after it; None before it is committed."""
        return self._it.head

    @property
    def first_position(self) -> int:
        """Where its first event is in the order of all streams."""
        return self._it.first_position

    @property
    def revision(self) -> int:
        """The revision that it was committed at."""
        return self._it.revision

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

        >>> with store.own("steps/event") as agent:
        ...     with agent.step() as step:
        ...         step.event("charged", {"amount": 3}, event_id="order-7")
        >>> [raftstate.decode(one) for one in store.read_events("steps/event")]
        [{'amount': 3}]
        """
        with self._alone():
            return self._it.event(
                kind,
                data,
                event_id=event_id,
                causation_id=causation_id,
                correlation_id=correlation_id,
                state=state,
            )

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

        >>> with store.own("steps/checkpoint") as agent:
        ...     with agent.step() as step:
        ...         step.checkpoint({"done": 1})
        >>> with store.own("steps/checkpoint") as agent:
        ...     agent.restore()
        {'done': 1}
        """
        with self._alone():
            return self._it.checkpoint(
                state,
                labels=labels,
                tags=listed(tags),
                pinned=pinned,
                content_type=content_type,
            )

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._states.ask()
            except BaseException as failed:
                self._running.leave(self._it.__aexit__, failed, failed.__traceback__)
                raise
        with self._alone():
            self._running.leave(self._it.__aexit__, error, trace)
