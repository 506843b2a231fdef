"""Frames between members: what a stranger sends is refused, and the member lives."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from raftstate.consensus.transport import (
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    LENGTH,
    Badge,
    PeerTransport,
    Tls,
)
from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope, Hello, ReadProbe

A, B = MemberId("a"), MemberId("b")
WITHIN_S = 10.0


def badge(member: MemberId, incarnation: int = 1, cluster: str = "test") -> Badge:
    """What a member says about itself."""
    return Badge(cluster, 1, member, f"disk-{member}", incarnation)


@dataclass
class Ear:
    """Notes what a transport reports."""

    received: list[Envelope] = field(default_factory=list)
    up: list[MemberId] = field(default_factory=list)
    down: list[MemberId] = field(default_factory=list)
    # Senders that no configuration names, and that are worth hearing.
    welcome: set[str] = field(default_factory=set)

    def receive(self, envelope: Envelope) -> None:
        """As `Receiver`."""
        self.received.append(envelope)

    def admits(self, envelope: Envelope) -> bool:
        """As `Receiver`."""
        return envelope.from_member in self.welcome

    def peer_connected(self, peer: MemberId) -> None:
        """As `Receiver`."""
        self.up.append(peer)

    def peer_disconnected(self, peer: MemberId) -> None:
        """As `Receiver`."""
        self.down.append(peer)


class Member:
    """A transport with its ear, turned by hand."""

    def __init__(self, who: Badge, peer: MemberId, port: int) -> None:
        self.ear = Ear()
        dial = {peer: f"127.0.0.1:{port}"}
        self.transport = PeerTransport(who, "127.0.0.1:0", dial, self.ear)
        self.port = self.transport.address[1]

    def turn(self) -> None:
        """One short turn."""
        self.transport.poll(0.01, time.monotonic)
        self.transport.flush(time.monotonic())


def until(condition: Callable[[], object], *members: Member) -> None:
    """Turn everybody until something holds, for a bounded time."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        for member in members:
            member.turn()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def member() -> Iterator[Member]:
    """Member a, whose peer b is not there."""
    made = Member(badge(A), B, free_port())
    yield made
    made.transport.close()


def frame(envelope: Envelope) -> bytes:
    """An envelope as it goes over the wire."""
    data = envelope.SerializeToString()
    return LENGTH.pack(len(data)) + data


def hello(
    session: int = 1, sequence: int = 1, raft_address: str = "", **changes: str
) -> Envelope:
    """A hello from b to a, or from somebody who says so."""
    envelope = Envelope(
        cluster_id="test",
        cluster_epoch=1,
        from_member=B,
        to_member=A,
        session=session,
        sequence=sequence,
        hello=Hello(raft_address=raft_address),
    )
    for name, value in changes.items():
        setattr(envelope, name, value)
    return envelope


def probe(session: int, sequence: int, **changes: str) -> Envelope:
    """Some message that follows a hello."""
    envelope = hello(session, sequence, **changes)
    envelope.read_probe.CopyFrom(ReadProbe(round=sequence))
    return envelope


def dial(member: Member) -> socket.socket:
    """A connection from a stranger."""
    stream = socket.create_connection(("127.0.0.1", member.port))
    stream.setblocking(False)
    return stream


def is_closed(stream: socket.socket) -> bool:
    """Whether the other side has ended the connection."""
    try:
        return stream.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_messages_arrive_in_order_and_complete() -> None:
    """Two members talk, large frames included, one connection each way."""
    port = free_port()
    a = Member(badge(A), B, port)
    b = PeerTransport(badge(B), f"127.0.0.1:{port}", {A: f"127.0.0.1:{a.port}"}, ear := Ear())
    peer = Member.__new__(Member)
    peer.ear, peer.transport, peer.port = ear, b, port
    until(lambda: a.ear.up and ear.up, a, peer)

    for number in range(1, 51):
        sent = probe(0, 0)
        sent.from_member, sent.to_member, sent.read_probe.round = A, B, number
        sent.disk_id = "x" * (100_000 if number % 10 == 0 else 1)
        a.transport.send(B, sent)
    until(lambda: len(ear.received) == 50, a, peer)

    assert [envelope.read_probe.round for envelope in ear.received] == list(range(1, 51))
    assert a.transport.refused == {}
    a.transport.close()
    until(lambda: A in ear.down, peer)
    b.close()


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a huge length": b"\xff\xff\xff\xff" + b"x" * 64,
    "a length over what a stranger may send": LENGTH.pack(HELLO_BYTES_MAX + 1),
    "bytes that are no envelope": LENGTH.pack(9) + b"\xff" * 9,
    "a message before the hello": frame(probe(1, 1)),
    "another cluster": frame(hello(cluster_id="other")),
    "no member": frame(hello(from_member="mallory", raft_address="127.0.0.1:1"))
    + frame(probe(1, 2, from_member="mallory")),
    "no member, and nowhere to answer": frame(hello(from_member="mallory")),
    "no name": frame(hello(from_member="", raft_address="127.0.0.1:1")),
    "a name without end": frame(hello(from_member="m" * 65, raft_address="127.0.0.1:1")),
    "ourselves": frame(hello(from_member="a", raft_address="127.0.0.1:1")),
    "meant for another": frame(hello(to_member="c")),
    "a gap in the sequence": frame(hello()) + frame(probe(1, 3)),
    "another session inside the connection": frame(hello()) + frame(probe(2, 2)),
    "a frame over the limit": frame(hello()) + LENGTH.pack(FRAME_BYTES_MAX + 1),
    "a pickle": b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR." * 2,
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_closes_the_connection_and_nothing_else(member: Member, data: bytes) -> None:
    """A stranger's bytes are refused, nothing of them is received, and a member that
    comes afterwards is heard."""
    with dial(member) as stranger:
        stranger.sendall(data)
        until(lambda: is_closed(stranger), member)

    assert member.ear.received == []
    assert member.transport.refused == {"refused": 1}
    with dial(member) as peer:
        peer.sendall(frame(hello(session=7)) + frame(probe(7, 2)))
        until(lambda: member.ear.received, member)


