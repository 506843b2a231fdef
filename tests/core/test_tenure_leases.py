"""A leader's tenure and leases: when it proposes their end, and who is told what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftstate.core.machine import Applied
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import KeepAliveResult
from raftstate.core.tenure import Tenure
from tests.core.bench import reason
from tests.core.key_story import grant, put, revoke
from tests.core.office import GRACE, RETRY, TTL, TTL_MS, Office

ALIVE, GONE = KeepAliveResult(TTL_MS), KeepAliveResult(None)
EXPIRE = ("expire_lease", None)


@pytest.fixture
def office() -> Office:
    """A leader, a session that lives long, and lease 7, granted at time zero."""
    made = Office()
    made.open("s", 3_600_000)
    made.grant(7)
    return made


def test_a_lease_expires_when_its_ttl_has_passed(office: Office) -> None:
    """
    Not before; the proposal names the grant and the newest command seen, and the keys go
    with it.
    """
    office.put(7)
    assert office.tenure.next_deadline() == TTL
    assert office.due(TTL - 0.001) == []

    ((command, ticket),) = office.due(TTL)

    assert ticket is None
    expiry = command.expire_lease
    assert (expiry.lease_id, expiry.granted_revision, expiry.touched_revision) == (7, 2, 3)
    assert [each.WhichOneof("result") for each in office.commit(command)] == ["done"]
    assert office.left(7) is None
    assert office.said(TTL * 100) == []


def test_each_command_that_names_a_lease_gives_it_the_full_ttl(office: Office) -> None:
    """
    A put under it does; one that takes a key out of it does not.
    """
    office.now = 1.5
    office.put(7)
    assert office.left(7) == TTL_MS
    office.now = 1.75
    office.put(0)
    assert office.left(7) == TTL_MS - 250
    assert office.said(1.5 + TTL - 0.001) == []
    assert office.said(1.5 + TTL) == [EXPIRE]


def test_a_keep_alive_counts_from_its_arrival(office: Office) -> None:
    """
    Not from its answer; and it never shortens what there is.
    """
    office.now = 1.9
    assert office.keep_lease(7, "k", arrived=1.0) == ALIVE
    assert office.keep_lease(7, "k", arrived=0.5) == ALIVE

    assert office.left(7) == 1_100
    assert office.said(TTL) == []
    assert office.said(1.0 + TTL) == [EXPIRE]


def test_nobody_keeps_a_lease_that_is_not_there(office: Office) -> None:
    """
    One that never was, and one that was revoked, also before the leader observed it.
    """
    assert office.keep_lease(8, "k", 0.0) == GONE
    applied = office.bench.enter([revoke(office.bench, "s", 7)])
    assert office.keep_lease(7, "k", 0.0) == GONE
    office.observe(applied)
    assert office.keep_lease(7, "k", 0.0) == GONE
    assert (office.left(7), office.left(8)) == (None, None)


def test_a_keep_alive_behind_an_expiry_waits_for_what_becomes_of_it(office: Office) -> None:
    """
    The expiry came through: it is gone. It was overtaken: it lives, from the arrival on.
    """
    ((command, _),) = office.due(TTL)
    assert office.keep_lease(7, "parked", TTL + 0.1) is None
    assert office.left(7) == 0
    office.commit(command)
    assert office.answers == [("parked", GONE)]

    office.grant(8)
    ((command, _),) = office.due(TTL * 2)
    assert office.keep_lease(8, "parked too", TTL * 2 + 0.5) is None
    outcomes = office.commit(put(office.bench, "s", b"k", b"", 8), command)
    assert reason(outcomes[1]) == "EXPIRY_OVERTAKEN"
    assert office.answers[1:] == [("parked too", ALIVE)]
    assert office.tenure.next_deadline() == TTL * 2 + 0.5 + TTL


def test_a_proposal_that_went_nowhere_is_made_again(office: Office) -> None:
    """
    After the time to retry, and not before.
    """
    ((command, _),) = office.due(TTL)
    assert office.said(TTL + RETRY - 0.001) == []
    assert [again for again, _ in office.due(TTL + RETRY)] == [command]


def test_a_lease_under_the_same_id_is_another_lease(office: Office) -> None:
    """
    It has its own deadline, and an expiry of the one before does not end it.
    """
    ((command, _),) = office.due(TTL)
    office.commit(revoke(office.bench, "s", 7), grant(office.bench, "s", TTL_MS, 7))
    (outcome,) = office.commit(command)

    assert reason(outcome) == "EXPIRY_OVERTAKEN"
    assert office.left(7) == TTL_MS
    assert office.said(TTL * 2) == [("expire_lease", None)]


def test_taking_office_gives_every_lease_its_full_ttl(office: Office) -> None:
    """
    Whatever was left of it under the leader before; leaving it answers who is parked.
    """
    successor = Tenure(GRACE, RETRY)
    successor.begin(office.bench.store, 1.9)
    assert successor.lease_left(7, 1.9) == ALIVE

    office.due(TTL)
    office.keep_lease(7, "parked", TTL)
    assert office.tenure.end() == ["parked"]
    assert office.keep_lease(7, "late", TTL) == GONE
    assert office.left(7) is None


def test_an_abandoned_keep_alive_gets_no_answer(office: Office) -> None:
    """
    Nobody listens any more.
    """
    ((command, _),) = office.due(TTL)
    office.keep_lease(7, "parked", TTL)
    office.tenure.abandon("parked")
    office.commit(command)

    assert office.answers == []


def test_the_time_left_is_rounded_up(office: Office) -> None:
    """
    It never says less than a client may count on.
    """
    office.now = 0.0001
    assert office.left(7) == TTL_MS
    office.now = TTL - 0.0001
    assert office.left(7) == 1
    office.now = TTL + 5
    assert office.left(7) == 0


def test_a_lease_and_an_agent_of_the_same_name_do_not_mix(office: Office) -> None:
    """
    Session "7", agent "7" and lease 7 have deadlines of their own.
    """
    office.open("7", TTL_MS * 2)
    office.own("7", "7", 1_000)

    assert office.said(1.0) == [("expire_ownership", None)]
    assert office.said(TTL - 0.001) == []
    assert office.said(TTL) == [("expire_ownership", None), EXPIRE]


def test_a_keep_alive_among_many_leases_costs_as_among_few(office: Office) -> None:
    """
    Nothing in keeping one walks through the others.
    """
    grants = [grant(office.bench, "s", TTL_MS, 10 + at) for at in range(1_000)]
    office.commit(*grants)
    store = Pointed(office.bench.store)

    assert office.tenure.keep_lease(store, 500, "k", 1.0) == ALIVE
    assert office.tenure.lease_left(500, 1.0) == ALIVE
    assert office.tenure.due(store, TTL - 0.001) == []
    assert office.tenure.observe(store, Applied(leases={500}), 1.5) == []

    assert store.gets <= 4
    assert office.tenure.lease_left(501, 1.0) == KeepAliveResult(TTL_MS - 1_000)


class Pointed:
    """A reader of single rows, which counts them."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.gets = 0

    def get(self, key: bytes) -> bytes | None:
        """The value at a key."""
        self.gets += 1
        return self._store.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Not here."""
        raise AssertionError(f"a scan from {start!r} to {stop!r}")

    scan_back = scan
