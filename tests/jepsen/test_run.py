"""A whole run, live: against a cluster of its own, and against somebody else's."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from jepsen_like import folder as folders
from jepsen_like.checkers.vacuity import Limits
from jepsen_like.judge import judge, summary
from jepsen_like.nemesis.schedule import Planned
from jepsen_like.protocols import Fault
from jepsen_like.run import CannotRun, Settings, conduct
from raftstate.localcluster import LocalCluster

pytestmark = pytest.mark.live

SHORT = Limits(rate_min=1.0, concurrent_min=1, unknown_min=0)


def test_a_run_against_a_cluster_of_somebody_else(tmp_path: Path) -> None:
    """
    With the nemeses that need no processes of the cluster: it is judged, nothing of the
    cluster is stopped, and what it needs more for is refused before anything is done.
    """
    with LocalCluster.create(tmp_path / "theirs") as cluster:
        settings = Settings(
            folder=tmp_path / "run",
            seed=3,
            workloads=("set", "exactly-once"),
            nemeses=("kill", "pause-clients"),
            all_nemeses=True,
            time_s=3.0,
            warm_up_s=1.0,
            quiet_s=1.0,
            endpoints=cluster.endpoints.split(",")[0],
            schedule=(),
            limits=SHORT,
        )
        results = asyncio.run(conduct(settings))
        assert [one.summary for one in results.verdicts if one.validity != "valid"] == []
        assert results.record.remote
        assert len(results.record.nodes) == 3  # one was given, the others were found
        assert results.summary["left_out"] == ["kill", "pause-clients"]
        assert results.record.nemeses == ()  # nothing was left that can be done to it
        assert cluster.leader() is not None
        assert results.summary["ok"] > 20

        # From what is on disk the verdict is the same.
        again = folders.read_record(tmp_path / "run")
        assert summary(again, judge(again, SHORT)) == results.summary
        assert (tmp_path / "run" / folders.EDN).read_text().startswith("{:index 0")

        wants_more = replace(settings, folder=tmp_path / "other", all_nemeses=False)
        with pytest.raises(CannotRun, match="nemesis kill cannot be had here"):
            asyncio.run(conduct(wants_more))


@pytest.mark.slow  # every check has a run with this in it
def test_a_run_with_a_fault(tmp_path: Path) -> None:
    """
    A leader is killed under load: the run shows it, and passes.
    """
    settings = Settings(
        folder=tmp_path / "run",
        seed=4,
        workloads=("register", "set"),
        nemeses=("kill",),
        time_s=6.0,
        warm_up_s=1.0,
        quiet_s=2.0,
        schedule=(Planned(1.0, Fault("kill-leader", 2.0, {"draw": 1})),),
        limits=SHORT,
    )
    results = asyncio.run(conduct(settings))
    assert [one for one in results.verdicts if one.validity != "valid"] == []
    assert results.summary["faults"] == {"kill-leader": 1}
    run = json.loads((tmp_path / "run" / folders.RUN).read_text())
    assert [one["kind"] for one in run["schedule"]] == ["kill-leader"]
    assert sorted(run["phases"], key=run["phases"].__getitem__) == [
        *("warm-up", "faults", "heal", "quiet", "final", "end"),
    ]
