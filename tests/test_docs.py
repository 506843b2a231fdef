"""The documents keep their word: commands that they name exist, links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from raftstate import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "raftstate" / "docs").rglob("*.md"),
        *(ROOT / "cluster").rglob("*.md"),
    ]
)

CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"(?:^|[\s`(])(?:\./)?scripts/([a-z-]+)\b")
COMMAND = re.compile(
    r"(?:^|[$`(|;&]|\bexec\s|/bin/)\s*raftstate((?: +[a-z][a-z-]*\b(?![./=]))+)", re.MULTILINE
)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


def code(text: str) -> Iterator[str]:
    """Every block and span of code in a document."""
    yield from (found[0] for found in CODE.finditer(text))


def missing_scripts(text: str) -> list[str]:
    """Scripts that a document names and that do not exist."""
    return [name for name in SCRIPT.findall(text) if not (ROOT / "scripts" / name).is_file()]


def unknown_commands(text: str, root: click.Command) -> list[str]:
    """`raftstate ...` commands in a document's code that the command line does not know."""
    unknown = []
    for piece in code(text):
        for words in COMMAND.findall(piece):
            command = root
            for word in words.split():
                if not isinstance(command, click.Group):
                    break  # an argument of a command that is known
                found = command.commands.get(word)
                if found is None:
                    unknown.append(f"raftstate{words}")
                    break
                command = found
    return unknown


def broken_links(document: Path, text: str) -> list[str]:
    """Local links of a document that lead nowhere."""
    return [link for link in LINK.findall(text) if not (document.parent / link).exists()]


def command_line() -> click.Group:
    """The group behind the `raftstate` command."""
    groups = [one for one in vars(cli).values() if isinstance(one, click.Group)]
    return next(one for one in groups if {"serve", "cluster"} <= set(one.commands))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(document: Path) -> None:
    """
    Each script, each command and each local link of a document is real.
    """
    text = document.read_text()

    assert missing_scripts(text) == []
    assert unknown_commands(text, command_line()) == []
    assert broken_links(document, text) == []


def test_what_does_not_exist_is_noticed() -> None:
    """
    The checks see a script, a command and a link that are not there, and only those.
    """
    text = """
    Run `./scripts/check`, then `./scripts/frobnicate`; see [this](nowhere.md),
    [that](README.md#top) and [the web](https://example.org/x). raftstate serves agents.

```
$ raftstate cluster start --nodes 3
$ raftstate cluster explode n1
raftstate frob
```
"""

    assert missing_scripts(text) == ["frobnicate"]
    assert unknown_commands(text, command_line()) == [
        "raftstate cluster explode",
        "raftstate frob",
    ]
    assert broken_links(ROOT / "README.md", text) == ["nowhere.md"]
