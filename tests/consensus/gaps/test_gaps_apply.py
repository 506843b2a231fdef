"""Applying: what an entry means, that it happens once, and what its caller is told.

In each pair the stock class is driven to a bad end, and ours is taken through the same
events without it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pysyncobj.syncobj import replicated

from raftstate.consensus.replica import COMMANDS
from raftstate.core import machine
from raftstate.core.poison import PoisonEntry
from raftstate.core.ports import Unavailable
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import Answer, KeyValue, StockCluster, get, put

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
def raising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a session of one name raises, after it has written something."""
    open_session = machine._PLAIN["open_session"]

    def opening(context: Any, request: Any) -> Any:
        if request.session_id == "poison":
            context.store.put(b"half", b"done")
            raise ValueError("poison")
        return open_session(context, request)

    monkeypatch.setitem(machine._PLAIN, "open_session", opening)


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

    stops_at(cluster, index, "a", lambda: cluster.ticks(3))
    assert not poison.succeeded
    # Whoever leads after it stops there too, with the log as it was and started anew.
    for _ in range(2):
        stops_at(cluster, index, "b", lambda: cluster.elect("b"))
        if "a" not in cluster.nodes:
            cluster.start("a")
        cluster.start("b")


def stops_at(
    cluster: OurCluster, index: int, member: str, happen: Callable[[], object]
) -> None:
    """A member's process ends when it comes to an entry, and nothing of that is left."""
    with pytest.raises(PoisonEntry, match=rf"^entry {index} of term \d+ cannot be applied"):
        happen()
    assert cluster.nodes[member].engine.applied_index == index - 1
    cluster.crash(member)
    assert cluster.disks[member].state.store.get(b"half") is None


# --- S17 -----------------------------------------------------------------------


class Newer(KeyValue):
    """A later version, which knows one more method."""

    @replicated(ver=1)  # type: ignore[untyped-decorator]
    def increment_by_two(self, key: str) -> None:
        """What the earlier version does not have."""


def test_s17_an_entry_that_is_not_understood_is_not_passed_over_stock() -> None:
    """
    An entry that switches to a version that a node does not know is passed over and not
    counted, so that the entry behind it is applied twice there.
    """
    cluster = StockCluster("ab", make=Newer, calm=True)
    cluster.make = KeyValue
    cluster.ids.append("c")
    for member in "ab":
        cluster.crash(member)
        cluster.make = Newer
        cluster.start(member)
    cluster.make = KeyValue
    cluster.start("c")
    cluster.elect("a")
    cluster.nodes["a"].setCodeVersion(1)
    cluster.nodes["a"].increment("n")
    cluster.nodes["a"].increment("n")
    cluster.ticks(5)

    counts = {member: node.data["n"] for member, node in cluster.nodes.items()}
    assert counts == {"a": 2, "b": 2, "c": 3}
    assert cluster.nodes["c"].raftLastApplied == cluster.nodes["a"].raftLastApplied


@pytest.mark.parametrize(
    "data",
    [
        COMMANDS + b"\xff\xff",
        b"\x7f\xff\xff",
        b"\xff",
        b"\x7f" + LogEntry(wall_time_ms=7).SerializeToString(),
    ],
)
def test_s17_an_entry_that_is_not_understood_is_not_passed_over(data: bytes) -> None:
    """
    The same with ours: entries are counted by their index, and one that makes no sense
    stops the process there, before anything behind it is applied.
    """
    cluster = OurCluster()
    cluster.elect("a")
    index = cluster.nodes["a"].engine.append(data).index
    cluster.write("a", "behind")

    with pytest.raises(PoisonEntry, match=rf"^entry {index} of term"):
        cluster.ticks(3)

    assert cluster.nodes["a"].engine.applied_index == index - 1
    assert not cluster.has("a", "behind")


# --- S18 -----------------------------------------------------------------------


class Larger(KeyValue):
    """The same class with two more methods, whose names come first in the alphabet."""

    @replicated  # type: ignore[untyped-decorator]
    def append(self, key: str, value: Any) -> None:
        """A new method."""
        self.data[key] = f"appended {value}"

    @replicated  # type: ignore[untyped-decorator]
    def delete(self, key: str, value: Any = None) -> None:
        """Another."""
        self.data.pop(key, None)


