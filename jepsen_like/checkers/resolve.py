"""What the committed log says of each operation: how unknown outcomes become known.

Every operation that changes something carries an id that no other carries, and the step
that it commits holds one event with that id. So after the heal the log tells what became
of each: its id is there, and it happened; or it is not, and it never will. That holds the
acknowledged to their word as well: one whose id is missing is lost, one that failed and
is there is resurrected, and an id that is there twice happened twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.history import Pair, of_workload, pairs
from jepsen_like.protocols import LoggedEvent, Record

LOG_NOTE: Final = "log"  # the note in which a run says why its log is not whole

Told = Literal["done", "not done", "unknown"]


class Resolved(NamedTuple):
    """One operation that would change something: what its client was told, and the
    event that it left in the log, if it did."""

    id: str
    pair: Pair
    told: Told
    stored: LoggedEvent | None


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of all operations of one workload, by id in the order in which they
    began, and all that is wrong with that; `disorder` is what of it is wrong with the log
    alone, whoever wrote it. `unread` says why the log cannot be relied on;
    then nothing is known that was not known before, and `stored` is None everywhere."""

    workload: str
    pairs: tuple[Pair, ...]
    operations: Mapping[str, Resolved]
    log: tuple[LoggedEvent, ...]
    complaints: tuple[str, ...]
    unread: str = ""
    disorder: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the log was read in whole."""
        return not self.unread

    def of(self, pair: Pair) -> Resolved | None:
        """What became of that operation; None for one that changes nothing."""
        identity = id_of(pair)
        return None if identity is None else self.operations.get(identity)

    def figures(self) -> dict[str, int]:
        """How many were told what, and of the unknown ones how many happened."""
        all_of = list(self.operations.values())
        unknown = [one for one in all_of if one.told == "unknown"]
        count = {"lost": 0, "resurrected": 0, "double": 0}
        for complaint in self.complaints:
            name = complaint.partition(":")[0]
            if name in count:
                count[name] += 1
        return {
            "acknowledged": sum(one.told == "done" for one in all_of),
            "refused": sum(one.told == "not done" for one in all_of),
            "unknown": len(unknown),
            "unknown_happened": sum(one.stored is not None for one in unknown),
            **count,
        }


def resolve(record: Record, workload: str) -> Resolution:
    """Find every operation of a workload in the committed log.

    Raises MalformedHistory if the history is none, or names two operations alike."""
    asked = tuple(pairs(of_workload(record.events, workload)))
    by_id: dict[str, Pair] = {}
    for pair in asked:
        identity = id_of(pair)
        if identity is not None and by_id.setdefault(identity, pair) is not pair:
            raise MalformedHistory(f"two operations have the id {identity!r}")
    log = tuple(
        event
        for event in record.log
        if event.type == workload or workload_of(event) == workload
    )
    unread = _unread(record)
    stored, garbled = ({}, []) if unread else _by_id(log)
    first = {identity: events[0] for identity, events in stored.items()}
    operations = {
        identity: Resolved(identity, pair, told(pair), first.get(identity))
        for identity, pair in by_id.items()
    }
    if unread:
        return Resolution(workload, asked, operations, log, (), unread)
    disorder = (*garbled, *_misplaced(log, workload), *_gaps(log))
    complaints = (
        *disorder,
        *_doubles(stored),
        *_strangers(by_id, stored),
        *_broken_words(operations.values()),
    )
    return Resolution(workload, asked, operations, log, complaints, disorder=disorder)


def id_of(pair: Pair) -> str | None:
    """The id of an operation; None if it changes nothing."""
    value = pair.invoke.value
    identity = value.get("id") if isinstance(value, dict) else None
    return identity if isinstance(identity, str) else None


def told(pair: Pair) -> Told:
    """What the client was told. A comparison that did not hold was answered, and changed
    nothing."""
    end = pair.completion
    if end is None or end.type == "info":
        return "unknown"
    if end.type == "fail" or (
        isinstance(end.value, dict) and end.value.get("swapped") is False
    ):
        return "not done"
    return "done"


def key_of(event: LoggedEvent) -> str:
    """The key that an event belongs to: the last part of its agent's name."""
    return event.stream.rpartition("/")[2]


