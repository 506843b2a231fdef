"""What a changed key is about, who wants to hear of it, and what there is at a revision."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from raftstate.core import changes, keys
from raftstate.core.changes import Cursor, Filter, Move, Subject, snapshot, subject
from raftstate.core.hashing import HASH_BYTES
from raftstate.core.history import PastReader, RecordedStore
from raftstate.core.memory import MemoryStore
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.common_pb2 import Label, StepHead
from raftstate.v1.event_service_pb2 import Event, StreamInfo
from raftstate.v1.kv_service_pb2 import KeyValue
from raftstate.v1.lease_service_pb2 import Lease
from raftstate.v1.watch_service_pb2 import Change, Resource, ResourceType, Selector

AGENT, STREAM, EVENT, KEY, LEASE = (
    ResourceType.RESOURCE_TYPE_AGENT,
    ResourceType.RESOURCE_TYPE_STREAM,
    ResourceType.RESOURCE_TYPE_EVENT,
    ResourceType.RESOURCE_TYPE_KEY,
    ResourceType.RESOURCE_TYPE_LEASE,
)


class _Budget:
    """So many rows, and so many bytes."""

    def __init__(self, rows: int, size: int) -> None:
        self.rows, self.size = rows, size

    def spend(self, size: int) -> bool:
        self.rows -= 1
        self.size -= size
        return self.rows > 0 and self.size > 0


class History:
    """A store that is written a revision at a time."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self._recorded = RecordedStore(self.store, bytes(HASH_BYTES))

    def write(self, revision: int, *rows: tuple[bytes, Message | None]) -> None:
        """Put and delete at a revision."""
        self._recorded.begin(revision)
        for key, value in rows:
            if value is None:
                self._recorded.delete(key)
            else:
                self._recorded.put(key, value.SerializeToString(deterministic=True))
        self._recorded.end()

    def move(self, revision: int, key: bytes) -> Move:
        """What a revision did to a key."""
        about = subject(key)
        assert about is not None
        return Move(self.store, revision, key, about)

    def slices(self, wanted: Filter, revision: int, rows: int, size: int) -> list[list[Change]]:
        """The parts of a snapshot."""
        found, cursor = [], Cursor()
        while True:
            spend = _Budget(rows, size).spend
            part = snapshot(PastReader(self.store, revision), wanted, cursor, spend)
            found.append(part.changes)
            if part.next is None:
                return found
            cursor = part.next


@pytest.mark.parametrize(
    ("key", "about"),
    [
        (keys.agent("a/b"), (1, b"a/b", 0)),
        (keys.session("s"), (2, b"s", 0)),
        (keys.stream("a"), (3, b"a", 0)),
        (keys.event("a", 7), (4, b"a", 7)),
        (keys.checkpoint("a", 258), (5, b"a", 258)),
        (keys.key(b"\0k\0"), (6, b"\0k\0", 0)),
        (keys.lease(0xABC), (7, b"0000000000000abc", 0)),
        (keys.projection("p"), (8, b"p", 0)),
        (keys.group("g"), (9, b"g", 0)),
        (keys.validator("v"), (10, b"v", 0)),
        (keys.effect("a", 4), (11, b"a", 4)),
        (keys.saga("g"), (12, b"g", 0)),
        (keys.rollback("r"), (13, b"r", 0)),
        (keys.breaker("b"), (14, b"b", 0)),
        (keys.incident("i"), (15, b"i", 0)),
        (keys.tag("a", "t"), None),
        (keys.item("saga/g", 1), None),
        (keys.window("b"), None),
        (keys.COUNTERS, None),
    ],
)
def test_a_key_is_about_something_or_nothing(
    key: bytes, about: tuple[int, bytes, int] | None
) -> None:
    """
    Every type of resource has a table; the index of tags is no resource.
    """
    assert subject(key) == about


