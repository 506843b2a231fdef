"""The record of entries that are passed over: durable, checksummed, the same everywhere."""

import os
from pathlib import Path

import pytest

from raftstate.core.poison import entry_digest
from raftstate.core.ports import Damage, Entry, StorageError
from raftstate.core.types import Index, Term
from raftstate.storage import repairs
from raftstate.storage.repairs import REPAIRS, read_skips, record_skip, skipped
from tests.storage.member import Member, log_entry


def test_nothing_is_skipped_without_a_record(tmp_path: Path) -> None:
    """A folder without a record, or one that does not exist yet, passes over nothing."""
    assert skipped(tmp_path) == {}
    assert skipped(tmp_path / "not-there") == {}


def test_a_record_is_read_back(tmp_path: Path) -> None:
    """Index, term and digest of each entry come back, in order of index."""
    later, earlier = log_entry(7, term=2), log_entry(3)

    record_skip(tmp_path, later)
    record_skip(tmp_path, earlier)

    assert [(skip.index, skip.term) for skip in read_skips(tmp_path)] == [(3, 1), (7, 2)]
    assert skipped(tmp_path) == {3: entry_digest(earlier), 7: entry_digest(later)}


def test_the_record_is_the_same_on_every_member(tmp_path: Path) -> None:
    """It may be copied to a member that joins: nothing in it is of one member."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        record_skip(tmp_path / name, log_entry(5))

    one, other = (tmp_path / name / REPAIRS for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        Entry(Index(6), Term(1), b"\x00same"),
        Entry(Index(5), Term(2), b"\x00same"),
        Entry(Index(5), Term(1), b"\x00else"),
    ],
    ids=["index", "term", "bytes"],
)
def test_the_digest_tells_entries_apart(other: Entry) -> None:
    """Another index, another term or other bytes make another entry."""
    assert entry_digest(other) != entry_digest(Entry(Index(5), Term(1), b"\x00same"))


def test_any_damage_is_found(tmp_path: Path) -> None:
    """
    A flipped bit or a lost end is an error, never a shorter list of entries, and nothing
    that beginning anew would mend.

    Method: flip one bit of each byte, then cut the file at each length.
    """
    record_skip(tmp_path, log_entry(5))
    path = tmp_path / REPAIRS
    whole = path.read_bytes()
    damaged = [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        for at in range(len(whole))
    ]
    damaged += [whole[:length] for length in range(len(whole))]

    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(StorageError, match="copy that of another") as raised:
            skipped(tmp_path)
        assert not isinstance(raised.value, Damage)


def test_a_record_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a later version wrote is not guessed at."""
    with monkeypatch.context() as later:
        later.setattr(repairs, "FORMAT", repairs.FORMAT + 1)
        record_skip(tmp_path, log_entry(5))

    with pytest.raises(StorageError, match="another format"):
        skipped(tmp_path)


def test_a_crash_while_it_is_written_leaves_the_old_record_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is synced before it gets its name."""
    record_skip(tmp_path, log_entry(5))

    def fail(_handle: int) -> None:
        raise OSError("no power")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="no power"):
            record_skip(tmp_path, log_entry(9))

    assert set(skipped(tmp_path)) == {5}
    record_skip(tmp_path, log_entry(9))
    assert set(skipped(tmp_path)) == {5, 9}


def test_opening_snapshots_and_cuts_leave_it_alone(tmp_path: Path) -> None:
    """
    The record outlives a restart, a snapshot, a cut of the log behind its entry, and the
    loss of the state with the power.
    """
    member = Member(tmp_path)
    member.write(10)
    record_skip(tmp_path, log_entry(5))
    before = (tmp_path / REPAIRS).read_bytes()

    member.cut(member.snapshot())
    member.write(3)
    member.close()
    reopened = Member(tmp_path, boot_id="another-boot")
    reopened.check()
    reopened.close()

    assert (tmp_path / REPAIRS).read_bytes() == before
