"""The room that is left, and when it is too little."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raftstate.core.ports import SnapshotFailed
from raftstate.storage import space as space_module
from raftstate.storage.open import open_storage
from raftstate.storage.space import Space, Use, folder_bytes
from tests.storage.member import BOOT, CLUSTER, MEMBER, Member

MIB = 1 << 20


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_low_and_no_longer_low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Below the reserve, and again above a quarter more; looked at now and then.
    """
    free = 400 * MIB
    monkeypatch.setattr(space_module, "free_bytes", lambda _path, _quota: free)
    clock = Clock()
    space = Space(tmp_path, reserve_bytes=256 * MIB, clock=clock)
    assert not space.low()
    for free_now, low in ((255, True), (300, True), (321, False), (257, False), (10, True)):
        free = free_now * MIB
        clock.now += 1.0
        assert space.low() is low, free_now
        assert space.free_bytes == free
    free = 400 * MIB
    clock.now += space_module.SAMPLE_S / 2
    assert space.low()
    assert space.room() == (400 - 256) * MIB


def test_what_is_free_within_the_files_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The smaller of both: log and state have to grow together.
    """
    monkeypatch.setattr(space_module, "free_bytes", lambda _path, _quota: 100 * MIB)
    spare = [200 * MIB, 160 * MIB]
    clock = Clock()
    space = Space(
        tmp_path,
        reserve_bytes=256 * MIB,
        uses=[lambda: Use(1 << 40, 0, spare[0]), lambda: Use(1 << 40, 0, spare[1])],
        clock=clock,
    )
    assert not space.low()
    spare[1] = 10 * MIB
    clock.now = 1.0
    assert space.low()


def test_a_map_that_is_nearly_full_is_low(tmp_path: Path) -> None:
    """
    However much the file system has.
    """
    used = 55 << 30
    clock = Clock()
    space = Space(tmp_path, reserve_bytes=1, uses=[lambda: Use(64 << 30, used, 0)], clock=clock)
    for gib, low in ((55, False), (57, True), (53, True), (51, False)):
        used = gib << 30
        clock.now += 1.0
        assert space.low() is low, gib


def test_a_quota_counts_what_the_folder_takes(tmp_path: Path) -> None:
    """
    So a test, or an operator, can set a bound that the file system does not.
    """
    assert folder_bytes(tmp_path) == 0
    (tmp_path / "file").write_bytes(os.urandom(3 * MIB))
    assert folder_bytes(tmp_path) == pytest.approx(3 * MIB, abs=64 << 10)
    clock = Clock()
    space = Space(tmp_path, reserve_bytes=MIB, quota_bytes=5 * MIB, clock=clock)
    assert not space.low()
    assert space.room() == pytest.approx(MIB, abs=64 << 10)
    (tmp_path / "more").write_bytes(os.urandom(2 * MIB))
    clock.now = 1.0
    assert space.low()
    assert space.free_bytes == 0


def test_environments_say_what_they_take(tmp_path: Path) -> None:
    """
    What was deleted is room within the file: half of it is counted on.
    """
    member = Member(tmp_path / "data")
    member.write(2_000, at_a_time=100)
    before = [member.log.use(), member.state.use()]
    assert all(0 < use.used_bytes < use.map_bytes for use in before)
    assert before[1].used_bytes == member.state.size_bytes
    member.cut(member.snapshot())
    member.write(5)
    after = member.log.use()
    assert after.used_bytes < before[0].used_bytes
    assert after.spare_bytes > before[0].spare_bytes
    member.close()


def test_a_snapshot_does_not_take_the_reserve(tmp_path: Path) -> None:
    """
    It may wait; the log may not. Neither one of its own nor one that is sent.
    """
    leader = Member(tmp_path / "leader")
    leader.write(100, at_a_time=50)
    manifest = leader.snapshot()
    image = leader.bytes_of(manifest)
    leader.close()
    storage = open_storage(
        tmp_path / "leader",
        cluster_id=CLUSTER,
        member_id=MEMBER,
        boot_id=BOOT,
        wake=lambda: None,
        reserve_bytes=1 << 60,
    )
    assert storage.space.low()
    storage.snapshots.start_copy(storage.log.last.term)
    outcome = None
    while outcome is None:
        outcome = storage.snapshots.poll_copy()
    assert isinstance(outcome, SnapshotFailed)
    assert "are free" in str(outcome)
    assert storage.snapshots.stage(manifest, 0, image) == 0
    refused = storage.snapshots.poll_staged()
    assert isinstance(refused, SnapshotFailed)
    assert "are free" in str(refused)
    storage.close()
