"""Damage in a data folder that nobody has open: found, set aside, and never used again."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raftstate.core.ports import Damage, HardState, StorageError, WrongStore
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage import quarantine
from raftstate.storage.logs import LOG_KINDS, LogKind
from raftstate.storage.open import open_storage
from raftstate.storage.quarantine import next_disk, read_mark, write_mark
from raftstate.storage.scrub import verify_folder
from tests.storage.member import (
    BOOT,
    CLUSTER,
    MEMBER,
    Member,
    copy_folder,
    log_entry,
    readers_hang,
)
from tests.storage.test_crash import Camera

ENTRIES = 40
PAGE = 4096
N2 = MemberId("n2")


@pytest.fixture
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LogKind:
    """The kind of log; LMDB unless a test asks for both."""
    chosen: LogKind = getattr(request, "param", "lmdb")
    monkeypatch.setattr(Member, "log_kind", chosen)
    return chosen


BOTH_LOGS = pytest.mark.parametrize("kind", LOG_KINDS, indirect=True)


@pytest.fixture
def stopped(tmp_path: Path, kind: LogKind) -> Path:
    """The folder of a member that was killed at entry 40, on a snapshot at 12; it is
    settled, and has voted."""
    member = Member(tmp_path / "running")
    member.log.set_hard_state(HardState(Term(7), N2, settled=True))
    member.write(12, at_a_time=4)
    member.cut(member.snapshot(), keep=2)
    member.write(ENTRIES - 12, at_a_time=4)
    folder = copy_folder(member.data_dir, tmp_path / "data")
    member.close()
    return folder


def log_file(data_dir: Path) -> Path:
    """The file that holds the newest entries of the log."""
    segments = sorted((data_dir / "log").glob("segment-*"))
    return segments[-1] if segments else data_dir / "log" / "data.mdb"


def spoil(path: Path, pattern: bytes, change: Callable[[bytearray, int], None]) -> None:
    """Change a file wherever a pattern stands: in the page that counts and in older ones."""
    data = bytearray(path.read_bytes())
    at, count = data.find(pattern), 0
    while at >= 0:
        change(data, at)
        count, at = count + 1, data.find(pattern, at + 1)
    assert count, f"{pattern!r} is not in {path}"
    path.write_bytes(data)


def flip(data: bytearray, at: int) -> None:
    """One bit."""
    data[at] ^= 1


def zero_page(data: bytearray, at: int) -> None:
    """A page that reads as zeros."""
    start = at // PAGE * PAGE
    data[start : start + PAGE] = bytes(PAGE)


def began_anew(member: Member, *, times: int = 1) -> None:
    """The member is empty, on another disk, unsettled, and what it knew is set aside."""
    identity = member.log.identity
    assert identity.disk_id.endswith(f".{times}")
    assert (identity.cluster_id, identity.member_id) == (CLUSTER, MEMBER)
    assert not member.log.hard_state.settled
    assert member.log.last.index == 0
    assert member.log.base.snapshot == ""
    assert member.pairs() == {}
    assert member.storage.times_damaged == times
    assert log_file(member.data_dir / f"damaged-{times}").exists()


# --- found at opening ------------------------------------------------------------


@BOTH_LOGS
@pytest.mark.parametrize("change", [flip, zero_page], ids=["flip", "zeros"])
def test_a_damaged_entry_leads_to_quarantine(
    stopped: Path, change: Callable[[bytearray, int], None]
) -> None:
    """
    Nothing of the log is used any more, not even what was before the damage; but the
    member still knows whom it voted for, if that was not in the same page.
    """
    spoil(log_file(stopped), b"session-30", change)
    member = Member(stopped)
    began_anew(member)
    kept = HardState(Term(7), N2, settled=False)
    assert member.log.hard_state in (
        [kept] if change is flip else [kept, HardState(Term(0), None)]
    )
    assert "log" in member.storage.quarantined
    aside = stopped / "damaged-1"
    assert {path.name for path in aside.iterdir()} == {"log", "snapshots", "state-1"}
    member.close()


def test_a_log_that_cannot_be_opened_at_all_leads_to_quarantine(stopped: Path) -> None:
    """
    Whose it was is known from the copy beside it. Whom it voted for is not.
    """
    with log_file(stopped).open("r+b") as file:
        file.write(bytes(2 * PAGE))
    member = Member(stopped)
    began_anew(member)
    assert member.log.hard_state == HardState(Term(0), None)
    member.close()


@pytest.mark.parametrize("pages", [2, 3, 6])
def test_a_log_that_was_cut_short_does_not_kill_who_opens_it(stopped: Path, pages: int) -> None:
    """
    To touch a page that is not there would end the process. The mark of the newest commit
    is in the first two.
    """
    os.truncate(log_file(stopped), pages * PAGE)
    member = Member(stopped)
    began_anew(member)
    member.close()


def test_what_is_found_when_two_processes_died_at_opening(stopped: Path) -> None:
    """
    And then another: their mark is there, and the machine was not started since. So
    everything is read elsewhere first, and an entry in the middle is found that the opening
    alone would not look at.
    """
    member = Member(stopped)
    member.write(12_000, at_a_time=3_000)
    member.close()
    spoil(log_file(stopped), b"session-45", flip)
    Member(copy_folder(stopped, stopped.with_name("unread"))).close()
    for number, text in enumerate(("another boot 2", f"{BOOT} 1", f"{BOOT}", "2", "")):
        (stopped / "opening").write_text(text)
        untouched = Member(copy_folder(stopped, stopped.with_name(f"started-{number}")))
        assert untouched.storage.quarantined == ""
        untouched.close()
    (stopped / "opening").write_text(f"{BOOT} 2")
    member = Member(stopped)
    began_anew(member)
    assert not (stopped / "opening").exists()
    member.close()


def test_who_looks_first_does_not_wait_for_ever(
    stopped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It says what it waits for, and then that nothing came of it; the next one opens.
    """
    (stopped / "opening").write_text(f"{BOOT} 2")
    with monkeypatch.context() as patch, caplog.at_level("WARNING", "raftstate.open"):
        readers_hang(patch, tmp_path)
        with pytest.raises(
            StorageError, match=r"cannot read the log in .*: it said nothing for"
        ):
            Member(stopped)
    assert [record.message for record in caplog.records] == ["looking at every page first"]
    assert not (stopped / "opening").exists()
    member = Member(stopped)
    assert member.storage.quarantined == ""
    member.close()


