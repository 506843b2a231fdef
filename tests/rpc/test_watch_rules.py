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
is rebuilt, revisions are compacted, and clients are slow; slices and messages are tiny.
All of it is in virtual time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

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
    queue_changes=6, queue_bytes=2_000, message_bytes=200, slice_rows=3, slice_bytes=600
)
NAMES = st.sampled_from(["a", "a/b", "b"])
LABELS = st.sampled_from([(), ("x",), ("x", "y")])
WORDS = st.sampled_from(["put", "put", "delete", "create", "update", "own", "close", "append"])
WRITES = st.lists(st.tuples(WORDS, NAMES, LABELS), min_size=1, max_size=5)
TYPES = st.lists(st.sampled_from(ResourceType.values()[1:7]), unique=True, max_size=2)
SELECTORS = st.builds(
    lambda types, prefix, exact, labels: Selector(
        types=types,
        prefix=prefix,
        exact=exact and bool(prefix),
        labels=[Label(name=name, value="1") for name in labels],
    ),
    TYPES,
    st.sampled_from([b"", b"", b"a", b"a/", b"b"]),
    st.sampled_from([False, False, True]),
    st.sampled_from([(), (), (), ("x",)]),
)
WATCHES = st.integers(0, 3)


@dataclass
class Watched:
    """A watch, and what its client knows."""

    selector: Selector
    with_previous: bool
    stream: Stream
    # All up to here is told; None: it has not begun.
    position: int | None = None
    # The last whole message was of this revision.
    revision: int = 0
    token: str = ""
    snapshot: bool = False
    first: int = 0


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

    # --- what happens to the store -------------------------------------------------

    @rule(writes=WRITES)
    def write(self, writes: list[tuple[str, str, tuple[str, ...]]]) -> None:
        """Commands are applied; a member that does not lag shows them."""
        for word, name, labels in writes:
            self._write(self._command(word, name, labels))
        self._show()

    def _command(self, word: str, name: str, labels: tuple[str, ...]) -> Command:
        bench, given = self.member.bench, [Label(name=one, value="1") for one in labels]
        if word == "put":
            return self.member.put(name.encode(), b"v" * 40)
        if word == "delete":
            return self.member.delete(name.encode())
        if word == "create":
            return bench.create("s", name, given)
        if word == "update":
            return bench.update("s", name, given)
        if word == "close":
            return close_session("t")
        if word == "append":
            events = [event("e", b"1"), event("e", b"2")]
            append = StreamAppend(stream_id=f"free/{name}", events=events)
            asked = AppendEventsRequest(request_id=bench.request_id("s"), appends=[append])
            return Command(append_events=asked)
        self._write(open_session("t"))
        granted = self._write(bench.acquire("t", name, mode="FORCE"))
        if granted != "acquire_ownership":
            return bench.create("s", name, given)
        fence = bench.agent(name).owner.fence
        saved = NewCheckpoint(data=b"c", labels=given)
        return bench.step("t", name, fence, event("e"), event("e"), checkpoint=saved)

    def _write(self, command: Command) -> str:
        (outcome,) = self.member.write(command, show=False)
        return str(outcome.WhichOneof("result"))

    @rule(back=st.integers(0, 6))
    def compact(self, back: int) -> None:
        """The oldest revisions are forgotten."""
        self._write(self.member.compact(max(self.member.revision - back, 1)))
        self._show()

    @rule()
    def lag(self) -> None:
        """The member shows no more, or catches up."""
        self.lags = not self.lags
        self._show()

    @rule(which=st.integers(1, 8))
    def go_back(self, which: int) -> None:
        """The state is rebuilt: it shows what it was, and later what it is."""
        self.lags = True
        self._announce(self.shots[-min(which, len(self.shots))])

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
        start=st.sampled_from(["NOW", "REVISION", "SNAPSHOT", "SNAPSHOT"]),
        ahead=st.integers(-12, 4),
    )
    def open(self, selector: Selector, previous: bool, start: str, ahead: int) -> None:
        """Begin a watch, perhaps in the past or the future."""
        fields: dict[str, object] = {"start": f"WATCH_START_{start}"}
        watched = Watched(selector, previous, None)  # type: ignore[arg-type]
        if start == "REVISION":
            fields["revision"] = max(self.member.revision + ahead, 1)
            watched.position = max(self.member.revision + ahead, 1) - 1
        watched.snapshot = start == "SNAPSHOT"
        watched.stream = self._watch(watched, **fields)
        self.watches.append(watched)
        self._read(watched, 1)

    @precondition(lambda self: self.watches)
    @rule(which=WATCHES, messages=st.integers(1, 12))
    def read(self, which: int, messages: int) -> None:
        """Take some of what is there."""
        self._read(self.watches[which % len(self.watches)], messages)

    @precondition(lambda self: self.watches)
    @rule(which=WATCHES)
    def break_off(self, which: int) -> None:
        """A stream breaks, with whatever was under way; another goes on from its token."""
        watched = self.watches[which % len(self.watches)]
        if watched.token:
            self.runner.run(watched.stream.end())
            self._go_on(watched, watched.token)

    def _watch(self, watched: Watched, **fields: object) -> Stream:
        async def begin() -> Stream:
            return self.member.watch(
                watched.selector,
                with_previous=watched.with_previous,
                progress_ms=100,
                **fields,
            )

        return self.runner.run(begin())

    def _go_on(self, watched: Watched, token: str) -> None:
        fields = {"start": "WATCH_START_RESUME", "resume_token": token}
        watched.stream = self._watch(watched, **fields)

    def _read(self, watched: Watched, messages: int) -> None:
        for _ in range(messages):
            try:
                self._check(watched, self.runner.run(watched.stream.told(0.3)))
            except Failure as failure:
                self._failed(watched, failure)
                return

    def _check(self, watched: Watched, told: Told | None) -> None:
        """Hold what was told against the model."""
        if told is None:
            assert watched.snapshot, "neither changes nor a mark"
            return
        revision, changes, token, snapshot = told
        shown, member = self.member.revision, self.member
        assert watched.revision <= revision <= shown, "a revision that is none, or back"
        assert snapshot == watched.snapshot
        if snapshot:
            assert changes == member.there(watched.selector, revision)
            watched.snapshot = False
        elif watched.position is None:
            assert not changes, "a watch begins with a mark"
        else:
            missed = member.expected(
                watched.selector, watched.position + 1, revision, watched.with_previous
            )
            assert missed == ([(revision, changes)] if changes else [])
        watched.position = max(watched.position or 0, revision)
        watched.revision, watched.token = revision, token

    def _failed(self, watched: Watched, failure: Failure) -> None:
        """A failure must be true; then the watch goes on, or ends."""
        if failure.reason == "WATCH_TOO_SLOW":
            self._go_on(watched, failure.metadata["resume_token"])
            return
        assert failure.reason == "COMPACTED", failure
        oldest = history.read_mark(self.member.bench.store).oldest
        position = watched.position
        first = int(failure.metadata["oldest_revision"])
        assert first <= oldest + 1
        # (A snapshot that has not come, or a beginning that nobody was told of, may be of
        # any revision.)
        assert position is None or watched.snapshot or position < first - 1
        self.watches.remove(watched)

    def teardown(self) -> None:
        """In the end everything is shown, and every watch tells all of it."""
        self._announce(self.member.bench.store)
        for watched in [*self.watches]:
            for _ in range(400):
                if watched not in self.watches or self._is_done(watched):
                    break
                self._read(watched, 1)
            else:
                raise AssertionError(f"{watched} never comes to its end")
            self.runner.run(watched.stream.end())
        self.runner.close()
        assert not self.member.state.views_open

    def _is_done(self, watched: Watched) -> bool:
        return watched.revision >= self.member.revision


WatchRules.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestWatchRules = WatchRules.TestCase
