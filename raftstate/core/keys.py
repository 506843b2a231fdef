"""Where everything lives in the one ordered byte map.

A key is a table's letter, then ids as they are, then numbers as eight
big-endian bytes, so that the order of keys is the order of what they name. A
zero byte stands between an id and what follows it: no id contains one, and it
sorts before every character of an id, so "a" with all its rows comes before
"a/b" with its.

    !applied                      position and state hash       not in the hash
    !members                      Configuration                 not in the hash
    !counters                     revision, times, last position
    !history                      HistoryMark
    !incidents                    how many were opened, and how many resolved
    A saga_id                     Saga                                         H
    B name                        Breaker                                      H
    C session_id 0 plan_id        empty: this session has claimed that plan
    D agent_id 0 revision number  empty: that effect was done, and is not undone
    E agent_id 0 number           Effect                                       H
    F agent_id 0 effect_id        number of the effect with that id
    G agent_id 0 checkpoint_id    empty: known good, and kept because of that
    I incident_id                 Incident                                     H
    J saga_id 0 agent_id 0 number empty: that effect belongs to that saga
    K plan_id 0 position          CompensationItem                             H
    L agent_id 0 checkpoint_id    UndoneRange of checkpoints that a rollback left behind
    N number                      incident_id that was the so manieth resolved
    O agent_id 0 number           empty: that effect is PREPARED, DISPATCHED or UNKNOWN
    P session_id 0 name           empty: this session has permits of that breaker
    R rollback_id                 Rollback                                     H
    S agent_id 0 checkpoint_id    empty: known good, but one of more than are kept
    T agent_id 0 saga_id          empty: the agent began that saga, which has not ended
    U agent_id 0 first_seq        UndoneRange                                  H
    V agent_id 0 step key         Recording; under no key of step 0 what a step has in all
    W name                        BreakerWindow
    a agent_id                    Agent                                        H
    b space 0 chunk_hash          a chunk's data
    c agent_id 0 checkpoint_id    Checkpoint, without data                     H
    d agent_id 0 checkpoint_id    CheckpointBody
    e stream_id 0 seq             Event                                        T
    f space 0 chunk_hash          ChunkRecord
    g position                    the rest of an event's key after its letter
    h revision                    ChangedKeys
    i stream_id 0 event_id        seq of the event with that id
    j lease_id key                empty: this lease has that key
    k key                         KeyValue                                     H
    l lease_id                    Lease                                        H
    m group_id                    GroupCheckpoint                              H
    n name                        Validator                                    H
    o session_id 0 agent_id       empty: this session owns that agent
    p name                        Projection                                   H
    q stream_id                   StreamInfo: free, or truncated               H
    r session_id 0 sequence       OutcomeRecord
    s session_id                  Session                                      H
    t session_id                  SessionTouch
    u log_time space 0 hash       empty: unused since then, if the ChunkRecord says so
    v key' revision               what a key had before a revision changed it
    w agent_id 0 tag              checkpoint_id                                H
    x agent_id 0 checkpoint_id    empty: retention may remove that checkpoint
    y lease_id                    bytes that the lease has, revision of its newest command
    z number                      GarbageJob

H: what a key had at earlier revisions is kept (see `history`). T: only that it came.

The longest key is a `v`, of a key of 480 bytes: 492 bytes. In it a zero byte stands as
two, and the end of the key as a third kind, so that the order stays that of the keys;
which is why a zero byte of a key counts twice.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from raftstate.core.limits import KEY_BYTES_MAX

APPLIED = b"!applied"
COUNTERS = b"!counters"
MEMBERS = b"!members"
HISTORY = b"!history"
INCIDENTS = b"!incidents"
# What log entries without commands change, at no revision: not in the state hash.
UNHASHED = frozenset({APPLIED, MEMBERS})

_SAGA = b"A"
_BREAKER = b"B"
_CLAIMED = b"C"
_DONE_EFFECT = b"D"
_EFFECT = b"E"
_EFFECT_ID = b"F"
_KEPT_GOOD = b"G"
_INCIDENT = b"I"
_SAGA_EFFECT = b"J"
_ITEM = b"K"
_LEFT_BEHIND = b"L"
_RESOLVED = b"N"
_OPEN_EFFECT = b"O"
_PERMITTED = b"P"
_ROLLBACK = b"R"
_SPARE_GOOD = b"S"
_OPEN_SAGA = b"T"
_UNDONE = b"U"
_RECORDING = b"V"
_WINDOW = b"W"
_AGENT = b"a"
_CHUNK = b"b"
_CHECKPOINT = b"c"
_CHECKPOINT_BODY = b"d"
_EVENT = b"e"
_CHUNK_RECORD = b"f"
_POSITION = b"g"
_CHANGES = b"h"
_EVENT_ID = b"i"
_LEASED = b"j"
_KEY = b"k"
_LEASE = b"l"
_GROUP = b"m"
_VALIDATOR = b"n"
_OWNED = b"o"
_PROJECTION = b"p"
_STREAM = b"q"
_OUTCOME = b"r"
_SESSION = b"s"
_SESSION_TOUCH = b"t"
_UNUSED_CHUNK = b"u"
_UNDO = b"v"
_TAG = b"w"
_PRUNABLE = b"x"
_LEASE_TOUCH = b"y"
_GARBAGE = b"z"

# Tables whose past is kept, and tables of which it is only kept what came.
HISTORIED = frozenset(
    {
        _AGENT,
        _CHECKPOINT,
        _KEY,
        _LEASE,
        _GROUP,
        _VALIDATOR,
        _PROJECTION,
        _STREAM,
        _SESSION,
        _TAG,
        _EFFECT,
        _SAGA,
        _ITEM,
        _ROLLBACK,
        _UNDONE,
        _BREAKER,
        _INCIDENT,
    }
)
TOLD = frozenset({_EVENT})

# Ids are ASCII, and no table's letter is 0xff, so this sorts after all of them.
_TOP = b"\xff"
# In a `v` key: a zero byte, and the end of the key that it is about.
_ZERO = b"\0\xff"
_END = b"\0\x01"
_NUMBER_MAX = (1 << 64) - 1

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


def checkpoint_body(agent_id: str, checkpoint_id: int) -> bytes:
    """Where it is said where a checkpoint's data is."""
    return _CHECKPOINT_BODY + agent_id.encode() + b"\0" + number(checkpoint_id)


