"""What every member says of itself, four times a second, from the beginning to the end.

The samples are what faults are proven with, and what the report draws. Each member is
asked by a task of its own, so that one that is silent delays no other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, Final, Self

import grpc.aio

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.protocols import Sample
from raftstate.client.options import Options
from raftstate.client.routing import Peer
from raftstate.errors import NoQuorum
from raftstate.v1.cluster_service_pb2 import Role, StatusRequest, StatusResponse

EVERY_S: Final = 0.25
PATIENCE_S: Final = 0.5

_ROLES = {
    Role.ROLE_FOLLOWER: "follower",
    Role.ROLE_CANDIDATE: "candidate",
    Role.ROLE_LEADER: "leader",
}


class Monitor:
    """Samples all members until it is stopped. To be used as `async with`."""

    def __init__(
        self, addresses: Mapping[str, str], clock: Callable[[], float], path: Path
    ) -> None:
        self.samples: list[Sample] = []
        self.latest: dict[str, Sample] = {}
        self._addresses = addresses
        self._clock = clock
        self._file: IO[str] = path.open("x", encoding="utf-8")
        self._peers = {
            node: Peer(address, Options(endpoints=(address,)))
            for node, address in addresses.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(node)) for node in self._addresses]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self._peers.values():
            await peer.close()
        self._file.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _follow(self, node: str) -> None:
        while True:
            self._note(await self._ask(node))
            await asyncio.sleep(EVERY_S)

    async def _ask(self, node: str) -> Sample:
        peer = self._peers[node]
        try:
            # Asked for each time: a connection that broke is not made again by itself.
            await peer.ready(PATIENCE_S)
            answer: StatusResponse = await peer.cluster.Status(
                StatusRequest(), timeout=PATIENCE_S
            )
        except (grpc.aio.AioRpcError, NoQuorum):  # silence is an answer here
            return Sample(self._clock(), node, answered=False)
        return sample_of(answer, node, self._clock())

    def _note(self, sample: Sample) -> None:
        self.samples.append(sample)
        self.latest[sample.node] = sample
        self._file.write(dump(sample))


def sample_of(answer: StatusResponse, node: str, time: float) -> Sample:
    """What a member's answer says."""
    header = answer.header
    return Sample(
        time=round(time, 4),
        node=node,
        answered=True,
        role=_ROLES.get(answer.role, ""),
        leader=answer.leader_id,
        ready=answer.ready,
        term=header.term,
        revision=header.revision,
        commit_index=answer.commit_index,
        applied_index=answer.applied_index,
        first_index=answer.first_index,
        last_index=answer.last_index,
        state_hash=answer.state_hash.hex(),
        connected=tuple(
            member.member_id
            for member in answer.members
            if member.connected and member.member_id != header.member_id
        ),
        alarms=tuple(alarm.name for alarm in answer.alarms),
        snapshots_taken=answer.snapshots_taken,
        snapshots_installed=answer.snapshots_installed,
        elections_started=answer.elections_started,
        uptime_ms=answer.uptime_ms,
        wall_time_ms=answer.wall_time_ms,
        state_found=answer.state_found,
    )


# --- on file -------------------------------------------------------------------

_DEFAULTS = {one.name: one.default for one in fields(Sample)}


def dump(sample: Sample) -> str:
    """One sample as its line; fields that say nothing are left out."""
    said = {name: value for name, value in asdict(sample).items() if value != _DEFAULTS[name]}
    return json.dumps(said, separators=(",", ":")) + "\n"


def load(path: Path) -> Sequence[Sample]:
    """The samples in a file; a last line that a crash cut off is left out. Raises
    MalformedHistory for what no monitor can have written."""
    samples: list[Sample] = []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith("\n"):
            break
        try:
            said: dict[str, Any] = json.loads(line)
            for name in ("connected", "alarms"):
                said[name] = tuple(said.get(name, ()))
            samples.append(Sample(**said))
        except (ValueError, TypeError) as error:
            raise MalformedHistory(f"line {number} is no sample: {error}") from error
    return samples