def test_every_table_with_history_is_a_resource_or_known_not_to_be() -> None:
    """
    A table that gets a history is told of, or is left out here on purpose.
    """
    told = {table.letter for table in changes._TABLES}
    untold = {
        keys.tag("", ""),
        keys.item("", 0),
        keys.undone_range("", 0),
        keys.left_behind("", 0),
    }
    assert (keys.HISTORIED | keys.TOLD) - told == {each[:1] for each in untold}


def test_what_comes_and_goes_at_one_revision_is_nothing() -> None:
    """
    And what changes is told with what it was.
    """
    past, name = History(), keys.key(b"k")
    past.write(1, (name, KeyValue(key=b"k", value=b"1")), (name, None))
    past.write(2, (name, KeyValue(key=b"k", value=b"2")))
    past.write(3, (name, KeyValue(key=b"k", value=b"3")))
    past.write(4, (name, None))
    assert past.move(1, name).nothing
    came, changed, gone = (past.move(revision, name).change(True) for revision in (2, 3, 4))
    assert (came.created, came.resource.key.value, came.HasField("previous")) == (
        True,
        b"2",
        False,
    )
    assert (changed.created, changed.resource.key.value) == (False, b"3")
    assert changed.previous.key.value == b"2"
    assert (gone.created, gone.HasField("resource")) == (False, False)
    assert gone.previous.key.value == b"3"
    assert not past.move(4, name).change(False).HasField("previous")


def test_an_event_whose_row_is_gone_is_told_all_the_same() -> None:
    """
    There is a change for each seq, though there is nothing to show of some any more.
    """
    past, place = History(), keys.event("a", 1)
    past.write(1, (place, Event(stream_id="a", seq=1, revision=1)))
    past.store.delete(place)
    move = past.move(1, place)
    assert not move.nothing
    assert move.change(True) == Change(type=EVENT, id=b"a", number=1, created=True)


def test_of_an_agents_truncated_stream_the_head_says_how_long_it_is() -> None:
    """
    At the revision that is told of, not at the newest.
    """
    past, place = History(), keys.stream("a")
    for revision, last in ((1, 5), (2, 6), (3, 9)):
        head = StepHead(event_seq=last, event_hash=b"h%d" % last)
        record = StreamInfo(stream_id="a", first_seq=revision, agent=True)
        past.write(revision, (keys.agent("a"), Agent(agent_id="a", head=head)), (place, record))
    told = past.move(2, place).change(True)
    assert (told.resource.stream.last_seq, told.resource.stream.last_hash) == (6, b"h6")
    assert (told.previous.stream.last_seq, told.previous.stream.first_seq) == (5, 1)
    [[shown]] = past.slices(Filter(Selector(types=[STREAM])), 2, 9, 9_999)
    assert shown.resource == told.resource


def test_labels_count_that_are_there_now_or_were_before() -> None:
    """
    All that are asked for, on one side; and only agents and checkpoints have any.
    """
    x, y = Label(name="x", value="1"), Label(name="y", value="1")
    past, place = History(), keys.agent("a")
    for revision, labels in ((1, [x]), (2, [x, y]), (3, [y]), (4, [y])):
        past.write(revision, (place, Agent(agent_id="a", labels=labels)))
    past.write(5, (place, None))
    wanted = Filter(Selector(labels=[y, x]))
    takes = [wanted.takes(past.move(revision, place)) for revision in range(1, 6)]
    assert takes == [False, True, True, False, False]
    assert Filter(Selector(labels=[y])).takes(past.move(5, place))
    assert not wanted.names(Subject(KEY, b"a", 0))


