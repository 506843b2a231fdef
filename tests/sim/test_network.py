"""The simulated network keeps order, and loses by connection only."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush

import pytest

from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope, ReadProbe
from tests.sim.network import Delays, InFlight, Link, Network

A, B = MemberId("a"), MemberId("b")


class Bench:
    """Two members that only write down what reaches them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.up = {A, B}
        self.got: list[int] = []
        self.news: list[str] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.network = Network(
            (A, B),
            timer=self,
            ends=self,
            rng=random.Random(3),
            delays=Delays(0.001, 0.5, 1e9, 0.01, 0.05),
        )
        self.network.started(A)
        self.wait(1.0)
        self.news.clear()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._heap, (self.now + seconds, self._count, action))

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heappop(self._heap)
            action()
        self.now = until

    def is_up(self, member_id: MemberId) -> bool:
        return member_id in self.up

    def arrived(self, link: Link, message: InFlight) -> None:
        assert link.target == B
        self.got.append(Envelope.FromString(message.data).read_probe.round)

    def connected(self, link: Link) -> None:
        self.news.append(f"{link.name} up")

    def disconnected(self, link: Link) -> None:
        self.news.append(f"{link.name} down")

    def send(self, *rounds: int) -> None:
        for number in rounds:
            probe = ReadProbe(round=number)
            self.network.send(A, Envelope(to_member=B, read_probe=probe), self.now)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_messages_arrive_in_order_each_with_a_delay(bench: Bench) -> None:
    """
    The delays are drawn one by one, and differ a hundredfold; the order stays.
    """
    bench.send(*range(100))
    assert bench.got == []
    bench.wait(60.0)

    assert bench.got == list(range(100))


def test_a_cut_loses_what_is_in_flight_in_one_direction_only(bench: Bench) -> None:
    """
    The sender hears of it a little later, and of the new connection after that.
    """
    bench.send(1)
    bench.network.cut(bench.network.link(A, B))
    bench.send(2)  # the sender does not know yet
    bench.wait(1.0)
    assert bench.news == ["a>b down"]

    bench.network.mend(bench.network.link(A, B))
    bench.wait(1.0)
    bench.send(3)
    bench.wait(1.0)

    assert bench.got == [3]
    assert bench.news == ["a>b down", "a>b up"]
    assert bench.network.link(B, A).open


def test_a_quick_reconnection_is_told_as_a_loss_first(bench: Bench) -> None:
    """
    Cut and mended before the sender noticed: down, then up, and nothing of before.
    """
    bench.network.delays.notice_s = 10.0
    bench.send(1)
    bench.network.cut(bench.network.link(A, B))
    bench.network.mend(bench.network.link(A, B))
    bench.wait(0.02)
    bench.send(2)
    bench.wait(5.0)

    assert bench.news == ["a>b down", "a>b up"]
    assert bench.got == [2]


def test_a_stall_delays_and_loses_nothing(bench: Bench) -> None:
    """
    What is in flight and what is sent meanwhile comes afterwards, in order.
    """
    bench.send(1, 2)
    bench.network.stall(bench.network.link(A, B), 3.0)
    bench.send(3)
    bench.wait(2.9)
    assert bench.got == []
    bench.wait(2.0)

    assert bench.got == [1, 2, 3]
    assert bench.news == []


def test_a_receiver_that_restarts_has_lost_what_was_sent_to_it(bench: Bench) -> None:
    """
    Also if it is up again before the message would have arrived.
    """
    bench.send(1)
    bench.up.remove(B)
    bench.network.stopped(B)
    bench.up.add(B)
    bench.network.started(B)
    bench.wait(2.0)
    bench.send(2)
    bench.wait(2.0)

    assert bench.got == [2]
    assert [told for told in bench.news if told.startswith("a>b")] == ["a>b down", "a>b up"]


def test_what_a_killed_sender_sent_may_still_arrive_but_not_after_it_is_back() -> None:
    """
    Over many draws both happen; an older session never follows a newer one.
    """
    outcomes: set[tuple[int, ...]] = set()
    for draw in range(20):
        bench = Bench()
        bench.network._rng.seed(draw)
        bench.send(1)
        bench.up.remove(A)
        bench.network.stopped(A)
        bench.wait(0.05)
        bench.up.add(A)
        bench.network.started(A)
        bench.wait(0.02)
        bench.send(2)
        bench.wait(5.0)
        outcomes.add(tuple(bench.got))

    assert outcomes == {(1, 2), (2,)}
