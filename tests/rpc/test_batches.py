"""What one message, or one item, of a stream can do to others: nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from raftstate.rpc.frontend import Frontend
from raftstate.v1.agent_service_pb2 import CreateAgentRequest
from raftstate.v1.cluster_service_pb2 import GetLimitsRequest
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.kv_service_pb2 import GetRequest, PutRequest
from raftstate.v1.read_service_pb2 import Query, ReadRequest
from raftstate.v1.step_service_pb2 import Mutation, SubmitRequest
from tests.rpc.harness import WAIT_S, Bench, Refused, decode, refused, rest_of, run, until

MANY = 200_000
# Refusing each of so many takes the loop more than twice as long.
HELD_UP_S = 2.0


async def told(
    b: Bench, call: Any, message: Any, release: Callable[[], Awaitable[None]]
) -> tuple[list[Any], Refused]:
    """What a stream with something under way answers to a message of too many, and how it
    ends. Other calls are answered meanwhile; what was under way is released after some."""
    results = []

    async def ask() -> None:
        await call.write(message)
        while True:
            results.extend((await call.read()).results)

    ended = asyncio.ensure_future(refused(ask()))
    for count in range(10_000):
        began = time.monotonic()
        await b.cluster.GetLimits(GetLimitsRequest())
        assert time.monotonic() - began < HELD_UP_S
        if count == 20:
            await release()
        if ended.done():
            break
    return results, await asyncio.wait_for(ended, WAIT_S)


def test_too_many_mutations_end_their_stream_with_one_failure() -> None:
    """
    Not with one for each, and not before what was under way has its answer.
    """

    async def story(b: Bench) -> None:
        create = CreateAgentRequest(request_id=b.request_id(), agent_id="a")
        many = SubmitRequest(first_nonce=2, mutations=[Mutation()] * MANY)
        call = b.steps.Submit()
        b.fake.holding = True
        await call.write(
            SubmitRequest(first_nonce=1, mutations=[Mutation(create_agent=create)])
        )
        await until(lambda: b.fake.held, "it is under way")
        proposed = len(b.fake.proposed)

        async def release() -> None:
            b.fake.let_go()

        results, failure = await told(b, call, many, release)

        assert [(one.nonce, one.WhichOneof("result")) for one in results] == [
            (1, "create_agent")
        ]
        assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert failure.definite
        assert failure.metadata == {"field": "mutations", "limit": "1000"}
        assert len(b.fake.proposed) == proposed
        assert ("/raftstate.v1.StepService/Submit", "INVALID_ARGUMENT") in b.calls

    run(story)


def test_too_many_queries_end_their_stream_with_one_failure() -> None:
    """
    Not with one for each, and not before what was under way has its answer.
    """

    async def story(b: Bench) -> None:
        put = PutRequest(request_id=b.request_id(), key=b"k", value=b"v")
        newest = (await b.kv.Put(put)).header.revision
        later = Consistency.CONSISTENCY_AT_LEAST
        waits = Query(get=GetRequest(key=b"k", consistency=later, revision=newest + 1))
        call = b.reads.Read()
        await call.write(ReadRequest(first_nonce=1, queries=[waits]))
        await until(lambda: b.bridge.revisions.waiting == 1, "it is under way")
        points = b.fake.read_points

        async def release() -> None:
            put.request_id.CopyFrom(b.request_id())
            await b.kv.Put(put)

        many = ReadRequest(first_nonce=2, queries=[Query()] * MANY)
        results, failure = await told(b, call, many, release)

        assert [(one.nonce, one.WhichOneof("result")) for one in results] == [(1, "get")]
        assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert failure.metadata == {"field": "queries", "limit": "1000"}
        assert b.fake.read_points == points
        assert ("/raftstate.v1.ReadService/Read", "INVALID_ARGUMENT") in b.calls

    run(story)


def test_a_bug_is_told_to_the_mutation_that_met_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    As INTERNAL, which is indefinite, and with nothing of its cause, which is logged. The
    others of its batch are answered, and the stream goes on.
    """
    complete = Frontend.complete

    def fail(frontend: Frontend, response: Any, request: Any, outcome: Any) -> None:
        if request.agent_id == "bad":
            raise ZeroDivisionError("a secret")
        complete(frontend, response, request, outcome)

    async def story(b: Bench) -> None:
        monkeypatch.setattr(Frontend, "complete", fail)
        call = b.steps.Submit()
        for nonce, names in ((1, ("first", "bad", "last")), (4, ("later",))):
            creations = [
                CreateAgentRequest(request_id=b.request_id(), agent_id=name) for name in names
            ]
            mutations = [Mutation(create_agent=one) for one in creations]
            await call.write(SubmitRequest(first_nonce=nonce, mutations=mutations))
        await call.done_writing()
        results = {one.nonce: one for each in await rest_of(call) for one in each.results}

        assert sorted(results) == [1, 2, 3, 4]
        for nonce in (1, 3, 4):
            assert results[nonce].HasField("create_agent")
        failure = decode(results[2].error)
        assert (failure.reason, failure.definite) == ("INTERNAL", False)
        assert "create_agent" in failure.message
        assert "secret" not in failure.message
        assert ("/raftstate.v1.AgentService/CreateAgent", "INTERNAL") in b.calls

    run(story)

    [record] = [one for one in caplog.records if one.name == "raftstate.rpc"]
    assert "a secret" in (record.exc_text or str(record.exc_info))


def test_a_stream_of_reads_whose_answering_breaks_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    With INTERNAL, and what was answered before is sent: it does not wait for ever.
    """

    async def story(b: Bench) -> None:
        def fail(_: Frontend) -> int:
            raise ZeroDivisionError

        monkeypatch.setattr(Frontend, "applied", fail)
        stale = Query(get=GetRequest(key=b"k", consistency=Consistency.CONSISTENCY_STALE))
        call = b.reads.Read()
        await call.write(ReadRequest(first_nonce=1, queries=[Query(), stale]))
        [refusal] = (await call.read()).results
        async with asyncio.timeout(WAIT_S / 2):
            failure = await refused(call.read())

        assert decode(refusal.error).metadata["field"] == "body"
        assert failure.reason == "INTERNAL"

    run(story)
