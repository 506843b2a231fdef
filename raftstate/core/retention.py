"""Retention: which checkpoints may be removed, and removing the oldest of them.

A checkpoint is prunable unless it is the newest, pinned, tagged, in a group, the base of
a delta, or known good and kept because of that. Prunable ones stand in an index, and the
agent counts them; whatever changes one of those things brings both in line (`save`).

Of the known good ones the newest `keep_known_good` are kept, all if that is zero. Two
indices, of those that are kept and of the spare ones, which are all older, tell which
one to move without a search. To change the setting moves none: the next commands do, a
few each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raftstate.core import agents, checkpoint_queries, chunks, keys, limits
from raftstate.core.context import Context
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    PruneCheckpointsRequest,
    PruneCheckpointsResponse,
)
from raftstate.v1.store_pb2 import CheckpointBody, Refusal


def load(reader: Reader, agent: Agent, checkpoint_id: int) -> Checkpoint:
    """A checkpoint that is there because something refers to it."""
    checkpoint = checkpoint_queries.load(reader, agent.agent_id, checkpoint_id)
    assert checkpoint is not None, f"{agent.agent_id}: checkpoint {checkpoint_id} is missing"
    return checkpoint


# --- what may be removed -----------------------------------------------------


def save(context: Context, agent: Agent, checkpoint: Checkpoint) -> None:
    """Write a checkpoint's record, and whether it is prunable. The caller saves the agent,
    here as everywhere in this module."""
    key = keys.checkpoint(agent.agent_id, checkpoint.checkpoint_id)
    context.store.put(key, checkpoint.SerializeToString(deterministic=True))
    refresh(context, agent, checkpoint)


def refresh(context: Context, agent: Agent, checkpoint: Checkpoint) -> None:
    """Bring in line whether a checkpoint, whose record is written, is prunable."""
    mark = keys.prunable(agent.agent_id, checkpoint.checkpoint_id)
    before, now = context.store.get(mark) is not None, _may_go(context.store, agent, checkpoint)
    if now and not before:
        context.store.put(mark, b"")
        agent.prunable += 1
    elif before and not now:
        context.store.delete(mark)
        agent.prunable -= 1


def _may_go(reader: Reader, agent: Agent, checkpoint: Checkpoint) -> bool:
    if checkpoint.checkpoint_id == agent.head.checkpoint_id:
        return False
    if checkpoint.pinned or checkpoint.tags or checkpoint.groups or checkpoint.dependents:
        return False
    spare = keys.spare_good(agent.agent_id, checkpoint.checkpoint_id)
    return not checkpoint.known_good or reader.get(spare) is not None


# --- known good ones ---------------------------------------------------------


def set_known_good(context: Context, agent: Agent, checkpoint: Checkpoint, good: bool) -> None:
    """Note that a checkpoint has become known good, or is so no longer, and save it."""
    if checkpoint.known_good != good:
        checkpoint.known_good = good
        number = checkpoint.checkpoint_id
        _enter(context, agent, number) if good else _leave(context, agent, number)
    save(context, agent, checkpoint)
    settle(context, agent, limits.PRUNED_PER_SAVE_MAX)


def settle(context: Context, agent: Agent, moves: int) -> bool:
    """Move some known good ones so that the newest few, as many as are to be kept, are.
    Say whether they all are."""
    most = agent.retention.keep_known_good or agent.known_good
    wanted = min(most, agent.known_good)
    while moves > 0 and _kept(agent) != wanted:
        if _kept(agent) > wanted:
            _spare_oldest(context, agent)
        else:
            _keep_newest(context, agent)
        moves -= 1
    return _kept(agent) >= wanted


def _kept(agent: Agent) -> int:
    return agent.known_good - agent.spare_known_good


def _enter(context: Context, agent: Agent, number: int) -> None:
    """Spare ones are all older than kept ones, and stay so."""
    agent.known_good += 1
    agent.newest_known_good = max(agent.newest_known_good, number)
    if number < _newest(context.store, keys.spare_good_of(agent.agent_id)):
        agent.spare_known_good += 1
        context.store.put(keys.spare_good(agent.agent_id, number), b"")
    else:
        context.store.put(keys.kept_good(agent.agent_id, number), b"")


def _leave(context: Context, agent: Agent, number: int) -> None:
    agent.known_good -= 1
    if context.store.delete(keys.spare_good(agent.agent_id, number)):
        agent.spare_known_good -= 1
    else:
        context.store.delete(keys.kept_good(agent.agent_id, number))
    if number == agent.newest_known_good:
        kept = _newest(context.store, keys.kept_good_of(agent.agent_id))
        spare = _newest(context.store, keys.spare_good_of(agent.agent_id))
        agent.newest_known_good = kept or spare


def _spare_oldest(context: Context, agent: Agent) -> None:
    oldest = _oldest(context.store, keys.kept_good_of(agent.agent_id))
    context.store.delete(keys.kept_good(agent.agent_id, oldest))
    context.store.put(keys.spare_good(agent.agent_id, oldest), b"")
    agent.spare_known_good += 1
    refresh(context, agent, load(context.store, agent, oldest))


def _keep_newest(context: Context, agent: Agent) -> None:
    newest = _newest(context.store, keys.spare_good_of(agent.agent_id))
    context.store.delete(keys.spare_good(agent.agent_id, newest))
    context.store.put(keys.kept_good(agent.agent_id, newest), b"")
    agent.spare_known_good -= 1
    refresh(context, agent, load(context.store, agent, newest))


def _oldest(reader: Reader, span: keys.Span) -> int:
    """The first checkpoint of an index; zero: it is empty."""
    return next((keys.to_number(key) for key, _ in reader.scan(*span)), 0)


def _newest(reader: Reader, span: keys.Span) -> int:
    """The last checkpoint of an index; zero: it is empty."""
    return next((keys.to_number(key) for key, _ in reader.scan_back(*span)), 0)


# --- removing ----------------------------------------------------------------


class _Pruned(NamedTuple):
    """How many were removed, and whether there are others that would be."""

    checkpoints: int
    more: bool


def retain(context: Context, agent: Agent) -> None:
    """Remove what the agent's retention gives up, a few when one has been saved."""
    kept = settle(context, agent, limits.PRUNED_PER_SAVE_MAX)
    rules = agent.retention
    if not kept or not (rules.keep_last or rules.keep_for_ms):
        return

    def unwanted(oldest: int) -> bool:
        if rules.keep_last and agent.prunable > rules.keep_last:
            return True
        if not rules.keep_for_ms:
            return False
        saved_ms = load(context.store, agent, oldest).log_time_ms
        return saved_ms + rules.keep_for_ms < context.log_time_ms

    most, named = limits.PRUNED_PER_SAVE_MAX, limits.PRUNED_CHUNKS_PER_SAVE_MAX
    _prune(context, agent, unwanted, most, named)


