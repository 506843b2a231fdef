"""Whether the harness itself did what it was to do: or else its verdicts mean nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import NEMESIS
from jepsen_like.protocols import Record, Verdict


def check(record: Record) -> Verdict:
    """Whether the run came to its end, every client with it, and nothing in the harness
    failed. What it could not do makes the run unknown: the cluster is not to blame."""
    tally = record.tally
    return verdict(
        "harness",
        f"{tally.get('ops', 0)} operations were asked for and ended; "
        f"{tally.get('opened', 0)} clients were opened",
        unsure=list(_wrong(record)),
        figures=dict(tally),
    )


def _wrong(record: Record) -> Iterator[str]:
    tally = record.tally
    if not tally:
        yield "nobody noted how the run went"
        return
    if not tally["complete"]:
        yield "the run did not come to its end in time"
    for thread, why in tally["unopened"].items():
        yield f"{thread} had no open client at the end: {why}"
    for name, what, errors in (
        ("raised", "operations ended in a defect of their client", tally["defects"]),
        ("deaf", "clients did not end when they were told to", {}),
        ("nemesis_errors", "things that the nemesis was to do failed", _of_nemesis(tally)),
    ):
        if tally[name]:
            yield f"{tally[name]} {what} {dict(errors) or ''}".rstrip()
    yield from _history(record)


def _of_nemesis(tally: Mapping[str, Any]) -> dict[str, int]:
    return {
        error: count for error, count in tally["errors"].items() if error.startswith("nemesis/")
    }


def _history(record: Record) -> Iterator[str]:
    """What shows that the history is not the whole one, or not in order; and that what
    came after the heal began before the cluster was well."""
    ended = Counter(event.type for event in record.events if event.process != NEMESIS)
    for outcome in ("ok", "fail", "info"):
        counted = record.tally.get(outcome, ended[outcome])
        if counted != ended[outcome]:
            yield f"{counted} operations ended as {outcome}, and {ended[outcome]} are written"
    for before, after in pairwise(record.events):
        if after.time < before.time:
            yield f"time goes back in the history, from {before.time} to {after.time}"
            break
    for event in record.events:
        if event.process == NEMESIS and event.type == "info" and isinstance(event.value, dict):
            if event.key == "heal" and event.value.get("serving") is False:
                yield "not every node served again after the heal"
            if event.key == "settle" and event.value.get("settled") is False:
                yield "not every node caught up before the last reads"
