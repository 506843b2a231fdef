"""Checkpoints: agents save their states, and anybody restores them, byte for byte.

A state is a few parts, of which a save changes some; every byte of it follows from the
numbers of its parts (see checkers/checkpoints.py). States are saved whole or as deltas,
in one piece or in chunks that were uploaded before, of which most are there already, and
now and then they are larger than a message may be. Some are tagged, pinned, or found good
by a validator; the others are retention's to prune.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from jepsen_like import generator as gen
from jepsen_like.checkers import checkpoints
from jepsen_like.checkers.checkpoints import (
    KEEP_LAST,
    LABEL,
    Recipe,
    digest,
    parts_of,
    pieces_of,
)
from jepsen_like.clients import (
    PAUSE_S,
    TIMEOUT_S,
    Pool,
    Shared,
    SharingClient,
    ended,
    said,
    telling,
)
from jepsen_like.protocols import Done, Generator, Op, Record, Site, Verdict, Workload
from jepsen_like.workloads.asking import ask_all
from raftstate.client.calls import deadline_in, remaining
from raftstate.client.routing import Peer
from raftstate.errors import (
    AgentNotFound,
    CheckpointNotFound,
    Compacted,
    Corrupt,
    RaftStateError,
)
from raftstate.v1.agent_service_pb2 import Retention, UpdateAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    ChunkRef,
    GetCheckpointRequest,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
    MarkValidRequest,
    MissingChunksRequest,
    MissingChunksResponse,
    NewCheckpoint,
    PruneCheckpointsRequest,
    PutCheckpointRequest,
    PutChunkRequest,
    TagCheckpointRequest,
)
from raftstate.v1.common_pb2 import (
    CONSISTENCY_LINEARIZABLE,
    CONSISTENCY_STALE,
    Label,
    ResponseHeader,
)
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest

NAME: Final = "checkpoints"
VALIDATORS: Final = "validators"
THREADS: Final = 4
RATE: Final = 5.0
LIMIT_S: Final = 25.0
WEIGHTS: Final[Mapping[str, int]] = {
    "save": 46,
    "restore": 38,
    "pin": 8,
    "good": 4,
    "prune": 4,
}
PARTS: Final = 4
# How large a part is, by agent; and of every so manieth operation, whoever does it.
SIZES: Final = (200, 2_000, 10_000, 30_000)
LARGE: Final = 270_000
LARGE_EVERY: Final = 12
WHOLE_MAX: Final = 1 << 20  # of what is sent in one piece
DELTAS: Final = 0.4
CHUNKED: Final = 0.4
CHAIN_MAX: Final = 6
TAG: Final = "marked"
JSON: Final = "application/json"
DELTA: Final = "application/vnd.raftstate.delta+json"
RECENT: Final = 4
READ_S: Final = 3.0
_GONE: Final = (AgentNotFound, CheckpointNotFound)


# --- what to do ----------------------------------------------------------------


def operation(thread: str, draws: random.Random, count: int) -> Op:
    """The operation of that number of one thread. Only its own agent is written."""
    number = int(thread.rpartition("/")[2])
    [f] = draws.choices(list(WEIGHTS), list(WEIGHTS.values()))
    value: dict[str, Any] = {"agent": str(number), "which": gen.part(draws)}
    if f == "save":
        large = count % LARGE_EVERY == 0
        value |= {
            "id": f"c{number}-{count}",
            "parts": _numbers(count // LARGE_EVERY if large else count),
            "size": LARGE if large else SIZES[number],
            "delta": draws.random() < DELTAS,
            "chunked": draws.random() < CHUNKED,
            "tag": draws.random() < 0.15,
            "pinned": draws.random() < 0.05,
        }
    elif f == "restore":
        what = draws.choices(["newest", "tag", "id"], [50, 20, 30])[0]
        value |= {"what": what, "stale": draws.random() < 0.4}
        if what != "id":
            value["agent"] = str(draws.randrange(THREADS))
    elif f == "pin":
        value["pinned"] = draws.random() < 0.5
    return Op(NAME, f, value=value)


def _numbers(count: int) -> list[int]:
    """The parts of the state of that number: each changes every so many states."""
    return [max(count - (count - place) % PARTS, 0) for place in range(PARTS)]


def operations(seed: int) -> Generator:
    """Operations for ever; what a thread does depends on the seed and on its name."""
    return gen.PerThread(lambda name: gen.Draw(f"{seed}:{name}", partial(operation, name)))


def final(seed: int, nodes: tuple[str, ...]) -> Generator:
    """Every agent's list, with all the bytes; and what each member lists."""
    agents = [str(number) for number in range(THREADS)]
    whole = (Op(NAME, "list", value={"agent": agent}) for agent in agents)
    of_nodes = (
        Op(NAME, "list", value={"agent": agent, "node": node})
        for agent in agents
        for node in nodes
    )
    return ask_all(*whole, *of_nodes)


