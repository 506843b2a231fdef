"""The SDK: a client of a cluster, for programs on an asyncio event loop."""

from raftstate.client import replay, txn
from raftstate.client.acts import EffectCall, FailedForGood, NotDone, Restored, UndoCall
from raftstate.client.autosave import Every, ForRpo
from raftstate.client.breakers import BreakerHandle
from raftstate.client.chunks import Cut
from raftstate.client.doing import Undo
from raftstate.client.options import Tls
from raftstate.client.own import Own
from raftstate.client.ownership import AgentHandle, Step
from raftstate.client.reading import Seen
from raftstate.client.registry import Registry, compensation, reconciler, validator
from raftstate.client.rollbacks import (
    at_log_time,
    at_revision,
    before_event,
    known_good,
    to_checkpoint,
)
from raftstate.client.sagas import Saga
from raftstate.client.store import Store, connect
from raftstate.client.streams import Append, event
from raftstate.client.values import decode
from raftstate.client.watch import Watch, WatchBatch
from raftstate.client.worker import Worker

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
    "Own",
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
    "at_log_time",
    "at_revision",
    "before_event",
    "compensation",
    "connect",
    "decode",
    "event",
    "replay",
    "known_good",
    "reconciler",
    "to_checkpoint",
    "txn",
    "validator",
]
