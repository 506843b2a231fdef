# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Each switch of the kit, and what a client makes of it."""

from __future__ import annotations

import asyncio
import time

import pytest

import raftstate
from raftstate import errors, testing
from raftstate.client.keys import Keys
from raftstate.errors import (
    EffectUnknown,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
    OwnershipLost,
    RaftStateError,
)
from raftstate.testing import solo
from tests.client.scripted import asynchronous, until

# Far below the deadline of a call, ten seconds: nobody waits for that.
AT_ONCE_S = 3.0


async def value(keys: Keys, key: str) -> bytes | None:
    found = await keys.get(key)
    return None if found is None else found.value


# --- fail ----------------------------------------------------------------------


@asynchronous
@pytest.mark.parametrize(
    "error",
    [
        errors.NoQuorum,
        errors.NotLeader,
        errors.Overloaded,
        errors.Quarantined,
        errors.DiskFull,
        errors.Conflict,
        errors.Fenced,
        errors.TooMany,
        errors.InvalidRequest,
    ],
)
async def test_the_next_call_fails_and_nothing_has_happened(
    error: type[RaftStateError],
) -> None:
    """
    Once, at once, definitely; the log knows nothing of it.
    """
    async with testing.served() as kit, kit.connect() as store:
        fault = kit.fail(error)
        began = time.monotonic()
        with pytest.raises(error) as failed:
            await store.keys.put("a", "1")
        took = time.monotonic() - began
        committed = kit.log("put")
        met = [request.key for request in fault.met]
        await store.keys.put("a", "2")
        now = await value(store.keys, "a")

    assert failed.value.definite
    assert took < AT_ONCE_S
    assert committed == []
    assert met == [b"a"]
    assert now == b"2"


@asynchronous
async def test_a_read_fails_too() -> None:
    """
    A linearizable one; what is read stale needs nobody's leave.
    """
    async with testing.served() as kit, kit.connect() as store:
        await store.keys.put("a", "1")
        kit.fail(NoQuorum, kind="read", times=2)
        stale = await store.keys.get("a", stale=True)
        for _ in range(2):
            with pytest.raises(NoQuorum) as failed:
                await store.keys.get("a")
            assert failed.value.definite
        assert await value(store.keys, "a") == b"1"

    assert stale is not None


@asynchronous
async def test_a_fault_meets_whom_it_is_aimed_at() -> None:
    """
    A kind of call, an agent, a client, a number of calls; all others pass.
    """
    async with testing.served() as kit, kit.connect() as one, kit.connect() as other:
        by_kind = kit.fail(Overloaded, kind="delete")
        by_client = kit.fail(Overloaded, kind="put", client=other, times=2)
        by_agent = kit.fail(Overloaded, agent_id="b")
        await one.create_agent("a")
        await one.keys.put("k", "1")
        for _ in range(2):
            with pytest.raises(Overloaded):
                await other.keys.put("k", "2")
        await other.keys.put("k", "3")
        with pytest.raises(Overloaded):
            await one.keys.delete("k")
        with pytest.raises(Overloaded):
            await one.create_agent("b")
        await one.create_agent("b")

    assert [len(fault.met) for fault in (by_kind, by_client, by_agent)] == [1, 2, 1]


@asynchronous
async def test_a_fault_that_is_called_off_meets_nobody() -> None:
    """
    By itself, or with all others.
    """
    async with testing.served() as kit, kit.connect() as store:
        kit.fail().cancel()
        await store.keys.put("a", "1")
        fault = kit.fail(times=5)
        kit.lose_answer(applied=True)
        kit.clear_faults()
        await store.keys.put("a", "2")

    assert fault.met == []


# --- unknown ---------------------------------------------------------------------


@asynchronous
@pytest.mark.parametrize("applied", [True, False])
async def test_the_outcome_is_unknown(applied: bool) -> None:
    """
    The client cannot tell; the store can, and does so when it is asked.
    """
    async with testing.served() as kit, kit.connect() as store:
        await store.keys.put("a", "old")
        kit.lose_answer(applied=applied)
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown) as unknown:
            await store.keys.put("a", "new")
        took = time.monotonic() - began
        after = await value(store.keys, "a")
        puts = len(kit.log("put"))

    assert not unknown.value.definite
    assert took < AT_ONCE_S
    assert after == (b"new" if applied else b"old")
    assert puts == 1 + applied


