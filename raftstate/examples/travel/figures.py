"""What the outcome of a run is, computed from the services' books and the exported log."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import Any

from raftstate.examples.census.evidence import Line
from raftstate.examples.travel import book, itinerary
from raftstate.examples.travel.book import Row
from raftstate.examples.travel.record import SERVER, STALE, Record


def outcome(record: Record) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "bookings": len(since_target(record)),
        "compensated_once": compensated_once(record),
        "reverse_order": reverse_order(record),
        "double_effects": len(double_effects(record)),
        "orphan_effects": len(orphan_effects(record)),
        "stale_writes_refused": len(stale_refusals(record)),
        "late_originals_refused": len(late_originals(record)),
        "mttr_ms": mttr_ms(record),
    }


def kept(record: Record) -> set[str]:
    """The keys of the bookings that the target of the rollback has: those told of by the
    events up to it."""
    last = record.checkpoint(record.rollback["checkpoint_id"])["event_seq"]
    return {
        json.loads(event["data"])["key"]
        for event in record.events
        if event["type"] == itinerary.BOOKED and event["seq"] <= last
    }


def since_target(record: Record) -> list[Row]:
    """Every booking in the services' books that the target does not have, in time: also
    one that nobody but the service knows of."""
    keep = kept(record)
    return [entry for entry in record.entries(book.BOOKED) if entry["key"] not in keep]


def compensated_once(record: Record) -> bool:
    """Whether every booking since the target was cancelled in effect, once, after it was
    made, and nothing else was."""
    made = since_target(record)
    cancelled = record.entries(book.CANCELLED)
    when = {entry["key"]: entry["at_ns"] for entry in cancelled}
    return (
        bool(made)
        and Counter(entry["key"] for entry in made) == Counter(one["key"] for one in cancelled)
        and len(when) == len(cancelled)
        and all(entry["at_ns"] < when[entry["key"]] for entry in made)
    )


def reverse_order(record: Record) -> bool:
    """Whether the cancellations, over all three books, are in the reverse order of the
    bookings they cancel, by the services' common clock."""
    made = [entry["key"] for entry in since_target(record)]
    undone = [entry["key"] for entry in record.entries(book.CANCELLED)]
    return bool(made) and undone == made[::-1]


def double_effects(record: Record) -> list[str]:
    """Keys that were booked, or cancelled, more than once in effect; and bookings of a leg
    of a trip that was booked already, under another key that was live then."""
    found: list[str] = []
    for kind in (book.BOOKED, book.CANCELLED):
        keys = Counter(entry["key"] for entry in record.entries(kind))
        found += (keys - Counter(set(keys))).elements()
    place = itemgetter("leg", "trip")
    entries = sorted(record.entries(book.BOOKED, book.CANCELLED), key=place)  # keeps time
    for _, group in groupby(entries, key=place):
        live: set[str] = set()
        for entry in group:
            if entry["what"] == book.BOOKED:
                found += [entry["key"]] if live - {entry["key"]} else []
                live.add(entry["key"])
            else:
                live.discard(entry["key"])
    return found


def orphan_effects(record: Record) -> list[str]:
    """Keys whose booking and whose entry in the ledger do not tell the same: what was
    booked and nobody answers for, and what is answered for and is not there."""
    effects = record.effects()
    states = {key: row["state"] for read in record.books.values() for key, row in _rows(read)}
    ever = {entry["key"] for entry in record.entries(book.BOOKED)}
    found = []
    for key in sorted(effects.keys() | states.keys()):
        said = effects[key]["state"] if key in effects else ""
        good = {
            "COMMITTED": {book.BOOKED},
            "COMPENSATED": {book.CANCELLED, book.TOMBSTONE},
            "FAILED_BEFORE_EFFECT": {"", book.TOMBSTONE} - ({""} if key in ever else set()),
        }.get(said, set())
        if states.get(key, "") not in good:
            found.append(key)
    return found


def _rows(read: book.Read) -> list[tuple[str, Row]]:
    return list(read.bookings.items())


def late_originals(record: Record) -> list[Row]:
    """Bookings that a service was asked for after their key was cancelled, and refused."""
    return record.entries(book.REFUSED)


def stale_refusals(record: Record) -> list[tuple[str, Line]]:
    """Writes that an agent tried under a token that the rollback had fenced, and that the
    store definitely refused."""
    fence = record.rollback["fence"]
    return [
        (name, line)
        for name, line in record.lines("refused")
        if line["judge"] == SERVER
        and line["definite"] is True
        and line["reason"] in STALE
        and line["token"] < fence
    ]


def mttr_ms(record: Record) -> int:
    """From when the incident was detected to when its agents might act again, in the
    log's own time."""
    incident = record.incident
    return int(incident["resumed_ms"]) - int(incident["detected_ms"])
