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
    !breakers                     the largest generation of a breaker that was removed
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
    L agent_id 0 checkpoint_id    UndoneRange of checkpoints                   H
    N number                      incident_id that was the so manieth resolved
    O agent_id 0 number           empty: that effect is PREPARED, DISPATCHED or UNKNOWN
    P session_id 0 name           empty: this session has permits of that breaker
    R rollback_id                 Rollback                                     H
    S agent_id 0 checkpoint_id    empty: known good, but one of more than are kept
    T agent_id 0 saga_id          empty: the agent began that saga, which has not ended
    U agent_id 0 first_seq        UndoneRange                                  H
    V agent_id 0 step key         Recording; under no key of step 0 what a step has in all
    W name                        BreakerWindow
    X agent_id 0 rollback_id      empty: that rollback was given up, with items that are open
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

from raftstate.core import effect_keys, spans
from raftstate.core.effect_keys import *  # noqa: F403  # the same map, in two files
from raftstate.core.limits import KEY_BYTES_MAX
from raftstate.core.spans import NUMBER_MAX, TOP, behind

Span = spans.Span
number = spans.number
to_number = spans.to_number

APPLIED = b"!applied"
COUNTERS = b"!counters"
MEMBERS = b"!members"
HISTORY = b"!history"
INCIDENTS = b"!incidents"
BREAKERS_REMOVED = b"!breakers"
# What log entries without commands change, at no revision: not in the state hash.
UNHASHED = frozenset({APPLIED, MEMBERS})

_KEPT_GOOD = b"G"
_SPARE_GOOD = b"S"
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
HISTORIED = effect_keys.HISTORIED | {
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
}
TOLD = frozenset({_EVENT})

# In a `v` key: a zero byte, and the end of the key that it is about.
_ZERO = b"\0\xff"
_END = b"\0\x01"


# Also what does not belong here: damage may be anywhere.
EVERYTHING = Span(b"", TOP * KEY_BYTES_MAX)


# --- agents ------------------------------------------------------------------


def agent(agent_id: str) -> bytes:
    """Where an agent's record is."""
    return _AGENT + agent_id.encode()


def agents(prefix: str, after: str) -> Span:
    """Agents whose id starts with `prefix` and sorts behind `after`."""
    every = _AGENT + prefix.encode()
    return Span(max(every, behind(_AGENT, after)), every + TOP)


def owned(session_id: str, agent_id: str) -> bytes:
    """The mark that a session owns an agent."""
    return _OWNED + session_id.encode() + b"\0" + agent_id.encode()


def owned_by(session_id: str) -> Span:
    """The marks of all agents that a session owns."""
    start = _OWNED + session_id.encode() + b"\0"
    return Span(start, start + TOP)


OWNED = Span(_OWNED, _OWNED + TOP)


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
    return Span(_POSITION + number(first), _POSITION + TOP * 9)


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
    return Span(max(every, behind(_GROUP, after)), every + TOP)


def validator(name: str) -> bytes:
    """Where a validator is."""
    return _VALIDATOR + name.encode()


def validators(after: str) -> Span:
    """Validators whose name sorts behind `after`."""
    return Span(behind(_VALIDATOR, after), _VALIDATOR + TOP)


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
    return Span(max(every, behind(_STREAM, after)), every + TOP)


def positions_between(first: int, last: int) -> Span:
    """The global order from `first` to `last`."""
    return Span(_POSITION + number(first), _POSITION + number(last) + b"\0")


def projection(name: str) -> bytes:
    """Where a projection is."""
    return _PROJECTION + name.encode()


def projections(after: str) -> Span:
    """Projections whose name sorts behind `after`."""
    return Span(behind(_PROJECTION, after), _PROJECTION + TOP)


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
    return Span(_LEASE + number(after + 1) if after else _LEASE, _LEASE + TOP * 9)


def lease_touch(lease_id: int) -> bytes:
    """Where it stands what many commands change of a lease."""
    return _LEASE_TOUCH + number(lease_id)


def leased(lease_id: int, name: bytes) -> bytes:
    """The mark that a lease has a key."""
    return _LEASED + number(lease_id) + name


def leased_by(lease_id: int) -> Span:
    """The marks of all keys of a lease."""
    start = _LEASED + number(lease_id)
    return Span(start, _LEASED + number(lease_id + 1) if lease_id < NUMBER_MAX else _KEY)


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
    return Span(stem + number(revision + 1), stem + TOP * 9)


def undo_bound(bound: bytes) -> bytes:
    """Where, in that table, the keys from `bound` on begin."""
    return _UNDO + _escaped(bound)


def behind_undone(changed: bytes) -> bytes:
    """Where, in that table, the keys behind `changed` begin."""
    return _UNDO + _escaped(changed) + _END + TOP * 9


def undone(row: bytes) -> tuple[bytes, int]:
    """Which key, and which revision, a row of that table is about."""
    return row[1:-10].replace(_ZERO, b"\0"), to_number(row)


def _escaped(changed: bytes) -> bytes:
    return changed.replace(b"\0", _ZERO)


def garbage(place: int) -> bytes:
    """Where a job of removal is."""
    return _GARBAGE + number(place)


# --- sessions ----------------------------------------------------------------


def session(session_id: str) -> bytes:
    """Where a session's record is."""
    return _SESSION + session_id.encode()


def sessions(after: str) -> Span:
    """Sessions whose id sorts behind `after`."""
    return Span(behind(_SESSION, after), _SESSION + TOP)


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
