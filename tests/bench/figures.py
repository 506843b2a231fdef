"""A sample of durations, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(sample: Sequence[float], share: float) -> float:
    """The value that this share of a sample does not exceed."""
    ordered = sorted(sample)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(sample: Sequence[float]) -> float:
    """The value in the middle."""
    return quantile(sample, 0.5)
