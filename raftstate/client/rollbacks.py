"""Rollbacks: agents are taken back to a state that can be trusted.

    plan = await store.plan_rollback("billing/nightly", raftstate.known_good())
    print(len(plan.effects), "effects would be undone")
    done = await store.rollback("billing/nightly", raftstate.known_good(), plan=plan)

From the moment of its start the former owner is fenced, and the agent's newest checkpoint
is the target's copy. From there anybody goes on with it: this client, or any worker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, TypedDict, Unpack

from raftstate.client import reading
from raftstate.client.calls import deadline_in
from raftstate.client.compensating import Carrier
from raftstate.client.engine import Engine
from raftstate.client.incidents import word
from raftstate.client.options import positive
from raftstate.client.reading import How
from raftstate.client.recovering import Recovery
from raftstate.v1.effect_service_pb2 import CompensationItem
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    BarrierPolicy,
    DecideCompensationRequest,
    DecideCompensationResponse,
    Decision,
    FinishRollbackRequest,
    GetRollbackRequest,
    ListRollbacksRequest,
    PlanRollbackRequest,
    PlanRollbackResponse,
    Rollback,
    RollbackState,
    StartRollbackRequest,
    StartRollbackResponse,
    Target,
)

Agents = str | Iterable[str] | Mapping[str, Target]


def to_checkpoint(checkpoint_id: int) -> Target:
    """Back to one checkpoint.

    >>> async with store.own("targets/checkpoint") as agent:
    ...     good = await agent.checkpoint({"total": 1})
    >>> done = await store.rollback("targets/checkpoint", raftstate.to_checkpoint(good))
    >>> done.agents[0].agent_id
    'targets/checkpoint'
    """
    return Target(checkpoint_id=checkpoint_id)


def known_good() -> Target:
    """Back to the newest checkpoint that is known good.

    >>> await store.put_validator("targets-known-good", agent_prefix="targets/known-good")
    >>> async with store.own("targets/known-good") as agent:
    ...     good = await agent.checkpoint({"total": 1})
    >>> saved = await store.get_checkpoint("targets/known-good", good)
    >>> await store.mark_valid(saved, "targets-known-good")
    True
    >>> plan = await store.plan_rollback("targets/known-good", raftstate.known_good())
    >>> plan.agents[0].checkpoint_id == good
    True
    """
    return Target(known_good=True)


def before_event(seq: int) -> Target:
    """Back to before an event: those before it stay.

    >>> async with store.own("targets/before") as agent:
    ...     _ = await agent.checkpoint({"total": 0})
    ...     async with agent.step() as step:
    ...         step.event("counted")
    ...     async with agent.step() as step:
    ...         step.event("miscounted")
    >>> plan = await store.plan_rollback("targets/before", raftstate.before_event(2))
    >>> plan.events_undone
    1
    """
    return Target(before_event_seq=seq)


def at_revision(revision: int) -> Target:
    """Back to a revision: events and effects up to it stay.

    >>> async with store.own("targets/revision") as agent:
    ...     _ = await agent.checkpoint({"total": 0})
    ...     async with agent.step() as step:
    ...         step.event("counted")
    ...     async with agent.step() as later:
    ...         later.event("miscounted")
    >>> target = raftstate.at_revision(step.revision)
    >>> (await store.plan_rollback("targets/revision", target)).events_undone
    1
    """
    return Target(revision=revision)


def at_log_time(ms: int) -> Target:
    """Back to a log time, in milliseconds. Only for a plan, whose `targets` say which
    revision that was.

    >>> async with store.own("targets/time") as agent:
    ...     _ = await agent.checkpoint({"total": 0})
    ...     async with agent.step() as step:
    ...         step.event("counted")
    >>> [event] = [one async for one in store.read_events("targets/time")]
    >>> target = raftstate.at_log_time(event.log_time_ms)
    >>> (await store.plan_rollback("targets/time", target)).events_undone
    0
    """
    return Target(log_time_ms=ms)


class Start(TypedDict, total=False):
    """How a rollback is started; see `Rollbacks.start_rollback`."""

    group: str
    on_barrier: str
    validators: Iterable[str]
    reason: str
    started_by: str
    incident_id: str
    plan: PlanRollbackResponse | None
    expected_digest: bytes


class Rollbacks:
    """The part of a `Store` that is about rollbacks."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    # --- planning and starting ---

    async def plan_rollback(
        self,
        agents: Agents = (),
        to: Target | None = None,
        *,
        group: str = "",
        **how: Unpack[How],
    ) -> PlanRollbackResponse:
        """What `start_rollback` would do now. It changes nothing.

        `agents` is one id, or several, which go back `to` one kind of target; or each id
        with a target of its own. Or a `group`: then its members and their checkpoints are
        meant. Raises AgentNotFound, CheckpointNotFound, GroupNotFound, AgentState
        (definite), and what every read does; ValueError for no target, or two.

        >>> async with store.own("rollbacks/plan") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        ...     async with agent.step() as step:
        ...         step.event("miscounted")
        >>> plan = await store.plan_rollback("rollbacks/plan", raftstate.to_checkpoint(good))
        >>> plan.events_undone, len(plan.effects)
        (1, 0)
        """
        request = PlanRollbackRequest(agents=targets(agents, to, group), group_id=group)
        answer: PlanRollbackResponse = await reading.read_as(
            self._engine, lambda peer: peer.rollbacks.PlanRollback, request, how
        )
        return answer

    async def start_rollback(
        self,
        agents: Agents = (),
        to: Target | None = None,
        *,
        timeout: float | None = None,
        **start: Unpack[Start],
    ) -> StartRollbackResponse:
        """Begin a rollback, and leave the rest of it to workers. Which agents, and where
        to, is said as to `plan_rollback`; or by the `plan` that it gave, which must then
        still be what would be done.

        `on_barrier` is "refuse" (the default), "ask" or "proceed": what to do about effects
        that cannot be undone. `validators` have to say yes before it ends, beside those
        that always have to. `reason` and `started_by` are for people; `incident_id` is the
        incident that it belongs to, which otherwise it opens. `expected_digest` is that of
        a plan, where only that is known.

        Raises AgentNotFound, CheckpointNotFound, GroupNotFound, ValidatorNotFound,
        IncidentNotFound, AgentState, RollbackBarrier, TooMany (definite); Conflict
        (definite): the plan is not what would be done; and what every mutation raises.

        >>> async with store.own("rollbacks/start") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> begun = await store.start_rollback(
        ...     "rollbacks/start", raftstate.to_checkpoint(good), reason="miscounted"
        ... )
        >>> (await store.get_rollback(begun.rollback_id)).reason
        'miscounted'
        """
        request = _started(agents, to, start, self._engine.options.client_name)
        answer: StartRollbackResponse = await self._engine.mutate(
            "start_rollback", request, timeout
        )
        return answer

    async def rollback(
        self,
        agents: Agents = (),
        to: Target | None = None,
        *,
        timeout: float | None = None,
        **start: Unpack[Start],
    ) -> Rollback:
        """Begin a rollback and see it through: undo, validate, finish. See
        `start_rollback` for what it takes and raises, and `resume_rollback` for what comes
        after the start; `timeout`, in seconds, is for both. None: as long as it takes.

        >>> async with store.own("rollbacks/rollback") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        ...     _ = await agent.checkpoint({"total": -1})
        >>> done = await store.rollback("rollbacks/rollback", raftstate.to_checkpoint(good))
        >>> async with store.own("rollbacks/rollback") as agent:
        ...     agent.restore()
        {'total': 1}
        """
        limit = None if timeout is None else positive("timeout", timeout)
        deadline = deadline_in(limit)
        begun = await self.start_rollback(agents, to, timeout=limit, **start)
        return await self._recovery().see_through(begun.rollback_id, deadline)

    async def resume_rollback(
        self, rollback_id: str, *, timeout: float | None = None
    ) -> Rollback:
        """See a rollback through that was begun, here or anywhere. Gives it as it is when
        nothing more can be done here: FINISHED, or ABORTED; BLOCKED, where a person has to
        decide; COMPENSATING or VALIDATING, where what it takes is not registered here, or
        VALIDATING, where a validator said no.

        Raises RollbackNotFound (definite); Owned (definite) if somebody else still carries
        it out when `timeout` seconds have passed; what a validator raises; and what every
        mutation raises. The store knows how far it has come.

        >>> async with store.own("rollbacks/resume") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = await store.start_rollback("rollbacks/resume", target)
        >>> done = await store.resume_rollback(begun.rollback_id)
        >>> done.ended_revision > done.started_revision
        True
        """
        limit = None if timeout is None else positive("timeout", timeout)
        return await self._recovery().see_through(rollback_id, deadline_in(limit))

    def _recovery(self) -> Recovery:
        engine = self._engine
        return Recovery(engine, Carrier(engine), engine.options.registry)

    # --- what people say ---

    async def decide(
        self,
        plan_id: str,
        position: int,
        decision: str,
        *,
        by: str = "",
        why: str = "",
        timeout: float | None = None,
    ) -> DecideCompensationResponse:
        """Say what is to become of an item that is STUCK or a BARRIER: "retry" (stuck ones),
        "done_by_hand", "proceed" (the effect stays) or "escalate" (somebody else decides).
        `plan_id` is "saga/" or "rollback/" and the id; `by` is this client if not given.

        Raises PlanNotFound, PlanState (definite); Conflict (definite): the item waits for
        no decision, or not for that one; and what every mutation raises.

        >>> async with store.own("rollbacks/decide") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        ...     _ = await agent.effect(
        ...         "mail", effect_id="mail", kind="irreversible", do=lambda call: None
        ...     )
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = await store.start_rollback("rollbacks/decide", target, on_barrier="ask")
        >>> [item] = await store.rollback_items(begun.rollback_id)
        >>> plan = f"rollback/{begun.rollback_id}"
        >>> _ = await store.decide(plan, item.position, "proceed", why="it is only a mail")
        >>> await store.finish_rollback(begun.rollback_id)
        """
        request = DecideCompensationRequest(
            plan_id=plan_id,
            position=position,
            decision=word(Decision, "DECISION_", "decision", decision),
            decided_by=by or self._engine.options.client_name,
            why=why,
        )
        answer: DecideCompensationResponse = await self._engine.mutate(
            "decide_compensation", request, timeout
        )
        return answer

    async def finish_rollback(self, rollback_id: str, *, timeout: float | None = None) -> None:
        """End a rollback that is READY: its agents may be owned again. Raises
        RollbackNotFound, PlanState (definite), and what every mutation raises.

        >>> async with store.own("rollbacks/finish") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = await store.start_rollback("rollbacks/finish", target)
        >>> await store.finish_rollback(begun.rollback_id)
        """
        request = FinishRollbackRequest(rollback_id=rollback_id)
        await self._engine.mutate("finish_rollback", request, timeout)

    async def abort_rollback(
        self, rollback_id: str, *, reason: str = "", timeout: float | None = None
    ) -> None:
        """Give a rollback up: its agents are HALTED, and what was not undone is not. Raises
        RollbackNotFound, PlanState (definite), and what every mutation raises.

        >>> async with store.own("rollbacks/abort") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = await store.start_rollback("rollbacks/abort", target)
        >>> await store.abort_rollback(begun.rollback_id, reason="it was right after all")
        >>> _ = await store.resume_agent("rollbacks/abort")
        """
        request = AbortRollbackRequest(rollback_id=rollback_id, reason=reason)
        await self._engine.mutate("abort_rollback", request, timeout)

    # --- reading ---

    async def get_rollback(self, rollback_id: str, **how: Unpack[How]) -> Rollback:
        """One rollback. Raises RollbackNotFound (definite), and what every read does.

        >>> async with store.own("rollbacks/get") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> done = await store.rollback("rollbacks/get", raftstate.to_checkpoint(good))
        >>> (await store.get_rollback(done.rollback_id)).agents[0].agent_id
        'rollbacks/get'
        """
        return (await self._rollback(rollback_id, how))[0]

    async def rollback_items(
        self, rollback_id: str, **how: Unpack[How]
    ) -> list[CompensationItem]:
        """What a rollback undoes, in order; the first 1,000, and the one whose turn it
        is. Raises RollbackNotFound (definite), and what every read does.

        >>> async with store.own("rollbacks/items") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        ...     _ = await agent.effect(
        ...         "charge", effect_id="charge-1", undo="refund", do=lambda call: None
        ...     )
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = await store.start_rollback("rollbacks/items", target)
        >>> [one.effect_id for one in await store.rollback_items(begun.rollback_id)]
        ['charge-1']
        """
        return (await self._rollback(rollback_id, how))[1]

    async def _rollback(
        self, rollback_id: str, how: How
    ) -> tuple[Rollback, list[CompensationItem]]:
        request = GetRollbackRequest(rollback_id=rollback_id)
        answer = await reading.read_as(
            self._engine, lambda peer: peer.rollbacks.GetRollback, request, how
        )
        return answer.rollback, list(answer.items)

    async def list_rollbacks(
        self, states: Iterable[str] = (), **how: Unpack[How]
    ) -> AsyncIterator[Rollback]:
        """Rollbacks in the order of their start; only those in one of `states`
        ("compensating", "blocked" and so on), if any are given. All are read at one
        revision. Raises Compacted (definite) should that be forgotten meanwhile,
        InvalidRequest (definite) for a state that there is not, and what every read does.

        >>> async with store.own("rollbacks/list") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        >>> done = await store.rollback("rollbacks/list", raftstate.to_checkpoint(good))
        >>> ended = [one.rollback_id async for one in store.list_rollbacks(["finished"])]
        >>> done.rollback_id in ended
        True
        """
        request = ListRollbacksRequest(
            states=[word(RollbackState, "ROLLBACK_STATE_", "states", one) for one in states]
        )
        async for page in reading.pages(
            self._engine, lambda peer: peer.rollbacks.ListRollbacks, request, how
        ):
            for rollback in page.rollbacks:
                yield rollback


