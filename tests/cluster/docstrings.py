"""Finds the examples in the docstrings of both faces, and runs them against a live cluster.

An example is a doctest. Those of the async face may `await`: they run on one event loop.
`store`, open, `endpoints`, `raftstate` and `asyncio` are at hand; in the sync face `store`
is a sync one, and no `asyncio` is needed. Each docstring has names of its own, and
is to use keys, agents and other ids of its own, as all share one cluster.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

import raftstate
from raftstate import replay, txn

OPTIONS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LIMIT_S: Final = 60.0
WORDS: Final = Path(__file__).parents[2] / "scripts" / "sync_words.py"
# What the generator of the sync face knows: which classes are public, and what of them.
words: Final[dict[str, Any]] = runpy.run_path(str(WORDS))

_parser = doctest.DocTestParser()
_checker = doctest.OutputChecker()


class Documented(NamedTuple):
    """Something public: its name, and its docstring."""

    name: str
    text: str

    @property
    def examples(self) -> list[doctest.Example]:
        """What it shows, as statements and what they print."""
        return _parser.get_examples(self.text, self.name)


def public(face: str) -> list[Documented]:
    """Everything public of a face, each once: "client" or "sync"."""
    found: list[Documented] = []
    for module, names in words["MODULES"].items():
        home = importlib.import_module(f"raftstate.{face}.{module}")
        for name in names:
            found += _of_class(getattr(home, name))
    if face == "client":
        found += _functions()
    return found


def _of_class(kind: type) -> Iterator[Documented]:
    """A class's own methods; what it inherits is shown where it is from, and its properties
    where it is shown itself."""
    internal = words["INTERNAL"].get(kind.__name__, set())
    for name, member in vars(kind).items():
        if name.startswith("_") or name in internal or name == "twin_of":
            continue
        if inspect.isfunction(member):
            yield Documented(f"{kind.__name__}.{name}", inspect.getdoc(member) or "")


def _functions() -> Iterator[Documented]:
    """The functions, and the classes that have no twin: both faces have the same ones."""
    twins = {name for names in words["MODULES"].values() for name in names}
    for home in (raftstate, txn, replay):
        for name in home.__all__ if hasattr(home, "__all__") else vars(home):
            thing = getattr(home, name)
            own = getattr(thing, "__module__", "").startswith("raftstate.client")
            if callable(thing) and own and not name.startswith("_") and name not in twins:
                yield Documented(f"{home.__name__}.{name}", inspect.getdoc(thing) or "")


def run(shown: Documented, names: dict[str, Any]) -> None:
    """Run the examples of a docstring. Raises AssertionError at the first that says
    something else than is written."""
    for example in shown.examples:
        _check(shown, example, _said(_compiled(example, 0), names))


async def arun(shown: Documented, names: dict[str, Any]) -> None:
    """As `run`; statements may await."""
    async with asyncio.timeout(LIMIT_S):
        for example in shown.examples:
            code = _compiled(example, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with _listening() as said:
                try:
                    found = FunctionType(code, names)()
                    if inspect.iscoroutine(found):
                        await found
                except Exception:  # noqa: BLE001  # what an example raises, it may show
                    _tell(said)
            _check(shown, example, said.getvalue())


def _said(code: CodeType, names: dict[str, Any]) -> str:
    with _listening() as said:
        try:
            exec(code, names)
        except Exception:  # noqa: BLE001  # as above
            _tell(said)
    return said.getvalue()


def _compiled(example: doctest.Example, flags: int) -> CodeType:
    code: CodeType = compile(example.source, "<example>", "single", flags, dont_inherit=True)
    return code


@contextlib.contextmanager
def _listening() -> Iterator[io.StringIO]:
    """What is printed, and the values of expressions, which Python shows by a hook."""
    said = io.StringIO()
    hook, sys.displayhook = sys.displayhook, _show
    try:
        with contextlib.redirect_stdout(said):
            yield said
    finally:
        sys.displayhook = hook


def _show(value: object) -> None:
    if value is not None:
        print(repr(value))


def _tell(said: io.StringIO) -> None:
    """Write an exception as doctests compare it: its type and what it says."""
    kind, error, _ = sys.exc_info()
    said.write("Traceback (most recent call last):\n")
    said.write("".join(traceback.format_exception_only(kind, error)))


def _check(shown: Documented, example: doctest.Example, got: str) -> None:
    want = example.want
    if example.exc_msg is not None:  # the stack in between does not count
        want = "Traceback (most recent call last):\n" + example.exc_msg
    options = OPTIONS
    for option, on in example.options.items():
        options = options | option if on else options & ~option
    assert _checker.check_output(want, got, options), (
        f"{shown.name}: {example.source.strip()}\nshould say\n{want}\nand says\n{got}"
    )
