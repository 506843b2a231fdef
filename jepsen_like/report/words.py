"""How numbers, moments and values are written for people."""

from __future__ import annotations

import json
from typing import Any

from jepsen_like.report.markup import clean

NOTHING = "–"


def count(number: int) -> str:
    """A whole number: 12,345."""
    return f"{number:,}"


def rate(number: float) -> str:
    """So many a second, with as many digits as mean something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def share(part: int, whole: int) -> str:
    """A part in per cent; no per cent of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else NOTHING


def duration(seconds: float | None) -> str:
    """How long something took: 840 µs, 12.3 ms, 1.42 s, 3 min 20 s."""
    if seconds is None:
        return NOTHING
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{_three(seconds * 1e3)} ms"
    if seconds < 100:
        return f"{_three(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def moment(seconds: float) -> str:
    """A time since the run began: 63.41 s."""
    return f"{seconds:.2f} s"


def clock(seconds: float) -> str:
    """A time since the run began as an axis says it: 45 s, 1:30, 12:00."""
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def plural(number: int, one: str, many: str = "") -> str:
    """A number and its noun: 1 fault, 3 faults."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def value(what: Any, longest: int = 160) -> str:
    """A value of a history on one line."""
    if what is None:
        return NOTHING
    if isinstance(what, str):
        return clean(what, longest)
    if isinstance(what, list | tuple) and what:
        if all(isinstance(one, str) for one in what):
            return clean(", ".join(what), longest)
        if all(_is_link(one) for one in what):
            return clean(", ".join(f"{a}→{b}" for a, b in what), longest)
    return clean(json.dumps(what, ensure_ascii=False, default=str), longest)


def pairs(what: Any, longest: int = 160) -> str:
    """A value whose names are told apart: id r3-17, expected 4."""
    if not isinstance(what, dict):
        return value(what, longest)
    told = (f"{name} {value(part)}" for name, part in what.items() if part not in ("", None))
    return clean(", ".join(told), longest)


def power_of_ten(power: int) -> str:
    """So many seconds as a power of ten: 10 ms, 1 s, 100 s."""
    names = {-6: "1 µs", -5: "10 µs", -4: "100 µs", -3: "1 ms", -2: "10 ms", -1: "100 ms"}
    return names.get(power, f"{10.0**power:g} s")


def _is_link(what: object) -> bool:
    """Whether it is a pair of names: from, to."""
    return (
        isinstance(what, list | tuple)
        and len(what) == 2
        and all(isinstance(one, str) for one in what)
    )


def _three(number: float) -> str:
    """Three digits that mean something."""
    return (
        f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"
    )
