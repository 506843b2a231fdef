"""What the processes of three live nodes have used so far."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from raftstate.localcluster import LocalCluster

NAMES = ("n1", "n2", "n3")


class Use(NamedTuple):
    """What a process has used: seconds of CPU, and bytes in memory."""

    cpu_s: float
    resident: int
    anonymous: int


def uses(cluster: LocalCluster) -> list[Use]:
    """What each node has used. Pages of files that it maps are resident, not anonymous."""
    found = []
    for name in NAMES:
        pid = cluster.pid(name)
        if pid is None:
            raise RuntimeError(f"{name} has ended")
        found.append(_use(pid))
    return found


def cpu_s(cluster: LocalCluster) -> float:
    """Seconds of CPU that all nodes have used."""
    return sum(one.cpu_s for one in uses(cluster))


def _use(pid: int) -> Use:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = dict(line.split(":", 1) for line in lines)
    kib = {key: int(value.split()[0]) << 10 for key, value in sizes.items()}
    return Use(ticks / os.sysconf("SC_CLK_TCK"), kib["Rss"], kib["Anonymous"])
