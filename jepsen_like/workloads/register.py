"""Registers: each is the state of one agent, and a step writes it.

A register is as good as its answers can be told apart: every write leaves an id that no
other write leaves, as the event and as the checkpoint of one step. `write` is a step
whatever the head is; `cas` is a step that demands the head which its thread last saw;
`read` is linearizable; `stale-read` is what one member holds. Several registers are
alive at once, and each is left for a new one after a while, so that each history stays
short enough to be judged as a whole.

Some threads ask through the SDK, others are pinned to a member: stale reads there, all
else by one attempt at whomever they take for the leader.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import grpc.aio

from jepsen_like.checkers import linear, witness
from jepsen_like.clients import (
    Pool,
    Shared,
    SharingClient,
    answered,
    ended,
    head,
    newest_checkpoint,
    step_request,
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
from raftstate.client.calls import deadline_in, remaining
from raftstate.client.errors import from_rpc
from raftstate.client.routing import Peer
from raftstate.errors import AgentNotFound, CheckpointNotFound, Conflict, RaftStateError
from raftstate.v1.common_pb2 import ResponseHeader

NAME: Final = "register"
THREADS: Final = 10
SDK_THREADS: Final = 4  # the first ones; the others are pinned, to one member after another
RATE: Final = 60.0
KEYS_ALIVE: Final = 3
KEY_OPS: Final = 200

_WEIGHTS: Final[Mapping[str, int]] = {"read": 30, "cas": 45, "write": 25}
_PINNED_WEIGHTS: Final[Mapping[str, int]] = {
    "read": 22,
    "stale-read": 22,
    "cas": 36,
    "write": 20,
}


# --- what to do ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registers:
    """Reads and writes for ever. What a thread does is drawn from the seed, its name and
    how many operations it had; which key that is depends on how far the keys are used."""

    seed: int
    alive: tuple[tuple[int, int], ...] = tuple((key, 0) for key in range(KEYS_ALIVE))
    fresh: int = KEYS_ALIVE
    counts: Mapping[str, int] = field(default_factory=dict)  # operations, by thread
    # The step that a thread last saw of a key, where it has seen one.
    seen: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def op(self, context: Context) -> tuple[Op, Generator] | Pending | None:
        """An operation of any free thread."""
        if not context.free:
            return PENDING
        total = sum(self.counts.values())
        thread = random.Random(f"{self.seed}/{NAME}/{total}").choice(sorted(context.free))
        count = self.counts.get(thread, 0)
        draws = random.Random(f"{self.seed}/{thread}/{count}")
        place = draws.randrange(len(self.alive))
        key = str(self.alive[place][0])
        return self._draw(draws, thread, key, count), self._used(thread, place)

    def update(self, context: Context, thread: str, event: Event) -> Generator:
        """Remember what a thread was told of a key's head."""
        if event.type != "ok" or event.f == "stale-read" or not self._is_alive(event.key):
            return self
        return replace(self, seen={**self.seen, (thread, event.key): event.value["step"]})

    def _draw(self, draws: random.Random, thread: str, key: str, count: int) -> Op:
        number = _number(thread)
        weights = _WEIGHTS if number < SDK_THREADS else _PINNED_WEIGHTS
        [f] = draws.choices(list(weights), list(weights.values()))
        expected = self.seen.get((thread, key))
        if f == "cas" and expected is None:
            f = "read"  # so that there is something to compare with the next time
        value: dict[str, Any] | None = None
        if f in ("cas", "write"):
            value = {"id": f"r{number}-{count}"}
        if value is not None and f == "cas":
            value["expected"] = expected
        return Op(NAME, f, key, value, thread)

    def _used(self, thread: str, place: int) -> Registers:
        """The generator after an operation of that thread on the key at that place."""
        counts = {**self.counts, thread: self.counts.get(thread, 0) + 1}
        key, used = self.alive[place]
        if used + 1 < KEY_OPS:
            alive = (*self.alive[:place], (key, used + 1), *self.alive[place + 1 :])
            return replace(self, counts=counts, alive=alive)
        alive = (*self.alive[:place], (self.fresh, 0), *self.alive[place + 1 :])
        seen = {(who, of): step for (who, of), step in self.seen.items() if of != str(key)}
        return replace(self, counts=counts, alive=alive, fresh=self.fresh + 1, seen=seen)

    def _is_alive(self, key: str) -> bool:
        return any(key == str(one) for one, _ in self.alive)


