"""Draws images of a recording, and tries each in a process of its own.

The trace is walked once. At each crash point that was drawn this process forks: the child
has the disk as it is there, draws its image, writes it, starts from it, and says what is
wrong. LMDB ends the process on a file that makes no sense to it: that is a bad image with
a signal's name.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, NoReturn

from raftstate.core.ports import Entry
from tests.crash_images import history as truth
from tests.crash_images.check import DATA, Bad, check, entries_of, open_image
from tests.crash_images.disk import EVERY_SYNC, Disk
from tests.crash_images.history import History, Promise
from tests.crash_images.recorders import RECORDERS
from tests.crash_images.recording import ABOUT, Event, Op, RecordingError

CHILD_S = 120
_SNAPSHOTS_MIN = 3
_LOG = f"{DATA}/log/"
_NAMES = frozenset({Op.CREATE, Op.MKDIR, Op.RENAME, Op.UNLINK})
_COMMITS = frozenset({Op.SYNC_BEGIN, Op.SYNC_END, Op.WRITE_SYNCED, Op.MARK})


@dataclass(slots=True)
class Recording:
    """A trace, and what is true of it."""

    folder: Path
    log: str
    recorder: str
    inode: int
    events: list[Event]
    history: History = field(default_factory=History)

    @classmethod
    def load(cls, folder: Path) -> Recording:
        """Read a recording. Its history is still to be `learn`t."""
        about = json.loads((folder / ABOUT).read_text())
        recorder = about["recorder"]
        events = RECORDERS[recorder].read(folder, Path(about["root"]))
        return cls(folder, about["log"], recorder, about["inode"], events)

    def disk(self, honours: frozenset[str] = EVERY_SYNC) -> Disk:
        """An empty disk for it."""
        return Disk(self.inode, honours)

    def compare(self, root: Path) -> None:
        """The disk that was told all this holds what the real one does, byte for byte.

        Otherwise something happened that no recorder saw, and no image means anything."""
        disk = self.disk()
        for event in self.events:
            truth.replay(disk, event)
        if different := disk.whole().differences(root):
            raise RecordingError(f"not recorded is what made {', '.join(different)}")

    def learn(self, scratch: Path) -> None:
        """Find out what was logged, from images of which nothing is missing."""
        wanted = set(truth.moments(self.events))
        if len(wanted) <= _SNAPSHOTS_MIN:
            raise RecordingError(f"only {len(wanted) - 1} snapshots were taken")
        disk, pieces = self.disk(), []
        for at, event in enumerate(self.events):
            truth.replay(disk, event)
            if at in wanted:
                pieces.append(_read_log(disk, scratch / f"moment-{at}", self.log))
        self.history = truth.build(pieces, self.events)


def _read_log(disk: Disk, folder: Path, log: str) -> list[Entry]:
    """The entries in an image of which nothing is missing; read by another process."""
    said = folder.with_suffix(".pickle")

    def read() -> None:
        disk.whole().write(folder)
        storage = open_image(folder, log)
        if storage.quarantined:
            raise Bad(f"it was set aside as damaged: {storage.quarantined}")
        found = [tuple(entry) for entry in entries_of(storage)]
        storage.close()
        said.write_bytes(pickle.dumps(found))

    pid = _fork(read, folder.with_suffix(".said"))
    _, status = os.waitpid(pid, 0)
    if why := _verdict(status, folder.with_suffix(".said")):
        raise RecordingError(f"the log cannot be read where nothing is lost: {why}")
    found = pickle.loads(said.read_bytes())
    said.unlink()
    shutil.rmtree(folder)
    return [Entry(*one) for one in found]


# --- crash points ------------------------------------------------------------------


def weights(events: list[Event]) -> list[float]:
    """How much the moment behind each event is worth: more around commits and in the log,
    more again around names that change, and most behind a snapshot's, where the log is cut."""
    found = [3.0 if event.path.startswith(_LOG) else 1.0 for event in events]
    for at, event in enumerate(events):
        if event.op in _COMMITS:
            _add(found, at - 2, at + 3, 2.0)
        if event.op in _NAMES:
            _add(found, at - 6, at + 7, 5.0)
        if event.op is Op.RENAME and event.target.rpartition("/")[2].startswith("snap-"):
            _add(found, at, at + 40, 5.0)
    return found


def _add(found: list[float], first: int, stop: int, weight: float) -> None:
    for at in range(max(0, first), min(len(found), stop)):
        found[at] += weight


