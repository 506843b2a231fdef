"""What a breaker has counted: reports in buckets, so that old calls can be taken out.

A window by count has a bucket a report: its oldest goes as soon as those behind it have
calls enough. Of more buckets than are kept, the two neighbours that have the fewest calls
become one, so that what goes at once stays small.

A window by time has a bucket for each tenth of it: one goes once all of it is too old. So
a call counts at least as long as the window is, and at most a tenth longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from raftstate.core import keys, limits
from raftstate.core.context import Context
from raftstate.core.ports import Reader
from raftstate.v1.breaker_service_pb2 import BreakerConfig, BreakerCounts
from raftstate.v1.store_pb2 import BreakerBucket, BreakerWindow

_TENTHS = 10
# A bucket names so many who reported failed or slow calls, or as many as it takes to
# trip: if one alone names that many, they are enough, and if none does, none left any out.
_REPORTERS_NAMED = 8


class Report(NamedTuple):
    """What somebody says came of some calls."""

    calls: int
    failures: int
    slow: int
    reporter: str


def load(reader: Reader, name: str) -> BreakerWindow:
    """What a breaker has counted: empty, if nothing."""
    raw = reader.get(keys.window(name))
    return BreakerWindow() if raw is None else BreakerWindow.FromString(raw)


def forget(context: Context, name: str) -> None:
    """Forget what a breaker has counted."""
    context.store.delete(keys.window(name))


class Taken(NamedTuple):
    """What is in a window with the newest report, and whether it is time to show that."""

    counts: BreakerCounts
    show: bool


def take(context: Context, name: str, config: BreakerConfig, report: Report) -> Taken:
    """Count a report.

    Whoever uses a breaker watches it. If each report were told to everybody, what is told
    would grow with the square of how many they are; so it is only now and then."""
    window = load(context.store, name)
    shown_ms = window.shown_log_time_ms
    show = not window.buckets or context.log_time_ms - shown_ms >= limits.BREAKER_SHOWN_MS
    buckets = list(window.buckets)
    if config.count_window:
        buckets.append(_bucket(context.log_time_ms))
        _add(buckets[-1], report, config)
        buckets = _newest_calls(buckets, config)
    else:
        buckets = _newest_time(buckets, config, context.log_time_ms)
        _add(buckets[-1], report, config)
    shown_ms = context.log_time_ms if show else shown_ms
    window = BreakerWindow(buckets=buckets, shown_log_time_ms=shown_ms, behind=not show)
    context.store.put(keys.window(name), window.SerializeToString(deterministic=True))
    return Taken(counts(buckets), show)


def counts(buckets: Iterable[BreakerBucket]) -> BreakerCounts:
    """What buckets come to, taken together."""
    found = BreakerCounts()
    reporters: set[str] = set()
    for bucket in buckets:
        found.calls += bucket.calls
        found.failures += bucket.failures
        found.slow += bucket.slow
        reporters.update(bucket.reporters)
    found.reporters.extend(sorted(reporters)[: limits.BREAKER_REPORTERS_MAX])
    return found


def _newest_calls(buckets: list[BreakerBucket], config: BreakerConfig) -> list[BreakerBucket]:
    """The last buckets that have calls enough, and not more of them than are kept."""
    behind = sum(bucket.calls for bucket in buckets)
    first = 0
    while behind - buckets[first].calls >= config.count_window:
        behind -= buckets[first].calls
        first += 1
    kept = buckets[first:]
    if len(kept) > limits.BREAKER_BUCKETS_MAX:
        # The first of the smallest pairs, so that all replicas choose the same.
        _, at = min((kept[at].calls + kept[at + 1].calls, at) for at in range(len(kept) - 1))
        kept[at : at + 2] = [_together(kept[at], kept[at + 1], config)]
    return kept


def _newest_time(
    buckets: list[BreakerBucket], config: BreakerConfig, now_ms: int
) -> list[BreakerBucket]:
    """The buckets of which some is not too old, the last one being that of now."""
    width = config.time_window_ms // _TENTHS
    oldest = now_ms - config.time_window_ms
    kept = [bucket for bucket in buckets if bucket.began_log_time_ms + width > oldest]
    began = now_ms - now_ms % width
    if not kept or kept[-1].began_log_time_ms != began:
        kept.append(_bucket(began))
    return kept


def _bucket(began_ms: int) -> BreakerBucket:
    return BreakerBucket(began_log_time_ms=began_ms)


def _add(bucket: BreakerBucket, report: Report, config: BreakerConfig) -> None:
    bucket.calls += report.calls
    bucket.failures += report.failures
    bucket.slow += report.slow
    if report.failures or report.slow:
        _name(bucket, [*bucket.reporters, report.reporter], config)


def _together(one: BreakerBucket, other: BreakerBucket, config: BreakerConfig) -> BreakerBucket:
    made = _bucket(one.began_log_time_ms)
    for each in (one, other):
        made.calls += each.calls
        made.failures += each.failures
        made.slow += each.slow
    _name(made, [*one.reporters, *other.reporters], config)
    return made


def _name(bucket: BreakerBucket, reporters: list[str], config: BreakerConfig) -> None:
    most = max(config.minimum_reporters, _REPORTERS_NAMED)
    named = sorted(set(reporters))[:most]
    bucket.ClearField("reporters")
    bucket.reporters.extend(named)
