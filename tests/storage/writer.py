"""`python -m tests.storage.writer FOLDER KIND`: write for ever, and report what is durable.

One line an entry, after its commit. Takes a snapshot every 20 entries and cuts the
log behind it. Meant to be killed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from raftstate.storage.logs import as_log_kind
from raftstate.v1.peer_pb2 import SnapshotManifest
from tests.storage.member import Member


def main(data_dir: Path, log_kind: str) -> None:
    """Write until killed."""
    Member.log_kind = as_log_kind(log_kind)
    member = Member(data_dir)
    copying = False
    while True:
        member.write(1)
        print(member.log.last.index, flush=True)
        if member.log.last.index % 20 == 0 and not copying:
            copying = True
            member.snapshots.start_copy(member.log.last.term)
        taken = member.snapshots.poll_copy()
        if taken is not None:
            copying = False
            assert isinstance(taken, SnapshotManifest), taken
            member.cut(taken, keep=5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
