"""What ended with nobody knowing, and what the committed log says of it after the heal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Final

from jepsen_like.checkers import resolve
from jepsen_like.checkers.history import MalformedHistory
from jepsen_like.history import Pair
from jepsen_like.protocols import LoggedEvent
from jepsen_like.report.markup import Markup, join, tag
from jepsen_like.report.run import Run
from jepsen_like.report.tables import stacked
from jepsen_like.report.words import count, moment, pairs, plural

SHOWN_MAX: Final = 300  # lines of the table
OPEN_MAX: Final = 12  # lines of a table that is open from the beginning


def unknowns(run: Run) -> Markup:
    """What ended with nobody knowing, and what the committed log says of it."""
    unknown = [pair for pair in run.operations if pair.outcome == "info"]
    if not unknown:
        return tag("p", "Every outcome was known.")
    fates = _fates(run)
    parts = _parts(run)
    said = [(pair, *fate(pair, fates.get(pair.invoke.workload), parts)) for pair in unknown]
    by_fate = Counter(told for _, told, _ in said)
    summary = " · ".join(f"{told} {count(number)}" for told, number in by_fate.most_common())
    rows = (
        (
            moment(pair.invoke.time),
            f"{pair.invoke.workload} {pair.invoke.f}",
            pair.invoke.key,
            pairs(pair.invoke.value),
            pair.invoke.node if pair.completion is None else pair.completion.node,
            "never answered" if pair.completion is None else pair.completion.error,
            f"{told} {where}",
        )
        for pair, told, where in said[:SHOWN_MAX]
    )
    head = ("asked at", "operation", "key", "value", "node", "why", "resolved")
    left_out = len(unknown) - SHOWN_MAX
    return join(
        [
            tag("p", f"{plural(len(unknown), 'operation')}: {summary}."),
            tag(
                "details",
                tag("summary", "Each of them"),
                stacked(head, rows),
                tag("p", f"{count(left_out)} more are left out.") if left_out > 0 else None,
                open=len(unknown) <= OPEN_MAX,
            ),
        ]
    )


def _fates(run: Run) -> dict[str, resolve.Resolution]:
    """What the log says of each workload's operations; nothing of one that it cannot."""
    found = {}
    for workload in run.record.workloads:
        try:
            found[workload] = resolve.resolve(run.record, workload)
        except MalformedHistory:
            continue  # The workload's checkers say so, and why.
    return found


def _parts(run: Run) -> Counter[str]:
    """How many events of the log belong to an operation of several steps, by its id:
    theirs is that id, a dot, and a number."""
    ids = (_id(event) for event in run.record.log)
    return Counter(one.rpartition(".")[0] for one in ids if one is not None and "." in one)


def _id(event: LoggedEvent) -> str | None:
    try:
        said = json.loads(event.data)
    except ValueError:
        return None
    name = said.get("id") if isinstance(said, dict) else None
    return name if isinstance(name, str) else None


def fate(
    pair: Pair, known: resolve.Resolution | None, parts: Mapping[str, int]
) -> tuple[str, str]:
    """What became of an operation whose outcome nobody was told, and where it stands."""
    if known is None or known.unread:
        return "still unknown", "(the log was not read)"
    one = known.of(pair)
    if one is None:
        return "changes nothing", ""
    if one.stored is None and parts.get(one.id):
        return "happened in part", f"({plural(parts[one.id], 'step')} in the log)"
    if one.stored is None:
        return "did not happen", ""
    return "happened", f"at revision {count(one.stored.revision)}"
