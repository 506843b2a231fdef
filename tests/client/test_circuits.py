"""What a client makes of what it knows and has counted of a breaker, moment by moment."""

import math
from typing import Any

import pytest

from raftstate.client.circuits import (
    HOLD_S,
    REPORTED_MAX,
    TRUSTED_S,
    Circuit,
    LogClock,
    Tally,
    Ticket,
    Verdict,
)
from raftstate.errors import BreakerOpen, NoQuorum
from raftstate.v1.breaker_service_pb2 import (
    BREAKER_STATE_CLOSED,
    BREAKER_STATE_FORCED_CLOSED,
    BREAKER_STATE_FORCED_OPEN,
    BREAKER_STATE_HALF_OPEN,
    BREAKER_STATE_OPEN,
    AcquirePermitResponse,
    Breaker,
    BreakerConfig,
    BreakerCounts,
    BreakerState,
    ReportOutcomesResponse,
)
from raftstate.v1.common_pb2 import ResponseHeader

CONFIG = BreakerConfig(
    count_window=20, failure_rate=0.5, slow_rate=0.9, slow_call_ms=100, minimum_calls=4
)


class Moment:
    """A clock that is set by hand, and a circuit that goes by it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.log = LogClock(lambda: self.now)
        self.circuit = Circuit("b", lambda: self.now, self.log)

    def told(self, state: BreakerState, generation: int = 1, **more: Any) -> Circuit:
        """The watch says what the breaker is."""
        config = more.pop("config", CONFIG)
        revision = more.pop("revision", self.circuit.as_of + 1)
        record = Breaker(name="b", state=state, generation=generation, config=config, **more)
        self.circuit.told(record, revision)
        return self.circuit

    def verdict(self) -> Verdict:
        """What a call has to do now, if the watch has just spoken."""
        return self.circuit.verdict(heard=self.now)

    def call(self, error: BaseException | None = None, seconds: float = 0.0) -> Tally | None:
        """A call that takes so long, and how it counts."""
        ticket = self.circuit.ticket()
        self.now += seconds
        seen = self.circuit.outcome(ticket, error)
        if seen is not None:
            self.circuit.count(ticket, seen)
        return seen


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (BREAKER_STATE_CLOSED, Verdict.PASS),
        (BREAKER_STATE_FORCED_CLOSED, Verdict.PASS),
        (BREAKER_STATE_FORCED_OPEN, Verdict.REFUSE),
        (BREAKER_STATE_HALF_OPEN, Verdict.PERMIT),
    ],
)
def test_each_state_has_its_verdict(state: BreakerState, verdict: Verdict) -> None:
    """
    Closed and forced so it lets calls through unasked; half open a server decides.
    """
    moment = Moment()
    moment.told(state)

    assert moment.verdict() is verdict


def test_nothing_is_acted_on_that_nobody_has_confirmed_for_too_long() -> None:
    """
    What was known is asked for anew once the watch has been silent for three seconds, and
    before anything is known at all.
    """
    moment = Moment()
    before = moment.circuit.verdict(heard=-math.inf)
    moment.told(BREAKER_STATE_CLOSED)
    heard = moment.now
    moment.now += TRUSTED_S - 0.01
    fresh = moment.circuit.verdict(heard=heard)
    moment.now += 0.02
    stale = moment.circuit.verdict(heard=heard)
    moment.circuit.answered(moment.circuit.record, 5, 1, sent=moment.now)
    asked = moment.circuit.verdict(heard=heard)

    assert (before, fresh, stale, asked) == (
        Verdict.ASK,
        Verdict.PASS,
        Verdict.ASK,
        Verdict.PASS,
    )


def test_what_is_older_than_what_is_known_changes_nothing() -> None:
    """
    A watch at a member that is behind does not take back what an answer has said.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_FORCED_OPEN, 7, revision=20)
    moment.told(BREAKER_STATE_CLOSED, 6, revision=19)

    assert moment.verdict() is Verdict.REFUSE


