"""The page, from top to bottom.

It is one file that asks nobody for anything: style and script are inlined, charts are
drawn here, and its own policy forbids every request, and every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Final

from jepsen_like.report import charts, sections, series, unknowns
from jepsen_like.report.markup import Markup, join, tag
from jepsen_like.report.run import Run

HERE: Final = files("jepsen_like.report")


def page(run: Run) -> str:
    """The whole page."""
    style = HERE.joinpath("style.css").read_text(encoding="utf-8")
    script = HERE.joinpath("script.js").read_text(encoding="utf-8")
    counted = series.aggregate(run.operations, run.seconds)
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", sections.title(run)),
            tag("link", rel="icon", href="data:,"),  # or the browser would ask for one
            tag("style", Markup(style)),
        ),
        tag("body", body(run, counted), tag("script", Markup(script))),
        lang="en",
    )


def body(run: Run, counted: series.Series) -> Markup:
    """What is read, in the order in which one asks: is it good, what happened, why."""
    parts = [
        ("verdicts", "Verdicts", sections.verdicts(run)),
        ("timeline", "Timeline", charts.timeline(run, counted)),
        ("violations", "Violations", sections.violations(run)),
        ("faults", "Faults", sections.faults(run)),
        ("operations", "Operations", sections.operations(run)),
        ("unknowns", "Unknown outcomes", unknowns.unknowns(run)),
        ("logs", "Logs", sections.logs(run)),
        ("run", "The run", sections.settings(run)),
    ]
    shown = [part for part in parts if part[2] is not None]
    links = (tag("a", title, href=f"#{name}") for name, title, _ in shown)
    head = [sections.head(run), sections.figures(run), sections.reproduce(run)]
    nav = tag("nav", links, aria_label="Parts of the report")
    numbers = tag(
        "script", Markup(charts.data(run, counted)), type="application/json", id="numbers"
    )
    return join([tag("main", head, nav, (section(*part) for part in shown)), numbers])


def section(name: str, title: str, content: Markup | None) -> Markup:
    """A part of the page under its heading."""
    return tag("section", tag("h2", title, id=name), content, aria_labelledby=name)


def policy(style: str, script: str) -> str:
    """Nothing may be loaded, and nothing run but what is inlined here."""
    return (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def digest(text: str) -> str:
    """What a policy knows an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
