"""Keys: a linearizable map with revisions.

Keys and values are bytes; texts are taken in UTF-8. What is written raises, beside what
every mutation raises, what its own line names. Reads take the options of `reading`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final, Unpack

from raftstate.client import reading, txn
from raftstate.client.engine import Engine
from raftstate.client.reading import How
from raftstate.client.txn import Done, HasLease, Raw
from raftstate.errors import TooMany
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    DeleteRequest,
    GetRequest,
    KeyValue,
    PutRequest,
    PutResponse,
    RangeRequest,
    TxnOp,
    TxnRequest,
)

# Half of what one command removes, as there may be more keys by then.
_PIECE: Final = 500
_REFUSED_MAX: Final = 10


class Keys:
    """The keys of a store: `store.keys`. Keys are bytes of 1 to 480, values bytes of up to
    1.5 MiB less the rest of their request; texts are taken in UTF-8."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- reading ---

    async def get(self, key: Raw, **how: Unpack[How]) -> KeyValue | None:
        """One key, or None if there is none. Raises what every read does.

        >>> done = await store.keys.put("keys/get", b"1")
        >>> found = await store.keys.get("keys/get", at_least=done.header.revision)
        >>> found.value, found.version
        (b'1', 1)
        >>> print(await store.keys.get("keys/get/none"))
        None
        """
        request = GetRequest(key=txn.raw(key))
        answer = await reading.read_as(self._engine, lambda peer: peer.kv.Get, request, how)
        return answer.kv if answer.HasField("kv") else None

    async def range(
        self,
        start: Raw = b"",
        end: Raw = b"",
        *,
        prefix: Raw = b"",
        keys_only: bool = False,
        backwards: bool = False,
        page_size: int = 0,
        **how: Unpack[How],
    ) -> AsyncIterator[KeyValue]:
        """The keys from `start` to before `end`, or those with `prefix`, in order, all at
        one revision. They are fetched `page_size` at a time: 100 unless told otherwise,
        1,000 at most. Raises Compacted (definite) should the revision be forgotten
        meanwhile, and what every read does.

        >>> for name in ("a", "b", "c"):
        ...     _ = await store.keys.put(f"keys/range/{name}", name)
        >>> [one.value async for one in store.keys.range(prefix="keys/range/")]
        [b'a', b'b', b'c']
        >>> behind = store.keys.range("keys/range/b", "keys/range/d", backwards=True)
        >>> [one.value async for one in behind]
        [b'c', b'b']
        """
        request = RangeRequest(
            range=txn.key_range(start, end, prefix),
            keys_only=keys_only,
            backwards=backwards,
            page_size=page_size,
        )
        async for page in reading.pages(self._engine, lambda peer: peer.kv.Range, request, how):
            for found in page.kvs:
                yield found

    # --- writing ---

    async def put(
        self,
        key: Raw,
        value: Raw,
        *,
        lease: int | HasLease = 0,
        timeout: float | None = None,
    ) -> PutResponse:
        """Set a key, which goes when `lease` ends; without one it has none, also if it had.
        The answer says the key's `version`, and in its header the `revision`. Raises
        LeaseNotFound, TooMany (definite): the lease has 1,000 keys, or 16 MiB; and what
        every mutation raises.

        >>> done = await store.keys.put("keys/put", "one")
        >>> done.version
        1
        >>> (await store.keys.put("keys/put", "two")).version
        2
        """
        request = PutRequest(
            key=txn.raw(key), value=txn.raw(value), lease_id=txn.lease_id(lease)
        )
        answer: PutResponse = await self._engine.mutate("put", request, timeout)
        return answer

    async def delete(self, key: Raw, *, timeout: float | None = None) -> bool:
        """Remove a key; whether there was one. Raises what every mutation does.

        >>> _ = await store.keys.put("keys/delete", b"")
        >>> await store.keys.delete("keys/delete")
        True
        >>> await store.keys.delete("keys/delete")
        False
        """
        request = DeleteRequest(key=txn.raw(key))
        answer = await self._engine.mutate("delete", request, timeout)
        deleted: bool = answer.deleted
        return deleted

    async def delete_range(
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
        ...     _ = await store.keys.put(f"keys/delete-range/{name}", b"")
        >>> await store.keys.delete_range("keys/delete-range/a", "keys/delete-range/c")
        2
        >>> await store.keys.delete_range(prefix="keys/delete-range/")
        1
        """
        request = DeleteRangeRequest(range=txn.key_range(start, end, prefix))
        answer = await self._engine.mutate("delete_range", request, timeout)
        deleted: int = answer.deleted
        return deleted

    async def delete_prefix(self, prefix: Raw, *, timeout: float | None = None) -> int:
        """Remove any number of keys, in order, some hundreds at a time: **not** at one
        revision. What is put meanwhile may stay. How many were removed.

        `timeout` is that of each piece. Raises what every mutation does; a part may be
        removed then, and it may be called again.

        >>> for name in ("a", "b"):
        ...     _ = await store.keys.put(f"keys/delete-prefix/{name}", b"")
        >>> await store.keys.delete_prefix("keys/delete-prefix/")
        2
        """
        start, end = txn.raw(prefix), _behind(txn.raw(prefix))
        removed = refused = 0
        while True:
            stop = await self._piece(start, end, timeout)
            try:
                removed += await self.delete_range(start, stop, timeout=timeout)
            except TooMany:
                # There is more than when it was counted.
                refused += 1
                if refused == _REFUSED_MAX:
                    raise
                continue
            if stop == end:
                return removed
            start = stop

    async def _piece(self, start: bytes, end: bytes, timeout: float | None) -> bytes:
        """Where the next piece ends: before the last key of a page that is not the last,
        for a page looks at less than may be removed at once; or else at the end."""
        request = RangeRequest(
            range=txn.key_range(start, end), keys_only=True, page_size=_PIECE + 1
        )
        page = await reading.read(
            self._engine, lambda peer: peer.kv.Range, request, timeout=timeout
        )
        return page.kvs[-1].key if page.next_page_token else end

    async def txn(
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

        >>> done = await store.keys.txn(
        ...     when=[raftstate.txn.missing("keys/txn")],
        ...     then=[raftstate.txn.put("keys/txn", "mine")],
        ...     otherwise=[raftstate.txn.get("keys/txn")],
        ... )
        >>> done.succeeded
        True
        """
        request = TxnRequest(txn=txn.body(when, then, otherwise))
        answer = await self._engine.mutate("txn", request, timeout)
        return txn.done(answer.txn, answer.header.revision)

    async def compact(self, revision: int, *, timeout: float | None = None) -> None:
        """Forget what the store was at revisions below this one; what is stored now stays.
        Raises FutureRevision, Compacted (definite): it was compacted up to there before;
        and what every mutation raises.

        >>> old = await store.keys.put("keys/compact", "old")
        >>> new = await store.keys.put("keys/compact", "new")
        >>> await store.keys.compact(new.header.revision)
        >>> await store.keys.get("keys/compact", at=old.header.revision)
        Traceback (most recent call last):
        raftstate.errors.Compacted: ...
        """
        await self._engine.mutate("compact", CompactRequest(revision=revision), timeout)


def _behind(prefix: bytes) -> bytes:
    """The first possible key behind all those with a prefix; empty: there is none."""
    bare = prefix.rstrip(b"\xff")
    return bare[:-1] + bytes([bare[-1] + 1]) if bare else b""
