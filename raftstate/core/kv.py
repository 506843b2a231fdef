"""Keys: an ordered map of bytes, with revisions, under leases or not.

A command first plans what it does to keys, one operation after another, each on top of
those before it; nothing is written meanwhile, so that a refusal of any of them changes
nothing. Then it writes what each key has in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

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


def delete(context: Context, request: DeleteRequest) -> DeleteResponse:
    """Remove a key. One that is not there is no failure."""
    plan = Plan(context)
    said = plan.delete(request.key)
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
        # How many keys each lease will have, and which leases the command names.
        self._held: dict[int, int] = {}
        self._named: dict[int, None] = {}
        self._removed = 0

    def put(self, name: bytes, value: bytes, lease_id: int) -> PutResponse | Refusal:
        """Set a key."""
        before = self._find(name)
        old_lease = before.lease_id if before is not None else 0
        if lease_id and (refusal := self._name(lease_id, new=lease_id != old_lease)):
            return refusal
        self._move(old_lease, lease_id)
        revision = self._context.revision
        after = KeyValue(
            key=name,
            value=value,
            create_revision=revision if before is None else before.create_revision,
            mod_revision=revision,
            version=1 if before is None else before.version + 1,
            lease_id=lease_id,
        )
        self._after[name] = after
        return PutResponse(version=after.version, create_revision=after.create_revision)

    def delete(self, name: bytes) -> DeleteResponse:
        """Remove a key."""
        before = self._find(name)
        if before is not None:
            self._move(before.lease_id, 0)
            self._after[name] = None
        return DeleteResponse(deleted=before is not None)

    def delete_range(self, wanted: KeyRange) -> DeleteRangeResponse | Refusal:
        """Remove every key of a range. All ranges of a command are bounded together."""
        room = limits.RANGE_KEYS_MAX - self._removed
        names = list(islice(self._names(span_of(wanted)), room + 1))
        if len(names) > room:
            most = limits.RANGE_KEYS_MAX
            return refuse_many(f"there are more than {most} keys to remove", most, "range")
        for name in names:
            self.delete(name)
        self._removed += len(names)
        return DeleteRangeResponse(deleted=len(names))

    def write(self) -> None:
        """Do what was planned."""
        for name, after in self._after.items():
            self._write(name, after)
        for lease_id, held in self._held.items():
            leases.count(self._context, lease_id, held)
        for lease_id in self._named:
            leases.touch(self._context, lease_id)

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

    def _names(self, span: keys.Span) -> Iterator[bytes]:
        """The keys that a range will have, in no particular order."""
        for stored, _ in self._context.store.scan(*span):
            if (name := keys.user_key(stored)) not in self._after:
                yield name
        for name, after in self._after.items():
            if after is not None and span.start <= keys.key(name) < span.stop:
                yield name

    def _name(self, lease_id: int, *, new: bool) -> Refusal | None:
        """Why a key cannot be put under a lease; None if it can."""
        if new:
            held = self._count(lease_id)
            if held is None:
                return leases.missing(lease_id)
            if held >= limits.RANGE_KEYS_MAX:
                words = f"lease {lease_id} has {held} keys"
                return refuse_many(words, limits.RANGE_KEYS_MAX, "lease_id")
        self._named[lease_id] = None
        return None

    def _count(self, lease_id: int) -> int | None:
        if lease_id in self._held:
            return self._held[lease_id]
        lease = leases.load(self._context.store, lease_id)
        return None if lease is None else lease.keys

    def _move(self, old_lease: int, new_lease: int) -> None:
        """Count a key that goes from one lease to another; zero is none."""
        if old_lease == new_lease:
            return
        for lease_id, more in ((old_lease, -1), (new_lease, 1)):
            if lease_id:
                held = self._count(lease_id)
                assert held is not None, f"lease {lease_id} does not exist"
                self._held[lease_id] = held + more
