"""Write ownership: a saver that writes for an owner observably refuses what a superseded one
writes, and nothing of it is stored.

LangGraph has no clauses for that. These are of two kinds: who owns may do everything, and
who did may change nothing, in any of the ways in which a saver changes anything. Each runs
with both faces, on a live cluster, and owners are superseded as they are in earnest: somebody
takes the agent while they live on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from raftstate.adapters.langgraph import RaftSaver
from raftstate.adapters.langgraph.stored import Kept
from raftstate.client.portal import Portal
from raftstate.errors import Fenced
from tests.outside.langgraph_saver import (
    Face,
    Owners,
    at,
    id_of,
    kinds,
    made,
    owners_of,
    put,
    stored,
)


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One portal for all."""
    with Portal(endpoints, timeout=30.0) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    """The face whose methods a test calls."""
    return Face(request.param)


class Story(NamedTuple):
    """A thread, its checkpoint, and two owners: one superseded, and one that took over."""

    face: Face
    portal: Portal
    name: str
    old: RaftSaver
    new: RaftSaver
    free: RaftSaver
    first: Any
    owners: Owners

    def refused(self, call: Callable[[], Any]) -> Fenced:
        """What is said to the superseded one; nothing is stored, or removed."""
        before = stored(self.portal, self.name)
        with pytest.raises(Fenced) as told:
            call()
        assert told.value.definite
        assert told.value.details["agent_id"] == f"agent-{self.name}"
        assert stored(self.portal, self.name) == before
        return told.value


@pytest.fixture
def story(face: Face, portal: Portal, name: str) -> Iterator[Story]:
    """The first owner has put a checkpoint, and pending writes, before he was superseded."""
    name = f"own-{name}"
    with owners_of(portal, f"agent-{name}") as owners:
        old = RaftSaver(portal, name=name, owner=owners.take())
        first = put(face, old, at("t"), {"notes": ["a"]}, run_id="run-1")
        face(old, "put_writes", first, [("notes", "b"), ("__error__", "oh")], "task-1", "~a")
        new = RaftSaver(portal, name=name, owner=owners.take())
        free = RaftSaver(portal, name=name)
        yield Story(face, portal, name, old, new, free, first, owners)


def writes(story: Story, checkpoint_id: str) -> list[Any]:
    """What is pending for a checkpoint."""
    found = story.face(story.free, "get_tuple", at("t", "", checkpoint_id))
    return [tuple(one) for one in found.pending_writes]


# --- who owns may do everything ----------------------------------------------


def test_the_owner_puts(story: Story) -> None:
    """What the current owner puts is there, and is the latest."""
    stored_at = put(story.face, story.new, story.first, {"notes": ["a", "b"]})
    found = story.face(story.free, "get_tuple", at("t"))
    assert id_of(found.config) == id_of(stored_at)
    assert found.checkpoint["channel_values"] == {"notes": ["a", "b"]}


def test_the_owner_puts_writes(story: Story) -> None:
    """What the current owner's tasks write is pending."""
    story.face(story.new, "put_writes", story.first, [("notes", "mine")], "task-2")
    assert ("task-2", "notes", "mine") in writes(story, id_of(story.first))


def test_the_owner_writes_the_same_again(story: Story) -> None:
    """To write twice is no offence: a task that is retried is none of the past."""
    for _ in range(2):
        story.face(story.new, "put_writes", story.first, [("notes", "mine")], "task-2")
    found = [one for one in writes(story, id_of(story.first)) if one[0] == "task-2"]
    assert found == [("task-2", "notes", "mine")]


def test_the_owner_goes_on_where_the_last_one_ended(story: Story) -> None:
    """The new owner's checkpoint is a child of the old one's, with his values and writes."""
    before = story.face(story.new, "get_tuple", at("t"))
    assert before.checkpoint["channel_values"] == {"notes": ["a"]}
    assert len(before.pending_writes) == 2
    put(story.face, story.new, before.config, {"notes": ["a", "b"]})
    after = story.face(story.new, "get_tuple", at("t"))
    assert id_of(after.parent_config) == id_of(story.first)


def test_the_owner_copies_prunes_and_deletes(story: Story) -> None:
    """What removes and copies is allowed to the owner, and does it."""
    put(story.face, story.new, story.first, {"notes": ["a", "b"]}, run_id="run-2")
    story.face(story.new, "copy_thread", "t", "u")
    story.face(story.new, "prune", ["t"])
    story.face(story.new, "delete_for_runs", ["run-1"])
    assert [len(story.face(story.free, "list", at(one))) for one in ("t", "u")] == [1, 1]
    story.face(story.new, "delete_thread", "t")
    story.face(story.new, "delete_thread", "u")
    assert stored(story.portal, story.name) == {}


# --- who did may change nothing ----------------------------------------------


