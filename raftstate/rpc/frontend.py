"""What the services share: how a mutation is proposed and how a read is answered.

A mutation is checked against every rule that needs no state, proposed, and its outcome
turned into the response or the failure that the caller gets.

A read first settles what it may look at, and then looks at the state in one short view.
A linearizable one waits for a read point, a stale one looks at once, one that names a
revision waits until it is there, or is shown what there was then. The header's revision
and index come from the same view as the answer. A view never outlives the loop's turn:
whoever reads more than one slice opens another, of the same revision if need be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message

from raftstate.core import history, queries, validate
from raftstate.core.history import PastReader
from raftstate.core.passing import PatientReader, Weary
from raftstate.core.ports import Answer, Consensus, Reader, ReadPoint, State, Unavailable
from raftstate.rpc import completion
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.errors import (
    Failure,
    compacted,
    future_revision,
    invalid,
    refused,
    unavailable,
)
from raftstate.rpc.office import Office, OfficeLost
from raftstate.rpc.paging import Page, page_scope, page_size, page_start
from raftstate.rpc.turns import Turns
from raftstate.v1.cluster_service_pb2 import Member
from raftstate.v1.common_pb2 import Consistency, ResponseHeader
from raftstate.v1.membership_pb2 import Configuration, ConfiguredMember
from raftstate.v1.store_pb2 import Command, Outcome

Request = TypeVar("Request")
Response = TypeVar("Response", bound=Message)
Found = TypeVar("Found")


# Whether the request that is being answered has waited for a read point already: one of a
# batch, which does that for all of them.
POINT_HAD: ContextVar[bool] = ContextVar("POINT_HAD", default=False)


class View(NamedTuple):
    """One look at the state, and the header of what is answered from it."""

    reader: Reader
    header: ResponseHeader


@dataclass(frozen=True)
class Addresses:
    """Where each member is reached, by id, as the member table of the file says. What
    the cluster's configuration says goes before it."""

    client: Mapping[str, str] = field(default_factory=dict)
    raft: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WatchLimits:
    """Bounds that watches hold to."""

    # Watches that one member serves.
    streams: int = 10_000
    # What may wait for one client to take it; and for all of them together.
    queue_changes: int = 8_192
    queue_bytes: int = 4 << 20
    queued_bytes: int = 256 << 20
    # What goes into one message, but for a change that is larger.
    message_bytes: int = 1 << 20
    # What is done before others have their turn.
    slice_rows: int = 1_024
    slice_bytes: int = 512 << 10
    slice_s: float = 0.002


@dataclass(frozen=True)
class Limits:
    """Bounds that the services hold to."""

    # A stream that has this many mutations under way is not read from.
    in_flight: int = 4_096
    slice_events: int = 256
    slice_bytes: int = 512 << 10
    # What a slice looks at of which it may want little.
    slice_rows: int = 2_048
    watches: WatchLimits = field(default_factory=WatchLimits)


Observe = Callable[[str, str, float], None]
"""Told of every call that ended: its method, status code and seconds."""