def tag(agent_id: str, name: str) -> bytes:
    """Which checkpoint of an agent has a tag."""
    return _TAG + agent_id.encode() + b"\0" + name.encode()


def prunable(agent_id: str, checkpoint_id: int) -> bytes:
    """The mark that retention may remove a checkpoint."""
    return _PRUNABLE + agent_id.encode() + b"\0" + number(checkpoint_id)


def prunable_of(agent_id: str) -> Span:
    """The marks of all checkpoints of an agent that may be removed, oldest first."""
    owner = _PRUNABLE + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def kept_good(agent_id: str, checkpoint_id: int) -> bytes:
    """The mark that retention keeps a checkpoint because it is known good."""
    return _KEPT_GOOD + agent_id.encode() + b"\0" + number(checkpoint_id)


def kept_good_of(agent_id: str) -> Span:
    """The marks of an agent's known good checkpoints that are kept, oldest first."""
    owner = _KEPT_GOOD + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def spare_good(agent_id: str, checkpoint_id: int) -> bytes:
    """The mark that a checkpoint is known good, but one of more than are kept."""
    return _SPARE_GOOD + agent_id.encode() + b"\0" + number(checkpoint_id)


def spare_good_of(agent_id: str) -> Span:
    """The marks of an agent's known good checkpoints that are not kept, oldest first."""
    owner = _SPARE_GOOD + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def chunk(space: str, digest: bytes) -> bytes:
    """Where a chunk's data is."""
    return _CHUNK + space.encode() + b"\0" + digest


def chunk_record(space: str, digest: bytes) -> bytes:
    """Where it is counted who uses a chunk."""
    return _CHUNK_RECORD + space.encode() + b"\0" + digest


def unused_chunk(since_ms: int, space: str, digest: bytes) -> bytes:
    """The mark that nobody used a chunk from a log time on; see `chunks`."""
    return _UNUSED_CHUNK + number(since_ms) + space.encode() + b"\0" + digest


def unused_chunks(before_ms: int) -> Span:
    """The marks of chunks unused since before a log time, the longest unused first."""
    return Span(_UNUSED_CHUNK, _UNUSED_CHUNK + number(before_ms))


def unused_chunk_named(key: bytes) -> tuple[int, str, bytes]:
    """Since when, in whose space, and which chunk a mark is about."""
    end = key.index(b"\0", 9)
    return int.from_bytes(key[1:9], "big"), key[9:end].decode(), key[end + 1 :]


def group(group_id: str) -> bytes:
    """Where a group checkpoint is."""
    return _GROUP + group_id.encode()


def groups(prefix: str, after: str) -> Span:
    """Groups whose id starts with `prefix` and sorts behind `after`."""
    every = _GROUP + prefix.encode()
    return Span(max(every, _behind(_GROUP, after)), every + _TOP)


