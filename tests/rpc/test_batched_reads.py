"""Reads on one stream: what each is answered, when, and what it costs others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raftstate.core import limits
from raftstate.core.ports import ReadPoint
from raftstate.core.types import Index, Term
from raftstate.rpc.reads import IN_FLIGHT
from raftstate.v1.agent_service_pb2 import CreateAgentRequest, GetAgentRequest
from raftstate.v1.cluster_service_pb2 import GetLimitsRequest
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.kv_service_pb2 import GetRequest, PutRequest, RangeRequest
from raftstate.v1.read_service_pb2 import Query, QueryResult, ReadRequest
from tests.rpc.bad_rows import ROWS
from tests.rpc.harness import Bench, decode, refused, rest_of, run, services, until
from tests.rpc.test_bad_input import run as run_seeded

STALE = Consistency.CONSISTENCY_STALE
AT_LEAST = Consistency.CONSISTENCY_AT_LEAST
AT_REVISION = Consistency.CONSISTENCY_AT_REVISION
_BODIES: list[Any] = list(Query.DESCRIPTOR.oneofs[0].fields)
KINDS = {body.message_type.full_name: body.name for body in _BODIES}
METHODS = {
    f"{service.name}.{method.name}": method
    for service in services()
    for method in service.methods
}
CALLS = {
    KINDS[method.input_type.full_name]: name
    for name, method in METHODS.items()
    if method.input_type.full_name in KINDS
}
# Those that may take long, or that no client of ours asks often.
BY_THEMSELVES = {
    "CheckpointService.DiffCheckpoints",
    "EventService.VerifyChain",
    "ReplayService.Reconstruct",
    "ReplayService.VerifyReplay",
    "RollbackService.PlanRollback",
    "ClusterService.Status",
    "ClusterService.ListMembers",
}
LARGE = 200_000
# What the names of reading calls begin with.
READS = (
    *("Get", "List", "Range", "Check", "Missing", "TimeTo"),
    *("Diff", "Verify", "Reconstruct", "Plan", "Status"),
)


def get(key: bytes = b"k", **fields: Any) -> Query:
    return Query(get=GetRequest(key=key, **fields))


def stale(key: bytes = b"k") -> Query:
    return get(key, consistency=STALE)


async def put(b: Bench, key: bytes = b"k", value: bytes = b"v") -> int:
    """Put a key; the revision of that."""
    answer = await b.kv.Put(PutRequest(request_id=b.request_id(), key=key, value=value))
    return int(answer.header.revision)


async def asked(b: Bench, *queries: Query, first: int = 0) -> Any:
    """A stream on which this batch was asked."""
    call = b.reads.Read()
    await call.write(ReadRequest(first_nonce=first, queries=queries))
    return call


async def answers(call: Any) -> list[QueryResult]:
    """All that a stream answers, in order of nonce."""
    await call.done_writing()
    found = [one for response in await rest_of(call) for one in response.results]
    return sorted(found, key=lambda one: one.nonce)


def reason(result: QueryResult) -> str:
    return decode(result.error).reason


def test_every_read_is_among_the_queries() -> None:
    """
    Each call that reads and answers at once, but for those that are known not to be.
    """
    reading = {
        name
        for name, method in METHODS.items()
        if "request_id" not in method.input_type.fields_by_name
        and not method.server_streaming
        and name.partition(".")[2].startswith(READS)
    }

    assert reading - set(CALLS.values()) == BY_THEMSELVES
    assert set(CALLS) == set(KINDS.values())


@pytest.mark.parametrize("kind", CALLS)
def test_an_answer_is_that_of_the_call(kind: str) -> None:
    """
    To the last byte.
    """

    async def story(b: Bench) -> None:
        name = CALLS[kind]
        if name not in ROWS:
            raise AssertionError(f"{name} has no row")
        request: Any = ROWS[name](b)
        service, _, method = name.partition(".")
        call = b.channel.unary_unary(
            f"/raftstate.v1.{service}/{method}",
            request_serializer=lambda one: one.SerializeToString(),
        )
        alone = await call(request)
        body: dict[str, Any] = {kind: request}
        [result] = await answers(await asked(b, Query(**body), first=9))
        assert result.nonce == 9
        assert result.WhichOneof("result") == kind
        assert getattr(result, kind).SerializeToString() == alone

    run_seeded(story)


def test_one_read_point_for_a_batch() -> None:
    """
    However many of it are linearizable; none where there is none.
    """

    async def story(b: Bench) -> None:
        await put(b)
        before = b.fake.read_points
        found = await answers(await asked(b, *[get() for _ in range(200)]))
        assert {one.get.kv.value for one in found} == {b"v"}
        assert len(found) == 200
        assert b.fake.read_points == before + 1
        await answers(await asked(b, *[stale() for _ in range(200)]))
        assert b.fake.read_points == before + 1

    run(story)


def test_each_fails_alone() -> None:
    """
    With the status of its own call: what there is not, what is wrong, what is no query.
    """

    async def story(b: Bench) -> None:
        newest = await put(b)
        call = await asked(
            b,
            Query(get_agent=GetAgentRequest(agent_id="nobody")),
            get(b"x" * 1_000),
            Query(),
            get(consistency=AT_REVISION, revision=newest + 9),
            get(consistency=AT_REVISION, revision=newest),
        )
        nobody, wrong, empty, future, good = await answers(call)
        assert reason(nobody) == "AGENT_NOT_FOUND"
        assert decode(wrong.error).metadata["field"] == "key"
        assert decode(empty.error).metadata["field"] == "body"
        assert reason(future) == "FUTURE_REVISION"
        assert good.get.kv.value == b"v"

    run(story)


def test_a_batch_that_is_too_long() -> None:
    """
    It ends the stream with one failure, and nothing is read.
    """

    async def story(b: Bench) -> None:
        count = limits.QUERIES_PER_BATCH_MAX + 1
        before = b.fake.read_points
        failure = await refused(answers(await asked(b, *[get()] * count)))
        assert failure.reason == "INVALID_REQUEST"
        assert failure.metadata["limit"] == str(limits.QUERIES_PER_BATCH_MAX)
        assert b.fake.read_points == before

    run(story)


def test_a_member_that_does_not_lead() -> None:
    """
    Refuses the linearizable ones, with who leads, and answers the others.
    """

    async def story(b: Bench) -> None:
        newest = await put(b)
        b.fake.depose("n2")
        call = await asked(b, get(), stale(), get(consistency=AT_LEAST, revision=newest))
        refused, *shown = await answers(call)
        said = decode(refused.error)
        assert (said.reason, said.metadata["leader_address"]) == (
            "NOT_LEADER",
            "127.0.0.1:7412",
        )
        assert said.definite
        assert [one.get.kv.value for one in shown] == [b"v", b"v"]

    run(story)


def test_who_waits_for_a_revision_holds_up_nobody() -> None:
    """
    The others of its batch are answered before it; it is answered when the revision is
    there, unless it was not to wait so long: then never.
    """

    async def story(b: Bench) -> None:
        newest = await put(b)
        waits = GetRequest(key=b"k", consistency=AT_LEAST, revision=newest + 1)
        call = await asked(b, Query(get=waits), Query(get=waits, timeout_ms=1), stale())
        [first] = (await call.read()).results
        assert (first.nonce, first.get.kv.value) == (2, b"v")
        await until(lambda: b.bridge.revisions.waiting == 1, "the other one has gone")
        await put(b, value=b"w")
        [second] = await answers(call)
        assert (second.nonce, second.get.kv.value) == (0, b"w")

    run(story)


def test_what_was_covered_and_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A state that is made anew is not shown to who was promised a newer one.
    """

    async def story(b: Bench) -> None:
        await put(b)
        point = ReadPoint(Index(b.fake.machine.applied.index + 1), Term(3))
        monkeypatch.setattr(
            b.fake, "read_point", lambda ticket: b.bridge.deliver([(ticket, point)])
        )
        found, shown = await answers(await asked(b, get(), stale()))
        assert reason(found) == "NO_QUORUM"
        assert shown.get.kv.value == b"v"

    run(story)


