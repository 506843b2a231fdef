"""The scrub: everything is read again, damage is found, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftstate.config import ScrubConfig
from raftstate.core import keys
from raftstate.core.hashing import HashedStore
from raftstate.core.machine import _MARK
from raftstate.core.ports import Damage
from raftstate.core.types import Index
from raftstate.storage import scrub
from raftstate.storage.images import START_S
from raftstate.storage.scrub import PARTS, STATE, UNBOUNDED, Finding, Reader, Scrubber
from tests.storage.member import Member, copy_folder, log_entry, readers_hang, until
from tests.storage.test_quarantine import flip, spoil

ROOT = Path(__file__).parents[2]
SECONDS_PER_100_MB = 30.0


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    """A member that runs, with 300 entries, on a snapshot at 200."""
    running = Member(tmp_path / "data")
    running.write(200, at_a_time=50)
    running.cut(running.snapshot(), keep=50)
    running.write(100, at_a_time=50)
    yield running
    running.close()


def state_file(member: Member) -> Path:
    """The file of the state in use."""
    return max(member.data_dir.glob("state-*")) / "data.mdb"


def only_snapshot(member: Member) -> Path:
    """The image of the only snapshot."""
    (folder,) = (member.data_dir / "snapshots").glob("snap-*")
    return folder / "data.mdb"


def scrubber(member: Member, on_damage: Callable[[Damage], None] = lambda _: None) -> Scrubber:
    """A scrub of this member's folder, not started."""
    return Scrubber(
        member.data_dir,
        interval_s=0.05,
        bytes_per_s=UNBOUNDED,
        on_damage=on_damage,
        between=member.storage.forget_dead_readers,
    )


# --- one pass --------------------------------------------------------------------


def test_a_pass_reads_everything(member: Member) -> None:
    """
    The log from the base on, the state with its hash, and the snapshot; it counts.
    """
    scrubbing = scrubber(member)
    assert scrubbing.once() == ""
    counts = scrubbing.counts
    assert (counts.passes, counts.hashes) == (1, 1)
    first = Index(member.log.base.position.index + 1)
    log = sum(len(entry.data) for entry in member.log.read(first, 1 << 30))
    state = sum(len(key) + len(value) for key, value in member.pairs().items())
    image = only_snapshot(member).stat().st_size
    assert counts.size_bytes > log + state + image
    assert 0 < counts.seconds < 20
    member.write(5)
    member.check()


@pytest.mark.parametrize(
    ("spot", "part", "said"),
    [
        ("entry", "log", "log entry 290"),
        ("pair", "state", "wrong checksum"),
        ("image", "snapshots", "its digest differs"),
        ("manifest", "snapshots", "the manifest of"),
    ],
)
def test_a_flipped_bit_is_found_under_a_running_member(
    member: Member, spot: str, part: str, said: str
) -> None:
    """
    Wherever it is. The member's own memory does not hide it from the reader.
    """
    match spot:
        case "entry":
            spoil(member.data_dir / "log" / "data.mdb", b"session-290", flip_in_place)
        case "pair":
            spoil(state_file(member), b"x" * 100, flip_in_place)
        case "image":
            spoil(only_snapshot(member), b"session-7", flip_in_place)
        case "manifest":
            spoil(only_snapshot(member).with_name("manifest"), b"cluster", flip_in_place)
    assert said in scrubber(member).once()
    found = Reader().read(member.data_dir)
    assert (found.part, found.failed) == (part, "")


def flip_in_place(data: bytearray, at: int) -> None:
    """One bit, a little behind where the pattern begins."""
    flip(data, at + 3)


def test_a_pair_that_the_machine_did_not_write_is_found(member: Member) -> None:
    """
    Its checksum is good: only the hash over everything tells.
    """
    member.state.store.put(b"stray", b"pair")
    member.state.commit()
    assert "the state hash is" in scrubber(member).once()


def test_a_log_that_was_cut_short_kills_the_reader_and_nobody_else(member: Member) -> None:
    """
    To read a page that is not there ends a process, and so says enough.
    """
    file = member.data_dir / "log" / "data.mdb"
    copy_folder(member.data_dir, member.data_dir.with_name("copy"))
    os.truncate(member.data_dir.with_name("copy") / "log" / "data.mdb", 6 * 4096)
    found = Reader().read(member.data_dir.with_name("copy"))
    assert found.part == "log"
    assert found.fault != ""
    assert file.exists()


