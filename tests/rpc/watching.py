"""A member that serves watches: the real machine, hub and streams, without a wire.

What views show is up to the test: a follower may be late, and a state that is being
rebuilt begins again. Beside, it is written down what there is after every command, by
looking at all of it. So what a watch has to tell is known without any history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from raftstate.core import queries
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import NodeStatus, Reader
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.errors import Failure
from raftstate.rpc.frontend import Addresses, Frontend, Limits, WatchLimits
from raftstate.rpc.watch import Watches
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    DeleteRequest,
    PutRequest,
    TxnBody,
    TxnDelete,
    TxnOp,
    TxnPut,
    TxnRequest,
)
from raftstate.v1.store_pb2 import Command, Outcome
from raftstate.v1.watch_service_pb2 import (
    Change,
    Resource,
    ResourceType,
    Selector,
    WatchRequest,
    WatchResponse,
)
from tests.core.bench import Bench
from tests.rpc.fake import FakeConsensus, MemoryState

WAIT_S = 5.0

# --- what there is, and what changed ------------------------------------------

# Type, id, number: as a change names a resource.
Name = tuple[int, bytes, int]
Everything = dict[Name, Resource]

_FIELDS = {
    b"a": "agent",
    b"s": "session",
    b"q": "stream",
    b"e": "event",
    b"c": "checkpoint",
    b"k": "key",
    b"l": "lease",
    b"p": "projection",
    b"m": "group",
    b"n": "validator",
    b"E": "effect",
    b"A": "saga",
    b"R": "rollback",
    b"B": "breaker",
    b"I": "incident",
}


def everything(reader: Reader) -> Everything:
    """Every resource that there is, by looking."""
    found: Everything = {}
    for key, raw in reader.scan(b"A", b"z"):
        field = _FIELDS.get(key[:1])
        if field is None:
            continue
        resource = Resource()
        getattr(resource, field).ParseFromString(raw)
        name, number = key[1:], 0
        if field in ("event", "checkpoint", "effect"):
            name, number = key[1:-9], int.from_bytes(key[-8:], "big")
        elif field == "lease":
            name = f"{int.from_bytes(key[1:], 'big'):016x}".encode()
        kind = ResourceType.Value(f"RESOURCE_TYPE_{field.upper()}")
        found[(kind, name, number)] = resource
    for (kind, name, _), resource in found.items():
        if kind == ResourceType.RESOURCE_TYPE_STREAM and resource.stream.agent:
            head = found[(ResourceType.RESOURCE_TYPE_AGENT, name, 0)].agent.head
            resource.stream.last_seq = head.event_seq
            resource.stream.last_hash = head.event_hash
    return found


def difference(before: Everything, after: Everything) -> list[Change]:
    """What made one of the other, with what there was."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        kind, about, number = name
        event = kind == ResourceType.RESOURCE_TYPE_EVENT
        # Rows of events go when there is time; that is no change. A stream's record says
        # what was truncated, and of an agent's stream no more than that.
        if old == new or (event and new is None) or _only_longer(old, new):
            continue
        found.append(
            Change(
                type=ResourceType.Name(kind),
                id=about,
                number=number,
                resource=new,
                previous=old,
                created=old is None,
            )
        )
    return found


def _only_longer(old: Resource | None, new: Resource | None) -> bool:
    """Whether these are an agent's stream, of which no more was truncated."""
    if old is None or new is None or not new.stream.agent:
        return False
    return old.stream.first_seq == new.stream.first_seq


def named(selector: Selector, change: Change) -> bool:
    """Whether a selector names what changed."""
    if selector.types and change.type not in selector.types:
        return False
    if selector.exact and change.id != selector.prefix:
        return False
    if not change.id.startswith(selector.prefix):
        return False
    asked = {(one.name, one.value) for one in selector.labels}
    return not asked or any(
        asked <= _labels(getattr(change, side))
        for side in ("resource", "previous")
        if change.HasField(side)
    )


def _labels(resource: Resource) -> set[tuple[str, str]]:
    field = resource.WhichOneof("kind")
    if field not in ("agent", "checkpoint", "saga"):
        return set()
    return {(one.name, one.value) for one in getattr(resource, field).labels}


def as_told(change: Change, with_previous: bool) -> Change:
    """A change as a watch tells it."""
    told = Change()
    told.CopyFrom(change)
    if not with_previous:
        told.ClearField("previous")
    return told


def in_order(changes: list[Change]) -> list[Change]:
    """Those of one revision have no order."""
    return sorted(changes, key=lambda one: (one.type, one.id, one.number))


# --- a member ------------------------------------------------------------------


class Shown(MemoryState):
    """A state whose views show what the test says."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = self.shown = store

    @contextmanager
    def view(self) -> Iterator[Reader]:
        self.views += 1
        self.views_open += 1
        try:
            yield self.shown
        finally:
            self.views_open -= 1

    @property
    def size_bytes(self) -> int:
        return 0  # to count takes long, and nobody asks


class Status(FakeConsensus):
    """A member's status: its cluster, and whether it is sound."""

    cluster = ("test", 7)

    def status(self) -> NodeStatus:
        name, epoch = self.cluster
        return replace(super().status(), cluster_id=name, cluster_epoch=epoch)


