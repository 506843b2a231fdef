"""What must hold after every step of every member: one function a property.

Sections are of the Raft paper (Ongaro and Ousterhout, extended version) or, where it
says so, of Ongaro's dissertation. Each check compares one new fact with what was
noted before, so that checking all of them costs a step almost nothing.

What was noted is in `checks.Checks`. What the store says is judged in
`store/judging.py`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from jepsen_like.checkers import exactly_once, fencing, register
from jepsen_like.checkers.exactly_once import StepOp, StoredEvent
from jepsen_like.checkers.fencing import Fact
from jepsen_like.checkers.history import Operation
from raftstate.core import hashing, queries, stream_queries
from raftstate.core.ports import Base, Entry, HardState, NodeStatus, Reader
from raftstate.core.types import Index, MemberId, Position, Term, token_key
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.peer_pb2 import Envelope, SnapshotManifest
from raftstate.v1.rollback_service_pb2 import Rollback
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim.disk import BOTTOM, LogImage, SimLog

if TYPE_CHECKING:
    from tests.sim.checks import Checks

AGENTS = "agent/"  # those that workers work for
HEAD = "head of "  # how the register that counts an agent's steps is called


class Violation(AssertionError):
    """A property does not hold."""


def must(holds: bool, words: str) -> None:
    """Assert, also under -O."""
    if not holds:
        raise Violation(words)


class Member(Protocol):
    """A member, as the checks see it."""

    @property
    def member_id(self) -> MemberId: ...

    @property
    def log(self) -> SimLog: ...

    @property
    def durable(self) -> LogImage: ...

    @property
    def forgotten(self) -> LogImage | None: ...

    @property
    def quarantined(self) -> bool: ...

    def manifest(self, name: str) -> SnapshotManifest | None: ...


@dataclass(slots=True)
class Seen:
    """What was last seen of one process."""

    term: Term = Term(0)
    commit: Index = Index(0)
    applied: Index = Index(0)
    elections: int = 0
    taken: int = 0
    installed: int = 0
    base: Base = BOTTOM


class Committed(NamedTuple):
    """One committed entry, and what the oracle's state was after it."""

    position: Position
    digest: bytes
    revision: int
    state_hash: bytes


@dataclass(slots=True)
class Grant:
    """The newest grant of one agent."""

    token: tuple[int, int] = (0, 0)
    session_id: str = ""


def entry_digest(entry: Entry) -> bytes:
    """What two copies of an entry are compared by."""
    return hashlib.blake2b(entry.data, digest_size=16).digest()


# --- elections ---------------------------------------------------------------


def one_leader_a_term(checks: Checks, status: NodeStatus) -> None:
    """Election safety (5.2): at most one leader in one term."""
    holder = checks.leaders.get(status.term)
    if holder is None:
        checks.leaders[status.term] = status.member_id
        leader_completeness(checks, status)
        elected_by_voters(checks, status)
    else:
        must(
            holder == status.member_id,
            f"{holder} and {status.member_id} both lead in term {status.term}",
        )


def votes_once(log: SimLog, before: HardState, after: HardState) -> None:
    """Vote and term (figure 2): a durable term never falls, and within one term a
    durable vote never changes, whatever crashes come between."""
    who = log.identity.member_id
    must(after.term >= before.term, f"{who}: term fell from {before} to {after}")
    if after.term == before.term and before.vote is not None:
        must(after.vote == before.vote, f"{who}: vote moved from {before} to {after}")


def elected_by_voters(checks: Checks, status: NodeStatus) -> None:
    """Elections (5.2; dissertation, 4.2.2): a leader has the votes of a majority of the
    voters of its configuration, durably; strangers, learners and who was removed do not
    count. Who has voted may have moved on to a later term since."""
    term, me = status.term, status.member_id
    voters = voters_of(status.configuration)
    given = [one for one in voters if may_have_voted(checks.members[one], term, me)]
    must(
        2 * len(given) > len(voters),
        f"{me} leads term {term} with the votes of {sorted(given)} of {sorted(voters)}",
    )


def may_have_voted(member: Member, term: Term, candidate: MemberId) -> bool:
    """Whether a disk says so, or has forgotten what it said."""
    held = member.durable.hard_state
    if held.term > term or member.forgotten is not None:
        return True
    return held.term == term and held.vote == candidate