def test_an_entry_that_is_missing_is_found(member: Member) -> None:
    """
    Every record has its checksum, and yet one is not there.
    """
    with member.log._writing() as txn:  # type: ignore[attr-defined]
        txn.delete((250).to_bytes(8, "big"), db=member.log._entries)  # type: ignore[attr-defined]
    member.log.commit()
    assert "log entry 250 is missing" in scrubber(member).once()


# --- what is no damage ------------------------------------------------------------


def test_a_member_that_writes_meanwhile_is_sound(member: Member) -> None:
    """
    Entries, commits, snapshots, cuts and truncations go on under the reader.
    """
    scrubbing = scrubber(member)
    done = threading.Event()
    faults: list[str] = []

    def read() -> None:
        faults.extend(scrubbing.once() for _ in range(3))
        done.set()

    reading = threading.Thread(target=read)
    reading.start()
    while not done.is_set():
        member.write(10, at_a_time=5)
        member.cut(member.snapshot(), keep=3)
        following = Index(member.log.last.index + 1)
        member.log.append(log_entry(following))
        member.log.commit()
        member.log.truncate(following)
        member.log.commit()
    reading.join()
    assert faults == ["", "", ""]
    member.check()


def test_a_reader_that_is_killed_has_found_nothing(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Somebody else ended it: for want of memory, say.
    """
    reader = Reader()
    monkeypatch.setattr(scrub, "_take", lambda *_: reader._process.send_signal(signal.SIGKILL))  # type: ignore[union-attr]
    found = reader.read(member.data_dir)
    assert (found.fault, found.failed) == ("", "it ended with status -9")
    assert scrubber(member).once() == ""


def test_a_reader_that_hangs_is_ended_and_has_found_nothing(
    member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever waits for it would wait for ever. The next reader may be luckier.
    """
    reader, began = Reader(), time.monotonic()
    with monkeypatch.context() as patch:
        readers_hang(patch, tmp_path)
        found = reader.read(member.data_dir)
    assert (found.fault, found.failed) == ("", "it said nothing for 0 s")
    assert reader._process is not None
    assert reader._process.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 15
    assert reader.read(member.data_dir).failed == ""


def test_a_reader_has_longer_the_slower_it_is_to_read(member: Member) -> None:
    """
    What it has not told yet takes it a while at a low rate, and so does a file that it walks
    without a word.
    """
    file = member.data_dir / "log" / "data.mdb"
    hurried = scrub._patience_s(member.data_dir, (), UNBOUNDED)
    assert hurried == pytest.approx(START_S)
    assert scrub._patience_s(member.data_dir, (), 1 << 20) == pytest.approx(hurried + 4)
    os.truncate(file, 200 << 20)
    assert scrub._patience_s(member.data_dir, ("log",), UNBOUNDED) == pytest.approx(
        hurried + 100
    )


def test_what_only_one_reader_finds_is_not_believed(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It read something else than what is on the disk, once.
    """
    scrubbing = scrubber(member)
    read = scrubbing._reader.read
    answers = [Finding(part="log", fault="log entry 3 is damaged")]

    def first_wrong(*arguments: object, **options: object) -> Finding:
        return answers.pop() if answers else read(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scrubbing._reader, "read", first_wrong)
    assert scrubbing.once() == ""
    assert answers == []
    assert scrubbing.counts.passes == 0


def test_a_reader_without_its_parent_ends(member: Member) -> None:
    """
    Nobody would hear it, and it keeps a view open. Method: start it from a shell that ends.
    """
    reading = f"{sys.executable} -m raftstate.storage.scrub {member.data_dir} $$ 1 0"
    shell = subprocess.run(
        ["/bin/sh", "-c", f"{reading} {' '.join(PARTS)} > /dev/null 2>&1 & echo $!"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    reader = int(shell.stdout)
    until(lambda: not alive(reader))


def alive(process: int) -> bool:
    """Whether a process runs; one that nobody waits for has no command line any more."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- again and again ----------------------------------------------------------------


def test_the_scrub_goes_on_until_it_finds_something(member: Member) -> None:
    """
    Pass after pass; then it says so, once, and ends.
    """
    found: list[Damage] = []
    scrubbing = scrubber(member, found.append)
    scrubbing.start()
    until(lambda: scrubbing.counts.passes >= 2)
    assert found == []
    spoil(member.data_dir / "log" / "data.mdb", b"session-290", flip_in_place)
    until(lambda: bool(found))
    scrubbing.stop()
    assert [str(damage) for damage in found] == [
        f"log entry 290 in {member.data_dir / 'log'} is damaged: wrong checksum"
    ]


def test_stopping_does_not_wait_for_the_reader(member: Member) -> None:
    """
    One that would read for hours is ended at once.
    """
    slow = Scrubber(member.data_dir, interval_s=0.001, bytes_per_s=1, on_damage=lambda _: None)
    slow.start()
    until(lambda: slow._reader._process is not None)
    began = time.monotonic()
    slow.stop()
    slow.stop()
    assert time.monotonic() - began < 5
    assert slow.counts.passes == 0


# --- how long, and at what price -----------------------------------------------------


def fill(member: Member, pairs: int, size: int) -> None:
    """Many pairs, as the machine would have written them."""
    store = HashedStore(member.state.store, member.machine().state_hash)
    for number in range(pairs):
        store.put(b"b/%08d" % number, os.urandom(size))
    position = member.machine().applied
    member.state.store.put(keys.APPLIED, _MARK.pack(*position, store.hashed))
    member.state.commit()


def test_the_rate_is_bounded(member: Member) -> None:
    """
    A reader that is told to be slow takes its time; over the state a quarter of that.
    """
    fill(member, 500, 4_000)
    began = time.monotonic()
    found = Reader().read(member.data_dir, (STATE,), bytes_per_s=1 << 18)
    assert found.size_bytes > 2_000_000
    assert time.monotonic() - began > found.size_bytes / (1 << 20) * 0.9


@pytest.mark.slow
def test_a_state_that_is_written_fast_is_not_held_in_one_view(member: Member) -> None:
    """
    Its file would grow for as long as the view lasts. The rest is read in short views, and
    the hash is left to another pass. Method: the bound is small, and the member commits
    whenever the reader rests.
    """
    fill(member, 2_000, 1_000)
    assert hash_compared(member, lambda _size: None) is True

    def rewrite(_size: int) -> None:
        for number in range(1_000):
            member.state.store.put(b"c/%08d" % number, os.urandom(1_000))
        member.state.commit()

    assert hash_compared(member, rewrite) is False


def hash_compared(member: Member, between: Callable[[int], None]) -> bool | None:
    """Whether a reader compared the hash, one that asks for leave after each slice."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STEP_BY_STEP, str(member.data_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            said = json.loads(line)
            if "hashed" in said:
                return bool(said["hashed"])
            between(said["size"])
            process.stdin.write("\n")
            process.stdin.flush()
    return None


_STEP_BY_STEP = """
import json, sys
from pathlib import Path
from raftstate.storage import checks

checks._GROWTH_MIN_BYTES = 1 << 20

def ask(size):
    print(json.dumps({"size": size}), flush=True)
    sys.stdin.readline()

print(json.dumps({"hashed": checks.check_state(Path(sys.argv[1]), checks.Pace(1 << 50, ask))}))
"""


def test_a_state_of_100_mb_is_scrubbed_in_time(tmp_path: Path) -> None:
    """
    With the configuration's defaults, within 30 seconds. Here a tenth of it, in that time:
    disks are shared, and one that stalls is no failure.
    """
    member = Member(tmp_path / "data")
    fill(member, 10_000_000 // 540, 500)
    began = time.monotonic()
    found = Reader().read(member.data_dir, (STATE,), bytes_per_s=ScrubConfig().mib_per_s << 20)
    took = time.monotonic() - began
    member.close()
    assert found.hashed
    assert found.size_bytes > 9_000_000
    assert took < SECONDS_PER_100_MB
    assert (100 << 20) / (ScrubConfig().mib_per_s << 20) < SECONDS_PER_100_MB
