"""A real node, driven through three lives while it is recorded.

`python -m tests.crash_images.load FOLDER --log lmdb --recorder preload --seed 0x2a`

A cluster of one: `raftstate serve` as a process, and clients that write through its API,
several at a time, so that writes are grouped. Its log is cut every few dozen entries. The
first life ends in order, the second by SIGKILL when nothing is under way (the model must
know all that happened). The third begins as after a restart of the machine, so the node
builds its state anew, and ends in order. After each acknowledgement a mark is put in the
trace. A process of its own, because gRPC's threads do not go with `fork`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from raftstate.localcluster import free_ports
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    CreateAgentRequest,
    ReleaseOwnershipRequest,
    UpdateAgentRequest,
)
from raftstate.v1.agent_service_pb2_grpc import AgentServiceStub
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.session_service_pb2 import CloseSessionRequest, OpenSessionRequest
from raftstate.v1.session_service_pb2_grpc import SessionServiceStub
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.step_service_pb2_grpc import StepServiceStub
from tests.crash_images.check import CLUSTER, DATA, MEMBER
from tests.crash_images.recorders import RECORDERS
from tests.crash_images.recording import ABOUT, Recorder, RecordingError

ROOT = "root"
WORKERS = 8
WRITES_A_LIFE = 22  # of each worker
LOG_ENTRIES, KEEP_ENTRIES = 30, 8
READY_S = 60.0
QUIET_POLLS = 10
HOUR_MS = 3_600_000
CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]


def configuration(folder: Path, log: str, api: str, raft: str) -> str:
    """A cluster of one, whose log is cut often."""
    return f"""
[cluster]
id = "{CLUSTER}"

[[member]]
id = "{MEMBER}"
raft = "{raft}"
api = "{api}"

[node]
id = "{MEMBER}"
data_dir = "{folder / ROOT / DATA}"

[raft]
heartbeat_ms = 20
election_timeout_min_ms = 100
election_timeout_max_ms = 150

