"""Every implementation of the log keeps the same promises; LMDB's keeps some more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstate.core.ports import Damage, HardState, Log, StorageError, WrongStore
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage import identities, lmdb_log
from raftstate.storage.lmdb_log import LmdbLog
from tests.storage.log_conformance import (
    CLUSTER,
    IDENTITY,
    LOG_FACTORIES,
    MEMBER,
    LogFactory,
    ModelLog,
    base,
    entry,
    open_cold_log,
    open_lmdb_log,
)


@pytest.fixture(params=[f for _, f in LOG_FACTORIES], ids=[name for name, _ in LOG_FACTORIES])
def factory(request: pytest.FixtureRequest) -> LogFactory:
    """Each implementation in turn."""
    made: LogFactory = request.param
    return made


@pytest.fixture
def log(factory: LogFactory, tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    opened = factory(tmp_path)
    yield opened
    opened.close()


def fill(log: Log, first: int, last: int, term: int = 1, size: int = 10) -> None:
    for index in range(first, last + 1):
        log.append(entry(index, term, size))


def indexes(log: Log, first: int, bytes_max: int = 1 << 30) -> list[int]:
    return [held.index for held in log.read(Index(first), bytes_max)]


# --- every log ---------------------------------------------------------------


def test_a_new_log_is_empty(log: Log) -> None:
    """It stands at the origin, has voted for nobody, and knows whose it is."""
    ModelLog().check(log)
    assert log.hard_state == HardState(Term(0), None)
    assert log.identity == IDENTITY
    assert log.incarnation == 1


def test_changes_are_read_before_they_are_committed(log: Log) -> None:
    """
    The tick reads what it wrote; the commit comes last.
    """
    fill(log, 1, 3)
    log.set_hard_state(HardState(Term(2), MEMBER))
    assert indexes(log, 1) == [1, 2, 3]
    assert log.last == (3, 1)
    assert log.hard_state == HardState(Term(2), MEMBER)


def test_what_was_committed_is_there_after_reopening(
    factory: LogFactory, tmp_path: Path
) -> None:
    """
    Committed means durable; not committed means gone, entries and vote together.
    """
    log = factory(tmp_path)
    fill(log, 1, 3)
    log.set_hard_state(HardState(Term(4), MemberId("n2")))
    log.commit()
    fill(log, 4, 6)
    log.set_hard_state(HardState(Term(5), None))
    log.close()

    log = factory(tmp_path)
    assert indexes(log, 1) == [1, 2, 3]
    assert log.hard_state == HardState(Term(4), MemberId("n2"))
    assert log.incarnation == 2
    log.close()


def test_read_gives_one_entry_at_least_and_then_what_fits(log: Log) -> None:
    """
    An entry larger than the bound must still get through.
    """
    fill(log, 1, 9, size=100)
    assert indexes(log, 2, 0) == [2]
    assert indexes(log, 2, 250) == [2, 3]
    assert indexes(log, 2, 300) == [2, 3, 4]
    assert indexes(log, 10) == []


def test_a_conflicting_tail_is_replaced(log: Log) -> None:
    """
    Truncation takes an entry and all after it, and others follow.
    """
    fill(log, 1, 5)
    log.commit()
    log.truncate(Index(3))
    fill(log, 3, 4, term=2)
    log.commit()
    assert log.last == (4, 2)
    assert [log.term_at(Index(i)) for i in range(6)] == [0, 1, 1, 2, 2, None]
    assert log.size_bytes == 40


def test_cutting_moves_the_base_and_keeps_the_tail(factory: LogFactory, tmp_path: Path) -> None:
    """
    The base's term is still known, the snapshot's name too, after reopening as well.
    """
    log = factory(tmp_path)
    fill(log, 1, 9)
    log.cut(base(6, 1, "snap-a"))
    log.commit()
    for _ in range(2):
        assert log.base == base(6, 1, "snap-a")
        assert indexes(log, 7) == [7, 8, 9]
        assert log.term_at(Index(6)) == 1
        assert log.term_at(Index(5)) is None
        assert log.size_bytes == 30
        log.close()
        log = factory(tmp_path)
    log.close()


def test_the_same_base_may_name_a_newer_snapshot(log: Log) -> None:
    """
    A tail is kept for slow followers, so a snapshot may be newer than the base.
    """
    fill(log, 1, 5)
    log.cut(base(2, 1, "snap-a"))
    log.cut(base(2, 1, "snap-b"))
    log.commit()
    assert log.base == base(2, 1, "snap-b")
    assert indexes(log, 3) == [3, 4, 5]


def test_cutting_everything_leaves_an_empty_log_that_goes_on(log: Log) -> None:
    """
    The last entry becomes the base.
    """
    fill(log, 1, 5)
    log.cut(base(5, 1))
    log.commit()
    assert log.last == (5, 1)
    assert log.size_bytes == 0
    fill(log, 6, 7)
    log.commit()
    assert indexes(log, 6) == [6, 7]


def test_a_base_from_outside_replaces_a_log_that_is_behind(
    factory: LogFactory, tmp_path: Path
) -> None:
    """
    Raft paper, section 7: the whole log goes, and the next entry follows the base.
    """
    log = factory(tmp_path)
    fill(log, 1, 5)
    log.commit()
    log.reset(base(20, 3))
    fill(log, 21, 22, term=3)
    log.commit()
    log.close()
    log = factory(tmp_path)
    assert log.base == base(20, 3)
    assert log.last == (22, 3)
    assert indexes(log, 21) == [21, 22]
    assert log.term_at(Index(5)) is None
    log.close()


def test_a_base_from_outside_replaces_a_log_that_conflicts(log: Log) -> None:
    """
    Another term at the base's index: what follows it is of another history.
    """
    fill(log, 1, 9)
    log.commit()
    log.reset(base(5, 2))
    log.commit()
    assert log.last == (5, 2)
    assert indexes(log, 6) == []
    fill(log, 6, 6, term=2)
    assert log.last == (6, 2)


def test_a_base_from_outside_keeps_a_tail_that_fits(log: Log) -> None:
    """
    Raft paper, section 7: entries after a matching one were acknowledged, perhaps.
    """
    fill(log, 1, 9)
    log.commit()
    log.reset(base(5, 1))
    log.commit()
    assert indexes(log, 6) == [6, 7, 8, 9]
    assert log.size_bytes == 40


def test_a_change_that_makes_no_log_is_refused(log: Log) -> None:
    """
    A gap, an entry before the base, a cut at a position that the log does not have.
    """
    fill(log, 1, 5)
    log.cut(base(3, 1))
    with pytest.raises(ValueError):
        log.append(entry(7))
    with pytest.raises(ValueError):
        log.truncate(Index(3))
    with pytest.raises(ValueError):
        log.read(Index(3), 10)
    with pytest.raises(ValueError):
        log.cut(base(4, 2))
    assert indexes(log, 4) == [4, 5]


def test_a_commit_without_changes_is_nothing(log: Log) -> None:
    """
    And so is truncating beyond the end.
    """
    log.commit()
    fill(log, 1, 2)
    log.commit()
    log.truncate(Index(3))
    log.commit()
    assert indexes(log, 1) == [1, 2]


# Numbers that the model makes sense of: how far back, how many, how far ahead.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "truncate", "cut", "reset", "commit",
                         "reopen"]),
        st.integers(0, 6),
        st.integers(0, 3),
    ),
    max_size=25,
)  # fmt: skip


@pytest.mark.parametrize(
    "open_log", [f for _, f in LOG_FACTORIES], ids=[n for n, _ in LOG_FACTORIES]
)
@settings(max_examples=25)
@given(steps=STEPS)
def test_any_history_agrees_with_a_plain_list(
    open_log: LogFactory,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int]],
) -> None:
    """
    Whatever is done in whatever order, the log shows what a list would, and after
    reopening what the list was at the last commit.
    """
    folder = tmp_path_factory.mktemp("log")
    log, model, durable = open_log(folder), ModelLog(), ModelLog()
    term = 1
    for step, number, change in steps:
        match step:
            case "append":
                term += change == 3
                for _ in range(number + 1):
                    made = entry(model.last.index + 1, term, size=10 + 20 * change)
                    model.entries.append(made)
                    log.append(made)
            case "truncate" if model.entries:
                first = max(model.last.index - number, model.base.position.index + 1)
                model.drop_from(first)
                log.truncate(Index(first))
            case "cut" if model.entries:
                held = model.entries[min(number, len(model.entries) - 1)]
                cut = base(held.index, held.term, f"snap-{number}")
                model.cut(cut)
                log.cut(cut)
            case "reset":
                index = model.last.index + number - 3
                if index >= model.base.position.index:
                    was = log.term_at(Index(index)) or 0
                    came = base(index, was if change else max(was, term) + 1, "came")
                    term = max(term, came.position.term)
                    model.reset(came)
                    log.reset(came)
            case "commit":
                log.commit()
                durable = model.copy()
            case "reopen":
                log.close()
                log, model = open_log(folder), durable.copy()
                term = max(term, model.last.term)
        model.check(log)
    log.close()


# --- the one on disk ---------------------------------------------------------


def raw(folder: Path) -> lmdb.Environment:
    return lmdb.open(str(folder / "log"), max_dbs=2, map_size=64 << 20, lib_version=0)


def flip(folder: Path, database: bytes, key: bytes, at: int) -> None:
    """Change one bit of a record, as a disk might."""
    with raw(folder) as env, env.begin(env.open_db(database), write=True) as txn:
        value = bytearray(txn.get(key) or b"")
        value[at] ^= 1
        txn.put(key, bytes(value))


@pytest.mark.parametrize("at", [0, 5, 20, -1], ids=["crc", "term", "data", "end"])
def test_a_flipped_bit_in_an_entry_is_noticed_when_it_is_read(tmp_path: Path, at: int) -> None:
    """
    The error names the entry. Method: one that is too old to be in memory.
    """
    log = open_cold_log(tmp_path)
    fill(log, 1, 9)
    log.commit()
    log.close()
    flip(tmp_path, b"entries", (4).to_bytes(8, "big"), at)

    log = open_cold_log(tmp_path)
    assert indexes(log, 5) == [5, 6, 7, 8, 9]
    with pytest.raises(Damage, match="log entry 4 "):
        log.read(Index(1), 1 << 20)
    with pytest.raises(Damage, match="log entry 4 "):
        log.term_at(Index(4))
    log.close()


@pytest.mark.parametrize("name", ["identity", "hard_state", "base", "incarnation"])
def test_a_flipped_bit_in_a_record_of_the_log_stops_the_opening(
    tmp_path: Path, name: str
) -> None:
    """
    A member that cannot read its vote must not vote.
    """
    log = open_lmdb_log(tmp_path)
    log.set_hard_state(HardState(Term(3), MEMBER))
    log.commit()
    log.close()
    flip(tmp_path, b"meta", name.encode(), 1)
    with pytest.raises(Damage, match=f"record {name} is damaged"):
        open_lmdb_log(tmp_path)


def test_a_file_that_is_no_environment_is_damage(tmp_path: Path) -> None:
    """
    LMDB's own words for what was not written are ours for damage.
    """
    path = open_and_close(tmp_path) / "data.mdb"
    data = bytearray(path.read_bytes())
    data[: 8 << 10] = b"?" * (8 << 10)
    path.write_bytes(data)
    with pytest.raises(Damage, match="cannot open"):
        open_lmdb_log(tmp_path)


def test_going_back_by_a_commit_is_damage(tmp_path: Path) -> None:
    """
    LMDB has two heads without checksums, and takes the one with the larger number: one bit
    of it, and the newest commit is gone without a word. The mark knows better.
    """
    log = open_lmdb_log(tmp_path)
    for index in range(1, 10):
        log.append(entry(index))
        log.commit()
    log.close()
    path = tmp_path / "log" / "data.mdb"
    whole = path.read_bytes()
    places = [page * 4096 + 16 + 24 + 2 * 48 + 8 for page in (0, 1)]
    numbers = [int.from_bytes(whole[place : place + 8], "little") for place in places]
    assert abs(numbers[0] - numbers[1]) == 1
    older, newer = sorted(places, key=lambda place: numbers[places.index(place)])
    for place, bit in ((newer, numbers[places.index(newer)] & 12), (older + 5, 1)):
        data = bytearray(whole)
        data[place] ^= bit
        path.write_bytes(data)
        with pytest.raises(Damage, match=r"commits, and \d+ were synced"):
            open_lmdb_log(tmp_path)
    path.write_bytes(whole)
    (tmp_path / "log" / "committed").unlink()
    with pytest.raises(Damage, match="committed is missing"):
        open_lmdb_log(tmp_path)


def test_an_entry_that_is_missing_is_noticed(tmp_path: Path) -> None:
    """
    A gap is damage, not the end of the log.
    """
    log = open_cold_log(tmp_path)
    fill(log, 1, 9)
    log.commit()
    log.close()
    with raw(tmp_path) as env, env.begin(env.open_db(b"entries"), write=True) as txn:
        txn.delete((4).to_bytes(8, "big"))
    log = open_cold_log(tmp_path)
    with pytest.raises(Damage, match="log entry 4 is missing"):
        log.read(Index(1), 1 << 20)
    log.close()


def test_a_full_map_is_an_error_and_the_log_is_not_used_again(tmp_path: Path) -> None:
    """
    What was committed before stays; nothing works after.
    """
    log = LmdbLog(
        open_and_close(tmp_path), cluster_id=CLUSTER, member_id=MEMBER, map_bytes=1 << 20
    )
    fill(log, 1, 2)
    log.commit()
    with pytest.raises(StorageError, match="MDB_MAP_FULL") as full:
        fill(log, 3, 1000, size=10_000)
    assert not isinstance(full.value, Damage)
    with pytest.raises(StorageError, match="cannot be used"):
        log.commit()
    with pytest.raises(StorageError, match="cannot be used"):
        log.set_hard_state(HardState(Term(9), None))
    log.close()

    log = open_lmdb_log(tmp_path)
    assert indexes(log, 1) == [1, 2]
    log.close()


def open_and_close(folder: Path) -> Path:
    open_lmdb_log(folder).close()
    return folder / "log"


def test_a_log_whose_file_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """
    An empty log in its place would have forgotten every vote.
    """
    folder = open_and_close(tmp_path)
    (folder / "data.mdb").unlink()
    with pytest.raises(Damage, match="is missing"):
        open_lmdb_log(tmp_path)
    assert not (folder / "data.mdb").exists()


def test_a_log_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The message names the format found and the one wanted.
    """
    open_and_close(tmp_path)
    monkeypatch.setattr(identities, "FORMAT", 3)
    with pytest.raises(WrongStore, match="belongs to format 2; wanted is format 3"):
        open_lmdb_log(tmp_path)


