"""The operations around a violation: one lane a process, one bar an operation.

Time is bent here: between any two moments at which something began or ended there is one
column, wide enough for what stands in it, so that what overlapped can be told apart even
if it took microseconds. The longest explanation that was found is a line through
numbered points. Each point lies within its operation, and no point lies left of the one
before it: where the line ends, and the marked operation still has no place on it, is
where the history cannot be explained.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

from jepsen_like.checkers.history import Operation
from jepsen_like.protocols import Violation
from jepsen_like.report.markup import Markup, join, tag
from jepsen_like.report.words import moment, pairs, plural, value

SHOWN_MAX: Final = 64  # operations in one figure
COLUMN, POINT, LETTER, PADDING = 14.0, 19.0, 6.7, 14.0  # widths
LANE, BAR, TOP = 40.0, 26.0, 24.0  # heights
LABEL_MAX: Final = 26  # characters


@dataclass(frozen=True, slots=True)
class Shown:
    """One operation of the figure: its place in the violation, in the longest
    explanation (from 1, or 0 if it has none), and whether it is the one that is stuck."""

    index: int
    operation: Operation
    place: int = 0
    stuck: bool = False


@dataclass(frozen=True)
class Layout:
    """Where everything is."""

    shown: tuple[Shown, ...]

    @cached_property
    def moments(self) -> list[float]:
        """When anything began or ended, in order."""
        times = {one.operation.invoked for one in self.shown}
        times |= {
            one.operation.completed for one in self.shown if one.operation.completed is not None
        }
        return sorted(times)

    @cached_property
    def lanes(self) -> dict[str, int]:
        """The lane of each process, in the order in which they began."""
        return {
            process: lane
            for lane, process in enumerate(
                dict.fromkeys(one.operation.process for one in self.shown)
            )
        }

    @cached_property
    def columns(self) -> dict[float, int]:
        """Which column begins at a moment."""
        return {time: number for number, time in enumerate(self.moments)}

    @cached_property
    def explained(self) -> list[Shown]:
        """What the explanation holds, in its order."""
        return sorted((one for one in self.shown if one.place), key=lambda one: one.place)

    @cached_property
    def points(self) -> dict[int, tuple[int, int]]:
        """For each operation of the explanation the column of its point, and the point's
        number within. The column is the first in which it and all before it have begun."""
        found: dict[int, tuple[int, int]] = {}
        column = within = 0
        for one in self.explained:
            begun = self.columns[one.operation.invoked]
            within = within + 1 if found and begun <= column else 0
            column = max(column, begun)
            found[one.index] = (column, within)
        return found

    @cached_property
    def edges(self) -> list[float]:
        """Where each column begins, and where the last one ends."""
        widths = [COLUMN] * len(self.moments)
        for column, within in self.points.values():
            widths[column] = max(widths[column], (within + 1) * POINT + 6)
        for one in self.shown:
            first, last = self._span(one.operation)
            room = sum(widths[first:last])
            wanted = (len(label(one.operation)) + 2 * one.stuck) * LETTER + PADDING
            for column in range(first, last):
                widths[column] *= max(1.0, wanted / room)
        return list(accumulate(widths, initial=0.0))

    def bar(self, operation: Operation) -> tuple[float, float]:
        """Where an operation's bar begins and ends."""
        first, last = self._span(operation)
        return self.edges[first], self.edges[last]

    def point(self, one: Shown) -> tuple[float, float]:
        """Where an operation's point is."""
        column, within = self.points[one.index]
        inside = sum(1 for other, _ in self.points.values() if other == column)
        begin, end = self.edges[column], self.edges[column + 1]
        x = begin + (end - begin) * (within + 1) / (inside + 1)
        return x, self.y(one.operation) + LANE - 7

    def y(self, operation: Operation) -> float:
        """The top of an operation's lane."""
        return TOP + self.lanes[operation.process] * LANE

    def _span(self, operation: Operation) -> tuple[int, int]:
        first = self.columns[operation.invoked]
        if operation.completed is None:
            return first, len(self.moments)
        return first, max(self.columns[operation.completed], first + 1)


# --- what is shown -----------------------------------------------------------------------


