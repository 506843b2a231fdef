"""A disk that is full: row A15. Each log runs in a process of its own, on a small file
system of its own, which takes the right to mount one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raftstate.storage.logs import LOG_KINDS

ROOT = Path(__file__).parents[3]
WITHIN_S = 30.0

STOCK = """
import sys
from pysyncobj.journal import FileJournal
journal = FileJournal(sys.argv[1] + "/journal")
for index in range(1, 1000):
    journal.add(b"x" * 1000, index, 1)
print("no limit")
"""

# Fills the log until it is refused, then gets room, opens it again and says what is there.
OURS = """
import json, subprocess, sys
from pathlib import Path
from raftstate.core.ports import Entry, Identity, StorageError
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage.logs import create_log, open_log

folder, kind, member = Path(sys.argv[1]) / "log", sys.argv[2], MemberId("n1")
sizes = {"map_bytes": 64 << 20, "segment_bytes": 128 << 10}
create_log(folder, Identity("c1", 1, member, "disk"), kind, **sizes)

def opened():
    return open_log(folder, kind, cluster_id="c1", member_id=member, **sizes)

log, durable, refused = opened(), 0, ""
while not refused and durable < 5000:
    try:
        log.append(Entry(Index(durable + 1), Term(1), b"x" * 1000))
        log.commit()
        durable += 1
    except StorageError as error:
        refused = str(error)
log.close()
subprocess.run(["mount", "-o", "remount,size=64m", sys.argv[1]], check=True)
log = opened()
held = [entry.index for entry in log.read(Index(1), 1 << 30)] if durable else []
log.append(Entry(Index(log.last.index + 1), Term(2), b"more"))
log.commit()
log.close()
print(json.dumps({"durable": durable, "refused": refused, "held": held}))
"""


def may_mount(folder: Path) -> bool:
    """Whether this process may mount a file system that nobody else sees."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def run_on_small_disk(
    folder: Path, size: str, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a program whose first argument is a folder on a file system of so many bytes."""
    if not may_mount(folder):
        pytest.skip("needs root, and the right to mount")
    steps = 'mount -t tmpfs -o "size=$0" none "$1" && exec "$2" -c "$3" "$1" $4'
    given = [size, str(folder), sys.executable, program, *arguments]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", steps, *given],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def test_a15_a_full_disk_kills_the_stock_process(tmp_path: Path) -> None:
    """
    The journal's file is grown without room being set aside for it, and written through
    memory: a full disk is no error that could be handled, but a signal.
    """
    done = run_on_small_disk(tmp_path, "16k", STOCK)

    assert done.returncode == -signal.SIGBUS, (done.returncode, done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize("kind", LOG_KINDS)
def test_a15_a_full_disk_is_an_error_and_costs_nothing_that_was_durable(
    tmp_path: Path, kind: str
) -> None:
    """
    Ours refuses what does not fit, lives to say so, and with more room goes on from what it
    had made durable.
    """
    done = run_on_small_disk(tmp_path, "1m", OURS, kind)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["durable"] > 50
    # LMDB calls a write that did not fit an input/output error.
    assert "cannot" in said["refused"]
    assert "No space left" in said["refused"] or "Input/output" in said["refused"]
    # What failed may or may not have reached the disk; all before it did.
    assert said["held"][: said["durable"]] == list(range(1, said["durable"] + 1))
    assert len(said["held"]) - said["durable"] in (0, 1)