def one_member_at_a_time(before: Configuration, after: Configuration) -> None:
    """Membership (dissertation, 4.1): one configuration differs from the one before by
    one member, so that majorities of both overlap."""
    old, new = voters_of(before), voters_of(after)
    must(len(old ^ new) <= 1, f"voters went from {sorted(old)} to {sorted(new)}")


def one_configuration(checks: Checks, status: NodeStatus) -> None:
    """Membership (dissertation, 4.1): a configuration in force that is committed is the
    one that was committed there; what is not yet rests on the newest that is."""
    index = status.configuration.index
    if not 0 < index <= checks.last_committed.index:
        return
    place = bisect_left(checks.configurations, index, key=lambda one: one.index)
    if index <= status.commit_index:
        must(
            place < len(checks.configurations)
            and checks.configurations[place] == status.configuration,
            f"{status.member_id} goes by {status.configuration}, which is not committed",
        )


def voters_of(configuration: Configuration) -> set[MemberId]:
    """The voters of a configuration."""
    return {MemberId(m.member_id) for m in configuration.members if not m.learner}


def leader_completeness(checks: Checks, status: NodeStatus) -> None:
    """Leader completeness (5.4): a new leader holds every entry committed in terms
    before its own."""
    place = bisect_left(checks.committed, status.term, key=lambda one: one.position.term)
    if place == 0:
        return
    needed = checks.committed[place - 1].position
    member = _member(checks, status.member_id)
    if needed.index > member.log.base.position.index:
        must(
            member.log.term_at(needed.index) == needed.term,
            f"{status.member_id} leads term {status.term} without the committed {needed}",
        )


# --- logs --------------------------------------------------------------------


def log_matching(checks: Checks, log: SimLog, entry: Entry) -> None:
    """Log matching (5.3): entries of one index and term are the same everywhere, and
    so is all before them. Comparing each with its predecessor proves that by
    induction."""
    before = log.term_at(Index(entry.index - 1))
    must(before is not None, f"{entry.index} was appended behind a gap")
    assert before is not None
    must(before <= entry.term, f"{entry.index}: term {entry.term} follows term {before}")
    fact = (entry_digest(entry), Position(Index(entry.index - 1), before))
    known = checks.entries.setdefault(Position(entry.index, entry.term), fact)
    must(known == fact, f"two entries at {entry.index} in term {entry.term}: {known}, {fact}")


def removed_on_conflict_only(checks: Checks, log: SimLog, entry: Entry) -> None:
    """Log matching (5.3; figure 2): what a follower removes makes room for an entry of
    another term. A message that comes late, or twice, takes nothing back."""
    who = log.identity.member_id
    first, term = checks.removed.pop(who, (Index(0), None))
    must(
        (first, term) != (entry.index, entry.term),
        f"{who} removed entry {first} of term {term}, and appends it again",
    )


def leader_append_only(checks: Checks, log: SimLog, first: Index) -> None:
    """Leader append-only (5.3): a leader never removes an entry of its log, nor replaces
    one; neither does it in the rest of a term in which it was leader before a crash."""
    who, term = log.identity.member_id, log.hard_state.term
    must(
        checks.leaders.get(term) != who,
        f"{who} leads in term {term}, and removes its entries from {first} on",
    )


def committed_is_kept(checks: Checks, log: SimLog, first: Index) -> None:
    """State machine safety (5.4.3), in the log: a committed entry stays on a majority.

    A member that was not needed to commit it may still remove its own copy, on the word
    of a leader that was deposed meanwhile and that it has not heard the end of.
    """
    for one in checks.committed[first - 1 :]:
        index, term = one.position
        if log.term_at(index) == term:
            holders = _holders(checks, index, term) - {log.identity.member_id}
            must(
                2 * len(holders & checks.voters) > len(checks.voters),
                f"{log.identity.member_id} removes the committed {one.position}, and only "
                f"{sorted(holders)} hold it",
            )


def _holders(checks: Checks, index: Index, term: Term | None) -> set[MemberId]:
    """Who holds an entry durably, or would if its disk had not been lost since."""
    return {
        member_id
        for member_id, member in checks.members.items()
        if holds(member.durable, index, term)
        or (member.forgotten is not None and holds(member.forgotten, index, term))
    }


