"""Replays: whether an agent, run again over what was recorded, does the same again.

    await agent.replay(run)                     # the agent's function, or a reducer
    await store.verify_replay("billing", "merge_patch")     # by a member itself
    raftstate.replay.check_deterministic("billing.rules:fold", state, event)

A replay compares each event it makes with the one that was written, the state with the
hash that the event has, and with the checkpoints on the way. The first difference is
raised as ReplayDiverged, and reported as an incident.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Unpack

from raftstate.client import reading, recordings, values
from raftstate.client.determinism import UndeclaredNondeterminism, check_deterministic
from raftstate.client.engine import Engine
from raftstate.client.history import Diverged, Divergence, History, Reader, differences
from raftstate.client.practice import PracticeAgent
from raftstate.client.reading import How
from raftstate.client.recordings import hashed
from raftstate.client.replaying import ReplayAgent, fold, run
from raftstate.errors import InvalidRequest, RaftStateError, ReplayDiverged
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.recording_pb2 import Recording
from raftstate.v1.recovery_service_pb2 import (
    CLASSIFICATION_NONDETERMINISM,
    SYMPTOM_DIVERGED,
    Evidence,
    ReportSymptomRequest,
)
from raftstate.v1.replay_service_pb2 import (
    REDUCER_APPEND,
    REDUCER_COUNT,
    REDUCER_LAST_VALUE,
    REDUCER_MERGE_PATCH,
    ReconstructRequest,
    VerifyReplayRequest,
)
from raftstate.v1.replay_service_pb2 import Reducer as ReducerNumber

__all__ = [
    "Divergence",
    "PracticeAgent",
    "Reconstructed",
    "Replay",
    "ReplayAgent",
    "ReplayDiverged",
    "UndeclaredNondeterminism",
    "check_deterministic",
    "differences",
    "state_hash",
]

# A reducer: the name of a built-in one, or a function of a state and an event.
Reducer = str | Callable[[Any, Event], Any]

_BUILT_IN: Final[dict[str, ReducerNumber]] = {
    "last_value": REDUCER_LAST_VALUE,
    "merge_patch": REDUCER_MERGE_PATCH,
    "append": REDUCER_APPEND,
    "count": REDUCER_COUNT,
}
_SUMMARY_CHARS: Final = 300
_DETAIL_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay that was what was written. `state` is that after the last event, and
    `state_hash` what it is recognised by. A member tells only the hash; of an agent's
    function that did not say `state_from`, neither is known.

    >>> async with store.own("replays/found") as agent:
    ...     async with agent.step() as step:
    ...         step.event("counted", 3)
    >>> await store.replay("replays/found", lambda state, event: raftstate.decode(event))
    Replay(events=1, hashes_compared=0, checkpoints_compared=0, state=3, ...)
    """

    events: int
    hashes_compared: int
    checkpoints_compared: int
    state: Any = None
    state_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """What an agent was after an event. Without a reducer `state` is that of the
    checkpoint to begin with, and `events` are those that lead on from it.

    >>> async with store.own("replays/lead") as agent:
    ...     saved = await agent.checkpoint({"total": 1})
    ...     async with agent.step() as step:
    ...         step.event("counted", 3)
    >>> found = await store.reconstruct("replays/lead")
    >>> found.state, [raftstate.decode(event) for event in found.events]
    ({'total': 1}, [3])
    """

    event_seq: int
    state: Any
    state_hash: bytes = b""
    checkpoint_id: int = 0
    events: list[Event] = field(default_factory=list)


def state_hash(state: Any) -> bytes:
    """What a state is recognised by: blake2b-32 of its canonical JSON, or of bytes. Raises
    TypeError or ValueError for what JSON cannot hold.

    >>> one = raftstate.replay.state_hash({"total": 1, "name": "Ada"})
    >>> one == raftstate.replay.state_hash({"name": "Ada", "total": 1})
    True
    """
    return hashed(state)[0]


