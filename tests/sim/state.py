"""The simulated state: a map in memory with one open transaction above it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Reader

if TYPE_CHECKING:
    from tests.sim.disk import SimDisk


class SimStore:
    """The writable map. Remembers what this transaction overwrote."""

    def __init__(self, below: MemoryStore) -> None:
        self.below = below
        self.overwritten: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, with this transaction's changes."""
        return self.below.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in order."""
        return self.below.scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in reverse order."""
        return self.below.scan_back(start, stop)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.overwritten.setdefault(key, self.below.get(key))
        self.below.put(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        self.overwritten.setdefault(key, self.below.get(key))
        return self.below.delete(key)

    def roll_back(self) -> None:
        """Undo this transaction."""
        for key, value in self.overwritten.items():
            if value is None:
                self.below.delete(key)
            else:
                self.below.put(key, value)
        self.overwritten.clear()


class CommittedView:
    """The map as the last commit left it, while a transaction may be open above it."""

    def __init__(self, store: SimStore) -> None:
        self._store = store

    def get(self, key: bytes) -> bytes | None:
        """The committed value of a key."""
        if key in self._store.overwritten:
            return self._store.overwritten[key]
        return self._store.below.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Committed pairs with start <= key < stop, in order."""
        if not self._store.overwritten:
            return self._store.below.scan(start, stop)
        return iter(sorted(self._merged(start, stop)))

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Committed pairs with start <= key < stop, in reverse order."""
        if not self._store.overwritten:
            return self._store.below.scan_back(start, stop)
        return iter(sorted(self._merged(start, stop), reverse=True))

    def _merged(self, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
        pairs: dict[bytes, bytes | None] = dict(self._store.below.scan(start, stop))
        pairs |= {k: v for k, v in self._store.overwritten.items() if start <= k < stop}
        return [(key, value) for key, value in pairs.items() if value is not None]


@dataclass(slots=True)
class StateImage:
    """The state environment as it lies on the disk, and what its markers say."""

    store: MemoryStore = field(default_factory=MemoryStore)
    boot: int | None = None
    clean: bool = True


class SimState:
    """The `State` port: committed at once, never synced."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self._store = SimStore(disk.state.store)

    @property
    def store(self) -> SimStore:
        """The writable map, with this tick's changes."""
        return self._store

    def commit(self) -> None:
        """Make this tick's changes visible to views."""
        if not self._store.overwritten:
            return
        self._disk.reach("state.before")
        self._store.overwritten.clear()
        self._disk.reach("state.after")

    @contextlib.contextmanager
    def view(self) -> Iterator[Reader]:
        """The last committed map."""
        yield CommittedView(self._store)

    @property
    def size_bytes(self) -> int:
        """A guess at the map's size: what decides about compaction in the product."""
        return 64 * len(self._disk.state.store)

    def close(self) -> None:
        """A clean stop: sync, then mark the state as clean."""
        self._store.roll_back()
        self._disk.state.clean = True

    def replace(self, store: MemoryStore) -> None:
        """Show another generation from now on."""
        self._disk.state.store = store
        self._store = SimStore(store)