def test_half_a_frame_holds_nothing_up(member: Member) -> None:
    """A connection that stops in the middle of a frame costs only itself."""
    with dial(member) as stalled, dial(member) as peer:
        stalled.sendall(frame(hello())[:7])
        peer.sendall(frame(hello(session=7)) + frame(probe(7, 2)))

        until(lambda: member.ear.received, member)


def test_a_later_session_fences_an_earlier_one(member: Member) -> None:
    """
    What a broken connection still held never arrives after its successor began.

    Method: session 5, then 6 on a new connection, then more on the old one; and 5 again.
    """
    with dial(member) as old, dial(member) as new:
        old.sendall(frame(hello(session=5)) + frame(probe(5, 2)))
        until(lambda: len(member.ear.received) == 1, member)
        new.sendall(frame(hello(session=6)))
        until(lambda: is_closed(old), member)
        new.sendall(frame(probe(6, 2)))
        until(lambda: len(member.ear.received) == 2, member)
        with dial(member) as again:
            again.sendall(frame(hello(session=5)))
            until(lambda: is_closed(again), member)

    assert [e.session for e in member.ear.received] == [5, 6]


def test_a_member_comes_back_on_another_disk_but_not_beside_itself(member: Member) -> None:
    """
    A new disk numbers its sessions anew; two processes under one name are turned away.
    """
    with dial(member) as old:
        old.sendall(frame(hello(session=9 << 32, disk_id="old")))
        old.sendall(frame(probe(9 << 32, 2)))
        until(lambda: member.ear.received, member)
        with dial(member) as beside:
            beside.sendall(frame(hello(session=1 << 32, disk_id="new")))
            until(lambda: is_closed(beside), member)
    ((name, message),) = member.transport.alarms(time.monotonic())
    assert (name, "b is here already, on another disk" in message) == ("PEER_REFUSED", True)

    def connected_anew() -> bool:
        with dial(member) as new:
            new.sendall(frame(hello(session=1 << 32, disk_id="new")))
            new.sendall(frame(probe(1 << 32, 2)))
            for _ in range(20):
                member.turn()
        return len(member.ear.received) == 2

    until(connected_anew, member)


def test_sessions_grow_across_restarts() -> None:
    """The incarnation is the high half of a session number."""
    port = free_port()
    listener = Member(badge(A), B, port)
    for incarnation in (1, 2):
        ear = Ear()
        dialled = {A: f"127.0.0.1:{listener.port}"}
        peer = Member.__new__(Member)
        peer.ear = ear
        peer.transport = PeerTransport(badge(B, incarnation), "127.0.0.1:0", dialled, ear)
        until(lambda ear=ear: ear.up, peer, listener)  # type: ignore[misc]
        peer.transport.send(A, probe(0, 0))
        until(lambda n=incarnation: len(listener.ear.received) == n, peer, listener)  # type: ignore[misc]
        peer.transport.close()

    sessions = [envelope.session >> 32 for envelope in listener.ear.received]
    assert sessions == [1, 2]
    listener.transport.close()


def test_a_port_in_use_is_named(member: Member) -> None:
    """Two members cannot listen at one address, and the error says at which."""
    address = f"127.0.0.1:{member.port}"
    with socket.socket() as blocker:
        blocker.bind(("127.0.0.1", 0))
        blocker.listen()
        taken = f"127.0.0.1:{blocker.getsockname()[1]}"
        with pytest.raises(OSError, match=f"raft address {taken}"):
            PeerTransport(badge(A), taken, {B: address}, Ear())


# --- mutual TLS --------------------------------------------------------------


