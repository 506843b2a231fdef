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
from raftstate.sync.running import Face, listed
from raftstate.v1.kv_service_pb2 import Compare, KeyValue, PutResponse, TxnOp


class Keys(Face, of=face.Keys):
    """The keys of a store: `store.keys`. Keys are bytes of 1 to 480, values bytes of up
    to 1.5 MiB less the rest of their request; texts are taken in UTF-8."""

    @property
    def _it(self) -> face.Keys:
        return cast(face.Keys, self._object)

    def get(self, key: Raw, **how: Unpack[How]) -> KeyValue | None:
        """One key, or None if there is none. Raises what every read does.

        >>> done = store.keys.put("keys/get", b"1")
        >>> found = store.keys.get("keys/get", at_least=done.header.revision)
        >>> found.value, found.version
        (b'1', 1)
        >>> print(store.keys.get("keys/get/none"))
        None
        """
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
        one revision. They are fetched `page_size` at a time: 100 unless told otherwise,
        1,000 at most. Raises Compacted (definite) should the revision be forgotten
        meanwhile, and what every read does.

        >>> for name in ("a", "b", "c"):
        ...     _ = store.keys.put(f"keys/range/{name}", name)
        >>> [one.value for one in store.keys.range(prefix="keys/range/")]
        [b'a', b'b', b'c']
        >>> behind = store.keys.range("keys/range/b", "keys/range/d", backwards=True)
        >>> [one.value for one in behind]
        [b'c', b'b']
        """
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
        """Set a key, which goes when `lease` ends; without one it has none, also if it had.
        The answer says the key's `version`, and in its header the `revision`. Raises
        LeaseNotFound, TooMany (definite): the lease has 1,000 keys, or 16 MiB; and what
        every mutation raises.

        >>> done = store.keys.put("keys/put", "one")
        >>> done.version
        1
        >>> (store.keys.put("keys/put", "two")).version
        2
        """
        return self._do(self._it.put(key, value, lease=lease, timeout=timeout))

    def delete(self, key: Raw, *, timeout: float | None = None) -> bool:
        """Remove a key; whether there was one. Raises what every mutation does.

        >>> _ = store.keys.put("keys/delete", b"")
        >>> store.keys.delete("keys/delete")
        True
        >>> store.keys.delete("keys/delete")
        False
        """
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
        revision; how many there were. Raises TooMany (definite): there are more than 1,000,
        or than 16 MiB, and none was removed; and what every mutation raises.

        >>> for name in ("a", "b", "c"):
        ...     _ = store.keys.put(f"keys/delete-range/{name}", b"")
        >>> store.keys.delete_range("keys/delete-range/a", "keys/delete-range/c")
        2
        >>> store.keys.delete_range(prefix="keys/delete-range/")
        1
        """
        return self._do(self._it.delete_range(start, end, prefix=prefix, timeout=timeout))

    def delete_prefix(self, prefix: Raw, *, timeout: float | None = None) -> int:
        """Remove any number of keys, in order, some hundreds at a time: **not** at one
        revision. What is put meanwhile may stay. How many were removed.

        `timeout` is that of each piece. Raises what every mutation does; a part may be
        removed then, and it may be called again.

        >>> for name in ("a", "b"):
        ...     _ = store.keys.put(f"keys/delete-prefix/{name}", b"")
        >>> store.keys.delete_prefix("keys/delete-prefix/")
        2
        """
        return self._do(self._it.delete_prefix(prefix, timeout=timeout))

    def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[TxnOp] = (),
        otherwise: Iterable[TxnOp] = (),
        timeout: float | None = None,
    ) -> Done:
        """Compare, and do one of two lists, at one revision. See `raftstate.txn`. There are
        at most 128 compares and operations.

        That the compares do not hold is no failure: `succeeded` is false, and `otherwise`
        was done. Raises LeaseNotFound, TooMany, Conflict (definite): nothing was done, also
        where what it reads is more than 2 MiB; OutcomeForgotten (indefinite): it was done,
        and what it read is compacted; and what every mutation raises.

        >>> done = store.keys.txn(
        ...     when=[raftstate.txn.missing("keys/txn")],
        ...     then=[raftstate.txn.put("keys/txn", "mine")],
        ...     otherwise=[raftstate.txn.get("keys/txn")],
        ... )
        >>> done.succeeded
        True
        """
        return self._do(
            self._it.txn(
                when=listed(when),
                then=listed(then),
                otherwise=listed(otherwise),
                timeout=timeout,
            )
        )

    def compact(self, revision: int, *, timeout: float | None = None) -> None:
        """Forget what the store was at revisions below this one; what is stored now stays.
        Raises FutureRevision, Compacted (definite): it was compacted up to there before;
        and what every mutation raises.

        >>> old = store.keys.put("keys/compact", "old")
        >>> new = store.keys.put("keys/compact", "new")
        >>> store.keys.compact(new.header.revision)
        >>> store.keys.get("keys/compact", at=old.header.revision)
        Traceback (most recent call last):
        raftstate.errors.Compacted: ...
        """
        self._do(self._it.compact(revision, timeout=timeout))
