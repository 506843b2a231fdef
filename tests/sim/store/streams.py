"""Clients of streams: authors who append, and projectors who follow all of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from jepsen_like.checkers.history import Outcome as Ending
from raftstate.core import keys, stream_queries
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    Event,
    Expected,
    NewEvent,
    SaveProjectionRequest,
    StreamAppend,
    StreamInfo,
    TruncateBeforeRequest,
)
from raftstate.v1.kv_service_pb2 import (
    KeyValue,
    TxnBody,
    TxnOp,
    TxnPut,
    TxnRequest,
    TxnSaveProjection,
)
from raftstate.v1.store_pb2 import Command, Outcome, Reason
from tests.sim import invariants
from tests.sim.node import Sight
from tests.sim.store import judging
from tests.sim.store.client import StoreClient
from tests.sim.tasks import Script, Wait

STREAMS = 3
PROJECTIONS = 2
NUMBER_MAX = (1 << 63) - 1


def stream_name(number: int) -> str:
    """A free stream."""
    return f"stream/{number}"


def projection_name(number: int) -> str:
    """A projection, and the key that goes with it."""
    return f"projection/{number}"


@dataclass(slots=True)
class Part:
    """What one append adds to one stream."""

    stream_id: str
    expected: int
    seq: int
    events: list[NewEvent]
    asked: int = 0  # the operation on the register that is the stream's length

    @property
    def request(self) -> StreamAppend:
        """As it is sent."""
        exact = self.expected == Expected.EXPECTED_EXACT
        return StreamAppend(
            stream_id=self.stream_id,
            expected=Expected.Name(self.expected),
            expected_seq=self.seq if exact else 0,
            events=self.events,
        )


class Author(StoreClient):
    """Somebody who appends to free streams, sometimes twice, and truncates them."""

    kind = "author"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.lengths: dict[str, int] = {}  # as last heard

    def act(self) -> Script:
        """Append, or look, or truncate."""
        draw = self.rng.random()
        if draw < 0.7:
            yield from self.append()
        elif draw < 0.9:
            yield from self.read(stream_name(self.rng.randrange(STREAMS)))
        else:
            yield from self.truncate()

    def draw(self, stream_id: str) -> Part:
        """What to append to one stream, and what is expected of it."""
        ways = [Expected.EXPECTED_ANY, Expected.EXPECTED_EXACT, Expected.EXPECTED_EXACT]
        seq = self.lengths.get(stream_id, 0)
        expected = self.rng.choice(ways)
        if self.rng.random() < 0.05:
            expected = self.rng.choice([Expected.EXPECTED_NONE, Expected.EXPECTED_EXISTS])
        events = [
            NewEvent(type="wrote", data=self.unique())
            for _ in range(self.rng.choice((1, 1, 2, 3)))
        ]
        return Part(stream_id, expected, seq, events)

    def append(self) -> Script:
        """Append to one stream, or two at once; under ids sometimes, and then perhaps
        again."""
        names = [stream_name(number) for number in range(STREAMS)]
        parts = [self.draw(name) for name in self.rng.sample(names, self.rng.choice((1, 1, 2)))]
        named = self.rng.random() < 0.6
        if named:
            for event in (event for part in parts for event in part.events):
                event.event_id = event.data.decode()
        for part in parts:
            part.asked = self.ask_length(part)
        outcome, definite = yield from self.do(self.command(parts))
        again = named and self.rng.random() < 0.4 and not self.session_over
        if again and (outcome is None or outcome.HasField("append_events")):
            outcome, definite = yield from self.append_again(parts, outcome, definite)
        self.tell(parts, outcome, definite)

    def append_again(
        self, parts: list[Part], first: Outcome | None, definite: bool
    ) -> Generator[Wait, None, tuple[Outcome | None, bool]]:
        """The same under another request id, as by a client that has forgotten the first:
        what is known of both."""
        again, sure = yield from self.do(self.command(parts))
        if first is None:
            return again, definite and sure
        if again is not None and self.still_there(parts):
            self.common.counts["duplicates"] += 1
            judging.duplicate_is_answered_alike(first, again)
        return first, definite

    def still_there(self, parts: list[Part]) -> bool:
        """Whether no event of an append was truncated: then its ids are forgotten."""
        store = self.common.chronicle.witness.below
        infos = [stream_queries.get_stream(store, part.stream_id) for part in parts]
        return all(info is not None and info.first_seq == 1 for info in infos)

    def command(self, parts: list[Part]) -> Command:
        """An append, as it is sent."""
        return Command(
            append_events=AppendEventsRequest(appends=[part.request for part in parts])
        )

    def ask_length(self, part: Part) -> int:
        """Note that an append begins: it moves the register that counts a stream."""
        key, count = f"{invariants.HEAD}{part.stream_id}", len(part.events)
        who = f"{self.name}/{part.stream_id}"
        now, seq = self.place.now, part.seq
        if part.expected == Expected.EXPECTED_EXACT:
            return self.fleet.history.invoke(who, "cas", key, (seq, seq + count), now)
        return self.fleet.history.invoke(who, "add", key, count, now)

    def tell(self, parts: list[Part], outcome: Outcome | None, definite: bool) -> None:
        """Note how an append ended."""
        if outcome is not None and outcome.HasField("append_events"):
            for part, said in zip(parts, outcome.append_events.appended, strict=True):
                self.lengths[part.stream_id] = said.last_seq
                for seq, event in enumerate(part.events, start=said.first_seq):
                    self.common.appended[event.data] = (part.stream_id, seq)
                exact = part.expected == Expected.EXPECTED_EXACT
                self.ended(part, "ok", True if exact else said.last_seq)
            self.common.counts["appends"] += 1
            return
        sure = definite or outcome is not None
        if sure:
            self.common.refused |= {event.data for part in parts for event in part.events}
        conflict = outcome is not None and outcome.refusal.reason == Reason.REASON_CONFLICT
        alone = len(parts) == 1 and parts[0].expected == Expected.EXPECTED_EXACT
        for part in parts:
            if conflict and outcome is not None and alone:
                self.ended(part, "ok", False)
            else:
                self.ended(part, "fail" if sure else "info")
        if conflict and outcome is not None:
            self.lengths[outcome.refusal.subject] = outcome.refusal.current_seq

    def ended(self, part: Part, ending: Ending, result: object = None) -> None:
        """Note how an operation on a stream's length ended."""
        self.fleet.history.complete(part.asked, ending, self.place.now, result)

    def read(self, stream_id: str) -> Script:
        """Read a stream from one end or the other, as it is or was."""
        backwards = self.rng.random() < 0.4

        def look(reader: Reader) -> tuple[StreamInfo | None, list[Event], bool]:
            info = stream_queries.get_stream(reader, stream_id)
            found = stream_queries.read_events(
                reader, stream_id, 0, NUMBER_MAX, NUMBER_MAX, backwards=backwards
            )
            return info, found, isinstance(reader, PastReader)

        way = self.rng.randrange(3)
        sight = yield from (self.look, self.glance, self.look_at)[way](look)
        if sight is None:
            return
        info, found, past = sight.value
        if info is not None:
            seqs = [event.seq for event in (reversed(found) if backwards else found)]
            last = info.last_seq
            first = seqs[0] if past and seqs else info.first_seq
            whole = list(range(first, last + 1))
            where = f"{stream_id} at {sight.revision}"
            judging.stream_is_whole(where, seqs, whole, cut=past)
            self.lengths[stream_id] = max(last, self.lengths.get(stream_id, 0))

    def truncate(self) -> Script:
        """Give up what the slower of the projections has passed."""
        stream_id = stream_name(self.rng.randrange(STREAMS))
        name = projection_name(self.rng.randrange(PROJECTIONS))

        def look(reader: Reader) -> int:
            """The first event that no projection has passed."""
            places = [
                found.position if (found := stream_queries.get_projection(reader, each)) else 0
                for each in map(projection_name, range(PROJECTIONS))
            ]
            events = stream_queries.read_events(reader, stream_id, 0, NUMBER_MAX, NUMBER_MAX)
            return next((each.seq for each in events if each.position > min(places)), 0)

        sight = yield from self.look(look)
        if sight is None or not sight.value:
            return
        before = sight.value + self.rng.choice((0, 0, 0, 1, 3))  # perhaps not passed yet
        request = TruncateBeforeRequest(stream_id=stream_id, before_seq=before, projection=name)
        outcome, _ = yield from self.do(Command(truncate_before=request))
        if outcome is not None and outcome.HasField("truncate_before"):
            self.common.counts["truncations"] += 1


