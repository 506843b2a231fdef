"""Whether the faults were there at all: each kind has to show that it took effect.

A nemesis that cuts the wrong link, or kills who is dead, finds nothing, and a run under
it proves nothing. So the package of each fault looks into what the cluster said of itself
at the time, and says in a sentence what shows the fault; and a kind that was used and
never showed makes the run invalid.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jepsen_like.checkers.verdicts import verdict
from jepsen_like.history import NEMESIS, Event, last_time
from jepsen_like.protocols import Fault, Record, Verdict, Window

BEFORE_S: Final = 5.0
AFTER_S: Final = 10.0
SHARE_MIN: Final = 0.5  # of all faults; evidence may be lost where several come at once

Evidence = Mapping[str, Callable[[Window], str | None]]


@dataclass(frozen=True, slots=True)
class Happened:
    """One fault in the history: from when its begin was asked for to when its end was
    done, and what both answered. `error` is why it could not be begun."""

    fault: Fault
    began: float
    ended: float
    begun: Any
    undone: Any
    error: str = ""


def check(
    record: Record,
    evidence: Evidence,
    *,
    before_s: float = BEFORE_S,
    after_s: float = AFTER_S,
) -> Verdict:
    """Ask for the evidence of every fault, in the samples from so much before it to so
    much after it."""
    kinds: dict[str, dict[str, Any]] = {}
    unsure: list[str] = []
    for window, error in _windows(record, before_s, after_s):
        kind = window.fault.kind
        of_kind = kinds.setdefault(kind, {"times": 0, "proven": 0, "evidence": []})
        of_kind["times"] += 1
        if kind not in evidence:
            unsure.append(f"no package knows what would show a {kind}")
            continue
        said = None if error else evidence[kind](window)
        shown = f"{window.began:.2f} s: {said or error or 'nothing shows it'}"
        of_kind["evidence"].append(shown)
        of_kind["proven"] += said is not None
    times = sum(of_kind["times"] for of_kind in kinds.values())
    proven = sum(of_kind["proven"] for of_kind in kinds.values())
    wrong = [
        f"no effect: {kind} was begun {of_kind['times']} times; {of_kind['evidence'][0]}"
        for kind, of_kind in sorted(kinds.items())
        if not of_kind["proven"] and kind in evidence
    ]
    if record.nemeses and not kinds:
        wrong.append(f"no effect: no fault of {', '.join(record.nemeses)} was ever begun")
    provable = sum(one["times"] for kind, one in kinds.items() if kind in evidence)
    if proven < SHARE_MIN * provable:
        wrong.append(f"no effect: only {proven} of {times} faults are shown by the cluster")
    return verdict(
        "effects",
        f"{proven} of {times} faults of {len(kinds)} kinds are shown by the cluster itself",
        wrong=wrong,
        unsure=list(dict.fromkeys(unsure)),
        figures={"times": times, "proven": proven, "kinds": dict(sorted(kinds.items()))},
    )


def happened(events: Sequence[Event]) -> list[Happened]:
    """Every fault of a history, in the order in which they began. Of one kind, an end
    belongs to the last begin before it; a fault that has none lasted until the heal was
    done, or to the end of the history."""
    faults: list[Happened] = []
    open_begins: dict[str, list[tuple[Event, Event | None]]] = {}
    for invoke, done in _steps(events):
        if invoke.key == "begin":
            open_begins.setdefault(invoke.f, []).append((invoke, done))
        elif invoke.key == "end" and open_begins.get(invoke.f):
            faults.append(_happened(*open_begins[invoke.f].pop(), done or invoke))
        elif invoke.key == "heal":
            faults += _all_ended(open_begins, done or invoke)
            open_begins.clear()
    if events:
        faults += _all_ended(open_begins, None, last_time(events))
    return sorted(faults, key=lambda fault: fault.began)


def _steps(events: Sequence[Event]) -> list[tuple[Event, Event | None]]:
    """What the nemesis did, each with how it was done, in the order in which it began."""
    begun: list[Event] = []
    done: dict[int, Event] = {}
    waiting: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event.process != NEMESIS:
            continue
        doing = waiting.setdefault((event.f, event.key), [])
        if event.type == "invoke":
            begun.append(event)
            doing.append(event)
        elif doing:
            done[doing.pop(0).index] = event
    return [(event, done.get(event.index)) for event in begun]


def _all_ended(
    begins: Mapping[str, Sequence[tuple[Event, Event | None]]],
    end: Event | None,
    at: float = 0.0,
) -> list[Happened]:
    return [
        _happened(invoke, done, end, at) for same in begins.values() for invoke, done in same
    ]


def _happened(
    invoke: Event, done: Event | None, end: Event | None, at: float = 0.0
) -> Happened:
    value = dict(invoke.value) if isinstance(invoke.value, dict) else {}
    seconds = float(value.pop("seconds", 0.0))
    return Happened(
        fault=Fault(invoke.f, seconds, value),
        began=invoke.time,
        ended=max(invoke.time, at if end is None else end.time),
        begun=None if done is None else done.value,
        undone=end.value if end is not None and end.key == "end" else None,
        error=f"it was not begun: {done.error}" if done is not None and done.error else "",
    )


def _windows(record: Record, before_s: float, after_s: float) -> list[tuple[Window, str]]:
    """Every fault with the samples around it, and why it could not be begun, if so. The
    samples end where another fault of that kind begins: what shows that one is its own."""
    faults = happened(record.events)
    samples = sorted(record.samples, key=lambda sample: sample.time)
    times = [sample.time for sample in samples]
    windows = []
    for place, fault in enumerate(faults):
        alike = (one.began for one in faults[place + 1 :] if one.fault.kind == fault.fault.kind)
        until = min(fault.ended + after_s, next(alike, float("inf")))
        first = bisect_left(times, fault.began - before_s)
        around = samples[first : bisect_right(times, until)]
        windows.append((_window(fault, around, record.nodes), fault.error))
    return windows


def _window(fault: Happened, samples: Sequence[Any], nodes: tuple[str, ...]) -> Window:
    return Window(
        fault.fault, fault.began, fault.ended, fault.begun, fault.undone, samples, nodes
    )