# --- states as they are stored -----------------------------------------------------


def as_delta(recipe: Recipe, base: Sequence[int]) -> bytes:
    """What leads from a state to another one of as many parts, as the SDK writes it: who
    takes over from us reads it."""
    edits: list[Any] = []
    for number, before, text in zip(recipe.parts, base, parts_of(recipe), strict=True):
        if number != before:
            edits.append(["=", text])
        elif edits and isinstance(edits[-1], int):
            edits[-1] += 1
        else:
            edits.append(1)
    node = None if tuple(base) == recipe.parts else ["l", edits]
    return _json([1, node])


def apply_delta(state: bytes, delta: bytes) -> bytes:
    """The state that a delta leads to."""
    before, (_, node) = json.loads(state), json.loads(delta)
    if node is None:
        return state
    after: list[str] = []
    for edit in node[1]:
        kept = isinstance(edit, int)
        after += before[len(after) : len(after) + edit] if kept else [edit[1]]
    return _json(after)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Whole:
    """A checkpoint as it was read with its chain: the record, and the state."""

    header: ResponseHeader
    checkpoint: Checkpoint
    state: bytes

    def told(self) -> dict[str, Any]:
        """What to write down of it."""
        shown = _shown(self.checkpoint)
        return {**shown, "digest": digest(self.state), "size": len(self.state)}


def _shown(one: Checkpoint) -> dict[str, Any]:
    marks = {"pin": one.pinned, "tag": bool(one.tags), "good": one.known_good}
    return {
        "id": next((label.value for label in one.labels if label.name == LABEL), ""),
        "checkpoint": one.checkpoint_id,
        "chunks": one.chunk_count,
        "chain": one.chain_length,
        "kept": [name for name, has in marks.items() if has],
    }


async def read_whole(request: GetCheckpointRequest, peer: Peer, patience: float) -> Whole:
    """Read a checkpoint and all that it builds on, at one member."""
    header = ResponseHeader()
    chain: list[tuple[Checkpoint, bytearray]] = []
    async for answer in peer.checkpoints.GetCheckpoint(request, timeout=patience):
        if answer.HasField("header"):
            header.CopyFrom(answer.header)
        if answer.HasField("checkpoint"):
            chain.append((answer.checkpoint, bytearray()))
        chain[-1][1].extend(answer.chunk)
    state = bytes(chain[0][1])
    for _, delta in chain[1:]:
        state = apply_delta(state, bytes(delta))
    return Whole(header, chain[-1][0], state)


@dataclass(frozen=True, slots=True)
class Listed:
    """All checkpoints of an agent, as one member lists them."""

    header: ResponseHeader
    checkpoints: list[Checkpoint]


async def read_list(agent_id: str, stale: bool, peer: Peer, patience: float) -> Listed:
    """List an agent's checkpoints at one member."""
    deadline = deadline_in(patience)
    found: list[Checkpoint] = []
    consistency = CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE
    request = ListCheckpointsRequest(agent_id=agent_id, consistency=consistency, page_size=5)
    while True:
        left = max(remaining(deadline), 0.001)
        page: ListCheckpointsResponse = await peer.checkpoints.ListCheckpoints(
            request, timeout=left
        )
        found.extend(page.checkpoints)
        if not page.next_page_token:
            return Listed(page.header, found)
        request = ListCheckpointsRequest(
            agent_id=agent_id, page_size=5, page_token=page.next_page_token
        )


