"""The measurements run, and say what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.figures import median, quantile


def test_commits_of_both_logs_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The last line is JSON, with every contestant and the ratio; nothing is left behind.
    """
    arguments = ["--rounds", "2", "--commits", "3", "--batches", "1", "4", "--open", "200"]

    assert main(["commit-latency", "--json", "--dir", str(tmp_path), *arguments]) == 0

    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["batches"]) == {"1", "4"}
    for figures in found["batches"].values():
        assert set(figures) == {"lmdb", "segments", "floor", "segments_to_lmdb"}
        assert 0 < figures["floor"]["p50_us"] <= figures["floor"]["p99_us"]
        low, middle, high = figures["segments_to_lmdb"]["rounds"]
        assert 0 < low <= middle <= high
    assert set(found["open_s"]) == {"lmdb", "segments"}
    assert list(tmp_path.iterdir()) == []


def test_quantiles_are_values_of_the_sample() -> None:
    """
    Of one value as of many.
    """
    assert median([3.0]) == 3.0
    assert median([5.0, 1.0, 3.0]) == 3.0
    assert quantile([float(value) for value in range(100)], 0.9) == 90.0
    assert quantile([1.0, 2.0], 1.0) == 2.0


@pytest.mark.slow
def test_live_clusters_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """
    One kill of a leader on segments; a few steps on either log.
    """
    assert main(["failover", "--kills", "1", "--log", "segments", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["kills"] == len(found["all_ms"]) == 1
    assert 0 < found["p50_ms"] == found["max_ms"] < 30_000

    assert main(["step-latency", "--steps", "3", "--rounds", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["lmdb"]["p50_ms"] > 0
    assert found["segments"]["p50_ms"] > 0