def committed_is_the_same(checks: Checks, member: Member, status: NodeStatus) -> None:
    """State machine safety (5.4.3), in the log: what one member calls committed is what
    any other called committed there. By log matching the last entry stands for all."""
    common = Index(min(status.commit_index, checks.last_committed.index))
    if common > member.log.base.position.index:
        mine, truth = member.log.term_at(common), checks.committed[common - 1].position.term
        must(
            mine == truth,
            f"{status.member_id} ({status.role}, term {status.term}) calls index {common} of "
            f"term {mine} committed; there {truth} was",
        )


def durable_on_a_quorum(checks: Checks, status: NodeStatus, term: Term | None) -> None:
    """Commitment (5.3, 5.4.2): what a member calls committed is durable on a
    majority of the voters, at that moment. Learners do not count (dissertation, 4.2.1).

    The configuration that counts is the newest in the leader's log. Whoever is first to
    call an entry committed is the leader, but for one that died, or left, before it was
    looked at: then it is one that the entry before was committed under.

    A disk may be lost while its acknowledgement is under way. It counts as long as its
    member is not settled on the next one: until then the member elects nobody who could
    lack what it has forgotten, so the rest of that majority is enough.
    """
    commit = status.commit_index
    holders = _holders(checks, commit, term)
    electorates = [voters_of(status.configuration)]
    electorates += [checks.voters] if status.role != "leader" else []
    must(
        any(2 * len(holders & voters) > len(voters) for voters in electorates),
        f"index {commit} of term {term} is called committed, and durable on {holders} only",
    )


def holds(image: LogImage, index: Index, term: Term | None) -> bool:
    """Whether a log holds an entry, or stands on a snapshot that covers it."""
    return image.base.position.index >= index or image.term_at(index) == term


# --- states ------------------------------------------------------------------


def state_machine_safety(checks: Checks, status: NodeStatus) -> None:
    """State machine safety (5.4.3): all members hold the same state at one index, and
    apply nothing that is not committed."""
    who, applied = status.member_id, status.applied_index
    must(
        applied <= status.commit_index,
        f"{who} applied {applied}, past its commit index {status.commit_index}",
    )
    if applied == 0:
        return
    truth = checks.committed[applied - 1]
    must(
        (status.revision, status.state_hash) == (truth.revision, truth.state_hash),
        f"{who} differs at index {applied}: revision {status.revision}, hash "
        f"{status.state_hash.hex()}, and not {truth.revision}, {truth.state_hash.hex()}",
    )


def snapshot_is_of_the_log(checks: Checks, member: Member, base: Base) -> None:
    """Log compaction (7): a log begins behind a committed entry, and the snapshot that
    takes the place of what is gone is there, reaches at least as far, and holds what
    applying the log up to its index gives."""
    who, index = member.member_id, base.position.index
    if index == 0:
        return
    must(
        index <= len(checks.committed)
        and checks.committed[index - 1].position == base.position,
        f"{who} begins its log behind {base.position}, which is not committed",
    )
    manifest = member.manifest(base.snapshot)
    must(manifest is not None, f"{who} has no snapshot {base.snapshot} under its log")
    assert manifest is not None
    must(
        index <= manifest.index <= len(checks.committed),
        f"{who}: snapshot {manifest.name} does not cover {base.position}, or is ahead of all",
    )
    truth = checks.committed[manifest.index - 1]
    must(
        (manifest.term, manifest.revision, manifest.state_hash)
        == (truth.position.term, truth.revision, truth.state_hash),
        f"{who}: snapshot {manifest.name} is not the state at {truth.position}",
    )


def moves_forward(seen: Seen, status: NodeStatus) -> None:
    """Monotony (figure 2): term, commit index and applied index of one process only
    ever rise."""
    who = status.member_id
    must(status.term >= seen.term, f"{who}: term fell from {seen.term} to {status.term}")
    must(
        status.commit_index >= seen.commit,
        f"{who}: commit index fell from {seen.commit} to {status.commit_index}",
    )
    must(
        status.applied_index >= seen.applied,
        f"{who}: applied index fell from {seen.applied} to {status.applied_index}",
    )
    seen.term, seen.commit = status.term, status.commit_index
    seen.applied = status.applied_index


# --- messages ----------------------------------------------------------------


