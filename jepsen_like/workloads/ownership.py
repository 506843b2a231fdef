"""Ownership: one at a time, and writers of the past write nothing, wherever they write.

Programs in processes of their own take turns at a few agents. While one owns an agent it
writes steps into the store and values into an outside resource, both under its fencing
token, and it counts on a counter that nothing guards. It does so in a thread, in calls
that block: when its process was stopped and goes on, it goes on in the middle of a write,
before anybody could tell it that its time is over. So with clients that are stopped for
longer than an ownership lasts

- what is guarded by tokens loses nothing, in the store and outside;
- the counter that is not guarded must lose an update: if it never does, the run has shown
  nothing, and the verdict is `unknown`.

One operation is one hold. What happened in it is told as facts, in its completion.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from jepsen_like import generator as gen
from jepsen_like import resource
from jepsen_like.checkers import fencing
from jepsen_like.checkers.resolve import key_of, resolve, stored_id
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.clients import ended, said, step_request
from jepsen_like.history import NEMESIS, Pair
from jepsen_like.protocols import (
    Done,
    Generator,
    LoggedEvent,
    Op,
    Record,
    Site,
    Verdict,
    Workload,
)
from jepsen_like.remote import Crew
from jepsen_like.resource import Entry, Outside, Resource, Token
from raftstate.client.calls import deadline_in
from raftstate.client.doing import LOST
from raftstate.client.engine import Engine
from raftstate.client.options import Options
from raftstate.client.own import Claim, Own
from raftstate.client.ownership import AgentHandle
from raftstate.errors import Fenced, NotOwner, RaftStateError
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_IF_FREE,
    ACQUIRE_MODE_WAIT,
    ReleaseOwnershipRequest,
)

NAME: Final = "ownership"
THREADS: Final = 5
RATE: Final = 6.0
KEYS: Final = ("a", "b", "c")
# How long an ownership outlives the last renewal.
TTL_S: Final = 2.0
# Longer than a client is stopped: what refuses it afterwards is the fence, as it should be,
# and not that its session is gone.
SESSION_TTL_S: Final = 20.0
HOLD_S: Final = (0.1, 4.0)
# Between reading the counter and writing it.
PACE_S: Final = (0.1, 0.5)
# Longer than others hold, mostly: one that waits is there to take over.
WAIT_S: Final = (5.0, 10.0)
# How many holds do not wait in line.
IF_FREE: Final = 0.1
STEP_S: Final = 3.0
# One hold: waiting, holding, being stopped in it, and what is under way then.
LIMIT_S: Final = 40.0
STOPS: Final = "pause-clients"  # the fault that is meant for these clients

# What a step is refused with whose ownership has ended.
ENDED: Final = frozenset({Fenced.reason, NotOwner.reason})

Facts = list[dict[str, Any]]


# --- what is done --------------------------------------------------------------


def hold(thread: str, draws: random.Random, count: int) -> Op:
    """The hold of that number of one thread."""
    value = {
        "id": f"o{thread.rpartition('/')[2]}-{count}",
        "agent": draws.choice(KEYS),
        "hold_s": round(draws.uniform(*HOLD_S), 3),
        "pace": round(draws.uniform(*PACE_S), 3),
        "wait_s": 0.0 if draws.random() < IF_FREE else round(draws.uniform(*WAIT_S), 3),
    }
    return Op(NAME, "hold", key=str(value["agent"]), value=value)


def holds(seed: int) -> Generator:
    """Holds for ever; what a thread does depends on the seed and on its name."""
    return gen.PerThread(lambda name: gen.Draw(f"{seed}:{name}", partial(hold, name)))


def last_holds(seed: int, nodes: tuple[str, ...]) -> Generator:
    """A short hold of every agent, when everything is healed."""
    return gen.InOrder(*(Op(NAME, "hold", key=key, value=_last(key)) for key in KEYS))


def _last(key: str) -> dict[str, Any]:
    return {"id": f"o-last-{key}", "agent": key, "hold_s": 0.3, "pace": 0.1, "wait_s": 10.0}


# --- in a process of its own ---------------------------------------------------


def worker(site: Site, thread: int) -> Worker:
    """What a child process makes: see `RemoteClient`."""
    return Worker(site, thread)


class Worker:
    """A client that owns agents through the SDK, and writes in a thread of its own."""

    def __init__(self, site: Site, thread: int) -> None:
        self._site = site
        self._thread = thread
        self._engine: Engine | None = None
        self._outside: Outside | None = None

    async def open(self) -> None:
        self._engine = Engine(
            Options(
                endpoints=self._site.endpoints,
                timeout=STEP_S,
                session_ttl=SESSION_TTL_S,
                client_name=f"jepsen {NAME}/{self._thread}",
                attempt=0.5,
                rng=random.Random(f"{self._site.seed}/{NAME}/{self._thread}/backoff"),
            )
        )
        self._outside = await asyncio.to_thread(Outside, self._site.folder)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()
        if self._outside is not None:
            self._outside.close()

    async def invoke(self, op: Op) -> Done:
        """One hold. It happened if an agent was owned, whatever came of the writes."""
        assert self._engine is not None
        assert self._outside is not None
        program: Program | None = None
        await asyncio.to_thread(self._outside.want, op.key if op.value["wait_s"] else "")
        try:
            async with Own(self._engine, self._claim(op)) as agent:
                program = Program(self._engine, self._outside, op, agent)
                # The block is cancelled when the ownership is lost; the thread is not.
                await asyncio.shield(program.running)
                program.facts.append(await self._give_back(agent))
        except RaftStateError as error:
            if program is None:
                return ended(error)
            program.facts.append({"fact": "lost", "why": said(error)})
        finally:
            if program is not None:
                program.over.set()
                await asyncio.wait({program.running})
        program.running.result()
        return program.told()

    def _claim(self, op: Op) -> Claim:
        waits = op.value["wait_s"]
        return Claim(
            agent_id=f"{self._site.prefix}/{NAME}/{op.key}",
            mode=ACQUIRE_MODE_WAIT if waits else ACQUIRE_MODE_IF_FREE,
            ttl=TTL_S,
            holder=op.value["id"],
            create=True,
            timeout=waits or STEP_S,
        )

    async def _give_back(self, agent: AgentHandle) -> dict[str, Any]:
        """Release it ourselves, for the revision at which it ended."""
        assert self._engine is not None
        agent.release()  # from here on no renewal: it would find that the grant has ended
        request = ReleaseOwnershipRequest(agent_id=agent.agent_id, fence=agent.token)
        try:
            answer = await self._engine.mutate_in(
                agent.session, "release_ownership", request, deadline_in(STEP_S)
            )
        except RaftStateError as error:
            return {
                "fact": "end-refused" if error.definite else "end-unknown",
                "why": said(error),
            }
        return {"fact": "end", "revision": answer.header.revision}


class Program:
    """What an owner does, round by round, in a thread: it blocks, and nobody can end a
    round that it has begun. It stops when its time is over, or when it was refused."""

    def __init__(self, engine: Engine, outside: Outside, op: Op, agent: AgentHandle) -> None:
        """It begins at once."""
        self.over = threading.Event()
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._outside = outside
        self._agent = agent
        self._id: str = op.value["id"]
        self._key = op.key
        self._seconds: float = op.value["hold_s"]
        self._pace: float = op.value["pace"]
        self._token: Token = (agent.token.epoch, agent.token.revision)
        self._silent = 0.0
        self._steps = 0
        self._refused = False
        self.facts: Facts = [{"fact": "grant", "revision": self._token[1]}]
        self.running = self._loop.run_in_executor(None, self._run)

    def told(self) -> Done:
        """How the hold ended."""
        value = {
            "token": list(self._token),
            "silent_s": round(self._silent, 3),
            "facts": self.facts,
        }
        return Done("ok", value, revision=self._token[1])

    def _run(self) -> None:
        """Rounds, for as long as the hold is to last; one at least."""
        until = time.monotonic() + self._seconds
        while True:
            self._round()
            if self._refused or self.over.is_set() or time.monotonic() >= until:
                return

    def _round(self) -> None:
        """The register is opened under the token before the counter is read, so that the
        resource knows of this owner before either is written."""
        opened = self._ask("open")
        if not opened.accepted:
            self._write_down(opened)
            return
        seen = self._ask("get")
        self._work()
        self._ask("put", seen.value + 1)
        self._write_down(self._ask("write", opened.value + 1))
        self._step()

    def _work(self) -> None:
        """Take some time. Whoever is stopped in it does not notice."""
        began = time.monotonic()
        time.sleep(self._pace)
        self._silent = max(self._silent, time.monotonic() - began - self._pace)

    def _ask(self, do: resource.Do, value: int = 0) -> Entry:
        return self._outside.ask(do, self._key, self._id, self._token, value)

    def _write_down(self, entry: Entry) -> None:
        self._refused = self._refused or not entry.accepted
        fact = {"fact": "write" if entry.accepted else "write-refused", "value": entry.value}
        self.facts.append(fact)

    def _step(self) -> None:
        """Commit a step, as one who does not ask whether he may: past the SDK's own guard,
        which would not send it any more when the ownership is known to be over."""
        self._steps += 1
        step_id = f"{self._id}.{self._steps}"
        request = step_request(
            self._agent.agent_id, NAME, {"id": step_id, "token": list(self._token)}
        )
        request.fence.CopyFrom(self._agent.token)
        sending = asyncio.run_coroutine_threadsafe(
            self._engine.mutate_in(
                self._agent.session, "commit_step", request, self._loop.time() + STEP_S
            ),
            self._loop,
        )
        fact: dict[str, Any] = {"id": step_id}
        try:
            answer = sending.result()
        except RaftStateError as error:
            self._refused = self._refused or isinstance(error, LOST)
            kind = "step-refused" if error.definite else "step-unknown"
            left = round(self._agent.time_left, 3)
            self.facts.append({"fact": kind, **fact, "reason": error.reason, "left_s": left})
        else:
            where = {"revision": answer.header.revision, "step": answer.head.step}
            self.facts.append({"fact": "step", **fact, **where})


# --- judging -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold as it is judged: what was asked, and what was told of it. The token is None
    if nobody was told that an agent was owned."""

    id: str
    key: str
    outcome: str
    token: Token | None
    facts: Sequence[Mapping[str, Any]]

    def of(self, *kinds: str) -> Iterator[Mapping[str, Any]]:
        """The facts of these kinds."""
        return (fact for fact in self.facts if fact["fact"] in kinds)


