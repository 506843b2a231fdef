"""Exactly once: a request that is sent many times happens one time, and has one answer.

Each thread owns an agent and commits steps of one event. One operation is one request: the
same bytes, under one request id, are sent one to five times to members that are drawn, at
moments that are drawn, and some of the sendings are cancelled while they are under way. If
nobody answered, it is sent to whoever leads until somebody does, for a bounded time.

When it is answered, more may follow, which must change nothing:

- "same": it is sent once more, and must be answered as the first time;
- "other": another request is sent under its id, and must be refused;
- "old": an earlier request is sent again, whose answer this client has said that it needs
  no more. It may be told what it was told, or that this is forgotten. It must not be done
  again, nor be judged anew.

Nothing here names the step that is expected, so that a request which is done twice shows:
as two events in the log.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import grpc.aio

from jepsen_like import generator as gen
from jepsen_like.checkers.resolve import Resolution, resolve
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.clients import TIMEOUT_S, Shared, ended, said, step_request
from jepsen_like.history import Pair
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
from raftstate.client.calls import deadline_in
from raftstate.client.doing import LOST
from raftstate.client.engine import session_gone
from raftstate.client.errors import RECORDED, from_rpc, unanswered
from raftstate.client.ownership import AgentHandle
from raftstate.client.routing import Peer
from raftstate.errors import OutcomeForgotten, RaftStateError, RequestIdReused
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.step_service_pb2 import CommitStepRequest, CommitStepResponse

NAME: Final = "exactly-once"
THREADS: Final = 6
RATE: Final = 20.0
SENDS_MAX: Final = 5
# Sendings of one request leave within this time,
SPREAD_S: Final = 0.04
# and of these so many are cancelled, so soon.
CANCELLED: Final = 0.25
CANCEL_S: Final = (0.001, 0.03)
LATER: Final = {"": 0.6, "same": 0.2, "other": 0.1, "old": 0.1}
LATER_S: Final = (0.0, 0.15)
CONNECT_S: Final = 0.3
ATTEMPT_S: Final = 1.0
# How long an unanswered request is sent on.
SETTLE_S: Final = 2.5
# How long what follows may take: nothing depends on it being answered.
LATER_MAX_S: Final = 1.0

# An answer, for JSON: where the step is, or the refusal that is recorded under the id.
Answer = dict[str, Any]
# Refusals that are answers. The last two only come where something is wrong.
_SAID: Final = RECORDED | {OutcomeForgotten.reason, RequestIdReused.reason}


# --- what is done --------------------------------------------------------------


def request(thread: str, draws: random.Random, count: int) -> Op:
    """The request of that number of one thread. Members are drawn as numbers; who that is
    depends on how many there are."""
    number = thread.rpartition("/")[2]
    first = draws.randrange(60)
    sends = [
        {
            "member": first + place,
            "after": round(draws.uniform(0.0, SPREAD_S), 4),
            "cancel": round(draws.uniform(*CANCEL_S), 4)
            if draws.random() < CANCELLED
            else None,
        }
        for place in range(draws.randint(1, SENDS_MAX))
    ]
    later = draws.choices(list(LATER), list(LATER.values()))[0]
    pause = round(draws.uniform(*LATER_S), 4)
    value = {"id": f"e{number}-{count}", "sends": sends, "later": later, "pause": pause}
    return Op(NAME, "request", key=number, value=value)


def requests(seed: int) -> Generator:
    """Requests for ever; what a thread does depends on the seed and on its name."""
    return gen.PerThread(lambda name: gen.Draw(f"{seed}:{name}", partial(request, name)))


def nothing(seed: int, nodes: tuple[str, ...]) -> Generator:
    """The log is what is read in the end."""
    return gen.InOrder()


# --- doing it ------------------------------------------------------------------


@dataclass
class _Outcome:
    """What all sendings of one request were answered."""

    sent: int = 0
    cancelled: int = 0
    told: int = 0  # how many of them were answered
    unknown: int = 0
    answers: list[Answer] = field(default_factory=list)  # those that differ
    first: CommitStepResponse | None = None
    last: RaftStateError | None = None

    def answered(self, answer: CommitStepResponse) -> None:
        """One was answered with the step's place."""
        self.first = self.first or answer
        self._add(_place(answer))

    def failed(self, error: RaftStateError) -> None:
        """One was refused, or nobody knows."""
        self.last = error
        if error.reason in _SAID:
            self._add({"refused": error.reason})
        elif not error.definite:
            self.unknown += 1

    def _add(self, answer: Answer) -> None:
        self.told += 1
        if answer not in self.answers:
            self.answers.append(answer)

    def done(self, token: list[int], later: Answer | None) -> Done:
        """How the request ended for its client."""
        value = {
            "token": token,
            "sent": self.sent,
            "cancelled": self.cancelled,
            "told": self.told,
            "answers": self.answers,
        }
        if self.first is not None:
            header, place = self.first.header, _place(self.first)
            value |= {"step": place["step"], "position": place["position"]}
            if later is not None:
                value["later"] = later
            return Done("ok", value, revision=header.revision, node=header.member_id)
        error = said(self.last) if self.last is not None else ""
        known = bool(self.answers) or not self.unknown
        return Done("fail" if known else "info", value, error=error)


