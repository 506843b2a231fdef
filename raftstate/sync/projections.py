# Generated from raftstate/client/projections.py by scripts/generate. Not to be edited.

"""Projections: consumers of all streams that save how far they have come.

    def charge(event):
        ...

    store.projection("charges", charge, prefix="billing/").run()

A projection begins behind the position that was saved under its name. What it has dealt
with is saved every so many events, every so many seconds, and when it ends, so that after a
crash some events come again: its handler must bear that. A read model (`store.read_model`)
does not meet an event twice: what its handler wants to be written goes into the store in
one transaction with the position.

Only one consumer of a name goes on. Each save says which position it expects, so that the
second consumer's first save raises Conflict, and nothing of the first one's is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Unpack, cast

from raftstate.client import projections as face
from raftstate.client.projections import POLL_SECONDS, SAVE_EVENTS, SAVE_SECONDS
from raftstate.client.reading import How
from raftstate.sync.running import Face, Handle, listing
from raftstate.v1.event_service_pb2 import Event, Projection
from raftstate.v1.kv_service_pb2 import TxnOp

# What is done with one event, or wanted to be written for some.
Handler = Callable[[Event], None]
Modeller = Callable[[list[Event]], Iterable[TxnOp]]


class _Consumer(Handle, of=face._Consumer):
    """What both kinds of consumers do: read from where they were, and go on."""

    @property
    def _it(self) -> face._Consumer:
        return cast(face._Consumer, self._object)

    @property
    def name(self) -> str:
        """The projection's name."""
        return self._it.name

    @property
    def position(self) -> int:
        """The last event that was dealt with, or passed over."""
        return self._it.position

    def run(self) -> None:
        """Deal with every event, those that are yet to come as well, until it is
        interrupted, or its store is closed. Raises what `catch_up` does.

        >>> def deal(event):
        ...     if event.type == "closed":
        ...         raise EOFError("there is no more")
        >>> events = [raftstate.event("opened"), raftstate.event("closed")]
        >>> _ = store.append("projections-run/1", events)
        >>> store.projection("projections-run", deal, prefix="projections-run/").run()
        Traceback (most recent call last):
        EOFError: there is no more
        """
        self._do(self._it.run())

    def catch_up(self) -> int:
        """Deal with every event that there is when it is called, and save; how many there
        were.

        Raises what the handler raises, having saved what came before; Conflict (definite)
        if another consumer of this name has saved; and what every mutation raises.

        >>> _ = store.append("projections-catch-up/1", [raftstate.event("opened")])
        >>> reader = store.projection(
        ...     "projections-catch-up",
        ...     lambda event: print(event.type),
        ...     prefix="projections-catch-up/",
        ... )
        >>> reader.catch_up()
        opened
        1
        >>> reader.catch_up()
        0
        """
        return self._do(self._it.catch_up())


class ProjectionRun(_Consumer, of=face.ProjectionRun):
    """A projection whose handler sees each event at least once."""

    @property
    def _it(self) -> face.ProjectionRun:
        return cast(face.ProjectionRun, self._object)


class ReadModel(_Consumer, of=face.ReadModel):
    """A projection whose handler says what to write, which is written once."""

    @property
    def _it(self) -> face.ReadModel:
        return cast(face.ReadModel, self._object)


class Projections(Face, of=face.Projections):
    """The part of a `Store` that is about projections."""

    @property
    def _it(self) -> face.Projections:
        return cast(face.Projections, self._object)

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

        `handler(event)` sees each of them in the order
        of the log, at least once. The position is saved after `save_events` events or
        `save_seconds`, and at the end. `p.catch_up()` deals with what there is,
        `p.run()` also with what comes, which is looked for every `poll` seconds.

        Nothing is sent yet. Raises InvalidRequest (definite) for a time that is not more
        than 0.

        >>> total = {"charged": 0}
        >>> def charge(event):
        ...     total["charged"] += raftstate.decode(event)
        >>> charges = [raftstate.event("charge", 5), raftstate.event("charge", 2)]
        >>> _ = store.append("projections/1", charges)
        >>> store.projection("projections", charge, prefix="projections/").catch_up()
        2
        >>> total
        {'charged': 7}
        """
        return ProjectionRun(
            self._it.projection(
                name,
                self._running.carried(handler),
                prefix=prefix,
                save_events=save_events,
                save_seconds=save_seconds,
                poll=poll,
            ),
            self._running,
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
        >>> _ = store.append("read-model/1", [raftstate.event("opened")])
        >>> store.read_model("read-model", newest, prefix="read-model/").catch_up()
        1
        >>> (store.keys.get("read-model/at")).value
        b'opened'
        """
        return ReadModel(
            self._it.read_model(
                name,
                self._running.carried(listing(handler)),
                prefix=prefix,
                batch=batch,
                poll=poll,
            ),
            self._running,
        )

    def save_projection(
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

        >>> done = store.append("projections-save/1", [raftstate.event("opened")])
        >>> store.save_projection("projections-save", done.first_position, expected=0)
        >>> store.save_projection("projections-save", done.first_position, expected=0)
        Traceback (most recent call last):
        raftstate.errors.Conflict: ...
        """
        self._do(self._it.save_projection(name, position, expected=expected, timeout=timeout))

    def get_projection(self, name: str, **how: Unpack[How]) -> Projection:
        """How far a projection has come. Raises ProjectionNotFound (definite), and what
        every read does.

        >>> done = store.append("projections-get/1", [raftstate.event("opened")])
        >>> store.save_projection("projections-get", done.first_position)
        >>> (store.get_projection("projections-get")).position == done.first_position
        True
        """
        return self._do(self._it.get_projection(name, **how))

    def list_projections(self, **how: Unpack[How]) -> Iterator[Projection]:
        """All projections, in order of name, all at one revision. Raises Compacted
        (definite) should that be forgotten meanwhile, and what every read does.

        >>> done = store.append("projections-list/1", [raftstate.event("opened")])
        >>> store.save_projection("projections-list", done.first_position)
        >>> "projections-list" in [one.name for one in store.list_projections()]
        True
        """
        return self._running.each(self._it.list_projections(**how))

    def delete_projection(self, name: str, *, timeout: float | None = None) -> None:
        """Forget a projection. Raises ProjectionNotFound (definite), and what every
        mutation raises.

        >>> done = store.append("projections-delete/1", [raftstate.event("opened")])
        >>> store.save_projection("projections-delete", done.first_position)
        >>> store.delete_projection("projections-delete")
        """
        self._do(self._it.delete_projection(name, timeout=timeout))
