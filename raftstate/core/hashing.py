"""The state hash: one number that says whether two replicas hold the same bytes.

It is the sum, modulo 2^128, of a hash of every pair in the map. A sum does not
care in which order the pairs came, so a write only has to take the old pair out
and add the new one, and a scan of the map, in slices if need be, must come to
the same number. It finds damage and divergence; it is no defence against
somebody who can choose what is stored.

Two keys are left out: `!applied` holds the sum itself, and the position in the
Raft log; `!members` is who is in the cluster. Both are changed by log entries
without commands, at no revision. So two replicas at the same revision have the
same hash, wherever they are in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from raftstate.core import keys
from raftstate.core.ports import Reader, Store

HASH_BYTES = 16
_MASK = (1 << (8 * HASH_BYTES)) - 1


def pair_hash(key: bytes, value: bytes) -> int:
    """What one pair adds to the sum."""
    # The key's length keeps ("ab", "c") apart from ("a", "bc").
    data = len(key).to_bytes(2, "big") + key + value
    return int.from_bytes(blake2b(data, digest_size=HASH_BYTES).digest(), "big")


def sum_of(pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """What some pairs add to the sum, so that a scrub can work in slices."""
    return (
        sum(pair_hash(key, value) for key, value in pairs if key not in keys.UNHASHED) & _MASK
    )


def digest(total: int) -> bytes:
    """A sum as it is stored and shown."""
    return (total & _MASK).to_bytes(HASH_BYTES, "big")


def full_hash(reader: Reader) -> bytes:
    """The state hash, computed anew from every pair."""
    return digest(sum_of(reader.scan(*keys.EVERYTHING)))


class HashedStore:
    """The store that the machine writes through: it keeps the sum as it goes."""

    __slots__ = ("_store", "get", "scan", "scan_back", "total")

    def __init__(self, store: Store, hashed: bytes) -> None:
        self._store = store
        self.total = int.from_bytes(hashed, "big")
        # Reads go straight through.
        self.get = store.get
        self.scan = store.scan
        self.scan_back = store.scan_back

    @property
    def hashed(self) -> bytes:
        """The state hash now."""
        return digest(self.total)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value at a key."""
        assert key != keys.APPLIED, "the hash does not cover the hash"
        old = self.get(key)
        if old != value:
            self._replace(key, old, value)

    def _replace(self, key: bytes, old: bytes | None, value: bytes) -> None:
        if old is not None:
            self.total -= pair_hash(key, old)
        self.total += pair_hash(key, value)
        self._store.put(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        return self.take(key) is not None

    def take(self, key: bytes) -> bytes | None:
        """Remove a key; say what it had."""
        assert key != keys.APPLIED, "the hash does not cover the hash"
        old = self.get(key)
        if old is not None:
            self._remove(key, old)
        return old

    def _remove(self, key: bytes, old: bytes) -> None:
        self.total -= pair_hash(key, old)
        self._store.delete(key)

    def delete_span(self, span: keys.Span) -> list[bytes]:
        """Remove every pair of a range; say which keys there were."""
        found = list(self._store.scan(*span))
        for key, old in found:
            self._remove(key, old)
        return [key for key, _ in found]
