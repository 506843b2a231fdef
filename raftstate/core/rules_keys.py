"""What requests about keys, leases, watches and validators may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from raftstate.core import keys, limits, parts
from raftstate.core.parts import Violation
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    Comparison,
    DeleteRangeRequest,
    DeleteRequest,
    GetRequest,
    KeyRange,
    PutRequest,
    RangeRequest,
    TxnBody,
    TxnOp,
    TxnRequest,
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
from raftstate.v1.watch_service_pb2 import ResourceType, WatchRequest, WatchStart

_EQUALITIES = (
    Comparison.COMPARISON_UNSPECIFIED,
    Comparison.COMPARISON_EQUAL,
    Comparison.COMPARISON_NOT_EQUAL,
)


# --- keys --------------------------------------------------------------------


def _bytes(field: str, value: bytes) -> Iterator[Violation]:
    """A key, or a part of one, that may be empty."""
    if (cost := keys.cost_of_key(value)) > limits.USER_KEY_BYTES_MAX:
        words = f"has {cost} bytes"
        span = f"{limits.USER_KEY_BYTES_MAX} bytes, of which a zero byte counts twice"
        yield Violation(field, words, span)


def _key(value: bytes, field: str = "key") -> Iterator[Violation]:
    if not value:
        yield Violation(field, "is required", f"1 to {limits.USER_KEY_BYTES_MAX} bytes")
    yield from _bytes(field, value)


def _range(wanted: KeyRange, field: str = "range") -> Iterator[Violation]:
    yield from _bytes(f"{field}.start", wanted.start)
    yield from _bytes(f"{field}.end", wanted.end)
    yield from _bytes(f"{field}.prefix", wanted.prefix)
    if wanted.prefix and (wanted.start or wanted.end):
        yield Violation(f"{field}.prefix", "stands beside start or end", "one or the other")
    elif wanted.end and wanted.start >= wanted.end:
        yield Violation(f"{field}.end", "is not behind start", "more than start, or empty")


def _get(message: GetRequest) -> Iterator[Violation]:
    yield from _key(message.key)
    yield from parts.consistency(message)


def _read_range(message: RangeRequest) -> Iterator[Violation]:
    yield from _range(message.range)
    yield from parts.page(message)


def _keyed(message: PutRequest | DeleteRequest) -> Iterator[Violation]:
    return _key(message.key)


def _delete_range(message: DeleteRangeRequest) -> Iterator[Violation]:
    return _range(message.range)


def _compact(message: CompactRequest) -> Iterator[Violation]:
    if not message.revision:
        yield Violation("revision", "is required", "1 or more")


# --- transactions ------------------------------------------------------------


def _txn(message: TxnRequest) -> Iterator[Violation]:
    if not message.HasField("txn"):
        yield Violation("txn", "is required", "a transaction")
        return
    if (size := _size(message.txn)) > limits.TXN_OPERATIONS_MAX:
        words = f"has {size} compares and operations"
        yield Violation("txn", words, f"{limits.TXN_OPERATIONS_MAX}, nested ones included")
        return
    yield from _body(message.txn, "txn", nested=False)


def _size(body: TxnBody, depth: int = 0) -> int:
    """How many compares and operations there are; deeper than may be, none is counted."""
    size = len(body.compares) + len(body.success) + len(body.failure)
    if depth > 1:
        return size
    inner = (op.txn for ops in (body.success, body.failure) for op in ops if op.HasField("txn"))
    return size + sum(_size(each, depth + 1) for each in inner)


def _body(body: TxnBody, place: str, *, nested: bool) -> Iterator[Violation]:
    for at, compare in enumerate(body.compares):
        yield from _compare(compare, f"{place}.compares[{at}]")
    yield from _ops(body.success, f"{place}.success", nested)
    yield from _ops(body.failure, f"{place}.failure", nested)


def _compare(compare: Compare, place: str) -> Iterator[Violation]:
    target = compare.WhichOneof("target")
    yield from parts.enum(f"{place}.comparison", compare.comparison, 4)
    if target is None:
        yield Violation(f"{place}.target", "is required", "what is compared")
    if target != "fence":
        yield from _key(compare.key, f"{place}.key")
        return
    yield from parts.agent_id(compare.fence.agent_id, f"{place}.fence.agent_id")
    if 0 <= compare.comparison <= 4 and compare.comparison not in _EQUALITIES:
        words = f"{compare.comparison} does not go with a fence"
        yield Violation(f"{place}.comparison", words, "equal or not equal")


def _ops(ops: Sequence[TxnOp], place: str, nested: bool) -> Iterator[Violation]:
    for at, op in enumerate(ops):
        kind = op.WhichOneof("op")
        if kind is None:
            yield Violation(f"{place}[{at}].op", "is required", "what is done")
        elif kind == "txn":
            yield from _nested(op.txn, f"{place}[{at}].txn", nested)
        else:
            yield from _OPS[kind](getattr(op, kind), f"{place}[{at}].{kind}")


def _nested(body: TxnBody, place: str, nested: bool) -> Iterator[Violation]:
    if nested:
        yield Violation(place, "is nested too deep", "a transaction in a transaction")
        return
    yield from _body(body, place, nested=True)


def _op_key(op: Any, place: str) -> Iterator[Violation]:
    return _key(op.key, f"{place}.key")


def _op_range(op: Any, place: str) -> Iterator[Violation]:
    return _range(op.range, f"{place}.range")


def _op_read_range(op: Any, place: str) -> Iterator[Violation]:
    yield from _range(op.range, f"{place}.range")
    if op.limit > limits.PAGE_SIZE_MAX:
        yield Violation(f"{place}.limit", f"is {op.limit}", str(limits.PAGE_SIZE_MAX))


def _op_save(op: Any, place: str) -> Iterator[Violation]:
    return parts.agent_id(op.name, f"{place}.name")


_OPS: dict[str, Callable[[Any, str], Iterable[Violation]]] = {
    "put": _op_key,
    "delete": _op_key,
    "delete_range": _op_range,
    "get": _op_key,
    "range": _op_read_range,
    "save_projection": _op_save,
}
assert {*_OPS, "txn"} == {each.name for each in TxnOp.DESCRIPTOR.oneofs[0].fields}


# --- leases and validators ---------------------------------------------------


def _grant(message: GrantRequest) -> Iterator[Violation]:
    least, most = limits.LEASE_TTL_MS_MIN, limits.LEASE_TTL_MS_MAX
    if not least <= message.ttl_ms <= most:
        yield Violation("ttl_ms", f"is {message.ttl_ms}", f"{least} to {most}")


def _named_lease(message: Any) -> Iterator[Violation]:
    if not message.lease_id:
        yield Violation("lease_id", "is required", "1 or more")


def _put_validator(message: PutValidatorRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.name, "name")
    yield from parts.words("agent_prefix", message.agent_prefix, limits.AGENT_ID_CHARS_MAX)
    yield from parts.people("description", message.description)


# --- watches -----------------------------------------------------------------


def _watch(message: WatchRequest) -> Iterator[Violation]:
    yield from _types(message.selector.types)
    yield from _bytes("selector.prefix", message.selector.prefix)
    yield from parts.labels(message.selector.labels, "selector.labels")
    yield from parts.enum("start", message.start, max(WatchStart.values()))
    yield from _goes_with(message, "revision", WatchStart.WATCH_START_REVISION)
    yield from _goes_with(message, "resume_token", WatchStart.WATCH_START_RESUME)
    yield from parts.words("resume_token", message.resume_token, limits.PAGE_TOKEN_CHARS_MAX)
    least, most = limits.PROGRESS_MS_MIN, limits.PROGRESS_MS_MAX
    if message.progress_ms and not least <= message.progress_ms <= most:
        span = f"{least} to {most}, or 0 for the default"
        yield Violation("progress_ms", f"is {message.progress_ms}", span)


def _types(types: Sequence[int]) -> Iterator[Violation]:
    most = max(ResourceType.values())
    if len(types) > most:
        yield Violation("selector.types", f"has {len(types)} types", f"{most} types")
        return
    for at, each in enumerate(types):
        if not 1 <= each <= most:
            yield Violation(f"selector.types[{at}]", f"{each} is not known", f"1 to {most}")


def _goes_with(message: WatchRequest, field: str, start: WatchStart) -> Iterator[Violation]:
    """A field that is required for one way to start, and for no other."""
    given = bool(getattr(message, field))
    if message.start == start and not given:
        yield Violation(field, "is required", f"with {WatchStart.Name(start)}")
    elif given and message.start != start:
        yield Violation(field, "is given", f"only with {WatchStart.Name(start)}")


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    GetRequest: _get,
    RangeRequest: _read_range,
    PutRequest: _keyed,
    DeleteRequest: _keyed,
    DeleteRangeRequest: _delete_range,
    TxnRequest: _txn,
    CompactRequest: _compact,
    GrantRequest: _grant,
    RevokeRequest: _named_lease,
    LeaseServiceKeepAliveRequest: _named_lease,
    TimeToLiveRequest: _named_lease,
    ListLeasesRequest: parts.page,
    ExpireLease: _named_lease,
    PutValidatorRequest: _put_validator,
    ListValidatorsRequest: parts.page,
    WatchRequest: _watch,
}