def _final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """The first registers once more: nobody has written them for long."""
    return ask_all(*(Op(NAME, "read", str(key)) for key in range(KEYS_ALIVE)))


def _number(thread: str) -> int:
    return int(thread.rpartition("/")[2])


# --- doing it ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """What a register held, and the header of the answer that says so."""

    header: ResponseHeader
    step: int
    id: str | None


class RegisterClient(SharingClient):
    """One thread of the registers."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, number, SDK_THREADS)

    async def invoke(self, op: Op) -> Done:
        """One operation on one register."""
        match op.f:
            case "read":
                return await self._read(op)
            case "stale-read":
                return await self._stale_read(op)
            case "write" | "cas":
                return await self._step(op)
        raise ValueError(f"a register does not know {op}")

    async def _read(self, op: Op) -> Done:
        agent_id = self._shared.agent(op.key)
        try:
            held = await self._way.ask(partial(_state, agent_id, False))
        except RaftStateError as error:
            return ended(error, self._way.asked, changes=False)
        return answered(held, {"step": held.step, "id": held.id})

    async def _stale_read(self, op: Op) -> Done:
        try:
            held = await self._shared.once(
                self._node, partial(_state, self._shared.agent(op.key), True)
            )
        except RaftStateError as error:
            return ended(error, self._node, changes=False)
        # Who answers says so himself; whether it is the one who was asked is to be judged.
        return answered(held, {"step": held.step, "id": held.id, "asked": self._node})

    async def _step(self, op: Op) -> Done:
        identity = op.value["id"]
        request = step_request(
            self._shared.agent(op.key),
            NAME,
            {"id": identity},
            expected_step=op.value["expected"] if op.f == "cas" else None,
            checkpoint=identity.encode(),
        )
        try:
            answer = await self._way.commit(request)
        except Conflict as error:
            if op.f == "cas" and error.definite:
                value = {"swapped": False, "step": int(error.details["current_step"])}
                return Done("ok", value, node=self._way.asked)
            return ended(error, self._way.asked)
        except RaftStateError as error:
            return ended(error, self._way.asked)
        swapped = {"swapped": True} if op.f == "cas" else {}
        return answered(answer, {**swapped, "step": answer.head.step})


async def _state(agent_id: str, stale: bool, peer: Peer, patience: float) -> Held:
    """What a register holds, by one answer of one member."""
    deadline = deadline_in(patience)
    held = await _checkpointed(agent_id, stale, peer, patience)
    if held is not None:
        return held
    # Nobody has written it yet. That is said without a revision; the list of agents has one.
    step, header = await head(peer, agent_id, max(remaining(deadline), 0.001), stale=stale)
    if step == 0:
        return Held(header, 0, None)
    # It was written in between, so that there is a checkpoint now. If there is none again,
    # then that is what was answered, and the checkers may judge it.
    again = await _checkpointed(agent_id, stale, peer, max(remaining(deadline), 0.001))
    return again or Held(header, step, None)


async def _checkpointed(agent_id: str, stale: bool, peer: Peer, patience: float) -> Held | None:
    """What the newest checkpoint says; None if there is none."""
    try:
        found = await newest_checkpoint(peer, agent_id, patience, stale=stale)
    except grpc.aio.AioRpcError as error:
        if isinstance(from_rpc(error), AgentNotFound | CheckpointNotFound):
            return None
        raise
    return Held(found.header, found.checkpoint.step, found.chunk.decode())


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Sort by revision and replay; and search, as if there were no revisions."""
    return [witness.check(record, NAME), linear.check(record, NAME)]


def workload() -> Workload:
    """The promise: steps and reads of an agent's state are linearizable, and a stale read
    is some earlier state."""
    pool = Pool(NAME)
    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=lambda site, number: RegisterClient(pool.of(site), number),
        generator=Registers,
        final=_final,
        check=check,
    )
