"""What workload clients share: outcomes are what errors say, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from jepsen_like.clients import (
    ATTEMPT_S,
    HOLDINGS_MAX,
    Belief,
    ByOneAttempt,
    Pool,
    Shared,
    ThroughSdk,
    ended,
    said,
    step_request,
    whole_stream,
)
from jepsen_like.protocols import Site
from raftstate.client.calls import deadline_in
from raftstate.client.errors import from_rpc, from_status, unanswered, unreachable
from raftstate.errors import (
    BY_REASON,
    Closed,
    Conflict,
    Fenced,
    NoQuorum,
    NotLeader,
    OutcomeUnknown,
    OwnershipLost,
    RaftStateError,
    SessionExpired,
)
from raftstate.localcluster import free_ports
from tests.client.scripted import Refuse, asynchronous, members, until
from tests.rpc.harness import Bench, bench

# Every reason there is, and whether a server that calls it definite is believed.
BELIEVED = {
    "UNKNOWN": False,
    "NOT_LEADER": True,
    "NO_QUORUM": True,
    "OVERLOADED": True,
    "QUARANTINED": True,
    "DISK_FULL": True,
    "OUTCOME_UNKNOWN": False,
    "FENCED": True,
    "NOT_OWNER": True,
    "OWNED": True,
    "CONFLICT": True,
    "NOT_CAUGHT_UP": True,
    "LAST_VOTER": True,
    "UNHEALTHY": True,
    "NOT_FOUND": True,
    "TOO_MANY": True,
    "AGENT_STATE": True,
    "AGENT_NOT_FOUND": True,
    "AGENT_EXISTS": True,
    "STREAM_NOT_FOUND": True,
    "STREAM_EXISTS": True,
    "EVENT_ID_REUSED": True,
    "NOT_COVERED": True,
    "PROJECTION_NOT_FOUND": True,
    "CHECKPOINT_NOT_FOUND": True,
    "CHUNK_MISSING": True,
    "CHAIN_TOO_LONG": True,
    "VALIDATOR_NOT_FOUND": True,
    "GROUP_EXISTS": True,
    "GROUP_NOT_FOUND": True,
    "LEASE_NOT_FOUND": True,
    "LEASE_EXISTS": True,
    "EFFECT_NOT_FOUND": True,
    "EFFECT_EXISTS": True,
    "EFFECT_UNKNOWN": True,
    "EFFECT_TOO_LATE": True,
    "COMPENSATION_REQUIRED": True,
    "SAGA_NOT_FOUND": True,
    "SAGA_EXISTS": True,
    "SAGA_ABORTED": True,
    "ROLLBACK_NOT_FOUND": True,
    "ROLLBACK_BARRIER": True,
    "PLAN_NOT_FOUND": True,
    "PLAN_STATE": True,
    "BREAKER_NOT_FOUND": True,
    "BREAKER_OPEN": True,
    "INCIDENT_NOT_FOUND": True,
    "REPLAY_DIVERGED": True,
    "COMPACTED": True,
    "FUTURE_REVISION": True,
    "NOT_COMPARABLE": True,
    "WATCH_TOO_SLOW": True,
    "SESSION_EXPIRED": True,
    "REQUEST_ID_REUSED": True,
    "OUTCOME_FORGOTTEN": False,
    "INVALID_REQUEST": True,
    "REQUEST_TOO_LARGE": True,
    "OWNERSHIP_LOST": True,
    "CORRUPT": True,
    "CLOSED": True,
    "CLUSTER_MISMATCH": True,
}
# What gRPC says by itself: only what was refused before any handler ran is certain.
CERTAIN_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def site_of(*ports: int, tmp: Path = Path()) -> Site:
    addresses = {f"n{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    return Site(addresses, "run", 1, tmp)


@asynccontextmanager
async def shared_on(served: Bench) -> AsyncIterator[Shared]:
    shared = Shared(site_of(served.port), "register")
    await shared.open("a test")
    try:
        yield shared
    finally:
        await shared.close("a test")


def step_of(shared: Shared, identity: str) -> Any:
    return step_request(shared.agent("0"), "register", {"id": identity})


async def stored(shared: Shared) -> list[str]:
    answer = await shared.ask(lambda peer, patience: whole_stream(peer, "run/register/0", 2.0))
    return [json.loads(event.data)["id"] for event in answer.events]


# --- outcomes ------------------------------------------------------------------


@pytest.mark.parametrize("kind", BY_REASON.values(), ids=lambda kind: kind.reason)
def test_an_error_ends_an_operation_as_it_says_of_itself(kind: type[RaftStateError]) -> None:
    """
    Definite is `fail`, indefinite is `info`; what changes nothing did not happen.
    """
    definite, open_ = kind("so it is", definite=True), kind("who knows", definite=False)

    assert (ended(definite).type, ended(open_).type) == ("fail", "info")
    assert ended(definite, changes=False).type == ended(open_, changes=False).type == "fail"
    assert ended(open_, "n2").node == "n2"
    assert ended(open_).error == f"{kind.reason}: who knows"
    assert ended(open_).value is None


@pytest.mark.parametrize("reason", BY_REASON)
def test_a_failure_on_the_wire_ends_an_operation_as_the_server_says(reason: str) -> None:
    """
    Only `definite` makes a failure one, and not for reasons that leave everything open.
    """
    said_definite = from_status(Refuse(reason, grpc.StatusCode.ABORTED).status())
    said_open = from_status(Refuse(reason, grpc.StatusCode.ABORTED, definite=False).status())
    said_nothing = from_status(Refuse(reason, grpc.StatusCode.ABORTED, definite=None).status())

    assert ended(said_definite).type == ("fail" if BELIEVED[reason] else "info")
    assert ended(said_open).type == ended(said_nothing).type == "info"


def test_every_reason_is_in_the_table() -> None:
    """
    A new reason has to be thought about.
    """
    assert BELIEVED.keys() == BY_REASON.keys()


@pytest.mark.parametrize("code", grpc.StatusCode, ids=lambda code: code.name)
def test_a_bare_status_is_unknown_unless_no_handler_ran(code: grpc.StatusCode) -> None:
    """
    Deadlines, broken connections and bugs say nothing about what was done.
    """
    failure = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "bare")

    assert ended(from_rpc(failure)).type == ("fail" if code in CERTAIN_CODES else "info")


def test_an_error_is_told_in_one_short_line() -> None:
    """
    The history holds the reason and the beginning of the text.
    """
    assert said(Conflict("head is\n  step 4", definite=True)) == "CONFLICT: head is step 4"
    assert len(said(Conflict("x" * 1_000, definite=True))) < 200
    assert said(Conflict("", definite=True)) == "CONFLICT"


# --- requests ------------------------------------------------------------------


def test_a_step_holds_one_event_of_json() -> None:
    """
    The id can be found in the log; a head is demanded only if one is given.
    """
    plain = step_request("run/set/0", "set", {"id": "s1-1"})
    compared = step_request("a", "register", {"id": "r"}, expected_step=0, checkpoint=b"r")

    assert [event.type for event in plain.events] == ["set"]
    assert json.loads(plain.events[0].data) == {"id": "s1-1"}
    assert not plain.HasField("expected_step")
    assert not plain.HasField("checkpoint")
    assert compared.HasField("expected_step")
    assert compared.expected_step == 0
    assert compared.checkpoint.data == b"r"


# --- who leads -----------------------------------------------------------------


def not_leader(leader: str = "") -> NotLeader:
    details = {"leader": leader} if leader else {}
    return NotLeader("another one does", definite=True, details=details)


def test_a_belief_follows_whoever_is_named() -> None:
    """
    The member that a refusal names is asked next, and at once.
    """
    belief = Belief(site_of(1, 2, 3), "n1")

    assert belief.node == "n1"
    assert belief.heed("n1", not_leader("n3"))
    assert belief.node == "n3"


def test_without_a_name_the_next_member_is_asked() -> None:
    """
    Every member has its turn, one that is named by itself or unknown to the site too.
    """
    belief = Belief(site_of(1, 2, 3), "n2")
    asked = []
    for named in ("", "n9", ""):
        asked.append(belief.node)
        assert not belief.heed(belief.node, not_leader(named))

    assert asked == ["n2", "n3", "n1"]


def test_a_leader_that_is_silent_is_not_believed_in_until_somebody_leads() -> None:
    """
    Followers name a dead leader for a while: that is no reason to ask it again and again.
    """
    belief = Belief(site_of(1, 2, 3), "n1")
    belief.heed("n1", unreachable("127.0.0.1:1"))
    assert belief.node == "n2"
    assert not belief.heed("n2", not_leader("n1"))
    assert belief.node == "n3"
    belief.heed("n3", unanswered("127.0.0.1:3", "no answer"))
    assert belief.node == "n1"

    belief.confirm()

    assert belief.heed("n1", not_leader("n3"))
    assert belief.node == "n3"


def test_a_late_failure_does_not_move_a_belief_that_has_moved() -> None:
    """
    Only the member that is believed in can lose that.
    """
    belief = Belief(site_of(1, 2, 3), "n1")
    belief.heed("n1", not_leader("n3"))

    assert not belief.heed("n1", not_leader())
    assert belief.node == "n3"


# --- asking --------------------------------------------------------------------


@asynchronous
async def test_both_ways_commit_and_read() -> None:
    """
    Steps of both go into the same stream, under one ownership, with their places.
    """
    async with bench() as served, shared_on(served) as shared:
        sdk, single = ThroughSdk(shared), ByOneAttempt(shared, 3, "n1")
        first = await sdk.commit(step_of(shared, "a"))
        second = await single.commit(step_of(shared, "b"))
        third = await sdk.commit(step_of(shared, "c"))

        assert [one.head.step for one in (first, second, third)] == [1, 2, 3]
        assert first.header.revision < second.header.revision < third.header.revision
        assert second.header.member_id == "n1"
        assert single.asked == "n1"
        assert await stored(shared) == ["a", "b", "c"]
        acquired = [c for c in served.fake.proposed if c.HasField("acquire_ownership")]
        assert len(acquired) == 1
    assert served.fake.proposed[-1].HasField("close_session")


@asynchronous
async def test_a_step_of_the_past_fails_and_the_next_one_is_under_a_new_fence() -> None:
    """
    FENCED is definite: it is not in the log, and the agent is owned again at the next step.
    """
    async with bench() as served, shared_on(served) as shared, shared_on(served) as other:
        one, another = ByOneAttempt(shared, 0, "n1"), ThroughSdk(other)
        await one.commit(step_of(shared, "a"))
        await another.commit(step_of(other, "b"))
        with pytest.raises(Fenced) as refused:
            await one.commit(step_of(shared, "lost"))
        await one.commit(step_of(shared, "c"))

        assert ended(refused.value).type == "fail"
        assert await stored(shared) == ["a", "b", "c"]


@asynchronous
async def test_a_session_that_ended_is_replaced() -> None:
    """
    The step that learns of it is refused for certain; the next one has another session.
    """
    async with bench() as served, shared_on(served) as shared:
        way = ByOneAttempt(shared, 0, "n1")
        await way.commit(step_of(shared, "a"))
        session = shared.engine.sessions.current
        assert session is not None
        served.fake.expire_session(session.session_id)
        with pytest.raises(SessionExpired) as refused:
            await way.commit(step_of(shared, "lost"))
        await way.commit(step_of(shared, "b"))

        assert ended(refused.value).type == "fail"
        assert await stored(shared) == ["a", "b"]


@asynchronous
async def test_what_happened_and_was_not_answered_is_unknown() -> None:
    """
    An answer that says nothing, and none at all, both leave it open; the log tells.
    """
    async with bench() as served, shared_on(served) as shared:
        way = ByOneAttempt(shared, 0, "n1")
        await way.commit(step_of(shared, "a"))
        served.fake.forgetful = True
        with pytest.raises(OutcomeUnknown) as said_so:
            await way.commit(step_of(shared, "b"))
        served.fake.forgetful, served.fake.holding = False, True
        with pytest.raises(OutcomeUnknown) as silent:
            await shared.commit_once("n1", step_of(shared, "c"), timeout=0.2)
        served.fake.let_go()

        assert [ended(one.value).type for one in (said_so, silent)] == ["info", "info"]
        assert await stored(shared) == ["a", "b", "c"]


@asynchronous
async def test_what_was_never_sent_fails_for_certain() -> None:
    """
    Without a connection, and without the ownership, no step leaves.
    """
    (nobody,) = free_ports(1)
    async with members(1) as (member,):
        shared = Shared(site_of(int(member.address.rpartition(":")[2]), nobody), "register")
        await shared.open(member)
        with pytest.raises(NoQuorum) as unreached:
            await shared.once("n2", lambda peer, patience: whole_stream(peer, "a", patience))
        member.always = Refuse("AGENT_STATE")
        way = ByOneAttempt(shared, 0, "n1")
        with pytest.raises(OwnershipLost) as unowned:
            await way.commit(step_of(shared, "a"))
        member.always = None
        member.office = Refuse("NO_QUORUM", grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(OwnershipLost) as late:
            await shared.own("b", deadline_in(0.05))
        await shared.close(member)

    assert ended(unreached.value).type == "fail"
    assert ended(unowned.value).type == "fail"
    assert "AGENT_STATE" in said(unowned.value)
    assert ended(late.value).type == "fail"
    assert member.expected == []


@asynchronous
async def test_a_refused_thread_asks_elsewhere_the_next_time() -> None:
    """
    One operation is one attempt; the belief outlives the client of a retired process.
    """
    async with members(2) as (first, second):
        ports = [int(member.address.rpartition(":")[2]) for member in (first, second)]
        shared = Shared(site_of(*ports), "set")
        await shared.open(first)
        refusal = Refuse("NOT_LEADER", grpc.StatusCode.UNAVAILABLE, {"leader": "n2"})
        first.office = refusal
        way = ByOneAttempt(shared, 0, "n1")
        with pytest.raises(NotLeader):
            await way.ask(lambda peer, patience: whole_stream(peer, "a", patience))
        asked = list(second.asked)
        again = ByOneAttempt(shared, 0, "n1")
        await again.ask(lambda peer, patience: whole_stream(peer, "a", patience))
        await shared.close(first)

    assert asked == []
    assert second.asked == ["read from 0"]
    assert again.asked == "n2"


@asynchronous
async def test_only_so_many_agents_are_owned_at_once() -> None:
    """
    What is not used any more is given back, and can be owned again.
    """
    async with bench() as served, shared_on(served) as shared:
        for number in range(HOLDINGS_MAX + 1):
            await shared.own(f"a{number}", deadline_in(2.0))

        def released() -> list[str]:
            return [
                command.release_ownership.agent_id
                for command in served.fake.proposed
                if command.HasField("release_ownership")
            ]

        await until(released, "the oldest is given back")
        assert released() == ["a0"]
        handle = await shared.own("a0", deadline_in(2.0))
        assert not handle.lost


@asynchronous
async def test_the_last_client_closes_what_they_share() -> None:
    """
    Closing twice, or without having opened, harms nobody; a closed one says so.
    """
    async with bench() as served:
        pool = Pool("set")
        site = site_of(served.port)
        shared = pool.of(site)
        assert pool.of(site_of(served.port)) is shared
        with pytest.raises(Closed):
            await shared.ask(lambda peer, patience: whole_stream(peer, "a", patience))
        await shared.close("never opened")
        await shared.open("one")
        await shared.open("two")
        engine = shared.engine
        await shared.close("one")
        await shared.close("one")
        assert not engine.closed
        await shared.close("two")
        assert engine.closed
        assert not served.fake.proposed  # opening and closing changed nothing


@asynchronous
async def test_closing_is_bounded_when_nobody_answers() -> None:
    """
    A cluster that is gone does not hold up the end of a run.
    """
    async with members(1) as (member,):
        shared = Shared(site_of(int(member.address.rpartition(":")[2])), "set")
        await shared.open(member)
        await shared.own("a", deadline_in(2.0))
        member.office = Refuse("NO_QUORUM", grpc.StatusCode.UNAVAILABLE)
        under_way = asyncio.create_task(shared.own("b", deadline_in(2.0)))
        await asyncio.sleep(0)
        async with asyncio.timeout(5 * ATTEMPT_S):
            await shared.close(member)
        with pytest.raises(OwnershipLost):
            await under_way
