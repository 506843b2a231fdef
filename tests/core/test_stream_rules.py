"""Streams and projections against the dumb model, on whatever Hypothesis thinks of.

After every command all of it is read back: each stream both ways, the order of all
events both ways and under prefixes, and the chain, which is computed by the SDK's own
code. Any revision that is not forgotten can be looked at again.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raftstate.client.audit import event_hash
from raftstate.core import stream_queries
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    AppendEventsResponse,
    DeleteProjectionRequest,
    Event,
    NewEvent,
    SaveProjectionRequest,
    StreamAppend,
    StreamInfo,
    TruncateBeforeRequest,
)
from raftstate.v1.kv_service_pb2 import CompactRequest
from raftstate.v1.store_pb2 import Command, Outcome, Sweep
from tests.core.bench import EPOCH, Bench, reason, replayed
from tests.core.stream_model import ModelStream, Span, Stored, StreamModel

SESSIONS = st.sampled_from(["s1", "s1", "s2"])
AGENTS = ["a", "a/b"]
STREAMS = [*AGENTS, "a.f", "f", "f/1"]
NAMED = st.sampled_from([""] * 4 + [f"n{number}" for number in range(8)])
EVENTS = st.lists(
    st.builds(
        NewEvent,
        type=st.sampled_from(["t", "u"]),
        data=st.binary(max_size=2),
        event_id=NAMED,
    ),
    min_size=1,
    max_size=3,
)
EXPECTED = st.sampled_from(["ANY"] * 4 + ["EXACT"] * 4 + ["NONE", "EXISTS", "OFF"])
OFF = st.sampled_from([0] * 8 + [1, -1])
RARELY = st.sampled_from([False] * 4 + [True])
PROJECTIONS = st.sampled_from(["p", "p/q"])
PREFIXES = ["", "a", "a/", "f", "nobody"]
MANY = 1 << 40


class StreamRules(RuleBasedStateMachine):
    """One machine, one model, and clients that do anything they like."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.model = StreamModel()
        self.sent: list[list[StreamAppend]] = []

    def apply(self, command: Command) -> Outcome:
        """Apply a command; the model has not heard of it yet."""
        self.model.revision += 1
        return self.bench.one(command)

    @initialize()
    def begin(self) -> None:
        """Two sessions, and agents that one of them owns."""
        for session in ("s1", "s2"):
            self.bench.open(session)
        self.model.revision = 2
        for agent in AGENTS:
            self.take(agent, "s1")

    @rule(agent=st.sampled_from(AGENTS), session=SESSIONS, really=RARELY)
    def take_over(self, agent: str, session: str, really: bool) -> None:
        if really:
            self.take(agent, session)

    def take(self, agent: str, session: str) -> None:
        """A session owns an agent from now on."""
        self.apply(self.bench.acquire(session, agent, "FORCE"))
        stream = self.model.streams.setdefault(agent, ModelStream(agent=True))
        stream.owner, stream.fence = session, self.model.revision
        self.model.note()

    # --- appending -----------------------------------------------------------

    @rule(data=st.data(), session=SESSIONS, names=st.sets(st.sampled_from(STREAMS), min_size=1))
    def append(self, data: st.DataObject, session: str, names: set[str]) -> None:
        """To one stream or several, perhaps under a wrong fence or expectation."""
        appends = []
        for name in sorted(names)[:3]:
            append = StreamAppend(stream_id=name, events=data.draw(EVENTS))
            self.expect(append, data.draw(EXPECTED))
            if name in AGENTS:
                off = data.draw(OFF)
                revision = self.model.streams[name].fence + off
                append.fence.CopyFrom(FencingToken(epoch=EPOCH, revision=revision))
                session = self.model.streams[name].owner if off == 0 else session
            appends.append(append)
        self.send(session, appends)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), session=SESSIONS, cut=st.sampled_from([0, 0, 0, 1]))
    def resend(self, data: st.DataObject, session: str, cut: int) -> None:
        """The same events as before, or all but the first one."""
        appends = []
        named = [each for each in self.sent if each[0].events[0].event_id]
        for one in data.draw(st.sampled_from(named or self.sent)):
            append = StreamAppend()
            append.CopyFrom(one)
            del append.events[: min(cut, len(append.events) - 1)]
            appends.append(append)
        self.send(session, appends)

    @rule(session=SESSIONS, name=st.sampled_from(STREAMS), events=EVENTS)
    def confuse(self, session: str, name: str, events: list[NewEvent]) -> None:
        """A fence where there is none, or none where one is needed."""
        append = StreamAppend(stream_id=name, events=events)
        if name not in AGENTS:
            append.fence.CopyFrom(FencingToken(epoch=EPOCH, revision=1))
        self.send(session, [append])

    @rule(name=st.sampled_from(STREAMS), events=EVENTS, named=st.booleans())
    def write(self, name: str, events: list[NewEvent], named: bool) -> None:
        """As a writer does that knows its stream, and perhaps names its events."""
        for at, event in enumerate(events):
            event.event_id = f"w{self.model.revision}.{at}" if named else ""
        append = StreamAppend(stream_id=name, events=events)
        self.expect(append, "EXACT")
        session = "s1"
        if name in AGENTS:
            stream = self.model.streams[name]
            append.fence.CopyFrom(FencingToken(epoch=EPOCH, revision=stream.fence))
            session = stream.owner
        self.send(session, [append])

    def expect(self, append: StreamAppend, expected: str) -> None:
        last = self.model.streams.get(append.stream_id, ModelStream()).last
        if expected in ("EXACT", "OFF"):
            append.expected_seq = last if expected == "EXACT" else last + 1
            expected = "EXACT"
        append.expected = f"EXPECTED_{expected}"  # type: ignore[assignment]

    def send(self, session: str, appends: list[StreamAppend]) -> None:
        request = AppendEventsRequest(
            request_id=self.bench.request_id(session), appends=appends
        )
        outcome = self.apply(Command(append_events=request))
        said = self.model.append(session, appends)
        if isinstance(said, str):
            assert reason(outcome) == said
        else:
            self.sent.append(appends)
            assert span(outcome.append_events) == said
        self.model.note()

    @rule(
        session=SESSIONS,
        agent=st.sampled_from(AGENTS),
        off=OFF,
        events=EVENTS | st.just([]),
        saved=st.booleans(),
    )
    def step(
        self, session: str, agent: str, off: int, events: list[NewEvent], saved: bool
    ) -> None:
        """A step, perhaps with a checkpoint that stands for all before it."""
        stream = self.model.streams[agent]
        session = stream.owner if off == 0 else session
        fence = FencingToken(epoch=EPOCH, revision=stream.fence + off)
        checkpoint = NewCheckpoint(data=b"c") if saved else None
        command = self.bench.step(session, agent, fence, *events, checkpoint=checkpoint)
        outcome = self.apply(command)
        refusal = self.model.commit(session, agent, fence.revision, events)
        assert reason(outcome) == refusal
        if saved and not refusal:
            stream.checkpoints.append(stream.last)
        self.model.note()

    # --- projections and truncation ------------------------------------------

    @rule(name=PROJECTIONS, back=st.integers(-1, 4), expect=st.sampled_from([None, 0, 0, 1]))
    def save(self, name: str, back: int, expect: int | None) -> None:
        position = max(self.model.positions - back, 0)
        request = SaveProjectionRequest(
            request_id=self.bench.request_id("s1"), name=name, position=position
        )
        if expect is not None:
            request.expected_position = self.model.projections.get(name, 0) + expect
        outcome = self.apply(Command(save_projection=request))
        expected = None if expect is None else request.expected_position
        assert reason(outcome) == self.model.save(name, position, expected)
        self.model.note()

    @rule(name=PROJECTIONS, really=RARELY)
    def forget(self, name: str, really: bool) -> None:
        if not really:
            return
        request = DeleteProjectionRequest(request_id=self.bench.request_id("s1"), name=name)
        outcome = self.apply(Command(delete_projection=request))
        assert reason(outcome) == self.model.forget(name)
        self.model.note()

    @rule(
        name=st.sampled_from(STREAMS),
        before=st.integers(1, 12),
        by=st.sampled_from(["p", "p/q", 1, 2, 3]),
        really=RARELY,
    )
    def truncate_any(self, name: str, before: int, by: str | int, really: bool) -> None:
        if really:
            self.truncate(name, before, by)

    @precondition(lambda self: any(self.model.covered(name) for name in STREAMS))
    @rule(data=st.data(), off=st.sampled_from([0, 0, -1, -2, 1]))
    def truncate_well(self, data: st.DataObject, off: int) -> None:
        """Up to what something stands for, or one event too many."""
        names = [name for name in STREAMS if self.model.covered(name)]
        name = data.draw(st.sampled_from(names))
        covered, by = self.model.covered(name)[-1]
        self.truncate(name, max(covered + 1 + off, 1), by)

    def truncate(self, name: str, before: int, by: str | int) -> None:
        checkpoint, projection = (by, "") if isinstance(by, int) else (0, by)
        request = TruncateBeforeRequest(
            request_id=self.bench.request_id("s1"),
            stream_id=name,
            before_seq=before,
            checkpoint_id=checkpoint,
            projection=projection,
        )
        outcome = self.apply(Command(truncate_before=request))
        said = self.model.truncate(name, before, checkpoint, projection)
        if isinstance(said, str):
            assert reason(outcome) == said
        else:
            assert outcome.truncate_before.first_seq == said
        self.model.note()

    @rule(rows=st.integers(1, 6))
    def sweep(self, rows: int) -> None:
        self.apply(Command(sweep=Sweep(rows=rows)))
        self.model.note()

    @rule(back=st.integers(0, 20), really=RARELY)
    def compact(self, back: int, really: bool) -> None:
        if not really:
            return
        revision = max(self.model.revision - back, 1)
        request = CompactRequest(request_id=self.bench.request_id("s1"), revision=revision)
        outcome = self.apply(Command(compact=request))
        assert reason(outcome) == ("" if revision > self.model.oldest else "COMPACTED")
        self.model.oldest = max(self.model.oldest, revision)
        self.model.note()

    # --- the laws ------------------------------------------------------------

    @invariant()
    def every_stream_is_what_was_appended(self) -> None:
        check_streams(self.bench.store, self.model.streams, self.model.streams)
        check_order(self.bench.store, self.model.streams, self.model.streams)

    @invariant()
    def nothing_has_a_gap(self) -> None:
        for stream in self.model.streams.values():
            assert [event.seq for event in stream.events] == [*range(1, stream.last + 1)]
        stored = [event for stream in self.model.streams.values() for event in stream.events]
        positions = sorted(event.position for event in stored)
        assert positions == [*range(1, self.model.positions + 1)]
        assert stream_queries.last_position(self.bench.store) == self.model.positions

    @precondition(lambda self: any(r >= self.model.oldest for r in self.model.past))
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        """What there was at a revision, but for what was truncated since."""
        kept = [each for each in self.model.past if each >= self.model.oldest]
        revision = data.draw(st.sampled_from(kept))
        streams, projections, positions = self.model.past[revision]
        past = PastReader(self.bench.store, revision)
        check_streams(past, streams, self.model.streams)
        check_order(past, streams, self.model.streams)
        assert stream_queries.last_position(past) <= positions
        found = stream_queries.list_projections(past, "", 9)
        assert {each.name: each.position for each in found} == projections

    @invariant()
    def projections_are_where_they_were_saved(self) -> None:
        found = stream_queries.list_projections(self.bench.store, "", 9)
        assert {each.name: each.position for each in found} == self.model.projections
        assert [each.name for each in found] == sorted(self.model.projections)

    @invariant()
    def the_kept_hash_is_the_hash(self) -> None:
        assert self.bench.machine.state_hash == full_hash(self.bench.store)

    def teardown(self) -> None:
        """When all is swept, no row is left of what was truncated, and every replica
        holds the same."""
        self.bench.one(Command(sweep=Sweep(rows=1_000)))
        kept = [
            event
            for stream in self.model.streams.values()
            for event in stream.events[stream.first - 1 :]
        ]
        rows = [key[:1] for key, _ in self.bench.store.items()]
        assert rows.count(b"e") == rows.count(b"g") == len(kept)
        assert rows.count(b"i") == len([event for event in kept if event.name])
        assert replayed(self.bench.log, times=2) == self.bench.store


