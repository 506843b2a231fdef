"""Sessions of the OpenAI Agents SDK (`agents.memory.Session`), kept in the store.

    from raftstate.adapters.openai_agents import RaftSession

    async with RaftSession("127.0.0.1:7411", "user-123") as session:
        await Runner.run(agent, "Hello", session=session)

What `add_items` has returned from is there for every process, and outlives any minority of
the members. Items are stored as JSON, and as nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

try:
    from agents.items import TResponseInputItem
    from agents.memory.session_settings import (
        SessionSettings,
        coerce_session_settings,
        resolve_session_limit,
    )
except ImportError as _missing:
    raise ImportError(
        "the OpenAI Agents SDK is not installed: pip install raftstate[openai-agents]"
    ) from _missing

from raftstate.adapters.portals import TIMEOUT_S, Access, Closing
from raftstate.adapters.records import Owning, owner_of
from raftstate.adapters.transcripts import Transcript, check_text, written
from raftstate.client import Store
from raftstate.client.portal import Portal

__all__ = ["RaftSession"]

T = TypeVar("T")

_ROOT: Final = "~openai"
# How long a write that is cancelled may go on, so that its caller knows what there is.
_SETTLE_S: Final = 5.0


class RaftSession(Closing):
    """A conversation's history. It may be used from any thread and any event loop, and by
    any number of processes at a time: what they add is in order by calls, and nothing of it
    is lost.

    Every write is one transaction: it happened whole, or not at all. What fails raises a
    `RaftStateError`; if that is not `definite`, the write may have happened, and `get_items`
    tells. A write that is cancelled is waited for, up to 5 s, before the cancellation goes
    on; so what is read after it is what there is.
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
        owner: Owning | None = None,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`, or a `Portal` that
        stays open when the session is closed. Sessions of one `name` share their ids.
        `timeout` in seconds is that of a method: a change of leader is waited for.

        With an `owner`, a handle of an agent that is owned, every write raises Fenced
        (definite) once the agent has another owner, and nothing was written.

        Raises InvalidRequest (definite) if an argument makes no sense."""
        check_text("session_id", session_id)
        check_text("name", name)
        self.session_id = session_id
        self.session_settings = coerce_session_settings(session_settings or {})
        self._owner = owner_of(owner)
        self._timeout = timeout
        self._access = Access(endpoints, options, timeout)
        self._transcript = Transcript((_ROOT, name), session_id)

    # --- what the SDK asks for ---

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The items in order, or the latest `limit` of them; if that is not given, that of
        `session_settings`. With 0 or less there are none. They are as they were at one
        moment, and reflect every write acknowledged before."""
        most = resolve_session_limit(limit, self.session_settings)
        found = await self._access.arun(
            lambda store: self._transcript.load(store, self._until(), most)
        )
        return found or []

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append all of the items at once, or none of them.

        Raises InvalidRequest (definite) if one is no JSON, Conflict (definite) if others
        were faster until the time was over, and Fenced (definite)."""
        added = written(items)  # now: what the caller holds is the caller's
        await self._settled(
            lambda store: self._transcript.append(
                store, added, self._until(), owner=self._owner
            )
        )

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item, and return it; None if there is none. Raises Conflict,
        Fenced (definite)."""
        item: TResponseInputItem | None = await self._settled(
            lambda store: self._transcript.pop(store, self._until(), owner=self._owner)
        )
        return item

    async def clear_session(self) -> None:
        """Remove all items, at once; and then what they took up. If that is broken off, it
        may be called again. Raises Conflict, Fenced (definite), and OutcomeUnknown also if
        the items are gone and what they took up is not."""
        await self._settled(
            lambda store: self._transcript.remove(store, self._until(), owner=self._owner)
        )

    # --- its end ---

    def close(self) -> None:
        """Give back its connections, if they are its own. Closing twice is harmless. What is
        stored stays."""
        self._access.close()

    async def aclose(self) -> None:
        """As `close`."""
        await self._access.aclose()

    # --- inside ---

    def _until(self) -> float:
        return time.monotonic() + self._timeout

    async def _settled(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What a write comes to. Who cancels it hears of that when it is over, if that is
        soon: the SDK goes on to rewind what it wrote, and has to see what there is."""
        task = asyncio.ensure_future(self._access.arun(work))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=_SETTLE_S)
            raise
        finally:
            task.cancel()
