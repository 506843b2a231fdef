"""Circuit breakers that everybody shares: one record each, and one who decides.

Clients make calls, count what came of them, and report it in aggregate. A report counts
only if it is of the breaker's present generation, which every change of its state or
configuration ends. So nothing that was under way before a change can undo it.

    CLOSED ---- too much failed, or was slow ----> OPEN
    OPEN ------ somebody asks, its time over ----> HALF_OPEN, and who asked may probe
    HALF_OPEN - a probe failed, or was slow -----> OPEN, for longer
    HALF_OPEN - enough probes went well ---------> CLOSED
    any ------- a person -------> FORCED_OPEN, FORCED_CLOSED, and by Reset CLOSED

All time here is log time, and nothing happens by time alone: an open breaker whose time
is over is open until somebody asks. What is counted is what was known when the newest
report came (`windows`). What a trip does beside opening the breaker is told in `trips`.

While it is OPEN or HALF_OPEN, its counts are those that it tripped by.
"""

from __future__ import annotations

from raftstate.core import incidents, keys, limits, trips, windows
from raftstate.core.context import Context, refuse_subject
from raftstate.core.ports import Reader
from raftstate.core.windows import Report
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    AcquirePermitResponse,
    Breaker,
    BreakerConfig,
    BreakerCounts,
    BreakerState,
    DeleteBreakerRequest,
    DeleteBreakerResponse,
    ForceCloseRequest,
    ForceCloseResponse,
    ForceOpenRequest,
    ForceOpenResponse,
    Permit,
    PutBreakerRequest,
    PutBreakerResponse,
    ReportOutcomesRequest,
    ReportOutcomesResponse,
    ResetRequest,
    ResetResponse,
    TripAction,
)
from raftstate.v1.rollback_service_pb2 import BarrierPolicy
from raftstate.v1.store_pb2 import Reason, Refusal

_CLOSED = BreakerState.BREAKER_STATE_CLOSED
_OPEN = BreakerState.BREAKER_STATE_OPEN
_HALF_OPEN = BreakerState.BREAKER_STATE_HALF_OPEN
_FORCED_OPEN = BreakerState.BREAKER_STATE_FORCED_OPEN
_FORCED_CLOSED = BreakerState.BREAKER_STATE_FORCED_CLOSED
_TIME_MAX = (1 << 64) - 1
# Where calls are made without asking, and counted.
_PASSING = (_CLOSED, _FORCED_CLOSED)


def load(reader: Reader, name: str) -> Breaker | None:
    """A breaker's record."""
    raw = reader.get(keys.breaker(name))
    return None if raw is None else Breaker.FromString(raw)


def missing(name: str) -> Refusal:
    """The refusal for a breaker that does not exist."""
    return refuse_subject(Reason.REASON_BREAKER_NOT_FOUND, f"there is no breaker {name}", name)


# --- making and removing -----------------------------------------------------


def put_breaker(context: Context, request: PutBreakerRequest) -> PutBreakerResponse | Refusal:
    """Make a breaker, or give it another configuration. The one that it has already
    changes nothing, so everybody who uses a breaker may put it when he begins."""
    config = _chosen(request.config)
    breaker = load(context.store, request.name)
    if breaker is None:
        # What was begun with one of that name that was removed counts for nothing, too.
        removed = _newest_removed(context.store)
        breaker = Breaker(name=request.name, state=_CLOSED, generation=removed)
        reason = "made"
    elif breaker.config == config:
        return PutBreakerResponse()
    else:
        reason = "configured"
        _forget(context, breaker)
        _end_permits(context, breaker)
    breaker.config.CopyFrom(config)
    _changed(context, breaker, reason)
    _save(context, breaker)
    return PutBreakerResponse()