def test_a_commit_belongs_to_the_thread_that_wrote(tmp_path: Path) -> None:
    """
    LMDB's lock belongs to a thread: to commit on another would block the next for ever.
    """
    log = open_lmdb_log(tmp_path)
    log.append(entry(1))
    failures: list[BaseException] = []

    def commit() -> None:
        try:
            log.commit()
        except AssertionError as error:
            failures.append(error)

    thread = threading.Thread(target=commit)
    thread.start()
    thread.join()
    assert len(failures) == 1
    log.commit()
    log.close()


def test_records_behind_the_base_go_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A cut holds nobody up: each later commit sweeps a little, also after reopening.
    """
    monkeypatch.setattr(lmdb_log, "_SWEEP_RECORDS", 10)
    log = open_lmdb_log(tmp_path)
    fill(log, 1, 50)
    log.cut(base(45, 1))
    log.commit()
    log.close()
    assert stored(tmp_path) == 40
    log = open_lmdb_log(tmp_path)
    assert indexes(log, 46) == [46, 47, 48, 49, 50]
    for term in range(2, 10):
        log.set_hard_state(HardState(Term(term), None))
        log.commit()
    assert indexes(log, 46) == [46, 47, 48, 49, 50]
    log.close()
    assert stored(tmp_path) == 5


def stored(folder: Path) -> int:
    with raw(folder) as env, env.begin(env.open_db(b"entries")) as txn:
        return txn.stat(env.open_db(b"entries", txn=txn))["entries"]


def test_the_memory_kept_for_entries_is_bounded(tmp_path: Path) -> None:
    """
    By bytes, whatever the number; the newest is always there.
    """
    log = open_lmdb_log(tmp_path, cache_bytes=3000)
    fill(log, 1, 100, size=100)
    assert log._cache.bytes <= 3000
    assert len(log._cache) == 10
    log.append(entry(101, size=5000))
    assert (len(log._cache), log._cache.first) == (1, 101)
    log.commit()
    assert indexes(log, 1) == list(range(1, 102))
    log.close()
