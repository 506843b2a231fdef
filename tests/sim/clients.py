"""Agents and readers, as scripts in virtual time.

A script is a generator that yields what it waits for. The scripts do what the SDK
does: find the leader by hints, time out, send the same request again under the same
id, to another member or to two at once, and call a failure definite only if every
attempt's was. They also do what a careful client would not: write under a token that
may be stale, expect a head that is wrong, and die without a word.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from jepsen_like.checkers.exactly_once import Ending, StepOp
from jepsen_like.checkers.fencing import Fact
from jepsen_like.checkers.fencing import Kind as FactKind
from jepsen_like.checkers.history import Recorder
from raftstate.core.ports import KeepAliveResult, Unavailable
from raftstate.core.types import MemberId, token_key
from raftstate.v1 import agent_service_pb2 as agents
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    HaltAgentRequest,
    ReleaseOwnershipRequest,
    ResumeAgentRequest,
)
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, RequestId
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.session_service_pb2 import CloseSessionRequest, OpenSessionRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import Command, Outcome, Reason, Refusal
from tests.sim import invariants
from tests.sim.node import AgentRead, Completed, Granted, Kind, Request, Told
from tests.sim.tasks import Place, Script, Task, Wait

# A refusal that says nothing about whether an earlier attempt happened.
MUTE = {Reason.REASON_SESSION_EXPIRED, Reason.REASON_OUTCOME_FORGOTTEN}


@dataclass(frozen=True, slots=True)
class Habits:
    """How the clients of one run behave; drawn from its seed."""

    agents: int
    workers: int
    readers: int
    clerks: int  # see `registers`
    operator: bool
    think_s: float
    glance_s: float  # how often a reader looks
    timeout_s: float
    patience_s: float
    session_ttl_ms: int
    ownership_ttl_ms: int
    renews: bool  # whether owners keep their ownership alive beside the session
    twice: float  # how often a request is sent to two members at once
    loss: float  # how often a request or an answer is lost
    delay_s: float


@dataclass(slots=True)
class Fleet:
    """All clients of a world, and what they were told."""

    place: Place
    habits: Habits
    rng: random.Random
    ops: list[StepOp] = field(default_factory=list)
    history: Recorder = field(default_factory=Recorder)
    facts: list[Fact] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)  # agent -> head step told so far
    kept: dict[str, tuple[float, float]] = field(default_factory=dict)  # session: sent, ttl
    broken: set[str] = field(default_factory=set)
    workers: list[Worker] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    sleepers: dict[Wait, None] = field(default_factory=dict)
    closing: bool = False
    acked: int = 0
    reads: int = 0
    refused_stale: int = 0
    retried: int = 0
    worker_kills: int = 0
    _requests: int = 0
    _names: int = 0

    def begin(self) -> None:
        """Start everybody."""
        for number in range(self.habits.workers):
            self.place.after(self.rng.uniform(0, 1), lambda n=number: self._hire(n))  # type: ignore[misc]
        for _ in range(self.habits.readers):
            self.spawn(ReadingClient(self).life())
        if self.habits.operator:
            self.spawn(Operator(self).life())

    def spawn(self, script: Script) -> Task:
        """Run a script."""
        task = Task(self.place, script)
        self.tasks.append(task)
        self.place.after(0.0, task.resume)
        return task

    def _hire(self, number: int) -> None:
        """A worker process starts, for the agent that its number says."""
        if not self.closing:
            worker = Worker(self, number % self.habits.agents)
            self.workers.append(worker)
            worker.task = self.spawn(worker.life())

    def kill_one(self) -> None:
        """A worker gets a kill -9; its host's stream breaks, and another one starts."""
        alive = [worker for worker in self.workers if not worker.task.done]
        if not alive:
            return
        worker = self.rng.choice(alive)
        self.worker_kills += 1
        self.place.trace("kill worker", worker.name)
        worker.die()
        self.place.after(self.rng.uniform(0.0, 2.0), lambda: self._hire(worker.number))

    def close(self) -> None:
        """Let everybody finish what they are at, and begin nothing new."""
        self.closing = True
        sleepers, self.sleepers = self.sleepers, {}
        for wait in sleepers:
            wait.give(None)

    @property
    def idle(self) -> bool:
        """Whether every script has ended."""
        return all(task.done for task in self.tasks)

    def name(self, kind: str) -> str:
        """A name that nobody had."""
        self._names += 1
        return f"{kind}-{self._names}"

    def ask(self, to: MemberId, kind: Kind, body: Any, give: Callable[[Told], None]) -> Request:
        """Send a request to a member; the answer, if any, comes later."""
        self._requests += 1
        node, place = self.place.nodes[to], self.place
        lost = self.rng.random() < self.habits.loss
        delays = [self.rng.uniform(0.0001, self.habits.delay_s) for _ in range(2)]

        def answer(told: Told) -> None:
            if not (lost and lose_answer):
                place.after(delays[1], lambda: give(told))

        lose_answer = self.rng.random() < 0.7
        request = Request(self._requests, kind, body, answer)
        if not lost or lose_answer:
            place.after(delays[0], lambda: node.serve(request))
        return request

    def cancel(self, to: MemberId, request: Request) -> None:
        """Hang up: the member hears of it a little later, or never."""
        if self.rng.random() >= self.habits.loss:
            node = self.place.nodes[to]
            delay = self.rng.uniform(0.0001, self.habits.delay_s)
            self.place.after(delay, lambda: node.cancel(request))

    def learned(self, agent_id: str, step: int) -> None:
        """A client knows now that the agent came so far."""
        self.known[agent_id] = max(self.known.get(agent_id, 0), step)

    def judge_expiry(self, session_id: str) -> None:
        """Hold an expiry, if there was one, against the keep-alive answered last."""
        when = self.place.checks.expired.get(session_id)
        if when is not None and session_id in self.kept and session_id not in self.broken:
            sent, ttl_s = self.kept[session_id]
            invariants.expiry_is_not_early(session_id, when - sent, ttl_s)