@dataclass(frozen=True, slots=True)
class Stored:
    """A step of the committed log: its id, and the token that it was written under."""

    id: str
    key: str
    token: Token
    revision: int
    step: int

    @property
    def hold(self) -> str:
        """The hold that wrote it."""
        return self.id.rpartition(".")[0]


def check(record: Record) -> list[Verdict]:
    """All verdicts on this workload."""
    resolution = resolve(record, NAME)
    held = {one.id: one for one in map(_hold, resolution.pairs)}
    log = () if resolution.unread else resolution.log
    stored = [step for step in map(_stored, log) if step is not None]
    broken = [*resolution.disorder, *_without_token(log)]
    note = record.notes.get(NAME)
    journal = [resource.entry_of(fields) for fields in (note or {}).get("journal", ())]
    unkept = [] if note is None else _unkept(held.values(), journal)
    return [
        _fencing(held, stored, broken, resolution.unread),
        _outside(held, stored, journal, unkept),
        _control(journal, _stops(record)),
    ]


def _hold(pair: Pair) -> Hold:
    told = None if pair.completion is None else pair.completion.value
    told = told if isinstance(told, dict) and "token" in told else {}
    token = _token(told["token"]) if told else None
    asked = pair.invoke
    return Hold(asked.value["id"], asked.key, pair.outcome, token, told.get("facts", ()))


