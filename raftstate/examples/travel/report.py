"""The run for people: what was undone, the incident with its times, the breaker."""

from __future__ import annotations

from collections.abc import Iterator

from raftstate.examples.travel import book
from raftstate.examples.travel.figures import late_originals, outcome, since_target
from raftstate.examples.travel.judge import TIMES
from raftstate.examples.travel.record import Record

NS_PER_MS = 1_000_000
WHAT = {
    book.CANCELLED: "cancelled",
    book.TOMBSTONE: "never booked; refused from now on",
    book.REFUSED: "booking refused: it was cancelled before",
}


def report(record: Record) -> str:
    """A page of text."""
    return "\n".join([*_incident(record), "", *_undone(record), "", *_figures(record)]) + "\n"


def _incident(record: Record) -> Iterator[str]:
    incident, rollback, breaker = record.incident, record.rollback, record.breaker
    yield f"incident {incident['incident_id']}: {incident['symptom']}, {incident['summary']}"
    yield f"  classification  {incident['classification']}"
    yield f"  breaker         {breaker['name']}: {breaker['reason']}"
    yield (
        f"  rollback        {rollback['rollback_id']} of {rollback['agent_id']} to checkpoint"
        f" {rollback['checkpoint_id']}, known good"
    )
    yield (
        f"  events undone   {rollback['first_undone_seq']} to {rollback['last_undone_seq']},"
        " kept and readable"
    )
    former, fence = _token(rollback["former_fence"]), _token(rollback["fence"])
    yield f"  tokens          {former} was fenced by {fence}"
    began = incident["detected_ms"]
    for name in TIMES:
        yield f"  {name:<15} {'+' + str(incident[f'{name}_ms'] - began):>8} ms"
    yield f"  resolution      {incident['resolution']}"


def _undone(record: Record) -> Iterator[str]:
    made = {entry["key"]: entry["at_ns"] for entry in since_target(record)}
    yield f"booked since the target: {len(made)}, by the services' own books"
    entries = record.entries(*WHAT)
    began = entries[0]["at_ns"] if entries else 0
    for entry in entries:
        at = (entry["at_ns"] - began) // NS_PER_MS
        booked = made.get(entry["key"])
        ago = "" if booked is None else f", {(entry['at_ns'] - booked) // NS_PER_MS} ms after"
        yield (
            f"  +{at:>6} ms  {entry['caller']:<10} {entry['leg']:<6} of trip {entry['trip']:<3}"
            f" {WHAT[entry['what']]}{ago if entry['what'] == book.CANCELLED else ''}"
        )
    yield f"late originals: {len(late_originals(record))}"


def _figures(record: Record) -> Iterator[str]:
    for name, value in outcome(record).items():
        yield f"{name.replace('_', ' '):>22}  {value}"


def _token(token: list[int]) -> str:
    return f"{token[0]}/{token[1]}"
