"""Graphs: components as trying everything finds them, and cycles that are cycles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jepsen_like.checkers.graphs import Graph

NODES = 6
edges = st.lists(
    st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1), st.sampled_from([1, 2, 4])),
    max_size=14,
)


def built(drawn: list[tuple[int, int, int]], silent: int = NODES) -> Graph:
    graph = Graph(NODES, silent)
    for source, target, kind in drawn:
        graph.add(source, target, kind)
    return graph


def reached(drawn: list[tuple[int, int, int]], kinds: int) -> set[tuple[int, int]]:
    """Who reaches whom, by going on until nothing is new."""
    found = {(a, b) for a, b, kind in drawn if kind & kinds and a != b}
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


@given(edges, st.integers(1, 7))
def test_components_are_those_that_reach_each_other(
    drawn: list[tuple[int, int, int]], kinds: int
) -> None:
    """
    Two nodes are in one component if and only if each reaches the other.
    """
    found = built(drawn).components(kinds)
    pairs = reached(drawn, kinds)

    assert all(len(one) == len(set(one)) > 1 for one in found)
    together = {(a, b) for one in found for a in one for b in one if a != b}
    assert together == {(a, b) for a, b in pairs if a != b and (b, a) in pairs}


@given(edges, st.integers(1, 7), st.sampled_from([4, NODES]))
def test_a_cycle_is_found_where_there_is_one(
    drawn: list[tuple[int, int, int]], kinds: int, silent: int
) -> None:
    """
    Its steps are edges of the kinds allowed, it comes back to where it began, and no
    shorter one goes through its first node.
    """
    drawn = [one for one in drawn if not (one[0] >= silent and one[1] >= silent)]
    graph = built(drawn, silent)
    for nodes in graph.components(kinds):
        steps = graph.cycle(nodes, kinds)
        assert steps is not None
        at = steps[-1][1]
        for kind, node in steps:
            assert kind & kinds
            assert (at, node, kind) in drawn
            at = node
        assert graph.length(steps) == sum(node < silent for _, node in steps)


def test_a_silent_node_counts_for_nothing() -> None:
    """
    The way over many of these is shorter than one over two others.
    """
    graph = built([(0, 4, 1), (4, 5, 1), (5, 1, 1), (0, 2, 1), (2, 1, 1), (1, 0, 1)], silent=4)

    assert graph.path(0, 1, 1, set(range(NODES))) == [(1, 4), (1, 5), (1, 1)]
    assert graph.cycle(range(NODES), 1) == [(1, 4), (1, 5), (1, 1), (1, 0)]
