"""The report: what it says is what happened, and it asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepsen_like import folder as folders
from jepsen_like import report
from jepsen_like.checkers.history import MalformedHistory, Operation
from jepsen_like.history import NEMESIS, Event, Pair, pairs
from jepsen_like.protocols import LoggedEvent, Record, Sample, Verdict, Violation
from jepsen_like.report import charts, draw, excerpts, lanes, markup, series, unknowns, words
from jepsen_like.report.page import page
from jepsen_like.report.run import Run, read
from tests.jepsen import forge
from tests.jepsen.poison import HOSTILE, poison

# All that a page is made of. Nothing here loads anything, or does what a run asks for.
ELEMENTS = {
    *("html", "head", "meta", "title", "link", "style", "script", "body", "main", "header"),
    *("nav", "section", "article", "div", "span", "p", "h1", "h2", "h3", "b", "small", "a"),
    *("button", "pre", "code", "dl", "dt", "dd", "ul", "li", "details", "summary", "figure"),
    *("figcaption", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "rect", "line", "circle", "path", "text"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    forge.write(made)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read(folder)


@pytest.fixture(scope="module")
def written(folder: Path) -> str:
    return report.write(folder).read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """The elements of a page, the text of each kind, and what it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open, data))

    def text(self, *elements: str) -> str:
        return "".join(data for tag, data in self.texts if not elements or tag in elements)


def outward(text: str) -> Iterator[str]:
    """Everything in a page that could make a browser ask somebody, or do as a run says."""
    parsed = Parsed(text)
    yield from re.findall(r"https?://|url\(|@import", text)
    yield from sorted(set(parsed.elements) - ELEMENTS)
    for tag, name, value in parsed.attributes:
        inward = value.startswith("#") or (tag, name, value) == ("link", "href", "data:,")
        if name in {"src", "srcset", "action", "data", "poster", "style", "xlink:href"} or (
            name == "href" and not inward
        ):
            yield f"{tag} {name}={value}"
        if name.startswith("on"):
            yield f"{tag} {name}"


def sample(time: float, node: str, role: str = "follower", term: int = 1) -> Sample:
    return Sample(time, node, answered=bool(role), role=role, term=term)


def operation(
    process: str, begin: float, end: float | None, kind: str = "read", result: Any = None
) -> Operation:
    outcome: Any = "info" if end is None else "ok"
    return Operation(process, kind, "k", None, outcome, result, begin, end)


# --- the page as a whole -----------------------------------------------------------------


def test_a_page_asks_nobody_for_anything(written: str) -> None:
    """
    No address, no source, no reference that leads out, no style or handler in an element.
    """
    assert list(outward(written)) == []


@pytest.mark.parametrize(
    "planted",
    [
        "<img src=x>",
        '<p style="color: red">',
        '<p onclick="x()">',
        '<a href="other.html">',
        "<p>http://example.com",
        "<style>@import x</style>",
        "<iframe></iframe>",
    ],
)
def test_what_leads_out_is_noticed(written: str, planted: str) -> None:
    """
    The rule about what a page may hold finds each way to break it.
    """
    assert list(outward(written + planted))


def test_the_policy_lets_only_the_own_style_and_script_in(written: str) -> None:
    """
    The policy forbids everything, but for one style and one script, known by their hashes.
    """
    parsed = Parsed(written)
    [policy] = [v for _, name, v in parsed.attributes if name == "content" and "src" in v]
    style = parsed.text("style")
    script = re.findall(r"<script>(.*?)</script>", written, re.DOTALL)

    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for inlined in (style, *script):
        digest = base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert parsed.elements.count("style") == len(script) == 1
    assert parsed.elements.count("script") == 2  # the other one is data


def test_a_page_has_every_part(written: str) -> None:
    """
    Verdict, timeline, violations, faults, unknowns, logs, seed and command are all there.
    """
    text = Parsed(written).text()

    for part in ("Verdicts", "Timeline", "Violations", "Faults", "Unknown outcomes", "Logs"):
        assert part in text
    assert "3 checks of 7 failed: register:witness, register:linear, effects." in text
    assert "--nodes 3 --seed 7" in text
    assert "no place after it explains this one" in text
    assert "Traceback (most recent call last):" in text
    assert Parsed(written).elements.count("h1") == 1


