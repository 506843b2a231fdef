"""`raftstate serve`, with a segment log whose files are small.

`python -m tests.crash_images.serve --config FILE`

A file of the segment log has 64 MiB; a load of some seconds would never fill the first
one, and what happens between two files would not be recorded. How large a file is can be
chosen where a log is opened, and not in the configuration: so the default is replaced here,
before anything has read it.
"""

from __future__ import annotations

import sys

from raftstate.storage import segments

SEGMENT_BYTES = 256 << 10


def main() -> None:
    """Serve; ends the process."""
    segments.SEGMENT_BYTES = SEGMENT_BYTES
    assert "raftstate.storage.open" not in sys.modules, "it has the old default already"
    from raftstate.cli import main as raftstate

    sys.argv = ["raftstate", "serve", *sys.argv[1:]]
    raftstate()


if __name__ == "__main__":
    main()
