"""LangGraph's checkpoints in the store: `RaftSaver`.

    with RaftSaver("127.0.0.1:7411") as saver:
        graph = builder.compile(checkpointer=saver)
        graph.invoke(state, {"configurable": {"thread_id": "1"}})

What is acknowledged is on a majority of the cluster's disks. A saver that writes for the
owner of an agent is refused once the agent has another owner:

    async with store.own("billing/nightly", wait=True) as agent:
        saver = RaftSaver(endpoints, owner=agent)
"""

from __future__ import annotations

import random
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from raftstate.adapters.langgraph import coding, history, pruning
from raftstate.adapters.langgraph.coding import Coding
from raftstate.adapters.langgraph.layout import Layout
from raftstate.adapters.langgraph.listing import Listing
from raftstate.adapters.langgraph.stored import Kept
from raftstate.adapters.portals import Access, ClosingBoth
from raftstate.adapters.records import Owner, Owning, owner_of
from raftstate.client.portal import Portal

T = TypeVar("T")
Work = Callable[[Kept], Coroutine[Any, Any, T]]


class RaftSaver(ClosingBoth, BaseCheckpointSaver[str]):
    """A checkpoint saver whose checkpoints are kept in the store.

    It may be used from any thread and any event loop, with LangGraph's sync and async
    methods alike; any number of savers in any number of processes may share a name. A
    checkpoint is put all or nothing, and holds only the values that changed.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str] | Portal,
        *,
        name: str = "default",
        owner: Owning | None = None,
        serde: SerializerProtocol | None = None,
        **options: Any,
    ) -> None:
        """`endpoints` and `options` are those of `raftstate.connect` (`timeout` is 60 s if
        not given), or a `Portal` that stays open when the saver is closed. Savers of one
        `name` share their threads. With an `owner`, a handle of an agent that is owned,
        every change raises Fenced (definite) once the agent has another owner.

        `serde` is, if not given, LangGraph's own msgpack serializer, which then makes nothing
        of what is stored but safe types and types of data: those of the graph's schemas with
        LANGGRAPH_STRICT_MSGPACK, else those that the program has imported. Another one is
        used as it is, but that one which unpickles is refused. Raises InvalidRequest
        (definite) if an argument makes no sense."""
        super().__init__(serde=coding.checked(serde))
        self._name = name
        self._layout = Layout(name)
        self._owner = owner_of(owner)
        self._access = Access(endpoints, options)

    # --- reading ---

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint, or the latest one of its namespace, with what is pending; None if
        there is none. Reflects every change acknowledged before.

        >>> thread = {"configurable": {"thread_id": "docs-get_tuple", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> (saver.get_tuple(thread)).config == where
        True
        >>> saver.get_tuple({"configurable": {"thread_id": "nobody's"}})
        """
        place = coding.place(config)
        loaded = self._run(lambda kept: kept.load(place))
        return None if loaded is None else self._coding.opened(loaded, config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`.

        >>> thread = {"configurable": {"thread_id": "docs-aget_tuple", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> (await saver.aget_tuple(thread)).config == where
        True
        >>> await saver.aget_tuple({"configurable": {"thread_id": "nobody's"}})
        """
        place = coding.place(config)
        loaded = await self._arun(lambda kept: kept.load(place))
        return None if loaded is None else self._coding.opened(loaded, config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The checkpoints of a thread, or of one of its namespaces, or all of them, the
        newest first: whose metadata has what `filter` says, and which are older than that
        of `before`; at most `limit`. They are read some at a time.

        >>> thread = {"configurable": {"thread_id": "docs-list", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> [one.config == where for one in saver.list(thread, limit=10)]
        [True]
        """
        listing = Listing(self._coding, config, filter, before, limit)
        while not listing.over:
            yield from listing.take(self._run(listing.ask))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`.

        >>> thread = {"configurable": {"thread_id": "docs-alist", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> [one.config == where async for one in saver.alist(thread, limit=10)]
        [True]
        """
        listing = Listing(self._coding, config, filter, before, limit)
        while not listing.over:
            for one in listing.take(await self._arun(listing.ask)):
                yield one

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What the ancestors of a checkpoint have written to each channel, the oldest
        first, since the last of them that has a value for it, which is `seed`.

        >>> thread = {
        ...     "configurable": {
        ...         "thread_id": "docs-get_delta_channel_history",
        ...         "checkpoint_ns": "",
        ...     }
        ... }
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> saver.put_writes(where, [("log", "a line")], "task")
        >>> child = saver.put(where, empty_checkpoint(), {}, {})
        >>> found = saver.get_delta_channel_history(config=child, channels=["log"])
        >>> found["log"]["writes"]
        [('task', 'log', 'a line')]
        """
        if not channels:
            return {}
        place = coding.place(config)
        found = self._run(lambda kept: history.walk(kept, place, channels))
        return self._coding.histories(found, channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `get_delta_channel_history`.

        >>> thread = {
        ...     "configurable": {
        ...         "thread_id": "docs-aget_delta_channel_history",
        ...         "checkpoint_ns": "",
        ...     }
        ... }
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> await saver.aput_writes(where, [("log", "a line")], "task")
        >>> child = await saver.aput(where, empty_checkpoint(), {}, {})
        >>> found = await saver.aget_delta_channel_history(config=child, channels=["log"])
        >>> found["log"]["writes"]
        [('task', 'log', 'a line')]
        """
        if not channels:
            return {}
        place = coding.place(config)
        found = await self._arun(lambda kept: history.walk(kept, place, channels))
        return self._coding.histories(found, channels)

    # --- writing ---

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Put a checkpoint, whose parent is that of `config`, with the values of the
        channels that have new versions; where to find it. Raises Fenced (definite) for a
        superseded owner, and what every change of a store does.

        >>> thread = {"configurable": {"thread_id": "docs-put", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> child = saver.put(where, empty_checkpoint(), {"step": 1}, {})
        >>> (saver.get_tuple(thread)).parent_config == where
        True
        """
        new = self._coding.closed(config, checkpoint, metadata)
        some = self._coding.values(new, checkpoint, set(new_versions))
        if not self._run(lambda kept: kept.put(new, some)):
            # A value that should be there is not: it was pruned, or is none of ours.
            all_of_it = self._coding.values(new, checkpoint, None)
            self._run(lambda kept: kept.put(new, all_of_it))
        return coding.config_of(new)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`.

        >>> thread = {"configurable": {"thread_id": "docs-aput", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> child = await saver.aput(where, empty_checkpoint(), {"step": 1}, {})
        >>> (await saver.aget_tuple(thread)).parent_config == where
        True
        """
        new = self._coding.closed(config, checkpoint, metadata)
        some = self._coding.values(new, checkpoint, set(new_versions))
        if not await self._arun(lambda kept: kept.put(new, some)):
            all_of_it = self._coding.values(new, checkpoint, None)
            await self._arun(lambda kept: kept.put(new, all_of_it))
        return coding.config_of(new)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Put what a task has written to a checkpoint, pending for the next one. What it
        has written before stays. Raises as `put` does.

        >>> thread = {"configurable": {"thread_id": "docs-put_writes", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> saver.put_writes(where, [("answer", 42)], "task")
        >>> (saver.get_tuple(thread)).pending_writes
        [('task', 'answer', 42)]
        """
        place, task = self._coding.task(config, writes, task_id, task_path)
        self._run(lambda kept: kept.put_task(place, task))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """As `put_writes`.

        >>> thread = {"configurable": {"thread_id": "docs-aput_writes", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> await saver.aput_writes(where, [("answer", 42)], "task")
        >>> (await saver.aget_tuple(thread)).pending_writes
        [('task', 'answer', 42)]
        """
        place, task = self._coding.task(config, writes, task_id, task_path)
        await self._arun(lambda kept: kept.put_task(place, task))

    # --- removing and copying: in pieces, and may be called again ---

    def delete_thread(self, thread_id: str) -> None:
        """Remove all of a thread, in pieces. When it raises, a part may be removed.

        >>> thread = {"configurable": {"thread_id": "docs-delete_thread", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> saver.delete_thread("docs-delete_thread")
        >>> saver.get_tuple(thread)
        """
        thread = coding.thread_of(thread_id)
        self._run(lambda kept: pruning.drop_thread(kept, thread))

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`.

        >>> thread = {"configurable": {"thread_id": "docs-adelete_thread", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> await saver.adelete_thread("docs-adelete_thread")
        >>> await saver.aget_tuple(thread)
        """
        thread = coding.thread_of(thread_id)
        await self._arun(lambda kept: pruning.drop_thread(kept, thread))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of some runs, of all threads, in pieces. What later
        checkpoints' delta channels were made up of goes with them.

        >>> thread = {
        ...     "configurable": {"thread_id": "docs-delete_for_runs", "checkpoint_ns": ""}
        ... }
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(
        ...     thread, empty_checkpoint(), {"run_id": "docs-delete_for_runs"}, {}
        ... )
        >>> saver.delete_for_runs(["docs-delete_for_runs"])
        >>> saver.get_tuple(thread)
        """
        runs = coding.texts_of("run_ids", run_ids)
        self._run(lambda kept: pruning.drop_runs(kept, runs))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `delete_for_runs`.

        >>> thread = {
        ...     "configurable": {"thread_id": "docs-adelete_for_runs", "checkpoint_ns": ""}
        ... }
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(
        ...     thread, empty_checkpoint(), {"run_id": "docs-adelete_for_runs"}, {}
        ... )
        >>> await saver.adelete_for_runs(["docs-adelete_for_runs"])
        >>> await saver.aget_tuple(thread)
        """
        runs = coding.texts_of("run_ids", run_ids)
        await self._arun(lambda kept: pruning.drop_runs(kept, runs))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all of a thread to another one, beside what is there; the oldest
        checkpoints first. Raises Conflict (indefinite) if a thread was pruned meanwhile:
        a part is copied.

        >>> thread = {"configurable": {"thread_id": "docs-copy_thread", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> saver.copy_thread("docs-copy_thread", "docs-copy")
        >>> copied = saver.get_tuple({"configurable": {"thread_id": "docs-copy"}})
        >>> copied.checkpoint["id"] == where["configurable"]["checkpoint_id"]
        True
        """
        source, target = map(coding.thread_of, (source_thread_id, target_thread_id))
        self._run(lambda kept: pruning.copy(kept, source, target))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `copy_thread`.

        >>> thread = {"configurable": {"thread_id": "docs-acopy_thread", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> await saver.acopy_thread("docs-acopy_thread", "docs-acopy")
        >>> copied = await saver.aget_tuple({"configurable": {"thread_id": "docs-acopy"}})
        >>> copied.checkpoint["id"] == where["configurable"]["checkpoint_id"]
        True
        """
        source, target = map(coding.thread_of, (source_thread_id, target_thread_id))
        await self._arun(lambda kept: pruning.copy(kept, source, target))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove all checkpoints of some threads (`delete`), or all but the latest one of
        each namespace (`keep_latest`) and those ancestors without which its delta
        channels could not be made up. Raises InvalidRequest (definite) for another
        strategy, and Conflict (indefinite) where somebody writes all the while: old values
        are left then, for the next time.

        >>> thread = {"configurable": {"thread_id": "docs-prune", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = saver.put(thread, empty_checkpoint(), {}, {})
        >>> child = saver.put(where, empty_checkpoint(), {}, {})
        >>> saver.prune(["docs-prune"])
        >>> saver.get_tuple(where)
        """
        prune, threads = coding.strategy(strategy), coding.texts_of("thread_ids", thread_ids)
        for thread in threads:
            self._run(lambda kept, thread=thread: prune(kept, thread))  # type: ignore[misc]

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `prune`.

        >>> thread = {"configurable": {"thread_id": "docs-aprune", "checkpoint_ns": ""}}
        >>> from langgraph.checkpoint.base import empty_checkpoint
        >>> where = await saver.aput(thread, empty_checkpoint(), {}, {})
        >>> child = await saver.aput(where, empty_checkpoint(), {}, {})
        >>> await saver.aprune(["docs-aprune"])
        >>> await saver.aget_tuple(where)
        """
        prune, threads = coding.strategy(strategy), coding.texts_of("thread_ids", thread_ids)
        for thread in threads:
            await self._arun(lambda kept, thread=thread: prune(kept, thread))  # type: ignore[misc]

    # --- the rest ---

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A greater version, which nobody else makes: two branches of a thread may have a
        channel's next value at the same time.

        >>> first = saver.get_next_version(None, None)
        >>> first < saver.get_next_version(first, None)
        True
        """
        number = int(str(current).split(".", maxsplit=1)[0]) if current is not None else 0
        return f"{number + 1:032}.{random.getrandbits(63):019}"

    @property
    def name(self) -> str:
        """What its threads are kept under."""
        return self._name

    @property
    def owner(self) -> Owner | None:
        """For whom it writes."""
        return self._owner

    def check_owner(self) -> None:
        """Raises Fenced (definite) if it writes for an owner who was superseded.

        >>> saver.check_owner()  # nobody's: anybody may write
        """
        self._run(lambda kept: kept.check())

    async def acheck_owner(self) -> None:
        """As `check_owner`.

        >>> await saver.acheck_owner()
        """
        await self._arun(lambda kept: kept.check())

    def close(self) -> None:
        """Give back its connections, if they are its own. Closing twice is harmless.

        >>> RaftSaver(endpoints).close()
        """
        self._access.close()

    async def aclose(self) -> None:
        """As `close`.

        >>> await RaftSaver(endpoints).aclose()
        """
        await self._access.aclose()

    @property
    def _coding(self) -> Coding:
        return Coding(self.serde)  # LangGraph exchanges it

    def _run(self, work: Work[T]) -> T:
        return self._access.run(lambda store: work(Kept(store, self._layout, self._owner)))

    async def _arun(self, work: Work[T]) -> T:
        return await self._access.arun(
            lambda store: work(Kept(store, self._layout, self._owner))
        )
