"""A snapshot on its way to a follower: in pieces, beside heartbeats, past breaks."""

from __future__ import annotations

from collections import Counter

from raftstate.consensus.feeding import RECEIVING_S
from raftstate.consensus.replica import Replica
from raftstate.core.types import MemberId
from raftstate.v1.agent_service_pb2 import CreateAgentRequest
from raftstate.v1.common_pb2 import Label, RequestId
from raftstate.v1.peer_pb2 import Envelope
from raftstate.v1.store_pb2 import Command, Outcome
from tests.consensus.bench import MEMBERS, Table

CHUNK = 2048


def fill(table: Table, agents: int) -> Replica:
    """A state of some size, at a leader that compacts its log behind each few entries."""
    leader = table.elect()
    table.write(leader, "s")
    table.until(lambda: "s" in table.answers)
    opened = table.answers["s"]
    assert isinstance(opened, Outcome)
    for number in range(agents):
        request = CreateAgentRequest(
            request_id=RequestId(
                session_id="s",
                sequence=number + 1,
                lowest_unfinished=number + 1,
                opened_revision=opened.revision,
            ),
            agent_id=f"agent-{number}",
            labels=[Label(name="text", value="x" * 200)],
        )
        leader.propose(Command(create_agent=request), number)
        table.until(lambda number=number: number in table.answers)  # type: ignore[misc]
        answer = table.answers[number]
        assert isinstance(answer, Outcome) and answer.HasField("create_agent"), answer
    return leader


def offsets(table: Table, since: int, peer: MemberId) -> list[int]:
    """Which pieces left for a member."""
    return [
        envelope.install_snapshot.offset
        for _, to, envelope in table.sent[since:]
        if to == peer and envelope.HasField("install_snapshot")
    ]


def behind(table: Table) -> tuple[Replica, MemberId]:
    """A leader, and a follower that needs a snapshot of many pieces."""
    leader = table.elect()
    away = next(m for m in MEMBERS if m != leader.config.member_id)
    table.isolate(away)
    leader = fill(table, 80)
    # Long enough for the leader to see that nobody takes what it has begun to send.
    table.run(RECEIVING_S)
    for number in range(30):
        table.write(leader, f"x{number}")
        table.until(lambda number=number: f"x{number}" in table.answers)  # type: ignore[misc]
    table.until(lambda: leader.status().first_index > 80)
    return leader, away


def test_a_transfer_that_was_interrupted_goes_on_where_it_was() -> None:
    """
    Nothing that has arrived is sent again, but for what was in flight.

    Method: the link breaks once half of the pieces are through, and heals.
    """
    table = Table(compact_entries=20, keep_entries=0, chunk_bytes=CHUNK)
    leader, away = behind(table)
    since = len(table.sent)
    table.heal()
    table.until(lambda: max(offsets(table, since, away), default=0) >= 3 * CHUNK)
    table.isolate(away)
    table.run(0.3)
    broken, arrived = len(table.sent), max(offsets(table, since, away))
    table.heal()
    table.until(lambda: table.replicas[away].status().state_hash == leader.status().state_hash)

    # The question where to go on is a piece from offset 0; after it none is behind.
    asked, *again = offsets(table, broken, away)
    assert asked == 0
    assert again and min(again) >= arrived


def test_a_slow_link_is_not_filled_with_what_is_on_it_already() -> None:
    """
    The first piece is sent again a few times, while nothing is known of the link, and the
    others not at all: what comes behind them would only come later.

    Method: pieces take three seconds each, one behind the other, and everything else is
    quick.
    """
    table = Table(compact_entries=20, keep_entries=0, chunk_bytes=CHUNK)
    _, away = behind(table)
    follower = table.replicas[away]
    receive, free = follower.receive, [0.0]

    def receive_slowly(envelope: Envelope) -> None:
        if envelope.install_snapshot.data:
            free[0] = max(free[0], table.now) + 3.0
            table.after(free[0] - table.now, lambda: receive(envelope))
        else:
            receive(envelope)

    follower.receive = receive_slowly  # type: ignore[method-assign]
    since = len(table.sent)
    table.heal()
    table.until(lambda: follower.status().snapshots_installed == 1, within_s=200.0)

    sent = Counter(offsets(table, since, away))
    del sent[max(sent)]  # the question whether it is installed
    assert sent.pop(0) <= 4
    assert set(sent.values()) == {1}


