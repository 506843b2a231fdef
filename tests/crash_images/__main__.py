"""Crash images of one real node: `python -m tests.crash_images --images 600`.

Records the node under load, once with each log; tries images that a power cut could have
left, spread over both; then tries images of a disk that ignores syncs, of which some must
be bad: otherwise the test finds nothing and fails. With `--json` the last line is one JSON
object. The exit status is 1 if an image was bad, or no control was.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash_images.disk import EVERY_SYNC, FILES, FOLDERS, NO_SYNC, WRITES
from tests.crash_images.history import is_acknowledgement
from tests.crash_images.load import ROOT
from tests.crash_images.recorders import RECORDERS, available
from tests.crash_images.recording import RecordingError
from tests.crash_images.runs import Plan, Recording, Wrong, try_images

LOGS = ("lmdb", "segments")
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 1 << 30
SHOWN_MAX = 10
RECORD_S = 300
# What the disks of the control do not keep their word about, and how many images of each
# are tried for a hundred images of the test.
CONTROLS = {
    "every sync": (NO_SYNC, 10),
    "syncs of files": (EVERY_SYNC - {FILES}, 4),
    "syncs of folders": (EVERY_SYNC - {FOLDERS}, 4),
    "synced writes": (EVERY_SYNC - {WRITES}, 4),
}
CONTROL_IMAGES_MAX = 60


@dataclass(slots=True)
class Totals:
    """All logs together."""

    images: int = 0
    bad: int = 0
    control_bad: int = 0


def _number(text: str) -> int:
    return int(text, 0)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="crash-images", description=__doc__)
    parser.add_argument("--images", type=int, default=600, help="how many, over all logs")
    parser.add_argument("--log", choices=(*LOGS, "both"), default="both")
    parser.add_argument("--seed", type=_number, help="draws load, crash points and images")
    parser.add_argument("--recorder", choices=sorted(RECORDERS), help="instead of the best")
    parser.add_argument("--trace", type=Path, help="a recording that was kept, instead")
    parser.add_argument("--only", type=int, help="with --trace: try this image only")
    parser.add_argument("--keep", action="store_true", help="keep recordings and bad images")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args(argv)
    if arguments.images < 2 or arguments.jobs < 1:
        parser.error("--images is at least 2, --jobs at least 1")
    if (arguments.only is None) != (arguments.trace is None):
        parser.error("--only and --trace go together")
    return arguments


@contextmanager
def _workplace(*, keep: bool) -> Iterator[Path]:
    """A folder for recordings and images, in memory if there is room; removed at the end,
    unless something in it is worth a look."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN
    folder = Path(tempfile.mkdtemp(prefix="crash-images-", dir=MEMORY if roomy else None))
    try:
        yield folder
    finally:
        if keep or any(folder.glob("*/kept")):
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def record(folder: Path, log: str, recorder: str, seed: int) -> None:
    """Record a node in an empty folder; in a process of its own, which may have threads."""
    command = [sys.executable, "-m", "tests.crash_images.load", str(folder)]
    command += ["--log", log, "--recorder", recorder, "--seed", str(seed)]
    done = subprocess.run(command, timeout=RECORD_S, check=False)
    if done.returncode != 0:
        raise RecordingError(f"the load ended with {done.returncode}")


def _recording(folder: Path, log: str, arguments: argparse.Namespace) -> Recording:
    began = time.monotonic()
    folder.mkdir()
    record(folder, log, arguments.recorder, arguments.seed)
    recording = Recording.load(folder)
    recording.compare(folder / ROOT)
    recording.learn(folder)
    acknowledged = sum(map(is_acknowledgement, recording.events))
    print(
        f"{log}: {len(recording.events)} events, {acknowledged} acknowledged writes,"
        f" {len(recording.history.entries)} log entries, recorded in"
        f" {time.monotonic() - began:.1f} s by {RECORDERS[recording.recorder].name}",
        flush=True,
    )
    return recording


def _test(recording: Recording, images: int, arguments: argparse.Namespace) -> list[Wrong]:
    """The test itself; says what is bad, and how to see it again."""
    began = time.monotonic()
    plan = Plan(
        *(recording, recording.folder, images, arguments.seed),
        only=arguments.only,
        keep=arguments.keep,
        jobs=arguments.jobs,
    )
    wrong = try_images(plan)
    for one in wrong:
        print(
            f"BAD {recording.log} image {one.number} behind event {one.point} ({one.how}):"
            f" {one.why}\n    seed {arguments.seed:#x}; again: scripts/crash-images --trace"
            f" {recording.folder} --images {images} --seed {arguments.seed:#x}"
            f" --only {one.number} --keep"
        )
    if wrong:
        (recording.folder / "kept").touch()
    tried = images if arguments.only is None else 1
    print(
        f"{recording.log}: {tried} images, {len(wrong)} bad,"
        f" in {time.monotonic() - began:.1f} s",
        flush=True,
    )
    return wrong


def _control(recording: Recording, images: int, arguments: argparse.Namespace) -> int:
    """The test of the test; how many images were bad without any syncs."""
    found: dict[str, int] = {}
    told = []
    for what, (honours, percent) in CONTROLS.items():
        count = max(10, min(CONTROL_IMAGES_MAX, images * percent // 100))
        plan = Plan(
            *(recording, recording.folder, count, arguments.seed, honours),
            jobs=arguments.jobs,
        )
        found[what] = len(try_images(plan))
        told.append(f"{what} {found[what]} of {count}")
    print(f"{recording.log}: control, bad where ignored: {', '.join(told)}", flush=True)
    return found["every sync"]


def _run(folder: Path, arguments: argparse.Namespace) -> Totals:
    totals = Totals()
    logs = LOGS if arguments.log == "both" else (arguments.log,)
    for at, log in enumerate(logs):
        share = arguments.images // len(logs) + (at < arguments.images % len(logs))
        recording = _recording(folder / log, log, arguments)
        totals.images += share
        totals.bad += len(_test(recording, share, arguments))
        totals.control_bad += _control(recording, share, arguments)
    return totals


def _again(arguments: argparse.Namespace) -> int:
    """One image of a recording that was kept."""
    recording = Recording.load(arguments.trace.absolute())
    recording.learn(recording.folder)
    return 1 if _test(recording, arguments.images, arguments) else 0


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    arguments = _arguments(argv)
    if arguments.seed is None:
        arguments.seed = secrets.randbits(32)
    if arguments.trace is not None:
        return _again(arguments)
    if arguments.recorder is None:
        if not available():
            print("crash-images: nothing can be recorded: there is neither cc nor strace")
            return 2
        arguments.recorder = available()[0]
    began = time.monotonic()
    print(f"seed {arguments.seed:#x}", flush=True)
    try:
        with _workplace(keep=arguments.keep) as folder:
            totals = _run(folder, arguments)
    except RecordingError as error:
        print(f"crash-images: {error}")
        return 1
    print(
        f"{totals.images} images over {arguments.log} logs, {totals.bad} bad;"
        f" {totals.control_bad} bad without syncs; {time.monotonic() - began:.1f} s"
    )
    if arguments.json:
        about = {"images": totals.images, "bad": totals.bad}
        print(json.dumps({**about, "control_bad": totals.control_bad}))
    return 1 if totals.bad or not totals.control_bad else 0


if __name__ == "__main__":
    sys.exit(main())
