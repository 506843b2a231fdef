"""Calls through breakers where what is known is doubtful, or many reports are due."""

from __future__ import annotations

import asyncio
import math
import time

import grpc
import pytest

from raftstate.client import board
from raftstate.errors import BreakerNotFound, BreakerOpen, RaftStateError
from raftstate.v1.breaker_service_pb2 import (
    BREAKER_STATE_CLOSED,
    BREAKER_STATE_HALF_OPEN,
    BreakerConfig,
    Permit,
)
from tests.client.scripted import Refuse, asynchronous, until
from tests.client.test_breakers import failing, fused, watched


@asynchronous
async def test_while_nobody_answers_reports_the_watch_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Of a member that is cut off from the others: it says again and again that nothing has
    changed, and cannot take what is reported. So the next call asks, and goes through
    again once somebody answers.
    """
    monkeypatch.setattr(board, "REPORT_S", 0.02)
    monkeypatch.setattr(board, "_REPORTING_S", 0.2)
    async with fused(attempt=0.1) as (member, _, handle):
        await handle.call(lambda: None)
        await watched(member)
        await until(lambda: member.reports, "it is reported")
        handle._circuit.confirmed = -math.inf  # the first answer was long ago
        member.mark()
        await handle.call(lambda: None)
        before = member.asks
        member.report = Refuse("NO_QUORUM", grpc.StatusCode.UNAVAILABLE)
        await handle.call(lambda: None)
        await until(lambda: handle._board._in_doubt, "a report has failed")
        member.mark()
        await asyncio.sleep(0.05)
        await handle.call(lambda: None)
        after = member.asks
        member.report = None
        handle._circuit.confirmed = -math.inf
        await until(lambda: handle._board._heard(handle._circuit) > 0, "it is believed again")
        await handle.call(lambda: None)

    assert before == 1
    assert after == member.asks == 2


@asynchronous
async def test_reports_that_do_not_trip_it_do_not_all_hurry() -> None:
    """
    As long as others have to report failures too, each of these could trip it, as far as
    is known here: they are told of together.
    """
    async with fused() as (member, _, handle):
        config = BreakerConfig(
            count_window=100, failure_rate=0.1, minimum_calls=1, minimum_reporters=2
        )
        member.set("b", BREAKER_STATE_CLOSED, 2, config=config)
        for _ in range(40):
            await failing(handle)
            await asyncio.sleep(0.005)
        await until(lambda: sum(one.calls for one in member.reports) == 40, "all are told")

    assert len(member.reports) <= 6


@asynchronous
async def test_a_breaker_that_is_removed_while_it_is_asked_about_is_not_there() -> None:
    """
    The answer is older than what the watch says meanwhile.
    """
    async with fused() as (member, _, handle):
        await handle.call(lambda: None)
        await watched(member)
        handle._circuit.told(None, member.revision + 5)
        with pytest.raises(BreakerNotFound) as raised:
            await handle.call(lambda: None)

    assert raised.value.definite


@asynchronous
async def test_while_others_have_all_permits_nobody_asks_for_one() -> None:
    """
    The watch tells who tries it, and since when: one whose time is over can be had.
    """
    async with fused() as (member, _, handle):
        await handle.call(int)
        config = BreakerConfig(count_window=9, failure_rate=0.5, probes=1)
        config.probe_timeout_ms = 5_000
        permit = Permit(permit_id=7, session_id="other", given_log_time_ms=member.log_time_ms)
        half_open = BREAKER_STATE_HALF_OPEN
        member.set("b", half_open, 2, config=config, permits=[permit])
        await until(lambda: handle.state == "half_open", "it is told")
        for _ in range(3):
            with pytest.raises(BreakerOpen, match="others are trying"):
                await handle.call(pytest.fail, "it was called")
        in_vain = member.permits
        permit.given_log_time_ms -= 6_000
        member.set("b", half_open, 2, config=config, permits=[permit])
        revision = member.revision
        await until(lambda: handle._circuit.as_of == revision, "it is told")
        await handle.call(int)

    assert in_vain == 0
    assert member.permits == 1


@asynchronous
async def test_who_is_in_a_hurry_does_not_wait_for_who_is_not() -> None:
    """
    Both ask for the first time, nobody answers, and each gives up after its own time.
    """
    async with fused(attempt=0.1) as (member, store, _):
        member.office = Refuse("NO_QUORUM", grpc.StatusCode.UNAVAILABLE)
        patient = asyncio.create_task(store.breaker("b", timeout=1.5).call(lambda: None))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        with pytest.raises(RaftStateError):
            await store.breaker("b", timeout=0.1).call(lambda: None)
        took = time.monotonic() - began
        with pytest.raises(RaftStateError):
            await patient

    assert took < 1.0
