"""A set that only grows: every element is the event of one step of one agent.

Adding is a step without an expected head, so that adds of several threads never refuse
each other. Now and then everything is read; and at the very end every member is asked
for what it holds itself. What was acknowledged must be in all of these, what failed in
none.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from jepsen_like.checkers import set_full
from jepsen_like.clients import (
    PAUSE_S,
    Pool,
    Shared,
    SharingClient,
    answered,
    ended,
    step_request,
    whole_stream,
)
from jepsen_like.history import Event
from jepsen_like.protocols import (
    PENDING,
    Context,
    Done,
    Generator,
    Op,
    Pending,
    Record,
    Verdict,
    Workload,
)
from jepsen_like.workloads.asking import ask_all
from raftstate.client.routing import Peer
from raftstate.errors import RaftStateError, StreamNotFound
from raftstate.v1.event_service_pb2 import ReadEventsResponse

NAME: Final = "set"
THREADS: Final = 4
SDK_THREADS: Final = 1
RATE: Final = 25.0
KEY: Final = "0"
READ_EVERY_S: Final = 5.0
# A read costs as much as there are elements: the more there are, the rarer it is.
_READ_EVERY_S_PER_ADD: Final = 0.0005
# One attempt at reading all elements may take so long: there may be many.
_READ_S: Final = 3.0


# --- what to do ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adds:
    """Adds for ever, and a read of everything when it is time for one."""

    seed: int
    counts: Mapping[str, int] = field(default_factory=dict)  # operations, by thread
    read_at: float = READ_EVERY_S

    def op(self, context: Context) -> tuple[Op, Generator] | Pending | None:
        """An operation of any free thread."""
        if not context.free:
            return PENDING
        total = sum(self.counts.values())
        thread = random.Random(f"{self.seed}/{NAME}/{total}").choice(sorted(context.free))
        count = self.counts.get(thread, 0)
        after = replace(self, counts={**self.counts, thread: count + 1})
        if context.time >= self.read_at:
            gap = READ_EVERY_S + total * _READ_EVERY_S_PER_ADD
            return Op(NAME, "read", KEY, None, thread), replace(
                after, read_at=context.time + gap
            )
        value = {"id": f"s{thread.rpartition('/')[2]}-{count}"}
        return Op(NAME, "add", KEY, value, thread), after

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        """Nothing depends on answers."""
        return self


def _final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """Every element: as the cluster says, and as each member holds it."""
    of_nodes = (Op(NAME, "read-node", KEY, {"node": node}) for node in nodes)
    return ask_all(Op(NAME, "read", KEY), *of_nodes)


# --- doing it ------------------------------------------------------------------


class SetClient(SharingClient):
    """One thread of the set."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, number, SDK_THREADS)
        self._agent_id = shared.agent(KEY)

    async def invoke(self, op: Op) -> Done:
        """Add an element, or read all of them."""
        match op.f:
            case "add":
                return await self._add(op)
            case "read":
                return await self._read()
            case "read-node":
                return await self._read_node(op.value["node"])
        raise ValueError(f"a set does not know {op}")

    async def _add(self, op: Op) -> Done:
        request = step_request(self._agent_id, NAME, {"id": op.value["id"]})
        try:
            answer = await self._way.commit(request)
        except RaftStateError as error:
            return ended(error, self._way.asked)
        value = {"position": answer.first_position, "step": answer.head.step}
        return answered(answer, value)

    async def _read(self) -> Done:
        try:
            answer = await self._way.ask(partial(_elements, self._agent_id, False), _READ_S)
        except StreamNotFound as error:
            return _nothing(error, self._way.asked)
        except RaftStateError as error:
            return ended(error, self._way.asked, changes=False)
        return answered(answer, {"ids": _ids(answer)})

    async def _read_node(self, node: str) -> Done:
        attempt = partial(_elements, self._agent_id, True)
        try:
            answer = await self._shared.once(node, attempt, timeout=_READ_S)
        except StreamNotFound as error:
            return _nothing(error, node)
        except RaftStateError as error:
            await asyncio.sleep(PAUSE_S)  # it is asked again
            return ended(error, node, changes=False)
        return answered(answer, {"ids": _ids(answer)})


async def _elements(
    agent_id: str, stale: bool, peer: Peer, patience: float
) -> ReadEventsResponse:
    return await whole_stream(peer, agent_id, patience, stale=stale)


def _ids(answer: ReadEventsResponse) -> list[str]:
    """The elements in the order of the stream."""
    return [json.loads(event.data)["id"] for event in answer.events]


def _nothing(error: StreamNotFound, node: str) -> Done:
    """A stream that nobody has written to yet has no elements."""
    if not error.definite:
        return ended(error, node, changes=False)
    return Done("ok", {"ids": []}, node=node)


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """What became of every element."""
    return [set_full.check(record, NAME)]


def workload() -> Workload:
    """The promise: what was acknowledged is there for good, once, on every member."""
    pool = Pool(NAME)
    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=lambda site, number: SetClient(pool.of(site), number),
        generator=Adds,
        final=_final,
        check=check,
    )
