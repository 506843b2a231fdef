"""A node's wall clock, from the harness' side: a small file that the node has mapped."""

from __future__ import annotations

import mmap
from pathlib import Path

_SIZE = 8


def clock_file(path: Path) -> Path:
    """Make the file that `clock.c` reads; right, if it is not there yet."""
    if not path.exists():
        path.write_bytes(bytes(_SIZE))
    return path


def set_offset(path: Path, seconds: float) -> None:
    """Let the wall clock of all who have the file mapped be off by so much; zero is right."""
    with (
        path.open("r+b") as file,
        mmap.mmap(file.fileno(), _SIZE) as mapped,
        memoryview(mapped) as view,
        view.cast("q") as numbers,
    ):
        # One store of eight bytes, so that nobody sees half of it.
        numbers[0] = round(seconds * 1e9)
