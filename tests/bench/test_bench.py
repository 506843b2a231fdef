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


@pytest.mark.slow
def test_batching_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Steps and reads of a few callers; a single caller has nothing to share.
    """
    few = ["--callers", "1", "8", "--rounds", "2", "--seconds", "0.2"]
    assert main(["batching", "--json", "--dir", str(tmp_path), *few]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["contests"]
    assert [(one["what"], one["callers"]) for one in found] == [
        (what, callers) for what in ("steps", "reads", "stale reads") for callers in (1, 8)
    ]
    for one in found:
        low, middle, high = one["per_s_ratio"]
        assert 0 < low <= middle <= high
        assert one["batched"]["per_s"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_store_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What a commit costs with few and more events, beside an upload, and with checkpoints;
    nothing is left behind.
    """
    where = ["--json", "--dir", str(tmp_path)]
    few = ["--events", "3000", "6000", "--rounds", "2", "--seconds", "1", "--agents", "4"]
    assert main(["growth", *where, *few]) == 0
    first, second = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert (first["events"], second["events"]) == (3000, 6000)
    assert first["node_us_to_first"] == [1.0, 1.0, 1.0]
    for row in (first, second):
        low, high = row["steps_per_s_rounds"]
        assert 0 < low <= row["steps_per_s"] <= high
        assert row["apply_us"] > 0
        assert len(row["resident_mib"]) == len(row["anonymous_mib"]) == 3

    few = ["--mib", "2", "--rounds", "1", "--seconds", "1", "--agents", "2"]
    assert main(["upload-latency", *where, *few]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["p99_during_to_without"]["all"] > 0

    assert (
        main(["checkpointing", *where, "--every", "5", "--steps", "20", "--rounds", "1"]) == 0
    )
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["every_5"]["replayed_events"] == 4
    assert found["without"]["replayed_events"] == 20
    assert list(tmp_path.iterdir()) == []
