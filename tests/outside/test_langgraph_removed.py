"""What `RaftSaver` removes and copies: all of it, whoever dies or writes meanwhile, and nothing
that is still needed. On a live cluster, with both faces.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from raftstate.adapters.langgraph import RaftSaver, history, pruning
from raftstate.adapters.langgraph.layout import Layout
from raftstate.adapters.langgraph.stored import Kept
from raftstate.client.portal import Portal
from raftstate.errors import Conflict
from tests.outside.langgraph_saver import Case, Face, at, id_of, made, put, stored


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One portal for all."""
    with Portal(endpoints, timeout=30.0) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def case(request: pytest.FixtureRequest, portal: Portal, name: str) -> Case:
    """A saver and a face."""
    name = f"removed-{name}"
    return Case(Face(request.param), portal, name, RaftSaver(portal, name=name))


def test_a_deleted_thread_leaves_nothing(case: Case) -> None:
    """No key of it is left, of any kind; others stay as they are."""
    for thread in ("t", "t2"):
        for ns in ("", "child:1", "child:1|grand:2"):
            where = case.put(at(thread, ns), {"notes": ["a"]}, run_id="run")
            case("put_writes", where, [("notes", 1)], "task")
    others = case("list", at("t2"))
    case("delete_thread", "t")
    assert case.kinds() == {"c": 3, "b": 3, "w": 3, "r": 3, "n": 3}
    assert case("list", at("t2")) == others
    case("delete_thread", "t2")
    assert stored(case.portal, case.name) == {}


def test_a_deleted_run_leaves_what_others_need(case: Case) -> None:
    """Its checkpoints and writes go, in all threads; a value that a later run's checkpoint
    still has stays, and the rest goes."""
    for thread in ("t", "u"):
        first = case.put(at(thread), {"kept": ["k"], "gone": ["g"]}, run_id="run-1")
        case("put_writes", first, [("gone", 1)], "task")
        values, versions = {"kept": ["k"], "gone": ["h"]}, {"kept": 1, "gone": 2}
        case("put", first, made(values, versions), {"run_id": "run-2"}, {"gone": 2})
    case("delete_for_runs", ["run-1", "none"])
    assert case.kinds() == {"c": 2, "b": 4, "r": 2, "n": 2}
    assert case.values(at("t")) == {"kept": ["k"], "gone": ["h"]}
    case("delete_for_runs", ["run-2", "run-1"])
    assert case.kinds() == {"n": 2}


def test_a_run_is_found_in_any_number_of_checkpoints(case: Case) -> None:
    """More of them than are removed at a time."""
    where = at("t")
    for number in range(60):
        where = case.put(where, {"n": [number]}, run_id=f"run-{number % 2}")
        case("put_writes", where, [("n", number)], "task")
    case("delete_for_runs", ["run-1"])
    assert case.kinds() == {"c": 30, "b": 1, "w": 30, "r": 30, "n": 1}


def test_what_was_cut_short_is_done_again(case: Case) -> None:
    """Whoever prunes, deletes or copies may die anywhere in between: whatever is left then
    is whole checkpoints, and doing it again ends it. Each key is a place to die at."""
    for at_key in range(0, 40, 3):
        where = at("t")
        for number in range(4):
            where = case.put(where, {"n": [number]}, run_id="run")
            case("put_writes", where, [("n", number)], "task")
        cut_short(case, at_key)
        for one in case("list", at("t")):
            assert one.checkpoint["channel_values"]
        case("prune", ["t"])
        assert len(case("list", at("t"))) <= 1
        case("delete_thread", "t")
        assert {kind for kind in case.kinds() if kind != "r"} == set()
        case("delete_for_runs", ["run"])
        assert stored(case.portal, case.name) == {}


def cut_short(case: Case, after: int) -> None:
    """Delete a thread, and die after so many keys: they go in the saver's own order."""
    order = {"w": 0, "c": 1, "r": 2, "b": 3, "n": 4}
    prefix = len(Layout(case.name).heads()) - 2
    keys = sorted(
        stored(case.portal, case.name), key=lambda key: (order[chr(key[prefix])], key)
    )

    async def drop(store: Any) -> None:
        for key in keys[:after]:
            await store.keys.delete(key)

    case.portal.run(drop)


def test_a_copy_is_made_again_over_what_was_copied(case: Case) -> None:
    """Twice is as once; and it adds what has come since."""
    first = case.put(at("t"), {"n": [1]})
    case("put_writes", first, [("n", 1)], "task")
    for _ in range(2):
        case("copy_thread", "t", "u")
    case.put(first, {"n": [2]})
    case("copy_thread", "t", "u")
    case("copy_thread", "t", "t")
    source, target = case("list", at("t")), case("list", at("u"))
    assert [one.checkpoint for one in source] == [one.checkpoint for one in target]
    assert [one.pending_writes for one in source] == [one.pending_writes for one in target]
    assert [one.config["configurable"]["thread_id"] for one in target] == ["u", "u"]
    assert target[0].parent_config["configurable"]["thread_id"] == "u"


def test_a_long_thread_is_copied_and_pruned(case: Case) -> None:
    """More checkpoints, values and writes than one transaction, or one page, holds."""
    where = at("t")
    for number in range(100):
        where = case.put(where, {f"c{each}": [number] for each in range(3)})
        case("put_writes", where, [("n", number)], "task")
    case("copy_thread", "t", "u")
    source, target = case("list", at("t")), case("list", at("u"))
    assert len(target) == 100
    assert [one.checkpoint for one in source] == [one.checkpoint for one in target]
    assert [one.pending_writes for one in source] == [one.pending_writes for one in target]
    case("prune", ["t", "u"])
    # All have version 1, of which there is one value: the last one that was put.
    assert case.kinds() == {"c": 2, "b": 6, "w": 2, "n": 2}