class Replays:
    """The part of a `Store` that is about replays and recorded values."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    async def replay(
        self,
        agent_id: str,
        function: Callable[..., Any],
        *,
        from_checkpoint: int = 0,
        to_seq: int = 0,
        default: Any = None,
        report: bool = True,
    ) -> Replay:
        """Run a function over what an agent wrote, from a checkpoint on (0: from the
        beginning) up to an event (0: the newest), and compare.

        A function of one argument is the agent's own: it is given a `ReplayAgent`, which
        serves what was recorded and what effects gave, and ends it where the log does. One
        of two arguments is a reducer: it makes a state of a state and an event, and begins
        with a copy of `default` if not with a checkpoint. Either may be a coroutine
        function.

        Raises ReplayDiverged (definite) with a `divergence` at the first difference, which
        is also reported as an incident unless `report` is false (`details` say its id, or
        why there is none); what the function raises; AgentNotFound, CheckpointNotFound,
        Compacted (definite), and what every read does; TypeError for a function of no
        argument, or of three.

        >>> async with store.own("replays/replay") as agent:
        ...     for amount in (1, 2):
        ...         async with agent.step() as step:
        ...             step.event("counted", amount)
        >>> def add(total, event):
        ...     return total + raftstate.decode(event)
        >>> (await store.replay("replays/replay", add, default=0)).state
        3
        """
        return await replay(
            self._engine,
            agent_id,
            function,
            from_checkpoint=from_checkpoint,
            to_seq=to_seq,
            default=default,
            report=report,
        )

    async def verify_replay(
        self,
        agent_id: str,
        reducer: Reducer,
        *,
        checkpoint_id: int = 0,
        to_seq: int = 0,
        default: Any = None,
        report: bool = True,
        **how: Unpack[How],
    ) -> Replay:
        """Fold an agent's events and compare states, as `replay` does: by a member itself
        if the reducer is built in ("last_value", "merge_patch", "append", "count"), here if
        it is a function. The options of reading are for a member's.

        Raises what `replay` does; NotComparable (definite); InvalidRequest (definite) for
        the name of no reducer.

        >>> async with store.own("replays/verify") as agent:
        ...     async with agent.step() as step:
        ...         step.event("changed", {"total": 1}, state={"total": 1})
        >>> (await store.verify_replay("replays/verify", "merge_patch")).hashes_compared
        1
        """
        if callable(reducer):
            if how:
                raise TypeError("a reducer that is a function takes no options of reading")
            return await self.replay(
                agent_id,
                reducer,
                from_checkpoint=checkpoint_id,
                to_seq=to_seq,
                default=default,
                report=report,
            )
        request = VerifyReplayRequest(
            agent_id=agent_id,
            checkpoint_id=checkpoint_id,
            to_seq=to_seq,
            reducer=_built_in(reducer),
        )
        answer = await reading.read_as(
            self._engine, lambda peer: peer.replays.VerifyReplay, request, how
        )
        if answer.HasField("divergence"):
            found = answer.divergence
            at_checkpoint = "a checkpoint after it holds another state"
            divergence = Divergence(
                why=at_checkpoint
                if found.checkpoint_id
                else "the state after it is another one",
                seq=found.seq,
                expected_hash=found.expected_hash,
                actual_hash=found.actual_hash,
                event=found.event if found.HasField("event") else None,
                checkpoint_id=found.checkpoint_id,
                differences=tuple(found.differences),
            )
            raise await _diverged(self._engine, agent_id, divergence, report)
        return Replay(
            answer.events,
            answer.hashes_compared,
            answer.checkpoints_compared,
            state_hash=answer.state_hash,
        )

    async def reconstruct(
        self,
        agent_id: str,
        *,
        event_seq: int = 0,
        at_revision: int = 0,
        reducer: Reducer | None = None,
        default: Any = None,
        timeout: float | None = None,
    ) -> Reconstructed:
        """What an agent was after an event (0: the newest), or at a revision: folded by a
        member with a built-in reducer, here with a function, or not at all.

        Raises AgentNotFound, CheckpointNotFound, Compacted, NotComparable (definite);
        InvalidRequest (definite) for the name of no reducer; what the function raises; and
        what every read does. `timeout` is for the member's answer, in seconds.

        >>> async with store.own("replays/reconstruct") as agent:
        ...     for total in (1, 2):
        ...         async with agent.step() as step:
        ...             step.event("changed", {"total": total})
        >>> how = {"event_seq": 1, "reducer": "merge_patch"}
        >>> (await store.reconstruct("replays/reconstruct", **how)).state
        {'total': 1}
        """
        built_in = isinstance(reducer, str)
        request = ReconstructRequest(
            agent_id=agent_id, event_seq=event_seq, at_revision=at_revision
        )
        if isinstance(reducer, str):
            request.reducer = _built_in(reducer)
        answer = await reading.read(
            self._engine, lambda peer: peer.replays.Reconstruct, request, timeout=timeout
        )
        if built_in:
            state = values.decode_as(answer.state, values.JSON)
            return Reconstructed(answer.event_seq, state, answer.state_hash)
        lead = await self._leading(agent_id, answer, at_revision, default)
        if reducer is None:
            return lead
        assert callable(reducer)
        state = lead.state
        for event in lead.events:
            state = reducer(state, event)
            if inspect.isawaitable(state):
                state = await state
        return Reconstructed(lead.event_seq, state, hashed(state)[0])

    async def _leading(
        self, agent_id: str, answer: Any, at_revision: int, default: Any
    ) -> Reconstructed:
        """The checkpoint and the events that lead to a state."""
        how: How = {"at": at_revision} if at_revision else {}
        store = Reader(self._engine)
        events, state, seen = list(answer.events), copy.deepcopy(default), 0
        if answer.checkpoint_id:
            saved = await store.get_checkpoint(agent_id, answer.checkpoint_id, **how)
            state, seen = values.decode(saved), saved.event_seq
        if answer.more_events:
            seen = events[-1].seq if events else seen
            rest = store.read_events(
                agent_id, from_seq=seen + 1, max_events=answer.event_seq - seen, **how
            )
            events += [event async for event in rest if not event.undone_by]
        return Reconstructed(
            answer.event_seq, state, checkpoint_id=answer.checkpoint_id, events=events
        )

    async def get_recorded(
        self,
        agent_id: str,
        *,
        from_step: int = 0,
        to_step: int = 0,
        key: str = "",
        **how: Unpack[How],
    ) -> AsyncIterator[Recording]:
        """An agent's recorded values in order of step and key; those of steps in a range,
        both ends included, or under one key. `raftstate.decode(recording)` is what was
        drawn. Raises AgentNotFound (definite), and what every read does.

        >>> async with store.own("replays/recorded") as agent:
        ...     _ = await agent.record("llm", lambda: "an answer", key="plan")
        >>> [raftstate.decode(one) async for one in store.get_recorded("replays/recorded")]
        ['an answer']
        """
        async for one in recordings.recorded(
            self._engine, agent_id, from_step, to_step, key, how
        ):
            yield one


async def replay(
    engine: Engine,
    agent_id: str,
    function: Callable[..., Any],
    *,
    from_checkpoint: int = 0,
    to_seq: int = 0,
    default: Any = None,
    report: bool = True,
) -> Replay:
    """See `Replays.replay`."""
    reduces = _takes(function) == 2
    history = History(engine, agent_id)
    await history.begin(from_checkpoint, to_seq)
    try:
        if not reduces:
            agent = await run(history, function)
            hashed_state = b"" if agent.state is None else hashed(agent.state)[0]
            return Replay(
                agent.events,
                history.hashes_compared,
                history.checkpoints_compared,
                agent.state,
                hashed_state,
            )
        state = copy.deepcopy(default)
        if from_checkpoint:
            state = values.decode(history.checkpoint)
        state, events = await fold(history, function, state)
    except Diverged as error:
        raise await _diverged(engine, agent_id, error.divergence, report) from None
    return Replay(
        events,
        history.hashes_compared,
        history.checkpoints_compared,
        state,
        hashed(state)[0],
    )


def _takes(function: Callable[..., Any]) -> int:
    """How many arguments a function has to be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(
        one.kind in kinds and one.default is one.empty
        for one in inspect.signature(function).parameters.values()
    )
    if count not in (1, 2):
        raise TypeError("a replay takes a function of an agent, or of a state and an event")
    return count