class Client:
    """What every kind of client can do."""

    def __init__(self, fleet: Fleet, kind: str) -> None:
        self.fleet = fleet
        self.place = fleet.place
        self.habits = fleet.habits
        self.name = fleet.name(kind)
        self.rng = random.Random(fleet.rng.getrandbits(64))
        self.guess = self.rng.choice(self.members)
        self.session_id = ""
        self.opened_revision = 0
        self.sequence = 0
        self.unfinished: dict[int, None] = {}
        self.session_over = True
        self.sticks = False

    # -- waiting --

    @property
    def members(self) -> list[MemberId]:
        """Whom a client may ask: the machines that are in use."""
        return sorted(one.member_id for one in self.place.nodes.values() if not one.retired)

    def sleep(self, seconds: float) -> Script:
        """Let time go by, or less when the run ends."""
        if not self.fleet.closing:
            wait = Wait(seconds)
            self.fleet.sleepers[wait] = None
            yield wait
            self.fleet.sleepers.pop(wait, None)

    def think(self) -> Script:
        """Let a drawn time go by; now and then a long one."""
        long = 20.0 if self.rng.random() < 0.01 else 1.0
        yield from self.sleep(self.rng.expovariate(1.0 / self.habits.think_s) * long)

    # -- calls --

    def call(
        self, kind: Kind, body: Any, hear: Callable[[Told], None] = lambda told: None
    ) -> Generator[Wait, None, tuple[Told | None, bool]]:
        """Ask until there is an answer or patience ends: the answer, and whether
        every attempt without one definitely did not happen."""
        definite = True
        back_off_s = 0.02
        deadline = self.place.now + self.habits.patience_s
        while True:
            wait = Wait(self.habits.timeout_s * self.rng.uniform(0.5, 1.5))
            asked = [self.guess]
            if self.rng.random() < self.habits.twice:
                asked.append(self.rng.choice(self.members))
                definite = False

            def give(told: Told, wait: Wait = wait) -> None:
                hear(told)
                wait.give(told)

            requests = [(to, self.fleet.ask(to, kind, body, give)) for to in asked]
            yield wait
            told = wait.value
            if told is not None and not isinstance(told, Unavailable):
                return told, definite
            self.fleet.retried += 1
            definite = self._learn(told, requests) and definite
            if self.place.now >= deadline and not self.fleet.closing:
                return None, definite
            yield Wait(back_off_s * self.rng.uniform(0.5, 1.5))
            back_off_s = min(0.15, back_off_s * 2)

    def _learn(self, told: Told | None, requests: list[tuple[MemberId, Request]]) -> bool:
        """Choose whom to ask next; say whether the attempt did not happen for sure."""
        if isinstance(told, Unavailable) or not self.sticks:
            self.guess = self.rng.choice(self.members)
        if not isinstance(told, Unavailable):
            for to, request in requests:
                self.fleet.cancel(to, request)
            return False
        if told.leader is not None:
            self.guess = told.leader
        return told.definite

    def mutate(
        self, fill: Callable[[RequestId], Command]
    ) -> Generator[Wait, None, tuple[Outcome | None, bool, Told | None]]:
        """Send a command under a new request id until it is settled: the outcome, and
        whether a missing or mute one definitely did not happen."""
        self.sequence += 1
        sequence = self.sequence
        self.unfinished[sequence] = None
        command = fill(
            RequestId(
                session_id=self.session_id,
                sequence=sequence,
                lowest_unfinished=min(self.unfinished),
                opened_revision=self.opened_revision,
            )
        )
        heard: list[Outcome] = []
        told, definite = yield from self.call(
            "mutate", command, lambda told: same_again(heard, told)
        )
        del self.unfinished[sequence]
        outcome = outcome_of(told)
        if outcome is not None and outcome.refusal.reason == Reason.REASON_SESSION_EXPIRED:
            self.session_over = True
        return outcome, definite, told

    def read_head(self, agent_id: str) -> Generator[Wait, None, AgentRead | None]:
        """A linearizable read of an agent, judged by what was known before it."""
        floor = self.fleet.known.get(agent_id, 0)
        asked = self.ask_register("read", f"{invariants.HEAD}{agent_id}", None)
        told, _ = yield from self.call("read", agent_id)
        if not isinstance(told, AgentRead):
            self.fleet.history.complete(asked, "fail", self.place.now)
            return None
        step = told.agent.head.step if told.agent is not None else 0
        self.fleet.history.complete(asked, "ok", self.place.now, step)
        invariants.read_is_fresh(agent_id, step, floor)
        self.fleet.learned(agent_id, step)
        self.fleet.reads += 1
        return told

    def ask_register(self, kind: str, key: str, value: Any) -> int:
        """Note that an operation on a register begins."""
        return self.fleet.history.invoke(self.name, kind, key, value, self.place.now)

    # -- sessions --

    def open_session(self) -> Generator[Wait, None, bool]:
        """Open a session under an id of its own, and keep it alive."""
        self.session_id = self.fleet.name("session")
        self.sequence = 0
        self.unfinished = {}
        request = OpenSessionRequest(
            session_id=self.session_id, ttl_ms=self.habits.session_ttl_ms, client=self.name
        )
        told, _ = yield from self.call("mutate", Command(open_session=request))
        outcome = outcome_of(told)
        if outcome is None or not outcome.HasField("open_session"):
            return False
        self.opened_revision = outcome.open_session.session.opened_revision
        self.session_over = False
        return True

    def close_session(self) -> Script:
        """End the session."""
        request = CloseSessionRequest(session_id=self.session_id)
        self.session_over = True
        yield from self.call("mutate", Command(close_session=request))

    def keep_alive(self) -> Script:
        """Keep the session alive while it is used. Runs beside the script."""
        session_id, ttl_s = self.session_id, self.habits.session_ttl_ms / 1000
        while not self.session_over and self.session_id == session_id:
            sent = self.place.now
            wait = Wait(ttl_s / 3)
            self.fleet.ask(self.guess, "keep_session", session_id, wait.give)
            yield wait
            told = wait.value
            if isinstance(told, KeepAliveResult):
                if told.ttl_ms is None:
                    self.session_over = self.session_over or self.session_id == session_id
                    return
                self.fleet.kept[session_id] = (sent, told.ttl_ms / 1000)
                self.fleet.judge_expiry(session_id)
                yield from self.sleep(ttl_s / 3)
            else:
                yield Wait(0.05)