class AgentRollback:
    """The part of an owned agent that takes it back."""

    _engine: Engine
    agent_id: str

    def give_up(self, why: str) -> None:
        """It is owned no more, and the block that owned it goes on."""
        raise NotImplementedError

    def settling(self) -> Any:
        """While the store is asked, the block is not cancelled."""
        raise NotImplementedError

    async def rollback(
        self, to: Target | None = None, *, timeout: float | None = None, **start: Unpack[Start]
    ) -> Rollback:
        """Take the agent back, to the newest checkpoint that is known good if `to` says
        nothing else, and see that through: as `Store.rollback`.

        From the moment of its start the agent is owned no more: `agent.lost` is true, and
        another step raises OwnershipLost (definite). The block itself is not cancelled for
        that, and ends as it ends. Who wants to go on owns the agent again, once the
        rollback is finished. Raises what `Store.rollback` does.

        >>> async with store.own("rollbacks/agent") as agent:
        ...     good = await agent.checkpoint({"total": 1})
        ...     _ = await agent.checkpoint({"total": -1})
        ...     _ = await agent.rollback(raftstate.to_checkpoint(good))
        ...     agent.lost
        True
        """
        limit = None if timeout is None else positive("timeout", timeout)
        deadline = deadline_in(limit)
        engine = self._engine
        target = {self.agent_id: known_good() if to is None else to}
        request = _started(target, None, start, engine.options.client_name)
        with self.settling():
            begun = await engine.mutate("start_rollback", request, limit)
            self.give_up(f"rollback {begun.rollback_id} of it was started")
        recovery = Recovery(engine, Carrier(engine), engine.options.registry)
        return await recovery.see_through(begun.rollback_id, deadline)


