"""The words of a transaction: what is compared, and what is done.

    from raftstate import txn

    done = await store.txn(
        when=[txn.missing("lock"), txn.fenced("billing/nightly", agent.token)],
        then=[txn.put("lock", "me", lease=lease)],
        otherwise=[txn.get("lock")],
    )

Keys and values are bytes; texts are taken in UTF-8. Compares and reads see the state just
before the transaction; of several writes to a key the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from raftstate.errors import InvalidRequest
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.kv_service_pb2 import (
    COMPARISON_EQUAL,
    COMPARISON_GREATER,
    COMPARISON_LESS,
    COMPARISON_NOT_EQUAL,
    Compare,
    Comparison,
    KeyRange,
    TxnBody,
    TxnDelete,
    TxnDeleteRange,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnResult,
    TxnSaveProjection,
)

__all__ = [
    "Done",
    "HasLease",
    "Raw",
    "delete",
    "delete_range",
    "equal",
    "exists",
    "fenced",
    "get",
    "greater",
    "less",
    "missing",
    "nested",
    "not_equal",
    "put",
    "save_position",
    "scan",
]

Raw = bytes | str


class HasLease(Protocol):
    """A lease, or what holds one.

    >>> async with store.lease(5.0) as lease:
    ...     _ = await store.keys.put("txn/leased", b"", lease=lease)
    """

    @property
    def lease_id(self) -> int:
        """Its id."""
        ...


class Done(NamedTuple):
    """What a transaction did.

    `results` has one entry for each operation of the branch that was run, in order: of a
    put its PutResponse, of a delete whether there was a key, of a range that is deleted
    the number of keys, of a get a KeyValue or None, of a range a list of KeyValue, of a
    saved position the position, of a nested transaction another Done.

    >>> done = await store.txn(
    ...     when=[raftstate.txn.exists("txn/done")],
    ...     otherwise=[raftstate.txn.get("txn/done")],
    ... )
    >>> done.succeeded, done.results
    (False, [None])
    """

    succeeded: bool
    results: list[Any]
    revision: int


# --- what is compared --------------------------------------------------------


def equal(key: Raw, **what: Any) -> Compare:
    """The key has this: one of `value`, `version`, `create_revision`, `mod_revision`,
    `lease_id`. Of a key that does not exist every number is 0, and no value compares.

    >>> _ = await store.keys.put("txn/equal", "red")
    >>> same = [raftstate.txn.equal("txn/equal", value="red")]
    >>> done = await store.txn(when=same, then=[raftstate.txn.put("txn/equal", "blue")])
    >>> done.succeeded
    True
    """
    return _compare(key, COMPARISON_EQUAL, what)


def not_equal(key: Raw, **what: Any) -> Compare:
    """The key has something else. See `equal`.

    >>> other = [raftstate.txn.not_equal("txn/not-equal", version=0)]
    >>> (await store.txn(when=other)).succeeded
    False
    """
    return _compare(key, COMPARISON_NOT_EQUAL, what)


def greater(key: Raw, **what: Any) -> Compare:
    """What the key has is greater. See `equal`.

    >>> _ = await store.keys.put("txn/greater", "b")
    >>> (await store.txn(when=[raftstate.txn.greater("txn/greater", value="a")])).succeeded
    True
    """
    return _compare(key, COMPARISON_GREATER, what)


def less(key: Raw, **what: Any) -> Compare:
    """What the key has is less. See `equal`.

    >>> (await store.txn(when=[raftstate.txn.less("txn/less", version=3)])).succeeded
    True
    """
    return _compare(key, COMPARISON_LESS, what)


def exists(key: Raw) -> Compare:
    """There is such a key.

    >>> (await store.txn(when=[raftstate.txn.exists("txn/exists")])).succeeded
    False
    """
    return greater(key, version=0)


def missing(key: Raw) -> Compare:
    """There is no such key.

    >>> claim = [raftstate.txn.put("txn/missing", "me")]
    >>> free = [raftstate.txn.missing("txn/missing")]
    >>> (await store.txn(when=free, then=claim)).succeeded
    True
    >>> (await store.txn(when=free, then=claim)).succeeded
    False
    """
    return equal(key, version=0)


def fenced(agent_id: str, token: FencingToken) -> Compare:
    """The agent is owned under exactly this token.

    >>> async with store.own("txn/fenced") as agent:
    ...     mine = [raftstate.txn.fenced("txn/fenced", agent.token)]
    ...     print((await store.txn(when=mine)).succeeded)
    True
    >>> (await store.txn(when=mine)).succeeded
    False
    """
    fence = FenceQuery(agent_id=agent_id, fence=token)
    return Compare(comparison=COMPARISON_EQUAL, fence=fence)


_TARGETS = ("value", "version", "create_revision", "mod_revision", "lease_id")


def _compare(key: Raw, comparison: Comparison, what: dict[str, Any]) -> Compare:
    if len(what) != 1 or not what.keys() <= set(_TARGETS):
        raise TypeError(f"compare one of {', '.join(_TARGETS)}")
    [(name, given)] = what.items()
    made = Compare(key=raw(key), comparison=comparison)
    try:
        setattr(made, name, raw(given) if name == "value" else given)
    except ValueError as error:
        raise _wrong(name, f"{name} is {given}; it must fit into 64 bits") from error
    return made


# --- what is done ------------------------------------------------------------


def put(key: Raw, value: Raw, *, lease: int | HasLease = 0) -> TxnOp:
    """Set a key; without a lease it has none, also if it had one.

    >>> done = await store.txn(then=[raftstate.txn.put("txn/put", b"1")])
    >>> done.results[0].version
    1
    """
    return TxnOp(put=TxnPut(key=raw(key), value=raw(value), lease_id=lease_id(lease)))


def delete(key: Raw) -> TxnOp:
    """Remove a key.

    >>> (await store.txn(then=[raftstate.txn.delete("txn/delete")])).results
    [False]
    """
    return TxnOp(delete=TxnDelete(key=raw(key)))


def delete_range(start: Raw = b"", end: Raw = b"", *, prefix: Raw = b"") -> TxnOp:
    """Remove the keys from `start` to before `end`, or those with `prefix`: at most
    1,000.

    >>> _ = await store.keys.put("txn/range/a", b"")
    >>> (await store.txn(then=[raftstate.txn.delete_range(prefix="txn/range/")])).results
    [1]
    """
    return TxnOp(delete_range=TxnDeleteRange(range=key_range(start, end, prefix)))


def get(key: Raw) -> TxnOp:
    """Read a key.

    >>> _ = await store.keys.put("txn/get", b"1")
    >>> [found] = (await store.txn(then=[raftstate.txn.get("txn/get")])).results
    >>> found.value
    b'1'
    """
    return TxnOp(get=TxnGet(key=raw(key)))


def scan(
    start: Raw = b"",
    end: Raw = b"",
    *,
    prefix: Raw = b"",
    limit: int = 0,
    keys_only: bool = False,
) -> TxnOp:
    """Read the keys from `start` to before `end`, or those with `prefix`: at most
    `limit`, 100 unless told otherwise, 1,000 at most.

    >>> _ = await store.keys.put("txn/scan/a", b"1")
    >>> [found] = (await store.txn(then=[raftstate.txn.scan(prefix="txn/scan/")])).results
    >>> [one.key for one in found]
    [b'txn/scan/a']
    """
    read = TxnRange(range=key_range(start, end, prefix), limit=limit, keys_only=keys_only)
    return TxnOp(range=read)


def save_position(name: str, position: int, *, expected: int | None = None) -> TxnOp:
    """Save a projection's position, which must have been `expected` before, if given.

    >>> saved = raftstate.txn.save_position("txn-save-position", 0)
    >>> (await store.txn(then=[saved])).results
    [0]
    """
    saved = TxnSaveProjection(name=name, position=position, expected_position=expected)
    return TxnOp(save_projection=saved)


def nested(
    *,
    when: Iterable[Compare] = (),
    then: Iterable[TxnOp] = (),
    otherwise: Iterable[TxnOp] = (),
) -> TxnOp:
    """A transaction in a transaction, which holds no other itself.

    >>> inner = raftstate.txn.nested(then=[raftstate.txn.put("txn/nested", b"1")])
    >>> [done] = (await store.txn(then=[inner])).results
    >>> done.succeeded
    True
    """
    return TxnOp(txn=body(when, then, otherwise))


# --- how it is written -------------------------------------------------------


def raw(given: Raw) -> bytes:
    """A key or value as it is stored. Raises TypeError if it is neither bytes nor text."""
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    raise TypeError(f"keys and values are bytes or texts, not {type(given).__name__}")


def lease_id(lease: int | HasLease) -> int:
    """The id of a lease, or of none."""
    return lease if isinstance(lease, int) else lease.lease_id


def key_range(start: Raw = b"", end: Raw = b"", prefix: Raw = b"") -> KeyRange | None:
    """Keys as the API names them; None is all of them. Raises InvalidRequest (definite)
    if a prefix comes with bounds."""
    if prefix and (start or end):
        raise _wrong("range", "a range has either a prefix, or a start and an end")
    if not (start or end or prefix):
        return None
    return KeyRange(start=raw(start), end=raw(end), prefix=raw(prefix))


def body(when: Iterable[Compare], then: Iterable[TxnOp], otherwise: Iterable[TxnOp]) -> TxnBody:
    """A transaction as the API has it."""
    return TxnBody(compares=when, success=then, failure=otherwise)


def done(result: TxnResult, revision: int) -> Done:
    """What the API says that a transaction did."""
    results: list[Any] = []
    for said in result.results:
        match said.WhichOneof("result"):
            case "put":
                results.append(said.put)
            case "delete":
                results.append(said.delete.deleted)
            case "delete_range":
                results.append(said.delete_range.deleted)
            case "get":
                results.append(said.get.kv if said.get.HasField("kv") else None)
            case "range":
                results.append(list(said.range.kvs))
            case "save_projection":
                results.append(said.save_projection.position)
            case "txn":
                results.append(done(said.txn, revision))
            case None:  # a result of tomorrow
                results.append(None)
    return Done(result.succeeded, results, revision)


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": field})
