"""Pages of lists whose rows are large: they end before they are too much for a message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.message import Message

from raftstate.core import keys, pages
from raftstate.rpc.frontend import Limits
from raftstate.v1.agent_service_pb2 import Agent, ListAgentsRequest
from raftstate.v1.breaker_service_pb2 import Breaker, BreakerConfig, ListBreakersRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    GroupCheckpoint,
    GroupMember,
    ListCheckpointsRequest,
    ListGroupCheckpointsRequest,
)
from raftstate.v1.common_pb2 import Label
from raftstate.v1.effect_service_pb2 import (
    Effect,
    ListEffectsRequest,
    ListSagasRequest,
    Saga,
)
from raftstate.v1.recording_pb2 import Recording
from raftstate.v1.recovery_service_pb2 import Evidence, Incident, ListIncidentsRequest
from raftstate.v1.replay_service_pb2 import GetRecordedRequest
from raftstate.v1.rollback_service_pb2 import (
    ListRollbacksRequest,
    Rollback,
    RolledBack,
)
from tests.rpc.harness import Bench, bench, run
from tests.rpc.stories_of_keys import put_key
from tests.rpc.test_reads import AT_REVISION, LISTS
from tests.rpc.test_watch_turns import most_in_a_turn

# As many and as large as may be.
LABELS = [Label(name=f"{at:063}", value="ü" * 255) for at in range(32)]
MEMBERS = [GroupMember(agent_id=f"{at:0200}", checkpoint_id=1) for at in range(32)]


def agent(at: int) -> tuple[bytes, Message]:
    name = f"a{at:04}"
    return keys.agent(name), Agent(agent_id=name, labels=LABELS)


def checkpoint(at: int) -> tuple[bytes, Message]:
    found = Checkpoint(agent_id="a0000", checkpoint_id=at + 1, labels=LABELS)
    return keys.checkpoint("a0000", at + 1), found


def group(at: int) -> tuple[bytes, Message]:
    name = f"g{at:04}"
    return keys.group(name), GroupCheckpoint(group_id=name, members=MEMBERS)


def effect(at: int) -> tuple[bytes, Message]:
    found = Effect(agent_id="a0000", number=at + 1, arguments=bytes(20 << 10))
    return keys.effect("a0000", at + 1), found


def saga(at: int) -> tuple[bytes, Message]:
    name = f"s{at:04}"
    return keys.saga(name), Saga(saga_id=name, labels=LABELS)


def rollback(at: int) -> tuple[bytes, Message]:
    name, agents = f"{at:016x}", [RolledBack(agent_id=one.agent_id) for one in MEMBERS]
    return keys.rollback(name), Rollback(rollback_id=name, agents=agents)


def breaker(at: int) -> tuple[bytes, Message]:
    name, ignored = f"b{at:04}", ["ü" * 128] * 64
    return keys.breaker(name), Breaker(name=name, config=BreakerConfig(ignored_errors=ignored))


def incident(at: int) -> tuple[bytes, Message]:
    name, evidence = f"{at:016x}", [Evidence(kind="text", ref="ü" * 300)] * 64
    return keys.incident(name), Incident(incident_id=name, evidence=evidence)


def recording(at: int) -> tuple[bytes, Message]:
    found = Recording(agent_id="a0000", step=at + 1, key="k", data=bytes(20 << 10))
    return keys.recording("a0000", at + 1, "k"), found


@pytest.mark.parametrize(
    ("row", "count", "call", "request_of", "field"),
    [
        (agent, 250, "agents.ListAgents", ListAgentsRequest(), "agents"),
        (
            checkpoint,
            250,
            "checkpoints.ListCheckpoints",
            ListCheckpointsRequest(agent_id="a0000"),
            "checkpoints",
        ),
        (
            group,
            700,
            "checkpoints.ListGroupCheckpoints",
            ListGroupCheckpointsRequest(),
            "groups",
        ),
        (
            effect,
            250,
            "effects.ListEffects",
            ListEffectsRequest(agent_id="a0000"),
            "effects",
        ),
        (saga, 250, "effects.ListSagas", ListSagasRequest(), "sagas"),
        (rollback, 700, "rollbacks.ListRollbacks", ListRollbacksRequest(), "rollbacks"),
        (breaker, 300, "breakers.ListBreakers", ListBreakersRequest(), "breakers"),
        (incident, 150, "recovery.ListIncidents", ListIncidentsRequest(), "incidents"),
        (
            recording,
            250,
            "replays.GetRecorded",
            GetRecordedRequest(agent_id="a0000"),
            "recordings",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_page_of_large_rows_fits_into_a_message(
    row: Any, count: int, call: str, request_of: Any, field: str
) -> None:
    """
    A thousand are asked for, which would be more than a client takes: it gets as many as
    fit, and the others after them, each once.
    """

    async def story(b: Bench) -> None:
        rows = dict([agent(0), *map(row, range(count))])
        for key, message in rows.items():
            b.fake.state.store.put(key, message.SerializeToString(deterministic=True))
        wanted = [message for key, message in rows.items() if key[:1] == row(0)[0][:1]]
        assert sum(message.ByteSize() for message in wanted) > 4 << 20
        service, _, method = call.partition(".")
        read = getattr(getattr(b, service), method)
        request = type(request_of)(page_size=1_000)
        request.MergeFrom(request_of)
        found: list[Message] = []
        while True:
            page = await read(request)
            assert page.ByteSize() < 600 << 10
            found += getattr(page, field)
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        assert found == (wanted[::-1] if field == "checkpoints" else wanted)

    run(story)


def test_what_is_looked_at_shows_that_there_is_more() -> None:
    """
    Behind the row that is too much comes one more, also where that is the first.
    """
    rows = [(b"", b"x" * size) for size in (5, 1, 1, 1, 9)]
    sizes = {most: len(list(pages.looked_at(rows, 5, most))) for most in (1, 5, 6, 7, 8)}
    assert sizes == {1: 2, 5: 3, 6: 4, 7: 5, 8: 5}
    assert len(list(pages.looked_at(rows, 3, 99))) == 3
    assert len(list(pages.looked_at(rows, 9, None))) == 5


# Recorded values have no history: those that came later are looked at as any that a filter
# leaves out, so many to a page.
@pytest.mark.parametrize("name", sorted(LISTS.keys() - {"GetRecorded"}))
def test_what_was_not_there_yet_is_passed_over_in_slices(name: str) -> None:
    """
    A page of an earlier revision passes over what came after it, no more than a little in
    one view.
    """
    listed = LISTS[name]

    async def tell() -> None:
        async with bench(Limits(slice_rows=2)) as b:
            await b.open()
            for place in (1, 9):
                await listed.make(b, f"r{place}")
            page = await listed.read(b)
            revision = page.header.revision
            for place in range(10, 30):
                await listed.make(b, f"r{place}")
            views = b.fake.state.views
            then = await listed.read(b, consistency=AT_REVISION, revision=revision)
            assert listed.rows(then) == listed.rows(page)
            assert b.fake.state.views - views >= 10

    asyncio.run(tell())


def test_lists_that_pass_over_much_take_turns() -> None:
    """
    Ten read at once: after their first views there is one in a turn of the loop.
    """

    async def story(b: Bench) -> None:
        await put_key(b, b"k")
        revision = b.fake.machine.revision
        for place in range(40):
            await put_key(b, b"k%02d" % place)
        look = b.server._frontend.look
        reads = [look(revision, lambda reader: [*reader.scan(b"k", b"l")]) for _ in range(10)]
        reading = asyncio.gather(*reads)
        await asyncio.sleep(0)
        assert await most_in_a_turn(lambda: b.fake.state.views, reading) == 1
        assert all(len(found) == 1 for found, _ in await reading)

    async def tell() -> None:
        async with bench(Limits(slice_rows=4)) as b:
            await b.open()
            await story(b)

    asyncio.run(tell())
