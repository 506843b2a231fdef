"""Where everything lives in the one ordered byte map.

A key is a table's letter, then ids as they are, then numbers as eight
big-endian bytes, so that the order of keys is the order of what they name. A
zero byte stands between an id and what follows it: no id contains one, and it
sorts before every character of an id, so "a" with all its rows comes before
"a/b" with its.

    !applied                      position and state hash       not in the hash
    !members                      Configuration                 not in the hash
    !counters                     revision, times, last position
    a agent_id                    Agent
    c agent_id 0 checkpoint_id    Checkpoint, without data
    d agent_id 0 checkpoint_id    a checkpoint's data
    e agent_id 0 seq              Event
    g position                    the rest of an event's key after its letter
    o session_id 0 agent_id       empty: this session owns that agent
    r session_id 0 sequence       OutcomeRecord
    s session_id                  SessionRecord

The longest key is an `o`: 266 bytes, well below what the storage takes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from raftstate.core.limits import KEY_BYTES_MAX

APPLIED = b"!applied"
COUNTERS = b"!counters"
MEMBERS = b"!members"
# What log entries without commands change, at no revision: not in the state hash.
UNHASHED = frozenset({APPLIED, MEMBERS})

_AGENT = b"a"
_CHECKPOINT = b"c"
_CHECKPOINT_DATA = b"d"
_EVENT = b"e"
_POSITION = b"g"
_OWNED = b"o"
_OUTCOME = b"r"
_SESSION = b"s"

# Ids are ASCII, and no table's letter is 0xff, so this sorts after all of them.
_TOP = b"\xff"

number = struct.Struct(">Q").pack


class Span(NamedTuple):
    """A range of keys: start <= key < stop."""

    start: bytes
    stop: bytes


# Also what does not belong here: damage may be anywhere.
EVERYTHING = Span(b"", _TOP * KEY_BYTES_MAX)


def to_number(raw: bytes) -> int:
    """The number that the last eight bytes of a key hold."""
    return int.from_bytes(raw[-8:], "big")


# --- agents ------------------------------------------------------------------


def agent(agent_id: str) -> bytes:
    """Where an agent's record is."""
    return _AGENT + agent_id.encode()


def agents(prefix: str, after: str) -> Span:
    """Agents whose id starts with `prefix` and sorts behind `after`."""
    every = _AGENT + prefix.encode()
    return Span(max(every, _behind(_AGENT, after)), every + _TOP)


def owned(session_id: str, agent_id: str) -> bytes:
    """The mark that a session owns an agent."""
    return _OWNED + session_id.encode() + b"\0" + agent_id.encode()


def owned_by(session_id: str) -> Span:
    """The marks of all agents that a session owns."""
    start = _OWNED + session_id.encode() + b"\0"
    return Span(start, start + _TOP)


OWNED = Span(_OWNED, _OWNED + _TOP)


def owned_agent_id(key: bytes) -> str:
    """The agent that a mark is about."""
    return key[key.index(b"\0") + 1 :].decode()


# --- what agents write -------------------------------------------------------


def event(stream_id: str, seq: int) -> bytes:
    """Where an event is."""
    return _EVENT + stream_id.encode() + b"\0" + number(seq)


def events(stream_id: str, first: int) -> Span:
    """A stream's events from `first` on."""
    stream = _EVENT + stream_id.encode()
    return Span(stream + b"\0" + number(first), stream + b"\x01")


def position(place: int) -> bytes:
    """Which event stands at a place of the global order."""
    return _POSITION + number(place)


def positions(first: int) -> Span:
    """The global order from `first` on."""
    return Span(_POSITION + number(first), _POSITION + _TOP * 9)


def event_reference(event_key: bytes) -> bytes:
    """What `position` holds for an event."""
    return event_key[1:]


def referenced_event(reference: bytes) -> bytes:
    """The key of the event that a reference is to."""
    return _EVENT + reference


def checkpoint(agent_id: str, checkpoint_id: int) -> bytes:
    """Where a checkpoint is, without its data."""
    return _CHECKPOINT + agent_id.encode() + b"\0" + number(checkpoint_id)


def checkpoints(agent_id: str, before: int) -> Span:
    """An agent's checkpoints with smaller ids than `before`; zero: all."""
    owner = _CHECKPOINT + agent_id.encode()
    return Span(owner + b"\0", owner + b"\0" + number(before) if before else owner + b"\x01")


def checkpoint_data(agent_id: str, checkpoint_id: int) -> bytes:
    """Where a checkpoint's data is."""
    return _CHECKPOINT_DATA + agent_id.encode() + b"\0" + number(checkpoint_id)


# --- sessions ----------------------------------------------------------------


def session(session_id: str) -> bytes:
    """Where a session's record is."""
    return _SESSION + session_id.encode()


def sessions(after: str) -> Span:
    """Sessions whose id sorts behind `after`."""
    return Span(_behind(_SESSION, after), _SESSION + _TOP)


def outcome(session_id: str, sequence: int) -> bytes:
    """Where the remembered answer to a request is."""
    return _OUTCOME + session_id.encode() + b"\0" + number(sequence)


def outcomes(session_id: str) -> Span:
    """All remembered answers of a session."""
    owner = _OUTCOME + session_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def outcomes_below(session_id: str, sequence: int) -> Span:
    """The remembered answers to requests before `sequence`."""
    owner = _OUTCOME + session_id.encode()
    return Span(owner + b"\0", owner + b"\0" + number(sequence))


def _behind(table: bytes, after: str) -> bytes:
    """The first possible key after an id, or of the table if there is no id.

    A page token may hold anything; cut, it still sorts the same against every
    id, none of which is as long as that."""
    return table + after.encode()[:256] + b"\0" if after else table
