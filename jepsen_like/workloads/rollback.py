"""Rollbacks: agents save states of a few keys, and are taken back to one of them at random.

Each writer owns an agent, and every step of it saves a state of five keys, whose bytes
follow from its name. Others take agents back to a checkpoint of the line that they are on,
and finish that; readers look all the while, at the leader and at each member, at the state
that is the newest there. What is read has to be the state of one revision, whole, and after
a rollback it has to be the very bytes of the checkpoint.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from jepsen_like import generator as gen
from jepsen_like.checkers import rollbacks as checker
from jepsen_like.checkers.rollbacks import digest, live
from jepsen_like.clients import PAUSE_S, TIMEOUT_S, Pool, Shared, SharingClient, ended, telling
from jepsen_like.protocols import Done, Generator, Op, Record, Site, Verdict, Workload
from jepsen_like.workloads.asking import ask_all
from jepsen_like.workloads.checkpoints import Listed, Whole, read_list, read_whole
from raftstate.client.calls import deadline_in
from raftstate.client.routing import Peer
from raftstate.errors import AgentNotFound, CheckpointNotFound, RaftStateError
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, GetCheckpointRequest, NewCheckpoint
from raftstate.v1.common_pb2 import CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE, Label
from raftstate.v1.event_service_pb2 import NewEvent, ReadEventsRequest
from raftstate.v1.rollback_service_pb2 import (
    AgentTarget,
    FinishRollbackRequest,
    ListRollbacksRequest,
    Rollback,
    RollbackState,
    StartRollbackRequest,
    Target,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest

NAME: Final = "rollback"
WRITERS: Final = 2
MEDICS: Final = 1
READERS: Final = 3
SDK_THREADS: Final = WRITERS + MEDICS
RATE: Final = 8.0
KEYS: Final = 5
LABEL: Final = "state"
READ_S: Final = 1.0
_GONE: Final = (AgentNotFound, CheckpointNotFound)


# --- what to do ----------------------------------------------------------------


def operation(thread: str, draws: random.Random, count: int) -> Op:
    """The operation of that number of one thread."""
    number = int(thread.rpartition("/")[2])
    if number < WRITERS:
        return Op(NAME, "write", value={"agent": str(number), "id": f"r{number}-{count}"})
    agent = str(draws.randrange(WRITERS))
    if number < WRITERS + MEDICS:
        return Op(NAME, "rollback", value={"agent": agent, "which": gen.part(draws)})
    stale = draws.random() < 0.7
    return Op(NAME, "read", value={"agent": agent, "stale": stale})


def operations(seed: int) -> Generator:
    """Operations for ever; what a thread does depends on the seed and on its name."""
    return gen.PerThread(lambda name: gen.Draw(f"{seed}:{name}", partial(operation, name)))


def final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """Finish what was begun; then all checkpoints with their bytes, events, rollbacks."""
    agents = [str(number) for number in range(WRITERS)]
    drain = ask_all(Op(NAME, "drain", value={}))
    tell = ask_all(*(Op(NAME, "list", value={"agent": agent}) for agent in agents))
    return gen.Then(drain, tell)


def state_of(name: str) -> bytes:
    """The state that has a name: five keys, whose values follow from it."""
    values = {
        f"key-{place}": f"{name}/{place}/{digest(name.encode())}" for place in range(KEYS)
    }
    return json.dumps(values, separators=(",", ":")).encode()


# --- doing it ------------------------------------------------------------------


class RollbackClient(SharingClient):
    """One thread: a writer, a medic, or a reader."""

    def __init__(self, shared: Shared, number: int) -> None:
        super().__init__(shared, number, SDK_THREADS)

    async def invoke(self, op: Op) -> Done:
        """One operation."""
        try:
            match op.f:
                case "write":
                    return await self._write(op.value)
                case "rollback":
                    return await self._roll_back(op.value)
        except RaftStateError as error:
            await asyncio.sleep(PAUSE_S)
            return ended(error)
        try:
            match op.f:
                case "read":
                    return await self._look(op.value)
                case "drain":
                    return await self._drain()
                case "list":
                    return await self._list(self._shared.agent(op.value["agent"]))
        except RaftStateError as error:
            await asyncio.sleep(PAUSE_S)
            return ended(error, changes=False)
        raise ValueError(f"a rollback does not know {op}")

    async def _write(self, asked: Mapping[str, Any]) -> Done:
        """One step: an event, and the state that it leads to."""
        agent_id = self._shared.agent(asked["agent"])
        deadline = deadline_in(TIMEOUT_S)
        handle = await self._shared.own(agent_id, deadline)
        request = CommitStepRequest(
            agent_id=agent_id,
            fence=handle.token,
            events=[NewEvent(type=NAME, data=asked["id"].encode())],
            checkpoint=NewCheckpoint(
                data=state_of(asked["id"]),
                content_type="application/json",
                labels=[Label(name=LABEL, value=asked["id"])],
            ),
        )
        with telling(handle):
            answer = await self._shared.engine.mutate_in(
                handle.session, "commit_step", request, deadline
            )
        told = {
            "checkpoint": answer.head.checkpoint_id,
            "seq": answer.head.event_seq,
            "token": [handle.token.epoch, handle.token.revision],
        }
        return Done("ok", told, answer.header.revision, answer.header.member_id)

    async def _roll_back(self, asked: Mapping[str, Any]) -> Done:
        """Take an agent back to a checkpoint of its line, and let it go on."""
        agent_id = self._shared.agent(asked["agent"])
        try:
            listed: Listed = await self._way.ask(partial(read_list, agent_id, False))
        except RaftStateError as error:
            return ended(error, changes=False)
        line = live([(one.checkpoint_id, one.restored_from) for one in listed.checkpoints])
        if not line:
            return Done("ok", {})
        chosen = line[-1 - int(asked["which"] * min(len(line), 6))]
        target = AgentTarget(agent_id=agent_id, target=Target(checkpoint_id=chosen))
        request = StartRollbackRequest(agents=[target], started_by=NAME)
        told: dict[str, Any] = {"target": chosen}
        try:
            answer = await self._shared.engine.mutate("start_rollback", request, TIMEOUT_S)
        except RaftStateError as error:
            if error.reason == "AGENT_STATE":  # one is under way, which nobody has finished
                await self._finish_all()
            return replace(ended(error), value=told)
        told["rollback"] = answer.rollback_id
        finish = FinishRollbackRequest(rollback_id=answer.rollback_id)
        done = Done("ok", told, answer.header.revision, answer.header.member_id)
        try:
            await self._shared.engine.mutate("finish_rollback", finish, TIMEOUT_S)
        except RaftStateError as error:
            return replace(done, error=f"not finished: {error.reason}")
        return done

    async def _finish_all(self) -> list[str]:
        """Finish every rollback that is ready; those that are under way before that."""
        under_way = await self._rollbacks(
            RollbackState.ROLLBACK_STATE_COMPENSATING,
            RollbackState.ROLLBACK_STATE_BLOCKED,
            RollbackState.ROLLBACK_STATE_VALIDATING,
            RollbackState.ROLLBACK_STATE_READY,
        )
        for one in under_way:
            request = FinishRollbackRequest(rollback_id=one.rollback_id)
            await self._shared.engine.mutate("finish_rollback", request, TIMEOUT_S)
        return [one.rollback_id for one in under_way]

    async def _rollbacks(self, *states: RollbackState) -> list[Rollback]:
        request = ListRollbacksRequest(states=states, page_size=1_000)
        found: list[Rollback] = []
        while True:
            asked = ListRollbacksRequest()
            asked.CopyFrom(request)
            page = await self._way.ask(partial(_list_rollbacks, asked))
            found.extend(page.rollbacks)
            if not page.next_page_token:
                return self._own(found)
            request.page_token = page.next_page_token

    def _own(self, found: Sequence[Rollback]) -> list[Rollback]:
        """Those of this run's agents."""
        prefix = self._shared.agent("")
        return [one for one in found if one.agents[0].agent_id.startswith(prefix)]

    # --- reading ---

    async def _look(self, asked: Mapping[str, Any]) -> Done:
        """The newest state, as whoever leads has it, or as a member does."""
        stale = asked["stale"]
        request = GetCheckpointRequest(
            agent_id=self._shared.agent(asked["agent"]),
            with_chain=True,
            consistency=CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE,
        )
        attempt = partial(read_whole, request)
        try:
            whole: Whole = await (
                self._shared.once(self._node, attempt, timeout=READ_S)
                if stale
                else self._shared.ask(attempt)
            )
        except _GONE as error:
            return Done("ok", {"found": None, "why": error.reason}, node=self._node)
        told = _shown(whole.checkpoint) | {"digest": digest(whole.state)}
        return Done("ok", {"found": told}, whole.header.revision, whole.header.member_id)

    async def _drain(self) -> Done:
        await self._finish_all()
        return Done("ok", {})

    async def _list(self, agent_id: str) -> Done:
        """All checkpoints of an agent, with their bytes; its events; its rollbacks."""
        listed: Listed = await self._way.ask(partial(read_list, agent_id, False))
        found = []
        for one in listed.checkpoints:
            request = GetCheckpointRequest(agent_id=agent_id, checkpoint_id=one.checkpoint_id)
            whole: Whole = await self._way.ask(partial(read_whole, request))
            found.append(_shown(one) | {"digest": digest(whole.state)})
        events = await self._way.ask(partial(_events, agent_id))
        rolled = [one for one in await self._rollbacks() if one.agents[0].agent_id == agent_id]
        told = {
            "checkpoints": sorted(found, key=lambda one: int(one["checkpoint"])),
            "events": events,
            "rollbacks": [_rolled(one) for one in rolled],
        }
        return Done("ok", told, listed.header.revision, listed.header.member_id)


