"""The server itself: its port, garbage on it, health, reflection, certificates, its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from raftstate.rpc.bridge import Bridge
from raftstate.rpc.frontend import Limits, WatchLimits
from raftstate.rpc.server import (
    CALL_TASKS,
    PortUnavailable,
    RpcServer,
    Settings,
    service_names,
)
from raftstate.v1.agent_service_pb2 import (
    CreateAgentRequest,
    GetAgentRequest,
    ListAgentsRequest,
)
from raftstate.v1.cluster_service_pb2 import StatusRequest
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceStub
from raftstate.v1.read_service_pb2 import Query, ReadRequest
from raftstate.v1.read_service_pb2_grpc import ReadServiceStub
from raftstate.v1.session_service_pb2 import KeepAliveRequest, OpenSessionRequest
from raftstate.v1.step_service_pb2 import Mutation, SubmitRequest
from tests.rpc.fake import FakeConsensus, MemoryState
from tests.rpc.harness import Bench, all_of, bench, refused, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    head = struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream)
    return head + payload


SETTINGS = frame(4, 0, 0, b"")
GARBAGE: dict[str, bytes] = {
    "text": b"hello, is this the store?\r\n\r\n",
    "HTTP/1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "zeros": bytes(4_096),
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "half a preface": PREFACE[:10],
    "half a frame": PREFACE + SETTINGS + frame(1, 4, 1, bytes(100))[:30],
    "half a frame's head": PREFACE + SETTINGS + b"\x00\x00",
    "a frame that promises 16 MiB": PREFACE
    + SETTINGS
    + b"\xff\xff\xff\x01\x04\x00\x00\x00\x01x",
    "headers that are no HPACK": PREFACE + SETTINGS + frame(1, 4, 1, b"\xff" * 64),
    "data on a stream that is not open": PREFACE + SETTINGS + frame(0, 1, 7, b"data"),
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("end", ["closes", "stays"])
def test_garbage_on_the_port(name: str, end: str) -> None:
    """
    Whatever arrives, and whether or not its sender goes, others are served.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
            writer.write(GARBAGE[name])
            await writer.drain()
            if end == "closes":
                writer.close()
                await writer.wait_closed()
            await b.own("a")
            assert (
                await b.agents.GetAgent(GetAgentRequest(agent_id="a"))
            ).agent.agent_id == "a"
            writer.close()
            del reader

    asyncio.run(tell())


