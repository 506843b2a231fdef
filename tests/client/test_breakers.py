# ruff: noqa: N802  # the names of calls are those of the API
"""Calls through breakers: against a member that does what it is told, and counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from raftstate.client import board, breakers, circuits
from raftstate.client.breakers import BreakerHandle
from raftstate.client.store import Store
from raftstate.errors import (
    BreakerNotFound,
    BreakerOpen,
    InvalidRequest,
    NoQuorum,
    NotLeader,
)
from raftstate.v1.breaker_service_pb2 import (
    BREAKER_STATE_CLOSED,
    BREAKER_STATE_HALF_OPEN,
    BREAKER_STATE_OPEN,
    AcquirePermitResponse,
    Breaker,
    BreakerConfig,
    BreakerState,
    GetBreakerRequest,
    GetBreakerResponse,
    PutBreakerResponse,
    ReportOutcomesRequest,
    ReportOutcomesResponse,
    TripAction,
)
from raftstate.v1.step_service_pb2 import MutationResult
from raftstate.v1.watch_service_pb2 import (
    RESOURCE_TYPE_BREAKER,
    WATCH_START_RESUME,
    Change,
    Resource,
    WatchRequest,
    WatchResponse,
)
from tests.client.scripted import (
    Drop,
    Member,
    Refuse,
    Silence,
    asynchronous,
    members,
    not_leader,
    store_of,
    until,
)

OPEN = Refuse("BREAKER_OPEN", grpc.StatusCode.UNAVAILABLE)
CONFIG = BreakerConfig(count_window=100, failure_rate=0.5, minimum_calls=3)


class Fuse(Member):
    """A member with one set of breakers, which a test sets, and which it tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.revision = 10
        self.log_time_ms = 100_000
        self.breakers: dict[str, Breaker] = {}
        self.watched: list[WatchRequest] = []
        self.deaf: Any = None  # what becomes of a watch instead of being served
        self.reports: list[ReportOutcomesRequest] = []
        self.permits = 0
        self.permit: Any = None  # a Refuse instead of a permit
        self.report: Any = None  # what becomes of a report instead of being taken
        self.followers: set[asyncio.Queue[WatchResponse | None]] = set()

    @property
    def asks(self) -> int:
        """How often somebody asked what a breaker is."""
        return self.asked.count("breaker")

    def set(self, name: str, state: BreakerState, generation: int, **more: Any) -> Breaker:
        """Change a breaker, and tell who watches."""
        self.revision += 1
        config = more.pop("config", CONFIG)
        made = Breaker(name=name, state=state, generation=generation, config=config, **more)
        self.breakers[name] = made
        told = self._said(WatchResponse(changes=[_change(made)]))
        for follower in self.followers:
            follower.put_nowait(told)
        return made

    def mark(self) -> None:
        """Say that nothing has changed."""
        for follower in self.followers:
            follower.put_nowait(self._said(WatchResponse()))

    def cut(self) -> None:
        """End every watch."""
        for follower in self.followers:
            follower.put_nowait(None)

    async def GetBreaker(self, request: GetBreakerRequest, context: Any) -> GetBreakerResponse:
        self.asked.append("breaker")
        await self.act(self.office, context)
        if request.name not in self.breakers:
            await self.act(Refuse("BREAKER_NOT_FOUND", grpc.StatusCode.NOT_FOUND), context)
        answer = GetBreakerResponse(header=self.header(), breaker=self.breakers[request.name])
        answer.header.revision = self.revision
        answer.log_time_ms = self.log_time_ms
        return answer

    async def Watch(self, request: WatchRequest, context: Any) -> AsyncIterator[WatchResponse]:
        self.watched.append(request)
        if self.deaf is not None:
            await self.act(self.deaf, context)
        follower: asyncio.Queue[WatchResponse | None] = asyncio.Queue()
        self.followers.add(follower)
        try:
            if request.start == WATCH_START_RESUME:
                yield self._said(WatchResponse())
            else:
                prefix = request.selector.prefix.decode()
                found = [one for one in self.breakers.values() if one.name.startswith(prefix)]
                first = WatchResponse(changes=[_change(one) for one in found], snapshot=True)
                yield self._said(first)
            while (answer := await follower.get()) is not None:
                yield answer
        finally:
            self.followers.discard(follower)

    def _said(self, answer: WatchResponse) -> WatchResponse:
        answer.header.CopyFrom(self.header())
        answer.header.revision = self.revision
        answer.resume_token = f"behind {self.revision}"
        return answer

    def _note(self, mutation: Any) -> Any:
        if mutation.HasField("report_outcomes"):
            if self.report is not None:
                return self.report
            self.reports.append(mutation.report_outcomes)
        if mutation.HasField("acquire_permit"):
            self.permits += 1
            if self.permit is not None:
                return self.permit
        return super()._note(mutation)

    def _result(self, nonce: int, mutation: Any) -> MutationResult:
        header = self.header()
        header.revision = self.revision
        if mutation.HasField("report_outcomes"):
            found = self.breakers[mutation.report_outcomes.name]
            reported = ReportOutcomesResponse(
                header=header, state=found.state, generation=found.generation, counted=True
            )
            return MutationResult(nonce=nonce, report_outcomes=reported)
        if mutation.HasField("acquire_permit"):
            found = self.breakers[mutation.acquire_permit.name]
            permitted = AcquirePermitResponse(
                header=header, state=BREAKER_STATE_HALF_OPEN, generation=found.generation
            )
            permitted.permit_id = self.permits
            return MutationResult(nonce=nonce, acquire_permit=permitted)
        if mutation.HasField("put_breaker"):
            return MutationResult(nonce=nonce, put_breaker=PutBreakerResponse(header=header))
        return super()._result(nonce, mutation)


