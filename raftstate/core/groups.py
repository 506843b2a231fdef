"""Group checkpoints: one checkpoint of each of several agents, at one revision.

Every member is checked before anything is written. Nothing that a member writes makes
another one's check untrue: each agent comes once, and a chunk that is given up stays
until it is collected.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import agents, checkpoint_queries, checkpoints, keys, ownership, retention
from raftstate.core.context import Context, refuse
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    DeleteGroupCheckpointRequest,
    DeleteGroupCheckpointResponse,
    GroupCheckpoint,
    GroupMember,
    NewCheckpoint,
    NewGroupMember,
    PutGroupCheckpointRequest,
    PutGroupCheckpointResponse,
)
from raftstate.v1.store_pb2 import Reason, Refusal


class _Member(NamedTuple):
    """A member that was checked: one to save, or else the id of one that is there."""

    agent: Agent
    new: NewCheckpoint | None
    checkpoint_id: int


def put_group_checkpoint(
    context: Context, request: PutGroupCheckpointRequest
) -> PutGroupCheckpointResponse | Refusal:
    """Note a group, and save those of its members that are new."""
    if checkpoint_queries.get_group(context.store, request.group_id) is not None:
        message = f"group {request.group_id} exists"
        return refuse(Reason.REASON_GROUP_EXISTS, message)
    members: list[_Member] = []
    for asked in request.members:
        member = _checked(context, asked, request.request_id.session_id)
        if isinstance(member, Refusal):
            member.subject = asked.agent_id
            return member
        members.append(member)

    numbers = [_join(context, member) for member in members]
    group = GroupCheckpoint(
        group_id=request.group_id,
        revision=context.revision,
        log_time_ms=context.log_time_ms,
        members=[
            GroupMember(agent_id=member.agent.agent_id, checkpoint_id=number)
            for member, number in zip(members, numbers, strict=True)
        ],
    )
    place = keys.group(request.group_id)
    context.store.put(place, group.SerializeToString(deterministic=True))
    return PutGroupCheckpointResponse(checkpoint_ids=numbers)


def delete_group_checkpoint(
    context: Context, request: DeleteGroupCheckpointRequest
) -> DeleteGroupCheckpointResponse | Refusal:
    """Forget a group. Its checkpoints are kept as others are."""
    group = checkpoint_queries.get_group(context.store, request.group_id)
    if group is None:
        message = f"there is no group {request.group_id}"
        return refuse(Reason.REASON_GROUP_NOT_FOUND, message)
    for member in group.members:
        agent = agents.load(context.store, member.agent_id)
        assert agent is not None, f"group {group.group_id} has nobody: {member.agent_id}"
        _count(context, agent, member.checkpoint_id, -1)
    context.store.delete(keys.group(request.group_id))
    return DeleteGroupCheckpointResponse()


def _checked(context: Context, asked: NewGroupMember, session_id: str) -> _Member | Refusal:
    """A member as it will join, or why it cannot."""
    if asked.HasField("checkpoint"):
        agent = ownership.writable(context, asked, session_id)
        if isinstance(agent, Refusal):
            return agent
        refusal = checkpoints.check(context.store, agent, asked.checkpoint)
        return refusal or _Member(agent, asked.checkpoint, 0)
    found = agents.load(context.store, asked.agent_id)
    if found is None:
        return agents.missing(asked.agent_id)
    number = asked.checkpoint_id or found.head.checkpoint_id
    if checkpoint_queries.load(context.store, asked.agent_id, number) is None:
        return checkpoints.missing(asked.agent_id, asked.checkpoint_id)
    return _Member(found, None, number)


def _join(context: Context, member: _Member) -> int:
    """Save the member's checkpoint, if it is new, and count the group at it."""
    agent, number = member.agent, member.checkpoint_id
    if member.new is not None:
        checkpoints.take(context, agent, member.new)
        number = agent.head.checkpoint_id
        agent.owner.touched_revision = context.revision
    _count(context, agent, number, 1)
    return number


def _count(context: Context, agent: Agent, number: int, more: int) -> None:
    """Count one group more, or less, at a checkpoint."""
    checkpoint = retention.load(context.store, agent, number)
    checkpoint.groups += more
    retention.save(context, agent, checkpoint)
    agents.save(context, agent)
