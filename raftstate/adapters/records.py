r"""Records: values of any size under keys, written all or nothing.

What is small is the key's value. What is large is cut into parts, which are put one by one
under keys just behind the record's own, before the record itself is: so nobody ever sees a
record whose parts are not there. Parts that a writer leaves behind by dying go when the
record is replaced or removed, or anything that its key begins with.

    key              \x00 data                          a small record
    key              \x01 id, number of parts, digest   a large one
    key \x00 id number   data                           a part of it
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Final, NamedTuple, Protocol, Unpack

from raftstate.client import Store, txn
from raftstate.client.reading import How
from raftstate.errors import Fenced, InvalidRequest, RaftStateError, TooMany
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.kv_service_pb2 import Compare, KeyValue, TxnOp

# What one transaction carries of values, and a part: two thirds of a request.
INLINE_BYTES: Final = 1 << 20
PART_BYTES: Final = 1 << 19
# A record beyond this is no state of an agent.
RECORD_BYTES_MAX: Final = 256 << 20
# Of the largest parts, what one transaction may remove.
_PARTS_AT_ONCE: Final = 24
# Keys that `remove` removes at once, and of how many records some may be parts.
_REMOVED_MAX: Final = 100
_SPLIT_MAX: Final = 20

_SMALL: Final = b"\x00"
_LARGE: Final = b"\x01"
_MANIFEST: Final = struct.Struct(">8sII16s")  # id, parts, bytes, digest
_BEHIND: Final = b"\x00"
# How often a record may change while it is read.
_READS: Final = 10


class Owning(Protocol):
    """Whoever owns an agent under a token: an `AgentHandle`, of either face, or an `Owner`."""

    @property
    def agent_id(self) -> str:
        """The agent."""
        ...

    @property
    def token(self) -> FencingToken:
        """What it is owned under."""
        ...


class Owner(NamedTuple):
    """Who writes: the owner of an agent, under a token. Once the agent has another, what
    this one writes is refused."""

    agent_id: str
    token: FencingToken

    @property
    def compare(self) -> Compare:
        """What a transaction compares for it."""
        return txn.fenced(self.agent_id, self.token)


def owner_of(owning: Owning | None) -> Owner | None:
    """Who writes, for whoever owns. A handle is asked just now, and let go."""
    return None if owning is None else Owner(owning.agent_id, owning.token)


class Record(NamedTuple):
    """A record as it was read. `revision` is that of its last write."""

    key: bytes
    data: bytes
    revision: int


class Damaged(RaftStateError):
    """A record's parts do not make up what was written (definite)."""


async def write(
    store: Store,
    puts: Mapping[bytes, bytes],
    deletes: Iterable[bytes] = (),
    *,
    when: Iterable[Compare] = (),
    extra: Iterable[TxnOp] = (),
    lease: int = 0,
    owner: Owner | None = None,
    timeout: float | None = None,
) -> bool:
    """Write and remove records at one revision, with what `extra` does, if everything in
    `when` holds; whether it did. Large ones are sent before. Of a key that is put or removed
    the parts of former values go. `lease` is that of everything that is put.

    Raises Fenced (definite) if the agent of `owner` is not owned under its token (parts may
    have been sent, which nobody sees), InvalidRequest (definite) for a record that is too
    large or more than a transaction holds, and what `Store.txn` does."""
    deletes, conditions = list(deletes), list(when)
    inline, large = _divided(puts)
    fence = [owner.compare] if owner is not None else []
    at_once = True
    while True:
        sent = {
            key: await _send(store, key, data, lease, fence, owner, timeout)
            for key, data in large.items()
        }
        operations = [
            *(txn.put(key, _SMALL + data, lease=lease) for key, data in inline.items()),
            *(txn.put(key, _LARGE + one, lease=lease) for key, one in sent.items()),
            *(txn.delete(key) for key in deletes),
            *extra,
        ]
        written = (*inline, *sent, *deletes)
        there = [txn.exists(_part(key, one[:8], 0)) for key, one in sent.items()]
        removals = [
            txn.delete_range(*piece)
            for key in (written if at_once else ())
            for piece in _former_parts(key, sent.get(key))
        ]
        try:
            done = await store.txn(
                when=[*fence, *conditions, *there],
                then=[*operations, *removals],
                otherwise=[txn.nested(when=fence), txn.nested(when=there)],
                timeout=timeout,
            )
        except TooMany:
            if not at_once:
                raise
            at_once = False  # the former parts are more than one transaction removes
            continue
        if done.succeeded:
            for key in () if at_once else written:
                revision = 0 if key in deletes else done.revision
                await _remove_former(store, key, sent.get(key), revision, timeout)
            return True
        owned, complete = done.results
        for key, one in sent.items():
            await _take_back(store, key, one, timeout)
        if not owned.succeeded and owner is not None:
            raise fenced(owner)
        if complete.succeeded:
            return False
        # Somebody replaced a record, and with it removed what was sent for this one.


