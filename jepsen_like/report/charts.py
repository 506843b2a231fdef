"""The charts over time, from top to bottom: faults, throughput, latency, leader and term."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

from jepsen_like.report import series
from jepsen_like.report.draw import (
    WIDTH,
    Axis,
    Decades,
    Level,
    between,
    ceiling,
    chart,
    columns,
    scale,
    shades,
    steps,
    stretched,
    swatch,
    track,
)
from jepsen_like.report.markup import Markup, join, tag
from jepsen_like.report.run import Run, Struck
from jepsen_like.report.series import Band, Latency, Series
from jepsen_like.report.words import clock, count, duration, moment, plural, power_of_ten

ROWS_MAX: Final = 36  # of the table that says what the charts show
LANE, BAR = 17.0, 11.0  # heights
ROOM: Final = {"follower": (7, 3), "candidate": (4, 9), "leader": (1, 15), "silent": (8, 1)}


def axis_of(run: Run) -> Axis:
    """The time of a run, with its faults."""
    return Axis(run.seconds, tuple((fault.was.began, fault.was.ended) for fault in run.faults))


def timeline(run: Run, counted: Series) -> Markup:
    """All charts over one axis, and what they show as a table."""
    axis = axis_of(run)
    return join(
        [
            tag(
                "div",
                readout(counted),
                phases(run, axis),
                faults(run, axis),
                throughput(axis, counted),
                latencies(axis, counted),
                members(run, axis),
                track("", scale(axis), "axis"),
                tag("div", class_="cross", hidden=True),
                class_="tracks",
                id="tracks",
                tabindex="0",
                role="group",
                aria_label="Charts over time. Left and right arrows move through them.",
            ),
            table(run, counted),
        ]
    )


# --- phases and faults -------------------------------------------------------------------


def phases(run: Run, axis: Axis) -> Markup:
    """When each phase of the run began."""
    begins = sorted(run.record.phases.items(), key=lambda item: item[1])
    named = [(name, begin) for name, begin in begins if name != "end"]
    ends = [*(begin for _, begin in begins[1:]), run.seconds]
    parts = []
    for (name, begin), end in zip(named, ends, strict=False):
        wide = axis.percent(end) - axis.percent(begin)
        parts.append(
            tag("line", class_="phase", x1=axis.at(begin), x2=axis.at(begin), y2="100%")
        )
        if wide > 4:
            text = tag("text", name, x=axis.at(begin), dx=4, y=12)
            parts.append(tag("g", text, class_="tight-early" if wide < 14 else None))
    says = "; ".join(f"{name} from {moment(begin)}" for name, begin in named)
    plot = tag("svg", parts, class_="phases", height=17, role="img", aria_label=says)
    return track("", plot, "top") if named else Markup()


def faults(run: Run, axis: Axis) -> Markup:
    """A lane for each kind of fault, with a bar for each time it struck."""
    kinds: dict[str, list[Struck]] = {}
    for fault in run.faults:
        kinds.setdefault(fault.kind, []).append(fault)
    lanes = [
        track(
            [kind, " ", tag("small", f"×{len(struck)}")],
            lane(axis, kind, struck),
            "lane",
        )
        for kind, struck in kinds.items()
    ]
    return tag(
        "div", heading("Faults", plural(len(run.faults), "fault")), lanes, class_="group"
    )


def lane(axis: Axis, kind: str, struck: Sequence[Struck]) -> Markup:
    """The bars of one kind of fault; each leads to its line in the table of faults."""
    bars = [
        tag(
            "a",
            tag(
                "title",
                f"{kind}, {moment(one.was.began)} to {moment(one.was.ended)}. {one.evidence}",
            ),
            tag(
                "rect",
                class_="bar" if one.evidence else "bar unproven",
                x=axis.at(one.was.began),
                width=axis.wide(one.was.began, one.was.ended),
                y=(LANE - BAR) / 2,
                height=BAR,
                rx=2,
            ),
            href=f"#fault-{one.number}",
        )
        for one in struck
    ]
    says = f"{kind}: " + ", ".join(
        f"{moment(a.was.began)} to {moment(a.was.ended)}" for a in struck
    )
    line = tag("line", class_="level", x2="100%", y1=LANE / 2, y2=LANE / 2)
    return tag("svg", line, bars, height=LANE, role="group", aria_label=says)


# --- operations --------------------------------------------------------------------------


def throughput(axis: Axis, counted: Series) -> Markup:
    """How many operations ended how, a second. Each ending has a scale of its own."""
    per = f"each column is {duration(counted.lasts)}" if counted.lasts > 1 else "each second"
    return tag(
        "div",
        heading("Operations a second", f"by when they ended, {per}"),
        ended(axis, counted, "ok", "happened", counted.ok, 72),
        ended(axis, counted, "info", "unknown", counted.info, 30),
        ended(axis, counted, "fail", "refused", counted.fail, 30),
        class_="group",
    )


def ended(
    axis: Axis, counted: Series, name: str, means: str, numbers: Sequence[int], height: float
) -> Markup:
    """How many operations ended in one way, a second."""
    rates = [number / counted.lasts for number in numbers]
    top = ceiling(max(rates, default=0))
    width = WIDTH * counted.lasts / counted.seconds
    path = tag("path", class_=f"area {name}", d=columns(rates, width, top, height))
    levels = [Level(0.5, f"{top:g}/s"), Level(height - 0.5, "")]
    if height > 50:
        levels.insert(1, Level(height / 2, f"{top / 2:g}"))
    says = (
        f"{name} a second: {count(sum(numbers))} in all, at most {max(rates, default=0):.0f}, "
        f"at least {min(rates[:-1], default=0):.0f}"
    )
    label = [tag("b", name), " ", tag("small", means)]
    return track(label, chart(axis, height, says, levels, stretched(height, path)))


def latencies(axis: Axis, counted: Series) -> Markup:
    """How long what succeeded took, one chart a workload, all on one logarithmic scale."""
    height = 88.0
    every = chain.from_iterable((*one.p50, *one.p99) for one in counted.latency.values())
    decades = Decades.of(every, height)
    legend = [swatch("p50", "p50"), swatch("p99", "p99")]
    return tag(
        "div",
        heading("Latency of ok", "by when they were asked, log scale", legend),
        (
            track(tag("b", workload), latency(axis, counted, workload, one, decades))
            for workload, one in counted.latency.items()
        ),
        class_="group",
    )


def latency(
    axis: Axis, counted: Series, workload: str, one: Latency, decades: Decades
) -> Markup:
    """The latency of one workload."""
    width = WIDTH * counted.lasts / counted.seconds
    p50, p99 = [decades.y(each) for each in one.p50], [decades.y(each) for each in one.p99]
    levels = [
        Level(
            min(max(decades.y(10.0**power) or 0.0, 0.5), decades.height - 0.5),
            power_of_ten(power),
        )
        for power in decades.powers()
    ]
    levels[-1] = Level(levels[-1].y, "")
    shapes = [
        tag("path", class_="spread", d=between(p50, p99, width)),
        tag("path", class_="line p50", d=steps(p50, width)),
        tag("path", class_="line p99", d=steps(p99, width)),
    ]
    slowest = max((value for value in one.p99 if value is not None), default=None)
    says = f"Latency of {workload}: the highest p99 is {duration(slowest)}"
    return chart(axis, decades.height, says, levels, stretched(decades.height, *shapes))


# --- members -----------------------------------------------------------------------------


def members(run: Run, axis: Axis) -> Markup:
    """What each member was, and the term."""
    samples, seconds = run.record.samples, run.seconds
    if not samples:
        return Markup()
    spoken = series.terms(samples, seconds)
    legend = [key(role) for role in ("leader", "follower", "candidate", "silent")]
    return tag(
        "div",
        heading("Leader and term", "as each member said of itself", legend),
        (
            track(
                tag("b", node), member(axis, node, series.roles(samples, node, seconds), spoken)
            )
            for node in run.record.nodes
        ),
        track([tag("b", "term")], term(axis, spoken)),
        class_="group",
    )


def member(axis: Axis, node: str, was: Sequence[Band], spoken: Sequence[Band]) -> Markup:
    """One member's roles: the higher the band, the more it has to say."""
    bands = [
        tag(
            "rect",
            tag("title", f"{node}: {band.what}"),
            class_=f"role {band.what}",
            x=axis.at(band.began),
            width=axis.wide(band.began, band.ended),
            y=ROOM.get(band.what, (8, 1))[0] + 1,
            height=ROOM.get(band.what, (8, 1))[1],
        )
        for band in series.visible(was, axis.seconds)
    ]
    led = [band for band in was if band.what == "leader"]
    says = f"{node} led {plural(len(led), 'time')}" + "".join(
        f", {clock(round(band.began))} to {clock(round(band.ended))}" for band in led[:20]
    )
    ticks = _changes(axis, spoken)
    return tag("svg", shades(axis), ticks, bands, height=19, role="img", aria_label=says)


