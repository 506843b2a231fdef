"""The hub: one reader of what changed, for all watches of a member that are caught up.

Each change is looked at once. Who wants it is found by its type and id in an index, so
that it costs the same whether ten watch other things or ten thousand; it is read and
encoded only if somebody does, and then once for all.

A watch that is behind (it starts in the past, or goes on after a break) reads by itself,
a slice at a time and no faster than its client takes it, until in one turn of the loop
it has read all that there is. In that turn it joins: the hub has not been further, and
whatever it reads next is for all who have joined and are not further themselves. So there
is no gap, and nothing is told twice. However many are behind, one reads in each turn.

All of it happens on the event loop, in slices: a view is opened, a bounded number of
changes read, the view closed, and others have their turn. A revision may take several
slices. The state may be behind where it was, when it is being rebuilt: then nothing is
told until it is further again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress

from raftstate.core import history
from raftstate.core.changes import Filter, Move, Subject, subject
from raftstate.core.ports import Reader, Unavailable
from raftstate.rpc.errors import Failure, too_many
from raftstate.rpc.frontend import Frontend, WatchLimits
from raftstate.rpc.tokens import Progress
from raftstate.rpc.turns import Turns
from raftstate.rpc.watcher import Account, Overrun, Piece, Walk, Watcher
from raftstate.v1.common_pb2 import ResponseHeader
from raftstate.v1.watch_service_pb2 import WatchResponse

# Messages that are handed to grpc in one turn of the loop: each takes some 0.1 ms.
SENT_PER_TURN = 16

# How often it is looked whether this member may tell anything. Who knows no leader for so
# long is cut off, and what it shows stands still.
LOOK_EVERY_S = 0.5
LEADERLESS_S = 3.0

_Watchers = dict[Watcher, None]  # in the order in which they came


class Index:
    """Who may want to hear of a subject: by type, and then by id or by its beginning."""

    def __init__(self) -> None:
        self._exact: dict[int, dict[bytes, _Watchers]] = defaultdict(dict)
        # By type, by the length of the prefix, by the prefix.
        self._prefixes: dict[int, dict[int, dict[bytes, _Watchers]]] = defaultdict(dict)
        self.watchers: _Watchers = {}

    def add(self, watcher: Watcher) -> None:
        """Take a watch in."""
        self.watchers[watcher] = None
        wanted = watcher.wanted
        for kind in wanted.kinds:
            if wanted.exact:
                table = self._exact[kind]
            else:
                table = self._prefixes[kind].setdefault(len(wanted.prefix), {})
            table.setdefault(wanted.prefix, {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Let a watch go, and leave nothing of it."""
        del self.watchers[watcher]
        wanted = watcher.wanted
        for kind in wanted.kinds:
            lengths = self._prefixes[kind]
            table = self._exact[kind] if wanted.exact else lengths[len(wanted.prefix)]
            found = table[wanted.prefix]
            del found[watcher]
            if not found:
                del table[wanted.prefix]
            if not table and not wanted.exact:
                del lengths[len(wanted.prefix)]

    def find(self, about: Subject) -> list[Watcher]:
        """Those whose selector names a subject, but for its labels."""
        found: list[Watcher] = []
        if at := self._exact[about.kind].get(about.id):
            found.extend(at)
        for length, table in self._prefixes[about.kind].items():
            if at := table.get(about.id[:length]):
                found.extend(at)
        return found


class Budget:
    """What may be done in one slice."""

    def __init__(self, limits: WatchLimits) -> None:
        self._rows = limits.slice_rows
        self._size = limits.slice_bytes
        self._until = time.perf_counter() + limits.slice_s

    def spend(self, size: int) -> bool:
        """A row was looked at, and so much made of it; whether there is any left."""
        self._rows -= 1
        self._size -= size
        return self._rows > 0 and self._size > 0 and time.perf_counter() < self._until


