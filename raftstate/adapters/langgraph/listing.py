"""Lists of checkpoints, read some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id

from raftstate.adapters.keys import key
from raftstate.adapters.langgraph import coding
from raftstate.adapters.langgraph.coding import Coding
from raftstate.adapters.langgraph.stored import PAGE, Kept, Loaded, Place


class Listing:
    """One list under way: ask, take what has come, until it is over."""

    def __init__(
        self,
        how: Coding,
        config: RunnableConfig | None,
        wanted: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        """Raises InvalidRequest (definite) for a config without a thread."""
        self._coding = how
        self._config = config
        self._place = None if config is None else coding.place(config)
        self._one_ns = (
            config is not None and config["configurable"].get("checkpoint_ns") is not None
        )
        self._wanted = wanted
        self._before = get_checkpoint_id(before) if before else None
        self._left = limit
        self._below: bytes | None = None
        self._keys: list[bytes] | None = None
        self.over: bool = limit is not None and limit <= 0

    async def ask(self, kept: Kept) -> list[Loaded]:
        """The next ones."""
        at = self._place
        if at is not None and at.checkpoint_id is not None and self._one_ns:
            self.over = True
            loaded = await kept.load(at)
            return [] if loaded is None else [loaded]
        if at is not None and self._one_ns:
            return await self._page(kept, at)
        return await self._these(kept, at)

    def take(self, loaded: list[Loaded]) -> Iterator[CheckpointTuple]:
        """Those of them that belong to the list."""
        for one in loaded:
            found = self._coding.opened(one)
            if self._before and one.head.checkpoint_id >= self._before:
                continue
            if self._wanted and not self._coding.matches(found.metadata, self._wanted):
                continue
            yield found
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    self.over = True
                    return

    @property
    def _most(self) -> int:
        return PAGE if self._left is None or self._wanted else min(PAGE, self._left)

    async def _page(self, kept: Kept, at: Place) -> list[Loaded]:
        """The next ones of one namespace."""
        layout = kept.layout
        below = self._below
        if below is None and self._before:
            below = layout.head(at.thread, at.ns, self._before)
        prefix = layout.heads(at.thread, at.ns)
        chosen = self._coding.matching(self._wanted) if self._wanted else None
        loaded, self._below = await kept.page(prefix, below, chosen, self._most)
        self.over = self._below is None
        return loaded

    async def _these(self, kept: Kept, at: Place | None) -> list[Loaded]:
        """The next ones of all namespaces: for their order all of their keys are read."""
        if self._keys is None:
            prefix = kept.layout.heads(None if at is None else at.thread)
            keys = await kept.head_keys(prefix)
            if at is not None and at.checkpoint_id is not None:
                only = key(at.checkpoint_id)
                keys = [one for one in keys if one.endswith(b"\x01" + only)]
            self._keys = keys
        most = self._most
        some, self._keys = self._keys[:most], self._keys[most:]
        self.over = not self._keys
        chosen = self._coding.matching(self._wanted) if self._wanted else None
        return await kept.these(some, chosen)
