"""HTML as values: what is text is escaped, always, because nothing else can be written.

A run's text comes from anywhere: error messages, logs, ids of somebody's cluster. So the
page is put together from `tag` alone. Its children are `Markup`, which is HTML already,
or anything else, which is text and is escaped.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable
from typing import Any, Final

# Elements that end where they begin, unless they hold something.
VOID: Final = frozenset({"meta", "link", "br", "col", "line", "rect", "circle", "path"})
TEXT_MAX: Final = 4_000  # characters of one text; a page is for people


class Markup(str):
    """Text that is HTML already. Only this module makes any, and what is inlined."""

    __slots__ = ()


Child = Any  # Markup, text, a number, None for nothing, or an iterable of such


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """An element. `class_` is written class, `data_t` data-t; None and False leave an
    attribute out, True leaves its value out."""
    opened = f"<{name}{''.join(_attribute(*item) for item in attributes.items())}"
    if name in VOID and not children:
        return Markup(f"{opened}/>")
    return Markup(f"{opened}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Children, one after another."""
    return Markup("".join(_child(child) for child in children))


def clean(text: object, longest: int = TEXT_MAX) -> str:
    """A text as it can be shown: what cannot be seen, or would turn its surroundings
    around, is spelt out, and what is too long ends in an ellipsis."""
    said = str(text)
    if len(said) > longest:
        said = said[: longest - 1] + "…"
    if said.isprintable():
        return said
    return "".join(
        char if char.isprintable() or char in "\n\t\u202f" else f"\\u{ord(char):04x}"
        for char in said
    )


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int | float):
        return html.escape(clean(child))
    return join(child)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {written}"
    if isinstance(value, float):
        value = short(value)
    return f' {written}="{html.escape(clean(value, sys.maxsize))}"'


def short(number: float) -> str:
    """A coordinate: as few digits as a screen can show."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