class Encoder:
    """Changes as they travel, of one view. A response is what its parts are, one after
    the other; so the header of a revision and each of its changes are encoded once."""

    def __init__(self, reader: Reader, header: ResponseHeader) -> None:
        self._reader = reader
        self._header = header
        self._newest, self._raft_index = header.revision, header.raft_index
        self._head = b""
        self._revision = 0

    def head(self, revision: int) -> bytes:
        """The header of the messages of a revision."""
        if self._revision != revision:
            self._header.revision = self._revision = revision
            # Which entry an earlier one was in is not kept.
            self._header.raft_index = self._raft_index if revision == self._newest else 0
            self._head = WatchResponse(header=self._header).SerializeToString()
        return self._head

    def tell(self, revision: int, key: bytes, about: Subject, whom: list[Watcher]) -> int:
        """Tell watches of a change, as far as they want to hear of it; give back how
        large it is."""
        move = Move(self._reader, revision, key, about)
        if move.nothing:
            return 0
        plain: Piece | None = None
        full: Piece | None = None
        for watcher in whom:
            if not watcher.wanted.takes(move):
                continue
            if watcher.with_previous:
                piece = full = full or _encoded(move, with_previous=True)
            else:
                piece = plain = plain or _encoded(move, with_previous=False)
            watcher.add(self.head(revision), revision, piece)
        return sum(len(piece.data) for piece in (plain, full) if piece is not None)


def _encoded(move: Move, *, with_previous: bool) -> Piece:
    changed = WatchResponse(changes=[move.change(with_previous)])
    return Piece(changed.SerializeToString())