def span(response: AppendEventsResponse) -> Span:
    spans = [(one.first_seq, one.last_seq) for one in response.appended]
    return Span(response.duplicate, spans, response.first_position)


def stored(event: Event) -> Stored:
    where = (event.stream_id, event.seq, event.position, event.revision, event.step)
    return Stored(*where, event.type, event.data, event.event_id)


def readable(stream: ModelStream, now: ModelStream) -> list[Stored]:
    """What can be read of what a stream was: what is not truncated now."""
    return [event for event in stream.events if event.seq >= now.first]


def check_streams(
    reader: Reader, streams: dict[str, ModelStream], now: dict[str, ModelStream]
) -> None:
    """Each stream, both ways, is what the model says, and so is the list of them."""
    wanted = {name: stream for name, stream in streams.items() if stream.events}
    listed: list[StreamInfo] = []
    after: str | None = ""
    while after is not None:
        page = stream_queries.list_streams(reader, "", after, 2)
        listed, after = listed + page.streams, page.after
    assert [info.stream_id for info in listed] == sorted(wanted)
    for info in listed:
        stream = wanted[info.stream_id]
        assert stream_queries.get_stream(reader, info.stream_id) == info
        assert (info.first_seq, info.last_seq) == (stream.first, stream.last)
        assert info.agent == stream.agent
        events = stream_queries.read_events(reader, info.stream_id, 0, MANY, MANY)
        assert list(map(stored, events)) == readable(stream, now[info.stream_id])
        back = stream_queries.read_events(reader, info.stream_id, 0, MANY, MANY, backwards=True)
        assert back[::-1] == events
        check_chain(reader, info, events, now[info.stream_id].first)


