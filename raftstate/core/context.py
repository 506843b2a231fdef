"""What a command sees while it is applied: the store, and which command it is.

A command's handler takes the context and the request and returns what happened:
the response, or a `Refusal`. A refusal has changed nothing but the session's own
bookkeeping.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raftstate.core import limits
from raftstate.core.history import HistoryMark, RecordedStore
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.store_pb2 import Reason, Refusal


@dataclass(slots=True)
class Context:
    """One log entry under way. `revision` is the current command's."""

    store: RecordedStore
    epoch: int
    raft_index: int
    log_time_ms: int
    revision: int
    last_position: int
    history: HistoryMark
    # A label for reports: nothing is decided by it.
    wall_time_ms: int = 0
    # How much the commands of the entry may still remove of what others gave up, and by how
    # many rows they have removed more than each might: a revision goes whole.
    sweep_bytes: int = limits.SWEEP_BYTES_MAX
    sweep_owed: int = 0
    # Whose session record or ownership may have changed.
    sessions: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)
    leases: set[int] = field(default_factory=set)


def refuse(reason: Reason, message: str, *, field: str = "") -> Refusal:
    """A refusal with nothing more to say."""
    return Refusal(reason=reason, message=message, field=field)


def refuse_subject(reason: Reason, message: str, subject: str) -> Refusal:
    """A refusal because of one of several things that the request names."""
    return Refusal(reason=reason, message=message, subject=subject)


def refuse_many(message: str, limit: int, field: str) -> Refusal:
    """A refusal because there would be more of something than there may be."""
    return Refusal(reason=Reason.REASON_TOO_MANY, message=message, limit=limit, field=field)


def refuse_with_owner(reason: Reason, message: str, agent: Agent) -> Refusal:
    """A refusal that says which token is the newest, and who owns the agent."""
    refusal = Refusal(reason=reason, message=message, lifecycle=agent.lifecycle)
    if agent.HasField("newest_fence"):
        refusal.current_fence.CopyFrom(agent.newest_fence)
    if agent.HasField("owner"):
        refusal.current_holder = agent.owner.holder
    return refusal


def refuse_state(agent: Agent, action: str) -> Refusal:
    """A refusal because of the agent's lifecycle."""
    state = Lifecycle.Name(agent.lifecycle).removeprefix("LIFECYCLE_").lower()
    message = f"agent {agent.agent_id} is {state}: it cannot be {action}"
    return Refusal(reason=Reason.REASON_AGENT_STATE, message=message, lifecycle=agent.lifecycle)


def refuse_head(message: str, head: StepHead) -> Refusal:
    """A refusal because the head is not the one expected."""
    return Refusal(reason=Reason.REASON_CONFLICT, message=message, current_head=head)
