"""Reads of breakers and incidents, from any reader: of the state now, or as it was.

As in `queries`, an id that cannot be one names nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core import breakers, incidents, keys, limits, pages, windows
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.breaker_service_pb2 import Breaker
from raftstate.v1.recovery_service_pb2 import Incident, ListIncidentsRequest


class IncidentPage(NamedTuple):
    """Some incidents of a list, in order of id. What follows has ids behind `next_after`;
    empty: nothing follows."""

    incidents: list[Incident]
    next_after: str


# --- breakers ----------------------------------------------------------------


def get_breaker(reader: Reader, name: str) -> Breaker | None:
    """One breaker."""
    found = breakers.load(reader, name) if limits.AGENT_ID.fullmatch(name) else None
    return None if found is None else _counted(reader, found)


def _counted(reader: Reader, breaker: Breaker) -> Breaker:
    """A breaker with its newest counts, which its record need not have. Windows have no
    past, so that a reader of it is shown what the record had."""
    if not isinstance(reader, PastReader):
        window = windows.load(reader, breaker.name)
        if window.behind:
            breaker.counts.CopyFrom(windows.counts(window.buckets))
    return breaker


def list_breakers(
    reader: Reader, prefix: str, after: str, limit: int, bytes_max: int | None = None
) -> list[Breaker]:
    """Up to `limit` breakers whose name starts with `prefix`, behind `after`, by name;
    fewer where `bytes_max` says so (see `pages`)."""
    if len(prefix) > limits.AGENT_ID_CHARS_MAX:
        return []
    found = reader.scan(*keys.breakers(prefix, after))
    rows = pages.looked_at(found, limit, bytes_max)
    return [_counted(reader, Breaker.FromString(raw)) for raw in rows]


# --- incidents ---------------------------------------------------------------


def get_incident(reader: Reader, incident_id: str) -> Incident | None:
    """One incident."""
    found = limits.NUMBERED_ID.fullmatch(incident_id)
    return incidents.load(reader, incident_id) if found else None


def list_incidents(
    reader: Reader,
    after: str,
    limit: int,
    wanted: ListIncidentsRequest | None = None,
    scanned_max: int = limits.SCANNED_PER_PAGE_MAX,
) -> IncidentPage:
    """Up to `limit` incidents with ids behind `after` that hold to the filters of `wanted`,
    by id. It looks at no more than `scanned_max`, and about `pages.PAGE_BYTES`, so what it
    gives may be less, and nothing, before the end."""
    found: list[Incident] = []
    last, scanned, size = after, 0, 0
    for _, raw in reader.scan(*keys.incidents(after)):
        if len(found) == limit or scanned == scanned_max or size > pages.PAGE_BYTES:
            return IncidentPage(found, last)
        incident = Incident.FromString(raw)
        last, scanned, size = incident.incident_id, scanned + 1, size + len(raw)
        if wanted is None or matches(incident, wanted):
            found.append(incident)
    return IncidentPage(found, "")


def matches(incident: Incident, wanted: ListIncidentsRequest) -> bool:
    """Whether an incident holds to every filter of a list."""
    if wanted.only_open and not incident.open:
        return False
    return not wanted.agent_id or wanted.agent_id in incident.agent_ids
