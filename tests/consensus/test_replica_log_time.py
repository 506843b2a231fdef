"""Log time goes on under a leader that came back by snapshot."""

from raftstate.v1.peer_pb2 import Envelope, TimeoutNow
from tests.consensus.bench import MEMBERS, Table


def test_log_time_goes_on_under_a_leader_that_came_back_by_snapshot() -> None:
    """
    "Log time goes on through an election": also if the new leader has the state from a
    snapshot, and applied no entry since that carries a stamp.
    """
    table = Table(compact_entries=5, keep_entries=1)
    leader = table.elect()
    behind = next(m for m in MEMBERS if m != leader.config.member_id)
    table.isolate(behind)
    # The cluster lives for an hour; the one behind was started (again) only now.
    for replica in table.replicas.values():
        if replica.config.member_id != behind:
            replica._stamp_base += 3_600_000
    number = 0
    while leader.status().snapshots_taken < 2:
        number += 1
        table.write(leader, f"s{number}")
        table.until(lambda n=number: f"s{n}" in table.answers)  # type: ignore[misc]
        table.run(0.3)
    table.heal()
    successor = table.replicas[behind]
    table.until(lambda: successor.status().snapshots_installed == 1)
    table.until(lambda: successor.status().applied_index == leader.status().applied_index)
    before = successor._machine.log_time_ms
    assert before >= 3_600_000

    leader.engine._send(behind, Envelope(timeout_now=TimeoutNow()))
    table.until(lambda: successor.status().role == "leader" and successor.status().ready)
    table.run(1.0)
    table.write(successor, "later")
    table.until(lambda: "later" in table.answers)

    assert successor._machine.log_time_ms >= before + 900
