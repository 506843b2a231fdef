"""A saga whose every party is killed after everything it does, one run for each.

An agent books three things, and gives up; a worker undoes them. Whoever is killed, the next
one goes on from the log alone. What the dead one was about to do outside is never done in
one run, and in another only when all is over, as by a process that was stopped and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from raftstate.core import effect_queries
from raftstate.v1.effect_service_pb2 import Saga, SagaState
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core import effect_story as say
from tests.core.bench import Bench, expire_session, reason, replayed

BOOKINGS = ["flight", "hotel", "car"]
PLAN = "saga/trip"
# More than there is to do in any run, so that none of it is left out.
POINTS = range(1, 31)


class Outside:
    """A service that takes each key once, and refuses one that was undone."""

    def __init__(self) -> None:
        self.booked: list[str] = []
        self.undone: list[str] = []
        self.tombstones: set[str] = set()
        self.refused: list[str] = []

    def book(self, key: str) -> None:
        if key in self.tombstones:
            self.refused.append(key)
        elif key not in self.booked:
            self.booked.append(key)

    def undo(self, key: str) -> None:
        if key in self.booked and key not in self.tombstones:
            self.undone.append(key)
        self.tombstones.add(key)


class Trip:
    """The run of one saga. Each party yields before everything that it does."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.outside = Outside()
        self.sessions = 0
        self.said = Outcome()
        # All who are alive have done what they had to.
        self.over = False

    def do(self, make: Callable[..., Command], *said: object) -> None:
        """Send a command, which only one who is dead may be refused."""
        self.said = self.bench.one(make(self.bench, *said))
        assert self.over or not reason(self.said), self.said

    def session(self) -> str:
        self.sessions += 1
        name = f"s{self.sessions}"
        self.bench.open(name)
        return name

    def saga(self) -> Saga | None:
        return effect_queries.get_saga(self.bench.store, "trip")

    def agent(self, by: str) -> Iterator[Callable[[], None]]:
        """Books, and gives up; a successor that finds a saga under way only gives up."""
        yield partial(self.do, Bench.acquire, by, "a")
        fence = self.said.acquire_ownership.ownership.fence
        saga = self.saga()
        if saga is None:
            yield partial(self.do, say.begin_saga, by, "trip", "a", fence)
            for name in BOOKINGS:
                new = say.new_effect(f"{name} undo=cancel saga=trip")
                done = say.closing(f"{name} committed")
                yield partial(self.do, say.prepare, by, "a", fence, new)
                yield partial(self.do, say.dispatch, by, "a", fence, name)
                yield partial(self.outside.book, name)
                yield partial(self.do, say.complete, by, "a", fence, done)
        if saga is None or saga.state == SagaState.SAGA_STATE_RUNNING:
            yield partial(self.do, say.abort_saga, by, "trip", "a", fence)

    def worker(self, by: str) -> Iterator[Callable[[], None]]:
        """Undoes what there is, one after the other."""
        while (saga := self.saga()) and saga.state == SagaState.SAGA_STATE_COMPENSATING:
            yield partial(self.do, say.claim, by, PLAN)
            claim, item = (
                self.said.claim_compensations.claim,
                self.said.claim_compensations.item,
            )
            yield partial(self.outside.undo, item.effect_id)
            yield partial(self.do, say.undone, by, PLAN, claim.fence, item.position)

    def run(self, crash_at: int) -> list[Callable[[], None]]:
        """Run every party to its end; kill the one whose turn comes at a point, and let
        another follow. What the dead ones had not done."""
        left, point = [], 0
        for party in (self.agent, self.worker):
            finished = False
            while not finished:
                by, finished = self.session(), True
                for do in party(by):
                    point += 1
                    if point == crash_at:
                        left.append(do)
                        self.bench.one(expire_session(by, self.bench.touched(by)))
                        finished = False
                        break
                    do()
        self.over = True
        return left


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("crash_at", POINTS)
def test_whoever_is_killed_all_is_undone_once_and_in_reverse(
    crash_at: int, resumed: bool
) -> None:
    """
    Every booking that was made is undone once, the newest first; nothing is left open; and
    what a dead process does late has no effect.
    """
    trip = Trip()
    left = trip.run(crash_at)
    booked = list(trip.outside.booked)
    for do in left if resumed else ():
        do()

    saga = trip.saga()
    agent = trip.bench.agent("a")
    assert saga is not None and saga.state == SagaState.SAGA_STATE_COMPENSATED
    assert trip.outside.booked == booked
    assert trip.outside.undone == booked[::-1]
    assert (saga.open_effects, agent.open_effects) == (0, 0)
    assert replayed(trip.bench.log) == trip.bench.store


def test_the_loop_reaches_every_point() -> None:
    """
    Without a crash there are fewer points than are tried, and all three are booked.
    """
    points = 0
    trip = Trip()
    for party in (trip.agent, trip.worker):
        for do in party(trip.session()):
            points += 1
            do()

    assert 20 < points < len(POINTS)
    assert trip.outside.undone == BOOKINGS[::-1]


def test_a_late_original_is_refused_by_its_tombstone() -> None:
    """
    Stopped between its dispatch and its call, and resumed after the compensation, it finds
    the door shut: the first such call is the fifth point.
    """
    trip = Trip()
    (late,) = trip.run(5)
    late()

    assert (trip.outside.booked, trip.outside.refused) == ([], ["flight"])