def _change(made: Breaker) -> Change:
    resource = Resource(breaker=made)
    return Change(type=RESOURCE_TYPE_BREAKER, id=made.name.encode(), resource=resource)


@asynccontextmanager
async def fused(
    attempt: float = 1.0,
) -> AsyncIterator[tuple[Fuse, Store, BreakerHandle]]:
    """A member with a closed breaker, a store of it, and a handle."""
    async with members(1, kind=Fuse) as (member,):
        member.set("b", BREAKER_STATE_CLOSED, 1)
        async with store_of(member, timeout=2.0, attempt=attempt) as store:
            yield member, store, store.breaker("b")


async def fails() -> None:
    """A call that does."""
    raise OSError("down")


async def failing(handle: BreakerHandle, count: int = 1) -> None:
    """So many calls that fail."""
    for _ in range(count):
        with pytest.raises(OSError, match="down"):
            await handle.call(fails)


async def watched(member: Fuse, count: int = 1) -> None:
    """So many watches have begun."""
    await until(lambda: len(member.watched) >= count, f"{count} watches have begun")


@asynchronous
async def test_while_it_is_closed_a_call_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Of two hundred calls the first asks what the breaker is; the others do not, nor is
    any of them reported alone.
    """
    monkeypatch.setattr(board, "REPORT_S", 1.0)
    async with fused() as (member, _, handle):
        last = first = await handle.call(lambda: "sync")
        await watched(member)
        for _ in range(200):
            last = await handle.call(asyncio.sleep, 0, result="async")
        soon = len(member.reports)
        await until(lambda: sum(one.calls for one in member.reports) == 201, "all are told")

    assert (first, last) == ("sync", "async")
    assert member.asks == 1
    assert member.permits == 0
    assert soon == 0
    assert len(member.reports) == 1
    assert {one.generation for one in member.reports} == {1}


@asynchronous
async def test_what_failed_is_reported_at_once_when_it_could_trip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Not after the time that reports may wait: as soon as the rate is reached here.
    """
    monkeypatch.setattr(board, "REPORT_S", 60.0)
    async with fused() as (member, _, handle):
        await failing(handle, 2)
        early = len(member.reports)
        await failing(handle, 1)
        await until(lambda: member.reports, "it is told")

    assert early == 0
    [report] = member.reports
    assert (report.calls, report.failures, report.error) == (3, 3, "OSError: down")


@asynchronous
async def test_one_report_is_under_way_at_a_time() -> None:
    """
    What is counted while one is, goes with the next, all together.
    """
    async with fused(attempt=0.8) as (member, _, handle):
        member.script.append(Silence())
        await failing(handle, 3)
        await until(lambda: member.reports, "the first is under way")
        await failing(handle, 50)
        await asyncio.sleep(0.1)
        under_way = [one.calls for one in member.reports]
        await until(lambda: member.reports[-1].calls == 50, "all are told")

    assert under_way == [3]
    assert [one.calls for one in member.reports] == [3, 3, 50]
    assert member.ids[0] == member.ids[1]


