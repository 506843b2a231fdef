"""What changed, as a watch tells it: from the keys of the state to resources.

Each key that a revision changed is about one resource, or about none that is shown. What
the resource was before and after is read from history, so a change can be told long after
it happened, and is told the same by every member.

A selector is made a `Filter` once, and asked in two steps: whether it names a subject
costs no look at the state; what labels there are, one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from raftstate.core import agents, keys
from raftstate.core.history import PastReader
from raftstate.core.keys import Span
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, GroupCheckpoint
from raftstate.v1.effect_service_pb2 import Effect, Saga
from raftstate.v1.event_service_pb2 import Event, Projection, StreamInfo
from raftstate.v1.kv_service_pb2 import KeyValue
from raftstate.v1.lease_service_pb2 import Lease
from raftstate.v1.recovery_service_pb2 import Incident, Validator
from raftstate.v1.rollback_service_pb2 import Rollback
from raftstate.v1.session_service_pb2 import Session
from raftstate.v1.watch_service_pb2 import Change, Resource, ResourceType, Selector

_LEASE_DIGITS = 16
_HEXADECIMAL = frozenset(b"0123456789abcdef")


class _Table(NamedTuple):
    """Where resources of one type are: the letter of their keys, and what is stored."""

    letter: bytes
    kind: ResourceType
    field: str
    message: Any
    # The key is an id, a zero byte and a number.
    numbered: bool = False


_EVENT = ResourceType.RESOURCE_TYPE_EVENT
_LEASE = ResourceType.RESOURCE_TYPE_LEASE
_STREAM = ResourceType.RESOURCE_TYPE_STREAM

# In the order in which a snapshot tells of them.
_TABLES = (
    _Table(keys.agent(""), ResourceType.RESOURCE_TYPE_AGENT, "agent", Agent),
    _Table(keys.session(""), ResourceType.RESOURCE_TYPE_SESSION, "session", Session),
    _Table(keys.stream(""), _STREAM, "stream", StreamInfo),
    _Table(keys.event("", 0)[:1], _EVENT, "event", Event, numbered=True),
    _Table(
        keys.checkpoint("", 0)[:1],
        ResourceType.RESOURCE_TYPE_CHECKPOINT,
        "checkpoint",
        Checkpoint,
        numbered=True,
    ),
    _Table(keys.key(b""), ResourceType.RESOURCE_TYPE_KEY, "key", KeyValue),
    _Table(keys.lease(0)[:1], _LEASE, "lease", Lease),
    _Table(
        keys.projection(""), ResourceType.RESOURCE_TYPE_PROJECTION, "projection", Projection
    ),
    _Table(keys.group(""), ResourceType.RESOURCE_TYPE_GROUP, "group", GroupCheckpoint),
    _Table(keys.validator(""), ResourceType.RESOURCE_TYPE_VALIDATOR, "validator", Validator),
    _Table(
        keys.effect("", 0)[:1],
        ResourceType.RESOURCE_TYPE_EFFECT,
        "effect",
        Effect,
        numbered=True,
    ),
    _Table(keys.saga(""), ResourceType.RESOURCE_TYPE_SAGA, "saga", Saga),
    _Table(keys.rollback(""), ResourceType.RESOURCE_TYPE_ROLLBACK, "rollback", Rollback),
    _Table(keys.breaker(""), ResourceType.RESOURCE_TYPE_BREAKER, "breaker", Breaker),
    _Table(keys.incident(""), ResourceType.RESOURCE_TYPE_INCIDENT, "incident", Incident),
)
_BY_LETTER = {table.letter: table for table in _TABLES}
KINDS = frozenset(table.kind for table in _TABLES)
LABELLED = frozenset(
    {
        ResourceType.RESOURCE_TYPE_AGENT,
        ResourceType.RESOURCE_TYPE_CHECKPOINT,
        ResourceType.RESOURCE_TYPE_SAGA,
    }
)
assert len(KINDS) + 1 == len(ResourceType.values()), "every type of resource has a table"


class Subject(NamedTuple):
    """What a change is about, as a `Change` names it."""

    kind: ResourceType
    id: bytes
    number: int


def subject(key: bytes) -> Subject | None:
    """What a key of the state is about; None if it is about nothing that is shown."""
    table = _BY_LETTER.get(key[:1])
    return None if table is None else _subject(table, key)


def _subject(table: _Table, key: bytes) -> Subject:
    if table.numbered:
        return Subject(table.kind, key[1:-9], keys.to_number(key))
    if table.kind == _LEASE:
        return Subject(table.kind, b"%016x" % keys.to_number(key), 0)
    return Subject(table.kind, key[1:], 0)


_Labels = frozenset[tuple[str, str]]


class Move:
    """What one revision did to one key. It reads when it is asked, from the reader that
    it was made with."""

    __slots__ = ("_before", "_known", "_labels", "_old", "_past", "key", "now", "subject")

    def __init__(self, reader: Reader, revision: int, key: bytes, about: Subject) -> None:
        self.key = key
        self.subject = about
        present = PastReader(reader, revision)
        self.now = _resource(present, key, present.get(key))
        self._past = PastReader(reader, revision - 1)
        # An event comes once. It may be gone by now, and has no history.
        self._old = None if about.kind == _EVENT else self._past.get(key)
        self._before: Resource | None = None
        self._known = False
        self._labels: tuple[_Labels, _Labels] | None = None

    @property
    def nothing(self) -> bool:
        """Whether there was nothing before, and nothing after."""
        return self.now is None and self._old is None and self.subject.kind != _EVENT

    @property
    def created(self) -> bool:
        """Whether there was none before."""
        return self._old is None

    @property
    def before(self) -> Resource | None:
        """The resource before the change."""
        if not self._known:
            self._before, self._known = _resource(self._past, self.key, self._old), True
        return self._before

    @property
    def labels(self) -> tuple[_Labels, _Labels]:
        """Which the resource has after the change, and before: looked up once, however
        many filters ask."""
        if self._labels is None:
            self._labels = _labels(self.now), _labels(self.before)
        return self._labels

    def change(self, with_previous: bool) -> Change:
        """As it is told."""
        kind, name, number = self.subject
        return Change(
            type=kind,
            id=name,
            number=number,
            resource=self.now,
            previous=self.before if with_previous else None,
            created=self.created,
        )


def _resource(reader: PastReader, key: bytes, raw: bytes | None) -> Resource | None:
    """What a reader shows of the resource that `raw` is stored of."""
    if raw is None:
        return None
    table = _BY_LETTER[key[:1]]
    stored = table.message.FromString(raw)
    if table.kind == _STREAM and stored.agent:
        # How far an agent's stream goes, its head says.
        agent = agents.load(reader, stored.stream_id)
        if agent is not None:
            stored.last_seq, stored.last_hash = agent.head.event_seq, agent.head.event_hash
    fields: dict[str, Any] = {table.field: stored}
    return Resource(**fields)


def _labels(resource: Resource | None) -> _Labels:
    """The labels of a resource, if it has any."""
    if resource is None:
        return frozenset()
    shown: Agent | Checkpoint | Saga = resource.checkpoint
    if resource.HasField("agent"):
        shown = resource.agent
    elif resource.HasField("saga"):
        shown = resource.saga
    return frozenset((label.name, label.value) for label in shown.labels)


class Filter:
    """A selector, made ready."""

    __slots__ = ("exact", "kinds", "labels", "prefix")

    def __init__(self, selector: Selector) -> None:
        self.kinds = KINDS & set(selector.types) if selector.types else KINDS
        self.labels = frozenset((label.name, label.value) for label in selector.labels)
        if self.labels:
            self.kinds &= LABELLED
        self.prefix = selector.prefix
        self.exact = selector.exact

    def canonical(self) -> bytes:
        """The same bytes for selectors that name the same, other ones for others."""
        selector = Selector(types=sorted(self.kinds), prefix=self.prefix, exact=self.exact)
        for name, value in sorted(self.labels):
            selector.labels.add(name=name, value=value)
        return selector.SerializeToString(deterministic=True)

    def names(self, about: Subject) -> bool:
        """Whether it names something, but for its labels."""
        if about.kind not in self.kinds:
            return False
        return about.id == self.prefix if self.exact else about.id.startswith(self.prefix)

    def takes(self, move: Move) -> bool:
        """Whether a change of something that it names has the labels, now or before."""
        return not self.labels or any(self.labels <= found for found in move.labels)

    def shows(self, resource: Resource) -> bool:
        """Whether a resource of something that it names has the labels."""
        return not self.labels or self.labels <= _labels(resource)

    def span(self, letter: bytes, numbered: bool) -> Span:
        """Where the keys are that it can name, in the table of a letter."""
        start = letter + self.prefix
        if not self.exact:
            return Span(start, _behind(start))
        return Span(start + b"\0", start + b"\x01") if numbered else Span(start, start + b"\0")

    def lease_span(self, letter: bytes) -> Span:
        """As `span`, for leases, whose ids are told in digits."""
        digits = self.prefix
        if len(digits) > _LEASE_DIGITS or not _HEXADECIMAL.issuperset(digits):
            return Span(letter, letter)
        first = int(digits.ljust(_LEASE_DIGITS, b"0"), 16)
        last = int(digits.ljust(_LEASE_DIGITS, b"f"), 16)
        return Span(keys.lease(first), keys.lease(last) + b"\0")


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that start with a prefix; the prefix begins with a table's
    letter, so there is one."""
    bare = prefix.rstrip(b"\xff")
    return bare[:-1] + bytes([bare[-1] + 1])


