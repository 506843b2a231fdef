"""A crash at any step of anything leaves a folder that opens, with all that was promised.

Method: a member goes through its life (writes, snapshots, cuts, an install, a clean
stop, a new start) while every call that changes names, or that makes something durable,
first copies the folder away. Each copy is what a kill at that point leaves. With every
generation garbled that has no clean mark, it is what a power loss leaves at worst.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from raftstate.storage import generations
from raftstate.storage.logs import LOG_KINDS, LogKind
from tests.storage.member import BOOT, Member, copy_folder, expected, until

ROOT = Path(__file__).parents[2]
NEXT_BOOT = "the-next-boot"


class Picture(NamedTuple):
    """A folder as it was before a step, and how many entries were promised by then."""

    label: str
    folder: Path
    promised: int


class Camera:
    """Copies a folder away before each step that changed something since the last."""

    def __init__(self, data_dir: Path, album: Path) -> None:
        self.data_dir = data_dir
        self.album = album
        self.promised = 0
        self.pictures: list[Picture] = []
        self._seen = b""
        self._lock = threading.RLock()
        self._busy = False

    def snap(self, step: str) -> None:
        """Take a picture, unless this is a step of taking one."""
        with self._lock:
            if self._busy or not self.data_dir.exists():
                return
            self._busy = True
            seen = fingerprint(self.data_dir) + self.promised.to_bytes(8, "big")
            if seen != self._seen:
                self._seen = seen
                label = f"{len(self.pictures):03d}"
                folder = copy_folder(self.data_dir, self.album / label)
                self.pictures.append(Picture(f"{label} {step}", folder, self.promised))
            self._busy = False

    def before(self, name: str, patch: pytest.MonkeyPatch) -> None:
        """Take a picture before each call of a function of `os`."""
        original: Callable[..., Any] = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            # No step while a picture is taken: a kill leaves one moment.
            with self._lock:
                self.snap(f"before {name}{arguments[:2]}")
                return original(*arguments, **options)

        patch.setattr(os, name, call)


def fingerprint(folder: Path) -> bytes:
    """The names and bytes of a folder, but for LMDB's lock files."""
    found = blake2b()
    for path in sorted(folder.rglob("*")):
        if path.name != "lock.mdb":
            found.update(str(path).encode())
            found.update(path.read_bytes() if path.is_file() else b"/")
    return found.digest()


@pytest.fixture(scope="module", autouse=True, params=LOG_KINDS)
def log_kind(request: pytest.FixtureRequest) -> Iterator[LogKind]:
    """A crash is as harmless with either log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Member, "log_kind", request.param)
        yield request.param


@pytest.fixture(scope="module")
def pictures(log_kind: LogKind, tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    """Pictures of a life."""
    folder = tmp_path_factory.mktemp("crash")
    (folder / "album").mkdir()
    camera = Camera(folder / "member", folder / "album")
    leader = Member(folder / "leader")
    leader.write(40, at_a_time=10)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync", "mkdir", "rename", "replace", "rmdir", "unlink"):
            camera.before(name, patch)
        live(camera, leader)
    leader.close()
    assert len(camera.pictures) > 50
    return camera.pictures


def live(camera: Camera, leader: Member) -> None:
    """A member's life; after each promise the camera knows of it."""

    def write(count: int) -> None:
        # LMDB's own writes are no steps here, so nothing may run beside them.
        until(lambda: nothing_is_removed(camera.data_dir))
        for _ in range(count):
            member.write(1)
            camera.promised = member.log.last.index
            camera.snap("after a write")

    member = Member(camera.data_dir)
    write(4)
    member.cut(member.snapshot(), keep=1)
    write(3)
    member.cut(member.snapshot())
    write(2)
    manifest = leader.snapshot()
    member.install(manifest, leader.bytes_of(manifest))
    camera.promised = manifest.index
    write(2)
    member.cut(member.snapshot(), keep=3)
    member.close()
    camera.snap("after a clean stop")
    member = Member(camera.data_dir)
    write(2)
    member.close()


def nothing_is_removed(data_dir: Path) -> bool:
    """Whether no folder is on its way out, nor went while this looked."""
    try:
        return not [*data_dir.rglob("discarded-*")]
    except FileNotFoundError:
        return False


def lose_power(data_dir: Path) -> None:
    """Spoil what nobody synced."""
    for number in generations.numbers(data_dir):
        folder = generations.folder_of(data_dir, number)
        if not generations.is_clean(folder):
            (folder / "data.mdb").write_bytes(os.urandom(12_288))


@pytest.mark.parametrize("power", ["kept", "lost"])
def test_every_picture_of_a_life_opens_with_all_that_was_promised(
    tmp_path: Path, pictures: list[Picture], power: str
) -> None:
    """
    The log has every entry that was promised, the state is what the log says, and the
    member goes on.
    """
    for number, picture in enumerate(pictures):
        data_dir = copy_folder(picture.folder, tmp_path / str(number))
        if power == "lost":
            lose_power(data_dir)
        try:
            member = Member(data_dir, boot_id=BOOT if power == "kept" else NEXT_BOOT)
            assert member.log.last.index >= picture.promised
            member.check()
            member.write(1)
            member.check()
            member.close()
        except BaseException as error:
            error.add_note(f"in picture {picture}")
            raise


def test_the_camera_sees_the_steps_that_matter(tmp_path: Path, pictures: list[Picture]) -> None:
    """
    Otherwise the test above would prove nothing.
    """
    seen: set[str] = set()
    for _, folder, _ in pictures:
        names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
        for what, pattern, count in (
            ("a log half made", r"log\.new", 1),
            ("no state yet", r"log", 1),
            ("two generations", r"state-\d+", 2),
            ("a generation being built", r"building-[^/]+", 1),
            ("a generation half removed", r"discarded-state-\d+/boot", 1),
            ("half a copy", r"snapshots/copied", 1),
            ("half a staging", r"snapshots/staged-\d+", 1),
            ("a snapshot that nothing names", r"snapshots/snap-[^/]+", 2),
            ("a snapshot half removed", r"snapshots/discarded-[^/]+", 1),
            ("a clean mark", r"state-\d+/clean", 1),
        ):
            found = [name for name in names if re.fullmatch(pattern, name)]
            if len(found) >= count and (what != "no state yet" or "state-1" not in names):
                seen.add(what)
    assert len(seen) == 10, seen
    # The log names the snapshot that was installed, and the state is still the old one.
    between = [
        copy_folder(picture.folder, tmp_path / str(number))
        for number, picture in enumerate(pictures)
        if "before rename" in picture.label and "building-snap" in picture.label
    ]
    assert between
    for data_dir in between:
        member = Member(data_dir)
        assert "the state is at" in member.storage.recovered
        member.close()


def test_a_killed_writer_has_all_that_it_reported(tmp_path: Path, log_kind: LogKind) -> None:
    """
    Real processes, killed with SIGKILL while they write, snapshot and cut; four lives in
    one folder.
    """
    data_dir = tmp_path / "member"
    reported = compacted = 0
    for life, lines in enumerate((25, 60, 3, 90)):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.storage.writer", str(data_dir), log_kind],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                reported = int(process.stdout.readline())
            process.kill()
            for line in process.stdout:
                # Half a line is half a report.
                reported = int(line) if line.endswith("\n") else reported
        member = Member(data_dir)
        assert member.log.last.index >= reported, f"life {life}"
        assert member.pairs() == expected(member.log.last.index)
        compacted = member.log.base.position.index
        member.close()
    assert compacted > 0