class Worker(Client):
    """One agent process: owns, steps, loses, owns again."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__(fleet, "worker")
        self.number = number
        self.agent_id = f"agent/{number}"
        self.task: Task
        self.helpers: list[Task] = []
        self.payloads = 0
        self.under_way: tuple[tuple[bytes, ...], FencingToken] | None = None

    def life(self) -> Script:
        """From the first session to the end of the run."""
        while not self.fleet.closing:
            opened = yield from self.open_session()
            if not opened:
                continue
            self.helpers.append(self.fleet.spawn(self.keep_alive()))
            while not self.session_over and not self.fleet.closing:
                yield from self.one_term()
                yield from self.think()
            if not self.session_over and self.rng.random() < 0.5:
                yield from self.close_session()
            self.session_over = True

    def die(self) -> None:
        """End as by kill -9."""
        self.task.kill()
        for helper in self.helpers:
            helper.kill()
        if self.under_way is not None:
            self.note("info", *self.under_way)
        if self.session_id and not self.session_over:
            self.fleet.broken.add(self.session_id)
            node, session_id = self.place.nodes[self.guess], self.session_id
            self.place.after(0.001, lambda: node.session_broken(session_id))

    def one_term(self) -> Script:
        """Acquire, step for a while, and let go in one way or another."""
        granted = yield from self.acquire()
        if granted is None:
            return
        fence = granted.outcome.acquire_ownership.ownership.fence
        head: int | None = granted.bundle.agent.head.step
        if self.habits.renews:
            self.helpers.append(self.fleet.spawn(self.renew(fence)))
        for _ in range(self.rng.randint(1, 30)):
            lost, head = yield from self.step(fence, head)
            if lost or self.session_over or self.fleet.closing:
                break
            if head is None:
                read = yield from self.read_head(self.agent_id)
                head = read.agent.head.step if read and read.agent else None
            yield from self.think()
        if self.rng.random() < 0.5 and not self.session_over:
            yield from self.release(fence)
        if self.rng.random() < 0.2 and not self.session_over:
            yield from self.step(fence, None)  # as a process would that noticed nothing

    def acquire(self) -> Generator[Wait, None, Granted | None]:
        """Ask for the agent in a drawn mode."""
        modes = [agents.ACQUIRE_MODE_IF_FREE, agents.ACQUIRE_MODE_WAIT]
        mode = self.rng.choice([*modes, *modes, agents.ACQUIRE_MODE_FORCE])

        def fill(request_id: RequestId) -> Command:
            return Command(
                acquire_ownership=AcquireOwnershipRequest(
                    request_id=request_id,
                    agent_id=self.agent_id,
                    mode=mode,
                    ttl_ms=self.habits.ownership_ttl_ms,
                    holder=self.name,
                    create=True,
                )
            )

        _, _, told = yield from self.mutate(fill)
        if not isinstance(told, Granted):
            return None
        self.fact("grant", told.outcome, told.outcome.acquire_ownership.ownership.fence)
        self.check_bundle(told)
        return told

    def fact(self, kind: FactKind, outcome: Outcome, fence: FencingToken) -> None:
        """Note what the log did under a token, and where."""
        token, place = token_key(fence), outcome.revision
        self.fleet.facts.append(Fact(kind, self.agent_id, self.session_id, token, place))

    def check_bundle(self, granted: Granted) -> None:
        """The bundle is whole: the checkpoint and the events after it make the head."""
        bundle = granted.bundle
        if bundle.agent.newest_fence != granted.outcome.acquire_ownership.ownership.fence:
            return  # read after a later grant
        covered = bundle.checkpoint.event_seq + len(bundle.events)
        invariants.must(
            bundle.more_events or covered == bundle.agent.head.event_seq,
            f"{self.agent_id}: a bundle up to {covered} for head {bundle.agent.head}",
        )

    def step(
        self, fence: FencingToken, head: int | None
    ) -> Generator[Wait, None, tuple[bool, int | None]]:
        """Commit one step: whether ownership is lost, and the head as known then."""
        payloads = tuple(self.payload() for _ in range(self.rng.choice((1, 1, 1, 2, 3))))
        if head is not None and self.rng.random() < 0.03:
            head += self.rng.choice((-1, 1))  # a wrong guess must change nothing
        checkpoint = self.rng.random() < 0.2

        def fill(request_id: RequestId) -> Command:
            request = CommitStepRequest(
                request_id=request_id,
                agent_id=self.agent_id,
                fence=fence,
                expected_step=None if head is None else max(0, head),
                events=[NewEvent(type="did", data=payload) for payload in payloads],
            )
            if checkpoint:
                request.checkpoint.CopyFrom(NewCheckpoint(data=payloads[-1] * 8))
            return Command(commit_step=request)

        self.under_way = (payloads, fence)
        asked = self.ask_to_step(head)
        outcome, definite, _ = yield from self.mutate(fill)
        self.under_way = None
        if outcome is None:
            self.note("fail" if definite else "info", payloads, fence)
            self.fleet.history.complete(asked, "fail" if definite else "info", self.place.now)
            return False, None
        if outcome.HasField("commit_step"):
            step = outcome.commit_step.head.step
            position = outcome.commit_step.first_position
            self.note("ok", payloads, fence, step, position)
            self.fact("write", outcome, fence)
            said = step if head is None else True
            self.fleet.history.complete(asked, "ok", self.place.now, said)
            return False, step
        return self.refused(asked, outcome.refusal, definite, payloads, fence)

    def ask_to_step(self, head: int | None) -> int:
        """Note that a step begins: it moves the register that counts them, if that is
        what it is expected to be."""
        key = f"{invariants.HEAD}{self.agent_id}"
        if head is None:
            return self.ask_register("add", key, 1)
        return self.ask_register("cas", key, (max(0, head), max(0, head) + 1))

    def refused(
        self,
        asked: int,
        refusal: Refusal,
        definite: bool,
        payloads: tuple[bytes, ...],
        fence: FencingToken,
    ) -> tuple[bool, int | None]:
        """Note a refusal: whether ownership is lost, and the head as it says."""
        sure = definite or refusal.reason not in MUTE
        if refusal.reason == Reason.REASON_OUTCOME_FORGOTTEN:
            sure = False
        ending: Ending = "fail" if sure else "info"
        self.note(ending, payloads, fence)
        if refusal.reason == Reason.REASON_CONFLICT:
            self.fleet.history.complete(asked, "ok", self.place.now, False)
        else:
            self.fleet.history.complete(asked, ending, self.place.now)
        if refusal.reason == Reason.REASON_CONFLICT:
            return False, refusal.current_head.step
        self.fleet.refused_stale += refusal.reason == Reason.REASON_FENCED
        return True, None

    def release(self, fence: FencingToken) -> Script:
        """Give the agent back."""

        def fill(request_id: RequestId) -> Command:
            return Command(
                release_ownership=ReleaseOwnershipRequest(
                    request_id=request_id, agent_id=self.agent_id, fence=fence
                )
            )

        outcome, _, _ = yield from self.mutate(fill)
        if outcome is not None and outcome.HasField("release_ownership"):
            self.fact("end", outcome, fence)

    def renew(self, fence: FencingToken) -> Script:
        """Keep the ownership alive. Runs beside the script."""
        query = agents.FenceQuery(agent_id=self.agent_id, fence=fence)
        ttl_s = self.habits.ownership_ttl_ms / 1000
        while not self.session_over and not self.fleet.closing:
            wait = Wait(ttl_s / 3)
            self.fleet.ask(self.guess, "keep_ownership", query, wait.give)
            yield wait
            if isinstance(wait.value, KeepAliveResult) and wait.value.ttl_ms is None:
                return
            yield from self.sleep(ttl_s / 3)

    def payload(self) -> bytes:
        """Bytes that nobody else commits."""
        self.payloads += 1
        return f"{self.name}/{self.payloads}".encode()

    def note(
        self,
        ending: Ending,
        payloads: tuple[bytes, ...],
        fence: FencingToken,
        step: int = 0,
        first_position: int = 0,
    ) -> None:
        """Add an operation to the history."""
        token = token_key(fence)
        self.fleet.ops.append(
            StepOp(self.name, self.agent_id, ending, payloads, token, step, first_position)
        )
        if ending == "ok":
            self.fleet.acked += 1
            self.fleet.learned(self.agent_id, step)
            self.place.trace("acked", self.agent_id, step)


class ReadingClient(Client):
    """Somebody who looks at agents, from the leader and from anywhere. Some stick to
    a member until it sends them away: what a deposed leader says is of interest."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet, "reader")
        self.sticks = self.rng.random() < 0.7

    def life(self) -> Script:
        """Read until the end."""
        while not self.fleet.closing:
            yield from self.sleep(self.rng.expovariate(1.0 / self.habits.glance_s))
            agent_id = f"agent/{self.rng.randrange(self.habits.agents)}"
            if self.rng.random() < 0.8:
                yield from self.read_head(agent_id)
            else:
                yield from self.call("stale", agent_id)


