"""One file in, its row out: what is counted, and what does not parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstate.examples.census.analyse import (
    analyse,
    event_type,
    library_files,
    library_root,
)
from raftstate.examples.census.reference import totals

SOURCE = '''\
"""A module."""
import os, sys
from os import path

class A:
    def short(self): return 1

    async def long(self):
        def inner():
            return 2

        return inner

def f(): pass
'''


def row_of(tmp_path: Path, data: bytes, name: str = "x.py") -> dict[str, object]:
    (tmp_path / name).write_bytes(data)
    return analyse(tmp_path, name)


def test_counts_what_is_there(tmp_path: Path) -> None:
    """
    Lines, functions at every depth, classes, import statements, the longest function.
    """
    assert row_of(tmp_path, SOURCE.encode()) == {
        "path": "x.py",
        "lines": 14,
        "functions": 4,
        "classes": 1,
        "imports": 2,
        "longest": {"name": "long", "lines": 5},
    }


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"", 0), (b"\n", 1), (b"x", 1), (b"x\n", 1), (b"x\r\ny\r\n", 2), (b"x\ry", 2)],
)
def test_counts_lines_as_an_editor_does(tmp_path: Path, data: bytes, lines: int) -> None:
    """
    The last line may or may not end; every kind of line end counts once.
    """
    assert row_of(tmp_path, data)["lines"] == lines


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfdef f(): pass\n",
        b"\xef\xbb\xbf# coding: utf-8\ndef f(): pass\n",
        b"# coding: latin-1\ndef f(): return '\xe9'\n",
        b"#!/usr/bin/python\n# -*- coding: cp1252 -*-\ndef f(): return '\x80'\n",
    ],
    ids=["bom", "bom and cookie", "latin-1", "cp1252 on line two"],
)
def test_reads_a_file_as_python_does(tmp_path: Path, data: bytes) -> None:
    """
    A byte order mark is no text, and the coding line is obeyed.
    """
    row = row_of(tmp_path, data)
    assert event_type(row) == "file_counted"
    assert row["functions"] == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"def f(:\n", "SyntaxError"),
        (b"if x:\npass\n", "IndentationError"),
        (b"print 'python two'\n", "SyntaxError"),
        (b"x = '\xe9'\n", "SyntaxError"),
        (b"# coding: utf-8\n\n\nx = '\xe9'\n", "UnicodeDecodeError"),
        (b"# coding: no-such-encoding\n", "SyntaxError"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "SyntaxError"),
    ],
    ids=[
        "syntax",
        "indent",
        "python 2",
        "no utf-8",
        "false cookie",
        "unknown",
        "bom and cookie",
    ],
)
def test_a_file_that_does_not_parse_says_why(tmp_path: Path, data: bytes, error: str) -> None:
    """
    A failure is a row of its own kind with the error and the file's size; it has no
    counts.
    """
    row = row_of(tmp_path, data)
    assert event_type(row) == "file_failed"
    assert (row["error"], row["bytes"]) == (error, len(data))
    assert "lines" not in row


def test_a_null_byte_is_a_failure(tmp_path: Path) -> None:
    """
    Which error it is depends on the version of Python; that it is one does not.
    """
    assert event_type(row_of(tmp_path, b"x = 1\0\n")) == "file_failed"


def test_a_file_that_cannot_be_read_is_no_row(tmp_path: Path) -> None:
    """
    A missing file is a broken machine, and must not pass for a broken file.
    """
    with pytest.raises(FileNotFoundError):
        analyse(tmp_path, "gone.py")


def test_the_list_of_files_is_sorted_and_without_installed_packages(tmp_path: Path) -> None:
    """
    Order does not depend on the file system; foreign folders are left out at any depth.
    """
    for name in [
        "b.py",
        "a/z.py",
        "a.py",
        "site-packages/s.py",
        "a/dist-packages/d.py",
        "n.txt",
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.py").mkdir()
    assert library_files(tmp_path) == ["a.py", "a/z.py", "b.py"]


def test_the_real_library_is_there() -> None:
    """
    The running interpreter's library has hundreds of files, none of them installed.
    """
    files = library_files(library_root())
    assert len(files) >= 500
    assert files == sorted(set(files))
    assert "ast.py" in files
    assert not any("site-packages" in path for path in files)


def test_totals_leave_failures_out_of_the_sums(tmp_path: Path) -> None:
    """
    A failed file counts as a file and as a failure, and adds nothing else; of two
    functions of the same length the first stays the longest.
    """
    rows = [
        row_of(tmp_path, SOURCE.encode(), "a.py"),
        row_of(tmp_path, b"def (", "b.py"),
        row_of(tmp_path, SOURCE.encode(), "c.py"),
    ]
    assert totals(rows) == {
        "files": 3,
        "counted": 2,
        "failed": 1,
        "lines": 28,
        "functions": 8,
        "classes": 2,
        "imports": 4,
        "longest": {"path": "a.py", "name": "long", "lines": 5},
    }
