"""The recorders: what a program told the disk is in the trace, in order, and all of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.crash_images.disk import Disk
from tests.crash_images.recorders import RECORDERS, available
from tests.crash_images.recording import (
    TRACE,
    Event,
    Op,
    Preloaded,
    RecordingError,
    mark_of,
    parse,
)
from tests.crash_images.strace import calls, events

PRELUDE = """
import mmap, os, subprocess, sys, threading
os.chdir(sys.argv[1])
def opened(path, flags=os.O_RDWR | os.O_CREAT):
    return os.open(path, flags, 0o600)
"""
# One of each call that changes a file, a name or a length, and that a node might use.
EVERY_CALL = """
os.mkdir("d")
folder = os.open("d", os.O_RDONLY)
os.mkdir("e", dir_fd=folder)
a = opened("a")
os.write(a, b"0123456789")
os.lseek(a, 3, os.SEEK_SET)
os.write(a, b"abc")
os.pwrite(a, b"xy", 20)
os.writev(a, [b"12", b"", b"345"])
os.pwritev(a, [b"67", b"8"], 40)
os.fsync(a)
b = os.open("b", os.O_RDWR | os.O_CREAT, dir_fd=folder)
os.posix_fallocate(b, 0, 5000)
os.pwrite(b, bytes(range(256)) * 8, 600)
os.fdatasync(b)
os.ftruncate(b, 4000)
os.fsync(folder)
with open("text", "w") as file:
    file.write("lines\\n" * 1000)
with open("text", "r+") as file:
    file.write("other\\n")
open("text2", "w").close()
os.truncate("text", 3000)
synced = opened("synced", os.O_RDWR | os.O_CREAT | os.O_DSYNC)
os.write(synced, b"at once")
os.pwritev(synced, [b"too"], 100, os.RWF_DSYNC)
copy = opened("copy")
try:
    os.copy_file_range(b, copy, 2000, 500)
except OSError:
    os.write(copy, os.pread(b, 2000, 500))
try:
    os.sendfile(copy, a, 0, 10)
except OSError:
    os.write(copy, b"sent")
