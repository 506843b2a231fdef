"""Reads: what the state says, from any reader of it, at whatever point it shows.

Nothing here knows whether a reader is current; that is the caller's affair. An
id that cannot be one names nothing: reads answer None or nothing, and never
raise.
"""

from __future__ import annotations

from itertools import islice

from raftstate.core import (
    agents,
    checkpoint_queries,
    effect_queries,
    keys,
    limits,
    pages,
    recording_queries,
    sessions,
    stream_queries,
)
from raftstate.core.machine import read_counters, read_mark
from raftstate.core.ports import Reader
from raftstate.core.sessions import SessionRecord
from raftstate.core.types import Position, Revision, token_key
from raftstate.v1.agent_service_pb2 import Agent, FenceQuery, TakeoverBundle
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.session_service_pb2 import Session

# --- the machine -------------------------------------------------------------


def applied(reader: Reader) -> Position:
    """The last log entry that is in the state."""
    return read_mark(reader).position


def configuration(reader: Reader) -> Configuration | None:
    """Who is in the cluster; None before a configuration was applied."""
    raw = reader.get(keys.MEMBERS)
    return None if raw is None else Configuration.FromString(raw)


def revision(reader: Reader) -> Revision:
    """How many commands were applied."""
    return Revision(read_counters(reader).revision)


def state_hash(reader: Reader) -> bytes:
    """The additive hash as the machine keeps it; see `hashing.full_hash`."""
    return read_mark(reader).state_hash


def log_time_ms(reader: Reader) -> int:
    """The largest stamp applied."""
    return read_counters(reader).log_time_ms


def wall_time_ms(reader: Reader) -> int:
    """The wall-clock label of the newest entry with commands. For reports only."""
    return read_counters(reader).wall_time_ms


# --- agents ------------------------------------------------------------------


def get_agent(reader: Reader, agent_id: str) -> Agent | None:
    """One agent."""
    return agents.load(reader, agent_id) if limits.AGENT_ID.fullmatch(agent_id) else None


def list_agents(
    reader: Reader, prefix: str, after: str, limit: int, bytes_max: int | None = None
) -> list[Agent]:
    """Up to `limit` agents whose id starts with `prefix`, behind `after`, by id; fewer
    where `bytes_max` says so (see `pages`)."""
    if len(prefix) > limits.AGENT_ID_CHARS_MAX:
        return []
    found = reader.scan(*keys.agents(prefix, after))
    return [Agent.FromString(raw) for raw in pages.looked_at(found, limit, bytes_max)]


def owned_agents(reader: Reader) -> list[Agent]:
    """Every agent that has an owner, found by the index."""
    owned = [keys.owned_agent_id(key) for key, _ in reader.scan(*keys.OWNED)]
    return [_indexed(reader, agent_id) for agent_id in owned]


def agents_owned_by(reader: Reader, session_id: str) -> list[str]:
    """The ids of the agents that a session owns, in order."""
    if not limits.SESSION_ID.fullmatch(session_id):
        return []
    return [keys.owned_agent_id(key) for key, _ in reader.scan(*keys.owned_by(session_id))]


def _indexed(reader: Reader, agent_id: str) -> Agent:
    agent = agents.load(reader, agent_id)
    assert agent is not None and agent.HasField("owner"), f"{agent_id} has no owner"
    return agent


def is_current(reader: Reader, query: FenceQuery) -> bool:
    """Whether a token is its agent's owner's."""
    agent = get_agent(reader, query.agent_id)
    if agent is None or not agent.HasField("owner"):
        return False
    return token_key(agent.owner.fence) == token_key(query.fence)


# --- sessions ----------------------------------------------------------------


def get_session(reader: Reader, session_id: str) -> SessionRecord | None:
    """A live session's record."""
    ok = limits.SESSION_ID.fullmatch(session_id)
    return sessions.load(reader, session_id) if ok else None


def list_sessions(reader: Reader, after: str, limit: int) -> list[Session]:
    """Up to `limit` live sessions behind `after`, by id."""
    found = islice(reader.scan(*keys.sessions(after)), limit)
    return [Session.FromString(raw) for _, raw in found]


def sessions_all(reader: Reader) -> list[SessionRecord]:
    """The record of every live session."""
    found = [Session.FromString(raw) for _, raw in reader.scan(*keys.sessions(""))]
    records = (sessions.load(reader, session.session_id) for session in found)
    return [record for record in records if record is not None]


def is_answered(reader: Reader, session_id: str, opened_revision: int, sequence: int) -> bool:
    """Whether a request can have no other effect any more: its outcome is
    remembered or forgotten, or its session has ended."""
    record = get_session(reader, session_id)
    if record is None or record.session.opened_revision != opened_revision:
        return True
    if sequence < record.forgotten_below:
        return True
    return reader.get(keys.outcome(session_id, sequence)) is not None


# --- takeover ----------------------------------------------------------------


def takeover_bundle(
    reader: Reader, agent_id: str, bytes_max: int = limits.BUNDLE_EVENT_BYTES_MAX
) -> TakeoverBundle | None:
    """All that a successor needs to go on: the newest checkpoint, with its data if it is
    full and of one piece; the events after it, and the effects of which the end is not known,
    up to about `bytes_max`, and half of that; and the sagas that have not ended."""
    agent = get_agent(reader, agent_id)
    if agent is None:
        return None
    bundle = TakeoverBundle(agent=agent)
    first = 1
    if agent.head.checkpoint_id:
        checkpoint = checkpoint_queries.get_checkpoint(reader, agent_id)
        assert checkpoint is not None, f"{agent_id}: the head checkpoint is missing"
        first = checkpoint.event_seq + 1
        data = _bundled_data(reader, checkpoint)
        bundle.checkpoint.CopyFrom(checkpoint)
        bundle.checkpoint.data = data or b""
        bundle.more_data = data is None
    found = stream_queries.read_live(reader, agent, first, bytes_max)
    bundle.events.extend(found.events)
    bundle.more_events = found.more
    _add_what_is_open(reader, bundle, bytes_max // 2)
    return bundle


def _add_what_is_open(reader: Reader, bundle: TakeoverBundle, bytes_max: int) -> None:
    """Add the effects and sagas that a successor has to see to, and what was recorded of
    the step that was not committed. A checkpoint, an event or a value may each be a large
    one, so it is so much of them that with all the rest the bundle is no more than clients
    receive by default."""

    def most() -> int:
        return min(bytes_max, limits.BUNDLE_BYTES_MAX - bundle.ByteSize())

    agent_id = bundle.agent.agent_id
    bundle.open_sagas.extend(effect_queries.open_sagas(reader, agent_id))
    found, bundle.more_effects = effect_queries.open_effects(reader, agent_id, most())
    bundle.open_effects.extend(found)
    step = bundle.agent.head.step + 1
    left, bundle.more_recordings = recording_queries.of_step(reader, agent_id, step, most())
    bundle.recordings.extend(left)


def _bundled_data(reader: Reader, checkpoint: Checkpoint) -> bytes | None:
    """A checkpoint's data, if it is full, of one piece, and what was saved. Whatever else
    is read piece by piece, each of which is checked, or is told to be damaged."""
    if checkpoint.base_checkpoint_id or checkpoint.chunk_count > 1:
        return None
    data = checkpoint_queries.read_data(reader, checkpoint)
    if data is None or checkpoint_queries.digest(data) != checkpoint.content_hash:
        return None
    return data
