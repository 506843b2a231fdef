"""What an agent's events amount to: read here, folded in a process of its own (`folding`).

What is folded is what counts: a checkpoint that no rollback has undone, and then, in
order, the events behind it that none has, with the checkpoints on the way. All of it is of
one revision, read in slices, a view for each. All of it is bounded, as in `diffs`, and a
member folds for one caller at a time.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Final, NamedTuple

from raftstate import content
from raftstate.content import Reducer
from raftstate.core import checkpoint_queries, limits, stream_queries, undone
from raftstate.core.ports import Reader
from raftstate.rpc import apart
from raftstate.rpc.contents import pieces
from raftstate.rpc.diffs import SAID_CHARS_MAX, VALUES_MAX
from raftstate.rpc.errors import Failure, not_comparable, truncated
from raftstate.rpc.frontend import Frontend
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.event_service_pb2 import Event

# What an answer holds of a state: it stays below what clients receive by default.
STATE_BYTES_MAX: Final = 2 << 20
# From when it is its turn: a hundred thousand events take some ten seconds, where nobody
# else has work.
PATIENCE_S = 60.0
_FIELD = "agent_id"


@dataclass(frozen=True)
class Route:
    """What is to be folded: of one agent, at one revision, from behind a checkpoint (None:
    from the first event) up to an event."""

    agent_id: str
    revision: int
    reducer: Reducer
    base: Checkpoint | None
    last_seq: int
    # Compare the checkpoints on the way; or say what the state is in the end.
    compare: bool = False

    @property
    def first_seq(self) -> int:
        """The event that it begins with."""
        return 1 if self.base is None else self.base.event_seq + 1


class Folded(NamedTuple):
    """What came of it: what the process said, and, where something differs, the event
    that was folded last."""

    events: int
    hashes: int
    checkpoints: int
    state_hash: bytes
    state: bytes
    divergence: dict[str, Any] | None
    last: Event | None


class _Stop(NamedTuple):
    """A checkpoint on the way: behind which event, which, and whether the way goes on from
    what it holds, rather than that being compared."""

    seq: int
    checkpoint_id: int
    adopt: bool


class Folds:
    """Folds events, for one caller at a time."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._turn = asyncio.Semaphore(1)

    async def fold(self, route: Route) -> Folded:
        """Fold, up to the end or the first difference. Raises Failure."""
        async with self._turn:
            try:
                async with asyncio.timeout(PATIENCE_S), apart.process("folding") as process:
                    await self._send(process, route)
                    said, complaint = await process.communicate()
            except TimeoutError:
                raise _too_much() from None
        return self._folded(route, _answer(said, complaint, process.returncode))

    def _folded(self, route: Route, answer: dict[str, Any]) -> Folded:
        found = answer.get("divergence")
        last = None
        if found is not None:
            with self._frontend.view(route.revision) as (reader, _):
                last = next(iter(_events(reader, route.agent_id, found["seq"], 1, 0)), None)
        return Folded(
            answer["events"],
            answer["hashes"],
            answer["checkpoints"],
            bytes.fromhex(answer["state_hash"]),
            b64decode(answer.get("state", "")),
            found,
            last,
        )

    # --- what is sent ---

    async def _send(self, process: Process, route: Route) -> None:
        """Hand over what is to be folded. A process that does not take it has a reason,
        which it says, or its end does."""
        assert process.stdin is not None, "the process takes nothing"
        task = {
            "reducer": route.reducer,
            "values_max": VALUES_MAX,
            "differences": limits.REPLAY_DIFFERENCES_MAX,
            "chars": SAID_CHARS_MAX,
            "state_bytes": 0 if route.compare else STATE_BYTES_MAX,
        }
        process.stdin.write(json.dumps(task).encode() + b"\n")
        with suppress(ConnectionError):
            async with aclosing(self._pieces(route)) as found:
                async for piece in found:
                    process.stdin.write(piece)
                    await process.stdin.drain()
        process.stdin.close()

    async def _pieces(self, route: Route) -> AsyncGenerator[bytes, None]:
        """Checkpoints and events in the order in which they count. Raises Failure."""
        chains = _Chains(self._frontend, route)
        if route.base is not None:
            async for piece in chains.pieces(route.base, adopt=True):
                yield piece
        stops = await self._stops(route) if route.compare else []
        left = limits.VERIFY_EVENTS_MAX
        async for events in self._slices(route):
            batch: list[bytes] = []
            for event in events:
                while stops and stops[-1].seq < event.seq:
                    yield b"".join(batch)
                    batch.clear()
                    async for piece in chains.stop(stops.pop()):
                        yield piece
                batch.append(_event(event))
            yield b"".join(batch)
            left -= len(events)
            if not left:
                stops = [stop for stop in stops if stop.seq <= events[-1].seq]
            await asyncio.sleep(0)  # others' turn
        while stops:
            async for piece in chains.stop(stops.pop()):
                yield piece

    async def _slices(self, route: Route) -> AsyncIterator[list[Event]]:
        """The events that count, in order, as many as one call folds. A comparison ends with
        these; a state without the others would be another. Raises Failure."""
        bounds, left = self._frontend.limits, limits.VERIFY_EVENTS_MAX
        seq = route.first_seq
        while seq <= route.last_seq:
            with self._frontend.view(route.revision) as (reader, _):
                segment = next(undone.live(reader, route.agent_id, seq, route.last_seq), None)
                if segment is None:
                    return
                if not left and route.compare:
                    return
                if not left:
                    words = f"more than {limits.VERIFY_EVENTS_MAX} events lead there"
                    raise not_comparable(f"{words}: a checkpoint on the way is needed", _FIELD)
                oldest = stream_queries.oldest_seq(reader, route.agent_id)
                if segment.first < oldest:
                    raise truncated(route.agent_id, oldest)
                most = min(segment.last - segment.first + 1, bounds.slice_events, left)
                events = _events(
                    reader, route.agent_id, segment.first, most, bounds.slice_bytes
                )
            assert events, f"{route.agent_id}: event {segment.first} is missing"
            yield events
            left -= len(events)
            seq = events[-1].seq + 1

    async def _stops(self, route: Route) -> list[_Stop]:
        """The checkpoints on the way, the last one first. Raises Failure."""
        found: list[_Stop] = []
        before = 0
        while True:
            look = partial(_on_the_way, route, before, self._frontend.limits.slice_events)
            (some, before), _ = await self._frontend.look(route.revision, look)
            found += some
            if not before:
                return sorted(found, reverse=True)
            await asyncio.sleep(0)  # others' turn