async def _list_rollbacks(request: ListRollbacksRequest, peer: Peer, patience: float) -> Any:
    return await peer.rollbacks.ListRollbacks(request, timeout=patience)


async def _events(agent_id: str, peer: Peer, patience: float) -> list[list[Any]]:
    """Every event of an agent: its number, its revision, what it says, and who undid it."""
    request = ReadEventsRequest(stream_id=agent_id)
    found: list[list[Any]] = []
    async for answer in peer.events.ReadEvents(request, timeout=patience):
        found.extend(
            [one.seq, one.revision, one.data.decode(), one.undone_by] for one in answer.events
        )
    return found


def _shown(one: Checkpoint) -> dict[str, Any]:
    return {
        "checkpoint": one.checkpoint_id,
        "revision": one.revision,
        "seq": one.event_seq,
        "state": next((label.value for label in one.labels if label.name == LABEL), ""),
        "from": one.restored_from,
        "rollback": one.rollback_id,
    }


def _rolled(one: Rollback) -> dict[str, Any]:
    taken = one.agents[0]
    return {
        "rollback": one.rollback_id,
        "state": RollbackState.Name(one.state).removeprefix("ROLLBACK_STATE_"),
        "revision": one.started_revision,
        "target": taken.checkpoint_id,
        "restored": taken.restored_checkpoint_id,
        "fence": [taken.fence.epoch, taken.fence.revision],
    }


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Every read against the line of states that there was."""
    return [checker.check(record, NAME)]


def workload() -> Workload:
    """The promise: a rollback is one moment, and afterwards the state is as it was."""
    pool = Pool(NAME)

    def client(site: Site, number: int) -> RollbackClient:
        return RollbackClient(pool.of(site), number)

    return Workload(
        name=NAME,
        threads=WRITERS + MEDICS + READERS,
        rate=RATE,
        client=client,
        generator=operations,
        final=final,
        check=check,
        limit_s=20.0,
    )