def _place(answer: CommitStepResponse) -> Answer:
    return {
        "step": answer.head.step,
        "position": answer.first_position,
        "revision": answer.header.revision,
    }


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request whose answer is known and needed no more."""

    id: str
    request: CommitStepRequest
    first: Answer


class Requester:
    """One thread: an engine, a session and an agent of its own."""

    def __init__(self, site: Site, thread: int) -> None:
        self._shared = Shared(site, NAME)
        self._addresses = [site.addresses[node] for node in site.nodes]
        self._agent_id = self._shared.agent(str(thread))
        self._old: _Sent | None = None

    async def open(self) -> None:
        await self._shared.open(self)

    async def close(self) -> None:
        await self._shared.close(self)

    async def invoke(self, op: Op) -> Done:
        """One request. Its id is in use until all that concerns it is over."""
        deadline = deadline_in(TIMEOUT_S)
        try:
            agent = await self._shared.own(self._agent_id, deadline)
            request_id = await agent.session.begin(deadline)
        except RaftStateError as error:
            return ended(error)
        try:
            return await self._request(op.value, agent, request_id)
        finally:
            agent.session.finish(request_id)

    async def _request(
        self, asked: Mapping[str, Any], agent: AgentHandle, request_id: RequestId
    ) -> Done:
        token = [agent.token.epoch, agent.token.revision]
        sent = self._sealed({"id": asked["id"], "token": token}, agent, request_id)
        outcome = _Outcome()
        async with asyncio.TaskGroup() as group:
            for one in asked["sends"]:
                group.create_task(self._send(sent, one, outcome))
        if not outcome.answers:
            await self._once_more(sent, SETTLE_S, outcome)
        self._tell(agent, outcome)
        later = None
        if outcome.first is not None:
            await asyncio.sleep(asked["pause"])
            later = await self._later(asked, agent, sent, outcome)
            self._old = _Sent(asked["id"], sent, outcome.answers[0])
        return outcome.done(token, later)

    def _sealed(
        self, event: Mapping[str, Any], agent: AgentHandle, request_id: RequestId
    ) -> CommitStepRequest:
        sealed = step_request(self._agent_id, NAME, event)
        sealed.fence.CopyFrom(agent.token)
        sealed.request_id.CopyFrom(request_id)
        return sealed

    async def _send(
        self, sent: CommitStepRequest, how: Mapping[str, Any], outcome: _Outcome
    ) -> None:
        """Send it to one member, as was drawn."""
        await asyncio.sleep(how["after"])
        address = self._addresses[how["member"] % len(self._addresses)]
        peer = self._shared.engine.router.peer(address)
        try:
            await peer.ready(CONNECT_S)
            outcome.sent += 1
            outcome.answered(await _attempt(peer, sent, how["cancel"], outcome))
        except RaftStateError as error:
            outcome.failed(error)

    async def _once_more(
        self, sent: CommitStepRequest, seconds: float, outcome: _Outcome
    ) -> None:
        """Send it to whoever leads, until it is answered."""
        outcome.sent += 1
        try:
            outcome.answered(await self._ask(sent, seconds))
        except RaftStateError as error:
            outcome.failed(error)

    async def _ask(self, sent: CommitStepRequest, seconds: float) -> CommitStepResponse:
        answer: CommitStepResponse = await self._shared.engine.calls.call(
            lambda peer, patience: peer.steps.CommitStep(sent, timeout=patience),
            deadline=deadline_in(seconds),
            changes=True,
        )
        return answer

    def _tell(self, agent: AgentHandle, outcome: _Outcome) -> None:
        """Let the ownership and the session know of a refusal that says that they are over,
        so that the next request does without them."""
        if outcome.last is not None and session_gone(outcome.last):
            self._shared.engine.sessions.expired(agent.session)
        elif isinstance(outcome.last, LOST):
            agent.lose(str(outcome.last), outcome.last)

    # --- what follows an answer ---

    async def _later(
        self,
        asked: Mapping[str, Any],
        agent: AgentHandle,
        sent: CommitStepRequest,
        outcome: _Outcome,
    ) -> Answer | None:
        """Do what was drawn; what came of it, if anything did."""
        kind = asked["later"]
        if kind == "same":
            await self._once_more(sent, LATER_MAX_S, outcome)
            return {"sent": "same"}
        if kind == "other":
            event = {
                "id": f"{asked['id']}!",
                "token": [agent.token.epoch, agent.token.revision],
            }
            other = self._sealed(event, agent, sent.request_id)
            return {"sent": "other", **await self._what(other)}
        if kind == "old" and self._old is not None:
            old = self._old
            return {"sent": "old", "id": old.id, "first": old.first} | await self._what(
                old.request
            )
        return None

    async def _what(self, sent: CommitStepRequest) -> Answer:
        """What a request is answered that should not be done."""
        try:
            return {"answer": _place(await self._ask(sent, LATER_MAX_S))}
        except RaftStateError as error:
            return {"refused": error.reason}


async def _attempt(
    peer: Peer, sent: CommitStepRequest, cancel: float | None, outcome: _Outcome
) -> CommitStepResponse:
    """One sending, cancelled after so long unless it is answered by then. Raises
    OutcomeUnknown if it was, and whatever the answer says."""
    call = peer.steps.CommitStep(sent, timeout=ATTEMPT_S)
    timer = None
    if cancel is not None:
        timer = asyncio.get_running_loop().call_later(cancel, call.cancel)
    try:
        answer: CommitStepResponse = await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        outcome.cancelled += 1
        raise unanswered(peer.address, "it was cancelled") from None
    finally:
        if timer is not None:
            timer.cancel()
    return answer


# --- judging -------------------------------------------------------------------

# What may be said to a request that must not be done (again).
_REFUSED: Final[Mapping[str, str]] = {
    "other": RequestIdReused.reason,
    "old": OutcomeForgotten.reason,
}


def check(record: Record) -> list[Verdict]:
    """The verdict on this workload: every request happened once or not at all, as its
    client was told, and all its answers are one."""
    resolution = resolve(record, NAME)
    wrong = [*resolution.complaints, *_answers(resolution), *_past(resolution.log)]
    unsure = [resolution.unread] if resolution.unread else []
    figures = resolution.figures() | _figures(resolution)
    if not figures["acknowledged"]:
        unsure.append("no request was acknowledged")
    elif not figures["answered_again"]:
        unsure.append("no request was answered more than once")
    summary = (
        f"{figures['acknowledged']} requests in {figures['sent']} sendings happened once each;"
        f" {figures['answered_again']} were answered again, and alike"
    )
    return [verdict(f"{NAME}:once", summary, wrong=wrong, unsure=unsure, figures=figures)]


def _answers(resolution: Resolution) -> Iterator[str]:
    """Where one request has two answers, or what must not be done was."""
    for pair in resolution.pairs:
        told = _told(pair)
        identity = pair.invoke.value["id"]
        answers = told.get("answers", ())
        if len(answers) > 1:
            yield f"answers: {identity} was answered in {len(answers)} ways: {answers}"
        for answer in answers:
            if answer.get("refused") in _REFUSED.values():
                yield f"forgotten: {identity} was refused with {answer['refused']}"
        yield from _followed(identity, told.get("later") or {})


def _followed(identity: str, later: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the answer to what followed."""
    kind = str(later.get("sent"))
    if kind not in _REFUSED:
        return
    again = later.get("id", identity)
    if (answer := later.get("answer")) is not None:
        if kind == "other":
            yield f"reused: another request under the id of {identity} was answered {answer}"
        elif answer != later["first"]:
            yield f"again: {again}, sent again, was answered {answer}, first {later['first']}"
    elif later["refused"] in _SAID - {_REFUSED[kind]}:
        # Only what is judged can be refused so.
        yield f"again: {kind} request of {again} was refused with {later['refused']}"


