"""Journals: what is written is there, and what was touched shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftstate.examples.census.evidence import Journal, Tail, read_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Journal(tmp_path / "j.jsonl") as journal:
        for number in range(4):
            journal.write("thing", number=number)
    return tmp_path / "j.jsonl"


def test_reads_back_what_was_written(path: Path) -> None:
    """
    Every line, in order, without the last one that only closes.
    """
    lines, wrong = read_journal(path, closed=True)
    assert [line["number"] for line in lines] == [0, 1, 2, 3]
    assert wrong == []


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("how", ["delete", "double", "alter", "swap", "tear"])
def test_any_touched_line_shows(path: Path, how: str, number: int) -> None:
    """
    Whichever line it is, and even if it is the last.
    """
    texts = path.read_text().splitlines(keepends=True)
    if how == "delete":
        del texts[number]
    elif how == "double":
        texts.insert(number, texts[number])
    elif how == "alter":
        line = json.loads(texts[number])
        texts[number] = json.dumps({**line, "at": line["at"] + 1}) + "\n"
    elif how == "swap":
        texts[number], texts[number - 1] = texts[number - 1], texts[number]
    else:
        texts[number] = texts[number][:-9]
    path.write_text("".join(texts))
    assert read_journal(path, closed=True)[1] != []


def test_an_open_journal_is_no_closed_one(tmp_path: Path) -> None:
    """
    A killed writer leaves no last line: fine for one that was killed, and for no other.
    """
    Journal(tmp_path / "j.jsonl").write("thing")
    assert read_journal(tmp_path / "j.jsonl", closed=False)[1] == []
    assert read_journal(tmp_path / "j.jsonl", closed=True)[1] != []


def test_a_missing_journal_is_a_complaint(tmp_path: Path) -> None:
    """
    It is what deleting every line looks like.
    """
    assert read_journal(tmp_path / "j.jsonl", closed=False) == ([], ["j.jsonl: missing"])


def test_two_writers_cannot_share_a_journal(path: Path) -> None:
    """
    A journal belongs to one process; a name used twice is a mistake.
    """
    with pytest.raises(FileExistsError):
        Journal(path)


def test_a_tail_gives_each_whole_line_once(tmp_path: Path) -> None:
    """
    Half a line waits for its other half; a file that is not there yet is empty.
    """
    path = tmp_path / "j.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    path.write_bytes(b'{"n": 1}\n{"n"')
    assert tail.read() == [{"n": 1}]
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert tail.read() == [{"n": 2}]
    assert tail.read() == []
    tail.close()