@pytest.mark.parametrize(
    "method",
    [
        "AgentService/GetAgent",
        "StepService/CommitStep",
        "EventService/ReadEvents",
        "SessionService/KeepAlive",
        "AgentService/RenewOwnership",
        "StepService/Submit",
    ],
)
def test_a_message_that_is_no_protobuf(method: str) -> None:
    """
    A well-formed call whose body does not parse fails alone, definitely, in any form of
    call.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            raw = b.channel.stream_stream(f"/raftstate.v1.{method}")
            found = await refused(all_of(raw(iter([b"\xff\xff\xff\xff no message"]))))
            assert (found.code, found.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
            assert found.definite
            await b.own("a")

    asyncio.run(tell())


def test_a_call_that_does_not_exist() -> None:
    """
    UNIMPLEMENTED, as everywhere.
    """

    async def tell() -> None:
        async with bench() as b:
            unknown = b.channel.unary_unary("/raftstate.v1.AgentService/Explode")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await unknown(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(tell())


def build() -> RpcServer:
    """A server that is not bound."""
    bridge = Bridge(asyncio.get_running_loop())
    state = MemoryState()
    return RpcServer(FakeConsensus(bridge.deliver, state), state, bridge, Settings())


def test_a_port_that_is_in_use() -> None:
    """
    The error names the address and says that it is in use.
    """

    async def tell() -> None:
        async with bench() as b:
            other = build()
            with pytest.raises(PortUnavailable) as caught:
                other.bind(f"127.0.0.1:{b.port}")
            assert str(caught.value) == f"address 127.0.0.1:{b.port} is already in use"
            await other.stop(0)
            await b.open()

    asyncio.run(tell())


def test_an_address_of_another_machine() -> None:
    """
    What cannot be bound for another reason says which.
    """

    async def tell() -> None:
        server = build()
        with pytest.raises(PortUnavailable, match=r"192\.0\.2\.1:7411 cannot be used: "):
            server.bind("192.0.2.1:7411")
        await server.stop(0)

    asyncio.run(tell())


def test_a_server_that_has_stopped_handles_nothing_any_more() -> None:
    """
    When `stop` returns the calls that it ended have ended: the loop may end too.
    """

    def handling() -> int:
        names = [getattr(one.get_coro(), "__qualname__", "") for one in asyncio.all_tasks()]
        return sum(name in CALL_TASKS for name in names)

    async def tell() -> None:
        async with bench() as b:
            await b.open("s1")
            streams = [b.sessions.KeepAlive() for _ in range(50)]
            for stream in streams:
                await stream.write(KeepAliveRequest(session_id="s1", nonce=1))
            for stream in streams:
                await stream.read()
            assert handling() >= 50  # or else grpc calls them something else by now
            b.server.close()
            await b.server.stop(0)
            assert handling() == 0

    asyncio.run(tell())


def test_a_port_whose_connections_are_still_dying_down_can_be_taken() -> None:
    """
    A node that restarts takes its port again at once.
    """

    async def tell() -> None:
        async with bench() as b:
            port = b.port
            await b.open()
            b.server.close()
            await b.server.stop(0)  # the server closes first: TIME_WAIT is on its side
        again = build()
        assert again.bind(f"127.0.0.1:{port}") == port
        await again.stop(0)

    asyncio.run(tell())


# --- health --------------------------------------------------------------------------

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def healths(b: Bench) -> tuple[bool, bool, bool]:
    """Whether "", read and write are served."""
    stub: Any = health_pb2_grpc.HealthStub(b.channel)
    listed = await stub.List(health_pb2.HealthListRequest())
    found = {}
    for name in ("", "raftstate.read", "raftstate.write"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert listed.statuses[name].status == answer.status
        found[name] = answer.status == SERVING
    return found[""], found["raftstate.read"], found["raftstate.write"]


def test_health_follows_the_member() -> None:
    """
    A ready leader serves all; one that is not ready yet only lives; a follower reads;
    without a leader nothing is served; a member that goes serves nothing.
    """

    async def tell() -> None:
        async with bench() as b:
            assert await healths(b) == (True, True, True)
            b.fake.ready = False
            assert await healths(b) == (True, False, False)
            b.fake.depose("n2")
            b.fake.ready = True
            assert await healths(b) == (True, True, False)
            b.fake.depose(None)
            b.fake.ready = False
            assert await healths(b) == (False, False, False)
            b.fake.role, b.fake.ready = "leader", True
            b.server.close()
            assert await healths(b) == (False, False, False)

    asyncio.run(tell())


def test_health_of_an_unknown_service() -> None:
    """
    NOT_FOUND, as the health protocol has it.
    """

    async def tell() -> None:
        async with bench() as b:
            stub: Any = health_pb2_grpc.HealthStub(b.channel)
            found = await refused(stub.Check(health_pb2.HealthCheckRequest(service="x")))
            assert found.code == "NOT_FOUND"

    asyncio.run(tell())


def test_health_can_be_watched() -> None:
    """
    A watch tells the status now, and each change.
    """

    async def tell() -> None:
        async with bench() as b:
            stub: Any = health_pb2_grpc.HealthStub(b.channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(service="raftstate.write"))
            assert (await watch.read()).status == SERVING
            b.fake.depose("n2")
            assert (await watch.read()).status == NOT_SERVING
            watch.cancel()

    asyncio.run(tell())


def test_reflection_names_every_service() -> None:
    """
    Tools that know nothing of the API find all of it.
    """

    async def tell() -> None:
        async with bench() as b:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(b.channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="*")
            async for answer in stub.ServerReflectionInfo(iter([request])):
                names = {one.name for one in answer.list_services_response.service}
                assert names >= {*service_names(), "grpc.health.v1.Health"}

    asyncio.run(tell())


# --- behaviour of the server as a whole ----------------------------------------------


@pytest.mark.long
def test_clients_may_ping_often() -> None:
    """
    A client that pings once a second, without a call under way, is not sent away.
    """

    async def tell() -> None:
        async with bench() as b:
            options = [
                ("grpc.keepalive_time_ms", 1_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
            ]
            address = f"127.0.0.1:{b.port}"
            async with grpc.aio.insecure_channel(address, options=options) as channel:
                stub: Any = ClusterServiceStub(channel)
                await stub.Status(StatusRequest())
                states = []
                deadline = asyncio.get_running_loop().time() + 4.5
                while (left := deadline - asyncio.get_running_loop().time()) > 0:
                    state = channel.get_state()
                    states.append(state)
                    try:
                        async with asyncio.timeout(left):
                            await channel.wait_for_state_change(state)
                    except TimeoutError:
                        break
                assert states == [grpc.ChannelConnectivity.READY]

    asyncio.run(tell())


def test_calls_are_counted_by_method_and_code() -> None:
    """
    The observer is told of every call, with the status code that the client saw.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await refused(b.agents.GetAgent(GetAgentRequest(agent_id="nobody")))
            b.fake.holding = True
            call = b.agents.GetAgent(GetAgentRequest(agent_id="nobody"))
            await until(lambda: b.fake.held, "it is under way")
            call.cancel()
            method = "/raftstate.v1.AgentService/GetAgent"
            await until(lambda: (method, "CANCELLED") in b.calls, "the last one is counted")
            b.fake.let_go()
            assert b.calls == [
                ("/raftstate.v1.SessionService/OpenSession", "OK"),
                (method, "NOT_FOUND"),
                (method, "CANCELLED"),
            ]

    asyncio.run(tell())