def _built_in(name: str) -> ReducerNumber:
    if name not in _BUILT_IN:
        raise InvalidRequest(
            f"there is no reducer {name!r}",
            definite=True,
            details={"field": "reducer", "limit": ", ".join(_BUILT_IN)},
        )
    return _BUILT_IN[name]


async def _diverged(
    engine: Engine, agent_id: str, found: Divergence, report: bool
) -> ReplayDiverged:
    """The error that says so, with the incident that was opened for it."""
    message = f"the replay of {agent_id} is not what was written: {found}"
    details = {"agent_id": agent_id, "seq": str(found.seq)}
    if report:
        try:
            details["incident_id"] = await _report(engine, agent_id, found)
        except RaftStateError as error:
            details["not_reported"] = str(error)
    return ReplayDiverged(message, definite=True, details=details, divergence=found)


async def _report(engine: Engine, agent_id: str, found: Divergence) -> str:
    hashes = f"expected {found.expected_hash.hex()}, actual {found.actual_hash.hex()}"
    evidence = [
        Evidence(
            kind="event",
            ref=f"{agent_id}#{found.seq}",
            detail="; ".join((hashes, *found.differences))[:_DETAIL_CHARS],
        )
    ]
    if found.checkpoint_id:
        ref = f"{agent_id}#{found.checkpoint_id}"
        evidence.append(Evidence(kind="checkpoint", ref=ref))
    request = ReportSymptomRequest(
        symptom=SYMPTOM_DIVERGED,
        classification=CLASSIFICATION_NONDETERMINISM,
        agent_ids=[agent_id],
        summary=f"a replay of {agent_id} diverged at {found}"[:_SUMMARY_CHARS],
        evidence=evidence,
    )
    answer = await engine.mutate("report_symptom", request, None)
    incident_id: str = answer.incident_id
    return incident_id
