"""The command line itself, and the repair of a node that does not run."""

import os
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import raftstate
from raftstate import server
from raftstate.cli import cli
from raftstate.config import ClusterConfig, Config, MemberConfig, NodeConfig, load, render
from raftstate.consensus.replica import COMMANDS
from raftstate.core import machine, queries
from raftstate.core.machine import StateMachine
from raftstate.core.ports import Entry
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage.open import Storage, open_storage
from raftstate.storage.repairs import skipped
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, LogEntry


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


# --- repair skip -------------------------------------------------------------------

POISON = 3


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply raises for the session that entry 3 opens."""
    open_session = machine._PLAIN["open_session"]

    def opening(context: Any, request: Any) -> Any:
        if request.session_id == f"s{POISON}":
            raise RuntimeError("a bug in apply")
        return open_session(context, request)

    monkeypatch.setitem(machine._PLAIN, "open_session", opening)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node that does not run, whose log holds five entries, none of them applied: its
    configuration file. Two entries before the third were lost from the state with the
    batch that it was in."""
    member = MemberConfig("n1", "127.0.0.1:7411", "127.0.0.1:7421")
    config = Config(
        cluster=ClusterConfig("c1"),
        members=(member,),
        node=NodeConfig("n1", str(tmp_path / "data")),
    )
    with closing(storage_of(config)) as storage:
        for index in range(1, 6):
            command = Command(open_session=OpenSessionRequest(session_id=f"s{index}"))
            data = COMMANDS + LogEntry(commands=[command]).SerializeToString()
            storage.log.append(Entry(Index(index), Term(1), data))
        storage.log.commit()
    path = tmp_path / "node.toml"
    path.write_text(render(config))
    return path


def storage_of(config: Config) -> Storage:
    """The node's folder, opened as the node opens it."""
    return open_storage(
        Path(config.node.data_dir),
        cluster_id=config.cluster.id,
        member_id=MemberId(config.node.id),
        boot_id=server.boot_id(),
        wake=lambda: None,
    )


def skip(node: Path, index: object, *flags: str) -> Result:
    """Ask for an entry to be passed over."""
    arguments = ["repair", "skip", "--config", str(node), f"--index={index}", *flags]
    return CliRunner().invoke(cli, arguments)


def recorded(node: Path) -> set[int]:
    """The indexes of the entries that the node passes over."""
    return set(skipped(node.parent / "data"))


@pytest.mark.usefixtures("bug")
def test_the_entry_at_which_a_node_stops_is_passed_over(node: Path) -> None:
    """
    `repair skip` records the entry, says its digest, and leaves log and state as they are.
    """
    result = skip(node, POISON)

    assert (result.exit_code, result.stderr) == (0, "")
    digest = skipped(node.parent / "data")[Index(POISON)]
    assert result.stdout == (
        f"n1 passes over entry {POISON} of term 1\n"
        f"digest {digest.hex()}: it must be the same on every member\n"
    )
    with closing(storage_of(load(node))) as storage:
        assert storage.log.last.index == 5
        assert queries.applied(storage.state.store).index == 0


@pytest.mark.parametrize(
    ("index", "why"),
    [
        (1, "entry 1 can be applied: there is nothing to pass over"),
        (4, "another comes before entry 4: entry 3 of term 1 cannot be applied"),
        (6, "does not wait to be applied: the state is at 0, and the log ends at 5"),
    ],
)
@pytest.mark.usefixtures("bug")
def test_only_the_entry_at_which_the_node_stops_is_passed_over(
    node: Path, index: int, why: str
) -> None:
    """
    One that applies, one behind the entry that fails, and one that is not in the log are
    refused: exit status 1, and nothing is recorded.
    """
    result = skip(node, index)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("raftstate: nothing is passed over: ")
    assert why in result.stderr
    assert recorded(node) == set()


def test_an_entry_that_is_applied_is_not_passed_over(node: Path) -> None:
    """
    What the state holds already cannot be taken back by a skip.
    """
    with closing(storage_of(load(node))) as storage:
        store = StateMachine(storage.state.store, 1)
        for entry in storage.log.read(Index(1), 1 << 20)[:POISON]:
            store.apply(entry.index, entry.term, LogEntry.FromString(entry.data[1:]))
        storage.state.commit()

    result = skip(node, POISON)

    assert result.exit_code == 1
    assert "entry 3 does not wait to be applied: the state is at 3" in result.stderr
    assert recorded(node) == set()


@pytest.mark.usefixtures("bug")
def test_an_entry_is_recorded_once(node: Path) -> None:
    """
    A second request for the same entry is refused, and the record stays.
    """
    assert skip(node, POISON).exit_code == 0

    result = skip(node, POISON)

    assert result.exit_code == 1
    assert "entry 3 is passed over already" in result.stderr
    assert recorded(node) == {POISON}


@pytest.mark.usefixtures("bug")
def test_nothing_is_recorded_under_a_running_node(node: Path) -> None:
    """
    A folder that a process has open is refused, and the message names the process.
    """
    with closing(storage_of(load(node))):
        result = skip(node, POISON)

    assert result.exit_code == 1
    assert f"is in use by pid {os.getpid()}" in result.stderr
    assert recorded(node) == set()


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_a_folder_that_holds_nothing_is_refused(node: Path, make: bool) -> None:
    """
    A mistyped folder is not made into a member's by asking for a repair.
    """
    elsewhere = node.parent / "elsewhere"
    if make:
        elsewhere.mkdir()

    result = skip(node, POISON, "--node-data-dir", str(elsewhere))

    assert result.exit_code == 1
    assert "holds no data" in result.stderr
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


@pytest.mark.parametrize("index", ["0", "-1", "x"])
def test_an_index_that_is_none_is_a_usage_error(node: Path, index: str) -> None:
    """
    What is no index ends with the status of a wrong command line.
    """
    assert skip(node, index).exit_code == 2