@asynchronous
async def test_what_was_lost_arrives_late() -> None:
    """
    It may happen yet, which is why nobody knows; but only once, and not over what its own
    client has done since.
    """
    async with testing.served() as kit, kit.connect() as store:
        first = kit.lose_answer(applied=False)
        with pytest.raises(OutcomeUnknown):
            await store.keys.put("a", "late")
        assert await value(store.keys, "a") is None
        assert first.arrive() == [""]
        assert await value(store.keys, "a") == b"late"
        assert first.arrive() == []
        second = kit.lose_answer(applied=False)
        with pytest.raises(OutcomeUnknown):
            await store.keys.put("a", "later")
        await store.keys.put("a", "newer")
        assert second.arrive() == ["OUTCOME_FORGOTTEN"]
        assert await value(store.keys, "a") == b"newer"
        with pytest.raises(ValueError, match="arrive late"):
            kit.lose_answer(applied=True).arrive()


@asynchronous
@pytest.mark.parametrize("known", [True, False])
async def test_an_effect_is_not_done_twice(known: bool) -> None:
    """
    What it gave is in the ledger if its step surely was not committed: whoever does the step
    again is given that. If nobody knows, nobody guesses.
    """
    done: list[str] = []

    async def pay(call: raftstate.EffectCall) -> str:
        done.append(call.key)
        return f"receipt {len(done)}"

    async def work(store: raftstate.Store) -> str:
        async with store.own("a", wait=True) as agent, agent.step() as step:
            receipt: str = await step.effect("pay", {"sum": 1}, do=pay, kind="irreversible")
            step.event("paid", receipt)
            return receipt

    async with testing.served() as kit, kit.connect() as first, kit.connect() as second:
        if known:
            kit.fail(NoQuorum, kind="commit_step")
        else:
            kit.lose_answer(applied=False, kind="commit_step")
        with pytest.raises(NoQuorum if known else OutcomeUnknown):
            await work(first)
        await kit.kill(first)
        await kit.advance(1.0)
        if known:
            assert await work(second) == "receipt 1"
        else:
            with pytest.raises(EffectUnknown):
                await work(second)

    assert len(done) == 1


# --- hold ------------------------------------------------------------------------


@asynchronous
@pytest.mark.parametrize("applied", [True, False])
async def test_an_answer_is_held_until_it_is_released(applied: bool) -> None:
    """
    Nothing, or everything, has happened meanwhile; it happens once, although the client
    has asked again by then.
    """
    async with testing.served() as kit, kit.connect() as store, kit.connect() as other:
        await other.keys.put("a", "old")
        fault = kit.hold(applied=applied, kind="put")
        putting = asyncio.create_task(store.keys.put("a", "new"))
        await fault.reached()
        meanwhile = await value(other.keys, "a")
        await asyncio.sleep(1.2)  # longer than one attempt: the client asks again
        assert not putting.done()
        fault.release()
        await putting
        after = await value(other.keys, "a")
        puts = len(kit.log("put")) - 1
        await store.keys.put("b", "not held")

    assert meanwhile == (b"new" if applied else b"old")
    assert after == b"new"
    # The second attempt is in the log as well, answered from memory.
    assert 1 <= puts <= 3


@asynchronous
async def test_a_read_is_held() -> None:
    """
    And shows what there is when it is let go.
    """
    async with testing.served() as kit, kit.connect() as store, kit.connect() as other:
        fault = kit.hold(kind="read")
        reading = asyncio.create_task(value(store.keys, "a"))
        await fault.reached()
        await other.keys.put("a", "1")
        kit.clear_faults()

        assert await reading == b"1"


# --- losing ------------------------------------------------------------------------