def term(axis: Axis, spoken: Sequence[Band]) -> Markup:
    """The term over time, written where it began if there is room."""
    texts = []
    for band in series.visible(spoken, axis.seconds):
        wide = axis.percent(band.ended) - axis.percent(band.began)
        if wide > 1.8:
            text = tag("text", band.what, x=axis.at(band.began), dx=3, y=13)
            texts.append(tag("g", text, class_="tight" if wide < 6 else None))
    says = "Terms: " + ", ".join(
        f"{band.what} from {clock(round(band.began))}" for band in spoken[:60]
    )
    parts = [shades(axis), _changes(axis, spoken), texts]
    return tag("svg", parts, class_="terms", height=17, role="img", aria_label=says)


def _changes(axis: Axis, spoken: Sequence[Band]) -> Markup:
    """A line wherever the term changed."""
    return join(
        tag("line", class_="term", x1=axis.at(band.began), x2=axis.at(band.began), y2="100%")
        for band in series.visible(spoken, axis.seconds)
    )


def key(role: str) -> Markup:
    """An entry of the legend of roles."""
    y, height = ROOM[role]
    mark = tag("rect", class_=f"role {role}", width=18, y=y, height=height)
    box = tag("svg", mark, width=19, height=17, class_="swatch", aria_hidden="true")
    return tag("span", box, role, class_="key")