def test_a_node_is_on_trial_for_a_while(stopped: Path) -> None:
    """
    Also after the opening: applying the log may meet the page that kills.
    """
    member = Member(stopped)
    survived = member.storage.on_trial()
    assert (stopped / "opening").read_text() == f"{BOOT} 1"
    survived()
    survived()
    assert not (stopped / "opening").exists()
    member.close()


def test_nobody_knows_whose_it_is(stopped: Path) -> None:
    """
    Refused, and nothing is moved: there is no name to go on under.
    """
    with log_file(stopped).open("r+b") as file:
        file.write(bytes(2 * PAGE))
    spoil(stopped / "identity", b"n1", flip)
    for _ in range(2):
        with pytest.raises(StorageError, match="whose it is"):
            Member(stopped)
    assert log_file(stopped).exists()
    assert not (stopped / "damaged-1").exists()


def test_a_damaged_folder_of_another_is_refused(stopped: Path) -> None:
    """
    Nothing of it is moved, whoever asks.
    """
    spoil(log_file(stopped), b"session-30", flip)
    with pytest.raises(WrongStore, match="belongs to member 'n1'"):
        open_storage(stopped, cluster_id=CLUSTER, member_id=N2, boot_id=BOOT, wake=lambda: None)
    assert log_file(stopped).exists()
    assert not (stopped / "damaged-1").exists()


def _open_and_read(data_dir: Path) -> None:
    """In a process of its own: exit status 0 if all is as it was, 10 if quarantined."""
    try:
        member = Member(data_dir)
    except Damage:
        os._exit(10)  # by applying the log
    if member.storage.quarantined:
        os._exit(10)
    try:
        entries = member.log.read(Index(11), 1 << 30)
    except Damage:
        os._exit(10)
    same = entries == [log_entry(index) for index in range(11, ENTRIES + 1)]
    same = same and member.log.hard_state == HardState(Term(7), N2, settled=True)
    os._exit(0 if same else 1)


def test_no_flipped_bit_is_ever_believed(stopped: Path, tmp_path: Path) -> None:
    """
    Bits drawn at random: what is read is what was written, or the member is in
    quarantine, at the latest when it is started after it died of it.
    """
    draw = random.Random(7)
    size = log_file(stopped).stat().st_size
    outcomes = {0: 0, 10: 0}
    for number in range(24):
        data_dir = copy_folder(stopped, tmp_path / f"flip-{number}")
        # Half of them in what says where everything is, at the head of the first two pages.
        at = (
            draw.choice([0, PAGE]) + draw.randrange(152) if number % 2 else draw.randrange(size)
        )
        data = bytearray(log_file(data_dir).read_bytes())
        data[at] ^= 1 << draw.randrange(8)
        log_file(data_dir).write_bytes(data)
        exitcode: int | None = None
        for _ in range(3):
            process = multiprocessing.get_context("fork").Process(
                target=_open_and_read, args=(data_dir,)
            )
            process.start()
            process.join(60)
            exitcode = process.exitcode
            if exitcode is not None and exitcode >= 0:
                break
        assert exitcode in outcomes, f"byte {at}: {exitcode}"
        outcomes[exitcode] += 1
        shutil.rmtree(data_dir)
    assert outcomes[10] >= 2
    assert outcomes[0] >= 2


# --- found while it runs ------------------------------------------------------------


@BOTH_LOGS
def test_a_mark_leads_to_quarantine_at_the_next_opening(stopped: Path) -> None:
    """
    Whatever was found, and by whom. The mark stays until the member is settled.
    """
    write_mark(stopped, "the state hash is wrong", "scrub")
    member = Member(stopped)
    began_anew(member)
    assert member.storage.quarantined == "the state hash is wrong"
    member.close()

    member = Member(stopped)
    assert member.storage.quarantined == "the state hash is wrong"
    assert member.log.identity.disk_id.endswith(".1")
    member.write(3)
    member.storage.release_quarantine()
    assert member.storage.quarantined == ""
    assert read_mark(stopped) is None
    member.close()
    member = Member(stopped)
    assert member.storage.quarantined == ""
    member.check()
    member.close()