def test_open_it_refuses_until_its_time_is_over_by_log_time() -> None:
    """
    The refusal says until when, and in how many seconds that is; then a server is asked.
    """
    moment = Moment()
    moment.log.set(50_000)
    moment.told(
        BREAKER_STATE_OPEN, open_until_ms=52_000, changed_log_time_ms=49_000, reason="5 of 6"
    )
    first = moment.verdict()
    refusal = moment.circuit.refusal()
    moment.now += 1.5
    later = moment.circuit.refusal()
    moment.now += 0.5

    assert first is Verdict.REFUSE
    assert refusal.definite
    assert refusal.details["open_until_ms"] == "52000"
    assert refusal.details["current_state"] == "OPEN"
    assert "5 of 6" in str(refusal)
    assert refusal.retry_after == pytest.approx(2.0)
    assert later.retry_after == pytest.approx(0.5)
    assert moment.verdict() is Verdict.PERMIT


def test_without_log_time_an_open_breaker_is_asked_for() -> None:
    """
    The change that opened it says how late it was; nobody has to ask then. Only a breaker
    that says nothing of log time is asked for.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_OPEN, open_until_ms=3_000, changed_log_time_ms=1_000)
    told = moment.verdict()
    moment.now += 2.0
    over = moment.verdict()
    bare = Moment()
    bare.circuit.record = Breaker(state=BREAKER_STATE_OPEN, open_until_ms=3_000)

    assert (told, over, bare.verdict()) == (Verdict.REFUSE, Verdict.PERMIT, Verdict.ASK)


def test_a_refused_probe_is_not_asked_for_again_at_once() -> None:
    """
    Half open for a moment; open anew until then; and what changes meanwhile ends it.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_HALF_OPEN)
    moment.circuit.refused(BreakerOpen("others", definite=True))
    held = moment.verdict()
    moment.now += HOLD_S
    again = moment.verdict()
    details = {"open_until_ms": "9000", "log_time_ms": "4000", "current_state": "OPEN"}
    moment.circuit.refused(BreakerOpen("open", definite=True, details=details))
    moment.now += 4.9
    still = moment.verdict()
    moment.told(BREAKER_STATE_CLOSED, 2)

    assert (held, again, still) == (Verdict.REFUSE, Verdict.PERMIT, Verdict.REFUSE)
    assert moment.verdict() is Verdict.PASS


def test_a_permit_that_was_left_counts_in_its_generation_only() -> None:
    """
    It is the next call's; one of an earlier time is nobody's, and holds up nobody.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_HALF_OPEN, 2)
    moment.circuit.probing = 2
    moment.circuit.leave_spare(AcquirePermitResponse(generation=2, permit_id=7))
    moment.circuit.leave_spare(AcquirePermitResponse(generation=1, permit_id=5))
    found = moment.circuit.take_spare()
    none = moment.circuit.take_spare()

    assert found is not None
    assert (found.permit_id, none) == (7, None)
    assert moment.circuit.probing == 1


def test_no_more_probes_are_asked_for_here_than_there_may_be() -> None:
    """
    While one is asked for or under way, the others of this process are refused unasked.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_HALF_OPEN)
    moment.circuit.probing = 1
    with_one = moment.verdict()
    moment.told(BREAKER_STATE_HALF_OPEN, config=BreakerConfig(probes=2))

    assert with_one is Verdict.REFUSE
    assert moment.verdict() is Verdict.PERMIT


class Odd(ValueError):
    """An error of the user's."""


def test_errors_are_ignored_by_their_classes_names() -> None:
    """
    Bare or with the module, and what is derived from one too: they count neither way.
    """
    moment = Moment()
    config = BreakerConfig(ignored_errors=["ValueError", f"{NoQuorum.__module__}.NoQuorum"])
    moment.told(BREAKER_STATE_CLOSED, config=config)

    assert moment.call(ValueError()) is None
    assert moment.call(Odd()) is None
    assert moment.call(NoQuorum("no", definite=True)) is None
    assert moment.call(OSError("down")) == Tally(1, 1, 0, "OSError: down")
    assert moment.circuit.take() == (Tally(1, 1, 0, "OSError: down"), 1)


