"""Steps: all that an agent did at once, written whole or not at all.

A step is admitted if its agent is at work, its fence is the newest grant and
held by its session, and the head is where its writer believes it to be. The
checks run before the first write, so a refused step leaves no trace.
"""

from __future__ import annotations

from raftstate.core import acting, agents, checkpoints, events, incidents, ownership, recordings
from raftstate.core.context import Context
from raftstate.v1.common_pb2 import StepHead
from raftstate.v1.step_service_pb2 import CommitStepRequest, CommitStepResponse
from raftstate.v1.store_pb2 import Refusal


def commit_step(context: Context, request: CommitStepRequest) -> CommitStepResponse | Refusal:
    """Write one step: what it closes and opens of effects, and what it drew from outside;
    its events; then the checkpoint that reflects them."""
    agent = ownership.writable(context, request, request.request_id.session_id)
    if isinstance(agent, Refusal):
        return agent
    refusal = events.check_new(context.store, agent.agent_id, request.events)
    if refusal is None and request.HasField("checkpoint"):
        refusal = checkpoints.check(context.store, agent, request.checkpoint)
    if refusal is None and (request.closings or request.effects):
        refusal = acting.check_step(context.store, agent, request)
    head: StepHead = agent.head
    step, agent_id = head.step + 1, agent.agent_id
    if refusal is None:
        refusal = recordings.check(context.store, agent_id, step, request.recordings)
    if refusal is not None:
        return refusal

    acting.take_step(context, agent, request)
    recordings.take(context, agent_id, step, request.recordings)
    head.step = step
    first_position = context.last_position + 1 if request.events else 0
    events.append(context, agent.agent_id, head, request.events)
    if request.HasField("checkpoint"):
        checkpoints.take(context, agent, request.checkpoint)
    agent.owner.touched_revision = context.revision
    if agent.incident_id:
        incidents.resumed(context, agent)
    agents.save(context, agent)
    return CommitStepResponse(head=head, first_position=first_position)
