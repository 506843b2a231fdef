"""A dumb model of keys, leases and transactions: dicts, whole copies, no thought of speed.

It is written from the API's words, not from the code.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from raftstate.v1.kv_service_pb2 import Comparison, KeyRange

MANY = 1_000


class Refused(Exception):
    """An operation that is refused, and why."""


@dataclass
class ModelKey:
    value: bytes
    created: int
    modified: int
    version: int
    lease: int


@dataclass
class ModelLease:
    ttl: int
    granted: int
    touched: int


@dataclass
class KeyModel:
    """What there is now, and what there was."""

    keys: dict[bytes, ModelKey] = field(default_factory=dict)
    leases: dict[int, ModelLease] = field(default_factory=dict)
    # The grants of agents: agent -> the revision of the one that stands.
    fences: dict[str, int] = field(default_factory=dict)

    def copy(self) -> KeyModel:
        return deepcopy(self)

    def within(self, wanted: KeyRange) -> list[bytes]:
        """The keys of a range, in order."""
        if wanted.prefix:
            return sorted(key for key in self.keys if key.startswith(wanted.prefix))
        end = wanted.end
        return sorted(
            key for key in self.keys if wanted.start <= key and (not end or key < end)
        )

    def under(self, lease: int) -> list[bytes]:
        """The keys under a lease, in order."""
        return sorted(key for key, each in self.keys.items() if each.lease == lease)

    # --- what changes --------------------------------------------------------

    def put(self, revision: int, key: bytes, value: bytes, lease: int) -> tuple[int, int]:
        before = self.keys.get(key)
        if lease:
            if lease not in self.leases:
                raise Refused("LEASE_NOT_FOUND")
            if len(set(self.under(lease)) - {key}) >= MANY:
                raise Refused("TOO_MANY")
            self.leases[lease].touched = revision
        created = before.created if before else revision
        version = before.version + 1 if before else 1
        self.keys[key] = ModelKey(value, created, revision, version, lease)
        return version, created

    def remove(self, keys: list[bytes]) -> int:
        return sum(self.keys.pop(key, None) is not None for key in keys)

    def grant(self, revision: int, lease: int, ttl: int) -> None:
        self.leases[lease] = ModelLease(ttl, revision, revision)

    def end(self, lease: int) -> int:
        del self.leases[lease]
        return self.remove(self.under(lease))

    # --- transactions --------------------------------------------------------

    def txn(self, revision: int, body: Any) -> list[Any]:
        """What a transaction says: whether its compares held, then its results."""
        before, after = self.copy(), self.copy()
        said = after._run(before, revision, body)
        self.keys, self.leases = after.keys, after.leases
        return said

    def _run(self, before: KeyModel, revision: int, body: Any) -> list[Any]:
        held = all(before.holds(each) for each in body.compares)
        ops = body.success if held else body.failure
        return [held, *(self._do(before, revision, op) for op in ops)]

    def _do(self, before: KeyModel, revision: int, op: Any) -> Any:
        kind = op.WhichOneof("op")
        if kind == "put":
            return self.put(revision, op.put.key, op.put.value, op.put.lease_id)
        if kind == "delete":
            return self.remove([op.delete.key])
        if kind == "delete_range":
            return self.remove(self.within(op.delete_range.range))
        if kind == "get":
            return before.keys.get(op.get.key)
        if kind == "range":
            return before.within(op.range.range)[: op.range.limit or 100]
        return self._run(before, revision, op.txn)

    def holds(self, compare: Any) -> bool:
        target = compare.WhichOneof("target")
        wanted = getattr(compare, target)
        sign = Comparison.Name(compare.comparison).removeprefix("COMPARISON_")
        if target == "fence":
            owned = self.fences.get(wanted.agent_id) == wanted.fence.revision
            return bool(owned == (sign != "NOT_EQUAL"))
        found = self.keys.get(compare.key)
        if target == "value" and found is None:
            return False
        names = {
            "value": "value",
            "version": "version",
            "create_revision": "created",
            "mod_revision": "modified",
            "lease_id": "lease",
        }
        there: Any = getattr(found, names[target]) if found else 0
        said: dict[str, bool] = {
            "UNSPECIFIED": there == wanted,
            "EQUAL": there == wanted,
            "NOT_EQUAL": there != wanted,
            "GREATER": there > wanted,
            "LESS": there < wanted,
        }
        return said[sign]