def test_what_comes_in_batches_is_counted_as_what_it_is() -> None:
    """
    Queries and mutations of a stream as the calls that they stand for, whatever became of
    each; and the stream as well, when it ends.
    """

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            queries = [
                Query(get_agent=GetAgentRequest(agent_id="nobody")),
                Query(list_agents=ListAgentsRequest()),
                Query(get_agent=GetAgentRequest()),
                Query(),
            ]
            reads = ReadServiceStub(b.channel).Read(iter([ReadRequest(queries=queries)]))
            assert sum([len(one.results) async for one in reads]) == len(queries)
            made = CreateAgentRequest(request_id=b.request_id(), agent_id="a")
            again = CreateAgentRequest(request_id=b.request_id(), agent_id="a")
            mutations = [Mutation(create_agent=made), Mutation(create_agent=again)]
            steps = b.steps.Submit(iter([SubmitRequest(mutations=mutations)]))
            assert sum([len(one.results) async for one in steps]) == len(mutations)
            service = "/raftstate.v1.AgentService"
            expected = [
                ("/raftstate.v1.ReadService/Read", "OK"),
                ("/raftstate.v1.StepService/Submit", "OK"),
                (f"{service}/CreateAgent", "ALREADY_EXISTS"),
                (f"{service}/CreateAgent", "OK"),
                (f"{service}/GetAgent", "INVALID_ARGUMENT"),
                (f"{service}/GetAgent", "NOT_FOUND"),
                (f"{service}/ListAgents", "OK"),
            ]
            await until(lambda: len(b.calls) > len(expected), "all of them are counted")
            assert sorted(b.calls[1:]) == sorted(expected)

    asyncio.run(tell())


def test_a_failure_that_nobody_foresaw_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The client is told little; the log has the method and the cause.
    """

    async def tell() -> None:
        async with bench() as b:

            def fail(*_: object) -> None:
                raise ZeroDivisionError("why it failed")

            monkeypatch.setattr(b.fake, "propose", fail)
            await refused(b.sessions.OpenSession(OpenSessionRequest(session_id="s1")))

    with caplog.at_level(logging.ERROR, "raftstate.rpc"):
        asyncio.run(tell())

    assert "why it failed" in caplog.text
    (record,) = caplog.records
    assert record.__dict__["method"] == "/raftstate.v1.SessionService/OpenSession"


def test_answers_after_the_loop_is_gone_are_dropped() -> None:
    """
    The raft thread may deliver once more while the process ends.
    """
    loop = asyncio.new_event_loop()
    bridge = Bridge(loop)
    loop.close()

    bridge.deliver([])


def test_more_calls_than_allowed() -> None:
    """
    Beyond `max_concurrent` calls are refused at once, and later ones served again.
    """

    async def tell() -> None:
        bridge = Bridge(asyncio.get_running_loop())
        state = MemoryState()
        fake = FakeConsensus(bridge.deliver, state)
        none = Limits(watches=WatchLimits(streams=0))
        server = RpcServer(fake, state, bridge, Settings(max_concurrent=2, limits=none))
        port = server.bind("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            b = Bench(fake, server, port, channel, [])
            fake.holding = True
            read = GetAgentRequest(agent_id="a")
            held = [asyncio.ensure_future(b.agents.GetAgent(read)) for _ in range(2)]
            await until(lambda: len(fake.held) == 2, "both are under way")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await b.agents.GetAgent(read)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            fake.let_go()
            answers = await asyncio.gather(*held, return_exceptions=True)
            assert [one.code().name for one in answers] == ["NOT_FOUND"] * 2  # type: ignore[union-attr]
            assert (await refused(b.agents.GetAgent(read))).code == "NOT_FOUND"
        await server.stop(0)

    asyncio.run(tell())


def test_a_free_port_is_left_free() -> None:
    """
    Looking whether a port is free does not take it.
    """
    from raftstate.rpc.server import check_free

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        check_free(f"127.0.0.1:{port}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(PortUnavailable, match="already in use"):
            check_free(f"127.0.0.1:{port}")
