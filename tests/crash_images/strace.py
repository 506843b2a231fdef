"""The recorder outside the process: strace, for machines without a C compiler.

Slower by far than the preloaded library, and it says the same. strace prints a call when
it has returned, with the moment it began and how long it took: sorted by the moment they
ended, with the two ends of each sync apart, the lines are a trace. Every string is printed
in hexadecimal, so nothing needs to be unquoted.

Calls that copy within the kernel show no data. They are made to fail as on a file system
that cannot do it, and the node then copies with plain reads and writes.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash_images.recording import Event, Op, RecordingError, checked, relative

TRACE, MARKS = "trace.strace", "marks.jsonl"
_CALLS = (
    "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,"
    "linkat,symlink,symlinkat,chdir,lseek,mmap,copy_file_range,sendfile"
)
_STRING_BYTES_MAX = 1 << 26

_LINE = re.compile(
    r"(?P<tid>\d+) +(?P<at>\d+\.\d+) (?P<call>\w+)\((?P<arguments>.*)\) += "
    r"(?P<result>-?\w+)(?:<[^>]*>)?(?:\(deleted\))?(?: .*)? <(?P<took>\d+\.\d+)>"
)
_UNFINISHED = re.compile(r"(\d+) +(\d+\.\d+ .*?) ?<unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +\d+\.\d+ <\.\.\. \w+ resumed>(.*)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")


class Call(NamedTuple):
    """One call that succeeded."""

    began: float
    ended: float
    thread: int
    name: str
    arguments: str
    result: int

    @property
    def strings(self) -> list[bytes]:
        """The strings among the arguments."""
        return [_unhex(found) for found in _STRING.findall(self.arguments)]

    @property
    def descriptors(self) -> list[tuple[int, bytes]]:
        """The descriptors among the arguments, and what they are of; -1 for "here"."""
        return [
            (-1 if number == "AT_FDCWD" else int(number), _unhex(path))
            for number, path in _DESCRIPTOR.findall(self.arguments)
        ]

    @property
    def numbers(self) -> list[int]:
        """The plain numbers behind the last string or structure."""
        plain = re.sub(r'.*["\]>]', "", self.arguments)
        return [int(word, 0) for word in re.findall(r"-?\b(?:0x[0-9a-f]+|\d+)\b", plain)]


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Traced:
    """The recorder outside the process."""

    name = "strace"

    def __init__(self, folder: Path, root: Path) -> None:
        """What happens below `root` is recorded in `folder`."""
        self._trace = folder / TRACE
        self._marks = folder / MARKS
        self._trace.touch()
        self._marks.touch()

    def command(self, command: list[str]) -> list[str]:
        options = ["-f", "-y", "-xx", "-ttt", "-T", "-A", "-o", str(self._trace)]
        options += ["-s", str(_STRING_BYTES_MAX), "-e", f"trace={_CALLS}", "-e", "signal=none"]
        for call in ("copy_file_range", "sendfile"):
            options += ["-e", f"inject={call}:error=ENOSYS"]
        return ["strace", *options, *command]

    def environment(self) -> dict[str, str]:
        return {}

    def mark(self, **what: Any) -> None:
        with self._marks.open("a") as marks:
            marks.write(json.dumps([time.time(), what]) + "\n")

    def size(self) -> int:
        return self._trace.stat().st_size

    def target(self, pid: int) -> int:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(children) != 1:
            raise RecordingError(f"strace, process {pid}, has the children {children}")
        return int(children[0])

    @staticmethod
    def read(folder: Path, root: Path) -> list[Event]:
        marks = [json.loads(line) for line in (folder / MARKS).read_text().splitlines()]
        with (folder / TRACE).open() as lines:
            return events(calls(lines), marks, root)


def calls(lines: Iterator[str]) -> Iterator[Call]:
    """The calls that succeeded, as they are printed."""
    begun: dict[str, str] = {}
    for raw in lines:
        line = raw.rstrip("\n")
        if found := _UNFINISHED.fullmatch(line):
            begun[found[1]] = found[2]
            continue
        if found := _RESUMED.fullmatch(line):
            line = f"{found[1]} {begun.pop(found[1])}{found[2]}"
        whole = _LINE.fullmatch(line)
        if whole is None:
            continue  # how a process ended, or a call that did not return
        result = int(whole["result"], 0) if whole["result"] != "?" else -1
        if result >= 0:
            at = float(whole["at"])
            ended = at + float(whole["took"])
            yield Call(at, ended, int(whole["tid"]), whole["call"], whole["arguments"], result)


def events(found: Iterator[Call], marks: list[Any], root: Path) -> list[Event]:
    """Calls and marks in the order in which they ended, as events."""
    reading = _Reading(root)
    timed: list[tuple[float, Any]] = [(at, what) for at, what in marks]
    for call in found:
        timed.append((call.ended, call))
        if call.name in ("fsync", "fdatasync"):
            timed.append((call.began, call._replace(name="begin")))
    timed.sort(key=lambda one: one[0])
    said: list[Event] = []
    for _, one in timed:
        if isinstance(one, Call):
            said += [checked(event) for event in reading.read(one)]
        else:
            data = json.dumps(one).encode()
            said.append(Event(Op.MARK, length=len(data), data=data))
    return said


class _Open:
    """An open file: where it stands, and whether it syncs its own writes."""

    def __init__(self, *, synced: bool, appends: bool) -> None:
        self.at = 0
        self.synced = synced
        self.appends = appends


class _Reading:
    """Makes events of calls. strace knows no inodes: files are numbered by their names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = os.fsencode(root)
        self._inodes = {"": root.stat().st_ino}
        self._next = 1 << 40
        self._open: dict[tuple[int, int], _Open] = {}
        # The folder that paths begin at where a call names none.
        self._here = b""

    def read(self, call: Call) -> Iterator[Event]:
        """What a call means to the disk: mostly nothing."""
        name = call.name
        if name in ("open", "openat", "creat"):
            yield from self._opened(call)
        elif name in ("write", "writev", "pwrite64", "pwritev", "pwritev2"):
            yield from self._wrote(call)
        elif name in ("rename", "renameat", "renameat2"):
            yield from self._renamed(call)
        elif name in ("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"):
            yield from self._named(call)
        elif name in ("link", "linkat", "symlink", "symlinkat"):
            yield from self._linked(call)
        elif name == "chdir":
            self._here = os.path.join(self._here, call.strings[0])  # noqa: PTH118  # bytes
        elif name == "truncate":
            path = self._path(call, 0)
            if path is not None:
                yield Event(Op.TRUNCATE, self._inodes[path], path, length=call.numbers[0])
        else:
            yield from self._of_descriptor(call)

    # --- by descriptor -----------------------------------------------------------

    def _file(self, call: Call) -> tuple[int, int, str] | None:
        """The descriptor that a call is about, its inode and path, if it is recorded."""
        if not call.descriptors:
            return None
        number, raw = call.descriptors[0]
        if not self._inside(raw) or "(deleted)" in call.arguments:
            return None
        path = relative(raw, self._root)
        if path not in self._inodes:
            return None
        return number, self._inodes[path], path

    def _of_descriptor(self, call: Call) -> Iterator[Event]:
        file = self._file(call)
        if file is None:
            return
        number, inode, path = file
        if call.name in ("fsync", "fdatasync", "begin"):
            op = Op.SYNC_BEGIN if call.name == "begin" else Op.SYNC_END
            yield Event(op, inode, path, length=call.thread)
        elif call.name == "lseek":
            if (number, inode) in self._open:
                self._open[number, inode].at = call.result
        elif call.name == "ftruncate":
            yield Event(Op.TRUNCATE, inode, path, length=call.numbers[0])
        elif call.name == "fallocate":
            yield from self._allocated(call, inode, path)
        elif call.name == "mmap" and _maps_writes(call):
            yield Event(Op.MAP, inode, path)

    def _allocated(self, call: Call, inode: int, path: str) -> Iterator[Event]:
        mode, _, rest = call.arguments.partition(">")[2].lstrip(", ").partition(", ")
        offset, length = (int(word) for word in rest.split(", "))
        if mode == "0":
            yield Event(Op.ALLOCATE, inode, path, offset=offset, length=length)
        elif mode != "FALLOC_FL_KEEP_SIZE":
            yield Event(Op.UNSUPPORTED, inode, path, f"fallocate({mode})")

    def _wrote(self, call: Call) -> Iterator[Event]:
        file = self._file(call)
        if file is None or call.result == 0:
            return
        number, inode, path = file
        opened = self._open[number, inode]
        data = b"".join(call.strings)[: call.result]
        if opened.appends or len(data) != call.result or "RWF_APPEND" in call.arguments:
            yield Event(Op.UNSUPPORTED, inode, path, "appending write")
        if call.name in ("write", "writev"):
            offset = opened.at
            opened.at += call.result
        else:
            offset = call.numbers[1]
        synced = opened.synced or "SYNC" in call.arguments
        op = Op.WRITE_SYNCED if synced else Op.WRITE
        yield Event(op, inode, path, offset=offset, length=len(data), data=data)

    # --- by name -------------------------------------------------------------------

    def _inside(self, path: bytes) -> bool:
        return path == self._prefix or path.startswith(self._prefix + b"/")

    def _path(self, call: Call, which: int) -> str | None:
        """A path among the arguments, if it is recorded."""
        path = call.strings[which]
        if not path.startswith(b"/"):
            folders = [folder for _, folder in call.descriptors]
            folder = folders[min(which, len(folders) - 1)] if folders else self._here
            path = folder + b"/" + path
        return relative(path, self._root) if self._inside(path) else None

    def _number(self, path: str) -> int:
        self._next += 1
        self._inodes[path] = self._next
        return self._next

    def _opened(self, call: Call) -> Iterator[Event]:
        path = self._path(call, 0)
        if path is None:
            return
        flags = set(re.findall(r"O_\w+", call.arguments))
        creates = "O_CREAT" in flags or call.name == "creat"
        if "O_TMPFILE" in flags:
            yield Event(Op.UNSUPPORTED, 0, path, "O_TMPFILE")
        elif creates and path not in self._inodes:
            yield Event(Op.CREATE, self._number(path), path)
        elif "O_TRUNC" in flags or call.name == "creat":
            yield Event(Op.TRUNCATE, self._inodes[path], path)
        opened = _Open(synced=bool(flags & {"O_DSYNC", "O_SYNC"}), appends="O_APPEND" in flags)
        self._open[call.result, self._inodes[path]] = opened

    def _renamed(self, call: Call) -> Iterator[Event]:
        old, new = self._path(call, 0), self._path(call, 1)
        if old is None and new is None:
            return
        if old is None or new is None or "RENAME_EXCHANGE" in call.arguments:
            yield Event(Op.UNSUPPORTED, 0, old or new or "", "rename")
            return
        for path in list(self._inodes):
            if path == new or path.startswith(new + "/"):
                del self._inodes[path]
        for path in list(self._inodes):
            if path == old or path.startswith(old + "/"):
                self._inodes[new + path.removeprefix(old)] = self._inodes.pop(path)
        yield Event(Op.RENAME, 0, old, new)

    def _named(self, call: Call) -> Iterator[Event]:
        path = self._path(call, 0)
        if path is None:
            return
        if call.name in ("mkdir", "mkdirat"):
            yield Event(Op.MKDIR, self._number(path), path)
        else:
            del self._inodes[path]
            yield Event(Op.UNLINK, 0, path)

    def _linked(self, call: Call) -> Iterator[Event]:
        path = self._path(call, 1)
        if path is not None:
            yield Event(Op.UNSUPPORTED, 0, path, call.name)


def _maps_writes(call: Call) -> bool:
    return "PROT_WRITE" in call.arguments and "MAP_SHARED" in call.arguments