class Hub:
    """All watches of one member."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._limits = frontend.limits.watches
        self._revisions = frontend.bridge.revisions
        self._account = Account()
        self._index = Index()
        self._walk = Walk(0)
        # In the order in which they came: all, and those that wait to join.
        self._watchers: _Watchers = {}
        self._stuck: _Watchers = {}
        # Of the revision under way: who was told of it.
        self._touched: _Watchers = {}
        # Who reads by itself, and who sends, does so in turn.
        self.reading = Turns(1)
        self.sending = Turns(SENT_PER_TURN)
        self._leaderless_since: float | None = None
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        frontend.at_close.append(self._close)
        frontend.watch_load = lambda: (len(self._watchers), self._account.size)

    # --- coming and going --------------------------------------------------------

    def open(self, wanted: Filter, with_previous: bool, progress: Progress) -> Watcher:
        """A new watch that has come so far. Raises Failure if there are as many as there
        may be."""
        if len(self._watchers) >= self._limits.streams:
            words = f"this member serves {self._limits.streams} watches already"
            raise too_many(words, self._limits.streams)
        watcher = Watcher(wanted, with_previous, progress, self._limits, self._account)
        self._watchers[watcher] = None
        if self._task is None:
            self._leaderless_since = None
            self._revisions.listen(self._moved)
            self._task = asyncio.create_task(self._run())
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """The watch has ended."""
        self._part(watcher)
        self._stuck.pop(watcher, None)
        del self._watchers[watcher]
        watcher.leave()
        if not self._watchers and self._task is not None:
            self._revisions.leave(self._moved)
            self._task.cancel()
            self._task = None

    def _part(self, watcher: Watcher) -> None:
        if watcher.joined:
            watcher.joined = False
            self._index.remove(watcher)
            self._touched.pop(watcher, None)

    def _close(self) -> None:
        """The server is about to stop: every watch looks around, and ends."""
        for watcher in self._watchers:
            watcher.wake()

    # --- those who are behind ------------------------------------------------------

    def read_on(self, watcher: Watcher) -> bool:
        """Read a slice for a watch that has not joined, whose turn it is, and let it join
        if that was all; whether it may read on at once. Raises Failure."""
        try:
            return self._read_on(watcher)
        finally:
            self._relieve(sparing=watcher)

    def _read_on(self, watcher: Watcher) -> bool:
        with self._frontend.view() as (reader, header):
            newest = header.revision
            demand_kept(reader, watcher.walk.revision)
            encoder = Encoder(reader, header)
            budget = Budget(self._limits)
            for revision, key, ends in watcher.walk.rows(reader, newest):
                size, about = 0, subject(key)
                if about is not None and watcher.wanted.names(about):
                    size = encoder.tell(revision, key, about, [watcher])
                if ends:
                    watcher.end(revision)
                if not budget.spend(size):
                    return True
        watcher.reached = max(watcher.reached, min(watcher.walk.revision, newest))
        return self._join(watcher, newest)

    def _join(self, watcher: Watcher, newest: int) -> bool:
        if not self._index.watchers:
            self._walk = Walk(newest)
        if watcher.walk.done or watcher.walk.begun < self._walk.begun:
            # The state is being rebuilt: the watch was amid a revision that is not there
            # now, or the hub has been further.
            self._stuck[watcher] = None
            return False
        watcher.joined = True
        self._index.add(watcher)
        return True

    def progress(self, watcher: Watcher) -> Progress:
        """How far a watch has come for which nothing waits."""
        position = watcher.walk.revision
        if watcher.joined:
            position = max(position, self._walk.revision)
            watcher.reached = max(watcher.reached, min(position, self._walk.revision))
        return Progress(position, watcher.reached)

    # --- those who have joined -----------------------------------------------------

    async def _run(self) -> None:
        while True:
            # Whatever moves from here on is seen in the next turn.
            self._moved.clear()
            if not self._turn():
                await asyncio.sleep(0)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._moved.wait()

    def _turn(self) -> bool:
        """Read a slice for all who have joined; whether that was all there is."""
        stuck, self._stuck = self._stuck, {}
        for watcher in stuck:
            watcher.wake()
        try:
            self._look()
            return self._slice() if self._index.watchers else True
        except Exception as error:  # noqa: BLE001  # every watch raises it in its call
            for watcher in self._watchers:
                self._end(watcher, error)
            return True

    def _look(self) -> None:
        """Raise Failure if this member cannot be trusted, or seems to be cut off: another
        may know more."""
        self._frontend.demand_sound()
        now = asyncio.get_running_loop().time()
        if self._frontend.consensus.status().leader is not None:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = now
        elif now >= self._leaderless_since + LEADERLESS_S:
            raise self._frontend.unavailable(Unavailable("NO_QUORUM", definite=True))

    def _slice(self) -> bool:
        with self._frontend.view() as (reader, header):
            newest = header.revision
            oldest = history.read_mark(reader).oldest
            if self._walk.revision < oldest:
                self._overtaken(oldest)
            encoder = Encoder(reader, header)
            budget = Budget(self._limits)
            for revision, key, ends in self._walk.rows(reader, newest):
                size = self._tell(encoder, revision, key)
                if ends:
                    self._finish(revision)
                if not budget.spend(size):
                    return False
        return True

    def _tell(self, encoder: Encoder, revision: int, key: bytes) -> int:
        about = subject(key)
        if about is None:
            return 0
        found = [one for one in self._index.find(about) if one.walk.revision < revision]
        if not found:
            return 0
        self._touched.update(dict.fromkeys(found))
        return encoder.tell(revision, key, about, found)

    def _finish(self, revision: int) -> None:
        touched, self._touched = self._touched, {}
        for watcher in touched:
            watcher.end(revision)
            if watcher.failed:
                self._part(watcher)
        self._relieve()

    def _relieve(self, sparing: Watcher | None = None) -> None:
        """Give up whoever has the most waiting, while there is too much of it; but not one
        that has only now read it."""
        if self._account.size <= self._limits.queued_bytes:
            return
        for watcher in sorted(self._watchers, key=lambda one: one.size, reverse=True):
            if self._account.size <= self._limits.queued_bytes or not watcher.size:
                return
            if watcher is not sparing:
                self._end(watcher, Overrun())

    def _overtaken(self, oldest: int) -> None:
        """What comes next is forgotten: whoever was not told it cannot go on."""
        for watcher in [*self._index.watchers]:
            position = self.progress(watcher).position
            if position < oldest:
                self._end(watcher, compacted(position, oldest))
        self._walk.skip(oldest)

    def _end(self, watcher: Watcher, error: Exception) -> None:
        watcher.fail(error)
        self._part(watcher)


def demand_kept(reader: Reader, position: int) -> None:
    """Raise Failure if a change behind a revision is forgotten."""
    oldest = history.read_mark(reader).oldest
    if position < oldest:
        raise compacted(position, oldest)


def compacted(position: int, oldest: int) -> Failure:
    """A watch that was told all up to `position` cannot go on: what can be read is from
    `oldest` on, and what can be watched is after it."""
    first = oldest + 1
    return Failure(
        "COMPACTED",
        f"changes from revision {position + 1} on are compacted: the oldest are of {first}",
        definite=True,
        metadata={"oldest_revision": str(first)},
    )
