"""What stories say of keys, leases and transactions; see `story`.

    put K by=S [value=V] [lease=N]       delete K by=S
    delete-range by=S [prefix=P] [start=K] [end=K]
    txn by=S [if=COMPARE]... [then=OPERATION]... [else=OPERATION]...
    grant N by=S [ttl=MS]                revoke N by=S          compact R by=S
    expire-lease N granted=R touched=R   trim R

A compare is "K FIELD = VALUE" (or !=, <, >), or "fence A = R". An operation is
"put K V [LEASE]", "delete K", "delete-range PREFIX", "get K", "range PREFIX",
"save NAME POSITION [EXPECTED]" or "txn if COMPARE then OPERATION else OPERATION ...".
Lease 0 is one that the store numbers. And the reads

    keys [PREFIX]     leases     lease N
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from raftstate.core import kv_queries
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    Comparison,
    DeleteRangeRequest,
    DeleteRequest,
    KeyRange,
    KeyValue,
    PutRequest,
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
    TxnSaveProjection,
)
from raftstate.v1.lease_service_pb2 import GrantRequest, Lease, RevokeRequest
from raftstate.v1.store_pb2 import Command, ExpireLease, TrimHistory
from tests.core.bench import EPOCH, Bench
from tests.core.stream_story import Shown

if TYPE_CHECKING:
    from tests.core.story import Line

MANY = 1 << 20
COMPARISONS = {
    "=": Comparison.COMPARISON_EQUAL,
    "!=": Comparison.COMPARISON_NOT_EQUAL,
    ">": Comparison.COMPARISON_GREATER,
    "<": Comparison.COMPARISON_LESS,
}


# --- commands ----------------------------------------------------------------


def compare(text: str) -> Compare:
    """A compare from its words."""
    key, field, sign, value = text.split()
    comparison = COMPARISONS[sign]
    if key == "fence":
        token = FencingToken(epoch=EPOCH, revision=int(value))
        return Compare(comparison=comparison, fence=FenceQuery(agent_id=field, fence=token))
    target: Any = value.encode() if field == "value" else int(value)
    return Compare(key=key.encode(), comparison=comparison, **{field: target})


def operation(text: str) -> TxnOp:
    """An operation from its words."""
    verb, *words = text.split()
    if verb == "txn":
        return TxnOp(txn=_nested(words))
    name = words[0].encode() if words else b""
    if verb == "put":
        lease_id = int(words[2]) if len(words) > 2 else 0
        return TxnOp(put=TxnPut(key=name, value=words[1].encode(), lease_id=lease_id))
    if verb == "delete":
        return TxnOp(delete=TxnDelete(key=name))
    if verb == "delete-range":
        return TxnOp(delete_range=TxnDeleteRange(range=KeyRange(prefix=name)))
    if verb == "get":
        return TxnOp(get=TxnGet(key=name))
    if verb == "range":
        return TxnOp(range=TxnRange(range=KeyRange(prefix=name)))
    assert verb == "save", f"no such operation: {text}"
    expected = int(words[2]) if len(words) > 2 else None
    save = TxnSaveProjection(name=words[0], position=int(words[1]), expected_position=expected)
    return TxnOp(save_projection=save)


def _nested(words: list[str]) -> TxnBody:
    clauses: dict[str, list[str]] = {"if": [], "then": [], "else": []}
    current: list[str] = []
    for word in words:
        if word in clauses:
            current = clauses[word]
            current.append("")
        else:
            current[-1] += f" {word}"
    return body(clauses["if"], clauses["then"], clauses["else"])


def body(compares: list[str], success: list[str], failure: list[str]) -> TxnBody:
    """A transaction from its words."""
    return TxnBody(
        compares=[compare(each) for each in compares],
        success=[operation(each) for each in success],
        failure=[operation(each) for each in failure],
    )


def _txn(bench: Bench, line: Line, by: str) -> Command:
    made = body(line.all("if"), line.all("then"), line.all("else"))
    return Command(txn=TxnRequest(request_id=bench.request_id(by), txn=made))


def _put(bench: Bench, line: Line, by: str) -> Command:
    return put(bench, by, line.name.encode(), line.text("value").encode(), line.number("lease"))


def put(bench: Bench, by: str, key: bytes, value: bytes = b"", lease_id: int = 0) -> Command:
    """Set a key."""
    request_id = bench.request_id(by)
    request = PutRequest(request_id=request_id, key=key, value=value, lease_id=lease_id)
    return Command(put=request)


def _delete(bench: Bench, line: Line, by: str) -> Command:
    request = DeleteRequest(request_id=bench.request_id(by), key=line.name.encode())
    return Command(delete=request)


def _delete_range(bench: Bench, line: Line, by: str) -> Command:
    bounds = {each: line.text(each).encode() for each in ("prefix", "start", "end")}
    request_id = bench.request_id(by)
    return Command(
        delete_range=DeleteRangeRequest(request_id=request_id, range=KeyRange(**bounds))
    )


def grant(bench: Bench, by: str, ttl: int = 5_000, lease_id: int = 0) -> Command:
    """Make a lease."""
    request_id = bench.request_id(by)
    return Command(grant=GrantRequest(request_id=request_id, ttl_ms=ttl, lease_id=lease_id))


def _grant(bench: Bench, line: Line, by: str) -> Command:
    return grant(bench, by, line.number("ttl", 5_000), int(line.name))


def revoke(bench: Bench, by: str, lease_id: int) -> Command:
    """End a lease."""
    return Command(revoke=RevokeRequest(request_id=bench.request_id(by), lease_id=lease_id))


def _compact(bench: Bench, line: Line, by: str) -> Command:
    request_id = bench.request_id(by)
    return Command(compact=CompactRequest(request_id=request_id, revision=int(line.name)))


def expire_lease(lease_id: int, granted: int, touched: int) -> Command:
    """What a leader proposes when a lease has had its time."""
    expiry = ExpireLease(lease_id=lease_id, granted_revision=granted, touched_revision=touched)
    return Command(expire_lease=expiry)


PLAIN: dict[str, Callable[[Line], Command]] = {
    "expire-lease": lambda line: expire_lease(
        int(line.name), line.number("granted"), line.number("touched")
    ),
    "trim": lambda line: Command(trim_history=TrimHistory(revision=int(line.name))),
}
MUTATIONS: dict[str, Callable[[Bench, Line, str], Command]] = {
    "put": _put,
    "delete": _delete,
    "delete-range": _delete_range,
    "txn": _txn,
    "grant": _grant,
    "revoke": lambda bench, line, by: revoke(bench, by, int(line.name)),
    "compact": _compact,
}

# --- what was said -----------------------------------------------------------


def _result(result: TxnResult) -> str:
    said = "; ".join(_op_result(each) for each in result.results)
    return f"{'succeeded' if result.succeeded else 'failed'} [{said}]"


def _op_result(result: TxnOpResult) -> str:
    kind = str(result.WhichOneof("result"))
    shown: dict[str, Callable[[Any], str]] = {
        **SAID,
        "save_projection": lambda said: f"saved at {said.position}",
    }
    if kind == "txn":
        return _result(result.txn)
    return str(shown.get(kind, lambda _: kind)(getattr(result, kind)))


SAID: dict[str, Callable[[Any], str]] = {
    "put": lambda said: f"put version={said.version} created={said.create_revision}",
    "delete": lambda said: "deleted" if said.deleted else "there was none",
    "delete_range": lambda said: f"deleted {said.deleted}",
    "txn": lambda said: f"txn {_result(said.txn)}",
    "grant": lambda said: f"granted {_lease(said.lease)}",
    "revoke": lambda said: f"revoked, deleted {said.deleted}",
}


def _lease(lease: Lease) -> str:
    return (
        f"lease {lease.lease_id} ttl={lease.ttl_ms} granted={lease.granted_revision}"
        f" keys={lease.keys}"
    )


def _key(each: KeyValue) -> str:
    words = (
        f"{each.key.decode()} = {each.value.decode() or '-'} version={each.version}"
        f" created={each.create_revision} modified={each.mod_revision}"
    )
    return f"{words} lease={each.lease_id}" if each.lease_id else words


# --- reads -------------------------------------------------------------------


def _read_keys(shown: Shown, name: str) -> Iterator[str]:
    wanted = KeyRange(prefix=name.encode())
    return map(_key, kv_queries.read_range(shown.store, wanted, limit=MANY, bytes_max=MANY))


def _read_lease(shown: Shown, name: str) -> Iterator[str]:
    record = kv_queries.lease_record(shown.store, int(name))
    if record is not None:
        yield f"{_lease(record.lease)} touched={record.touched_revision}"
        yield from (each.decode() for each in kv_queries.keys_of_lease(shown.store, int(name)))


READS: dict[str, Callable[[Shown, str], Iterator[str]]] = {
    "keys": _read_keys,
    "leases": lambda shown, _: map(_lease, kv_queries.list_leases(shown.store, 0, MANY)),
    "lease": _read_lease,
}
