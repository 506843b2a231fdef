"""The client's own clock: what ownership is counted by.

It goes on while the process is stopped and while the machine sleeps, so that a
process that wakes up late sees that it is late.
"""

from __future__ import annotations

import time

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds since some fixed moment. Only differences mean anything."""
    return time.clock_gettime(_CLOCK)