def test_text_of_a_run_is_text(tmp_path: Path) -> None:
    """
    Whatever a run, a cluster or a log says, it adds no element and no attribute.
    """
    forge.write(tmp_path, replace(forge.Plan(), seconds=40, faults=4))
    poison(tmp_path)

    text = page(read(tmp_path))

    assert [one for one in outward(text) if "img" in one] == []
    assert list(outward(text)) == []
    text.encode("utf-8")
    shown = Parsed(text).text("td", "p", "span", "li", "pre", "code", "dd", "b", "text", "div")
    assert shown.count("<img src=x onerror=alert(1)>") > 20
    assert "\u202e" not in text
    assert "\x00" not in text


def test_a_run_without_anything_has_a_page(tmp_path: Path) -> None:
    """
    A run that was never judged, with an empty history, is reported as what it is.
    """
    run = {"nodes": ["n1"], "workloads": ["register"], "nemeses": [], "seed": 1}
    folders.write_json(tmp_path / folders.RUN, run)
    (tmp_path / folders.HISTORY).touch()
    (tmp_path / folders.STATUS).touch()

    text = Parsed(report.write(tmp_path).read_text(encoding="utf-8")).text()

    assert "not judged" in text
    assert "Nobody has judged this run yet." in text
    assert "Nothing was broken." in text


def test_no_run_no_page(tmp_path: Path) -> None:
    """
    A folder that holds no run is refused, and nothing is written into it.
    """
    with pytest.raises(MalformedHistory):
        report.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        (None, "not judged"),
        ({"valid": True}, "valid"),
        ({"valid": False}, "invalid"),
        ({"valid": "unknown"}, "unknown"),
        ({"valid": False, "verdict": "unknown"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_verdict_is_what_the_checkers_said(results: Any, verdict: str) -> None:
    """
    Only what was found valid is shown as valid.
    """
    assert Run(forge.record(_small()), {}, results).verdict == verdict


def _small() -> forge.Plan:
    return forge.Plan(seconds=10.0, faults=1, stale=False, workloads=("register",))


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("./scripts/jepsen run --time 9", "./scripts/jepsen run --time 9 --seed 7"),
        ("./scripts/jepsen run --seed 7", "./scripts/jepsen run --seed 7"),
        ("./scripts/jepsen run --seed=7", "./scripts/jepsen run --seed=7"),
        ("./scripts/jepsen run --out a --seed 7", "./scripts/jepsen run --seed 7"),
        ("./scripts/jepsen run --out=a --seed 7", "./scripts/jepsen run --seed 7"),
        ("jepsen --x 'a b'", "jepsen --x 'a b' --seed 7"),
    ],
)
def test_the_command_does_the_run_again(given_: str, shown: str) -> None:
    """
    With the seed, if it was drawn, and without the folder, which is there by now.
    """
    assert Run(forge.record(_small()), {"command": given_}).command == shown


@pytest.mark.slow
def test_a_long_run_has_a_small_page_soon(tmp_path: Path) -> None:
    """
    Fifteen minutes, 150,000 events, three nodes: below 3 MB, and made within 20 s of one core.
    """
    plan = forge.Plan(rate=105, faults=22, stale=False, workloads=("register",))
    made = _again_and_again(forge.record(plan), 5)
    verdicts = [_found_everywhere(made)]
    folders.write_json(tmp_path / folders.RUN, forge.run_document(made))
    forge.write_history(tmp_path, made)
    folders.write_results(tmp_path, {"verdict": "invalid"}, verdicts)

    began = time.process_time()  # what others do on this machine is no part of it
    path = report.write(tmp_path)
    took = time.process_time() - began

    assert len(made.events) > 150_000
    assert took < 20, f"{took:.1f} s"
    assert path.stat().st_size < 3_000_000, path.stat().st_size