def validator(name: str) -> bytes:
    """Where a validator is."""
    return _VALIDATOR + name.encode()


def validators(after: str) -> Span:
    """Validators whose name sorts behind `after`."""
    return Span(_behind(_VALIDATOR, after), _VALIDATOR + _TOP)


# --- streams and projections -------------------------------------------------


def events_between(stream_id: str, first: int, last: int) -> Span:
    """A stream's events from `first` to `last`."""
    stream = _EVENT + stream_id.encode() + b"\0"
    return Span(stream + number(first), stream + number(last) + b"\0")


def event_id(stream_id: str, name: str) -> bytes:
    """Where the seq of the event with an id is."""
    return _EVENT_ID + stream_id.encode() + b"\0" + name.encode()


def stream(stream_id: str) -> bytes:
    """Where a free stream's head is, or what was truncated of an agent's."""
    return _STREAM + stream_id.encode()


def streams(prefix: str, after: str) -> Span:
    """Streams of that table whose id starts with `prefix` and sorts behind `after`."""
    every = _STREAM + prefix.encode()
    return Span(max(every, _behind(_STREAM, after)), every + _TOP)


def positions_between(first: int, last: int) -> Span:
    """The global order from `first` to `last`."""
    return Span(_POSITION + number(first), _POSITION + number(last) + b"\0")


def projection(name: str) -> bytes:
    """Where a projection is."""
    return _PROJECTION + name.encode()


def projections(after: str) -> Span:
    """Projections whose name sorts behind `after`."""
    return Span(_behind(_PROJECTION, after), _PROJECTION + _TOP)


# --- keys and leases ---------------------------------------------------------


def key(name: bytes) -> bytes:
    """Where a user's key is."""
    return _KEY + name


def user_key(stored: bytes) -> bytes:
    """The user's key that is stored there."""
    return stored[1:]


def key_range(start: bytes, end: bytes) -> Span:
    """Users' keys from `start` to before `end`; an empty end: to the last one."""
    return Span(_KEY + start, _KEY + end if end else _LEASE)


def keys_with(prefix: bytes) -> Span:
    """Users' keys that start with a prefix."""
    bare = prefix.rstrip(b"\xff")
    if not bare:
        return Span(_KEY + prefix, _LEASE)
    return Span(_KEY + prefix, _KEY + bare[:-1] + bytes([bare[-1] + 1]))


def cost_of_key(name: bytes) -> int:
    """How many bytes a user's key counts for: a zero byte counts twice."""
    return len(name) + name.count(0)


def lease(lease_id: int) -> bytes:
    """Where a lease is."""
    return _LEASE + number(lease_id)


def leases(after: int) -> Span:
    """Leases with larger ids than `after`."""
    return Span(_LEASE + number(after + 1) if after else _LEASE, _LEASE + _TOP * 9)


def lease_touch(lease_id: int) -> bytes:
    """Where it stands what many commands change of a lease."""
    return _LEASE_TOUCH + number(lease_id)


def leased(lease_id: int, name: bytes) -> bytes:
    """The mark that a lease has a key."""
    return _LEASED + number(lease_id) + name


def leased_by(lease_id: int) -> Span:
    """The marks of all keys of a lease."""
    start = _LEASED + number(lease_id)
    return Span(start, _LEASED + number(lease_id + 1) if lease_id < _NUMBER_MAX else _KEY)


def leased_key(mark: bytes) -> bytes:
    """The user's key that a mark is about."""
    return mark[9:]


# --- history -----------------------------------------------------------------


def changes(revision: int) -> bytes:
    """Where it stands what a revision changed."""
    return _CHANGES + number(revision)


def changes_between(first: int, last: int) -> Span:
    """What the revisions from `first` to `last` changed."""
    return Span(_CHANGES + number(first), _CHANGES + number(last) + b"\0")


def undo(changed: bytes, revision: int) -> bytes:
    """Where it stands what a key had before a revision changed it."""
    return _UNDO + _escaped(changed) + _END + number(revision)


def undone_after(changed: bytes, revision: int) -> Span:
    """What a key had before each change after a revision, oldest first."""
    stem = _UNDO + _escaped(changed) + _END
    return Span(stem + number(revision + 1), stem + _TOP * 9)


def undo_bound(bound: bytes) -> bytes:
    """Where, in that table, the keys from `bound` on begin."""
    return _UNDO + _escaped(bound)


def behind_undone(changed: bytes) -> bytes:
    """Where, in that table, the keys behind `changed` begin."""
    return _UNDO + _escaped(changed) + _END + _TOP * 9


