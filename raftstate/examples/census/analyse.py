"""One file in, its census row out.

This is all that the agent and the reference loop share. A row is a plain dict
that survives JSON unchanged, and depends on nothing but the bytes of the file and
the version of the interpreter.
"""

from __future__ import annotations

import ast
import sysconfig
import tokenize
import warnings
from pathlib import Path
from typing import Any

Row = dict[str, Any]

COUNTED = "file_counted"
FAILED = "file_failed"
FOREIGN = frozenset({"site-packages", "dist-packages"})

# What reading and parsing raise for a file that is not Python: wrong syntax, an
# unknown or false encoding, a null byte, nesting that the parser gives up on.
UNPARSABLE = (SyntaxError, UnicodeError, ValueError, RecursionError, MemoryError)


def library_root() -> Path:
    """Where the running interpreter's standard library lives."""
    return Path(sysconfig.get_path("stdlib"))


def library_files(root: Path) -> list[str]:
    """Every Python file under `root` but those of installed packages.

    Relative, with forward slashes, sorted: the same list in every process.
    """
    found = (path.relative_to(root) for path in root.rglob("*.py") if path.is_file())
    return sorted(path.as_posix() for path in found if FOREIGN.isdisjoint(path.parts))


def analyse(root: Path, relative: str) -> Row:
    """Parse one file and count what is in it; a file that does not parse says why.

    Raises OSError if the file cannot be read at all: that is a broken machine,
    not a broken file.
    """
    path = root / relative
    try:
        with tokenize.open(path) as file:  # obeys the byte order mark and the coding line
            source = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's own bad habits
            tree = ast.parse(source, filename=relative)
        return {"path": relative, "lines": _lines(source), **_count(tree)}
    except UNPARSABLE as error:
        return {
            "path": relative,
            "error": type(error).__name__,
            "line": getattr(error, "lineno", None) or 0,
            "bytes": path.stat().st_size,
        }


def event_type(row: Row) -> str:
    """The type of the event that tells of this row."""
    return FAILED if "error" in row else COUNTED


def _lines(source: str) -> int:
    """Lines as an editor counts them: the last one need not end in a newline."""
    return source.count("\n") + (not source.endswith("\n") and source != "")


def _count(tree: ast.Module) -> Row:
    functions = classes = imports = most = 0
    longest = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions += 1
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > most:  # of equals the first
                longest, most = node.name, length
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports += 1
    return {
        "functions": functions,
        "classes": classes,
        "imports": imports,
        "longest": {"name": longest, "lines": most},
    }
