"""Snapshots: taken, sent, verified, adopted; and whatever is wrong changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import lmdb
import pytest

from raftstate.core import queries
from raftstate.core.ports import Damage, SnapshotFailed, StorageError
from raftstate.core.types import Term
from raftstate.storage import snapshots as snapshots_module
from raftstate.storage.files import free_bytes
from raftstate.storage.images import Found, ImageDamaged
from raftstate.v1.peer_pb2 import SnapshotManifest
from tests.storage.member import MAP_BYTES, Member, expected, readers_hang, until


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Member]:
    """A member with 300 entries."""
    member = Member(tmp_path / "leader")
    member.write(300, at_a_time=50)
    yield member
    member.close()


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Member]:
    """A member that has the first 10 of them."""
    member = Member(tmp_path / "follower")
    member.write(10, at_a_time=10)
    yield member
    member.close()


def leftovers(member: Member) -> set[str]:
    """What is in the snapshots' folder and is no snapshot."""
    folder = member.data_dir / "snapshots"
    return {path.name for path in folder.iterdir()} - member.snapshot_names()


def unchanged(member: Member) -> None:
    """Nothing was replaced, and nothing was named."""
    assert member.snapshot_names() == set()
    assert member.log.base.snapshot == ""
    assert member.pairs() == expected(10)
    until(lambda: not leftovers(member))


def wrong(manifest: SnapshotManifest, **fields: object) -> SnapshotManifest:
    """The manifest with other fields."""
    other = SnapshotManifest()
    other.CopyFrom(manifest)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


# --- taking ------------------------------------------------------------------


@pytest.mark.parametrize("here_bytes", [1 << 30, 0], ids=["here", "apart"])
def test_a_snapshot_says_what_it_is(
    leader: Member, monkeypatch: pytest.MonkeyPatch, here_bytes: int
) -> None:
    """
    All of the manifest is read from the copy itself, or computed from its bytes; the
    same whether it is examined in this process or in another.
    """
    monkeypatch.setattr(snapshots_module, "_EXAMINED_HERE_BYTES", here_bytes)
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    with leader.state.view() as reader:
        state_hash = queries.state_hash(reader)
    assert manifest == SnapshotManifest(
        name=f"snap-{300:016x}-1",
        cluster_id="cluster",
        cluster_epoch=1,
        index=300,
        term=1,
        revision=300,
        size_bytes=len(image),
        digest=blake2b(image, digest_size=32).digest(),
        state_hash=state_hash,
    )
    assert leader.snapshots.manifest(manifest.name) == manifest
    assert leader.snapshot_names() == {manifest.name}
    assert leader.snapshots.poll_copy() is None
    until(lambda: not leftovers(leader))


def test_a_snapshot_is_of_the_commit_before_it_was_started(leader: Member) -> None:
    """
    Writes go on beside the copy, and are not in it.
    """
    leader.snapshots.start_copy(Term(1))
    leader.write(20, at_a_time=10)
    manifest = until(leader.snapshots.poll_copy)
    assert isinstance(manifest, SnapshotManifest)
    assert (manifest.index, manifest.revision) == (300, 300)
    assert leader.log.last.index == 320


def test_the_same_state_twice_is_the_same_snapshot(leader: Member) -> None:
    """
    A name stands for one image, for as long as it is there.
    """
    assert leader.snapshot() == leader.snapshot()


def test_a_damaged_state_makes_no_snapshot(leader: Member) -> None:
    """
    The state hash is counted anew on the copy: a pair that the machine did not write
    is found although its checksum is good.
    """
    leader.state.store.put(b"stray", b"pair")
    leader.state.commit()
    with pytest.raises(Damage, match="the state hash is"):
        leader.try_snapshot()
    assert leader.snapshot_names() == set()


