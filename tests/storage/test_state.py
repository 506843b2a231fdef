"""The state: what a tick sees, what views see, and what happens when the disk fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from raftstate.core.memory import MemoryStore
from raftstate.core.ports import State, StorageError
from raftstate.storage import generations, lmdb_state
from raftstate.storage.lmdb_state import LmdbState
from tests.sim.disk import SimDisk
from tests.sim.state import SimState
from tests.storage.log_conformance import IDENTITY
from tests.storage.member import BOOT, MAP_BYTES, until

StateFactory = Callable[[Path], State]


def open_lmdb_state(data_dir: Path) -> LmdbState:
    """The product's state; a first generation is made if there is none."""
    if not generations.numbers(data_dir):
        generations.publish(data_dir, generations.build(data_dir, "new", BOOT, None), 1)
    return LmdbState(data_dir, boot_id=BOOT, map_bytes=MAP_BYTES, sync_interval_s=0.005)


def open_simulated_state(data_dir: Path) -> State:
    """The simulator's state."""
    assert data_dir.exists()
    disk = SimDisk(IDENTITY, after=lambda _seconds, _work: None, rng=random.Random(0))
    return SimState(disk)


# An implementation joins by adding itself.
STATE_FACTORIES: list[tuple[str, StateFactory]] = [
    ("lmdb", open_lmdb_state),
    ("simulated", open_simulated_state),
]