def undone(row: bytes) -> tuple[bytes, int]:
    """Which key, and which revision, a row of that table is about."""
    return row[1:-10].replace(_ZERO, b"\0"), to_number(row)


def _escaped(changed: bytes) -> bytes:
    return changed.replace(b"\0", _ZERO)


def garbage(place: int) -> bytes:
    """Where a job of removal is."""
    return _GARBAGE + number(place)


# --- effects and what is undone ------------------------------------------------


def effect(agent_id: str, effect_number: int) -> bytes:
    """Where an effect is."""
    return _EFFECT + agent_id.encode() + b"\0" + number(effect_number)


def effects(agent_id: str, first: int) -> Span:
    """An agent's effects from `first` on."""
    owner = _EFFECT + agent_id.encode()
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def effect_named(agent_id: str, effect_id: str) -> bytes:
    """Where the number of the effect with an id is."""
    return _EFFECT_ID + agent_id.encode() + b"\0" + effect_id.encode()


def open_effect(agent_id: str, effect_number: int) -> bytes:
    """The mark that an effect is PREPARED, DISPATCHED or UNKNOWN."""
    return _OPEN_EFFECT + agent_id.encode() + b"\0" + number(effect_number)


def open_effects(agent_id: str, first: int = 0) -> Span:
    """The marks of an agent's open effects from `first` on."""
    owner = _OPEN_EFFECT + agent_id.encode()
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def done_effect(agent_id: str, revision: int, effect_number: int) -> bytes:
    """The mark that an effect was done at a revision, and is not undone."""
    owner = _DONE_EFFECT + agent_id.encode()
    return owner + b"\0" + number(revision) + number(effect_number)


def done_effects(agent_id: str, after: int) -> Span:
    """The marks of an agent's effects that were done after a revision, oldest first."""
    owner = _DONE_EFFECT + agent_id.encode()
    first = min(after + 1, _NUMBER_MAX)
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def saga(saga_id: str) -> bytes:
    """Where a saga is."""
    return _SAGA + saga_id.encode()


def sagas(prefix: str, after: str) -> Span:
    """Sagas whose id starts with `prefix` and sorts behind `after`."""
    every = _SAGA + prefix.encode()
    return Span(max(every, _behind(_SAGA, after)), every + _TOP)


def open_saga(agent_id: str, saga_id: str) -> bytes:
    """The mark that a saga that an agent began has not ended."""
    return _OPEN_SAGA + agent_id.encode() + b"\0" + saga_id.encode()


def open_sagas(agent_id: str) -> Span:
    """The marks of all sagas of an agent that have not ended."""
    owner = _OPEN_SAGA + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def open_saga_id(mark: bytes) -> str:
    """The saga that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def saga_effect(saga_id: str, agent_id: str, effect_number: int) -> bytes:
    """The mark that an effect belongs to a saga."""
    stem = _SAGA_EFFECT + saga_id.encode() + b"\0" + agent_id.encode()
    return stem + b"\0" + number(effect_number)


def saga_effects(saga_id: str) -> Span:
    """The marks of all effects of a saga."""
    owner = _SAGA_EFFECT + saga_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def saga_effects_of(saga_id: str, agent_id: str) -> Span:
    """The marks of an agent's effects of a saga."""
    owner = _SAGA_EFFECT + saga_id.encode() + b"\0" + agent_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def saga_effect_named(mark: bytes) -> tuple[str, int]:
    """Whose effect, and which, a mark is about."""
    return mark[mark.index(b"\0") + 1 : -9].decode(), to_number(mark)


def item(plan_id: str, position_in_plan: int) -> bytes:
    """Where an item of a plan of compensations is."""
    return _ITEM + plan_id.encode() + b"\0" + number(position_in_plan)


def items(plan_id: str, first: int) -> Span:
    """A plan's items from `first` on."""
    owner = _ITEM + plan_id.encode()
    return Span(owner + b"\0" + number(first), owner + b"\x01")


def claimed(session_id: str, plan_id: str) -> bytes:
    """The mark that a session has claimed a plan."""
    return _CLAIMED + session_id.encode() + b"\0" + plan_id.encode()


