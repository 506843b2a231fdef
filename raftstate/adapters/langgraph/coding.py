"""Checkpoints as LangGraph has them, and as the store does.

Values are written and read by LangGraph's serializer, in the thread of who calls. Nothing is
ever unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from raftstate.adapters.langgraph import pruning
from raftstate.adapters.langgraph.history import Ancestor
from raftstate.adapters.langgraph.layout import Head, Task, Typed, Write
from raftstate.adapters.langgraph.serde import ListedSerializer
from raftstate.adapters.langgraph.stored import Kept, Loaded, Place
from raftstate.errors import InvalidRequest

# Values of these types lie in the checkpoint itself, up to this many characters.
_PLAIN: Final = (str, int, float, bool, type(None))
_PLAIN_CHARS: Final = 256
# How many values of a checkpoint lie apart, at most: what a transaction has room for. Of
# more, the smaller ones lie in the checkpoint.
APART_MAX: Final = 20


class Coding(NamedTuple):
    """How LangGraph's values are written."""

    serde: SerializerProtocol

    # --- to the store ---

    def closed(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> Head:
        """A checkpoint as it is stored, but for the values that lie apart."""
        where = place(config)
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        apart = [name for name in values if name in versions and not _plain(values[name])]
        if len(apart) > APART_MAX:
            sizes = {name: len(self.serde.dumps_typed(values[name])[1]) for name in apart}
            apart = sorted(apart, key=lambda name: sizes[name], reverse=True)[:APART_MAX]
        inside = {name: value for name, value in values.items() if name not in apart}
        known = get_checkpoint_metadata(config, metadata)
        run = known.get("run_id")
        return Head(
            thread=where.thread,
            ns=where.ns,
            checkpoint_id=checkpoint["id"],
            parent=where.checkpoint_id,
            run=None if run is None else str(run),
            channels=list(values),
            apart={name: versions[name] for name in apart},
            deltas=[
                name
                for name, since in known.get("counters_since_delta_snapshot", {}).items()
                if any(since)
            ],
            checkpoint=self.serde.dumps_typed({**checkpoint, "channel_values": inside}),
            metadata=self.serde.dumps_typed(known),
        )

    def values(
        self, head: Head, checkpoint: Checkpoint, new: Collection[str] | None
    ) -> dict[str, Typed]:
        """The values that lie apart: those of new versions, or (None) all of them."""
        return {
            name: self.serde.dumps_typed(checkpoint["channel_values"][name])
            for name in head.apart
            if new is None or name in new
        }

    def task(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> tuple[Place, Task]:
        """What a task has written, and to which checkpoint."""
        where = place(config)
        if where.checkpoint_id is None:
            raise _wrong(
                "configurable.checkpoint_id", "writes are to a checkpoint: it is missing"
            )
        made = [
            Write(
                WRITES_IDX_MAP.get(channel, at),
                channel,
                self.serde.dumps_typed(value),
                task_path,
            )
            for at, (channel, value) in enumerate(writes)
        ]
        return where, Task(task_id, {one.at: one for one in made})

    # --- from the store ---

    def opened(self, loaded: Loaded, config: RunnableConfig | None = None) -> CheckpointTuple:
        """A checkpoint as LangGraph has it. `config` is what asked for it by its id."""
        head = loaded.head
        checkpoint = self._inside(head)
        values = {
            **checkpoint["channel_values"],
            **{name: self.serde.loads_typed(value) for name, value in loaded.values.items()},
        }
        checkpoint["channel_values"] = {name: values[name] for name in head.channels}
        asked = config is not None and get_checkpoint_id(config)
        return CheckpointTuple(
            config=cast("RunnableConfig", config) if asked else config_of(head),
            checkpoint=checkpoint,
            metadata=self.metadata(head),
            parent_config=None if head.parent is None else _config(head, head.parent),
            pending_writes=self._pending(loaded.tasks),
        )

    def metadata(self, head: Head) -> CheckpointMetadata:
        """What is said about a checkpoint."""
        return cast("CheckpointMetadata", self.serde.loads_typed(head.metadata))

    def matching(self, wanted: dict[str, Any]) -> Callable[[list[Head]], list[Head]]:
        """Chooses the checkpoints whose metadata has all of this."""

        def chosen(heads: list[Head]) -> list[Head]:
            return [head for head in heads if self.matches(self.metadata(head), wanted)]

        return chosen

    @staticmethod
    def matches(metadata: CheckpointMetadata, wanted: dict[str, Any]) -> bool:
        """Whether metadata has all of this; dots in a name lead into what lies deeper."""
        return all(_said(metadata, name) == value for name, value in wanted.items())

    def histories(
        self, ancestors: list[Ancestor], channels: Iterable[str]
    ) -> dict[str, DeltaChannelHistory]:
        """What the ancestors of a checkpoint have written, the nearest one given first."""
        found: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
        for ancestor in reversed(ancestors):
            pending = self._pending(ancestor.tasks)
            for name in ancestor.channels:
                found[name]["writes"] += [one for one in pending if one[1] == name]
            inside: dict[str, Any] | None = None
            for name in ancestor.seeds:
                if name in ancestor.values:
                    found[name]["seed"] = self.serde.loads_typed(ancestor.values[name])
                else:
                    inside = inside or self._inside(ancestor.head)["channel_values"]
                    found[name]["seed"] = inside[name]
        return found

    def _inside(self, head: Head) -> Checkpoint:
        return cast("Checkpoint", self.serde.loads_typed(head.checkpoint))

    def _pending(self, tasks: Iterable[Task]) -> list[PendingWrite]:
        """What tasks have written, in the order in which it is applied."""
        made = [(task.task_id, one) for task in tasks for one in task.writes.values()]
        made.sort(key=lambda each: writes_sort_key(each[1].task_path, each[0], each[1].at))
        return [(task, one.channel, self.serde.loads_typed(one.value)) for task, one in made]


# --- what callers give -------------------------------------------------------


def place(config: RunnableConfig) -> Place:
    """Where a config points. Raises InvalidRequest (definite) if it does not say."""
    given = config.get("configurable") or {}
    if "thread_id" not in given:
        raise _wrong("configurable.thread_id", "the config names no thread: it is missing")
    ns = given.get("checkpoint_ns") or ""
    checkpoint_id = get_checkpoint_id(config)
    return Place(
        thread_of(given["thread_id"]), str(ns), str(checkpoint_id) if checkpoint_id else None
    )


def thread_of(given: object) -> str:
    """A thread's id, which others may give as a number. Raises InvalidRequest (definite)."""
    [thread] = texts_of("thread_id", [given])
    return thread


def texts_of(field: str, given: Iterable[object]) -> list[str]:
    """Ids as texts. Raises InvalidRequest (definite) for what is none."""
    if isinstance(given, str):
        raise _wrong(field, f"{field} is one text; it is a list of them")
    found = [str(each) for each in given]
    for each in found:
        try:
            each.encode()
        except UnicodeEncodeError as error:
            raise _wrong(field, f"{field} is {each!r}, which is no text: {error}") from error
    return found


def strategy(name: str) -> Callable[[Kept, str], Coroutine[Any, Any, None]]:
    """How to prune. Raises InvalidRequest (definite) for what is no way to."""
    known = {"keep_latest": pruning.keep_latest, "delete": pruning.drop_thread}
    if name not in known:
        raise _wrong("strategy", f"strategy is {name!r}; there are {', '.join(known)}")
    return known[name]


def checked(serde: SerializerProtocol | None) -> SerializerProtocol | None:
    """A serializer that does not unpickle; LangGraph's own (None) only where it is strict.
    Raises InvalidRequest (definite)."""
    if serde is None:
        strict = os.environ.get("LANGGRAPH_STRICT_MSGPACK", "").lower() in ("1", "true", "yes")
        return None if strict else ListedSerializer()
    inner: object = serde
    while isinstance(inner, EncryptedSerializer):
        inner = inner.serde
    if getattr(inner, "pickle_fallback", False):
        raise _wrong("serde", "serde unpickles what it reads: use one without pickle_fallback")
    return serde


def config_of(head: Head) -> RunnableConfig:
    """Where a checkpoint is."""
    return _config(head, head.checkpoint_id)


def _config(head: Head, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": head.thread,
            "checkpoint_ns": head.ns,
            "checkpoint_id": checkpoint_id,
        }
    }


def _said(metadata: Any, name: str) -> Any:
    """What metadata says under a name, None if nothing."""
    if name in metadata:
        return metadata[name]
    first, _, rest = name.partition(".")
    deeper = metadata.get(first)
    return _said(deeper, rest) if rest and isinstance(deeper, dict) else None


def _plain(value: object) -> bool:
    return type(value) in _PLAIN and not (isinstance(value, str) and len(value) > _PLAIN_CHARS)


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": field})