# --- doing it ------------------------------------------------------------------


@dataclass
class Memory:
    """What one thread knows of its agent, over all clients that it has in a run."""

    governed: bool = False  # retention was set
    introduced: bool = False  # the validator is known
    numbers: list[int] = field(default_factory=list)  # checkpoints that were acknowledged
    pinned: list[int] = field(default_factory=list)
    base: tuple[int, tuple[int, ...], int] | None = None  # number, parts, and their size
    chain: int = 0


class CheckpointClient(SharingClient):
    """One thread, and the agent that it saves."""

    def __init__(self, shared: Shared, judge: Shared, number: int, memory: Memory) -> None:
        super().__init__(shared, number, THREADS)
        self._judge = judge
        self._memory = memory
        self._validator = f"{shared.site.prefix}/{VALIDATORS}"

    async def open(self) -> None:
        """Share both engines: a validator is of another session than who owns."""
        await super().open()
        await self._judge.open(self)

    async def close(self) -> None:
        """Share them no more."""
        await self._judge.close(self)
        await super().close()

    async def invoke(self, op: Op) -> Done:
        """One operation."""
        agent_id = self._shared.agent(op.value["agent"])
        match op.f:
            case "save":
                return await self._save(agent_id, op.value)
            case "restore":
                return await self._restore(agent_id, op.value)
            case "pin":
                return await self._pin(agent_id, op.value)
            case "good":
                return await self._good(agent_id, op.value["which"])
            case "prune":
                return await self._prune(agent_id)
            case "list":
                return await self._list(agent_id, op.value.get("node", ""))
        raise ValueError(f"checkpoints do not know {op}")

    # --- saving ---

    async def _save(self, agent_id: str, asked: Mapping[str, Any]) -> Done:
        recipe = Recipe(
            self._shared.site.seed, asked["agent"], tuple(asked["parts"]), asked["size"]
        )
        try:
            await self._govern(agent_id)
            new, told = await self._made(agent_id, recipe, asked)
        except RaftStateError as error:
            return ended(error, changes=False)  # the checkpoint itself was not sent
        request = PutCheckpointRequest(agent_id=agent_id, checkpoint=new)
        memory, before = self._memory, self._memory.base
        memory.base = None  # until it is known what there is
        try:
            answer = await self._owned("put_checkpoint", agent_id, request)
        except RaftStateError as error:
            memory.base = before if error.definite and not told["delta"] else None
            return ended(error)
        number = answer.head.checkpoint_id
        memory.numbers.append(number)
        memory.chain = memory.chain + 1 if told["delta"] else 0
        memory.base = (number, recipe.parts, recipe.size)
        told |= {"checkpoint": number}
        return Done("ok", told, answer.header.revision, answer.header.member_id)

    async def _govern(self, agent_id: str) -> None:
        """Set how many checkpoints are kept, once."""
        if self._memory.governed:
            return
        await self._shared.own(agent_id, deadline_in(TIMEOUT_S))  # which makes the agent
        request = UpdateAgentRequest(
            agent_id=agent_id, retention=Retention(keep_last=KEEP_LAST)
        )
        await self._shared.engine.mutate("update_agent", request, TIMEOUT_S)
        self._memory.governed = True

    async def _made(
        self, agent_id: str, recipe: Recipe, asked: Mapping[str, Any]
    ) -> tuple[NewCheckpoint, dict[str, Any]]:
        """The checkpoint to be saved, its chunks uploaded; and what to write down of it."""
        base, size = self._memory.base, recipe.size * PARTS
        new = NewCheckpoint(
            labels=[Label(name=LABEL, value=asked["id"])],
            content_type=JSON,
            tags=[TAG] if asked["tag"] else [],
            pinned=asked["pinned"],
        )
        told = {"bytes": size, "chunks": 0, "uploaded": 0, "delta": False}
        alike = base is not None and base[2] == recipe.size
        if asked["delta"] and base is not None and alike and self._memory.chain < CHAIN_MAX:
            new.base_checkpoint_id = base[0]
            new.data, new.content_type = as_delta(recipe, base[1]), DELTA
            told["delta"] = True
        elif asked["chunked"] or size > WHOLE_MAX:
            told["uploaded"] = await self._upload(agent_id, pieces_of(recipe), new)
            told["chunks"] = len(new.chunks)
        else:
            new.data = b"".join(pieces_of(recipe))
        return new, told

    async def _upload(self, agent_id: str, parts: Sequence[bytes], new: NewCheckpoint) -> int:
        """Send the chunks that are not there, and name all; how many were sent."""
        await self._shared.own(agent_id, deadline_in(TIMEOUT_S))
        hashes = [hashlib.blake2b(part, digest_size=32).digest() for part in parts]
        wanted = MissingChunksRequest(agent_id=agent_id, hashes=hashes)

        async def ask(peer: Peer, patience: float) -> MissingChunksResponse:
            found: MissingChunksResponse = await peer.checkpoints.MissingChunks(
                wanted, timeout=patience
            )
            return found

        missing = (await self._way.ask(ask)).missing
        for place in missing:
            chunk = PutChunkRequest(agent_id=agent_id, data=parts[place], hash=hashes[place])
            await self._shared.engine.mutate("put_chunk", chunk, TIMEOUT_S)
        new.chunks.extend(
            ChunkRef(hash=name, size_bytes=len(part))
            for name, part in zip(hashes, parts, strict=True)
        )
        return len(missing)

    async def _owned(self, kind: str, agent_id: str, request: Any) -> Any:
        """A mutation under our ownership of an agent."""
        deadline = deadline_in(TIMEOUT_S)
        handle = await self._shared.own(agent_id, deadline)
        request.fence.CopyFrom(handle.token)
        with telling(handle):
            return await self._shared.engine.mutate_in(handle.session, kind, request, deadline)

    # --- what keeps a checkpoint, and what does not ---

    async def _pin(self, agent_id: str, asked: Mapping[str, Any]) -> Done:
        memory, pinned = self._memory, asked["pinned"]
        number = _chosen(memory.numbers[-RECENT:] if pinned else memory.pinned, asked["which"])
        if not number:
            return Done("ok", {})  # there is nothing to pin yet, or to let go
        told = {"checkpoint": number}
        request = TagCheckpointRequest(agent_id=agent_id, checkpoint_id=number, pinned=pinned)
        if not pinned:
            memory.pinned.remove(number)
        try:
            answer = await self._shared.engine.mutate("tag_checkpoint", request, TIMEOUT_S)
        except RaftStateError as error:
            return replace(ended(error), value=told)
        if pinned:
            memory.pinned.append(number)
        return Done("ok", told, answer.header.revision, answer.header.member_id)

    async def _good(self, agent_id: str, which: float) -> Done:
        """Have a recent checkpoint found good, by a validator of another session."""
        number = _chosen(self._memory.numbers[-RECENT:], which)
        if not number:
            return Done("ok", {})  # there is nothing to be judged yet
        wanted = GetCheckpointRequest(
            agent_id=agent_id, checkpoint_id=number, without_data=True
        )
        try:
            await self._introduce()
            found = await self._way.ask(partial(_record, wanted))
        except RaftStateError as error:
            return ended(error, changes=False)
        request = MarkValidRequest(
            agent_id=agent_id,
            checkpoint_id=number,
            validator=self._validator,
            valid=True,
            content_hash=found.checkpoint.content_hash,
        )
        told = {"checkpoint": number, "good": False}
        try:
            answer = await self._judge.engine.mutate("mark_valid", request, TIMEOUT_S)
        except RaftStateError as error:
            return replace(ended(error), value=told)
        told["good"] = answer.known_good
        return Done("ok", told, answer.header.revision, answer.header.member_id)

    async def _introduce(self) -> None:
        if not self._memory.introduced:
            request = PutValidatorRequest(
                name=self._validator, agent_prefix=f"{self._shared.site.prefix}/"
            )
            await self._judge.engine.mutate("put_validator", request, TIMEOUT_S)
            self._memory.introduced = True

    async def _prune(self, agent_id: str) -> Done:
        request = PruneCheckpointsRequest(agent_id=agent_id, keep_last=KEEP_LAST)
        try:
            answer = await self._shared.engine.mutate("prune_checkpoints", request, TIMEOUT_S)
        except RaftStateError as error:
            return ended(error)
        told = {"pruned": answer.pruned}
        return Done("ok", told, answer.header.revision, answer.header.member_id)

    # --- reading ---

    async def _restore(self, agent_id: str, asked: Mapping[str, Any]) -> Done:
        stale, number = asked["stale"], 0
        if asked["what"] == "id":
            number = _chosen(self._memory.numbers[-2 * RECENT :], asked["which"])
        request = GetCheckpointRequest(
            agent_id=agent_id,
            checkpoint_id=number,
            tag=TAG if asked["what"] == "tag" else "",
            with_chain=True,
            consistency=CONSISTENCY_STALE if stale else CONSISTENCY_LINEARIZABLE,
        )
        node = self._node if stale else ""
        try:
            whole = await self._read(partial(read_whole, request), node)
        except _GONE as error:
            gone = {"found": None, "why": error.reason, "checkpoint": number}
            return Done("ok", gone, node=node)
        except Corrupt as error:
            return Done("ok", {"found": None, "broken": said(error)}, node=node)
        except RaftStateError as error:
            return ended(error, node, changes=False)
        told = {"found": whole.told(), "checkpoint": number}
        return Done("ok", told, whole.header.revision, whole.header.member_id)

    async def _read(self, attempt: Any, node: str) -> Any:
        """Ask one member what it holds, or whoever leads."""
        if node:
            return await self._shared.once(node, attempt, timeout=READ_S)
        return await self._way.ask(attempt, READ_S)

    async def _list(self, agent_id: str, node: str) -> Done:
        """All checkpoints; where the cluster is asked and not a member, with their bytes."""
        try:
            listed = await self._read(partial(read_list, agent_id, bool(node)), node)
            found = [_shown(one) for one in listed.checkpoints]
            if not node:
                for shown in found:
                    shown.update(await self._content(agent_id, shown["checkpoint"]))
        except AgentNotFound:
            return Done("ok", {"found": []}, node=node)
        except RaftStateError as error:
            await asyncio.sleep(PAUSE_S)  # it is asked again
            return ended(error, node, changes=False)
        return Done("ok", {"found": found}, listed.header.revision, listed.header.member_id)

    async def _content(self, agent_id: str, number: int) -> dict[str, Any]:
        """What a listed checkpoint holds, or why it cannot be had."""
        request = GetCheckpointRequest(agent_id=agent_id, checkpoint_id=number, with_chain=True)
        try:
            whole: Whole = await self._way.ask(partial(read_whole, request), READ_S)
        except (Corrupt, Compacted, *_GONE) as error:
            return {"broken": said(error)}
        return whole.told()


async def _record(request: GetCheckpointRequest, peer: Peer, patience: float) -> Whole:
    """A checkpoint without its data."""
    whole = Whole(ResponseHeader(), Checkpoint(), b"")
    async for answer in peer.checkpoints.GetCheckpoint(request, timeout=patience):
        whole = Whole(answer.header, answer.checkpoint, b"")
    return whole


def _chosen(numbers: Sequence[int], which: float) -> int:
    """One of these, as was drawn; zero if there is none."""
    return numbers[int(which * len(numbers))] if numbers else 0


# --- judging it ----------------------------------------------------------------


def check(record: Record) -> list[Verdict]:
    """Every restore against what was saved, and what is there in the end."""
    return [checkpoints.check(record, NAME)]


def workload() -> Workload:
    """The promise: what was saved comes back as it was, and stays while it must."""
    pool, judges = Pool(NAME), Pool(VALIDATORS)
    memories: dict[tuple[str, int], Memory] = {}

    def client(site: Site, number: int) -> CheckpointClient:
        memory = memories.setdefault((site.prefix, number), Memory())
        return CheckpointClient(pool.of(site), judges.of(site), number, memory)

    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=client,
        generator=operations,
        final=final,
        check=check,
        limit_s=LIMIT_S,
    )
