"""One watch, as its member sees it: what it wants, how far it is, what waits for it.

Changes are put in as they are read, encoded, and come out as messages of one revision
each, or of several where one would be too large. What waits is bounded: a watch whose
client does not take it is overrun, loses what waits, and will be told so; nobody else
notices. Watches share the encoded changes, so that one that a thousand are told of is
in memory once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from raftstate.core.changes import Filter
from raftstate.core.history import changes_after
from raftstate.core.ports import Reader
from raftstate.rpc.frontend import WatchLimits
from raftstate.rpc.tokens import Progress


class Piece:
    """An encoded change, and how many wait with it."""

    __slots__ = ("data", "holders")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.holders = 0


class Message(NamedTuple):
    """A message to be sent: an encoded header, encoded changes, and what they are of."""

    head: bytes
    pieces: list[Piece]
    size: int
    revision: int
    # More of the same revision follow.
    continued: bool


class Overrun(Exception):
    """The client of a watch did not take what came."""


class Account:
    """How much waits for all watches of a member together, each change counted once."""

    def __init__(self) -> None:
        self.size = 0

    def hold(self, pieces: list[Piece]) -> None:
        """These wait for one watch more."""
        for piece in pieces:
            if not piece.holders:
                self.size += len(piece.data)
            piece.holders += 1

    def let_go(self, pieces: list[Piece]) -> None:
        """These wait for one watch less."""
        for piece in pieces:
            piece.holders -= 1
            if not piece.holders:
                self.size -= len(piece.data)


class Walk:
    """How far a reader of changes has come.

    All revisions up to `revision` are done, and `done` keys of the one after it, which is
    under way if they are any."""

    __slots__ = ("done", "revision")

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.done = 0

    @property
    def begun(self) -> int:
        """The newest revision of which anything was told."""
        return self.revision + 1 if self.done else self.revision

    def skip(self, revision: int) -> None:
        """Go on behind a revision, whatever comes before."""
        if revision > self.revision:
            self.revision, self.done = revision, 0

    def rows(self, reader: Reader, last: int) -> Iterator[tuple[int, bytes, bool]]:
        """What changed from here to `last`: revision, key, and whether that is all of
        the revision. What is given counts as done; when nothing more is, all up to
        `last` does."""
        for revision, changed in changes_after(reader, self.revision, last):
            self.skip(revision - 1)
            for at in range(self.done, len(changed)):
                ends = at + 1 == len(changed)
                if ends:
                    self.skip(revision)
                else:
                    self.done = at + 1
                yield revision, changed[at], ends
        self.skip(last)


class Watcher:
    """One watch: its selector, its place, and its queue."""

    def __init__(
        self,
        wanted: Filter,
        with_previous: bool,
        progress: Progress,
        limits: WatchLimits,
        account: Account,
    ) -> None:
        self.wanted = wanted
        self.with_previous = with_previous
        # How far it has read by itself, or was told by the hub.
        self.walk = Walk(progress.position)
        self.joined = False
        # Every change up to this one was taken out; and perhaps a part of the next.
        self.told = progress.position
        self.torn = False
        # The newest revision up to there that the store is known to have come to.
        self.reached = progress.reached
        self._limits = limits
        self._account = account
        self._queue: deque[Message] = deque()
        self._head = b""
        self._pieces: list[Piece] = []
        self._piece_size = 0
        self._changes = 0
        self.size = 0
        self._error: Exception | None = None
        self._trace: TracebackType | None = None
        self._woken = asyncio.Event()

    # --- in --------------------------------------------------------------------

    def add(self, head: bytes, revision: int, piece: Piece) -> None:
        """Put in a change of a revision."""
        size = len(piece.data)
        if self._piece_size and self._piece_size + size > self._limits.message_bytes:
            self._put(revision, continued=True)
        self._head = head
        self._pieces.append(piece)
        self._piece_size += size

    def end(self, revision: int) -> None:
        """That was all of the revision."""
        if self._pieces:
            self._put(revision, continued=False)
        self.walk.skip(revision)

    def _put(self, revision: int, *, continued: bool) -> None:
        pieces, size = self._pieces, self._piece_size
        self._pieces, self._piece_size = [], 0
        if self._error is not None:
            return
        if self.joined and self._queue and self._is_full(len(pieces), size):
            self.fail(Overrun())
            return
        self._queue.append(Message(self._head, pieces, size, revision, continued))
        self._changes += len(pieces)
        self.size += size
        self._account.hold(pieces)
        self._woken.set()

    def _is_full(self, changes: int, size: int) -> bool:
        limits = self._limits
        return (
            self.size + size > limits.queue_bytes
            or self._changes + changes > limits.queue_changes
        )

    def fail(self, error: Exception) -> None:
        """End the watch; what waits is dropped. The first reason counts."""
        if self._error is None:
            self._error, self._trace = error, error.__traceback__
            self._drop()
            self._woken.set()

    def wake(self) -> None:
        """Have the watch look around."""
        self._woken.set()

    def _drop(self) -> None:
        for message in self._queue:
            self._account.let_go(message.pieces)
        self.size = self._changes = 0
        self._queue.clear()
        self._pieces, self._piece_size = [], 0

    # --- out -------------------------------------------------------------------

    @property
    def failed(self) -> bool:
        """Whether it has ended."""
        return self._error is not None

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._queue)

    def demand(self) -> None:
        """Raise what the watch failed with, if it has."""
        if self._error is not None:
            # Many may have failed with the same: what each adds to it is its own.
            raise self._error.with_traceback(self._trace)

    def take(self) -> Message | None:
        """What comes next, if it is there. Raises what the watch failed with."""
        self.demand()
        if not self._queue:
            return None
        message = self._queue.popleft()
        self._changes -= len(message.pieces)
        self.size -= message.size
        self._account.let_go(message.pieces)
        self.torn = message.continued
        if not message.continued:
            self.told = message.revision
        return message

    async def wait(self, seconds: float) -> None:
        """Return when something has come, or the time has passed."""
        self._woken.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    def leave(self) -> None:
        """The client has gone."""
        self._drop()
