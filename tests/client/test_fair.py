"""Lanes that take turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.client.fair import Lanes, about
from raftstate.v1.agent_service_pb2 import CreateAgentRequest
from raftstate.v1.kv_service_pb2 import PutRequest

Item = tuple[str, int]


def drained(lanes: Lanes[Item]) -> list[Item]:
    """Everything, in turn."""
    found = []
    while lanes.first() is not None:
        found.append(lanes.take())
    return found


def number(item: Item) -> int:
    return item[1]


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_each_lane_has_its_turn_and_keeps_its_order(names: list[str]) -> None:
    """
    Of items that are there at once, no lane's is behind more of another lane's than of its
    own; and all come out.
    """
    lanes: Lanes[Item] = Lanes(lambda _: False)
    items = [(name, place) for place, name in enumerate(names)]
    for name, place in items:
        lanes.put(name, (name, place))

    found = drained(lanes)

    assert sorted(found) == sorted(items)
    assert not lanes
    for lane in set(names):
        own = [item for item in found if item[0] == lane]
        assert own == [item for item in items if item[0] == lane]
        for other in set(names) - {lane}:
            for place, item in enumerate(own):
                before = [one for one in found[: found.index(item)] if one[0] == other]
                assert len(before) <= place + 1


def test_what_comes_back_stands_where_it_stood() -> None:
    """
    In front of those that came later, whenever it comes back.
    """
    lanes: Lanes[Item] = Lanes(lambda _: False, number)
    for place in (3, 5, 4, 1, 2):
        lanes.put("a", ("a", place))

    assert [place for _, place in drained(lanes)] == [1, 2, 3, 4, 5]


def test_a_lane_whose_first_is_not_ready_lets_the_others_by() -> None:
    """
    But not those behind it.
    """
    lanes: Lanes[Item] = Lanes(lambda _: False)
    for item in (("a", 1), ("a", 2), ("b", 3)):
        lanes.put(*item[:1], item)

    def ready(item: Item) -> bool:
        return item != ("a", 1)

    assert lanes.first(ready) == ("b", 3)
    assert lanes.take() == ("b", 3)
    assert lanes.first(ready) is None
    assert list(lanes.heads()) == [("a", 1)]
    assert drained(lanes) == [("a", 1), ("a", 2)]


def test_what_nobody_wants_is_passed_over() -> None:
    """
    Also where it is all that there is.
    """
    lanes: Lanes[Item] = Lanes(lambda item: item[1] % 2 == 1)
    for place in range(5):
        lanes.put("a", ("a", place))
    lanes.put("b", ("b", 1))

    assert drained(lanes) == [("a", 0), ("a", 2), ("a", 4)]
    assert not lanes


@pytest.mark.parametrize(
    ("request_", "agent"),
    [(CreateAgentRequest(agent_id="a"), "a"), (PutRequest(key=b"k"), "")],
)
def test_what_a_request_is_about(request_: object, agent: str) -> None:
    """
    An agent, or none.
    """
    assert about(request_) == agent