@pytest.mark.parametrize("kind", ["c", "b", "w"])
@pytest.mark.parametrize("how", ["prune", "delete_thread", "delete_for_runs"])
def test_what_a_writer_left_behind_by_dying_goes(case: Case, kind: str, how: str) -> None:
    """Parts of a large value, checkpoint or write, whose writer died before he put it."""
    first = case.put(at("t"), {"n": [1]}, run_id="run")
    case("put_writes", first, [("n", 1)], "task")
    layout, checkpoint = Layout(case.name), id_of(first)
    whole = {
        "c": layout.head("t", "", "f" * 36),
        "b": layout.blob("t", "", "n", "never"),
        "w": layout.task("t", "", checkpoint, "another"),
    }[kind]

    async def leave(store: Any) -> None:
        for number in range(3):
            await store.keys.put(whole + b"\x0012345678%04x" % number, b"x" * 1000)

    case.portal.run(leave)
    assert case("get_tuple", at("t")).config == first
    if how == "prune":
        case.put(first, {"n": [2]})
        case("prune", ["t"])
        assert case.kinds() == {"c": 1, "b": 1, "n": 1}
    else:
        case(how, "t" if how == "delete_thread" else ["run"])
        left = {} if how == "delete_thread" else {"n": 1} | ({"c": 3} if kind == "c" else {})
        assert case.kinds() == left


Removal = tuple[str, Any]


@pytest.mark.parametrize(
    "call",
    [("prune", ["t"]), ("delete_thread", "t"), ("delete_for_runs", ["run"])],
    ids=lambda call: call[0],
)
def test_what_is_still_there_has_its_history(
    case: Case, call: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a removal ends, a delta channel of a checkpoint that is there is made up of
    all that it was: never of less, or of nothing, without a word."""
    write, left = Kept.write, 0

    async def dying(kept: Kept, puts: Any, deletes: Any = (), **more: Any) -> bool:
        nonlocal left
        left -= bool(deletes)
        if deletes and left < 0:
            raise KeyError("dead")
        return await write(kept, puts, deletes, **more)

    where = at("t")
    for number in range(30):
        where = case.put(where, run_id="run")
        case("put_writes", where, [("log", number)], "task")
    pruned, there = call[0] == "prune", []
    for _ in range(4):
        left = 1
        with monkeypatch.context() as patched:
            patched.setattr(Kept, "write", dying)
            with contextlib.suppress(KeyError):
                case(*call)
        there = case("list", at("t"))[::-1]
        # The latest one stays when a thread is pruned; it says of no channel that it needs it.
        for count, one in enumerate(there[:-1] if pruned else there):
            found = case("get_delta_channel_history", config=one.config, channels=["log"])
            assert [value for _, _, value in found["log"]["writes"]] == [*range(count)]
    assert len(there) == pruned


def test_a_history_whose_checkpoint_goes_meanwhile(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes the thread while a channel's history is read: an error, no less of a
    history."""
    where = at("t")
    for number in range(5):
        where = case.put(where)
        case("put_writes", where, [("log", number)], "task")
    ancestor = history._ancestor

    async def meanwhile(kept: Kept, *args: Any) -> Any:
        await pruning.drop_thread(kept, "t")
        return await ancestor(kept, *args)

    monkeypatch.setattr(history, "_ancestor", meanwhile)
    with pytest.raises(Conflict, match="removed"):
        case("get_delta_channel_history", config=where, channels=["log"])


def test_a_copy_of_what_goes_meanwhile(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the thread that is copied: no checkpoint comes without its writes."""
    first = case.put(at("t"), {"plain": 1})
    case("put_writes", first, [("log", 1)], "task")
    tasks = Kept.tasks

    async def meanwhile(kept: Kept, *args: Any) -> Any:
        await pruning.drop_thread(kept, "t")
        return await tasks(kept, *args)

    monkeypatch.setattr(Kept, "tasks", meanwhile)
    with pytest.raises(Conflict, match="copied"):
        case("copy_thread", "t", "u")
    monkeypatch.undo()
    assert case("get_tuple", at("u")) is None


def test_a_thread_that_is_put_to_while_it_is_deleted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was put at whichever moment is whole as long as it is there, and then it is
    gone, with all that belongs to it."""
    case.put(at("t"), {"n": [0]}, run_id="run")
    remove, number = pruning._remove_rest, 0

    async def meanwhile(*args: Any) -> bool:
        nonlocal number
        number += 1
        config = at("t")
        if number < 6:
            config = await asyncio.to_thread(
                put, Face("sync"), case.saver, at("t"), {"n": [number]}, run_id="run"
            )
            await asyncio.to_thread(case.saver.put_writes, config, [("n", number)], "task")
        done = await remove(*args)
        if number < 6:  # what was put is whole
            found = await case.saver.aget_tuple(config)
            assert found is not None
            assert found.checkpoint["channel_values"] == {"n": [number]}
            assert found.pending_writes == [("task", "n", number)]
        return done

    monkeypatch.setattr(pruning, "_remove_rest", meanwhile)
    case("delete_thread", "t")
    assert number >= 6
    assert stored(case.portal, case.name) == {}
