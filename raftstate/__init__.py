"""A Raft-replicated store for the state, ownership and recovery of AI agents."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from raftstate.errors import RaftStateError

if TYPE_CHECKING:
    from raftstate.client import (
        AgentHandle,
        Append,
        Cut,
        Every,
        ForRpo,
        Seen,
        Step,
        Store,
        Tls,
        Watch,
        WatchBatch,
        connect,
        decode,
        event,
        txn,
    )

    __version__: str

__all__ = [
    "AgentHandle",
    "Append",
    "Cut",
    "Every",
    "ForRpo",
    "RaftStateError",
    "Seen",
    "Step",
    "Store",
    "Tls",
    "Watch",
    "WatchBatch",
    "__version__",
    "connect",
    "decode",
    "event",
    "txn",
]


def __getattr__(name: str) -> object:
    """Fetch what is public when it is first asked for, so that importing a part of the
    package (the servers', the state machine's) does not import the client."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("raftstate")
        except PackageNotFoundError:  # run from a source tree that is not installed
            return "0+unknown"
    if name in __all__:
        return getattr(importlib.import_module("raftstate.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