def targets(agents: Agents, to: Target | None, group: str) -> list[AgentTarget]:
    """Agents and where they go. Raises ValueError if that is not said, or said twice."""
    if isinstance(agents, Mapping):
        if to is not None or group:
            raise ValueError("a rollback has a target for each agent, one for all, or a group")
        return [AgentTarget(agent_id=each, target=one) for each, one in agents.items()]
    names = [agents] if isinstance(agents, str) else list(agents)
    if group:
        if names or to is not None:
            raise ValueError("a group says which agents go where")
        return []
    if to is None or not names:
        raise ValueError("a rollback needs agents and a target, or a group")
    return [AgentTarget(agent_id=each, target=to) for each in names]


def _started(
    agents: Agents, to: Target | None, start: Start, name: str
) -> StartRollbackRequest:
    if unknown := start.keys() - Start.__annotations__.keys():
        raise TypeError(f"a rollback has no option {', '.join(sorted(unknown))}")
    group, plan = start.get("group", ""), start.get("plan")
    said = bool(group or to is not None or isinstance(agents, Mapping))
    policy = start.get("on_barrier", "refuse")
    return StartRollbackRequest(
        agents=list(plan.targets) if plan and not said else targets(agents, to, group),
        group_id=group,
        on_barrier=word(BarrierPolicy, "BARRIER_POLICY_", "on_barrier", policy),
        validators=start.get("validators", ()),
        reason=start.get("reason", ""),
        started_by=start.get("started_by") or name,
        expected_digest=plan.digest if plan else start.get("expected_digest", b""),
        incident_id=start.get("incident_id", ""),
    )
