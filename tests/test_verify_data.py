"""`raftstate verify-data`: what the data of a node that does not run is worth."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from raftstate import server
from raftstate.cli import cli
from raftstate.config import ClusterConfig, Config, MemberConfig, NodeConfig, render
from raftstate.core.ports import Entry
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage.open import Storage, open_storage


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A node whose log holds an entry."""
    made = Config(
        cluster=ClusterConfig("c1"),
        members=(MemberConfig("n1", "127.0.0.1:7411", "127.0.0.1:7421"),),
        node=NodeConfig("n1", str(tmp_path / "data")),
    )
    (tmp_path / "node.toml").write_text(render(made))
    with closing(storage_of(made)) as storage:
        storage.log.append(Entry(Index(1), Term(1), b"\x00what was written"))
        storage.log.commit()
    return made


def storage_of(config: Config) -> Storage:
    """The node's folder, opened as the node opens it."""
    return open_storage(
        Path(config.node.data_dir),
        cluster_id=config.cluster.id,
        member_id=MemberId(config.node.id),
        boot_id=server.boot_id(),
        wake=lambda: None,
    )


def verify(config: Config) -> Result:
    """Run the command."""
    file = Path(config.node.data_dir).with_name("node.toml")
    return CliRunner().invoke(cli, ["verify-data", "--config", str(file)])


def test_sound_data(config: Config) -> None:
    """
    Said in a line; exit status 0, and again when it is asked again.
    """
    for _ in range(2):
        result = verify(config)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.endswith("everything is what was written\n")


def test_damaged_data(config: Config) -> None:
    """
    A line says what is damaged; nothing is changed, so it is said again.
    """
    file = Path(config.node.data_dir) / "log" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"what was written", b"what was not wri"))
    for _ in range(2):
        result = verify(config)
        assert (result.exit_code, result.stderr) == (1, "")
        assert "log entry 1 in" in result.stdout
        assert result.stdout.count("\n") == 1


def test_data_that_cannot_be_looked_at(config: Config, tmp_path: Path) -> None:
    """
    In use, or not there: exit status 1, and why on standard error.
    """
    with closing(storage_of(config)):
        result = verify(config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "in use by pid" in result.stderr
    Path(config.node.data_dir).rename(tmp_path / "elsewhere")
    result = verify(config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "holds no log" in result.stderr