def _stored(event: LoggedEvent) -> Stored | None:
    """The step in the log; None if it cannot be read as one."""
    try:
        data = json.loads(event.data)
    except ValueError:
        return None
    match data:
        case {"id": str(number), "token": [int(epoch), int(place)]}:
            token = (epoch, place)
            return Stored(number, key_of(event), token, event.revision, event.step)
    return None


def _without_token(log: Iterable[LoggedEvent]) -> Iterator[str]:
    """Events with an id, and yet no steps of a hold. Those without are told of already."""
    for event in log:
        if _stored(event) is None and stored_id(event.data) is not None:
            where = f"{event.stream} step {event.step} @{event.revision}"
            yield f"garbled: {where} holds no token: {event.data[:80]!r}"


def _token(pair: Sequence[int]) -> Token:
    epoch, revision = pair
    return epoch, revision


# --- the store ---


def _fencing(
    held: Mapping[str, Hold], stored: Sequence[Stored], broken: Sequence[str], unread: str
) -> Verdict:
    """Grants are disjoint, tokens rise, and no step was written under one of the past.
    `broken` is what is wrong with the log whoever wrote it."""
    facts = {*_told(held.values()), *_written(stored)}
    wrong = [*fencing.check(facts, all_grants=False), *_early(held.values()), *broken]
    if not unread:
        wrong += _broken_words(held, stored)
    grants = [fact for fact in facts if fact.kind == "grant"]
    unsure = [unread] if unread else []
    if not grants:
        unsure.append("no agent was ever owned")
    steps = Counter(fact["fact"] for hold in held.values() for fact in hold.facts)
    figures = {
        "holds": len(held),
        "owned": len(grants),
        "given_back": steps["end"],
        "steps": steps["step"],
        "steps_refused": steps["step-refused"],
        "steps_unknown": steps["step-unknown"],
        "lost": sum(text.startswith("lost:") for text in wrong),
    }
    summary = (
        f"{len(grants)} grants, one at a time; {steps['step']} steps under them,"
        f" {steps['step-refused']} refused"
    )
    return verdict(f"{NAME}:fencing", summary, wrong=wrong, unsure=unsure, figures=figures)