def _again_and_again(made: Record, times: int) -> Record:
    """A run that goes on as it began, so many times, under other processes and ids."""

    def renamed(value: Any, turn: int) -> Any:
        named = isinstance(value, dict) and isinstance(value.get("id"), str)
        return {**value, "id": f"{value['id']}/{turn}"} if named else value

    lasts = made.phases["end"]
    events, samples, log = list[Event](), list[Sample](), list[LoggedEvent]()
    for turn in range(times):
        for event in made.events:
            process = (
                event.process if event.process == NEMESIS else event.process + turn * 10**6
            )
            time_, value = event.time + turn * lasts, renamed(event.value, turn)
            again = replace(event, index=len(events), time=time_, process=process, value=value)
            events.append(again)
        samples += [replace(one, time=one.time + turn * lasts) for one in made.samples]
        for stored in made.log:
            data = json.dumps(renamed(json.loads(stored.data), turn))
            log.append(replace(stored, data=data))
    return replace(made, events=events, samples=samples, log=log)


def _found_everywhere(made: Record) -> Verdict:
    """A verdict with as many violations as one may draw, each as large as it may be."""
    operations = [
        Operation(str(pair.invoke.process), "read", "1", None, "ok", [3, "r3-17"], *times)
        for pair in list(pairs(made.events))[:61]
        for times in [(pair.invoke.time, pair.invoke.time + 0.3)]
    ]
    one = Violation("register", "1", "stale", tuple(operations), tuple(range(60)), 60)
    return Verdict("register:linear", "invalid", "stale", ("stale",) * 20, {}, (one,) * 8)


# --- numbers -----------------------------------------------------------------------------


def test_a_percentile_is_a_value_that_was_there() -> None:
    """
    The nearest rank: no interpolation, so that a slow operation is not made faster.
    """
    values = [float(n) for n in range(100, 0, -1)]

    assert series.percentile(values, 50) == 50
    assert series.percentile(values, 99) == 99
    assert series.percentile([1.0, 9.0], 99) == 9
    assert series.percentile([4.0], 50) == 4
    assert series.percentile([], 50) is None


@pytest.mark.parametrize(("seconds", "lasts"), [(1, 1), (180, 1), (900, 2), (36_000, 60)])
def test_a_bucket_is_as_long_as_it_has_to_be(seconds: float, lasts: float) -> None:
    """
    A second, unless that would be more than 600 of them.
    """
    assert series.bucket(seconds) == lasts


def test_every_operation_is_counted_once(run: Run) -> None:
    """
    Over all buckets as many are counted as ended, by how they ended.
    """
    counted = series.aggregate(run.operations, run.seconds)
    ends = Counter(pair.completion.type for pair in run.operations if pair.completion)

    assert sum(counted.ok) == ends["ok"] > 3_000
    assert sum(counted.info) == ends["info"] > 0
    assert sum(counted.fail) == ends["fail"] > 0
    assert set(counted.latency) == set(run.record.workloads)


def test_latency_is_where_it_was_asked() -> None:
    """
    What was asked before an outage and answered after it is slow at the time of the asking.
    """
    asked = Event(0, 1.5, "invoke", 0, "w", "read")
    slow = Pair(asked, Event(1, 3.5, "ok", 0, "w", "read"))
    lost = Pair(replace(asked, time=2.5), Event(2, 4.5, "info", 0, "w", "read"))

    counted = series.aggregate([slow, lost], 5)

    assert counted.latency["w"].p99 == [None, 2.0, None, None, None, None]
    assert (counted.ok, counted.info) == ([0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0])


def test_roles_terms_and_leaders_follow_the_samples() -> None:
    """
    What was heard is so until something else is heard; nobody leads while nobody says so.
    """
    samples = [
        *(sample(0, "a", "leader"), sample(0, "b")),
        *(sample(1, "a", ""), sample(1, "b", "candidate", 2)),
        *(sample(2, "a", "leader"), sample(2, "b", "leader", 2)),
    ]

    assert [b.what for b in series.roles(samples, "a", 5)] == ["leader", "silent", "leader"]
    assert series.roles(samples, "b", 5)[-1] == series.Band(2, 5, "leader")
    assert [(b.began, b.what) for b in series.terms(samples, 5)] == [(0, "1"), (1, "2")]
    assert series.at(series.leaders(samples, 5), 1, 5) == ["a", "", "b", "b", "b"]


