"""The preloaded libraries, against small processes that write, sync and wait."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from jepsen_like.shims import BuildFailed, NoCompiler, Shims
from jepsen_like.shims.powerloss import DROP, MODES, SOME, TORN, Loss, ShadowError, lose
from tests.crash_images import disk as model
from tests.crash_images.recording import Event, Op

PATIENCE_S = 60.0
A, B = b"a" * 4096, b"b" * 4096


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Shims:
    """The machine, built once."""
    try:
        return Shims.make(tmp_path_factory.mktemp("machine"))
    except NoCompiler as error:
        pytest.skip(str(error))


class Disk:
    """A data folder that children write to under the shim."""

    def __init__(self, shims: Shims, node: str, data: Path) -> None:
        self.shims, self.node, self.data = shims, node, data
        self.shadow = shims.folder / node / "shadow"
        shims.prepare(node, data)

    def environment(self) -> dict[str, str]:
        """What a child is started with."""
        return {**os.environ, **self.shims.environment(self.node, self.data)}

    def run(self, script: str, end: int = 0, given: str = "") -> str:
        """Let a child run a script in the folder; what it wrote."""
        done = subprocess.run(
            [sys.executable, "-c", _PRELUDE + textwrap.dedent(script)],
            cwd=self.data,
            env=self.environment(),
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == end, done.stderr
        return done.stdout

    def lose(self, mode: str = DROP, seed: int = 1) -> Loss:
        """The power goes."""
        return lose(self.data, self.shadow, mode, seed)

    def files(self) -> dict[str, bytes | None]:
        """What is in the folder, by path; None for a folder."""
        return {
            str(path.relative_to(self.data)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self.data.rglob("*"))
        }


_PRELUDE = """
import os, signal, sys, threading, time
A, B = b"a" * 4096, b"b" * 4096

def sync(path, flags=os.O_RDONLY):
    handle = os.open(path, flags)
    os.fsync(handle)
    os.close(handle)

def write(path, data, synced=True):
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        if synced:
            os.fsync(file.fileno())

def update(path, at, data, flags=0):
    handle = os.open(path, os.O_RDWR | flags)
    os.pwrite(handle, data, at)
    return handle
"""


@pytest.fixture
def disk(shims: Shims, tmp_path: Path) -> Disk:
    """A machine's disk with an empty data folder."""
    return Disk(shims, f"n{random.getrandbits(48)}", tmp_path / "data")


# --- content -----------------------------------------------------------------------


def test_what_was_not_synced_is_dropped_and_what_was_is_kept(disk: Disk) -> None:
    """A page that was synced stays; one written after that is gone, and is counted."""
    disk.run("""
        write("f", A + A)
        sync(".")
        handle = update("f", 0, B)
        os.fdatasync(handle)
        os.pwrite(handle, B, 4096)
    """)
    assert disk.files() == {"f": B + B}
    loss = disk.lose()
    assert disk.files() == {"f": B + A}
    assert (loss.files, loss.pages_unsynced, loss.pages_lost) == (1, 1, 1)


def test_a_file_that_was_never_synced_is_empty(disk: Disk) -> None:
    """Its folder's sync makes the name durable, and nothing else."""
    disk.run('write("f", A, synced=False); sync(".")')
    disk.lose()
    assert disk.files() == {"f": b""}


def test_a_write_that_syncs_itself_is_kept_alone(disk: Disk) -> None:
    """Through O_DSYNC the bytes written are durable, and not what stands beside them."""
    disk.run("""
        write("f", A + A)
        sync(".")
        update("f", 0, b"x" * 100)
        update("f", 50, b"y" * 10, os.O_DSYNC)
    """)
    disk.lose()
    assert disk.files() == {"f": b"a" * 50 + b"y" * 10 + (A + A)[60:]}