class Frontend:
    """The member behind the services."""

    def __init__(
        self,
        consensus: Consensus,
        state: State,
        bridge: Bridge,
        addresses: Addresses,
        limits: Limits,
        state_found: str,
    ) -> None:
        self.consensus = consensus
        self.state = state
        self.bridge = bridge
        self.addresses = addresses
        self.limits = limits
        self.state_found = state_found
        self.office = Office(consensus)
        # Whose turn it is to read on in another view.
        self._again = Turns(1)
        # Set before the server stops: a stream that ends now was ended by us.
        self.closing = False
        # Told then: whatever would otherwise go on for ever.
        self.at_close: list[Callable[[], None]] = []
        # What answers a reading request by itself, by the name it has in a batch; the server
        # says.
        self.handlers: dict[str, Callable[[Any, Any], Awaitable[Message]]] = {}
        # The method that takes each kind of request, by the request's full name; and who is
        # told of what ended of it. The server says.
        self.methods: dict[str, str] = {}
        self.observe: Observe = lambda _method, _code, _seconds: None
        # Open watches, and the bytes that wait for their clients; the hub says.
        self.watch_load: Callable[[], tuple[int, int]] = lambda: (0, 0)

    def close(self) -> None:
        """The server is about to stop."""
        if not self.closing:
            self.closing = True
            for told in self.at_close:
                told()

    def count(self, body: Message, code: str, seconds: float) -> None:
        """Count what came in a batch as a call of its own; an empty one is none."""
        if (method := self.methods.get(body.DESCRIPTOR.full_name)) is not None:
            self.observe(method, code, seconds)

    # --- checks ----------------------------------------------------------------

    def check(self, request: Message) -> None:
        """Raise Failure if the request breaks a rule that needs no state, or if this
        member serves nobody."""
        self.validate(request)
        self.demand_sound()

    def validate(self, request: Message) -> None:
        """Raise Failure if the request breaks a rule that needs no state."""
        if found := validate.violations(request):
            raise invalid(found)

    def demand_sound(self) -> None:
        """Raise Failure if what is stored here cannot be trusted."""
        if self.consensus.status().quarantined:
            raise self.unavailable(Unavailable("QUARANTINED", definite=True))

    # --- who is where ------------------------------------------------------------

    def members(self, configuration: Configuration) -> list[Member]:
        """Everybody in a configuration in order of id, and how this member sees them. The
        member table of the file stands in for what the configuration lacks."""
        known, table = configuration.members, self.addresses
        listed = known or [ConfiguredMember(member_id=one) for one in sorted(table.client)]
        status = self.consensus.status()
        peers = {str(peer.member_id): peer for peer in status.peers}
        members = []
        for one in listed:
            name = one.member_id
            member = Member(
                member_id=name,
                learner=one.learner,
                client_address=one.client_address or table.client.get(name, ""),
                raft_address=one.raft_address or table.raft.get(name, ""),
            )
            if name == status.member_id:
                member.connected, member.match_index = True, status.last_index
            elif peer := peers.get(name):
                member.connected, member.match_index = peer.connected, peer.match_index
            members.append(member)
        return members

    def client_addresses(self) -> dict[str, str]:
        """Where clients reach each member, as far as that is known."""
        table = self.addresses.client
        configured = self.consensus.status().configuration.members
        return {
            one.member_id: one.client_address or table.get(one.member_id, "")
            for one in configured
        } or dict(table)

    # --- mutations ---------------------------------------------------------------

    async def mutate(self, request: Message, kind: type[Response]) -> Response:
        """Check, propose, and wait for the outcome."""
        self.check(request)
        command = command_of(request)
        answer = await self.ask(partial(self.consensus.propose, command))
        return self.response(answer, request, kind)

    async def ask(self, send: Callable[[object], None]) -> Answer:
        """Hand a ticket to consensus and wait for its answer."""
        ticket = self.bridge.ticket()
        send(ticket)
        return await ticket

    def response(self, answer: Answer, request: Message, kind: type[Response]) -> Response:
        """The response that an outcome holds, with its header; raises Failure."""
        outcome = self.outcome(answer, request)
        name = outcome.WhichOneof("result")
        response = getattr(outcome, name) if name is not None else None
        if not isinstance(response, kind):
            raise TypeError(f"{type(request).__name__} was answered with {name}")
        self.complete(response, request, outcome)
        return response

    def complete(self, response: Any, request: Message, outcome: Outcome) -> None:
        """Add to the response that an outcome holds what is no part of the outcome: the
        header, and what some requests are shown besides. Raises Failure."""
        response.header.CopyFrom(self.header(outcome.revision, outcome.raft_index))
        if (more := completion.BESIDE.get(type(request))) is not None:
            more(self, response, request, outcome)

    def outcome(self, answer: Answer, request: Message) -> Outcome:
        """The outcome of an applied command; raises Failure for all else."""
        if isinstance(answer, Unavailable):
            raise self.unavailable(answer)
        if not isinstance(answer, Outcome):
            raise TypeError(f"a proposal was answered with {answer!r}")
        if answer.WhichOneof("result") == "refusal":
            raise refused(answer, _subject(request))
        return answer

    def unavailable(self, answer: Unavailable) -> Failure:
        """What the client of a call that was not carried out is told."""
        leader = answer.leader or self.consensus.status().leader
        return unavailable(answer, leader, self.client_addresses())

    def header(self, revision: int, raft_index: int) -> ResponseHeader:
        """The header of an answer."""
        status = self.consensus.status()
        return ResponseHeader(
            cluster_id=status.cluster_id,
            cluster_epoch=status.cluster_epoch,
            member_id=status.member_id,
            revision=revision,
            raft_index=raft_index,
            term=status.term,
        )

    def status_header(self) -> ResponseHeader:
        """The header of an answer that no command and no view stands behind."""
        status = self.consensus.status()
        return self.header(status.revision, status.applied_index)

    # --- streams -----------------------------------------------------------------

    async def while_leading(self, iterator: AsyncIterator[Request]) -> AsyncIterator[Request]:
        """The requests of a stream that only a leader serves; raises Failure with
        NOT_LEADER when the office is lost, so that the client goes elsewhere."""
        try:
            async for request in self.office.requests(iterator):
                yield request
        except OfficeLost:
            raise self.unavailable(Unavailable("NOT_LEADER", definite=True)) from None

    # --- reads -------------------------------------------------------------------

    async def settle(self, request: Message) -> int | None:
        """Wait until a view may answer a read; the revision that it names, or None where
        the newest will do. Raises Failure."""
        asked: Any = request
        self.demand_sound()
        if asked.consistency == Consistency.CONSISTENCY_AT_REVISION:
            return await self.settle_at(asked.revision)
        if asked.consistency == Consistency.CONSISTENCY_AT_LEAST:
            await self.reach(asked.revision)
        else:
            await self.read_point(asked.consistency)
        return None

    async def settle_at(self, revision: int) -> int:
        """See that a view can show a revision, unless it is forgotten; give it back.

        Whether a revision is to come, only a leader knows: another member that has not
        come so far says that it does not lead."""
        if self.shown() < revision:
            await self.read_point(Consistency.CONSISTENCY_LINEARIZABLE)
            if (newest := self.shown()) < revision:
                raise future_revision(revision, newest)
        return revision

    async def reach(self, revision: int) -> None:
        """Wait until a view shows a revision or a later one. Raises Failure."""
        self.demand_sound()
        if self.shown() >= revision:
            return
        await self.bridge.revisions.reach(revision)
        if self.shown() < revision:
            # It was there, and is not any more: the state is being made anew.
            raise self.unavailable(Unavailable("NO_QUORUM", definite=True))

    def shown(self) -> int:
        """The revision that a view shows now."""
        with self.state.view() as reader:
            return queries.revision(reader)

    def applied(self) -> int:
        """The index of the newest entry that a view shows now."""
        with self.state.view() as reader:
            return queries.applied(reader).index

    async def read_point(self, consistency: Consistency) -> None:
        """Wait until a view may answer a read of this consistency."""
        self.demand_sound()
        if consistency == Consistency.CONSISTENCY_STALE or POINT_HAD.get():
            return
        answer = await self.ask(self.consensus.read_point)
        if isinstance(answer, Unavailable):
            raise self.unavailable(answer)
        if not isinstance(answer, ReadPoint):
            raise TypeError(f"a read was answered with {answer!r}")

    async def page(self, request: Message) -> Page:
        """Check a request for a page of a list, and wait until a view may answer it. The
        pages after the first show what the first one showed. Raises Failure."""
        asked: Any = request
        self.check(request)
        scope = page_scope(request)
        start = page_start(scope, asked.page_token)
        if start.revision is None:
            at = await self.settle(request)
        else:
            at = await self.settle_at(start.revision)
        return Page(at, start.after, page_size(asked.page_size), scope)

    async def look(
        self, at: int | None, read: Callable[[Reader], Found]
    ) -> tuple[Found, ResponseHeader]:
        """What a read of lists finds in a view, and the header of that; in the last of
        several where much is to be passed over that was not there yet at that revision.
        Raises Failure."""
        passed: dict[bytes, bytes] = {}
        while True:
            with self.view(at, passed) as (reader, header), suppress(Weary):
                return read(reader), header
            await self._again.ask()

    @contextmanager
    def view(
        self, at: int | None = None, passed: dict[bytes, bytes] | None = None
    ) -> Iterator[View]:
        """One look at the last committed state, or at what it was at a revision that was
        settled; `passed` makes that a PatientReader. Never hold it across an await. Raises
        Failure."""
        self.demand_sound()
        with self.state.view() as reader:
            revision, applied = queries.revision(reader), queries.applied(reader)
            if at is None or at == revision:
                yield View(reader, self.header(revision, applied.index))
                return
            if at > revision:
                # It was there, and is not any more: the state is being made anew.
                raise self.unavailable(Unavailable("NO_QUORUM", definite=True))
            if at < (oldest := history.read_mark(reader).oldest):
                raise compacted(at, oldest)
            # Which entry that was is not kept.
            if passed is None:
                past = PastReader(reader, at)
            else:
                past = PatientReader(reader, at, passed, self.limits.slice_rows)
            yield View(past, self.header(at, 0))


def command_of(request: Message) -> Command:
    """The command that carries a mutating request."""
    arguments: dict[str, Any] = {_COMMAND_FIELDS[type(request).DESCRIPTOR.full_name]: request}
    return Command(**arguments)


_COMMAND_FIELDS = {
    one.message_type.full_name: one.name
    for one in Command.DESCRIPTOR.fields
    if one.message_type
}


_SUBJECTS = {
    "agent_id": "agent",
    "session_id": "session",
    "stream_id": "stream",
    "group_id": "group",
    "lease_id": "lease",
    "name": "name",
    "plan_id": "plan",
    "saga_id": "saga",
    "rollback_id": "rollback",
    "incident_id": "incident",
}


def _subject(request: Message) -> str:
    """What a refused request was about, as PreconditionFailure names things."""
    for name, kind in _SUBJECTS.items():
        if value := getattr(request, name, ""):
            return f"{kind}/{value}"
    return ""
