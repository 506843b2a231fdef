"""What a leader puts on the wire, and how much of it at once: rows A9 to A12."""

import random
from typing import Any

import pytest

from raftstate.consensus.transport import FRAME_BYTES_MAX
from raftstate.core import limits
from raftstate.core.types import MemberId
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.peer_pb2 import Envelope, InstallSnapshot, SnapshotManifest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import Command
from tests.consensus.gaps import ours, stock
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import StockCluster

TEXT = "x" * 2300
BINARY = random.Random(9).randbytes(120_000)


def commands(cluster: StockCluster, member: str) -> list[bytes]:
    """The commands in the log of a stock node, as they were appended."""
    return [command for command, _, _ in stock.get(cluster.nodes[member], "raftLog")[:]]


def value_for(length: int) -> str:
    """A value whose `set` is a command of so many bytes to the stock class."""
    cluster = StockCluster("a")
    cluster.elect("a")
    cluster.write("a", "k", TEXT)
    cluster.tick()
    return "x" * (length - len(commands(cluster, "a")[-1]) + len(TEXT))


def write_bytes(cluster: OurCluster, data: bytes) -> ours.Answer:
    """Ask a of ours to commit a step that is nothing but large; what it answers."""
    answer = ours.Answer()
    request = CommitStepRequest(checkpoint=NewCheckpoint(data=data))
    cluster.nodes["a"].propose(Command(commit_step=request), answer)
    return answer


def appends(cluster: OurCluster, since: int, peer: str) -> list[Envelope]:
    """AppendEntries with entries that a sent a peer, since so many had been sent."""
    return [
        m
        for s, p, m in cluster.log[since:]
        if (s, p) == ("a", peer) and m.append_entries.entries
    ]


# --- A9: the end of an entry that is sent in pieces -------------------------------


@pytest.mark.parametrize(
    ("batch", "length"),
    [(1024, 2 * 1024 - 5), (1024, 3 * 1024), (65_536, 0)],
    ids=["just below two batches", "three batches", "binary"],
)
@pytest.mark.parametrize("resets", [False, True], ids=["swallows", "resets"])
def test_a09_an_entry_larger_than_a_batch_arrives_whole_and_once(
    batch: int, length: int, resets: bool
) -> None:
    """
    Which piece is the last is decided by the command's length, and what is cut up is its
    pickle, which is longer: an entry is finished too early, and the follower raises. If the
    receiver then resets the connection, the log never gets past that entry.
    """
    theirs = StockCluster("ab", conf={"appendEntriesBatchSizeBytes": batch}, calm=True)
    theirs.elect("a")
    theirs.swallow = True
    answer = theirs.write("a", "k", value_for(length) if length else BINARY)
    seen = 0
    for _ in range(40):
        theirs.advance(0.11)
        theirs.beat("a", "b")
        while any(theirs.links.values()):
            theirs.deliver("a", "b", 1)
            theirs.deliver("b", "a", 1)
            if resets and len(theirs.errors) > seen:
                seen = len(theirs.errors)
                theirs.lose("b")
    pieces = [m["transmission"] for _, _, m in theirs.log if "transmission" in m]
    assert pieces.count("finish") > pieces.count("start")
    assert theirs.errors
    assert answer.succeeded is not resets

    data = BINARY if not length else TEXT.encode()[:length]
    cluster = OurCluster("ab", append_bytes_max=batch)
    cluster.elect("a")
    before = len(cluster.log)
    done = write_bytes(cluster, data)
    cluster.run(1.0, until=lambda: done.succeeded)
    cluster.run(1.0, until=cluster.agree)
    (message,) = appends(cluster, before, "b")
    assert len(message.append_entries.entries) == 1
    assert data in message.append_entries.entries[0].data


# --- A10: a piece without a beginning ---------------------------------------------


