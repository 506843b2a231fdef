"""Breakers where the stories in `tests/testdata` do not reach: bounds, and odd corners."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstate.core import breaker_queries, breakers, keys, limits, windows
from raftstate.core.history import PastReader
from raftstate.core.validate import violations
from raftstate.v1.breaker_service_pb2 import (
    Breaker,
    BreakerConfig,
    PutBreakerRequest,
    TripAction,
    TripPlan,
)
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core.bench import Bench, expire_session, reason
from tests.core.breaker_story import by_hand, delete_breaker, permit, put_breaker, report
from tests.core.limit_table import RID


@pytest.fixture
def bench() -> Bench:
    """A bench with a session."""
    made = Bench()
    made.open("s")
    return made


def config(**fields: object) -> BreakerConfig:
    """A configuration that never trips by itself, unless told otherwise."""
    wanted = {"count_window": 10, "failure_rate": 1.0, "minimum_calls": 10, **fields}
    return BreakerConfig(**wanted)  # type: ignore[arg-type]


def put(bench: Bench, name: str = "b", **fields: object) -> None:
    """Make a breaker."""
    assert reason(bench.one(put_breaker(bench, "s", name, config(**fields)))) == ""


def read(bench: Bench, name: str = "b") -> Breaker:
    """Read a breaker that exists."""
    found = breaker_queries.get_breaker(bench.store, name)
    assert found is not None
    return found


def fail(bench: Bench, calls: int = 10, at: int = 0, by: str = "s") -> Outcome:
    """Report that all of some calls failed."""
    generation = read(bench).generation
    return bench.one(report(bench, by, "b", generation, calls, calls), at=at)


def test_what_was_begun_with_a_breaker_that_was_removed_counts_for_nothing(
    bench: Bench,
) -> None:
    """
    Another one of its name begins behind it: whoever has not heard of that reports in vain.
    """
    put(bench)
    late = report(bench, "s", "b", read(bench).generation, 10, 10)
    bench.one(by_hand(bench, "s", "reset", "b"))
    again = report(bench, "s", "b", read(bench).generation, 10, 10)
    bench.one(delete_breaker(bench, "s", "b"))
    put(bench)

    assert not bench.one(late).report_outcomes.counted
    assert not bench.one(again).report_outcomes.counted
    assert (read(bench).generation, read(bench).counts.calls) == (3, 0)


def test_what_is_counted_is_told_to_watchers_now_and_then_only(bench: Bench) -> None:
    """
    Of a hundred reports in a second five change the record, which each watcher is told of;
    but a trip does at once, and whoever asks is given the newest counts.
    """
    put(bench, count_window=1_000, failure_rate=0.5, minimum_calls=103)
    records, asked = set(), []
    for number in range(100):
        bench.one(report(bench, "s", "b", 1, 1), at=1_000 + 10 * number)
        records.add(bench.store.get(keys.breaker("b")))
        asked.append(read(bench).counts.calls)
    bench.one(report(bench, "s", "b", 1, 1), at=2_000)
    bench.one(report(bench, "s", "b", 1, 150, 150), at=2_001)
    tripped = breakers.load(bench.store, "b")

    assert len(records) == 5
    assert asked == list(range(1, 101))
    assert tripped is not None
    assert breakers.state_name(tripped.state) == "OPEN"
    assert (tripped.counts.calls, tripped.counts.failures) == (251, 150)


# --- windows -----------------------------------------------------------------


def test_a_large_window_by_count_stays_small(bench: Bench) -> None:
    """
    Single calls are put together as they grow old: so many buckets at most, each a small
    part of the window, and so the window never holds much more than it should.
    """
    put(bench, count_window=1_000, minimum_calls=1_000)
    for number in range(3_000):
        command = report(bench, "s", "b", 1, 1, 1 if number < 500 else 0)
        request_id = command.report_outcomes.request_id
        request_id.lowest_unfinished = request_id.sequence
        assert bench.one(command).report_outcomes.counted
        if number % 100 == 99:
            window = windows.load(bench.store, "b")
            assert len(window.buckets) <= limits.BREAKER_BUCKETS_MAX
            calls = read(bench).counts.calls
            assert min(number + 1, 1_000) <= calls <= 1_070

    # What was before the window is forgotten.
    assert read(bench).counts.failures == 0


def test_one_large_report_is_a_window_of_its_own(bench: Bench) -> None:
    """
    A report is never cut: a client that has counted more calls than the window has them
    all counted.
    """
    put(bench, count_window=10)
    bench.one(report(bench, "s", "b", 1, 9, 9))
    bench.one(report(bench, "s", "b", 1, 1_000_000, 10))

    counts = read(bench).counts

    assert (counts.calls, counts.failures) == (1_000_000, 10)


@pytest.mark.parametrize("wanted", [1, 2, 8, 9, 64])
@pytest.mark.parametrize("window", ["count", "time"])
def test_so_many_reporters_are_enough(bench: Bench, wanted: int, window: str) -> None:
    """
    However few of them are remembered by name, the last one that it takes trips it.
    """
    if window == "count":
        put(bench, count_window=100_000, minimum_calls=1, minimum_reporters=wanted)
    else:
        by_time = {"count_window": 0, "time_window_ms": 1_000}
        put(bench, "b", **by_time, minimum_calls=1, minimum_reporters=wanted)
    for number in range(wanted - 1):
        bench.open(f"{number}")
        for _ in range(2):  # the same one again is no other
            outcome = fail(bench, 1, by=f"{number}")
            assert breakers.state_name(outcome.report_outcomes.state) == "CLOSED"

    assert breakers.state_name(fail(bench, 1).report_outcomes.state) == "OPEN"


def test_a_window_of_many_reporters_stays_small(bench: Bench) -> None:
    """
    Of hundreds who report trouble, a few are named a bucket: enough to trip, and to look
    into it.
    """
    put(bench, count_window=100_000, minimum_calls=100_000)
    for number in range(300):
        name = f"{number:064}"
        bench.open(name)
        bench.one(report(bench, name, "b", 1, 1, 1))

    window = windows.load(bench.store, "b")

    assert max(len(bucket.reporters) for bucket in window.buckets) <= 8
    assert window.ByteSize() < 40_000
    assert read(bench).counts.failures == 300
    assert len(read(bench).counts.reporters) == limits.BREAKER_REPORTERS_MAX


def test_a_bucket_of_a_window_by_time_never_lives_for_ever(bench: Bench) -> None:
    """
    A year without a report, and the first after it is alone in the window.
    """
    put(bench, count_window=0, time_window_ms=86_400_000)
    fail(bench, 5, at=1_000)
    year = 365 * 86_400_000

    bench.one(report(bench, "s", "b", 1, 1), at=year)

    assert (read(bench).counts.calls, read(bench).counts.failures) == (1, 0)


# --- opening -----------------------------------------------------------------


def test_the_time_it_is_open_grows_to_its_bound_and_stays(bench: Bench) -> None:
    """
    Two hundred failed probes in a row: by then, the bare power would be no number any more.
    """
    put(bench, open_ms=1, open_factor=100.0, open_max_ms=86_400_000)
    fail(bench)
    for _ in range(200):
        until = read(bench).open_until_ms
        given = bench.one(permit(bench, "s", "b"), at=until).acquire_permit
        command = report(bench, "s", "b", given.generation, 1, 1, permit_id=given.permit_id)
        bench.one(command, at=until)

    after = read(bench)

    assert after.in_a_row == 201
    assert after.open_until_ms - after.changed_log_time_ms == 86_400_000


def test_of_many_reports_in_one_entry_one_trips(bench: Bench) -> None:
    """
    What three clients send at the same moment is one trip, and one incident.
    """
    put(bench)

    outcomes = bench.apply(*(report(bench, "s", "b", 1, 10, 10) for _ in range(3)))

    said = [each.report_outcomes for each in outcomes]
    assert [each.counted for each in said] == [True, False, False]
    assert [bool(each.incident_id) for each in said] == [True, False, False]
    assert len(breaker_queries.list_incidents(bench.store, "", 100).incidents) == 1


def test_a_report_that_is_sent_again_trips_once(bench: Bench) -> None:
    """
    A client that does not know whether its report arrived sends it again, and is told the
    same.
    """
    put(bench)
    command = report(bench, "s", "b", 1, 10, 10)
    first = bench.one(command)

    assert bench.one(command) == first
    assert read(bench).in_a_row == 1


def test_a_clock_that_is_behind_shortens_nothing(bench: Bench) -> None:
    """
    A new leader whose clock is an hour behind: log time stands still, and so does all
    that goes by it.
    """
    put(bench, open_ms=1_000)
    fail(bench, at=3_600_000)

    refused = bench.one(permit(bench, "s", "b"), at=5)

    assert reason(refused) == "BREAKER_OPEN"
    assert refused.refusal.log_time_ms == 3_600_000
    assert refused.refusal.open_until_ms == 3_601_000


def test_a_session_takes_only_its_own_permits_with_it(bench: Bench) -> None:
    """
    Of two probes that are out, one is of a session that ends. The other one counts.
    """
    put(bench, probes=2, successes=2)
    fail(bench)
    bench.open("t")
    given = bench.one(permit(bench, "s", "b"), at=1 << 40).acquire_permit
    bench.one(permit(bench, "t", "b"))

    bench.one(expire_session("t", bench.touched("t")))

    assert [each.session_id for each in read(bench).permits] == ["s"]
    said = bench.one(report(bench, "s", "b", given.generation, 1, permit_id=given.permit_id))
    assert said.report_outcomes.counted
    assert read(bench).successes == 1


def test_a_trip_that_ends_no_ownership_fences_nobody(bench: Bench) -> None:
    """
    Its agent has no owner: the incident has no time at which somebody could write no more.
    """
    plan = TripPlan(action=TripAction.TRIP_ACTION_FAIL_OVER, agent_ids=["a"])
    bench.one(bench.create("s", "a"))
    put(bench, on_trip=plan)

    said = fail(bench, at=5).report_outcomes

    incident = breaker_queries.get_incident(bench.store, said.incident_id)
    assert incident is not None
    assert (incident.detected_ms, incident.fenced_ms) == (5, 0)


def test_slow_is_no_failure_where_nobody_asked_for_speed(bench: Bench) -> None:
    """
    Without a slow rate, slow calls trip nothing, and a slow probe is a good one.
    """
    put(bench)
    bench.one(report(bench, "s", "b", 1, 10, 0, 10))
    assert breakers.state_name(read(bench).state) == "CLOSED"
    fail(bench)
    fail(bench)
    given = bench.one(permit(bench, "s", "b"), at=1 << 40).acquire_permit

    command = report(bench, "s", "b", given.generation, 1, 0, 1, given.permit_id)

    assert bench.one(command).report_outcomes.counted
    assert breakers.state_name(read(bench).state) == "CLOSED"


def test_the_end_of_time_is_no_failure(bench: Bench) -> None:
    """
    A stamp that is as large as stamps can be: nothing is later, and nothing raises.
    """
    end = (1 << 64) - 1
    put(bench, probes=1)
    fail(bench, at=end)
    assert read(bench).open_until_ms == end

    first = bench.one(permit(bench, "s", "b"), at=end)
    second = bench.one(permit(bench, "s", "b"), at=end)

    assert (reason(first), reason(second)) == ("", "")
    assert len(read(bench).permits) == 1


def test_a_success_on_another_breaker_is_none_here(bench: Bench) -> None:
    """
    A permit is of one breaker: naming it in a report to another does nothing.
    """
    put(bench)
    put(bench, "other")
    fail(bench)
    given = bench.one(permit(bench, "s", "b"), at=1 << 40).acquire_permit

    said = bench.one(report(bench, "s", "other", 1, 1, permit_id=given.permit_id))

    assert not said.report_outcomes.counted
    assert breakers.state_name(read(bench).state) == "HALF_OPEN"


def test_a_breaker_made_again_knows_nothing_of_its_past_life(bench: Bench) -> None:
    """
    Removed while it is open, with a probe out: the new one is closed, and the permit void.
    """
    put(bench)
    fail(bench)
    given = bench.one(permit(bench, "s", "b"), at=1 << 40).acquire_permit
    bench.one(delete_breaker(bench, "s", "b"))
    assert list(bench.store.scan(b"P", b"Q")) == list(bench.store.scan(b"W", b"X")) == []
    put(bench)

    said = bench.one(report(bench, "s", "b", 1, 1, 1, permit_id=given.permit_id))

    assert not said.report_outcomes.counted
    assert read(bench).counts.calls == 0


# --- configurations ----------------------------------------------------------


REASONABLE = st.builds(
    config,
    count_window=st.integers(1, 100_000),
    minimum_calls=st.just(0),
    minimum_reporters=st.integers(0, 64),
    failure_rate=st.sampled_from([5e-324, 0.5, 1.0]),
    slow_rate=st.sampled_from([0.0, 1e-9, 1.0]),
    slow_call_ms=st.integers(1, 86_400_000),
    open_ms=st.integers(0, 86_400_000),
    open_factor=st.sampled_from([0.0, -0.0, 1.0, 1.0000001, 100.0]),
    probes=st.integers(0, 100),
    successes=st.integers(0, 1_000),
    probe_timeout_ms=st.integers(0, 3_600_000),
    on_trip=st.sampled_from(
        [TripPlan(), TripPlan(action=TripAction.TRIP_ACTION_ROLLBACK, group_id="g")]
    ),
)


@given(REASONABLE)
@settings(max_examples=50)
def test_what_is_read_may_be_put_again(wanted: BreakerConfig) -> None:
    """
    A stored configuration says what its zeros mean. It is one that may be put, and to put
    it changes nothing.
    """
    bench = Bench()
    bench.open("s")
    first = bench.one(put_breaker(bench, "s", "b", wanted))
    before = read(bench)
    assert reason(first) == ""
    assert violations(PutBreakerRequest(request_id=RID, name="b", config=before.config)) == []

    for same in (before.config, wanted):
        bench.one(put_breaker(bench, "s", "b", same))

    assert read(bench) == before


def test_defaults_are_those_that_are_told() -> None:
    """
    Each zero of a configuration, as the API says.
    """
    bench = Bench()
    bench.open("s")
    bench.one(put_breaker(bench, "s", "b", BreakerConfig(count_window=7, failure_rate=0.5)))
    bench.one(
        put_breaker(bench, "s", "t", BreakerConfig(time_window_ms=1_000, failure_rate=0.5))
    )

    found = read(bench).config

    assert (found.minimum_calls, found.minimum_reporters) == (7, 1)
    assert (found.open_ms, found.open_factor, found.open_max_ms) == (10_000, 2.0, 100_000)
    assert (found.probes, found.successes, found.probe_timeout_ms) == (1, 1, 30_000)
    assert found.on_trip.action == TripAction.TRIP_ACTION_NOTIFY
    assert read(bench, "t").config.minimum_calls == 10


def test_the_largest_breaker_is_still_one(bench: Bench) -> None:
    """
    Every list full, every text as long as it may be: it trips, refuses and is reset, and
    each answer is one that can be remembered.
    """
    agents = [f"{number:0200}" for number in range(limits.ROLLBACK_AGENTS_MAX)]
    plan = TripPlan(action=TripAction.TRIP_ACTION_FAIL_OVER, agent_ids=agents)
    name = "b" * limits.AGENT_ID_CHARS_MAX
    ignored = ["é" * 128] * limits.BREAKER_IGNORED_MAX
    put(bench, name, ignored_errors=ignored, on_trip=plan)

    def apply(command: Command) -> str:
        return reason(bench.one(command))

    assert apply(report(bench, "s", name, 1, 10, 10, error="é" * 255)) == ""
    assert apply(by_hand(bench, "s", "force_open", name, "é" * 255)) == ""
    assert apply(permit(bench, "s", name)) == "BREAKER_OPEN"
    assert apply(by_hand(bench, "s", "reset", name, "é" * 255)) == ""


# --- reads -------------------------------------------------------------------


def test_lists_go_by_prefix_and_page_by_page(bench: Bench) -> None:
    """
    In order of name, behind the last name of the page before.
    """
    for name in ("tool/b", "tool/a", "x", "tool"):
        put(bench, name)

    def names(prefix: str, after: str, limit: int) -> list[str]:
        found = breaker_queries.list_breakers(bench.store, prefix, after, limit)
        return [each.name for each in found]

    assert names("", "", 9) == ["tool", "tool/a", "tool/b", "x"]
    assert names("", "tool/a", 1) == ["tool/b"]
    assert names("tool/", "", 9) == ["tool/a", "tool/b"]
    assert names("t" * 201, "", 9) == []
    assert len(breaker_queries.list_breakers(bench.store, "", "", 9, bytes_max=1)) == 2
    assert breaker_queries.get_breaker(bench.store, "no\0name") is None


def test_a_breaker_can_be_read_as_it_was(bench: Bench) -> None:
    """
    Its record has a past; what it has counted is shown in it, so that has one too.
    """
    put(bench)
    bench.one(report(bench, "s", "b", 1, 4, 1))
    then = bench.machine.revision
    fail(bench)

    before = breaker_queries.get_breaker(PastReader(bench.store, then), "b")

    assert before is not None
    assert breakers.state_name(before.state) == "CLOSED"
    assert (before.counts.calls, before.counts.failures) == (4, 1)
