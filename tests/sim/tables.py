"""All tables of a state, read at once: what `recount` goes by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from raftstate.core import history, keys
from raftstate.core.machine import read_counters
from raftstate.core.ports import Reader
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, GroupCheckpoint
from raftstate.v1.effect_service_pb2 import CompensationItem, Effect, Saga
from raftstate.v1.event_service_pb2 import Event, Projection, StreamInfo
from raftstate.v1.kv_service_pb2 import KeyValue
from raftstate.v1.lease_service_pb2 import Lease
from raftstate.v1.recovery_service_pb2 import Incident, Validator
from raftstate.v1.rollback_service_pb2 import Rollback
from raftstate.v1.session_service_pb2 import Session
from raftstate.v1.store_pb2 import (
    BreakerWindow,
    ChangedKeys,
    CheckpointBody,
    ChunkRecord,
    GarbageJob,
    OutcomeRecord,
    SessionTouch,
    UndoneRange,
)

_RECORDS: dict[str, Any] = {
    "A": Saga,
    "B": Breaker,
    "E": Effect,
    "I": Incident,
    "K": CompensationItem,
    "L": UndoneRange,
    "R": Rollback,
    "U": UndoneRange,
    "W": BreakerWindow,
    "a": Agent,
    "c": Checkpoint,
    "d": CheckpointBody,
    "e": Event,
    "f": ChunkRecord,
    "h": ChangedKeys,
    "k": KeyValue,
    "l": Lease,
    "m": GroupCheckpoint,
    "n": Validator,
    "p": Projection,
    "q": StreamInfo,
    "r": OutcomeRecord,
    "s": Session,
    "t": SessionTouch,
    "z": GarbageJob,
}
_PLAIN = frozenset("CDFGJNOPSTVXbgijouvwxy")
Numbered = tuple[str, int]
Complaints = Iterator[str]


class Tables:
    """All tables of a map: what is behind a table's letter, by what follows it."""

    def __init__(self, reader: Reader) -> None:
        self.mark = history.read_mark(reader)
        self.counters = read_counters(reader)
        self.strangers: list[bytes] = []
        self._rows: dict[str, dict[bytes, Any]] = defaultdict(dict)
        for key, raw in reader.scan(*keys.EVERYTHING):
            letter = key[:1].decode("latin-1")
            if letter in _RECORDS:
                self._rows[letter][key[1:]] = _RECORDS[letter].FromString(raw)
            elif letter in _PLAIN:
                self._rows[letter][key[1:]] = raw
            elif letter != "!":
                self.strangers.append(key)
        self.agents: dict[str, Agent] = self.by_id("a")
        self.checkpoints: dict[Numbered, Checkpoint] = self.by_number("c")
        self.bodies: dict[Numbered, CheckpointBody] = self.by_number("d")
        self.events: dict[Numbered, Event] = self.by_number("e")
        self.streams: dict[str, StreamInfo] = self.by_id("q")
        self.effects: dict[Numbered, Effect] = self.by_number("E")
        self.sagas: dict[str, Saga] = self.by_id("A")
        self.rollbacks: dict[str, Rollback] = self.by_id("R")
        self.items: dict[Numbered, CompensationItem] = self.by_number("K")
        self.incident_counts = reader.get(keys.INCIDENTS)

    def rows(self, letter: str) -> dict[bytes, Any]:
        """A table as it is."""
        return self._rows[letter]

    def by_id(self, letter: str) -> dict[str, Any]:
        """A table whose keys are ids."""
        return {key.decode(): row for key, row in self._rows[letter].items()}

    def by_number(self, letter: str) -> dict[Numbered, Any]:
        """A table whose keys are an id and a number."""
        return {_numbered(key): row for key, row in self._rows[letter].items()}

    def by_two(self, letter: str) -> dict[tuple[str, bytes], Any]:
        """A table whose keys are an id and something else."""
        return {_two(key): row for key, row in self._rows[letter].items()}


def _numbered(key: bytes) -> Numbered:
    return key[:-9].decode(), keys.to_number(key)


def _two(key: bytes) -> tuple[str, bytes]:
    one, _, other = key.partition(b"\0")
    return one.decode(), other


def differ(what: str, counted: Any, kept: Any) -> Complaints:
    """Say so if two collections that should be the same are not."""
    if counted != kept:
        missing, extra = sorted(set(counted) - set(kept)), sorted(set(kept) - set(counted))
        yield f"{what}: {missing[:3]} missing, {extra[:3]} left over ({len(counted)} expected)"
