"""How checkpoints are laid out in the store: keys, and what is under them.

Under `~langgraph`, the saver's name, and then

    c thread namespace checkpoint          a checkpoint: all but its channels' larger values
    b thread namespace channel version     the value that a channel has at a version
    w thread namespace checkpoint task     what a task has written, pending for the next
    r run ...                              where a checkpoint of a run is
    n thread namespace                     changes whenever a checkpoint is put

A checkpoint names the versions of its channels, so what did not change is stored once: a
channel has one value at a version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import ormsgpack

from raftstate.adapters.keys import key
from raftstate.adapters.records import Damaged
from raftstate.errors import InvalidRequest

NAME_BYTES_MAX: Final = 48
# Parts of a key that nobody sorts by are kept whole up to here.
_SHORT_BYTES: Final = 48

Typed = tuple[str, bytes]
Version = str | int | float


class Layout:
    """The keys of one saver."""

    def __init__(self, name: str) -> None:
        """Raises InvalidRequest (definite) for a name that is empty or too long."""
        if not name or len(key(name)) > NAME_BYTES_MAX + 1:
            raise InvalidRequest(
                f"name is {name!r}; it has 1 to {NAME_BYTES_MAX} bytes",
                definite=True,
                details={"field": "name", "limit": str(NAME_BYTES_MAX)},
            )
        self._root = key("~langgraph", name)

    def heads(self, thread: str | None = None, ns: str | None = None) -> bytes:
        """Before all checkpoints, those of a thread, or of one of its namespaces."""
        return self._root + key("c", *given(thread, ns))

    def head(self, thread: str, ns: str, checkpoint: str) -> bytes:
        """A checkpoint. Those of a namespace sort as their ids do."""
        return self._root + key("c", thread, ns, checkpoint)

    def blobs(self, thread: str, ns: str | None = None) -> bytes:
        """Before the values of a thread, or of one of its namespaces."""
        return self._root + key("b", *given(thread, ns))

    def blob(self, thread: str, ns: str, channel: str, version: Version) -> bytes:
        """A channel's value at a version."""
        text = short(f"{type(version).__name__[0]}{version}")
        return self._root + key("b", thread, ns, channel, text)

    def writes(
        self, thread: str, ns: str | None = None, checkpoint: str | None = None
    ) -> bytes:
        """Before the writes of a thread, a namespace, or of one checkpoint."""
        last = None if checkpoint is None else short(checkpoint)
        return self._root + key("w", *given(thread, ns, last))

    def task(self, thread: str, ns: str, checkpoint: str, task: str) -> bytes:
        """What a task has written."""
        return self._root + key("w", thread, ns, short(checkpoint), short(task))

    def run(self, run: str) -> bytes:
        """Before what tells where the checkpoints of a run are."""
        return self._root + key("r", run)

    def of_run(self, run: str, head: bytes) -> bytes:
        """What tells that a checkpoint is of a run."""
        return self.run(run) + key(hashlib.blake2b(head, digest_size=16).hexdigest())

    def guard(self, thread: str, ns: str | None = None) -> bytes:
        """What changes whenever a checkpoint of the namespace is put."""
        return self._root + key("n", *given(thread, ns))

    def guard_of(self, one: bytes) -> bytes:
        """What changes whenever a checkpoint of the same namespace as of this key is put."""
        _, thread, ns, *_ = one.removeprefix(self._root).split(b"\x01")
        return self._root + key("n") + thread + b"\x01" + ns + b"\x01"


def given(*parts: str | None) -> list[str]:
    """The parts that there are."""
    return [part for part in parts if part is not None]


def short(text: str) -> str:
    """A part of a key that is not sorted by: told from others by a digest if it is long."""
    whole = text.encode("utf-8", "surrogatepass")
    if len(whole) <= _SHORT_BYTES:
        return f"={text}"
    return "#" + hashlib.blake2b(whole, digest_size=16).hexdigest()


class Head(NamedTuple):
    """A checkpoint, as it is stored."""

    thread: str
    ns: str
    checkpoint_id: str
    parent: str | None
    run: str | None
    # The channels that have values, in order; those whose values lie apart have a version.
    channels: list[str]
    apart: dict[str, Version]
    # The channels whose values are what their last snapshot and all writes since make up.
    deltas: list[str]
    checkpoint: Typed
    metadata: Typed

    def packed(self) -> bytes:
        """As a record holds it."""
        return ormsgpack.packb([1, *self])


class Write(NamedTuple):
    """What a task has written to a channel."""

    at: int
    channel: str
    value: Typed
    task_path: str


class Task(NamedTuple):
    """All that a task has written, by index."""

    task_id: str
    writes: dict[int, Write]

    def packed(self) -> bytes:
        """As a record holds it."""
        return ormsgpack.packb([1, self.task_id, [[*one] for one in self.writes.values()]])

    def joined(self, new: Task) -> Task:
        """With what is written now. What has an index of its own, as an error, replaces
        what is there; of the others the first one stays."""
        fresh = {at: one for at, one in new.writes.items() if at < 0 or at not in self.writes}
        return Task(self.task_id, {**self.writes, **fresh})


def unpacked_head(data: bytes) -> Head:
    """A checkpoint of a record. Raises Damaged (definite)."""
    try:
        head = Head(*_fields("checkpoint", data))
        return head._replace(checkpoint=_typed(head.checkpoint), metadata=_typed(head.metadata))
    except (TypeError, ValueError) as error:
        raise Damaged(f"no checkpoint: {error}", definite=True) from error


def unpacked_task(data: bytes) -> Task:
    """A task's writes of a record. Raises Damaged (definite)."""
    try:
        task_id, writes = _fields("task's writes", data)
        made = (Write(at, channel, _typed(value), path) for at, channel, value, path in writes)
        return Task(task_id, {one.at: one for one in made})
    except (TypeError, ValueError) as error:
        raise Damaged(f"no task's writes: {error}", definite=True) from error


def _fields(what: str, data: bytes) -> list[Any]:
    """What a record holds behind its version."""
    fields: list[Any]
    version, *fields = ormsgpack.unpackb(data)
    if version != 1:
        raise Damaged(f"a {what} of version {version} is of a newer release", definite=True)
    return fields


def packed_value(value: Typed) -> bytes:
    """A channel's value, as a record holds it."""
    kind = value[0].encode()
    return len(kind).to_bytes(2, "big") + kind + value[1]


def unpacked_value(data: bytes) -> Typed:
    """A channel's value of a record."""
    end = 2 + int.from_bytes(data[:2], "big")
    return data[2:end].decode(), data[end:]


def packed_place(thread: str, ns: str, checkpoint_id: str) -> bytes:
    """Where a checkpoint is, as a record holds it."""
    return ormsgpack.packb([thread, ns, checkpoint_id])


def unpacked_place(data: bytes) -> tuple[str, str, str]:
    """Where a checkpoint is, of a record."""
    thread, ns, checkpoint_id = ormsgpack.unpackb(data)
    return thread, ns, checkpoint_id


def _typed(given: Iterable[Any]) -> Typed:
    kind, data = given
    return str(kind), bytes(data)
