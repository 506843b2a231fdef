"""A served fake and a client for it, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from raftstate import v1
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.errors import DETAILS_KEY
from raftstate.rpc.frontend import Addresses, Limits
from raftstate.rpc.server import RpcServer, Settings
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest, AcquireOwnershipResponse
from raftstate.v1.agent_service_pb2_grpc import AgentServiceStub
from raftstate.v1.breaker_service_pb2_grpc import BreakerServiceStub
from raftstate.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from raftstate.v1.cluster_service_pb2_grpc import ClusterServiceStub
from raftstate.v1.common_pb2 import FencingToken, RequestId
from raftstate.v1.effect_service_pb2_grpc import EffectServiceStub
from raftstate.v1.event_service_pb2_grpc import EventServiceStub
from raftstate.v1.kv_service_pb2_grpc import KvServiceStub
from raftstate.v1.lease_service_pb2_grpc import LeaseServiceStub
from raftstate.v1.read_service_pb2_grpc import ReadServiceStub
from raftstate.v1.recovery_service_pb2_grpc import RecoveryServiceStub
from raftstate.v1.replay_service_pb2_grpc import ReplayServiceStub
from raftstate.v1.rollback_service_pb2_grpc import RollbackServiceStub
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.session_service_pb2_grpc import SessionServiceStub
from raftstate.v1.step_service_pb2_grpc import StepServiceStub
from raftstate.v1.watch_service_pb2_grpc import WatchServiceStub
from tests.rpc.fake import FakeConsensus, MemoryState

ADDRESSES = Addresses(
    client={"n1": "127.0.0.1:7411", "n2": "127.0.0.1:7412"},
    raft={"n1": "127.0.0.1:7511", "n2": "127.0.0.1:7512"},
)
WAIT_S = 10.0


@dataclass
class Bench:
    """A server over a fake, and every stub of one channel to it."""

    fake: FakeConsensus
    server: RpcServer
    port: int
    channel: Any
    calls: list[tuple[str, str]]
    opened_revision: int = 0
    sequence: int = 0
    # The lowest sequence whose outcome is to be kept; zero: that of the newest request.
    lowest: int = 0
    bridge: Any = None
    stubs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions: Any = SessionServiceStub(self.channel)
        self.agents: Any = AgentServiceStub(self.channel)
        self.steps: Any = StepServiceStub(self.channel)
        self.events: Any = EventServiceStub(self.channel)
        self.checkpoints: Any = CheckpointServiceStub(self.channel)
        self.cluster: Any = ClusterServiceStub(self.channel)
        self.kv: Any = KvServiceStub(self.channel)
        self.leases: Any = LeaseServiceStub(self.channel)
        self.recovery: Any = RecoveryServiceStub(self.channel)
        self.effects: Any = EffectServiceStub(self.channel)
        self.rollbacks: Any = RollbackServiceStub(self.channel)
        self.breakers: Any = BreakerServiceStub(self.channel)
        self.replays: Any = ReplayServiceStub(self.channel)
        self.watches: Any = WatchServiceStub(self.channel)
        self.reads: Any = ReadServiceStub(self.channel)

    def request_id(self, session_id: str = "s1") -> RequestId:
        """The next id of the bench's session."""
        self.sequence += 1
        return RequestId(
            session_id=session_id,
            sequence=self.sequence,
            lowest_unfinished=self.lowest or self.sequence,
            opened_revision=self.opened_revision,
        )

    async def open(self, session_id: str = "s1") -> None:
        """Open the bench's session."""
        response = await self.sessions.OpenSession(OpenSessionRequest(session_id=session_id))
        self.opened_revision = response.session.opened_revision
        self.sequence = 0

    async def own(self, agent_id: str = "a") -> FencingToken:
        """Own an agent, which is made if need be."""
        request = AcquireOwnershipRequest(
            request_id=self.request_id(), agent_id=agent_id, create=True, holder="bench"
        )
        response: AcquireOwnershipResponse = await self.agents.AcquireOwnership(request)
        return response.ownership.fence


def services() -> list[Any]:
    """The descriptor of every service of the API, as its files say."""
    found = []
    for file in sorted(Path(v1.__file__).parent.glob("*_service_pb2.py")):
        module = import_module(f"{v1.__name__}.{file.stem}")
        found += module.DESCRIPTOR.services_by_name.values()
    return found


@asynccontextmanager
async def bench(limits: Limits | None = None) -> AsyncIterator[Bench]:
    """Serve a fake on a free port."""
    bridge = Bridge(asyncio.get_running_loop())
    state = MemoryState()
    fake = FakeConsensus(bridge.deliver, state, bridge.revisions.announce)
    calls: list[tuple[str, str]] = []
    settings = Settings(addresses=ADDRESSES, limits=limits or Limits())
    server = RpcServer(
        fake, state, bridge, settings, lambda method, code, _: calls.append((method, code))
    )
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Bench(fake, server, port, channel, calls, bridge=bridge)
    finally:
        await server.stop(0)
    assert not state.views_open, "a view was left open"


def run(story: Callable[[Bench], Awaitable[None]]) -> None:
    """Tell a story at a bench with an open session."""

    async def tell() -> None:
        async with bench() as b:
            await b.open()
            await story(b)

    asyncio.run(tell())


@dataclass(frozen=True)
class Refused:
    """What a failed call told its client."""

    code: str
    reason: str
    definite: bool
    metadata: dict[str, str]
    details: list[Message]
    message: str


_DETAILS = {
    "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
    "google.rpc.RetryInfo": error_details_pb2.RetryInfo,
    "google.rpc.BadRequest": error_details_pb2.BadRequest,
    "google.rpc.PreconditionFailure": error_details_pb2.PreconditionFailure,
}


def decode(raw: bytes) -> Refused:
    """Read a serialised google.rpc.Status."""
    status = status_pb2.Status.FromString(raw)
    details = []
    for packed in status.details:
        message = _DETAILS[packed.type_url.rpartition("/")[2]]()
        assert packed.Unpack(message)
        details.append(message)
    info = details[0]
    assert info.domain == "raftstate"
    metadata = dict(info.metadata)
    definite = {"true": True, "false": False}[metadata.pop("definite")]
    code = next(one.name for one in grpc.StatusCode if one.value[0] == status.code)
    return Refused(code, info.reason, definite, metadata, details[1:], status.message)


async def refused(call: Awaitable[Any]) -> Refused:
    """Await a call that must fail with one of our statuses."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error: Any = caught.value
    found = decode(dict(error.trailing_metadata())[DETAILS_KEY])
    assert found.code == error.code().name
    assert found.message == error.details()
    return found


async def all_of(call: Any) -> list[Any]:
    """Every response of a stream."""
    return [response async for response in call]


async def rest_of(call: Any) -> list[Any]:
    """What is left of a stream that was read with `read`."""
    found = []
    while (response := await call.read()) is not grpc.aio.EOF:
        found.append(response)
    return found


async def until(condition: Any, what: str) -> None:
    """Wait until a condition holds, but not for ever."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {WAIT_S} s in vain until {what}") from None