def test_a_copy_that_is_damaged_alone_is_no_damage_of_the_state(
    leader: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another reader finds the state sound: only this snapshot failed.
    """

    def find_damage(folder: Path) -> Found:
        raise ImageDamaged(f"{folder} is not what was copied")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots_module, "examine", find_damage)
        outcome = leader.try_snapshot()
    assert isinstance(outcome, SnapshotFailed)
    assert "not what was copied" in str(outcome)
    leader.snapshot()


def test_what_is_not_retained_is_deleted(leader: Member) -> None:
    """
    But never one whose outcome was not fetched: nobody could have named it yet.
    """
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
    until(lambda: not leftovers(leader))
    with pytest.raises(StorageError, match="cannot read the snapshot"):
        leader.snapshots.read(first.name, 0, 10)


def test_a_name_that_is_none_leads_nowhere(leader: Member) -> None:
    """
    Names come over the network, and become paths.
    """
    for name in ("", "..", "../log", "snap-1-1", f"snap-{1:016x}-1/../x", "copied"):
        assert leader.snapshots.manifest(name) is None
        with pytest.raises(AssertionError):
            leader.snapshots.read(name, 0, 1)


# --- sending -----------------------------------------------------------------


def test_a_follower_goes_on_from_a_snapshot(leader: Member, follower: Member) -> None:
    """
    Staged, verified, named, adopted; what it knew before is gone, what follows fits.
    """
    manifest = leader.snapshot()
    follower.install(manifest, leader.bytes_of(manifest))
    assert follower.log.base == ((300, 1), manifest.name)
    assert follower.pairs() == expected(300)
    assert follower.snapshots.manifest(manifest.name) == manifest
    assert follower.bytes_of(manifest) == leader.bytes_of(manifest)
    follower.write(10)
    follower.check()
    until(lambda: not leftovers(follower))


def test_pieces_at_a_wrong_offset_change_nothing(leader: Member, follower: Member) -> None:
    """
    The answer says what is wanted; a repeated, early or late piece is harmless.
    """
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
    assert stage(manifest, 0, image[:6_000]) == len(image)


def test_another_snapshot_drops_what_was_staged(leader: Member, follower: Member) -> None:
    """
    A newer one has taken its place at the leader.
    """
    first = leader.snapshot()
    image = leader.bytes_of(first)
    assert follower.snapshots.stage(first, 0, image[:6_000]) == 6_000
    leader.write(5)
    second = leader.snapshot()
    assert follower.snapshots.stage(second, 6_000, image[6_000:7_000]) == 0
    follower.install(second, leader.bytes_of(second))
    assert follower.pairs() == expected(305)
    until(lambda: not leftovers(follower))


def test_a_flipped_byte_is_refused_and_the_snapshot_is_wanted_anew(
    leader: Member, follower: Member
) -> None:
    """
    Nothing was replaced, and the same snapshot, whole, is taken afterwards.
    """
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    spoilt = bytearray(image)
    spoilt[9_000] ^= 1
    failed = follower.stage(manifest, bytes(spoilt))
    assert isinstance(failed, SnapshotFailed)
    assert "its digest differs" in str(failed)
    unchanged(follower)
    assert follower.snapshots.stage(manifest, 5_000, image[5_000:6_000]) == 0
    follower.install(manifest, image)
    assert follower.pairs() == expected(300)


@pytest.mark.long
def test_an_image_that_is_no_database_fails_in_a_process_of_its_own(
    leader: Member, follower: Member
) -> None:
    """
    Size and digest fit, and still it is not what LMDB may open here: cut short, zeroed,
    or with a tree that points elsewhere.
    """
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    spoilt = bytearray(image)
    # The root page's number, in both meta pages: far outside the file.
    for meta in (0, 4096):
        spoilt[meta + 16 + 24 + 48 + 40 : meta + 16 + 24 + 48 + 48] = (1 << 40).to_bytes(
            8, "little"
        )
    for bad in (bytes(len(image)), image[:8192], bytes(spoilt), b"x" * 100):
        digest = blake2b(bad, digest_size=32).digest()
        outcome = follower.stage(wrong(manifest, size_bytes=len(bad), digest=digest), bad)
        assert isinstance(outcome, SnapshotFailed)
        assert "ended with status" in str(outcome)
        unchanged(follower)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"revision": 299}, "where the manifest says"),
        ({"state_hash": bytes(16)}, "where the manifest says"),
        ({"index": 299}, "does not say where it stands"),
        ({"index": 299, "name": f"snap-{299:016x}-1"}, "where the manifest says"),
        ({"name": "../../elsewhere"}, "does not say where it stands"),
        ({"cluster_id": "other"}, "it is of cluster 'other'"),
        ({"cluster_epoch": 2}, "it is of cluster 'cluster', epoch 2"),
        ({"size_bytes": 0}, "it is empty"),
        ({"size_bytes": 1 << 50}, "are free"),
        ({"size_bytes": 9_000}, "a piece ends at 10000"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    leader: Member, follower: Member, fields: dict[str, object], said: str
) -> None:
    """
    What is said of a snapshot must be true of it, and of this cluster.
    """
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    other = wrong(manifest, **fields)
    offset = 0
    while (outcome := follower.snapshots.poll_staged()) is None:
        piece = image[offset : offset + 10_000]
        offset = follower.snapshots.stage(other, offset, piece)
    assert isinstance(outcome, SnapshotFailed)
    assert said in str(outcome)
    unchanged(follower)


def test_a_snapshot_of_another_state_under_a_name_held_here_is_refused(
    leader: Member, tmp_path: Path
) -> None:
    """
    Two states at one position mean that a member has diverged: nobody decides here which.
    """
    twin = Member(tmp_path / "twin")
    twin.write(299, at_a_time=50)
    twin.log.append(twin.log.read(twin.log.last.index, 0)[0]._replace(index=300))  # type: ignore[arg-type]
    twin.log.commit()
    twin.catch_up()
    mine, theirs = twin.snapshot(), leader.snapshot()
    assert mine.name == theirs.name
    outcome = twin.stage(theirs, leader.bytes_of(theirs))
    assert isinstance(outcome, SnapshotFailed)
    assert "diverged" in str(outcome)
    assert twin.snapshots.manifest(mine.name) == mine
    twin.close()


def test_a_damaged_snapshot_is_replaced_by_a_whole_one_of_its_name(leader: Member) -> None:
    """
    The next copy at the same position mends it.
    """
    manifest = leader.snapshot()
    flip_byte(leader.data_dir / "snapshots" / manifest.name / "data.mdb")
    assert leader.snapshot() == manifest
    assert blake2b(leader.bytes_of(manifest), digest_size=32).digest() == manifest.digest


def test_adopting_what_is_missing_or_damaged_stops_the_member(
    leader: Member, follower: Member
) -> None:
    """
    The log stands on it, so there is nothing else to go on from. Method: the snapshot is
    spoilt after it was verified, and what was prepared from it is gone.
    """
    with pytest.raises(StorageError, match="there is no snapshot"):
        follower.snapshots.adopt(f"snap-{7:016x}-1")
    manifest = leader.snapshot()
    assert follower.stage(manifest, leader.bytes_of(manifest)) == manifest
    follower.snapshots._prepared.clear()
    flip_byte(follower.data_dir / "snapshots" / manifest.name / "data.mdb")
    with pytest.raises(StorageError, match="is damaged"):
        follower.snapshots.adopt(manifest.name)


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_copy_reads_back_as_the_state(leader: Member, tmp_path: Path) -> None:
    """
    An image is an LMDB file like any other.
    """
    manifest = leader.snapshot()
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "data.mdb").write_bytes(leader.bytes_of(manifest))
    folder = str(tmp_path / "image")
    with lmdb.open(folder, map_size=MAP_BYTES, lib_version=0) as env, env.begin() as txn:
        assert {key: value[4:] for key, value in txn.cursor()} == expected(300)


def test_an_image_whose_reader_hangs_is_refused_and_wanted_anew(
    leader: Member, follower: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever waits for that reader would never catch up, and nobody would be told.
    """
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    with monkeypatch.context() as patch:
        readers_hang(patch, tmp_path)
        outcome = follower.stage(manifest, image)
    assert isinstance(outcome, SnapshotFailed)
    assert "took more than" in str(outcome)
    unchanged(follower)
    follower.install(manifest, image)
    assert follower.pairs() == expected(300)


def finds_damage(_folder: Path) -> Found:
    """Who looks into an image, and finds it damaged."""
    raise ImageDamaged("a page makes no sense")


def test_who_is_blamed_for_a_damaged_copy_is_not_asked_for_ever(
    leader: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A copy is found damaged, and who is to look at the state hangs: then this snapshot has
    failed, and the next one may be taken.
    """
    with monkeypatch.context() as patch:
        readers_hang(patch, tmp_path)
        patch.setattr(snapshots_module, "examine", finds_damage)
        outcome = leader.try_snapshot()
    assert isinstance(outcome, SnapshotFailed)
    assert "a page makes no sense" in str(outcome)
    assert leader.snapshot().index == 300


def test_closing_does_not_wait_for_a_verification(leader: Member, follower: Member) -> None:
    """
    What was under way is thrown away at the next start.
    """
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    assert follower.snapshots.stage(manifest, 0, image) == len(image)
    follower.close()
    again = Member(follower.data_dir)
    unchanged(again)
    again.close()


def test_closing_does_not_wait_for_who_is_to_blame(
    leader: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The state is read a second time, which may take long.
    """
    readers_hang(monkeypatch, tmp_path, patience_s=30)
    monkeypatch.setattr(snapshots_module, "examine", finds_damage)
    leader.snapshots.start_copy(Term(1))
    until(lambda: leader.snapshots._second_reader._process is not None)
    began = time.monotonic()
    leader.snapshots.close()
    assert time.monotonic() - began < 15


def test_free_space_is_that_of_the_file_system(tmp_path: Path) -> None:
    """
    What the alarm for a nearly full disk looks at.
    """
    assert 0 < free_bytes(tmp_path) < 1 << 60
