"""An ordered byte map in memory, for tests, the simulator and small tools.

Keys are kept sorted in blocks of bounded size, so that a write costs the same
in a map of a million keys as in one of a hundred.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import ClassVar

from raftstate.core.limits import KEY_BYTES_MAX

_BLOCK_KEYS_MAX = 512


class MemoryStore:
    """A `Store` that holds everything in memory.

    As with any store, what a scan yields is undefined once the map is written
    under it: collect first.
    """

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._values: dict[bytes, bytes] = {}
        # Block i holds the keys k with _lows[i] <= k < _lows[i + 1], in order.
        self._lows: list[bytes] = [b""]
        self._blocks: list[list[bytes]] = [[]]
        for key, value in pairs:
            self.put(key, value)

    def get(self, key: bytes) -> bytes | None:
        """The value at a key, or None."""
        return self._values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value at a key."""
        assert 0 < len(key) <= KEY_BYTES_MAX, f"a key of {len(key)} bytes"
        if key not in self._values:
            self._insert(key)
        self._values[key] = value

    def delete(self, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        if self._values.pop(key, None) is None:
            return False
        at = bisect_right(self._lows, key) - 1
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if not block and len(self._blocks) > 1:
            del self._blocks[at]
            # The first block always reaches down to the empty key.
            del self._lows[max(at, 1)]
        return True

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in order of key."""
        at = bisect_right(self._lows, start) - 1
        skip = bisect_left(self._blocks[at], start)
        while at < len(self._blocks):
            for key in self._blocks[at][skip:]:
                if key >= stop:
                    return
                yield key, self._values[key]
            at, skip = at + 1, 0

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in reverse order of key."""
        at = bisect_right(self._lows, stop) - 1
        keep = bisect_left(self._blocks[at], stop)
        while at >= 0:
            for key in reversed(self._blocks[at][:keep]):
                if key < start:
                    return
                yield key, self._values[key]
            at, keep = at - 1, _BLOCK_KEYS_MAX * 2

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every pair, in order of key."""
        for block in self._blocks:
            for key in block:
                yield key, self._values[key]

    def copy(self) -> MemoryStore:
        """A map of its own with the same pairs."""
        twin = MemoryStore()
        twin._values = self._values.copy()
        twin._lows = self._lows.copy()
        twin._blocks = [block.copy() for block in self._blocks]
        return twin

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryStore):
            return NotImplemented
        return self._values == other._values

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # mutable

    def _insert(self, key: bytes) -> None:
        at = bisect_right(self._lows, key) - 1
        block = self._blocks[at]
        insort(block, key)
        if len(block) > _BLOCK_KEYS_MAX:
            half = len(block) // 2
            self._blocks.insert(at + 1, block[half:])
            self._lows.insert(at + 1, block[half])
            del block[half:]