class Member:
    """A member over the real machine. To be made on the loop that it is used on."""

    def __init__(self, limits: WatchLimits | None = None, *, noting: bool = True) -> None:
        self.bench = Bench()
        self.state = Shown(self.bench.store)
        self.bridge = Bridge(asyncio.get_running_loop())
        self.consensus = Status(self.bridge.deliver, self.state)
        self.consensus.machine = self.bench.machine
        bounds = Limits(watches=limits or WatchLimits())
        self.frontend = Frontend(
            self.consensus, self.state, self.bridge, Addresses(), bounds, ""
        )
        self.service = Watches(self.frontend)
        self._noting = noting
        # What there was after each revision, from none on, and what each changed.
        self.states: list[Everything] = [{}]
        self.changes: list[list[Change]] = [[]]

    @property
    def revision(self) -> int:
        return self.bench.machine.revision

    # --- writing -----------------------------------------------------------------

    def write(self, *commands: Command, show: bool = True) -> list[Outcome]:
        """Apply commands, noting what there is after each; and show all of it at once."""
        outcomes = []
        for command in commands:
            outcomes.extend(self.bench.apply(command))
            if self._noting:
                self.states.append(everything(self.bench.store))
                self.changes.append(difference(*self.states[-2:]))
        if show:
            self.show()
        return outcomes

    def show(self, store: MemoryStore | None = None) -> None:
        """Have views show a store, by default all that is written."""
        self.state.shown = store or self.bench.store
        self.bridge.revisions.announce(queries.revision(self.state.shown))

    def put(self, key: bytes, value: bytes = b"", session: str = "s") -> Command:
        asked = PutRequest(request_id=self.bench.request_id(session), key=key, value=value)
        return Command(put=asked)

    def delete(self, key: bytes, session: str = "s") -> Command:
        asked = DeleteRequest(request_id=self.bench.request_id(session), key=key)
        return Command(delete=asked)

    def put_and_delete(self, *names: bytes, session: str = "s") -> Command:
        """Keys that come with one revision, and one that goes as it comes."""
        done = [TxnOp(put=TxnPut(key=name, value=b"w" * 30)) for name in names]
        done.append(TxnOp(put=TxnPut(key=b"a/gone")))
        done.append(TxnOp(delete=TxnDelete(key=b"a/gone")))
        number = self.bench.request_id(session)
        return Command(txn=TxnRequest(request_id=number, txn=TxnBody(success=done)))

    def compact(self, revision: int, session: str = "s") -> Command:
        number = self.bench.request_id(session)
        return Command(compact=CompactRequest(request_id=number, revision=revision))

    # --- watching ------------------------------------------------------------------

    def watch(self, selector: Selector | None = None, **fields: Any) -> Stream:
        """A watch, from now unless told otherwise. It begins when it is read."""
        request = WatchRequest(selector=selector, **fields)
        return Stream(self.service.Watch(request, None))

    def expected(
        self, selector: Selector, first: int, last: int, with_previous: bool
    ) -> list[tuple[int, list[Change]]]:
        """What a watch has to tell of the revisions from `first` to `last`."""
        found = []
        for revision in range(first, last + 1):
            changes = [one for one in self.changes[revision] if named(selector, one)]
            if changes:
                told = [as_told(one, with_previous) for one in changes]
                found.append((revision, in_order(told)))
        return found

    def there(self, selector: Selector, revision: int) -> list[Change]:
        """What a snapshot of a revision has to tell."""
        fresh = difference({}, self.states[revision])
        found = [one for one in fresh if named(selector, one)]
        for one in found:
            one.created = False
        return in_order(found)


class Told(NamedTuple):
    """A revision as a watch tells it, or a snapshot; without changes, a progress mark."""

    revision: int
    changes: list[Change]
    token: str
    snapshot: bool


class Stream:
    """A watch, message by message."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers
        self._reading: asyncio.Task[bytes] | None = None
        self._parts: list[Change] = []
        self.sizes: list[int] = []
        # Whether anything whole has come yet.
        self.whole = False

    async def message(self, wait_s: float = WAIT_S) -> WatchResponse | None:
        """The next message; None if none comes in time. Raises what ends the stream."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._answers))
        await asyncio.wait({self._reading}, timeout=wait_s)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        raw = reading.result()
        self.sizes.append(len(raw))
        message = WatchResponse.FromString(raw)
        self.whole = self.whole or not message.continued
        return message

    async def told(self, wait_s: float = WAIT_S) -> Told | None:
        """The next revision, snapshot or mark that is whole."""
        while (message := await self.message(wait_s)) is not None:
            self._parts.extend(message.changes)
            if message.continued:
                assert not message.resume_token, "a part has a token"
                continue
            parts, self._parts = in_order(self._parts), []
            assert message.resume_token, "a whole has no token"
            revision = message.header.revision
            return Told(revision, parts, message.resume_token, message.snapshot)
        return None

    async def until(self, revision: int) -> list[Told]:
        """All that is told up to a revision, whose changes or mark must come."""
        found: list[Told] = []
        while not found or found[-1].revision < revision:
            told = await self.told()
            assert told is not None, f"nothing more came after {found[-1:]}"
            found.append(told)
        return found

    async def failure(self) -> Failure:
        """What the stream fails with, whatever it says before."""
        try:
            while await self.message() is not None:
                pass
        except Failure as failure:
            return failure
        raise AssertionError("the stream does not fail")

    async def end(self) -> None:
        """Let go of the call, as a client that leaves does."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            self._reading = None
        await self._answers.aclose()