def test_position_append_and_vector_writes_are_followed(disk: Disk) -> None:
    """Every way to write ends where the file says it did, page by page."""
    disk.run("""
        write("f", A * 8)
        sync(".")
        handle = os.open("f", os.O_RDWR)
        os.fsync(handle)
        os.lseek(handle, 4096, 0)
        os.write(handle, B)
        os.writev(handle, [b"c" * 2048, b"d" * 2048])
        os.pwritev(handle, [b"e" * 4096], 5 * 4096)
        more = os.open("f", os.O_WRONLY | os.O_APPEND)
        os.write(more, b"tail")
        os.fdatasync(handle)
    """)
    seen = disk.files()
    disk.lose()
    assert disk.files() == seen
    assert (
        seen["f"] == A + B + b"c" * 2048 + b"d" * 2048 + A * 2 + b"e" * 4096 + A * 2 + b"tail"
    )


def test_sizes_are_synced_with_the_file(disk: Disk) -> None:
    """Shortened, allocated, and copied by the kernel: durable with a sync, not without."""
    disk.run("""
        write("short", A * 4); write("cut", A * 4); write("long", A); write("copy", b"")
        sync(".")
        handle = os.open("short", os.O_RDWR)
        os.ftruncate(handle, 4096); os.fsync(handle)
        os.truncate("cut", 4096)
        handle = os.open("long", os.O_RDWR)
        os.posix_fallocate(handle, 0, 3 * 4096); os.fsync(handle)
        os.pwrite(handle, B, 2 * 4096); os.fdatasync(handle)
        source, target = os.open("short", os.O_RDONLY), os.open("copy", os.O_RDWR)
        assert os.copy_file_range(source, target, 4096) == 4096
        os.fsync(target)
    """)
    disk.lose()
    zeros = bytes(4096)
    assert disk.files() == {"short": A, "cut": A * 4, "long": A + zeros + B, "copy": A}


def test_what_was_cut_off_when_it_was_opened_does_not_come_back(disk: Disk) -> None:
    """Where a file was emptied and then written further behind, there are zeros."""
    disk.run("""
        write("f", A * 3); sync(".")
        handle = os.open("f", os.O_RDWR); os.fsync(handle); os.pwrite(handle, A, 0)
        os.fsync(handle)
        again = os.open("f", os.O_RDWR | os.O_TRUNC)
        os.pwrite(again, B, 8192)
        os.fsync(handle)
    """)
    disk.lose()
    assert disk.files() == {"f": bytes(8192) + B}


def test_another_process_syncs_what_one_wrote(disk: Disk) -> None:
    """A sync covers what any process wrote: before it, between two of its syncs, and by
    a child that was forked."""
    disk.run('write("f", A * 4, synced=False); sync(".")')
    disk.run("""
        handle = os.open("f", os.O_RDWR)
        os.pwrite(handle, B, 0)
        os.fsync(handle)
        if os.fork() == 0:
            os.pwrite(handle, B, 4096)
            os._exit(0)
        os.wait()
        os.fsync(handle)
        ready, go = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.pwrite(handle, B, 8192)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os.pwrite(handle, B, 3 * 4096)
            os._exit(0)
        os.read(ready[0], 1)
        os.fsync(handle)
        os.write(go[1], b"x")
        os.wait()
    """)
    disk.lose()
    assert disk.files() == {"f": B * 3 + A}


def test_threads_that_write_and_sync_at_once_lose_nothing(disk: Disk) -> None:
    """Each thread's page is durable once its own sync returned."""
    disk.run(
        """
        write("f", bytes(64 * 4096))
        sync(".")
        handle = os.open("f", os.O_RDWR)
        def work(number):
            for turn in range(1, 9):
                for page in range(number, 64, 8):
                    os.pwrite(handle, bytes([turn]) * 4096, page * 4096)
                os.fdatasync(handle)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for one in threads: one.start()
        for one in threads: one.join()
        os.kill(os.getpid(), signal.SIGKILL)
    """,
        -signal.SIGKILL,
    )
    disk.lose()
    assert disk.files() == {"f": bytes([8]) * 64 * 4096}


