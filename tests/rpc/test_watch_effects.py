"""Watches of effects, sagas, rollbacks, breakers and incidents: what they tell is held
against what there was before and after each command, by looking."""

from __future__ import annotations

from typing import Any

import pytest

from raftstate.v1.common_pb2 import Label
from raftstate.v1.effect_service_pb2 import BeginSagaRequest
from raftstate.v1.store_pb2 import Command, Outcome
from raftstate.v1.watch_service_pb2 import (
    Change,
    ResourceType,
    Selector,
    WatchRequest,
    WatchStart,
)
from tests.rpc.harness import Bench, run
from tests.rpc.stories_of_breakers import put, report, reported
from tests.rpc.stories_of_effects import (
    abort,
    begin,
    claim,
    complete,
    done_since,
    finish,
    prepare,
    start,
    undone,
)
from tests.rpc.watching import Everything, difference, everything, in_order, named

NEW = [
    ResourceType.RESOURCE_TYPE_EFFECT,
    ResourceType.RESOURCE_TYPE_SAGA,
    ResourceType.RESOURCE_TYPE_ROLLBACK,
    ResourceType.RESOURCE_TYPE_BREAKER,
    ResourceType.RESOURCE_TYPE_INCIDENT,
]
BLUE = Label(name="colour", value="blue")
SELECTORS: dict[str, Selector] = {
    "all of them": Selector(types=NEW),
    "everything": Selector(),
    "effects of an agent": Selector(types=NEW[:1], prefix=b"a", exact=True),
    "what has a label": Selector(labels=[BLUE]),
    "one saga": Selector(types=NEW[1:2], prefix=b"trip/", exact=False),
    **{ResourceType.Name(kind): Selector(types=[kind]) for kind in NEW},
}


class Noted:
    """What there is after each revision, by looking, and what each changed."""

    def __init__(self, b: Bench) -> None:
        self._b = b
        self._apply = b.fake.apply
        self.first = b.fake.machine.revision
        self.states: dict[int, Everything] = {self.first: everything(b.fake.state.store)}
        self.changes: dict[int, list[Change]] = {}
        b.fake.apply = self._noted  # type: ignore[method-assign]

    def _noted(self, command: Command) -> Outcome:
        outcome = self._apply(command)
        revision = self._b.fake.machine.revision
        self.states[revision] = everything(self._b.fake.state.store)
        before = self.states[revision - 1]
        self.changes[revision] = in_order(difference(before, self.states[revision]))
        return outcome

    def expected(self, selector: Selector) -> dict[int, list[Change]]:
        """What a watch from the first revision on has to tell."""
        found = {
            revision: [one for one in changes if named(selector, one)]
            for revision, changes in self.changes.items()
        }
        return {revision: changes for revision, changes in found.items() if changes}


async def much(b: Bench) -> None:
    """Something of each kind comes, changes and, of breakers, goes."""
    fence = await b.own("a/x")
    await b.effects.BeginSaga(
        BeginSagaRequest(
            request_id=b.request_id(),
            saga_id="blue",
            agent_id="a/x",
            fence=fence,
            labels=[BLUE],
        )
    )
    fence = await done_since(b, "early")
    await begin(b, fence)
    for name in ("one", "two"):
        await prepare(b, fence, name, saga_id="trip/1")
        await complete(b, fence, name)
    await abort(b, fence)
    await undone(b, await claim(b, "saga/trip/1"))
    begun = await start(b)
    while (claimed := await claim(b, begun.undoing.plan_id)).HasField("item"):
        if not (await undone(b, claimed)).undoing.open:
            break
    await finish(b, begun.rollback_id)
    await put(b)
    await report(b, failures=1)
    await report(b, failures=2)
    await reported(b)


async def told(b: Bench, request: WatchRequest, last: int) -> dict[int, list[Change]]:
    """What a watch tells up to a revision, by revision."""
    call = b.watches.Watch(request)
    found: dict[int, list[Change]] = {}
    while True:
        message: Any = await call.read()
        revision = message.header.revision
        if message.changes:
            found.setdefault(revision, []).extend(message.changes)
        if revision >= last and not message.continued:
            call.cancel()
            return {each: in_order(changes) for each, changes in found.items()}


@pytest.mark.parametrize("name", SELECTORS)
def test_every_change_is_told_once_with_what_there_was(name: str) -> None:
    """
    Each revision's changes, those that the selector names, with the resource after and
    before; and nothing else.
    """
    selector = SELECTORS[name]

    async def story(b: Bench) -> None:
        noted = Noted(b)
        await much(b)
        last = b.fake.machine.revision
        request = WatchRequest(
            selector=selector,
            start=WatchStart.WATCH_START_REVISION,
            revision=noted.first + 1,
            progress_ms=100,
            with_previous=True,
        )

        found = await told(b, request, last)

        expected = noted.expected(selector)
        assert found == expected
        kinds = {one.type for changes in expected.values() for one in changes}
        assert set(selector.types) <= kinds or selector.exact
        assert kinds

    run(story)


def test_a_snapshot_has_what_there_is() -> None:
    """
    All of the new kinds at one revision, none that is said to be new.
    """

    async def story(b: Bench) -> None:
        await much(b)
        revision = b.fake.machine.revision
        request = WatchRequest(
            selector=Selector(types=NEW), start=WatchStart.WATCH_START_SNAPSHOT
        )

        found = await told(b, request, revision)

        there = difference({}, everything(b.fake.state.store))
        wanted = in_order([one for one in there if one.type in NEW])
        for one in wanted:
            one.created = False
        assert found == {revision: wanted}
        assert {one.type for one in wanted} == set(NEW)

    run(story)