@asynchronous
async def test_a_trip_elsewhere_stops_the_calls_here() -> None:
    """
    The watch tells; from then on nothing is called, and the refusal says until when.
    """
    async with fused() as (member, _, handle):
        await handle.call(int)
        await watched(member)
        member.set(
            "b", BREAKER_STATE_OPEN, 2, open_until_ms=103_000, changed_log_time_ms=100_000
        )
        await until(lambda: handle.state == "open", "the trip is known")
        with pytest.raises(BreakerOpen) as refused:
            await handle.call(pytest.fail, "it was called")
        with pytest.raises(BreakerOpen):
            async with handle.guard():
                pytest.fail("it was entered")

    assert refused.value.definite
    assert refused.value.retry_after == pytest.approx(3.0, abs=0.5)
    assert member.permits == 0
    assert member.asks == 1


@asynchronous
async def test_the_trip_by_its_own_report_is_known_with_the_answer() -> None:
    """
    Even if the watch does not say so: the next call asks, and is refused.
    """
    async with fused() as (member, _, handle):
        member.deaf = Silence()
        await failing(handle, 2)
        member.breakers["b"].state = BREAKER_STATE_OPEN
        member.breakers["b"].generation = 2
        member.breakers["b"].open_until_ms = member.log_time_ms + 5_000
        member.revision += 1
        await failing(handle, 1)
        await until(lambda: member.reports, "it is told")
        await until(lambda: not handle._board._reporting, "the answer is there")
        with pytest.raises(BreakerOpen):
            await handle.call(int)

    assert member.asks == 2


@asynchronous
async def test_a_fallback_is_used_where_nothing_is_called() -> None:
    """
    For the same arguments, and never for a call that fails.
    """

    def instead(*given: Any) -> list[Any]:
        return ["instead", *given]

    async with fused() as (member, store, handle):
        with pytest.raises(OSError, match="down"):
            await handle.call(fails, fallback=instead)
        await watched(member)
        member.set(
            "b",
            BREAKER_STATE_OPEN,
            2,
            open_until_ms=900_000,
            changed_log_time_ms=100_000,
            degraded=True,
        )
        await until(lambda: handle.degraded, "it says that it is degraded")
        given = await handle.call(pytest.fail, "x", fallback=instead)

        @store.breaker("b", fallback=instead)
        async def search(word: str) -> list[str]:
            return [word]

        decorated = await search("pens")

    assert given == ["instead", "x"]
    assert decorated == ["instead", "pens"]
    assert search.__name__ == "search"


@asynchronous
async def test_a_decorated_function_is_called_through_the_breaker() -> None:
    """
    With what it was given, and counted.
    """
    async with fused() as (member, store, _):

        @store.breaker("b")
        def add(one: int, *, other: int) -> int:
            return one + other

        total = await add(1, other=2)
        await until(lambda: member.reports, "it is told")

    assert total == 3
    assert member.reports[0].calls == 1


@asynchronous
async def test_half_open_a_probe_has_a_permit_and_reports_under_it() -> None:
    """
    One at a time here, whatever else is called; the others are refused without asking.
    """
    async with fused() as (member, _, handle):
        member.set("b", BREAKER_STATE_HALF_OPEN, 2)
        going, go = asyncio.Event(), asyncio.Event()

        async def probe() -> str:
            going.set()
            await go.wait()
            return "well"

        task = asyncio.create_task(handle.call(probe))
        await going.wait()
        with pytest.raises(BreakerOpen, match="others are trying"):
            await handle.call(pytest.fail, "it was called")
        go.set()
        answer = await task
        await until(lambda: member.reports, "the probe is told")

    assert answer == "well"
    assert member.permits == 1
    [report] = member.reports
    assert (report.permit_id, report.generation, report.calls, report.failures) == (1, 2, 1, 0)


