"""The newest entries of a log, in memory: what followers and apply ask for.

Contiguous up to the end of the log, bounded by bytes, the oldest dropped first. Both
logs keep one, so that a read of what was just written touches no file.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core.ports import Entry

CACHE_BYTES = 16 << 20
# How much of it is filled when a log is opened.
WARM_BYTES = 1 << 20
# What an entry in memory takes beside its data.
_ENTRY_BYTES = 200


class Held(NamedTuple):
    """An entry, and the total of data bytes up to and with it."""

    entry: Entry
    end_bytes: int

    @property
    def cost(self) -> int:
        """About what it takes in memory."""
        return len(self.entry.data) + _ENTRY_BYTES


class EntryCache:
    """Entries from `first` to the end of the log; `first` is past the end if none is held."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self.first = 1
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, index: int) -> Held | None:
        """The entry at `index`, if it is held."""
        return self._held.get(index)

    def add(self, held: Held) -> None:
        """Take the entry that is now the newest, and drop the oldest beyond the bound."""
        index = held.entry.index
        assert index == self.first + len(self._held), f"{index} does not follow what is held"
        self._held[index] = held
        self.bytes += held.cost
        while self.bytes > self.bytes_max and len(self._held) > 1:
            self._drop_oldest()

    def truncate(self, first: int) -> None:
        """The log ends before `first` now."""
        for index in range(max(first, self.first), self.first + len(self._held)):
            self.bytes -= self._held.pop(index).cost
        self.first = min(self.first, first)

    def cut(self, base: int) -> None:
        """The log begins after `base` now."""
        while self._held and self.first <= base:
            self._drop_oldest()
        self.first = max(self.first, base + 1)

    def restart(self, first: int) -> None:
        """Nothing is held, and the next entry will be `first`."""
        self._held.clear()
        self.bytes = 0
        self.first = first

    def _drop_oldest(self) -> None:
        self.bytes -= self._held.pop(self.first).cost
        self.first += 1
