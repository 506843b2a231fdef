"""Ownership: the fenced right to act for an agent.

A grant's fencing token is (cluster epoch, revision of the command that made
it). Revisions count commands, so no two grants share one, not even two in one
log entry, and a newer grant's token is the larger. The agent keeps the newest
token for ever; a write under an older one is refused whoever owns the agent now,
and also when nobody does.

Nothing but a command ends an ownership: a release, a newer grant, a halt, a
retirement, the end of its session, or an expiry that names exactly the grant and
the owner's last command that the leader saw. No time is ever compared here.

Kept beside the agents is an index of which session owns which, so that the end
of a session costs what it owns.
"""

from __future__ import annotations

from typing import Any

from raftstate.core import agents, effects, incidents, keys, limits
from raftstate.core.context import Context, refuse, refuse_head, refuse_state, refuse_with_owner
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import (
    AcquireMode,
    AcquireOwnershipRequest,
    AcquireOwnershipResponse,
    Agent,
    Lifecycle,
    Ownership,
    ReleaseOwnershipRequest,
    ReleaseOwnershipResponse,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.store_pb2 import Done, ExpireOwnership, Reason, Refusal


def acquire(
    context: Context, request: AcquireOwnershipRequest
) -> AcquireOwnershipResponse | Refusal:
    """Grant the agent to the caller's session, with a token larger than all before.

    A holder that asks again gets a new token, so that a restarted process never
    shares one with its former self. Who WAITs and comes to apply is treated as
    IF_FREE: waiting happens before proposing.
    """
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        if not request.create:
            return agents.missing(request.agent_id)
        if (refusal := agents.refuse_taken(context, request.agent_id)) is not None:
            return refusal
        agent = agents.new(context, request.agent_id)
    if agent.lifecycle not in agents.OPEN_STATES:
        return refuse_state(agent, "acquired")
    session_id = request.request_id.session_id
    if agent.HasField("owner") and agent.owner.session_id != session_id:
        if request.mode != AcquireMode.ACQUIRE_MODE_FORCE:
            message = f"agent {agent.agent_id} is owned by another session"
            return refuse_with_owner(Reason.REASON_OWNED, message, agent)
        agents.vacate(context, agent)

    token = FencingToken(epoch=context.epoch, revision=context.revision)
    assert token_key(token) > token_key(agent.newest_fence), "grants must grow"
    agent.owner.CopyFrom(
        Ownership(
            fence=token,
            holder=request.holder,
            session_id=session_id,
            ttl_ms=request.ttl_ms or limits.OWNERSHIP_TTL_MS_DEFAULT,
            touched_revision=context.revision,
        )
    )
    agent.newest_fence.CopyFrom(token)
    agent.lifecycle = Lifecycle.LIFECYCLE_ACTIVE
    if agent.open_effects:
        effects.takeover(context, agent)
    if agent.incident_id:
        incidents.acquired(context, agent)
    agents.save(context, agent)
    context.store.put(keys.owned(session_id, agent.agent_id), b"")
    return AcquireOwnershipResponse(ownership=agent.owner)


def release(
    context: Context, request: ReleaseOwnershipRequest
) -> ReleaseOwnershipResponse | Refusal:
    """End the caller's ownership."""
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    refusal = check_fence(agent, request.fence, request.request_id.session_id)
    if refusal is not None:
        return refusal
    agents.vacate(context, agent)
    agents.save(context, agent)
    return ReleaseOwnershipResponse()


def expire(context: Context, request: ExpireOwnership) -> Done | Refusal:
    """End an ownership, unless it, or its owner, has moved since the leader looked."""
    context.agents.add(request.agent_id)
    agent = agents.load(context.store, request.agent_id)
    if (
        agent is None
        or not agent.HasField("owner")
        or token_key(agent.owner.fence) != token_key(request.fence)
        or agent.owner.touched_revision != request.touched_revision
    ):
        message = f"agent {request.agent_id} has moved since revision"
        return refuse(Reason.REASON_EXPIRY_OVERTAKEN, f"{message} {request.touched_revision}")
    incidents.owner_lost(context, agent)
    agents.vacate(context, agent)
    agents.save(context, agent)
    return Done()


def check_fence(agent: Agent, fence: FencingToken, session_id: str) -> Refusal | None:
    """Why a session may not write for an agent under a token; None if it may."""
    given, newest = token_key(fence), token_key(agent.newest_fence)
    if given < newest:
        message = f"a newer grant of agent {agent.agent_id} exists"
        return refuse_with_owner(Reason.REASON_FENCED, message, agent)
    if given > newest:
        message = f"no such grant of agent {agent.agent_id} was made"
        return refuse_with_owner(Reason.REASON_NOT_OWNER, message, agent)
    if not agent.HasField("owner"):
        message = f"the ownership of agent {agent.agent_id} has ended"
        return refuse_with_owner(Reason.REASON_NOT_OWNER, message, agent)
    assert token_key(agent.owner.fence) == newest, "the owner holds the newest grant"
    if agent.owner.session_id != session_id:
        message = f"agent {agent.agent_id} is owned by another session"
        return refuse_with_owner(Reason.REASON_NOT_OWNER, message, agent)
    return None


def writable(context: Context, request: Any, session_id: str) -> Agent | Refusal:
    """The agent that a request writes for, or why its session may not: it must be at
    work, the fence that of its owner, and the head where the writer believes it to be."""
    agent = held(context, request, session_id)
    if isinstance(agent, Refusal):
        return agent
    step = agent.head.step
    if request.HasField("expected_step") and request.expected_step != step:
        message = f"agent {agent.agent_id} is at step {step}, not {request.expected_step}"
        return refuse_head(message, agent.head)
    return agent


def held(context: Context, request: Any, session_id: str) -> Agent | Refusal:
    """As `writable`, wherever the head is."""
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    if agent.lifecycle not in agents.OPEN_STATES:
        return refuse_state(agent, "written")
    refusal = check_fence(agent, request.fence, session_id)
    return agent if refusal is None else refusal


def end_all_of(context: Context, session_id: str, *, lost: bool) -> None:
    """End every ownership of a session. `lost`: it did not give them back."""
    for key in context.store.delete_span(keys.owned_by(session_id)):
        agent = agents.load(context.store, keys.owned_agent_id(key))
        assert agent is not None, f"an index entry for nobody: {key!r}"
        if lost:
            incidents.owner_lost(context, agent)
        agents.vacate(context, agent)
        agents.save(context, agent)
