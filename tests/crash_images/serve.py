"""`raftstate serve`, with small files for a segment log, and a boot id that is told.

`python -m tests.crash_images.serve BOOT_ID_FILE --config FILE`

A file of the segment log has 64 MiB; a load of some seconds would never fill the first
one, and what happens between two files would not be recorded. How large a file is can be
chosen where a log is opened, and not in the configuration: so the default is replaced here,
before anything has read it. The boot id is read from a file, so that a life of the node can
begin as after a restart of the machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

from raftstate.storage import segments

SEGMENT_BYTES = 128 << 10


def main() -> None:
    """Serve; ends the process."""
    segments.SEGMENT_BYTES = SEGMENT_BYTES
    assert "raftstate.storage.open" not in sys.modules, "it has the old default already"
    from raftstate import server
    from raftstate.cli import main as raftstate

    server.BOOT_ID = Path(sys.argv[1])
    sys.argv = ["raftstate", "serve", *sys.argv[2:]]
    raftstate()


if __name__ == "__main__":
    main()
