"""What only the log of segments promises: which ends are torn, and which are damaged.

Method: frames are known by the offsets at which commits ended. The mark is put back to
what it was before a commit, as a loss of power may leave it.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from raftstate.core.ports import Damage, HardState, StorageError, WrongStore
from raftstate.core.types import Index, Term
from raftstate.storage import segments
from raftstate.storage.marks import Mark
from raftstate.storage.segment_checks import check_slices, read_owner
from raftstate.storage.segment_log import SegmentLog
from raftstate.storage.segments import HEAD_BYTES, MARK, segment_numbers, segment_path
from tests.storage.log_conformance import (
    CLUSTER,
    IDENTITY,
    MEMBER,
    base,
    entry,
    open_segment_log,
    open_small_segments,
)
from tests.storage.spying import spy

SECTOR_BYTES = 512


class Written:
    """A log with six commits in one file, the last of several sectors, stopped without a
    close: its bytes, where frames end, and what the mark said after each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        log = open_segment_log(folder, segment_bytes=16384)
        self.ends = [log._end]
        self.marks = [self.mark_path.read_bytes()]
        for number in range(1, 7):
            log.append(entry(number, size=10 if number < 6 else 2000))
            log.set_hard_state(HardState(Term(number), MEMBER))
            log.commit()
            self.ends.append(log._end)
            self.marks.append(self.mark_path.read_bytes())
        self.data = self.path.read_bytes()
        log._release()

    @property
    def path(self) -> Path:
        """The only file."""
        return segment_path(self.folder / "log", 1)

    @property
    def mark_path(self) -> Path:
        """The mark."""
        return self.folder / "log" / MARK

    def put(self, data: bytes, mark: int) -> None:
        """Make the folder hold these bytes, and the mark that was written after a commit."""
        self.path.write_bytes(data)
        self.mark_path.write_bytes(self.marks[mark])

    def opens_with(self, last: int) -> str:
        """Open it and compare; answer with what was repaired."""
        log = open_segment_log(self.folder, segment_bytes=16384)
        assert [held.index for held in log.read(Index(1), 1 << 20)] == [*range(1, last + 1)]
        assert log.hard_state == HardState(Term(last), MEMBER)
        log.close()
        again = open_segment_log(self.folder, segment_bytes=16384)
        assert (again.last.index, again.repaired) == (last, "")
        again.close()
        return log.repaired

    def is_damaged(self, offset: int) -> None:
        """It does not open, twice, and says where."""
        for _ in range(2):
            with pytest.raises(Damage, match=f"segment-0000000000000001 at {offset}: "):
                open_segment_log(self.folder, segment_bytes=16384)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """The log as it was written."""
    return Written(tmp_path)


# --- torn or damaged -----------------------------------------------------------


def test_a_tail_torn_at_any_byte_is_cut_off_and_reported(written: Written) -> None:
    """
    The write of the last commit stopped anywhere, and nothing vouches for it.
    """
    start, end = written.ends[-2:]
    for cut in [*range(start, start + 200), *range(start + 200, end, 37), end - 1]:
        written.put(written.data[:cut].ljust(len(written.data), b"\0"), 5)
        repaired = written.opens_with(5)
        if cut > start:
            # Zeros at the end of what was written look like nothing.
            left = len(written.data[start:cut].rstrip(b"\0"))
            assert repaired.startswith(f"cut off {left} bytes of {written.path} at {start}:")
        else:
            assert repaired == ""


def test_a_tail_torn_in_any_sectors_is_cut_off(written: Written) -> None:
    """
    A disk writes sectors in any order: some of the last commit's are there, others are
    not. Only if all are, it counts.
    """
    start, end = written.ends[-2:]
    chance = random.Random(1)
    first, last = start // SECTOR_BYTES, (end - 1) // SECTOR_BYTES
    assert last - first >= 3
    for _ in range(40):
        data = bytearray(written.data[:start].ljust(len(written.data), b"\0"))
        there = {at for at in range(first, last + 1) if chance.random() < 0.6}
        for at in there:
            sector = slice(at * SECTOR_BYTES, (at + 1) * SECTOR_BYTES)
            data[sector] = written.data[sector]
        written.put(bytes(data), 5)
        written.opens_with(6 if len(there) == last + 1 - first else 5)