def prune_checkpoints(
    context: Context, request: PruneCheckpointsRequest
) -> PruneCheckpointsResponse | Refusal:
    """Remove old checkpoints, the oldest first."""
    agent = agents.load(context.store, request.agent_id)
    if agent is None:
        return agents.missing(request.agent_id)
    before = request.before_checkpoint_id

    def unwanted(oldest: int) -> bool:
        return agent.prunable > request.keep_last and (not before or oldest < before)

    pruned = _Pruned(0, more=True)
    if settle(context, agent, limits.PRUNED_PER_CALL_MAX):
        most, named = limits.PRUNED_PER_CALL_MAX, limits.PRUNED_CHUNKS_PER_CALL_MAX
        pruned = _prune(context, agent, unwanted, most, named)
    agents.save(context, agent)
    return PruneCheckpointsResponse(pruned=pruned.checkpoints, more=pruned.more)


def _prune(
    context: Context, agent: Agent, unwanted: Callable[[int], bool], most: int, named: int
) -> _Pruned:
    """Remove prunable checkpoints, oldest first, while they are unwanted: at most so many,
    and none after those removed have named so many chunks."""
    count = 0
    while (oldest := _oldest(context.store, keys.prunable_of(agent.agent_id))) != 0:
        if not unwanted(oldest):
            break
        if count == most or named <= 0:
            return _Pruned(count, more=True)
        named -= _remove(context, agent, load(context.store, agent, oldest))
        count += 1
    return _Pruned(count, more=False)


def _remove(context: Context, agent: Agent, checkpoint: Checkpoint) -> int:
    """Remove a prunable checkpoint; say how many chunks it named. What it was built on
    may be prunable after it."""
    agent_id, number = agent.agent_id, checkpoint.checkpoint_id
    context.store.delete(keys.prunable(agent_id, number))
    agent.prunable -= 1
    if checkpoint.known_good:
        _leave(context, agent, number)
    context.store.delete(keys.checkpoint(agent_id, number))
    place = keys.checkpoint_body(agent_id, number)
    raw = context.store.get(place)
    assert raw is not None, f"{agent_id}: checkpoint {number} has no body"
    context.store.delete(place)
    named = CheckpointBody.FromString(raw).chunks
    chunks.release(context, checkpoint_queries.chunk_space(agent), named)
    if checkpoint.base_checkpoint_id:
        base = load(context.store, agent, checkpoint.base_checkpoint_id)
        base.dependents -= 1
        save(context, agent, base)
    return len(named)
