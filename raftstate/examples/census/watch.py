"""Asks every member how it is, again and again, and writes down what it said.

A member's counters end with its process, so they are noted while it lives.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from raftstate.examples.census.evidence import Journal, Line
from raftstate.localcluster import LocalCluster, NodeReport
from raftstate.v1.cluster_service_pb2 import Role

EVERY_S = 0.25
ANSWER_S = 0.5


class Watch:
    """What the members say of themselves, sampled beside the run."""

    def __init__(self, cluster: LocalCluster, journal: Journal) -> None:
        self._cluster = cluster
        self._journal = journal
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._failure: BaseException | None = None
        self.latest: dict[str, Line] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    @property
    def leader(self) -> str:
        """Who led when last heard of; empty if nobody did."""
        leaders = [line for line in list(self.latest.values()) if line["role"] == "leader"]
        newest = max(leaders, key=lambda line: int(line["term"]), default=None)
        return str(newest["member"]) if newest and newest["ready"] else ""

    def sample(self) -> dict[str, Line]:
        """Ask everybody now; those that do not answer are not in the answer."""
        reports = self._cluster.status(ANSWER_S)
        with self._lock:
            said = {
                report.member.id: self._journal.write("status", **_fields(report))
                for report in reports
                if report.status is not None and report.pid is not None
            }
            self.latest = said
        return said

    def _run(self) -> None:
        try:
            while not self._stop.wait(EVERY_S):
                self.sample()
        except BaseException as error:  # noqa: BLE001 - raised again where the run ends
            self._failure = error


def _fields(report: NodeReport) -> dict[str, Any]:
    status = report.status
    assert status is not None
    return {
        "member": report.member.id,
        "pid": report.pid,
        "role": Role.Name(status.role).removeprefix("ROLE_").lower(),
        "ready": status.ready,
        "leader": status.leader_id,
        "term": status.header.term,
        "revision": status.header.revision,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "first_index": status.first_index,
        "last_index": status.last_index,
        "log_bytes": status.log_bytes,
        "state_bytes": status.state_bytes,
        "state_hash": status.state_hash.hex(),
        "snapshots_taken": status.snapshots_taken,
        "snapshots_installed": status.snapshots_installed,
        "elections_started": status.elections_started,
        "uptime_ms": status.uptime_ms,
        "alarms": [f"{alarm.name}: {alarm.message}" for alarm in status.alarms],
    }
