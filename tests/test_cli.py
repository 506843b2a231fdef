"""The command line itself: what is not a command."""

from importlib import metadata

import pytest
from click.testing import CliRunner

import raftstate
from raftstate.cli import cli


def test_the_version_is_told() -> None:
    """
    `--version` says what the package says of itself.
    """
    result = CliRunner().invoke(cli, ["--version"])

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"raftstate, version {raftstate.__version__}\n"


def test_a_tree_that_is_not_installed_has_a_version_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    `--version` run from a source tree is no error: the version is told to be unknown.
    """

    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)

    result = CliRunner().invoke(cli, ["--version"])

    assert (result.exit_code, result.stdout) == (0, "raftstate, version 0+unknown\n")
