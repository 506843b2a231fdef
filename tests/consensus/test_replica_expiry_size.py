"""What the tenure proposes keeps the bound of a log entry."""

from raftstate.core.types import Index
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command
from tests.consensus.bench import Table


def test_many_expiries_at_once_keep_the_bound_of_an_entry() -> None:
    """
    A log entry must stay below a frame (8 MiB): `PeerTransport.send` raises
    AssertionError for a larger one, on the raft thread, which ends the process; and so
    do its successors, one ttl after each takes office.
    """
    bound = 2_000
    table = Table(entry_bytes_max=bound)
    leader = table.elect()
    for number in range(400):
        name = f"{number:064d}"
        opening = OpenSessionRequest(session_id=name, ttl_ms=1000)
        leader.propose(Command(open_session=opening), name)
    table.run(0.5)
    first = Index(leader.status().last_index + 1)
    table.run(1.5)

    sizes = [len(entry.data) for entry in leader._log.read(first, 1 << 30)]
    assert max(sizes) <= 2 * bound, sizes