def test_a_superseded_owner_does_not_put(story: Story) -> None:
    """A checkpoint of his is refused, and he is told so."""
    told = story.refused(lambda: put(story.face, story.old, story.first, {"notes": ["x"]}))
    assert "nothing was written" in str(told)


def test_a_superseded_owner_does_not_put_on_an_empty_thread(story: Story) -> None:
    """Neither where nobody else has written: it is about who, not about what is there."""
    story.refused(lambda: put(story.face, story.old, at("fresh"), {"notes": ["x"]}))
    assert story.face(story.free, "get_tuple", at("fresh")) is None


def test_a_superseded_owner_does_not_fork_the_thread(story: Story) -> None:
    """He still takes his checkpoint for the latest and writes its child, with a later id
    than the new owner's: which stays the latest."""
    second = put(story.face, story.new, story.first, {"notes": ["new"]})
    story.refused(lambda: put(story.face, story.old, story.first, {"notes": ["old"]}))
    found = story.face(story.free, "list", at("t"))
    assert [id_of(one.config) for one in found] == [id_of(second), id_of(story.first)]


def test_a_superseded_owner_does_not_replace_a_checkpoint(story: Story) -> None:
    """Nor does he put one again that is there, with other values."""
    again = made({"notes": ["forged"]}, checkpoint_id=id_of(story.first))
    story.refused(lambda: story.face(story.old, "put", at("t"), again, {}, {"notes": 1}))


def test_a_superseded_owner_does_not_put_writes(story: Story) -> None:
    """What a task of his writes is refused, also where nothing is in its way."""
    story.refused(
        lambda: story.face(story.old, "put_writes", story.first, [("notes", "x")], "task-9")
    )


def test_a_superseded_owner_does_not_add_to_his_own_task(story: Story) -> None:
    """Nor to what he had written himself when he was the owner."""
    more = [("notes", "b"), ("notes", "c"), ("notes", "d")]
    story.refused(lambda: story.face(story.old, "put_writes", story.first, more, "task-1"))


def test_a_superseded_owner_does_not_displace_a_write(story: Story) -> None:
    """Both ran the same task, whose id is the same: the new owner's value stays."""
    story.face(story.new, "put_writes", story.first, [("notes", "new")], "task-3")
    story.refused(
        lambda: story.face(story.old, "put_writes", story.first, [("notes", "old")], "task-3")
    )
    assert ("task-3", "notes", "new") in writes(story, id_of(story.first))


def test_a_superseded_owner_does_not_displace_an_answer(story: Story) -> None:
    """Where the last write wins, as for a human's answer, his is not the last."""
    story.face(story.new, "put_writes", story.first, [("__resume__", "yes")], "task-3")
    story.refused(
        lambda: story.face(
            story.old, "put_writes", story.first, [("__resume__", "no")], "task-3"
        )
    )
    assert ("task-3", "__resume__", "yes") in writes(story, id_of(story.first))


def test_what_changes_nothing_is_refused_as_well(story: Story) -> None:
    """He writes again what is there already: he is told all the same, or he would go on."""
    story.refused(
        lambda: story.face(
            story.old,
            "put_writes",
            story.first,
            [("notes", "b"), ("__error__", "oh")],
            "task-1",
        )
    )


def test_a_superseded_owner_does_not_put_what_is_large(story: Story) -> None:
    """Nor values that are sent in parts, before the checkpoint that holds them."""
    large = {"notes": ["x" * (3 << 20)]}
    story.refused(lambda: put(story.face, story.old, story.first, large))


def test_a_superseded_owner_does_not_delete_a_thread(story: Story) -> None:
    """All of it stays."""
    story.refused(lambda: story.face(story.old, "delete_thread", "t"))


def test_a_superseded_owner_does_not_delete_runs(story: Story) -> None:
    """Nor a run, though it was his."""
    story.refused(lambda: story.face(story.old, "delete_for_runs", ["run-1"]))


def test_a_superseded_owner_does_not_copy(story: Story) -> None:
    """A copy is a change of the thread that is copied to."""
    story.refused(lambda: story.face(story.old, "copy_thread", "t", "u"))


@pytest.mark.parametrize("strategy", ["keep_latest", "delete"])
def test_a_superseded_owner_does_not_prune(story: Story, strategy: str) -> None:
    """Nothing is pruned."""
    put(story.face, story.new, story.first, {"notes": ["new"]})
    story.refused(lambda: story.face(story.old, "prune", ["t"], strategy=strategy))


@pytest.mark.parametrize(
    "call",
    [
        ("delete_thread", "none"),
        ("delete_for_runs", ["none"]),
        ("copy_thread", "none", "neither"),
        ("prune", ["none"]),
    ],
    ids=lambda call: call[0],
)
def test_a_superseded_owner_is_told_where_nothing_is_to_be_done(
    story: Story, call: tuple[str, Any]
) -> None:
    """A thread or a run that there is not: he is told that he is not the owner, as always."""
    story.refused(lambda: story.face(story.old, *call))


