"""A follower that slept until its timer campaigns; that is no pause."""

import random
from typing import Any

from raftstate.consensus.replica import Replica, ReplicaConfig
from raftstate.core.ports import Identity
from raftstate.v1.peer_pb2 import AppendEntries, Envelope
from tests.consensus.bench import MEMBERS, A, B
from tests.sim.disk import SimDisk


def test_a_follower_campaigns_when_its_timer_says_so() -> None:
    """
    The raft thread sleeps until `wake_at`, as it should. What it then finds is that a
    timer is due, not that the process was stopped: the election must not wait longer.
    """
    disk = SimDisk(
        Identity("test", 1, A, "disk"),
        after=lambda *_: None,
        rng=random.Random(1),
    )
    opened = disk.open(lambda: None)
    sent: list[Any] = []
    replica = Replica(
        ReplicaConfig(A, MEMBERS),
        log=opened.log,
        state=opened.state,
        snapshots=opened.snapshots,
        rng=random.Random(1),
        now=0.0,
        send=lambda peer, envelope: sent.append(envelope),
        deliver=lambda _: None,
    )
    for peer in MEMBERS[1:]:
        replica.peer_connected(peer)
    replica.receive(
        Envelope(from_member=B, to_member=A, term=1, append_entries=AppendEntries())
    )
    replica.step(0.01)
    sent.clear()
    due = now = replica.wake_at
    while not sent:
        now = replica.wake_at
        replica.step(now)
    assert sent[0].HasField("request_vote")
    assert now == due, f"the timer was due at {due:.3f}, the campaign began at {now:.3f}"
