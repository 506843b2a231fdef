"""`python -m raftstate.storage.verify FOLDER`: read an image that nobody vouches for.

Prints where the image stands, or says on standard error what is wrong and ends
with status 1, or 2 if it cannot be read at all. If LMDB aborts on it, this is the
process that goes down.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lmdb.verify import VerifyError, verify

from raftstate.core.ports import SnapshotFailed
from raftstate.storage.environment import DATA
from raftstate.storage.images import examine, to_text

_NICENESS = 10
EXIT_DAMAGED, EXIT_FAILED = 1, 2


def main(folder: Path) -> int:
    """Walk the structure, then read every pair; the exit status."""
    # The node beside has a cluster to serve.
    os.nice(_NICENESS)
    try:
        # Published without types for this module.
        problems = verify(str(folder / DATA), subdir=False)  # type: ignore[no-untyped-call]
        if problems:
            raise SnapshotFailed(f"{len(problems)} faults, the first: {problems[0]}")
        print(to_text(examine(folder)))
    except (SnapshotFailed, VerifyError) as error:
        print(error, file=sys.stderr)
        return EXIT_DAMAGED
    except OSError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
