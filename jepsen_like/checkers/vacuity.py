"""Whether a run says anything at all.

A cluster that answers nobody shows no anomaly, and neither does one that nobody asked
while it was harmed. So a run must have had enough of everything; else its verdict is
`invalid`, for reasons that are called vacuous, and never `valid`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jepsen_like.checkers.effects import Happened, happened
from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import Event, Pair, last_time, pairs
from jepsen_like.protocols import Record, Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run must have had at least.

    `rate_min`: `ok` operations a second, over all workloads, before the first fault.
    `ok_share_min`: the share of all operations that ended as `ok`.
    `during_share_min`: of the rate at which a workload's operations were `ok` before the
    first fault, this share over the time of the faults; it is one at least.
    `concurrent_min`: operations under way during each fault.
    `last_count`, `last_ok_share_min`: of so many last operations of each workload that
    began after the heal, this share is `ok`. And of what was asked so often, with one name,
    there is one that was `ok`.
    `unknown_min`: operations with unknown outcomes, if there were faults."""

    rate_min: float = 50.0
    ok_share_min: float = 0.30
    during_share_min: float = 0.1
    concurrent_min: int = 20
    last_count: int = 10
    last_ok_share_min: float = 0.5
    unknown_min: int = 1


def check(record: Record, limits: Limits | None = None) -> Verdict:
    """Whether there was enough of everything."""
    limits = limits or Limits()
    faults = happened(record.events)
    asked = list(pairs(record.events))
    figures = _figures(record, asked, faults)
    lacking = [
        *_rates(figures, limits),
        *_faults(figures, faults, limits),
        *_during(record, asked, faults, limits),
        *_never(asked, limits),
        *_last(record, asked, limits),
    ]
    return verdict(
        "vacuity",
        f"{figures['operations']} operations, {figures['ok_share']:.0%} ok, "
        f"{figures['rate']:.0f} ok a second before the first fault, "
        f"{figures['unknown']} unknown; at least {figures['concurrent_min']} "
        f"during each of {len(faults)} faults",
        wrong=[f"vacuous: {text}" for text in lacking],
        figures=figures,
    )


def _figures(
    record: Record, asked: Sequence[Pair], faults: Sequence[Happened]
) -> dict[str, Any]:
    """What there was of everything that is limited."""
    ok = [pair for pair in asked if pair.outcome == "ok"]
    began = asked[0].invoke.time if asked else 0.0
    first = faults[0].began if faults else record.phases.get("heal", last_time(record.events))
    before = sum(_ended(pair, 0.0) <= first for pair in ok)
    beside = concurrent(asked, faults, last_time(record.events))
    return {
        "operations": len(asked),
        "ok_share": round(len(ok) / len(asked), 4) if asked else 0.0,
        "rate": round(before / (first - began), 2) if first > began else 0.0,
        "seconds_before_faults": round(max(0.0, first - began), 3),
        "unknown": sum(pair.outcome == "info" for pair in asked),
        "faults": len(faults),
        "concurrent": beside,
        "concurrent_min": min(beside, default=0),
    }


def concurrent(asked: Sequence[Pair], faults: Sequence[Happened], end: float) -> list[int]:
    """How many operations were under way during each fault. One with an unknown outcome
    was, until its client gave it up."""
    begins = sorted(pair.invoke.time for pair in asked)
    ends = sorted(_ended(pair, end) for pair in asked)
    return [
        bisect_right(begins, fault.ended) - bisect_left(ends, fault.began) for fault in faults
    ]


def _ended(pair: Pair, otherwise: float) -> float:
    end: Event | None = pair.completion
    return otherwise if end is None else end.time


def _rates(figures: dict[str, Any], limits: Limits) -> Iterator[str]:
    if figures["rate"] < limits.rate_min:
        yield (
            f"{figures['rate']:g} ok operations a second in the "
            f"{figures['seconds_before_faults']:g} s before the first fault; "
            f"{limits.rate_min:g} are asked for"
        )
    if figures["ok_share"] < limits.ok_share_min:
        yield (
            f"{figures['ok_share']:.1%} of {figures['operations']} operations were ok; "
            f"{limits.ok_share_min:.0%} are asked for"
        )


def _faults(
    figures: dict[str, Any], faults: Sequence[Happened], limits: Limits
) -> Iterator[str]:
    for fault, count in zip(faults, figures["concurrent"], strict=True):
        if count < limits.concurrent_min:
            yield (
                f"{count} operations were under way during {fault.fault.kind} at "
                f"{fault.began:.2f} s; {limits.concurrent_min} are asked for"
            )
    if faults and figures["unknown"] < limits.unknown_min:
        yield (
            f"{figures['unknown']} operations had an unknown outcome; "
            f"{limits.unknown_min} are asked for"
        )


def _during(
    record: Record, asked: Sequence[Pair], faults: Sequence[Happened], limits: Limits
) -> Iterator[str]:
    """Each workload has to go on while there are faults: one that hangs meets none."""
    if not faults or not asked:
        return
    began, first = asked[0].invoke.time, faults[0].began
    last = record.phases.get("heal", max(fault.ended for fault in faults))
    for workload in record.workloads:
        ok = [
            _ended(pair, 0.0)
            for pair in asked
            if pair.invoke.workload == workload and pair.outcome == "ok"
        ]
        before = sum(end <= first for end in ok)
        during = sum(first < end <= last for end in ok)
        usual = before / (first - began) * (last - first) if first > began else 0.0
        if during < max(1.0, limits.during_share_min * usual):
            yield (
                f"{during} operations of {workload} were ok in the {last - first:.0f} s of the"
                f" faults, {before} in the {first - began:.0f} s before"
            )


def _never(asked: Sequence[Pair], limits: Limits) -> Iterator[str]:
    """Whatever is asked, now and then there has to be an answer."""
    kinds: Counter[tuple[str, str]] = Counter()
    ok: set[tuple[str, str]] = set()
    for pair in asked:
        kind = pair.invoke.workload, pair.invoke.f
        kinds[kind] += 1
        if pair.outcome == "ok":
            ok.add(kind)
    for (workload, f), count in sorted(kinds.items()):
        if count >= limits.last_count and (workload, f) not in ok:
            yield f"none of {count} operations {f} of {workload} was ok"


def _last(record: Record, asked: Sequence[Pair], limits: Limits) -> Iterator[str]:
    """Each workload has to work again after the heal."""
    healed = record.phases.get("quiet", record.phases.get("heal"))
    if healed is None:
        yield "the run has no end: it was never healed"
        return
    for workload in record.workloads:
        last = [
            pair
            for pair in asked
            if pair.invoke.workload == workload and pair.invoke.time >= healed
        ][-limits.last_count :]
        ok = sum(pair.outcome == "ok" for pair in last)
        if not ok or ok < limits.last_ok_share_min * len(last):
            yield f"{ok} of the last {len(last)} operations of {workload} were ok"
    yield from _final(record, asked)


def _final(record: Record, asked: Sequence[Pair]) -> Iterator[str]:
    """Of what a workload asks at the very end something has to be answered."""
    since = record.phases.get("final", float("inf"))
    counts: Counter[str] = Counter()
    ok: Counter[str] = Counter()
    for pair in asked:
        if pair.invoke.time >= since:
            counts[pair.invoke.workload] += 1
            ok[pair.invoke.workload] += pair.outcome == "ok"
    for workload, count in sorted(counts.items()):
        if not ok[workload]:
            yield f"none of the {count} last questions of {workload} was answered"
