"""Transcripts of the Claude Agent SDK (`claude_agent_sdk.SessionStore`), kept in the store.

    from raftstate.adapters.claude import RaftSessionStore

    async with RaftSessionStore("127.0.0.1:7411") as sessions:
        options = ClaudeAgentOptions(session_store=sessions)

All of the protocol, the optional part as well. What `append` has returned from is there for
every process, and outlives any minority of the members. Entries are stored as JSON, and as
nothing else.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, cast

try:
    from claude_agent_sdk import (
        SessionKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
        fold_session_summary,
    )
    from claude_agent_sdk.types import SessionListSubkeysKey
except ImportError as _missing:
    raise ImportError(
        "the Claude Agent SDK is not installed: pip install raftstate[claude]"
    ) from _missing

from raftstate.adapters import transcripts
from raftstate.adapters.portals import Access, Closing
from raftstate.adapters.records import Owning, owner_of
from raftstate.adapters.transcripts import REMOVED_AT_ONCE, About, Transcript, check_text
from raftstate.client import Store
from raftstate.client.portal import Portal

__all__ = ["RaftSessionStore"]

_ROOT: Final = "~claude"
# The SDK tries again what fails, and drops what has taken a minute.
TIMEOUT_S: Final = 30.0
# Of how many transcripts it is remembered which entries they have.
_REMEMBERED: Final = 64


class RaftSessionStore(Closing):
    """Sessions' transcripts, and those of their subagents. It may be used from any thread and
    any event loop, and by any number of processes at a time.

    An entry that has a `uuid` is stored once, however often it is appended: what the SDK
    sends again after a failure is not there twice. Summaries are kept with the entries, in
    the same transaction. A session's `mtime` is the clock of whoever appended, in
    milliseconds since 1970, and never goes back.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        *,
        name: str = "default",
        owner: Owning | None = None,
        timeout: float = TIMEOUT_S,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect`, or a `Portal` that
        stays open when this is closed. Stores of one `name` share their sessions. `timeout`
        in seconds is that of a method: a change of leader is waited for. The SDK gives up for
        good what takes 60 s, and tries again what fails before.

        With an `owner`, a handle of an agent that is owned, every write raises Fenced
        (definite) once the agent has another owner, and nothing was written.

        Raises InvalidRequest (definite) if an argument makes no sense."""
        check_text("name", name)
        self._main, self._sub = (_ROOT, name, "main"), (_ROOT, name, "sub")
        self._owner = owner_of(owner)
        self._timeout = timeout
        self._access = Access(endpoints, options, timeout)
        self._open = OrderedDict[tuple[str, ...], Transcript]()

    # --- what the SDK asks for ---

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Append entries, all at once or none of them, but for those that are there.

        Raises InvalidRequest (definite) if one is no JSON or the key makes no sense, Conflict
        (definite) if others were faster until the time was over, and Fenced (definite)."""
        ids = _ids(key)
        added = transcripts.written(entries)  # now: what the caller holds is the caller's
        names = [name if isinstance(name := one.get("uuid"), str) else None for one in entries]

        def tell(told: About | None, fresh: list[Any]) -> About:
            mtime = int(time.time() * 1000)
            if told is not None:
                mtime = max(mtime, told["mtime"] + 1)
            if len(ids) == 3:  # a subagent's is no part of the session's summary
                return {"subpath": ids[2], "mtime": mtime}
            before = cast("SessionSummaryEntry | None", told)
            return {**fold_session_summary(before, key, fresh), "mtime": mtime}

        async def write(store: Store) -> None:
            await self._transcript(ids).append(
                store, added, self._until(), ids=names, tell=tell, owner=self._owner
            )

        if added:
            await self._access.arun(write)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """All entries in order, as they were at one moment; None if there are none. Reflects
        every write acknowledged before."""
        ids = _ids(key)
        return await self._access.arun(
            lambda store: self._transcript(ids).load(store, self._until())
        )

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """The ids and times of a project's sessions, as they were at one moment."""
        return [
            {"session_id": one["session_id"], "mtime": one["mtime"]}
            for one in await self.list_session_summaries(project_key)
        ]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """The summaries of a project's sessions, as they were at one moment."""
        check_text("project_key", project_key)
        told = await self._access.arun(
            lambda store: transcripts.abouts(
                store, self._main, project_key, timeout=self._timeout
            )
        )
        return cast("list[SessionSummaryEntry]", told)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """The subpaths of a session's subagents, as they were at one moment."""
        main: SessionKey = {"project_key": key["project_key"], "session_id": key["session_id"]}
        project, session = _ids(main)
        return await self._access.arun(lambda store: self._subpaths(store, project, session))

    async def delete(self, key: SessionKey) -> None:
        """Remove a transcript, and with a session's own those of its subagents; then what
        they took up. The session goes together with up to 15 subagents; if it has more, some
        go before. If that is broken off, it may be called again. Raises Conflict, Fenced
        (definite), and OutcomeUnknown also if a part is gone already."""
        ids = _ids(key)

        async def remove(store: Store) -> None:
            subs = await self._subpaths(store, *ids) if len(ids) == 2 else []
            all_ids = [*((*ids, one) for one in subs), ids]
            # The session itself goes last, so that until then it is there to be removed.
            before = all_ids[:-REMOVED_AT_ONCE]
            pieces = [
                before[at : at + REMOVED_AT_ONCE]
                for at in range(0, len(before), REMOVED_AT_ONCE)
            ]
            for number, piece in enumerate((*pieces, all_ids[-REMOVED_AT_ONCE:])):
                with transcripts.indefinite(when=number > 0):
                    await transcripts.remove(
                        store,
                        [self._transcript(one) for one in piece],
                        self._until(),
                        owner=self._owner,
                    )
            if len(ids) == 2:  # what a removal that was broken off has left
                with transcripts.indefinite():
                    await transcripts.sweep(
                        store, self._sub, *ids, timeout=self._timeout, owner=self._owner
                    )

        await self._access.arun(remove)

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

    def _transcript(self, ids: tuple[str, ...]) -> Transcript:
        """The transcript, which remembers how it stands. On the thread of the store only."""
        found = self._open.pop(ids, None)
        if found is None:
            found = Transcript(self._main if len(ids) == 2 else self._sub, *ids)
        self._open[ids] = found
        if len(self._open) > _REMEMBERED:
            self._open.popitem(last=False)
        return found

    async def _subpaths(self, store: Store, project: str, session: str) -> list[str]:
        told = await transcripts.abouts(
            store, self._sub, project, session, timeout=self._timeout
        )
        return [one["subpath"] for one in told]


def _ids(key: SessionKey) -> tuple[str, ...]:
    """Where a transcript is: two texts, or three if it is a subagent's."""
    ids = [key["project_key"], key["session_id"]]
    if (subpath := key.get("subpath")) is not None:
        ids.append(subpath)
    for field, text in zip(("project_key", "session_id", "subpath"), ids, strict=False):
        check_text(field, text)
    return tuple(ids)
