"""Delta channels, as the current release of LangGraph defines them: whose values are what their
last snapshot and all writes since make up. The published suite has no clauses for them yet.

On a live cluster, with both faces, and against what the base class says, which walks from
parent to parent by `get_tuple` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from raftstate.adapters.langgraph import RaftSaver
from raftstate.client.portal import Portal
from tests.outside.langgraph_saver import Case, Face, at, id_of, made


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One portal for all."""
    with Portal(endpoints, timeout=30.0) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def case(request: pytest.FixtureRequest, portal: Portal, name: str) -> Case:
    """A saver and a face."""
    name = f"delta-{name}"
    return Case(Face(request.param), portal, name, RaftSaver(portal, name=name))


def chain(case: Case, steps: list[dict[str, Any]], thread: str = "t") -> list[Any]:
    """Checkpoints, each the child of the one before, with what each holds and is written to
    it: {"has": values, "gets": writes}."""
    where, found = at(thread), []
    for number, step in enumerate(steps):
        held = step.get("has", {})
        counts = step.get("counts", {})
        metadata: dict[str, Any] = {"step": number}
        if counts:
            metadata["counters_since_delta_snapshot"] = counts
        versions = dict.fromkeys(held, number + 1)
        where = case("put", where, made(held, versions), metadata, versions)
        found.append(where)
        if step.get("gets"):
            case("put_writes", where, list(step["gets"].items()), f"task-{number}")
    return found


def history(case: Case, where: Any, *channels: str) -> Any:
    """What the saver says of channels' histories, which the base class must say as well: it
    walks by `get_tuple` alone."""
    found = case("get_delta_channel_history", config=where, channels=list(channels))
    walked = BaseCheckpointSaver.get_delta_channel_history(
        case.saver, config=where, channels=list(channels)
    )
    assert found == walked
    return found


def told(found: Any, channel: str = "log") -> list[Any]:
    """The values that a history holds."""
    return [value for _, _, value in found[channel]["writes"]]


def test_a_history_has_the_oldest_write_first(case: Case) -> None:
    """The writes of all ancestors since the snapshot, in the order of the chain."""
    steps = [{"has": {"log": _DeltaSnapshot(["s"])}, "gets": {"log": 0}}]
    steps += [{"gets": {"log": number}} for number in range(1, 6)]
    found = history(case, chain(case, steps)[-1], "log")
    assert told(found) == [0, 1, 2, 3, 4]
    assert found["log"]["seed"] == _DeltaSnapshot(["s"])


def test_a_history_begins_at_the_nearest_snapshot(case: Case) -> None:
    """What is older than the last snapshot is in it."""
    steps: list[dict[str, Any]] = [
        {"has": {"log": _DeltaSnapshot("old")}, "gets": {"log": 0}},
        {"gets": {"log": 1}},
        {"has": {"log": _DeltaSnapshot("new")}, "gets": {"log": 2}},
        {"gets": {"log": 3}},
        {},
    ]
    found = history(case, chain(case, steps)[-1], "log")
    assert found["log"]["seed"] == _DeltaSnapshot("new")
    assert told(found) == [2, 3]


def test_a_history_leaves_out_what_is_pending(case: Case) -> None:
    """The target's own writes are for the next step."""
    target = chain(case, [{"gets": {"log": 0}}, {"gets": {"log": "pending"}}])[-1]
    assert told(history(case, target, "log")) == [0]


def test_a_history_of_several_channels_ends_for_each_by_itself(case: Case) -> None:
    """One channel's snapshot is nothing to another."""
    steps: list[dict[str, Any]] = [
        {"gets": {"a": 0, "b": 0}},
        {"has": {"a": _DeltaSnapshot("a1")}, "gets": {"a": 1, "b": 1}},
        {"gets": {"a": 2, "b": 2}},
        {"has": {"b": _DeltaSnapshot("b3")}, "gets": {"a": 3, "b": 3}},
        {},
    ]
    found = history(case, chain(case, steps)[-1], "a", "b", "c")
    assert (told(found, "a"), found["a"]["seed"]) == ([1, 2, 3], _DeltaSnapshot("a1"))
    assert (told(found, "b"), found["b"]["seed"]) == ([3], _DeltaSnapshot("b3"))
    assert found["c"] == {"writes": []}


