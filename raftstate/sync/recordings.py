# Generated from raftstate/client/recordings.py by scripts/generate. Not to be edited.

"""What a step draws from outside itself: recorded, so that whoever does it again is
given the same.

    answer = step.record("llm", lambda: ask(item))

A value belongs to the step that is under way, under a key. It is written with the step, or
with the first effect of it, or at once (`agent.record`); of several values under one key
the first counts. A successor that does the step again draws nothing that is there already."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, cast

from raftstate.client import recordings as face
from raftstate.client.replay import Replay
from raftstate.sync.running import Handle


class AgentRecordings(Handle, of=face.AgentRecordings):
    """The part of an owned agent that is about recorded values."""

    @property
    def _it(self) -> face.AgentRecordings:
        return cast(face.AgentRecordings, self._object)

    def record(
        self,
        kind: str,
        function: Callable[[], Any],
        key: str = "",
        *,
        timeout: float | None = None,
    ) -> Any:
        """Draw a value outside of a step's block, and have it kept at once: it is there
        even if the step that follows is never committed. See `Step.record`.

        Raises what the function raises, and what leaving a step's block does.

        >>> with store.own("recordings/agent") as agent:
        ...     agent.record("llm", lambda: "an answer", key="plan")
        'an answer'
        """
        return self._do(
            self._it.record(kind, self._running.carried(function), key, timeout=timeout)
        )

    def replay(
        self,
        function: Callable[..., Any],
        *,
        from_checkpoint: int = 0,
        to_seq: int = 0,
        default: Any = None,
        report: bool = True,
    ) -> Replay:
        """Run a function over what this agent wrote, and compare: see `Store.replay` for
        what it takes and raises.

        >>> def roll(agent):
        ...     with agent.step() as step:
        ...         step.event("rolled", step.random())
        >>> with store.own("recordings/replay") as agent:
        ...     roll(agent)
        ...     print((agent.replay(roll)).events)
        1
        """
        return self._do(
            self._it.replay(
                self._running.carried(function),
                from_checkpoint=from_checkpoint,
                to_seq=to_seq,
                default=default,
                report=report,
            )
        )


class StepRecordings(Handle, of=face.StepRecordings):
    """The part of a step that is about recorded values."""

    @property
    def _it(self) -> face.StepRecordings:
        return cast(face.StepRecordings, self._object)

    def record(self, kind: str, function: Callable[[], Any], key: str = "") -> Any:
        """What the function gives, drawn once for this step: whoever does it again, and
        every replay, is given the same without calling.

        `kind` says what it is ("llm", "tool", "time", "random", "uuid", or a word of
        yours). The function takes nothing; it gives bytes,
        or what JSON can hold, and everybody is given it as read again (tuples are lists).
        `key` names the value within the step; without one it is the kind's first, second
        and so on. Where calls run at the same time, name them. An error is not kept: of one
        that the step is to go on with, have the function give a value that says so.

        Raises what the function raises, TypeError or ValueError for what cannot be kept.

        >>> with store.own("recordings/record") as agent:
        ...     with agent.step() as step:
        ...         step.event("answered", step.record("llm", lambda: "an answer"))
        >>> drawn = [one for one in store.get_recorded("recordings/record")]
        >>> drawn[0].key, raftstate.decode(drawn[0])
        ('llm/1', 'an answer')
        """
        return self._do(self._it.record(kind, self._running.carried(function), key))

    def time(self, key: str = "") -> float:
        """Seconds since 1970, drawn once for this step; `key` is as in `record`.

        >>> with store.own("recordings/time") as agent:
        ...     with agent.step() as step:
        ...         step.event("begun", {"at": step.time()})
        >>> [one.key for one in store.get_recorded("recordings/time")]
        ['time/1']
        """
        with self._alone():
            return self._it.time(key)

    def random(self, key: str = "") -> float:
        """A number from 0 up to 1, drawn once for this step; `key` is as in `record`.

        >>> with store.own("recordings/random") as agent:
        ...     with agent.step() as step:
        ...         step.event("rolled", {"dice": int(6 * step.random("dice")) + 1})
        >>> [one.key for one in store.get_recorded("recordings/random")]
        ['dice']
        """
        with self._alone():
            return self._it.random(key)

    def uuid(self, key: str = "") -> uuid.UUID:
        """A random UUID, drawn once for this step; `key` is as in `record`.

        >>> with store.own("recordings/uuid") as agent:
        ...     with agent.step() as step:
        ...         step.event("ordered", {"order": str(step.uuid("order"))})
        >>> [one.key for one in store.get_recorded("recordings/uuid")]
        ['order']
        """
        with self._alone():
            return self._it.uuid(key)
