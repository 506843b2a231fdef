"""Leases: keys that are put under one go when it ends.

A lease ends by a Revoke, or by an expiry that names exactly the grant and the newest
command naming the lease that the leader saw: a grant, or a put under it. No time is
ever compared here. Its keys go at the revision of its end.

Kept beside the leases is an index of which lease has which keys, so that the end of a
lease costs what it has. How many there are, and how large, is counted, so that a put costs
the same however many there are, and a lease never has more than its end may remove.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from raftstate.core import keys
from raftstate.core.context import Context, refuse
from raftstate.core.ports import Reader
from raftstate.v1.lease_service_pb2 import (
    GrantRequest,
    GrantResponse,
    Lease,
    RevokeRequest,
    RevokeResponse,
)
from raftstate.v1.store_pb2 import Done, ExpireLease, Reason, Refusal

_TOUCH = struct.Struct(">QQ")


class Held(NamedTuple):
    """What a lease has: how many keys, and how many bytes they and their values are."""

    keys: int
    size: int


class LeaseRecord(NamedTuple):
    """A live lease, the bytes it has, and the revision of the newest command that named it."""

    lease: Lease
    size: int
    touched_revision: int

    @property
    def held(self) -> Held:
        """What it has."""
        return Held(self.lease.keys, self.size)


def load(reader: Reader, lease_id: int) -> Lease | None:
    """A live lease."""
    raw = reader.get(keys.lease(lease_id))
    return None if raw is None else Lease.FromString(raw)


def record(reader: Reader, lease_id: int) -> LeaseRecord | None:
    """A live lease, what it has, and when it was touched."""
    lease = load(reader, lease_id)
    if lease is None:
        return None
    touch = reader.get(keys.lease_touch(lease_id))
    assert touch is not None, f"lease {lease_id} has no touch"
    return LeaseRecord(lease, *_TOUCH.unpack(touch))


def missing(lease_id: int) -> Refusal:
    """The refusal for a lease that does not exist."""
    message = f"there is no lease {lease_id}"
    return refuse(Reason.REASON_LEASE_NOT_FOUND, message, field="lease_id")


# --- the life of a lease -----------------------------------------------------


def grant(context: Context, request: GrantRequest) -> GrantResponse | Refusal:
    """Make a lease, under the id asked for, or the command's revision."""
    lease_id = request.lease_id or context.revision
    if load(context.store, lease_id) is not None:
        message = f"lease {lease_id} exists"
        return refuse(Reason.REASON_LEASE_EXISTS, message, field="lease_id")
    lease = Lease(lease_id=lease_id, ttl_ms=request.ttl_ms, granted_revision=context.revision)
    _save(context, lease)
    _save_touch(context, lease_id, 0, context.revision)
    return GrantResponse(lease=lease)


def revoke(context: Context, request: RevokeRequest) -> RevokeResponse | Refusal:
    """End a lease, and remove its keys."""
    if load(context.store, request.lease_id) is None:
        return missing(request.lease_id)
    return RevokeResponse(deleted=_end(context, request.lease_id))


def expire(context: Context, request: ExpireLease) -> Done | Refusal:
    """End a lease, unless it was heard of since the leader looked."""
    context.leases.add(request.lease_id)
    found = record(context.store, request.lease_id)
    if (
        found is None
        or found.lease.granted_revision != request.granted_revision
        or found.touched_revision != request.touched_revision
    ):
        message = f"lease {request.lease_id} has moved since revision"
        return refuse(Reason.REASON_EXPIRY_OVERTAKEN, f"{message} {request.touched_revision}")
    _end(context, request.lease_id)
    return Done()


def _end(context: Context, lease_id: int) -> int:
    """A lease goes with its keys; say how many those were."""
    context.leases.add(lease_id)
    marks = context.store.delete_span(keys.leased_by(lease_id))
    for mark in marks:
        context.store.delete(keys.key(keys.leased_key(mark)))
    context.store.delete(keys.lease_touch(lease_id))
    context.store.delete(keys.lease(lease_id))
    return len(marks)


def _save(context: Context, lease: Lease) -> None:
    raw = lease.SerializeToString(deterministic=True)
    context.store.put(keys.lease(lease.lease_id), raw)


def _save_touch(context: Context, lease_id: int, size: int, touched_revision: int) -> None:
    context.leases.add(lease_id)
    context.store.put(keys.lease_touch(lease_id), _TOUCH.pack(size, touched_revision))


# --- which keys it has -------------------------------------------------------


def attach(context: Context, lease_id: int, name: bytes) -> None:
    """Note that a lease has a key. The caller counts it."""
    context.store.put(keys.leased(lease_id, name), b"")


def detach(context: Context, lease_id: int, name: bytes) -> None:
    """Note that a lease has a key no more. The caller counts it."""
    context.store.delete(keys.leased(lease_id, name))


def count(context: Context, found: LeaseRecord, held: Held, *, named: bool) -> None:
    """Note what a live lease has, of which nothing was written since it was found. If the
    command has named it, expiries that do not know of that come to nothing."""
    if found.lease.keys != held.keys:
        found.lease.keys = held.keys
        _save(context, found.lease)
    touched_revision = context.revision if named else found.touched_revision
    _save_touch(context, found.lease.lease_id, held.size, touched_revision)