@asynchronous
async def test_a_permit_that_is_refused_is_not_asked_for_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Others are trying it: for a moment nobody here asks.
    """
    monkeypatch.setattr(circuits, "HOLD_S", 60.0)
    async with fused() as (member, _, handle):
        member.set("b", BREAKER_STATE_HALF_OPEN, 2)
        member.permit = OPEN
        for _ in range(5):
            with pytest.raises(BreakerOpen):
                await handle.call(pytest.fail, "it was called")

    assert member.permits == 1


@asynchronous
async def test_a_probe_that_is_cancelled_gives_its_permit_back_as_failed() -> None:
    """
    Nobody else would be let through until the permit's time is over.
    """
    async with fused() as (member, _, handle):
        member.set("b", BREAKER_STATE_HALF_OPEN, 2)
        going = asyncio.Event()

        async def probe() -> None:
            going.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(handle.call(probe))
        await going.wait()
        task.cancel()
        await asyncio.wait({task})
        await until(lambda: member.reports, "the probe is told")

    assert [(one.permit_id, one.failures) for one in member.reports] == [(1, 1)]


@asynchronous
async def test_a_permit_that_nobody_waited_for_is_the_next_calls() -> None:
    """
    The call was cancelled while it was asked for: it is not lost until its time is over.
    """
    async with fused(attempt=0.3) as (member, _, handle):
        await handle.call(int)
        await until(lambda: member.reports, "the session is open")
        member.reports.clear()
        member.set("b", BREAKER_STATE_HALF_OPEN, 2)
        await until(lambda: handle.state == "half_open", "it is told")
        member.script.append(Silence())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await handle.call(pytest.fail, "it was called")
        await until(lambda: member.permits == 2, "it is asked for again")
        await until(lambda: not handle._board._permits, "it is given")
        await handle.call(int)
        await until(lambda: member.reports, "the probe is told")

    assert member.permits == 2
    assert [(one.permit_id, one.failures) for one in member.reports] == [(2, 0)]


@asynchronous
async def test_a_silent_watch_makes_a_call_ask_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What nobody has confirmed for too long is not acted on; the answer counts for as long.
    """
    monkeypatch.setattr(circuits, "TRUSTED_S", 0.6)
    async with fused() as (member, _, handle):
        member.deaf = Silence()
        await handle.call(int)
        await handle.call(int)
        trusted = member.asks
        await asyncio.sleep(0.65)
        member.breakers["b"].state = BREAKER_STATE_OPEN
        member.breakers["b"].open_until_ms = 900_000
        with pytest.raises(BreakerOpen):
            await handle.call(pytest.fail, "it was called")

    assert trusted == 1
    assert member.asks == 2


@asynchronous
async def test_a_watch_that_is_behind_confirms_nothing() -> None:
    """
    It speaks of a time before what an answer has said already.
    """
    async with fused() as (member, _, handle):
        await handle.call(int)
        await until(lambda: handle._board._heard(handle._circuit) > 0, "it is confirmed")
        handle._circuit.as_of = member.revision + 1

        assert handle._board._heard(handle._circuit) < 0


@asynchronous
async def test_where_nobody_can_say_the_caller_has_chosen_what_happens() -> None:
    """
    By default the call is not made; with "call" it is, and counts for nothing.
    """
    async with fused() as (member, store, _):
        member.office = not_leader()
        with pytest.raises((NoQuorum, NotLeader)):
            await store.breaker("b", timeout=0.2).call(pytest.fail, "it was called")
        bold = store.breaker("b", timeout=0.2, unreachable="call")
        made = await bold.call(lambda: "made")
        member.office = None

    assert made == "made"
    assert member.reports == []


@asynchronous
async def test_one_watch_tells_of_all_breakers_that_are_used() -> None:
    """
    It covers what their names have in common, and begins anew only for one beyond that.
    """
    async with fused() as (member, store, handle):
        for name in ("car/eu", "car/us", "car/usa"):
            member.set(name, BREAKER_STATE_CLOSED, 1)
        await store.breaker("car/us").call(int)
        await watched(member)
        await store.breaker("car/usa").call(int)
        await watched(member, 2)
        await store.breaker("car/eu").call(int)
        await watched(member, 3)
        await until(lambda: member.followers, "the watch is there")
        for name in ("car/eu", "car/us"):
            member.set(name, BREAKER_STATE_OPEN, 2, open_until_ms=900_000)
        both = [store.breaker("car/eu"), store.breaker("car/us")]
        await until(lambda: [one.state for one in both] == ["open"] * 2, "it is told")
        still = store.breaker("car/usa").state
        one = len(member.followers)
        await handle.call(int)
        await watched(member, 4)

    selectors = [(one.selector.prefix, one.selector.exact) for one in member.watched]
    assert selectors == [(b"car/us", True), (b"car/us", False), (b"car/", False), (b"", False)]
    assert still == "closed"
    assert one == 1


