"""How much one command does to keys, and how much its reads look at, in bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftstate.core import kv_queries, limits
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.v1.kv_service_pb2 import (
    DeleteRangeRequest,
    KeyRange,
    TxnBody,
    TxnDelete,
    TxnDeleteRange,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
)
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core.bench import Bench, reason
from tests.core.key_story import grant, put, revoke

LARGE = bytes(1 << 20)


@pytest.fixture
def bench() -> Bench:
    """A machine with session "s" and lease 7."""
    made = Bench()
    made.open("s")
    made.one(grant(made, "s", lease_id=7))
    return made


def txn(bench: Bench, *ops: TxnOp) -> Command:
    return Command(txn=TxnRequest(request_id=bench.request_id("s"), txn=TxnBody(success=ops)))


def delete_range(bench: Bench, wanted: KeyRange) -> Command:
    request = DeleteRangeRequest(request_id=bench.request_id("s"), range=wanted)
    return Command(delete_range=request)


def fill(bench: Bench, count: int, lease: int = 0) -> list[bytes]:
    """Put large values at keys "k00" on."""
    names = [b"k%02d" % at for at in range(count)]
    for name in names:
        assert reason(bench.one(put(bench, "s", name, LARGE, lease))) == ""
    return names


def refused(bench: Bench, command: Command, field: str, limit: int) -> Outcome:
    """A command is refused as too much, and nothing of what it names has changed."""
    before = {key: raw for key, raw in bench.store.items() if key[:1] in b"hjklvy"}
    outcome = bench.one(command)
    assert (reason(outcome), outcome.refusal.field) == ("TOO_MANY", field)
    assert outcome.refusal.limit == limit
    assert {key: raw for key, raw in bench.store.items() if key[:1] in b"hjklvy"} == before
    # A retry is told the same.
    assert bench.one(command) == outcome
    return outcome


# --- what is removed or replaced ---------------------------------------------


def test_a_command_removes_at_most_sixteen_mebibytes(bench: Bench) -> None:
    """
    For all that is removed is copied into history: a range of more is refused, however
    few keys it has; a smaller one is not.
    """
    fill(bench, 17)

    refused(bench, delete_range(bench, KeyRange()), "range", 16 << 20)

    most = delete_range(bench, KeyRange(end=b"k15"))
    assert bench.one(most).delete_range.deleted == 15
    assert bench.one(delete_range(bench, KeyRange())).delete_range.deleted == 2
    assert bench.machine.state_hash == full_hash(bench.store)


OPS: list[tuple[Callable[[bytes], TxnOp], str]] = [
    (lambda name: TxnOp(put=TxnPut(key=name)), "put.key"),
    (lambda name: TxnOp(delete=TxnDelete(key=name)), "delete.key"),
    (
        lambda name: TxnOp(delete_range=TxnDeleteRange(range=KeyRange(prefix=name))),
        "delete_range.range",
    ),
]


@pytest.mark.parametrize(("op", "place"), OPS)
def test_so_does_a_transaction(bench: Bench, op: Callable[[bytes], TxnOp], place: str) -> None:
    """
    With all its operations together, also those that put something small in place of
    something large. A key that is put twice is replaced once.
    """
    names = fill(bench, 17)

    refused(bench, txn(bench, *map(op, names)), f"txn.success[15].{place}", 16 << 20)

    twice = [TxnOp(put=TxnPut(key=name)) for name in names[:9]] * 2
    assert reason(bench.one(txn(bench, *twice))) == ""


def test_ranges_that_go_over_the_same_keys_look_at_them_again(bench: Bench) -> None:
    """
    Else a small transaction could look at gigabytes.
    """
    fill(bench, 10)
    everything = TxnOp(delete_range=TxnDeleteRange())
    field = "txn.success[1].delete_range.range"
    refused(bench, txn(bench, everything, everything), field, 16 << 20)


def test_a_lease_has_at_most_sixteen_mebibytes(bench: Bench) -> None:
    """
    For its end removes them at one revision. What goes makes room, and so does what is
    put again with a smaller value.
    """
    names = fill(bench, 15, lease=7)

    refused(bench, put(bench, "s", b"x", LARGE, 7), "lease_id", 16 << 20)
    half = LARGE[: 1 << 19]
    for name in names[:2]:
        assert reason(bench.one(put(bench, "s", name, LARGE + half[1_000:], 7))) == ""
    refused(bench, put(bench, "s", names[2], LARGE + half[:3_000], 7), "lease_id", 16 << 20)
    assert reason(bench.one(put(bench, "s", b"x", LARGE))) == ""
    for name in names[:2]:
        assert reason(bench.one(put(bench, "s", name, b"", 7))) == ""
    assert reason(bench.one(put(bench, "s", b"x", LARGE, 7))) == ""

    lease = kv_queries.get_lease(bench.store, 7)
    assert lease is not None and lease.keys == 16
    assert bench.one(revoke(bench, "s", 7)).revoke.deleted == 16
    assert bench.machine.state_hash == full_hash(bench.store)


def test_a_lease_counts_its_bytes(bench: Bench) -> None:
    """
    Whatever moves keys in and out of it.
    """
    bench.one(grant(bench, "s", lease_id=8))

    def held() -> tuple[int, int]:
        found = kv_queries.lease_record(bench.store, 7)
        assert found is not None
        return found.held

    bench.one(put(bench, "s", b"a", b"12345", 7))
    assert held() == (1, 6)
    bench.one(put(bench, "s", b"b", b"12", 7))
    bench.one(put(bench, "s", b"a", b"1", 7))
    assert held() == (2, 5)
    bench.one(put(bench, "s", b"a", b"123", 8))
    assert held() == (1, 3)
    moved = [TxnOp(delete=TxnDelete(key=b"b")), TxnOp(put=TxnPut(key=b"b", lease_id=7))]
    bench.one(txn(bench, *moved, TxnOp(put=TxnPut(key=b"b", value=b"1234", lease_id=7))))
    assert held() == (1, 5)
    touched = kv_queries.lease_record(bench.store, 7)
    bench.one(delete_range(bench, KeyRange(prefix=b"b")))
    assert held() == (0, 0)
    # To take a key away does not name the lease.
    after = kv_queries.lease_record(bench.store, 7)
    assert touched is not None and after is not None
    assert after.touched_revision == touched.touched_revision


# --- what is read ------------------------------------------------------------


def test_reads_that_do_not_fit_into_an_answer_are_refused(bench: Bench) -> None:
    """
    Before anything is done, and with the place of the read that is too much; nested ones
    count too. What fits is done, and filled in whole.
    """
    bench.one(put(bench, "s", b"large", LARGE))
    done, get = TxnOp(put=TxnPut(key=b"done")), TxnOp(get=TxnGet(key=b"large"))
    nested = TxnOp(txn=TxnBody(success=[done, get]))
    most = limits.TXN_READ_BYTES_MAX

    refused(bench, txn(bench, done, get, get), "txn.success[2].get", most)
    refused(bench, txn(bench, get, nested), "txn.success[1].txn.success[1].get", most)
    ranged = TxnOp(range=TxnRange())
    refused(bench, txn(bench, get, ranged), "txn.success[1].range", most)

    command = txn(bench, get, done, TxnOp(range=TxnRange(keys_only=True)))
    outcome = bench.one(command)
    before = PastReader(bench.store, outcome.revision - 1)
    result = outcome.txn.txn
    kv_queries.fill_reads(before, command.txn.txn, result)
    assert result.results[0].get.kv.value == LARGE
    assert [each.key for each in result.results[2].range.kvs] == [b"large"]


def test_reads_that_are_accepted_fit(bench: Bench) -> None:
    """
    To the byte: the largest that is done makes an answer below the limit.
    """
    get = TxnOp(get=TxnGet(key=b"k"))
    largest, refusals = 0, 0
    for size in range((1 << 20) - 36, (1 << 20) - 16):
        bench.one(put(bench, "s", b"k", bytes(size)))
        command = txn(bench, get, get)
        outcome = bench.one(command)
        if reason(outcome):
            refusals += 1
            continue
        before = PastReader(bench.store, outcome.revision - 1)
        kv_queries.fill_reads(before, command.txn.txn, outcome.txn.txn)
        largest = sum(each.get.ByteSize() for each in outcome.txn.txn.results)
    assert refusals
    assert limits.TXN_READ_BYTES_MAX - 8 < largest <= limits.TXN_READ_BYTES_MAX


def test_reads_look_at_a_bounded_much(bench: Bench) -> None:
    """
    Also where they show keys only: a transaction is refused, and a page is shorter.
    """
    fill(bench, 9)
    keys_only = TxnOp(range=TxnRange(keys_only=True, limit=5))
    field = "txn.success[1].range"
    refused(bench, txn(bench, keys_only, keys_only), field, limits.LOOKED_BYTES_MAX)
    command = txn(bench, keys_only)
    outcome = bench.one(command)
    before = PastReader(bench.store, outcome.revision - 1)
    kv_queries.fill_reads(before, command.txn.txn, outcome.txn.txn)
    assert len(outcome.txn.txn.results[0].range.kvs) == 5

    def page(after: bytes) -> list[bytes]:
        found = kv_queries.read_range(
            bench.store, KeyRange(), limit=100, bytes_max=1 << 20, after=after, keys_only=True
        )
        return [each.key for each in found]

    assert page(b"") == [b"k%02d" % at for at in range(7)]
    assert page(b"k06") == [b"k07", b"k08"]