def test_a_process_that_replaces_itself_goes_on(disk: Disk) -> None:
    """What was written before an exec is synced after it."""
    disk.run("""
        write("f", A)
        sync(".")
        update("f", 0, B)
        os.execv(sys.executable, [sys.executable, "-c", "import os;"
            "handle = os.open('f', os.O_RDWR); os.fsync(handle); os.pwrite(handle, b'c', 0)"])
    """)
    disk.lose()
    assert disk.files() == {"f": B}


# --- names -----------------------------------------------------------------------------


def test_names_are_durable_with_their_folder(disk: Disk) -> None:
    """Without its sync, nothing was made, renamed or removed."""
    disk.run("""
        os.mkdir("kept"); write("kept/f", A); sync("kept"); write("old", A); write("gone", A)
        sync(".")
        os.mkdir("new"); write("new/f", A); sync("new")
        write("old.tmp", B); os.replace("old.tmp", "old")
        os.unlink("gone"); os.unlink("kept/f"); os.rmdir("kept")
    """)
    assert disk.files() == {"old": B, "new": None, "new/f": A}
    loss = disk.lose()
    assert disk.files() == {"old": A, "gone": A, "kept": None, "kept/f": A}
    assert loss.names_lost == loss.names_unsynced > 0


def test_a_folder_that_was_synced_has_what_it_had_then(disk: Disk) -> None:
    """With its sync, all of that happened, and what is gone is gone."""
    disk.run("""
        write("old", A); write("gone", A); os.mkdir("folder"); write("folder/f", A)
        sync("folder"); sync(".")
        write("old.tmp", B); os.replace("old.tmp", "old")
        os.unlink("gone"); os.unlink("folder/f"); os.rmdir("folder")
        sync(".")
    """)
    loss = disk.lose()
    assert disk.files() == {"old": B}
    assert asdict(loss) == asdict(Loss(files=1))


def test_what_is_gone_for_good_takes_no_room(disk: Disk) -> None:
    """A node that runs for long replaces files without end."""
    disk.run("""
        for turn in range(300):
            write("f.tmp", A); os.replace("f.tmp", "f")
            if turn % 3 == 0: sync(".")
        for turn in range(500):
            write("x", A); os.unlink("x")
        sync(".")
    """)
    kept = [path for part in ("content", "removed") for path in (disk.shadow / part).iterdir()]
    assert len(kept) == 1
    disk.lose()
    assert disk.files() == {"f": A}


def test_a_number_that_is_used_again_is_another_file(disk: Disk) -> None:
    """The system gives the number of a removed file to the next: nothing of the old one
    may stand for the new one."""
    disk.run("""
        for turn in range(50):
            write("f", A); sync("."); os.unlink("f"); sync(".")
            os.mkdir("d"); write("d/x", A); sync("d"); sync(".")
            os.unlink("d/x"); os.rmdir("d"); sync(".")
        write("f", B, synced=False); os.mkdir("e"); sync(".")
    """)
    disk.lose()
    assert disk.files() == {"f": b"", "e": None}


def test_a_move_between_folders_loses_nothing(disk: Disk) -> None:
    """Whichever of the two folders was synced, what was moved is in exactly one."""
    for synced, left in (("b", "b/f"), ("a", "a/f"), (None, "a/f")):
        shutil.rmtree(disk.data)
        disk.shims.prepare(disk.node, disk.data)
        disk.run(f"""
            os.mkdir("a"); os.mkdir("b"); write("a/f", A); sync("a"); sync(".")
            os.rename("a/f", "b/f")
            if {synced!r}: sync({synced!r})
        """)
        disk.lose()
        assert disk.files() == {"a": None, "b": None, left: A}, synced


def test_a_folder_keeps_its_content_when_it_is_renamed(disk: Disk) -> None:
    """As the node publishes what it built, and discards what it no longer wants."""
    disk.run("""
        os.mkdir("building"); write("building/f", A); sync("building")
        os.rename("building", "state"); sync(".")
        os.rename("state", "discarded"); sync(".")
        import shutil; shutil.rmtree("discarded")
    """)
    assert disk.files() == {}
    disk.lose()
    assert disk.files() == {"discarded": None, "discarded/f": A}


