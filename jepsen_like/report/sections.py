"""The parts of the page that are words and tables, in the order in which they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from jepsen_like.history import Pair
from jepsen_like.protocols import Verdict, Violation
from jepsen_like.report import excerpts, lanes, series
from jepsen_like.report.markup import Child, Markup, clean, join, tag
from jepsen_like.report.run import NOTHING_SHOWN, Run, Struck
from jepsen_like.report.tables import stacked
from jepsen_like.report.words import count, duration, moment, pairs, plural, rate, share, value

MARKS: Final = {"valid": "✓", "invalid": "✗", "unknown": "?", "not judged": "?"}
MEANS: Final = {"lost": "once acked", "anomalies": "complaints"}
COMPLAINTS_MAX: Final = 40
COMPLAINTS_OPEN: Final = 4
SUMMARY_MAX: Final = 400  # characters
VIOLATIONS_OPEN: Final = 3


# --- the head ------------------------------------------------------------------------------


def mark(validity: str) -> Markup:
    """A verdict as a sign and a word; the colour only repeats it."""
    return tag(
        "span",
        tag("span", MARKS.get(validity, "?"), class_="sign", aria_hidden="true"),
        tag("span", validity),
        class_=f"mark {validity.replace(' ', '-')}",
    )


def title(run: Run) -> str:
    """What the page is called, in a tab among others."""
    return f"{MARKS.get(run.verdict, '?')} {run.verdict} – seed {run.record.seed}"


def head(run: Run) -> Markup:
    """The verdict, and what was run."""
    record = run.record
    said = [one for one in (record.workloads, record.nemeses) if one]
    what = " under ".join(", ".join(names) for names in said)
    return tag(
        "header",
        tag("p", "jepsen_like", class_="brand"),
        tag("h1", mark(run.verdict)),
        tag("p", sentence(run), class_="lead"),
        tag(
            "p",
            f"{what}; {plural(len(record.nodes), 'node')}, seed {record.seed}, "
            f"{duration(run.seconds)}.",
            class_="quiet",
        ),
        tag("button", "Dark", id="theme", type="button", aria_pressed="false", hidden=True),
    )


def sentence(run: Run) -> str:
    """The verdict in one sentence."""
    if run.results is None:
        return "Nobody has judged this run yet."
    bad = [one.name for one in run.verdicts if one.validity == "invalid"]
    unsure = [one.name for one in run.verdicts if one.validity == "unknown"]
    if bad:
        return f"{plural(len(bad), 'check')} of {len(run.verdicts)} failed: {', '.join(bad)}."
    if unsure:
        return f"No violation was found, but this shows nothing yet: {', '.join(unsure)}."
    if not run.verdicts:
        return "There is no verdict."
    return f"All {plural(len(run.verdicts), 'check')} passed."


def reproduce(run: Run) -> Markup:
    """The command that does it again."""
    words = [[" ", tag("span", word, class_="word")] for word in run.command.split(" ")]
    words[0] = words[0][1:]
    return tag(
        "div",
        tag("pre", tag("code", words, id="command"), tabindex="0"),
        tag("button", "Copy", id="copy", type="button", hidden=True),
        class_="command",
    )


# --- figures -------------------------------------------------------------------------------


def figures(run: Run) -> Markup:
    """The numbers that are asked for first."""
    ends = Counter(pair.outcome for pair in run.operations)
    number = sum(ends.values())
    shown = [pair for pair in run.operations if pair.completion is not None]
    busy = shown[-1].invoke.time - shown[0].invoke.time if shown else 0.0
    led = [band for band in series.leaders(run.record.samples, run.seconds) if band.what]
    proven = sum(bool(fault.evidence) for fault in run.faults)
    cells: list[tuple[str, str, str]] = [
        ("operations", count(number), f"{rate(number / busy) if busy else 0} a second"),
        ("ok", count(ends["ok"]), share(ends["ok"], number)),
        ("info", count(ends["info"]), "nobody knows"),
        ("fail", count(ends["fail"]), "did not happen"),
        ("faults", count(len(run.faults)), f"{count(proven)} proven"),
        ("leaders", count(len(led)), "in turn"),
    ]
    counted = run.results or {}
    cells += [
        (name, count(counted[name]), said) for name, said in MEANS.items() if name in counted
    ]
    return tag(
        "dl",
        (
            tag("div", tag("dt", name), tag("dd", big, tag("small", small)))
            for name, big, small in cells
        ),
        class_="tiles",
    )


# --- verdicts ------------------------------------------------------------------------------


def verdicts(run: Run) -> Markup:
    """Every checker's verdict, by workload."""
    groups: dict[str, list[Verdict]] = {}
    for one in run.verdicts:
        group, _, name = one.name.partition(":")
        groups.setdefault(group if name else "cluster", []).append(one)
    if not groups:
        return tag("p", sentence(run))
    return join(
        tag("div", tag("h3", group), tag("ul", map(verdict, ones)), class_="verdicts")
        for group, ones in groups.items()
    )