[snapshot]
log_entries = {LOG_ENTRIES}
keep_entries = {KEEP_ENTRIES}
[storage]
log = "{log}"
"""


class Node:
    """The recorded process, one life after another."""

    def __init__(self, folder: Path, log: str, recorder: Recorder) -> None:
        self._recorder = recorder
        self._said = folder / "node.log"
        api, raft = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.address = api
        config = folder / "node.toml"
        config.write_text(configuration(folder, log, api, raft))
        self._boot = folder / "boot_id"
        serve = [sys.executable, "-m", "tests.crash_images.serve", str(self._boot)]
        self._command = recorder.command([*serve, "--config", str(config)])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, boot_id: str) -> None:
        """Begin a life, on a machine that was started under this id."""
        self._boot.write_text(boot_id)
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._recorder.environment()},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    async def ready(self, channel: Any) -> None:
        """Wait until it may be written to."""
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="raftstate.write")
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self._running.poll() is None:
            with suppress(grpc.RpcError):
                answer = await health.Check(request, timeout=2, wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(0.01)
        raise RecordingError(f"the node does not serve:\n{self._said.read_text()}")

    def stop(self) -> None:
        """End the life in order."""
        status = self._signal(signal.SIGTERM)
        if status != 0:
            raise RecordingError(f"the node ended with {status}:\n{self._said.read_text()}")

    async def kill(self) -> None:
        """End the life at once, while it does nothing: a call that has returned and was
        not recorded yet would be missing from what the next life is built on."""
        size, quiet = -1, 0
        deadline = time.monotonic() + READY_S
        while quiet < QUIET_POLLS:
            if time.monotonic() > deadline:
                raise RecordingError("the node does not come to rest")
            await asyncio.sleep(0.02)
            quiet = quiet + 1 if self._recorder.size() == size else 0
            size = self._recorder.size()
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> int:
        """End the recorded process by a signal; the status of what was started."""
        os.kill(self._recorder.target(self._running.pid), number)
        return self._running.wait(READY_S)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process


class Worker:
    """A client with a session of its own: one write after another, all acknowledged."""

    def __init__(self, name: str, rng: random.Random, recorder: Recorder) -> None:
        self._name = name
        self._rng = rng
        self._recorder = recorder
        self._sequence = 0
        self._opened_revision = 0
        self._agents = 0
        self._fence: FencingToken | None = None

    async def live(self, channel: Any, writes: int) -> None:
        """Write through one life of the node."""
        self._session_stub = SessionServiceStub(channel)
        self._agent_stub = AgentServiceStub(channel)
        self._step_stub = StepServiceStub(channel)
        if self._opened_revision == 0:
            await self._open()
        for _ in range(writes):
            await self._write()

    async def _open(self) -> None:
        request = OpenSessionRequest(session_id=self._name, ttl_ms=HOUR_MS, client="load")
        opened = await self._session_stub.OpenSession(request)
        self._mark(opened, self._name, 0)
        self._opened_revision = opened.session.opened_revision
        await self._create()

    async def _write(self) -> None:
        drawn = self._rng.random()
        if self._fence is None:
            await self._acquire()
        elif drawn < 0.75:
            await self._step(self._fence)
        elif drawn < 0.85:
            await self._label()
        elif drawn < 0.95:
            await self._release(self._fence)
        elif drawn < 0.98:
            await self._release(self._fence)
            await self._create()
        else:
            await self._flit()

    @property
    def _agent(self) -> str:
        return f"{self._name}/{self._agents}"

    def _mark(self, response: Any, session: str, sequence: int) -> None:
        header = response.header
        self._recorder.mark(
            index=header.raft_index, term=header.term, session=session, sequence=sequence
        )

    async def _call(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        self._sequence += 1
        request.request_id.CopyFrom(
            RequestId(
                session_id=self._name,
                sequence=self._sequence,
                lowest_unfinished=self._sequence,
                opened_revision=self._opened_revision,
            )
        )
        response = await method(request)
        self._mark(response, self._name, self._sequence)
        return response

    async def _create(self) -> None:
        self._agents += 1
        await self._call(self._agent_stub.CreateAgent, CreateAgentRequest(agent_id=self._agent))

    async def _acquire(self) -> None:
        request = AcquireOwnershipRequest(
            agent_id=self._agent, ttl_ms=HOUR_MS, holder=self._name
        )
        acquired = await self._call(self._agent_stub.AcquireOwnership, request)
        self._fence = acquired.ownership.fence

    async def _release(self, fence: FencingToken) -> None:
        request = ReleaseOwnershipRequest(agent_id=self._agent, fence=fence)
        await self._call(self._agent_stub.ReleaseOwnership, request)
        self._fence = None

    async def _label(self) -> None:
        label = Label(name="drawn", value=str(self._rng.randrange(1_000)))
        request = UpdateAgentRequest(agent_id=self._agent, labels=[label])
        await self._call(self._agent_stub.UpdateAgent, request)

    async def _step(self, fence: FencingToken) -> None:
        events = [
            NewEvent(type="drawn", data=self._rng.randbytes(self._rng.randint(10, 400)))
            for _ in range(self._rng.randint(1, 3))
        ]
        request = CommitStepRequest(agent_id=self._agent, fence=fence, events=events)
        if self._rng.random() < 0.3:
            data = self._rng.randbytes(self._rng.choice((100, 3_000, 9_000)))
            request.checkpoint.CopyFrom(NewCheckpoint(data=data))
        await self._call(self._step_stub.CommitStep, request)

    async def _flit(self) -> None:
        """A session that comes and goes."""
        name = f"{self._name}-{self._sequence}"
        opened = await self._session_stub.OpenSession(
            OpenSessionRequest(session_id=name, ttl_ms=HOUR_MS)
        )
        self._mark(opened, name, 0)
        closed = await self._session_stub.CloseSession(CloseSessionRequest(session_id=name))
        self._mark(closed, name, 0)


async def lives(node: Node, workers: list[Worker], recorder: Recorder, writes: int) -> None:
    """Three lives of one data folder, the last one on a machine that was restarted."""
    for life in range(3):
        if life == 2:
            recorder.mark(restarted=True)
        node.start(f"boot-{life // 2}")
        async with grpc.aio.insecure_channel(node.address, CHANNEL) as channel:
            await node.ready(channel)
            async with asyncio.TaskGroup() as group:
                for worker in workers:
                    group.create_task(worker.live(channel, writes))
            if life == 1:
                await node.kill()
        if life != 1:
            node.stop()


def main(argv: list[str] | None = None) -> int:
    """Record one node; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--log", required=True)
    parser.add_argument("--recorder", required=True, choices=sorted(RECORDERS))
    parser.add_argument("--seed", type=lambda text: int(text, 0), required=True)
    parser.add_argument("--writes", type=int, default=WRITES_A_LIFE)
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder.absolute()
    (folder / ROOT).mkdir()
    recorder = RECORDERS[arguments.recorder](folder, folder / ROOT)
    about = {"log": arguments.log, "recorder": arguments.recorder, "seed": arguments.seed}
    about |= {"root": str(folder / ROOT), "inode": (folder / ROOT).stat().st_ino}
    (folder / ABOUT).write_text(json.dumps(about))
    node = Node(folder, arguments.log, recorder)
    rng = random.Random(arguments.seed)
    workers = [
        Worker(f"w{number}", random.Random(rng.getrandbits(64)), recorder)
        for number in range(WORKERS)
    ]
    try:
        asyncio.run(lives(node, workers, recorder, arguments.writes))
    except (RecordingError, grpc.RpcError) as error:
        print(f"crash-images: {error}", file=sys.stderr)
        return 1
    finally:
        node.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
