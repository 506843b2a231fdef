"""The other side of `folds`: a process that folds events with a built-in reducer, compares
what comes of it with what was written, says what it found, and ends.

As in `comparing`, what it is given may be hostile, and costs nobody but itself. It reads a
line of JSON, what it is to do; and then pieces, each a line of JSON and as many bytes as
that says: checkpoints and events in the order in which they count. At the end of these, or
where a comparison fails, it writes a line of JSON.

A checkpoint is a chain of parts, of which some are often those of the checkpoint before:
`keep` of these are not sent again.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from raftstate import content
from raftstate.content import ContentError, Reducer
from raftstate.rpc.comparing import MEMORY_MAX, NICE

Answer = dict[str, Any]
CPU_S_MAX = 45


class Piece(NamedTuple):
    """One piece of what comes in."""

    head: dict[str, Any]
    data: list[bytes]


def main() -> None:
    """Fold what comes in."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    task = json.loads(sys.stdin.buffer.readline())
    said = json.dumps(folded(_read(), **task))
    # Who still sends learns that nobody reads on, and reads what is said.
    os.close(sys.stdin.fileno())
    sys.stdout.write(said)
    sys.stdout.flush()
    os._exit(0)


def folded(
    pieces: Iterable[Piece],
    *,
    reducer: Reducer,
    values_max: int,
    differences: int,
    chars: int,
    state_bytes: int,
) -> Answer:
    """What came of folding; or what is wrong."""
    run = _Run(reducer, values_max, differences, chars)
    try:
        for head, data in pieces:
            run.at = head["name"]
            step = run.checkpoint if "parts" in head else run.event
            if (found := step(head, data)) is not None:
                return run.answer() | {"divergence": found}
        return run.answer() | run.state(state_bytes)
    except ContentError as error:
        return {"wrong": f"{run.at}: {error}"}
    except MemoryError:
        return {"wrong": f"{run.at}: it takes too much memory"}


class _Run:
    """One fold: the state so far, and what was compared."""

    def __init__(self, reducer: Reducer, values_max: int, differences: int, chars: int) -> None:
        self.at = "the beginning"
        self._reducer = reducer
        self._values_max = values_max
        self._bounds = differences, chars
        self._state: Any = None
        self._before: Any = None
        # Of `append`, all items so far, hashed: so that a long list is not hashed anew
        # with each of them.
        self._items = blake2b(digest_size=32)
        self._chain: list[tuple[Any, str]] = []
        self._events = self._hashes = self._checkpoints = 0
        self._go_on(content.EMPTY[reducer])

    def _go_on(self, state: Any) -> None:
        """Fold on from a state."""
        content.demand_state(self._reducer, state)
        content.canonical(state)
        if self._reducer == "append":
            items, state = state, []
            self._items = blake2b(b"[", digest_size=32)
            for each in items:
                self._append(state, each)
        self._state = state

    def _append(self, items: list[Any], data: Any) -> None:
        self._items.update(b"," * bool(items) + content.canonical_of_json(data))
        items.append(data)

    def _value(self, data: bytes, kind: str) -> Any:
        value = content.decode(data, kind, values_max=self._values_max)
        if content.family(kind) != "json":
            content.canonical(value)  # there is more in msgpack than in JSON
        return value

    # --- pieces ---

    def checkpoint(self, head: dict[str, Any], data: list[bytes]) -> Answer | None:
        """Compare a checkpoint with the state, or go on from what it holds."""
        del self._chain[head["keep"] :]
        for part, kind in zip(data, (kind for _, kind in head["parts"]), strict=True):
            self._chain.append((self._restored(part, kind), kind))
        value = self._chain[-1][0]
        if head["adopt"]:
            self._go_on(value)
            return None
        self._checkpoints += 1
        expected, actual = content.state_hash(value), self._hash()
        if expected == actual:
            return None
        return self._divergence(head, expected, actual, value, self._state)

    def _restored(self, part: bytes, kind: str) -> Any:
        if not self._chain:
            return content.decode(part, kind, values_max=self._values_max)
        (base, _), (_, base_type) = self._chain[-1], self._chain[0]
        return content.restore_delta(base, base_type, part, kind, values_max=self._values_max)

    def event(self, head: dict[str, Any], parts: list[bytes]) -> Answer | None:
        """Fold an event, and compare the hash of the state with what it says of it."""
        value = None if self._reducer == "count" else self._value(parts[0], head["type"])
        self._before = self._state
        if self._reducer == "append":
            self._append(self._state, value)
        else:
            self._state = content.fold(self._reducer, self._state, head["event"], value)
        self._events += 1
        if not head["hash"]:
            return None
        self._hashes += 1
        expected, actual = bytes.fromhex(head["hash"]), self._hash()
        if expected == actual:
            return None
        before = self._state[:-1] if self._reducer == "append" else self._before
        return self._divergence(head, expected, actual, before, self._state)

    def _divergence(
        self, head: dict[str, Any], expected: bytes, actual: bytes, before: Any, after: Any
    ) -> Answer:
        found, _ = content.diff(before, after, *self._bounds)
        return {
            "seq": head["seq"],
            "checkpoint_id": head.get("id", 0),
            "expected": expected.hex(),
            "actual": actual.hex(),
            "differences": [_said(one) for one in found],
        }

    # --- what came of it ---

    def _hash(self) -> bytes:
        if self._reducer != "append":
            return blake2b(content.canonical_of_json(self._state), digest_size=32).digest()
        items = self._items.copy()
        items.update(b"]")
        return items.digest()

    def answer(self) -> Answer:
        """What was folded and compared."""
        return {
            "events": self._events,
            "hashes": self._hashes,
            "checkpoints": self._checkpoints,
            "state_hash": self._hash().hex(),
        }

    def state(self, bytes_max: int) -> Answer:
        """The state, if it is wanted: in no more bytes than are allowed. Raises
        ContentError."""
        if not bytes_max:
            return {}
        state = content.canonical_of_json(self._state)
        if len(state) > bytes_max:
            raise ContentError(f"the state has {len(state)} bytes (limit: {bytes_max})")
        return {"state": b64encode(state).decode()}


def _said(found: content.Difference) -> str:
    """One difference in one line."""
    where = found.path or "/"
    if found.kind == "added":
        return f"{where} added: {found.after}"
    if found.kind == "removed":
        return f"{where} removed: {found.before}"
    return f"{where} changed: {found.before} -> {found.after}"


def _read() -> Iterator[Piece]:
    source = sys.stdin.buffer
    while line := source.readline():
        head = json.loads(line)
        sizes = [size for size, _ in head["parts"]] if "parts" in head else [head["size"]]
        data = [source.read(size) for size in sizes]
        if [len(one) for one in data] != sizes:
            sys.exit("the server has gone")
        yield Piece(head, data)
