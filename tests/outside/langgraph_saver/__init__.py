"""What the tests of `RaftSaver` share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, empty_checkpoint

from raftstate.adapters.keys import key
from raftstate.adapters.langgraph import RaftSaver
from raftstate.adapters.records import Owner
from raftstate.client import Store
from raftstate.client.portal import Portal, shared_thread
from raftstate.errors import OwnershipLost


class Owners:
    """Who owns an agent, one after the other: each takes it from the one before, who lives
    on and does not let go by himself."""

    def __init__(self, portal: Portal, agent_id: str) -> None:
        self._portal = portal
        self._agent_id = agent_id
        self._holding: list[Future[None]] = []

    def take(self) -> Owner:
        """The next owner."""
        granted: Future[Owner] = Future()

        async def hold(store: Store) -> None:
            try:
                async with store.own(self._agent_id, force=True) as agent:
                    granted.set_result(Owner(agent.agent_id, agent.token))
                    await asyncio.Event().wait()
            except OwnershipLost:
                return  # as intended
            except BaseException as error:
                if not granted.done():
                    granted.set_exception(error)
                raise

        async def begin(store: Store) -> Coroutine[Any, Any, None]:
            return hold(store)

        self._holding.append(shared_thread().submit(self._portal.run(begin)))
        return granted.result(30)

    def close(self) -> None:
        """Everybody lets go."""
        for each in self._holding:
            each.cancel()


@contextmanager
def owners_of(portal: Portal, agent_id: str) -> Iterator[Owners]:
    """Owners of an agent, while the block runs."""
    owners = Owners(portal, agent_id)
    try:
        yield owners
    finally:
        owners.close()


class Face:
    """A saver's methods of one face, called by whoever has no event loop."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self, saver: BaseCheckpointSaver[str], method: str, *args: Any, **options: Any
    ) -> Any:
        """The outcome of a method, named as the sync face does."""
        if self.name == "sync":
            found = getattr(saver, method)(*args, **options)
            return list(found) if method == "list" else found
        made = getattr(saver, f"a{method}")(*args, **options)
        return asyncio.run(_listed(made) if method == "list" else made)


async def _listed(found: Any) -> list[Any]:
    return [one async for one in found]


def at(thread: str, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    """A place."""
    where = {"thread_id": thread, "checkpoint_ns": ns}
    if checkpoint_id is not None:
        where["checkpoint_id"] = checkpoint_id
    return {"configurable": where}


def made(
    values: dict[str, Any] | None = None,
    versions: dict[str, Any] | None = None,
    checkpoint_id: str | None = None,
) -> Checkpoint:
    """A checkpoint with these values, at version 1 if not told otherwise."""
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = values or {}
    checkpoint["channel_versions"] = versions or dict.fromkeys(values or {}, 1)
    if checkpoint_id is not None:
        checkpoint["id"] = checkpoint_id
    return checkpoint


def put(
    face: Face,
    saver: BaseCheckpointSaver[str],
    where: RunnableConfig,
    values: dict[str, Any] | None = None,
    **metadata: Any,
) -> RunnableConfig:
    """Put a checkpoint whose values are all new."""
    checkpoint = made(values)
    metadata = {"source": "loop", "step": 0, "parents": {}, **metadata}
    found: RunnableConfig = face(
        saver, "put", where, checkpoint, metadata, checkpoint["channel_versions"]
    )
    return found


def id_of(config: RunnableConfig) -> str:
    """The checkpoint that a config names."""
    found: str = config["configurable"]["checkpoint_id"]
    return found


def stored(portal: Portal, name: str) -> dict[bytes, bytes]:
    """All keys and values of the saver of a name."""
    prefix = key("~langgraph", name)

    async def read(store: Store) -> dict[bytes, bytes]:
        return {one.key: one.value async for one in store.keys.range(prefix=prefix)}

    return portal.run(read)


def kinds(portal: Portal, name: str) -> dict[str, int]:
    """How many keys of each kind there are: see the adapter's `layout`."""
    found: dict[str, int] = {}
    prefix = key("~langgraph", name)
    for one in stored(portal, name):
        kind = chr(one[len(prefix)])
        found[kind] = found.get(kind, 0) + 1
    return found


class Case(NamedTuple):
    """A saver of a name that nobody has used, and the face it is called by."""

    face: Face
    portal: Portal
    name: str
    saver: RaftSaver

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method, named as the sync face does."""
        return self.face(self.saver, method, *args, **options)

    def put(self, where: Any, values: dict[str, Any] | None = None, **metadata: Any) -> Any:
        """Put a checkpoint whose values are all new."""
        return put(self.face, self.saver, where, values, **metadata)

    def values(self, where: Any) -> Any:
        """The values of a checkpoint."""
        return self("get_tuple", where).checkpoint["channel_values"]

    def kinds(self) -> dict[str, int]:
        """How many keys of each kind there are: see the adapter's `layout`."""
        return kinds(self.portal, self.name)
