"""Streams: which ends are noticed as broken, and how much may be under way.

Clients that are killed are processes of their own: nothing in this process could die
the way they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from raftstate.rpc.edge import Edge
from raftstate.rpc.frontend import Limits
from raftstate.rpc.office import Office, OfficeLost
from raftstate.rpc.steps import Steps
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_FORCE,
    ACQUIRE_MODE_WAIT,
    AcquireOwnershipRequest,
    CreateAgentRequest,
    RenewOwnershipRequest,
)
from raftstate.v1.event_service_pb2 import NewEvent, ReadAllRequest, ReadEventsRequest
from raftstate.v1.session_service_pb2 import KeepAliveRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest, Mutation, SubmitRequest
from tests.rpc.harness import Bench, all_of, bench, refused, rest_of, until

# Keeps a session alive once, says so, and stays.
CLIENT = """
import sys, time, grpc
from raftstate.v1.session_service_pb2 import KeepAliveRequest
from raftstate.v1.session_service_pb2_grpc import SessionServiceStub

def requests():
    yield KeepAliveRequest(session_id="s1", nonce=1)
    time.sleep(60)

channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])
for response in SessionServiceStub(channel).KeepAlive(requests()):
    print("kept", response.nonce, flush=True)
"""


async def kept(b: Bench, **options: Any) -> Any:
    """A keep-alive stream that was answered once."""
    call = b.sessions.KeepAlive(**options)
    await call.write(KeepAliveRequest(session_id="s1", nonce=1))
    assert (await call.read()).nonce == 1
    return call


def finished(b: Bench, method: str = "SessionService/KeepAlive") -> Callable[[], bool]:
    return lambda: any(name == f"/raftstate.v1.{method}" for name, _ in b.calls)


# --- which ends count as broken ------------------------------------------------------


async def cancel(b: Bench) -> None:
    (await kept(b)).cancel()


async def half_close(b: Bench) -> None:
    call = await kept(b)
    await call.done_writing()
    assert await rest_of(call) == []


async def deadline(b: Bench) -> None:
    call = await kept(b, timeout=1)
    with pytest.raises(grpc.aio.AioRpcError):
        await rest_of(call)


async def close_channel(b: Bench) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{b.port}") as channel:
        await kept(Bench(b.fake, b.server, b.port, channel, b.calls))


async def stop_server(b: Bench) -> None:
    call = await kept(b)
    await b.server.stop(0)
    with pytest.raises(grpc.aio.AioRpcError):
        await rest_of(call)


async def expire(b: Bench) -> None:
    call = await kept(b)
    b.fake.expire_session("s1")
    await call.write(KeepAliveRequest(session_id="s1", nonce=2))
    assert (await refused(rest_of(call))).reason == "SESSION_EXPIRED"


async def killed_process(b: Bench, number: signal.Signals = signal.SIGKILL) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(b.port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).split() == [b"kept", b"1"]
    process.send_signal(number)
    await process.wait()


async def other_stream_is_open(b: Bench) -> None:
    first, second = await kept(b), await kept(b)
    first.cancel()
    await until(finished(b), "the first stream ended")
    assert b.fake.broken == []
    await second.write(KeepAliveRequest(session_id="s1", nonce=2))
    assert (await second.read()).nonce == 2
    await second.done_writing()
    await rest_of(second)


ENDS: dict[str, tuple[Callable[[Bench], Awaitable[None]], bool]] = {
    "the client process is killed": (killed_process, True),
    "the client cancels": (cancel, True),
    "the client closes its channel": (close_channel, True),
    "the client ends in order": (half_close, False),
    "the client's own deadline passes": (deadline, False),
    "the server stops": (stop_server, False),
    "the session has expired": (expire, False),
    "another stream of the session is open": (other_stream_is_open, False),
}


@pytest.mark.parametrize("name", ENDS)
def test_which_ends_of_a_keep_alive_start_a_grace(name: str) -> None:
    """
    Consensus is told of a broken stream, once, and of no other end.
    """
    end, broken = ENDS[name]

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await end(b)
            await until(finished(b), "the stream ended")
            assert b.fake.broken == (["s1"] if broken else [])

    asyncio.run(tell())


def test_a_client_that_dies_while_its_keep_alive_is_under_way() -> None:
    """
    The stream breaks before the answer comes: a grace begins all the same.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            call = await kept(b)
            b.fake.holding = True
            await call.write(KeepAliveRequest(session_id="s1", nonce=2))
            await until(lambda: b.fake.held, "the keep-alive is with consensus")
            call.cancel()
            await until(lambda: b.fake.broken, "the break is noticed")
            b.fake.let_go()

    asyncio.run(tell())


