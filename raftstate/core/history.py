"""What the store was: every change by revision, and any earlier state not yet forgotten.

Two tables beside the state. `h` says which keys each revision changed, in order; a watch
reads it. `v` holds, for each key that a revision changed, what the key had before; so
the state at an earlier revision is the state now, with the oldest value of each key that
was noted after that revision put back. Nothing is copied but what a write replaces, and
forgetting is to remove the rows of the oldest revisions: nothing that stays refers to
them.

The tables of `keys.HISTORIED` are kept so. Events never change, so of them `h` says
only that they came. What else there is (outcomes, data of checkpoints, indices) has no
history: a reader of the past sees it as it is now, and knows.

What is forgotten goes bit by bit, a few rows with every command (`sweep`), so that no
command costs what a thousand before it have left.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from raftstate.core import keys
from raftstate.core.hashing import HashedStore
from raftstate.core.ports import Reader, Store
from raftstate.v1.store_pb2 import ChangedKeys

_MARK = struct.Struct(">QQQQ")
_ABSENT, _PRESENT = b"\x00", b"\x01"


class HistoryMark(NamedTuple):
    """How far the past is forgotten, and what is left to be removed.

    Revisions from `oldest` on can be read, and the changes after it watched. The rows of
    all revisions up to `swept` are gone. Garbage jobs `first_job` to `next_job - 1` wait.
    """

    oldest: int = 0
    swept: int = 0
    first_job: int = 0
    next_job: int = 0

    @property
    def has_work(self) -> bool:
        """Whether a sweep would remove anything."""
        return self.swept < self.oldest or self.first_job < self.next_job


def read_mark(reader: Reader) -> HistoryMark:
    """How far the past is forgotten."""
    raw = reader.get(keys.HISTORY)
    return HistoryMark() if raw is None else HistoryMark(*_MARK.unpack(raw))


def write_mark(store: Store, mark: HistoryMark) -> None:
    """Note how far the past is forgotten."""
    store.put(keys.HISTORY, _MARK.pack(*mark))


def changed_keys(reader: Reader, revision: int) -> list[bytes]:
    """The keys of the state that a revision changed, in order; none is no failure."""
    raw = reader.get(keys.changes(revision))
    return [] if raw is None else list(ChangedKeys.FromString(raw).keys)


def changes_after(
    reader: Reader, revision: int, last: int
) -> Iterator[tuple[int, list[bytes]]]:
    """Each revision after one, up to `last`, that changed anything, and what it changed."""
    for key, raw in reader.scan(*keys.changes_between(revision + 1, last)):
        yield keys.to_number(key), list(ChangedKeys.FromString(raw).keys)


class RecordedStore(HashedStore):
    """The store that commands write through: it keeps the hash, and the history.

    Between `begin` and `end` all changes are of one revision. A key that is changed twice
    in it was, in history, changed once.
    """

    __slots__ = ("_changed", "_revision")

    def __init__(self, store: Store, hashed: bytes) -> None:
        super().__init__(store, hashed)
        self._revision = 0
        self._changed: dict[bytes, None] = {}

    def begin(self, revision: int) -> None:
        """What is written from now on is of this revision."""
        assert not self._changed, "the revision before has not ended"
        self._revision = revision

    def end(self) -> int:
        """Write down what the revision changed; say how many keys that were."""
        changed, self._changed = self._changed, {}
        if changed:
            record = ChangedKeys(keys=changed)
            raw = record.SerializeToString(deterministic=True)
            # There cannot be one yet: a revision ends once.
            self._replace(keys.changes(self._revision), None, raw)
        return len(changed)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value at a key."""
        table = key[:1]
        if table in keys.TOLD:
            self._changed[key] = None
        old = self.get(key)
        if old == value:
            return
        if table in keys.HISTORIED:
            self._note(key, old)
        self._replace(key, old, value)

    def replace(self, key: bytes, old: bytes | None, value: bytes) -> None:
        """As `put`, by one who knows what is there, in a table without a past."""
        table = key[:1]
        assert table not in keys.HISTORIED, f"{table!r} has a past"
        if table in keys.TOLD:
            self._changed[key] = None
        if old != value:
            self._replace(key, old, value)

    def _remove(self, key: bytes, old: bytes) -> None:
        if key[:1] in keys.HISTORIED:
            self._note(key, old)
        super()._remove(key, old)

    def _note(self, key: bytes, old: bytes | None) -> None:
        if key in self._changed:
            return
        self._changed[key] = None
        before = _ABSENT if old is None else _PRESENT + old
        self._replace(keys.undo(key, self._revision), None, before)


