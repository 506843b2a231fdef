"""Replicas: one log, one state. Two members at one revision hold the same, always.

Every member says its revision together with a hash over its whole state. Of all samples
of a run, two with one revision and two hashes are two truths. And when the faults are
over all members have to come to one revision: one that never gets there has not
converged, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jepsen_like.checkers.verdicts import verdict
from jepsen_like.protocols import Record, Sample, Verdict


def check(record: Record, lag_s: float = 5.0) -> Verdict:
    """Whether all members hold the same at the same revision, and all came to the end.

    The last samples are not of one moment. So a member may be behind what another one
    showed up to `lag_s` before, if all have been at one revision since the heal."""
    settled = [one for one in record.samples if one.answered and one.state_hash]
    first: dict[int, Sample] = {}
    wrong = list(_diverged(settled, first))
    healed = record.phases.get("heal")
    unsure = [] if settled else ["no member said what it holds"]
    if healed is None:
        unsure.append("the run was never healed: nobody knows whether members converge")
    else:
        after = [one for one in settled if one.time >= healed]
        if after:
            wrong += _not_converged(record.nodes, after, lag_s)
        elif settled:
            unsure.append("no member was asked what it holds after the heal")
    compared = len(settled) - len(first)
    if settled and not compared:
        unsure.append("no two samples are of one revision")
    return verdict(
        "states",
        f"{compared} times a revision was seen again, always with the same state; in the "
        f"end all {len(record.nodes)} members are at revision {max(first, default=0)}",
        wrong=wrong,
        unsure=unsure,
        figures={
            "samples": len(settled),
            "revisions": len(first),
            "compared": compared,
            "last_revision": max(first, default=0),
        },
    )


def _diverged(settled: Sequence[Sample], first: dict[int, Sample]) -> Iterator[str]:
    """Samples that differ from the first one of their revision."""
    for one in settled:
        other = first.setdefault(one.revision, one)
        if other.state_hash != one.state_hash:
            yield (
                f"diverged: at revision {one.revision} {other.node} held "
                f"{other.state_hash[:16]} ({other.time:.2f} s), {one.node} "
                f"{one.state_hash[:16]} ({one.time:.2f} s)"
            )


def _not_converged(
    nodes: Sequence[str], after: Sequence[Sample], lag_s: float
) -> Iterator[str]:
    """Members that did not come to the revision that the others have."""
    last = {one.node: one for one in after}
    for node in sorted(set(nodes) - last.keys()):
        yield f"not converged: {node} did not answer after the heal"
    if len({one.revision for one in last.values()}) == 1:
        return
    shown = ", ".join(f"{node} {last[node].revision}" for node in sorted(last))
    seen = [{one.revision for one in after if one.node == node} for node in last]
    if not set.intersection(*seen):
        yield f"not converged: members were never at one revision after the heal; last: {shown}"
        return
    end = max(one.time for one in after)
    reached = max((one.revision for one in after if one.time <= end - lag_s), default=0)
    behind = [node for node in sorted(last) if last[node].revision < reached]
    if behind:
        yield (
            f"not converged: {', '.join(behind)} ended behind revision {reached}, which was "
            f"seen {lag_s:g} s before the end; last: {shown}"
        )
