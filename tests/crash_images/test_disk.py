"""The disk that power is taken from: what must be there, what may, and what never.

Method: a short trace by hand, then every image that some hundred draws give. What may
happen must happen in one of them at least, and what must not in none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.crash_images.disk import (
    EVERY_SYNC,
    FILES,
    FOLDERS,
    SECTOR,
    WRITES,
    Disk,
    sectors,
)
from tests.crash_images.recording import Event, Op, RecordingError

ROOT = 1
DRAWS = 300

Files = dict[str, bytes | None]


class Story:
    """A trace by hand, and the disk that is told of it. Files go by their first names."""

    def __init__(self, honours: frozenset[str] = EVERY_SYNC) -> None:
        self.disk = Disk(ROOT, honours)
        self._inodes = {"": ROOT}

    def make(self, path: str, *, folder: bool = False) -> Story:
        self._inodes[path] = len(self._inodes) + 1
        return self._tell(Event(Op.MKDIR if folder else Op.CREATE, self._inodes[path], path))

    def write(self, path: str, data: bytes, at: int = 0, *, synced: bool = False) -> Story:
        return self._tell(self.writing(path, data, at, synced=synced))

    def writing(self, path: str, data: bytes, at: int = 0, *, synced: bool = False) -> Event:
        op = Op.WRITE_SYNCED if synced else Op.WRITE
        return Event(op, self._inodes[path], path, "", at, len(data), data)

    def truncate(self, path: str, size: int) -> Story:
        return self._tell(Event(Op.TRUNCATE, self._inodes[path], path, length=size))

    def allocate(self, path: str, size: int) -> Story:
        return self._tell(Event(Op.ALLOCATE, self._inodes[path], path, length=size))

    def rename(self, path: str, target: str) -> Story:
        return self._tell(Event(Op.RENAME, 0, path, target))

    def unlink(self, path: str) -> Story:
        return self._tell(Event(Op.UNLINK, 0, path))

    def begin_sync(self, path: str) -> Story:
        return self._tell(Event(Op.SYNC_BEGIN, self._inodes[path], path, length=7))

    def end_sync(self, path: str) -> Story:
        return self._tell(Event(Op.SYNC_END, self._inodes[path], path, length=7))

    def sync(self, path: str) -> Story:
        return self.begin_sync(path).end_sync(path)

    def images(self) -> Iterator[Files]:
        """What a few hundred power cuts leave."""
        for seed in range(DRAWS):
            yield self.disk.image(random.Random(seed)).files

    def outcomes(self, path: str) -> set[bytes | None]:
        """All contents that a file had; None where it was not there."""
        return {files.get(path) for files in self.images()}

    def names(self) -> set[tuple[str, ...]]:
        """All sets of names that there were."""
        return {tuple(sorted(files)) for files in self.images()}

    def _tell(self, event: Event) -> Story:
        self.disk.record(event)
        return self


def durable(path: str, data: bytes) -> Story:
    """A file that is there for good."""
    return Story().make(path).write(path, data).sync(path).sync("")


def test_what_was_synced_is_there_and_what_was_not_may_be() -> None:
    """
    A synced write is in every image; one after it is in some, and not in others.
    """
    story = durable("a", b"old").write("a", b"new")

    assert story.outcomes("a") == {b"old", b"new"}


def test_a_sync_covers_what_had_returned_when_it_began() -> None:
    """
    A write beside a sync that is under way may be missing after it.
    """
    story = durable("a", b"....")
    story.write("a", b"1").begin_sync("a").write("a", b"2", at=1).end_sync("a")

    assert story.outcomes("a") == {b"1...", b"12.."}


def test_a_sync_that_did_not_return_promises_nothing() -> None:
    """
    Between the two halves of a sync the write may still be missing.
    """
    assert durable("a", b"old").write("a", b"new").begin_sync("a").outcomes("a") == {
        b"old",
        b"new",
    }


def test_a_sync_is_of_one_file() -> None:
    """
    Syncing one file says nothing about another.
    """
    story = durable("a", b"old").make("b").write("b", b"x").write("a", b"new").sync("b")

    assert story.outcomes("a") == {b"old", b"new"}


def test_a_write_that_syncs_itself_is_there_and_nothing_else() -> None:
    """
    O_DSYNC makes the one write durable, and none before it.
    """
    story = durable("a", b"....").write("a", b"1").write("a", b"2", at=1, synced=True)

    assert story.outcomes("a") == {b".2..", b"12.."}


def test_an_older_write_never_comes_back_over_a_newer_durable_one() -> None:
    """
    Where both went to the same bytes, the durable one is what stands there.
    """
    story = durable("a", b"0").write("a", b"1").write("a", b"2", synced=True)

    assert story.outcomes("a") == {b"2"}


def test_writes_arrive_in_any_order() -> None:
    """
    Of two writes that nobody synced, each may be there without the other.
    """
    story = durable("a", b"..").write("a", b"1", at=0).write("a", b"2", at=1)

    assert story.outcomes("a") == {b"..", b"1.", b".2", b"12"}


def test_a_tear_is_between_sectors() -> None:
    """
    Of a write under way any sectors may be there, and each of them is old or new.
    """
    story = durable("a", b"o" * 2048)
    story.disk.begin(story.writing("a", b"n" * 1400, at=300, synced=True))

    torn = 0
    for files in story.images():
        content = files["a"]
        assert content is not None and len(content) == 2048
        assert content[:300] == b"o" * 300 and content[1700:] == b"o" * 348
        edges = [300, 512, 1024, 1536, 1700]
        pieces = {content[at:end] for at, end in pairwise(edges)}
        assert all(len(set(piece)) == 1 for piece in pieces)
        torn += len({piece[:1] for piece in pieces}) == 2
    assert torn > DRAWS // 10


def test_sectors_begin_where_the_disk_has_them() -> None:
    """
    A write is cut at multiples of 512 in the file, whatever its own offset is.
    """
    found = list(sectors(Event(Op.WRITE, 1, "a", "", 500, 600, bytes(600))))

    assert [(piece.offset, piece.length) for piece in found] == [
        (500, 12),
        (SECTOR, SECTOR),
        (2 * SECTOR, 76),
    ]


def test_a_length_may_come_without_the_bytes() -> None:
    """
    A write that made a file longer may leave zeros, nothing, or what was written.
    """
    story = durable("a", b"12").write("a", b"34", at=2)

    assert story.outcomes("a") == {b"12", b"12\0\0", b"1234"}


def test_a_length_is_durable_with_its_sync() -> None:
    """
    Shortening and allocating are changes like writes: either way before a sync, there
    after it.
    """
    cut = durable("a", b"1234").truncate("a", 2)
    assert cut.outcomes("a") == {b"1234", b"12"}
    assert cut.sync("a").outcomes("a") == {b"12"}

    grown = durable("a", b"1").allocate("a", 3)
    assert grown.outcomes("a") == {b"1", b"1\0\0"}
    assert grown.sync("a").outcomes("a") == {b"1\0\0"}


def test_a_name_is_durable_with_its_folder() -> None:
    """
    A file whose content was synced is nowhere, as long as its folder was not.
    """
    story = Story().make("a").write("a", b"x").sync("a")

    assert story.names() == {(), ("a",)}
    assert story.sync("").names() == {("a",)}


def test_a_name_says_nothing_about_the_content() -> None:
    """
    A durable name may be of an empty file: the rename is not ordered behind the write.
    """
    story = durable("a", b"old").make("a.tmp").write("a.tmp", b"new")
    story.rename("a.tmp", "a").sync("")

    assert story.outcomes("a") == {b"", b"\0\0\0", b"new"}


def test_a_rename_is_old_or_new() -> None:
    """
    What was renamed over is there until the rename is, and never half of both.
    """
    story = durable("a", b"old").make("b").write("b", b"new").sync("b").sync("")
    story.rename("b", "a")

    seen = {tuple(sorted(files.items())) for files in story.images()}
    assert seen == {(("a", b"old"), ("b", b"new")), (("a", b"new"),)}
    assert story.sync("").names() == {("a",)}


def test_a_file_has_one_name_whichever_renames_happened() -> None:
    """
    Of two renames in a row each may have happened without the other.
    """
    story = durable("a", b"x").rename("a", "b").rename("b", "c")

    assert story.names() == {("a",), ("b",), ("c",)}


def test_a_move_is_durable_when_both_folders_are() -> None:
    """
    A rename from one folder to another is atomic, and either way until both are synced.
    """
    story = Story().make("d", folder=True).make("a").sync("").rename("a", "d/a").sync("d")

    assert story.names() == {("a", "d"), ("d", "d/a")}
    assert story.sync("").names() == {("d", "d/a")}


def test_a_removed_file_may_come_back_until_its_folder_is_synced() -> None:
    """
    With all that was durable of it.
    """
    story = durable("a", b"x").unlink("a")

    assert story.outcomes("a") == {None, b"x"}
    assert story.sync("").outcomes("a") == {None}


def test_what_is_in_a_folder_is_lost_with_its_name() -> None:
    """
    A durable file in a folder whose own name is not durable can be nowhere.
    """
    story = Story().make("d", folder=True).make("d/a").write("d/a", b"x")
    story.sync("d/a").sync("d")

    assert story.names() == {(), ("d", "d/a")}


def test_a_number_that_is_used_again_is_another_file() -> None:
    """
    File systems give the inode of a removed file to the next one.
    """
    story = durable("a", b"first").unlink("a")
    story.disk.record(Event(Op.CREATE, 2, "b"))
    story.disk.record(Event(Op.WRITE, 2, "b", "", 0, 1, b"2"))

    assert story.outcomes("a") == {None, b"first"}
    assert story.outcomes("b") == {None, b"", b"\0", b"2"}


def test_after_a_restart_all_that_is_seen_is_durable() -> None:
    """
    What a machine reads after it came back, it reads from the disk.
    """
    story = durable("a", b"old").write("a", b"new").make("b")
    story.disk.restart()

    assert story.outcomes("a") == {b"new"}
    assert story.names() == {("a", "b")}


def test_nothing_is_missing_from_what_processes_see() -> None:
    """
    The whole image has every change, synced or not.
    """
    story = durable("a", b"old").write("a", b"new").make("b").rename("b", "c")

    assert story.disk.whole().files == {"a": b"new", "c": b""}


def test_shared_memory_is_noise() -> None:
    """
    LMDB's lock file is anything or nothing after a power cut.
    """
    story = durable("lock.mdb", b"1234")

    assert len(story.outcomes("lock.mdb")) > DRAWS // 4


@pytest.mark.parametrize(
    ("ignored", "left"), [(FILES, b"\x002"), (WRITES, b"1."), (FOLDERS, None)]
)
def test_a_disk_that_ignores_syncs_loses_what_was_synced(
    ignored: str, left: bytes | None
) -> None:
    """
    Each kind of sync is what keeps something: without it, that is lost in some image.
    """

    def told(honours: frozenset[str]) -> Story:
        story = Story(honours).make("a").sync("").write("a", b"1.").sync("a")
        return story.write("a", b"2", at=1, synced=True)

    assert told(EVERY_SYNC).outcomes("a") == {b"12"}
    assert left in told(EVERY_SYNC - {ignored}).outcomes("a")


def test_what_nobody_recorded_is_an_error() -> None:
    """
    A change of a file that was never made cannot be part of any image.
    """
    with pytest.raises(RecordingError, match="before anything was recorded"):
        Disk(ROOT).record(Event(Op.WRITE, 9, "a", "", 0, 1, b"x"))
    with pytest.raises(RecordingError, match="hard link"):
        Disk(ROOT).record(Event(Op.LINK, 9, "a"))
