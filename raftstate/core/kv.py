"""Keys: an ordered map of bytes, with revisions, under leases or not.

A command first plans what it does to keys, one operation after another, each on top of
those before it; nothing is written meanwhile, so that a refusal of any of them changes
nothing. Then it writes what each key has in the end.
"""

from __future__ import annotations

from raftstate.core import keys, leases, limits
from raftstate.core.context import Context, refuse_many
from raftstate.core.ports import Reader
from raftstate.v1.kv_service_pb2 import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    DeleteRequest,
    DeleteResponse,
    KeyRange,
    KeyValue,
    PutRequest,
    PutResponse,
)
from raftstate.v1.store_pb2 import Refusal


def load(reader: Reader, name: bytes) -> KeyValue | None:
    """A key as it is stored."""
    raw = reader.get(keys.key(name))
    return None if raw is None else KeyValue.FromString(raw)


def span_of(wanted: KeyRange) -> keys.Span:
    """Where the keys of a range are; of an empty range: all."""
    if wanted.prefix:
        return keys.keys_with(wanted.prefix)
    return keys.key_range(wanted.start, wanted.end)


# --- commands ----------------------------------------------------------------


def put(context: Context, request: PutRequest) -> PutResponse | Refusal:
    """Set a key."""
    plan = Plan(context)
    said = plan.put(request.key, request.value, request.lease_id)
    if isinstance(said, PutResponse):
        plan.write()
    return said


def delete(context: Context, request: DeleteRequest) -> DeleteResponse | Refusal:
    """Remove a key. One that is not there is no failure."""
    plan = Plan(context)
    said = plan.delete(request.key)
    if isinstance(said, DeleteResponse):
        plan.write()
    return said


def delete_range(
    context: Context, request: DeleteRangeRequest
) -> DeleteRangeResponse | Refusal:
    """Remove every key of a range."""
    plan = Plan(context)
    said = plan.delete_range(request.range)
    if isinstance(said, DeleteRangeResponse):
        plan.write()
    return said


