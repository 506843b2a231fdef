"""The report: one page a run, that opens anywhere and needs nothing but itself.

run.py        the run as the page tells it, read from its folder
series.py     what happened second by second, in a few hundred numbers
markup.py     HTML as values; text is always escaped
words.py      numbers, times and values as people write them
draw.py       scales, grids and lines of the charts over time
charts.py     faults, throughput, latency, leader and term
lanes.py      the operations around a violation
excerpts.py   what the nodes wrote that is worth reading
sections.py   everything that is words and tables
page.py       the page from top to bottom, with style.css and script.js inlined
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jepsen_like.report.page import page
from jepsen_like.report.run import read

REPORT: Final = "report.html"


def write(folder: Path) -> Path:
    """Write the report of the run in a folder into that folder; the path of the page.

    Raises MalformedHistory if the folder holds no run."""
    path = folder / REPORT
    path.write_text(page(read(folder)), encoding="utf-8")
    return path
