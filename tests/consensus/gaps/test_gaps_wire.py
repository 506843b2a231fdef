"""What a stranger's bytes can do, and what a port survives, on real sockets: rows X1, X2
and A17."""

import contextlib
import gc
import os
import pickle
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pysyncobj.tcp_connection as stock_tcp
import pytest
from pysyncobj import encryptor
from pysyncobj.config import SyncObjConf
from pysyncobj.node import TCPNode
from pysyncobj.poller import createPoller
from pysyncobj.syncobj import SyncObj, replicated
from pysyncobj.tcp_connection import TcpConnection
from pysyncobj.transport import TCPTransport

from raftstate.consensus.replica import COMMANDS
from raftstate.consensus.transport import HELLO_BYTES_MAX, LENGTH, PeerTransport
from raftstate.core.poison import PoisonEntry
from raftstate.v1.peer_pb2 import AppendEntries, RaftEntry
from tests.consensus.gaps import stock
from tests.consensus.gaps.ours import OurCluster
from tests.consensus.gaps.stock import CLOCK, StockCluster
from tests.consensus.test_transport import (
    A,
    B,
    Ear,
    Member,
    badge,
    dial,
    frame,
    free_port,
    hello,
    is_closed,
    probe,
    until,
)

WITHIN_S = 10.0
MEMBERSHIP = b"\x02"


class Box(SyncObj):  # type: ignore[misc]  # pysyncobj is untyped
    """A stock node on real sockets that holds secrets."""

    @replicated  # type: ignore[untyped-decorator]
    def put(self, secret: str) -> None:
        """Keep a secret."""
        self.secret = secret


class Stock:
    """A stock node on loopback, turned by hand."""

    def __init__(self, others: tuple[str, ...] = (), **conf: Any) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.node = Box(
            self.address,
            list(others),
            SyncObjConf(autoTick=False, bindAddress=self.address, connectionTimeout=60, **conf),
        )

    def turn(self) -> None:
        """One short turn."""
        CLOCK.now += 0.01
        self.node.doTick(0.01)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until something holds, for a bounded time."""
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, "it never came to hold"
            self.turn()

    def dial(self) -> socket.socket:
        """A connection from a stranger."""
        host, port = self.address.split(":")
        stream = socket.create_connection((host, int(port)))
        stream.setblocking(False)
        return stream

    def connections(self) -> list[Any]:
        """Those who are connected and have not said who they are."""
        return list(stock.get(self.node, "transport")._unknownConnections)

    def close(self) -> None:
        """Let go of all sockets, of those that it forgets about as well."""
        strangers = self.connections()
        self.node.destroy()
        for stranger in strangers:
            stranger.disconnect()
        gc.collect()


@pytest.fixture
def member() -> Iterator[Member]:
    """Our member a, whose peer b is not there."""
    made = Member(badge(A), B, free_port())
    yield made
    made.transport.close()


def packed(message: object) -> bytes:
    """A message as the stock class puts it on the wire."""
    data = zlib.compress(pickle.dumps(message))
    return struct.pack("i", len(data)) + data


class Evil:
    """Unpickled, it makes a folder: it could do anything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def received(stream: socket.socket) -> bytes:
    """What has come on a connection by now."""
    data = b""
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while piece := stream.recv(65_536):
            data += piece
    return data


def refuses(member: Member, data: bytes) -> None:
    """Our member ends the connection of whoever says this, takes in nothing of it, and
    hears its peer afterwards."""
    with dial(member) as stranger:
        stranger.sendall(data)
        until(lambda: is_closed(stranger), member)
    assert set(member.transport.refused) <= {"refused", "accept"}  # not for its silence
    assert member.ear.received == []
    with dial(member) as peer:
        peer.sendall(frame(hello(session=99)) + frame(probe(99, 2)))
        until(lambda: member.ear.received, member)


# --- X1: bytes that are obeyed -----------------------------------------------------