class Operator(Client):
    """A person who halts agents now and then, and lets them go on."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet, "operator")

    def life(self) -> Script:
        """Halt and resume until the end; never leave an agent halted."""
        while not self.fleet.closing:
            yield from self.sleep(self.rng.uniform(3.0, 12.0))
            opened = yield from self.open_session()
            if not opened:
                continue
            agent_id = f"agent/{self.rng.randrange(self.habits.agents)}"
            yield from self.mutate(
                lambda request_id, agent_id=agent_id: Command(  # type: ignore[misc]
                    halt_agent=HaltAgentRequest(request_id=request_id, agent_id=agent_id)
                )
            )
            yield Wait(self.rng.uniform(0.1, 1.0))
            yield from self.mutate(
                lambda request_id, agent_id=agent_id: Command(  # type: ignore[misc]
                    resume_agent=ResumeAgentRequest(request_id=request_id, agent_id=agent_id)
                )
            )


class Prober(Worker):
    """Who proves, after the heal, that the cluster takes new writes."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet, 0)
        self.agent_id = "agent/prober"
        self.wrote = False

    def probe(self) -> Script:
        """Own an agent of its own and commit one step."""
        while not self.wrote:
            opened = yield from self.open_session()
            if not opened:
                continue
            granted = yield from self.acquire()
            if granted is None:
                continue
            fence = granted.outcome.acquire_ownership.ownership.fence
            _, head = yield from self.step(fence, None)
            self.wrote = head is not None


def outcome_of(told: Told | None) -> Outcome | None:
    """The outcome in an answer, if there is one."""
    if isinstance(told, (Granted, Completed)):
        return told.outcome
    return told if isinstance(told, Outcome) else None


def same_again(heard: list[Outcome], told: Told) -> None:
    """Every answer to one request says the same, however often it is asked."""
    outcome = outcome_of(told)
    if outcome is None or outcome.refusal.reason in MUTE:
        return
    if heard:
        invariants.same_answer(heard[0], outcome)
    heard.append(outcome)
