"""Reads of keys and leases, from any reader: of the state now, or as it was (`history`).

Which keys a lease has is no part of the past; that alone is always as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from raftstate.core import keys, kv, leases, limits
from raftstate.core.leases import LeaseRecord
from raftstate.core.ports import Reader
from raftstate.v1.kv_service_pb2 import KeyRange, KeyValue, TxnBody, TxnOp, TxnResult
from raftstate.v1.lease_service_pb2 import Lease

_LEASE_ID_MAX = (1 << 64) - 1
# What goes around a key in an answer, at most.
_FRAME_BYTES = 6


# --- keys --------------------------------------------------------------------


def get_key(reader: Reader, name: bytes) -> KeyValue | None:
    """One key."""
    if not 0 < keys.cost_of_key(name) <= limits.USER_KEY_BYTES_MAX:
        return None
    return kv.load(reader, name)


def read_range(
    reader: Reader,
    wanted: KeyRange,
    *,
    limit: int,
    bytes_max: int,
    after: bytes = b"",
    keys_only: bool = False,
    backwards: bool = False,
) -> list[KeyValue]:
    """Keys of a range in order, behind `after` if it is given: at most `limit`, and at
    least one if there is one, and no more than fit into `bytes_max` as shown, or than
    `LOOKED_BYTES_MAX` are looked at for."""
    start, stop = kv.span_of(wanted)
    if after and backwards:
        stop = min(stop, keys.key(after))
    elif after:
        start = max(start, keys.key(after) + b"\0")
    if start >= stop or keys.cost_of_key(after) > limits.USER_KEY_BYTES_MAX:
        return []
    scan = reader.scan_back if backwards else reader.scan
    raws = (raw for _, raw in scan(start, stop))
    return list(islice(_shown(raws, bytes_max, keys_only), limit))


def _shown(raws: Iterator[bytes], bytes_max: int, keys_only: bool) -> Iterator[KeyValue]:
    total = looked = 0
    for raw in raws:
        found = _as_shown(raw, keys_only)
        size = found.ByteSize()
        looked += len(raw)
        if total and (total + size > bytes_max or looked > limits.LOOKED_BYTES_MAX):
            return
        total += size
        yield found


def _as_shown(raw: bytes, keys_only: bool) -> KeyValue:
    found = KeyValue.FromString(raw)
    if keys_only:
        found.ClearField("value")
    return found


# --- reads of transactions ---------------------------------------------------


class Size(NamedTuple):
    """What reads add to an answer, and how much is looked at for that, in bytes."""

    shown: int
    looked: int


def size_of_read(reader: Reader, op: TxnOp, most: Size) -> Size:
    """What one read of a transaction comes to; if that is more than `most`, as far as it
    was followed."""
    if op.HasField("get"):
        raw = reader.get(keys.key(op.get.key))
        raws = iter(() if raw is None else (raw,))
    else:
        rows = reader.scan(*kv.span_of(op.range.range))
        raws = (raw for _, raw in islice(rows, _limit(op)))
    keys_only = op.range.keys_only
    shown = looked = 0
    for raw in raws:
        shown += _FRAME_BYTES
        shown += _as_shown(raw, keys_only).ByteSize() if keys_only else len(raw)
        looked += len(raw)
        if shown > most.shown or looked > most.looked:
            break
    return Size(shown, looked)


def fill_reads(reader: Reader, body: TxnBody, result: TxnResult) -> None:
    """Put what the reads of a transaction saw into its result. `reader` shows the state
    just before it. That it fits was seen to when the transaction was applied."""
    for op, said in zip(
        body.success if result.succeeded else body.failure, result.results, strict=True
    ):
        kind = op.WhichOneof("op")
        if kind == "txn":
            fill_reads(reader, op.txn, said.txn)
        elif kind == "get":
            if (found := get_key(reader, op.get.key)) is not None:
                said.get.kv.CopyFrom(found)
        elif kind == "range":
            kvs = read_range(
                reader,
                op.range.range,
                limit=_limit(op),
                bytes_max=limits.TXN_READ_BYTES_MAX,
                keys_only=op.range.keys_only,
            )
            said.range.kvs.extend(kvs)


def _limit(op: TxnOp) -> int:
    return op.range.limit or limits.PAGE_SIZE_DEFAULT


# --- leases ------------------------------------------------------------------


def get_lease(reader: Reader, lease_id: int) -> Lease | None:
    """One live lease."""
    return leases.load(reader, lease_id)


def list_leases(reader: Reader, after: int, limit: int) -> list[Lease]:
    """Up to `limit` live leases with ids above `after`, by id."""
    if after >= _LEASE_ID_MAX:
        return []
    found = islice(reader.scan(*keys.leases(after)), limit)
    return [Lease.FromString(raw) for _, raw in found]


def lease_record(reader: Reader, lease_id: int) -> LeaseRecord | None:
    """A live lease, and the revision of the newest command that named it."""
    return leases.record(reader, lease_id)


def leases_all(reader: Reader) -> Iterator[LeaseRecord]:
    """The record of every live lease."""
    for _, raw in reader.scan(*keys.leases(0)):
        found = leases.record(reader, Lease.FromString(raw).lease_id)
        assert found is not None, "a lease is gone while it is read"
        yield found


def keys_of_lease(reader: Reader, lease_id: int) -> list[bytes]:
    """The keys under a lease, in order."""
    return [keys.leased_key(mark) for mark, _ in reader.scan(*keys.leased_by(lease_id))]