def _chosen(wanted: BreakerConfig) -> BreakerConfig:
    """A configuration with what its zeros mean written down."""
    config = BreakerConfig()
    config.CopyFrom(wanted)
    calls = config.count_window or limits.BREAKER_CALLS_MAX
    config.minimum_calls = config.minimum_calls or min(
        limits.BREAKER_MINIMUM_CALLS_DEFAULT, calls
    )
    config.minimum_reporters = config.minimum_reporters or 1
    config.open_ms = config.open_ms or limits.BREAKER_OPEN_MS_DEFAULT
    config.open_factor = config.open_factor or limits.BREAKER_FACTOR_DEFAULT
    config.open_max_ms = config.open_max_ms or min(
        10 * config.open_ms, limits.BREAKER_TIME_MS_MAX
    )
    config.probes = config.probes or 1
    config.successes = config.successes or 1
    config.probe_timeout_ms = config.probe_timeout_ms or limits.BREAKER_PROBE_MS_DEFAULT
    plan = config.on_trip
    plan.action = plan.action or TripAction.TRIP_ACTION_NOTIFY
    if plan.action == TripAction.TRIP_ACTION_ROLLBACK:
        plan.on_barrier = plan.on_barrier or BarrierPolicy.BARRIER_POLICY_ASK
    return config


def delete_breaker(
    context: Context, request: DeleteBreakerRequest
) -> DeleteBreakerResponse | Refusal:
    """Remove a breaker, with what it has counted and who has permits."""
    breaker = load(context.store, request.name)
    if breaker is None:
        return missing(request.name)
    trips.closed(context, breaker, "the breaker was deleted")
    _end_permits(context, breaker)
    windows.forget(context, breaker.name)
    context.store.delete(keys.breaker(breaker.name))
    newest = max(breaker.generation, _newest_removed(context.store))
    context.store.put(keys.BREAKERS_REMOVED, keys.number(newest))
    return DeleteBreakerResponse()


def _newest_removed(reader: Reader) -> int:
    """The largest generation that a breaker had when it was removed."""
    return keys.to_number(reader.get(keys.BREAKERS_REMOVED) or keys.number(0))


# --- calls -------------------------------------------------------------------


def acquire_permit(
    context: Context, request: AcquirePermitRequest
) -> AcquirePermitResponse | Refusal:
    """Say whether one call may be made; while the breaker is half open, for whom."""
    breaker = load(context.store, request.name)
    if breaker is None:
        return missing(request.name)
    permit_id = 0
    if breaker.state not in _PASSING:
        refusal = _refuse_probe(context, breaker)
        if refusal is not None:
            return refusal
        if breaker.state == _OPEN:
            _move(context, breaker, _HALF_OPEN, "its time was over")
        _give_permit(context, breaker, request.request_id.session_id)
        permit_id = context.revision
        _save(context, breaker)
    return AcquirePermitResponse(
        state=breaker.state, generation=breaker.generation, permit_id=permit_id
    )


def _refuse_probe(context: Context, breaker: Breaker) -> Refusal | None:
    """Why nobody may probe now; None if somebody may."""
    if breaker.state == _FORCED_OPEN:
        return _refuse_open(context, breaker, 0)
    until = breaker.open_until_ms
    if breaker.state == _HALF_OPEN:
        if len(breaker.permits) < breaker.config.probes:
            return None
        until = _later(breaker.permits[0].given_log_time_ms, breaker.config.probe_timeout_ms)
    return _refuse_open(context, breaker, until) if context.log_time_ms < until else None


def _refuse_open(context: Context, breaker: Breaker, until_ms: int) -> Refusal:
    """The refusal of a call: it says when to ask again. Zero: nobody knows."""
    state = state_name(breaker.state)
    why = "its probes are out" if breaker.state == _HALF_OPEN else breaker.reason
    message = f"breaker {breaker.name} is {state.lower().replace('_', ' ')}: {why}"
    refusal = refuse_subject(Reason.REASON_BREAKER_OPEN, message, breaker.name)
    refusal.current_state = state
    refusal.open_until_ms, refusal.log_time_ms = until_ms, context.log_time_ms
    return refusal


def report_outcomes(
    context: Context, request: ReportOutcomesRequest
) -> ReportOutcomesResponse | Refusal:
    """Take what came of calls. What is late, or of nobody's probe, counts for nothing."""
    breaker = load(context.store, request.name)
    if breaker is None:
        return missing(request.name)
    before = breaker.incident_id
    counted = request.generation == breaker.generation
    if counted and request.permit_id:
        counted = changed = _end_probe(context, breaker, request)
    else:
        counted = counted and breaker.state in _PASSING
        changed = counted and _count(context, breaker, request)
    if changed:
        _save(context, breaker)
    response = ReportOutcomesResponse(
        state=breaker.state, generation=breaker.generation, counted=counted
    )
    if breaker.incident_id != before:
        response.incident_id = breaker.incident_id
        response.rollback_id = breaker.rollback_id
    return response