class _Chains:
    """Sends checkpoints, but for what the process has of the one before."""

    def __init__(self, frontend: Frontend, route: Route) -> None:
        self._frontend = frontend
        self._route = route
        self._there: list[int] = []

    async def stop(self, stop: _Stop) -> AsyncIterator[bytes]:
        """A checkpoint on the way; nothing if it was pruned since. Raises Failure."""
        await asyncio.sleep(0)  # others' turn: there may be one behind every event
        with self._frontend.view(self._route.revision) as (reader, _):
            agent_id = self._route.agent_id
            found = checkpoint_queries.load(reader, agent_id, stop.checkpoint_id)
            if found is None or checkpoint_queries.content(reader, found) is None:
                return
        async for piece in self.pieces(found, adopt=stop.adopt):
            yield piece

    async def pieces(self, checkpoint: Checkpoint, *, adopt: bool) -> AsyncIterator[bytes]:
        """A checkpoint with what it is made of, as far as that was not sent. Raises
        Failure."""
        revision = self._route.revision
        with self._frontend.view(revision) as (reader, _):
            chain = checkpoint_queries.chain(reader, checkpoint)
        _demand_comparable(chain)
        numbers = [one.checkpoint_id for one in chain]
        pairs = zip(numbers, self._there, strict=False)
        keep = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        self._there, chain = numbers, chain[keep:]
        head = {
            "name": f"checkpoint {checkpoint.checkpoint_id}",
            "id": checkpoint.checkpoint_id,
            "seq": checkpoint.event_seq,
            "adopt": adopt,
            "keep": keep,
            "parts": [(one.size_bytes, one.content_type) for one in chain],
        }
        yield json.dumps(head).encode() + b"\n"
        for one in chain:
            async with aclosing(pieces(self._frontend, one, revision, revision)) as data:
                async for piece in data:
                    yield piece


def _on_the_way(
    route: Route, before: int, count: int, reader: Reader
) -> tuple[list[_Stop], int]:
    """The checkpoints that a fold passes among some before one, and before which to go on;
    zero: there are no more."""
    page = checkpoint_queries.list_checkpoints(reader, route.agent_id, before, count)
    stops = []
    for one in page.checkpoints:
        if not route.first_seq <= one.event_seq <= route.last_seq:
            continue
        if undone.branch(reader, route.agent_id, one.checkpoint_id) is not None:
            continue
        # One that was restored although its events had been undone: no fold leads there.
        adopt = bool(undone.undone_by(reader, route.agent_id, one.event_seq))
        stops.append(_Stop(one.event_seq, one.checkpoint_id, adopt))
    return stops, page.next_before


def _events(
    reader: Reader, agent_id: str, first: int, count: int, bytes_max: int
) -> list[Event]:
    return stream_queries.read_events(reader, agent_id, first, count, bytes_max)


def _event(event: Event) -> bytes:
    head = {
        "name": f"event {event.seq}",
        "seq": event.seq,
        "event": event.type,
        "type": event.content_type,
        "size": len(event.data),
        "hash": event.state_hash.hex(),
    }
    return json.dumps(head).encode() + b"\n" + event.data


def _demand_comparable(chain: list[Checkpoint]) -> None:
    """Raise Failure if a look at the records shows that no value can be made of them."""
    wanted, kind = chain[-1], chain[0].content_type
    name = f"checkpoint {wanted.agent_id}#{wanted.checkpoint_id}"
    if content.family(kind) is None:
        raise not_comparable(f"{name} is of type {kind!r}: neither JSON nor msgpack", _FIELD)
    if (size := sum(one.size_bytes for one in chain)) > limits.DIFF_BYTES_MAX:
        words = f"{name} has {size} bytes, with what it builds on"
        raise not_comparable(f"{words} (limit: {limits.DIFF_BYTES_MAX})", _FIELD)


def _answer(said: bytes, complaint: bytes, code: int | None) -> dict[str, Any]:
    """What the process has said. Raises Failure."""
    if code is not None and code < 0:
        raise _too_much()  # it was killed: for its time, or for memory
    if code:
        words = complaint.decode(errors="replace")[-1_000:]
        raise RuntimeError(f"folding ended with {code}: {words}")
    answer: dict[str, Any] = json.loads(said)
    if "wrong" in answer:
        raise not_comparable(answer["wrong"], _FIELD)
    return answer


def _too_much() -> Failure:
    return not_comparable("to fold them takes too long, or too much memory", _FIELD)