def test_a_whole_tail_that_nothing_vouches_for_is_kept_and_made_durable(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Killed before the sync returned, say: the bytes are there, perhaps in memory only. They
    are written again and synced before the next frame, which will vouch for them.
    """
    steps: list[tuple[str, int]] = []
    for name in ("pwrite", "fdatasync"):
        spy(monkeypatch, name, lambda name, arguments: steps.append((name, arguments[-1])))
    written.put(written.data, 5)
    log = open_segment_log(written.folder, segment_bytes=16384)
    assert (log.last.index, log.repaired) == (6, "")
    log.close()
    (first, offset), (second, _) = steps[:2]
    assert (first, offset, second) == ("pwrite", written.ends[-2], "fdatasync")


def test_a_last_commit_that_the_mark_vouches_for_is_never_cut_off(written: Written) -> None:
    """
    After a kill, or a clean stop, the mark names it: then it is damage, wherever it is.
    """
    start, end = written.ends[-2:]
    for at in [*range(start, start + 120), *range(start + 120, end, 61), end - 1]:
        data = bytearray(written.data)
        data[at] ^= 0x10
        written.put(bytes(data), 6)
        written.is_damaged(start)
    written.put(written.data[:start].ljust(len(written.data), b"\0"), 6)
    written.is_damaged(start)


@pytest.mark.parametrize("mark", [0, 4, 6])
def test_damage_of_any_earlier_byte_is_never_repaired(written: Written, mark: int) -> None:
    """
    A later commit vouches for it, whatever has become of the mark.
    """
    for at in range(HEAD_BYTES, written.ends[-2]):
        data = bytearray(written.data)
        data[at] ^= 1 << at % 8
        written.put(bytes(data), mark)
        frame = max(end for end in [HEAD_BYTES, *written.ends] if end <= at)
        with pytest.raises(Damage, match=f"{written.path} at {frame}: "):
            open_segment_log(written.folder, segment_bytes=16384)
        assert written.path.read_bytes() == data


def test_a_hole_in_the_middle_is_damage(written: Written) -> None:
    """
    Sectors of zeros, where a later commit is whole: not an end.
    """
    start, end = written.ends[2], written.ends[4]
    data = bytearray(written.data)
    data[start:end] = bytes(end - start)
    written.put(bytes(data), 0)
    written.is_damaged(start)


def test_garbage_in_allocated_space_is_no_frame(written: Written) -> None:
    """
    Frames of another file, of another life, or of another place in the same file are
    nothing but garbage where the next frame would go.
    """
    end = written.ends[-1]
    other = Written(written.folder / "other")
    newest = slice(other.ends[-2], other.ends[-1])
    for garbage in (other.data[newest], written.data[newest], b"\xff" * 3000):
        data = bytearray(written.data)
        data[end : end + len(garbage)] = garbage
        written.put(bytes(data), 6)
        size = len(garbage.rstrip(b"\0"))
        assert f"cut off {size} bytes" in written.opens_with(6)


def test_what_was_cut_off_never_shows_again(written: Written) -> None:
    """
    A long torn commit, then a short one in its place: the rest was overwritten before.
    """
    start, end = written.ends[-2:]
    written.put(written.data[: end - 1] + b"\1" + written.data[end:], 5)
    log = open_segment_log(written.folder, segment_bytes=16384)
    assert "cut off" in log.repaired
    assert written.path.read_bytes()[log._end :].strip(b"\0") == b""
    assert start < log._end < end
    log.close()


# --- heads, marks, files -------------------------------------------------------


@pytest.mark.parametrize("at", [0, 3, 60, 2000, HEAD_BYTES - 1])
def test_a_damaged_head_is_damage(written: Written, at: int) -> None:
    """
    Its zeros are sealed as well.
    """
    data = bytearray(written.data)
    data[at] ^= 1
    written.put(bytes(data), 6)
    with pytest.raises(Damage, match=f"{written.path} at 0: the head is damaged"):
        open_segment_log(written.folder)


@pytest.mark.parametrize("spoil", ["flip", "empty", "longer", "missing", "another's"])
def test_a_mark_that_is_not_what_was_written_is_damage(written: Written, spoil: str) -> None:
    """
    It fits a sector, so no loss of power leaves half of it.
    """
    mark = bytearray(written.marks[6])
    match spoil:
        case "flip":
            mark[5] ^= 1
            written.mark_path.write_bytes(mark)
        case "empty":
            written.mark_path.write_bytes(b"")
        case "longer":
            written.mark_path.write_bytes(mark + b"\0")
        case "missing":
            written.mark_path.unlink()
        case "another's":
            written.mark_path.unlink()
            Mark.create(written.mark_path, "another disk")
    with pytest.raises(Damage, match=MARK):
        open_segment_log(written.folder)


@pytest.mark.parametrize("size", [0, 100, HEAD_BYTES, 8192, 16383, 16385])
def test_a_file_of_another_size_is_damage(written: Written, size: int) -> None:
    """
    Files are made whole and never change their size.
    """
    written.put(written.data[:size].ljust(size, b"\0"), 6)
    with pytest.raises(Damage, match=str(written.path)):
        open_segment_log(written.folder)


def many_files(folder: Path, *, size: int = 500) -> list[int]:
    """A log of several files; their numbers."""
    log = open_small_segments(folder)
    for number in range(1, 41):
        log.append(entry(number, size=size))
        log.commit()
    log.close()
    numbers = segment_numbers(folder / "log")
    assert len(numbers) >= 5
    return numbers


@pytest.mark.parametrize("which", [0, 1, 2, -2, -1])
def test_a_missing_file_is_damage(tmp_path: Path, which: int) -> None:
    """
    At either end or between: the message names a file.
    """
    number = many_files(tmp_path)[which]
    segment_path(tmp_path / "log", number).unlink()
    with pytest.raises(Damage, match="segment-"):
        open_small_segments(tmp_path)


def test_without_any_file_there_is_damage(tmp_path: Path) -> None:
    """
    An empty log in their place would have forgotten every vote.
    """
    for number in many_files(tmp_path):
        segment_path(tmp_path / "log", number).unlink()
    with pytest.raises(Damage, match="missing"):
        open_small_segments(tmp_path)
    assert segment_numbers(tmp_path / "log") == []


@pytest.mark.parametrize("which", [0, 1, -2])
def test_garbage_behind_the_frames_of_a_full_file_is_damage(tmp_path: Path, which: int) -> None:
    """
    Another file follows, so no commit was under way there.
    """
    path = segment_path(tmp_path / "log", many_files(tmp_path)[which])
    data = bytearray(path.read_bytes())
    data[-1] = 1
    path.write_bytes(data)
    with pytest.raises(Damage, match=str(path)):
        open_small_segments(tmp_path)


def test_files_in_each_others_place_are_damage(tmp_path: Path) -> None:
    """
    A file knows its number, whose log it is of, and what went before it.
    """
    first, second = (
        segment_path(tmp_path / "log", number) for number in many_files(tmp_path)[:2]
    )
    was = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(Damage, match=f"{second} at 0: this is the head of segment"):
        open_small_segments(tmp_path)
    many_files(tmp_path / "other", size=501)
    second.write_bytes(segment_path(tmp_path / "other" / "log", 2).read_bytes())
    with pytest.raises(Damage, match="does not follow the file before it"):
        open_small_segments(tmp_path)
    second.write_bytes(was)
    open_small_segments(tmp_path).close()


def test_damage_of_an_entry_is_found_when_it_is_read(tmp_path: Path) -> None:
    """
    Also after the opening; the message names entry, file and offset.
    """
    log = open_small_segments(tmp_path)
    for number in range(1, 10):
        log.append(entry(number, size=100))
        log.commit()
    segment, offset = log._index.place_at(4)
    path = segment_path(tmp_path / "log", segment)
    for at in (offset, offset + 6, offset + 20, offset + 100):
        whole = path.read_bytes()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :])
        with pytest.raises(Damage, match=f"log entry 4 in {path} at {offset}: "):
            log.read(Index(3), 1 << 20)
        assert [held.index for held in log.read(Index(5), 1 << 20)] == [5, 6, 7, 8, 9]
        path.write_bytes(whole)
    log.close()


# --- files that come and go ------------------------------------------------------


def test_files_are_removed_once_the_base_has_overtaken_them(tmp_path: Path) -> None:
    """
    By the commit that holds the base, or the next; never the newest one.
    """
    many_files(tmp_path)
    log = open_small_segments(tmp_path)
    before = segment_numbers(tmp_path / "log")
    log.cut(base(30, 1))
    assert segment_numbers(tmp_path / "log") == before
    log.commit()
    after = segment_numbers(tmp_path / "log")
    assert after == before[-len(after) :]
    assert 1 < len(after) < len(before)
    log.cut(base(40, 1))
    log.commit()
    assert segment_numbers(tmp_path / "log") == before[-1:]
    log.append(entry(41))
    log.commit()
    log.close()
    log = open_small_segments(tmp_path)
    assert (log.base, log.last) == (base(40, 1), (41, 1))
    log.close()


def test_files_that_a_crash_brought_back_do_no_harm(tmp_path: Path) -> None:
    """
    A loss of power may undo some removals, in no order. What had been truncated, and lay
    in them, stays away.
    """
    log = open_small_segments(tmp_path)
    for number in range(1, 21):
        log.append(entry(number, size=500))
        log.commit()
    log.truncate(Index(11))
    for number in range(11, 41):
        log.append(entry(number, 2, size=500))
        log.commit()
    whole = shutil.copytree(tmp_path / "log", tmp_path / "whole")
    log.cut(base(30, 2))
    log.commit()
    log.close()
    gone = sorted(set(segment_numbers(whole)) - set(segment_numbers(tmp_path / "log")))
    assert len(gone) >= 4
    for back in ([gone[0]], [gone[-1]], [gone[1], gone[-1]], gone[:-1], gone):
        folder = tmp_path / "-".join(map(str, back))
        shutil.copytree(tmp_path / "log", folder / "log")
        for number in back:
            shutil.copy(segment_path(whole, number), folder / "log")
        log = open_small_segments(folder)
        assert (log.base, log.last.index) == (base(30, 2), 40)
        assert {held.term for held in log.read(Index(31), 1 << 20)} == {2}
        log.close()
        left = segment_numbers(folder / "log")
        assert left == [*range(left[0], left[-1] + 1)]


def test_a_commit_larger_than_a_file_gets_one_of_its_own(tmp_path: Path) -> None:
    """
    The size of a file is no bound on an entry.
    """
    log = open_small_segments(tmp_path)
    log.append(entry(1, size=100_000))
    log.commit()
    log.append(entry(2))
    log.commit()
    log.close()
    log = open_small_segments(tmp_path)
    assert [len(held.data) for held in log.read(Index(1), 1 << 20)] == [100_000, 10]
    log.close()


# --- syncs -----------------------------------------------------------------------


def test_a_commit_costs_one_sync_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Entries, vote, truncation and base together; and no file changes its length.
    """
    log = open_segment_log(tmp_path)
    calls: list[str] = []
    for name in ("fdatasync", "fsync", "ftruncate", "posix_fallocate", "open"):
        spy(monkeypatch, name, lambda name, _: calls.append(name))
    for number in range(1, 11):
        log.append(entry(number, number))
        log.set_hard_state(HardState(Term(number), MEMBER))
        if number == 5:
            log.truncate(Index(4))
            log.append(entry(4, 5))
            log.append(entry(5, 5))
            log.cut(base(3, 3))
        log.commit()
        assert calls == ["fdatasync"] * number
    log.commit()
    assert len(calls) == 10
    log.close()


def test_a_sync_that_failed_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody knows what the disk has then: the log is of no use any more, and the mark does
    not move, not even by a close.
    """
    log = open_segment_log(tmp_path)
    log.append(entry(1))
    log.commit()
    mark = (tmp_path / "log" / MARK).read_bytes()
    tried = 0

    def fail(_handle: int) -> None:
        nonlocal tried
        tried += 1
        raise OSError(5, "Input/output error")

    log.append(entry(2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="Input/output error") as raised:
            log.commit()
        assert not isinstance(raised.value, Damage)
        for act in (log.commit, lambda: log.append(entry(3)), lambda: log.truncate(Index(1))):
            with pytest.raises(StorageError, match="cannot be used"):
                act()
        log.close()
    assert tried == 1
    assert (tmp_path / "log" / MARK).read_bytes() == mark
    log = open_segment_log(tmp_path)
    assert log.last.index == 2
    log.close()


@pytest.mark.parametrize("failing", ["posix_fallocate", "fsync", "pwrite", "rename", "unlink"])
def test_any_call_that_fails_ends_the_use_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """
    A full disk while a file is made, say. What had been committed is there afterwards.
    """
    many_files(tmp_path)
    log = open_small_segments(tmp_path)
    with monkeypatch.context() as patch:

        def fail(*_arguments: Any, **_options: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, failing, fail)
        log.cut(base(35, 1))
        log.append(entry(41, size=20_000))
        with pytest.raises(StorageError, match="No space left"):
            log.commit()
        with pytest.raises(StorageError, match="cannot be used"):
            log.commit()
        log.close()
    log = open_small_segments(tmp_path)
    assert log.last.index in {40, 41}
    assert log.read(Index(40), 0) == [entry(40, size=500)]
    log.close()


# --- read by others ----------------------------------------------------------------


def test_a_log_in_use_is_checked_from_outside(tmp_path: Path) -> None:
    """
    Every synced frame is read, in slices; damage of any is found, and what is being
    written is left alone.
    """
    many_files(tmp_path)
    log = open_small_segments(tmp_path)
    stored = sum(
        len(path.read_bytes().rstrip(b"\0")) for path in (tmp_path / "log").glob("segment-*")
    )
    assert stored - 1000 < sum(check_slices(tmp_path / "log")) <= stored
    segment, offset = log._index.place_at(17)
    path = segment_path(tmp_path / "log", segment)
    whole = path.read_bytes()
    path.write_bytes(whole[: offset + 40] + b"!" + whole[offset + 41 :])
    with pytest.raises(Damage, match=f"{path} at "):
        list(check_slices(tmp_path / "log"))
    path.write_bytes(whole)
    half = log._segments[max(log._segments)]
    half.write(log._end, b"half a frame")
    list(check_slices(tmp_path / "log"))
    log.close()


@pytest.mark.parametrize("number", [1, 3])
def test_a_missing_file_is_noticed_from_outside(tmp_path: Path, number: int) -> None:
    """
    Unless it is the oldest, which may have been removed for good reason.
    """
    numbers = many_files(tmp_path)
    segment_path(tmp_path / "log", numbers[number]).unlink()
    with pytest.raises(Damage, match="does not follow"):
        list(check_slices(tmp_path / "log"))


def test_a_damaged_log_tells_whose_it_is_and_what_was_voted(written: Written) -> None:
    """
    Every frame holds term and vote: those of the newest count, if it is known to be that.
    """
    data = bytearray(written.data)
    data[written.ends[2] + 40] ^= 1
    written.put(bytes(data), 6)
    identity, hard_state = read_owner(written.folder / "log")
    assert identity is not None and identity.disk_id == IDENTITY.disk_id
    assert hard_state is not None and (hard_state.term, hard_state.vote) == (6, MEMBER)
    data[written.ends[-2] + 40] ^= 1
    written.put(bytes(data), 6)
    identity, hard_state = read_owner(written.folder / "log")
    assert identity is not None and identity.disk_id == IDENTITY.disk_id
    assert hard_state is None


def test_a_member_of_another_layout_is_refused(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The message names both.
    """
    monkeypatch.setattr(segments, "LAYOUT", 2)
    with pytest.raises(WrongStore, match="has layout 1; wanted is layout 2"):
        SegmentLog(written.folder / "log", cluster_id=CLUSTER, member_id=MEMBER)