def test_what_cannot_be_seen_is_not_drawn() -> None:
    """
    However often something changes, there are no more bands than a screen can show.
    """
    bands = [series.Band(n / 100, (n + 1) / 100, str(n % 2)) for n in range(90_000)]

    assert len(series.visible(bands, 900)) <= 1_501
    assert series.visible(bands[:3], 900)[-1].ended == 900


def test_a_line_breaks_where_there_is_nothing() -> None:
    """
    Steps go on where values stand side by side, and begin anew after a gap.
    """
    assert draw.steps([None, 1.0, 2.0, None, 3.0], 10) == "M10 1V1H20V2H30M40 3V3H50"
    assert draw.between([1.0, None], [5.0, None], 10) == "M0 1V1H10V5H0Z"


@given(st.lists(st.floats(1e-5, 1e3), min_size=1))
def test_a_logarithmic_scale_holds_every_value(values: list[float]) -> None:
    """
    Every value is within the chart, the larger the higher, decades equally high.
    """
    scale = draw.Decades.of(values, 90)
    places = [scale.y(value) for value in sorted(values)]

    assert all(place is not None and -1e-9 <= place <= 90 + 1e-9 for place in places)
    assert places == sorted(places, key=lambda y: -(y or 0))
    powers = [scale.y(10.0**power) or 0.0 for power in scale.powers()]
    gaps = {round(b - a, 6) for a, b in pairwise(powers)}
    assert len(gaps) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0.00084, "840 µs"),
        (0.0123, "12.3 ms"),
        (0.812, "812 ms"),
        (1.42, "1.42 s"),
        (200, "3 min 20 s"),
    ],
)
def test_durations_are_said_in_their_unit(seconds: float | None, said: str) -> None:
    """
    Three digits, and the unit that needs no zeros.
    """
    assert words.duration(seconds) == said


def test_what_cannot_be_seen_is_spelt_out() -> None:
    """
    Control characters, what turns text around and half characters are shown as numbers.
    """
    assert markup.clean("a\u202eb\x00\ud800") == "a\\u202eb\\u0000\\ud800"
    assert markup.tag("p", "<b>&\"'") == "<p>&lt;b&gt;&amp;&quot;&#x27;</p>"
    assert len(markup.clean("x" * 9_999)) == markup.TEXT_MAX


def test_data_for_the_script_cannot_end_it(run: Run) -> None:
    """
    The numbers hold a workload's name, whatever that is, and are still JSON.
    """
    counted = series.aggregate(run.operations, run.seconds)
    named = replace(counted, latency={HOSTILE: counted.latency["register"]})

    said = charts.data(run, named)

    assert "<" not in said
    assert list(json.loads(said)["latency"]) == [HOSTILE]


# --- faults, unknowns, logs --------------------------------------------------------------


def test_every_fault_has_its_evidence(run: Run) -> None:
    """
    Twenty faults, each with what shows it; the one that nothing shows says so.
    """
    assert len(run.faults) == 20
    assert [fault.kind for fault in run.faults if not fault.evidence] == ["flaky"]
    assert all("was silent for" in (f.evidence or "") for f in run.faults if f.kind != "flaky")
    struck = next(fault for fault in run.faults if fault.kind == "kill-leader")
    assert struck.was.ended - struck.was.began > 1
    text = Parsed(charts.faults(run, charts.axis_of(run))).attributes
    assert sum(value == "bar unproven" for _, _, value in text) == 1
    assert sum(value == "bar" for _, _, value in text) == 19