async def read(store: Store, key: bytes, **how: Unpack[How]) -> Record | None:
    """One record, or None if there is none. `how` are the options of every read, but that
    the past has no parts (`at`). Raises Damaged (definite), and what `Keys.get` does."""
    for _ in range(_READS):
        found = await store.keys.get(key, **how)
        if found is None:
            return None
        record = await _whole(store, found, how.get("timeout"))
        if record is not None:
            return record
        # It was replaced: what an earlier state shows has no parts any more.
        how = {name: how[name] for name in ("timeout", "seen") if name in how}  # type: ignore[assignment]
    raise RaftStateError(f"{key!r} changed {_READS} times while it was read", definite=True)


async def scan(
    store: Store,
    prefix: bytes = b"",
    *,
    start: bytes = b"",
    end: bytes = b"",
    backwards: bool = False,
    page_size: int = 0,
    **how: Unpack[How],
) -> AsyncGenerator[Record]:
    """The records with a prefix, or from `start` to before `end`, in order of their keys, as
    they were at one revision. `timeout` is that of a page of so many keys."""
    timeout = how.get("timeout")
    found = store.keys.range(
        start, end, prefix=prefix, backwards=backwards, page_size=page_size, **how
    )
    async for one in found:
        if _BEHIND in one.key:
            continue  # a part
        record = await _whole(store, one, timeout)
        if record is None:  # replaced meanwhile; what it is now is as good
            record = await read(store, one.key, timeout=timeout)
        if record is not None:
            yield record


async def remove(
    store: Store,
    prefix: bytes,
    *,
    owner: Owner | None = None,
    timeout: float | None = None,
) -> None:
    """Remove everything with a prefix, up to a hundred keys at a time; it may be called
    again. A record that is put meanwhile stays, or goes as a whole. With an owner, raises
    Fenced (definite)."""
    fence = [owner.compare] if owner is not None else []
    most = _REMOVED_MAX
    while True:
        keys, unchanged = await _first(store, prefix, most, timeout)
        if not keys:
            return
        try:
            done = await store.txn(
                when=[*fence, *unchanged],
                then=[txn.delete(key) for key in keys],
                otherwise=[txn.nested(when=fence)],
                timeout=timeout,
            )
        except TooMany:
            if most == 1:
                raise
            most //= 2  # their values are large
            continue
        if owner is not None and not (done.succeeded or done.results[0].succeeded):
            raise fenced(owner)
        most = min(2 * most, _REMOVED_MAX)


# --- inside ------------------------------------------------------------------


async def _first(
    store: Store, prefix: bytes, most: int, timeout: float | None
) -> tuple[list[bytes], list[Compare]]:
    """The first keys with a prefix, to be removed while this holds: the records whose parts
    are among them have not been written again."""
    keys: list[bytes] = []
    revisions: dict[bytes, int] = {}
    split: dict[bytes, None] = {}
    found = store.keys.range(prefix=prefix, keys_only=True, page_size=most, timeout=timeout)
    async for one in found:
        whole, behind, _ = one.key.partition(_BEHIND)
        if behind:
            split[whole] = None
        else:
            revisions[whole] = one.mod_revision
        if len(split) > _SPLIT_MAX:
            break
        keys.append(one.key)
        if len(keys) == most:
            break
    # A record's key comes before its parts': one that is not among these is not there.
    return keys, [
        txn.equal(whole, mod_revision=revisions.get(whole, 0))
        for whole in list(split)[:_SPLIT_MAX]
    ]