@pytest.fixture(params=[f for _, f in STATE_FACTORIES], ids=[n for n, _ in STATE_FACTORIES])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """Each implementation in turn, empty."""
    factory: StateFactory = request.param
    opened = factory(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[LmdbState]:
    """The product's state, empty."""
    opened = open_lmdb_state(tmp_path)
    yield opened
    opened.close()


def everything(state: State) -> list[tuple[bytes, bytes]]:
    with state.view() as reader:
        return list(reader.scan(b"", b"\xff"))


def put_many(state: State, count: int, value: bytes) -> None:
    for number in range(count):
        state.store.put(b"%d" % number, value)


# --- every state -------------------------------------------------------------


def test_a_tick_sees_its_own_changes_and_views_do_not(state: State) -> None:
    """
    Views show the last commit, whole.
    """
    state.store.put(b"a", b"1")
    state.store.put(b"b", b"2")
    assert state.store.get(b"a") == b"1"
    assert list(state.store.scan(b"a", b"c")) == [(b"a", b"1"), (b"b", b"2")]
    assert everything(state) == []
    state.commit()
    assert everything(state) == [(b"a", b"1"), (b"b", b"2")]

    assert state.store.delete(b"a") is True
    assert state.store.get(b"a") is None
    with state.view() as reader:
        assert reader.get(b"a") == b"1"
    state.commit()
    assert everything(state) == [(b"b", b"2")]


def test_deleting_says_whether_there_was_something(state: State) -> None:
    """
    And an empty value is something.
    """
    state.store.put(b"a", b"")
    assert state.store.get(b"a") == b""
    assert state.store.delete(b"a") is True
    assert state.store.delete(b"a") is False


def test_scans_are_what_a_sorted_map_says(state: State) -> None:
    """
    Both ways, for every pair of bounds, before and after the commit.
    """
    model = MemoryStore()
    names = [b"a", b"ab", b"b", b"b\x00", b"b\xff", b"c"]
    for name in names:
        state.store.put(name, b"=" + name)
        model.put(name, b"=" + name)
    bounds = [b"", *names, b"bb", b"d", b"\xff\xff"]
    for _ in range(2):
        for start in bounds:
            for stop in bounds:
                assert list(state.store.scan(start, stop)) == list(model.scan(start, stop))
                assert list(state.store.scan_back(start, stop)) == list(
                    model.scan_back(start, stop)
                )
        state.commit()
    with state.view() as reader:
        assert list(reader.scan_back(b"ab", b"c")) == list(model.scan_back(b"ab", b"c"))


def test_a_commit_without_changes_is_nothing(state: State) -> None:
    """
    Most ticks apply nothing.
    """
    state.commit()
    state.store.get(b"a")
    state.commit()
    assert everything(state) == []


# --- the one on disk ---------------------------------------------------------


def test_a_view_stays_at_its_point(on_disk: LmdbState) -> None:
    """
    On any thread: commits go on beside it, and it shows what it showed.
    """
    on_disk.store.put(b"a", b"1")
    on_disk.commit()
    entered, written = threading.Event(), threading.Event()
    seen: list[bytes | None] = []

    def look() -> None:
        with on_disk.view() as reader:
            seen.append(reader.get(b"a"))
            entered.set()
            assert written.wait(20)
            seen.append(reader.get(b"a"))
        with on_disk.view() as reader:
            seen.append(reader.get(b"a"))

    thread = threading.Thread(target=look)
    thread.start()
    assert entered.wait(20)
    on_disk.store.put(b"a", b"2")
    on_disk.commit()
    written.set()
    thread.join()
    assert seen == [b"1", b"1", b"2"]


def test_a_look_on_another_thread_does_not_tie_the_writer(on_disk: LmdbState) -> None:
    """
    A machine may be made on one thread and written on another.
    """
    assert on_disk.store.get(b"a") is None

    def write() -> None:
        on_disk.store.put(b"a", b"1")
        on_disk.commit()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert everything(on_disk) == [(b"a", b"1")]


def test_the_size_is_that_of_the_pages_in_use(on_disk: LmdbState) -> None:
    """
    It falls when things are deleted, where the file does not.
    """
    empty = on_disk.size_bytes
    for number in range(1000):
        on_disk.store.put(b"%d" % number, bytes(1000))
    on_disk.commit()
    assert 1_000_000 < on_disk.size_bytes < 2_000_000
    for number in range(1000):
        on_disk.store.delete(b"%d" % number)
    on_disk.commit()
    assert on_disk.size_bytes <= empty + 4096


def test_another_generation_takes_over_and_the_old_one_goes_with_its_last_view(
    tmp_path: Path, on_disk: LmdbState
) -> None:
    """
    A view that is open shows the old state to its end; then the folder is removed.
    """
    on_disk.store.put(b"a", b"old")
    on_disk.commit()
    on_disk.store.put(b"a", b"never committed")
    with on_disk.view() as reader:
        on_disk.replace(generations.build(tmp_path, "next", BOOT, None))
        assert on_disk.store.get(b"a") is None
        on_disk.store.put(b"a", b"new")
        on_disk.commit()
        assert reader.get(b"a") == b"old"
        assert (tmp_path / "state-1").exists()
        with on_disk.view() as newer:
            assert newer.get(b"a") == b"new"
    until(lambda: generations.numbers(tmp_path) == [2])
    assert everything(on_disk) == [(b"a", b"new")]


def test_closing_waits_for_views(tmp_path: Path) -> None:
    """
    LMDB must not be closed under a reader.
    """
    state = open_lmdb_state(tmp_path)
    state.store.put(b"a", b"1")
    state.commit()
    entered, leave = threading.Event(), threading.Event()
    seen: list[bytes | None] = []

    def look() -> None:
        with state.view() as reader:
            entered.set()
            assert leave.wait(20)
            seen.append(reader.get(b"a"))

    viewer = threading.Thread(target=look)
    viewer.start()
    assert entered.wait(20)
    closer = threading.Thread(target=state.close)
    closer.start()
    until(lambda: state._stopping)
    with pytest.raises(StorageError, match="was closed"), state.view():
        pass
    assert not generations.is_clean(tmp_path / "state-1")
    leave.set()
    viewer.join()
    closer.join()
    assert seen == [b"1"]
    assert generations.is_clean(tmp_path / "state-1")


def test_a_view_that_never_ends_spoils_the_clean_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Closing gives up at last, and the state is not marked as clean.
    """
    monkeypatch.setattr(lmdb_state, "_CLOSE_TIMEOUT_S", 0.01)
    state = open_lmdb_state(tmp_path)
    with state.view(), pytest.raises(StorageError, match="view of the state was open"):
        state.close()
    assert not generations.is_clean(tmp_path / "state-1")


def test_a_clean_stop_is_marked_and_what_was_committed_is_there(tmp_path: Path) -> None:
    """
    What was not committed is not.
    """
    state = open_lmdb_state(tmp_path)
    state.store.put(b"a", b"1")
    state.commit()
    state.store.put(b"b", b"2")
    state.close()
    state.close()
    assert generations.is_clean(tmp_path / "state-1")
    state = open_lmdb_state(tmp_path)
    assert everything(state) == [(b"a", b"1")]
    state.close()


def test_a_disk_that_fails_in_the_background_stops_the_next_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The raft thread hears of it, nothing is marked as clean, and the generation has
    lost the boot id by which it would be opened again.
    """
    state = open_lmdb_state(tmp_path)
    woken = threading.Event()
    monkeypatch.setattr(state, "_wake", woken.set)

    def fail(_env: lmdb.Environment) -> None:
        raise lmdb.DiskError("mdb_env_sync: Input/output error", 5)

    monkeypatch.setattr(state, "_sync_environment", fail)
    assert generations.is_of_boot(tmp_path / "state-1", BOOT)
    state.store.put(b"a", b"1")
    state.commit()
    assert woken.wait(20)
    with pytest.raises(StorageError, match="Input/output error"):
        state.commit()
    with pytest.raises(StorageError, match="Input/output error"):
        state.store.put(b"a", b"1")
    state.close()
    assert not generations.is_clean(tmp_path / "state-1")
    assert not generations.is_of_boot(tmp_path / "state-1", BOOT)


def test_a_full_map_stops_the_state_but_does_not_spoil_it(tmp_path: Path) -> None:
    """
    Rebuilding would want more room still, so what was committed is kept.
    """
    open_lmdb_state(tmp_path).close()
    state = LmdbState(tmp_path, boot_id=BOOT, map_bytes=1 << 20)
    state.store.put(b"a", b"1")
    state.commit()
    with pytest.raises(StorageError, match="MDB_MAP_FULL"):
        put_many(state, 1000, bytes(10_000))
    with pytest.raises(StorageError, match="cannot be used"):
        state.commit()
    state.close()
    assert generations.is_of_boot(tmp_path / "state-1", BOOT)
    state = open_lmdb_state(tmp_path)
    assert everything(state) == [(b"a", b"1")]
    state.close()


@pytest.mark.parametrize("at", [0, 4, -1])
def test_a_flipped_bit_is_noticed_when_it_is_read(tmp_path: Path, at: int) -> None:
    """
    LMDB has no checksums, so each value has one of ours. The error names the key.
    """
    state = open_lmdb_state(tmp_path)
    state.store.put(b"good", b"good value")
    state.store.put(b"spoilt", b"some value")
    state.commit()
    state.close()
    folder = str(tmp_path / "state-1")
    with (
        lmdb.open(folder, map_size=MAP_BYTES, lib_version=0) as env,
        env.begin(write=True) as txn,
    ):
        value = bytearray(txn.get(b"spoilt") or b"")
        value[at] ^= 1
        txn.put(b"spoilt", bytes(value))

    state = open_lmdb_state(tmp_path)
    with state.view() as reader:
        assert reader.get(b"good") == b"good value"
        with pytest.raises(StorageError, match="b'spoilt' is damaged"):
            reader.get(b"spoilt")
        with pytest.raises(StorageError, match="b'spoilt' is damaged"):
            list(reader.scan(b"", b"\xff"))
    state.close()


def test_a_value_under_another_key_is_noticed(tmp_path: Path) -> None:
    """
    The checksum covers the key, so a value that was put elsewhere is damage.
    """
    state = open_lmdb_state(tmp_path)
    state.store.put(b"a", b"value")
    state.commit()
    state.close()
    folder = str(tmp_path / "state-1")
    with (
        lmdb.open(folder, map_size=MAP_BYTES, lib_version=0) as env,
        env.begin(write=True) as txn,
    ):
        txn.put(b"b", txn.get(b"a") or b"")
    state = open_lmdb_state(tmp_path)
    with state.view() as reader, pytest.raises(StorageError, match="b'b' is damaged"):
        reader.get(b"b")
    state.close()