def test_a_keep_alive_stream_is_for_one_session() -> None:
    """
    Another session on the same stream is an error that names the field.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            call = await kept(b)
            await call.write(KeepAliveRequest(session_id="s2", nonce=2))
            found = await refused(rest_of(call))
            assert found.metadata["field"] == "session_id"
            assert b.fake.broken == []

    asyncio.run(tell())


def test_streams_of_a_leader_end_when_it_loses_office() -> None:
    """
    Idle keep-alive and renewal streams are told NOT_LEADER with the successor's address;
    that is no break.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            fence = await b.own("a")
            b.server.look()
            alive = await kept(b)
            renewing = b.agents.RenewOwnership()
            await renewing.write(RenewOwnershipRequest(agent_id="a", fence=fence))
            assert (await renewing.read()).held
            b.fake.depose("n2")
            for call in (alive, renewing):
                found = await refused(rest_of(call))
                assert (found.code, found.reason) == ("UNAVAILABLE", "NOT_LEADER")
                assert found.metadata["leader_address"] == "127.0.0.1:7412"
            assert b.fake.broken == []

    asyncio.run(tell())


def test_a_read_that_fails_when_nobody_listens_is_no_news() -> None:
    """
    The office is lost, or the handler has gone, and then the stream's read fails: nothing
    is left in the log.
    """

    async def tell() -> None:
        told: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        async with bench() as b:
            await b.open()
            office = Office(b.fake)
            office.look()
            fails = loop.create_future()

            async def requests() -> AsyncIterator[int]:
                with contextlib.suppress(asyncio.CancelledError):
                    await fails
                raise OSError("the server has stopped")
                yield 0

            reading = office.requests(requests())
            waits = asyncio.ensure_future(anext(reading))
            await asyncio.sleep(0)
            fails.set_result(None)
            b.fake.depose("n2")
            office.look()
            with pytest.raises(OfficeLost):
                await waits

            fails = loop.create_future()
            gone = asyncio.ensure_future(anext(office.requests(requests())))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.wait({gone})
            await asyncio.sleep(0)
        del waits, gone, reading
        gc.collect()
        assert told == []

    asyncio.run(tell())


