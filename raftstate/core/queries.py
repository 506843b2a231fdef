"""Reads: what the state says, from any reader of it, at whatever point it shows.

Nothing here knows whether a reader is current; that is the caller's affair. An
id that cannot be one names nothing: reads answer None or nothing, and never
raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from raftstate.core import agents, keys, limits, sessions
from raftstate.core.machine import read_counters, read_mark
from raftstate.core.ports import Reader
from raftstate.core.sessions import SessionRecord
from raftstate.core.types import Position, Revision, token_key
from raftstate.v1.agent_service_pb2 import Agent, FenceQuery, TakeoverBundle
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.session_service_pb2 import Session
from raftstate.v1.store_pb2 import CheckpointBody

_NUMBER_MAX = (1 << 63) - 1  # what islice takes


class StreamHead(NamedTuple):
    """How long a stream is, and the hash that chains all of it."""

    last_seq: int
    last_hash: bytes


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


def last_position(reader: Reader) -> int:
    """How many events there are in all streams together."""
    return read_counters(reader).last_position


# --- agents ------------------------------------------------------------------


def get_agent(reader: Reader, agent_id: str) -> Agent | None:
    """One agent."""
    return agents.load(reader, agent_id) if limits.AGENT_ID.fullmatch(agent_id) else None


def list_agents(reader: Reader, prefix: str, after: str, limit: int) -> list[Agent]:
    """Up to `limit` agents whose id starts with `prefix`, behind `after`, by id."""
    if len(prefix) > limits.AGENT_ID_CHARS_MAX:
        return []
    found = reader.scan(*keys.agents(prefix, after))
    return [Agent.FromString(raw) for _, raw in islice(found, limit)]


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


# --- events ------------------------------------------------------------------


def read_events(
    reader: Reader, stream: str, from_seq: int, limit: int, bytes_max: int
) -> list[Event]:
    """Events of one stream from `from_seq` on: at most `limit`, and at least one if
    there is one, and no more than fit into `bytes_max` as stored after that."""
    if not limits.AGENT_ID.fullmatch(stream):
        return []
    found = reader.scan(*keys.events(stream, from_seq))
    raws = (raw for _, raw in found)
    return [Event.FromString(raw) for raw in islice(_fitting(raws, bytes_max), limit)]


def read_all(reader: Reader, from_position: int, limit: int, bytes_max: int) -> list[Event]:
    """Events of all streams from a position on, in the order of the log; bounded as
    in `read_events`."""
    found = reader.scan(*keys.positions(from_position))
    raws = (_referenced(reader, reference) for _, reference in found)
    return [Event.FromString(raw) for raw in islice(_fitting(raws, bytes_max), limit)]


def get_stream(reader: Reader, stream: str) -> StreamHead | None:
    """How long a stream is; None if it never had an event."""
    agent = get_agent(reader, stream)
    if agent is None or agent.head.event_seq == 0:
        return None
    return StreamHead(agent.head.event_seq, agent.head.event_hash)


def _referenced(reader: Reader, reference: bytes) -> bytes:
    raw = reader.get(keys.referenced_event(reference))
    assert raw is not None, f"a position refers to no event: {reference!r}"
    return raw


def _fitting(raws: Iterator[bytes], bytes_max: int) -> Iterator[bytes]:
    """The first, and those after it while all together stay within the bound."""
    total = 0
    for raw in raws:
        if total and total + len(raw) > bytes_max:
            return
        total += len(raw)
        yield raw


# --- checkpoints -------------------------------------------------------------


def get_checkpoint(
    reader: Reader, agent_id: str, checkpoint_id: int, with_data: bool
) -> Checkpoint | None:
    """One checkpoint; id zero is the newest."""
    agent = get_agent(reader, agent_id)
    if agent is None:
        return None
    checkpoint_id = checkpoint_id or agent.head.checkpoint_id
    raw = reader.get(keys.checkpoint(agent_id, checkpoint_id))
    if raw is None:
        return None
    checkpoint = Checkpoint.FromString(raw)
    if with_data:
        body = reader.get(keys.checkpoint_body(agent_id, checkpoint_id))
        assert body is not None, f"{agent_id}: checkpoint {checkpoint_id} has no data"
        checkpoint.data = CheckpointBody.FromString(body).data
    return checkpoint


def list_checkpoints(
    reader: Reader, agent_id: str, before: int, limit: int
) -> list[Checkpoint]:
    """Up to `limit` of an agent's checkpoints with ids below `before` (zero: all),
    newest first, without data."""
    if not limits.AGENT_ID.fullmatch(agent_id):
        return []
    found = reader.scan_back(*keys.checkpoints(agent_id, before))
    return [Checkpoint.FromString(raw) for _, raw in islice(found, limit)]


# --- takeover ----------------------------------------------------------------


def takeover_bundle(
    reader: Reader, agent_id: str, bytes_max: int = limits.BUNDLE_EVENT_BYTES_MAX
) -> TakeoverBundle | None:
    """All that a successor needs to go on: the newest checkpoint, and the events
    after it, up to about `bytes_max` of them."""
    agent = get_agent(reader, agent_id)
    if agent is None:
        return None
    bundle = TakeoverBundle(agent=agent)
    first = 1
    if agent.head.checkpoint_id:
        checkpoint = get_checkpoint(reader, agent_id, agent.head.checkpoint_id, True)
        assert checkpoint is not None, f"{agent_id}: the head checkpoint is missing"
        bundle.checkpoint.CopyFrom(checkpoint)
        first = checkpoint.event_seq + 1
    bundle.events.extend(read_events(reader, agent_id, first, _NUMBER_MAX, bytes_max))
    bundle.more_events = first + len(bundle.events) <= agent.head.event_seq
    return bundle
