"""Applying: what an entry means, that it happens once, and what its caller is told.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pysyncobj.syncobj import replicated

from raftstate.consensus.replica import COMMANDS
from raftstate.core import machine
from raftstate.core.poison import PoisonEntry
from raftstate.core.types import MemberId
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import Answer, KeyValue, StockCluster

# --- S15 -----------------------------------------------------------------------


def test_s15_a_raising_caller_makes_nothing_happen_twice_stock() -> None:
    """
    An exception in a caller's callback comes before the entry is counted: it is applied a
    second time, on this node only.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")

    def cancelled(result: object, error: object) -> None:
        raise RuntimeError("the caller is gone")

    cluster.nodes["a"].increment("n", callback=cancelled)
    cluster.swallow = True
    cluster.ticks(6)

    assert [str(error) for _, error in cluster.errors] == ["the caller is gone"]
    assert {member: node.data["n"] for member, node in cluster.nodes.items()} == {
        "a": 2,
        "b": 1,
        "c": 1,
    }


def test_s15_a_raising_caller_makes_nothing_happen_twice() -> None:
    """
    The same with ours: callers are told after the commit, so an exception stops the
    process, and the entry is applied once.
    """
    cluster = OurCluster()
    cluster.elect("a")
    revision = cluster.nodes["a"].status().revision

    def broken(batch: object) -> None:
        raise RuntimeError("the caller is gone")

    cluster.nodes["a"]._deliver = broken
    cluster.write("a", "x")
    with pytest.raises(RuntimeError, match="the caller is gone"):
        cluster.ticks(6)

    cluster.crash("a")
    cluster.start("a")
    cluster.elect("b")
    cluster.run(2.0, until=cluster.agree)
    assert cluster.holders("x") == ["a", "b", "c"]
    assert {node.status().revision for node in cluster.nodes.values()} == {revision + 1}


# --- S16 -----------------------------------------------------------------------


class Poisonous(KeyValue):
    """Has a method that begins, and then raises."""

    @replicated  # type: ignore[untyped-decorator]
    def half(self, key: str) -> None:
        """Count, and raise."""
        self.data[key] = self.data.get(key, 0) + 1
        raise ValueError("poison")


def test_s16_a_raising_command_is_not_half_done_again_and_again_stock(tmp_path: Path) -> None:
    """
    A raising command is tried again in each tick, and has half its effect each time; its
    leader sends no heartbeat meanwhile, and neither does the next.
    """
    cluster = StockCluster(journals=tmp_path, make=Poisonous, calm=True)
    cluster.elect("a")
    answer, after = Answer(), Answer()
    cluster.nodes["a"].half("n", callback=answer)
    cluster.nodes["a"].set("after", 1, callback=after)
    cluster.swallow = True
    cluster.ticks(3)
    sent, runs = len(cluster.log), cluster.nodes["a"].data["n"]
    cluster.ticks(10)

    assert cluster.nodes["a"].data["n"] >= runs + 10
    assert not [sender for sender, _, _ in cluster.log[sent:] if sender == "a"]
    assert not answer.done and not after.done
    for member in "ab":
        cluster.crash(member)
    cluster.errors.clear()
    cluster.start("b")
    cluster.campaign("c")
    cluster.pump()
    cluster.ticks(10)
    assert len([member for member, _ in cluster.errors if member == "c"]) > 5


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Opening a session of one name raises, after it has written something."""
    open_session = machine._PLAIN["open_session"]

    def opening(context: Any, request: Any) -> Any:
        if request.session_id == "poison":
            context.store.put(b"half", b"done")
            raise ValueError("poison")
        return open_session(context, request)

    monkeypatch.setitem(machine._PLAIN, "open_session", opening)
    yield


@pytest.mark.usefixtures("raising")
def test_s16_a_raising_command_is_not_half_done_again_and_again() -> None:
    """
    The same with ours: each member stops at the entry, names it, and has nothing of it in
    its state. (How it is passed over: tests/consensus/test_replica_poison.py.)
    """
    cluster = OurCluster()
    cluster.elect("a")
    before = cluster.write("a", "before")
    cluster.ticks(3)
    assert before.succeeded
    poison = cluster.write("a", "poison")
    cluster.beat("a")
    index = cluster.end("a")

    for member in "abc":
        with pytest.raises(PoisonEntry, match=rf"^entry {index} of term \d+ cannot be applied"):
            cluster.ticks(3)
        # The first is the leader, who stops before it tells the others of the commit.
        stopped = next(m for m in "abc" if m in cluster.nodes and halted(cluster, m, index))
        cluster.crash(stopped)
        assert cluster.disks[stopped].state.store.get(b"half") is None
        if member == "a":
            assert stopped == "a"
            cluster.elect_among("bc")
        elif member == "b":
            break
    assert not poison.succeeded


def halted(cluster: OurCluster, member: str, index: int) -> bool:
    """Whether a member has begun to apply an entry and did not come to its end."""
    engine = cluster.nodes[member].engine
    return engine.commit_index >= index and engine.applied_index == index - 1
