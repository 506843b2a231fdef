"""What the store was: any earlier revision against a full copy of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftstate.core import history, keys, sweep
from raftstate.core.context import Context
from raftstate.core.hashing import full_hash
from raftstate.core.history import HistoryMark, PastReader, RecordedStore
from raftstate.core.memory import MemoryStore

# Users' keys, with what makes trouble where keys are put in order; and another table
# right behind theirs, whose rows must not show.
NAMES = st.lists(st.sampled_from([b"\x00", b"\x01", b"a", b"\xff"]), max_size=3).map(b"".join)
KEYS = NAMES.map(lambda name: keys.key(b"x" + name)) | st.sampled_from(
    [keys.lease(1), keys.lease(2), keys.agent("a"), keys.agent("a/b")]
)
# None: it is deleted.
WRITES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=2)), max_size=4)
REVISIONS = st.lists(WRITES, min_size=1, max_size=12)
BOUNDS = NAMES.map(lambda name: b"x" + name)
Full = dict[bytes, bytes]


class Written:
    """A store that some revisions have written, and a full copy of it after each."""

    def __init__(self, revisions: list[list[tuple[bytes, bytes | None]]]) -> None:
        self.rows = MemoryStore()
        self.store = RecordedStore(self.rows, bytes(16))
        self.copies: list[Full] = [{}]
        self.context = Context(
            store=self.store,
            epoch=1,
            raft_index=1,
            log_time_ms=0,
            revision=0,
            last_position=0,
            history=HistoryMark(),
        )
        for writes in revisions:
            self.write(writes)

    def write(self, writes: list[tuple[bytes, bytes | None]]) -> None:
        self.context.revision += 1
        self.store.begin(self.context.revision)
        full = dict(self.copies[-1])
        for key, value in writes:
            if value is None:
                assert self.store.delete(key) == (full.pop(key, None) is not None)
            else:
                self.store.put(key, value)
                full[key] = value
        changed = {key for key, _ in writes if full.get(key) != self.copies[-1].get(key)}
        self.store.end()
        told = history.changed_keys(self.rows, self.context.revision)
        assert len(told) == len(set(told))
        # What was changed, and changed back, may be told.
        assert changed <= set(told) <= {key for key, _ in writes}
        self.copies.append(full)

    def forget(self, oldest: int, rows: int) -> None:
        """Forget all below a revision, and sweep so many rows."""
        self.context.history = self.context.history._replace(oldest=oldest)
        sweep.work(self.context, rows)

    def check(self, start: bytes, stop: bytes) -> None:
        """Every revision that is not forgotten is what its copy says."""
        everything = sorted({key for full in self.copies for key in full})
        for revision in range(self.context.history.oldest, len(self.copies)):
            full, past = self.copies[revision], PastReader(self.rows, revision)
            assert {key: past.get(key) for key in everything} == {
                key: full.get(key) for key in everything
            }
            for span in (
                keys.key_range(b"", b""),
                keys.key_range(start, stop),
                keys.keys_with(start),
                keys.leases(0),
                keys.agents("", ""),
                keys.agents("a/", ""),
            ):
                want = sorted(
                    pair for pair in full.items() if span.start <= pair[0] < span.stop
                )
                assert list(past.scan(*span)) == want
                assert list(past.scan_back(*span)) == want[::-1]
        assert self.store.hashed == full_hash(self.rows)

    def history_rows(self) -> list[bytes]:
        """The rows of both tables of the past."""
        undone = (keys.undo_bound(b""), keys.undo_bound(b"\xff"))
        told = keys.changes_between(0, len(self.copies))
        return [key for span in (undone, told) for key, _ in self.rows.scan(*span)]


@given(REVISIONS, BOUNDS, BOUNDS)
def test_every_revision_is_what_it_was(
    revisions: list[list[tuple[bytes, bytes | None]]], one: bytes, other: bytes
) -> None:
    """
    Point reads and scans, both ways, with zero bytes and 0xff in keys.
    """
    Written(revisions).check(min(one, other), max(one, other))


@given(REVISIONS, REVISIONS, st.integers(0, 12), st.integers(0, 12), st.integers(0, 9))
def test_what_is_compacted_leaves_nothing_and_the_rest_stays(
    before: list[list[tuple[bytes, bytes | None]]],
    after: list[list[tuple[bytes, bytes | None]]],
    first: int,
    second: int,
    rows: int,
) -> None:
    """
    Revisions from the oldest on are readable, however much is swept; in the end there is
    no row of what was forgotten.
    """
    written = Written(before)
    oldest = min(first, len(before))
    written.forget(oldest, rows)
    written.check(b"x", b"x\xff")
    for writes in after:
        written.write(writes)
    oldest = max(oldest, min(second, len(before) + len(after)))
    written.forget(oldest, rows)
    written.check(b"x", b"x\xff")

    while written.context.history.has_work:
        swept = written.context.history.swept
        # In an entry of its own.
        written.context.sweep_owed = 0
        sweep.work(written.context, 1)
        assert written.context.history.swept > swept

    written.check(b"x", b"x\xff")
    assert {keys.to_number(row) for row in written.history_rows()} <= set(
        range(oldest + 1, len(written.copies))
    )
    written.forget(len(written.copies) - 1, 1 << 20)
    assert written.history_rows() == []


def test_changes_are_told_by_revision() -> None:
    """
    Those after one revision up to another, in order; a revision without any is left out.
    """
    a, b = keys.key(b"a"), keys.key(b"b")
    written = Written([[(a, b"1")], [], [(b, b"1"), (a, b"2")], [(a, None)]])

    assert list(history.changes_after(written.rows, 0, 3)) == [(1, [a]), (3, [b, a])]
    assert list(history.changes_after(written.rows, 1, 4)) == [(3, [b, a]), (4, [a])]
    assert list(history.changes_after(written.rows, 4, 9)) == []


def test_a_range_that_is_removed_was_there() -> None:
    """
    Removed at once or one by one: each key is told of, and its past stays.
    """
    pairs = [(keys.key(b"a"), b"1"), (keys.key(b"a/b"), b"2"), (keys.key(b"b"), b"3")]
    written = Written([list(pairs)])
    written.store.begin(2)

    assert written.store.delete_span(keys.keys_with(b"a")) == [key for key, _ in pairs[:2]]
    assert written.store.take(pairs[2][0]) == b"3"
    assert written.store.take(pairs[2][0]) is None

    assert written.store.end() == 3
    assert list(written.rows.scan(*keys.key_range(b"", b""))) == []
    assert list(PastReader(written.rows, 1).scan(*keys.key_range(b"", b""))) == pairs
    assert written.store.hashed == full_hash(written.rows)


def test_an_event_is_told_of_and_has_no_past() -> None:
    """
    Also when its writer knows that it is new, and nobody looks whether it is there.
    """
    event = keys.event("a", 1)
    written = Written([])
    written.store.begin(1)

    written.store.replace(event, None, b"1")

    assert written.store.end() == 1
    assert history.changed_keys(written.rows, 1) == [event]
    assert written.rows.get(keys.undo(event, 1)) is None
    assert written.store.hashed == full_hash(written.rows)


def test_the_past_costs_what_it_shows() -> None:
    """
    A read of one revision does not walk through the thousand after it.
    """
    a = keys.key(b"a")
    written = Written([[(a, b"%d" % at)] for at in range(1_000)])
    counted = Counted(written.rows)

    assert PastReader(counted, 500).get(a) == b"499"
    assert list(PastReader(counted, 500).scan(*keys.keys_with(b"a"))) == [(a, b"499")]
    assert counted.rows < 10


class Counted:
    """A reader that counts the rows that scans hand out."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.rows = 0
        self.get = store.get

    def scan(self, start: bytes, stop: bytes):  # type: ignore[no-untyped-def]
        """As the store's, counted."""
        for pair in self._store.scan(start, stop):
            self.rows += 1
            yield pair

    def scan_back(self, start: bytes, stop: bytes):  # type: ignore[no-untyped-def]
        """As the store's, counted."""
        for pair in self._store.scan_back(start, stop):
            self.rows += 1
            yield pair