def test_s18_a_new_command_does_not_change_what_an_old_entry_means_stock(
    tmp_path: Path,
) -> None:
    """Methods are numbered by the order of their names: an old entry calls another one."""
    cluster = StockCluster("a", journals=tmp_path)
    cluster.run(5.0, until=cluster.leader)
    answer = cluster.write("a", "k", "kept")
    cluster.ticks(15)
    assert answer.succeeded
    assert cluster.nodes["a"].data == {"k": "kept"}
    cluster.crash("a")
    cluster.make = Larger
    cluster.start("a")

    cluster.beat("a")

    assert cluster.nodes["a"].raftLastApplied > 2
    assert cluster.nodes["a"].data != {"k": "kept"}


def test_s18_a_new_command_does_not_change_what_an_old_entry_means() -> None:
    """
    The same with ours: a command is known by its field number, which no other gets; a
    version with more commands reads the old entries alike, and writes them alike.
    """
    newer = newer_log_entry()
    old = LogEntry(log_time_ms=5, commands=[Command(open_session=OpenSessionRequest())])
    old.commands[0].open_session.session_id = "s"
    data = old.SerializeToString(deterministic=True)

    read = newer.FromString(data)

    assert [command.WhichOneof("body") for command in read.commands] == ["open_session"]
    assert read.commands[0].open_session.session_id == "s"
    assert read.SerializeToString(deterministic=True) == data
    # And as it has been written since the first release, byte for byte.
    assert COMMANDS + data == bytes.fromhex("00 0805 1a05 0a03 0a01 73".replace(" ", ""))


def newer_log_entry() -> Any:
    """LogEntry as a later version has it, whose commands begin with a new one."""
    pool = descriptor_pool.DescriptorPool()

    def add(file: Any) -> None:
        for dependency in file.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        for message in proto.message_type:
            if (proto.package, message.name) == ("raftstate.v1", "Command"):
                new = message.field.add()
                new.CopyFrom(message.field[0])
                new.name, new.json_name = "abolish_agent", "abolishAgent"
                new.number = 1 + max(field.number for field in message.field)
                ordered = [new, *message.field[:-1]]
                copies = [
                    descriptor_pb2.FieldDescriptorProto.FromString(f.SerializeToString())
                    for f in ordered
                ]
                del message.field[:]
                message.field.extend(copies)
        pool.Add(proto)

    add(LogEntry.DESCRIPTOR.file)
    found = pool.FindMessageTypeByName(LogEntry.DESCRIPTOR.full_name)
    return message_factory.GetMessageClass(found)


# --- S27 -----------------------------------------------------------------------


def test_s27_an_answer_belongs_to_the_request_it_was_made_for_stock() -> None:
    """
    Each process numbers its forwarded commands from 1, so the answer to one from before a
    restart is taken for the answer to another, which is nowhere.
    """
    cluster = StockCluster(calm=True)
    cluster.elect("a")
    cluster.write("b", "before")
    cluster.beat("b")
    early = list(cluster.links[("b", "a")])
    memory = get(cluster.nodes["b"], "raftLog")
    cluster.crash("b")
    put(cluster.start("b"), "raftLog", memory)
    cluster.ticks(2)
    answer = cluster.write("b", "after")
    cluster.beat("b")
    cluster.links[("b", "a")].clear()  # this one is lost,
    cluster.links[("b", "a")].extend(early)  # and that one arrives
    cluster.ticks(8)

    assert answer.succeeded
    assert cluster.holders("after") == []
    assert cluster.holders("before") == ["a", "b", "c"]


def test_s27_an_answer_belongs_to_the_request_it_was_made_for() -> None:
    """
    The same with ours: nothing is forwarded, so no answer to one can be taken for that to
    another: the caller is sent to the leader.
    """
    cluster = OurCluster()
    cluster.elect("a")
    sent = len(cluster.log)
    cluster.write("b", "before")
    cluster.beat("b")
    assert cluster.log[sent:] == []
    cluster.crash("b")
    cluster.start("b")
    cluster.ticks(2)
    answer = cluster.write("b", "after")
    cluster.ticks(8)

    (told,) = answer.results
    assert isinstance(told, Unavailable)
    assert (told.reason, told.definite, told.leader) == ("NOT_LEADER", True, "a")
    assert cluster.holders("after") == cluster.holders("before") == []