def test_x01_a_frame_runs_no_code(member: Member, tmp_path: Path) -> None:
    """
    The first frame of anybody who connects is unpickled, and runs what it likes.
    """
    with closing(Stock()) as node, node.dial() as stranger:
        stranger.sendall(packed(Evil(tmp_path / "theirs")))
        node.until((tmp_path / "theirs").exists)

    evil = packed(Evil(tmp_path / "ours"))
    plain = pickle.dumps(Evil(tmp_path / "ours"))
    refuses(member, evil)
    member.ear.received.clear()
    with dial(member) as stranger:
        stranger.sendall(LENGTH.pack(len(plain)) + plain)
        until(lambda: is_closed(stranger), member)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("kind", [COMMANDS, MEMBERSHIP], ids=["command", "membership"])
def test_x01_an_entry_runs_no_code(tmp_path: Path, kind: bytes) -> None:
    """
    Commands and changes of membership are pickles in the log, and are unpickled by every
    node, where changes of membership are switched off too.
    """
    theirs = StockCluster("ab", calm=True)
    theirs.elect("a")
    evil = pickle.dumps(Evil(tmp_path / "theirs"))
    message = {"type": "append_entries", "term": 1, "commit_index": 3}
    entry = (kind + evil, 3, 1)
    theirs.swallow = True
    theirs.inject("a", "b", {**message, "entries": [entry], "prevLogIdx": 2, "prevLogTerm": 1})
    theirs.tick(only="b")
    assert (tmp_path / "theirs").exists()

    cluster = OurCluster()
    cluster.elect("a")
    follower = cluster.nodes["b"].engine
    last, term = follower.log.last, follower.term
    data = kind + pickle.dumps(Evil(tmp_path / "ours"))
    append = AppendEntries(
        prev_index=last.index,
        prev_term=last.term,
        commit_index=last.index + 1,
        entries=[RaftEntry(index=last.index + 1, term=term, data=data)],
    )
    cluster.swallow = True
    cluster.inject("a", "b", cluster.message("a", "b", append_entries=append))
    ((who, error),) = cluster.errors
    assert who == "b"  # its process ends: the leader itself has no such entry
    assert isinstance(error, PoisonEntry) or kind == MEMBERSHIP
    assert not (tmp_path / "ours").exists()


def test_x01_a_stranger_gives_no_orders(member: Member) -> None:
    """
    Whoever connects may ask for the status, and may add, remove and transfer, unasked who
    it is.
    """
    stranger_address = f"127.0.0.1:{free_port()}"
    with closing(Stock(dynamicMembershipChange=True)) as node, node.dial() as stranger:
        CLOCK.now += 10.0  # it is alone, and elects itself
        node.until(lambda: node.node._isLeader() and node.node.raftLastApplied > 1)
        stranger.sendall(packed(["status"]))
        told = listen(node, stranger, lambda said: node.address in said)
        assert "leader" in told
        stranger.sendall(packed(["add", stranger_address]))
        node.until(lambda: node.node.otherNodes)
        assert [other.id for other in node.node.otherNodes] == [stranger_address]

    refuses(member, packed(["status"]))
    assert list(member.transport._links) == [B]


@pytest.mark.parametrize("message", [{}, [], [[]]], ids=["a map", "a list", "a nested list"])
def test_x01_no_frame_stops_a_tick(member: Member, message: object) -> None:
    """
    A frame that is no name, and cannot be looked up as one, raises out of the tick.
    """
    with closing(Stock()) as node, node.dial() as stranger:
        stranger.sendall(packed(message))
        with pytest.raises((TypeError, IndexError)):
            node.until(lambda: False)

    refuses(member, packed(message))


# --- X2: bytes that cost, bytes that come again, and who listens ---------------------


