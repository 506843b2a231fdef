"""Who stops waiting before anybody looked is not granted anything later."""

from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_IF_FREE,
    ACQUIRE_MODE_WAIT,
    AcquireOwnershipRequest,
    ReleaseOwnershipRequest,
)
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.store_pb2 import Command
from tests.consensus.bench import Table


def request_id(session: str, opened: int, sequence: int) -> RequestId:
    return RequestId(
        session_id=session,
        opened_revision=opened,
        sequence=sequence,
        lowest_unfinished=sequence,
    )


def test_who_goes_away_before_the_step_is_not_granted_anything_later() -> None:
    """
    Consensus.abandon "takes it out of the queue": also when the proposal is still in the
    replica's own queue (a caller cancelled while the raft thread was in a commit).
    """
    table = Table()
    leader = table.elect()
    opened = {}
    for name in ("owner", "ghost"):
        table.write(leader, name)
        table.until(lambda n=name: n in table.answers)  # type: ignore[misc]
        opened[name] = table.answers[name].revision  # type: ignore[union-attr]
    own = AcquireOwnershipRequest(
        request_id=request_id("owner", opened["owner"], 1),
        agent_id="agent",
        mode=ACQUIRE_MODE_IF_FREE,
        create=True,
    )
    leader.propose(Command(acquire_ownership=own), "own")
    table.until(lambda: "own" in table.answers)
    fence = table.answers["own"].acquire_ownership.ownership.fence  # type: ignore[union-attr]

    wait = AcquireOwnershipRequest(
        request_id=request_id("ghost", opened["ghost"], 1),
        agent_id="agent",
        mode=ACQUIRE_MODE_WAIT,
    )
    leader.propose(Command(acquire_ownership=wait), "wait")
    leader.abandon("wait")  # before any step has looked at it
    table.run(0.1)
    release = ReleaseOwnershipRequest(
        request_id=request_id("owner", opened["owner"], 2), agent_id="agent", fence=fence
    )
    leader.propose(Command(release_ownership=release), "release")
    table.until(lambda: "release" in table.answers)
    table.run(0.2)

    assert "wait" not in table.answers, table.answers["wait"]