def test_what_is_not_understood_is_said(disk: Disk) -> None:
    """Where the shadow cannot be right, it is not used."""
    disk.run('write("f", A); os.link("f", "g")')
    with pytest.raises(ShadowError, match="a link"):
        disk.lose()


# --- what is drawn ---------------------------------------------------------------------

PAGES = 64


def make_unsynced(disk: Disk) -> None:
    """A file with many pages that were not synced, and names that were not."""
    disk.run(f"""
        write("f", A * {PAGES}); write("old", A); sync(".")
        update("f", 0, B * {PAGES * 2})
        for number in range(20): write(str(number), A)
        write("old.tmp", B); os.replace("old.tmp", "old")
    """)


def copies_of(disk: Disk, tmp_path: Path, mode: str, seed: int) -> dict[str, bytes | None]:
    """What one power loss leaves of a disk, which stays as it is."""
    shims = disk.shims
    copy = Disk(shims, f"{disk.node}-{mode}-{seed}", tmp_path / f"{mode}-{seed}")
    make_unsynced(copy)
    copy.lose(mode, seed)
    return copy.files()


@pytest.mark.parametrize("mode", [SOME, TORN])
def test_some_of_what_was_not_synced_is_kept(disk: Disk, tmp_path: Path, mode: str) -> None:
    """Pages, sizes and names, each drawn; what was synced is always there."""
    found = [copies_of(disk, tmp_path, mode, seed) for seed in range(4)]
    for files in found:
        content = files["f"]
        assert content is not None
        assert PAGES * 4096 <= len(content) <= PAGES * 2 * 4096
        assert set(content) <= {0, *b"ab"}
        assert files["old"] in (A, B)
        assert all(files[name] in (A, B) for name in files.keys() - {"f"})
        pieces = [set(content[at : at + 4096]) for at in range(0, PAGES * 4096, 4096)]
        torn = any(len(piece) == 2 for piece in pieces)
        assert torn == (mode == TORN) or len({*map(frozenset, pieces)}) == 1
    assert len({files["f"] for files in found}) == 4
    assert {len(files) for files in found} != {2}


def test_the_same_seed_leaves_the_same(disk: Disk, tmp_path: Path) -> None:
    """Mode and seed decide everything, whatever numbers files happen to have."""
    first = copies_of(disk, tmp_path / "a", TORN, 7)
    assert first == copies_of(disk, tmp_path / "b", TORN, 7)
    assert first != copies_of(disk, tmp_path / "c", TORN, 8)


def test_afterwards_all_that_is_there_is_durable(disk: Disk) -> None:
    """What a machine finds when it comes back, it finds again the next time."""
    make_unsynced(disk)
    disk.lose(SOME, 3)
    found = disk.files()
    for mode in MODES:
        loss = disk.lose(mode, 5)
        assert disk.files() == found
        assert loss == Loss(files=loss.files)


# --- against a model ---------------------------------------------------------------------

_DO = """
import json
handles = {}
for op, path, *rest in json.loads(sys.stdin.read()):
    if op == "write":
        at, size, byte, flags = rest
        handle = os.open(path, os.O_RDWR | os.O_CREAT | flags)
        os.pwrite(handle, bytes([byte]) * size, at)
        os.close(handle)
    elif op == "truncate": os.truncate(path, rest[0])
    elif op == "sync": sync(path)
    elif op == "mkdir": os.mkdir(path)
    elif op == "rmdir": os.rmdir(path)
    elif op == "unlink": os.unlink(path)
    else: os.rename(path, rest[0])
"""


