"""The state machine and the leader's deadlines: exactly once, fencing, leases."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from raftstate.consensus.adapter import Engine
from raftstate.consensus.replica import Replica
from raftstate.core import agents, keys, machine, ownership, sessions, tenure
from raftstate.core.context import Context
from raftstate.core.machine import Applied, StateMachine
from raftstate.core.types import Index, Position, Term
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    AcquireOwnershipResponse,
    Agent,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.store_pb2 import LogEntry, Outcome, Reason, Refusal
from tests.sim import invariants
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="state_machine_safety", known=2)
def apply_an_entry_twice_after_restart(patch: Patch) -> None:
    """A member that starts again applies its last entry anew, and the machine does not
    notice that it has it."""
    begin, apply = Engine.__init__, StateMachine.apply

    def init(*args: Any, **kwargs: Any) -> None:
        given = inspect.signature(begin).bind(*args, **kwargs)
        log, applied = given.arguments["log"], given.arguments["applied"]
        given.arguments["applied"] = Index(max(log.base.position.index, applied - 1))
        begin(*given.args, **given.kwargs)

    def apply_again(self: StateMachine, index: Index, term: Term, entry: LogEntry) -> Applied:
        mark = machine.read_mark(self._store)
        if index <= mark.position.index:
            before = Position(Index(index - 1), mark.position.term)
            packed = machine._MARK.pack(*before, mark.state_hash)
            self._store.put(keys.APPLIED, packed)
        return apply(self, index, term, entry)

    patch.replace(Engine, "__init__", init)
    patch.replace(StateMachine, "apply", apply_again)


@mutant(expects="tokens_rise", known=112, schedule="two_grants_in_one_entry")
def share_a_token_within_an_entry(patch: Patch) -> None:
    """A grant's token counts log entries, not commands: two grants of one agent in one
    entry have the same."""
    real = ownership.acquire

    def acquire(
        context: Context, request: AcquireOwnershipRequest
    ) -> AcquireOwnershipResponse | Refusal:
        granted = real(context, request)
        if isinstance(granted, Refusal):
            return granted
        agent = agents.load(context.store, request.agent_id)
        assert agent is not None, f"{request.agent_id} was granted, and is not there"
        # The counters are stored at the end of an entry.
        first = machine.read_counters(context.store).revision + 1
        agent.owner.fence.revision = agent.newest_fence.revision = first
        agents.save(context, agent)
        return AcquireOwnershipResponse(ownership=agent.owner)

    patch.item(machine._ONCE, "acquire_ownership", acquire)


def _remember_nothing(patch: Patch) -> None:
    def once(
        context: Context, name: str, number: int, request: Any, run: Callable[[], Any]
    ) -> Outcome:
        if sessions.load(context.store, request.request_id.session_id) is None:
            return sessions._refused(context, Reason.REASON_SESSION_EXPIRED, "ended")
        return sessions.outcome_of(context, name, run())

    patch.replace(sessions, "once", once)


@mutant(expects="same_answer", known=3)
def remember_no_outcome(patch: Patch) -> None:
    """The machine carries out every retry again: two answers to one request differ."""
    _remember_nothing(patch)


@mutant(expects="acknowledged_once registers_are_linearizable", known=1)
def remember_no_outcome_and_compare_no_answers(patch: Patch) -> None:
    """The same, with nobody comparing answers: an event is stored twice."""
    _remember_nothing(patch)
    patch.silence(invariants, "same_answer")


@mutant(expects="grants_fence acknowledged_once written_under_the_newest_grant", known=3)
def check_no_fence(patch: Patch) -> None:
    """Steps are not held to their token: a write of the past follows its successor's."""

    def check_fence(agent: Agent, fence: FencingToken, session_id: str) -> Refusal | None:
        return None

    patch.replace(ownership, "check_fence", check_fence)


@mutant(expects="expiry_is_not_early", known=2)
def give_half_of_the_ttl(patch: Patch) -> None:
    """A leader ends a session after half of the time that it promised."""

    def extend(self: tenure._Term, start: float) -> None:
        self.deadline = start + self.ttl_ms / 2000

    patch.replace(tenure._Term, "extend", extend)


@mutant(expects="converged", known=1)
def leave_office_without_a_word(patch: Patch) -> None:
    """A member that leaves office drops whom it owes an answer."""

    def refuse(self: Replica, tickets: list[object]) -> None:
        return None

    patch.replace(Replica, "_refuse", refuse)
