"""Power cuts: whatever they leave of a node's folder, it starts, with all it had promised.

The whole test is `scripts/crash-images`; here it runs as it does from a shell, and its
parts are asked for what they must refuse.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raftstate.core.ports import Entry, HardState
from raftstate.core.types import Index, Term
from tests.crash_images.check import MEMBER, Bad, check_hard_state
from tests.crash_images.history import Promise, build
from tests.crash_images.recorders import available
from tests.crash_images.recording import Event, Op, RecordingError
from tests.crash_images.runs import crash_points, weights

ROOT = Path(__file__).parents[2]
RUN_S = 280


@pytest.mark.live
@pytest.mark.skipif(not available(), reason="neither cc nor strace: nothing can be recorded")
@pytest.mark.parametrize("images", [200, pytest.param(600, marks=pytest.mark.slow)])
def test_every_image_starts_with_all_that_was_acknowledged(images: int) -> None:
    """
    So many images of a real node, with either log, and none is bad; and where syncs do
    nothing, the same test finds bad ones.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash_images", "--images", str(images), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    found = json.loads(done.stdout.splitlines()[-1])

    assert (found["images"], found["bad"]) == (images, 0)
    assert found["control_bad"] > 0


def _event(op: Op, path: str = "a", target: str = "") -> Event:
    return Event(op, 1, path, target)


def test_crash_points_are_spread_and_favour_what_is_dangerous() -> None:
    """
    Same seed, same points, in order, over the whole trace; and more of them where names
    change and a snapshot was just named.
    """
    events = [_event(Op.WRITE)] * 1_000
    events[500] = _event(Op.RENAME, "copied", "snapshots/snap-1")
    points = crash_points(events, 200, seed=1)

    assert points == sorted(points) == crash_points(events, 200, seed=1)
    assert points != crash_points(events, 200, seed=2)
    assert points[0] < 50 and points[-1] > 950
    assert sum(494 <= point <= 540 for point in points) > 30
    assert min(weights(events)) == 1.0


def _promise(**mark: int | str) -> Event:
    return Event(Op.MARK, data=json.dumps(mark).encode())


def test_promises_only_grow() -> None:
    """
    Acknowledgements may come in any order; what counts is the furthest.
    """
    promise = Promise()
    for index, term in ((4, 1), (9, 2), (7, 2)):
        promise = promise.and_(_promise(index=index, term=term))
    promise = promise.and_(_promise(restarted=1)).and_(_event(Op.WRITE))

    assert promise == Promise(9, 2)


def _entry(index: int, data: bytes = b"\x01") -> Entry:
    return Entry(Index(index), Term(1), data)


def test_a_history_with_a_hole_or_two_truths_is_refused() -> None:
    """
    Images are judged by the history, so it must be whole and of one mind.
    """
    whole = build([[_entry(1), _entry(2)], [_entry(2), _entry(3)]], [])
    assert whole.entry(3) == _entry(3)
    assert whole.entry(4) is None
    assert len(whole.hashes) == 4

    with pytest.raises(RecordingError, match="missing"):
        build([[_entry(1)], [_entry(3)]], [])
    with pytest.raises(RecordingError, match="two entries"):
        build([[_entry(1)], [_entry(1, b"\x01other")]], [])
    acknowledged = _promise(index=1, term=1, session="s", sequence=1)
    with pytest.raises(RecordingError, match="not in the log"):
        build([[_entry(1)]], [acknowledged])


@pytest.mark.parametrize(
    ("term", "vote", "is_bad"),
    [(3, MEMBER, False), (4, None, False), (3, None, True), (2, MEMBER, True)],
)
def test_a_forgotten_term_or_vote_is_bad(term: int, vote: str | None, is_bad: bool) -> None:
    """
    Term 3 was told: a disk may know a later one, and not an earlier one, nor forget whom
    it voted for.
    """
    hard_state = HardState(Term(term), MEMBER if vote else None)
    if not is_bad:
        check_hard_state(hard_state, Promise(1, 3))
        return
    with pytest.raises(Bad):
        check_hard_state(hard_state, Promise(1, 3))


CHILDREN = """
import os, signal, sys
from pathlib import Path
from tests.crash_images import runs
from tests.crash_images.check import Bad

def bad():
    print("how it was drawn", flush=True)
    raise Bad("something is missing")

folder = Path(sys.argv[1])
for name, work in {
    "good": lambda: None,
    "bad": bad,
    "broken": lambda: 1 / 0,
    "aborted": os.abort,
    "left": lambda: os._exit(7),
    "hanging": signal.pause,
}.items():
    runs.CHILD_S = 1
    pid = runs._fork(work, folder / name)
    _, status = os.waitpid(pid, 0)
    print(name + ":", runs._verdict(status, folder / name))
"""


def test_a_child_that_ends_in_any_way_but_well_is_a_bad_image(tmp_path: Path) -> None:
    """
    By what it says is wrong, by an exception, by a signal, which has a name, by an exit
    status, or because it does not end.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHILDREN, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines = (line.partition(":") for line in done.stdout.splitlines())
    found = {name: why.strip() for name, _, why in lines}

    assert found["good"] == ""
    assert "something is missing" in found["bad"]
    assert "ZeroDivisionError" in found["broken"]
    assert signal.Signals.SIGABRT.name in found["aborted"]
    assert "status 7" in found["left"]
    assert signal.Signals.SIGALRM.name in found["hanging"]
