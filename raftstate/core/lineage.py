"""Forks and copies: agents that begin with checkpoints of another.

They have records and bodies of their own, and share the chunks, each counting its uses.
Steps and events start anew, so a checkpoint that came along reflects none of them; where
it was taken stands in its origin. Labels come along, and with a copy, whose ids are the
same, tags. Pins do not: they are about the lineage that they were set in. What
validators said does not either: of this agent they have seen nothing.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from raftstate.core import agents, checkpoint_queries, checkpoints, chunks, keys, limits
from raftstate.core import retention as keeping
from raftstate.core.context import Context, refuse_many
from raftstate.v1.agent_service_pb2 import Agent, ForkAgentRequest, ForkAgentResponse
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    CheckpointOrigin,
    CopyLineageRequest,
    CopyLineageResponse,
)
from raftstate.v1.store_pb2 import CheckpointBody, Refusal


def fork_agent(context: Context, request: ForkAgentRequest) -> ForkAgentResponse | Refusal:
    """Make an agent that begins with one checkpoint of another."""
    found = _source(context, request.source_agent_id, request.agent_id, request.checkpoint_id)
    if isinstance(found, Refusal):
        return found
    source, wanted = found
    chain = checkpoint_queries.chain(context.store, wanted)
    refusal = _refuse_chunks(chain, "checkpoint_id")
    if refusal is not None:
        return refusal
    numbers = {each.checkpoint_id: number for number, each in enumerate(chain, 1)}
    bodies = [_body(context, each) for each in chain]

    agent = _begin(context, request.agent_id, source, wanted, numbers[wanted.checkpoint_id])
    agent.labels.extend(request.labels)
    _copy(context, agent, chain, bodies, numbers)
    agents.save(context, agent)
    return ForkAgentResponse(agent=agent)


def copy_lineage(
    context: Context, request: CopyLineageRequest
) -> CopyLineageResponse | Refusal:
    """Make an agent with another's checkpoints up to one of them, under the same ids."""
    number = request.up_to_checkpoint_id
    found = _source(context, request.source_agent_id, request.agent_id, number)
    if isinstance(found, Refusal):
        return found
    source, wanted = found
    most = limits.COPIED_CHECKPOINTS_MAX
    span = keys.checkpoints(source.agent_id, wanted.checkpoint_id + 1)
    raws = [raw for _, raw in islice(context.store.scan(*span), most + 1)]
    if len(raws) > most:
        message = f"agent {source.agent_id} has more than {most} checkpoints up to there"
        return refuse_many(message, most, "up_to_checkpoint_id")
    lineage = [Checkpoint.FromString(raw) for raw in raws]
    refusal = _refuse_chunks(lineage, "up_to_checkpoint_id")
    if refusal is not None:
        return refusal
    bodies = [_body(context, each) for each in lineage]

    agent = _begin(context, request.agent_id, source, wanted, wanted.checkpoint_id)
    _copy(
        context,
        agent,
        lineage,
        bodies,
        {each.checkpoint_id: each.checkpoint_id for each in lineage},
    )
    _copy_tags(context, agent, lineage)
    agents.save(context, agent)
    return CopyLineageResponse(copied=len(lineage))


def _source(
    context: Context, source_id: str, agent_id: str, number: int
) -> tuple[Agent, Checkpoint] | Refusal:
    """The agent and the checkpoint that another begins with, or why none can."""
    source = agents.load(context.store, source_id)
    if source is None:
        return agents.missing(source_id)
    wanted = checkpoint_queries.get_checkpoint(context.store, source_id, number)
    if wanted is None:
        return checkpoints.missing(source_id, number)
    taken = agents.refuse_taken(context, agent_id)
    return (source, wanted) if taken is None else taken


def _refuse_chunks(originals: list[Checkpoint], field: str) -> Refusal | None:
    """Why these are too much for one command; None if they are not."""
    named, most = sum(each.chunk_count for each in originals), limits.COPIED_CHUNKS_MAX
    return refuse_many(f"there are {named} chunks", most, field) if named > most else None


def _body(context: Context, checkpoint: Checkpoint) -> CheckpointBody:
    place = keys.checkpoint_body(checkpoint.agent_id, checkpoint.checkpoint_id)
    raw = context.store.get(place)
    assert raw is not None, f"no body of checkpoint {checkpoint.checkpoint_id}"
    return CheckpointBody.FromString(raw)


def _origin(checkpoint: Checkpoint) -> CheckpointOrigin:
    return CheckpointOrigin(
        agent_id=checkpoint.agent_id,
        checkpoint_id=checkpoint.checkpoint_id,
        step=checkpoint.step,
        event_seq=checkpoint.event_seq,
    )


def _begin(
    context: Context, agent_id: str, source: Agent, wanted: Checkpoint, head_id: int
) -> Agent:
    """An agent whose newest checkpoint came from another, not yet saved."""
    agent = agents.new(context, agent_id)
    agent.chunk_space = checkpoint_queries.chunk_space(source)
    agent.forked_from.CopyFrom(_origin(wanted))
    agent.head.checkpoint_id = head_id
    return agent


def _copy(
    context: Context,
    agent: Agent,
    originals: list[Checkpoint],
    bodies: list[CheckpointBody],
    numbers: dict[int, int],
) -> None:
    """Write an agent's own records and bodies of another's checkpoints, under the ids of
    `numbers`, and count the uses of the chunks."""
    dependents = Counter(each.base_checkpoint_id for each in originals)
    for original, body in zip(originals, bodies, strict=True):
        copy = Checkpoint(
            agent_id=agent.agent_id,
            checkpoint_id=numbers[original.checkpoint_id],
            revision=context.revision,
            log_time_ms=context.log_time_ms,
            content_type=original.content_type,
            labels=original.labels,
            size_bytes=original.size_bytes,
            content_hash=original.content_hash,
            base_checkpoint_id=numbers.get(original.base_checkpoint_id, 0),
            chain_length=original.chain_length,
            chunk_count=original.chunk_count,
            origin=_origin(original),
            dependents=dependents[original.checkpoint_id],
        )
        place = keys.checkpoint_body(agent.agent_id, copy.checkpoint_id)
        context.store.put(place, body.SerializeToString(deterministic=True))
        keeping.save(context, agent, copy)
    named = [chunk for body in bodies for chunk in body.chunks]
    chunks.use(context, checkpoint_queries.chunk_space(agent), named)


def _copy_tags(context: Context, agent: Agent, originals: list[Checkpoint]) -> None:
    for original in originals:
        if original.tags:
            copy = keeping.load(context.store, agent, original.checkpoint_id)
            checkpoints.add_tags(context, agent, copy, list(original.tags))
            keeping.save(context, agent, copy)
