"""Reads: pages, bounds, and ids that name nothing."""

from __future__ import annotations

import pytest

from raftstate.core import checkpoint_queries, limits, queries, stream_queries
from raftstate.core.memory import MemoryStore
from raftstate.core.types import Position
from raftstate.v1.agent_service_pb2 import FenceQuery
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken
from tests.core.bench import Bench, event

MANY = 1 << 40
# Ids that sort around each other: "/" and "." come before digits and letters.
NAMES = ["a", "a-", "a.b", "a/b", "a/b/c", "a0", "aa", "b"]


@pytest.fixture
def bench() -> Bench:
    """Some agents, made in another order than their ids'."""
    made = Bench()
    made.open("s")
    for name in reversed(NAMES):
        made.one(made.create("s", name))
    return made


@pytest.mark.parametrize(
    ("prefix", "want"),
    [
        ("", NAMES),
        ("a", NAMES[:-1]),
        ("a/", ["a/b", "a/b/c"]),
        ("b", ["b"]),
        ("c", []),
        ("é", []),
        ("a" * 1_000, []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_agents_come_in_pages(bench: Bench, prefix: str, want: list[str], size: int) -> None:
    """
    Page after page gives each agent under the prefix once, in order of id.
    """
    got: list[str] = []
    while page := queries.list_agents(bench.store, prefix, got[-1] if got else "", size):
        assert len(page) <= size
        got += [agent.agent_id for agent in page]

    assert got == want


def test_a_page_may_begin_behind_anything(bench: Bench) -> None:
    """
    A token that names no agent, or could not, still says where to go on.
    """
    after = [
        ("a/a", "a/b"),
        ("a/b" + "z" * 900, "a0"),
        ("a/b" + "-" * 900, "a/b/c"),
        ("\0", "a"),
        ("é", None),
    ]
    for token, want in after:
        page = queries.list_agents(bench.store, "", token, 1)
        assert [agent.agent_id for agent in page] == ([want] if want else [])


def test_sessions_come_in_pages() -> None:
    """
    As agents do.
    """
    bench, names = Bench(), ["a", "a-", "a0", "b"]
    for name in reversed(names):
        bench.open(name)

    first = queries.list_sessions(bench.store, "", 3)
    rest = queries.list_sessions(bench.store, first[-1].session_id, 3)

    assert [each.session_id for each in first + rest] == names
    assert [each.session.session_id for each in queries.sessions_all(bench.store)] == names


def written(bench: Bench, agent: str, *sizes: int, saved: bytes | None = None) -> None:
    """Commit one step of events of these sizes."""
    fence = bench.granted(bench.acquire("s", agent))
    events = [event("e", bytes(size)) for size in sizes]
    checkpoint = None if saved is None else NewCheckpoint(data=saved)
    bench.one(bench.step("s", agent, fence, *events, checkpoint=checkpoint))


def seqs(bench: Bench, agent: str, first: int, limit: int, bytes_max: int) -> list[int]:
    found = stream_queries.read_events(bench.store, agent, first, limit, bytes_max)
    return [each.seq for each in found]


def test_events_are_bounded_by_count_and_bytes(bench: Bench) -> None:
    """
    At most so many, and no more than fit, but always one: a reader gets on.
    """
    written(bench, "a", *[1_000] * 5)

    assert seqs(bench, "a", 1, MANY, MANY) == [1, 2, 3, 4, 5]
    assert seqs(bench, "a", 0, MANY, MANY) == [1, 2, 3, 4, 5]
    assert seqs(bench, "a", 4, MANY, MANY) == [4, 5]
    assert seqs(bench, "a", 6, MANY, MANY) == []
    assert seqs(bench, "a", 2, 2, MANY) == [2, 3]
    assert seqs(bench, "a", 1, 0, MANY) == []
    assert seqs(bench, "a", 1, MANY, 2_500) == [1, 2]
    assert seqs(bench, "a", 1, MANY, 1) == [1]
    assert seqs(bench, "a", (1 << 64) - 1, MANY, MANY) == []


def test_streams_do_not_mix(bench: Bench) -> None:
    """
    Neither does a stream run on into the next, nor a checkpoint list.
    """
    for name in ("a/b", "a", "a0"):
        written(bench, name, 1, saved=name.encode())

    for name in ("a", "a/b", "a0"):
        events = stream_queries.read_events(bench.store, name, 1, MANY, MANY)
        assert [each.stream_id for each in events] == [name]
        found = checkpoint_queries.list_checkpoints(bench.store, name, 0, MANY).checkpoints
        assert [each.agent_id for each in found] == [name]
        assert stream_queries.get_stream(bench.store, name) is not None
    assert stream_queries.get_stream(bench.store, "b") is None
    order = stream_queries.read_all(bench.store, 0, MANY, MANY).events
    assert [each.stream_id for each in order] == ["a/b", "a", "a0"]
    second = stream_queries.read_all(bench.store, 2, 1, MANY)
    first = stream_queries.read_all(bench.store, 1, MANY, 1)
    assert ([each.position for each in second.events], second.next_position) == ([2], 3)
    assert ([each.position for each in first.events], first.next_position) == ([1], 2)


def test_checkpoints_are_listed_newest_first(bench: Bench) -> None:
    """
    In pages, without data; one at a time with it.
    """
    for number in range(1, 6):
        written(bench, "a", saved=bytes([number]) * number)

    first, after = checkpoint_queries.list_checkpoints(bench.store, "a", 0, 2)
    rest, end = checkpoint_queries.list_checkpoints(bench.store, "a", after, 9)
    newest = checkpoint_queries.get_checkpoint(bench.store, "a")
    third = checkpoint_queries.get_checkpoint(bench.store, "a", 3)

    assert [each.checkpoint_id for each in first + rest] == [5, 4, 3, 2, 1]
    assert (after, end) == (4, 0)
    assert not any(each.data for each in first + rest)
    assert newest is not None and third is not None
    assert (newest.checkpoint_id, newest.data) == (5, b"")
    assert checkpoint_queries.read_data(bench.store, newest) == b"\x05" * 5
    assert (third.checkpoint_id, third.data, third.size_bytes) == (3, b"", 3)
    assert checkpoint_queries.get_checkpoint(bench.store, "a", 6) is None
    assert checkpoint_queries.get_checkpoint(bench.store, "b") is None


def test_a_bundle_holds_what_came_after_the_checkpoint(bench: Bench) -> None:
    """
    The newest checkpoint with its data, and the events behind it, all of them.
    """
    written(bench, "a", 1, 1, saved=b"old")
    written(bench, "a", 1, saved=b"new")
    written(bench, "a", 1, 1)

    bundle = queries.takeover_bundle(bench.store, "a")

    assert bundle is not None
    assert bundle.agent == bench.agent("a")
    assert bundle.checkpoint.data == b"new"
    assert [each.seq for each in bundle.events] == [4, 5]
    assert not bundle.more_events


def test_a_bundle_without_checkpoint_begins_at_the_beginning(bench: Bench) -> None:
    """
    And an agent that did nothing has an empty one; one that is not, none.
    """
    written(bench, "a", 1, 1)

    bundle, empty = (queries.takeover_bundle(bench.store, name) for name in ("a", "b"))

    assert bundle is not None and empty is not None
    assert not bundle.HasField("checkpoint")
    assert [each.seq for each in bundle.events] == [1, 2]
    assert not empty.HasField("checkpoint")
    assert not empty.events and not empty.more_events
    assert queries.takeover_bundle(bench.store, "nobody") is None


def test_a_bundle_is_capped_and_says_so(bench: Bench) -> None:
    """
    Events up to the cap; `more_events` says that there are more, exactly if so.
    """
    written(bench, "a", *[300_000] * 4)

    capped = queries.takeover_bundle(bench.store, "a")
    one = queries.takeover_bundle(bench.store, "a", bytes_max=1)
    whole = queries.takeover_bundle(bench.store, "a", bytes_max=2_000_000)

    assert capped is not None and one is not None and whole is not None
    assert limits.BUNDLE_EVENT_BYTES_MAX == 1 << 20
    assert ([each.seq for each in capped.events], capped.more_events) == ([1, 2, 3], True)
    assert ([each.seq for each in one.events], one.more_events) == ([1], True)
    assert ([each.seq for each in whole.events], whole.more_events) == ([1, 2, 3, 4], False)


def test_only_the_owners_token_is_current(bench: Bench) -> None:
    """
    Not one before it, nor one after it, nor it once the ownership has ended.
    """
    old = bench.granted(bench.acquire("s", "a"))
    new = bench.granted(bench.acquire("s", "a"))
    future = FencingToken(epoch=new.epoch + 1, revision=1)

    def current(token: FencingToken, agent: str = "a") -> bool:
        return queries.is_current(bench.store, FenceQuery(agent_id=agent, fence=token))

    assert [current(each) for each in (old, new, future)] == [False, True, False]
    assert not current(new, "b")
    assert not current(new, "nobody")
    assert not queries.is_current(bench.store, FenceQuery(agent_id="b"))
    bench.one(bench.release("s", "a", new))
    assert not current(new)


@pytest.mark.parametrize("name", ["", "\0", "é", "a" * 201, "a" * 1_000, "a\n"])
def test_what_cannot_be_an_id_names_nothing(bench: Bench, name: str) -> None:
    """
    Reads of it find nothing, and do not fail.
    """
    store = bench.store

    assert queries.get_agent(store, name) is None
    assert queries.get_session(store, name) is None
    assert stream_queries.get_stream(store, name) is None
    assert checkpoint_queries.get_checkpoint(store, name) is None
    assert checkpoint_queries.get_group(store, name) is None
    assert checkpoint_queries.get_validator(store, name) is None
    assert queries.takeover_bundle(store, name) is None
    assert checkpoint_queries.list_checkpoints(store, name, 0, 9) == ([], 0)
    assert stream_queries.read_events(store, name, 1, 9, MANY) == []
    assert queries.agents_owned_by(store, name) == []
    assert queries.is_answered(store, name, 1, 1)


def test_an_empty_state_answers_everything() -> None:
    """
    Zero and nothing, before the first entry.
    """
    store = MemoryStore()

    assert queries.applied(store) == Position(0, 0)  # type: ignore[arg-type]
    assert queries.revision(store) == queries.log_time_ms(store) == 0
    assert stream_queries.last_position(store) == queries.wall_time_ms(store) == 0
    assert queries.state_hash(store) == bytes(16)
    assert queries.sessions_all(store) == queries.owned_agents(store) == []
    assert stream_queries.read_all(store, 1, MANY, MANY) == ([], 1)


def test_a_request_is_answered_once_nothing_can_come_of_it(bench: Bench) -> None:
    """
    Remembered, forgotten, or its session gone or opened again.
    """
    opened = bench.opened["s"]
    last = bench.sequences["s"]

    assert queries.is_answered(bench.store, "s", opened, last)
    assert not queries.is_answered(bench.store, "s", opened, last + 1)
    assert queries.is_answered(bench.store, "s", opened + 1, last + 1)
    assert queries.is_answered(bench.store, "t", opened, last + 1)
    command = bench.resume("s", "a")
    command.resume_agent.request_id.lowest_unfinished = last + 1
    bench.one(command)
    assert queries.is_answered(bench.store, "s", opened, 1)
