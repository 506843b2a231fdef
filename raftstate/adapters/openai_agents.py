"""Sessions of the OpenAI Agents SDK (`agents.memory.Session`), kept in the store.

    from raftstate.adapters.openai_agents import RaftSession

    async with RaftSession("127.0.0.1:7411", "user-123") as session:
        await Runner.run(agent, "Hello", session=session)

A session's items are there for every process as soon as `add_items` returns, and outlive any
minority of the members. Items are stored as JSON and as nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

try:
    from agents.items import TResponseInputItem
    from agents.memory.session_settings import (
        SessionSettings,
        coerce_session_settings,
        resolve_session_limit,
    )
except ImportError as error:
    raise ImportError(
        "this adapter needs the OpenAI Agents SDK: pip install raftstate[openai-agents]"
    ) from error

from raftstate.adapters.records import Owner
from raftstate.adapters.transcripts import Transcript
from raftstate.client import Store
from raftstate.client.portal import Portal
from raftstate.errors import InvalidRequest

__all__ = ["RaftSession"]

T = TypeVar("T")

_ROOT: Final = "~openai"
# How long a cancelled write may still go on, so that its caller knows that it is over.
_SETTLE_S: Final = 5.0


class RaftSession:
    """A conversation's history. It may be used from any thread and any event loop, and by
    any number of processes at a time: what they add is interleaved by calls, and nothing of
    it is lost.

    Every write is one transaction: it happened whole, or not at all. What fails raises a
    `RaftStateError`; is that not `definite`, the write may have happened, and `get_items`
    tells. A write whose task is cancelled is waited for, up to 5 s, before the cancellation
    goes on.
    """

    session_id: str
    session_settings: SessionSettings | None = None

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        session_id: str,
        *,
        name: str = "default",
        session_settings: SessionSettings | dict[str, Any] | None = None,
        owner: HasToken | None = None,
        timeout: float = 60.0,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`; a portal is used as it
        is, and left open. Sessions of different `name` have nothing to do with each other.

        With `owner`, an owned agent's handle, whatever writes is refused once the agent is
        owned under another token: Fenced (definite), and nothing was written. `timeout` in
        seconds is that of a method: within it, a change of leader is waited for.

        Raises InvalidRequest (definite) if one of them makes no sense."""
        texts = {"session_id": (session_id, 1 << 20), "name": (name, NAME_BYTES_MAX)}
        for field, (text, limit) in texts.items():
            check_text(field, text, limit)
        self.session_id = session_id
        self.session_settings = (
            SessionSettings()
            if session_settings is None
            else coerce_session_settings(session_settings)
        )
        self._owner = None if owner is None else Owner(owner.agent_id, owner.token)
        self._timeout = timeout
        self._own = not isinstance(endpoints, Portal)
        self._portal = (
            endpoints
            if isinstance(endpoints, Portal)
            else Portal(endpoints, **{"timeout": timeout, **options})
        )
        self._transcript = Transcript((_ROOT, name), session_id)

    # --- what the SDK asks for ---

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The items in order, or the latest `limit` of them; without one, that of
        `session_settings` counts. A limit of 0 or less is no item. As they were at one
        moment, and no earlier than what was written before the call."""
        most = resolve_session_limit(limit, self.session_settings)
        found = await self._portal.arun(
            lambda store: self._transcript.load(store, self._until(), most)
        )
        return found or []

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append all of the items at once, or none of them.

        Raises InvalidRequest (definite) if one is no JSON, Fenced (definite), Conflict
        (definite): others were faster until the time was over."""
        if not items:
            return
        # What the caller does to its list meanwhile is its own affair.
        added = list(items)
        await self._settled(
            lambda store: self._transcript.append(
                store, added, self._until(), owner=self._owner
            )
        )

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item and return it; None if there is none. Raises as
        `add_items`."""
        item: TResponseInputItem | None = await self._settled(
            lambda store: self._transcript.pop(store, self._until(), owner=self._owner)
        )
        return item

    async def clear_session(self) -> None:
        """Remove all items at once. What they took up is given back before this returns; if
        that fails, it may be called again. Raises as `add_items`."""
        await self._settled(
            lambda store: self._transcript.remove(store, self._until(), owner=self._owner)
        )

    # --- its end ---

    def close(self) -> None:
        """Close the connection, if it is this session's own. The history stays."""
        if self._own:
            self._portal.close()

    async def aclose(self) -> None:
        """As `close`; the event loop goes on."""
        if self._own:
            await self._portal.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"RaftSession(session_id={self.session_id!r})"

    # --- inside ---

    def _until(self) -> float:
        return time.monotonic() + self._timeout

    async def _settled(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What a write comes to. Who cancels it learns of that when it is over, if that is
        soon: an SDK that rewinds what it wrote has to know what there is."""
        task = asyncio.ensure_future(self._portal.arun(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=_SETTLE_S)
            task.cancel()
            raise
