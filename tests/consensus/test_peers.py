"""Who a member talks to changes while it runs: peers that come, go and move, and guests."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftstate.consensus.transport import GUESTS_MAX, PeerTransport
from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope
from tests.consensus.test_transport import (  # noqa: F401  (authority is a fixture)
    A,
    B,
    Ear,
    Member,
    authority,
    badge,
    certificate,
    dial,
    frame,
    free_port,
    hello,
    is_closed,
    probe,
    until,
)

C = MemberId("c")
NOWHERE = "127.0.0.1:1"


def made(who: MemberId, peers: dict[MemberId, str], **options: object) -> Member:
    """A member that knows these peers, and says where it is reached."""
    port = free_port()
    here = f"127.0.0.1:{port}"
    member = Member.__new__(Member)
    member.ear, member.port = Ear(), port
    member.transport = PeerTransport(
        badge(who),
        here,
        peers,
        member.ear,
        **({"advertised": here} | options),  # type: ignore[arg-type]
    )
    return member


@pytest.fixture
def members() -> Iterator[tuple[Member, Member]]:
    """Members a and b, that have never heard of each other."""
    pair = made(A, {}), made(B, {})
    yield pair
    for member in pair:
        member.transport.close()


def at(member: Member) -> str:
    """Where a member listens."""
    return f"127.0.0.1:{member.port}"


def said(sender: MemberId, to: MemberId, number: int) -> Envelope:
    """Something to say."""
    envelope = probe(0, 0, from_member=sender, to_member=to, disk_id=f"disk-{sender}")
    envelope.read_probe.round = number
    return envelope


def heard(member: Member) -> list[int]:
    """What has come."""
    return [envelope.read_probe.round for envelope in member.ear.received]


def turn(*members: Member) -> None:
    """A few turns, in which nothing is awaited."""
    for _ in range(20):
        for member in members:
            member.turn()


def test_a_peer_that_is_added_is_dialled(members: tuple[Member, Member]) -> None:
    """
    A link comes up when a configuration names somebody, and goes when it names it no more.
    """
    a, b = members
    a.transport.set_peers({A: at(a), B: at(b)})
    b.transport.set_peers({A: at(a), B: at(b)})
    until(lambda: a.ear.up and b.ear.up, a, b)
    a.transport.send(B, said(A, B, 1))
    until(lambda: heard(b) == [1], a, b)

    a.transport.set_peers({A: at(a)})
    b.transport.set_peers({A: at(a)})
    # b goes on saying that it is here, until it is told: then nothing of it is left.
    b.transport.set_peers({})
    until(lambda: a.ear.down == [B] and b.ear.down == [A], a, b)

    a.transport.send(B, said(A, B, 2))  # to nobody
    turn(a, b)
    assert heard(b) == [1]
    assert (a.transport._links, b.transport._links) == ({}, {})


def test_a_peer_that_moves_is_dialled_where_it_is(members: tuple[Member, Member]) -> None:
    """
    Another address of a member that is known replaces the link; the same one does not.
    """
    a, b = members
    a.transport.set_peers({B: NOWHERE})
    b.transport.set_peers({A: at(a)})
    turn(a, b)
    assert a.ear.up == []

    a.transport.set_peers({B: at(b)})
    until(lambda: a.ear.up == [B], a, b)
    a.transport.set_peers({B: at(b), C: NOWHERE})
    turn(a, b)

    assert (a.ear.up, a.ear.down) == ([B], [])


def test_an_address_of_ones_own_wins(members: tuple[Member, Member]) -> None:
    """
    What [raft.dial] says of a member is where it is dialled, whatever a configuration or
    its own hello says.
    """
    _, b = members
    c = made(C, {}, overrides={B: at(b), A: NOWHERE})
    c.transport.set_peers({B: NOWHERE})
    until(lambda: c.ear.up == [B], b, c)

    with dial(c) as guest:
        guest.sendall(frame(hello(to_member=C, from_member=A, raft_address=at(b))))
        until(lambda: A in c.transport._links, c)
        assert c.transport._links[A].address == NOWHERE
    c.transport.close()


def test_a_leader_that_is_not_known_is_heard_and_answered(
    members: tuple[Member, Member],
) -> None:
    """
    A member that was away accepts one that joined meanwhile, and its answers leave.

    Method: a's configuration names b, and b's names nobody; b's receiver wants to hear a.
    """
    a, b = members
    b.ear.welcome = {A}
    a.transport.set_peers({B: at(b)})
    until(lambda: b.ear.up == [A], a, b)

    a.transport.send(B, said(A, B, 1))
    b.transport.send(A, said(B, A, 2))
    until(lambda: (heard(b), heard(a)) == ([1], [2]), a, b)
    b.transport.set_peers({A: at(a)})  # what it was told: now a is a member here too
    a.transport.send(B, said(A, B, 3))
    until(lambda: heard(b) == [1, 3], a, b)

    assert (a.ear.up, a.ear.down, b.ear.up, b.ear.down) == ([B], [], [A], [])
    assert b.transport.refused == {}


def test_a_guest_is_gone_when_it_has_left(members: tuple[Member, Member]) -> None:
    """
    Of a sender that no configuration names nothing stays behind its connection.
    """
    a, b = members
    b.ear.welcome = {A}
    a.transport.set_peers({B: at(b)})
    until(lambda: b.ear.up == [A], a, b)

    a.transport.set_peers({})
    until(lambda: b.ear.down == [A], a, b)

    assert (b.transport._links, b.transport._newest) == ({}, {})


def test_a_member_that_is_removed_can_still_be_told(members: tuple[Member, Member]) -> None:
    """
    Who is named no more, and is still here, is heard if it is wanted and can be answered.
    """
    a, b = members
    both = {A: at(a), B: at(b)}
    a.transport.set_peers(both)
    b.transport.set_peers(both)
    until(lambda: a.ear.up and b.ear.up, a, b)
    b.transport.send(A, said(B, A, 0))
    until(lambda: heard(a) == [0], a, b)

    a.ear.welcome = {B}
    a.transport.set_peers({A: at(a)})
    b.transport.send(A, said(B, A, 1))
    until(lambda: heard(a) == [0, 1], a, b)
    a.transport.send(B, said(A, B, 2))
    until(lambda: heard(b) == [2], a, b)

    assert a.ear.down == []
    a.ear.welcome = set()
    b.transport.send(A, said(B, A, 3))
    until(lambda: a.transport.refused, a, b)
    assert heard(a) == [0, 1]
    ((name, message),) = a.transport.alarms(time.monotonic())
    assert (name, "'b' is no member" in message) == ("PEER_REFUSED", True)


def test_a_guest_that_is_not_wanted_is_hung_up_on(members: tuple[Member, Member]) -> None:
    """
    Its hello is taken, the first thing it says is not received, and nothing of it stays.
    """
    a, _ = members
    with dial(a) as stranger:
        greeting = hello(from_member=C, raft_address=NOWHERE)
        stranger.sendall(frame(greeting) + frame(probe(1, 2, from_member=C)))
        until(lambda: is_closed(stranger), a)

    assert a.ear.received == []
    assert a.transport.refused == {"refused": 1}
    assert a.transport._links == {}


def test_guests_are_few(members: tuple[Member, Member]) -> None:
    """
    One more than there may be is refused; a member is not, and a place that is free again
    is given away.
    """
    a, b = members

    def knock(name: str) -> socket.socket:
        stream = stack.enter_context(dial(a))
        stream.sendall(frame(hello(from_member=name, raft_address=NOWHERE)))
        return stream

    with contextlib.ExitStack() as stack:
        guests = [knock(f"guest-{number}") for number in range(GUESTS_MAX)]
        until(lambda: len(a.transport._links) == GUESTS_MAX, a)
        refused = knock("late")
        until(lambda: is_closed(refused), a)
        a.transport.set_peers({B: at(b)})
        b.transport.set_peers({A: at(a)})
        until(lambda: a.ear.up and b.ear.up, a, b)
        guests[0].close()
        until(lambda: "guest-0" not in a.transport._links, a)
        knock("later")
        until(lambda: "later" in a.transport._links, a)

    assert a.transport.refused == {"refused": 1}


def test_a_guest_that_only_says_hello_loses_its_place(
    members: tuple[Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a few idle strangers could keep out the leader that this member lacks."""
    monkeypatch.setattr("raftstate.consensus.transport.HELLO_WITHIN_S", 0.1)
    a, _ = members
    with dial(a) as stream:
        stream.sendall(frame(hello(from_member="idle", raft_address=NOWHERE)))
        until(lambda: "idle" in a.transport._links, a)
        until(lambda: is_closed(stream), a)
        until(lambda: "idle" not in a.transport._links, a)

    assert a.transport.refused == {"silent": 1}


