"""A trace: what a node told the disk, in order, and how it is recorded and read.

Two recorders write the same events. `Preloaded` is a library inside the node, built with
the system's C compiler; `strace.Traced` watches system calls from outside, for machines
that have no compiler. Between the events stand the driver's marks: what had been
acknowledged by then.
"""

from __future__ import annotations

import enum
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

SOURCE = Path(__file__).with_name("recorder.c")
ABOUT, TRACE = "recording.json", "trace.bin"
# Files that are shared memory by intent: what is in them counts for nothing after a start.
VOLATILE = frozenset({"lock.mdb"})
_MAGIC = 0x52435348
_HEAD = struct.Struct("=IIQQQIIQ")


class Op(enum.IntEnum):
    """What happened. The numbers are those of `recorder.c`."""

    CREATE = 1
    MKDIR = 2
    LINK = 3
    UNLINK = 4  # rmdir too
    RENAME = 5
    WRITE = 6
    WRITE_SYNCED = 7  # through a descriptor that syncs what it writes, and nothing else
    TRUNCATE = 8
    ALLOCATE = 9
    SYNC_BEGIN = 10
    SYNC_END = 11
    MAP = 12
    UNSUPPORTED = 13
    MARK = 14


class Event(NamedTuple):
    """One thing that happened. Paths are relative to the recorded folder.

    `length` is the size of a write, the new size of a truncated file, or, for the two
    halves of a sync, which of them belong together.
    """

    op: Op
    inode: int = 0
    path: str = ""
    target: str = ""
    offset: int = 0
    length: int = 0
    data: bytes = b""


class RecordingError(Exception):
    """The trace cannot stand for what happened."""


class Recorder(Protocol):
    """Records the processes that are started with its command and environment."""

    name: str

    def command(self, command: list[str]) -> list[str]:
        """How to run a command so that it is recorded."""
        ...

    def environment(self) -> dict[str, str]:
        """What the recorded process needs in its environment."""
        ...

    def mark(self, **what: Any) -> None:
        """Note something between the events. It comes after all that had returned."""
        ...

    def size(self) -> int:
        """How much was recorded so far: it stands still while nothing happens."""
        ...

    def target(self, pid: int) -> int:
        """The recorded process, where `pid` was started with `command`. Once that one has
        ended, everything is recorded."""
        ...

    @staticmethod
    def read(folder: Path, root: Path) -> list[Event]:
        """Everything that was recorded in a folder. Nothing may be running any more."""
        ...


def mark_of(event: Event) -> dict[str, Any]:
    """What a mark says."""
    found: dict[str, Any] = json.loads(event.data)
    return found


class Preloaded:
    """The recorder inside the process."""

    name = "a preloaded library"

    def __init__(self, folder: Path, root: Path) -> None:
        """Build the library in `folder`; what happens below `root` is recorded."""
        self._root = root
        self._library = folder / "recorder.so"
        self._trace = folder / TRACE
        self._trace.touch()
        options = ["-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC"]
        built = subprocess.run(
            ["cc", *options, "-o", str(self._library), str(SOURCE), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            raise RecordingError(f"{SOURCE.name} does not compile:\n{built.stderr}")

    def command(self, command: list[str]) -> list[str]:
        return command

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "CRASH_ROOT": str(self._root),
            "CRASH_TRACE": str(self._trace),
        }

    def mark(self, **what: Any) -> None:
        data = json.dumps(what).encode()
        head = _HEAD.pack(_MAGIC, Op.MARK, 0, 0, len(data), 0, 0, len(data))
        handle = os.open(self._trace, os.O_WRONLY | os.O_APPEND)
        try:
            if os.write(handle, head + data) != len(head) + len(data):
                raise RecordingError("half a mark was written")
        finally:
            os.close(handle)

    def size(self) -> int:
        return self._trace.stat().st_size

    def target(self, pid: int) -> int:
        return pid

    @staticmethod
    def read(folder: Path, root: Path) -> list[Event]:
        return list(parse((folder / TRACE).read_bytes(), root))


def parse(trace: bytes, root: Path) -> Iterator[Event]:
    """The events of a trace that `recorder.c` wrote."""
    at = 0
    while at < len(trace):
        if at + _HEAD.size > len(trace):
            raise RecordingError(f"the trace ends within a record, at {at}")
        magic, op, inode, offset, length, *sizes = _HEAD.unpack_from(trace, at)
        if magic != _MAGIC:
            raise RecordingError(f"there is no record at {at} of the trace")
        at += _HEAD.size
        parts = []
        for size in sizes:
            parts.append(trace[at : at + size])
            at += size
        path, target, data = parts
        if at > len(trace):
            raise RecordingError("the last record of the trace is not whole")
        event = Event(
            Op(op), inode, relative(path, root), relative(target, root), offset, length, data
        )
        yield checked(event)


def relative(path: bytes, root: Path) -> str:
    """A path as events have it. What is no path, but a word, stays as it is."""
    if not path.startswith(b"/"):
        return os.fsdecode(path)
    text = os.path.normpath(os.fsdecode(path)).removesuffix(" (deleted)")
    if not Path(text).is_relative_to(root):
        raise RecordingError(f"{text} is not below {root}, and a part of it was recorded")
    return text.removeprefix(str(root)).lstrip("/")


def checked(event: Event) -> Event:
    """The event, unless no disk of ours knows what it leaves behind."""
    if event.op is Op.UNSUPPORTED:
        raise RecordingError(f"{event.target} of {event.path} is not supported")
    if event.op is Op.MAP and Path(event.path).name not in VOLATILE:
        raise RecordingError(
            f"{event.path} is written through a memory map, which nobody can record"
        )
    return event