class Model:
    """Draws what a process does to a folder, and tells a disk that is only a model."""

    def __init__(self, seed: int) -> None:
        self.disk = model.Disk(0)
        self.ops: list[list[Any]] = []
        self._rng = random.Random(seed)
        self._inodes = itertools.count(1)
        self._files: dict[str, int] = {}
        self._folders = {".": 0}

    def draw(self) -> None:
        """One thing more."""
        kind = self._rng.choices(*zip(*_KINDS.items(), strict=True))[0]
        getattr(self, f"_{kind}")()

    def _do(self, *op: Any) -> None:
        self.ops.append(list(op))

    def _name(self) -> str:
        return str(Path(self._rng.choice([*self._folders]), self._rng.choice("abc")))

    def _write(self) -> None:
        path = self._name()
        if path in self._folders:
            return
        flags = self._rng.choice([0, 0, 0, os.O_DSYNC])
        at, size = self._rng.randrange(20_000), self._rng.randrange(1, 9_000)
        self._do("write", path, at, size, byte := self._rng.randrange(256), flags)
        if path not in self._files:
            self._files[path] = next(self._inodes)
            self.disk.record(Event(Op.CREATE, self._files[path], path))
        op = Op.WRITE_SYNCED if flags else Op.WRITE
        inode, data = self._files[path], bytes([byte]) * size
        self.disk.record(Event(op, inode, path, "", at, size, data))

    def _truncate(self) -> None:
        if self._files:
            path, size = self._rng.choice([*self._files]), self._rng.randrange(20_000)
            self._do("truncate", path, size)
            self.disk.record(Event(Op.TRUNCATE, self._files[path], path, length=size))

    def _sync(self) -> None:
        path = self._rng.choice([*self._files, *self._folders])
        self._do("sync", path)
        inode = self._files.get(path, self._folders.get(path, 0))
        for op in (Op.SYNC_BEGIN, Op.SYNC_END):
            self.disk.record(Event(op, inode, path))

    def _mkdir(self) -> None:
        path = self._name()
        if path not in self._files.keys() | self._folders.keys() and path.count("/") < 2:
            self._do("mkdir", path)
            self._folders[path] = next(self._inodes)
            self.disk.record(Event(Op.MKDIR, self._folders[path], path))

    def _remove(self) -> None:
        path = self._rng.choice([*self._files, *self._folders])
        below = self._files.keys() | self._folders.keys() - {"."}
        if path == "." or any(one.startswith(f"{path}/") for one in below):
            return
        self._do("rmdir" if path in self._folders else "unlink", path)
        self._files.pop(path, None)
        self._folders.pop(path, None)
        self.disk.record(Event(Op.UNLINK, 0, path))

    def _rename(self) -> None:
        """Within a folder; a folder too, but not onto anything."""
        path = self._rng.choice([*self._files, *self._folders])
        target = str(Path(path).with_name(self._rng.choice("abc"))) if path != "." else "."
        taken = self._folders if path in self._files else self._files.keys() | self._folders
        if target in taken or target == path:
            return
        self._do("rename", path, target)
        self.disk.record(Event(Op.RENAME, 0, path, target))
        for known in (self._files, self._folders):
            for one in [one for one in known if one == path or one.startswith(f"{path}/")]:
                known[target + one[len(path) :]] = known.pop(one)


_KINDS = {"write": 6, "truncate": 1, "sync": 6, "mkdir": 2, "remove": 2, "rename": 3}


def test_the_shadow_is_what_a_model_of_a_disk_has(disk: Disk) -> None:
    """Whatever is done, by one process after another: nothing that was synced is missing,
    nothing else is there."""
    synced = 0
    for seed in range(15):
        drawn = Model(seed)
        for _ in range(3):
            drawn.ops.clear()
            for _ in range(30):
                drawn.draw()
            disk.run(_DO, given=json.dumps(drawn.ops))
        assert drawn.disk.whole().files == disk.files(), seed
        disk.lose()
        left = drawn.disk.image(Unlucky()).files
        assert left == disk.files(), seed
        synced += sum(map(bool, left.values()))
        shutil.rmtree(disk.data)
        disk.shims.prepare(disk.node, disk.data)
    assert synced > 15


