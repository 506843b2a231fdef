"""What callers are told, and what becomes of their commands: rows C1 to C3."""

import fcntl
from pathlib import Path
from typing import Any

import pytest

from raftstate.consensus import replica
from raftstate.consensus.node import Waker
from raftstate.core import queries
from raftstate.core.types import MemberId
from raftstate.v1.agent_service_pb2 import CreateAgentRequest
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.store_pb2 import Command, Outcome
from tests.consensus.gaps import ours, stock
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import StockCluster

UNKNOWN = [("OUTCOME_UNKNOWN", False)]
MINUTE = 600  # ticks of 0.11 s


# --- C1: callers that wait for ever ----------------------------------------------


def depose(cluster: StockCluster | OurCluster, writes: int) -> list[Any]:
    """The leader a is cut off with writes of its own, and b leads; what the writers hold."""
    cluster.elect("a")
    cluster.isolate("a")
    waiting: list[Any] = []
    for number in range(writes):
        waiting.append(cluster.write("a", f"k{number}"))
        cluster.tick(0.01)
    cluster.elect("b")
    return waiting


def test_c01_a_deposed_leader_answers_everybody() -> None:
    """
    Whoever waits for an entry beyond the new leader's log is never answered: nothing is
    applied there, and nothing else calls back.
    """
    theirs = StockCluster(calm=True)
    waiting = depose(theirs, 5)
    theirs.heal()
    theirs.ticks(MINUTE)
    assert waiting[0].results == [(None, "DISCARDED")]
    assert not any(answer.done for answer in waiting[1:])

    cluster = OurCluster()
    waiting = depose(cluster, 5)
    cluster.heal()
    cluster.run(2.0, until=lambda: all(answer.done for answer in waiting))
    assert [answer.reasons for answer in waiting] == [UNKNOWN] * 5


def test_c01_a_snapshot_does_not_jump_over_who_waits(tmp_path: Path) -> None:
    """
    Whoever waits for an entry that a snapshot replaces is never answered, and is kept.
    """
    theirs = StockCluster(journals=tmp_path, calm=True)
    waiting = depose(theirs, 5)
    for number in range(30):
        theirs.write("b", f"z{number}")
    theirs.ticks(4)
    theirs.nodes["b"].forceLogCompaction()
    theirs.ticks(3)
    theirs.heal()
    theirs.ticks(30)
    assert theirs.nodes["a"].raftLastApplied > 20
    assert not any(answer.done for answer in waiting[1:])
    assert stock.get(theirs.nodes["a"], "commandsWaitingCommit")

    cluster = OurCluster(compact_entries=10, keep_entries=2)
    waiting = depose(cluster, 5)
    for number in range(30):
        cluster.write("b", f"z{number}")
        cluster.tick()
    cluster.run(5.0, until=lambda: cluster.nodes["b"].status().first_index > 20)
    cluster.heal()
    cluster.run(5.0, until=cluster.agree)
    assert cluster.nodes["a"].status().snapshots_installed >= 1
    assert [answer.reasons for answer in waiting] == [UNKNOWN] * 5
    assert cluster.nodes["a"]._proposed == {}


def test_c01_nothing_is_forwarded_and_so_nothing_is_lost_on_the_way() -> None:
    """
    A command that a follower forwards may be lost while the leader stays: its caller waits
    for ever.
    """
    theirs = StockCluster(calm=True)
    theirs.elect("a")
    answer = theirs.write("b", "forwarded")
    theirs.beat("b")
    theirs.links[("b", "a")].clear()
    theirs.ticks(MINUTE)
    assert not answer.done

    cluster = OurCluster()
    cluster.elect("a")
    refused = cluster.write("b", "not-forwarded")
    cluster.beat("b")
    assert refused.reasons == [("NOT_LEADER", True)]
    (told,) = refused.results
    assert getattr(told, "leader", None) == "a"


# --- C2: answers that mislead ------------------------------------------------------


def create(request_id: RequestId) -> Command:
    """A command that happens once: a second agent of the name is refused."""
    return Command(create_agent=CreateAgentRequest(request_id=request_id, agent_id="agent"))


def test_c02_a_retry_of_what_happened_does_not_happen_again() -> None:
    """
    A forwarded command that was applied is answered with LEADER_CHANGED when its answer is
    lost; a caller that takes it at its word applies it twice.
    """
    theirs = StockCluster(calm=True)
    theirs.elect("a")
    first, retry = stock.Answer(), stock.Answer()
    theirs.nodes["b"].increment("n", callback=first)
    theirs.beat("b")
    theirs.deliver("b", "a")
    theirs.cut("a", "b", both=False)
    theirs.ticks(5)
    theirs.isolate("a")
    theirs.elect("c")
    assert first.results == [(None, "LEADER_CHANGED")]
    theirs.nodes["b"].increment("n", callback=retry)
    theirs.ticks(8)
    assert retry.succeeded
    assert theirs.nodes["c"].data["n"] == 2

    cluster = OurCluster()
    cluster.elect("a")
    opened = cluster.write("a", "s")
    cluster.run(1.0, until=lambda: opened.succeeded)
    (outcome,) = opened.results
    assert isinstance(outcome, Outcome)
    session = outcome.open_session.session
    request_id = RequestId(session_id="s", sequence=1, opened_revision=session.opened_revision)
    unknown, again = ours.Answer(), ours.Answer()
    cluster.nodes["a"].propose(create(request_id), unknown)
    cluster.beat("a")
    cluster.deliver("a", "b")
    cluster.deliver("a", "c")  # everybody has it ...
    cluster.isolate("a")  # ... and the leader never hears of it
    cluster.elect("c")
    cluster.heal()
    cluster.run(3.0, until=lambda: unknown.done)
    assert unknown.reasons == UNKNOWN
    cluster.nodes["c"].propose(create(request_id), again)
    cluster.run(3.0, until=lambda: again.succeeded)
    (outcome,) = again.results
    assert isinstance(outcome, Outcome)
    assert outcome.WhichOneof("result") == "create_agent", outcome
    cluster.run(3.0, until=cluster.agree)


