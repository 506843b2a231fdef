"""Keys, leases and transactions against the dumb model, now and at every revision."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftstate.core import history, kv_queries
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    DeleteRequest,
    KeyRange,
    KeyValue,
    TxnBody,
    TxnDelete,
    TxnDeleteRange,
    TxnGet,
    TxnOp,
    TxnOpResult,
    TxnPut,
    TxnRange,
    TxnRequest,
    TxnResult,
)
from raftstate.v1.store_pb2 import Command, Outcome, Sweep
from tests.core.bench import EPOCH, Bench, reason, replayed
from tests.core.key_model import KeyModel, ModelKey, Refused
from tests.core.key_story import expire_lease, grant, put, revoke

KEYS = st.sampled_from([b"a", b"a\x00", b"a\xff", b"ab", b"\x00", b"\xff\xff", b"b"])
VALUES = st.sampled_from([b"", b"1", b"2"])
LEASES = st.sampled_from([0, 0, 0, 1, 2])
EDGES = st.sampled_from([b"", b"a", b"a\x01", b"b", b"\xff"])
RANGES = st.builds(
    KeyRange, prefix=st.sampled_from([b"a", b"\xff", b"a\xff", b""])
) | st.tuples(EDGES, EDGES).filter(lambda pair: not pair[1] or pair[0] < pair[1]).map(
    lambda pair: KeyRange(start=pair[0], end=pair[1])
)
TOKENS = st.integers(1, 30).map(lambda at: FencingToken(epoch=EPOCH, revision=at))
COMPARES = (
    st.builds(Compare, key=KEYS, comparison=st.integers(0, 4), value=VALUES)
    | st.builds(Compare, key=KEYS, comparison=st.integers(0, 4), version=st.integers(0, 2))
    | st.builds(Compare, key=KEYS, comparison=st.integers(0, 4), lease_id=st.integers(0, 2))
    | st.builds(
        Compare, key=KEYS, comparison=st.integers(0, 4), mod_revision=st.integers(0, 40)
    )
    | st.builds(
        Compare, key=KEYS, comparison=st.integers(0, 4), create_revision=st.integers(0, 40)
    )
    | st.builds(
        Compare,
        comparison=st.integers(0, 2),
        fence=st.builds(FenceQuery, agent_id=st.sampled_from(["w", "v"]), fence=TOKENS),
    )
)
OPS = (
    st.builds(TxnOp, put=st.builds(TxnPut, key=KEYS, value=VALUES, lease_id=LEASES))
    | st.builds(TxnOp, delete=st.builds(TxnDelete, key=KEYS))
    | st.builds(TxnOp, delete_range=st.builds(TxnDeleteRange, range=RANGES))
    | st.builds(TxnOp, get=st.builds(TxnGet, key=KEYS))
    | st.builds(TxnOp, range=st.builds(TxnRange, range=RANGES, limit=st.integers(0, 2)))
)


def bodies(ops: st.SearchStrategy[TxnOp]) -> st.SearchStrategy[TxnBody]:
    some = st.lists(ops, max_size=4)
    return st.builds(
        TxnBody, compares=st.lists(COMPARES, max_size=2), success=some, failure=some
    )


TXNS = bodies(OPS | st.builds(TxnOp, txn=bodies(OPS)))
MANY = 1 << 20


def shown(found: KeyValue) -> ModelKey:
    return ModelKey(
        found.value, found.create_revision, found.mod_revision, found.version, found.lease_id
    )


def said_of(result: TxnResult) -> list[Any]:
    return [result.succeeded, *(_said(each) for each in result.results)]


def _said(each: TxnOpResult) -> Any:
    kind = each.WhichOneof("result")
    if kind == "put":
        return each.put.version, each.put.create_revision
    if kind in ("delete", "delete_range"):
        return getattr(each, kind).deleted
    if kind == "get":
        return shown(each.get.kv) if each.get.HasField("kv") else None
    if kind == "range":
        return [found.key for found in each.range.kvs]
    return said_of(each.txn)


class KeyRules(RuleBasedStateMachine):
    """One machine, one model, and a copy of the model after each revision."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.model = KeyModel()
        self.copies: list[KeyModel] = [KeyModel()]
        self.ttls = iter(range(500, 1 << 30))

    @initialize()
    def begin(self) -> None:
        """There is a session, and an agent that is owned."""
        self.apply_all(lambda: self.bench.open("s"))
        self.apply_all(lambda: self.bench.granted(self.bench.acquire("s", "w")))
        self.model.fences["w"] = self.bench.machine.revision

    def apply_all(self, call: Any) -> Any:
        """Apply a command, and keep a copy of the model as it is then."""
        found = call()
        self.copies.append(self.model.copy())
        return found

    def check(self, command: Command, change: Any) -> Outcome:
        """Apply a command, and compare its answer with what a change of the model says."""
        revision = self.bench.machine.revision + 1
        try:
            want = change(revision)
            refused = ""
        except Refused as refusal:
            want, refused = None, str(refusal)
        outcome = self.bench.one(command)
        self.copies.append(self.model.copy())
        assert reason(outcome) == refused
        if not refused:
            kind = str(outcome.WhichOneof("result"))
            self.compare(kind, getattr(outcome, kind), want)
        return outcome

    def compare(self, kind: str, response: Any, want: Any) -> None:
        if kind == "put":
            assert (response.version, response.create_revision) == want
        elif kind in ("delete", "delete_range", "revoke"):
            assert response.deleted == want
        elif kind == "txn":
            # The reads are no part of it: they come from the revision before.
            before = PastReader(self.bench.store, self.bench.machine.revision - 1)
            body = self.bench.log[-1].commands[0].txn.txn
            result = TxnResult.FromString(response.txn.SerializeToString())
            kv_queries.fill_reads(before, body, result)
            assert said_of(result) == want

    # --- what clients do -----------------------------------------------------

    @rule(key=KEYS, value=VALUES, lease=LEASES)
    def put(self, key: bytes, value: bytes, lease: int) -> None:
        command = put(self.bench, "s", key, value, lease)
        self.check(command, lambda revision: self.model.put(revision, key, value, lease))

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        request = DeleteRequest(request_id=self.bench.request_id("s"), key=key)
        self.check(Command(delete=request), lambda _: self.model.remove([key]))

    @rule(wanted=RANGES)
    def delete_range(self, wanted: KeyRange) -> None:
        request = DeleteRangeRequest(request_id=self.bench.request_id("s"), range=wanted)
        self.check(
            Command(delete_range=request),
            lambda _: self.model.remove(self.model.within(wanted)),
        )

    @rule(body=TXNS, again=st.booleans())
    def txn(self, body: TxnBody, again: bool) -> None:
        request = TxnRequest(request_id=self.bench.request_id("s"), txn=body)
        command = Command(txn=request)
        outcome = self.check(command, lambda revision: self.model.txn(revision, body))
        if again:
            assert self.apply_all(lambda: self.bench.one(command)) == outcome

    @rule(lease=st.sampled_from([1, 2]))
    def grant(self, lease: int) -> None:
        ttl = next(self.ttls)

        def change(revision: int) -> None:
            if lease in self.model.leases:
                raise Refused("LEASE_EXISTS")
            self.model.grant(revision, lease, ttl)

        self.check(grant(self.bench, "s", ttl, lease), change)

    @rule(lease=st.sampled_from([1, 2]))
    def revoke(self, lease: int) -> None:
        def change(_: int) -> int:
            if lease not in self.model.leases:
                raise Refused("LEASE_NOT_FOUND")
            return self.model.end(lease)

        self.check(revoke(self.bench, "s", lease), change)

    @rule(lease=st.sampled_from([1, 2]), late=st.sampled_from([0, 0, 1]), other=st.booleans())
    def expire(self, lease: int, late: int, other: bool) -> None:
        known = self.model.leases.get(lease)
        granted = (known.granted if known else 1) + (1 if other else 0)
        touched = (known.touched if known else 1) - late

        def change(_: int) -> None:
            if known is None or (granted, touched) != (known.granted, known.touched):
                raise Refused("EXPIRY_OVERTAKEN")
            self.model.end(lease)

        self.check(expire_lease(lease, granted, touched), change)

    # --- what is forgotten ---------------------------------------------------

    @rule(back=st.integers(0, 6))
    def compact(self, back: int) -> None:
        revision = max(self.bench.machine.revision - back, 1)
        request = CompactRequest(request_id=self.bench.request_id("s"), revision=revision)
        outcome = self.apply_all(lambda: self.bench.one(Command(compact=request)))
        assert reason(outcome) in ("", "COMPACTED")

    @rule(rows=st.sampled_from([0, 3, 1_000]))
    def sweep(self, rows: int) -> None:
        self.apply_all(lambda: self.bench.one(Command(sweep=Sweep(rows=rows))))

    # --- the laws ------------------------------------------------------------

    def same(self, reader: Reader, model: KeyModel) -> None:
        found = kv_queries.read_range(reader, KeyRange(), limit=MANY, bytes_max=MANY)
        assert [each.key for each in found] == sorted(model.keys)
        assert {each.key: shown(each) for each in found} == model.keys
        leases = kv_queries.list_leases(reader, 0, MANY)
        assert [
            (each.lease_id, each.ttl_ms, each.granted_revision, each.keys) for each in leases
        ] == [
            (lease_id, each.ttl, each.granted, len(model.under(lease_id)))
            for lease_id, each in sorted(model.leases.items())
        ]

    @invariant()
    def now_and_then_are_what_the_model_says(self) -> None:
        store, now = self.bench.store, self.bench.machine.revision
        assert now == len(self.copies) - 1
        self.same(store, self.model)
        oldest = history.read_mark(store).oldest
        for revision in {oldest, (oldest + now) // 2, max(now - 1, oldest)}:
            self.same(PastReader(store, revision), self.copies[revision])

    @invariant()
    def each_lease_has_its_keys(self) -> None:
        store = self.bench.store
        records = {each.lease.lease_id: each for each in kv_queries.leases_all(store)}
        assert {name: each.touched_revision for name, each in records.items()} == {
            name: each.touched for name, each in self.model.leases.items()
        }
        # A lease that has ended leaves nothing behind.
        assert len(list(store.scan(b"y", b"z"))) == len(self.model.leases)
        assert len(list(store.scan(b"j", b"k"))) == sum(
            1 for each in self.model.keys.values() if each.lease
        )
        for lease in (1, 2):
            assert kv_queries.keys_of_lease(store, lease) == self.model.under(lease)

    @invariant()
    def the_kept_hash_is_the_hash(self) -> None:
        assert self.bench.machine.state_hash == full_hash(self.bench.store)

    def teardown(self) -> None:
        """Another replica ends with the same bytes."""
        assert replayed(self.bench.log) == self.bench.store


TestKeyRules = KeyRules.TestCase
TestKeyRules.settings = settings(max_examples=max(settings().max_examples // 2, 30))