@pytest.mark.parametrize(
    "address", ["", "x", ":1", "h:0", "h:65536", "h:1x", "h o:1", "é:1", "h" * 300 + ":1"]
)
def test_a_guest_says_where_it_can_be_answered(
    members: tuple[Member, Member], address: str
) -> None:
    """
    What cannot be dialled is refused, and raises nothing.
    """
    a, _ = members
    with dial(a) as stranger:
        stranger.sendall(frame(hello(from_member=C, raft_address=address)))
        until(lambda: is_closed(stranger), a)

    assert a.transport.refused == {"refused": 1}
    assert a.transport._links == {}


def test_a_guest_whose_name_cannot_be_a_name_harms_nobody(
    members: tuple[Member, Member],
) -> None:
    """
    A host that the resolver chokes on costs only the guest: others are still looked up.
    """
    a, b = members
    with dial(a) as stranger:
        address = f"{'x' * 70}.example:1"
        stranger.sendall(frame(hello(from_member=C, raft_address=address)))
        until(lambda: C in a.transport._links and a.transport._links[C].complaint, a)
        b.transport.set_peers({A: at(a)})
        a.transport.set_peers({B: f"localhost:{b.port}"})
        until(lambda: B in a.ear.up, a, b)


def test_a_guest_shows_a_certificate_of_its_own(authority: Path) -> None:  # noqa: F811
    """
    With TLS a sender that is not known has to be whom it says it is, too.

    Method: c's process has a certificate that names c; then one that names somebody else.
    """
    a = made(A, {}, tls=certificate(authority, "a-peers", "a"))
    for names, known in (("c", True), ("mallory", False)):
        tls = certificate(authority, f"{names}-peers", names)
        c = made(C, {A: at(a)}, tls=tls)
        if known:
            until(lambda: a.ear.up == [C], a, c)
            assert a.transport.refused == {}
        else:
            until(lambda: a.transport.refused, a, c)
        c.transport.close()
        turn(a)
    assert a.ear.up == [C]
    assert a.transport._links == {}
    a.transport.close()
