"""The state hash sees every pair, whatever way it came or went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.core import keys
from raftstate.core.hashing import HASH_BYTES, HashedStore, digest, full_hash, pair_hash, sum_of
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.types import Index, Position, Term
from tests.core.bench import EPOCH, Bench, event

SMALL = st.binary(min_size=1, max_size=3)
NOTHING = bytes(HASH_BYTES)


@given(st.lists(st.tuples(st.sampled_from("ppds"), SMALL, SMALL), max_size=40))
def test_the_sum_kept_is_the_sum_of_a_scan(writes: list[tuple[str, bytes, bytes]]) -> None:
    """
    Puts, puts over, puts of the same, deletes and deletes of ranges all count.
    """
    store = MemoryStore()
    hashed = HashedStore(store, NOTHING)
    for what, key, value in writes:
        if what == "p":
            hashed.put(key, value)
        elif what == "d":
            hashed.delete(key)
        else:
            hashed.delete_span(keys.Span(*sorted((key, value))))
        assert hashed.hashed == full_hash(store)


@given(st.dictionaries(SMALL, SMALL, max_size=20), SMALL)
def test_slices_add_up(pairs: dict[bytes, bytes], cut: bytes) -> None:
    """
    A scrub that reads the map in parts comes to the same number.
    """
    store = MemoryStore(pairs.items())

    parts = sum_of(store.scan(b"", cut)) + sum_of(store.scan(cut, b"\xff" * 4))

    assert digest(parts) == digest(sum_of(store.items()))


def test_where_a_key_ends_matters() -> None:
    """
    The same bytes, cut elsewhere, are another pair.
    """
    assert pair_hash(b"ab", b"c") != pair_hash(b"a", b"bc")


def busy() -> Bench:
    bench = Bench()
    bench.open("s")
    fence = bench.granted(bench.acquire("s", "a"))
    bench.one(bench.step("s", "a", fence, event("e", b"data")))
    return bench


@pytest.mark.parametrize("place", [b"!counters", b"a", b"e", b"g", b"o", b"r", b"s"])
def test_one_changed_byte_anywhere_is_seen(place: bytes) -> None:
    """
    In whatever table a bit flips, a value grows, or a pair vanishes.
    """
    bench = busy()
    key, value = next(iter(bench.store.scan(place, place + b"\xff")))
    kept = bench.machine.state_hash

    for damage in (value + b"\0", bytes([value[0] ^ 1]) + value[1:] if value else b"?"):
        bench.store.put(key, damage)
        assert full_hash(bench.store) != kept
    bench.store.delete(key)
    assert full_hash(bench.store) != kept
    bench.store.put(key, value)
    assert full_hash(bench.store) == kept


def test_entries_without_commands_do_not_change_it() -> None:
    """
    Two replicas at one revision agree, though one has applied a no-op more.
    """
    bench = busy()
    kept, revision = bench.machine.state_hash, bench.machine.revision

    bench.machine.skip(Index(99), Term(7))

    assert bench.machine.applied == Position(Index(99), Term(7))
    assert (bench.machine.state_hash, bench.machine.revision) == (kept, revision)
    assert full_hash(bench.store) == kept
    bench.machine.skip(Index(98), Term(7))  # of the past
    assert bench.machine.applied == Position(Index(99), Term(7))


def test_an_empty_machine_has_an_empty_hash() -> None:
    """
    Before the first entry everything is zero, and nothing is stored.
    """
    store = MemoryStore()
    machine = StateMachine(store, EPOCH)

    assert (machine.applied, machine.revision, machine.log_time_ms) == ((0, 0), 0, 0)
    assert machine.state_hash == full_hash(store) == NOTHING
    assert len(store) == 0
