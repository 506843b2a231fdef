"""The open rule: every branch of it, one folder each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from raftstate.core.ports import StorageError, WrongStore
from raftstate.core.types import Index, MemberId
from raftstate.storage import generations
from raftstate.storage.logs import LOG_KINDS, LogKind
from raftstate.storage.open import open_storage
from tests.storage.member import (
    BOOT,
    CLUSTER,
    MEMBER,
    Member,
    apply,
    copy_folder,
    log_entry,
    until,
)

OTHER_BOOT = "another-boot"


@pytest.fixture(autouse=True, params=LOG_KINDS)
def log_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LogKind:
    """The rule is the same with either log."""
    kind: LogKind = request.param
    monkeypatch.setattr(Member, "log_kind", kind)
    return kind


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the folder under test will be."""
    return tmp_path / "data"


@pytest.fixture
def crashed(tmp_path: Path, data_dir: Path) -> Iterator[Path]:
    """The folder of a process that was killed at entry 20, on a snapshot at 12."""
    member = Member(tmp_path / "running")
    member.write(12, at_a_time=4)
    member.cut(member.snapshot(), keep=2)
    member.write(8, at_a_time=4)
    yield copy_folder(member.data_dir, data_dir)
    member.close()


def state_of(data_dir: Path) -> Path:
    """The folder of the only generation."""
    (number,) = generations.numbers(data_dir)
    return generations.folder_of(data_dir, number)


def garble(data_dir: Path) -> None:
    """What a power loss leaves of a file that was never synced: anything."""
    (state_of(data_dir) / "data.mdb").write_bytes(os.urandom(20_000))


def snapshot_of(data_dir: Path) -> Path:
    """The folder of the only snapshot."""
    (folder,) = (data_dir / "snapshots").glob("snap-*")
    return folder


def untouched(data_dir: Path) -> dict[str, bytes]:
    """The content of the folder, but for the lock that opening it takes."""
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path.name not in {"lock", "lock.mdb"}
    }


# --- whose it is -------------------------------------------------------------