class Unlucky(random.Random):
    """Always draws that nothing reached the disk by itself."""

    def choice(self, seq: Any) -> Any:
        """The first of what can be chosen."""
        return model.NOTHING if model.NOTHING in seq else seq[0]


# --- LMDB ----------------------------------------------------------------------------------

_COMMITS = """
    import lmdb
    env = lmdb.open("log", map_size=1 << 30, lib_version=0)
    sync(".")
    sync("log")
    for number in range({first}, {first} + 50):
        with env.begin(write=True) as txn:
            txn.put(b"%08d" % number, bytes([number % 251]) * 700)
        print(number, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
_READ = """
    import lmdb
    env = lmdb.open("log", map_size=1 << 30, lib_version=0)
    with env.begin() as txn:
        for key, value in txn.cursor():
            assert value == bytes([int(key) % 251]) * 700
            print(int(key))
"""


def numbers(output: str) -> list[int]:
    """What a child said it has."""
    return [int(line) for line in output.split()]


@pytest.mark.parametrize("mode", MODES)
def test_no_commit_of_lmdb_is_lost(disk: Disk, mode: str) -> None:
    """Fifty commits, SIGKILL, power loss, and that three times over: all are there."""
    acknowledged: list[int] = []
    for turn in range(3):
        script = _COMMITS.format(first=50 * turn)
        acknowledged += numbers(disk.run(script, -signal.SIGKILL))
        disk.lose(mode, turn)
        assert numbers(disk.run(_READ)) == acknowledged == list(range(50 * (turn + 1)))


def test_a_disk_that_lies_loses_commits(disk: Disk) -> None:
    """The same where syncs do nothing, from the fiftieth commit on: all that follows is
    gone. So the test above can fail."""
    disk.run(_COMMITS.format(first=0), -signal.SIGKILL)
    disk.shims.let_disk_lie(disk.node)
    acknowledged = numbers(disk.run(_COMMITS.format(first=50), -signal.SIGKILL))
    assert len(acknowledged) == 50
    disk.lose()
    disk.shims.let_disk_lie(disk.node, lying=False)
    assert numbers(disk.run(_READ)) == list(range(50))


def test_killed_at_any_moment_nothing_acknowledged_is_lost(disk: Disk) -> None:
    """SIGKILL from outside, in the middle of whatever the shim does."""
    last = -1
    for turn in range(5):
        script = _COMMITS.replace("+ 50", "+ 5000").format(first=last + 1)
        child = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + textwrap.dedent(script)],
            cwd=disk.data,
            env=disk.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        with child:
            for _ in range(20 + turn):
                last = int(child.stdout.readline())
            child.kill()
            last = max([last, *numbers(child.stdout.read())])
        disk.lose(MODES[turn % len(MODES)], turn)
        found = numbers(disk.run(_READ))
        # One more may have been under way.
        assert found in ([*range(last + 1)], [*range(last + 2)])
        last = found[-1]


# --- the machine ----------------------------------------------------------------------------


def test_the_boot_id_is_the_machines(disk: Disk) -> None:
    """What a process reads is not the kernel's, and changes with the power."""
    script = 'print(open("/proc/sys/kernel/random/boot_id").read(), end="")'
    first = disk.run(script)
    kernels = Path("/proc/sys/kernel/random/boot_id").read_text()
    lost = disk.shims.lose_power({disk.node: disk.data}, DROP, 1)
    second = disk.run(script)
    assert len({first, second, kernels}) == 3
    assert lost["boot_id"] == second.strip()
    assert len(second) == len(kernels)


def test_no_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody runs on without what they asked for."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(NoCompiler, match="C compiler"):
        Shims.make(tmp_path)


def test_a_path_that_cannot_be_preloaded_is_refused(tmp_path: Path) -> None:
    """LD_PRELOAD takes no path with a space in it."""
    with pytest.raises(BuildFailed, match="space"):
        Shims.make(tmp_path / "a b")