@asynchronous
async def test_a_session_expires_and_the_store_goes_on() -> None:
    """
    What it owned is lost; the store itself has a new session, and says nothing.
    """
    async with testing.served() as kit, kit.connect() as store:
        with pytest.raises(OwnershipLost):
            async with store.own("a"):
                await kit.expire_session(store)
                await asyncio.Event().wait()
        await store.keys.put("k", "1")
        async with store.own("a") as agent:
            revision = agent.token.revision
        opened = [one.revision for one in kit.log("open_session")]

    assert len(opened) == 2
    assert revision > opened[1]


@asynchronous
@pytest.mark.parametrize("told", [True, False])
async def test_an_ownership_expires(told: bool) -> None:
    """
    The agent is free; its owner is told, or finds out when it writes.
    """
    async with testing.served() as kit, kit.connect() as store, kit.connect() as other:
        with pytest.raises(OwnershipLost) as lost:
            async with store.own("a") as agent:
                await kit.expire_ownership("a", told=told)
                assert agent.lost == told
                if told:
                    await asyncio.Event().wait()
                async with agent.step() as step:
                    step.event("e")
        async with other.own("a") as agent:
            assert agent.head.step == 0

    assert lost.value.definite
    assert [one.refusal for one in kit.log("commit_step")] == ([] if told else ["NOT_OWNER"])


@asynchronous
async def test_a_change_of_leader_costs_nothing() -> None:
    """
    Who owns owns on, and who waits goes on waiting, and then owns.
    """
    async with testing.served() as kit, kit.connect() as store, kit.connect() as other:

        async def stand_by() -> str:
            async with other.own("a", wait=True) as agent:
                return agent.token_text

        async with store.own("a") as agent:
            waiting = asyncio.create_task(stand_by())
            await until(lambda: kit.log("open_session")[1:], "the standby is there")
            await kit.change_leader()
            await kit.change_leader()
            async with agent.step() as step:
                step.event("e")
            assert not agent.lost
            token = agent.token_text

        assert await waiting > token


@asynchronous
async def test_who_is_cut_off_hears_nothing_until_it_is_mended() -> None:
    """
    Its calls meet their deadline; others go on, and so does it when the way is clear.
    """
    async with (
        testing.served() as kit,
        kit.connect(timeout=0.5) as store,
        kit.connect() as other,
    ):
        await store.keys.put("a", "1")
        kit.cut_off(store)
        with pytest.raises((NoQuorum, OutcomeUnknown)):
            await store.keys.put("a", "2")
        with pytest.raises(NoQuorum):
            await store.keys.get("a")
        await other.keys.put("b", "1")
        kit.mend(store)
        await store.keys.put("a", "3", timeout=10.0)
        found = await store.keys.get("a", timeout=10.0)

    assert found is not None
    assert found.value == b"3"


@asynchronous
@pytest.mark.parametrize("late", ["a renewal", "the end of a stream"])
async def test_what_arrives_late_of_a_killed_client_puts_nothing_off(late: str) -> None:
    """
    Its session ends 0.3 s after it was killed, whatever was on its way then.
    """
    async with testing.served() as kit, kit.connect() as store:
        await store.keys.put("a", "1")
        [session] = [one.session_id async for one in store.sessions()]
        await kit.kill(store)
        host, link = kit._host, kit._link_of(store)

        async def arrive() -> None:
            solo.caller.set(link)
            if late == "a renewal":
                host.solo.keep_session(session, object())
            else:
                host.solo.session_broken(session)

        await kit.advance(0.2)
        await kit._await(arrive())
        await kit.advance(0.1)
        assert len(kit.log("expire_session")) == 1


@asynchronous
async def test_a_killed_client_may_come_back() -> None:
    """
    As a process that was restarted at the same address.
    """
    async with testing.served() as kit, kit.connect() as store:
        await store.keys.put("a", "1")
        await kit.kill(store)
        with pytest.raises((NoQuorum, OutcomeUnknown)):
            await store.keys.put("a", "2", timeout=0.3)
        kit.mend(store)
        await store.keys.put("a", "3")


