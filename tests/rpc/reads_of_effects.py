"""The reads of effects and of all that is done about them, for the tests of reads: what
each finds, how that is changed, and which of them are lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from raftstate.v1.breaker_service_pb2 import (
    DeleteBreakerRequest,
    GetBreakerRequest,
    ListBreakersRequest,
)
from raftstate.v1.effect_service_pb2 import (
    GetEffectRequest,
    GetSagaRequest,
    ListEffectsRequest,
    ListSagasRequest,
)
from raftstate.v1.recovery_service_pb2 import (
    GetIncidentRequest,
    ListIncidentsRequest,
    ResolveIncidentRequest,
)
from raftstate.v1.replay_service_pb2 import GetRecordedRequest, Reducer, VerifyReplayRequest
from raftstate.v1.rollback_service_pb2 import GetRollbackRequest, ListRollbacksRequest
from tests.rpc.harness import Bench
from tests.rpc.stories_of_breakers import counted, put, record, report, reported
from tests.rpc.stories_of_effects import (
    abort,
    begin,
    checkpointed,
    claim,
    complete,
    done_since,
    finish,
    prepare,
    start,
    undone,
)

Read = Callable[[Bench, dict[str, Any]], Awaitable[Any]]


class Paged(NamedTuple):
    """A list: what makes a row, what changes or removes some, a page of it and the page's
    rows."""

    make: Callable[[Bench, str], Awaitable[Any]]
    spoil: Callable[[Bench], Awaitable[Any]]
    read: Callable[..., Awaitable[Any]]
    rows: Callable[[Any], list[Any]]


async def own_again(b: Bench) -> Any:
    """The fence of agent `a`, which this session owns; it is acquired once."""
    if "fence" not in b.stubs:
        b.stubs["fence"] = await b.own("a")
    return b.stubs["fence"]


async def nothing(_b: Bench) -> None:
    """New rows alone will do."""


# --- every read that takes a revision ------------------------------------------------


async def one_of_each(b: Bench) -> None:
    """Something for every read to find: an effect of a saga that is undone, a rollback that
    has begun, a breaker, an incident, a recorded value."""
    fence = await own_again(b)
    await begin(b, fence, "trip")
    await prepare(b, fence, "e", saga_id="trip")
    await complete(b, fence, "e")
    await abort(b, fence, "trip")
    await record(b, fence, "r1")
    await counted(b, fence)
    await done_since(b, agent_id="back")
    b.stubs["rollback"] = (await start(b, "back")).rollback_id
    await put(b)
    b.stubs["incident"] = await reported(b)


async def change_all(b: Bench) -> None:
    """Change what every read finds."""
    fence = await own_again(b)
    await undone(b, await claim(b, "saga/trip"))
    await prepare(b, fence, "other")
    await record(b, fence, "r2")
    await checkpointed(b, fence)
    await finish(b, b.stubs["rollback"])
    await report(b, failures=1)
    await resolve(b, b.stubs["incident"])


async def resolve(b: Bench, incident_id: str) -> None:
    await b.recovery.ResolveIncident(
        ResolveIncidentRequest(request_id=b.request_id(), incident_id=incident_id)
    )


async def _breaker(b: Bench, at: dict[str, Any]) -> Any:
    """A breaker, without the time that it is now."""
    found = await b.breakers.GetBreaker(GetBreakerRequest(name="cars", **at))
    found.ClearField("log_time_ms")
    return found


READS: dict[str, Read] = {
    "GetEffect": lambda b, at: b.effects.GetEffect(
        GetEffectRequest(agent_id="a", effect_id="e", **at)
    ),
    "ListEffects": lambda b, at: b.effects.ListEffects(ListEffectsRequest(agent_id="a", **at)),
    "GetSaga": lambda b, at: b.effects.GetSaga(GetSagaRequest(saga_id="trip", **at)),
    "ListSagas": lambda b, at: b.effects.ListSagas(ListSagasRequest(**at)),
    "GetRollback": lambda b, at: b.rollbacks.GetRollback(
        GetRollbackRequest(rollback_id=b.stubs["rollback"], **at)
    ),
    "ListRollbacks": lambda b, at: b.rollbacks.ListRollbacks(ListRollbacksRequest(**at)),
    "GetBreaker": _breaker,
    "ListBreakers": lambda b, at: b.breakers.ListBreakers(ListBreakersRequest(**at)),
    "GetIncident": lambda b, at: b.recovery.GetIncident(
        GetIncidentRequest(incident_id=b.stubs["incident"], **at)
    ),
    "ListIncidents": lambda b, at: b.recovery.ListIncidents(
        ListIncidentsRequest(only_open=True, **at)
    ),
    "GetRecorded": lambda b, at: b.replays.GetRecorded(GetRecordedRequest(agent_id="a", **at)),
    "VerifyReplay": lambda b, at: b.replays.VerifyReplay(
        VerifyReplayRequest(agent_id="a", reducer=Reducer.REDUCER_COUNT, **at)
    ),
}

# --- lists ---------------------------------------------------------------------------


async def make_effect(b: Bench, name: str) -> None:
    await prepare(b, await own_again(b), name)


async def complete_some(b: Bench) -> None:
    for name in ("r1", "r3"):
        await complete(b, await own_again(b), name)


async def make_saga(b: Bench, name: str) -> None:
    await begin(b, await own_again(b), name)


async def abort_some(b: Bench) -> None:
    for name in ("r1", "r3"):
        await abort(b, await own_again(b), name)


async def make_rollback(b: Bench, name: str) -> None:
    await done_since(b, agent_id=name)
    b.stubs[name] = (await start(b, name)).rollback_id


async def finish_some(b: Bench) -> None:
    for name in ("r1", "r3"):
        await finish(b, b.stubs[name])


async def delete_some(b: Bench) -> None:
    for name in ("r1", "r3"):
        await b.breakers.DeleteBreaker(
            DeleteBreakerRequest(request_id=b.request_id(), name=name)
        )


async def make_incident(b: Bench, name: str) -> None:
    b.stubs[name] = await reported(b, name)


async def resolve_some(b: Bench) -> None:
    for name in ("r1", "r3"):
        await resolve(b, b.stubs[name])


async def make_recording(b: Bench, name: str) -> None:
    await record(b, await own_again(b), name)


LISTS: dict[str, Paged] = {
    "ListEffects": Paged(
        make_effect,
        complete_some,
        lambda b, **page: b.effects.ListEffects(ListEffectsRequest(agent_id="a", **page)),
        lambda page: list(page.effects),
    ),
    "ListSagas": Paged(
        make_saga,
        abort_some,
        lambda b, **page: b.effects.ListSagas(ListSagasRequest(prefix="r", **page)),
        lambda page: list(page.sagas),
    ),
    "ListRollbacks": Paged(
        make_rollback,
        finish_some,
        lambda b, **page: b.rollbacks.ListRollbacks(ListRollbacksRequest(**page)),
        lambda page: list(page.rollbacks),
    ),
    "ListBreakers": Paged(
        put,
        delete_some,
        lambda b, **page: b.breakers.ListBreakers(ListBreakersRequest(prefix="r", **page)),
        lambda page: list(page.breakers),
    ),
    "ListIncidents": Paged(
        make_incident,
        resolve_some,
        lambda b, **page: b.recovery.ListIncidents(ListIncidentsRequest(**page)),
        lambda page: list(page.incidents),
    ),
    "GetRecorded": Paged(
        make_recording,
        nothing,
        lambda b, **page: b.replays.GetRecorded(GetRecordedRequest(agent_id="a", **page)),
        lambda page: list(page.recordings),
    ),
}