def check_chain(reader: Reader, info: StreamInfo, events: list[Event], first: int) -> None:
    """The chain goes from what was truncated to the head."""
    if info.first_seq == first:
        previous = info.base_hash
        for event in events:
            previous = event_hash(previous, event)
            assert event.hash == previous
        assert previous == info.last_hash
    seq = first
    while seq:
        found = stream_queries.verify(reader, info.stream_id, seq, 2, MANY)
        assert not found.broken_seq
        seq = found.next_seq


def check_order(
    reader: Reader, streams: dict[str, ModelStream], now: dict[str, ModelStream]
) -> None:
    """The order of all events, both ways, in small slices, under any prefix."""
    for prefix in PREFIXES:
        wanted = [
            event
            for name, stream in streams.items()
            if name.startswith(prefix)
            for event in readable(stream, now[name])
        ]
        wanted.sort(key=lambda event: event.position)
        assert list(map(stored, everything(reader, prefix, backwards=False))) == wanted
        assert list(map(stored, everything(reader, prefix, backwards=True))) == wanted[::-1]


def everything(reader: Reader, prefix: str, *, backwards: bool) -> list[Event]:
    end = stream_queries.last_position(reader)
    found: list[Event] = []
    position, slices = (end if backwards else 1), 0
    while 0 < position <= end:
        events, position = stream_queries.read_all(
            reader, position, 2, MANY, prefix=prefix, backwards=backwards, last=end, rows_max=3
        )
        found += events
        slices += 1
        assert slices <= end, "a slice does not get on"
    return found


TestStreamRules = StreamRules.TestCase
TestStreamRules.settings = settings(
    max_examples=max(settings().max_examples // 2, 20), stateful_step_count=40
)
