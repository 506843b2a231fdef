# Generated from raftstate/client/own.py by scripts/generate. Not to be edited.

"""How an ownership is acquired, and how its block ends."""

from __future__ import annotations

from types import TracebackType
from typing import cast

from raftstate.client import own as face
from raftstate.sync.ownership import AgentHandle
from raftstate.sync.owning import Block
from raftstate.sync.running import Face


class Own(Face, of=face.Own):
    """`with store.own(...) as agent:`. See `Store.own`."""

    @property
    def _it(self) -> face.Own:
        return cast(face.Own, self._object)

    def __enter__(self) -> AgentHandle:
        if self._block is not None:
            raise RuntimeError("this block is entered already: ask for another")
        self._block = Block(self._it, self._running)
        try:
            agent = self._block.enter()
        except BaseException:
            self._block.abandon()  # also where an interrupt came as it was acquired
            self._block = None
            raise
        return AgentHandle(agent, self._running.within(self._block))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        block = self._block
        assert block is not None
        try:
            block.leave(error, trace)
        finally:
            block.abandon()  # if an interrupt came before it was told
            self._block = None

    _block: Block | None = None

    def __del__(self) -> None:
        if self._block is not None:  # an interrupt came just before the block began
            self._block.abandon()
