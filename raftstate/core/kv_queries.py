"""Reads of keys and leases, from any reader: of the state now, or as it was (`history`).

Which keys a lease has is no part of the past; that alone is always as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from raftstate.core import keys, kv, leases, limits
from raftstate.core.leases import LeaseRecord
from raftstate.core.ports import Reader
from raftstate.v1.kv_service_pb2 import KeyRange, KeyValue, TxnBody, TxnResult
from raftstate.v1.lease_service_pb2 import Lease

_LEASE_ID_MAX = (1 << 64) - 1


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
    least one if there is one, and no more than fit into `bytes_max` as shown."""
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
    total = 0
    for raw in raws:
        found = KeyValue.FromString(raw)
        if keys_only:
            found.ClearField("value")
        size = found.ByteSize()
        if total and total + size > bytes_max:
            return
        total += size
        yield found


def fill_reads(reader: Reader, body: TxnBody, result: TxnResult, bytes_max: int) -> bool:
    """Put what the reads of a transaction saw into its result. `reader` shows the state
    just before it. Says whether all of it fits into `bytes_max`; if not, the result is
    of no use."""
    return _filled(reader, body, result, bytes_max) >= 0


def _filled(reader: Reader, body: TxnBody, result: TxnResult, room: int) -> int:
    """How much room the reads leave; negative if they do not fit."""
    for op, said in zip(
        body.success if result.succeeded else body.failure, result.results, strict=True
    ):
        if room < 0:
            break
        kind = op.WhichOneof("op")
        if kind == "txn":
            room = _filled(reader, op.txn, said.txn, room)
        elif kind == "get":
            if (found := get_key(reader, op.get.key)) is not None:
                said.get.kv.CopyFrom(found)
            room -= said.get.ByteSize()
        elif kind == "range":
            kvs = read_range(
                reader,
                op.range.range,
                limit=op.range.limit or limits.PAGE_SIZE_DEFAULT,
                # More than there is room for, so that what is too much shows.
                bytes_max=room + limits.REQUEST_BYTES_MAX,
                keys_only=op.range.keys_only,
            )
            said.range.kvs.extend(kvs)
            room -= said.range.ByteSize()
    return room


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