def _told(held: Iterable[Hold]) -> Iterator[fencing.Fact]:
    """What clients were told for certain, with its place in the log."""
    kinds: Mapping[str, fencing.Kind] = {"grant": "grant", "step": "write", "end": "end"}
    for hold in held:
        if hold.token is not None:
            for fact in hold.of(*kinds):
                kind = kinds[fact["fact"]]
                yield fencing.Fact(kind, hold.key, hold.id, hold.token, fact["revision"])


def _written(stored: Iterable[Stored]) -> Iterator[fencing.Fact]:
    """What the log says, whether or not anybody was told."""
    for step in stored:
        yield fencing.Fact("write", step.key, step.hold, step.token, step.revision)


def _early(held: Iterable[Hold]) -> Iterator[str]:
    """Ownerships that the store ended while their owners could still count on them: by
    their own clocks, from when they had sent the newest renewal that was acknowledged.
    Nobody takes an agent by force here, and whoever lost the session is told so."""
    for hold in held:
        for fact in hold.of("step-refused"):
            left = fact.get("left_s", 0.0)
            if fact["reason"] in ENDED and left > 0.0:
                yield (
                    f"early: step {fact['id']} was refused with {fact['reason']}, and the"
                    f" ownership was to last for another {left:g} s"
                )


def _broken_words(held: Mapping[str, Hold], stored: Sequence[Stored]) -> list[str]:
    """Where clients were told otherwise than the log says."""
    wrong = []
    by_id: dict[str, Stored] = {}
    for step in stored:
        if by_id.setdefault(step.id, step) is not step:
            wrong.append(f"double: step {step.id} is stored @{step.revision} as well")
        hold = held.get(step.hold)
        if hold is None or step.key != hold.key:
            wrong.append(f"stranger: step {step.id} of {step.key} was sent by no hold")
        elif hold.outcome == "fail":
            wrong.append(f"resurrected: {step} is of a hold that failed")
        elif hold.token not in (None, step.token):
            wrong.append(f"stranger: {step} was written under a token of another hold")
    for hold in held.values():
        for fact in hold.of("step", "step-refused"):
            found = by_id.get(fact["id"])
            if fact["fact"] == "step-refused":
                if found is not None:
                    wrong.append(f"resurrected: {found} was refused with {fact['reason']}")
            elif found is None:
                wrong.append(f"lost: step {fact['id']} was acknowledged @{fact['revision']}")
            elif (found.revision, found.step) != (fact["revision"], fact["step"]):
                where = f"@{fact['revision']} as step {fact['step']}"
                wrong.append(f"moved: {found} was acknowledged {where}")
    return wrong


# --- the resource ---


def _outside(
    held: Mapping[str, Hold],
    stored: Iterable[Stored],
    journal: Sequence[Entry],
    unkept: Sequence[str],
) -> Verdict:
    """The resource took nothing under a token of the past, so that no update was lost, and
    nothing under a token that was never granted; and its journal keeps its word."""
    taken = [entry for entry in journal if entry.do == "write" and entry.accepted]
    refused = [entry for entry in journal if not entry.accepted]
    strangers, unproven = _strangers(held, stored, journal)
    figures = {"writes": len(taken), "refused": len(refused), "unproven": unproven}
    return verdict(
        f"{NAME}:resource",
        f"{len(taken)} writes under tokens that never fell; {len(refused)} of the past refused",
        wrong=[*_fallen(journal), *strangers, *unkept],
        unsure=[] if taken else ["nothing was written to the outside resource"],
        figures=figures,
    )


