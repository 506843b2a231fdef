"""Runs the examples in docstrings against a live cluster.

An example is a doctest whose statements may `await`: they run on one event loop, with
`store`, open, `raftstate`, `asyncio` and `endpoints` at hand. Each docstring has names of
its own, and uses keys and agents of its own. A docstring's examples stop at the first one
that says something else than is written.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

OPTIONS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LIMIT_S: Final = 60.0

_parser = doctest.DocTestParser()
_checker = doctest.OutputChecker()


class Documented(NamedTuple):
    """Something public: its name as users write it, and its docstring."""

    name: str
    text: str

    @property
    def examples(self) -> list[doctest.Example]:
        """What it shows, as statements and what they print."""
        return _parser.get_examples(self.text, self.name)


def documented(name: str, thing: object, leave: frozenset[str] = frozenset()) -> Iterator[Documented]:
    """A function, or a class with its public methods and properties, inherited ones
    included, but for those in `leave`: `Class.method`."""
    yield Documented(name, inspect.getdoc(thing) or "")
    if not inspect.isclass(thing):
        return
    for member in dir(thing):
        found = inspect.getattr_static(thing, member)
        whole = f"{name}.{member}"
        public = not member.startswith("_") and whole not in leave
        home = getattr(found, "__module__", None) or getattr(
            getattr(found, "fget", None) or getattr(found, "__func__", None), "__module__", ""
        )
        if public and home.startswith("raftstate") and not home.startswith("raftstate.v1"):
            if callable(found) or isinstance(found, property | classmethod | staticmethod):
                yield Documented(whole, inspect.getdoc(getattr(thing, member)) or "")


def run_sync(shown: Documented, names: dict[str, Any]) -> None:
    """Run the examples of a docstring. Raises AssertionError at the first that fails."""
    for example in shown.examples:
        _check(shown, example, _printed(lambda: _evaluate(example, names)))


async def run_async(shown: Documented, names: dict[str, Any]) -> None:
    """As `run_sync`; statements may await."""
    async with asyncio.timeout(LIMIT_S):
        for example in shown.examples:
            said = io.StringIO()
            code = _compiled(example, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with _told_to(said):
                try:
                    found = FunctionType(code, names)()
                    if inspect.iscoroutine(found):
                        await found
                except Exception:  # noqa: BLE001  # what an example raises, it may show
                    _tell(said)
            _check(shown, example, said.getvalue())


def _evaluate(example: doctest.Example, names: dict[str, Any]) -> None:
    exec(_compiled(example, 0), names)


def _printed(work: Callable[[], None]) -> str:
    said = io.StringIO()
    with _told_to(said):
        try:
            work()
        except Exception:  # noqa: BLE001  # as above
            _tell(said)
    return said.getvalue()


def _compiled(example: doctest.Example, flags: int) -> CodeType:
    code: CodeType = compile(example.source, "<example>", "single", flags, dont_inherit=True)
    return code


@contextlib.contextmanager
def _told_to(said: io.StringIO) -> Iterator[None]:
    """Python shows the values of expressions by a hook, which is not ours to keep."""
    hook, sys.displayhook = sys.displayhook, _show
    try:
        with contextlib.redirect_stdout(said):
            yield
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
    if not _checker.check_output(want, got, options):
        raise AssertionError(
            f"{shown.name}: {example.source.strip()}\nshould say\n{want}\nand says\n{got}"
        )