def test_unknown_outcomes_are_resolved_from_the_log(run: Run) -> None:
    """
    An unknown operation happened if its id is in the committed log, and only then.
    """
    stored = {json.loads(event.data)["id"] for event in run.record.log}
    unknown = [pair for pair in run.operations if pair.outcome == "info"]
    happened = sum(pair.invoke.value["id"] in stored for pair in unknown)

    text = Parsed(unknowns.unknowns(run)).text()

    assert 0 < happened < len(unknown)
    assert f"{len(unknown)} operations" in text
    assert f"happened {happened}" in text
    assert f"did not happen {len(unknown) - happened}" in text
    unread = Run(replace(run.record, log=()), {})
    assert f"still unknown {len(unknown)}" in Parsed(unknowns.unknowns(unread)).text()


def test_steps_of_an_unknown_operation_are_counted(run: Run) -> None:
    """
    Of an operation that takes several steps the log says how many happened.
    """
    pair = next(pair for pair in run.operations if pair.outcome == "info")
    resolved = unknowns._fates(Run(replace(run.record, log=run.record.log[:1]), {}))
    known = resolved[pair.invoke.workload]

    assert unknowns.fate(pair, known, {}) == ("did not happen", "")
    parts = {pair.invoke.value["id"]: 2}
    assert unknowns.fate(pair, known, parts) == ("happened in part", "(2 steps in the log)")


def test_excerpts_show_errors_ends_and_what_was_around(run: Run) -> None:
    """
    A traceback as a whole, an unexpected end with its last words, the lines of all nodes
    around a violation; and nothing else.
    """
    ended = replace(run.record, ends=("n3 exited with 1\nlast line",))
    found = excerpts.excerpts(replace(run, record=ended))

    whys = [one.why for one in found]
    assert whys[0] == "unexpected end: n3 exited with 1"
    assert [line.text for line in found[0].lines] == ["last line"]
    assert whys[1] == "n2, an error"
    texts = [line.text for line in found[1].lines]
    assert texts[-1] == "OSError: [Errno 5] Input/output error"
    assert sum(line.loud for line in found[1].lines) == 2
    around = found[2]
    assert around.why.startswith("all nodes around register key 5 at 108.")
    middle = float(around.why.split()[-2])
    assert all(abs((line.time or 0) - middle) <= 0.51 for line in around.lines)
    assert len(whys) == 3  # both checkers found the same read


def test_a_traceback_within_a_line_is_lines_again(tmp_path: Path) -> None:
    """
    What a log holds as one line of JSON is shown as the lines that it was.
    """
    path = tmp_path / "n1.log"
    said = {
        "ts": "2026-01-01T00:00:09Z",
        "level": "error",
        "event": "broke",
        "exc": "A:\n B\nC",
    }
    path.write_text(json.dumps(said) + "\n", encoding="utf-8")
    began = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

    first, *rest = excerpts.read(path, began)

    assert (first.text, first.time, first.loud) == ("error    broke", 9.0, True)
    assert [line.text for line in rest] == ["    A:", "     B", "    C"]


def test_a_log_is_read_whatever_is_in_it(tmp_path: Path) -> None:
    """
    A line that is no JSON, no UTF-8 or endless is shown as far as it can be.
    """
    path = tmp_path / "n1.log"
    path.write_bytes(b'{"ts": "now", "event": 3}\n\xff\xfe\n{"broken\n[1]\n' + b"x" * 9_999)

    lines = list(excerpts.read(path, 0.0))

    assert [line.time for line in lines] == [None] * 5
    assert lines[1].text == "\ufffd\ufffd"
    assert len(lines[4].text) == excerpts.LINE_MAX
    [missing] = excerpts.read(tmp_path / "none.log", None)
    assert "cannot be read" in missing.text


# --- violations --------------------------------------------------------------------------