def verdict(one: Verdict) -> Markup:
    """One checker's verdict; what it complains of is told at once, but for what the summary
    has told already."""
    said = one.summary.partition("\n")[0]
    told = [text for text in one.complaints if "\n" in text or not said.startswith(text)]
    return tag(
        "li",
        mark(one.validity),
        tag("b", one.name.partition(":")[2] or one.name),
        tag("span", clean(said, SUMMARY_MAX), class_="says"),
        complaints(told[:COMPLAINTS_MAX]),
        _figures(one.figures),
    )


def complaints(told: Sequence[str]) -> Markup | None:
    """What a checker complains of; if it is much, the rest is folded."""
    if not told:
        return None
    listed = [tag("li", complaint(text)) for text in told]
    first = tag("ul", listed[:COMPLAINTS_OPEN], class_="complaints")
    rest = listed[COMPLAINTS_OPEN:]
    if not rest:
        return first
    folded = tag("ul", rest, class_="complaints")
    return join([first, tag("details", tag("summary", f"{len(rest)} more"), folded)])


def complaint(text: str) -> Child:
    """One complaint; if it quotes lines, they are folded and stay lines."""
    said, _, quoted = text.partition("\n")
    if not quoted:
        return said
    lines = tag("pre", quoted, class_="log", tabindex="0")
    return tag("details", tag("summary", said), lines)


def _figures(known: Mapping[str, Any]) -> Markup | None:
    """The figures of a verdict that are single values."""
    plain = {name: what for name, what in known.items() if isinstance(what, str | int | float)}
    if not plain:
        return None
    said = ((name.replace("_", " "), _number(what)) for name, what in plain.items())
    return tag(
        "details",
        tag("summary", "figures"),
        tag("p", " · ".join(f"{name} {what}" for name, what in said)),
    )


def _number(what: str | float) -> str:
    if isinstance(what, bool | str):
        return value(what)
    return count(what) if isinstance(what, int) else f"{what:,.4g}"


# --- violations ----------------------------------------------------------------------------


def violations(run: Run) -> Markup | None:
    """What is wrong, drawn."""
    every = [one for verdict in run.verdicts for one in verdict.violations]
    return (
        join(violation(one, number) for number, one in enumerate(every, 1)) if every else None
    )


def violation(one: Violation, number: int) -> Markup:
    """One violation, and the operations around it."""
    where = f"{one.workload}, key {one.key}" if one.key else one.workload
    return tag(
        "article",
        tag("h3", where),
        tag("p", one.text, class_="says"),
        lanes.figure(one, number),
    )


# --- faults --------------------------------------------------------------------------------


def faults(run: Run) -> Markup:
    """How often each kind struck, and what shows that it did."""
    kinds: dict[str, list[Struck]] = {}
    for fault in run.faults:
        kinds.setdefault(fault.kind, []).append(fault)
    if not kinds:
        return tag("p", "Nothing was broken.")
    rows = [(kind, struck) for kind, struck in sorted(kinds.items())]
    return join(
        [
            stacked(
                ("kind", "times", "proven", "evidence"),
                (
                    (
                        kind,
                        len(all_of),
                        sum(bool(one.evidence) for one in all_of),
                        proof(all_of),
                    )
                    for kind, all_of in rows
                ),
            ),
            tag(
                "details",
                tag("summary", "Every fault"),
                every_fault(run.faults),
                id="faults-all",
            ),
        ]
    )


