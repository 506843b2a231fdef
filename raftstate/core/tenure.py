"""What a leader keeps in memory while in office: deadlines, graces, and who waits.

Replicated state knows no time. The leader does: it decides when to *propose* that
a session, an ownership or a lease expires. What it proposes names the last command that
it has seen of it, and apply ignores the proposal if there was another since. So
a wrong clock, a slow leader or two leaders can at worst be unkind, never wrong.

Four rules.

* Taking office, and each command of a session or owner, or that names a lease, gives
  the full ttl from now; a keep-alive gives it from when it arrived, after a quorum has
  confirmed the leadership since. Clients count from when they sent, so they give up
  first.
* Once an expiry is proposed its fate is open until it is applied. A keep-alive
  that comes in between is parked, and answered by what became of the expiry.
* A session whose stream broke at the transport has only a short grace. A
  keep-alive that arrives after the break ends the grace; a command only starts it
  anew, because it may have been on its way when its sender died.
* Who waits for an agent is proposed when the agent is free, first come first
  served, one at a time; and right behind the expiry that will free the agent, so
  that both travel in one entry. Whoever would only be refused, or answered from
  memory, is proposed at once.

Sans-io: `now` is the leader's monotonic clock in seconds. A ticket is any
hashable value; each is given back exactly once: with its command by `due`, with
its answer by a keep-alive or `observe`, or by `end`; unless it is abandoned.

Start reading at `Tenure.due`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from raftstate.core import kv_queries, queries
from raftstate.core.agents import OPEN_STATES
from raftstate.core.leases import LeaseRecord
from raftstate.core.machine import Applied
from raftstate.core.ports import KeepAliveResult, Reader
from raftstate.core.sessions import SessionRecord
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent, FenceQuery, Ownership
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.store_pb2 import Command, ExpireLease, ExpireOwnership, ExpireSession

Ticket = object
Proposal = tuple[Command, Ticket | None]
Answered = tuple[Ticket, KeepAliveResult]

GONE = KeepAliveResult(None)
INF = float("inf")
# So many expiries may be on their way. Each takes a while to apply: were thousands in the log
# before the first is observed, they would all be proposed again meanwhile.
UNDER_WAY_MAX = 64
_DOUBLINGS_MAX = 5


class _Name(NamedTuple):
    """What has a deadline: a session, the ownership of an agent, or a lease."""

    kind: Literal["lease", "ownership", "session"]
    id: str


def _lease_name(lease_id: int) -> _Name:
    return _Name("lease", str(lease_id))


@dataclass(slots=True)
class _Term:
    """One deadline, and the expiry that was proposed when it passed."""

    # Which grant it is, of an ownership or a lease, or which opening of the session.
    fence: tuple[int, int]
    # The last command seen of it. An expiry names this; it is settled, one way or
    # the other, when this has changed or the whole is gone.
    touched: int
    session_id: str
    ttl_ms: int
    deadline: float = -INF
    broken_at: float = -INF
    grace_ends: float = INF
    # An expiry is under way, and is not proposed again before this; how often it was.
    retry_at: float | None = None
    proposed: int = 0
    # The time in the heap that counts; others under this name are stale.
    scheduled: float = INF

    @property
    def ends(self) -> float:
        """When to propose the expiry, or propose it again."""
        if self.retry_at is not None:
            return self.retry_at
        return min(self.deadline, self.grace_ends)

    def extend(self, start: float) -> None:
        """Give the full ttl from `start`, which never shortens it."""
        self.deadline = max(self.deadline, start + self.ttl_ms / 1000)


class _Parked(NamedTuple):
    """A keep-alive behind a proposed expiry."""

    ticket: Ticket
    arrived: float
    query: FenceQuery | None  # None: it is for the session or lease itself


class _Waiter(NamedTuple):
    """An AcquireOwnership that waits for its agent."""

    ticket: Ticket
    command: Command

    @property
    def agent_id(self) -> str:
        return self.command.acquire_ownership.agent_id

    @property
    def session_id(self) -> str:
        return self.command.acquire_ownership.request_id.session_id


@dataclass(slots=True)
class _Queue:
    """Who waits for one agent, and who was proposed and has no answer yet."""

    waiters: dict[Ticket, _Waiter] = field(default_factory=dict)
    proposed: _Waiter | None = None
    retry_at: float = -INF

    def is_held(self, reader: Reader, now: float) -> bool:
        """Whether the others have to see first what becomes of the one proposed."""
        if self.proposed is not None and _is_answered(reader, self.proposed):
            self.proposed = None
        return self.proposed is not None and now < self.retry_at


class Tenure:
    """A leader's time in office; out of office it holds nothing and says nothing."""

    def __init__(self, grace_s: float, retry_s: float = 1.0) -> None:
        self._grace_s = grace_s
        self._retry_s = retry_s
        self._forget()

    def _forget(self) -> None:
        self._in_office = False
        self._terms: dict[_Name, _Term] = {}
        # What was proposed and is not observed yet; and what is due and waits for that.
        self._under_way: set[_Name] = set()
        self._held: dict[_Name, None] = {}
        # Deadlines, not earlier than what is here: one that moves later is
        # noticed when the heap comes to it.
        self._heap: list[tuple[float, _Name]] = []
        self._parked: dict[_Name, list[_Parked]] = {}
        self._queues: dict[str, _Queue] = {}
        # Where to find a ticket that waits, and whose waiters to look at.
        self._waiting: dict[Ticket, str] = {}
        self._waits_of: dict[str, dict[Ticket, str]] = {}
        # Agents whose queue the next `due` looks at (a dict, for its order), and
        # when to look again at those who wait for an answer to a proposal.
        self._stirred: dict[str, None] = {}
        self._retries: list[tuple[float, str]] = []

    # --- in and out of office ------------------------------------------------

    def begin(self, reader: Reader, now: float) -> None:
        """Take office: everything that is live gets its full ttl."""
        self._forget()
        self._in_office = True
        for record in queries.sessions_all(reader):
            self._see_session(record, now)
        for agent in queries.owned_agents(reader):
            self._see_ownership(agent.agent_id, agent.owner, now)
        for lease in kv_queries.leases_all(reader):
            self._see_lease(lease, now)

    def end(self) -> list[Ticket]:
        """Leave office: forget everything. The tickets returned get no answer here."""
        parked = [each.ticket for some in self._parked.values() for each in some]
        left = [*self._waiting, *parked]
        self._forget()
        return left

    def observe(self, reader: Reader, applied: Applied, now: float) -> list[Answered]:
        """Take note of what a batch changed; answer keep-alives that were parked."""
        if not self._in_office:
            return []
        # Sorted, so that a run does not depend on how strings hash.
        session_ids, agent_ids = sorted(applied.sessions), sorted(applied.agents)
        lease_ids = sorted(applied.leases)
        for session_id in session_ids:
            self._look_at_session(reader, session_id, now)
        for agent_id in agent_ids:
            self._look_at_agent(reader, agent_id, now)
        for lease_id in lease_ids:
            self._look_at_lease(reader, lease_id, now)
        names = [_Name("session", each) for each in session_ids]
        names += [_Name("ownership", each) for each in agent_ids]
        names += [_lease_name(each) for each in lease_ids]
        self._let_in(names)
        return self._settle(reader, names, now)

    # --- keep-alives ---------------------------------------------------------

    def keep_session(
        self, reader: Reader, session_id: str, ticket: Ticket, arrived: float
    ) -> KeepAliveResult | None:
        """Keep a session alive, a quorum having confirmed the leadership since the
        request arrived. None: it is parked, and `observe` will answer it."""
        name = _Name("session", session_id)
        term = self._terms.get(name)
        if term is None or queries.get_session(reader, session_id) is None:
            return GONE
        if term.retry_at is not None:
            self._parked.setdefault(name, []).append(_Parked(ticket, arrived, None))
            return None
        term.extend(arrived)
        if arrived >= term.broken_at:
            term.grace_ends = INF
        return KeepAliveResult(term.ttl_ms)

    def keep_ownership(
        self, reader: Reader, query: FenceQuery, ticket: Ticket, arrived: float
    ) -> KeepAliveResult | None:
        """As `keep_session`, for one ownership; its session's expiry parks it too."""
        name = _Name("ownership", query.agent_id)
        term = self._terms.get(name)
        if term is None or not queries.is_current(reader, query):
            return GONE
        session = _Name("session", term.session_id)
        for each in (name, session):
            if (other := self._terms.get(each)) and other.retry_at is not None:
                self._parked.setdefault(each, []).append(_Parked(ticket, arrived, query))
                return None
        term.extend(arrived)
        return KeepAliveResult(term.ttl_ms)

    def keep_lease(
        self, reader: Reader, lease_id: int, ticket: Ticket, arrived: float
    ) -> KeepAliveResult | None:
        """As `keep_session`, for one lease."""
        name = _lease_name(lease_id)
        term = self._terms.get(name)
        if term is None or kv_queries.get_lease(reader, lease_id) is None:
            return GONE
        if term.retry_at is not None:
            self._parked.setdefault(name, []).append(_Parked(ticket, arrived, None))
            return None
        term.extend(arrived)
        return KeepAliveResult(term.ttl_ms)

    def lease_left(self, lease_id: int, now: float) -> KeepAliveResult:
        """How long a lease lives on if nobody keeps it alive; never less than what its
        client may count on, who counts from when it sent."""
        term = self._terms.get(_lease_name(lease_id))
        if term is None:
            return GONE
        left_ms = max(term.deadline - now, 0.0) * 1000
        return KeepAliveResult(int(-(-left_ms // 1)))  # rounded up

    def session_broken(self, session_id: str, now: float) -> None:
        """The last stream of a session failed at the transport: start its grace."""
        name = _Name("session", session_id)
        if term := self._terms.get(name):
            term.broken_at = now
            term.grace_ends = now + self._grace_s
            self._schedule(name, term, term.ends)

    # --- waiters -------------------------------------------------------------

    def wait(self, command: Command, ticket: Ticket, now: float) -> None:
        """Queue an AcquireOwnership with mode WAIT; the next `due` looks at it."""
        assert self._in_office, "only a leader lets anybody wait"
        assert ticket not in self._waiting, f"ticket {ticket!r} waits already"
        waiter = _Waiter(ticket, command)
        self._queues.setdefault(waiter.agent_id, _Queue()).waiters[ticket] = waiter
        self._waiting[ticket] = waiter.agent_id
        self._waits_of.setdefault(waiter.session_id, {})[ticket] = waiter.agent_id
        self._stirred[waiter.agent_id] = None

    def abandon(self, ticket: Ticket) -> None:
        """Give a ticket no answer. What was handed out already still happens."""
        agent_id = self._waiting.get(ticket)
        if agent_id is not None:
            self._take(self._queues[agent_id].waiters[ticket])
            self._stirred[agent_id] = None  # To tidy up its queue.
            return
        for name, some in list(self._parked.items()):
            kept = [each for each in some if each.ticket != ticket]
            if kept:
                self._parked[name] = kept
            else:
                del self._parked[name]

    # --- proposals -----------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `due` may have something, unless something else happens before."""
        if self._stirred:
            return 0.0
        times = [self._heap[0][0]] if self._tidy_heap() else []
        if self._retries:
            times.append(self._retries[0][0])
        return min(times, default=None)

    def due(self, reader: Reader, now: float) -> list[Proposal]:
        """What to propose now, in this order and adjacent. Nothing is handed out
        twice before it was observed, unless `retry_s` has passed, and then twice that,
        and so on; and of expiries no more than `UNDER_WAY_MAX` before some of them were."""
        names = self._admitted(self._pop_due(now))
        proposals: list[Proposal] = []
        # Sessions first: one takes its ownerships along.
        for name in (each for each in names if each.kind == "session"):
            proposals += self._expire_session(reader, name, now)
        for name in (each for each in names if each.kind == "ownership"):
            proposals += self._expire_ownership(reader, name, now)
        for name in (each for each in names if each.kind == "lease"):
            proposals.append(self._expire_lease(name, now))
        while self._retries and self._retries[0][0] <= now:
            self._stirred[heappop(self._retries)[1]] = None
        stirred, self._stirred = self._stirred, {}
        for agent_id in stirred:
            proposals += self._serve(reader, agent_id, now)
        return proposals

    def _admitted(self, names: Iterable[_Name]) -> list[_Name]:
        """Those whose expiry may be proposed now. The others wait, and may still be kept
        alive: thousands at once would be in the way of all that is written."""
        room = UNDER_WAY_MAX - len(self._under_way)
        admitted: list[_Name] = []
        for name in sorted(names, key=lambda name: name.kind != "session"):
            if name in self._under_way:
                admitted.append(name)
            elif room > 0:
                admitted.append(name)
                room -= 1
            else:
                self._held[name] = None
        return admitted

    def _let_in(self, seen: Iterable[_Name]) -> None:
        """Some expiries may be over: then it is the turn of those that wait."""
        for name in self._under_way.intersection(seen):
            term = self._terms.get(name)
            if term is None or term.retry_at is None:
                self._under_way.discard(name)
        for _ in range(min(UNDER_WAY_MAX - len(self._under_way), len(self._held))):
            name = next(iter(self._held))
            del self._held[name]
            if (term := self._terms.get(name)) is not None:
                self._schedule(name, term, term.ends)

    def _expire_session(self, reader: Reader, name: _Name, now: float) -> list[Proposal]:
        term = self._terms[name]
        self._mark_proposed(name, term, now)
        expiry = ExpireSession(session_id=name.id, touched_revision=term.touched)
        proposals: list[Proposal] = [(Command(expire_session=expiry), None)]
        for agent_id in queries.agents_owned_by(reader, name.id):
            proposals += self._serve_successor(reader, agent_id, name.id, now)
        return proposals

    def _expire_ownership(self, reader: Reader, name: _Name, now: float) -> list[Proposal]:
        term = self._terms[name]
        session = self._terms.get(_Name("session", term.session_id))
        if session is not None and session.retry_at is not None:
            # Its session's expiry is on its way and says it all. Look again later.
            self._schedule(name, term, session.retry_at)
            return []
        self._mark_proposed(name, term, now)
        epoch, revision = term.fence
        expiry = ExpireOwnership(
            agent_id=name.id,
            fence=FencingToken(epoch=epoch, revision=revision),
            touched_revision=term.touched,
        )
        proposals: list[Proposal] = [(Command(expire_ownership=expiry), None)]
        return proposals + self._serve_successor(reader, name.id, "", now)

    def _expire_lease(self, name: _Name, now: float) -> Proposal:
        term = self._terms[name]
        self._mark_proposed(name, term, now)
        _, granted = term.fence
        expiry = ExpireLease(
            lease_id=int(name.id), granted_revision=granted, touched_revision=term.touched
        )
        return Command(expire_lease=expiry), None

    def _mark_proposed(self, name: _Name, term: _Term, now: float) -> None:
        # It may only wait for its turn to be applied: then more of it makes that worse.
        term.retry_at = now + self._retry_s * 2 ** min(term.proposed, _DOUBLINGS_MAX)
        term.proposed += 1
        self._under_way.add(name)
        self._schedule(name, term, term.retry_at)

    # --- who is served -------------------------------------------------------

    def _serve(self, reader: Reader, agent_id: str, now: float) -> list[Proposal]:
        """Propose those who get an answer at once, and the first if the agent is free."""
        queue = self._queues.get(agent_id)
        if queue is None:
            return []
        agent = queries.get_agent(reader, agent_id)
        proposals = [
            self._hand_out(waiter)
            for waiter in list(queue.waiters.values())
            if _need_not_wait(reader, waiter, agent)
        ]
        held = queue.is_held(reader, now)
        if not held and (agent is None or not agent.HasField("owner")):
            proposals += self._propose_first(queue, now)
        if not queue.waiters and queue.proposed is None:
            del self._queues[agent_id]
        return proposals

    def _serve_successor(
        self, reader: Reader, agent_id: str, leaving: str, now: float
    ) -> list[Proposal]:
        """Propose the first who waits for an agent that is about to be free."""
        queue = self._queues.get(agent_id)
        if queue is None or queue.is_held(reader, now):
            return []
        return self._propose_first(queue, now, leaving)

    def _propose_first(self, queue: _Queue, now: float, leaving: str = "") -> list[Proposal]:
        """Propose the first waiter that is not of a session about to end."""
        for waiter in queue.waiters.values():
            if waiter.session_id != leaving:
                queue.proposed = waiter
                queue.retry_at = now + self._retry_s
                heappush(self._retries, (queue.retry_at, waiter.agent_id))
                return [self._hand_out(waiter)]
        return []

    def _hand_out(self, waiter: _Waiter) -> Proposal:
        self._take(waiter)
        return (waiter.command, waiter.ticket)

    def _take(self, waiter: _Waiter) -> None:
        """Take a waiter out of its queue."""
        del self._queues[waiter.agent_id].waiters[waiter.ticket]
        del self._waiting[waiter.ticket]
        waits = self._waits_of[waiter.session_id]
        del waits[waiter.ticket]
        if not waits:
            del self._waits_of[waiter.session_id]

    def _stir(self, agent_id: str) -> None:
        if agent_id in self._queues:
            self._stirred[agent_id] = None

    # --- what is seen --------------------------------------------------------

    def _look_at_session(self, reader: Reader, session_id: str, now: float) -> None:
        name = _Name("session", session_id)
        before = self._terms.get(name)
        record = queries.get_session(reader, session_id)
        if record is None:
            self._terms.pop(name, None)
        elif self._see_session(record, now) is before:
            return
        # It ended, whether or not it was opened again: its waiters lose their place.
        for agent_id in self._waits_of.get(session_id, {}).values():
            self._stir(agent_id)

    def _look_at_agent(self, reader: Reader, agent_id: str, now: float) -> None:
        name = _Name("ownership", agent_id)
        before = self._terms.get(name)
        agent = queries.get_agent(reader, agent_id)
        if agent is None or not agent.HasField("owner"):
            self._terms.pop(name, None)
        elif self._see_ownership(agent_id, agent.owner, now) is before:
            return
        self._stir(agent_id)

    def _look_at_lease(self, reader: Reader, lease_id: int, now: float) -> None:
        record = kv_queries.lease_record(reader, lease_id)
        if record is None:
            self._terms.pop(_lease_name(lease_id), None)
        else:
            self._see_lease(record, now)

    def _see_session(self, record: SessionRecord, now: float) -> _Term:
        session = record.session
        term = _Term(
            fence=(0, session.opened_revision),
            touched=record.touched_revision,
            session_id=session.session_id,
            ttl_ms=session.ttl_ms,
        )
        return self._see(_Name("session", session.session_id), term, now)

    def _see_ownership(self, agent_id: str, owner: Ownership, now: float) -> _Term:
        term = _Term(
            fence=token_key(owner.fence),
            touched=owner.touched_revision,
            session_id=owner.session_id,
            ttl_ms=owner.ttl_ms,
        )
        return self._see(_Name("ownership", agent_id), term, now)

    def _see_lease(self, record: LeaseRecord, now: float) -> _Term:
        lease = record.lease
        term = _Term(
            fence=(0, lease.granted_revision),
            touched=record.touched_revision,
            session_id="",
            ttl_ms=lease.ttl_ms,
        )
        return self._see(_lease_name(lease.lease_id), term, now)

    def _see(self, name: _Name, seen: _Term, now: float) -> _Term:
        """The deadline under a name, made or moved by what the state says of it."""
        term = self._terms.get(name)
        if term is None or term.fence != seen.fence:
            term = self._terms[name] = seen
            term.extend(now)
        elif term.touched != seen.touched:
            term.touched = seen.touched
            term.retry_at, term.proposed = None, 0
            term.extend(now)
            if term.grace_ends != INF:
                term.grace_ends = now + self._grace_s
        self._schedule(name, term, term.ends)
        return term

    def _settle(self, reader: Reader, names: list[_Name], now: float) -> list[Answered]:
        """Ask again for the keep-alives that were parked under these names."""
        answers: list[Answered] = []
        for name in names:
            for each in self._parked.pop(name, []):
                result = self._keep_again(reader, name, each)
                if result is not None:
                    answers.append((each.ticket, result))
        return answers

    def _keep_again(
        self, reader: Reader, name: _Name, parked: _Parked
    ) -> KeepAliveResult | None:
        ticket, arrived, query = parked
        if query is not None:
            return self.keep_ownership(reader, query, ticket, arrived)
        if name.kind == "lease":
            return self.keep_lease(reader, int(name.id), ticket, arrived)
        return self.keep_session(reader, name.id, ticket, arrived)

    # --- deadlines -----------------------------------------------------------

    def _schedule(self, name: _Name, term: _Term, at: float) -> None:
        if at < term.scheduled:
            term.scheduled = at
            heappush(self._heap, (at, name))

    def _tidy_heap(self) -> bool:
        """Bring a true deadline to the top of the heap; say whether there is one."""
        while self._heap:
            at, name = self._heap[0]
            term = self._terms.get(name)
            if term is not None and term.scheduled == at:
                if term.ends <= at:
                    return True
                term.scheduled = INF
                self._schedule(name, term, term.ends)
            heappop(self._heap)
        return False

    def _pop_due(self, now: float) -> Iterator[_Name]:
        while self._tidy_heap() and self._heap[0][0] <= now:
            _, name = heappop(self._heap)
            self._terms[name].scheduled = INF
            yield name


def _is_answered(reader: Reader, waiter: _Waiter) -> bool:
    request_id = waiter.command.acquire_ownership.request_id
    return queries.is_answered(
        reader, request_id.session_id, request_id.opened_revision, request_id.sequence
    )


def _need_not_wait(reader: Reader, waiter: _Waiter, agent: Agent | None) -> bool:
    """Whether apply has an answer for a waiter while another owns the agent: it is
    refused whatever happens, or answered from memory, or owns the agent already."""
    if _is_answered(reader, waiter):
        return True
    if agent is None:
        return not waiter.command.acquire_ownership.create
    if agent.lifecycle not in OPEN_STATES:
        return True
    return agent.HasField("owner") and agent.owner.session_id == waiter.session_id