def crash_points(events: list[Event], count: int, seed: int) -> list[int]:
    """Where the power goes, in order: behind which event. A stratum each, so that they
    are spread over the whole trace."""
    rng = random.Random(f"points {seed}")
    total = list(accumulate(weights(events)))
    step = total[-1] / count
    drawn = ((number + rng.random()) * step for number in range(count))
    return [min(bisect_left(total, at), len(events) - 1) for at in drawn]


# --- images ------------------------------------------------------------------------


class Wrong(NamedTuple):
    """A bad image: its number, where the power went, how it was drawn, and what is wrong."""

    number: int
    point: int
    how: str
    why: str


@dataclass(slots=True)
class Plan:
    """Which images to try, and how."""

    recording: Recording
    scratch: Path
    images: int
    seed: int
    honours: frozenset[str] = EVERY_SYNC
    only: int | None = None
    keep: bool = False
    jobs: int = 1


def try_images(plan: Plan) -> list[Wrong]:
    """Try every image of a plan; the bad ones, in order."""
    gc.collect()
    gc.freeze()  # what is here already is not copied for each child's collections
    running: dict[int, tuple[int, int]] = {}
    wrong: list[Wrong] = []
    for number, point, disk, promise in _walk(plan):
        if len(running) >= plan.jobs:
            wrong += _reap(plan, running)
        pid = _fork(
            partial(_try, plan, number, point, disk, promise),
            _said(plan, number),
        )
        running[pid] = number, point
    while running:
        wrong += _reap(plan, running)
    return sorted(wrong)


def _walk(plan: Plan) -> Iterator[tuple[int, int, Disk, Promise]]:
    """The disk, and what was promised, at each crash point."""
    events = plan.recording.events
    disk, promise, done = plan.recording.disk(plan.honours), Promise(), 0
    for number, point in enumerate(crash_points(events, plan.images, plan.seed)):
        if plan.only is not None and number != plan.only:
            continue
        for event in events[done : point + 1]:
            truth.replay(disk, event)
            promise = promise.and_(event)
        done = point + 1
        yield number, point, disk, promise


def _try(plan: Plan, number: int, point: int, disk: Disk, promise: Promise) -> None:
    """In the child: draw the image, and start from it."""
    recording = plan.recording
    if point + 1 < len(recording.events):
        disk.begin(recording.events[point + 1])
    image = disk.image(random.Random(f"image {plan.seed} {number}"))
    folder = _image(plan, number)
    image.write(folder)
    if plan.keep:
        image.write(_pristine(plan, number))
    print(image.how, flush=True)
    check(folder, recording.log, recording.history, promise)


def _image(plan: Plan, number: int) -> Path:
    return plan.scratch / f"image-{number}"


def _pristine(plan: Plan, number: int) -> Path:
    """The image as the power cut left it, where it is kept: the other one is started from."""
    return plan.scratch / f"image-{number}.before"


def _said(plan: Plan, number: int) -> Path:
    return plan.scratch / f"image-{number}.said"


def _reap(plan: Plan, running: dict[int, tuple[int, int]]) -> list[Wrong]:
    """Wait for one child; what was wrong, if anything was."""
    pid, status = os.waitpid(-1, 0)
    if pid not in running:
        return []
    number, point = running.pop(pid)
    said = _said(plan, number)
    why = _verdict(status, said)
    how = said.read_text(errors="replace").partition("\n")[0]
    if not (why and plan.keep):
        shutil.rmtree(_image(plan, number), ignore_errors=True)
        shutil.rmtree(_pristine(plan, number), ignore_errors=True)
        said.unlink()
    return [Wrong(number, point, how, why)] if why else []


# --- children ----------------------------------------------------------------------


def _fork(work: Callable[[], None], said: Path) -> int:
    """Do something in a child; what it prints goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(work, said)
    return pid


def _child(work: Callable[[], None], said: Path) -> NoReturn:
    status = 2
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        signal.alarm(CHILD_S)
        work()
        status = 0
    except Bad as bad:
        print(bad)
        status = 1
    except BaseException:  # noqa: BLE001  # whatever it is, the image is bad
        traceback.print_exc(file=sys.stdout)
        status = 1
    finally:
        # No exit handlers: they are the parent's. A thread of the product may still run.
        sys.stdout.flush()
        os._exit(status)


def _verdict(status: int, said: Path) -> str:
    """What a child found wrong; empty if nothing."""
    if status == 0:
        return ""
    words = said.read_text(errors="replace").strip().splitlines()
    last = words[-1] if words else ""
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return f"the process was ended by {name}: {last}"
    return last or f"the process ended with status {os.WEXITSTATUS(status)}"