def test_heartbeats_go_on_beside_a_transfer() -> None:
    """
    The follower that is fed a snapshot sticks to its leader, and so do the others.
    """
    table = Table(compact_entries=20, keep_entries=0, chunk_bytes=256)
    leader, away = behind(table)
    term = leader.status().term
    table.heal()
    table.until(lambda: table.replicas[away].status().snapshots_installed > 0, within_s=20.0)

    assert leader.status().role == "leader"
    assert leader.status().term == term


def test_writes_that_are_faster_than_a_transfer_do_not_make_it_endless() -> None:
    """
    The log is not cut past a snapshot that is being sent, for a while.

    Method: the leader compacts behind each few entries, while a follower takes longer than
    that to get a snapshot, and writes go on all the time.
    """
    table = Table(compact_entries=20, keep_entries=0, chunk_bytes=512)
    leader, away = behind(table)
    table.heal()
    installed = table.replicas[away].status
    for number in range(100):
        table.write(leader, f"on-{number}")
        table.until(lambda number=number: f"on-{number}" in table.answers)  # type: ignore[misc]
    table.until(lambda: installed().applied_index > leader.status().last_index - 20)

    assert installed().snapshots_installed <= 2


def test_who_has_a_snapshot_gets_what_was_written_meanwhile() -> None:
    """
    The log is not cut past a follower as soon as it has installed a snapshot: it would need
    another one, and so on.

    Method: while it installs, more is written than the leader lets its log grow otherwise;
    then entries are late, and the leader has time for a snapshot of its own.
    """
    table = Table(compact_entries=20, keep_entries=0, chunk_bytes=CHUNK)
    leader, away = behind(table)
    follower = table.replicas[away]
    receive, answers = follower.receive, (away, leader.config.member_id)

    def receive_late(envelope: Envelope) -> None:
        delay_s = 0.1 if envelope.append_entries.entries else 0.0
        table.after(delay_s, lambda: receive(envelope))

    follower.receive = receive_late  # type: ignore[method-assign]
    table.heal()
    table.until(lambda: follower.status().snapshots_installed == 1)
    table.cut.add(answers)
    for number in range(30):
        table.write(leader, f"on-{number}")
        table.until(lambda number=number: f"on-{number}" in table.answers)  # type: ignore[misc]
    taken, written = leader.status().snapshots_taken, leader.status().last_index
    table.cut.remove(answers)
    table.until(lambda: follower.status().applied_index >= written)

    assert follower.status().snapshots_installed == 1
    # Then there is nobody to wait for any more.
    table.until(lambda: leader.status().snapshots_taken > taken)


def test_a_snapshot_that_does_not_verify_replaces_nothing() -> None:
    """
    Pieces that were damaged on their way: what is staged is thrown away, the state stays,
    and the transfer begins anew.
    """
    table = Table(compact_entries=20, keep_entries=0, chunk_bytes=CHUNK)
    leader, away = behind(table)
    victim = table.replicas[away]
    held = victim.status().state_hash
    receive = victim.receive
    damaged: list[int] = []

    def flip(envelope: object) -> None:
        piece = getattr(envelope, "install_snapshot", None)
        failed = "SNAPSHOT_FAILED" in dict(victim.status().alarms)
        if piece is not None and piece.data and piece.offset == 0 and not failed:
            damaged.append(piece.offset)
            piece.data = bytes([piece.data[0] ^ 1]) + piece.data[1:]
        receive(envelope)  # type: ignore[arg-type]

    victim.receive = flip  # type: ignore[method-assign]
    table.heal()
    table.until(lambda: "SNAPSHOT_FAILED" in dict(victim.status().alarms))
    assert damaged
    assert victim.status().state_hash == held

    table.until(lambda: victim.status().snapshots_installed > 0)
    table.until(lambda: victim.status().state_hash == leader.status().state_hash)
