# Generated from raftstate/client/__init__.py by scripts/generate. Not to be edited.

"""The SDK for programs without an event loop: the same names, for threads.

    import raftstate.sync

    with raftstate.sync.connect("127.0.0.1:7411,127.0.0.1:7412") as store:
        with store.own("billing/nightly", wait=True) as agent:
            state = agent.restore(default={"done": 0})
            for item in work(after=state["done"]):
                with agent.step() as step:
                    step.event("charged", item.id)
                    step.checkpoint({"done": item.id})

What is awaited in `raftstate` is waited for here; what is an asynchronous block, iterator or
generator there is a plain one. Any number of threads may use a store; an agent, a step, a
saga, a watch or a projection is used by one thread at a time, and a second one that calls
meanwhile gets a RuntimeError.

Functions given to it (`do`, `record`'s, handlers, reducers) are plain ones: they run in the
thread that called, and may block as long as they like. A coroutine function raises TypeError.
What nobody waits for, as a worker's compensations, runs in threads of its own.

A thread cannot be cancelled. When an ownership is lost inside its block, the call that the
block's thread waits in ends at once with OwnershipLost, every call of the block that follows
raises it, and so does leaving the block. A thread that computes for long asks `agent.check()`
now and then, or has another one ask `agent.wait_lost()`.

An interrupt (Ctrl-C) ends the call that its thread waits in, and leaves the store usable. What
was under way may have happened, as with any cancelled call. In a forked process everything of
a parent's store raises Closed (definite).
"""

from raftstate.client import txn
from raftstate.client.acts import EffectCall, FailedForGood, NotDone, Restored, UndoCall
from raftstate.client.autosave import Every, ForRpo
from raftstate.client.chunks import Cut
from raftstate.client.doing import Undo
from raftstate.client.options import Tls
from raftstate.client.reading import Seen
from raftstate.client.rollbacks import (
    at_log_time,
    at_revision,
    before_event,
    known_good,
    to_checkpoint,
)
from raftstate.client.streams import Append, event
from raftstate.client.values import decode
from raftstate.client.watch import WatchBatch
from raftstate.sync import replay
from raftstate.sync.breakers import BreakerHandle
from raftstate.sync.own import Own
from raftstate.sync.ownership import AgentHandle, Step
from raftstate.sync.registering import Registry, compensation, reconciler, validator
from raftstate.sync.sagas import Saga
from raftstate.sync.store import Store, connect
from raftstate.sync.watch import Watch
from raftstate.sync.worker import Worker

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
    "known_good",
    "reconciler",
    "replay",
    "to_checkpoint",
    "txn",
    "validator",
]
