"""How much room is left, and when that is too little to take in more.

A log that cannot be written ends the process, so growth is refused while there is still
room for everything else: a reserve that the configuration sets. Three things can run
out: the file system, the quota if there is one, and the map of an LMDB environment. What
is free inside the files already counts as free: LMDB writes there first.

With hysteresis, so that nobody is let in and sent away in turns: low below the reserve,
and no longer low above a quarter more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

RESERVE_BYTES = 256 << 20
SAMPLE_S = 0.1
# An environment is nearly full when so much of its map is used: a large record wants
# pages in one piece.
_MAP_USED = 7 / 8


class Use(NamedTuple):
    """What an environment takes: of its map, and within its file for nothing yet."""

    map_bytes: int
    used_bytes: int
    spare_bytes: int


class Space:
    """The room in one data folder. `low` and `uses` are the raft thread's, and `room` may
    be asked on any thread."""

    def __init__(
        self,
        data_dir: Path,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        quota_bytes: int = 0,
        uses: Sequence[Callable[[], Use]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data_dir = data_dir
        self._reserve_bytes = reserve_bytes
        self._quota_bytes = quota_bytes
        self._uses = uses
        self._clock = clock
        self._sampled = float("-inf")
        self._low = False
        self.free_bytes = free_bytes(data_dir, quota_bytes)

    def low(self) -> bool:
        """Whether what grows must be refused; looks at the disk ten times a second at most."""
        now = self._clock()
        if now - self._sampled >= SAMPLE_S:
            self._sampled = now
            self._low = self._sample()
        return self._low

    def room(self) -> int:
        """How much something that is not vital may take: a snapshot."""
        return free_bytes(self._data_dir, self._quota_bytes) - self._reserve_bytes

    def _sample(self) -> bool:
        uses = [use() for use in self._uses]
        self.free_bytes = free_bytes(self._data_dir, self._quota_bytes)
        # All of them have to grow, so the one with the least room of its own counts.
        free = self.free_bytes + min((use.spare_bytes for use in uses), default=0)
        wanted, used = self._reserve_bytes, _MAP_USED
        if self._low:
            wanted, used = wanted * 5 // 4, used - 1 / 16
        return free < wanted or any(use.used_bytes > used * use.map_bytes for use in uses)


def free_bytes(data_dir: Path, quota_bytes: int) -> int:
    """What a data folder may still take, by its file system and its quota."""
    found = os.statvfs(data_dir)
    free = found.f_bavail * found.f_frsize
    if quota_bytes:
        free = min(free, max(quota_bytes - folder_bytes(data_dir), 0))
    return free


def folder_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # it was removed meanwhile
    return total