def test_a_new_folder_is_made_private(data_dir: Path) -> None:
    """
    Nobody else may enter, and nothing in it can be read by others.
    """
    member = Member(data_dir)
    assert member.storage.recovered == "made anew"
    assert member.pairs() == {}
    for path in [data_dir, *data_dir.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    member.close()


def test_each_folder_has_an_identity_for_life(tmp_path: Path) -> None:
    """
    Drawn at random when it is made; the incarnation counts the openings.
    """
    one, two = Member(tmp_path / "one"), Member(tmp_path / "two")
    first = one.log.identity
    assert first.disk_id != two.log.identity.disk_id
    assert (first.cluster_id, first.cluster_epoch, first.member_id) == (CLUSTER, 1, MEMBER)
    one.close()
    two.close()
    one = Member(tmp_path / "one")
    assert one.log.identity == first
    assert one.log.incarnation == 2
    one.close()


@pytest.mark.parametrize(
    ("cluster_id", "member_id", "said"),
    [
        ("other", "n1", "belongs to cluster 'cluster'; wanted is cluster 'other'"),
        ("cluster", "n2", "belongs to member 'n1'; wanted is member 'n2'"),
    ],
)
def test_a_folder_of_another_is_refused_and_left_as_it_was(
    crashed: Path, cluster_id: str, member_id: str, said: str
) -> None:
    """
    The message names what was found and what was wanted.
    """
    before = untouched(crashed)
    with pytest.raises(WrongStore, match=said) as refusal:
        open_storage(
            crashed,
            cluster_id=cluster_id,
            member_id=MemberId(member_id),
            boot_id=BOOT,
            wake=lambda: None,
            log_kind=Member.log_kind,
        )
    assert str(crashed) in str(refusal.value)
    assert untouched(crashed) == before


def test_a_folder_with_another_kind_of_log_is_refused_and_left_as_it_was(
    crashed: Path, log_kind: LogKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A folder keeps its kind for life; the message names the key of the configuration.
    """
    before = untouched(crashed)
    (other,) = set(LOG_KINDS) - {log_kind}
    monkeypatch.setattr(Member, "log_kind", other)
    with pytest.raises(
        WrongStore, match=rf"made with the log '{log_kind}'; \[storage\] log wants '{other}'"
    ):
        Member(crashed)
    assert untouched(crashed) == before


def test_a_folder_in_use_is_refused(data_dir: Path) -> None:
    """
    The message names the process that has it. When that lets go, it may be opened.
    """
    member = Member(data_dir)
    with pytest.raises(WrongStore, match=f"in use by pid {os.getpid()}"):
        Member(data_dir)
    member.write(1)
    member.close()
    Member(data_dir).close()


def test_a_state_without_a_log_is_refused(crashed: Path) -> None:
    """
    A member that forgot what it voted for must not vote again.
    """
    shutil.rmtree(crashed / "log")
    before = untouched(crashed)
    with pytest.raises(StorageError, match="a state but no log"):
        Member(crashed)
    assert untouched(crashed) == before


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """
    A file where the folder should be.
    """
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StorageError, match="cannot use the data folder"):
        Member(tmp_path / "data")


def test_a_refused_opening_leaves_nothing_open(crashed: Path) -> None:
    """
    The lock is free afterwards, and the log too.
    """
    boot = crashed / "state-1" / "boot"
    boot.unlink()
    boot.mkdir()
    with pytest.raises(StorageError, match="cannot settle the state"):
        Member(crashed)
    boot.rmdir()
    Member(crashed).close()


# --- whether the state may be trusted ----------------------------------------


def test_after_a_clean_stop_the_state_is_kept(data_dir: Path) -> None:
    """
    Whatever kernel runs now: it was synced. The mark is gone once it is open.
    """
    member = Member(data_dir)
    member.write(5)
    member.close()
    member = Member(data_dir, boot_id=OTHER_BOOT)
    assert member.storage.recovered == "kept state-1 after a clean stop"
    assert member.found.index == 5
    assert not generations.is_clean(data_dir / "state-1")
    assert generations.is_of_boot(data_dir / "state-1", OTHER_BOOT)
    member.check()
    member.close()


def test_after_a_kill_the_state_is_kept(crashed: Path) -> None:
    """
    The kernel has what the process wrote: restart costs nothing but the log's tail.
    """
    member = Member(crashed)
    assert member.storage.recovered == "kept state-1 after the process ended"
    assert member.found.index == 20
    member.check()
    member.close()


def test_after_a_power_loss_the_state_is_rebuilt(crashed: Path) -> None:
    """
    From the snapshot that the log's base names, which is newer than the base; then the
    log. The state's file is garbage, and is never opened.
    """
    garble(crashed)
    snapshot = snapshot_of(crashed).name
    member = Member(crashed, boot_id=OTHER_BOOT)
    assert "the machine went down" in member.storage.recovered
    assert f"state-2 begins with {snapshot}" in member.storage.recovered
    assert member.found.index == 12
    assert member.log.base.position.index == 10
    member.check()
    member.write(3)
    assert generations.numbers(crashed) == [2]
    member.close()


def test_without_a_snapshot_the_whole_log_is_applied_again(data_dir: Path) -> None:
    """
    The base is the origin: there is nothing before the log.
    """
    running = Member(data_dir.with_name("running"))
    running.write(6)
    copy_folder(running.data_dir, data_dir)
    running.close()
    garble(data_dir)
    member = Member(data_dir, boot_id=OTHER_BOOT)
    assert "begins with the empty state" in member.storage.recovered
    assert member.found.index == 0
    member.check()
    member.close()


@pytest.mark.parametrize("boot_id", ["", "\xe9"])
def test_a_boot_id_that_says_nothing_proves_nothing(crashed: Path, boot_id: str) -> None:
    """
    Where the kernel's id is not known, only a clean stop counts.
    """
    (state_of(crashed) / "boot").write_text(boot_id, "latin-1")
    member = Member(crashed, boot_id="")
    assert "the machine went down" in member.storage.recovered
    member.check()
    member.close()


def test_a_state_without_marks_is_rebuilt(crashed: Path) -> None:
    """
    A missing boot id is one that differs.
    """
    (state_of(crashed) / "boot").unlink()
    member = Member(crashed)
    assert "the machine went down, or the disk failed" in member.storage.recovered
    member.check()
    member.close()


def test_a_missing_state_is_rebuilt(crashed: Path) -> None:
    """
    It is a cache.
    """
    shutil.rmtree(state_of(crashed))
    member = Member(crashed)
    assert member.storage.recovered.startswith("no state was found")
    assert member.found.index == 12
    member.check()
    member.close()


def test_a_state_that_is_ahead_of_the_log_shows_that_the_log_lost_something(
    data_dir: Path,
) -> None:
    """
    Never by the order of commits; by a log that was put back, perhaps. Nothing is made
    of such a log: the member begins anew. Method: apply an entry that the log never
    committed.
    """
    running = Member(data_dir.with_name("running"))
    running.write(6)
    apply(running.machine(), log_entry(7))
    running.state.commit()
    copy_folder(running.data_dir, data_dir)
    running.close()
    member = Member(data_dir)
    assert "the state is at 7, and the log ends at 6" in member.storage.quarantined
    assert member.log.last.index == 0
    member.check()
    member.close()


def test_a_state_of_another_history_shows_that_one_of_them_is_wrong(data_dir: Path) -> None:
    """
    The log has another term where the state ends, and what is applied never changes.
    """
    running = Member(data_dir.with_name("running"))
    running.write(6)
    running.log.truncate(Index(6))
    running.log.append(log_entry(6, term=2))
    running.log.commit()
    copy_folder(running.data_dir, data_dir)
    running.close()
    member = Member(data_dir)
    wrong = "the state is at 6 of term 1, where the log has term 2"
    assert wrong in member.storage.quarantined
    assert member.found.index == 0
    assert member.pairs() == {}
    member.close()


def test_a_state_that_is_behind_the_base_is_rebuilt(
    tmp_path: Path, data_dir: Path, crashed: Path
) -> None:
    """
    What lies between is not in the log any more. Method: an older state is put in place.
    """
    old = Member(tmp_path / "old")
    old.write(3)
    old.close()
    shutil.rmtree(state_of(data_dir))
    shutil.copytree(tmp_path / "old" / "state-1", data_dir / "state-1")
    member = Member(crashed)
    assert "the state is at 3, the log goes from 10 to 20" in member.storage.recovered
    member.check()
    member.close()


def test_a_state_that_says_nothing_sensible_is_rebuilt(crashed: Path) -> None:
    """
    Damage that is seen at opening is mended at opening.
    """
    folder = str(state_of(crashed))
    with (
        lmdb.open(folder, map_size=64 << 20, lib_version=0) as env,
        env.begin(write=True) as txn,
    ):
        for key, _ in txn.cursor():
            txn.put(key, b"nonsense")
    member = Member(crashed)
    assert "the state is damaged" in member.storage.recovered
    assert "the state is damaged" in member.storage.damage
    assert member.storage.quarantined == ""
    member.check()
    member.close()


# --- what cannot be mended: see also test_quarantine ---------------------------


@pytest.mark.long
@pytest.mark.parametrize("state", ["good", "lost"])
def test_without_the_snapshot_that_the_base_names_the_member_begins_anew(
    crashed: Path, state: str
) -> None:
    """
    Even if the state is good: a leader would need it for a follower that is far behind.
    Nothing that is there is thrown away.
    """
    snapshot = snapshot_of(crashed)
    snapshot.rename(snapshot.with_name(f"snap-{99:016x}-1"))
    if state == "lost":
        garble(crashed)
    member = Member(crashed, boot_id=BOOT if state == "good" else OTHER_BOOT)
    assert snapshot.name in member.storage.quarantined
    assert "missing" in member.storage.quarantined
    assert member.log.last.index == 0
    aside = crashed / "damaged-1"
    assert {path.name for path in aside.iterdir()} == {"log", "snapshots", "state-1"}
    assert (aside / "snapshots" / f"snap-{99:016x}-1").exists()
    member.close()


@pytest.mark.long
@pytest.mark.parametrize("spoil", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_snapshot_is_not_opened(crashed: Path, spoil: str) -> None:
    """
    Its digest is compared before LMDB sees it.
    """
    garble(crashed)
    image = snapshot_of(crashed) / "data.mdb"
    data = bytearray(image.read_bytes())
    match spoil:
        case "flip":
            data[len(data) // 2] ^= 4
            image.write_bytes(data)
        case "truncate":
            image.write_bytes(data[:-4096])
        case "remove":
            image.unlink()
        case "manifest":
            (image.parent / "manifest").write_bytes(b"nonsense")
    member = Member(crashed, boot_id=OTHER_BOOT)
    assert "snap-000000000000000c-1 is damaged" in member.storage.quarantined
    assert member.pairs() == {}
    member.close()


# --- what is half made -------------------------------------------------------


def test_half_made_things_are_cleared_away(crashed: Path) -> None:
    """
    Whatever a crash may leave beside what counts.
    """
    kept = snapshot_of(crashed).name
    for name in (
        *("building-x", "discarded-state-0", "state-0"),
        *("snapshots/copied", "snapshots/staged-3", "snapshots/discarded-snap"),
        *(f"snapshots/snap-{30:016x}-1", f"snapshots/snap-{3:016x}-1"),
    ):
        (crashed / name).mkdir()
        (crashed / name / "data.mdb").write_bytes(b"half of it")
    (crashed / "snapshots" / "notes.txt").write_text("not ours")
    member = Member(crashed)
    names = {"identity", "lock", "log", "snapshots", "state-1"}
    assert {path.name for path in crashed.iterdir()} == names
    assert {path.name for path in (crashed / "snapshots").iterdir()} == {kept, "notes.txt"}
    member.check()
    member.close()


def test_the_newest_generation_counts(crashed: Path) -> None:
    """
    Two are left by a crash right after one took over.
    """
    shutil.copytree(crashed / "state-1", crashed / "state-9")
    shutil.copytree(crashed / "state-1", crashed / "state-10")
    (crashed / "state-1" / "data.mdb").write_bytes(b"of the past")
    (crashed / "state-9" / "data.mdb").write_bytes(b"of the past")
    member = Member(crashed)
    assert member.storage.recovered == "kept state-10 after the process ended"
    assert generations.numbers(crashed) == [10]
    member.check()
    member.close()


def test_a_log_that_was_half_made_is_made_again(data_dir: Path) -> None:
    """
    It has its name only when it is whole.
    """
    (data_dir / "log.new").mkdir(parents=True)
    (data_dir / "log.new" / "data.mdb").write_bytes(b"half of it")
    member = Member(data_dir)
    member.write(2)
    member.check()
    assert not (data_dir / "log.new").exists()
    member.close()


def test_a_first_generation_that_was_never_opened_is_no_obstacle(data_dir: Path) -> None:
    """
    A kill between making the folder and the first byte of the state.
    """
    Member(data_dir).close()
    (data_dir / "state-1" / "data.mdb").unlink()
    member = Member(data_dir)
    member.write(2)
    member.check()
    until(lambda: generations.numbers(data_dir) == [2])
    member.close()
