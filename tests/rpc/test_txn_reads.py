"""What a transaction's reads are answered with: the state just before it, whenever asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    KeyRange,
    RangeRequest,
    TxnBody,
    TxnDelete,
    TxnGet,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
    TxnResponse,
)
from raftstate.v1.step_service_pb2 import Mutation, SubmitRequest
from tests.rpc.harness import Bench, bench, decode, refused, rest_of, until
from tests.rpc.stories_of_keys import put_key


def run(story: Callable[[Bench], Awaitable[None]]) -> None:
    """Tell a story at a bench with an open session."""

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            b.lowest = 1
            await story(b)

    asyncio.run(tell())


READ_ALL = [
    TxnOp(get=TxnGet(key=b"k1")),
    TxnOp(put=TxnPut(key=b"k1", value=b"new")),
    TxnOp(get=TxnGet(key=b"k1")),
    TxnOp(txn=TxnBody(success=[TxnOp(range=TxnRange(limit=2)), TxnOp(get=TxnGet(key=b"x"))])),
    TxnOp(delete=TxnDelete(key=b"k2")),
]


def transaction(b: Bench, expected: bytes = b"1") -> TxnRequest:
    """One that reads in the branch that is run, whichever that is."""
    body = TxnBody(
        compares=[Compare(key=b"k1", value=expected)],
        success=READ_ALL,
        failure=[TxnOp(range=TxnRange(range=KeyRange(prefix=b"k"), keys_only=True))],
    )
    return TxnRequest(request_id=b.request_id(), txn=body)


async def submitted(b: Bench, request: TxnRequest) -> Any:
    """The result of one mutation that is sent on a stream."""
    call = b.steps.Submit()
    await call.write(SubmitRequest(mutations=[Mutation(txn=request)]))
    await call.done_writing()
    ((result,),) = [one.results for one in await rest_of(call)]
    return result


async def three_keys(b: Bench) -> None:
    for place in (1, 2, 3):
        await put_key(b, b"k%d" % place, b"%d" % place)


def test_reads_see_the_state_just_before() -> None:
    """
    Not what the transaction writes itself; in a nested one too, and on a stream.
    """

    async def story(b: Bench) -> None:
        await three_keys(b)
        done = await b.kv.Txn(transaction(b))
        first, _, again, nested, _ = done.txn.results
        assert (first.get.kv.value, again.get.kv.value) == (b"1", b"1")
        listed, absent = nested.txn.results
        assert [kv.key for kv in listed.range.kvs] == [b"k1", b"k2"]
        assert absent.HasField("get")
        assert not absent.get.HasField("kv")
        result = await submitted(b, transaction(b))
        assert not result.txn.txn.succeeded
        (found,) = result.txn.txn.results
        assert [(kv.key, kv.value) for kv in found.range.kvs] == [(b"k1", b""), (b"k3", b"")]

    run(story)


def test_a_retry_sees_what_the_first_answer_saw() -> None:
    """
    After any number of changes, by unary call and on a stream.
    """

    async def story(b: Bench) -> None:
        await three_keys(b)
        request = transaction(b)
        done = await b.kv.Txn(request)
        for key in (b"k1", b"k0", b"x"):
            await put_key(b, key, b"later")
        assert await b.kv.Txn(request) == done
        assert (await submitted(b, request)).txn == done

    run(story)


def test_a_retry_after_compaction_leaves_open_what_was_read() -> None:
    """
    It was done, and what its reads saw is forgotten: that is indefinite, and never an
    answer of now. A transaction that reads nothing is answered as ever.
    """

    async def story(b: Bench) -> None:
        await three_keys(b)
        request = transaction(b)
        done = await b.kv.Txn(request)
        assert done.txn.succeeded
        put = TxnOp(put=TxnPut(key=b"y"))
        writes = TxnRequest(request_id=b.request_id(), txn=TxnBody(success=[put]))
        written: TxnResponse = await b.kv.Txn(writes)
        newest = written.header.revision
        await b.kv.Compact(CompactRequest(request_id=b.request_id(), revision=newest))
        assert await b.kv.Txn(writes) == written
        unary = await refused(b.kv.Txn(request))
        streamed = decode((await submitted(b, request)).error)
        assert unary == streamed
        assert (unary.code, unary.reason) == ("FAILED_PRECONDITION", "OUTCOME_FORGOTTEN")
        assert not unary.definite
        assert unary.metadata["revision"] == str(done.header.revision)

    run(story)


def test_reads_that_are_too_much() -> None:
    """
    More than 2 MiB: nothing is done, and the failure is definite; by unary call and on a
    stream, and for a retry.
    """

    async def story(b: Bench) -> None:
        await put_key(b, b"large", bytes(1 << 20))
        reads = [TxnOp(get=TxnGet(key=b"large"))] * 2
        body = TxnBody(success=[TxnOp(put=TxnPut(key=b"done")), *reads])
        request = TxnRequest(request_id=b.request_id(), txn=body)
        found = await refused(b.kv.Txn(request))
        assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY")
        assert found.definite
        assert found.metadata["limit"] == str(1 << 21)
        assert found.metadata["field"] == "txn.success[2].get"
        assert await refused(b.kv.Txn(request)) == found
        assert decode((await submitted(b, request)).error) == found
        kvs = (await b.kv.Range(RangeRequest(keys_only=True))).kvs
        assert [kv.key for kv in kvs] == [b"large"]
        body.success.pop()
        whole = await b.kv.Txn(TxnRequest(request_id=b.request_id(), txn=body))
        assert len(whole.txn.results[1].get.kv.value) == 1 << 20

    run(story)


def test_a_range_that_its_limit_cuts_goes_on() -> None:
    """
    With a Range of the same keys, at the same revision; one that is whole has no token.
    """

    async def story(b: Bench) -> None:
        await three_keys(b)
        cut = TxnRange(range=KeyRange(prefix=b"k"), limit=2)
        body = TxnBody(
            success=[
                TxnOp(range=cut),
                TxnOp(range=TxnRange(limit=4)),
                TxnOp(put=TxnPut(key=b"k4")),
            ]
        )
        done = await b.kv.Txn(TxnRequest(request_id=b.request_id(), txn=body))
        first, whole, _ = done.txn.results
        assert [kv.key for kv in first.range.kvs] == [b"k1", b"k2"]
        assert whole.range.next_page_token == ""
        token = first.range.next_page_token
        rest = await b.kv.Range(RangeRequest(range=cut.range, page_token=token))
        assert [kv.key for kv in rest.kvs] == [b"k3"]
        assert rest.header.revision == done.header.revision - 1
        other = RangeRequest(range=cut.range, page_token=token, keys_only=True)
        assert (await refused(b.kv.Range(other))).metadata["field"] == "page_token"

    run(story)


def test_reads_that_cannot_be_had_here() -> None:
    """
    A member that finds damage after it has applied a transaction does not say that it
    was not done.
    """

    async def story(b: Bench) -> None:
        request = transaction(b)
        b.fake.holding = True
        asked = asyncio.ensure_future(b.kv.Txn(request))
        await until(lambda: b.fake.held, "it is proposed")
        b.fake.quarantined = True
        b.fake.let_go()
        found = await refused(asked)
        assert (found.reason, found.definite) == ("OUTCOME_UNKNOWN", False)

    run(story)