def test_the_stuck_operation_and_the_explanation_are_drawn(run: Run) -> None:
    """
    Each operation is a bar, the longest explanation a line of points counted from 1, and
    what has no place is marked in words and colour.
    """
    [violation] = next(v.violations for v in run.verdicts if v.name == "register:linear")

    parsed = Parsed(lanes.figure(violation, 1))

    classes = Counter(value for _, name, value in parsed.attributes if name == "class")
    assert classes["hit"] == len(violation.operations) > 30
    assert classes["point"] == len(violation.longest) > 10
    assert classes["op stuck"] == 1
    assert "✗ read" in parsed.text("text")
    assert parsed.elements.count("tr") == len(violation.operations) + 1


@st.composite
def explained(draws: st.DrawFn) -> Violation:
    """Operations around drawn points of an order, which so explains them."""
    number = draws(st.integers(1, 12))
    times = sorted(draws(st.lists(st.integers(1, 40), min_size=number, max_size=number)))
    operations = [
        operation(
            str(place),
            at - draws(st.integers(1, 9)) / 2,
            None if draws(st.booleans()) else at + draws(st.integers(1, 9)) / 2,
            result="x" * draws(st.integers(0, 30)),
        )
        for place, at in enumerate(times)
    ]
    order = sorted(range(number), key=lambda place: operations[place].invoked)
    longest = tuple(order.index(place) for place in range(number))
    return Violation("w", "k", "", tuple(operations[place] for place in order), longest)


@given(explained())
def test_points_lie_in_their_operations_and_in_order(violation: Violation) -> None:
    """
    Every point of an explanation is within its bar and right of the one before it, and no
    label is wider than its bar.
    """
    layout = lanes.Layout(lanes.choose(violation))

    before = -math.inf
    for one in layout.explained:
        begin, end = layout.bar(one.operation)
        x, _ = layout.point(one)
        assert begin < x < end
        assert x > before
        before = x
        assert end - begin >= len(lanes.label(one.operation)) * lanes.LETTER
    assert [one.place for one in layout.explained] == list(range(1, len(layout.shown) + 1))
    for one in layout.shown:  # what was over before another began stands left of it
        for other in layout.shown:
            if one.operation.completed is not None and (
                one.operation.completed < other.operation.invoked
            ):
                assert layout.bar(one.operation)[1] <= layout.bar(other.operation)[0]


def test_of_very_many_operations_the_nearest_are_drawn() -> None:
    """
    A figure has a bound; what is stuck is always in it, with its neighbours.
    """
    operations = tuple(operation("1", float(n), n + 0.5) for n in range(500))
    violation = Violation("w", "k", "", operations, tuple(range(250)), 250)

    shown = lanes.choose(violation)

    assert len(shown) == lanes.SHOWN_MAX
    assert [one.index for one in shown if one.stuck] == [250]
    assert shown[0].index >= 250 - lanes.SHOWN_MAX
    assert shown[-1].index <= 250 + lanes.SHOWN_MAX
    assert "operations further away are left out" in Parsed(lanes.figure(violation, 1)).text()


def test_a_violation_without_operations_has_no_figure() -> None:
    """
    What was found elsewhere than among operations is told in words alone.
    """
    assert lanes.figure(Violation("w", "k", "lost"), 1) == ""


# --- colours -----------------------------------------------------------------------------

TEXTS = ("ink", "quiet", "link", "invalid", "valid", "unknown")
SHAPES = ("ok", "info", "fail", "slow", "fault", "leader", "candidate")


def _colours() -> dict[str, tuple[str, str]]:
    style = files("jepsen_like.report").joinpath("style.css").read_text(encoding="utf-8")
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    return {name: (light, dark) for name, light, dark in found}


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme: int) -> None:
    """
    Text has a contrast of 4.5 on everything it stands on, shapes have one of 3.
    """
    colours = {name: pair[scheme] for name, pair in _colours().items()}

    low = [
        f"{name} on {ground}: {_contrast(colours[name], colours[ground]):.2f}"
        for names, least in ((TEXTS, 4.5), (SHAPES, 3.0))
        for name in names
        for ground in ("page", "panel", "sunk", "shade")
        if _contrast(colours[name], colours[ground]) < least
    ]
    assert low == []
    assert _contrast("#777777", "#ffffff") < 4.5 < _contrast("#767676", "#ffffff")
