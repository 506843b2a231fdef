"""The calls about breakers, incidents, validations and replays, each on its happy path."""

from __future__ import annotations

from typing import Any

from raftstate.content import state_hash
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    Breaker,
    BreakerConfig,
    BreakerState,
    DeleteBreakerRequest,
    ForceCloseRequest,
    ForceOpenRequest,
    GetBreakerRequest,
    ListBreakersRequest,
    PutBreakerRequest,
    ReportOutcomesRequest,
    ReportOutcomesResponse,
    ResetRequest,
)
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.recording_pb2 import NewRecording, RecordingKind
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    Classification,
    Evidence,
    GetIncidentRequest,
    Incident,
    ListIncidentsRequest,
    ReportSymptomRequest,
    ReportValidationRequest,
    ResolveIncidentRequest,
    Symptom,
)
from raftstate.v1.replay_service_pb2 import (
    GetRecordedRequest,
    ReconstructRequest,
    RecordValueRequest,
    RecordValueResponse,
    Reducer,
    VerifyReplayRequest,
)
from raftstate.v1.step_service_pb2 import CommitStepRequest
from tests.rpc.harness import Bench, refused
from tests.rpc.stories_of_effects import done_since, finish, start
from tests.rpc.stories_of_keys import Story, validator

CONFIG = BreakerConfig(count_window=10, failure_rate=0.5, minimum_calls=2, open_ms=1_000)


async def put(b: Bench, name: str = "cars") -> None:
    """Make a breaker that trips when half of two calls fail."""
    request = PutBreakerRequest(request_id=b.request_id(), name=name, config=CONFIG)
    await b.breakers.PutBreaker(request)


async def breaker_of(b: Bench, name: str = "cars") -> Breaker:
    """A breaker as it is now."""
    found: Breaker = (await b.breakers.GetBreaker(GetBreakerRequest(name=name))).breaker
    return found


async def report(b: Bench, failures: int, name: str = "cars") -> ReportOutcomesResponse:
    """Say that so many of two calls have failed."""
    request = ReportOutcomesRequest(
        request_id=b.request_id(),
        name=name,
        generation=(await breaker_of(b, name)).generation,
        calls=2,
        failures=failures,
        error="no answer" if failures else "",
    )
    response: ReportOutcomesResponse = await b.breakers.ReportOutcomes(request)
    return response


async def reported(b: Bench, summary: str = "odd", **fields: Any) -> str:
    """Open an incident; which."""
    request = ReportSymptomRequest(
        request_id=b.request_id(),
        symptom=Symptom.SYMPTOM_REPORTED,
        summary=summary,
        evidence=[Evidence(kind="text", ref="it looks odd")],
        **fields,
    )
    incident_id: str = (await b.recovery.ReportSymptom(request)).incident_id
    return incident_id


async def incident_of(b: Bench, incident_id: str) -> Incident:
    """An incident as it is now."""
    request = GetIncidentRequest(incident_id=incident_id)
    found: Incident = (await b.recovery.GetIncident(request)).incident
    return found


async def record(
    b: Bench, fence: FencingToken, key: str = "now", data: bytes = b"1"
) -> RecordValueResponse:
    """Record a value of agent `a`."""
    recording = NewRecording(
        kind=RecordingKind.RECORDING_KIND_TIME, key=key, content_type="t", data=data
    )
    request = RecordValueRequest(
        request_id=b.request_id(), agent_id="a", fence=fence, recording=recording
    )
    response: RecordValueResponse = await b.replays.RecordValue(request)
    return response


async def counted(b: Bench, fence: FencingToken) -> None:
    """A step of agent `a` whose state is a count of events, and a checkpoint of that."""
    event = NewEvent(type="did", content_type="application/json", data=b"1")
    event.state_hash = state_hash({"did": 1})
    await b.steps.CommitStep(
        CommitStepRequest(
            request_id=b.request_id(),
            agent_id="a",
            fence=fence,
            events=[event],
            checkpoint=NewCheckpoint(content_type="application/json", data=b'{"did":1}'),
        )
    )


# --- breakers ------------------------------------------------------------------------


async def put_breaker(b: Bench) -> None:
    await put(b)
    found = await breaker_of(b)
    assert (found.state, found.generation) == (BreakerState.BREAKER_STATE_CLOSED, 1)
    assert (found.config.count_window, found.config.probes) == (10, 1)