# --- the same for those who point, and for those who read ----------------------------------


def heading(text: str, means: str, legend: Sequence[Markup] = ()) -> Markup:
    """What a group of charts is about."""
    return tag(
        "div",
        tag("h3", text),
        tag("p", means, class_="means"),
        tag("div", legend, class_="legend") if legend else None,
        class_="heading",
    )


def readout(counted: Series) -> Markup:
    """Where the script writes what was at the moment that is pointed at."""
    cells = [_cell(name, name) for name in ("at", "ok", "info", "fail", "leader", "term")]
    cells += [_cell(name, f"latency {name}", "wide") for name in counted.latency]
    cells.append(_cell("faults", "fault", "rest", "point at a chart"))
    return tag("dl", cells, class_="readout", hidden=True, aria_live="off")


def _cell(name: str, of: str, class_: str | None = None, empty: str = "–") -> Markup:
    said = "p50 · p99" if of.startswith("latency") else None
    term = tag("dt", name, title=said)
    return tag("div", term, tag("dd", empty, data_of=of, class_="number"), class_=class_)


def data(run: Run, counted: Series) -> str:
    """The numbers behind the charts, for the script; safe inside of a script element."""
    number, samples = len(counted), run.record.samples
    document: Mapping[str, Any] = {
        "lasts": counted.lasts,
        "seconds": counted.seconds,
        "ok": counted.ok,
        "info": counted.info,
        "fail": counted.fail,
        "latency": {
            name: [_micros(one.p50), _micros(one.p99)] for name, one in counted.latency.items()
        },
        "leader": series.at(series.leaders(samples, run.seconds), counted.lasts, number),
        "term": series.at(series.terms(samples, run.seconds), counted.lasts, number),
        "faults": [
            [one.kind, round(one.was.began, 2), round(one.was.ended, 2)] for one in run.faults
        ],
    }
    written = json.dumps(document, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _micros(values: Sequence[float | None]) -> list[int | None]:
    return [None if value is None else round(value * 1e6) for value in values]


def table(run: Run, counted: Series) -> Markup:
    """What the charts show, in a few dozen lines."""
    every = max(1, -(-len(counted) // ROWS_MAX))
    samples = run.record.samples
    leader = series.at(series.leaders(samples, run.seconds), counted.lasts, len(counted))
    spoken = series.at(series.terms(samples, run.seconds), counted.lasts, len(counted))
    head = ["from", "ok", "info", "fail"]
    head += [f"{name} {which}" for name in counted.latency for which in ("p50", "p99")]
    head += ["leader", "term", "faults"]
    rows = []
    for begin in range(0, len(counted), every):
        span = slice(begin, begin + every)
        since, until = begin * counted.lasts, (begin + every) * counted.lasts
        cells = [
            clock(since),
            *(count(sum(n[span])) for n in (counted.ok, counted.info, counted.fail)),
        ]
        for one in counted.latency.values():
            cells += [_typical(one.p50[span]), duration(_most(one.p99[span]))]
        led = dict.fromkeys(who or "nobody" for who in leader[span])
        struck = [f.kind for f in run.faults if f.was.began < until and f.was.ended > since]
        cells += [", ".join(led), spoken[span][-1] if spoken else "", ", ".join(struck)]
        rows.append(tag("tr", (tag("td", cell) for cell in cells)))
    return tag(
        "details",
        tag("summary", "The charts as a table"),
        tag(
            "div",
            tag(
                "table",
                tag(
                    "caption",
                    f"Every {every * counted.lasts:g} s: median p50, highest p99.",
                ),
                tag("thead", tag("tr", (tag("th", name, scope="col") for name in head))),
                tag("tbody", rows),
                class_="figures",
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="The charts as a table",
        ),
    )


def _typical(values: Sequence[float | None]) -> str:
    return duration(series.percentile([value for value in values if value is not None], 50))


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
