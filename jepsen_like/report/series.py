"""What happened, second by second: a run of any length as a few hundred numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from jepsen_like.history import Pair
from jepsen_like.protocols import Sample

# How many buckets a chart has at most, and what a bucket may last.
BUCKETS_MAX: Final = 600
LASTS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
# Bands that are shorter than this part of the run cannot be seen, and are not drawn.
SEEN: Final = 1 / 1500

Maybe = float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """How long what succeeded took, by when it was asked; None where nothing did."""

    p50: list[Maybe]
    p99: list[Maybe]


@dataclass(frozen=True, slots=True)
class Series:
    """Operations by bucket of `lasts` seconds: how many ended how in each, and how long
    they took, by workload."""

    lasts: float
    seconds: float
    ok: list[int]
    fail: list[int]
    info: list[int]
    latency: dict[str, Latency] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ok)


@dataclass(frozen=True, slots=True)
class Band:
    """What was so from one time to another."""

    began: float
    ended: float
    what: str


# --- operations ------------------------------------------------------------------------


def bucket(seconds: float) -> float:
    """How long a bucket of a run lasts: a second, or longer if the run is long."""
    return next((last for last in LASTS if seconds / last <= BUCKETS_MAX), LASTS[-1])


def aggregate(operations: Iterable[Pair], seconds: float) -> Series:
    """Operations by bucket."""
    lasts = bucket(seconds)
    number = int(seconds / lasts) + 1
    counts = {outcome: [0] * number for outcome in ("ok", "fail", "info")}
    took: dict[str, list[list[float]]] = {}
    for pair in operations:
        end = pair.completion
        if end is not None:
            counts[pair.outcome][int(end.time / lasts)] += 1
        if end is not None and end.type == "ok":
            began = pair.invoke.time
            if pair.invoke.workload not in took:
                took[pair.invoke.workload] = [[] for _ in range(number)]
            took[pair.invoke.workload][int(began / lasts)].append(end.time - began)
    return Series(
        lasts,
        seconds,
        counts["ok"],
        counts["fail"],
        counts["info"],
        {
            workload: Latency(
                [percentile(each, 50) for each in buckets],
                [percentile(each, 99) for each in buckets],
            )
            for workload, buckets in sorted(took.items())
        },
    )


def percentile(values: Sequence[float], percent: float) -> Maybe:
    """The smallest value that so many per cent of all values do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


# --- members ---------------------------------------------------------------------------


def roles(samples: Sequence[Sample], node: str, seconds: float) -> list[Band]:
    """What a member was over time: follower, candidate, leader, or silent."""
    own = [sample for sample in samples if sample.node == node]
    return _bands(own, lambda sample: sample.role if sample.answered else "silent", seconds)


def terms(samples: Sequence[Sample], seconds: float) -> list[Band]:
    """The highest term that anybody had spoken of, over time."""
    highest = 0
    heard = []
    for sample in sorted(samples, key=lambda sample: sample.time):
        highest = max(highest, sample.term)
        if highest:
            heard.append((sample.time, str(highest)))
    return _merged(heard, seconds)


def leaders(samples: Sequence[Sample], seconds: float) -> list[Band]:
    """Who led over time, by what members said of themselves; "" while nobody did."""
    latest: dict[str, Sample] = {}
    heard = []
    for sample in sorted(samples, key=lambda sample: sample.time):
        latest[sample.node] = sample
        leading = [one for one in latest.values() if one.answered and one.role == "leader"]
        who = max(leading, key=lambda one: one.term).node if leading else ""
        heard.append((sample.time, who))
    return _merged(heard, seconds)


def at(bands: Sequence[Band], lasts: float, number: int) -> list[str]:
    """What was so at the end of each bucket; what was so last is so until the end."""
    found = []
    place = 0
    for count in range(1, number + 1):
        while place + 1 < len(bands) and bands[place + 1].began < count * lasts:
            place += 1
        found.append(bands[place].what if bands else "")
    return found


def visible(bands: Sequence[Band], seconds: float) -> list[Band]:
    """Bands that a screen can show: where many follow upon each other within what cannot
    be told apart, the last of them stands for all."""
    smallest = seconds * SEEN
    slots: dict[int, Band] = {}
    for band in bands:
        slots[int(band.began / smallest)] = band
    return _merged([(band.began, band.what) for band in slots.values()], seconds)


def _bands(
    samples: Iterable[Sample], what: Callable[[Sample], str], seconds: float
) -> list[Band]:
    return _merged([(sample.time, what(sample)) for sample in samples], seconds)


def _merged(heard: Sequence[tuple[float, str]], seconds: float) -> list[Band]:
    """Bands from what was heard when: it is so until something else is heard."""
    runs = [next(same) for _, same in groupby(heard, key=lambda one: one[1])]
    ends = [*(time for time, _ in runs[1:]), seconds]
    return [Band(began, ended, what) for (began, what), ended in zip(runs, ends, strict=False)]
