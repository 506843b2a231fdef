"""The SDK: a client of a cluster, for programs on an asyncio event loop."""

from raftstate.client.options import Tls
from raftstate.client.own import Own
from raftstate.client.ownership import AgentHandle, Step
from raftstate.client.store import Store, connect
from raftstate.client.values import decode

__all__ = ["AgentHandle", "Own", "Step", "Store", "Tls", "connect", "decode"]
