"""Lists of the past that pass over much: in slices they show the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstate.core import keys
from raftstate.core.history import PastReader, RecordedStore
from raftstate.core.memory import MemoryStore
from raftstate.core.passing import PatientReader, Weary
from raftstate.core.ports import Reader

Rows = list[tuple[bytes, bytes]]

WRITES = st.lists(
    st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40
)  # which key, and whether it is put


def written(writes: list[tuple[int, bool]]) -> MemoryStore:
    """A store that each write made a revision of."""
    store = MemoryStore()
    recorded = RecordedStore(store, bytes(16))
    for revision, (number, put) in enumerate(writes, 1):
        write(recorded, revision, number, put)
    return store


def write(recorded: RecordedStore, revision: int, number: int, put: bool) -> None:
    recorded.begin(revision)
    if put:
        recorded.put(keys.key(b"%02d" % number), b"%d" % revision)
    else:
        recorded.delete(keys.key(b"%02d" % number))
    recorded.end()


def listed(reader: Reader, backwards: bool, limit: int) -> Rows:
    start, stop = keys.key(b"01"), keys.key(b"11")
    rows = reader.scan_back(start, stop) if backwards else reader.scan(start, stop)
    return list(islice(rows, limit))


class Counting:
    """A reader that counts the rows it gives."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.rows = 0

    def get(self, key: bytes) -> bytes | None:
        return self._reader.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for row in self._reader.scan(start, stop):
            self.rows += 1
            yield row

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for row in self._reader.scan_back(start, stop):
            self.rows += 1
            yield row


@given(WRITES, st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_what_is_shown_is_what_a_reader_of_the_past_shows(
    writes: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """
    Forwards and backwards, with a limit and without, however soon it tires, and while
    more is written between one slice and the next.
    """
    store = written(writes)
    revision = data.draw(st.integers(1, len(writes)))
    backwards, limit = data.draw(st.booleans()), data.draw(st.integers(1, 12))
    patience = data.draw(st.integers(1, 5))
    want = listed(PastReader(store, revision), backwards, limit)
    recorded, newest = RecordedStore(store, bytes(16)), len(writes)
    passed: dict[bytes, bytes] = {}
    got: Rows = []
    for _ in range(60):
        try:
            got = listed(PatientReader(store, revision, passed, patience), backwards, limit)
            break
        except Weary:
            newest += 1
            write(recorded, newest, data.draw(st.integers(0, 12)), True)
    assert got == want


@pytest.mark.parametrize("backwards", [False, True])
def test_what_was_passed_over_is_not_looked_at_again(backwards: bool) -> None:
    """
    A thousand keys that were not there yet, around three that were: in slices of ten,
    each of which looks at about so many.
    """
    store = MemoryStore()
    recorded = RecordedStore(store, bytes(16))
    for revision, number in enumerate([200, 500, 800, *range(1_000)], 1):
        recorded.begin(revision)
        recorded.put(keys.key(b"%03d" % number), b"v")
        recorded.end()
    passed: dict[bytes, bytes] = {}
    attempts, most = 0, 0
    found: list[bytes] = []
    while not found:
        counting = Counting(store)
        reader = PatientReader(counting, 3, passed, 10)
        rows = (reader.scan_back if backwards else reader.scan)(b"k", b"l")
        attempts += 1
        try:
            found = [key for key, _ in rows]
        except Weary:
            most = max(most, counting.rows)
    assert found == [b"k200", b"k500", b"k800"][:: -1 if backwards else 1]
    assert attempts == pytest.approx(100, abs=2)
    assert most < 80