def test_slowness_goes_by_this_clock_and_counts_beside_failure() -> None:
    """
    A call that takes longer than it may is slow, whether it fails or not; one that was
    stopped counts only if it was slow by then.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_CLOSED)

    assert moment.call(seconds=0.09) == Tally(1, 0, 0)
    assert moment.call(seconds=0.11) == Tally(1, 0, 1)
    assert moment.call(OSError("x"), seconds=0.2) == Tally(1, 1, 1, "OSError: x")
    assert moment.call(KeyboardInterrupt(), seconds=0.05) is None
    assert moment.call(KeyboardInterrupt(), seconds=0.2) == Tally(1, 0, 1)


def test_a_probe_always_has_an_outcome() -> None:
    """
    An ignored error is an answer, so that all is well; one that somebody stopped has
    shown nothing, and counts as failed.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_HALF_OPEN, config=BreakerConfig(ignored_errors=["ValueError"]))
    probe = Ticket(moment.now, 1, permit_id=9)
    ignored = moment.circuit.outcome(probe, Odd())
    stopped = moment.circuit.outcome(probe, KeyboardInterrupt())

    assert ignored == Tally(1, 0, 0)
    assert stopped is not None
    assert stopped.failures == 1


def test_a_call_counts_in_the_generation_that_it_began_in() -> None:
    """
    One that a change overtakes counts for nothing, and so does what was not reported yet.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_CLOSED)
    moment.call()
    ticket = moment.circuit.ticket()
    moment.told(BREAKER_STATE_CLOSED, 2)
    moment.circuit.count(ticket, Tally(1, 1))

    assert moment.circuit.counted == 0


@pytest.mark.parametrize(
    ("calls", "failures", "failed", "due"),
    [
        (0, 0, 3, False),  # too few calls
        (0, 0, 4, True),
        (3, 1, 1, True),
        (10, 2, 1, False),
        (20, 9, 1, True),  # the window holds twenty
        (10, 10, 0, False),  # nothing new
    ],
)
def test_a_report_is_due_when_what_failed_here_could_trip_it(
    calls: int, failures: int, failed: int, due: bool
) -> None:
    """
    Counted on top of what the breaker was known to hold.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_CLOSED, counts=BreakerCounts(calls=calls, failures=failures))
    for _ in range(failed):
        moment.call(OSError("down"))

    assert moment.circuit.due is due


def test_what_surely_was_not_taken_is_counted_again() -> None:
    """
    Unless the breaker has changed meanwhile; and a report holds no more than it may.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_CLOSED)
    ticket = moment.circuit.ticket()
    moment.circuit.count(ticket, Tally(REPORTED_MAX + 5, 7, 0, "x"))
    taken, generation = moment.circuit.take()
    rest, _ = moment.circuit.take()
    moment.circuit.give_back(taken, generation)
    again, _ = moment.circuit.take()
    moment.told(BREAKER_STATE_CLOSED, 2)
    moment.circuit.give_back(taken, generation)

    assert (taken.calls, rest.calls) == (REPORTED_MAX, 5)
    assert taken.failures + rest.failures == 7
    assert again == taken
    assert moment.circuit.counted == 0


def test_an_answer_of_another_generation_is_asked_about() -> None:
    """
    The report that trips it ends this client's trust in what it knew, at once.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_CLOSED, revision=5)
    moment.circuit.answered(moment.circuit.record, 5, 1, sent=moment.now)
    answer = ReportOutcomesResponse(header=ResponseHeader(revision=9), generation=2)
    moment.circuit.reported(answer)

    assert moment.circuit.verdict(heard=-math.inf) is Verdict.ASK
    assert moment.circuit.as_of == 9


def test_a_permit_of_a_closed_breaker_is_no_probe() -> None:
    """
    It was closed meanwhile: the call counts as any other, in the new generation.
    """
    moment = Moment()
    moment.told(BREAKER_STATE_HALF_OPEN, revision=5)
    answer = AcquirePermitResponse(
        header=ResponseHeader(revision=8), state=BREAKER_STATE_CLOSED, generation=2
    )
    moment.circuit.permitted(answer, sent=moment.now)
    ticket = moment.circuit.ticket(answer)
    moment.circuit.count(ticket, Tally(1))

    assert moment.verdict() is Verdict.PASS
    assert (ticket.permit_id, moment.circuit.counted) == (0, 1)
