"""Followers sync while the leader does: AppendEntries leave before its own commit."""

import random
import socket
import threading
import time
from typing import Any

from raftstate.consensus.node import RaftNode, Waker
from raftstate.consensus.replica import ReplicaConfig
from raftstate.core.ports import Identity
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command
from tests.consensus.bench import MEMBERS
from tests.sim.disk import SimDisk

COMMIT_S = 0.06


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def slow(log: Any) -> None:
    """Let each commit that holds entries take a while."""
    append, commit = log.append, log.commit
    dirty = [False]

    def appending(entry: Any) -> None:
        dirty[0] = True
        append(entry)

    def committing() -> None:
        if dirty[0]:
            time.sleep(COMMIT_S)
        dirty[0] = False
        commit()

    log.append, log.commit = appending, committing


def test_leader_and_followers_sync_at_the_same_time() -> None:
    """A write costs about one sync, not the leader's and then the follower's."""
    ports = {member: free_port() for member in MEMBERS}
    answered = threading.Event()
    nodes = []
    for me in MEMBERS:
        disk = SimDisk(
            Identity("t", 1, me, f"disk-{me}"),
            after=lambda *_: None,
            rng=random.Random(me),
        )
        opened = disk.open(lambda: None)
        slow(opened.log)
        config = ReplicaConfig(
            me, MEMBERS, heartbeat_s=0.1, election_min_s=1.0, election_max_s=2.0
        )
        nodes.append(
            RaftNode(
                config,
                log=opened.log,
                state=opened.state,
                snapshots=opened.snapshots,
                listen=f"127.0.0.1:{ports[me]}",
                advertised=f"127.0.0.1:{ports[me]}",
                peers={m: f"127.0.0.1:{port}" for m, port in ports.items() if m != me},
                dial={},
                tls=None,
                deliver=lambda _: answered.set(),
                on_fatal=lambda error: print(repr(error)),
                waker=Waker(),
            )
        )
    for node in nodes:
        node.start()
    try:
        until = time.monotonic() + 10.0
        leader = None
        while leader is None and time.monotonic() < until:
            time.sleep(0.05)
            ready = [n for n in nodes if n.status().role == "leader" and n.status().ready]
            leader = ready[0] if ready else None
        assert leader is not None
        time.sleep(0.4)
        took = []
        for number in range(5):
            answered.clear()
            began = time.monotonic()
            request = OpenSessionRequest(session_id=f"s{number}")
            leader.propose(Command(open_session=request), f"s{number}")
            assert answered.wait(5.0)
            took.append(time.monotonic() - began)
            time.sleep(0.15)
    finally:
        for node in nodes:
            node.stop(0.1)
    assert min(took) < 1.7 * COMMIT_S, [f"{each * 1000:.0f} ms" for each in took]