def choose(violation: Violation) -> tuple[Shown, ...]:
    """The operations to draw: all, or those nearest to where the explanation ends."""
    places = {index: place for place, index in enumerate(violation.longest, start=1)}
    every = [
        Shown(index, operation, places.get(index, 0), index == violation.stuck)
        for index, operation in enumerate(violation.operations)
    ]
    if len(every) <= SHOWN_MAX:
        return tuple(every)
    last = violation.longest[-1] if violation.longest else len(every) // 2
    middle = every[last if violation.stuck is None else violation.stuck].operation.invoked
    near = sorted(every, key=lambda one: (not one.stuck, _distance(one.operation, middle)))
    return tuple(sorted(near[:SHOWN_MAX], key=lambda one: one.index))


def _distance(operation: Operation, time: float) -> float:
    end = operation.invoked if operation.completed is None else operation.completed
    return max(operation.invoked - time, time - end, 0.0)


def label(operation: Operation) -> str:
    """What is written on a bar: what was asked, and what was said."""
    said = ""
    if operation.outcome == "fail":
        said = " ✗"
    elif operation.completed is None:
        said = " …?"
    elif operation.result is not None:
        said = f" → {brief(operation.result)}"
    asked = "" if operation.value is None else f" {brief(operation.value)}"
    text = f"{operation.kind}{asked}{said}"
    return text if len(text) <= LABEL_MAX else text[: LABEL_MAX - 1] + "…"


def brief(what: object) -> str:
    """A value in a few characters: what tells it from others."""
    match what:
        case True | False:
            return "yes" if what else "no"
        case {"id": str(name)}:
            return name
        case [first, second]:
            return f"{brief(first)}⇒{brief(second)}"
    return value(what, 14).strip('"')


# --- the figure --------------------------------------------------------------------------


def figure(violation: Violation, number: int) -> Markup:
    """The figure of one violation, and its operations as a table."""
    shown = choose(violation)
    if not shown:
        return Markup()
    layout = Layout(shown)
    left_out = len(violation.operations) - len(shown)
    return tag(
        "figure",
        tag(
            "div",
            tag("div", names(layout), class_="names"),
            tag(
                "div",
                lanes(layout, violation.key),
                class_="scroll",
                tabindex="0",
                role="region",
                aria_label=f"Operations around violation {number}, by process",
            ),
            class_="lanes",
        ),
        tag("p", class_="detail", hidden=True),
        tag("figcaption", caption(layout, left_out)),
        table(layout),
        class_="violation",
    )


def caption(layout: Layout, left_out: int) -> Markup:
    """How the figure is read."""
    explained = len(layout.explained)
    texts: list[object] = [
        "One bar an operation, from its call to its answer; time is not to scale. "
    ]
    if explained:
        texts += [
            tag("span", "1", class_="dot"),
            f" to {layout.explained[-1].place}: the longest order that explains the answers. ",
        ]
    if any(one.stuck for one in layout.shown):
        texts += [tag("b", "✗ marked:", class_="bad"), " no place after it explains this one. "]
    if any(one.operation.completed is None for one in layout.shown):
        texts.append("A bar open at its right never ended: nobody knows. ")
    if left_out:
        texts.append(f"{left_out} operations further away are left out.")
    return join(texts)


def names(layout: Layout) -> Markup:
    """The processes, beside their lanes."""
    texts = [
        tag("text", process, x=0, y=TOP + lane * LANE + BAR / 2 + 6)
        for process, lane in layout.lanes.items()
    ]
    height = TOP + len(layout.lanes) * LANE + 6
    return tag("svg", texts, width=46, height=height, aria_hidden="true")


def lanes(layout: Layout, key: str) -> Markup:
    """The bars, the line of the explanation, and its points."""
    width, height = layout.edges[-1] + 2, TOP + len(layout.lanes) * LANE + 6
    stuck = next((one for one in layout.shown if one.stuck), None)
    processes = plural(len(layout.lanes), "process", "processes")
    says = f"{len(layout.shown)} operations of {processes} on key {key}. "
    if stuck is not None:
        says += f"No place for: {stuck.operation}"
    return tag(
        "svg",
        rules(layout, width),
        times(layout),
        (bar(layout, one) for one in layout.shown),
        explanation(layout),
        width=width,
        height=height,
        role="img",
        aria_label=says,
        data_stuck=None if stuck is None else sum(layout.bar(stuck.operation)) / 2,
    )