def _fallen(journal: Iterable[Entry]) -> Iterator[str]:
    """What was taken under a token below the highest, or refused for no reason; and what
    was written over without having been read."""
    highest: dict[str, Token] = {}
    values: dict[str, int] = {}
    for entry in journal:
        if entry.do not in ("open", "write"):
            continue
        before = highest.get(entry.name, (0, 0))
        if entry.accepted != (entry.token >= before):
            what = "taken" if entry.accepted else "refused"
            yield f"token: {entry} was {what}; the highest was {before}"
        highest[entry.name] = max(before, entry.token)
        if entry.do == "write" and entry.accepted:
            expected = values.get(entry.name, 0) + 1
            if entry.value != expected:
                yield f"update: {entry} was taken where {expected} was to follow"
            values[entry.name] = entry.value


def _unkept(held: Iterable[Hold], journal: Iterable[Entry]) -> list[str]:
    """What writers were told of the resource and its journal does not say. A write may
    have been refused when the register was opened for it."""
    kept: Counter[tuple[Any, ...]] = Counter(
        (one.hold, one.name, one.token, one.accepted, one.value)
        for one in journal
        if one.do == "write" or (one.do == "open" and not one.accepted)
    )
    told: Counter[tuple[Any, ...]] = Counter(
        (hold.id, hold.key, hold.token, fact["fact"] == "write", fact["value"])
        for hold in held
        for fact in hold.of("write", "write-refused")
    )
    return [
        f"lost: {who} was told that {value} of {name} was {'taken' if taken else 'refused'}"
        f" under {token}, and the journal does not say so"
        for who, name, token, taken, value in told - kept
    ]


def _strangers(
    held: Mapping[str, Hold], stored: Iterable[Stored], journal: Iterable[Entry]
) -> tuple[list[str], int]:
    """Who was let in without having been granted what he came with; and how many nobody
    can tell of, because the end of their hold is not known."""
    granted = {(hold.key, hold.token): hold.id for hold in held.values()}
    granted |= {(step.key, step.token): step.hold for step in stored}
    wrong: list[str] = []
    unproven = 0
    entered = {(one.name, one.token): one.hold for one in journal if one.accepted}
    for (name, token), who in entered.items():
        hold = held.get(who)
        owner = granted.get((name, token))
        if owner is None and hold is not None and hold.key == name and hold.outcome == "info":
            unproven += 1
        elif owner != who:
            wrong.append(f"stranger: {who} came to {name} under {token}, granted to {owner}")
    return wrong, unproven


# --- the control ---


def _stops(record: Record) -> int:
    """How often the nemesis stopped clients."""
    return sum(
        event.process == NEMESIS
        and (event.f, event.key, event.type) == (STOPS, "begin", "info")
        and not event.error
        for event in record.events
    )


def _control(journal: Sequence[Entry], stops: int) -> Verdict:
    """The counter without a guard must lose an update where clients were stopped: otherwise
    the guarded register was never put to the test."""
    puts: Counter[str] = Counter(entry.name for entry in journal if entry.do == "put")
    last = {entry.name: entry.value for entry in journal if entry.do == "put"}
    lost = sum(puts[name] - last[name] for name in puts)
    silent = _silences(journal)
    unsure = []
    if not puts:
        unsure.append("nobody counted on the counter without a guard")
    elif (stops or silent) and not lost:
        unsure.append(
            f"clients were stopped ({stops} faults, {silent} holds silent for longer than"
            f" {TTL_S:g} s), and the counter without a guard lost no update"
        )
    if lost:
        summary = f"without a guard {lost} of {puts.total()} updates were lost"
    else:
        summary = f"no client was ever stopped, and none of {puts.total()} updates was lost"
    figures = {
        "updates": puts.total(),
        "updates_lost": lost,
        "stops": stops,
        "silent_holds": silent,
    }
    return verdict(f"{NAME}:control", summary, unsure=unsure, figures=figures)


def _silences(journal: Iterable[Entry]) -> int:
    """How many holds said nothing for longer than an ownership lasts, between reading the
    counter and writing it."""
    read: dict[str, float] = {}
    silent: set[str] = set()
    for entry in journal:
        if entry.do == "get":
            read[entry.hold] = entry.at
        elif entry.do == "put" and entry.at - read.pop(entry.hold, entry.at) > TTL_S:
            silent.add(entry.hold)
    return len(silent)


# --- the workload --------------------------------------------------------------


def workload() -> Workload:
    """This workload; its clients share the processes that they run in."""
    crew = Crew(f"{__name__}:worker")

    @asynccontextmanager
    async def setting(site: Site) -> AsyncIterator[Resource]:
        async with resource.serve(site.folder) as outside:
            try:
                yield outside
            finally:
                await crew.close()

    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=crew.client,
        generator=holds,
        final=last_holds,
        check=check,
        setting=setting,
        limit_s=LIMIT_S,
    )