def proof(struck: Sequence[Struck]) -> Child:
    """What shows that a kind of fault took effect: the first sentence that does."""
    return next((one.evidence for one in struck if one.evidence), shown(struck[0]))


def every_fault(struck: Iterable[Struck]) -> Markup:
    """Every fault, one a line."""
    return stacked(
        ("#", "kind", "from", "lasted", "what was done", "evidence"),
        (
            (
                one.number,
                one.kind,
                moment(one.was.began),
                duration(one.was.ended - one.was.began),
                done(one),
                shown(one),
            )
            for one in struck
        ),
        ids=(f"fault-{one.number}" for one in struck),
    )


def shown(one: Struck) -> Child:
    """What shows one fault; nothing if nobody judged that."""
    return tag("span", NOTHING_SHOWN, class_="bad") if one.evidence == "" else one.evidence


def done(one: Struck) -> Child:
    """What the nemesis did, in its own words; or why it could not."""
    said = (
        pairs(one.was.begun)
        if one.was.begun not in (None, {}, "")
        else pairs(one.was.fault.args)
    )
    return [said, tag("span", f" {one.was.error}", class_="bad")] if one.was.error else said


# --- operations ----------------------------------------------------------------------------


def operations(run: Run) -> Markup:
    """How each kind of operation went, by workload."""
    kinds: dict[tuple[str, str], list[Pair]] = {}
    for pair in run.operations:
        kinds.setdefault((pair.invoke.workload, pair.invoke.f), []).append(pair)
    head = ("workload", "operation", "asked", "ok", "info", "fail", "p50", "p99", "slowest")
    return stacked(head, (_went(*kind, of) for kind, of in sorted(kinds.items())), numbers=2)


def _went(workload: str, f: str, of: Sequence[Pair]) -> tuple[Child, ...]:
    ends = Counter(pair.outcome for pair in of)
    took = [
        pair.completion.time - pair.invoke.time
        for pair in of
        if pair.completion is not None and pair.outcome == "ok"
    ]
    times = (series.percentile(took, 50), series.percentile(took, 99), max(took, default=None))
    counts = (count(number) for number in (len(of), ends["ok"], ends["info"], ends["fail"]))
    return workload, f, *counts, *map(duration, times)


# --- logs ----------------------------------------------------------------------------------


def logs(run: Run) -> Markup:
    """What the nodes wrote that is worth reading."""
    found = excerpts.excerpts(run)
    if not found:
        return tag("p", "No node ended unexpectedly, and none wrote of an error.")
    return join(
        tag(
            "details",
            tag("summary", one.why),
            tag("pre", (log_line(line) for line in one.lines), class_="log", tabindex="0"),
            open=number < 3,
        )
        for number, one in enumerate(found)
    )


def log_line(one: excerpts.Line) -> Markup:
    """One line, with its time since the run began."""
    time = "" if one.time is None else f"{one.time:9.3f}  "
    text = join([tag("span", time, class_="time"), one.text, "\n"])
    return tag("span", text, class_="loud") if one.loud else text


# --- about ---------------------------------------------------------------------------------


def settings(run: Run) -> Markup:
    """Everything else that is known of the run: versions, settings."""
    told = {"seed", "command", "nodes", "workloads", "nemeses", "phases", "schedule", "ends"}
    rest = [(name, pairs(what, 400)) for name, what in run.meta.items() if name not in told]
    phases = sorted(run.record.phases.items(), key=lambda item: item[1])
    known = [
        ("seed", str(run.record.seed)),
        ("nodes", ", ".join(run.record.nodes)),
        ("phases", ", ".join(f"{name} {moment(at)}" for name, at in phases)),
        *rest,
    ]
    return tag(
        "dl",
        (tag("div", tag("dt", name), tag("dd", what)) for name, what in known if what),
        class_="about",
    )