class Projector(StoreClient):
    """Somebody who follows all streams under one of few names, so that two may be at it at
    once. What is saved with a key is saved in one transaction."""

    kind = "projector"

    def act(self) -> Script:
        """Read on from where the projection is, and save how far that was."""
        number = self.rng.randrange(PROJECTIONS)
        name = projection_name(number)
        sight = yield from self.look(lambda reader: stream_queries.get_projection(reader, name))
        if sight is None:
            return
        position = sight.value.position if sight.value is not None else 0
        slice_ = yield from self.read_on(position)
        if slice_ is None or slice_.value == position:
            return
        if number == 0:
            yield from self.save_with_a_key(name, position, slice_.value)
        else:
            request = SaveProjectionRequest(
                name=name, position=slice_.value, expected_position=position
            )
            yield from self.do(Command(save_projection=request))
        if self.rng.random() < 0.5:
            yield from self.compare(projection_name(0))

    def read_on(self, position: int) -> Generator[Wait, None, Sight | None]:
        """Read some events behind a position at any member: the position of the last."""
        limit = self.rng.choice((1, 5, 30))

        def look(reader: Reader) -> tuple[list[int], int, int]:
            found = stream_queries.read_all(reader, position + 1, limit, NUMBER_MAX)
            last = min(found.next_position - 1, stream_queries.last_position(reader))
            shown = [event.position for event in found.events]
            return shown, max(last, position), position

        sight = yield from self.glance(look)
        if sight is None:
            return None
        shown, last, position = sight.value
        self.judge(range(position + 1, last + 1), shown)
        self.common.counts["projected"] += len(shown)
        return Sight(last, sight.revision)

    def judge(self, wanted: range, shown: list[int]) -> None:
        """Every position was shown, but those truncated."""
        chronicle = self.common.chronicle
        gone = []
        for place in wanted:
            event = chronicle.places[place]
            oldest = stream_queries.oldest_seq(chronicle.witness.below, event.stream_id)
            if event.seq < oldest:
                gone.append(place)
        judging.nothing_is_passed_over(self.name, wanted, shown, gone)

    def save_with_a_key(self, name: str, position: int, last: int) -> Script:
        """Save a position, and a key that says the same."""
        ops = [
            TxnOp(
                save_projection=TxnSaveProjection(
                    name=name, position=last, expected_position=position
                )
            ),
            TxnOp(put=TxnPut(key=name.encode(), value=str(last).encode())),
        ]
        yield from self.do(Command(txn=TxnRequest(txn=TxnBody(success=ops))))

    def compare(self, name: str) -> Script:
        """The projection and its key, at one revision or another."""

        def look(reader: Reader) -> tuple[int, int]:
            saved = stream_queries.get_projection(reader, name)
            noted = reader.get(keys.key(name.encode()))
            kv = KeyValue.FromString(noted) if noted is not None else KeyValue(value=b"0")
            return saved.position if saved is not None else 0, int(kv.value)

        way = self.rng.randrange(3)
        sight = yield from (self.look, self.glance, self.look_at)[way](look)
        if sight is not None:
            where = f"{name} at {sight.revision}"
            judging.projection_moves_with_its_key(where, *sight.value)
