"""A mark beside a log: the number of the newest commit whose sync is known to have returned.

A log alone cannot say that its newest commit is missing: what is left is a log as well, one
commit shorter. LMDB goes back by a commit if the newer of its two heads is damaged, and a
file that is only appended to looks torn. So the number stands in a small file of its own.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from raftstate.core.ports import Damage
from raftstate.storage.files import FILE_MODE
from raftstate.storage.records import seal, unseal

_MARK_KEY = b"mark "
_MARK = struct.Struct(">Q")


def write_at(handle: int, offset: int, data: bytes) -> None:
    """Write all of something at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        offset += written
        view = view[written:]


class Mark:
    """The number, open. Written after each sync of the log and not synced itself, but by
    `sync`: what it says is always true, and after a loss of power it may be out of date. It
    lies within one sector, which a disk writes as a whole or not at all.
    """

    def __init__(self, path: Path, disk_id: str) -> None:
        """Open the mark of a log. Raises Damage if it is missing or not what was written."""
        self._key = _mark_key(disk_id)
        self.number = read_mark(path, disk_id)
        self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @staticmethod
    def create(path: Path, disk_id: str) -> None:
        """Make, durably, the mark of a log without commits."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            write_at(handle, 0, seal(_mark_key(disk_id), _MARK.pack(0)))
            os.fsync(handle)
        finally:
            os.close(handle)

    def write(self, number: int) -> None:
        """Say that this commit, and all before it, are durable."""
        write_at(self._handle, 0, seal(self._key, _MARK.pack(number)))
        self.number = number

    def sync(self) -> None:
        """Make the mark itself durable."""
        os.fdatasync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


def read_mark(path: Path, disk_id: str) -> int:
    """What the mark of a log says. Raises Damage."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        raise Damage(f"{path} is missing") from None
    content = unseal(_mark_key(disk_id), stored, f"{path} at 0: the mark")
    if len(content) != _MARK.size:
        raise Damage(f"{path} at 0: the mark has another length")
    number: int = _MARK.unpack(content)[0]
    return number


def _mark_key(disk_id: str) -> bytes:
    return _MARK_KEY + disk_id.encode()
