"""A Raft-replicated store for the state, ownership and recovery of AI agents."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from raftstate.errors import RaftStateError

# gRPC reads this when it is imported. Its handlers of forks cannot cope with asyncio, and
# crash every third process that is forked beside a client, whatever that is for.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

if TYPE_CHECKING:
    from raftstate.client import (
        AgentHandle,
        Append,
        BreakerHandle,
        Cut,
        EffectCall,
        Every,
        FailedForGood,
        ForRpo,
        NotDone,
        Registry,
        Restored,
        Saga,
        Seen,
        Step,
        Store,
        Tls,
        Undo,
        UndoCall,
        Watch,
        WatchBatch,
        Worker,
        at_log_time,
        at_revision,
        before_event,
        compensation,
        connect,
        decode,
        event,
        known_good,
        reconciler,
        replay,
        to_checkpoint,
        txn,
        validator,
    )

    __version__: str

__all__ = [
    "AgentHandle",
    "Append",
    "BreakerHandle",
    "Cut",
    "EffectCall",
    "Every",
    "FailedForGood",
    "ForRpo",
    "NotDone",
    "RaftStateError",
    "Registry",
    "Restored",
    "Saga",
    "Seen",
    "Step",
    "Store",
    "Tls",
    "Undo",
    "UndoCall",
    "Watch",
    "WatchBatch",
    "Worker",
    "__version__",
    "at_log_time",
    "at_revision",
    "before_event",
    "compensation",
    "connect",
    "decode",
    "event",
    "known_good",
    "reconciler",
    "replay",
    "to_checkpoint",
    "txn",
    "validator",
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