def test_c02_a_command_that_arrives_twice_happens_once() -> None:
    """
    A forwarded command that the network delivers twice is appended twice, and the caller is
    answered once.
    """
    theirs = StockCluster(calm=True)
    theirs.elect("a")
    answer = stock.Answer()
    theirs.nodes["b"].increment("n", callback=answer)
    theirs.beat("b")
    theirs.links[("b", "a")].append(theirs.links[("b", "a")][-1])
    theirs.ticks(8)
    assert answer.succeeded
    assert theirs.nodes["a"].data["n"] == 2

    cluster = OurCluster()
    cluster.elect("a")
    opened = cluster.write("a", "s")
    cluster.run(1.0, until=lambda: opened.succeeded)
    (outcome,) = opened.results
    assert isinstance(outcome, Outcome)
    request_id = RequestId(
        session_id="s",
        sequence=1,
        opened_revision=outcome.open_session.session.opened_revision,
    )
    both = [ours.Answer(), ours.Answer()]
    for told in both:
        cluster.nodes["a"].propose(create(request_id), told)
    cluster.run(1.0, until=lambda: all(told.succeeded for told in both))
    bodies = {told.results[0].WhichOneof("result") for told in both}  # type: ignore[union-attr]
    assert bodies == {"create_agent"}
    with cluster.nodes["a"]._state.view() as reader:
        assert queries.get_agent(reader, "agent") is not None


def test_c02_a_command_that_was_refused_does_not_happen_later() -> None:
    """
    A command that nobody could take is kept, and carried out whenever a leader appears, long
    after its caller has gone.
    """
    theirs = StockCluster(calm=True)
    answer = theirs.write("b", "ancient")
    theirs.ticks(3000)  # 330 s
    assert not answer.done
    theirs.elect("a")
    theirs.ticks(6)
    assert "a" in theirs.holders("ancient")

    cluster = OurCluster()
    cluster.elect("a")
    for member in "abc":
        cluster.isolate(member)
    cluster.run(3.0, until=lambda: not cluster.leaders())
    refused = cluster.write("b", "ancient")
    cluster.tick()
    assert refused.done
    assert all(definite for _, definite in refused.reasons) and refused.reasons
    cluster.heal()
    cluster.elect("c")
    cluster.run(3.0, until=cluster.agree)
    assert cluster.holders("ancient") == []


def test_c02_what_is_refused_at_the_door_was_not_let_in() -> None:
    """
    With batches off each call writes a byte into a pipe: when that is full the call raises,
    after its command was queued, and it is carried out all the same. (The pipe is made
    small here; it holds 65,536 calls.)
    """
    theirs = StockCluster("a", conf={"appendEntriesUseBatch": False}, calm=True)
    node = theirs.elect("a")
    pipe = stock.get(node, "pipeNotifier")
    held = fcntl.fcntl(pipe._PipeNotifier__pipeW, fcntl.F_SETPIPE_SZ, 4096)
    for _ in range(held):
        node.increment("n")
    with pytest.raises(BlockingIOError):
        node.increment("n")
    theirs.run(60.0, until=lambda: node.data.get("n", 0) > held)
    assert node.data["n"] == held + 1

    waker = Waker()
    for _ in range(2 * held):  # nobody reads
        waker.wake()
    waker.drain()
    waker.close()
    cluster = OurCluster(queue_max=10)
    cluster.elect("a")
    answers = [cluster.write("a", f"k{number}") for number in range(15)]
    cluster.run(1.0, until=lambda: all(answer.done for answer in answers))
    assert [answer.succeeded for answer in answers] == [True] * 10 + [False] * 5
    assert {reason for answer in answers[10:] for reason in answer.reasons} == {
        ("OVERLOADED", True)
    }
    assert [cluster.has("a", f"k{number}") for number in range(15)] == [True] * 10 + [False] * 5


# --- C3: how much may wait -----------------------------------------------------------


def test_c03_a_leader_without_a_quorum_takes_a_bounded_amount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The limit on queued commands does not hold for the log: a leader that is cut off takes
    commands until its memory is full.
    """
    limit = 10
    theirs = StockCluster(conf={"commandsQueueSize": limit}, calm=True)
    node = theirs.elect("a")
    theirs.isolate("a")
    for _ in range(50):
        for number in range(limit):
            theirs.write("a", f"k{number}")
        theirs.tick(0.1)
    assert theirs.end("a") - node.raftCommitIndex == 50 * limit
    assert theirs.role("a") == "leader"

    monkeypatch.setattr(replica, "UNCOMMITTED_BYTES_MAX", 1000)
    cluster = OurCluster(queue_max=limit)
    cluster.elect("a")
    cluster.isolate("a")
    answers = []
    for turn in range(50):
        answers += [cluster.write("a", f"k{turn}-{number}") for number in range(limit)]
        cluster.tick(0.02)
    engine = cluster.nodes["a"].engine
    assert engine.leads  # not yet noticed: this is the worst of it
    assert engine.log.size_bytes < 3000
    assert len(cluster.nodes["a"]._proposals) <= limit
    cluster.run(3.0, until=lambda: not engine.leads)
    cluster.tick()
    assert all(len(answer.results) == 1 for answer in answers)
    assert MemberId("a") not in cluster.leaders()
