"""What all charts over time share: scales, grids, steps, and a label beside each.

A chart is as wide as the page lets it be, and no text in it is ever scaled: places along
time are per cent of the width. Only the shapes of lines and areas are drawn in a box of
their own, 1000 wide, that is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jepsen_like.report.markup import Child, Markup, join, short, tag
from jepsen_like.report.series import Maybe
from jepsen_like.report.words import clock

WIDTH: Final = 1000  # of the box that is stretched
NARROWEST: Final = 0.35  # per cent of the width, so that what is short is still seen
TICKS_MAX: Final = 9
STEPS: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


@dataclass(frozen=True, slots=True)
class Axis:
    """Time from zero to `seconds`, from left to right. `shades` are the times that are
    shaded in every chart, because of a fault."""

    seconds: float
    shades: tuple[tuple[float, float], ...] = ()

    def at(self, time: float) -> str:
        """A time's place."""
        return f"{short(self.percent(time))}%"

    def percent(self, time: float) -> float:
        """A time's place, in per cent of the width."""
        return 100 * min(max(time / self.seconds, 0.0), 1.0)

    def wide(self, began: float, ended: float) -> str:
        """How wide a stretch of time is; never too narrow to be seen."""
        return f"{short(max(self.percent(ended) - self.percent(began), NARROWEST))}%"

    def x(self, time: float) -> float:
        """A time's place in the box."""
        return self.percent(time) * WIDTH / 100

    @property
    def ticks(self) -> list[float]:
        """Round times, not too many."""
        step = next((s for s in STEPS if self.seconds / s <= TICKS_MAX), STEPS[-1])
        return [float(step * n) for n in range(int(self.seconds / step) + 1)]


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line of the grid: how high, and what is written beside it."""

    y: float
    text: str


# --- the frame of a chart ----------------------------------------------------------------


def track(label: Child, plot: Markup, class_: str = "") -> Markup:
    """A chart and, on its left or above it, what it shows."""
    return tag(
        "div",
        tag("div", label, class_="label"),
        tag("div", plot, class_="plot"),
        class_=f"track {class_}".rstrip(),
    )


def chart(
    axis: Axis, height: float, says: str, levels: Sequence[Level], *shapes: Child
) -> Markup:
    """A chart with its grid; `says` is for those who do not see it."""
    return tag(
        "svg",
        shades(axis),
        grid(axis),
        (tag("line", class_="level", x2="100%", y1=one.y, y2=one.y) for one in levels),
        shapes,
        (tag("text", one.text, class_="level", y=one.y + 11) for one in levels if one.text),
        height=height,
        role="img",
        aria_label=says,
    )


def stretched(height: float, *shapes: Child) -> Markup:
    """Shapes in a box of 1000 by `height` that is stretched to the chart's width."""
    return tag(
        "svg",
        *shapes,
        viewBox=f"0 0 {WIDTH} {short(height)}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
    )


def shades(axis: Axis) -> Markup:
    """When there were faults."""
    return join(
        tag("rect", class_="shade", x=axis.at(a), width=axis.wide(a, b), height="100%")
        for a, b in axis.shades
    )


def grid(axis: Axis) -> Markup:
    """A line at each tick."""
    return join(
        tag("line", class_="tick", x1=axis.at(time), x2=axis.at(time), y2="100%")
        for time in axis.ticks[1:]
    )


def scale(axis: Axis) -> Markup:
    """The times below the charts. Where there is little room every other one is left out."""
    shown = [time for time in axis.ticks if axis.percent(time) < 97]
    texts = [
        tag(
            "text",
            clock(time),
            x=axis.at(time),
            y=13,
            class_="first" if not time else "odd" if number % 2 else None,
        )
        for number, time in enumerate(shown)
    ]
    return tag("svg", texts, class_="scale", height=18, aria_hidden="true")


def swatch(class_: str, text: str) -> Markup:
    """An entry of a legend."""
    line = tag("line", class_=f"line {class_}", x1=1, x2=21, y1=6, y2=6)
    mark = tag("svg", line, width=22, height=12, class_="swatch", aria_hidden="true")
    return tag("span", mark, text, class_="key")


# --- shapes ------------------------------------------------------------------------------


def columns(values: Sequence[float], width: float, top: float, height: float) -> str:
    """The outline of columns side by side, each `width` wide; `top` is the full height."""
    path = [f"M0 {short(height)}"]
    for number, value in enumerate(values):
        y = height - height * min(value / top, 1)
        path.append(f"V{short(y)}H{short(min((number + 1) * width, WIDTH))}")
    return "".join([*path, f"V{short(height)}Z"])


def steps(heights: Sequence[Maybe], width: float) -> str:
    """A line in steps, each `width` wide, that is broken where there is nothing."""
    path = []
    for begin, stretch in _stretches(heights):
        path.append(f"M{short(begin * width)} {short(stretch[0])}")
        path += [
            f"V{short(y)}H{short(min((number + 1) * width, WIDTH))}"
            for number, y in enumerate(stretch, start=begin)
        ]
    return "".join(path)


def between(lower: Sequence[Maybe], upper: Sequence[Maybe], width: float) -> str:
    """The area between two such lines, which are broken at the same places."""
    path = []
    for (begin, low), (_, high) in zip(_stretches(lower), _stretches(upper), strict=True):
        edges = [min((begin + number) * width, WIDTH) for number in range(len(low) + 1)]
        path.append(f"M{short(edges[0])} {short(low[0])}")
        path += [f"V{short(y)}H{short(x)}" for y, x in zip(low, edges[1:], strict=True)]
        back = zip(reversed(high), reversed(edges[:-1]), strict=True)
        path += [f"V{short(y)}H{short(x)}" for y, x in back]
        path.append("Z")
    return "".join(path)


def _stretches(heights: Iterable[Maybe]) -> Iterator[tuple[int, list[float]]]:
    """Values that stand side by side, and where they begin."""
    begin, stretch = 0, list[float]()
    for number, height in enumerate(heights):
        if height is None:
            if stretch:
                yield begin, stretch
            begin, stretch = number + 1, []
        else:
            stretch.append(height)
    if stretch:
        yield begin, stretch


# --- scales ------------------------------------------------------------------------------


def ceiling(most: float) -> float:
    """A round number that is not smaller: 1, 2 or 5 times a power of ten."""
    if most <= 1:
        return 1.0
    power = 10 ** math.floor(math.log10(most))
    return float(next(n * power for n in (1, 2, 5, 10) if n * power >= most))


@dataclass(frozen=True, slots=True)
class Decades:
    """A logarithmic scale from 10**low to 10**high, drawn `height` high."""

    low: int
    high: int
    height: float

    @classmethod
    def of(cls, values: Iterable[Maybe], height: float) -> Decades:
        """The decades that hold all these values."""
        logs = [math.log10(value) for value in values if value]
        if not logs:
            return cls(-3, 0, height)
        low, high = math.floor(min(logs)), math.ceil(max(logs))
        return cls(low, max(high, low + 1), height)

    def y(self, value: Maybe) -> Maybe:
        """Where a value is; nowhere if it is none."""
        if value is None:
            return None
        log = math.log10(value) if value > 0 else self.low
        return (
            self.height
            * (self.high - min(max(log, self.low), self.high))
            / (self.high - self.low)
        )

    def powers(self) -> list[int]:
        """The powers of ten within, from the largest."""
        return list(range(self.high, self.low - 1, -1))
