"""Projections: consumers of all streams that save how far they have come.

    async def charge(event):
        ...

    await store.projection("charges", charge, prefix="billing/").run()

A projection begins behind the position that was saved under its name. What it has dealt
with is saved every so many events, every so many seconds, and when it ends, so that after
a crash some events come again: its handler must bear that. A read model (`store.read_model`)
does not meet an event twice: what its handler wants to be written goes into the store in
one transaction with the position.

Only one consumer of a name goes on. Each save says which position it expects, so that the
second consumer's first save raises Conflict, and nothing of the first one's is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, Unpack

from raftstate.client import reading, txn
from raftstate.client.clock import now
from raftstate.client.engine import Engine
from raftstate.client.options import CLOSE_S, positive
from raftstate.client.reading import How
from raftstate.client.streams import batches
from raftstate.errors import InvalidRequest, ProjectionNotFound, RaftStateError
from raftstate.v1.event_service_pb2 import (
    DeleteProjectionRequest,
    Event,
    GetProjectionRequest,
    ListProjectionsRequest,
    Projection,
    SaveProjectionRequest,
)
from raftstate.v1.kv_service_pb2 import TxnOp, TxnRequest

# What is done with one event, or wanted to be written for some.
Handler = Callable[[Event], Awaitable[None] | None]
Modeller = Callable[[list[Event]], Awaitable[Iterable[TxnOp]] | Iterable[TxnOp]]

SAVE_EVENTS: Final = 100
SAVE_SECONDS: Final = 1.0
# Between two looks for news, once everything is dealt with.
POLL_SECONDS: Final = 0.2


class _Consumer:
    """What both kinds of consumers do: read from where they were, and go on."""

    def __init__(self, engine: Engine, name: str, prefix: str, poll: float) -> None:
        self._engine = engine
        self._prefix = prefix
        self._poll = positive("poll", poll)
        self._saved: int | None = None
        self.name = name
        # The last event that was dealt with, or passed over.
        self.position: int = 0

    async def run(self) -> None:
        """Deal with every event, those that are yet to come as well, until cancelled.
        Raises what `catch_up` does.

        >>> def deal(event):
        ...     if event.type == "closed":
        ...         raise EOFError("there is no more")
        >>> events = [raftstate.event("opened"), raftstate.event("closed")]
        >>> _ = await store.append("projections-run/1", events)
        >>> await store.projection("projections-run", deal, prefix="projections-run/").run()
        Traceback (most recent call last):
        EOFError: there is no more
        """
        while True:
            if not await self.catch_up():
                await asyncio.sleep(self._poll)

    async def catch_up(self) -> int:
        """Deal with every event that there is when it is called, and save; how many there
        were.

        Raises what the handler raises, having saved what came before; Conflict (definite)
        if another consumer of this name has saved; and what every mutation raises.

        >>> _ = await store.append("projections-catch-up/1", [raftstate.event("opened")])
        >>> reader = store.projection(
        ...     "projections-catch-up",
        ...     lambda event: print(event.type),
        ...     prefix="projections-catch-up/",
        ... )
        >>> await reader.catch_up()
        opened
        1
        >>> await reader.catch_up()
        0
        """
        if self._saved is None:
            self._saved = self.position = await self._load()
        came = 0
        try:
            async for answer in batches(
                self._engine, from_position=self.position + 1, prefix=self._prefix, how={}
            ):
                came += len(answer.events)
                await self._take(list(answer.events))
                if answer.next_position:
                    await self._pass(answer.next_position - 1)
            await self._ended(failed=False)
        except BaseException:
            try:
                with contextlib.suppress(RaftStateError):
                    await self._ended(failed=True)
            finally:
                self._saved = None  # where it is now is for the store to say
            raise
        return came

    def _reached(self, position: int) -> None:
        self.position = position

    async def _load(self) -> int:
        try:
            found = await get_projection(self._engine, self.name, {})
        except ProjectionNotFound:
            return 0
        return found.position

    async def _take(self, events: list[Event]) -> None:
        """Deal with some events."""
        raise NotImplementedError

    async def _pass(self, position: int) -> None:
        """There is nothing more for this consumer up to `position`."""
        self.position = max(self.position, position)

    async def _ended(self, *, failed: bool) -> None:
        """Everything is dealt with that will be for now: save it."""
        raise NotImplementedError

    async def _save(self, timeout: float | None = None) -> None:
        """Save the position, which nobody else may have moved."""
        if self.position == self._saved:
            return
        request = SaveProjectionRequest(
            name=self.name, position=self.position, expected_position=self._saved
        )
        await self._engine.mutate("save_projection", request, timeout)
        self._saved = self.position


class ProjectionRun(_Consumer):
    """A projection whose handler sees each event at least once."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        handler: Handler,
        *,
        prefix: str,
        save_events: int,
        save_seconds: float,
        poll: float,
    ) -> None:
        super().__init__(engine, name, prefix, poll)
        self._handler = handler
        self._save_events = save_events
        self._save_seconds = save_seconds
        self._unsaved = 0
        self._saved_at = now()

    async def _take(self, events: list[Event]) -> None:
        for event in events:
            doing = self._handler(event)
            if inspect.isawaitable(doing):
                await doing
            self._reached(event.position)
            self._unsaved += 1
            if self._due():
                await self._save()

    def _due(self) -> bool:
        return (
            self._unsaved >= self._save_events or now() - self._saved_at >= self._save_seconds
        )

    async def _ended(self, *, failed: bool) -> None:
        # Where only others' events came, that is worth a save as seldom as any.
        if self._unsaved or self._due():
            await self._save(CLOSE_S if failed else None)

    async def _save(self, timeout: float | None = None) -> None:
        await super()._save(timeout)
        self._unsaved = 0
        self._saved_at = now()