def claimed_by(session_id: str) -> Span:
    """The marks of all plans that a session has claimed."""
    owner = _CLAIMED + session_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def claimed_plan_id(mark: bytes) -> str:
    """The plan that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def rollback(rollback_id: str) -> bytes:
    """Where a rollback is."""
    return _ROLLBACK + rollback_id.encode()


def rollbacks(after: str) -> Span:
    """Rollbacks whose id sorts behind `after`."""
    return Span(_behind(_ROLLBACK, after), _ROLLBACK + _TOP)


def undone_range(agent_id: str, first_seq: int) -> bytes:
    """Where a range of undone events is."""
    return _UNDONE + agent_id.encode() + b"\0" + number(first_seq)


def undone_ranges_from(agent_id: str, first_seq: int) -> Span:
    """The ranges of an agent's undone events that begin with `first_seq` or behind it."""
    return Span(undone_range(agent_id, first_seq), _UNDONE + agent_id.encode() + b"\x01")


def undone_ranges_before(agent_id: str, seq: int) -> Span:
    """The ranges of an agent's undone events that begin before `seq`."""
    return Span(undone_range(agent_id, 0), undone_range(agent_id, seq))


def left_behind(agent_id: str, first_id: int) -> bytes:
    """Where a range of checkpoints is that a rollback left behind."""
    return _LEFT_BEHIND + agent_id.encode() + b"\0" + number(first_id)


def left_behind_from(agent_id: str, first_id: int) -> Span:
    """Those ranges of an agent that begin with `first_id` or behind it."""
    return Span(left_behind(agent_id, first_id), _LEFT_BEHIND + agent_id.encode() + b"\x01")


def left_behind_before(agent_id: str, checkpoint_id: int) -> Span:
    """Those ranges of an agent that begin before a checkpoint."""
    return Span(left_behind(agent_id, 0), left_behind(agent_id, checkpoint_id))


def recording(agent_id: str, step: int, name: str) -> bytes:
    """Where a recorded value is."""
    return _RECORDING + agent_id.encode() + b"\0" + number(step) + name.encode()


def recorded(agent_id: str) -> bytes:
    """Where it stands how much was recorded in an agent's newest step with a record."""
    return recording(agent_id, 0, "")


def recording_named(row: bytes) -> tuple[int, bytes]:
    """The step, and the name in it, of a recorded value."""
    at = row.index(b"\0") + 1
    return int.from_bytes(row[at : at + 8], "big"), row[at + 8 :]


def recordings_behind(agent_id: str, step: int, name: bytes, last_step: int) -> Span:
    """An agent's recorded values behind one, up to those of a step."""
    owner = _RECORDING + agent_id.encode() + b"\0"
    return Span(owner + number(step) + name + b"\0", owner + number(last_step) + _TOP)


def recordings(agent_id: str, first_step: int, last_step: int) -> Span:
    """An agent's recorded values of the steps from `first_step` to `last_step`."""
    owner = _RECORDING + agent_id.encode() + b"\0"
    return Span(owner + number(first_step), owner + number(last_step) + _TOP)


# --- breakers and incidents ------------------------------------------------------


def breaker(name: str) -> bytes:
    """Where a breaker is."""
    return _BREAKER + name.encode()


def breakers(prefix: str, after: str) -> Span:
    """Breakers whose name starts with `prefix` and sorts behind `after`."""
    every = _BREAKER + prefix.encode()
    return Span(max(every, _behind(_BREAKER, after)), every + _TOP)


def window(name: str) -> bytes:
    """Where it stands what a breaker has counted."""
    return _WINDOW + name.encode()


def permitted(session_id: str, name: str) -> bytes:
    """The mark that a session has permits of a breaker."""
    return _PERMITTED + session_id.encode() + b"\0" + name.encode()


def permitted_to(session_id: str) -> Span:
    """The marks of all breakers that a session has permits of."""
    owner = _PERMITTED + session_id.encode()
    return Span(owner + b"\0", owner + b"\x01")


def permitted_name(mark: bytes) -> str:
    """The breaker that a mark is about."""
    return mark[mark.index(b"\0") + 1 :].decode()


def incident(incident_id: str) -> bytes:
    """Where an incident is."""
    return _INCIDENT + incident_id.encode()


def incidents(after: str) -> Span:
    """Incidents whose id sorts behind `after`."""
    return Span(_behind(_INCIDENT, after), _INCIDENT + _TOP)


def resolved(place: int) -> bytes:
    """Which incident was the so manieth to be resolved."""
    return _RESOLVED + number(place)


# --- sessions ----------------------------------------------------------------


def session(session_id: str) -> bytes:
    """Where a session's record is."""
    return _SESSION + session_id.encode()


def sessions(after: str) -> Span:
    """Sessions whose id sorts behind `after`."""
    return Span(_behind(_SESSION, after), _SESSION + _TOP)


def session_touch(session_id: str) -> bytes:
    """Where it stands what every command of a session changes."""
    return _SESSION_TOUCH + session_id.encode()


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