def _past(log: tuple[LoggedEvent, ...]) -> Iterator[str]:
    """Steps that were written under a token below one before them."""
    newest: dict[str, list[int]] = {}
    for event in log:
        token = _token(event)
        before = newest.setdefault(event.stream, token)
        if token < before:
            yield f"fence: step {event.step} of {event.stream} under {token} after {before}"
        newest[event.stream] = max(before, token)


def _token(event: LoggedEvent) -> list[int]:
    try:
        token: list[int] = json.loads(event.data)["token"]
    except (ValueError, KeyError, TypeError):
        return []  # the event is garbled, which is complained about elsewhere
    return token


def _figures(resolution: Resolution) -> dict[str, Any]:
    """How often what was sent."""
    counts: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for pair in resolution.pairs:
        told = _told(pair)
        for name in ("sent", "cancelled"):
            counts[name] += told.get(name, 0)
        counts["answered_again"] += pair.outcome == "ok" and told.get("told", 0) > 1
        followed = told.get("later") or {}
        if "sent" in followed:
            later[followed["sent"]] += 1
            later[f"{followed['sent']} refused"] += "refused" in followed
    return {
        "sent": counts["sent"],
        "cancelled": counts["cancelled"],
        "answered_again": counts["answered_again"],
        "later": {name: count for name, count in sorted(later.items()) if count},
    }


def _told(pair: Pair) -> Mapping[str, Any]:
    value = None if pair.completion is None else pair.completion.value
    return value if isinstance(value, dict) and "answers" in value else {}


# --- the workload --------------------------------------------------------------


def workload() -> Workload:
    """This workload."""
    return Workload(
        name=NAME,
        threads=THREADS,
        rate=RATE,
        client=Requester,
        generator=requests,
        final=nothing,
        check=check,
    )