def workload_of(event: LoggedEvent) -> str:
    """The workload that an event belongs to: the last part but one of its agent's name."""
    return event.stream.rpartition("/")[0].rpartition("/")[2]


def _unread(record: Record) -> str:
    """Why the log cannot be relied on; empty if it can."""
    note = record.notes.get(LOG_NOTE)
    if isinstance(note, Mapping) and note.get("whole") is False:
        return f"the committed log was not read in whole: {note.get('why', 'no reason given')}"
    if not record.log and any(event.type == "ok" for event in record.events):
        return "the committed log was not read: no event is in it"
    return ""


def _by_id(log: Iterable[LoggedEvent]) -> tuple[dict[str, list[LoggedEvent]], list[str]]:
    """The stored events by id, and what is wrong with those that have none."""
    stored: dict[str, list[LoggedEvent]] = {}
    garbled = []
    for event in log:
        identity = stored_id(event.data)
        if identity is None:
            garbled.append(f"garbled: {_place(event)} holds {event.data[:80]!r}")
        else:
            stored.setdefault(identity, []).append(event)
    return stored, garbled


def stored_id(data: str) -> str | None:
    """The id in the payload of an event; None if it has none."""
    try:
        value: Any = json.loads(data)
    except ValueError:
        return None
    identity = value.get("id") if isinstance(value, dict) else None
    return identity if isinstance(identity, str) else None


def _place(event: LoggedEvent) -> str:
    return f"{event.stream} step {event.step} @{event.revision}"


def _doubles(stored: Mapping[str, Sequence[LoggedEvent]]) -> Iterator[str]:
    for identity, events in stored.items():
        if len(events) > 1:
            yield f"double: {identity} is stored as {' and as '.join(map(_place, events))}"


def _misplaced(log: Iterable[LoggedEvent], workload: str) -> Iterator[str]:
    """Events of one workload in the stream of another, or the other way round."""
    for event in log:
        if not event.type == workload_of(event) == workload:
            yield f"stranger: {_place(event)} is of the type {event.type!r}"


def _strangers(
    asked: Mapping[str, Pair], stored: Mapping[str, Sequence[LoggedEvent]]
) -> Iterator[str]:
    for identity, events in stored.items():
        if identity not in asked:
            yield f"stranger: {_place(events[0])} holds {identity}, which nobody sent"


def _gaps(log: Iterable[LoggedEvent]) -> Iterator[str]:
    """The events of a stream count from 1, and nothing goes back."""
    newest: dict[str, LoggedEvent] = {}
    position = 0
    for event in log:
        before = newest.get(event.stream)
        seq, step, revision = (0, 0, 0) if before is None else _counts(before)
        if event.seq != seq + 1:
            yield f"gap: seq {event.seq} of {event.stream} comes after {seq}"
        if event.step <= step or event.revision <= revision or event.position <= position:
            yield f"gap: {_place(event)} goes back from step {step} @{revision}"
        newest[event.stream], position = event, event.position


def _counts(event: LoggedEvent) -> tuple[int, int, int]:
    return event.seq, event.step, event.revision


def _broken_words(operations: Iterable[Resolved]) -> Iterator[str]:
    """What is stored otherwise than the client was told."""
    for one in operations:
        asked = one.pair.invoke
        what = f"{one.id} ({asked.f} of key {asked.key!r})"
        if one.stored is None:
            if one.told == "done":
                yield f"lost: {what} was acknowledged, and is not in the log"
            continue
        if one.told == "not done":
            yield f"resurrected: {what} did not happen, and is in the log"
        elif one.told == "done":
            yield from (f"moved: {what} {said}" for said in _moved(one.pair, one.stored))
        if asked.key and key_of(one.stored) != asked.key:
            yield f"moved: {what} is stored in {one.stored.stream}"


def _moved(pair: Pair, stored: LoggedEvent) -> Iterator[str]:
    """Where an acknowledged operation is stored at another place than was answered."""
    assert pair.completion is not None, "it was acknowledged"
    value = pair.completion.value if isinstance(pair.completion.value, dict) else {}
    for name in ("step", "position"):
        if name in value and value[name] != getattr(stored, name):
            yield f"was acknowledged at {name} {value[name]}, stored at {getattr(stored, name)}"
    if pair.completion.revision != stored.revision:
        yield f"was acknowledged @{pair.completion.revision}, stored @{stored.revision}"
