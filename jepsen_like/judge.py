"""All verdicts on one run, and what they come to.

Each workload brings its own checkers; what holds for every run is judged here: equal
states, no unexpected end, faults that took effect, and enough of everything that the
verdict means something. A checker that fails is `unknown`, and `unknown` is no pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jepsen_like.checkers import effects, harness, logs, states, vacuity
from jepsen_like.checkers.verdicts import guarded, merge
from jepsen_like.history import NEMESIS
from jepsen_like.nemesis.catalogue import EVIDENCE
from jepsen_like.protocols import Record, Validity, Verdict
from jepsen_like.workloads.catalogue import WORKLOADS

# Named apart from workloads in the summary: they judge the cluster, or the run itself.
COMMON = "cluster"
# What says that the run shows too little: no anomaly of the cluster.
OF_THE_RUN = frozenset({"effects", "harness", "vacuity"})


def judge(record: Record, limits: vacuity.Limits | None = None) -> list[Verdict]:
    """Every verdict, the workloads' first."""
    verdicts: list[Verdict] = []
    for name in record.workloads:
        verdicts += guarded(name, partial(WORKLOADS[name]().check, record))
    common: Mapping[str, Callable[[], Verdict]] = {
        "states": partial(states.check, record),
        "logs": partial(logs.check, record),
        "faults": partial(effects.check, record, EVIDENCE),
        "harness": partial(harness.check, record),
        "vacuity": partial(vacuity.check, record, limits or vacuity.Limits()),
    }
    for name, check in common.items():
        if name == "logs" and record.remote:
            continue
        verdicts += guarded(name, check)
    return verdicts


def by_workload(record: Record, verdicts: Sequence[Verdict]) -> dict[str, Validity]:
    """What the verdicts of each workload come to, and those of the cluster."""
    found: dict[str, list[Validity]] = {name: [] for name in (*record.workloads, COMMON)}
    for verdict in verdicts:
        name = verdict.name.partition(":")[0]
        found[name if name in found else COMMON].append(verdict.validity)
    return {name: merge(validities) for name, validities in found.items()}


def summary(record: Record, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The last line of a run: `valid` only if everything is."""
    # A workload of which no checker said anything has shown nothing.
    workloads = by_workload(record, verdicts)
    overall = merge(by_workload(record, verdicts).values())
    ends = Counter(
        event.type
        for event in record.events
        if event.process != NEMESIS and event.type != "invoke"
    )
    begun = [event for event in record.events if event.process != NEMESIS]
    faults = Counter(
        event.f
        for event in record.events
        if event.process == NEMESIS and event.key == "begin" and event.type == "invoke"
    )
    return {
        "valid": overall == "valid",
        "verdict": overall,
        "cluster": workloads.pop(COMMON),
        "workloads": workloads,
        "ops": sum(event.type == "invoke" for event in begun),
        "ok": ends["ok"],
        "fail": ends["fail"],
        "info": ends["info"],
        "faults": dict(sorted(faults.items())),
        "left_out": list(record.left_out),
        "lost": sum(verdict.figures.get("lost", 0) for verdict in verdicts),
        "anomalies": sum(
            len(verdict.complaints)
            for verdict in verdicts
            if verdict.validity == "invalid" and verdict.name not in OF_THE_RUN
        ),
        "seed": record.seed,
    }