class Plan:
    """What one command will do to keys, worked out before anything is written.

    Once an operation is refused, the plan is of no use.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        # What each key will have; None: it will be gone.
        self._after: dict[bytes, KeyValue | None] = {}
        # Leases as they are, what each will have, and which of them the command names.
        self._leases: dict[int, leases.LeaseRecord] = {}
        self._held: dict[int, leases.Held] = {}
        self._named: dict[int, None] = {}
        # How many keys ranges will remove, and how many bytes will be history.
        self._removed = 0
        self._replaced = 0

    def put(self, name: bytes, value: bytes, lease_id: int) -> PutResponse | Refusal:
        """Set a key."""
        before = self._find(name)
        refusal = self._replace(name, before)
        if refusal is not None:
            return refusal
        revision = self._context.revision
        after = KeyValue(
            key=name,
            value=value,
            create_revision=revision if before is None else before.create_revision,
            mod_revision=revision,
            version=1 if before is None else before.version + 1,
            lease_id=lease_id,
        )
        if lease_id and (refusal := self._refuse_lease(before, after)) is not None:
            return refusal
        self._move(before, after)
        self._after[name] = after
        return PutResponse(version=after.version, create_revision=after.create_revision)

    def delete(self, name: bytes) -> DeleteResponse | Refusal:
        """Remove a key."""
        before = self._find(name)
        refusal = self._replace(name, before)
        if refusal is not None:
            return refusal
        self._remove(name, before)
        return DeleteResponse(deleted=before is not None)

    def delete_range(self, wanted: KeyRange) -> DeleteRangeResponse | Refusal:
        """Remove every key of a range. All ranges of a command are bounded together, in
        what they look at, so that to go over the same keys again counts again."""
        span = span_of(wanted)
        names = []
        for stored, raw in self._context.store.scan(*span):
            if (name := keys.user_key(stored)) not in self._after:
                names.append(name)
            self._replaced += len(raw)
            if self._replaced > limits.RANGE_BYTES_MAX:
                return _too_many_bytes("range")
            if self._removed + len(names) > limits.RANGE_KEYS_MAX:
                break
        names += [
            name
            for name, after in self._after.items()
            if after is not None and span.start <= keys.key(name) < span.stop
        ]
        self._removed += len(names)
        if self._removed > (most := limits.RANGE_KEYS_MAX):
            return refuse_many(f"there are more than {most} keys to remove", most, "range")
        for name in names:
            self._remove(name, self._find(name))
        return DeleteRangeResponse(deleted=len(names))

    def _remove(self, name: bytes, before: KeyValue | None) -> None:
        if before is not None:
            self._move(before, None)
            self._after[name] = None

    def write(self) -> None:
        """Do what was planned."""
        for name, after in self._after.items():
            self._write(name, after)
        for lease_id, held in self._held.items():
            found, named = self._leases[lease_id], lease_id in self._named
            leases.count(self._context, found, held, named=named)

    def _write(self, name: bytes, after: KeyValue | None) -> None:
        context = self._context
        before = load(context.store, name)
        old_lease = before.lease_id if before is not None else 0
        new_lease = after.lease_id if after is not None else 0
        if after is None:
            context.store.delete(keys.key(name))
        else:
            context.store.put(keys.key(name), after.SerializeToString(deterministic=True))
        if old_lease != new_lease:
            if old_lease:
                leases.detach(context, old_lease, name)
            if new_lease:
                leases.attach(context, new_lease, name)

    # --- on top of what is planned already -------------------------------------

    def _find(self, name: bytes) -> KeyValue | None:
        if name in self._after:
            return self._after[name]
        return load(self._context.store, name)

    def _replace(self, name: bytes, before: KeyValue | None) -> Refusal | None:
        """Count what a key has, which goes into history; why that is too much, if it is."""
        if before is None or name in self._after:
            return None
        self._replaced += before.ByteSize()
        return _too_many_bytes("key") if self._replaced > limits.RANGE_BYTES_MAX else None

    def _refuse_lease(self, before: KeyValue | None, after: KeyValue) -> Refusal | None:
        """Why a key cannot be put under its lease; None if it can."""
        lease_id = after.lease_id
        held = self._count(lease_id)
        if held is None:
            return leases.missing(lease_id)
        new, size = True, held.size + _size(after)
        if before is not None and before.lease_id == lease_id:
            new, size = False, size - _size(before)
        if new and held.keys >= (most := limits.RANGE_KEYS_MAX):
            return refuse_many(f"lease {lease_id} has {held.keys} keys", most, "lease_id")
        if size > (most := limits.RANGE_BYTES_MAX):
            words = f"lease {lease_id} would have {size} bytes"
            return refuse_many(words, most, "lease_id")
        self._named[lease_id] = None
        return None

    def _count(self, lease_id: int) -> leases.Held | None:
        if lease_id in self._held:
            return self._held[lease_id]
        found = leases.record(self._context.store, lease_id)
        if found is None:
            return None
        self._leases[lease_id] = found
        return found.held

    def _move(self, before: KeyValue | None, after: KeyValue | None) -> None:
        """Count a key that goes from one lease to another, or stays in one."""
        for found, sign in ((before, -1), (after, 1)):
            if found is not None and found.lease_id:
                held = self._count(found.lease_id)
                assert held is not None, f"lease {found.lease_id} does not exist"
                size = held.size + sign * _size(found)
                self._held[found.lease_id] = leases.Held(held.keys + sign, size)


def _size(found: KeyValue) -> int:
    """What a key counts for at its lease."""
    return len(found.key) + len(found.value)


def _too_many_bytes(field: str) -> Refusal:
    most = limits.RANGE_BYTES_MAX
    return refuse_many(f"more than {most} bytes would be removed or replaced", most, field)