async def delete_breaker(b: Bench) -> None:
    await put(b)
    request = DeleteBreakerRequest(request_id=b.request_id(), name="cars")
    await b.breakers.DeleteBreaker(request)
    said = await refused(b.breakers.GetBreaker(GetBreakerRequest(name="cars")))
    assert said.reason == "BREAKER_NOT_FOUND"


async def get_breaker(b: Bench) -> None:
    await put(b)
    found = await b.breakers.GetBreaker(GetBreakerRequest(name="cars"))
    assert found.log_time_ms == b.fake.machine.log_time_ms
    assert found.breaker.changed_revision == found.header.revision


async def list_breakers(b: Bench) -> None:
    for name in ("a/1", "a/2", "a/3", "b"):
        await put(b, name)
    page = await b.breakers.ListBreakers(ListBreakersRequest(prefix="a/", page_size=2))
    assert [one.name for one in page.breakers] == ["a/1", "a/2"]
    rest = await b.breakers.ListBreakers(
        ListBreakersRequest(prefix="a/", page_token=page.next_page_token)
    )
    assert [one.name for one in rest.breakers] == ["a/3"]


async def acquire_permit(b: Bench) -> None:
    await put(b)
    request = AcquirePermitRequest(request_id=b.request_id(), name="cars")
    closed = await b.breakers.AcquirePermit(request)
    assert (closed.state, closed.permit_id) == (BreakerState.BREAKER_STATE_CLOSED, 0)
    await report(b, failures=2)
    said = await refused(
        b.breakers.AcquirePermit(AcquirePermitRequest(request_id=b.request_id(), name="cars"))
    )
    assert (said.code, said.reason, said.definite) == ("UNAVAILABLE", "BREAKER_OPEN", True)


async def report_outcomes(b: Bench) -> None:
    await put(b)
    fine = await report(b, failures=0)
    assert (fine.state, fine.counted) == (BreakerState.BREAKER_STATE_CLOSED, True)
    tripped = await report(b, failures=2)
    assert (tripped.state, tripped.generation) == (BreakerState.BREAKER_STATE_OPEN, 2)
    incident = await incident_of(b, tripped.incident_id)
    assert (incident.symptom, incident.breaker) == (Symptom.SYMPTOM_BREAKER_TRIPPED, "cars")


async def force_open(b: Bench) -> None:
    await put(b)
    request = ForceOpenRequest(request_id=b.request_id(), name="cars", reason="works")
    await b.breakers.ForceOpen(request)
    found = await breaker_of(b)
    assert (found.state, found.reason) == (BreakerState.BREAKER_STATE_FORCED_OPEN, "works")


async def force_close(b: Bench) -> None:
    await put(b)
    request = ForceCloseRequest(request_id=b.request_id(), name="cars")
    await b.breakers.ForceClose(request)
    await report(b, failures=2)
    assert (await breaker_of(b)).state == BreakerState.BREAKER_STATE_FORCED_CLOSED


async def reset(b: Bench) -> None:
    await force_open(b)
    await b.breakers.Reset(ResetRequest(request_id=b.request_id(), name="cars"))
    found = await breaker_of(b)
    assert (found.state, found.counts.calls) == (BreakerState.BREAKER_STATE_CLOSED, 0)


# --- incidents -----------------------------------------------------------------------


async def report_symptom(b: Bench) -> None:
    await b.own()
    incident_id = await reported(b, agent_ids=["a"])
    found = await incident_of(b, incident_id)
    assert (found.summary, list(found.agent_ids), found.open) == ("odd", ["a"], True)
    assert found.classification == Classification.CLASSIFICATION_UNKNOWN


async def get_incident(b: Bench) -> None:
    incident_id = await reported(b)
    found = await incident_of(b, incident_id)
    assert (found.incident_id, found.evidence[0].ref) == (incident_id, "it looks odd")
    assert found.opened_revision == b.fake.machine.revision


async def list_incidents(b: Bench) -> None:
    ids = [await reported(b, f"n{number}") for number in range(3)]
    page = await b.recovery.ListIncidents(ListIncidentsRequest(page_size=2))
    assert [one.incident_id for one in page.incidents] == ids[:2]
    rest = await b.recovery.ListIncidents(ListIncidentsRequest(page_token=page.next_page_token))
    assert [one.incident_id for one in rest.incidents] == ids[2:]