@pytest.mark.parametrize(
    "call",
    [
        ("delete_thread", "t"),
        ("delete_thread", "only-writes"),
        ("delete_for_runs", ["run-1"]),
        ("copy_thread", "t", "u"),
        ("prune", ["t"]),
    ],
    ids=lambda call: "-".join(map(str, call[:2])),
)
def test_an_owner_is_superseded_while_he_removes(
    story: Story, call: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes many pieces to remove or copy a thread, and each of them is refused, also if
    he was the owner when he began."""
    put(story.face, story.new, story.first, {"notes": ["b"]}, run_id="run-1")
    nowhere = at("only-writes", "", "gone")
    story.face(story.new, "put_writes", nowhere, [("notes", "x")], "task")
    check = Kept.check

    async def supersede(kept: Kept) -> None:
        await check(kept)
        await asyncio.to_thread(story.owners.take)

    monkeypatch.setattr(Kept, "check", supersede)
    story.refused(lambda: story.face(story.new, *call))


def test_a_superseded_owner_stays_superseded(story: Story) -> None:
    """The second attempt is refused as the first one was, and the tenth."""
    for _ in range(10):
        story.refused(lambda: put(story.face, story.old, story.first, {"notes": ["x"]}))


def test_a_superseded_owner_may_ask(story: Story) -> None:
    """Who has nothing to write just now can find out."""
    story.refused(lambda: story.face(story.old, "check_owner"))
    story.face(story.new, "check_owner")
    story.face(story.free, "check_owner")


def test_a_superseded_owner_reads(story: Story) -> None:
    """Reading is free: he sees what the new owner does."""
    second = put(story.face, story.new, story.first, {"notes": ["new"]})
    found = story.face(story.old, "get_tuple", at("t"))
    assert id_of(found.config) == id_of(second)
    assert len(story.face(story.old, "list", at("t"))) == 2


def test_an_owner_who_let_go_is_refused(story: Story) -> None:
    """Also where nobody owns the agent by now."""
    story.owners.close()
    for saver in (story.old, story.new):
        with pytest.raises(Fenced):
            _until_refused(story, saver)


def _until_refused(story: Story, saver: RaftSaver) -> None:
    """To let go takes a moment."""
    for number in range(1_000):
        put(story.face, saver, at("t"), {"notes": [number]})


def test_owners_of_other_agents_are_none_of_its_business(story: Story) -> None:
    """To own one agent supersedes no owner of another."""
    with owners_of(story.portal, f"other-{story.name}") as others:
        other = RaftSaver(story.portal, name=story.name, owner=others.take())
        put(story.face, story.new, at("t"), {"notes": ["mine"]})
        put(story.face, other, at("u"), {"notes": ["theirs"]})
        assert kinds(story.portal, story.name)["c"] == 3


def test_a_saver_without_an_owner_is_as_ever(story: Story) -> None:
    """Who does not ask for ownership is not stopped by it."""
    stored_at = put(story.face, story.free, story.first, {"notes": ["free"]})
    assert id_of(story.face(story.free, "get_tuple", at("t")).config) == id_of(stored_at)


# --- in a graph --------------------------------------------------------------


class _State(TypedDict):
    log: Annotated[list[str], lambda left, right: left + right]


def test_a_graph_ends_where_its_owner_is_superseded(story: Story) -> None:
    """Somebody takes the agent while a node runs. What the graph then writes is refused, the
    run raises Fenced, and the thread is left as the new owner finds it: he resumes it."""
    done: list[str] = []
    taken: list[RaftSaver] = []

    def first(state: _State) -> dict[str, list[str]]:
        assert state["log"] == ["begun"]
        done.append("first")
        return {"log": ["first"]}

    def second(state: _State) -> dict[str, list[str]]:
        assert state["log"] == ["begun", "first"]
        done.append("second")
        if not taken:
            owner = story.owners.take()
            taken.append(RaftSaver(story.portal, name=story.name, owner=owner))
        return {"log": ["second"]}

    builder = StateGraph(_State).add_node("first", first).add_node("second", second)
    builder.add_edge(START, "first").add_edge("first", "second").add_edge("second", END)
    graph, config = builder.compile(checkpointer=story.new), at("graph")

    def run(graph: Any, given: Any) -> Any:
        if story.face.name == "sync":
            return graph.invoke(given, config, durability="sync")
        return asyncio.run(graph.ainvoke(given, config, durability="sync"))

    with pytest.raises(Fenced):
        run(graph, {"log": ["begun"]})
    resumed = builder.compile(checkpointer=taken[0])
    assert resumed.get_state(config).next == ("second",)
    assert run(resumed, None) == {"log": ["begun", "first", "second"]}
    assert done == ["first", "second", "second"]
