"""All workloads, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from jepsen_like.protocols import Workload
from jepsen_like.workloads import (
    append,
    bank,
    checkpoints,
    exactly_once,
    ownership,
    register,
    rollback,
    saga,
    watch,
)
from jepsen_like.workloads import set as set_

WORKLOADS: Final[Mapping[str, Callable[[], Workload]]] = {
    "register": register.workload,
    "set": set_.workload,
    "ownership": ownership.workload,
    "exactly-once": exactly_once.workload,
    "append": append.workload,
    "bank": bank.workload,
    "watch": watch.workload,
    "checkpoints": checkpoints.workload,
    "saga": saga.workload,
    "rollback": rollback.workload,
}
