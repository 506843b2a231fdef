"""A store in this process, for tests of agents: no cluster, no files, no waiting."""

from raftstate.testing.faults import Committed, Fault
from raftstate.testing.kit import Kit, SyncKit, served, sync_served
from raftstate.testing.links import Link

__all__ = ["Committed", "Fault", "Kit", "Link", "SyncKit", "served", "sync_served"]