def test_a_bug_is_told_to_who_met_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The stream goes on.
    """

    async def story(b: Bench) -> None:
        handlers = b.server._frontend.handlers

        async def broken(request: Any, context: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setitem(handlers, "get", broken)
        found, other = await answers(
            await asked(b, get(), Query(get_limits=GetLimitsRequest()))
        )
        assert reason(found) == "INTERNAL"
        assert other.get_limits.limits

    run(story)


def test_a_slow_reader_costs_no_more_than_its_room() -> None:
    """
    Of a client that takes no answers little is read, and the others are served; once it
    does, it gets all of them.
    """

    async def story(b: Bench) -> None:
        await put(b, value=bytes(LARGE))
        before = b.fake.state.views
        slow = await asked(b, *[stale() for _ in range(300)])
        await until(lambda: b.fake.state.views > before + 3, "some were looked at")
        looked = -1
        while looked != b.fake.state.views:
            looked = b.fake.state.views
            await asyncio.sleep(0.1)
        # A MiB, a message, and what gRPC and the kernel take before they say stop.
        assert looked - before < 150
        assert len(await answers(await asked(b, stale()))) == 1
        assert len(await answers(slow)) == 300

    run(story)


def test_a_stream_with_much_under_way_is_not_read_from() -> None:
    """
    What it has sent beyond that is looked at when there is room.
    """

    async def story(b: Bench) -> None:
        newest = await put(b)
        waits = get(consistency=AT_LEAST, revision=newest + 1)
        call = await asked(b, *[waits] * 1_000)
        await call.write(ReadRequest(first_nonce=1_000, queries=[waits] * 100))
        await call.write(ReadRequest(first_nonce=1_100, queries=[stale()]))
        await until(lambda: b.bridge.revisions.waiting == 1_100, "all of them wait")
        assert 1_000 < IN_FLIGHT < 1_100
        read = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.05)
        assert not read.done(), "the stale one was not looked at"
        await put(b)
        first = len((await read).results)
        assert first + len(await answers(call)) == 1_101

    run(story)


def test_many_answers_hold_up_no_other_stream() -> None:
    """
    Streams take turns: one query is answered before a thousand that came before it.
    """

    async def story(b: Bench) -> None:
        for number in range(300):
            await put(b, key=b"%03d" % number, value=bytes(1_000))
        page = RangeRequest(page_size=300, consistency=STALE, keys_only=True)
        many = await asked(b, *[Query(range=page)] * 300)
        first = await many.read()
        assert len(first.results) < 300
        done: list[str] = []

        async def finish(name: str, call: Any) -> None:
            await answers(call)
            done.append(name)

        await asyncio.gather(finish("many", many), finish("one", await asked(b, stale(b"000"))))
        assert done == ["one", "many"]

    run(story)


def test_large_answers_have_messages_of_their_own() -> None:
    """
    No message is larger than clients take by default.
    """

    async def story(b: Bench) -> None:
        await put(b, value=bytes(1_500_000))
        await put(b, key=b"small")
        call = await asked(b, stale(b"small"), *[stale()] * 5, stale(b"small"))
        await call.done_writing()
        sizes = [one.ByteSize() for one in await rest_of(call)]
        assert max(sizes) < 2 << 20
        assert len(sizes) >= 5
        await put(b, value=bytes(100_000))
        call = await asked(b, *[stale()] * 100)
        await call.done_writing()
        assert max(one.ByteSize() for one in await rest_of(call)) <= 512 << 10

    run(story)


def test_nothing_is_left_of_a_stream_that_ends() -> None:
    """
    Whoever still waited in it does not.
    """

    async def story(b: Bench) -> None:
        newest = await put(b)
        call = await asked(b, *[get(consistency=AT_LEAST, revision=newest + 1)] * 10)
        await until(lambda: b.bridge.revisions.waiting == 10, "they wait")
        call.cancel()
        await until(lambda: b.bridge.revisions.waiting == 0, "nobody waits")
        await until(
            lambda: ("/raftstate.v1.ReadService/Read", "CANCELLED") in b.calls, "it ended"
        )

    run(story)


def test_what_is_no_message_ends_the_stream() -> None:
    """
    As on any other stream: with a documented failure.
    """

    async def story(b: Bench) -> None:
        call = b.channel.stream_stream("/raftstate.v1.ReadService/Read")()
        await call.write(ReadRequest(queries=[stale()]).SerializeToString() + b"\xff")
        with pytest.raises(Exception) as caught:
            await rest_of(call)
        failure: Any = caught.value
        assert failure.code().name == "INVALID_ARGUMENT"

    run(story)


def test_an_agent_is_seen_as_soon_as_it_is_made() -> None:
    """
    A linearizable query reflects whatever was acknowledged before it was asked.
    """

    async def story(b: Bench) -> None:
        call = b.reads.Read()
        for number in range(20):
            name = f"a{number}"
            await b.agents.CreateAgent(
                CreateAgentRequest(request_id=b.request_id(), agent_id=name)
            )
            query = Query(get_agent=GetAgentRequest(agent_id=name))
            await call.write(ReadRequest(first_nonce=number, queries=[query]))
            [found] = (await call.read()).results
            assert found.get_agent.agent.agent_id == name
        assert await answers(call) == []

    run(story)
