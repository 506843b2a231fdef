"""Replicas: one log, one state. Two members at one revision hold the same, always.

Every member says its revision together with a hash over its whole state. Of all samples
of a run, two with one revision and two hashes are two truths. And when the faults are
over all members have to come to one revision: one that never gets there has not
converged, whatever it holds.

What members say of themselves beside is held against them too: two that lead in one term,
and alarms that tell of data that was lost or damaged. The cluster mends that by itself, so
that nothing else may show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from jepsen_like.checkers.verdicts import verdict
from jepsen_like.protocols import Record, Sample, Verdict

# Alarms that no fault of the harness accounts for: disks keep what was synced.
DAMAGE: Final = ("HASH_DIFFERS", "QUARANTINED", "PEER_LOST_LOG", "PEER_LOST_DISK")


def check(record: Record, lag_s: float = 5.0) -> Verdict:
    """Whether all members hold the same at the same revision, and all came to the end.

    The last samples are not of one moment. So a member may be behind what another one
    showed up to `lag_s` before, if all have been at one revision since the heal."""
    settled = [one for one in record.samples if one.answered and one.state_hash]
    first: dict[int, Sample] = {}
    wrong = [
        *_diverged(settled, first),
        *_two_leaders(record.samples),
        *_alarmed(record.samples),
    ]
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


def _two_leaders(samples: Sequence[Sample]) -> Iterator[str]:
    """Members that said that they led in a term that another one led in."""
    leads: dict[int, Sample] = {}
    told: set[tuple[int, str]] = set()
    for one in samples:
        if one.role != "leader":
            continue
        other = leads.setdefault(one.term, one)
        if other.node != one.node and (one.term, one.node) not in told:
            told.add((one.term, one.node))
            yield (
                f"two leaders: {other.node} ({other.time:.2f} s) and {one.node} "
                f"({one.time:.2f} s) led in term {one.term}"
            )


def _alarmed(samples: Sequence[Sample]) -> Iterator[str]:
    """Alarms of data that was lost or damaged; each once for each member."""
    told: set[tuple[str, str]] = set()
    for one in samples:
        for alarm in one.alarms:
            if alarm in DAMAGE and (alarm, one.node) not in told:
                told.add((alarm, one.node))
                yield f"alarm: {one.node} said {alarm} at {one.time:.2f} s"


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