@asynchronous
async def test_any_client_can_have_a_link_of_its_own() -> None:
    """
    An adapter's, say: a portal; or whatever connects to the link's endpoint.
    """
    async with testing.served() as kit:
        link = kit.link("another program")
        async with raftstate.connect(link.endpoint, timeout=0.5) as store:
            await store.keys.put("a", "1")
            kit.cut_off(link)
            with pytest.raises((NoQuorum, OutcomeUnknown)):
                await store.keys.put("a", "2")
            kit.mend(link)
        portal = kit.portal(client_name="portal")
        async with portal, raftstate.connect(kit.endpoint) as store:
            await portal.arun(lambda inside: inside.keys.put("p", b"1"))
            kit.fail(NoQuorum, client=portal)
            await store.keys.put("q", "1")
            with pytest.raises(NoQuorum):
                await portal.arun(lambda inside: inside.keys.put("p", b"2"))
            kit.fail(NoQuorum, client=kit.endpoint)
            with pytest.raises(NoQuorum):
                await store.keys.put("q", "2")

    assert "another program" in repr(link)


# --- the log, and wrong use ----------------------------------------------------------


@asynchronous
async def test_the_log_is_what_was_committed() -> None:
    """
    In order, a revision each, refused commands with their reason, and who asked.
    """
    async with testing.served() as kit, kit.connect(client_name="me") as store:
        await store.create_agent("a")
        with pytest.raises(errors.AgentExists):
            await store.create_agent("a")
        await store.create_agent("b")
        log = kit.log()
        about = kit.log("create_agent", "a")

    assert [one.revision for one in log] == [1, 2, 3, 4]
    assert [one.kind for one in log] == ["open_session"] + 3 * ["create_agent"]
    assert [one.refusal for one in log] == ["", "", "AGENT_EXISTS", ""]
    assert {one.client for one in log} == {"me"}
    assert about == log[1:3]
    assert about[0].request.agent_id == about[0].agent_id == "a"


@asynchronous
async def test_what_makes_no_sense_is_refused() -> None:
    """
    With an error that names what is wrong; nothing is changed.
    """
    async with testing.served() as kit, kit.connect() as store, raftstate.connect("x:1") as far:
        for error, why in (
            (OutcomeUnknown, "use `lose_answer`"),
            (errors.OutcomeForgotten, "use `lose_answer`"),
            (errors.SessionExpired, "use `expire_session`"),
            (OwnershipLost, "no answer of the store"),
            (errors.Closed, "no answer of the store"),
        ):
            with pytest.raises(ValueError, match=why):
                kit.fail(error)
        for kind in ("putt", "expire_session", "open_session"):
            with pytest.raises(ValueError, match=r"it must be one of .*commit_step"):
                kit.fail(kind=kind)
        with pytest.raises(ValueError, match="it must be one of"):
            kit.lose_answer(applied=True, kind="read")
        for other in (ValueError, NoQuorum("", definite=True)):
            with pytest.raises(ValueError, match=r"must be a class of raftstate\.errors"):
                kit.fail(other)  # type: ignore[arg-type]  # as somebody may
        with pytest.raises(ValueError, match=r"'putt'; it must be one of .*expire_session"):
            kit.log("putt")  # or a test that nothing was put would hold for ever
        assert kit.log("expire_session") == []
        with pytest.raises(ValueError, match="times is 0; it must be at least 1"):
            kit.hold(times=0)
        for seconds in (0.0, -1.0, float("inf"), float("nan")):
            with pytest.raises(ValueError, match=r"seconds is .*; it must be more than 0"):
                await kit.advance(seconds)
        with pytest.raises(ValueError, match="not of this kit"):
            kit.cut_off(far)
        with pytest.raises(ValueError, match="has no session"):
            await kit.expire_session(store)
        with pytest.raises(ValueError, match="no agent 'a'"):
            await kit.take_over("a")
        await store.create_agent("a")
        with pytest.raises(ValueError, match="has no owner"):
            await kit.expire_ownership("a")
        with pytest.raises(ValueError, match="not owned by `take_over`"):
            await kit.give_back("a")
        await store.halt_agent("a")
        with pytest.raises(ValueError, match="cannot be acquired"):
            await kit.take_over("a")
        with pytest.raises(RuntimeError, match="open already"):
            await kit.__aenter__()
        with pytest.raises(errors.Unhealthy):
            await store.remove_member("kit")
    with pytest.raises(RuntimeError, match="not open"):
        kit.fail()
