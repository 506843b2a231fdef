"""Which block of this store may ask for an agent: the blocks' turns.

All blocks of a store share one session, and the servers grant an agent again to the
session that owns it. So they cannot keep two blocks of one store apart, the second of
which would fence the first: that is done here. The blocks that own an agent, or want
to, form a line, and only the first in it asks the servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from raftstate.errors import NoQuorum, Owned
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_FORCE,
    ACQUIRE_MODE_IF_FREE,
    ACQUIRE_MODE_WAIT,
    AcquireMode,
)


class _Line:
    """The blocks that own one agent or want to; and the lock of the one that asks."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.asking = asyncio.Lock()

    def moved(self) -> None:
        """Tell everybody whether it is first now."""
        for place, turn in enumerate(self.turns):
            told, untold = (turn.behind, turn.first) if place else (turn.first, turn.behind)
            told.set()
            untold.clear()


class Turn:
    """One block's place in the line, from before it asks until it has let go."""

    def __init__(self, turns: Turns, agent_id: str, mode: AcquireMode) -> None:
        self._turns = turns
        self._line = turns.lines[agent_id]
        self._agent_id = agent_id
        self._mode = mode
        self.first: asyncio.Event = asyncio.Event()
        self.behind: asyncio.Event = (
            asyncio.Event()
        )  # for one that asks: a block that forces overtook it

    @asynccontextmanager
    async def asking(self, deadline: float) -> AsyncIterator[None]:
        """The time in which this block, and no other, asks for the agent.

        Raises, definite: Owned, if another block has it (by the deadline, for one that
        waits); NoQuorum, if one was still asking at the deadline."""
        try:
            async with asyncio.timeout_at(None if deadline == float("inf") else deadline):
                await self._come_up()
        except TimeoutError:
            raise self._in_vain() from None
        try:
            yield
        finally:
            self._line.asking.release()

    async def _come_up(self) -> None:
        while True:
            if self._mode == ACQUIRE_MODE_WAIT and not self._turns.closed:
                await self.first.wait()
            # Also one that forces waits for this: were the other's request applied
            # after its own, the wrong one would be fenced.
            await self._line.asking.acquire()
            if self._may_ask or self._turns.closed:
                return
            self._line.asking.release()
            if self._mode != ACQUIRE_MODE_WAIT:
                raise _owned(self._agent_id)

    @property
    def _may_ask(self) -> bool:
        return self._mode == ACQUIRE_MODE_FORCE or self.first.is_set()

    def _in_vain(self) -> Owned | NoQuorum:
        if self._may_ask:
            return NoQuorum(
                f"another block of this store was still asking for agent {self._agent_id}"
                " at the deadline",
                definite=True,
            )
        return _owned(self._agent_id)

    def leave(self) -> None:
        """Let the next one have its turn."""
        self._line.turns.remove(self)
        self._line.moved()
        if not self._line.turns:
            del self._turns.lines[self._agent_id]


class Turns:
    """The lines of all agents that this store owns or wants."""

    def __init__(self) -> None:
        self.lines: dict[str, _Line] = {}
        self.closed: bool = False

    def enter(self, agent_id: str, mode: AcquireMode) -> Turn:
        """Stand in the line for an agent; at its head with FORCE. To be left in any case.

        Raises Owned (definite) with IF_FREE, if there is anybody in it."""
        if mode == ACQUIRE_MODE_IF_FREE and agent_id in self.lines:
            raise _owned(agent_id)
        line = self.lines.setdefault(agent_id, _Line())
        turn = Turn(self, agent_id, mode)
        line.turns.insert(0 if mode == ACQUIRE_MODE_FORCE else len(line.turns), turn)
        line.moved()
        return turn

    def close(self) -> None:
        """Nobody waits for its turn any more: the store is closed, as it will find."""
        self.closed = True
        for line in self.lines.values():
            for turn in line.turns:
                turn.first.set()


def _owned(agent_id: str) -> Owned:
    return Owned(
        f"agent {agent_id} is owned, or being acquired, by another block of this store",
        definite=True,
    )