def rules(layout: Layout, width: float) -> Markup:
    """A line under each lane."""
    return join(
        tag("line", class_="level", x2=width, y1=y, y2=y)
        for lane in range(len(layout.lanes))
        for y in [TOP + (lane + 1) * LANE + 1]
    )


def times(layout: Layout) -> Markup:
    """What time it was, where there is room to say so."""
    texts, free = [], 0.0
    for time, x in zip(layout.moments, layout.edges, strict=False):
        if x >= free:
            texts.append(tag("text", f"{time:.4f}", class_="time", x=x + 3, y=12))
            texts.append(tag("line", class_="tick", x1=x, x2=x, y1=2, y2=16))
            free = x + 90
    return join(texts)


def bar(layout: Layout, one: Shown) -> Markup:
    """One operation. An open end is an outcome that nobody knows."""
    operation = one.operation
    begin, end = layout.bar(operation)
    y = layout.y(operation) + 4
    kind = "stuck" if one.stuck else operation.outcome
    if operation.completed is None:
        shape = f"M{end:.1f} {y}H{begin + 4:.1f}q-3 0 -3 3V{y + BAR - 3}q0 3 3 3H{end:.1f}"
        drawn = tag("path", class_=f"op {kind}", d=shape)
    else:
        wide = max(end - begin - 2, 4.0)
        drawn = tag("rect", class_=f"op {kind}", x=begin + 1, y=y, width=wide, height=BAR, rx=3)
    mark = "✗ " if one.stuck else ""
    base = 12 if one.place else 17  # a point stands below
    said = describe(one)
    return tag(
        "g",
        tag("title", said),
        drawn,
        tag("text", mark + label(operation), class_=f"label {kind}", x=begin + 7, y=y + base),
        class_="hit",
        data_detail=said,
    )


def explanation(layout: Layout) -> Markup:
    """The longest explanation: a line through numbered points."""
    placed = [(one, *layout.point(one)) for one in layout.explained]
    if not placed:
        return Markup()
    line = "L".join(f"{x:.1f} {y:.1f}" for _, x, y in placed)
    points = [
        tag(
            "g",
            tag("circle", cx=x, cy=y, r=8),
            tag("text", one.place, x=x, y=y + 3.5),
            class_="point",
        )
        for one, x, y in placed
    ]
    return join([tag("path", class_="order", d=f"M{line}"), points])


def describe(one: Shown) -> str:
    """An operation in full, for those who point at it."""
    operation = one.operation
    place = "stuck: no place explains it" if one.stuck else "not in the explanation"
    if one.place:
        place = f"number {one.place} of the explanation"
    took = (
        ""
        if operation.completed is None
        else f" ({(operation.completed - operation.invoked) * 1e3:.2f} ms)"
    )
    return f"{operation}{took}; {place}"


def table(layout: Layout) -> Markup:
    """The operations of the figure, one a line."""
    head = ("#", "process", "operation", "asked", "outcome", "answer", "from", "to")
    rows = (
        tag(
            "tr",
            (tag("td", cell, data_label=name) for name, cell in zip(head, cells, strict=True)),
            class_="stuck" if one.stuck else None,
        )
        for one in layout.shown
        for cells in [_cells(one)]
    )
    return tag(
        "details",
        tag("summary", "These operations as a table"),
        tag(
            "table",
            tag("thead", tag("tr", (tag("th", name, scope="col") for name in head))),
            tag("tbody", rows),
            class_="stacks",
        ),
    )


def _cells(one: Shown) -> Iterable[object]:
    operation = one.operation
    known = operation.completed is not None
    yield "✗ stuck" if one.stuck else one.place or ""
    yield operation.process
    yield operation.kind
    yield "" if operation.value is None else pairs(operation.value)
    yield operation.outcome
    yield "" if operation.result is None else pairs(operation.result)
    yield moment(operation.invoked)
    yield moment(operation.completed) if known and operation.completed is not None else "never"