def test_a10_a_piece_whose_beginning_was_lost_is_harmless() -> None:
    """
    Pieces do not say of what they are: one whose beginning was lost with a connection
    raises in the middle of the receiver's tick. (Of ours only snapshots come in pieces.)
    """
    theirs = StockCluster("ab", calm=True)
    theirs.elect("a")
    piece = {"transmission": "process", "data": b"x", "prevLogIdx": 2, "prevLogTerm": 1}
    with pytest.raises(TypeError):
        theirs.inject(
            "a", "b", {"type": "append_entries", "term": 1, "commit_index": 1, **piece}
        )

    cluster = OurCluster()
    cluster.elect("a")
    answer = cluster.write("a", "kept")
    cluster.run(1.0, until=lambda: answer.succeeded)
    cluster.run(1.0, until=cluster.agree)
    manifest = SnapshotManifest(name="some", index=1000, term=1, size_bytes=500)
    cluster.hold("c", "a")
    for offset in (100, 400):
        lost = InstallSnapshot(manifest=manifest, offset=offset, data=b"x" * 100)
        cluster.inject("a", "c", cluster.message("a", "c", install_snapshot=lost))
    asked = [m.install_reply.next_offset for m in cluster.links[("c", "a")]]
    assert asked == [0, 0]
    cluster.release("c", "a")
    cluster.run(1.0)
    assert cluster.agree()
    assert cluster.nodes["c"].status().snapshots_installed == 0
    assert sorted(cluster.holders("kept")) == ["a", "b", "c"]


# --- A11: the size of a batch -------------------------------------------------------


def test_a11_a_small_entry_does_not_take_a_huge_one_along() -> None:
    """
    A batch is closed by the entry that goes over its limit, with that entry in it: a small
    and a huge one leave as one message, as large as it likes.
    """
    batch, huge = 10_000, 600_000
    theirs = StockCluster("ab", conf={"appendEntriesBatchSizeBytes": batch}, calm=True)
    theirs.elect("a")
    theirs.write("a", "small")
    theirs.write("a", "huge", "x" * huge)
    theirs.ticks(3)
    sizes = {
        sum(len(command) for command, _, _ in m["entries"])
        for _, _, m in theirs.log
        if len(m.get("entries", ())) > 1
    }
    assert max(sizes) > huge

    cluster = OurCluster(append_bytes_max=batch)
    cluster.elect("a")
    cluster.isolate("c")
    for data in (b"small", b"x" * huge, b"small again"):
        answer = write_bytes(cluster, data)
        cluster.run(1.0, until=lambda answer=answer: answer.succeeded)  # type: ignore[misc]
    before = len(cluster.log)
    cluster.heal()
    cluster.run(5.0, until=cluster.agree)
    sent = [m.append_entries.entries for m in appends(cluster, before, "c")]
    assert max(len(entry.data) for entries in sent for entry in entries) > huge
    for entries in sent:
        assert len(entries) == 1 or sum(len(entry.data) for entry in entries) <= batch


def test_a11_the_largest_message_fits_into_a_frame() -> None:
    """
    Nothing bounds a stock message: one that is over the wire's limit is never replicated.
    Ours is a batch and one entry at most, and an entry one command more than its limit.
    """
    config = OurCluster("a").nodes["a"].config

    largest_entry = config.entry_bytes_max + limits.REQUEST_BYTES_MAX
    assert config.append_bytes_max + largest_entry + (1 << 20) < FRAME_BYTES_MAX


# --- A12: how much is under way ------------------------------------------------------


def test_a12_a_follower_that_does_not_answer_is_not_buried() -> None:
    """
    All that a follower lacks is pushed at it in one tick, answered or not, and counts as
    sent even if it was lost.
    """

    def fall_silent(cluster: StockCluster | OurCluster, count: int) -> int:
        cluster.elect("a")
        cluster.hold("b", "a")
        before = len(cluster.log)
        for number in range(count):
            cluster.write("a", f"k{number}-" + "v" * 50)
            cluster.tick(0.001, only="a")
        cluster.tick(0.2, only="a")
        return before

    theirs = StockCluster("ab", conf={"appendEntriesBatchSizeBytes": 300}, calm=True)
    before = fall_silent(theirs, 300)
    under_way = [m for _, peer, m in theirs.log[before:] if peer == "b" and m["entries"]]
    assert len(under_way) > 50
    following: Any = next(iter(stock.get(theirs.nodes["a"], "raftNextIndex").values()))
    assert following == theirs.end("a") + 1

    cluster = OurCluster("ab", append_bytes_max=300)
    before = fall_silent(cluster, 300)
    assert len(appends(cluster, before, "b")) == cluster.nodes["a"].config.window == 8
    assert cluster.nodes["a"].engine.match_index(MemberId("b")) < cluster.end("a") - 200
    cluster.release("b", "a")
    cluster.run(5.0, until=cluster.agree)
