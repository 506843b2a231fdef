"""Agents: one record each, which holds who may write and what was written last.

    create -> IDLE <-> ACTIVE        acquire; release, expiry
              IDLE, ACTIVE -> HALTED -> IDLE        halt; resume
              any but RETIRED -> RETIRED            retire

A transition that does not start from where the agent is gets refused, and the
refusal says where it is. A retry never sees that: its request is remembered.
"""

from __future__ import annotations

from raftstate.core import incidents, keys
from raftstate.core.context import Context, refuse, refuse_state
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import (
    Agent,
    CreateAgentRequest,
    CreateAgentResponse,
    HaltAgentRequest,
    HaltAgentResponse,
    Lifecycle,
    ResumeAgentRequest,
    ResumeAgentResponse,
    RetireAgentRequest,
    RetireAgentResponse,
    UpdateAgentRequest,
    UpdateAgentResponse,
)
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.effect_service_pb2 import Saga, SagaState
from raftstate.v1.store_pb2 import Reason, Refusal

# Where an agent may be acquired, and its owner may write.
OPEN_STATES = (Lifecycle.LIFECYCLE_IDLE, Lifecycle.LIFECYCLE_ACTIVE)


def load(reader: Reader, agent_id: str) -> Agent | None:
    """An agent's record."""
    raw = reader.get(keys.agent(agent_id))
    return None if raw is None else Agent.FromString(raw)


def save(context: Context, agent: Agent) -> None:
    """Write an agent's record back."""
    context.agents.add(agent.agent_id)
    context.store.put(keys.agent(agent.agent_id), agent.SerializeToString(deterministic=True))


def new(context: Context, agent_id: str) -> Agent:
    """An agent that nobody has seen before, not yet saved."""
    return Agent(
        agent_id=agent_id,
        lifecycle=Lifecycle.LIFECYCLE_IDLE,
        head=StepHead(),
        created_revision=context.revision,
    )


def vacate(context: Context, agent: Agent) -> None:
    """Leave an agent without owner, and IDLE if it was ACTIVE. The caller saves it."""
    if agent.HasField("owner"):
        context.store.delete(keys.owned(agent.owner.session_id, agent.agent_id))
        agent.ClearField("owner")
    if agent.lifecycle == Lifecycle.LIFECYCLE_ACTIVE:
        agent.lifecycle = Lifecycle.LIFECYCLE_IDLE


def missing(agent_id: str) -> Refusal:
    """The refusal for an agent that does not exist."""
    return refuse(Reason.REASON_AGENT_NOT_FOUND, f"there is no agent {agent_id}")


def refuse_taken(context: Context, agent_id: str) -> Refusal | None:
    """Why an id cannot become an agent's; None if it can."""
    if load(context.store, agent_id) is not None:
        return refuse(Reason.REASON_AGENT_EXISTS, f"agent {agent_id} exists")
    if context.store.get(keys.stream(agent_id)) is not None:
        return refuse(Reason.REASON_STREAM_EXISTS, f"{agent_id} is a free stream")
    return None


def create_agent(
    context: Context, request: CreateAgentRequest
) -> CreateAgentResponse | Refusal:
    """Make an agent."""
    if (refusal := refuse_taken(context, request.agent_id)) is not None:
        return refusal
    agent = new(context, request.agent_id)
    agent.labels.extend(request.labels)
    if request.HasField("retention"):
        agent.retention.CopyFrom(request.retention)
    agent.rpo_target_ms, agent.rto_target_ms = request.rpo_target_ms, request.rto_target_ms
    save(context, agent)
    return CreateAgentResponse(agent=agent)


def update_agent(
    context: Context, request: UpdateAgentRequest
) -> UpdateAgentResponse | Refusal:
    """Replace an agent's labels, and what else is given."""
    agent = load(context.store, request.agent_id)
    if agent is None:
        return missing(request.agent_id)
    if agent.lifecycle == Lifecycle.LIFECYCLE_RETIRED:
        return refuse_state(agent, "updated")
    agent.ClearField("labels")
    agent.labels.extend(request.labels)
    if request.HasField("retention"):
        agent.retention.CopyFrom(request.retention)
    if request.HasField("rpo_target_ms"):
        agent.rpo_target_ms = request.rpo_target_ms
    if request.HasField("rto_target_ms"):
        agent.rto_target_ms = request.rto_target_ms
    save(context, agent)
    return UpdateAgentResponse(agent=agent)


def retire_agent(
    context: Context, request: RetireAgentRequest
) -> RetireAgentResponse | Refusal:
    """End an agent for good. What it wrote stays."""
    agent = load(context.store, request.agent_id)
    if agent is None:
        return missing(request.agent_id)
    if agent.lifecycle == Lifecycle.LIFECYCLE_RETIRED or agent.rollback_id:
        return refuse_state(agent, "retired")
    if (saga_id := _running_saga(context.store, agent.agent_id)) is not None:
        message = f"agent {agent.agent_id} has begun saga {saga_id}, which is running"
        refusal = refuse_state(agent, "retired")
        refusal.message, refusal.subject = message, saga_id
        return refusal
    vacate(context, agent)
    incidents.retired(context, agent)
    agent.lifecycle = Lifecycle.LIFECYCLE_RETIRED
    agent.halt_reason = ""
    save(context, agent)
    return RetireAgentResponse(agent=agent)


def _running_saga(reader: Reader, agent_id: str) -> str | None:
    """A saga that only the agent's owner can end."""
    for mark, _ in reader.scan(*keys.open_sagas(agent_id)):
        saga_id = keys.open_saga_id(mark)
        raw = reader.get(keys.saga(saga_id))
        if raw is not None and Saga.FromString(raw).state == SagaState.SAGA_STATE_RUNNING:
            return saga_id
    return None


def halt_agent(context: Context, request: HaltAgentRequest) -> HaltAgentResponse | Refusal:
    """Fence the owner off, and let nobody acquire the agent until it is resumed."""
    agent = load(context.store, request.agent_id)
    if agent is None:
        return missing(request.agent_id)
    if agent.lifecycle not in OPEN_STATES:
        return refuse_state(agent, "halted")
    vacate(context, agent)
    agent.lifecycle = Lifecycle.LIFECYCLE_HALTED
    agent.halt_reason = request.reason
    save(context, agent)
    return HaltAgentResponse(agent=agent)


def resume_agent(
    context: Context, request: ResumeAgentRequest
) -> ResumeAgentResponse | Refusal:
    """Let a halted agent be acquired again."""
    agent = load(context.store, request.agent_id)
    if agent is None:
        return missing(request.agent_id)
    if agent.lifecycle != Lifecycle.LIFECYCLE_HALTED:
        return refuse_state(agent, "resumed")
    agent.lifecycle = Lifecycle.LIFECYCLE_IDLE
    agent.halt_reason = ""
    save(context, agent)
    return ResumeAgentResponse(agent=agent)