os.rename("text", "renamed")
os.replace("renamed", "d/replaced")
os.rename("b", "e/moved", src_dir_fd=folder, dst_dir_fd=folder)
opened("gone")
os.unlink("gone")
opened("d/gone")
os.unlink("gone", dir_fd=folder)
os.mkdir("empty")
os.rmdir("empty")
opened("a", os.O_WRONLY | os.O_TRUNC | os.O_CREAT)
os.write(a, b"behind what was cut")
lock = opened("lock.mdb")
os.ftruncate(lock, 4096)
mmap.mmap(lock, 4096)[:4] = b"lock"
private = mmap.mmap(a, 10, flags=mmap.MAP_PRIVATE)
private[:2] = b"no"
"""

with_each = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name not in available(), reason=f"what the recorder {name} needs is missing"
            ),
        )
        for name in RECORDERS
    ],
)


def record(folder: Path, name: str, program: str) -> list[Event]:
    """Record a small program; it must end well."""
    root = folder / "root"
    root.mkdir()
    recorder = RECORDERS[name](folder, root)
    code = PRELUDE + dedent(program)
    process = subprocess.Popen(
        recorder.command([sys.executable, "-c", code, str(root)]),
        env=recorder.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    _, said = process.communicate(timeout=60)
    if process.returncode != 0:
        pytest.fail(said)
    recorder.mark(ended=True)
    return RECORDERS[name].read(folder, root)


@with_each
def test_nothing_is_missed(tmp_path: Path, name: str) -> None:
    """
    A disk that is told the trace holds what the real folder does, byte for byte.
    """
    told = record(tmp_path, name, EVERY_CALL)

    disk = Disk((tmp_path / "root").stat().st_ino)
    for event in told:
        disk.record(event)
    assert disk.whole().differences(tmp_path / "root") == []
    assert mark_of(told[-1]) == {"ended": True}


@with_each
def test_syncs_are_told_from_writes(tmp_path: Path, name: str) -> None:
    """
    A sync has a beginning and an end, and a descriptor that syncs what it writes is seen.
    """
    program = """
    a = opened("a")
    os.write(a, b"1")
    os.fdatasync(a)
    os.write(a, b"2")
    b = opened("b", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(b, b"3")
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    """

    told = [(event.op, event.path, event.data) for event in record(tmp_path, name, program)]

    assert told[:-1] == [
        (Op.CREATE, "a", b""),
        (Op.WRITE, "a", b"1"),
        (Op.SYNC_BEGIN, "a", b""),
        (Op.SYNC_END, "a", b""),
        (Op.WRITE, "a", b"2"),
        (Op.CREATE, "b", b""),
        (Op.WRITE_SYNCED, "b", b"3"),
        (Op.SYNC_BEGIN, "", b""),
        (Op.SYNC_END, "", b""),
    ]


@with_each
def test_the_order_is_that_of_all_threads_and_processes(tmp_path: Path, name: str) -> None:
    """
    Threads and a child process take turns; the trace has their turns in order.
    """
    program = """
    a = opened("a")
    def write(data):
        thread = threading.Thread(target=os.write, args=(a, data))
        thread.start()
        thread.join()
    write(b"1")
    child = "import os; os.write(os.open('b', os.O_WRONLY | os.O_CREAT), b'2')"
    subprocess.run([sys.executable, "-c", child], check=True)
    write(b"3")
    """

    told = record(tmp_path, name, program)

    assert [event.data for event in told if event.op is Op.WRITE] == [b"1", b"2", b"3"]


@with_each
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("a = opened('a'); os.ftruncate(a, 9); mmap.mmap(a, 9)", "memory map"),
        ("os.symlink('a', 'b')", "symlink"),
        ("os.open('.', os.O_RDWR | os.O_TMPFILE)", "O_TMPFILE"),
        ("opened('a'); os.rename('a', '../a')", "is not below"),
    ],
)
def test_what_cannot_be_recorded_fails_loudly(
    tmp_path: Path, name: str, program: str, why: str
) -> None:
    """
    Rather no images than images of something else.
    """
    with pytest.raises(RecordingError, match=why):
        record(tmp_path, name, program)


@pytest.mark.skipif("preload" not in available(), reason="there is no C compiler")
def test_a_trace_with_a_hole_is_refused(tmp_path: Path) -> None:
    """
    A trace that was cut short, or that somebody else wrote to, stands for nothing.
    """
    record(tmp_path, "preload", "os.write(opened('a'), b'x')")
    trace, root = (tmp_path / TRACE).read_bytes(), tmp_path / "root"

    assert len(list(parse(trace, root))) == 3
    for damaged in (trace[:-1], trace[:20], b"x" + trace, trace + b"x"):
        with pytest.raises(RecordingError):
            list(parse(damaged, root))


@pytest.mark.skipif("preload" not in available(), reason="there is no C compiler")
def test_a_compiler_that_fails_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With what the compiler said.
    """
    source = shutil.copy(Path(__file__).with_name("recorder.c"), tmp_path / "broken.c")
    Path(source).write_text("int main(void) { return nothing; }")
    monkeypatch.setattr("tests.crash_images.recording.SOURCE", Path(source))

    with pytest.raises(RecordingError, match="nothing"):
        Preloaded(tmp_path, tmp_path)


def _hex(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def test_interrupted_lines_of_strace_are_put_together(tmp_path: Path) -> None:
    """
    A call of one thread that another one's line stands in is read as one, and comes where
    it ended; its sync began where it began.
    """
    a = _hex(f"{tmp_path}/a")
    lines = f"""\
7 100.000001 openat(AT_FDCWD<{_hex("/")}>, "{a}", O_RDWR|O_CREAT, 0600) = 3<{a}> <0.000001>
7 100.000010 write(3<{a}>, "{_hex("one")}", 3) = 3 <0.000002>
7 100.000020 fdatasync(3<{a}> <unfinished ...>
8 100.000030 pwrite64(3<{a}>, "{_hex("two")}", 3, 100) = 3 <0.000005>
8 100.000040 write(3<{a}>, "{_hex("no")}", 2) = -1 ENOSPC (No space left on device) <0.1>
7 100.000050 <... fdatasync resumed>) = 0 <0.000030>
8 100.000060 +++ exited with 0 +++
""".splitlines()

    told = events(calls(iter(lines)), [[100.000045, {"index": 1}]], tmp_path)

    assert [(event.op, event.offset, event.data) for event in told] == [
        (Op.CREATE, 0, b""),
        (Op.WRITE, 0, b"one"),
        (Op.SYNC_BEGIN, 0, b""),
        (Op.WRITE, 100, b"two"),
        (Op.MARK, 0, b'{"index": 1}'),
        (Op.SYNC_END, 0, b""),
    ]
