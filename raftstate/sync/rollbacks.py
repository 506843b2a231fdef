# Generated from raftstate/client/rollbacks.py by scripts/generate. Not to be edited.

"""Rollbacks: agents are taken back to a state that can be trusted.

    plan = store.plan_rollback("billing/nightly", raftstate.known_good())
    print(len(plan.effects), "effects would be undone")
    done = store.rollback("billing/nightly", raftstate.known_good(), plan=plan)

From the moment of its start the former owner is fenced, and the agent's newest checkpoint
is the target's copy. From there anybody goes on with it: this client, or any worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Unpack, cast

from raftstate.client import rollbacks as face
from raftstate.client.reading import How
from raftstate.client.rollbacks import Agents, Start
from raftstate.sync.running import Face, Handle, listed
from raftstate.v1.effect_service_pb2 import CompensationItem
from raftstate.v1.rollback_service_pb2 import (
    DecideCompensationResponse,
    PlanRollbackResponse,
    Rollback,
    StartRollbackResponse,
    Target,
)


class Rollbacks(Face, of=face.Rollbacks):
    """The part of a `Store` that is about rollbacks."""

    @property
    def _it(self) -> face.Rollbacks:
        return cast(face.Rollbacks, self._object)

    def plan_rollback(
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

        >>> with store.own("rollbacks/plan") as agent:
        ...     good = agent.checkpoint({"total": 1})
        ...     with agent.step() as step:
        ...         step.event("miscounted")
        >>> plan = store.plan_rollback("rollbacks/plan", raftstate.to_checkpoint(good))
        >>> plan.events_undone, len(plan.effects)
        (1, 0)
        """
        return self._do(self._it.plan_rollback(agents, to, group=group, **how))

    def start_rollback(
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

        >>> with store.own("rollbacks/start") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> begun = store.start_rollback(
        ...     "rollbacks/start", raftstate.to_checkpoint(good), reason="miscounted"
        ... )
        >>> (store.get_rollback(begun.rollback_id)).reason
        'miscounted'
        """
        return self._do(self._it.start_rollback(agents, to, timeout=timeout, **start))

    def rollback(
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

        >>> with store.own("rollbacks/rollback") as agent:
        ...     good = agent.checkpoint({"total": 1})
        ...     _ = agent.checkpoint({"total": -1})
        >>> done = store.rollback("rollbacks/rollback", raftstate.to_checkpoint(good))
        >>> with store.own("rollbacks/rollback") as agent:
        ...     agent.restore()
        {'total': 1}
        """
        return self._do(self._it.rollback(agents, to, timeout=timeout, **start))

    def resume_rollback(self, rollback_id: str, *, timeout: float | None = None) -> Rollback:
        """See a rollback through that was begun, here or anywhere. Gives it as it is when
        nothing more can be done here: FINISHED, or ABORTED; BLOCKED, where a person has to
        decide; COMPENSATING or VALIDATING, where what it takes is not registered here, or
        VALIDATING, where a validator said no.

        Raises RollbackNotFound (definite); Owned (definite) if somebody else still carries
        it out when `timeout` seconds have passed; what a validator raises; and what every
        mutation raises. The store knows how far it has come.

        >>> with store.own("rollbacks/resume") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = store.start_rollback("rollbacks/resume", target)
        >>> done = store.resume_rollback(begun.rollback_id)
        >>> done.ended_revision > done.started_revision
        True
        """
        return self._do(self._it.resume_rollback(rollback_id, timeout=timeout))

    def decide(
        self,
        plan_id: str,
        position: int,
        decision: str,
        *,
        by: str = "",
        why: str = "",
        timeout: float | None = None,
    ) -> DecideCompensationResponse:
        """Say what is to become of an item that is STUCK or a BARRIER: "retry" (stuck
        ones), "done_by_hand", "proceed" (the effect stays) or "escalate" (somebody else
        decides). `plan_id` is "saga/" or "rollback/" and the id; `by` is this client if not
        given.

        Raises PlanNotFound, PlanState (definite); Conflict (definite): the item waits for
        no decision, or not for that one; and what every mutation raises.

        >>> with store.own("rollbacks/decide") as agent:
        ...     good = agent.checkpoint({"total": 1})
        ...     _ = agent.effect(
        ...         "mail", effect_id="mail", kind="irreversible", do=lambda call: None
        ...     )
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = store.start_rollback("rollbacks/decide", target, on_barrier="ask")
        >>> [item] = store.rollback_items(begun.rollback_id)
        >>> plan = f"rollback/{begun.rollback_id}"
        >>> _ = store.decide(plan, item.position, "proceed", why="it is only a mail")
        >>> store.finish_rollback(begun.rollback_id)
        """
        return self._do(
            self._it.decide(plan_id, position, decision, by=by, why=why, timeout=timeout)
        )

    def finish_rollback(self, rollback_id: str, *, timeout: float | None = None) -> None:
        """End a rollback that is READY: its agents may be owned again. Raises
        RollbackNotFound, PlanState (definite), and what every mutation raises.

        >>> with store.own("rollbacks/finish") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = store.start_rollback("rollbacks/finish", target)
        >>> store.finish_rollback(begun.rollback_id)
        """
        self._do(self._it.finish_rollback(rollback_id, timeout=timeout))

    def abort_rollback(
        self, rollback_id: str, *, reason: str = "", timeout: float | None = None
    ) -> None:
        """Give a rollback up: its agents are HALTED, and what was not undone is not. Raises
        RollbackNotFound, PlanState (definite), and what every mutation raises.

        >>> with store.own("rollbacks/abort") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = store.start_rollback("rollbacks/abort", target)
        >>> store.abort_rollback(begun.rollback_id, reason="it was right after all")
        >>> _ = store.resume_agent("rollbacks/abort")
        """
        self._do(self._it.abort_rollback(rollback_id, reason=reason, timeout=timeout))

    def get_rollback(self, rollback_id: str, **how: Unpack[How]) -> Rollback:
        """One rollback. Raises RollbackNotFound (definite), and what every read does.

        >>> with store.own("rollbacks/get") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> done = store.rollback("rollbacks/get", raftstate.to_checkpoint(good))
        >>> (store.get_rollback(done.rollback_id)).agents[0].agent_id
        'rollbacks/get'
        """
        return self._do(self._it.get_rollback(rollback_id, **how))

    def rollback_items(self, rollback_id: str, **how: Unpack[How]) -> list[CompensationItem]:
        """What a rollback undoes, in order; the first 1,000, and the one whose turn it
        is. Raises RollbackNotFound (definite), and what every read does.

        >>> with store.own("rollbacks/items") as agent:
        ...     good = agent.checkpoint({"total": 1})
        ...     _ = agent.effect(
        ...         "charge", effect_id="charge-1", undo="refund", do=lambda call: None
        ...     )
        >>> target = raftstate.to_checkpoint(good)
        >>> begun = store.start_rollback("rollbacks/items", target)
        >>> [one.effect_id for one in store.rollback_items(begun.rollback_id)]
        ['charge-1']
        """
        return self._do(self._it.rollback_items(rollback_id, **how))

    def list_rollbacks(
        self, states: Iterable[str] = (), **how: Unpack[How]
    ) -> Iterator[Rollback]:
        """Rollbacks in the order of their start; only those in one of `states`
        ("compensating", "blocked" and so on), if any are given. All are read at one
        revision. Raises Compacted (definite) should that be forgotten meanwhile,
        InvalidRequest (definite) for a state that there is not, and what every read does.

        >>> with store.own("rollbacks/list") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> done = store.rollback("rollbacks/list", raftstate.to_checkpoint(good))
        >>> ended = [one.rollback_id for one in store.list_rollbacks(["finished"])]
        >>> done.rollback_id in ended
        True
        """
        return self._running.each(self._it.list_rollbacks(listed(states), **how))


class AgentRollback(Handle, of=face.AgentRollback):
    """The part of an owned agent that takes it back."""

    @property
    def _it(self) -> face.AgentRollback:
        return cast(face.AgentRollback, self._object)

    def rollback(
        self, to: Target | None = None, *, timeout: float | None = None, **start: Unpack[Start]
    ) -> Rollback:
        """Take the agent back, to the newest checkpoint that is known good if `to` says
        nothing else, and see that through: as `Store.rollback`.

        From the moment of its start the agent is owned no more: `agent.lost` is true, and
        another step raises OwnershipLost (definite). The block itself goes on, and ends as
        it ends. Who wants to go on owns the agent again, once the rollback is finished.
        Raises what `Store.rollback` does.

        >>> with store.own("rollbacks/agent") as agent:
        ...     good = agent.checkpoint({"total": 1})
        ...     _ = agent.checkpoint({"total": -1})
        ...     _ = agent.rollback(raftstate.to_checkpoint(good))
        ...     agent.lost
        True
        """
        return self._do(self._it.rollback(to, timeout=timeout, **start))
