# Generated from raftstate/client/keys.py by scripts/generate. Not to be edited.

"""Keys: a linearizable map with revisions.

Keys and values are bytes; texts are taken in UTF-8. What is written raises, beside what
every mutation raises, what its own line names. Reads take the options of `reading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Unpack, cast

from raftstate.client import keys as face
from raftstate.client.reading import How
from raftstate.client.txn import Done, HasLease, Raw
from raftstate.sync.running import Face
from raftstate.v1.kv_service_pb2 import Compare, KeyValue, PutResponse, TxnOp


class Keys(Face, of=face.Keys):
    """The keys of a store: `store.keys`."""

    @property
    def _it(self) -> face.Keys:
        return cast(face.Keys, self._object)

    def get(self, key: Raw, **how: Unpack[How]) -> KeyValue | None:
        """One key, or None if there is none."""
        return self._do(self._it.get(key, **how))

    def range(
        self,
        start: Raw = b"",
        end: Raw = b"",
        *,
        prefix: Raw = b"",
        keys_only: bool = False,
        backwards: bool = False,
        page_size: int = 0,
        **how: Unpack[How],
    ) -> Iterator[KeyValue]:
        """The keys from `start` to before `end`, or those with `prefix`, in order, all at
        one revision. Raises Compacted (definite) should that be forgotten meanwhile."""
        return self._running.each(
            self._it.range(
                start,
                end,
                prefix=prefix,
                keys_only=keys_only,
                backwards=backwards,
                page_size=page_size,
                **how,
            )
        )

    def put(
        self, key: Raw, value: Raw, *, lease: int | HasLease = 0, timeout: float | None = None
    ) -> PutResponse:
        """Set a key, which goes when `lease` ends. Raises LeaseNotFound, TooMany
        (definite): the lease has 1,000 keys, or 16 MiB."""
        return self._do(self._it.put(key, value, lease=lease, timeout=timeout))

    def delete(self, key: Raw, *, timeout: float | None = None) -> bool:
        """Remove a key; whether there was one."""
        return self._do(self._it.delete(key, timeout=timeout))

    def delete_range(
        self,
        start: Raw = b"",
        end: Raw = b"",
        *,
        prefix: Raw = b"",
        timeout: float | None = None,
    ) -> int:
        """Remove the keys from `start` to before `end`, or those with `prefix`, at one
        revision; how many there were. Raises TooMany (definite): there are more than
        1,000, or than 16 MiB, and none was removed."""
        return self._do(self._it.delete_range(start, end, prefix=prefix, timeout=timeout))

    def delete_prefix(self, prefix: Raw, *, timeout: float | None = None) -> int:
        """Remove any number of keys, in order, some hundreds at a time: **not** at one
        revision. What is put meanwhile may stay. How many were removed.

        `timeout` is that of each piece. When it raises, a part may be removed; it may be
        called again."""
        return self._do(self._it.delete_prefix(prefix, timeout=timeout))

    def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[TxnOp] = (),
        otherwise: Iterable[TxnOp] = (),
        timeout: float | None = None,
    ) -> Done:
        """Compare, and do one of two lists, at one revision. See `raftstate.txn`.

        That the compares do not hold is no failure: `succeeded` is false, and `otherwise`
        was done. Raises LeaseNotFound, TooMany, Conflict (definite): nothing was done,
        also where what it reads is more than 2 MiB; OutcomeForgotten (indefinite): it was
        done, and what it read is compacted."""
        return self._do(
            self._it.txn(when=when, then=then, otherwise=otherwise, timeout=timeout)
        )

    def compact(self, revision: int, *, timeout: float | None = None) -> None:
        """Forget what the store was at revisions below this one; what is stored now stays.
        Raises FutureRevision, Compacted (definite)."""
        self._do(self._it.compact(revision, timeout=timeout))
