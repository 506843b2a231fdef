"""Keys, leases and transactions at their limits, and their order in the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.core import keys, kv_queries, limits
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.machine import Counters
from raftstate.core.memory import MemoryStore
from raftstate.v1.kv_service_pb2 import (
    DeleteRangeRequest,
    KeyRange,
    TxnBody,
    TxnDeleteRange,
    TxnOp,
    TxnPut,
    TxnRequest,
)
from raftstate.v1.store_pb2 import Command, Outcome, OutcomeRecord
from tests.core.bench import Bench, reason
from tests.core.key_story import body, grant, put, revoke

MANY = 1 << 20


@pytest.fixture
def bench() -> Bench:
    """A machine with session "s"."""
    made = Bench()
    made.open("s")
    return made


def txn(bench: Bench, wanted: TxnBody) -> Command:
    return Command(txn=TxnRequest(request_id=bench.request_id("s"), txn=wanted))


def puts(names: Iterator[bytes] | list[bytes], lease: int = 0) -> list[TxnOp]:
    return [TxnOp(put=TxnPut(key=name, lease_id=lease)) for name in names]


def fill(bench: Bench, count: int, lease: int = 0) -> None:
    """Put keys "k0000" on."""
    names = [b"k%04d" % at for at in range(count)]
    for at in range(0, count, 128):
        outcome = bench.one(txn(bench, TxnBody(success=puts(names[at : at + 128], lease))))
        assert reason(outcome) == ""


def refused(bench: Bench, command: Command, why: str, field: str) -> Outcome:
    """A command is refused, and nothing of what it names has changed."""
    before = list(bench.store.scan(b"j", b"n"))
    outcome = bench.one(command)
    assert (reason(outcome), outcome.refusal.field) == (why, field)
    assert list(bench.store.scan(b"j", b"n")) == before
    return outcome


# --- limits ------------------------------------------------------------------


def test_a_lease_has_at_most_a_thousand_keys(bench: Bench) -> None:
    """
    The next put under it is refused, also in a transaction that counts its own; a key
    that it has can be put again, and one that is taken out makes room.
    """
    bench.one(grant(bench, "s", lease_id=7))
    fill(bench, 999, lease=7)

    two = TxnBody(success=puts([b"x", b"y"], 7))
    outcome = refused(bench, txn(bench, two), "TOO_MANY", "txn.success[1].put.lease_id")
    assert outcome.refusal.limit == 1_000
    assert reason(bench.one(put(bench, "s", b"x", b"", 7))) == ""
    refused(bench, put(bench, "s", b"y", b"", 7), "TOO_MANY", "lease_id")
    assert reason(bench.one(put(bench, "s", b"x", b"again", 7))) == ""
    swap = body([], ["delete k0000", "put y 1 7"], [])
    assert reason(bench.one(txn(bench, swap))) == ""

    lease = kv_queries.get_lease(bench.store, 7)
    assert lease is not None and lease.keys == 1_000
    assert len(kv_queries.keys_of_lease(bench.store, 7)) == 1_000
    assert bench.one(revoke(bench, "s", 7)).revoke.deleted == 1_000
    assert kv_queries.read_range(bench.store, KeyRange(), limit=9, bytes_max=MANY) == []
    assert list(bench.store.scan(*keys.leased_by(7))) == []
    assert bench.machine.state_hash == full_hash(bench.store)


def test_a_range_of_more_than_a_thousand_keys_is_not_deleted(bench: Bench) -> None:
    """
    Nor are two that together have more, in one transaction.
    """
    fill(bench, 1_001)
    everything = DeleteRangeRequest(request_id=bench.request_id("s"))
    outcome = refused(bench, Command(delete_range=everything), "TOO_MANY", "range")
    assert outcome.refusal.limit == 1_000
    halves = [KeyRange(end=b"k0500"), KeyRange(start=b"k0500")]
    both = [TxnOp(delete_range=TxnDeleteRange(range=each)) for each in halves]
    field = "txn.success[1].delete_range.range"
    refused(bench, txn(bench, TxnBody(success=both)), "TOO_MANY", field)

    fewer = DeleteRangeRequest(request_id=bench.request_id("s"), range=KeyRange(start=b"k0001"))
    assert bench.one(Command(delete_range=fewer)).delete_range.deleted == 1_000
    found = kv_queries.read_range(bench.store, KeyRange(), limit=9, bytes_max=MANY)
    assert [each.key for each in found] == [b"k0000"]


def test_every_outcome_of_a_transaction_can_be_remembered(bench: Bench) -> None:
    """
    128 puts, at revisions as large as can be; nested, and with the versions of a lifetime.
    """
    last = (1 << 64) - 200
    counters = Counters(revision=last, log_time_ms=0, wall_time_ms=0, last_position=0)
    bench.store.put(keys.COUNTERS, b"".join(keys.number(each) for each in counters))
    bench.opened.clear()
    bench.open("s")
    names = [b"%03d" % at for at in range(127)]
    whole = TxnBody(success=[TxnOp(txn=TxnBody(success=puts(names)))])

    outcome = bench.one(txn(bench, whole))

    assert len(outcome.txn.txn.results[0].txn.results) == 127
    for each in outcome.txn.txn.results[0].txn.results:
        each.put.version = each.put.create_revision = (1 << 64) - 1
    outcome.revision = outcome.raft_index = (1 << 64) - 1
    record = OutcomeRecord(payload_hash=bytes(16), outcome=outcome)
    assert record.ByteSize() <= limits.OUTCOME_BYTES_MAX


def test_a_lease_id_that_is_taken_is_not_chosen_twice(bench: Bench) -> None:
    """
    The store's own choice is refused too where a client was there before.
    """
    bench.one(grant(bench, "s", lease_id=3))
    outcome = bench.one(grant(bench, "s"))

    assert (outcome.revision, reason(outcome)) == (3, "LEASE_EXISTS")
    assert bench.one(grant(bench, "s")).grant.lease.lease_id == 4


# --- reads -------------------------------------------------------------------


def test_pages_go_on_behind_the_last_key_both_ways(bench: Bench) -> None:
    """
    By count and by bytes, and without values where only keys are asked for.
    """
    for name in (b"a", b"a\x00", b"a\xff", b"b", b"b\x00"):
        bench.one(put(bench, "s", name, b"v" * 100))
    wanted = KeyRange(prefix=b"a")

    def page(after: bytes = b"", **more: object) -> list[bytes]:
        given = {"limit": 2, "bytes_max": MANY, **more}
        found = kv_queries.read_range(bench.store, wanted, after=after, **given)  # type: ignore[arg-type]
        return [each.key for each in found]

    assert (page(), page(b"a\x00"), page(b"a\xff")) == ([b"a", b"a\x00"], [b"a\xff"], [])
    assert page(backwards=True) == [b"a\xff", b"a\x00"]
    assert page(b"a\x00", backwards=True) == [b"a"]
    assert page(b"a", backwards=True) == []
    assert page(b"0") == page()
    assert page(b"zz") == []
    assert page(b"\x00" * 241) == []
    assert page(bytes_max=1) == [b"a"]
    assert page(bytes_max=150, keys_only=True) == [b"a", b"a\x00"]
    (found,) = kv_queries.read_range(
        bench.store, wanted, limit=1, bytes_max=MANY, keys_only=True
    )
    assert (found.value, found.version) == (b"", 1)


def test_what_reads_saw_is_filled_in(bench: Bench) -> None:
    """
    As it was just before, nested reads too.
    """
    bench.one(put(bench, "s", b"a", b"v" * 100))
    asked = body(
        [],
        ["put a w", "get a", "get b", "range a", "txn then get a else get a"],
        [],
    )
    outcome = bench.one(txn(bench, asked))
    before = PastReader(bench.store, outcome.revision - 1)
    said = outcome.txn.txn
    kv_queries.fill_reads(before, asked, said)

    assert said.results[1].get.kv.value == b"v" * 100
    assert not said.results[2].get.HasField("kv")
    assert [each.key for each in said.results[3].range.kvs] == [b"a"]
    assert said.results[4].txn.results[0].get.kv.value == b"v" * 100


def test_what_cannot_be_a_key_names_nothing(bench: Bench) -> None:
    """
    Reads answer that there is none, and never raise.
    """
    for name in (b"", b"x" * 481, b"\x00" * 241):
        assert kv_queries.get_key(bench.store, name) is None
    assert kv_queries.list_leases(bench.store, (1 << 64) - 1, 9) == []
    assert kv_queries.lease_record(bench.store, (1 << 64) - 1) is None
    assert kv_queries.keys_of_lease(bench.store, (1 << 64) - 1) == []


# --- where things are --------------------------------------------------------

NAMES = st.binary(max_size=6) | st.lists(
    st.sampled_from([b"\x00", b"\x01", b"a", b"\xff"]), max_size=5
).map(b"".join)


@given(st.lists(NAMES, max_size=8), NAMES, NAMES)
def test_ranges_hold_what_they_say(names: list[bytes], one: bytes, other: bytes) -> None:
    """
    A prefix holds the keys that begin with it; a range those from start to before end.
    """
    store = MemoryStore([(keys.key(name), b"") for name in names])
    store.put(keys.lease(1), b"")

    def found(span: keys.Span) -> list[bytes]:
        return [keys.user_key(key) for key, _ in store.scan(*span)]

    everything = sorted(set(names))
    assert found(keys.keys_with(one)) == [key for key in everything if key.startswith(one)]
    between = [key for key in everything if one <= key < other] if other else None
    if between is not None and one < other:
        assert found(keys.key_range(one, other)) == between
    assert found(keys.key_range(one, b"")) == [key for key in everything if one <= key]


@given(NAMES, st.integers(0, (1 << 64) - 1), NAMES, st.integers(0, (1 << 64) - 1))
def test_rows_of_the_past_are_in_the_order_of_their_keys(
    one: bytes, first: int, other: bytes, second: int
) -> None:
    """
    And by revision within a key; a row says which key and revision it is about.
    """
    a, b = keys.key(one), keys.key(other)

    assert (keys.undo(a, first) < keys.undo(b, second)) == ((a, first) < (b, second))
    assert keys.undone(keys.undo(a, first)) == (a, first)
    assert (keys.undo(a, first) < keys.undo_bound(b)) == (a < b)
    assert keys.undo(a, first) < keys.behind_undone(a)
    assert (keys.behind_undone(a) < keys.undo(b, second)) == (a < b)


@pytest.mark.parametrize("name", [b"\xff" * 480, b"\x00" * 240, b"a\x00" * 160])
def test_the_longest_key_fits_into_every_row(bench: Bench, name: bytes) -> None:
    """
    Also into those of history and of a lease's index.
    """
    assert keys.cost_of_key(name) == limits.USER_KEY_BYTES_MAX
    bench.one(grant(bench, "s", lease_id=1))
    for lease in (1, 0):
        assert reason(bench.one(put(bench, "s", name, b"", lease))) == ""

    longest = max(len(key) for key, _ in bench.store.items())
    assert 480 < longest <= 492
    assert kv_queries.get_key(bench.store, name) is not None
