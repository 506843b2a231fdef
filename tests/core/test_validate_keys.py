"""Each limit of keys, leases, watches and validators, at the limit and one beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from raftstate.core import limits
from raftstate.core.validate import violations
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.common_pb2 import Label
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    DeleteRequest,
    GetRequest,
    KeyRange,
    PutRequest,
    RangeRequest,
    TxnBody,
    TxnDelete,
    TxnDeleteRange,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
    TxnSaveProjection,
)
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    LeaseServiceKeepAliveRequest,
    ListLeasesRequest,
    RevokeRequest,
    TimeToLiveRequest,
)
from raftstate.v1.recovery_service_pb2 import ListValidatorsRequest, PutValidatorRequest
from raftstate.v1.store_pb2 import ExpireLease
from raftstate.v1.watch_service_pb2 import Selector, WatchRequest
from tests.core.limit_table import RID, Limit, number, text

ID = "a" * limits.AGENT_ID_CHARS_MAX
LONG = b"k" * 480
ZEROS = b"\x00" * 240
GET = TxnOp(get=TxnGet(key=b"k"))
FENCE = FenceQuery(agent_id="a")


def grant(ttl_ms: int) -> Message:
    return GrantRequest(request_id=RID, ttl_ms=ttl_ms)


def put(**fields: object) -> Message:
    return PutRequest(request_id=RID, **{"key": b"k", **fields})  # type: ignore[arg-type]


def txn(body: TxnBody | None) -> Message:
    return TxnRequest(request_id=RID, txn=body)


def op(**fields: object) -> Message:
    return txn(TxnBody(failure=[GET, TxnOp(**fields)]))  # type: ignore[arg-type]


def compare(**fields: object) -> Message:
    whole: dict[str, object] = {"key": b"k", "version": 1, **fields}
    return txn(TxnBody(compares=[Compare(**whole)]))  # type: ignore[arg-type]


def fenced(**fields: object) -> Message:
    return txn(TxnBody(compares=[Compare(**{"fence": FENCE, **fields})]))  # type: ignore[arg-type]


def nested(depth: int) -> Message:
    body = TxnBody(success=[GET])
    for _ in range(depth):
        body = TxnBody(success=[TxnOp(txn=body)])
    return txn(body)


def counted(count: int) -> Message:
    """So many compares and operations in all, in both branches and a nested one."""
    inner = TxnBody(compares=[Compare(key=b"k", version=1)] * 5, failure=[GET] * 5)
    most = count - 1 - 10 - 20
    return txn(
        TxnBody(
            compares=[Compare(key=b"k", version=1)] * 10,
            success=[TxnOp(txn=inner)] + [GET] * 10,
            failure=[GET] * most,
        )
    )


def ranges(make: Callable[[KeyRange], Message], place: str) -> list[Limit]:
    """What a range may hold, wherever it is."""
    return [
        Limit(lambda v: make(KeyRange(start=v)), LONG, LONG + b"k", f"{place}.start"),
        Limit(lambda v: make(KeyRange(end=v)), ZEROS, ZEROS + b"\x00", f"{place}.end"),
        Limit(lambda v: make(KeyRange(prefix=v)), LONG, LONG + b"k", f"{place}.prefix"),
        Limit(lambda v: make(KeyRange(prefix=v, end=b"z")), b"", b"p", f"{place}.prefix"),
        Limit(lambda v: make(KeyRange(prefix=b"p", start=v)), b"", b"a", f"{place}.prefix"),
        Limit(lambda v: make(KeyRange(start=b"b", end=v)), b"b\x00", b"b", f"{place}.end"),
        Limit(lambda v: make(KeyRange(start=b"b", end=v)), b"", b"a", f"{place}.end"),
    ]


def one_key(make: Callable[[bytes], Message], place: str) -> list[Limit]:
    """What a key may be, wherever it is."""
    return [
        Limit(make, LONG, LONG + b"k", place),
        Limit(make, ZEROS, ZEROS + b"k", place),
        Limit(make, b"\xff", b"", place),
    ]


def watch(**fields: object) -> Message:
    return WatchRequest(**fields)  # type: ignore[arg-type]


def select(**fields: object) -> Message:
    return WatchRequest(selector=Selector(**fields))  # type: ignore[arg-type]


def validator(**fields: Any) -> Message:
    return PutValidatorRequest(request_id=RID, **{"name": "v", **fields})


TABLE = [
    # keys
    *one_key(lambda v: GetRequest(key=v), "key"),
    *one_key(lambda v: put(key=v), "key"),
    *one_key(lambda v: DeleteRequest(request_id=RID, key=v), "key"),
    number("consistency", 2, 5, "consistency", lambda **v: GetRequest(key=b"k", **v)),
    Limit(
        lambda v: GetRequest(key=b"k", consistency=v[0], revision=v[1]),
        (4, 1),
        (3, 0),
        "revision",
    ),
    Limit(lambda v: GetRequest(key=b"k", revision=v), 0, 1, "revision"),
    *ranges(lambda v: RangeRequest(range=v), "range"),
    *ranges(lambda v: DeleteRangeRequest(request_id=RID, range=v), "range"),
    number("page_size", 1_000, 1_001, "page_size", RangeRequest),
    text("page_token", 1_024, "page_token", RangeRequest),
    number("revision", 1, 0, "revision", lambda **v: CompactRequest(request_id=RID, **v)),
    # transactions
    Limit(txn, TxnBody(), None, "txn"),
    Limit(counted, 128, 129, "txn"),
    Limit(nested, 1, 2, "txn.success[0].txn.success[0].txn"),
    Limit(nested, 0, 30, "txn.success[0].txn.success[0].txn"),
    *one_key(lambda v: op(put=TxnPut(key=v)), "txn.failure[1].put.key"),
    *one_key(lambda v: op(delete=TxnDelete(key=v)), "txn.failure[1].delete.key"),
    *one_key(lambda v: op(get=TxnGet(key=v)), "txn.failure[1].get.key"),
    *ranges(
        lambda v: op(delete_range=TxnDeleteRange(range=v)),
        "txn.failure[1].delete_range.range",
    ),
    *ranges(lambda v: op(range=TxnRange(range=v)), "txn.failure[1].range.range"),
    Limit(lambda v: op(range=TxnRange(limit=v)), 1_000, 1_001, "txn.failure[1].range.limit"),
    Limit(
        lambda v: op(save_projection=TxnSaveProjection(name=v)),
        ID,
        ID + "a",
        "txn.failure[1].save_projection.name",
    ),
    Limit(lambda v: op(**v), {"get": TxnGet(key=b"k")}, {}, "txn.failure[1].op"),
    Limit(
        lambda v: txn(TxnBody(compares=[Compare(key=b"k", **v)])),
        {"value": b""},
        {},
        "txn.compares[0].target",
    ),
    *one_key(lambda v: compare(key=v), "txn.compares[0].key"),
    number("comparison", 4, 5, "txn.compares[0].comparison", compare),
    number("comparison", 0, -1, "txn.compares[0].comparison", compare),
    number("comparison", 2, 3, "txn.compares[0].comparison", fenced),
    number("comparison", 1, 4, "txn.compares[0].comparison", fenced),
    number("comparison", 0, 5, "txn.compares[0].comparison", fenced),
    Limit(
        lambda v: fenced(fence=FenceQuery(agent_id=v)),
        "a",
        "",
        "txn.compares[0].fence.agent_id",
    ),
    # leases
    Limit(grant, 500, 499, "ttl_ms"),
    Limit(grant, 86_400_000, 86_400_001, "ttl_ms"),
    Limit(grant, 500, 0, "ttl_ms"),
    Limit(grant, 500, -1, "ttl_ms"),
    number("lease_id", 1, 0, "lease_id", lambda **v: RevokeRequest(request_id=RID, **v)),
    *(
        number("lease_id", (1 << 64) - 1, 0, "lease_id", kind)
        for kind in (LeaseServiceKeepAliveRequest, TimeToLiveRequest, ExpireLease)
    ),
    *(
        number("page_size", 1_000, 1_001, "page_size", kind)
        for kind in (ListLeasesRequest, ListValidatorsRequest)
    ),
    # validators
    Limit(lambda v: validator(name=v), ID, ID + "a", "name"),
    Limit(lambda v: validator(name=v), "v/1", "", "name"),
    text("agent_prefix", 200, "agent_prefix", validator),
    text("description", 255, "description", validator),
    # watches
    number("start", 4, 5, "start", watch),
    number("start", 0, -1, "start", watch),
    Limit(lambda v: watch(start=2, revision=v), 1, 0, "revision"),
    Limit(lambda v: watch(start=v, revision=7), 2, 1, "revision"),
    Limit(lambda v: watch(start=3, resume_token=v), "t", "", "resume_token"),
    Limit(lambda v: watch(start=3, resume_token=v), "t" * 1_024, "t" * 1_025, "resume_token"),
    Limit(lambda v: watch(start=v, resume_token="t"), 3, 4, "resume_token"),
    number("progress_ms", 100, 99, "progress_ms", watch),
    number("progress_ms", 600_000, 600_001, "progress_ms", watch),
    number("progress_ms", 0, 1, "progress_ms", watch),
    Limit(lambda v: select(types=v), [1, 15], [1, 16], "selector.types[1]"),
    Limit(lambda v: select(types=v), [1] * 15, [1] * 16, "selector.types"),
    Limit(lambda v: select(types=v), [], [0], "selector.types[0]"),
    Limit(lambda v: select(prefix=v), LONG, LONG + b"k", "selector.prefix"),
    Limit(
        lambda v: select(labels=[Label(name=str(at)) for at in range(v)]),
        32,
        33,
        "selector.labels",
    ),
    Limit(
        lambda v: select(labels=[Label(name="n"), Label(name=v)]),
        "m",
        "n",
        "selector.labels[1].name",
    ),
]
NAMED = [pytest.param(limit, id=f"{at}-{limit.field}") for at, limit in enumerate(TABLE)]


@pytest.mark.parametrize("limit", NAMED)
def test_a_limit_holds_exactly(limit: Limit) -> None:
    """
    At the limit all is well; one beyond it, exactly that field is named.
    """
    limit.check()


def test_an_empty_range_is_everything() -> None:
    """
    Absent, empty, and with an empty prefix: none of it is wrong.
    """
    for wanted in (None, KeyRange(), KeyRange(prefix=b""), KeyRange(prefix=b"", start=b"a")):
        assert violations(RangeRequest(range=wanted)) == []


def test_a_transaction_that_is_too_large_is_not_looked_through() -> None:
    """
    It is told once, however much is wrong in it.
    """
    body = TxnBody(success=[TxnOp()] * 100_000)

    assert [each.field for each in violations(txn(body))] == ["txn"]
