"""What the node really logged, and what it acknowledged when: the truth to judge by.

The log is cut all the time, so it is read where nothing was lost yet: just before each
snapshot took its name, and at the end. Together that is every entry from the first on.
Applied to an empty map in memory, they say what the state must be after each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from raftstate.consensus.contracts import NO_OP
from raftstate.consensus.membership import CONFIGURATION
from raftstate.consensus.replica import COMMANDS
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Entry
from raftstate.core.types import Index
from raftstate.v1.membership_pb2 import Configuration
from raftstate.v1.store_pb2 import LogEntry
from tests.crash_images.disk import Disk
from tests.crash_images.recording import Event, Op, RecordingError, mark_of

EPOCH = 1


@dataclass(frozen=True, slots=True)
class Promise:
    """What was acknowledged by some moment: an entry, and a term that was told."""

    index: int = 0
    term: int = 0

    def and_(self, event: Event) -> Promise:
        """With what one event more says, if it is an acknowledgement."""
        if not is_acknowledgement(event):
            return self
        mark = mark_of(event)
        return Promise(max(self.index, mark["index"]), max(self.term, mark["term"]))


def is_acknowledgement(event: Event) -> bool:
    """Whether an event is the driver's mark of a write that was acknowledged."""
    return event.op is Op.MARK and "index" in mark_of(event)


def replay(disk: Disk, event: Event) -> None:
    """Tell a disk an event of a trace."""
    disk.record(event)
    if event.op is Op.MARK and "restarted" in mark_of(event):
        disk.restart()


@dataclass(slots=True)
class History:
    """Every entry, and the state hash behind each; those before the first are 0."""

    entries: list[Entry] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)

    def entry(self, index: int) -> Entry | None:
        """The entry that was logged at an index."""
        return self.entries[index - 1] if index <= len(self.entries) else None

    def hash_after(self, index: int) -> bytes:
        """The state hash after the entries up to an index."""
        return self.hashes[index]


def apply_entry(machine: StateMachine, entry: Entry) -> None:
    """Apply an entry of any kind, as a member does."""
    kind, body = entry.data[:1], entry.data[1:]
    if kind == COMMANDS:
        machine.apply(entry.index, entry.term, LogEntry.FromString(body))
    elif kind == CONFIGURATION:
        machine.configure(entry.index, entry.term, Configuration.FromString(body))
    elif kind == NO_OP[:1]:
        machine.skip(entry.index, entry.term)
    else:
        raise RecordingError(f"entry {entry.index} is of a kind {kind!r} that nobody knows")


def moments(events: list[Event]) -> Iterator[int]:
    """Behind which events the log is to be read: the one before a cut, and the last."""
    for at, event in enumerate(events):
        if event.op is Op.RENAME and event.target.rpartition("/")[2].startswith("snap-"):
            yield at
    yield len(events) - 1


def build(pieces: Iterable[list[Entry]], events: list[Event]) -> History:
    """The history, from the entries that were found at each moment."""
    found: dict[int, Entry] = {}
    for piece in pieces:
        for entry in piece:
            if found.setdefault(entry.index, entry) != entry:
                raise RecordingError(f"two entries were logged at {entry.index}")
    history = History([found[index] for index in sorted(found)])
    indexes = [0, *sorted(found)]
    if any(after != before + 1 for before, after in pairwise(indexes)):
        raise RecordingError(f"entries are missing between {indexes[0]} and {indexes[-1]}")
    machine = StateMachine(MemoryStore(), EPOCH)
    history.hashes.append(machine.state_hash)
    for entry in history.entries:
        apply_entry(machine, entry)
        history.hashes.append(machine.state_hash)
    _compare(history, events)
    return history


def _compare(history: History, events: list[Event]) -> None:
    """Each acknowledgement is of a command that stands in the entry that it names."""
    for event in events:
        if not is_acknowledgement(event):
            continue
        mark = mark_of(event)
        entry = history.entry(Index(mark["index"]))
        if entry is None or not _holds(entry, mark):
            raise RecordingError(f"what was acknowledged is not in the log: {mark}")


def _holds(entry: Entry, mark: dict[str, object]) -> bool:
    if entry.data[:1] != COMMANDS:
        return False
    for command in LogEntry.FromString(entry.data[1:]).commands:
        name = command.WhichOneof("body")
        request = getattr(command, str(name))
        session, sequence = getattr(request, "session_id", ""), 0
        if hasattr(request, "request_id"):
            session, sequence = request.request_id.session_id, request.request_id.sequence
        if (session, sequence) == (mark["session"], mark["sequence"]):
            return True
    return False