def test_labels_are_looked_up_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A thousand filters by label cost little more than one.
    """
    past, place = History(), keys.agent("a")
    for revision in (1, 2):
        labels = [Label(name="x", value=str(revision))]
        past.write(revision, (place, Agent(agent_id="a", labels=labels)))
    asked: list[Resource | None] = []
    plain = changes._labels

    def counted(resource: Resource | None) -> frozenset[tuple[str, str]]:
        asked.append(resource)
        return plain(resource)

    monkeypatch.setattr(changes, "_labels", counted)
    move = past.move(2, place)
    wanted = [Filter(Selector(labels=[Label(name="x", value=str(at))])) for at in range(50)]
    assert [at for at, one in enumerate(wanted) if one.takes(move)] == [1, 2]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("prefix", "exact", "found"),
    [
        (b"", False, [1, 0xAB, 0xABC, 0xFFFFFFFFFFFFFFFF]),
        (b"0000000000000a", False, [0xABC]),
        (b"00000000000000ab", True, [0xAB]),
        (b"f", False, [0xFFFFFFFFFFFFFFFF]),
        (b"g", False, []),
        (b"A", False, []),
        (b"0" * 17, False, []),
    ],
)
def test_leases_are_selected_by_their_digits(
    prefix: bytes, exact: bool, found: list[int]
) -> None:
    """
    Sixteen of them, in small letters.
    """
    past = History()
    for number in (1, 0xAB, 0xABC, 0xFFFFFFFFFFFFFFFF):
        past.write(number & 0xFFFF, (keys.lease(number), Lease(lease_id=number)))
    wanted = Filter(Selector(types=[LEASE], prefix=prefix, exact=exact))
    slices = past.slices(wanted, 1 << 20, 2, 9_999)
    assert [one.resource.lease.lease_id for part in slices for one in part] == found


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_a_snapshot_is_the_same_in_slices_of_any_size(rows: int) -> None:
    """
    What has come, changed or gone since is shown as it was; what was truncated then, and
    events that came later, are not; and slices are bounded by what they look at.
    """
    past = History()
    for number in range(1, 9):
        name = b"k%d" % number
        past.write(number, (keys.key(name), KeyValue(key=name, value=b"old")))
    rest = [(keys.event("s", seq), Event(stream_id="s", seq=seq, revision=9)) for seq in (1, 2)]
    past.write(9, (keys.stream("s"), StreamInfo(stream_id="s", first_seq=2, last_seq=2)), *rest)
    past.write(10, *((keys.key(b"k%d" % number), None) for number in (1, 8)))
    past.write(11, (keys.key(b"k2"), KeyValue(key=b"k2", value=b"new")))
    past.write(12, *((keys.key(b"later%d" % at), KeyValue()) for at in range(30)))
    past.write(13, (keys.event("s", 3), Event(stream_id="s", seq=3, revision=13)))
    slices = past.slices(Filter(Selector()), 9, rows, 9_999)
    found = [change for part in slices for change in part]
    assert [(one.type, one.id, one.number) for one in found] == [
        (STREAM, b"s", 0),
        (EVENT, b"s", 2),
        *((KEY, b"k%d" % number, 0) for number in range(1, 9)),
    ]
    assert {one.resource.key.value for one in found if one.type == KEY} == {b"old"}
    assert max(len(part) for part in slices) <= rows
    assert len(slices) >= 42 // rows


def test_a_slice_ends_when_it_is_large() -> None:
    """
    One that is larger than all of a slice may be comes alone.
    """
    past = History()
    for number in range(1, 5):
        name = b"k%d" % number
        past.write(number, (keys.key(name), KeyValue(key=name, value=b"v" * 1_000)))
    assert [len(part) for part in past.slices(Filter(Selector()), 4, 99, 1_500)] == [2, 2, 0]
    assert [len(part) for part in past.slices(Filter(Selector()), 4, 99, 10)] == [1, 1, 1, 1, 0]


def test_selectors_that_name_the_same_have_the_same_canonical_form() -> None:
    """
    And others have others.
    """
    x, y = Label(name="x"), Label(name="y")
    same = [
        Selector(types=[AGENT, KEY], labels=[x, y]),
        Selector(types=[KEY, AGENT, AGENT], labels=[y, x]),
        Selector(types=[AGENT], labels=[x, y]),
    ]
    others = [
        Selector(),
        Selector(types=[KEY]),
        Selector(prefix=b"a"),
        Selector(prefix=b"a", exact=True),
        Selector(labels=[x]),
        Selector(types=[AGENT], labels=[x]),
    ]
    assert len({Filter(one).canonical() for one in same}) == 1
    assert len({Filter(one).canonical() for one in (*others, same[0])}) == 7
