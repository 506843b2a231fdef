"""The machine against the dumb model, on whatever Hypothesis thinks of.

Commands are grouped into log entries as they come, so most rules are tried both
alone and in company. The laws hold after every entry.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raftstate.core import checkpoint_queries, queries, stream_queries
from raftstate.core.events import event_hash
from raftstate.core.hashing import full_hash
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Lifecycle
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, Label
from raftstate.v1.store_pb2 import Command, Outcome
from tests.core.bench import (
    EPOCH,
    Bench,
    close_session,
    event,
    expire_ownership,
    expire_session,
    open_session,
    reason,
    replayed,
)
from tests.core.model import Model, ModelAgent

SESSIONS = st.sampled_from(["s1", "s2", "s3"])
# Who calls: a session, which is opened before if it has ended, but not always.
CALLERS = st.tuples(SESSIONS, st.sampled_from([True] * 7 + [False]))
# One is a prefix of the other: their rows must not mix.
AGENTS = st.sampled_from(["a", "a/b", "a0"])
MODES = st.sampled_from(["IF_FREE", "FORCE", "WAIT"])
LABELS = st.lists(st.sampled_from("xyz"), unique=True, max_size=2).map(
    lambda names: [Label(name=name, value="1") for name in names]
)
EVENTS = st.lists(st.tuples(st.sampled_from(["t", "u"]), st.binary(max_size=3)), max_size=3)
CHECKPOINTS = st.none() | st.binary(max_size=3)
# Which grant to write under: counted from the newest, and one that nobody made.
AGES = st.sampled_from([0, 0, 0, 0, 1, 2, 9, -1])
# How many touches an expiry has missed.
LATE = st.sampled_from([1, 2, 3, 0])
RARELY = st.sampled_from([False, False, False, True])
MANY = 1 << 40
# Refusals of a request id, which there is nothing to remember by. (The requests here
# keep all limits but that of the window.)
UNRECORDED = {
    *("SESSION_EXPIRED", "REQUEST_ID_REUSED", "OUTCOME_FORGOTTEN", "INVALID_REQUEST"),
}


def request_of(command: Command) -> object:
    return getattr(command, str(command.WhichOneof("body")))


class MachineRules(RuleBasedStateMachine):
    """One machine, one model, and a client that does anything it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.model = Model(EPOCH)
        self.pending: list[Command] = []
        self.expected: list[tuple[str, int]] = []
        self.sent: list[Command] = []
        # The first outcome under each request id, for as long as it is remembered.
        self.first: dict[tuple[str, int, int], Outcome] = {}

    # --- plumbing ------------------------------------------------------------

    def propose(self, command: Command) -> None:
        self.pending.append(command)
        self.expected.append(self.model.apply(command))
        for session_id, session in self.model.sessions.items():
            if self.bench.opened.get(session_id) != session.opened:
                self.bench.opened[session_id] = session.opened
                self.bench.sequences[session_id] = 0

    def mutate(self, command: Command) -> None:
        self.sent.append(command)
        self.propose(command)

    @rule(at=st.integers(0, 1000))  # not in order: leaders' clocks disagree
    def commit(self, at: int) -> None:
        """One log entry of all that is pending."""
        before = self.bench.machine.log_time_ms
        commands, expected = self.pending, self.expected
        self.pending, self.expected = [], []
        # The model has told already what clients remember of their sessions.
        known = self.bench.opened.copy(), self.bench.sequences.copy()
        outcomes = self.bench.apply(*commands, at=at)
        self.bench.opened, self.bench.sequences = known
        said = [(reason(o) or str(o.WhichOneof("result")), o.revision) for o in outcomes]
        assert said == expected
        if commands:
            assert self.bench.machine.log_time_ms == max(before, at)
        for command, outcome in zip(commands, outcomes, strict=True):
            self.check_exactly_once(command, outcome)

    def check_exactly_once(self, command: Command, outcome: Outcome) -> None:
        request = request_of(command)
        if not hasattr(request, "request_id") or reason(outcome) in UNRECORDED:
            return
        identity = request.request_id
        name = (identity.session_id, identity.opened_revision, identity.sequence)
        # Labels fit into the record here, so even the bytes are the same.
        assert self.first.setdefault(name, outcome) == outcome

    def session(self, caller: tuple[str, bool]) -> str:
        session, careful = caller
        if careful and session not in self.model.sessions:
            self.propose(open_session(session))
        return session

    def fence(self, agent: str, age: int) -> FencingToken:
        grants = self.model.grants.get(agent, [])
        if age < 0 or not grants:
            return FencingToken(epoch=EPOCH, revision=self.model.revision + 1_000)
        epoch, revision = grants[max(len(grants) - 1 - age, 0)]
        return FencingToken(epoch=epoch, revision=revision)

    @initialize(agent=AGENTS)
    def begin(self, agent: str) -> None:
        """Somebody is at work already."""
        self.propose(open_session("s1"))
        self.mutate(self.bench.acquire("s1", agent))

    # --- what clients do -----------------------------------------------------

    @rule(session=SESSIONS, ttl=st.sampled_from([0, 0, 0, 10_000, 2_000]))
    def open(self, session: str, ttl: int) -> None:
        self.propose(open_session(session, ttl))

    @rule(caller=CALLERS, agent=AGENTS, mode=MODES, create=st.booleans())
    def acquire(self, caller: tuple[str, bool], agent: str, mode: str, create: bool) -> None:
        self.mutate(self.bench.acquire(self.session(caller), agent, mode, create=create))

    @rule(
        caller=CALLERS,
        agent=AGENTS,
        age=AGES,
        off=st.sampled_from([None, None, 0, 0, 0, 1, -1]),
        events=EVENTS,
        saved=CHECKPOINTS,
    )
    def step(
        self,
        caller: tuple[str, bool],
        agent: str,
        age: int,
        off: int | None,
        events: list[tuple[str, bytes]],
        saved: bytes | None,
    ) -> None:
        known = self.model.agents.get(agent, ModelAgent())
        expect = None if off is None else max(known.step + off, 0)
        self.mutate(
            self.bench.step(
                known.owner if known.owner and age == 0 else self.session(caller),
                agent,
                self.fence(agent, age),
                *(event(kind, data) for kind, data in events),
                expect=expect,
                checkpoint=None if saved is None else NewCheckpoint(data=saved),
            )
        )

    @precondition(lambda self: any(each.owner for each in self.model.agents.values()))
    @rule(data=st.data(), events=EVENTS, saved=CHECKPOINTS)
    def work(
        self, data: st.DataObject, events: list[tuple[str, bytes]], saved: bytes | None
    ) -> None:
        """An owner does its job."""
        owned = sorted(name for name, each in self.model.agents.items() if each.owner)
        agent = data.draw(st.sampled_from(owned))
        known = self.model.agents[agent]
        self.mutate(
            self.bench.step(
                str(known.owner),
                agent,
                self.fence(agent, 0),
                *(event(kind, data) for kind, data in events),
                expect=known.step,
                checkpoint=None if saved is None else NewCheckpoint(data=saved),
            )
        )

    @rule(caller=CALLERS, agent=AGENTS, age=AGES)
    def release(self, caller: tuple[str, bool], agent: str, age: int) -> None:
        self.mutate(self.bench.release(self.session(caller), agent, self.fence(agent, age)))

    @rule(caller=CALLERS, agent=AGENTS, labels=LABELS, new=st.booleans())
    def label(
        self, caller: tuple[str, bool], agent: str, labels: list[Label], new: bool
    ) -> None:
        make = self.bench.create if new else self.bench.update
        self.mutate(make(self.session(caller), agent, labels))

    @rule(caller=CALLERS, agent=AGENTS, way=st.sampled_from("hrrrx"))
    def move(self, caller: tuple[str, bool], agent: str, way: str) -> None:
        if way == "x" and agent != "a0":
            return  # retiring everything at once leaves little to do
        makers = {"h": self.bench.halt, "r": self.bench.resume, "x": self.bench.retire}
        self.mutate(makers[way](self.session(caller), agent))

    # --- what clients repeat, forget and confuse -----------------------------

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), low=st.sampled_from([0, 0, 1, 2, 5]))
    def retry(self, data: st.DataObject, low: int) -> None:
        """The same request again, with a newer opinion of what is unfinished."""
        command = Command()
        command.CopyFrom(data.draw(st.sampled_from(self.sent[-20:])))
        request_of(command).request_id.lowest_unfinished = low  # type: ignore[attr-defined]
        self.propose(command)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), agent=AGENTS)
    def reuse(self, data: st.DataObject, agent: str) -> None:
        """The same request id, with another payload or kind."""
        command = Command()
        command.CopyFrom(data.draw(st.sampled_from(self.sent[-20:])))
        request_of(command).agent_id = agent  # type: ignore[attr-defined]
        self.propose(command)

    @rule(session=SESSIONS, agent=AGENTS, ahead=st.sampled_from([1_023, 1_024]))
    def hurry(self, session: str, agent: str, ahead: int) -> None:
        """A request at the edge of the window, or just beyond it."""
        known = self.model.sessions.get(session)
        low = known.low if known else 1
        command = self.bench.resume(session, agent)
        request_id = command.resume_agent.request_id
        request_id.lowest_unfinished, request_id.sequence = low, low + ahead
        self.propose(command)

    # --- what leaders and operators do ---------------------------------------

    @rule(session=SESSIONS, really=RARELY)
    def close(self, session: str, really: bool) -> None:
        if really:
            self.propose(close_session(session))

    @rule(session=SESSIONS, late=LATE)
    def expire_session(self, session: str, late: int) -> None:
        known = self.model.sessions.get(session)
        touched = known.touched if known else self.model.revision
        self.propose(expire_session(session, max(touched - late, 0)))

    @rule(agent=AGENTS, late=LATE, age=AGES)
    def expire_ownership(self, agent: str, late: int, age: int) -> None:
        touched = self.model.agents.get(agent, ModelAgent()).touched
        fence = self.fence(agent, age)
        self.propose(expire_ownership(agent, fence, max(touched - late, 0)))

    # --- the laws ------------------------------------------------------------

    @invariant()
    @precondition(lambda self: not self.pending)
    def the_state_is_what_the_model_says(self) -> None:
        store = self.bench.store
        assert queries.revision(store) == self.model.revision
        assert stream_queries.last_position(store) == self.model.positions
        records = {each.session.session_id: each for each in queries.sessions_all(store)}
        assert {
            name: (each.session.opened_revision, each.touched_revision, each.forgotten_below)
            for name, each in records.items()
        } == {
            name: (each.opened, each.touched, each.low)
            for name, each in self.model.sessions.items()
        }
        agents = queries.list_agents(store, "", "", MANY)
        assert [agent.agent_id for agent in agents] == sorted(self.model.agents)
        for agent in agents:
            known = self.model.agents[agent.agent_id]
            assert Lifecycle.Name(agent.lifecycle) == f"LIFECYCLE_{known.lifecycle}"
            assert agent.owner.session_id == (known.owner or "")
            assert agent.HasField("owner") == (agent.lifecycle == Lifecycle.LIFECYCLE_ACTIVE)
            assert token_key(agent.newest_fence) == (known.newest or (0, 0))
            assert agent.head.step == known.step
            assert [(each.name, each.value) for each in agent.labels] == known.labels
        owners = {agent.agent_id for agent in agents if agent.HasField("owner")}
        assert {agent.agent_id for agent in queries.owned_agents(store)} == owners

    @invariant()
    @precondition(lambda self: not self.pending)
    def events_are_what_the_model_says_and_chained(self) -> None:
        store = self.bench.store
        for name, known in self.model.agents.items():
            events = stream_queries.read_events(store, name, 1, MANY, MANY)
            assert [(e.position, e.type, e.data) for e in events] == known.events
            assert [e.seq for e in events] == list(range(1, len(events) + 1))
            previous = b""
            for each in events:
                assert each.stream_id == name
                assert each.hash == event_hash(previous, each)
                previous = each.hash
            assert self.bench.agent(name).head.event_hash == previous
            saved = checkpoint_queries.list_checkpoints(store, name, 0, MANY).checkpoints
            numbers = [found.checkpoint_id for found in saved]
            assert numbers == list(range(len(known.checkpoints), 0, -1))
            for number, (step, seq, data) in enumerate(known.checkpoints, 1):
                found = checkpoint_queries.get_checkpoint(store, name, number)
                assert found is not None
                assert (found.step, found.event_seq) == (step, seq)
                assert checkpoint_queries.read_data(store, found) == data

    @invariant()
    @precondition(lambda self: not self.pending)
    def positions_have_no_gap(self) -> None:
        events = stream_queries.read_all(self.bench.store, 1, MANY, MANY).events
        assert [each.position for each in events] == list(range(1, self.model.positions + 1))
        revisions = [each.revision for each in events]
        assert revisions == sorted(revisions)

    @invariant()
    @precondition(lambda self: not self.pending)
    def the_kept_hash_is_the_hash(self) -> None:
        assert self.bench.machine.state_hash == full_hash(self.bench.store)

    def teardown(self) -> None:
        """Another replica that is given the log twice ends with the same bytes."""
        self.commit(at=0)
        assert replayed(self.bench.log, times=2) == self.bench.store
        assert replayed(self.bench.log) == self.bench.store


TestMachineRules = MachineRules.TestCase
TestMachineRules.settings = settings(max_examples=2 * settings().max_examples)