def may_roll_back(reader: Reader, request: ReportOutcomesRequest) -> bool:
    """Whether a report may start a rollback. With fewer bad calls than this it cannot."""
    breaker = load(reader, request.name)
    if breaker is None or breaker.state != _CLOSED:
        return False
    config = breaker.config
    if config.on_trip.action != TripAction.TRIP_ACTION_ROLLBACK:
        return False
    counts = windows.counts(windows.load(reader, breaker.name).buckets)
    return any(
        rate > 0 and bad >= rate * config.minimum_calls
        for rate, bad in (
            (config.failure_rate, counts.failures + request.failures),
            (config.slow_rate, counts.slow + request.slow),
        )
    )


def _count(context: Context, breaker: Breaker, request: ReportOutcomesRequest) -> bool:
    """Put a report into the window, and trip if that makes it too much; whether the record
    is another one then."""
    reporter = request.request_id.session_id
    report = Report(request.calls, request.failures, request.slow, reporter)
    counts, changed = windows.take(context, breaker.name, breaker.config, report)
    breaker.counts.CopyFrom(counts)
    if breaker.state == _CLOSED and (why := _too_much(breaker.config, counts)):
        _open(context, breaker, why)
        trips.tripped(context, breaker, request.error)
        changed = True
    return changed


def _too_much(config: BreakerConfig, counts: BreakerCounts) -> str:
    """Why a breaker trips by what it has counted; empty: it does not."""
    if counts.calls < config.minimum_calls:
        return ""
    if len(counts.reporters) < config.minimum_reporters:
        return ""
    if config.failure_rate > 0 and counts.failures / counts.calls >= config.failure_rate:
        return f"{counts.failures} of {counts.calls} calls failed"
    if config.slow_rate > 0 and counts.slow / counts.calls >= config.slow_rate:
        return f"{counts.slow} of {counts.calls} calls were slow"
    return ""


def _open(context: Context, breaker: Breaker, why: str) -> None:
    """Open a breaker: each time since it was closed for longer."""
    config = breaker.config
    factor = _power(config.open_factor, breaker.in_a_row)
    open_ms = int(min(config.open_ms * factor, config.open_max_ms))
    _move(context, breaker, _OPEN, why)
    breaker.open_until_ms = _later(context.log_time_ms, open_ms)
    breaker.in_a_row += 1


def _later(at_ms: int, by_ms: int) -> int:
    """A log time after another: what a stamp may be has an end."""
    return min(at_ms + by_ms, _TIME_MAX)


def _power(base: float, exponent: int) -> float:
    """By multiplication alone, which is the same to the last bit on every machine."""
    found = 1.0
    while exponent:
        if exponent & 1:
            found *= base
        base *= base
        exponent >>= 1
    return found


# --- probes ------------------------------------------------------------------


def _give_permit(context: Context, breaker: Breaker, session_id: str) -> None:
    """Note who probes; where all probes are out, the oldest of them no longer does."""
    if len(breaker.permits) >= breaker.config.probes:
        _take_permit(context, breaker, 0)
    permit = Permit(
        permit_id=context.revision,
        session_id=session_id,
        given_log_time_ms=context.log_time_ms,
    )
    breaker.permits.append(permit)
    context.store.put(keys.permitted(session_id, breaker.name), b"")


def _end_probe(context: Context, breaker: Breaker, request: ReportOutcomesRequest) -> bool:
    """Take what a probe found; False for one that has no permit any more."""
    asked = (request.permit_id, request.request_id.session_id)
    given = [(permit.permit_id, permit.session_id) for permit in breaker.permits]
    if asked not in given:
        return False
    _take_permit(context, breaker, given.index(asked))
    if request.failures or (request.slow and breaker.config.slow_rate > 0):
        _open_again(context, breaker, request)
        return True
    breaker.successes += 1
    if breaker.successes >= breaker.config.successes:
        several = f"{breaker.successes} probes in a row"
        who = "a probe" if breaker.successes == 1 else several
        _close(context, breaker, _CLOSED, f"{who} went well")
    return True


