"""Leases, and what a leader does of its own accord, in a whole cluster."""

from __future__ import annotations

from raftstate.consensus.replica import Replica
from raftstate.core import history, kv_queries
from raftstate.core.ports import KeepAliveResult, Unavailable
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.kv_service_pb2 import PutRequest
from raftstate.v1.lease_service_pb2 import GrantRequest
from raftstate.v1.store_pb2 import Command, Outcome
from tests.consensus.bench import Table

TTL_MS = 1_000


class Client:
    """A session of a table's cluster."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.sequence = 0
        leader = table.elect()
        table.write(leader, "s")
        table.until(lambda: "s" in table.answers)
        outcome = table.answers["s"]
        assert isinstance(outcome, Outcome)
        self.opened = outcome.open_session.session.opened_revision

    def request_id(self) -> RequestId:
        self.sequence += 1
        return RequestId(
            session_id="s",
            sequence=self.sequence,
            lowest_unfinished=self.sequence,
            opened_revision=self.opened,
        )

    def write(self, command: Command) -> Outcome:
        """Have a command applied."""
        ticket = ("write", self.sequence)
        self.table.elect().propose(command, ticket)
        self.table.until(lambda: ticket in self.table.answers)
        outcome = self.table.answers[ticket]
        assert isinstance(outcome, Outcome)
        return outcome

    def grant(self) -> None:
        request = GrantRequest(request_id=self.request_id(), ttl_ms=TTL_MS, lease_id=7)
        assert self.write(Command(grant=request)).HasField("grant")

    def put(self, value: bytes, lease_id: int = 0) -> None:
        request = PutRequest(
            request_id=self.request_id(), key=b"k", value=value, lease_id=lease_id
        )
        assert self.write(Command(put=request)).HasField("put")


def stored(replica: Replica) -> bool:
    return kv_queries.get_key(replica._state.store, b"k") is not None


def test_a_lease_lives_while_it_is_kept_alive_and_then_goes_with_its_keys() -> None:
    """
    On every member alike; and the leader says how long it lives on.
    """
    table = Table()
    client = Client(table)
    client.grant()
    client.put(b"1", lease_id=7)
    leader = table.elect()
    for at in range(4):
        table.run(0.5)
        leader.keep_lease(7, ("keep", at))
        leader.lease_left(7, ("left", at))
        table.until(lambda at=at: ("left", at) in table.answers)  # type: ignore[misc]
        assert table.answers["keep", at] == KeepAliveResult(TTL_MS)
        left = table.answers["left", at]
        assert isinstance(left, KeepAliveResult) and left.ttl_ms
        assert 900 <= left.ttl_ms <= TTL_MS
    assert all(stored(replica) for replica in table.replicas.values())

    took = table.until(lambda: not any(stored(each) for each in table.replicas.values()))

    assert 0.9 <= took <= 1.2
    leader.keep_lease(7, "late")
    leader.lease_left(7, "late left")
    table.until(lambda: "late left" in table.answers)
    assert table.answers["late"] == table.answers["late left"] == KeepAliveResult(None)


def test_a_lease_outlives_its_leader() -> None:
    """
    The next one gives it the full ttl; a member that does not lead answers neither.
    """
    table = Table()
    client = Client(table)
    client.grant()
    client.put(b"1", lease_id=7)
    old = table.elect()
    table.run(0.8)
    table.isolate(old.config.member_id)
    table.until(lambda: table.leader() not in (old, None))
    new = table.elect()
    table.run(0.7)
    assert stored(new)
    assert table.until(lambda: not stored(new)) <= 0.5
    follower = next(each for each in table.replicas.values() if each not in (old, new))
    follower.keep_lease(7, "keep")
    follower.lease_left(7, "left")
    table.until(lambda: "left" in table.answers)
    for ticket in ("keep", "left"):
        answer = table.answers[ticket]
        assert isinstance(answer, Unavailable)
        assert (answer.reason, answer.definite) == ("NOT_LEADER", True)


def test_history_is_trimmed_on_every_member_and_an_idle_log_stands_still() -> None:
    """
    To what is kept; then nothing more is written.
    """
    table = Table(history_keep=20)
    client = Client(table)
    for at in range(60):
        client.put(b"%d" % at)
    table.run(2.0)
    leader = table.elect()
    marks = {history.read_mark(each._state.store) for each in table.replicas.values()}
    (mark,) = marks
    revision = leader.status().revision
    assert not mark.has_work
    assert 20 <= revision - mark.oldest <= 31

    last = leader.status().last_index
    table.run(5.0)

    assert leader.status().last_index == last
    assert leader.status().revision == revision
