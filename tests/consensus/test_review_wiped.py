"""Review: a voter that lost its disk votes and acknowledges as if nothing had happened."""

import random

from raftstate.core.ports import Identity
from raftstate.v1.session_service_pb2 import OpenSessionResponse
from raftstate.v1.store_pb2 import Outcome
from raftstate.core import queries
from tests.consensus.bench import MEMBERS, Table
from tests.sim.disk import SimDisk


def test_an_acknowledged_write_survives_the_loss_of_one_disk() -> None:
    """
    GUARANTEES, Durability: it "survives the loss of any minority of members, disks
    included". One disk of three is lost, its member is started again under its name on an
    empty folder, and then the leader is away for a while.
    """
    table = Table()
    leader = table.elect()
    me = leader.config.member_id
    wiped, behind = (m for m in MEMBERS if m != me)
    table.isolate(behind)
    table.write(leader, "acknowledged")
    table.until(lambda: "acknowledged" in table.answers)
    assert isinstance(table.answers["acknowledged"], Outcome)

    # The disk of one member is replaced, and the leader's process goes away.
    table.paused |= {me}
    table.disks[wiped] = SimDisk(
        Identity("test", 1, wiped, "another-disk"),
        after=table.after,
        rng=random.Random(1),
        members=MEMBERS,
    )
    table.replicas[wiped] = table._start(wiped)
    for one in MEMBERS:
        for other in MEMBERS:
            if one != other:
                table.replicas[one].peer_disconnected(other)
                table.replicas[one].peer_connected(other)
    table.cut.clear()
    table.run(2.0)
    successor = table.leader()
    if successor is not None:  # having none is right: a majority may have lost it
        store = successor._state.store
        assert queries.get_session(store, "acknowledged") is not None, "it is lost"