class ReadModel(_Consumer):
    """A projection whose handler says what to write, which is written once."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        handler: Modeller,
        *,
        prefix: str,
        batch: int,
        poll: float,
    ) -> None:
        super().__init__(engine, name, prefix, poll)
        if batch < 1:
            raise InvalidRequest(
                f"batch is {batch}; it must be 1 or more",
                definite=True,
                details={"field": "batch"},
            )
        self._handler = handler
        self._batch = batch

    async def _take(self, events: list[Event]) -> None:
        for first in range(0, len(events), self._batch):
            some = events[first : first + self._batch]
            asked: Any = self._handler(some)
            wanted = list(await asked if inspect.isawaitable(asked) else asked)
            position = some[-1].position
            saved = txn.save_position(self.name, position, expected=self._saved)
            body = txn.body((), [*wanted, saved], ())
            await self._engine.mutate("txn", TxnRequest(txn=body), None)
            self._saved = position
            self._reached(position)

    async def _ended(self, *, failed: bool) -> None:
        # Each transaction has saved already; what was only passed over waits for the next
        # one, unless it is much.
        assert self._saved is not None
        if not failed and self.position - self._saved >= SAVE_EVENTS:
            await self._save()


class Projections:
    """The part of a `Store` that is about projections."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    def projection(
        self,
        name: str,
        handler: Handler,
        *,
        prefix: str = "",
        save_events: int = SAVE_EVENTS,
        save_seconds: float = SAVE_SECONDS,
        poll: float = POLL_SECONDS,
    ) -> ProjectionRun:
        """A consumer of the events of all streams whose id begins with `prefix`.

        `handler(event)`, which may be a coroutine function, sees each of them in the order
        of the log, at least once. The position is saved after `save_events` events or
        `save_seconds`, and at the end. `await p.catch_up()` deals with what there is,
        `await p.run()` also with what comes, which is looked for every `poll` seconds.

        Nothing is sent yet. Raises InvalidRequest (definite) for a time that is not more
        than 0.

        >>> total = {"charged": 0}
        >>> def charge(event):
        ...     total["charged"] += raftstate.decode(event)
        >>> charges = [raftstate.event("charge", 5), raftstate.event("charge", 2)]
        >>> _ = await store.append("projections/1", charges)
        >>> await store.projection("projections", charge, prefix="projections/").catch_up()
        2
        >>> total
        {'charged': 7}
        """
        return ProjectionRun(
            self._engine,
            name,
            handler,
            prefix=prefix,
            save_events=save_events,
            save_seconds=positive("save_seconds", save_seconds),
            poll=poll,
        )

    def read_model(
        self,
        name: str,
        handler: Modeller,
        *,
        prefix: str = "",
        batch: int = 1,
        poll: float = POLL_SECONDS,
    ) -> ReadModel:
        """A consumer that keeps keys which follow from the events, exactly once.

        `handler(events)` gets at most `batch` events, in the order of the log, and gives
        operations (`raftstate.txn`), at most 127, which are done in one transaction with
        saving the position. It may read what earlier events have led to, but not its own
        effects within one batch. If the transaction is refused, none of it was done. What
        comes is looked for every `poll` seconds.

        Nothing is sent yet. Raises InvalidRequest (definite) if `batch` or `poll` is not
        more than 0.

        >>> def newest(events):
        ...     return [raftstate.txn.put("read-model/at", event.type) for event in events]
        >>> _ = await store.append("read-model/1", [raftstate.event("opened")])
        >>> await store.read_model("read-model", newest, prefix="read-model/").catch_up()
        1
        >>> (await store.keys.get("read-model/at")).value
        b'opened'
        """
        return ReadModel(self._engine, name, handler, prefix=prefix, batch=batch, poll=poll)

    async def save_projection(
        self,
        name: str,
        position: int,
        *,
        expected: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Save a position, where `expected` was saved before; zero: there was none. It is
        at most that of the newest event of all. Raises Conflict, InvalidRequest (definite),
        and what every mutation raises.

        >>> done = await store.append("projections-save/1", [raftstate.event("opened")])
        >>> await store.save_projection("projections-save", done.first_position, expected=0)
        >>> await store.save_projection("projections-save", done.first_position, expected=0)
        Traceback (most recent call last):
        raftstate.errors.Conflict: ...
        """
        request = SaveProjectionRequest(
            name=name, position=position, expected_position=expected
        )
        await self._engine.mutate("save_projection", request, timeout)

    async def get_projection(self, name: str, **how: Unpack[How]) -> Projection:
        """How far a projection has come. Raises ProjectionNotFound (definite), and what
        every read does.

        >>> done = await store.append("projections-get/1", [raftstate.event("opened")])
        >>> await store.save_projection("projections-get", done.first_position)
        >>> (await store.get_projection("projections-get")).position == done.first_position
        True
        """
        return await get_projection(self._engine, name, how)

    async def list_projections(self, **how: Unpack[How]) -> AsyncIterator[Projection]:
        """All projections, in order of name, all at one revision. Raises Compacted
        (definite) should that be forgotten meanwhile, and what every read does.

        >>> done = await store.append("projections-list/1", [raftstate.event("opened")])
        >>> await store.save_projection("projections-list", done.first_position)
        >>> "projections-list" in [one.name async for one in store.list_projections()]
        True
        """
        request = ListProjectionsRequest()
        async for page in reading.pages(
            self._engine, lambda peer: peer.events.ListProjections, request, how
        ):
            for found in page.projections:
                yield found

    async def delete_projection(self, name: str, *, timeout: float | None = None) -> None:
        """Forget a projection. Raises ProjectionNotFound (definite), and what every
        mutation raises.

        >>> done = await store.append("projections-delete/1", [raftstate.event("opened")])
        >>> await store.save_projection("projections-delete", done.first_position)
        >>> await store.delete_projection("projections-delete")
        """
        request = DeleteProjectionRequest(name=name)
        await self._engine.mutate("delete_projection", request, timeout)


async def get_projection(engine: Engine, name: str, how: How) -> Projection:
    """How far a projection has come. Raises ProjectionNotFound (definite)."""
    request = GetProjectionRequest(name=name)
    answer = await reading.read_as(engine, lambda peer: peer.events.GetProjection, request, how)
    found: Projection = answer.projection
    return found