@asynchronous
async def test_a_watch_that_breaks_goes_on_where_it_was() -> None:
    """
    Behind the last word that came, and what changed meanwhile is told.
    """
    async with fused() as (member, _, handle):
        await handle.call(int)
        await until(lambda: member.followers, "the watch is there")
        member.set("b", BREAKER_STATE_CLOSED, 2)
        await until(lambda: handle._circuit.generation == 2, "it is told")
        behind = member.revision
        member.cut()
        await watched(member, 2)

    assert member.watched[1].start == WATCH_START_RESUME
    assert member.watched[1].resume_token == f"behind {behind}"


@asynchronous
async def test_a_watch_that_cannot_go_on_begins_anew() -> None:
    """
    With all that there is; meanwhile nothing that is not confirmed is believed for long.
    """
    async with fused() as (member, _, handle):
        member.deaf = Refuse("CORRUPT", grpc.StatusCode.DATA_LOSS)
        await handle.call(int)
        await watched(member, 3)
        member.breakers["b"].state = BREAKER_STATE_OPEN
        member.breakers["b"].generation = 2
        member.breakers["b"].open_until_ms = 900_000
        member.revision += 1
        member.deaf = None
        await until(lambda: handle.state == "open", "it is told")

    assert member.asks == 1


@asynchronous
async def test_what_was_counted_is_told_when_the_store_is_closed() -> None:
    """
    Without waiting for its time; and so is what was under way.
    """
    async with fused() as (member, store, handle):
        await handle.call(int)
        await failing(handle, 1)
        await store.close()

    assert sum(one.calls for one in member.reports) == 2
    assert sum(one.failures for one in member.reports) == 1


@asynchronous
async def test_closing_is_not_held_up_by_what_nobody_takes() -> None:
    """
    A member that does not answer costs a bounded time.
    """
    async with fused() as (member, store, handle):
        await handle.call(int)
        member.always = Silence()
        began = asyncio.get_running_loop().time()
        await store.close()
        took = asyncio.get_running_loop().time() - began
        member.always = None

    assert took < 4.0


@asynchronous
async def test_a_report_that_surely_was_not_taken_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    With what came since; one that may have been taken is not.
    """
    monkeypatch.setattr(board, "REPORT_S", 0.05)
    async with fused() as (member, _, handle):
        await handle.call(int)
        await until(lambda: member.reports, "the session is open")
        member.reports.clear()
        member.script.append(Refuse("DISK_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED))
        await failing(handle, 2)
        await until(lambda: len(member.reports) >= 2, "it is told again")
        member.reports.clear()
        member.script.append(Refuse("CORRUPT", grpc.StatusCode.DATA_LOSS))
        await failing(handle, 1)
        await until(lambda: member.reports, "it is told once")
        await handle.call(int)
        await until(lambda: len(member.reports) == 2, "the next is told")

    assert [one.calls for one in member.reports] == [1, 1]


@asynchronous
async def test_a_breaker_that_there_is_not_is_an_error() -> None:
    """
    Before the first call, and after it was deleted; one that is made then is used.
    """
    async with fused() as (member, store, _):
        handle = store.breaker("none")
        with pytest.raises(BreakerNotFound) as refused:
            await handle.call(pytest.fail, "it was called", fallback=int)
        member.set("none", BREAKER_STATE_CLOSED, 1)
        await handle.call(int)

    assert refused.value.definite
    assert member.asks == 2


@asynchronous
async def test_a_stream_that_drops_does_not_lose_a_permit() -> None:
    """
    The permit is asked for again under the same request id.
    """
    async with fused() as (member, _, handle):
        member.set("b", BREAKER_STATE_HALF_OPEN, 2)
        member.script.append(Drop())
        await handle.call(int)

    ids = [(one.session_id, one.sequence) for one in member.ids]
    assert ids[0] == ids[1]


def test_settings_are_what_the_api_has() -> None:
    """
    Classes become names, words become numbers; what there is not is refused.
    """
    made = breakers.configuration(
        time_window_ms=5_000,
        failure_rate=0.5,
        ignored_errors=[NoQuorum, "KeyError"],
        on_trip="rollback",
        agents=["a"],
        on_barrier="proceed",
    )
    wrong: Any = {"on_trip": "explode"}
    odd: Any = {"colour": "red"}

    assert list(made.ignored_errors) == ["raftstate.errors.NoQuorum", "KeyError"]
    assert made.on_trip.action == TripAction.TRIP_ACTION_ROLLBACK
    assert list(made.on_trip.agent_ids) == ["a"]
    with pytest.raises(InvalidRequest):
        breakers.configuration(**wrong)
    with pytest.raises(TypeError, match="colour"):
        breakers.configuration(**odd)
