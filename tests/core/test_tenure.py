"""A leader's tenure: when it proposes what, and who is told what meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from raftstate.core.machine import Applied
from raftstate.core.ports import KeepAliveResult
from raftstate.core.tenure import UNDER_WAY_MAX, Tenure
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.store_pb2 import Command
from tests.core.bench import close_session, event, open_session, reason
from tests.core.office import GRACE, OWN, OWN_MS, RETRY, TTL, TTL_MS, Office


@pytest.fixture
def office() -> Office:
    """A leader with session "s", opened at time zero."""
    made = Office()
    made.open("s")
    return made


def commands(due: Iterable[tuple[Command, object | None]]) -> list[Command]:
    return [command for command, _ in due]


ALIVE, GONE = KeepAliveResult(TTL_MS), KeepAliveResult(None)
EXPIRE = ("expire_session", None)
EXPIRE_OWN = ("expire_ownership", None)


# --- deadlines ---------------------------------------------------------------


def test_a_session_expires_when_its_ttl_has_passed(office: Office) -> None:
    """
    Not before; and the proposal names the last command seen.
    """
    assert office.tenure.next_deadline() == TTL
    assert office.due(TTL - 0.001) == []

    ((command, ticket),) = office.due(TTL)

    assert ticket is None
    assert command.expire_session.session_id == "s"
    assert command.expire_session.touched_revision == office.bench.touched("s")
    assert [each.WhichOneof("result") for each in office.commit(command)] == ["done"]
    assert office.tenure.next_deadline() is None
    assert office.due(TTL * 100) == []


def test_sessions_that_end_together_end_one_after_the_other(office: Office) -> None:
    """
    A thousand of them, where applying takes its time: each end is in the log once, so to say,
    and who waits for its turn is still kept alive.
    """
    many = [f"m{number}" for number in range(1_000)]
    for one in many:
        office.open(one)
    log, applied, now = commands(office.due(TTL)), 0, TTL
    assert len(log) == UNDER_WAY_MAX
    assert office.keep("m999", "kept", TTL) == ALIVE
    while applied < len(log):
        now += 0.1
        for command in log[applied : applied + 5]:
            applied += 1
            office.commit(command)
        log += commands(office.due(now))
    ended = [command.expire_session.session_id for command in log]

    assert set(ended) == {"s", *many}
    assert len(ended) <= 2 * len(many)


def test_a_command_gives_the_full_ttl_from_when_it_was_applied(office: Office) -> None:
    """
    For the session that sent it; others go on as they were.
    """
    office.open("t")
    office.now = 1.5
    office.commit(office.bench.create("s", "a"))

    assert [each.expire_session.session_id for each in commands(office.due(TTL))] == ["t"]
    office.commit(close_session("t"))
    assert office.tenure.next_deadline() == 1.5 + TTL


def test_a_keep_alive_counts_from_its_arrival(office: Office) -> None:
    """
    Not from its answer, which may be later; and it never shortens what there is.
    """
    office.now = 1.9
    assert office.keep("s", "k", arrived=1.0) == ALIVE
    assert office.keep("s", "k", arrived=0.5) == ALIVE

    assert office.due(TTL) == []
    assert office.tenure.next_deadline() == 1.0 + TTL
    assert office.said(1.0 + TTL) == [EXPIRE]


def test_nobody_keeps_what_is_not_there(office: Office) -> None:
    """
    An unknown session, a closed one, an unowned agent, an older token.
    """
    office.commit(open_session("t", TTL_MS), close_session("t"))
    old = office.own("s", "a")
    new = office.own("s", "a")
    never = FencingToken(epoch=9, revision=9)

    assert office.keep("nobody", "k", 0.0) == GONE
    assert office.keep("t", "k", 0.0) == GONE
    assert office.keep("\0" * 1_000, "k", 0.0) == GONE
    assert office.renew("nobody", new, "k", 0.0) == GONE
    assert office.renew("a", old, "k", 0.0) == GONE
    assert office.renew("a", never, "k", 0.0) == GONE
    assert office.renew("a", new, "k", 0.0) == KeepAliveResult(OWN_MS)


def test_an_ownership_expires_by_itself(office: Office) -> None:
    """
    Its ttl is its own; renewing it does not keep the session, nor the other way round.
    """
    fence = office.own("s", "a")
    assert office.keep("s", "k", arrived=0.9) == ALIVE

    ((command, _),) = office.due(OWN)

    expiry = command.expire_ownership
    assert (expiry.agent_id, expiry.fence) == ("a", fence)
    assert expiry.touched_revision == office.bench.agent("a").owner.touched_revision
    office.commit(command)
    assert not office.bench.agent("a").HasField("owner")
    assert office.tenure.next_deadline() == 0.9 + TTL


def test_a_step_keeps_its_ownership(office: Office) -> None:
    """
    A committed one. A refused one keeps only the session.
    """
    fence = office.own("s", "a")
    office.now = 0.8
    office.commit(office.bench.step("s", "a", fence, event("e")))
    assert office.due(OWN) == []
    assert office.tenure.next_deadline() == 0.8 + OWN

    office.now = 1.5
    (refused,) = office.commit(office.bench.step("s", "a", fence, expect=9))
    assert reason(refused) == "CONFLICT"
    assert office.said(0.8 + OWN) == [EXPIRE_OWN]


def test_a_session_takes_its_ownerships_along_in_one_proposal(office: Office) -> None:
    """
    Where both are due, only the session's expiry is proposed, and it ends both.
    """
    office.own("s", "a", ttl=TTL_MS)
    office.own("s", "b", ttl=TTL_MS)

    due = office.due(TTL)

    assert [command.WhichOneof("body") for command, _ in due] == ["expire_session"]
    office.commit(*commands(due))
    assert not office.bench.agent("a").HasField("owner")
    assert not office.bench.agent("b").HasField("owner")
    assert office.due(TTL * 9) == []


def test_a_new_leader_gives_everything_its_full_ttl(office: Office) -> None:
    """
    However little was left under the old one.
    """
    office.own("s", "a")
    office.own("s", "b", ttl=5_000)
    new = Tenure(GRACE, RETRY)

    new.begin(office.bench.store, 100.0)

    assert new.next_deadline() == 100.0 + OWN
    assert new.due(office.bench.store, 100.0 + OWN - 0.001) == []
    kinds = [
        (str(command.WhichOneof("body")), at)
        for at in (100.0 + OWN, 100.0 + TTL)
        for command, _ in new.due(office.bench.store, at)
    ]
    assert ("expire_ownership", 100.0 + OWN) in kinds
    assert ("expire_session", 100.0 + TTL) in kinds


def test_out_of_office_nothing_is_proposed(office: Office) -> None:
    """
    Neither before the first tenure nor after one; what is observed then is no matter.
    """
    never = Tenure(GRACE)
    assert never.observe(office.bench.store, Applied([], {"s"}, set()), 0.0) == []
    assert never.due(office.bench.store, 99.0) == []
    assert never.next_deadline() is None

    assert office.tenure.end() == []
    office.open("t")
    assert office.due(99.0) == []
    assert office.tenure.next_deadline() is None


def test_a_deadline_of_what_is_gone_does_nothing(office: Office) -> None:
    """
    A session that closed, an ownership that was released or taken: no expiry later.
    """
    office.open("t")
    released = office.own("t", "b")
    office.own("s", "a")
    office.commit(office.bench.release("t", "b", released))
    office.commit(close_session("s"))
    office.now = 0.5
    forced = office.bench.acquire("t", "a", "FORCE", ttl=OWN_MS)
    office.commit(forced)

    assert office.due(OWN) == []  # when the first grants' would have been
    assert office.tenure.next_deadline() == 0.5 + OWN


# --- proposals under way -----------------------------------------------------


def test_a_proposal_is_handed_out_once_until_it_is_due_again(office: Office) -> None:
    """
    Once, and the same again after a while if nothing was seen of it.
    """
    first = office.due(TTL)
    assert len(first) == 1

    assert office.due(TTL) == []
    assert office.due(TTL + RETRY - 0.001) == []
    assert office.tenure.next_deadline() == TTL + RETRY
    assert office.due(TTL + RETRY) == first
    # Both arrive: the second finds nothing, and all is well.
    assert [reason(each) for each in office.commit(*commands(first * 2))] == [
        "",
        "EXPIRY_OVERTAKEN",
    ]
    assert office.due(TTL * 9) == []


def test_an_overtaken_expiry_gives_the_ttl_from_then(office: Office) -> None:
    """
    The session was heard of while its expiry was under way.
    """
    expiry = commands(office.due(TTL))
    office.now = 2.5
    office.commit(office.bench.create("s", "a"), *expiry)

    assert office.due(TTL + RETRY) == []  # nothing to repeat
    assert office.tenure.next_deadline() == 2.5 + TTL


@pytest.mark.parametrize("alive", [True, False])
def test_a_keep_alive_waits_for_a_proposed_expiry(office: Office, alive: bool) -> None:
    """
    It is parked, and told what became of the session: exactly once, and truly.
    """
    expiry = commands(office.due(TTL))
    assert office.keep("s", "k1", arrived=2.1) is None
    assert office.keep("s", "k2", arrived=2.2) is None
    office.now = 2.3
    office.commit(open_session("t", TTL_MS))  # something else
    assert office.answers == []

    office.commit(*([office.bench.create("s", "a")] if alive else []), *expiry)

    fate = ALIVE if alive else GONE
    assert office.answers == [("k1", fate), ("k2", fate)]
    assert office.keep("s", "k3", 2.3) == fate


def test_an_older_expiry_does_not_settle_a_newer_one(office: Office) -> None:
    """
    A repeated proposal that is overtaken says nothing about the one after it.

    Method: propose twice (P, P again), let a command overtake the first, let the
    second deadline pass (Q), park, then apply the stale P: still parked, until Q.
    """
    (stale,) = commands(office.due(TTL))
    assert commands(office.due(TTL + RETRY)) == [stale]
    office.commit(office.bench.create("s", "a"))
    deadline = office.tenure.next_deadline()
    assert deadline is not None
    (newer,) = commands(office.due(deadline))
    assert newer != stale
    assert office.keep("s", "k", arrived=deadline) is None

    (overtaken,) = office.commit(stale)
    assert reason(overtaken) == "EXPIRY_OVERTAKEN"
    assert office.answers == []
    office.commit(newer)
    assert office.answers == [("k", GONE)]


def test_an_ownership_waits_for_its_own_and_its_sessions_expiry(office: Office) -> None:
    """
    A renewal is parked behind either.
    """
    fence = office.own("s", "a")
    own_expiry = commands(office.due(OWN))
    assert office.renew("a", fence, "k1", 1.1) is None
    assert office.said(TTL)[0] == EXPIRE

    office.commit(office.bench.step("s", "a", fence), *own_expiry)  # overtaken
    assert office.answers == [("k1", KeepAliveResult(OWN_MS))]

    office.answers.clear()
    commands(office.due(office.now + TTL))
    assert office.renew("a", fence, "k2", office.now) is None
    office.commit(close_session("s"))
    assert office.answers == [("k2", GONE)]


def test_leaving_office_gives_back_who_was_not_answered(office: Office) -> None:
    """
    Waiters and parked keep-alives, each once; what was abandoned is not among them.
    """
    office.open("t", 100_000)
    office.own("t", "a", ttl=100_000)
    for ticket in ("w1", "w2", "w3"):
        office.wait("t" if ticket == "w1" else "s", "b" if ticket == "w1" else "a", ticket)
    assert [ticket for _, ticket in office.due(1.0)] == ["w1"]  # no agent "b": refused
    office.due(TTL)
    assert office.keep("s", "k1", 2.1) is None
    assert office.keep("s", "k2", 2.1) is None
    office.tenure.abandon("w2")
    office.tenure.abandon("k1")
    office.tenure.abandon("never heard of")

    assert sorted(map(str, office.tenure.end())) == ["k2", "w3"]
    assert office.tenure.end() == []


# --- graces ------------------------------------------------------------------


def test_a_broken_stream_starts_a_short_grace(office: Office) -> None:
    """
    Shorter than the ttl, and only for that session.
    """
    office.open("t")

    office.tenure.session_broken("s", 0.5)

    assert office.tenure.next_deadline() == 0.5 + GRACE
    assert office.due(0.5 + GRACE - 0.001) == []
    (command,) = commands(office.due(0.5 + GRACE))
    assert command.expire_session.session_id == "s"


def test_a_grace_is_never_longer_than_the_ttl(office: Office) -> None:
    """
    A stream that breaks just before the deadline gains nothing by it.
    """
    office.tenure.session_broken("s", TTL - 0.1)

    assert office.said(TTL) == [EXPIRE]


def test_a_keep_alive_after_the_break_ends_the_grace(office: Office) -> None:
    """
    One that arrived before it came on the broken stream, and does not.
    """
    office.tenure.session_broken("s", 0.5)
    assert office.keep("s", "late answer", arrived=0.4) == ALIVE
    assert office.tenure.next_deadline() == 0.5 + GRACE

    assert office.keep("s", "new stream", arrived=0.6) == ALIVE

    assert office.due(0.5 + GRACE) == []
    assert office.tenure.next_deadline() == 0.6 + TTL


def test_a_command_starts_the_grace_anew_but_does_not_end_it(office: Office) -> None:
    """
    It may have been on its way when its sender died: it must not buy a full ttl.
    """
    office.tenure.session_broken("s", 0.5)
    office.now = 0.6
    office.commit(office.bench.create("s", "a"))

    assert office.due(0.5 + GRACE) == []
    assert office.said(0.6 + GRACE) == [EXPIRE]


def test_a_session_opened_again_has_no_grace(office: Office) -> None:
    """
    The break was its predecessor's, even if both changes are seen at once.
    """
    office.tenure.session_broken("s", 0.1)
    office.now = 0.2
    office.commit(close_session("s"), open_session("s", TTL_MS))

    assert office.due(0.1 + GRACE) == []
    assert office.tenure.next_deadline() == 0.2 + TTL
    office.tenure.session_broken("nobody", 0.3)
    assert office.tenure.next_deadline() == 0.2 + TTL


# --- waiters -----------------------------------------------------------------


@pytest.fixture
def busy(office: Office) -> Office:
    """Session "s" owns "a"; "t" and "u" are live for long."""
    office.own("s", "a", ttl=100_000)
    office.open("t", 100_000)
    office.open("u", 100_000)
    return office


def test_who_waits_for_a_free_agent_is_proposed_at_once(office: Office) -> None:
    """
    And so is who would create it.
    """
    office.commit(office.bench.create("s", "a"))

    command = office.wait("s", "a", "w")
    office.wait("s", "new", "n", create=True)

    assert office.tenure.next_deadline() == 0.0
    due = office.due(0.0)
    assert due[0] == (command, "w")
    assert [ticket for _, ticket in due] == ["w", "n"]
    assert [reason(each) for each in office.commit(*commands(due))] == ["", ""]


def test_the_first_waiter_travels_with_the_expiry(busy: Office) -> None:
    """
    Expire and the first waiter's Acquire are adjacent, and granted in one entry; the
    next waits for that one.
    """
    first = busy.wait("t", "a", "w1")
    busy.wait("u", "a", "w2")
    assert busy.due(0.1) == []

    due = busy.due(TTL)

    assert [command.WhichOneof("body") for command, _ in due] == [
        "expire_session",
        "acquire_ownership",
    ]
    assert due[1] == (first, "w1")
    outcomes = busy.commit(*commands(due))
    assert [each.WhichOneof("result") for each in outcomes] == ["done", "acquire_ownership"]
    assert busy.bench.agent("a").owner.session_id == "t"
    assert busy.due(TTL) == []  # "u" waits on
    busy.commit(busy.bench.release("t", "a", busy.bench.agent("a").newest_fence))
    assert [ticket for _, ticket in busy.due()] == ["w2"]


def test_each_agent_of_a_session_goes_to_its_own_first_waiter(busy: Office) -> None:
    """
    One expiry frees many agents; an ownership's own expiry frees one.
    """
    busy.own("s", "b", ttl=100_000)
    busy.own("s", "c", ttl=OWN_MS)
    for ticket, agent in (("wb", "b"), ("wa", "a"), ("wc", "c")):
        busy.wait("t", agent, ticket)

    assert busy.said(OWN) == [EXPIRE_OWN, ("acquire_ownership", "wc")]
    due = busy.due(TTL)

    assert [ticket for _, ticket in due] == [None, "wa", "wb"]
    assert [reason(each) for each in busy.commit(*commands(due))] == ["", "", ""]


def test_a_waiter_of_the_session_that_ends_is_not_its_successor(busy: Office) -> None:
    """
    Even if it comes first: it is told SESSION_EXPIRED, and the next one is granted.

    Method: the owner's own session asks just as its expiry is due.
    """
    busy.wait("s", "a", "of s")
    busy.wait("t", "a", "of t")

    due = busy.due(TTL)

    assert [ticket for _, ticket in due] == [None, "of t", "of s"]
    assert [reason(each) for each in busy.commit(*commands(due))] == ["", "", "SESSION_EXPIRED"]


def test_a_session_that_ends_loses_its_places_elsewhere(busy: Office) -> None:
    """
    Its waiters for agents of others are told so, though those are not free.
    """
    busy.own("u", "b", ttl=100_000)
    busy.wait("s", "b", "of s")
    assert busy.due() == []
    busy.commit(*commands(busy.due(TTL)))

    ((command, ticket),) = busy.due()

    assert ticket == "of s"
    assert [reason(each) for each in busy.commit(command)] == ["SESSION_EXPIRED"]


def test_a_waiter_whose_session_is_gone_lets_the_next_one_through(busy: Office) -> None:
    """
    Refusals do not cost the others their turn.
    """
    fence = busy.bench.agent("a").newest_fence
    busy.wait("t", "a", "w1")
    busy.wait("u", "a", "w2")
    assert busy.due() == []
    busy.commit(close_session("t"), busy.bench.release("s", "a", fence))

    due = busy.due()

    assert [ticket for _, ticket in due] == ["w1", "w2"]
    assert [reason(each) for each in busy.commit(*commands(due))] == ["SESSION_EXPIRED", ""]


def test_one_waiter_at_a_time_is_proposed(busy: Office) -> None:
    """
    The second is not, before the first is settled; a change of labels settles nothing.
    """
    fence = busy.bench.agent("a").newest_fence
    busy.wait("t", "a", "w1")
    busy.wait("u", "a", "w2")
    busy.commit(busy.bench.release("s", "a", fence))
    ((first, ticket),) = busy.due()
    assert ticket == "w1"

    busy.commit(busy.bench.update("u", "a"))
    assert busy.due() == []
    busy.commit(first)
    assert busy.due() == []
    assert busy.bench.agent("a").owner.session_id == "t"


def test_a_lost_proposal_holds_the_queue_only_for_a_while(busy: Office) -> None:
    """
    If nothing is seen of the first, the second has its turn.
    """
    fence = busy.bench.agent("a").newest_fence
    busy.wait("t", "a", "w1")
    busy.wait("u", "a", "w2")
    busy.commit(busy.bench.release("s", "a", fence))
    assert [ticket for _, ticket in busy.due(0.5)] == ["w1"]

    assert busy.due(0.5 + RETRY - 0.001) == []
    assert busy.tenure.next_deadline() == 0.5 + RETRY
    assert [ticket for _, ticket in busy.due(0.5 + RETRY)] == ["w2"]


@pytest.mark.parametrize("way", ["halt", "retire"])
def test_nobody_waits_for_an_agent_that_was_stopped(busy: Office, way: str) -> None:
    """
    Who waited, and who comes to wait, is refused at once.
    """
    busy.wait("t", "a", "w1")
    assert busy.due() == []
    busy.commit(getattr(busy.bench, way)("u", "a"))
    busy.wait("u", "a", "w2")

    due = busy.due()

    assert [ticket for _, ticket in due] == ["w1", "w2"]
    outcomes = busy.commit(*commands(due))
    assert [reason(each) for each in outcomes] == ["AGENT_STATE", "AGENT_STATE"]


def test_who_need_not_wait_does_not(busy: Office) -> None:
    """
    The owner's own session, a request answered before, a session that is not there,
    an agent that is not there.
    """
    answered = busy.bench.acquire("t", "a", "WAIT")
    assert reason(busy.commit(answered)[0]) == "OWNED"
    busy.tenure.wait(answered, "again", 0.0)
    busy.wait("nobody", "a", "stranger")
    busy.wait("t", "nothing", "nothing")
    busy.wait("t", "a", "waits")
    busy.wait("s", "a", "owner")

    due = busy.due()

    assert {ticket for _, ticket in due} == {"again", "stranger", "nothing", "owner"}
    said = dict(zip([t for _, t in due], busy.commit(*commands(due)), strict=True))
    assert reason(said["again"]) == "OWNED"
    assert reason(said["stranger"]) == "SESSION_EXPIRED"
    assert reason(said["nothing"]) == "AGENT_NOT_FOUND"
    assert said["owner"].WhichOneof("result") == "acquire_ownership"


def test_a_retried_wait_is_answered_as_the_first(busy: Office) -> None:
    """
    Two calls with one request id wait; one is granted, the other told the same.
    """
    command = busy.wait("t", "a", "first call")
    busy.tenure.wait(command, "second call", 0.0)
    fence = busy.bench.agent("a").newest_fence
    busy.commit(busy.bench.release("s", "a", fence))
    ((one, _),) = busy.due()
    (granted,) = busy.commit(one)

    ((other, ticket),) = busy.due()

    assert ticket == "second call"
    assert busy.commit(other) == [granted]


def test_who_stopped_waiting_is_not_proposed(busy: Office) -> None:
    """
    An abandoned ticket leaves the queue to the others.
    """
    busy.wait("t", "a", "w1")
    busy.wait("u", "a", "w2")
    busy.tenure.abandon("w1")

    assert [ticket for _, ticket in busy.due(TTL)] == [None, "w2"]


def test_taking_by_force_leaves_the_queue_waiting(busy: Office) -> None:
    """
    A new owner is an owner; who waits now waits for that one.
    """
    busy.wait("t", "a", "w")
    busy.commit(busy.bench.acquire("u", "a", "FORCE", ttl=OWN_MS))
    assert busy.due() == []

    assert busy.said(OWN) == [EXPIRE_OWN, ("acquire_ownership", "w")]