def justified(member: Member, envelope: Envelope) -> None:
    """Persistence before messages (figure 2): nothing leaves a member before the
    term, vote or entries that it reflects are durable there.

    What was acknowledged to the leader of an earlier term may be gone by the time
    that the answer leaves: the leader of a later one has removed it since, and could
    not have been elected had it been committed.
    """
    who, durable = member.member_id, member.durable
    must(
        envelope.term <= durable.hard_state.term,
        f"{who} speaks in term {envelope.term}; durable is {durable.hard_state}",
    )
    kind = envelope.WhichOneof("message")
    moved_on = durable.hard_state.term > envelope.term
    if kind == "append_reply" and envelope.append_reply.success:
        must(
            moved_on or envelope.append_reply.match_index <= durable.last.index,
            f"{who} acknowledges {envelope.append_reply.match_index}; it has {durable.last}",
        )
    elif kind == "request_vote" and not envelope.request_vote.pre_vote:
        quarantined_is_silent(member, kind)
        _voted_for(member, envelope, member.member_id)
    elif kind == "vote_reply" and envelope.vote_reply.granted:
        quarantined_is_silent(member, kind)
        if not envelope.vote_reply.pre_vote:
            _voted_for(member, envelope, MemberId(envelope.to_member))
    elif kind == "install_reply" and envelope.install_reply.installed_index:
        must(
            moved_on or envelope.install_reply.installed_index <= durable.last.index,
            f"{who} claims to have installed {envelope.install_reply.installed_index}",
        )


def quarantined_is_silent(member: Member, kind: str) -> None:
    """Quarantine: who found damage has forgotten what it promised, and neither votes nor
    campaigns until it is settled."""
    must(not member.quarantined, f"{member.member_id} is in quarantine, and sends a {kind}")


def _voted_for(member: Member, envelope: Envelope, candidate: MemberId) -> None:
    held = member.durable.hard_state
    must(
        held.term > envelope.term or (held.term, held.vote) == (envelope.term, candidate),
        f"{member.member_id} votes for {candidate} in {envelope.term}; durable is {held}",
    )


# --- what clients are told ---------------------------------------------------


def tokens_rise(checks: Checks, command: Command, outcome: Outcome) -> None:
    """Fencing: every new grant of an agent has a larger token than all before it."""
    request = command.acquire_ownership
    grant = checks.grants.setdefault(request.agent_id, Grant())
    token = token_key(outcome.acquire_ownership.ownership.fence)
    must(token > grant.token, f"{request.agent_id}: token {token} after {grant.token}")
    session_id = outcome.acquire_ownership.ownership.session_id
    checks.takeovers += bool(grant.session_id) and grant.session_id != session_id
    checks.grants[request.agent_id] = Grant(token, session_id)


# What is done for an agent that the request names, under its token.
OWNED = frozenset(
    {
        *("commit_step", "put_checkpoint", "record_value", "begin_saga", "end_saga"),
        *("abort_saga", "prepare_effect", "dispatch_effect", "complete_effect"),
    }
)


def written_under_the_newest_grant(checks: Checks, command: Command, outcome: Outcome) -> None:
    """Fencing: whatever is written for an agent is written under its newest grant, by the
    session that was given it."""
    kind = command.WhichOneof("body")
    if kind is None or outcome.HasField("refusal") or outcome.append_events.duplicate:
        return
    body = getattr(command, kind)
    written: list[tuple[str, FencingToken]] = []
    if kind in OWNED or (kind == "reconcile_effect" and not body.plan_id):
        written = [(body.agent_id, body.fence)]
    elif kind == "append_events":
        written = [(one.stream_id, one.fence) for one in body.appends if one.HasField("fence")]
    elif kind == "put_group_checkpoint":
        written = [(one.agent_id, one.fence) for one in body.members if one.HasField("fence")]
    for agent_id, fence in written:
        newest, given = checks.grants[agent_id], token_key(fence)
        must(
            Grant(given, body.request_id.session_id) == newest,
            f"{agent_id}: a {kind} under {given} of {body.request_id.session_id}; the newest "
            f"grant is {newest}",
        )


def rollback_takes_the_token(checks: Checks, rollback: Rollback) -> None:
    """Fencing: the start of a rollback makes a token larger than all before it, which
    nobody holds."""
    for one in rollback.agents:
        grant, token = checks.grants.setdefault(one.agent_id, Grant()), token_key(one.fence)
        must(token > grant.token, f"{one.agent_id}: token {token} after {grant.token}")
        checks.grants[one.agent_id] = Grant(token, "")


