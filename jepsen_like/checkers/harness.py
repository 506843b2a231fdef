"""Whether the harness itself did what it was to do: or else its verdicts mean nothing."""

from __future__ import annotations

from collections.abc import Iterator

from jepsen_like.checkers.verdicts import verdict
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
    for name, what in (
        ("raised", "operations ended in a defect of their client"),
        ("deaf", "clients did not end when they were told to"),
        ("nemesis_errors", "things that the nemesis was to do failed"),
    ):
        if tally[name]:
            shown = {error: count for error, count in tally["errors"].items() if name in error}
            yield f"{tally[name]} {what} {shown or ''}".rstrip()