def test_x02_a_small_frame_does_not_become_a_large_one(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What a stranger sends is decompressed before it has said who it is: a few kilobytes
    become as many megabytes.
    """
    grown: list[int] = []

    class Watched:
        compress = staticmethod(zlib.compress)

        @staticmethod
        def decompress(data: bytes) -> bytes:
            result = zlib.decompress(data)
            grown.append(len(result) // len(data))
            return result

    monkeypatch.setattr(stock_tcp, "zlib", Watched)
    bomb = packed(bytes(8 << 20))
    assert len(bomb) < 32_768
    with closing(Stock()) as node, node.dial() as stranger:
        stranger.sendall(bomb)
        node.until(lambda: grown)
    assert grown[0] > 500

    refuses(member, bomb)


def test_x02_a_stranger_is_not_kept_waiting_for_gigabytes(member: Member) -> None:
    """
    A stranger may announce a frame of 2 GiB, and all that it sends is kept until then.
    """
    announced = struct.pack("i", 2**31 - 1)
    with closing(Stock()) as node, node.dial() as stranger:
        node.until(node.connections)
        (connection,) = node.connections()
        stranger.sendall(announced + bytes(100_000))
        node.until(lambda: len(connection._TcpConnection__readBuffer) > 100_000)

    refuses(member, LENGTH.pack(2**31 - 1) + bytes(100_000))
    with dial(member) as stranger:
        stranger.sendall(LENGTH.pack(HELLO_BYTES_MAX + 1))
        until(lambda: is_closed(stranger), member)
    assert member.transport.refused == {"refused": 2}


class NoCipher:
    """Stands for the cipher of the password mode, which need not be installed: what decides
    about repetition is beside it. A token is its time and the data."""

    @staticmethod
    def encrypt_at_time(data: bytes, at: int) -> bytes:
        """A token."""
        return struct.pack("q", at) + data

    @staticmethod
    def extract_timestamp(token: bytes) -> int:
        """When a token was made."""
        return int(struct.unpack("q", token[:8])[0])

    @staticmethod
    def decrypt(token: bytes) -> bytes:
        """What is in a token."""
        return token[8:]


def test_x02_a_frame_that_comes_again_is_not_taken_in_again(member: Member) -> None:
    """
    In password mode a frame counts as new if it is not older than the newest, in seconds:
    within one second it may be replayed. The key is derived with the same salt everywhere,
    and is the same for all nodes. (The cipher stands aside here; the check is the stock
    one.)
    """
    assert len(encryptor.SALT) == 16
    here, there = socket.socketpair()
    poller = createPoller("poll")
    heard: list[object] = []
    here.setblocking(False)
    connection = TcpConnection(poller, onMessageReceived=heard.append, socket=here)
    connection.encryptor = NoCipher()
    token = NoCipher.encrypt_at_time(zlib.compress(pickle.dumps("pay")), 1_000)
    with there:
        there.sendall((struct.pack("i", len(token)) + token) * 3)
        for _ in range(10):
            poller.poll(0.0)
    connection.disconnect()
    assert heard == ["pay"] * 3

    once = frame(probe(7, 2))
    with dial(member) as peer:
        peer.sendall(frame(hello(session=7)) + once)
        until(lambda: member.ear.received, member)
        peer.sendall(once)
        until(lambda: is_closed(peer), member)
    assert len(member.ear.received) == 1
    with dial(member) as peer:  # the whole conversation over again
        peer.sendall(frame(hello(session=7)) + once)
        until(lambda: is_closed(peer), member)
    assert len(member.ear.received) == 1


def test_x02_nobody_listens_in_uninvited(member: Member) -> None:
    """
    Whoever says `readonly` is sent all that is written from then on.
    """
    secret = "the launch code"
    with closing(Stock()) as node, node.dial() as stranger:
        CLOCK.now += 10.0
        node.until(lambda: node.node._isLeader() and node.node.raftLastApplied > 1)
        stranger.sendall(packed("readonly"))
        node.until(lambda: node.node.readonlyNodes)
        node.node.put(secret)
        listen(node, stranger, lambda said: secret in said)

    refuses(member, packed("readonly"))
    member.ear.received.clear()
    with dial(member) as peer:  # even who passes for b is sent nothing where it came from
        peer.sendall(frame(hello(session=100)) + frame(probe(100, 2)))
        until(lambda: member.ear.received, member)
        member.transport.send(B, hello())
        for _ in range(5):
            member.turn()
        assert received(peer) == b""


def listen(node: Stock, stream: socket.socket, enough: Callable[[str], bool]) -> str:
    """What a stock node says on a connection, until that is enough."""
    told = bytearray()

    def heard() -> bool:
        told.extend(received(stream))
        return enough(text_of(bytes(told)))

    node.until(heard)
    return text_of(bytes(told))


def text_of(data: bytes) -> str:
    """Everything that whole stock frames say."""
    said = ""
    while len(data) >= 4 and len(data) >= 4 + (length := struct.unpack("i", data[:4])[0]):
        said += zlib.decompress(data[4 : 4 + length]).decode("latin-1")
        data = data[4 + length :]
    return said


# --- A17: a port, a name ---------------------------------------------------------------


def test_a17_a_failed_accept_does_not_make_a_member_deaf(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One accept that fails, for want of descriptors, say, and the listener is closed for
    good: nobody can connect any more, and nobody is told.
    """

    def fail_once() -> None:
        accept = socket.socket.accept

        def failing(listener: socket.socket) -> Any:
            monkeypatch.setattr(socket.socket, "accept", accept)
            raise OSError(24, "too many open files")

        monkeypatch.setattr(socket.socket, "accept", failing)

    with closing(Stock()) as node:
        fail_once()
        with node.dial():
            for _ in range(5):
                node.turn()
        with pytest.raises(ConnectionRefusedError):
            node.dial()
        assert stock.get(node.node, "transport").ready  # as far as it knows

    fail_once()
    with dial(member) as early:
        early.sendall(frame(hello(session=7)))
        until(lambda: member.transport.refused.get("accept"), member)
    refuses(member, b"GET / HTTP/1.1\r\n\r\n")


def test_a17_a_name_is_looked_up_beside_the_raft_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Names of peers are looked up inside the tick: while a resolver takes its time, no
    heartbeat leaves. (What is asserted is on which thread it happens.)
    """
    asked: list[tuple[str, bool]] = []

    def getaddrinfo(host: str, *_rest: Any, **_options: Any) -> list[Any]:
        asked.append((host, threading.current_thread() is threading.main_thread()))
        raise socket.gaierror(-2, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with closing(Stock(("0.peer.invalid:4321",))) as node:
        node.until(lambda: asked)
    assert ("0.peer.invalid", True) in asked

    asked.clear()
    ours = PeerTransport(badge(A), "127.0.0.1:0", {B: "b.peer.invalid:4321"}, Ear())
    deadline = time.monotonic() + WITHIN_S
    while not asked and time.monotonic() < deadline:
        ours.poll(0.01, time.monotonic)
    ours.close()
    assert asked[0] == ("b.peer.invalid", False)
    assert not any(on_the_raft_thread for _, on_the_raft_thread in asked)


def test_a17_a_port_in_use_is_said() -> None:
    """
    A node whose port is taken tries again for ever and says nothing: a second process under
    one name looks like one that starts. (Driven where it happens, in the transport: the
    class itself would not return from its constructor.)
    """

    class Owner:
        conf = SyncObjConf(bindRetryTime=0.0)
        encryptor = None
        _poller = createPoller("poll")

        def addOnTickCallback(self, _callback: object) -> None:  # noqa: N802
            """As the class."""

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        Owner.conf.bindAddress = address
        transport = TCPTransport(Owner(), TCPNode(address), [])
        for _ in range(20):
            transport.tryGetReady()
        assert not transport.ready
        assert transport._bindAttempts == 20
        transport.destroy()
        gc.collect()

        with pytest.raises(OSError, match=f"raft address {address}"):
            PeerTransport(badge(A), address, {}, Ear())