def told_what_happened(checks: Checks, outcome: Outcome) -> None:
    """Exactly once (dissertation, 6.3): what a client is told is what the log says
    happened at that revision."""
    truth = checks.outcomes.get(outcome.revision)
    must(truth is not None, f"a client was told of revision {outcome.revision}, not committed")
    must(truth == outcome, f"a client was told {outcome}, and the log says {truth}")


def same_answer(first: Outcome, again: Outcome) -> None:
    """Exactly once (dissertation, 6.3): a request asked again is answered as before."""
    kind = first.WhichOneof("result")
    must(
        kind == again.WhichOneof("result")
        and kind is not None
        and getattr(first, kind) == getattr(again, kind),
        f"one request was answered {first}, and then {again}",
    )


def answered_once(number: int, *, again: bool) -> None:
    """Every request is answered at most once by one process."""
    must(not again, f"request {number} was answered twice")


def read_is_fresh(agent_id: str, step: int, floor: int) -> None:
    """Linearizable reads (8; dissertation, 6.4): a read shows no head older than one
    that was acknowledged, or read, before it began."""
    must(step >= floor, f"a read of {agent_id} showed step {step}; {floor} was known before")


def read_is_a_prefix(checks: Checks, agent_id: str, step: int, revision: int) -> None:
    """Any read, also a stale one, shows what the log says at the revision it names."""
    truth = checks.step_at(agent_id, revision)
    must(
        step == truth,
        f"a read of {agent_id} at revision {revision} showed step {step}, not {truth}",
    )


def expiry_is_not_early(session_id: str, since_s: float, ttl_s: float) -> None:
    """Leases: no session ends sooner than its ttl after an answered keep-alive was
    sent, but for clocks that differ in speed."""
    must(
        since_s >= ttl_s * 0.95,
        f"session {session_id} expired {since_s:.3f}s after a keep-alive; ttl {ttl_s:.3f}s",
    )


# --- after the end -----------------------------------------------------------


def registers_are_linearizable(history: Sequence[Operation]) -> None:
    """Linearizable semantics (8; dissertation, 6.3 and 6.4), as clients saw them: one
    order of all reads, writes and comparisons explains every answer."""
    for verdict in register.check(history, initial=dict.fromkeys(_heads(history), 0)):
        must(verdict.ok, str(verdict))


def _heads(history: Sequence[Operation]) -> Iterable[str]:
    """The registers that count the steps of an agent: they begin at 0."""
    return (one.key for one in history if one.key.startswith(HEAD))


def grants_fence(facts: Iterable[Fact]) -> None:
    """Fencing, as clients saw it: grants are disjoint, tokens rise for ever, and nothing
    of the past was accepted. Grants that nobody was told of are missing."""
    wrong = fencing.check(facts, all_grants=False)
    must(not wrong, f"{len(wrong)} wrong, such as {wrong[:3]}")


def acknowledged_once(
    ops: Iterable[StepOp], who: MemberId, reader: Reader, places: Mapping[int, Event]
) -> None:
    """Exactly once (dissertation, 6.3), as clients saw it: what was acknowledged is
    stored once, what failed is not, and nothing else is. `places` are all there are."""
    streams = {
        agent.agent_id: [
            StoredEvent(e.stream_id, e.seq, e.position, e.step, e.data)
            for e in stream_queries.read_events(reader, agent.agent_id, 1, 1 << 62, 1 << 62)
        ]
        for agent in queries.list_agents(reader, AGENTS, "", 1 << 30)
    }
    others = (at for at, event in places.items() if not event.stream_id.startswith(AGENTS))
    wrong = exactly_once.check(ops, streams, others)
    must(not wrong, f"{who}: {len(wrong)} wrong, such as {wrong[:3]}")


def state_hash_is_of_the_state(who: MemberId, reader: Reader) -> None:
    """The additive hash that members compare is the hash of what they hold."""
    must(
        hashing.full_hash(reader) == queries.state_hash(reader),
        f"{who}: the state hash is not the hash of the state",
    )


def converged(statuses: Iterable[NodeStatus]) -> bool:
    """Whether every member has applied all it holds, and all hold the same."""
    points = [
        (one.applied_index, one.last_index, one.revision, one.state_hash) for one in statuses
    ]
    return len(set(points)) == 1 and points[0][0] == points[0][1]


def fence_text(fence: FencingToken) -> str:
    """A token, short."""
    return f"{fence.epoch}:{fence.revision}"


def _member(checks: Checks, member_id: MemberId) -> Member:
    return checks.members[member_id]
