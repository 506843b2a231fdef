"""Recorders for the `eventsourcing` library: its applications on the store.

    class Orders(Application):
        env = {
            "PERSISTENCE_MODULE": "raftstate.adapters.eventsourcing",
            "RAFTSTATE_ENDPOINTS": "127.0.0.1:7411,127.0.0.1:7412",
        }

An extra: `pip install "raftstate[eventsourcing]"`.
"""

from __future__ import annotations

try:
    import eventsourcing.persistence  # noqa: F401
except ImportError as _error:
    raise ImportError(
        'this adapter needs eventsourcing: pip install "raftstate[eventsourcing]"'
    ) from _error

from raftstate.adapters.eventsourcing.dcb import (
    RaftDCBReadResponse,
    RaftDCBRecorder,
    RaftDCBSubscription,
)
from raftstate.adapters.eventsourcing.factory import RaftFactory
from raftstate.adapters.eventsourcing.recorders import (
    RaftAggregateRecorder,
    RaftApplicationRecorder,
    RaftProcessRecorder,
    RaftRecorder,
    RaftTrackingRecorder,
)
from raftstate.adapters.eventsourcing.subscription import RaftSubscription

# The library looks for one factory in a persistence module.
Factory = RaftFactory

__all__ = [
    "Factory",
    "RaftAggregateRecorder",
    "RaftApplicationRecorder",
    "RaftDCBReadResponse",
    "RaftDCBRecorder",
    "RaftDCBSubscription",
    "RaftFactory",
    "RaftProcessRecorder",
    "RaftRecorder",
    "RaftSubscription",
    "RaftTrackingRecorder",
]