def _divided(puts: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """What goes into the transaction itself, and what is sent before it: the largest."""
    inline, large = dict(puts), dict[bytes, bytes]()
    left = sum(map(len, inline.values()))
    for key in sorted(inline, key=lambda key: len(inline[key]), reverse=True):
        if left <= INLINE_BYTES:
            break
        size = len(inline[key])
        if size > RECORD_BYTES_MAX:
            raise InvalidRequest(
                f"a value has {size} bytes; at most {RECORD_BYTES_MAX} are stored",
                definite=True,
                details={"field": "value", "limit": str(RECORD_BYTES_MAX)},
            )
        large[key] = inline.pop(key)
        left -= size
    return inline, large


async def _send(
    store: Store,
    key: bytes,
    data: bytes,
    lease: int,
    fence: list[Compare],
    owner: Owner | None,
    timeout: float | None,
) -> bytes:
    """Put the parts of a large record; its manifest."""
    name = secrets.token_bytes(4).hex().encode()
    pieces = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
    for number, piece in enumerate(pieces):
        put = txn.put(_part(key, name, number), piece, lease=lease)
        done = await store.txn(when=fence, then=[put], timeout=timeout)
        if not done.succeeded and owner is not None:
            raise fenced(owner)
    return _MANIFEST.pack(name, len(pieces), len(data), _digest(data))


async def _whole(store: Store, found: KeyValue, timeout: float | None) -> Record | None:
    """The record that a key holds; None if it is being replaced."""
    kind, rest = found.value[:1], found.value[1:]
    if kind == _SMALL:
        return Record(found.key, rest, found.mod_revision)
    if kind != _LARGE:
        raise Damaged(f"{found.key!r} holds no record", definite=True)
    name, count, size, digest = _MANIFEST.unpack(rest)
    pieces: list[bytes] = []
    for number in range(count):
        part = await store.keys.get(_part(found.key, name, number), timeout=timeout)
        if part is None:
            await _check_replaced(store, found, timeout)
            return None
        pieces.append(part.value)
    data = b"".join(pieces)
    if len(data) != size or _digest(data) != digest:
        raise Damaged(f"the parts of {found.key!r} are not what was written", definite=True)
    return Record(found.key, data, found.mod_revision)


async def _check_replaced(store: Store, found: KeyValue, timeout: float | None) -> None:
    """A part is missing. Raises Damaged (definite), unless the record is another one by now."""
    now = await store.keys.get(found.key, timeout=timeout)
    if now is not None and now.mod_revision == found.mod_revision:
        raise Damaged(f"a part of {found.key!r} is missing", definite=True)


def _former_parts(key: bytes, manifest: bytes | None) -> list[tuple[bytes, bytes]]:
    """The ranges of parts behind a key that are not those of its new value."""
    first, last = key + _BEHIND, key + b"\x01"
    if manifest is None:
        return [(first, last)]
    mine = first + manifest[:8]
    return [(first, mine), (mine + b"\xff", last)]


async def _remove_former(
    store: Store, key: bytes, manifest: bytes | None, revision: int, timeout: float | None
) -> None:
    """Remove what a record had of parts before it was written at a revision (zero: before it
    was removed). Who has written it since removes them as well, and has parts of its own
    there. In order, so that what is being sent under a name loses its first part first,
    which is what its writer looks for."""
    unchanged = txn.equal(key, mod_revision=revision)
    keys = [
        one.key
        for start, end in _former_parts(key, manifest)
        async for one in store.keys.range(start, end, keys_only=True, timeout=timeout)
    ]
    for at in range(0, len(keys), _PARTS_AT_ONCE):
        removed = [txn.delete(one) for one in keys[at : at + _PARTS_AT_ONCE]]
        done = await store.txn(when=[unchanged], then=removed, timeout=timeout)
        if not done.succeeded:
            return


async def _take_back(store: Store, key: bytes, manifest: bytes, timeout: float | None) -> None:
    """Remove the parts of a record that was not put."""
    name, count, _, _ = _MANIFEST.unpack(manifest)
    parts = [_part(key, name, number) for number in range(count)]
    for at in range(0, count, _PARTS_AT_ONCE):
        removed = [txn.delete(one) for one in parts[at : at + _PARTS_AT_ONCE]]
        await store.txn(then=removed, timeout=timeout)


def _part(key: bytes, name: bytes, number: int) -> bytes:
    return key + _BEHIND + name + f"{number:04x}".encode()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def fenced(owner: Owner) -> Fenced:
    """What a superseded owner is told."""
    return Fenced(
        f"agent {owner.agent_id} is not owned under this token any more: nothing was written",
        definite=True,
        details={"agent_id": owner.agent_id},
    )
