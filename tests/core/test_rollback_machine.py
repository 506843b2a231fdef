"""Any order of steps, effects, verdicts, rollbacks and work at them: the machine holds what
the model says, and what a successor restores is what was kept.

The model searches lists. It says for every rollback where it goes, what stays, and what is
to be undone outside, in which order; and every word of a restored state is that of an event
or of a checkpoint that stayed.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raftstate.core import (
    checkpoint_queries,
    effects,
    keys,
    limits,
    rollback_queries,
    rollbacks,
    stream_queries,
)
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent as AgentRecord
from raftstate.v1.agent_service_pb2 import Lifecycle
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    MarkValidRequest,
    NewCheckpoint,
    NewGroupMember,
    PruneCheckpointsRequest,
    PutGroupCheckpointRequest,
)
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import Claim, CompensationItem, EffectState
from raftstate.v1.event_service_pb2 import TruncateBeforeRequest
from raftstate.v1.recovery_service_pb2 import PutValidatorRequest
from raftstate.v1.rollback_service_pb2 import PlanRollbackRequest, PlanRollbackResponse
from raftstate.v1.store_pb2 import CheckpointBody, ChunkRecord, Command, Outcome, Refusal
from tests.core import effect_story, rollback_story
from tests.core.bench import EPOCH, Bench, event, expire_session, reason, replayed
from tests.core.checkpoint_story import numbers
from tests.core.rollback_model import (
    LIFECYCLES,
    SETTLED,
    Agent,
    Effect,
    Event,
    Goal,
    Plan,
    Saved,
    find,
    take_back,
)

MANY = 1 << 40
NAMES = st.sampled_from("aaab")
BACK = st.sampled_from([0, 0, 1, 1, 2, 3, 5, 8])
FAR = st.sampled_from([1, 2, 3, 4, 5, 0, 7])
KINDS = st.sampled_from(
    ["checkpoint_id", "checkpoint_id", "known_good", "before_event_seq", "revision"]
)
EFFECTS = {
    "READ_ONLY": "",
    "IDEMPOTENT": " undo=x attempts=2",
    "RECONCILABLE": " undo=x ask=y tombstone=no attempts=2",
    "IRREVERSIBLE": "",
}
CLASSES = st.sampled_from(
    ["READ_ONLY", "IDEMPOTENT", "IDEMPOTENT", "RECONCILABLE", "IRREVERSIBLE"]
)
FOUND = st.sampled_from(["done", "not_done"])
SAVES = st.sampled_from(["", "full", "delta", "delta"])


class RollbackMachine(RuleBasedStateMachine):
    """A machine and the model side by side. `v` must say yes to every rollback."""

    def __init__(self) -> None:
        super().__init__()
        self.inline, limits.INLINE_BYTES_MAX = limits.INLINE_BYTES_MAX, 12
        self.bench = Bench()
        self.agents: dict[str, Agent] = {}
        self.plans: dict[int, Plan] = {}
        self.fences: dict[str, tuple[int, int]] = {}
        self.heads: dict[str, tuple[int, int, int]] = {}
        self.groups: dict[str, dict[str, int]] = {}
        self.past: dict[int, dict[str, dict[int, str]]] = {}
        for session in "svw":
            self.bench.open(session)
        request = PutValidatorRequest(
            request_id=self.bench.request_id("v"), name="v", required_in_rollbacks=True
        )
        self.done(Command(put_validator=request))
        for name in "ab":
            self.agents[name] = Agent(name)
            self.acquire(name)
            self.step(name, 1, "full", 1)
            self.step(name, 2, "", 1)

    # --- helpers ---------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.bench.machine.revision

    def send(self, command: Command) -> Outcome:
        return self.bench.one(command, at=self.now * 10)

    def done(self, command: Command, want: str = "") -> bool:
        """Whether a command was done, having been told what it should be."""
        outcome = self.send(command)
        assert reason(outcome) == want, outcome
        return not want

    def record(self, name: str) -> AgentRecord:
        return self.bench.agent(name)

    def fence(self, name: str) -> FencingToken:
        return self.record(name).newest_fence

    def ready(self, name: str) -> Agent:
        """An agent with an owner, if it can have one."""
        agent = self.agents[name]
        if agent.lifecycle == "HALTED":
            self.done(self.bench.resume("s", name))
            agent.lifecycle = "IDLE"
        if agent.lifecycle == "IDLE":
            self.acquire(name)
        return agent

    # --- agents' work ------------------------------------------------------------

    @rule(name=NAMES)
    def acquire(self, name: str) -> None:
        """Again too: a new grant makes what was dispatched UNKNOWN."""
        agent = self.agents[name]
        want = "" if agent.lifecycle in ("IDLE", "ACTIVE") else "AGENT_STATE"
        if self.done(self.bench.acquire("s", name), want):
            agent.lifecycle = "ACTIVE"
            agent.lose_owner(self.now)

    @rule(
        name=NAMES,
        count=st.integers(0, 3),
        save=SAVES,
        stale=st.integers(0, 9),
    )
    def step(self, name: str, count: int, save: str, stale: int) -> None:
        agent = self.ready(name)
        fence = self.fence(name)
        seqs = range(len(agent.events) + 1, len(agent.events) + 1 + count)
        words = tuple(map(str, seqs))
        number, state = agent.head + 1, (*agent.state, *words, f"c{agent.head + 1}")
        newest = agent.saved.get(agent.head)
        base = agent.head if save == "delta" and newest and self.chain(agent) < 4 else 0
        data = state[len(newest.state) :] if base and newest else state
        new = NewCheckpoint(data=" ".join(data).encode(), base_checkpoint_id=base)
        events = [event("e", word.encode()) for word in words]
        if stale == 0:
            fence.revision -= 1
        command = self.bench.step("s", name, fence, *events, checkpoint=new if save else None)
        want = "" if agent.lifecycle == "ACTIVE" else "AGENT_STATE"
        if not self.done(command, want or ("FENCED" if stale == 0 else "")):
            return
        agent.events += [Event(seq, self.now) for seq in seqs]
        if save:
            saved = Saved(number, self.now, len(agent.events), state, base, settled=self.now)
            agent.saved[number], agent.head = saved, number

    def chain(self, agent: Agent) -> int:
        length, at = 0, agent.saved[agent.head]
        while at.base:
            length, at = length + 1, agent.saved[at.base]
        return length

    @rule(name=NAMES, kind=CLASSES, dispatch=st.integers(0, 3), end=st.integers(0, 5))
    def act(self, name: str, kind: str, dispatch: int, end: int) -> None:
        agent = self.ready(name)
        number = len(agent.effects) + 1
        words = f"e{number} class={kind}{EFFECTS[kind]}" + (" dispatch=yes" if dispatch else "")
        new = effect_story.new_effect(words)
        command = effect_story.prepare(self.bench, "s", name, self.fence(name), new)
        if not self.done(command, "" if agent.lifecycle == "ACTIVE" else "AGENT_STATE"):
            return
        made = Effect(name, f"e{number}", number, kind, "PREPARED")
        agent.effects.append(made)
        if dispatch:
            made.state, made.dispatched = "DISPATCHED", self.now
            if end:
                self.close(name, 0, "unknown" if end == 1 else "committed")

    @rule(
        name=NAMES,
        kinds=st.lists(CLASSES, min_size=1, max_size=4),
        saves=st.lists(SAVES, min_size=1, max_size=4),
    )
    def toil(self, name: str, kinds: list[str], saves: list[str]) -> None:
        """Some steps, with effects between them and behind the last."""
        for at, save in enumerate(saves):
            self.step(name, at % 3, save, 1)
            if save == "full" and self.agents[name].lifecycle == "ACTIVE":
                self.vote(name, 0, True)
            for kind in kinds[at : at + 1]:
                self.act(name, kind, 1, 2)
        for at, kind in enumerate(kinds[len(saves) :]):
            self.act(name, kind, at, at % 3)

    @rule(name=NAMES, back=BACK, outcome=st.sampled_from(["committed", "failed", "unknown"]))
    def close(self, name: str, back: int, outcome: str) -> None:
        agent = self.agents[name]
        found = [each for each in agent.effects if each.state == "DISPATCHED"]
        if agent.lifecycle != "ACTIVE" or not found:
            return
        one = found[::-1][back % len(found)]
        closing = effect_story.closing(f"{one.name} {outcome}")
        self.done(effect_story.complete(self.bench, "s", name, self.fence(name), closing))
        one.state = effect_story.OUTCOMES[outcome]
        one.settled = self.now

    @rule(session=st.sampled_from("sw"))
    def die(self, session: str) -> None:
        """The owner goes, or who was at the compensations, in the middle of whatever it is."""
        self.done(expire_session(session, self.bench.touched(session)))
        self.bench.open(session)
        for agent in self.agents.values():
            if session == "s" and agent.lifecycle == "ACTIVE":
                agent.lifecycle = "IDLE"

    # --- checkpoints -------------------------------------------------------------

    def pick(self, name: str, back: int) -> int:
        there = sorted(self.agents[name].saved, reverse=True)
        return there[back % len(there)] if back < 8 else 99

    @rule(name=NAMES, back=BACK, valid=st.sampled_from([True, True, True, False]))
    def vote(self, name: str, back: int, valid: bool) -> None:
        number = self.pick(name, back)
        found = checkpoint_queries.load(self.bench.store, name, number)
        request = MarkValidRequest(
            request_id=self.bench.request_id("v"),
            agent_id=name,
            checkpoint_id=number,
            validator="v",
            valid=valid,
            content_hash=found.content_hash if found else bytes(32),
        )
        if self.done(Command(mark_valid=request), "" if found else "CHECKPOINT_NOT_FOUND"):
            self.agents[name].saved[number].good = valid

    @rule(name=NAMES, keep=st.integers(0, 4))
    def prune(self, name: str, keep: int) -> None:
        """What goes is asked of the store; that it may go is another machine's affair."""
        request = PruneCheckpointsRequest(
            request_id=self.bench.request_id("v"), agent_id=name, keep_last=keep
        )
        self.done(Command(prune_checkpoints=request))
        there = {one.checkpoint_id for one in self.checkpoints(name)}
        saved = self.agents[name].saved
        for number in [each for each in saved if each not in there]:
            assert not saved[number].good and number != self.agents[name].head
            del saved[number]

    @rule(name=NAMES, back=BACK, less=st.integers(0, 2))
    def truncate(self, name: str, back: int, less: int) -> None:
        """Only what a checkpoint reflects goes, and nothing that a successor needs."""
        agent = self.agents[name]
        saved = agent.saved.get(self.pick(name, back))
        if saved is None or saved.event_seq <= less:
            return
        before = saved.event_seq + 1 - less
        request = TruncateBeforeRequest(
            request_id=self.bench.request_id("v"),
            stream_id=name,
            before_seq=before,
            checkpoint_id=saved.number,
        )
        needed = agent.live(agent.saved[agent.head].event_seq, before)
        if self.done(Command(truncate_before=request), "NOT_COVERED" if needed else ""):
            agent.first = max(agent.first, before)

    @rule(group=st.sampled_from("gh"), backs=st.tuples(BACK, BACK))
    def put_group(self, group: str, backs: tuple[int, int]) -> None:
        members = {name: self.pick(name, back) for name, back in zip("ab", backs, strict=True)}
        if group in self.groups or 99 in members.values():
            return
        request = PutGroupCheckpointRequest(
            request_id=self.bench.request_id("s"),
            group_id=group,
            members=[
                NewGroupMember(agent_id=name, checkpoint_id=number)
                for name, number in members.items()
            ],
        )
        self.done(Command(put_group_checkpoint=request))
        self.groups[group] = members

    # --- rollbacks ---------------------------------------------------------------

    def value(self, name: str, kind: str, back: int) -> int:
        """What a target of a kind names."""
        if kind == "checkpoint_id":
            return self.pick(name, back)
        if kind == "known_good":
            return 1
        if kind == "before_event_seq":
            return max(1, len(self.agents[name].events) + 1 - back)
        return max(1, self.now - back * 3)

    @rule(
        names=st.sampled_from(["a", "a", "b", "ab", "g", "h"]),
        kinds=st.tuples(KINDS, KINDS),
        backs=st.tuples(FAR, FAR),
        barrier=st.sampled_from(["REFUSE", "ASK", "ASK", "PROCEED"]),
    )
    def start(
        self, names: str, kinds: tuple[str, str], backs: tuple[int, int], barrier: str
    ) -> None:
        wanted = [
            (name, kind, self.value(name, kind, back))
            for name, kind, back in zip(names, kinds, backs, strict=False)
            if name in self.agents
        ]
        group = "" if wanted else names
        if group and group not in self.groups:
            return
        for name, number in self.groups.get(group, {}).items():
            wanted.append((name, "checkpoint_id", number))
        goals, want = [], ""
        for name, kind, value in sorted(wanted):
            goal = find(self.agents[name], kind, value)
            want = want or (goal if isinstance(goal, str) else "")
            goals += [] if isinstance(goal, str) else [goal]
        targets = [
            rollback_story.to(name, kind, value) for name, kind, value in wanted if not group
        ]
        asked = PlanRollbackRequest(agents=targets, group_id=group)
        plan = rollback_queries.plan_rollback(self.bench.store, asked)
        undo = sorted((each for goal in goals for each in goal.undo()), key=Effect.age)
        if want:
            assert isinstance(plan, Refusal)
        else:
            assert isinstance(plan, PlanRollbackResponse)
            self.compare_plan(plan, goals, undo)
            if barrier == "REFUSE" and any(each.kind == "IRREVERSIBLE" for each in undo):
                want = "ROLLBACK_BARRIER"
        command = rollback_story.start(
            self.bench,
            "w",
            targets,
            group_id=group,
            on_barrier=f"BARRIER_POLICY_{barrier}",
            expected_digest=b"" if isinstance(plan, Refusal) else plan.digest,
        )
        before = self.bench.machine.state_hash, {n: self.record(n) for n in self.agents}
        if self.done(command, want):
            self.started(goals, undo, barrier)
        else:
            assert before[1] == {name: self.record(name) for name in self.agents}

    def compare_plan(
        self, plan: PlanRollbackResponse, goals: list[Goal], undo: list[Effect]
    ) -> None:
        for said, goal in zip(plan.agents, goals, strict=True):
            assert said.agent_id == goal.agent.name
            assert said.checkpoint_id == goal.target.number
            assert said.kept_revision == goal.kept_revision
            last = len(goal.agent.events)
            gone = (goal.kept_seq + 1, last) if goal.kept_seq < last else (0, 0)
            assert (said.first_undone_seq, said.last_undone_seq) == gone
        assert [(one.agent_id, one.effect_id) for one in plan.effects] == [
            (one.agent, one.name) for one in undo
        ]
        assert plan.barriers == sum(one.kind == "IRREVERSIBLE" for one in undo)
        assert plan.events_undone == sum(
            len(goal.agent.live(goal.kept_seq, MANY)) for goal in goals
        )

    def started(self, goals: list[Goal], undo: list[Effect], barrier: str) -> None:
        name = rollback_story.rollback_id(self.now)
        kept = [goal.state for goal in goals]
        for goal in goals:
            take_back(goal, self.now, name)
            goal.agent.rollback = self.now
            fence = token_key(self.fence(goal.agent.name))
            assert fence == (EPOCH, self.now) > self.fences[goal.agent.name]
        for other in self.plans.values():
            for at, effect in enumerate(other.effects):
                if effect in undo and other.states[at] not in SETTLED:
                    other.states[at] = "MOVED"
        self.plans[self.now] = Plan(goals, undo, barrier)
        self.follow(self.now)
        for goal, state in zip(goals, kept, strict=True):
            assert goal.agent.state == state

    def follow(self, number: int) -> None:
        """The agents of a rollback are where it is."""
        plan = self.plans[number]
        for agent in plan.agents:
            agent.lifecycle = LIFECYCLES[plan.state]
            agent.rollback = 0 if plan.over else number

    def under_way(self, back: int) -> int:
        found = [number for number, plan in self.plans.items() if not plan.over]
        return found[back % len(found)] if found else 0

    @precondition(lambda self: self.under_way(0))
    @rule(
        back=st.integers(0, 1),
        ends=st.lists(
            st.sampled_from(["done", "done", "done", "failed", "for_good", "dies"]),
            min_size=1,
            max_size=6,
        ),
        found=FOUND,
    )
    def work(self, back: int, ends: list[str], found: str) -> None:
        """Claim and carry out item after item; one that dies leaves its item to be claimed
        again."""
        number = self.under_way(back)
        plan = self.plans[number]
        plan_id = f"rollback/{rollback_story.rollback_id(number)}"
        for end in ends:
            command = effect_story.claim(self.bench, "w", plan_id)
            if plan.state not in ("COMPENSATING", "BLOCKED"):
                self.done(command, "PLAN_STATE")
                return
            said = self.send(command).claim_compensations
            assert said.HasField("item") == (plan.state == "COMPENSATING")
            if plan.state == "BLOCKED":
                return
            if end == "dies":
                self.die("w")
                continue
            self.undo(plan, plan_id, said.claim, said.item, end, found)
            self.follow(number)

    def undo(
        self,
        plan: Plan,
        plan_id: str,
        claim: Claim,
        item: CompensationItem,
        end: str,
        found: str,
    ) -> None:
        """Carry out the item whose turn it is."""
        at = plan.turn
        effect = plan.effects[at]
        assert (item.position, item.agent_id) == (at + 1, effect.agent)
        assert item.effect_id == effect.name
        assert item.reconcile_first == plan.reconcile[at]
        fence = claim.fence
        if plan.reconcile[at]:
            self.done(effect_story.undone(self.bench, "w", plan_id, fence, at + 1), "CONFLICT")
            self.done(
                effect_story.reconcile(
                    self.bench, "w", effect.agent, fence, effect.name, found, plan_id
                )
            )
            plan.reconcile[at] = False
            effect.state, effect.settled = "RECONCILED", self.now
            if found == "not_done":
                effect.state, plan.states[at] = "NOT_DONE", "NOT_NEEDED"
                return
        self.done(effect_story.undone(self.bench, "w", plan_id, fence, at + 1, end))
        if end == "done":
            effect.state, plan.states[at] = "COMPENSATED", "COMPENSATED"
            return
        plan.failures[at] += 1
        if end == "for_good" or plan.failures[at] >= 2:
            plan.states[at] = "STUCK"

    @precondition(lambda self: self.under_way(0))
    @rule(back=st.integers(0, 1), decision=st.sampled_from(["retry", "by_hand", "proceed"]))
    def decide(self, back: int, decision: str) -> None:
        number = self.under_way(back)
        plan = self.plans[number]
        if plan.state != "BLOCKED":
            return
        at, plan_id = plan.turn, f"rollback/{rollback_story.rollback_id(number)}"
        effect = plan.effects[at]
        want = ""
        if decision == "retry" and plan.states[at] == "BARRIER":
            want = "CONFLICT"
        command = effect_story.decide(self.bench, "v", plan_id, at + 1, decision, "me")
        if self.done(command, want):
            if decision == "retry":
                plan.states[at], plan.failures[at] = "PENDING", 0
            elif decision == "proceed":
                plan.states[at], effect.waived = "WAIVED", True
            else:
                plan.states[at], effect.state = "COMPENSATED", "COMPENSATED"
        self.follow(number)

    @precondition(lambda self: self.under_way(0))
    @rule(back=st.integers(0, 1), votes=st.lists(st.integers(0, 4), min_size=2, max_size=2))
    def judge(self, back: int, votes: list[int]) -> None:
        number = self.under_way(back)
        plan = self.plans[number]
        for agent, vote in zip(plan.agents, votes, strict=False):
            command = rollback_story.judge(
                self.bench,
                "v",
                "v",
                agent.name,
                rollback_id=rollback_story.rollback_id(number),
                passed=bool(vote),
            )
            want = "" if plan.state in ("VALIDATING", "READY") else "PLAN_STATE"
            if self.done(command, want):
                plan.votes[agent.name] = bool(vote)
                self.follow(number)

    @precondition(lambda self: self.under_way(0))
    @rule(back=st.integers(0, 1), failing=st.booleans(), found=FOUND)
    def see_it_through(self, back: int, failing: bool, found: str) -> None:
        """Whatever has become of a rollback, it can be brought to its end."""
        number = self.under_way(back)
        plan = self.plans[number]
        for _ in range(4 * len(plan.effects)):
            self.work(back, ["failed" if failing else "done"], found)
            self.decide(back, "proceed" if failing else "by_hand")
        self.judge(back, [1, 1])
        self.end(list(self.plans)[::-1].index(number), 1)
        assert plan.over == "FINISHED"

    @rule(
        names=st.sampled_from(["a", "a", "a", "b", "ab"]),
        kinds=st.lists(CLASSES, min_size=1, max_size=4),
        saves=st.lists(SAVES, min_size=1, max_size=4),
        ways=st.lists(st.tuples(KINDS, KINDS, FAR, FAR), min_size=1, max_size=3),
        through=st.sampled_from([True, True, True, False]),
        failing=st.booleans(),
    )
    def mishap(
        self,
        names: str,
        kinds: list[str],
        saves: list[str],
        ways: list[tuple[str, str, int, int]],
        through: bool,
        failing: bool,
    ) -> None:
        """Some work, all of which was wrong, and the way back from it; perhaps more of the
        same, or only further back."""
        for at, (*to, near, far) in enumerate(ways):
            if at != 1:
                for name in names:
                    self.toil(name, kinds, saves)
            self.start(names, (to[0], to[1]), (near, far), "ASK")
            if through and self.under_way(0):
                self.see_it_through(0, failing, "done")

    @precondition(lambda self: self.plans)
    @rule(back=st.integers(0, 3), give_up=st.integers(0, 5))
    def end(self, back: int, give_up: int) -> None:
        number = list(self.plans)[::-1][back % len(self.plans)]
        plan, name = self.plans[number], rollback_story.rollback_id(number)
        if give_up == 0:
            command, want = rollback_story.abort(self.bench, "w", name, "why"), ""
            want = "PLAN_STATE" if plan.over else ""
        else:
            command = rollback_story.finish(self.bench, "w", name)
            want = "" if plan.state == "READY" else "PLAN_STATE"
        if self.done(command, want):
            plan.end("ABORTED" if give_up == 0 else "FINISHED", number)
            self.follow(number)

    # --- the laws ------------------------------------------------------------

    def checkpoints(self, name: str) -> list[Checkpoint]:
        return checkpoint_queries.list_checkpoints(
            self.bench.store, name, 0, MANY, scanned_max=MANY
        ).checkpoints

    @invariant()
    def what_a_successor_restores_is_what_was_kept(self) -> None:
        for name, agent in self.agents.items():
            assert rollback_story.restored(self.bench.store, name) == agent.state

    @invariant()
    def nothing_shrinks_and_fences_grow(self) -> None:
        for name, agent in self.agents.items():
            record = self.record(name)
            head = (record.head.step, record.head.event_seq, record.head.checkpoint_id)
            assert all(map(int.__ge__, head, self.heads.get(name, (0, 0, 0))))
            assert head[1:] == (len(agent.events), agent.head)
            self.heads[name] = head
            fence = token_key(record.newest_fence)
            assert fence >= self.fences.get(name, (0, 0))
            assert not record.HasField("owner") or token_key(record.owner.fence) == fence
            self.fences[name] = fence
            assert Lifecycle.Name(record.lifecycle) == f"LIFECYCLE_{agent.lifecycle}"
            want = rollback_story.rollback_id(agent.rollback) if agent.rollback else ""
            assert record.rollback_id == want

    @invariant()
    def history_is_readable(self) -> None:
        """Every event, in its chain, and which rollback undid it; also of the past."""
        shown = {}
        for name, agent in self.agents.items():
            found = stream_queries.read_events(self.bench.store, name, 0, MANY, MANY)
            stream_queries.show_undone(self.bench.store, found)
            shown[name] = {each.seq: each.undone_by for each in found}
            kept = agent.events[agent.first - 1 :]
            assert shown[name] == {each.seq: each.undone_by for each in kept}
            if agent.first <= len(agent.events):
                first = agent.first
                told = stream_queries.verify(self.bench.store, name, first, MANY, MANY)
                assert told.broken_seq == 0
        self.past[self.now] = shown

    @invariant()
    def checkpoints_and_chunks_are_counted(self) -> None:
        store = self.bench.store
        uses: Counter[tuple[str, bytes]] = Counter()
        for name, agent in self.agents.items():
            found = self.checkpoints(name)
            assert {one.checkpoint_id for one in found} == set(agent.saved)
            bases = Counter(one.base_checkpoint_id for one in found)
            may_go = []
            for one in found:
                saved = agent.saved[one.checkpoint_id]
                assert one.dependents == bases[one.checkpoint_id]
                assert (one.base_checkpoint_id, one.event_seq) == (saved.base, saved.event_seq)
                assert (one.known_good, one.revision) == (saved.good, saved.revision)
                assert one.restored_from == saved.restored_from
                raw = store.get(keys.checkpoint_body(name, one.checkpoint_id))
                assert raw is not None
                for chunk in CheckpointBody.FromString(raw).chunks:
                    uses[name, chunk.hash] += 1
                free = one.checkpoint_id != agent.head and not one.known_good
                if free and not one.dependents and not one.groups:
                    may_go.append(one.checkpoint_id)
            assert numbers(store, keys.prunable_of(name)) == sorted(may_go)
            assert self.record(name).prunable == len(may_go)
            start = keys.chunk_record(name, b"")
            for key, raw in store.scan(start, start + b"\xff" * 33):
                assert ChunkRecord.FromString(raw).uses == uses.pop(
                    (name, key[len(start) :]), 0
                )
        assert not uses

    @invariant()
    def effects_and_items_are_what_the_model_says(self) -> None:
        store = self.bench.store
        for name, agent in self.agents.items():
            for each in agent.effects:
                record = effects.named(store, name, each.number)
                want = "RECONCILED" if each.state == "NOT_DONE" else each.state
                assert EffectState.Name(record.state) == f"EFFECT_STATE_{want}"
        for number, plan in self.plans.items():
            rollback = rollbacks.load(store, rollback_story.rollback_id(number))
            assert rollback is not None
            assert rollback_story.state(rollback.state) == plan.state
            found = rollback_queries.items_of(store, rollback.undoing.plan_id)
            assert [(one.agent_id, one.effect_id) for one in found] == [
                (one.agent, one.name) for one in plan.effects
            ]
            states = [effect_story.item_state(one.state) for one in found]
            assert ["PENDING" if one == "CLAIMED" else one for one in states] == plan.states
            assert rollback.undoing.open == sum(one not in SETTLED for one in plan.states)
            if plan.over == "FINISHED":
                # In the order of the list: each was settled at or after the one before.
                barriers = [one.kind == "IRREVERSIBLE" for one in plan.effects]
                times = [
                    one.settled_revision
                    for one, barrier in zip(found, barriers, strict=True)
                    if not barrier
                ]
                assert all(times) and times == sorted(times)

    def teardown(self) -> None:
        """What was undone in the past is told as it was then; and another replica that is
        given the log, once or twice, ends with the same bytes."""
        try:
            store = self.bench.store
            for revision, was in list(self.past.items())[::7]:
                reader = PastReader(store, revision)
                for name, undone in was.items():
                    found = stream_queries.read_events(reader, name, 0, MANY, MANY)
                    stream_queries.show_undone(reader, found)
                    assert all(undone[each.seq] == each.undone_by for each in found)
            assert self.bench.machine.state_hash == full_hash(store)
            assert replayed(self.bench.log) == store
            assert replayed(self.bench.log, times=2) == store
        finally:
            limits.INLINE_BYTES_MAX = self.inline


TestRollbackMachine = RollbackMachine.TestCase
TestRollbackMachine.settings = settings(
    max_examples=max(settings().max_examples // 2, 30), stateful_step_count=40
)