def certificate(folder: Path, name: str, dns: str) -> Tls:
    """A certificate of the folder's authority that names somebody, made by openssl."""
    cert, key, request = (str(folder / f"{name}.{end}") for end in ("crt", "key", "csr"))
    authority = ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key")]
    extension = folder / f"{name}.ext"
    extension.write_text(f"subjectAltName=DNS:{dns}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request)
    openssl(
        "x509", "-req", "-in", request, *authority, "-out", cert, "-extfile", str(extension)
    )
    return Tls(cert, key, str(folder / "ca.crt"))


def openssl(command: str, *arguments: str) -> None:
    """Run openssl without a terminal."""
    subject = ["-subj", "/CN=test", "-days", "2"] if command == "req" else ["-days", "2"]
    if "-newkey" in arguments and "-x509" not in arguments:
        subject = ["-subj", "/CN=test"]
    done = subprocess.run(
        ["openssl", command, *arguments, *subject], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes the certificates")
    folder = tmp_path_factory.mktemp("authority")
    ca = ["-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt")]
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", *ca)
    return folder


def secured(who: Badge, peer: MemberId, listen: int, port: int, tls: Tls) -> Member:
    """A member that talks TLS."""
    made = Member.__new__(Member)
    made.ear = Ear()
    dialled = {peer: f"127.0.0.1:{port}"}
    made.transport = PeerTransport(who, f"127.0.0.1:{listen}", dialled, made.ear, tls)
    made.port = made.transport.address[1]
    return made


def test_members_talk_over_mutual_tls(authority: Path) -> None:
    """Each side shows a certificate that names its member id, large frames included."""
    port = free_port()
    a = secured(badge(A), B, 0, port, certificate(authority, "a", "a"))
    b = secured(badge(B), A, port, a.port, certificate(authority, "b", "b"))
    until(lambda: a.ear.up and b.ear.up, a, b)

    sent = probe(0, 0)
    sent.from_member, sent.to_member, sent.disk_id = A, B, "x" * 1_000_000
    a.transport.send(B, sent)
    until(lambda: b.ear.received, a, b)

    assert b.ear.received[0].disk_id == sent.disk_id
    a.transport.close()
    b.transport.close()


def test_a_certificate_for_another_name_is_no_member(authority: Path) -> None:
    """
    A client of the same authority cannot pass for a member, in either direction.

    Method: b's process runs with a certificate that names a client.
    """
    port = free_port()
    a = secured(badge(A), B, 0, port, certificate(authority, "a2", "a"))
    b = secured(badge(B), A, port, a.port, certificate(authority, "client", "client"))
    # It goes up on b's side, since a is who it should be, and a then hangs up.
    until(lambda: b.ear.down and a.transport.refused, a, b)

    b.transport.send(A, probe(0, 0))
    for _ in range(20):
        a.turn()
        b.turn()
    assert (a.ear.up, a.ear.received) == ([], [])
    a.transport.close()
    b.transport.close()


def test_plain_text_is_refused_where_tls_is_spoken(authority: Path) -> None:
    """A peer without TLS is closed, counted, and nothing of it is received."""
    a = secured(badge(A), B, 0, free_port(), certificate(authority, "a3", "a"))
    with dial(a) as stranger:
        stranger.sendall(frame(hello()) + frame(probe(1, 2)))
        until(lambda: is_closed(stranger), a)

    assert a.ear.received == []
    assert sum(a.transport.refused.values()) == 1
    a.transport.close()


def test_a_wrong_peer_raises_an_alarm_and_a_stranger_does_not(member: Member) -> None:
    """
    A member of another cluster is somebody's mistake, to be told; noise is only counted.
    """
    with dial(member) as stranger:
        stranger.sendall(GARBAGE["text"])
        until(lambda: is_closed(stranger), member)
    now = time.monotonic()
    assert member.transport.alarms(now) == ()

    with dial(member) as wrong:
        wrong.sendall(GARBAGE["another cluster"])
        until(lambda: is_closed(wrong), member)
    now = time.monotonic()
    ((name, message),) = member.transport.alarms(now)
    assert name == "PEER_REFUSED"
    assert "of cluster 'other', not 'test'" in message
    assert member.transport.alarms(now + 3600) == ()


def test_a_refused_member_redials_ever_more_patiently() -> None:
    """
    Who is hung up on right after its hello does not come back fifty times a second.

    Method: the peer accepts and closes, five times; the pauses between add up.
    """
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        refusing.setblocking(False)
        a = Member(badge(A), B, refusing.getsockname()[1])
        accepted: list[float] = []

        def hang_up() -> bool:
            with contextlib.suppress(BlockingIOError):
                refusing.accept()[0].close()
                accepted.append(time.monotonic())
            return len(accepted) == 5

        until(hang_up, a)
        a.transport.close()

    # 40, 80, 160 and 320 ms; a busy machine only makes it longer.
    assert accepted[-1] - accepted[0] > 0.5