class PastReader:
    """The state as it was at a revision, read through a reader of the state now.

    The revision must not be forgotten: who asks for it checks `HistoryMark.oldest`, on
    the same reader. A scan stays within one table.
    """

    __slots__ = ("_reader", "_revision")

    def __init__(self, reader: Reader, revision: int) -> None:
        self._reader = reader
        self._revision = revision

    @property
    def revision(self) -> int:
        """The revision that is shown."""
        return self._revision

    @property
    def now(self) -> Reader:
        """The reader of the state now that it reads through."""
        return self._reader

    def get(self, key: bytes) -> bytes | None:
        """What a key had."""
        if key[:1] in keys.HISTORIED:
            before = self._before(key)
            if before is not None:
                return _value(before)
        return self._reader.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in order of key."""
        return _present(self.scan_all(start, stop))

    def scan_all(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """As `scan`, and None for each key that history knows and that was not there: for
        those who bound what they look at, and not only what they find."""
        now = self._reader.scan(start, stop)
        if start[:1] not in keys.HISTORIED:
            return now
        return _merged(now, self._undone(start, stop), backwards=False)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in reverse order of key."""
        return _present(self.scan_back_all(start, stop))

    def scan_back_all(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """As `scan_all`, in reverse order of key."""
        now = self._reader.scan_back(start, stop)
        if start[:1] not in keys.HISTORIED:
            return now
        return _merged(now, self._undone_back(start, stop), backwards=True)

    def _before(self, key: bytes) -> bytes | None:
        """What was noted of a key at the first change after the revision, if any."""
        span = keys.undone_after(key, self._revision)
        return next((before for _, before in self._reader.scan(*span)), None)

    def _undone(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """Each key of a range that was ever changed, in order, and what was noted."""
        at, end = keys.undo_bound(start), keys.undo_bound(stop)
        while (row := next(iter(self._reader.scan(at, end)), None)) is not None:
            key, revision = keys.undone(row[0])
            yield key, row[1] if revision > self._revision else self._before(key)
            at = keys.behind_undone(key)

    def _undone_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        at, end = keys.undo_bound(start), keys.undo_bound(stop)
        while (row := next(iter(self._reader.scan_back(at, end)), None)) is not None:
            key, _ = keys.undone(row[0])
            yield key, self._before(key)
            end = keys.undo(key, 0)


def _value(before: bytes) -> bytes | None:
    return None if before == _ABSENT else before[1:]


def _present(
    found: Iterator[tuple[bytes, bytes | None]],
) -> Iterator[tuple[bytes, bytes]]:
    return ((key, value) for key, value in found if value is not None)


def _merged(
    now: Iterator[tuple[bytes, bytes]],
    undone: Iterator[tuple[bytes, bytes | None]],
    *,
    backwards: bool,
) -> Iterator[tuple[bytes, bytes | None]]:
    """Two sorted runs as one; what was noted of a key goes before what it has now. None:
    the key was not there."""
    current, past = next(now, None), next(undone, None)
    while current is not None or past is not None:
        if past is None or (current is not None and _first(current[0], past[0], backwards)):
            assert current is not None
            yield current
            current = next(now, None)
            continue
        key, before = past
        past = next(undone, None)
        value = None
        if current is not None and current[0] == key:
            value = current[1]
            current = next(now, None)
        yield key, value if before is None else _value(before)


def _first(one: bytes, other: bytes, backwards: bool) -> bool:
    return one > other if backwards else one < other
