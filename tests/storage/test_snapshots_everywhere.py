"""What every implementation of `ports.Snapshots` must do: the product's, and the one
that the simulator puts in its place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftstate.core.ports import Base, Identity, SnapshotFailed, StorageError
from raftstate.core.types import Index, Position, Term
from raftstate.v1.peer_pb2 import SnapshotManifest
from tests.sim.disk import SimDisk
from tests.storage.member import CLUSTER, EPOCH, MEMBER, Member, expected, until


class SimMember(Member):
    """A member on a simulated disk, whose work beside the raft thread is done when a
    test lets time go by: at once, or with `slow` at `settle`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.planned: list[Callable[[], None]] = []
        self.slow = False
        self.disk = SimDisk(
            Identity(CLUSTER, EPOCH, MEMBER, "disk"), after=self.plan, rng=random.Random(0)
        )
        opened = self.disk.open(lambda: None)
        self.log, self.state, self.snapshots = opened  # type: ignore[assignment]

    def plan(self, seconds: float, work: Callable[[], None]) -> None:
        if self.slow:
            self.planned.append(work)
        else:
            work()

    def snapshot_names(self) -> set[str]:
        return set(self.disk.snapshots)

    def close(self) -> None:
        self.disk.close()


MEMBERS: list[tuple[str, Callable[[Path], Member]]] = [
    ("lmdb", Member),
    ("simulated", SimMember),
]
Pair = tuple[Member, Member]


