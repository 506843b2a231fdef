"""Watches against a dumb model: nine properties, on whatever Hypothesis thinks of.

    filter       nothing is told that the selector does not name
    ordered      revisions come in order
    unique       each comes once
    atomic       what a revision changed comes as one whole
    reliable     none is missing, held against what there was after each command
    resumable    a watch that broke goes on from its token, or another one does
    bookmarkable a mark is of a revision up to which all, and behind which nothing, is told
    previous     what there was before is what there was before
    created      so is whether there was anything

The model compares whole states and knows no history. Meanwhile the member lags, its state
is rebuilt, revisions are compacted, and clients are slow; slices and messages are tiny, and
the loop turns only as often as the test says. All of it is in virtual time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from raftstate.core import history
from raftstate.core.memory import MemoryStore
from raftstate.rpc.errors import Failure
from raftstate.rpc.frontend import WatchLimits
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import Label
from raftstate.v1.event_service_pb2 import AppendEventsRequest, StreamAppend
from raftstate.v1.store_pb2 import Command
from raftstate.v1.watch_service_pb2 import ResourceType, Selector
from tests.core.bench import close_session, event, open_session
from tests.jepsen.virtual import VirtualLoop
from tests.rpc.watching import Member, Stream, Told

TINY = WatchLimits(
    queue_changes=8, queue_bytes=2_500, message_bytes=200, slice_rows=3, slice_bytes=600
)
NAMES = st.sampled_from(["a", "a/b"])
LABELS = st.sampled_from([(), ("x",), ("x", "y")])
WORDS = st.sampled_from(["put", "delete", "create", "update", "own", "close", "append", "both"])
WRITES = st.lists(st.tuples(WORDS, NAMES, LABELS), min_size=1, max_size=6)
TYPES = st.lists(st.sampled_from(ResourceType.values()[1:7]), unique=True, max_size=2)
SELECTORS = st.builds(
    lambda types, prefix, exact, labels: Selector(
        types=types,
        prefix=prefix,
        exact=exact,
        labels=[Label(name=name, value="1") for name in labels],
    ),
    st.just([]) | TYPES,
    st.sampled_from([b"", b"", b"a", b"a/", b"a/b"]),
    st.sampled_from([False, False, True]),
    st.sampled_from([(), (), ("x",)]),
)
WATCHES = st.integers(0, 3)
# Virtual seconds in which everything settles, and every watch makes a mark.
QUIET_S = 0.25


@dataclass
class Watched:
    """A watch, and what its client knows."""

    selector: Selector
    with_previous: bool
    snapshot: bool
    # All up to here is told; None: it has not begun.
    position: int | None
    # The last whole message was of this revision.
    revision: int = 0
    token: str = ""
    reader: asyncio.Task[None] | None = None
    # A slow client stops to take what comes.
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[Told] = field(default_factory=list)


class WatchRules(RuleBasedStateMachine):
    """One member, a few watches, and all that can come between them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.member: Member = self.runner.run(self._make())
        self.shots: list[MemoryStore] = [self.member.bench.store.copy()]
        self.lags = False
        self.watches: list[Watched] = []

    async def _make(self) -> Member:
        member = Member(TINY)
        member.write(open_session("s"))
        return member

    @initialize(selector=SELECTORS, previous=st.booleans())
    def begin(self, selector: Selector, previous: bool) -> None:
        """There is one watch at least."""
        self.open(selector, previous, "NOW", 0)
        self.turn(9)

    # --- what happens to the store -------------------------------------------------

    @rule(writes=WRITES, turns=st.integers(0, 3))
    def write(self, writes: list[tuple[str, str, tuple[str, ...]]], turns: int) -> None:
        """Commands are applied; a member that does not lag shows them."""
        for word, name, labels in writes:
            self._write(self._command(word, name, labels))
        self._show()
        self.turn(turns)

    def _command(self, word: str, name: str, labels: tuple[str, ...]) -> Command:
        bench, given = self.member.bench, [Label(name=one, value="1") for one in labels]
        if word == "put":
            return self.member.put(name.encode(), b"v" * 40)
        if word == "delete":
            return self.member.delete(name.encode())
        if word == "both":
            return self.member.put_and_delete(b"a/c", b"a/d", b"a/e")
        if word == "create":
            return bench.create("s", name, given)
        if word == "update":
            return bench.update("s", name, given)
        if word == "close":
            return close_session("t")
        if word == "append":
            events = [event("e", b"1"), event("e", b"2")]
            append = StreamAppend(stream_id=f"{name}/free", events=events)
            asked = AppendEventsRequest(request_id=bench.request_id("s"), appends=[append])
            return Command(append_events=asked)
        self._write(open_session("t"))
        if self._write(bench.acquire("t", name, mode="FORCE")) != "acquire_ownership":
            return bench.create("s", name, given)
        fence = bench.agent(name).owner.fence
        saved = NewCheckpoint(data=b"c", labels=given)
        return bench.step("t", name, fence, event("e"), event("e"), checkpoint=saved)

    def _write(self, command: Command) -> str:
        (outcome,) = self.member.write(command, show=False)
        return str(outcome.WhichOneof("result"))

    @rule(back=st.integers(0, 6), turns=st.integers(0, 3))
    def compact(self, back: int, turns: int) -> None:
        """The oldest revisions are forgotten."""
        self._write(self.member.compact(max(self.member.revision - back, 1)))
        self._show()
        self.turn(turns)

    @rule()
    def lag(self) -> None:
        """The member shows no more, or catches up."""
        self.lags = not self.lags
        self._show()

    @rule(which=st.integers(1, 8), turns=st.integers(0, 3))
    def go_back(self, which: int, turns: int) -> None:
        """The state is rebuilt: it shows what it was, and later what it is."""
        self.lags = True
        self._announce(self.shots[-min(which, len(self.shots))])
        self.turn(turns)

    def _show(self) -> None:
        self.shots.append(self.member.bench.store.copy())
        if not self.lags:
            self._announce(self.shots[-1])

    def _announce(self, store: MemoryStore) -> None:
        async def announce() -> None:
            self.member.show(store)

        self.runner.run(announce())

    # --- what happens to watches ---------------------------------------------------

    @precondition(lambda self: len(self.watches) < 4)
    @rule(
        selector=SELECTORS,
        previous=st.booleans(),
        start=st.sampled_from(["NOW", "REVISION", "REVISION", "SNAPSHOT"]),
        ahead=st.integers(-12, 4),
    )
    def open(self, selector: Selector, previous: bool, start: str, ahead: int) -> None:
        """Begin a watch, perhaps in the past or the future."""
        first = max(self.member.revision + ahead, 1) if start == "REVISION" else 0
        watched = Watched(selector, previous, start == "SNAPSHOT", first - 1 if first else None)
        watched.takes.set()
        self._watch(watched, start=f"WATCH_START_{start}", revision=first)
        self.watches.append(watched)

    @rule(turns=st.integers(1, 6))
    def turn(self, turns: int) -> None:
        """Whoever can do something does a little."""

        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.runner.run(turn())
        self._check_all()

    @rule()
    def settle(self) -> None:
        """Everything comes to rest, and every watch makes a mark."""
        self.runner.run(asyncio.sleep(QUIET_S))
        self._check_all()

    @precondition(lambda self: self.watches)
    @rule(which=WATCHES)
    def pause(self, which: int) -> None:
        """A client takes nothing more, or goes on."""
        watched = self.watches[which % len(self.watches)]
        if watched.takes.is_set():
            watched.takes.clear()
        else:
            watched.takes.set()

    @precondition(lambda self: self.watches)
    @rule(which=WATCHES)
    def break_off(self, which: int) -> None:
        """A stream breaks, with whatever was under way; another goes on from its token."""
        watched = self.watches[which % len(self.watches)]
        self._check(watched)
        if watched in self.watches and watched.token:
            self._stop(watched)
            self._go_on(watched, watched.token)

    def _watch(self, watched: Watched, **fields: Any) -> None:
        async def read() -> None:
            stream = self.member.watch(
                watched.selector,
                with_previous=watched.with_previous,
                progress_ms=100,
                **fields,
            )
            try:
                await self._take(watched, stream)
            finally:
                await stream.end()

        watched.told = []
        watched.reader = self.runner.get_loop().create_task(read())

    async def _take(self, watched: Watched, stream: Stream) -> None:
        while True:
            told = await stream.told(1e9)
            assert told is not None, "the stream ends"
            watched.told.append(told)
            await watched.takes.wait()

    def _go_on(self, watched: Watched, token: str) -> None:
        self._watch(watched, start="WATCH_START_RESUME", resume_token=token)

    def _stop(self, watched: Watched) -> None:
        assert watched.reader is not None
        watched.reader.cancel()
        self.runner.run(asyncio.wait({watched.reader}))

    def _check_all(self) -> None:
        for watched in [*self.watches]:
            self._check(watched)

    def _check(self, watched: Watched) -> None:
        """Hold what came against the model."""
        told, watched.told = watched.told, []
        for one in told:
            self._check_one(watched, one)
        assert watched.reader is not None
        if watched.reader.done():
            error = watched.reader.exception()
            if not isinstance(error, Failure):
                raise AssertionError("the stream failed") from error
            self._failed(watched, error)

    def _check_one(self, watched: Watched, told: Told) -> None:
        member = self.member
        assert watched.revision <= told.revision <= member.revision, "of none, or back"
        assert told.snapshot == watched.snapshot
        if told.snapshot:
            assert told.changes == member.there(watched.selector, told.revision)
            watched.snapshot = False
        elif watched.position is None:
            assert not told.changes, "a watch begins with a mark"
        else:
            missed = member.expected(
                watched.selector, watched.position + 1, told.revision, watched.with_previous
            )
            assert missed == ([(told.revision, told.changes)] if told.changes else [])
        watched.position = max(watched.position or 0, told.revision)
        watched.revision, watched.token = told.revision, told.token

    def _failed(self, watched: Watched, failure: Failure) -> None:
        """A failure must be true; then the watch goes on, or ends."""
        if failure.reason == "WATCH_TOO_SLOW":
            self._go_on(watched, failure.metadata["resume_token"])
            return
        assert failure.reason == "COMPACTED", failure
        first = int(failure.metadata["oldest_revision"])
        assert first <= history.read_mark(self.member.bench.store).oldest + 1
        # (A snapshot that has not come, and a beginning that nobody was told of, may be of
        # any revision.)
        assert watched.position is None or watched.snapshot or watched.position < first - 1
        self.watches.remove(watched)

    def teardown(self) -> None:
        """In the end everything is shown, and every watch tells all of it."""
        try:
            self._announce(self.member.bench.store)
            for watched in self.watches:
                watched.takes.set()
            for _ in range(100):
                if all(one.revision >= self.member.revision for one in self.watches):
                    break
                self.settle()
            else:
                raise AssertionError(f"they never come to their end: {self.watches}")
        finally:
            for watched in self.watches:
                self._stop(watched)
            self.runner.close()
        assert not self.member.state.views_open


WatchRules.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWatchRules = WatchRules.TestCase
