"""What answers hold beside the recorded outcome: read anew whenever they are given.

A grant comes with what a successor needs, as it is now. A transaction's reads are not
recorded, for they may be large; what they saw is the state just before it, which is read
from history, for a retry as for the first answer. A claim comes with the effect that is to
be undone, as it is now.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from google.protobuf.message import Message

from raftstate.core import effect_queries, kv_queries, queries
from raftstate.core.ports import Reader, Unavailable
from raftstate.rpc.errors import Failure, reads_lost
from raftstate.rpc.paging import page_scope, page_size, page_token
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest, AcquireOwnershipResponse
from raftstate.v1.common_pb2 import ResponseHeader
from raftstate.v1.kv_service_pb2 import (
    RangeRequest,
    TxnBody,
    TxnRequest,
    TxnResponse,
    TxnResult,
)
from raftstate.v1.rollback_service_pb2 import (
    ClaimCompensationsRequest,
    ClaimCompensationsResponse,
)
from raftstate.v1.store_pb2 import Outcome


class Looks(Protocol):
    """What the frontend gives: a look at the state, and words for what failed."""

    def view(
        self, at: int | None = None
    ) -> AbstractContextManager[tuple[Reader, ResponseHeader]]:
        """One look at the state, perhaps at what it was."""
        ...

    def unavailable(self, answer: Unavailable) -> Failure:
        """What the client of a call that was not carried out is told."""
        ...


def add_bundle(
    looks: Looks,
    response: AcquireOwnershipResponse,
    request: AcquireOwnershipRequest,
    _outcome: Outcome,
) -> None:
    """Put what a successor needs beside a grant, read at or after the grant."""
    try:
        with looks.view() as (reader, _):
            bundle = queries.takeover_bundle(reader, request.agent_id)
    except Failure as failure:
        # It was granted: only what is said of it is not to be had here.
        unknown = Unavailable("OUTCOME_UNKNOWN", definite=False)
        raise looks.unavailable(unknown) from failure
    if bundle is not None:
        response.bundle.CopyFrom(bundle)


def add_reads(
    looks: Looks, response: TxnResponse, request: TxnRequest, outcome: Outcome
) -> None:
    """Put what a transaction's reads saw, just before it, into its results."""
    if not _reads(response.txn):
        return
    at = outcome.revision - 1
    try:
        with looks.view(at) as (reader, _):
            kv_queries.fill_reads(reader, request.txn, response.txn)
    except Failure as failure:
        if failure.reason == "COMPACTED":
            raise reads_lost(outcome.revision) from failure
        unknown = Unavailable("OUTCOME_UNKNOWN", definite=False)
        raise looks.unavailable(unknown) from failure
    _add_tokens(request.txn, response.txn, at)


def add_effect(
    looks: Looks,
    response: ClaimCompensationsResponse,
    _request: ClaimCompensationsRequest,
    _outcome: Outcome,
) -> None:
    """Put the effect that is to be undone beside its item, read at or after the claim."""
    if not response.HasField("item"):
        return
    item = response.item
    try:
        with looks.view() as (reader, _):
            effect = effect_queries.get_effect(reader, item.agent_id, item.effect_id)
    except Failure as failure:
        # It was claimed: only what is said of it is not to be had here.
        unknown = Unavailable("OUTCOME_UNKNOWN", definite=False)
        raise looks.unavailable(unknown) from failure
    if effect is not None:
        response.effect.CopyFrom(effect)


def _reads(result: TxnResult) -> bool:
    """Whether there is a read among what was done."""
    kinds = [said.WhichOneof("result") for said in result.results]
    if "get" in kinds or "range" in kinds:
        return True
    return any(_reads(said.txn) for said in result.results if said.HasField("txn"))


def _add_tokens(body: TxnBody, result: TxnResult, at: int) -> None:
    """Say where each range that its limit has cut goes on: a Range of the same keys takes
    that, and shows the same revision."""
    for op, said in zip(
        body.success if result.succeeded else body.failure, result.results, strict=True
    ):
        if op.HasField("txn"):
            _add_tokens(op.txn, said.txn, at)
        elif op.HasField("range") and len(said.range.kvs) == page_size(op.range.limit):
            asked = RangeRequest(keys_only=op.range.keys_only)
            if op.range.HasField("range"):
                asked.range.CopyFrom(op.range.range)
            last = said.range.kvs[-1].key
            said.range.next_page_token = page_token(page_scope(asked), at, last)


BESIDE: dict[type[Message], Callable[[Any, Any, Any, Outcome], None]] = {
    AcquireOwnershipRequest: add_bundle,
    TxnRequest: add_reads,
    ClaimCompensationsRequest: add_effect,
}
"""What is added to the answer of a request, by the type of the request."""
