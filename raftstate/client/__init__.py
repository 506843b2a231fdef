"""The SDK: a client of a cluster, for programs on an asyncio event loop."""

from raftstate.client import txn
from raftstate.client.autosave import Every, ForRpo
from raftstate.client.chunks import Cut
from raftstate.client.options import Tls
from raftstate.client.own import Own
from raftstate.client.ownership import AgentHandle, Step
from raftstate.client.reading import Seen
from raftstate.client.store import Store, connect
from raftstate.client.streams import Append, event
from raftstate.client.values import decode
from raftstate.client.watch import Watch, WatchBatch

__all__ = [
    "AgentHandle",
    "Append",
    "Cut",
    "Every",
    "ForRpo",
    "Own",
    "Seen",
    "Step",
    "Store",
    "Tls",
    "Watch",
    "WatchBatch",
    "connect",
    "decode",
    "event",
    "txn",
]
