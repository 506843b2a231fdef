"""Frames between members: length-capped, protobuf, in order, of one cluster.

Links are one way. A member dials every other and sends on the connections that it
dialled; what it accepts it only reads. So each directed pair has one stream, a proxy
can cut one direction alone, and there is no question which of two connections counts.

A frame is a 4-byte length and an `Envelope`. The first envelope of a connection is a
Hello; each names the cluster, its epoch, both members, the connection's session
number and its own sequence number. A session is fenced by any later one of the same
disk, across restarts, and a gap in the sequence ends the connection: what was in flight
when a link broke never arrives afterwards. A member may come back on another disk, but
not while the one before is still connected: two processes under one name are a mistake.

Who is a member changes while the process runs: `set_peers`. A member that was away may be
addressed by one that it has never heard of, its leader even (dissertation, 4.2.2). So a
sender that is not known is not a stranger yet: it is dialled back, where its Hello says,
as a *guest*, so that it can be answered. There are few guests at a time, each stays only
while it is connected, and the first envelope that the receiver does not want ends it.

Everything runs on the raft thread, driven by one selector. Nothing here raises for
anything that a stranger can send: the connection is closed, counted and logged.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import DecodeError

from raftstate.consensus import sockets
from raftstate.consensus.names import Names
from raftstate.core.types import MemberId
from raftstate.v1.peer_pb2 import Envelope, Hello

logger = logging.getLogger("raftstate.transport")

LENGTH = struct.Struct(">I")
FRAME_BYTES_MAX = 8 << 20
# A stranger may make this member hold so much before it has said who it is.
HELLO_BYTES_MAX = 4 << 10
BUFFER_BYTES_MAX = 64 << 20
READ_BYTES, WRITE_BYTES = 256 << 10, 1 << 20
HELLO_WITHIN_S = 5.0
REDIAL_MIN_S, REDIAL_MAX_S = 0.02, 0.5
# A link that has lasted so long was not refused.
SETTLED_S = 0.5
ALARM_S = 60.0
# Connections that have not said Hello yet: more are closed at once.
STRANGERS_MAX = 32
# Senders that no configuration names, at a time.
GUESTS_MAX = 16
ID_CHARS_MAX = 64

TcpStream = socket.socket | ssl.SSLSocket


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files. The certificate of a member names its member id as a DNS
    name, so that no other certificate of the same authority passes for it."""

    cert: str
    key: str
    ca: str

    def context(self, *, server: bool) -> ssl.SSLContext:
        """A context that demands a certificate from the other side, either way."""
        purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
        context = ssl.create_default_context(purpose, cafile=self.ca)
        context.load_cert_chain(self.cert, self.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = False  # the member id is checked, not the address
        return context


@dataclass(frozen=True, slots=True)
class Badge:
    """What every envelope of this member says about where it comes from."""

    cluster_id: str
    cluster_epoch: int
    member_id: MemberId
    disk_id: str
    incarnation: int


class Receiver(Protocol):
    """Who the transport reports to."""

    def receive(self, envelope: Envelope) -> None:
        """A vetted envelope has come, in order."""
        ...

    def admits(self, envelope: Envelope) -> bool:
        """Whether this of a sender that no configuration names is worth taking in."""
        ...

    def peer_connected(self, peer: MemberId) -> None:
        """Messages to this peer can leave."""
        ...

    def peer_disconnected(self, peer: MemberId) -> None:
        """What was in flight to this peer is lost."""
        ...


class Refused(Exception):
    """A connection sent what it must not; it is closed."""


class WrongPeer(Refused):
    """It speaks our language and is not who it should be: somebody's configuration, or
    data folder, is wrong. Worth an alarm, unlike what strangers send."""


@dataclass(slots=True, eq=False)
class _Link:
    """A connection that this member dialled, and only writes."""

    peer: MemberId
    address: str
    guest: bool = False  # no configuration names it: it goes with its last connection
    stream: TcpStream | None = None
    up: bool = False
    connecting: bool = False
    session: int = 0
    sequence: int = 0
    out: bytearray = field(default_factory=bytearray)
    connected_by: float = 0.0
    up_since: float = 0.0
    told: bool = False  # the log says that it is up
    redial_at: float = 0.0
    backoff_s: float = REDIAL_MIN_S
    complaint: str = ""


@dataclass(slots=True, eq=False)
class _Inbound:
    """A connection that this member accepted, and only reads."""

    stream: TcpStream
    address: str
    hello_by: float
    shaking: bool
    has_spoken: bool = False  # said anything but hello
    peer: MemberId | None = None
    session: int = 0
    sequence: int = 0
    buffer: bytearray = field(default_factory=bytearray)


class PeerTransport:
    """The links of one member. `poll` does everything; `send` only queues.

    `peers` are dialled until `set_peers` names others. `advertised` is where this member
    says that it is reached. `overrides` win over every other address of a peer.
    """

    def __init__(
        self,
        badge: Badge,
        listen: str,
        peers: Mapping[MemberId, str],
        receiver: Receiver,
        tls: Tls | None = None,
        *,
        advertised: str = "",
        overrides: Mapping[MemberId, str] | None = None,
    ) -> None:
        self._badge = badge
        self._receiver = receiver
        self._advertised = advertised
        self._overrides = dict(overrides or {})
        self._server_tls = tls.context(server=True) if tls else None
        self._client_tls = tls.context(server=False) if tls else None
        self._selector = selectors.DefaultSelector()
        self._links: dict[MemberId, _Link] = {}
        self._inbound: dict[int, _Inbound] = {}
        self._newest: dict[MemberId, tuple[str, int]] = {}
        self._sessions = badge.incarnation << 32
        self.refused: dict[str, int] = {}
        self._wrong_peer: tuple[float, str] | None = None
        self._names = Names()
        self.set_peers(peers)
        self._listener = sockets.listen(listen)
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    @property
    def address(self) -> tuple[str, int]:
        """Where this member listens."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def alarms(self, now: float) -> tuple[tuple[str, str], ...]:
        """PEER_REFUSED, for a while after a wrong peer was turned away."""
        wrong = self._wrong_peer
        if wrong is None or now - wrong[0] > ALARM_S:
            return ()
        return (("PEER_REFUSED", wrong[1]),)

    def watch(self, fd: int) -> None:
        """Let `poll` return when this descriptor becomes readable."""
        self._selector.register(fd, selectors.EVENT_READ, fd)

    # --- peers ------------------------------------------------------------------

    def set_peers(self, peers: Mapping[MemberId, str]) -> None:
        """Have a link to each of these, at these addresses, and to nobody else.

        Who is named no more and is still connected stays as a guest: it may have to be
        told so."""
        wanted = {peer: peers[peer] for peer in sorted(peers) if peer != self._badge.member_id}
        for link in list(self._links.values()):
            if link.peer not in wanted and not link.guest:
                link.guest = True
                self._let_go(link.peer)
        for peer, address in wanted.items():
            self._have_link(peer, address).guest = False

    def _have_link(self, peer: MemberId, address: str) -> _Link:
        """The link to a peer, made if need be, and led to this address."""
        address = self._overrides.get(peer, address)
        link = self._links.get(peer)
        if link is not None and link.address != address:
            self._drop(link)
            link = None
        if link is None:
            link = self._links[peer] = _Link(peer, address)
        return link

    def _let_go(self, peer: MemberId) -> None:
        """Drop the link to a guest that has left."""
        link = self._links.get(peer)
        if link is None or not link.guest or self._is_here(peer):
            return
        self._drop(link)
        self._newest.pop(peer, None)

    def _drop(self, link: _Link) -> None:
        del self._links[link.peer]
        was_up, link.up, link.connecting = link.up, False, False
        if link.stream is not None:
            self._selector.unregister(link.stream)
            link.stream.close()
            link.stream = None
        if was_up:
            self._receiver.peer_disconnected(link.peer)

    def _is_here(self, peer: MemberId) -> bool:
        """Whether a connection of this peer's stands."""
        return any(inbound.peer == peer for inbound in self._inbound.values())

    # --- sending --------------------------------------------------------------

    def send(self, peer: MemberId, envelope: Envelope) -> None:
        """Queue an envelope on a link that is up; dropped where there is none."""
        link = self._links.get(peer)
        if link is None or not link.up:
            return
        link.sequence += 1
        envelope.session, envelope.sequence = link.session, link.sequence
        frame = envelope.SerializeToString()
        if len(frame) > FRAME_BYTES_MAX:
            raise AssertionError(f"a frame of {len(frame)} bytes to {peer}")
        link.out += LENGTH.pack(len(frame))
        link.out += frame

    def flush(self, now: float) -> None:
        """Write what is queued, as far as the sockets take it."""
        for link in self._links.values():
            if link.up and link.out:
                self._write(link, now)

    # --- the turn -------------------------------------------------------------

    def poll(self, timeout: float, now: Callable[[], float]) -> list[int]:
        """Wait for something to happen, at most so long, and handle it. Descriptors
        given to `watch` that became readable are returned."""
        self._dial_due(now())
        woken: list[int] = []
        for key, mask in self._selector.select(max(0.0, min(timeout, self._patience(now())))):
            if key.fileobj is self._listener:
                self._accept(now())
            elif isinstance(key.data, _Link):
                self._on_link(key.data, mask, now())
            elif isinstance(key.data, _Inbound):
                self._on_inbound(key.data, now())
            else:
                woken.append(key.data)
        self._drop_silent(now())
        self._tell_of_links(now())
        return woken

    def _patience(self, now: float) -> float:
        """How long nothing needs to be done here without an event."""
        due = [link.redial_at - now for link in self._links.values() if link.stream is None]
        due += [link.connected_by - now for link in self._links.values() if link.connecting]
        due += [
            one.hello_by - now
            for one in self._inbound.values()
            if one.peer is None or self._is_silent_guest(one)
        ]
        return min(due, default=3600.0)

    def close(self) -> None:
        """Close every socket."""
        for inbound in list(self._inbound.values()):
            self._forget(inbound)
        for link in self._links.values():
            if link.stream is not None:
                self._selector.unregister(link.stream)
                link.stream.close()
                link.stream = None
        self._names.close()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._selector.close()

    # --- links: dialling and writing -------------------------------------------

    def _dial_due(self, now: float) -> None:
        for link in self._links.values():
            if link.connecting and now >= link.connected_by:
                self._break(link, now, "no answer")
            if link.stream is None and now >= link.redial_at:
                self._dial(link, now)

    def _dial(self, link: _Link, now: float) -> None:
        host, port = sockets.split_address(link.address)
        address = self._names.address_of(host)
        if address is None:
            self._break(link, now, f"{host} is not resolved")
            return
        try:
            stream: TcpStream = sockets.dial(address, port)
        except OSError as error:
            self._break(link, now, str(error))
            return
        link.stream, link.connecting = stream, True
        link.connected_by = now + HELLO_WITHIN_S
        self._selector.register(stream, selectors.EVENT_WRITE, link)

    def _on_link(self, link: _Link, mask: int, now: float) -> None:
        if link.stream is None:
            return  # dropped since this event was noted
        if link.connecting:
            self._finish_dialling(link, now)
        elif mask & selectors.EVENT_READ:
            self._listen_for_end(link, now)
        elif mask & selectors.EVENT_WRITE:
            self._write(link, now)

    def _finish_dialling(self, link: _Link, now: float) -> None:
        stream = link.stream
        assert stream is not None
        try:
            failed = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, errno.errorcode.get(failed, "?"))
            if self._client_tls is not None and not self._shake(link):
                return
        except (OSError, Refused) as error:
            self._break(link, now, str(error))
            return
        link.connecting, link.up, link.up_since = False, True, now
        self._sessions += 1
        link.session, link.sequence = self._sessions, 0
        self.send(link.peer, self._hello(link.peer))
        self._receiver.peer_connected(link.peer)
        self._write(link, now)

    def _shake(self, link: _Link) -> bool:
        """Go on with the TLS handshake; True when it is done and the peer is who it
        should be."""
        stream = link.stream
        assert stream is not None and self._client_tls is not None
        if not isinstance(stream, ssl.SSLSocket):
            self._selector.unregister(stream)
            link.stream = None  # wrapping takes it over, and closes it if it fails
            stream = self._client_tls.wrap_socket(stream, do_handshake_on_connect=False)
            link.stream = stream
            self._selector.register(stream, selectors.EVENT_WRITE, link)
        wanted = sockets.shake_hands(stream)
        if wanted:
            self._selector.modify(stream, wanted, link)
            return False
        _demand_member(stream, link.peer)
        return True

    def _hello(self, peer: MemberId) -> Envelope:
        badge = self._badge
        return Envelope(
            cluster_id=badge.cluster_id,
            cluster_epoch=badge.cluster_epoch,
            from_member=badge.member_id,
            to_member=peer,
            disk_id=badge.disk_id,
            hello=Hello(raft_address=self._advertised),
        )

    def _write(self, link: _Link, now: float) -> None:
        stream = link.stream
        if stream is None:
            return
        if len(link.out) > BUFFER_BYTES_MAX:
            self._break(link, now, f"{len(link.out)} bytes wait to be sent")
            return
        try:
            while link.out:
                # Released at once: an error's traceback would keep the buffer pinned.
                with memoryview(link.out) as whole, whole[:WRITE_BYTES] as piece:
                    sent = stream.send(piece)
                del link.out[:sent]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass  # the socket is full: go on when it says so
        except OSError as error:
            self._break(link, now, str(error))
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.out else 0)
        self._selector.modify(stream, wanted, link)

    def _listen_for_end(self, link: _Link, now: float) -> None:
        """Nothing is ever said on a link towards its dialler, except that it ends."""
        stream = link.stream
        assert stream is not None
        try:
            said = stream.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._break(link, now, str(error))
            return
        self._break(link, now, "closed by the peer" if not said else "the peer spoke")

    def _break(self, link: _Link, now: float, why: str) -> None:
        if link.stream is not None:
            self._selector.unregister(link.stream)
            link.stream.close()
            link.stream = None
        was_up, link.up, link.connecting = link.up, False, False
        link.out.clear()
        # A link that the peer ends at once was refused: redial it as patiently as one
        # that nobody answers.
        lived = was_up and now - link.up_since >= SETTLED_S
        link.backoff_s = REDIAL_MIN_S if lived else min(REDIAL_MAX_S, link.backoff_s * 2)
        link.redial_at = now + link.backoff_s
        if was_up:
            self._receiver.peer_disconnected(link.peer)
        if was_up and not lived:
            why = f"{why} right after our hello"
        if link.told or why != link.complaint:
            logger.info("link down", extra={"peer": link.peer, "why": why})
        link.complaint, link.told = why, False

    def _tell_of_links(self, now: float) -> None:
        """Say that a link is up once it has lasted a little."""
        for link in self._links.values():
            if link.up and not link.told and now - link.up_since >= SETTLED_S:
                link.told, link.complaint = True, ""
                logger.info("link up", extra={"peer": link.peer, "session": link.session})

    # --- inbound: accepting and reading ------------------------------------------

    def _accept(self, now: float) -> None:
        try:
            stream, address = self._listener.accept()
        except OSError as error:  # out of descriptors, or gone again: try at the next event
            self._count("accept", str(error))
            return
        if sum(one.peer is None for one in self._inbound.values()) >= STRANGERS_MAX:
            stream.close()
            self._count("strangers", "too many connections that have not said hello")
            return
        sockets.tune(stream)
        wrapped: TcpStream = stream
        try:
            if self._server_tls is not None:
                wrapped = self._server_tls.wrap_socket(
                    stream, server_side=True, do_handshake_on_connect=False
                )
        except OSError as error:
            stream.close()
            self._count("tls", str(error))
            return
        where = f"{address[0]}:{address[1]}"
        inbound = _Inbound(
            wrapped, where, now + HELLO_WITHIN_S, shaking=self._server_tls is not None
        )
        self._inbound[wrapped.fileno()] = inbound
        self._selector.register(wrapped, selectors.EVENT_READ, inbound)

    def _on_inbound(self, inbound: _Inbound, now: float) -> None:
        try:
            if inbound.shaking and not self._shake_inbound(inbound):
                return
            while self._read(inbound):
                pass
        except Refused as refusal:
            if isinstance(refusal, WrongPeer):
                self._wrong_peer = (now, f"{inbound.address}: {refusal}")
            self._count("refused", f"{inbound.address}: {refusal}")
            self._forget(inbound)
        except OSError as error:
            if inbound.peer is None:
                self._count("broken", f"{inbound.address}: {error}")
            self._forget(inbound)

    def _shake_inbound(self, inbound: _Inbound) -> bool:
        stream = inbound.stream
        assert isinstance(stream, ssl.SSLSocket)
        wanted = sockets.shake_hands(stream)
        self._selector.modify(stream, wanted or selectors.EVENT_READ, inbound)
        inbound.shaking = bool(wanted)
        return not inbound.shaking

    def _read(self, inbound: _Inbound) -> bool:
        """Read once; say whether there may be more right now."""
        try:
            data = inbound.stream.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not data:
            raise ConnectionResetError("closed by the peer")
        inbound.buffer += data
        for envelope in self._frames(inbound):
            self._vet(inbound, envelope)
            if not envelope.HasField("hello"):
                self._admit(envelope)
                inbound.has_spoken = True
                self._receiver.receive(envelope)
        # TLS may hold decrypted bytes that no selector will report.
        return isinstance(inbound.stream, ssl.SSLSocket) and inbound.stream.pending() > 0

    def _frames(self, inbound: _Inbound) -> Iterator[Envelope]:
        """Cut whole envelopes off the buffer. The cap is known before any of a frame
        is kept, and it is small for one that has not said who it is."""
        while len(inbound.buffer) >= LENGTH.size:
            limit = HELLO_BYTES_MAX if inbound.peer is None else FRAME_BYTES_MAX
            (length,) = LENGTH.unpack_from(inbound.buffer)
            if length > limit:
                raise Refused(f"a frame of {length} bytes, where {limit} are allowed")
            if len(inbound.buffer) < LENGTH.size + length:
                return
            frame = bytes(memoryview(inbound.buffer)[LENGTH.size : LENGTH.size + length])
            del inbound.buffer[: LENGTH.size + length]
            try:
                yield Envelope.FromString(frame)
            except DecodeError as error:
                raise Refused(f"not an envelope: {error}") from None

    def _vet(self, inbound: _Inbound, envelope: Envelope) -> None:
        """Refuse what is not the next envelope of somebody of this cluster, to us."""
        badge = self._badge
        if envelope.cluster_id != badge.cluster_id:
            raise WrongPeer(
                f"of cluster {envelope.cluster_id[:64]!r}, not {badge.cluster_id!r}"
            )
        if envelope.cluster_epoch != badge.cluster_epoch:
            raise WrongPeer(f"of epoch {envelope.cluster_epoch}, not {badge.cluster_epoch}")
        if envelope.to_member != badge.member_id:
            raise WrongPeer(f"meant for {envelope.to_member[:64]!r}, not {badge.member_id!r}")
        if inbound.peer is None:
            self._greet(inbound, envelope)
        if envelope.from_member != inbound.peer or envelope.session != inbound.session:
            raise Refused("of another member or session than this connection")
        if envelope.sequence != inbound.sequence + 1:
            raise Refused(f"frame {envelope.sequence} after frame {inbound.sequence}")
        if envelope.session != self._newest[inbound.peer][1]:
            raise Refused(f"session {envelope.session} is fenced by a later one")
        inbound.sequence += 1

    def _greet(self, inbound: _Inbound, envelope: Envelope) -> None:
        """Take the first envelope of a connection as what it says it is, if it may."""
        peer = MemberId(envelope.from_member)
        if not envelope.HasField("hello"):
            raise Refused("the first envelope is no hello")
        if peer == self._badge.member_id:
            raise WrongPeer(f"another process that is called {peer}")
        if not 0 < len(peer) <= ID_CHARS_MAX:
            raise Refused(f"{peer[:ID_CHARS_MAX]!r} is no name of a member")
        if isinstance(inbound.stream, ssl.SSLSocket):
            _demand_member(inbound.stream, peer)
        others = [other for other in self._inbound.values() if other.peer == peer]
        disk_id, session = self._newest.get(peer, ("", 0))
        if envelope.disk_id == disk_id:
            if envelope.session <= session:
                raise Refused(f"session {envelope.session} of {peer} is not newer")
        elif others:
            raise WrongPeer(f"{peer} is here already, on another disk")
        self._welcome(peer, envelope.hello)
        inbound.peer, inbound.session = peer, envelope.session
        for other in others:
            self._forget(other)
        self._newest[peer] = (envelope.disk_id, envelope.session)

    def _welcome(self, peer: MemberId, hello: Hello) -> None:
        """See that a sender can be answered: one that is not known is dialled back where
        it says that it is reached."""
        link = self._links.get(peer)
        if link is not None and not link.guest:
            return
        address = hello.raft_address
        if not sockets.is_address(address):
            raise WrongPeer(f"{peer[:64]!r} is no member, and is reached at {address[:64]!r}")
        guests = sum(one.guest for one in self._links.values())
        if link is None and guests >= GUESTS_MAX:
            raise Refused(f"{guests} senders that are no members are connected already")
        self._have_link(peer, address).guest = True

    def _admit(self, envelope: Envelope) -> None:
        """Refuse a guest that says what nobody here wants."""
        link = self._links[MemberId(envelope.from_member)]
        if link.guest and not self._receiver.admits(envelope):
            raise WrongPeer(f"{envelope.from_member[:64]!r} is no member")

    def _drop_silent(self, now: float) -> None:
        for inbound in list(self._inbound.values()):
            # A guest that only says hello keeps its place from others.
            waits = inbound.peer is None or self._is_silent_guest(inbound)
            if waits and now >= inbound.hello_by:
                self._count("silent", f"{inbound.address}: said nothing")
                self._forget(inbound)

    def _is_silent_guest(self, inbound: _Inbound) -> bool:
        link = self._links.get(inbound.peer) if inbound.peer is not None else None
        return link is not None and link.guest and not inbound.has_spoken

    def _forget(self, inbound: _Inbound) -> None:
        if self._inbound.pop(inbound.stream.fileno(), None) is not None:
            self._selector.unregister(inbound.stream)
            inbound.stream.close()
        if inbound.peer is not None:
            self._let_go(inbound.peer)

    def _count(self, kind: str, why: str) -> None:
        self.refused[kind] = self.refused.get(kind, 0) + 1
        # Strangers decide how often this happens: powers of two keep the log short.
        if self.refused[kind].bit_count() == 1:
            count = self.refused[kind]
            logger.warning("refused", extra={"kind": kind, "why": why, "count": count})


def _demand_member(stream: ssl.SSLSocket, member: MemberId) -> None:
    """Refuse a peer whose certificate does not name the member that it says it is."""
    certificate = stream.getpeercert() or {}
    alternatives = certificate.get("subjectAltName", ())
    names = {str(pair[1]) for pair in alternatives if pair[0] == "DNS"}
    if member not in names:
        raise Refused(f"the certificate names {sorted(names)}, not {member}")
