"""Tables that are read on a screen of any width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from jepsen_like.report.markup import Child, Markup, tag

SHORT: Final = 18  # characters


def stacked(
    head: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    ids: Iterable[str] = (),
    numbers: int | None = None,
) -> Markup:
    """A table that becomes a list of cards where there is little room. Columns from
    `numbers` on hold numbers."""
    named = iter(ids)
    body = (
        tag(
            "tr",
            (
                tag("td", cell, data_label=name, class_=_class(number, numbers) or _short(cell))
                for number, (name, cell) in enumerate(zip(head, row, strict=True))
            ),
            id=next(named, None),
        )
        for row in rows
    )
    top = (
        tag("th", name, scope="col", class_=_class(number, numbers))
        for number, name in enumerate(head)
    )
    return tag("table", tag("thead", tag("tr", top)), tag("tbody", body), class_="stacks")


def _class(number: int, numbers: int | None) -> str | None:
    return "number" if numbers is not None and number >= numbers else None


def _short(cell: Child) -> str | None:
    """What is too short to be broken into lines."""
    return "short" if isinstance(cell, str) and len(cell) <= SHORT else None
