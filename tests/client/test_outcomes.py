"""What an error says about whether it happened, over all attempts of a request."""

import asyncio
from typing import Any

import grpc
import pytest

from raftstate.client import calls
from raftstate.client.errors import Ledger, from_status, unanswered, unreachable
from raftstate.client.store import Store
from raftstate.errors import (
    Fenced,
    InvalidRequest,
    NotLeader,
    OutcomeForgotten,
    OutcomeUnknown,
    Owned,
    RaftStateError,
    RequestTooLarge,
    SessionExpired,
)
from tests.client.scripted import (
    FENCED,
    QUICK_S,
    SESSION_EXPIRED,
    UNKNOWN,
    Action,
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

INVALID = Refuse("INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT)
FORGOTTEN = Refuse("OUTCOME_FORGOTTEN", definite=False)


async def error_of(store: Store, timeout: float | None = None) -> RaftStateError:
    """The error that a mutation ends in."""
    with pytest.raises(RaftStateError) as caught:
        await store.create_agent("a", timeout=timeout)
    return caught.value


async def scripted_error(
    script: list[Action], always: Action = None, timeout: float | None = None
) -> tuple[RaftStateError, Member]:
    """The error of a mutation whose attempts go as the script says."""
    async with members(1) as (member,), store_of(member, attempt=QUICK_S) as store:
        await store.create_agent("first")
        member.script.extend(script)
        member.always = always
        member.ids.clear()
        return await error_of(store, timeout), member


@asynchronous
async def test_timeout_then_not_leader_then_deadline_is_unknown() -> None:
    """
    The attempt that was not answered may still be applied: later refusals to propose
    say nothing about it.
    """
    error, member = await scripted_error([Silence()], not_leader(), timeout=0.6)

    assert isinstance(error, OutcomeUnknown)
    assert not error.definite
    assert len(member.ids) > 2
    assert len({one.sequence for one in member.ids}) == 1


@asynchronous
async def test_silence_until_the_deadline_is_unknown() -> None:
    """
    A deadline that passes while the request is under way leaves it open.
    """
    error, _ = await scripted_error([], Silence(), timeout=0.1)

    assert isinstance(error, OutcomeUnknown)
    assert not error.definite


@asynchronous
async def test_timeout_then_session_expired_is_unknown() -> None:
    """
    With the session its records are gone, and nobody can tell any more.
    """
    error, _ = await scripted_error([Silence(), SESSION_EXPIRED])

    assert isinstance(error, OutcomeUnknown)
    assert not error.definite
    assert error.details["last_reason"] == "SESSION_EXPIRED"


@asynchronous
@pytest.mark.parametrize("unknown", [Silence(), Drop(), UNKNOWN])
async def test_an_unknown_attempt_then_a_recorded_refusal_is_definite(unknown: Action) -> None:
    """
    A refusal that the log recorded under the request id is the outcome of all attempts.
    """
    error, member = await scripted_error([unknown, FENCED])

    assert isinstance(error, Fenced)
    assert error.definite
    assert error.details["current_holder"] == "other"
    assert len({one.sequence for one in member.ids}) == 1


@asynchronous
async def test_an_unknown_attempt_then_a_refusal_before_proposing_is_unknown() -> None:
    """
    A refusal that came before the log says nothing about an earlier attempt.
    """
    error, _ = await scripted_error([UNKNOWN, INVALID])

    assert isinstance(error, OutcomeUnknown)
    assert isinstance(error.__cause__, InvalidRequest)


@asynchronous
async def test_a_refusal_before_proposing_alone_is_definite() -> None:
    """
    The same refusal as a first answer is definite.
    """
    error, _ = await scripted_error([not_leader(), INVALID])

    assert isinstance(error, InvalidRequest)
    assert error.definite


@asynchronous
async def test_a_forgotten_outcome_is_not_definite() -> None:
    """
    The request was answered before: it may have happened.
    """
    error, _ = await scripted_error([FORGOTTEN])

    assert isinstance(error, OutcomeForgotten)
    assert not error.definite


@asynchronous
async def test_a_status_that_nobody_explains_is_not_definite() -> None:
    """
    A failure without our details, or with a reason of tomorrow, is retried and unknown.
    """
    for action in (Refuse("NEW_REASON", grpc.StatusCode.INTERNAL), Drop()):
        error, member = await scripted_error([], action, timeout=0.2)

        assert not error.definite
        assert len(member.ids) > 1


@pytest.mark.parametrize("reason", ["FENCED", "NOT_LEADER", "INVALID_REQUEST", "NEW_REASON"])
@pytest.mark.parametrize(("says", "definite"), [(True, True), (False, False), (None, False)])
def test_what_does_not_say_that_it_is_definite_is_not(
    reason: str, says: bool | None, definite: bool
) -> None:
    """
    In doubt an error is indefinite: where `definite` is missing, and also where it is
    there for a reason that this client does not know.
    """
    error = from_status(Refuse(reason, definite=says).status())

    assert error.definite is (definite and reason != "NEW_REASON")
    assert "definite" not in error.details


@asynchronous
async def test_a_refusal_that_says_nothing_about_it_is_asked_again() -> None:
    """
    The same request id finds out what the log says.
    """
    error, member = await scripted_error([Refuse("FENCED", definite=None), FENCED])

    assert isinstance(error, Fenced)
    assert error.definite
    assert len(member.ids) == 2
    assert len({one.sequence for one in member.ids}) == 1


@asynchronous
async def test_an_unknown_attempt_then_success_is_success() -> None:
    """
    The first outcome is given again under the same id, and is the answer.
    """
    async with members(2) as (first, second):
        first.script.append(Silence())
        async with store_of(first, second, attempt=QUICK_S) as store:
            agent = await store.create_agent("a")

    assert agent.agent_id == "a"
    assert [one.sequence for one in first.ids + second.ids] == [1, 1]


@asynchronous
async def test_an_expired_session_is_replaced() -> None:
    """
    Work that was surely not done under the old session is done under a new one.
    """
    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("a")
        member.script.append(SESSION_EXPIRED)
        await store.create_agent("b")

    assert [one.sequence for one in member.ids] == [1, 2, 1]
    assert member.ids[0].session_id != member.ids[2].session_id
    assert member.asked.count("open") == 2


@asynchronous
async def test_the_keep_alive_learns_that_the_session_ended() -> None:
    """
    A session that a keep-alive finds gone is replaced before the next mutation.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.keep_alive = SESSION_EXPIRED
        await store.create_agent("a")
        await until(lambda: store._engine.sessions.current is None, "it is told")
        member.keep_alive = None
        await store.create_agent("b")

    assert [one.sequence for one in member.ids] == [1, 1]


@asynchronous
async def test_a_request_beyond_the_limit_is_not_sent() -> None:
    """
    A mutation over the servers' limit is refused here, and names the limit.
    """
    async with members(1) as (member,), store_of(member) as store:
        await store.create_agent("a")
        with pytest.raises(RequestTooLarge, match="1572864") as caught:
            await store.create_agent("b", labels={"x": "y" * 2_000_000})

    assert caught.value.definite
    assert len(member.ids) == 1


# --- the ledger alone --------------------------------------------------------

SENT = unanswered("a", "silence")
UNSENT = unreachable("a")
REFUSED = Fenced("fenced", definite=True)
ENDED = SessionExpired("gone", definite=True)
LOOK_ELSEWHERE = NotLeader("elsewhere", definite=True)


@pytest.mark.parametrize(
    ("attempts", "kind", "definite"),
    [
        ([UNSENT], RaftStateError, True),
        ([LOOK_ELSEWHERE, UNSENT], RaftStateError, True),
        ([SENT], OutcomeUnknown, False),
        ([SENT, LOOK_ELSEWHERE], OutcomeUnknown, False),
        ([LOOK_ELSEWHERE, SENT, UNSENT], OutcomeUnknown, False),
        ([SENT, REFUSED], Fenced, True),
        ([SENT, ENDED], OutcomeUnknown, False),
        ([UNSENT, ENDED], SessionExpired, True),
        ([UNSENT, REFUSED], Fenced, True),
    ],
)
def test_the_ledger(
    attempts: list[RaftStateError], kind: type[RaftStateError], definite: bool
) -> None:
    """
    An error is definite only if every attempt's was, or the log recorded a refusal.
    """
    ledger = Ledger(changes=True)
    settled = [final for error in attempts if (final := ledger.failed(error))]
    error = settled[0] if settled else ledger.overdue()

    assert isinstance(error, kind)
    assert error.definite is definite


def test_reads_leave_nothing_behind() -> None:
    """
    A read that was never answered is definite: there is nothing that could happen yet.
    """
    ledger = Ledger(changes=False)

    assert ledger.failed(SENT) is None
    assert ledger.overdue().definite


@asynchronous
async def test_cancelling_a_caller_settles_nothing_and_breaks_nothing() -> None:
    """
    A cancelled mutation is not sent again, and its id is given up; others go on.
    """
    async with members(1) as (member,), store_of(member) as store:
        member.script.append(Silence())
        task: asyncio.Task[Any] = asyncio.create_task(store.create_agent("a"))
        await until(lambda: member.ids, "it was sent")
        task.cancel()
        await asyncio.wait({task})
        await store.create_agent("b")

    assert task.cancelled()
    assert [one.sequence for one in member.ids] == [1, 2]
    assert member.ids[1].lowest_unfinished == 2


@asynchronous
async def test_no_attempt_is_begun_right_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It would be cut short, and hide what the last one said. The first is made in any case.

    Method: more time is taken for too little than there is.
    """
    monkeypatch.setattr(calls, "_ATTEMPT_MIN_S", 60.0)
    async with members(1) as (only,), store_of(only) as store:
        await store.create_agent("a")
        only.script.append(not_leader())
        with pytest.raises(NotLeader):
            await store.create_agent("b", timeout=5.0)
        only.script.append(not_leader())
        with pytest.raises(NotLeader):
            await store.remove_member("n9", timeout=5.0)
        only.script.append(Refuse("OWNED"))
        with pytest.raises(Owned):
            async with store.own("a", wait=True, timeout=5.0):
                pass

    assert [one.sequence for one in only.ids] == [1, 2, 3]
    assert only.asked == ["open", "remove n9", "acquire", "close"]