# --- everything at one revision ----------------------------------------------


class Cursor(NamedTuple):
    """How far a snapshot has come: in which table, and behind which key."""

    table: int = 0
    after: bytes = b""


class Slice(NamedTuple):
    """A part of a snapshot, and where the next one begins; None: that was all."""

    changes: list[Change]
    next: Cursor | None


def snapshot(
    reader: PastReader, wanted: Filter, cursor: Cursor, spend: Callable[[int], bool]
) -> Slice:
    """All that a selector names at the reader's revision, a slice at a time. `spend` is
    told of each row that is looked at how many bytes were found in it, and says whether
    another may be.

    Events that were truncated since may be missing; so may nothing else."""
    found: list[Change] = []
    shown = _Shown(reader)
    for at, table in enumerate(_TABLES):
        if at < cursor.table or table.kind not in wanted.kinds:
            continue
        after = cursor.after if at == cursor.table else b""
        for key, raw in _rows(reader, wanted, table, after):
            change = shown.change(wanted, table, key, raw)
            if change is not None:
                found.append(change)
            if not spend(0 if change is None else change.ByteSize()):
                return Slice(found, Cursor(at, key))
    return Slice(found, None)


def _rows(
    reader: PastReader, wanted: Filter, table: _Table, after: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """The rows of a table that the selector may name, behind a key."""
    if table.kind == _LEASE:
        start, stop = wanted.lease_span(table.letter)
    else:
        start, stop = wanted.span(table.letter, table.numbered)
    return (
        reader.scan_all(max(start, after + b"\0"), stop)
        if after
        else reader.scan_all(start, stop)
    )


class _Shown:
    """What is shown of a row: of events, only those of the revision."""

    def __init__(self, reader: PastReader) -> None:
        self._reader = reader
        self._stream = b""
        self._first_seq = 0

    def change(
        self, wanted: Filter, table: _Table, key: bytes, raw: bytes | None
    ) -> Change | None:
        """What a snapshot tells of a row; None if nothing."""
        about = _subject(table, key)
        if raw is None or not wanted.names(about):
            return None
        resource = _resource(self._reader, key, raw)
        if resource is None or not wanted.shows(resource):
            return None
        if table.kind == _EVENT and not self._was(about, resource.event):
            return None
        return Change(type=about.kind, id=about.id, number=about.number, resource=resource)

    def _was(self, about: Subject, event: Event) -> bool:
        """Whether an event could be read at the revision."""
        if event.revision > self._reader.revision:
            return False
        if about.id != self._stream:
            self._stream = about.id
            raw = self._reader.get(keys.stream(about.id.decode()))
            self._first_seq = 0 if raw is None else StreamInfo.FromString(raw).first_seq
        return event.seq >= self._first_seq