def test_a_call_under_which_the_server_stops_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It is counted as cancelled, and grpc is left to end it; a defect is still logged.
    """
    counted: list[str] = []
    edge = Edge(lambda _, code, __: counted.append(code))

    class Stopped(grpc.aio.BaseError):  # type: ignore[misc]  # grpc is untyped
        pass

    async def behaviour(_: Any, __: Any) -> None:
        raise Stopped

    handler = grpc.unary_unary_rpc_method_handler(behaviour)

    async def continuation(_: Any) -> Any:
        return handler

    async def tell() -> None:
        details = SimpleNamespace(method="/x")
        wrapped = await edge.intercept_service(continuation, details)
        with pytest.raises(Stopped):
            await wrapped.unary_unary(None, None)

    asyncio.run(tell())
    assert counted == ["CANCELLED"]
    assert caplog.records == []


def test_a_stream_to_a_client_that_has_gone_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    What cannot be written any more ends the call, before grpc has told of the client's end.
    """
    counted: list[str] = []
    edge = Edge(lambda _, code, __: counted.append(code))

    async def write(_: Any) -> None:
        raise grpc.aio.InternalError("the connection is gone")

    async def behaviour(_: Any, __: Any) -> AsyncIterator[int]:
        yield 1

    async def continuation(_: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(behaviour)

    async def tell() -> None:
        wrapped = await edge.intercept_service(continuation, SimpleNamespace(method="/x"))
        with pytest.raises(asyncio.CancelledError):
            await wrapped.unary_stream(None, SimpleNamespace(write=write))

    asyncio.run(tell())
    assert counted == ["CANCELLED"]
    assert caplog.records == []


def test_a_message_that_cannot_be_sent_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The client has gone: the generator is closed at once, and the call is counted as
    cancelled.
    """
    counted: list[str] = []
    closed: list[bool] = []
    edge = Edge(lambda _, code, __: counted.append(code))

    class Broken(grpc.aio.InternalError):  # type: ignore[misc]  # grpc is untyped
        pass

    class Gone:
        async def write(self, _: Any) -> None:
            raise Broken

    async def behaviour(_: Any, __: Any) -> Any:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    handler = grpc.unary_stream_rpc_method_handler(behaviour)

    async def continuation(_: Any) -> Any:
        return handler

    async def tell() -> None:
        wrapped = await edge.intercept_service(continuation, SimpleNamespace(method="/x"))
        with pytest.raises(asyncio.CancelledError):
            await wrapped.unary_stream(None, Gone())

    asyncio.run(tell())
    assert counted == ["CANCELLED"]
    assert closed == [True]
    assert caplog.records == []


# --- how much is under way -----------------------------------------------------------


def creations(b: Bench, count: int) -> list[Mutation]:
    return [
        Mutation(
            create_agent=CreateAgentRequest(request_id=b.request_id(), agent_id=f"a{at:04}")
        )
        for at in range(count)
    ]


def test_submit_coalesces_what_is_known_together() -> None:
    """
    A batch that is answered in one turn comes back in one response, in order.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            call = b.steps.Submit()
            b.fake.holding = True
            await call.write(SubmitRequest(first_nonce=1, mutations=creations(b, 50)))
            await until(lambda: len(b.fake.held) == 50, "all are proposed")
            b.fake.let_go()
            response = await call.read()
            assert [one.nonce for one in response.results] == list(range(1, 51))
            await call.done_writing()
            assert await rest_of(call) == []

    asyncio.run(tell())


def test_submit_does_not_read_further_than_it_may() -> None:
    """
    With the bound reached the next batch stays unread until answers come.
    """

    async def tell() -> None:
        async with bench(Limits(in_flight=4)) as b:
            await b.open()
            call = b.steps.Submit()
            b.fake.holding = True
            for first in (1, 5, 9):
                await call.write(SubmitRequest(first_nonce=first, mutations=creations(b, 4)))
            await until(lambda: len(b.fake.held) == 4, "the first batch is proposed")
            await asyncio.sleep(0.1)  # long enough for the next one, if it were read
            assert len(b.fake.held) == 4
            b.fake.let_go()
            await call.done_writing()
            responses = await rest_of(call)
            nonces = [one.nonce for response in responses for one in response.results]
            assert nonces == list(range(1, 13))

    asyncio.run(tell())


def test_submit_does_not_read_on_for_a_client_that_takes_no_answers() -> None:
    """
    What was answered, and not taken, is under way still; nothing of it is lost.
    """

    async def tell() -> None:
        async with bench(Limits(in_flight=4)) as b:
            await b.open()
            asked = 0

            async def requests() -> AsyncIterator[SubmitRequest]:
                nonlocal asked
                while asked < 50:
                    asked += 1
                    yield SubmitRequest(first_nonce=asked, mutations=creations(b, 1))

            answers: Any = Steps(b.server._frontend).Submit(requests(), None)
            nonces = [one.nonce for one in (await anext(answers)).results]
            for _ in range(200):
                await asyncio.sleep(0)
            assert asked <= 2 * 4 + 1
            nonces += [one.nonce async for response in answers for one in response.results]
            assert nonces == list(range(1, 51))

    asyncio.run(tell())


def test_a_submit_stream_that_breaks_abandons_its_waiters() -> None:
    """
    A waiter of a stream that is gone waits for nobody; other proposals are left alone.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await b.own("a")
            waiting = AcquireOwnershipRequest(
                request_id=b.request_id(), agent_id="a", mode=ACQUIRE_MODE_WAIT
            )
            call = b.steps.Submit()
            mutation = Mutation(acquire_ownership=waiting)
            await call.write(SubmitRequest(first_nonce=1, mutations=[mutation]))
            await until(lambda: b.fake.waiting, "it waits")
            call.cancel()
            await until(lambda: b.fake.abandoned, "it is abandoned")
            assert b.fake.waiting == []

    asyncio.run(tell())


def test_large_results_are_split() -> None:
    """
    Takeover bundles that would not fit into one response come in several.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            fence = await b.own("a")
            for _ in range(3):
                events = [NewEvent(type="x", data=bytes(400_000))]
                await b.steps.CommitStep(
                    CommitStepRequest(
                        request_id=b.request_id(), agent_id="a", fence=fence, events=events
                    )
                )
            acquire = [
                Mutation(
                    acquire_ownership=AcquireOwnershipRequest(
                        request_id=b.request_id(), agent_id="a", mode=ACQUIRE_MODE_FORCE
                    )
                )
                for _ in range(8)
            ]
            call = b.steps.Submit(iter([SubmitRequest(first_nonce=1, mutations=acquire)]))
            responses = await all_of(call)
            bundles = [
                one.acquire_ownership.bundle
                for response in responses
                for one in response.results
            ]
            assert len(bundles) == 8
            assert len(responses) > 1
            assert bundles[0].more_events
            assert all(response.ByteSize() < 4 << 20 for response in responses)

    asyncio.run(tell())


# --- slices --------------------------------------------------------------------------


def test_long_reads_open_a_view_a_slice() -> None:
    """
    No view is held between slices, every event comes once, and a read to the end ends
    where the end was when it began.
    """

    async def tell() -> None:
        async with bench(Limits(slice_events=4, slice_bytes=1_000)) as b:
            await b.open()
            fence = await b.own("a")

            async def commit(count: int, size: int) -> None:
                events = [NewEvent(type="x", data=bytes(size))] * count
                await b.steps.CommitStep(
                    CommitStepRequest(
                        request_id=b.request_id(), agent_id="a", fence=fence, events=events
                    )
                )

            await commit(10, 1)
            await commit(3, 2_000)
            views = b.fake.state.views
            by_count = await all_of(
                b.events.ReadEvents(ReadEventsRequest(stream_id="a", max_events=10))
            )
            assert [len(one.events) for one in by_count] == [4, 4, 2]
            assert b.fake.state.views == views + 4  # one finds the end, three read
            call = b.events.ReadAll(ReadAllRequest(from_position=11))
            first = await call.read()
            await commit(5, 1)
            rest = await rest_of(call)
            positions = [e.position for one in (first, *rest) for e in one.events]
            assert positions == [11, 12, 13]
            assert len(rest) == 2  # an event that is larger than a slice comes alone

    asyncio.run(tell())
