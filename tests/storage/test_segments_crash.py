"""A crash between any two steps of the log of segments loses nothing acknowledged.

Method: the folder is copied away before each call that changes a file, twice: as a kill
leaves it, and as a loss of power may, where a file is what it was when it was last synced.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from raftstate.core.ports import HardState
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage.segment_log import SegmentLog
from tests.storage.log_conformance import ModelLog, base, entry, open_small_segments
from tests.storage.spying import spy


class Recorder:
    """Copies the folder away before each call that changes a file, twice: as a kill leaves
    it, and as a loss of power may, where a file is what it was when it was last synced."""

    def __init__(self, data_dir: Path, album: Path, patch: pytest.MonkeyPatch) -> None:
        self.data_dir, self.album = data_dir, album
        self.acknowledged = ModelLog()
        self.vote = HardState(Term(0), None)
        self.pictures: list[tuple[Path, str, ModelLog, HardState]] = []
        self._synced: dict[str, bytes] = {}
        for name in ("pwrite", "fdatasync", "fsync", "posix_fallocate", "rename", "unlink"):
            spy(patch, name, self.picture)

    def note(self, log: SegmentLog, model: ModelLog) -> None:
        """A commit has returned."""
        self.acknowledged, self.vote = model.copy(), log.hard_state

    def picture(self, name: str, arguments: tuple[Any, ...]) -> None:
        """What a crash before this call leaves; and keep what it makes durable."""
        if not self.data_dir.exists():
            return
        label = f"{len(self.pictures)} before {name}"
        for power in ("kept", "lost"):
            folder = self.album / f"{len(self.pictures)}-{power}"
            shutil.copytree(self.data_dir, folder)
            if power == "lost":
                for path in folder.rglob("segment-*"):
                    # A file without its name was synced under another one.
                    inode = str((self.data_dir / path.relative_to(folder)).stat().st_ino)
                    size = path.stat().st_size
                    path.write_bytes(self._synced.get(inode, b"\0" * size))
            self.pictures.append(
                (folder, f"{label}, power {power}", self.acknowledged, self.vote)
            )
        if name in {"fdatasync", "fsync"}:
            path = Path(f"/proc/self/fd/{arguments[0]}").resolve()
            if path.is_file():
                self._synced[str(path.stat().st_ino)] = path.read_bytes()


def live(folder: Path, recorder: Recorder) -> None:
    """Everything a log goes through, with files of a few commits."""
    model, log = ModelLog(), open_small_segments(folder)

    def write(count: int, term: int, at_a_time: int = 1) -> None:
        for number in range(count):
            held = entry(model.last.index + 1, term, size=900)
            model.entries.append(held)
            log.append(held)
            log.set_hard_state(HardState(Term(term), MemberId(f"n{number % 3}")))
            if number % at_a_time == at_a_time - 1:
                commit()

    def commit() -> None:
        log.commit()
        recorder.note(log, model)

    write(6, 1)
    write(6, 2, at_a_time=3)
    log.truncate(Index(9))
    model.drop_from(9)
    write(4, 3)
    log.cut(base(7, 2, "snap-a"))
    model.cut(base(7, 2, "snap-a"))
    commit()
    log.close()
    log = open_small_segments(folder)
    write(5, 3)
    log.reset(base(30, 4, "snap-b"))
    model.reset(base(30, 4, "snap-b"))
    write(3, 4)
    log.close()


@pytest.mark.long
def test_a_crash_between_any_two_steps_leaves_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    """
    Making the log, commits, new files, truncation, cut, reset, a clean stop. What is found
    is what was acknowledged, or the commit under way, whole; never damage.
    """
    folder = tmp_path / "member"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(folder, tmp_path / "album", patch)
        live(folder, recorder)
    assert len(recorder.pictures) > 200
    for at, (picture, label, acknowledged, vote) in enumerate(recorder.pictures):
        following = [model for _, _, model, _ in recorder.pictures[at:]]
        under_way = next((one for one in following if one is not acknowledged), None)
        try:
            log = open_small_segments(picture)
            assert vote.term <= log.hard_state.term
            try:
                acknowledged.check(log)
            except AssertionError:
                if under_way is None:
                    raise
                under_way.check(log)
            log.append(entry(log.last.index + 1, 9))
            log.commit()
            log.close()
            open_small_segments(picture).close()
        except BaseException as error:
            error.add_note(f"in picture {label}")
            raise
        shutil.rmtree(picture)