def _open_again(context: Context, breaker: Breaker, request: ReportOutcomesRequest) -> None:
    """A probe found it broken still: no new trip, but the old one is not over."""
    _open(context, breaker, f"a probe {'failed' if request.failures else 'was slow'}")
    incident = incidents.load(context.store, breaker.incident_id)
    if incident is not None and incident.open:
        said = f"{breaker.reason}: {request.error}" if request.error else breaker.reason
        incidents.add_evidence(context, incident, "breaker", breaker.name, said)


def _take_permit(context: Context, breaker: Breaker, at: int) -> None:
    session_id = breaker.permits.pop(at).session_id
    if all(permit.session_id != session_id for permit in breaker.permits):
        context.store.delete(keys.permitted(session_id, breaker.name))


def _end_permits(context: Context, breaker: Breaker) -> None:
    for permit in breaker.permits:
        context.store.delete(keys.permitted(permit.session_id, breaker.name))
    breaker.ClearField("permits")
    breaker.successes = 0


def end_permits_of(context: Context, session_id: str) -> None:
    """End every permit of a session: its probes are anybody's."""
    for mark in context.store.delete_span(keys.permitted_to(session_id)):
        breaker = load(context.store, keys.permitted_name(mark))
        assert breaker is not None, f"a permit of no breaker: {mark!r}"
        others = [each for each in breaker.permits if each.session_id != session_id]
        breaker.ClearField("permits")
        breaker.permits.extend(others)
        _save(context, breaker)


# --- by hand -----------------------------------------------------------------


def force_open(context: Context, request: ForceOpenRequest) -> ForceOpenResponse | Refusal:
    """Let nobody call, until Reset."""
    breaker = load(context.store, request.name)
    if breaker is None:
        return missing(request.name)
    _forget(context, breaker)
    breaker.open_until_ms = 0
    _move(context, breaker, _FORCED_OPEN, request.reason)
    _save(context, breaker)
    return ForceOpenResponse()


def force_close(context: Context, request: ForceCloseRequest) -> ForceCloseResponse | Refusal:
    """Let everybody call whatever comes of it, until Reset."""
    breaker = load(context.store, request.name)
    if breaker is None:
        return missing(request.name)
    _close(context, breaker, _FORCED_CLOSED, request.reason)
    _save(context, breaker)
    return ForceCloseResponse()


def reset(context: Context, request: ResetRequest) -> ResetResponse | Refusal:
    """Begin anew: closed, and nothing counted."""
    breaker = load(context.store, request.name)
    if breaker is None:
        return missing(request.name)
    _close(context, breaker, _CLOSED, request.reason)
    _save(context, breaker)
    return ResetResponse()


# --- changes of state --------------------------------------------------------


def state_name(state: BreakerState) -> str:
    """A state's name, as people know it."""
    return BreakerState.Name(state).removeprefix("BREAKER_STATE_")


def _close(context: Context, breaker: Breaker, state: BreakerState, why: str) -> None:
    """Let calls through again, and begin to count anew."""
    _forget(context, breaker)
    breaker.open_until_ms = breaker.in_a_row = 0
    breaker.degraded = False
    _move(context, breaker, state, why)
    trips.closed(context, breaker, why or "closed by hand")


def _move(context: Context, breaker: Breaker, state: BreakerState, why: str) -> None:
    """Give a breaker a state, in which nobody has a permit yet."""
    _end_permits(context, breaker)
    breaker.state = state
    _changed(context, breaker, why)


def _changed(context: Context, breaker: Breaker, why: str) -> None:
    breaker.generation += 1
    breaker.changed_revision = context.revision
    breaker.changed_log_time_ms = context.log_time_ms
    breaker.reason = why


def _forget(context: Context, breaker: Breaker) -> None:
    windows.forget(context, breaker.name)
    breaker.ClearField("counts")


def _save(context: Context, breaker: Breaker) -> None:
    key = keys.breaker(breaker.name)
    context.store.put(key, breaker.SerializeToString(deterministic=True))
