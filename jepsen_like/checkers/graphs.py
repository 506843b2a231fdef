"""Directed graphs with kinds of edges: what lies on a cycle, and a short cycle to show.

Nodes are numbers. An edge has a kind, which is one bit, so that a search can be told which
kinds it may use. Everything is linear in the graph but the search for a short cycle, which
is bounded by a budget of steps: a history that is wrong everywhere is told of as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

STEPS_MAX: Final = 2_000_000

SHORTEST: Final = 2  # nodes of a cycle

Edge = tuple[int, int]  # where to, and its kind
Step = tuple[int, int]  # a kind, and where it leads


class Graph:
    """Nodes 0 to n-1, and edges between them. Those from `silent` on only stand for the
    order of others: a step to one of these counts for nothing."""

    def __init__(self, nodes: int, silent: int) -> None:
        self.edges: list[list[Edge]] = [[] for _ in range(nodes)]
        self._silent = silent
        self._steps = STEPS_MAX

    def add(self, source: int, target: int, kind: int) -> None:
        """An edge; from a node to itself there is none."""
        if source != target:
            self.edges[source].append((target, kind))

    def components(self, kinds: int, nodes: Iterable[int] | None = None) -> list[list[int]]:
        """All sets of nodes that reach each other by edges of these kinds, and have more
        than one node; among these nodes, if given, and no others."""
        chosen = range(len(self.edges)) if nodes is None else list(nodes)
        inside = None if nodes is None else set(chosen)
        return list(_Search(self.edges, inside, kinds).components(chosen))

    def path(self, source: int, target: int, kinds: int, inside: set[int]) -> list[Step] | None:
        """A shortest way from one node to another within some nodes. None if there is
        none, or the budget is used up."""
        came: dict[int, Step] = {}
        far: dict[int, int] = {}
        done: set[int] = set()
        queue = deque([(0, source)])
        while queue and self._steps > 0:
            length, node = queue.popleft()
            if node == target and length:
                return _walked(came, source, target)
            if node in done:
                continue
            done.add(node)
            for after, kind in self.edges[node]:
                self._steps -= 1
                if not kind & kinds or after not in inside:
                    continue
                loud = after < self._silent
                if length + loud >= far.get(after, length + 2):
                    continue
                far[after] = length + loud
                came[after] = (kind, node)
                if loud:
                    queue.append((length + 1, after))
                else:
                    queue.appendleft((length, after))
        return None

    def cycle(self, nodes: Sequence[int], kinds: int) -> list[Step] | None:
        """A cycle that stays among these nodes: the shortest of those that are found
        within the budget."""
        inside = set(nodes)
        best: list[Step] | None = None
        for node in nodes:
            if self._steps <= 0 or (best is not None and self.length(best) <= SHORTEST):
                break
            if node >= self._silent:
                continue
            found = self.path(node, node, kinds, inside)
            if found is not None and (best is None or self.length(found) < self.length(best)):
                best = found
        return best

    def length(self, steps: Sequence[Step]) -> int:
        """How many nodes a way leads to, without the silent ones."""
        return sum(node < self._silent for _, node in steps)


def _walked(came: dict[int, Step], source: int, target: int) -> list[Step]:
    """The steps of a search, from its begin to its end."""
    steps = []
    node = target
    while True:
        kind, before = came[node]
        steps.append((kind, node))
        node = before
        if node == source:
            return steps[::-1]


class _Search:
    """Tarjan's strongly connected components, without recursion."""

    def __init__(
        self, edges: Sequence[Sequence[Edge]], inside: set[int] | None, kinds: int
    ) -> None:
        self._edges = edges
        self._inside = inside
        self._kinds = kinds
        self._number: dict[int, int] = {}
        self._low: dict[int, int] = {}
        self._stack: list[int] = []
        self._on_stack: set[int] = set()

    def components(self, chosen: Iterable[int]) -> Iterator[list[int]]:
        """Those of more than one node that can be reached from the nodes chosen."""
        for root in chosen:
            if root in self._number:
                continue
            work = [(root, self._enter(root))]
            while work:
                node, following = work[-1]
                deeper = self._deeper(node, following)
                if deeper is not None:
                    work.append((deeper, self._enter(deeper)))
                    continue
                work.pop()
                if work:
                    above = work[-1][0]
                    self._low[above] = min(self._low[above], self._low[node])
                if self._low[node] == self._number[node]:
                    found = self._cut(node)
                    if len(found) > 1:
                        yield found

    def _enter(self, node: int) -> Iterator[Edge]:
        self._number[node] = self._low[node] = len(self._number)
        self._stack.append(node)
        self._on_stack.add(node)
        return iter(self._edges[node])

    def _deeper(self, node: int, following: Iterator[Edge]) -> int | None:
        """The next node to go on to, that nobody has been to."""
        for after, kind in following:
            if not kind & self._kinds:
                continue
            if self._inside is not None and after not in self._inside:
                continue
            if after not in self._number:
                return after
            if after in self._on_stack:
                self._low[node] = min(self._low[node], self._number[after])
        return None

    def _cut(self, node: int) -> list[int]:
        """Take a component off the stack."""
        found = []
        while True:
            one = self._stack.pop()
            self._on_stack.discard(one)
            found.append(one)
            if one == node:
                return found