def test_a_history_of_no_channels_is_empty(case: Case) -> None:
    """Nothing is asked, nothing is said."""
    assert history(case, chain(case, [{}, {}])[-1]) == {}
    assert history(case, at("nowhere"), "log") == {"log": {"writes": []}}


def test_a_history_without_a_snapshot_goes_to_the_root(case: Case) -> None:
    """All writes, and no seed: the channel was empty at first."""
    found = history(case, chain(case, [{"gets": {"log": at}} for at in range(40)])[-1], "log")
    assert told(found) == list(range(39))
    assert "seed" not in found["log"]


@pytest.mark.parametrize("plain", [[1, 2, 3], 7, None, "text"])
def test_a_history_begins_at_a_plain_value(case: Case, plain: Any) -> None:
    """A thread from before its channel was a delta channel: its last value is the seed, and
    what was written to that checkpoint comes after it."""
    steps: list[dict[str, Any]] = [
        {"has": {"log": "older"}, "gets": {"log": "no"}},
        {"has": {"log": plain}, "gets": {"log": "at"}},
        {"gets": {"log": "after"}},
        {},
    ]
    found = history(case, chain(case, steps)[-1], "log")
    assert (found["log"]["seed"], told(found)) == (plain, ["at", "after"])


def test_a_history_has_parallel_writes_by_their_path(case: Case) -> None:
    """A step's tasks are applied by path, not by id; what has no path comes first."""
    first = case.put(at("t"))
    for task, path, value in (
        ("task-1", "~pull, 2", "second"),
        ("task-2", "~pull, 1", "first"),
        ("task-3", "", "input"),
    ):
        case("put_writes", first, [("log", value)], task, path)
    assert told(history(case, case.put(first), "log")) == ["input", "first", "second"]
    pending = [one[2] for one in case("get_tuple", first).pending_writes]
    assert pending == ["input", "first", "second"]


def test_a_history_follows_parents_and_not_ids(case: Case) -> None:
    """A branch's history is that of its ancestors, whatever else is in the thread; also
    where a parent's id sorts behind its child's."""
    root = case("put", at("t"), made(checkpoint_id="z-root"), {}, {})
    case("put_writes", root, [("log", "root")], "task")
    for branch in ("left", "right"):
        child = case("put", root, made(checkpoint_id=f"b-{branch}"), {}, {})
        case("put_writes", child, [("log", branch)], "task")
        leaf = case("put", child, made(checkpoint_id=f"a-{branch}"), {}, {})
        assert told(history(case, leaf, "log")) == ["root", branch]


def test_a_history_of_a_circle_ends(case: Case) -> None:
    """A checkpoint that was put again below its own child."""
    first = case("put", at("t"), made(checkpoint_id="a"), {}, {})
    second = case("put", first, made(checkpoint_id="b"), {}, {})
    case("put", second, made(checkpoint_id="a"), {}, {})
    found = case("get_delta_channel_history", config=second, channels=["log"])
    assert found == {"log": {"writes": []}}


def test_pruning_keeps_what_a_delta_channel_is_made_up_of(case: Case) -> None:
    """The latest checkpoint holds nothing of the channel: its ancestors up to the snapshot
    stay, with their writes; older ones go."""
    counts = {"log": (1, 1)}
    steps: list[dict[str, Any]] = [
        {"has": {"log": _DeltaSnapshot("old")}, "gets": {"log": 0}},
        {"gets": {"log": 1}, "counts": counts},
        {"has": {"log": _DeltaSnapshot("seed")}, "gets": {"log": 2}},
        {"gets": {"log": 3}, "counts": counts},
        {"gets": {"log": "pending"}, "counts": counts},
    ]
    where = chain(case, steps)
    before = history(case, where[-1], "log")
    case("prune", ["t"])
    left = [id_of(one.config) for one in case("list", at("t"))]
    assert left == [id_of(one) for one in reversed(where[2:])]
    assert history(case, where[-1], "log") == before
    assert told(before) == [2, 3]
    case("prune", ["t"])
    assert len(case("list", at("t"))) == 3
