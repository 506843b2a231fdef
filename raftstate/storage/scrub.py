"""The scrub: everything on the disk is read again and again, in a process of its own.

Data that nobody asks for is damaged in silence, until the day on which it is needed. So
a thread starts a reader at an interval: `python -m raftstate.storage.scrub`, which reads
the whole data folder at a bounded rate (see `checks`), says how far it is, and ends. A
process and not a thread, since it computes a hash over everything: in this process that
would take turns with the raft thread. And what a damaged page does to LMDB, up to a
signal that ends the process, happens to the reader.

What a reader finds is believed when a second one has found it too. A reader that dies
of what it reads has found damage; one that was killed has not, nor one that hangs: it is
ended when it has said nothing for too long.
"""

from __future__ import annotations

import json
import logging
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raftstate.core.ports import Damage, StorageError, WrongStore
from raftstate.storage import generations
from raftstate.storage.checks import (
    Pace,
    check_log,
    check_snapshots,
    check_state,
    check_structure,
)
from raftstate.storage.environment import DATA
from raftstate.storage.files import FolderLock, storage_errors
from raftstate.storage.images import BYTES_PER_S_MIN, OF_DAMAGE, START_S
from raftstate.storage.quarantine import LOG, SNAPSHOTS

logger = logging.getLogger("raftstate.scrub")

STATE = "state"
PARTS = (LOG, STATE, SNAPSHOTS)
UNBOUNDED = 1 << 50
EXIT_SOUND, EXIT_DAMAGED, EXIT_FAILED = 0, 1, 3

_PACKAGE_ROOT = Path(__file__).parents[2]
_NICENESS = 10
_TOLD_BYTES = 4 << 20
_POLL_MS_MAX = (1 << 31) - 1


# --- the reader's process ----------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Read some parts of a data folder; say on standard output what is found."""
    data_dir, parent, rate, structure, *parts = arguments
    os.nice(_NICENESS)
    told = _Telling()
    pace = Pace(float(rate), told.read, int(parent))
    try:
        for part in parts:
            told.say({"part": part})
            told.say({"done": part, **_check(Path(data_dir), part, pace, structure == "1")})
    except Damage as error:
        told.say({"damage": str(error)})
        return EXIT_DAMAGED
    except (StorageError, WrongStore, OSError) as error:
        told.say({"failed": str(error)})
        return EXIT_FAILED
    return EXIT_SOUND


def _check(data_dir: Path, part: str, pace: Pace, structure: bool) -> dict[str, object]:
    if part == SNAPSHOTS:
        check_snapshots(data_dir / SNAPSHOTS, pace)
        return {}
    if structure:
        for file in _lmdb_files(data_dir, part):
            check_structure(file)
    if part == LOG:
        check_log(data_dir / LOG, pace)
        return {}
    return {"hashed": check_state(data_dir, pace)}


def _lmdb_files(data_dir: Path, part: str) -> Iterator[Path]:
    folders = [data_dir / LOG]
    if part == STATE:
        folders = [
            generations.folder_of(data_dir, number)
            for number in generations.numbers(data_dir)[-1:]
        ]
    yield from (folder / DATA for folder in folders if (folder / DATA).exists())


class _Telling:
    """What the reader says: JSON, a line each."""

    def __init__(self) -> None:
        self._untold = 0

    def read(self, size: int) -> None:
        """Count bytes, and tell them in large numbers."""
        self._untold += size
        if self._untold >= _TOLD_BYTES:
            self.say({})

    def say(self, what: dict[str, object]) -> None:
        """Say something, and how much was read since the last time."""
        print(json.dumps({**what, "bytes": self._untold}), flush=True)
        self._untold = 0


# --- the side of the node ------------------------------------------------------------


@dataclass(slots=True)
class Finding:
    """What one reader said, and how it ended. `fault` is what is damaged, or empty."""

    part: str = ""
    fault: str = ""
    failed: str = ""
    size_bytes: int = 0
    hashed: bool = False


