"""What workloads on keys share: a range read page by page, and guarded transactions.

A guarded transaction writes what it makes of values that it knows, on condition that
nobody has written them since (a compare of each `mod_revision`). It reads all its keys in
either branch: so one that is refused by a compare comes back with what to try next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jepsen_like.clients import Way
from raftstate.client.calls import deadline_in, remaining
from raftstate.client.routing import Peer
from raftstate.v1.common_pb2 import (
    CONSISTENCY_AT_REVISION,
    CONSISTENCY_LINEARIZABLE,
    CONSISTENCY_STALE,
    ResponseHeader,
)
from raftstate.v1.kv_service_pb2 import (
    Compare,
    KeyRange,
    KeyValue,
    RangeRequest,
    RangeResponse,
    TxnBody,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRequest,
    TxnResponse,
)

TRIES: Final = 5
PAGE: Final = 1_000


# --- reading -------------------------------------------------------------------


@dataclass(slots=True)
class Pages:
    """All of a range, and the revision that each of its pages said it shows. The header
    is that of the last page."""

    header: ResponseHeader = field(default_factory=ResponseHeader)
    kvs: list[KeyValue] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)

    def texts(self, prefix: bytes) -> dict[str, str]:
        """Keys without their prefix, and their values, as text."""
        cut = len(prefix)
        return {one.key[cut:].decode(): one.value.decode() for one in self.kvs}


async def whole_range(
    prefix: bytes,
    peer: Peer,
    patience: float,
    *,
    stale: bool = False,
    revision: int = 0,
    page_size: int = PAGE,
) -> Pages:
    """Read all keys with a prefix at one member; with a revision, as they were then."""
    deadline = deadline_in(patience)
    consistency = CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE
    request = RangeRequest(
        range=KeyRange(prefix=prefix),
        consistency=CONSISTENCY_AT_REVISION if revision else consistency,
        revision=revision,
        page_size=page_size,
    )
    pages = Pages()
    while True:
        left = max(remaining(deadline), 0.001)
        page: RangeResponse = await peer.kv.Range(request, timeout=left)
        pages.header.CopyFrom(page.header)
        pages.kvs.extend(page.kvs)
        pages.revisions.append(page.header.revision)
        if not page.next_page_token:
            return pages
        request = RangeRequest(
            range=KeyRange(prefix=prefix), page_size=page_size, page_token=page.next_page_token
        )


# --- transactions --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """What a key had, and when it was put; of one that is not there nothing, and zero."""

    data: bytes | None = None
    mod_revision: int = 0


@dataclass(frozen=True, slots=True)
class Guarded:
    """How a guarded transaction ended: the answer of the attempt that was done, None if
    every compare failed; what that one had read; and how many compares failed before."""

    answer: TxnResponse | None
    read: Mapping[bytes, Value]
    failed: int


Known = dict[bytes, Value]
Change = Callable[[bytes, bytes | None], bytes]


async def guarded(
    way: Way,
    known: Known,
    keys: Sequence[bytes],
    writes: Iterable[bytes],
    change: Change,
    *,
    tries: int = TRIES,
) -> Guarded:
    """Read keys and write some of them, each as `change` makes of what it had. `known` is
    believed at first, and is afterwards what was read and written."""
    written = list(writes)
    gets = [TxnOp(get=TxnGet(key=key)) for key in keys]
    for failed in range(tries):
        before = {key: known.get(key, Value()) for key in written}
        new = {key: change(key, value.data) for key, value in before.items()}
        body = TxnBody(
            compares=[
                Compare(key=key, mod_revision=value.mod_revision)
                for key, value in before.items()
            ],
            success=[*gets, *(put(key, data) for key, data in new.items())],
            failure=gets,
        )
        answer: TxnResponse = await way.mutate("txn", TxnRequest(txn=body))
        read = _read(keys, answer)
        known.update(read)
        if answer.txn.succeeded:
            revision = answer.header.revision
            known.update({key: Value(data, revision) for key, data in new.items()})
            return Guarded(answer, read, failed)
    return Guarded(None, {}, tries)


def put(key: bytes, data: bytes) -> TxnOp:
    """One put of a transaction."""
    return TxnOp(put=TxnPut(key=key, value=data))


def _read(keys: Sequence[bytes], answer: TxnResponse) -> dict[bytes, Value]:
    """What the gets of either branch found; they come first in both."""
    found = {}
    for key, result in zip(keys, answer.txn.results, strict=False):
        has = result.get.HasField("kv")
        kv = result.get.kv
        found[key] = Value(kv.value, kv.mod_revision) if has else Value()
    return found
