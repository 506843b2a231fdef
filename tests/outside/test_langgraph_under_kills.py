"""LangGraph's conformance suite once more, while the leader is killed every few seconds; and
what is to be true then of graphs and owners.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from operator import add
from typing import Annotated, TypedDict

import pytest
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.graph import END, START, StateGraph

from raftstate.adapters.langgraph import RaftSaver
from raftstate.client.portal import Portal
from raftstate.errors import Fenced
from raftstate.localcluster import LocalCluster
from tests.outside.conftest import Kills, kills
from tests.outside.langgraph_saver import Face, at, owners_of, put, stored
from tests.outside.test_langgraph import Clause, all_clauses, clauses

pytestmark = pytest.mark.slow

# The fewest with which a run shows anything, how long they may take, and the pause from one
# to the next (s).
KILLS_MIN = 8
LIMIT_S = 200.0
PAUSE_S = 1.0


@pytest.fixture(scope="module")
def killing(cluster: LocalCluster) -> Iterator[Kills]:
    """Kills, while any test of this file runs."""
    with kills(cluster, PAUSE_S) as running:
        yield running
    assert running.count >= KILLS_MIN
    assert not running.error


@pytest.fixture(scope="module")
def portal(endpoints: str, killing: Kills) -> Iterator[Portal]:
    """One portal for all, opened and closed under kills."""
    assert not killing.error
    with Portal(endpoints, timeout=60.0) as opened:
        yield opened


@pytest.mark.parametrize("clause", [*all_clauses()])
def test_clause(portal: Portal, clause: Clause) -> None:
    """A clause of the suite holds."""
    asyncio.run(clause(RaftSaver(portal, name="kills")))  # type: ignore[arg-type]


def test_all_clauses_again_and_again(portal: Portal, killing: Kills) -> None:
    """Each of them holds, however many times it runs, until there were enough kills that some
    came at every kind of moment."""
    until = time.monotonic() + LIMIT_S
    rounds = 0
    while killing.count < KILLS_MIN:
        assert time.monotonic() < until, f"{killing.count} kills after {LIMIT_S} s"
        rounds += 1
        for capability in Capability:
            saver = RaftSaver(portal, name=f"kills-{rounds}-{capability.value}")
            for clause in clauses(capability.value):
                asyncio.run(clause(saver))  # type: ignore[arg-type]
    assert rounds > 1


class _State(TypedDict):
    log: Annotated[list[int], add]


def _counted(steps: int) -> StateGraph[_State]:
    """A graph that counts, one step at a time."""

    def count(state: _State) -> dict[str, list[int]]:
        return {"log": [len(state["log"])]}

    def more(state: _State) -> str:
        return "count" if len(state["log"]) < steps else END

    builder = StateGraph(_State).add_node("count", count)
    return builder.add_edge(START, "count").add_conditional_edges("count", more)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_graphs_run_as_undisturbed(portal: Portal, killing: Kills, durability: str) -> None:
    """A loop of a hundred steps comes to the same, again and again until a leader was killed
    meanwhile; and its history is whole: each checkpoint the child of the one before."""
    saver = RaftSaver(portal, name=f"graph-{durability}")
    before, until, thread = killing.count, time.monotonic() + LIMIT_S, 0
    while killing.count == before:
        assert time.monotonic() < until
        thread += 1
        config = {**at(str(thread)), "recursion_limit": 200}
        graph = _counted(100).compile(checkpointer=saver)
        ended = graph.invoke({"log": []}, config, durability=durability)  # type: ignore[call-overload]
        assert ended == {"log": list(range(100))}
        listed = list(saver.list(at(str(thread))))
        assert len(listed) == (1 if durability == "exit" else 102)
        parents = [one.parent_config for one in listed[:-1]]
        assert parents == [one.config for one in listed[1:]]
        assert listed[0].checkpoint["channel_values"]["log"] == list(range(100))


def test_a_superseded_owner_is_refused_all_the_while(portal: Portal) -> None:
    """Whatever leader answers: not one of his writes is stored, and the new owner's all."""
    face, name = Face("sync"), "owner"
    with owners_of(portal, "agent-under-kills") as owners:
        old = RaftSaver(portal, name=name, owner=owners.take())
        first = put(face, old, at("t"), {"notes": ["old"]})
        new = RaftSaver(portal, name=name, owner=owners.take())
        where = first
        for number in range(50):
            before = stored(portal, name)
            with pytest.raises(Fenced):
                put(face, old, first, {"notes": ["forged"]})
            with pytest.raises(Fenced):
                old.put_writes(first, [("notes", "forged")], f"task-{number}")
            assert stored(portal, name) == before
            where = put(face, new, where, {"notes": [number]})
        assert len(list(new.list(at("t")))) == 51