async def annotate_incident(b: Bench) -> None:
    incident_id = await reported(b)
    request = AnnotateIncidentRequest(
        request_id=b.request_id(),
        incident_id=incident_id,
        by="me",
        text="I have seen this",
        classification=Classification.CLASSIFICATION_BAD_OUTPUT,
    )
    await b.recovery.AnnotateIncident(request)
    found = await incident_of(b, incident_id)
    assert (found.notes[0].by, found.notes[0].text) == ("me", "I have seen this")
    assert found.classification == Classification.CLASSIFICATION_BAD_OUTPUT


async def resolve_incident(b: Bench) -> None:
    incident_id = await reported(b)
    request = ResolveIncidentRequest(
        request_id=b.request_id(), incident_id=incident_id, resolution="it was nothing"
    )
    await b.recovery.ResolveIncident(request)
    assert (await incident_of(b, incident_id)).resolution == "it was nothing"
    left = await b.recovery.ListIncidents(ListIncidentsRequest(only_open=True))
    assert list(left.incidents) == []


async def report_validation(b: Bench) -> None:
    await validator(b, "v")
    await done_since(b)
    begun = await start(b, validators=["v"])
    request = ReportValidationRequest(
        request_id=b.request_id(),
        validator="v",
        agent_id="a",
        rollback_id=begun.rollback_id,
        passed=True,
        evidence="looked",
    )
    await b.recovery.ReportValidation(request)
    await finish(b, begun.rollback_id)


# --- replays -------------------------------------------------------------------------


async def record_value(b: Bench) -> None:
    fence = await b.own()
    first = await record(b, fence)
    assert (first.step, first.existed) == (1, False)
    again = await record(b, fence, data=b"2")
    assert (again.step, again.existed) == (1, True)
    found = await b.replays.GetRecorded(GetRecordedRequest(agent_id="a"))
    assert [one.data for one in found.recordings] == [b"1"]


async def get_recorded(b: Bench) -> None:
    fence = await b.own()
    for key in ("b", "a"):
        await record(b, fence, key)
    await counted(b, fence)
    await record(b, fence, "b", b"2")
    page = await b.replays.GetRecorded(GetRecordedRequest(agent_id="a", page_size=2))
    assert [(one.step, one.key) for one in page.recordings] == [(1, "a"), (1, "b")]
    rest = await b.replays.GetRecorded(
        GetRecordedRequest(agent_id="a", page_token=page.next_page_token)
    )
    assert [(one.step, one.key) for one in rest.recordings] == [(2, "b")]
    named = await b.replays.GetRecorded(GetRecordedRequest(agent_id="a", key="b"))
    assert [(one.step, one.data) for one in named.recordings] == [(1, b"1"), (2, b"2")]
    second = await b.replays.GetRecorded(GetRecordedRequest(agent_id="a", from_step=2))
    assert list(second.recordings) == list(rest.recordings)


async def verify_replay(b: Bench) -> None:
    await counted(b, await b.own())
    request = VerifyReplayRequest(agent_id="a", reducer=Reducer.REDUCER_COUNT)
    response = await b.replays.VerifyReplay(request)
    assert not response.HasField("divergence")
    assert (response.events, response.hashes_compared) == (1, 1)
    assert response.checkpoints_compared == 1


async def reconstruct(b: Bench) -> None:
    await counted(b, await b.own())
    request = ReconstructRequest(agent_id="a", reducer=Reducer.REDUCER_COUNT)
    response = await b.replays.Reconstruct(request)
    assert (response.event_seq, response.state) == (1, b'{"did":1}')


STORIES: dict[str, Story] = {
    "BreakerService.PutBreaker": put_breaker,
    "BreakerService.DeleteBreaker": delete_breaker,
    "BreakerService.GetBreaker": get_breaker,
    "BreakerService.ListBreakers": list_breakers,
    "BreakerService.AcquirePermit": acquire_permit,
    "BreakerService.ReportOutcomes": report_outcomes,
    "BreakerService.ForceOpen": force_open,
    "BreakerService.ForceClose": force_close,
    "BreakerService.Reset": reset,
    "RecoveryService.ReportValidation": report_validation,
    "RecoveryService.ReportSymptom": report_symptom,
    "RecoveryService.GetIncident": get_incident,
    "RecoveryService.ListIncidents": list_incidents,
    "RecoveryService.AnnotateIncident": annotate_incident,
    "RecoveryService.ResolveIncident": resolve_incident,
    "ReplayService.RecordValue": record_value,
    "ReplayService.GetRecorded": get_recorded,
    "ReplayService.VerifyReplay": verify_replay,
    "ReplayService.Reconstruct": reconstruct,
}
