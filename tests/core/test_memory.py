"""The map in memory, against a sorted dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftstate.core import memory
from raftstate.core.memory import MemoryStore

KEYS = st.binary(min_size=1, max_size=2)
# Few distinct bytes, so that keys meet; many operations, so that blocks split.
WRITES = st.lists(st.tuples(st.sampled_from("pppd"), KEYS), max_size=60)


@given(WRITES, KEYS | st.just(b""), KEYS, st.sampled_from([2, 3, 512]))
def test_it_is_a_sorted_map(
    writes: list[tuple[str, bytes]], start: bytes, stop: bytes, block: int
) -> None:
    """
    After any writes, gets and scans in both directions say what a dict would.

    Method: blocks of two or three keys, so that they split and vanish all the time.
    """
    usual, memory._BLOCK_KEYS_MAX = memory._BLOCK_KEYS_MAX, block
    try:
        store, plain = MemoryStore(), dict[bytes, bytes]()
        for at, (what, key) in enumerate(writes):
            if what == "p":
                plain[key] = bytes([at])
                store.put(key, bytes([at]))
            else:
                assert store.delete(key) == (plain.pop(key, None) is not None)
        want = [(key, plain[key]) for key in sorted(plain) if start <= key < stop]

        assert list(store.scan(start, stop)) == want
        assert list(store.scan_back(start, stop)) == want[::-1]
        assert list(store.items()) == sorted(plain.items())
        assert [store.get(key) for key in plain] == list(plain.values())
        assert store.get(b"none at all") is None
        assert len(store) == len(plain)
        assert store == MemoryStore(plain.items())
    finally:
        memory._BLOCK_KEYS_MAX = usual


def test_a_copy_goes_its_own_way() -> None:
    """
    A copy is equal, until one of the two is written.
    """
    store = MemoryStore([(b"a", b"1"), (b"b", b"2")])

    twin = store.copy()
    assert twin == store
    twin.put(b"c", b"3")
    twin.delete(b"a")

    assert twin != store
    assert list(store.items()) == [(b"a", b"1"), (b"b", b"2")]
    assert list(twin.items()) == [(b"b", b"2"), (b"c", b"3")]


def test_an_empty_value_is_a_value() -> None:
    """
    A key with nothing under it is still there.
    """
    store = MemoryStore([(b"a", b"")])

    assert store.get(b"a") == b""
    assert store.delete(b"a")
    assert not store.delete(b"a")