class Reader:
    """One process that reads, and can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def read(
        self,
        data_dir: Path,
        parts: tuple[str, ...] = PARTS,
        *,
        bytes_per_s: float = UNBOUNDED,
        structure: bool = False,
        progress: Callable[[int], None] = lambda _size: None,
    ) -> Finding:
        """Let a process read some parts of a folder to the end, or to the first damage; or
        until it says nothing any more."""
        how = [str(os.getpid()), str(bytes_per_s), "1" if structure else "0"]
        patience_s = _patience_s(data_dir, parts if structure else (), bytes_per_s)
        process = self._start([str(data_dir), *how, *parts])
        finding = Finding()
        if process is None:
            finding.failed = "it was stopped"
            return finding
        with process:
            try:
                for line in _lines(process, patience_s):
                    _take(finding, line, progress)
            except TimeoutError:
                process.kill()
                finding.failed = f"it said nothing for {patience_s:.0f} s"
        _judge(finding, process.returncode)
        return finding

    def stop(self, reap_s: float = 0.0) -> None:
        """End what is under way, and everything that would follow."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(reap_s)

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopped:
                return None
            self._process = subprocess.Popen(
                [sys.executable, "-m", "raftstate.storage.scrub", *arguments],
                cwd=_PACKAGE_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            return self._process


def _patience_s(data_dir: Path, walked: tuple[str, ...], bytes_per_s: float) -> float:
    """How long a reader may say nothing. It does not speak while it starts, until it has
    read enough to tell, nor while it walks the pages of a file."""
    files = (file for part in walked for file in _lmdb_files(data_dir, part))
    silent_bytes = sum(file.stat().st_size for file in files)
    return START_S + _TOLD_BYTES / bytes_per_s + silent_bytes / BYTES_PER_S_MIN


def _lines(process: subprocess.Popen[bytes], patience_s: float) -> Iterator[bytes]:
    """What a process says, a line at a time. Raises TimeoutError when it has said nothing
    for so long."""
    assert process.stdout is not None
    poller, rest = select.poll(), b""
    poller.register(process.stdout, select.POLLIN)
    while poller.poll(min(1e3 * patience_s, _POLL_MS_MAX)):
        piece = os.read(process.stdout.fileno(), select.PIPE_BUF)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    raise TimeoutError


def _take(finding: Finding, line: bytes, progress: Callable[[int], None]) -> None:
    try:
        said = json.loads(line)
    except ValueError:
        return  # half a line: it was killed
    finding.part = said.get("part", finding.part)
    finding.fault = said.get("damage", "")
    finding.failed = said.get("failed", "")
    finding.hashed = finding.hashed or said.get("hashed", False)
    finding.size_bytes += said["bytes"]
    progress(said["bytes"])


def _judge(finding: Finding, status: int) -> None:
    """Take in how the reader ended."""
    if -status in OF_DAMAGE:
        finding.fault = f"who reads the {finding.part} dies of {signal.Signals(-status).name}"
    elif status not in (EXIT_SOUND, EXIT_DAMAGED) and not finding.failed:
        finding.failed = f"it ended with status {status}"


def inspect(data_dir: Path, parts: tuple[str, ...]) -> str:
    """What is damaged in a folder that nobody has open, pages of LMDB included; or nothing.

    Raises StorageError if that cannot be told."""
    finding = Reader().read(data_dir, parts, structure=True)
    if finding.failed and not finding.fault:
        part = finding.part or parts[0]
        raise StorageError(f"cannot read the {part} in {data_dir}: {finding.failed}")
    return finding.fault


def verify_folder(data_dir: Path, boot_id: str) -> list[str]:
    """All that is damaged in the folder of a node that does not run.

    The state is looked at only if it would be used. Raises StorageError, and WrongStore
    if the folder is in use."""
    if not (data_dir / LOG).is_dir():
        raise StorageError(f"{data_dir} holds no log")
    with storage_errors(f"cannot use the data folder {data_dir}"):
        lock = FolderLock(data_dir / "lock")
    try:
        parts = [LOG, SNAPSHOTS]
        for number in generations.numbers(data_dir)[-1:]:
            folder = generations.folder_of(data_dir, number)
            if generations.is_clean(folder) or generations.is_of_boot(folder, boot_id):
                parts.append(STATE)
        return [fault for part in parts if (fault := inspect(data_dir, (part,)))]
    finally:
        lock.release()


# --- again and again -------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """What was scrubbed since the start, for the metrics. `seconds` is of the last pass."""

    size_bytes: int = 0
    passes: int = 0
    hashes: int = 0
    seconds: float = 0.0


class Scrubber:
    """The thread that lets everything be read, pass after pass.

    `on_damage` is called at most once, on this thread, which ends then. `between` is
    called after every reader: it may have died with a place in a list of LMDB's.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        interval_s: float,
        bytes_per_s: float,
        on_damage: Callable[[Damage], None],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts = Counts()
        self._data_dir = data_dir.absolute()
        self._interval_s = interval_s
        self._bytes_per_s = bytes_per_s
        self._on_damage = on_damage
        self._between = between
        self._reader = Reader()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)

    def start(self) -> None:
        """Begin, after a part of the interval: members of a cluster take turns, perhaps."""
        self._thread.start()

    def stop(self) -> None:
        """End the reader at once. Harmless when done twice, or by the thread itself."""
        self._stopping.set()
        self._reader.stop()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def end_reader(self) -> None:
        """End the reader, and wait for nobody else: the process ends."""
        self._stopping.set()
        self._reader.stop(reap_s=1.0)

    def _run(self) -> None:
        # Spreads the load; nothing secret.
        wait = self._interval_s * random.random()
        while not self._stopping.wait(wait):
            fault = self.once()
            if fault and not self._stopping.is_set():
                self._on_damage(Damage(fault))
                return
            wait = self._interval_s

    def once(self) -> str:
        """One pass; what is damaged, if a second reader says so too."""
        began = time.monotonic()
        found = self._reader.read(
            self._data_dir, bytes_per_s=self._bytes_per_s, progress=self._count
        )
        self._between()
        if self._stopping.is_set():
            return ""
        if found.failed and not found.fault:
            # Most likely a snapshot was installed meanwhile, and the state it read is gone.
            logger.info("scrub cut short", extra={"part": found.part, "reason": found.failed})
            return ""
        if not found.fault:
            self.counts.passes += 1
            self.counts.hashes += found.hashed
            self.counts.seconds = time.monotonic() - began
            return ""
        again = self._reader.read(self._data_dir, (found.part,))
        self._between()
        if not again.fault:
            logger.warning("scrub found damage only once", extra={"fault": found.fault})
        return again.fault

    def _count(self, size: int) -> None:
        self.counts.size_bytes += size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