def test_a_mark_that_nobody_took_away_goes_once_the_member_is_settled(stopped: Path) -> None:
    """
    It was killed between the one and the other.
    """
    write_mark(stopped, "damage", "scrub")
    member = Member(stopped)
    member.log.set_hard_state(HardState(Term(8), None, settled=True))
    member.log.commit()
    member.close()
    member = Member(stopped)
    assert member.storage.quarantined == ""
    assert read_mark(stopped) is None
    member.close()


def test_again_and_again(stopped: Path) -> None:
    """
    Each time counts as another disk; the two newest sets are kept, for whoever wonders.
    """
    for times in range(1, 5):
        write_mark(stopped, f"damage {times}", "scrub")
        member = Member(stopped)
        began_anew(member, times=times)
        member.write(2)
        member.close()
    kept = sorted(path.name for path in stopped.glob("damaged-*"))
    assert kept == ["damaged-3", "damaged-4"]


def test_a_mark_that_is_damaged_itself_counts(stopped: Path) -> None:
    """
    Rather once too often than once too little.
    """
    write_mark(stopped, "damage", "scrub")
    spoil(stopped / "quarantine", b"scrub", flip)
    member = Member(stopped)
    began_anew(member)
    assert "the mark itself" in member.storage.quarantined.replace("quarantine ", "")
    member.close()


def test_the_next_disk() -> None:
    """
    The number counts up; the name before it stays.
    """
    assert next_disk("ab12") == "ab12.1"
    assert next_disk("ab12.1") == "ab12.2"
    assert next_disk("ab12.9") == "ab12.10"


# --- a crash while it is set aside ------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how"),
    [("lmdb", "mark"), ("lmdb", "opening"), ("segments", "opening")],
    indirect=["kind"],
)
def test_a_crash_at_any_step_is_harmless(stopped: Path, tmp_path: Path, how: str) -> None:
    """
    Method: a picture before every step that changes names or makes something durable.
    Each opens, once, as the same empty member, and everything that was there is there.
    """
    if how == "mark":
        write_mark(stopped, "damage", "scrub")
    else:
        spoil(log_file(stopped), b"session-30", flip)
    (tmp_path / "album").mkdir()
    camera = Camera(stopped, tmp_path / "album")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink"):
            camera.before(name, patch)
        Member(stopped).close()
    assert len(camera.pictures) > 15
    half_way = [one for one in camera.pictures if (one.folder / "damaged-1").exists()]
    assert len(half_way) > 5
    for number, picture in enumerate(camera.pictures):
        data_dir = copy_folder(picture.folder, tmp_path / str(number))
        try:
            member = Member(data_dir)
            began_anew(member)
            assert member.log.hard_state == HardState(Term(7), N2, settled=False)
            aside = {path.name for path in (data_dir / "damaged-1").iterdir()}
            assert aside == {"log", "snapshots", "state-1"}
            assert not [*data_dir.glob("log.*")]
            member.write(2)
            member.check()
            member.close()
        except BaseException as error:
            error.add_note(f"in picture {picture}")
            raise


# --- looking at a stopped node ------------------------------------------------------------


@BOTH_LOGS
def test_verifying_a_stopped_node(stopped: Path) -> None:
    """
    Everything is what was written; then each kind of damage is told, all at once.
    """
    assert verify_folder(stopped, BOOT) == []
    spoil(log_file(stopped), b"session-30", flip)
    (state,) = stopped.glob("state-*")
    spoil(state / "data.mdb", b"x" * 100, flip)
    (snapshot,) = (stopped / "snapshots").glob("snap-*")
    spoil(snapshot / "data.mdb", b"session-5", flip)
    faults = verify_folder(stopped, BOOT)
    assert len(faults) == 3
    assert "log" in faults[0]
    assert "the snapshot" in faults[1]
    assert "the state" in faults[2]
    assert len(verify_folder(stopped, "another boot")) == 2


def test_a_folder_that_is_in_use_or_empty_is_not_verified(tmp_path: Path) -> None:
    """
    The node that has it scrubs it.
    """
    member = Member(tmp_path / "data")
    with pytest.raises(WrongStore, match="in use"):
        verify_folder(tmp_path / "data", BOOT)
    member.close()
    with pytest.raises(StorageError, match="holds no log"):
        verify_folder(tmp_path, BOOT)


def test_marks_are_numbered(tmp_path: Path) -> None:
    """
    What was set aside before is never written over.
    """
    (tmp_path / "damaged-4").mkdir()
    assert write_mark(tmp_path, "damage", "read").number == 5
    found = read_mark(tmp_path)
    assert found is not None
    assert (found.number, found.begun, found.found_by) == (5, False, "read")
    quarantine.release(tmp_path)
    assert read_mark(tmp_path) is None
