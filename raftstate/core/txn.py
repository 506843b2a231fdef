"""Transactions: compare, and run one of two lists of operations at one revision.

All compares, nested ones too, see the state just before. What the operations of the
chosen branch do is planned first, one on top of the other, so that a refusal of any of
them finds nothing written. What reads see is that state too; it may be large, so it is
no part of the outcome: whoever answers reads it from history. Whether it fits into an
answer is found out here, where a transaction of which it does not can still be refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from raftstate.core import agents, kv, limits, projections
from raftstate.core.context import Context, refuse_many
from raftstate.core.kv_queries import Size, size_of_read
from raftstate.core.ports import Reader
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.kv_service_pb2 import (
    Compare,
    Comparison,
    GetResponse,
    RangeResponse,
    SavedPosition,
    TxnBody,
    TxnOp,
    TxnOpResult,
    TxnRequest,
    TxnResponse,
    TxnResult,
    TxnSaveProjection,
)
from raftstate.v1.store_pb2 import Refusal

# What all reads of a transaction together may come to.
_READ_MOST = Size(limits.TXN_READ_BYTES_MAX, limits.LOOKED_BYTES_MAX)


@dataclass(slots=True)
class _Work:
    """What a transaction will do, and nothing of it is done yet."""

    context: Context
    keys: kv.Plan
    # Where each projection that is saved will be.
    positions: dict[str, int] = field(default_factory=dict)
    # What its reads may still come to.
    left: Size = _READ_MOST


def txn(context: Context, request: TxnRequest) -> TxnResponse | Refusal:
    """Compare, and do what is to be done then."""
    work = _Work(context, kv.Plan(context))
    result = _planned(work, request.txn, "txn")
    if isinstance(result, Refusal):
        return result
    work.keys.write()
    for name, position in work.positions.items():
        refusal = projections.save_position(context, name, position, None)
        assert refusal is None, f"projection {name} was checked, and then: {refusal}"
    return TxnResponse(txn=result)


def holds(reader: Reader, compare: Compare) -> bool:
    """Whether a compare holds in the state that a reader shows."""
    target = compare.WhichOneof("target")
    if target == "fence":
        same = _is_owned_under(reader, compare.fence)
        return same != (compare.comparison == Comparison.COMPARISON_NOT_EQUAL)
    found = kv.load(reader, compare.key)
    if found is None and target == "value":
        return False
    there = getattr(found, str(target)) if found is not None else 0
    return _compared(compare.comparison, there, getattr(compare, str(target)))


def _compared(comparison: Comparison, there: Any, wanted: Any) -> bool:
    if comparison == Comparison.COMPARISON_NOT_EQUAL:
        return bool(there != wanted)
    if comparison == Comparison.COMPARISON_GREATER:
        return bool(there > wanted)
    if comparison == Comparison.COMPARISON_LESS:
        return bool(there < wanted)
    return bool(there == wanted)


def _is_owned_under(reader: Reader, query: FenceQuery) -> bool:
    agent = agents.load(reader, query.agent_id)
    if agent is None or not agent.HasField("owner"):
        return False
    return token_key(agent.owner.fence) == token_key(query.fence)


def _planned(work: _Work, body: TxnBody, place: str) -> TxnResult | Refusal:
    held = all(holds(work.context.store, compare) for compare in body.compares)
    result = TxnResult(succeeded=held)
    branch = "success" if held else "failure"
    for at, op in enumerate(body.success if held else body.failure):
        kind = str(op.WhichOneof("op"))
        where = f"{place}.{branch}[{at}].{kind}"
        said = _operation(work, op, kind, where)
        if isinstance(said, Refusal):
            if kind != "txn":
                said.field = f"{where}.{said.field}" if said.field else where
            return said
        result.results.append(TxnOpResult(**{kind: said}))
    return result


def _operation(work: _Work, op: TxnOp, kind: str, place: str) -> Any:
    """What one operation will say, or why it is refused."""
    if kind == "put":
        return work.keys.put(op.put.key, op.put.value, op.put.lease_id)
    if kind == "delete":
        return work.keys.delete(op.delete.key)
    if kind == "delete_range":
        return work.keys.delete_range(op.delete_range.range)
    if kind == "txn":
        return _planned(work, op.txn, place)
    if kind == "save_projection":
        return _saved(work, op.save_projection)
    return _read(work, op)


def _read(work: _Work, op: TxnOp) -> GetResponse | RangeResponse | Refusal:
    """An answer that holds nothing yet, or why there would be too much in it."""
    left = work.left
    size = size_of_read(work.context.store, op, left)
    if size.shown > left.shown:
        most = limits.TXN_READ_BYTES_MAX
        return refuse_many(f"the reads show more than {most} bytes", most, "")
    if size.looked > left.looked:
        most = limits.LOOKED_BYTES_MAX
        return refuse_many(f"the reads look at more than {most} bytes", most, "")
    work.left = Size(left.shown - size.shown, left.looked - size.looked)
    return GetResponse() if op.HasField("get") else RangeResponse()


def _saved(work: _Work, save: TxnSaveProjection) -> SavedPosition | Refusal:
    expected = save.expected_position if save.HasField("expected_position") else None
    current = work.positions.get(save.name)
    refusal = projections.check_position(
        work.context, save.name, save.position, expected, current
    )
    if refusal is not None:
        return refusal
    work.positions[save.name] = save.position
    return SavedPosition(position=save.position)
