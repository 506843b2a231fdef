"""What golden stories say of breakers and incidents, besides `story`:

    put-breaker B by=S count=N|window=MS [failure=RATE] [slow=RATE] [slow-call=MS]
                [calls=N] [reporters=N] [open=MS] [factor=F] [most=MS]
                [probes=N] [successes=N] [probe-timeout=MS]
                [on=ACTION] [agents=A,B] [group=G] [barrier=POLICY] [validators=V]
    delete-breaker B by=S      permit B by=S
    report B by=S gen=G calls=N [failed=N] [slow=N] [permit=R] [error=TEXT]
    force-open B by=S [why=TEXT]     force-close B ...     reset B ...
    symptom SUMMARY by=S [kind=K] [class=C] [agents=A,B] [evidence=KIND:REF:DETAIL]...
    annotate N by=S who=NAME text=TEXT [class=C]      close-incident N by=S [why=TEXT]

and the reads

    breaker B     breakers PREFIX     incident N     incidents [open | A]

`calls` is the least that must be in the window; an incident goes by its number, which its
id has in hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from raftstate.core import breaker_queries, breakers
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    Breaker,
    BreakerConfig,
    DeleteBreakerRequest,
    ForceCloseRequest,
    ForceOpenRequest,
    PutBreakerRequest,
    ReportOutcomesRequest,
    ResetRequest,
    TripPlan,
)
from raftstate.v1.recovery_service_pb2 import (
    AnnotateIncidentRequest,
    Classification,
    Evidence,
    Incident,
    ListIncidentsRequest,
    ReportSymptomRequest,
    ResolveIncidentRequest,
    Symptom,
)
from raftstate.v1.store_pb2 import Command
from tests.core.bench import Bench
from tests.core.stream_story import Shown

if TYPE_CHECKING:
    from tests.core.story import Line

MANY = 1 << 20
TIMES = ("detected", "fenced", "restored", "compensated", "validated", "resumed", "resolved")


def incident_id(number: int | str) -> str:
    """The id of the so manieth incident."""
    return f"{int(number):016x}"


# --- commands ----------------------------------------------------------------


def _listed(line: Line, name: str) -> list[str]:
    return [each for each in line.text(name).split(",") if each]


def _put_breaker(bench: Bench, line: Line, by: str) -> Command:
    plan = TripPlan(
        action=f"TRIP_ACTION_{line.text('on', 'unspecified').upper()}",
        agent_ids=_listed(line, "agents"),
        group_id=line.text("group"),
        validators=_listed(line, "validators"),
        on_barrier=f"BARRIER_POLICY_{line.text('barrier', 'unspecified').upper()}",
    )
    config = BreakerConfig(
        count_window=line.number("count"),
        time_window_ms=line.number("window"),
        failure_rate=float(line.text("failure", "0")),
        slow_rate=float(line.text("slow", "0")),
        slow_call_ms=line.number("slow-call"),
        minimum_calls=line.number("calls"),
        minimum_reporters=line.number("reporters"),
        open_ms=line.number("open"),
        open_factor=float(line.text("factor", "0")),
        open_max_ms=line.number("most"),
        probes=line.number("probes"),
        successes=line.number("successes"),
        probe_timeout_ms=line.number("probe-timeout"),
        on_trip=plan,
    )
    return put_breaker(bench, by, line.name, config)


def put_breaker(bench: Bench, by: str, name: str, config: BreakerConfig) -> Command:
    """Make or configure a breaker."""
    request_id = bench.request_id(by)
    return Command(
        put_breaker=PutBreakerRequest(request_id=request_id, name=name, config=config)
    )


def delete_breaker(bench: Bench, by: str, name: str) -> Command:
    """Remove a breaker."""
    request = DeleteBreakerRequest(request_id=bench.request_id(by), name=name)
    return Command(delete_breaker=request)


def permit(bench: Bench, by: str, name: str) -> Command:
    """Ask whether one call may be made."""
    request = AcquirePermitRequest(request_id=bench.request_id(by), name=name)
    return Command(acquire_permit=request)


def report(
    bench: Bench,
    by: str,
    name: str,
    generation: int,
    calls: int,
    failures: int = 0,
    slow: int = 0,
    permit_id: int = 0,
    error: str = "",
) -> Command:
    """Say what came of calls."""
    request = ReportOutcomesRequest(
        request_id=bench.request_id(by),
        name=name,
        generation=generation,
        calls=calls,
        failures=failures,
        slow=slow,
        permit_id=permit_id,
        error=error,
    )
    return Command(report_outcomes=request)


def _report(bench: Bench, line: Line, by: str) -> Command:
    return report(
        bench,
        by,
        line.name,
        line.number("gen"),
        line.number("calls"),
        line.number("failed"),
        line.number("slow"),
        line.number("permit"),
        line.text("error"),
    )


def by_hand(bench: Bench, by: str, verb: str, name: str, reason: str = "") -> Command:
    """Set a breaker: `force_open`, `force_close` or `reset`."""
    kinds: dict[str, Any] = {
        "force_open": ForceOpenRequest,
        "force_close": ForceCloseRequest,
        "reset": ResetRequest,
    }
    request = kinds[verb](request_id=bench.request_id(by), name=name, reason=reason)
    return Command(**{verb: request})


def _by_hand(verb: str) -> Callable[[Bench, Line, str], Command]:
    return lambda bench, line, by: by_hand(bench, by, verb, line.name, line.text("why"))


def symptom(
    bench: Bench,
    by: str,
    summary: str,
    agents: list[str] | None = None,
    evidence: list[Evidence] | None = None,
    kind: str = "REPORTED",
    classification: str = "UNSPECIFIED",
) -> Command:
    """Open an incident."""
    request = ReportSymptomRequest(
        request_id=bench.request_id(by),
        symptom=f"SYMPTOM_{kind}",
        classification=f"CLASSIFICATION_{classification}",
        agent_ids=agents or [],
        summary=summary,
        evidence=evidence or [],
    )
    return Command(report_symptom=request)


def _symptom(bench: Bench, line: Line, by: str) -> Command:
    evidence = []
    for each in line.all("evidence"):
        kind, ref, detail = each.split(":", 2)
        evidence.append(Evidence(kind=kind, ref=ref, detail=detail))
    kind = line.text("kind", "reported").upper()
    wanted = line.text("class", "unspecified").upper()
    return symptom(bench, by, line.name, _listed(line, "agents"), evidence, kind, wanted)


def annotate(
    bench: Bench, by: str, number: int, who: str, text: str, classification: str = "UNSPECIFIED"
) -> Command:
    """Add a note to an incident."""
    request = AnnotateIncidentRequest(
        request_id=bench.request_id(by),
        incident_id=incident_id(number),
        by=who,
        text=text,
        classification=f"CLASSIFICATION_{classification}",
    )
    return Command(annotate_incident=request)


def _annotate(bench: Bench, line: Line, by: str) -> Command:
    wanted = line.text("class", "unspecified").upper()
    return annotate(bench, by, int(line.name), line.text("who"), line.text("text"), wanted)


def close_incident(bench: Bench, by: str, number: int, resolution: str = "") -> Command:
    """Resolve an incident by hand."""
    request = ResolveIncidentRequest(
        request_id=bench.request_id(by),
        incident_id=incident_id(number),
        resolution=resolution,
    )
    return Command(resolve_incident=request)


MUTATIONS: dict[str, Callable[[Bench, Line, str], Command]] = {
    "put-breaker": _put_breaker,
    "delete-breaker": lambda bench, line, by: delete_breaker(bench, by, line.name),
    "permit": lambda bench, line, by: permit(bench, by, line.name),
    "report": _report,
    "force-open": _by_hand("force_open"),
    "force-close": _by_hand("force_close"),
    "reset": _by_hand("reset"),
    "symptom": _symptom,
    "annotate": _annotate,
    "close-incident": lambda bench, line, by: close_incident(
        bench, by, int(line.name), line.text("why")
    ),
}

# --- what was said -----------------------------------------------------------


def numbered(name: str) -> str:
    """An incident as it goes by in stories."""
    return str(int(name, 16))


def _permitted(said: Any) -> str:
    words = f"{breakers.state_name(said.state)} gen={said.generation}"
    return f"{words} permit={said.permit_id}" if said.permit_id else f"{words}: call"


def _reported(said: Any) -> str:
    words = "counted" if said.counted else "not counted"
    words += f": {breakers.state_name(said.state)} gen={said.generation}"
    if said.incident_id:
        words += f" incident={numbered(said.incident_id)}"
    return words + (f" rollback={said.rollback_id}" if said.rollback_id else "")


SAID: dict[str, Callable[[Any], str]] = {
    "acquire_permit": _permitted,
    "report_outcomes": _reported,
    "report_symptom": lambda said: f"incident {numbered(said.incident_id)}",
}

# --- reads -------------------------------------------------------------------


def shown_breaker(each: Breaker) -> Iterator[str]:
    """A breaker in plain words, in one line or several."""
    counts = each.counts
    words = f"{each.name} {breakers.state_name(each.state)} gen={each.generation}"
    words += f" calls={counts.calls} failed={counts.failures} slow={counts.slow}"
    if counts.reporters:
        words += f" reporters={','.join(counts.reporters)}"
    if each.open_until_ms:
        words += f" until={each.open_until_ms}"
    if each.in_a_row:
        words += f" in_a_row={each.in_a_row}"
    if each.successes:
        words += f" successes={each.successes}"
    if each.degraded:
        words += " degraded"
    yield f"{words} since={each.changed_revision}/{each.changed_log_time_ms}: {each.reason}"
    for probe in each.permits:
        yield f"  permit {probe.permit_id} of {probe.session_id} at {probe.given_log_time_ms}"


def shown_incident(each: Incident) -> Iterator[str]:
    """An incident in plain words: what, when, and what it is known by."""
    symptom = Symptom.Name(each.symptom).removeprefix("SYMPTOM_")
    kind = Classification.Name(each.classification).removeprefix("CLASSIFICATION_")
    words = f"incident {numbered(each.incident_id)} {symptom} {kind}"
    words += " open" if each.open else " closed"
    if each.agent_ids:
        words += f" agents={','.join(each.agent_ids)}"
    yield f"{words}: {each.summary}"
    times = [(name, getattr(each, f"{name}_ms")) for name in TIMES]
    said = " ".join(f"{name}={at}" for name, at in times if at)
    belongs = [
        f"{name}={getattr(each, name)}"
        for name in ("breaker", "saga_id", "rollback_id")
        if getattr(each, name)
    ]
    yield "  " + " ".join([f"revision={each.opened_revision}", said, *belongs])
    for proof in each.evidence:
        yield f"  {proof.kind} {proof.ref}: {proof.detail}"
    for note in each.notes:
        yield f"  {note.by} at {note.log_time_ms}: {note.text}"
    if not each.open:
        yield f"  closed at revision {each.resolved_revision}: {each.resolution}"


def _read_breaker(shown: Shown, name: str) -> Iterator[str]:
    found = breaker_queries.get_breaker(shown.store, name)
    if found is not None:
        yield from shown_breaker(found)


def _read_breakers(shown: Shown, prefix: str) -> Iterator[str]:
    for each in breaker_queries.list_breakers(shown.store, prefix, "", MANY):
        yield from shown_breaker(each)


def _read_incident(shown: Shown, name: str) -> Iterator[str]:
    found = breaker_queries.get_incident(shown.store, incident_id(name))
    if found is not None:
        yield from shown_incident(found)


def _read_incidents(shown: Shown, which: str) -> Iterator[str]:
    wanted = ListIncidentsRequest(only_open=which == "open")
    wanted.agent_id = "" if which == "open" else which
    page = breaker_queries.list_incidents(shown.store, "", MANY, wanted)
    return (next(shown_incident(each)) for each in page.incidents)


READS: dict[str, Callable[[Shown, str], Iterator[str]]] = {
    "breaker": _read_breaker,
    "breakers": _read_breakers,
    "incident": _read_incident,
    "incidents": _read_incidents,
}
