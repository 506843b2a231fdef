"""A step takes up a bounded number of bytes, however much waits."""

from raftstate.consensus.replica import UNCOMMITTED_BYTES_MAX
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command
from tests.consensus.bench import Table


def test_one_step_appends_no_more_than_the_bound() -> None:
    """
    Many large commands wait at once. What a step takes up goes into one commit of the
    log: the rest has to wait until some of it is committed.
    """
    table = Table()
    leader = table.elect()
    for number in range(200):
        request = OpenSessionRequest(session_id=f"s{number}", client="x" * (1 << 20))
        leader.propose(Command(open_session=request), number)
    before = leader._log.size_bytes
    leader.step(table.now)
    appended = leader._log.size_bytes - before
    assert appended <= UNCOMMITTED_BYTES_MAX + (4 << 20), f"{appended >> 20} MiB in one step"
