# Generated from raftstate/client/replay.py by scripts/generate. Not to be edited.

"""Replays: whether an agent, run again over what was recorded, does the same again.

    agent.replay(run)                     # the agent's function, or a reducer
    store.verify_replay("billing", "merge_patch")     # by a member itself
    raftstate.sync.replay.check_deterministic("billing.rules:fold", state, event)

A replay compares each event it makes with the one that was written, the state with the
hash that the event has, and with the checkpoints on the way. The first difference is
raised as ReplayDiverged, and reported as an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Unpack, cast

from raftstate.client import replay as face
from raftstate.client.reading import How
from raftstate.client.replay import (
    Divergence,
    Reconstructed,
    Reducer,
    Replay,
    ReplayDiverged,
    UndeclaredNondeterminism,
    differences,
    state_hash,
)
from raftstate.sync.practice import PracticeAgent, check_deterministic
from raftstate.sync.replaying import ReplayAgent
from raftstate.sync.running import Face
from raftstate.v1.recording_pb2 import Recording

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


class Replays(Face, of=face.Replays):
    """The part of a `Store` that is about replays and recorded values."""

    @property
    def _it(self) -> face.Replays:
        return cast(face.Replays, self._object)

    def replay(
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
        with a copy of `default` if not with a checkpoint.

        Raises ReplayDiverged (definite) with a `divergence` at the first difference, which
        is also reported as an incident unless `report` is false (`details` say its id, or
        why there is none); what the function raises; AgentNotFound, CheckpointNotFound,
        Compacted (definite), and what every read does; TypeError for a function of no
        argument, or of three.

        >>> with store.own("replays/replay") as agent:
        ...     for amount in (1, 2):
        ...         with agent.step() as step:
        ...             step.event("counted", amount)
        >>> def add(total, event):
        ...     return total + raftstate.decode(event)
        >>> (store.replay("replays/replay", add, default=0)).state
        3
        """
        return self._do(
            self._it.replay(
                agent_id,
                self._running.carried(function),
                from_checkpoint=from_checkpoint,
                to_seq=to_seq,
                default=default,
                report=report,
            )
        )

    def verify_replay(
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

        >>> with store.own("replays/verify") as agent:
        ...     with agent.step() as step:
        ...         step.event("changed", {"total": 1}, state={"total": 1})
        >>> (store.verify_replay("replays/verify", "merge_patch")).hashes_compared
        1
        """
        return self._do(
            self._it.verify_replay(
                agent_id,
                self._running.carried(reducer),
                checkpoint_id=checkpoint_id,
                to_seq=to_seq,
                default=default,
                report=report,
                **how,
            )
        )

    def reconstruct(
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

        >>> with store.own("replays/reconstruct") as agent:
        ...     for total in (1, 2):
        ...         with agent.step() as step:
        ...             step.event("changed", {"total": total})
        >>> how = {"event_seq": 1, "reducer": "merge_patch"}
        >>> (store.reconstruct("replays/reconstruct", **how)).state
        {'total': 1}
        """
        return self._do(
            self._it.reconstruct(
                agent_id,
                event_seq=event_seq,
                at_revision=at_revision,
                reducer=self._running.carried(reducer),
                default=default,
                timeout=timeout,
            )
        )

    def get_recorded(
        self,
        agent_id: str,
        *,
        from_step: int = 0,
        to_step: int = 0,
        key: str = "",
        **how: Unpack[How],
    ) -> Iterator[Recording]:
        """An agent's recorded values in order of step and key; those of steps in a range,
        both ends included, or under one key. `raftstate.decode(recording)` is what was
        drawn. Raises AgentNotFound (definite), and what every read does.

        >>> with store.own("replays/recorded") as agent:
        ...     _ = agent.record("llm", lambda: "an answer", key="plan")
        >>> [raftstate.decode(one) for one in store.get_recorded("replays/recorded")]
        ['an answer']
        """
        return self._running.each(
            self._it.get_recorded(
                agent_id, from_step=from_step, to_step=to_step, key=key, **how
            )
        )