@pytest.fixture(params=[made for _, made in MEMBERS], ids=[name for name, _ in MEMBERS])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A leader with 300 entries, and a follower that has the first 10 of them."""
    made: Callable[[Path], Member] = request.param
    leader, follower = made(tmp_path / "leader"), made(tmp_path / "follower")
    leader.write(300, at_a_time=50)
    follower.write(10, at_a_time=10)
    yield leader, follower
    leader.close()
    follower.close()


def test_a_copy_is_of_the_commit_before_it_was_started(pair: Pair) -> None:
    """
    Its manifest says where it stands, and its outcome is given once.
    """
    leader, _ = pair
    leader.snapshots.start_copy(Term(1))
    leader.write(20, at_a_time=10)
    manifest = until(leader.snapshots.poll_copy)

    assert isinstance(manifest, SnapshotManifest)
    assert manifest.name == f"snap-{300:016x}-1"
    assert (manifest.index, manifest.term, manifest.revision) == (300, 1, 300)
    assert (manifest.cluster_id, manifest.cluster_epoch) == (CLUSTER, EPOCH)
    assert leader.snapshots.poll_copy() is None
    assert leader.snapshots.manifest(manifest.name) == manifest
    assert leader.snapshot_names() == {manifest.name}


def test_the_same_state_twice_is_the_same_snapshot(pair: Pair) -> None:
    """
    A name stands for one state, for as long as it is there.
    """
    leader, _ = pair

    assert leader.snapshot() == leader.snapshot()


def test_a_follower_goes_on_from_a_snapshot(pair: Pair) -> None:
    """
    Staged, verified, named, adopted; what it had is gone, and what follows fits.
    """
    leader, follower = pair
    manifest = leader.snapshot()
    follower.install(manifest, leader.bytes_of(manifest))

    assert follower.log.base == ((300, 1), manifest.name)
    assert follower.pairs() == expected(300)
    assert follower.snapshots.manifest(manifest.name) == manifest
    assert follower.bytes_of(manifest) == leader.bytes_of(manifest)
    follower.write(10)
    follower.check()


def test_pieces_at_a_wrong_offset_change_nothing(pair: Pair) -> None:
    """
    The answer says what is wanted: a repeated, early or late piece is harmless, and so
    is one of a snapshot that is here already.
    """
    leader, follower = pair
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    stage = follower.snapshots.stage

    assert stage(manifest, 5_000, image[5_000:6_000]) == 0
    assert stage(manifest, 0, image[:6_000]) == 6_000
    assert stage(manifest, 0, image[:6_000]) == 6_000
    assert stage(manifest, 7_000, image[7_000:]) == 6_000
    assert stage(manifest, 6_000, b"") == 6_000
    assert stage(manifest, 6_000, image[6_000:]) == len(image)
    assert stage(manifest, len(image), b"") == len(image)
    assert until(follower.snapshots.poll_staged) == manifest
    assert follower.snapshots.poll_staged() is None
    assert stage(manifest, 0, image[:6_000]) == len(image)


def test_another_snapshot_drops_what_was_staged(pair: Pair) -> None:
    """
    A newer one has taken its place at the leader.
    """
    leader, follower = pair
    first = leader.snapshot()
    image = leader.bytes_of(first)
    assert follower.snapshots.stage(first, 0, image[:6_000]) == 6_000
    leader.write(5)
    second = leader.snapshot()

    assert follower.snapshots.stage(second, 6_000, image[6_000:7_000]) == 0
    follower.install(second, leader.bytes_of(second))
    assert follower.pairs() == expected(305)


def test_a_flipped_byte_is_refused_and_the_snapshot_is_wanted_anew(pair: Pair) -> None:
    """
    Nothing was replaced, and the same snapshot, whole, is taken afterwards.
    """
    leader, follower = pair
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    spoilt = bytearray(image)
    spoilt[9_000] ^= 1

    failed = follower.stage(manifest, bytes(spoilt))

    assert isinstance(failed, SnapshotFailed)
    assert "digest differs" in str(failed)
    assert follower.snapshot_names() == set()
    assert follower.pairs() == expected(10)
    assert follower.snapshots.stage(manifest, 5_000, image[5_000:6_000]) == 0
    follower.install(manifest, image)
    assert follower.pairs() == expected(300)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cluster_id", "other"), ("cluster_epoch", 2), ("size_bytes", 0), ("index", 299),
     ("size_bytes", 9_000)],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(pair: Pair, field: str, value: object) -> None:
    """
    Of another cluster, empty, misnamed, or shorter than what is sent.
    """
    leader, follower = pair
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    setattr(manifest, field, value)
    offset = 0
    while (outcome := follower.snapshots.poll_staged()) is None:
        offset = follower.snapshots.stage(manifest, offset, image[offset : offset + 10_000])

    assert isinstance(outcome, SnapshotFailed)
    assert follower.snapshot_names() == set()
    assert follower.pairs() == expected(10)


def test_what_is_not_retained_is_deleted(pair: Pair) -> None:
    """
    But never one whose outcome was not fetched: nobody could have named it yet.
    """
    leader, _ = pair
    first = leader.snapshot()
    leader.write(5)
    second = leader.snapshot()
    leader.write(5)
    leader.snapshots.start_copy(Term(1))
    third = f"snap-{310:016x}-1"
    until(lambda: third in leader.snapshot_names())

    leader.snapshots.retain({second.name})

    assert leader.snapshot_names() == {second.name, third}
    assert leader.snapshots.manifest(first.name) is None
    with pytest.raises(StorageError):
        leader.snapshots.read(first.name, 0, 10)


def test_adopting_what_is_missing_stops_the_member(pair: Pair) -> None:
    """
    The log stands on it, so there is nothing else to go on from.
    """
    _, follower = pair

    with pytest.raises(StorageError):
        follower.snapshots.adopt(f"snap-{7:016x}-1")
    assert follower.pairs() == expected(10)


def test_a_snapshot_that_was_dropped_is_wanted_whole(pair: Pair) -> None:
    """
    Staged, and then not retained: should it be sent again, it begins at the beginning.
    """
    leader, follower = pair
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    assert follower.stage(manifest, image) == manifest
    follower.snapshots.retain(set())

    assert follower.snapshots.stage(manifest, 5_000, image[5_000:6_000]) == 0
    follower.install(manifest, image)
    assert follower.pairs() == expected(300)


def test_simulated_work_takes_its_time(tmp_path: Path) -> None:
    """
    Nothing is named before it is done, and what a process leaves behind is never done.
    """
    member = SimMember(tmp_path)
    member.write(3)
    member.slow = True
    member.snapshots.start_copy(Term(1))
    assert member.snapshots.poll_copy() is None
    member.disk.crash(lose_unsynced=False)
    for work in member.planned:
        work()

    assert member.snapshot_names() == set()
    assert member.disk.open(lambda: None).log.base == Base(Position(Index(0), Term(0)), "")
