"""What a node may be told, by whom, and what it says when it cannot be."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from raftstate import config as configuration
from raftstate.cli import cli
from raftstate.config import (
    Address,
    ClusterConfig,
    Config,
    ConfigError,
    MemberConfig,
    NodeConfig,
    RaftConfig,
    load,
    parse_address,
    render,
)
from raftstate.server import replica_config
from raftstate.storage.logs import LOG_KINDS

FILE = """
[cluster]
id = "c1"

[[member]]
id = "n1"
raft = "127.0.0.1:7511"
api = "127.0.0.1:7411"

[[member]]
id = "n2"
raft = "127.0.0.1:7512"
api = "127.0.0.1:7412"

[node]
id = "n1"
data_dir = "data"
"""


def write(folder: Path, text: str = FILE, more: str = "") -> Path:
    path = folder / "node.toml"
    path.write_text(text + more, encoding="utf-8")
    return path


def read(path: Path, **flags: str) -> Config:
    """Load with flags like `raft_listen`, and no environment."""
    given = {tuple(name.split("_", 1)): text for name, text in flags.items()}
    return load(path, environment={}, flags=given)  # type: ignore[arg-type]


def refusal(path: Path, **flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, **flags)
    return str(caught.value)


# --- where values come from ----------------------------------------------------------


def test_defaults_fill_what_the_file_leaves_out(tmp_path: Path) -> None:
    """
    Listen addresses come from the member table, times and sizes from the defaults.
    """
    config = read(write(tmp_path))

    assert config.api_listen == Address("127.0.0.1", 7411)
    assert config.raft_listen == Address("127.0.0.1", 7511)
    assert config.metrics_listen is None
    assert config.raft.heartbeat_ms == 50
    assert config.storage.log == "lmdb"
    assert config.snapshot.log_bytes == 64 << 20
    assert config.history.keep_revisions == 100_000
    assert config.checkpoint.unused_chunk_s == 900
    assert config.session.grace_ms == 300
    assert config.tls is None
    assert config.peers() == {"n2": "127.0.0.1:7512"}
    assert config.cluster.join is False


def test_a_replica_is_told_what_to_keep(tmp_path: Path) -> None:
    """
    How long history is, and how long chunks that nobody names are kept.
    """
    told = replica_config(
        read(write(tmp_path), history_keep_revisions="0", checkpoint_unused_chunk_s="7")
    )

    assert (told.history_keep, told.chunk_keep_s) == (0, 7)


def test_flags_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    """
    Each source overrides those before it, key by key.
    """
    path = write(tmp_path, more="[session]\ngrace_ms = 1\n[log]\nlevel = 'error'\n")
    environment = {"RAFTSTATE_SESSION_GRACE_MS": "2", "RAFTSTATE_RAFT_HEARTBEAT_MS": "60"}

    config = load(path, environment=environment, flags={("session", "grace_ms"): "3"})

    assert config.session.grace_ms == 3
    assert config.raft.heartbeat_ms == 60
    assert config.log.level == "error"
    assert load(path, environment=environment).session.grace_ms == 2
    assert load(path, environment={}).session.grace_ms == 1


def test_the_environment_of_other_programs_is_left_alone(tmp_path: Path) -> None:
    """
    Only variables with our prefix are ours, and not those of the project's scripts.
    """
    environment = dict.fromkeys(configuration.SCRIPT_VARIABLES, "x")
    environment |= {"HOME": "x", "RAFTSTATE": "1", "API_LISTEN": "x", "MY_RAFTSTATE_X_Y": "x"}

    assert load(write(tmp_path), environment=environment) == read(write(tmp_path))


def test_the_variables_of_scripts_are_those_that_scripts_use() -> None:
    """
    The list holds what scripts and tests read, and no key of the configuration.
    """
    root = Path(__file__).parents[1]
    used = {
        name
        for path in [*(root / "scripts").iterdir(), *(root / "tests" / "sim").glob("*.py")]
        for name in re.findall(r"\bRAFTSTATE_[A-Z_]+\b", path.read_text())
    }
    keys = {f"RAFTSTATE_{one}_{key}".upper() for one, key in configuration.settable()}

    assert used == configuration.SCRIPT_VARIABLES
    assert not keys & configuration.SCRIPT_VARIABLES


def test_addresses_to_dial_can_be_overridden(tmp_path: Path) -> None:
    """
    [raft.dial] sends one peer's messages elsewhere: through a proxy, say. It may name a
    member that joins later.
    """
    config = read(write(tmp_path, more='[raft.dial]\nn9 = "127.0.0.1:9"\n'))

    assert config.raft.dial == {"n9": "127.0.0.1:9"}


def test_a_node_may_join_a_cluster_that_it_does_not_describe(tmp_path: Path) -> None:
    """
    With `join` the member table needs only the node itself; it is a flag in every source.
    """
    alone = FILE.replace(FILE[FILE.index('[[member]]\nid = "n2"') : FILE.index("[node]")], "")
    path = write(tmp_path, alone.replace('id = "c1"', 'id = "c1"\njoin = true'))

    assert read(path).cluster.join is True
    assert read(path).peers() == {}
    assert load(path, environment={"RAFTSTATE_CLUSTER_JOIN": "false"}).cluster.join is False
    assert "join: 'yes' is neither true nor false" in refusal(path, cluster_join="yes")
    path.write_text(path.read_text().replace("join = true", "join = 1"))
    assert "join: 1 is neither true nor false" in refusal(path)
    assert read(write(tmp_path), cluster_join="true").cluster.join is True


def test_the_kinds_of_log_are_those_that_storage_has() -> None:
    """
    Each that the configuration takes can be opened, and each that can be opened is taken.
    """
    (log,) = (one for one in fields(configuration.StorageConfig) if one.name == "log")

    assert log.metadata["choices"] == LOG_KINDS


# --- what cannot be ------------------------------------------------------------------

WRONG = {
    "unknown key": ("[api]\nlisten_on = 'x'\n", "unknown key api.listen_on"),
    "unknown section": ("[raft2]\n", "unknown key [raft2]"),
    "unknown key at the top": ("x = 1\n", "unknown key [x]"),
    "section that is no table": ("raft = 3\n", "raft must be a table"),
    "text for a number": ("[raft]\nheartbeat_ms = '50'\n", "raft.heartbeat_ms: '50' is not"),
    "truth for a number": ("[raft]\nheartbeat_ms = true\n", "True is not a whole number"),
    "fraction for a number": ("[raft]\nheartbeat_ms = 1.5\n", "1.5 is not a whole number"),
    "number for a text": ("[log]\nlevel = 3\n", "log.level: must be a text"),
    "below the range": (
        "[raft]\nheartbeat_ms = 1\n",
        "raft.heartbeat_ms: 1 is out of range: 5",
    ),
    "above the range": ("[session]\ngrace_ms = 3600001\n", "out of range: 0 to 3600000"),
    "no kind of log": (
        "[storage]\nlog = 'files'\n",
        "storage.log: 'files' is none of lmdb, segments",
    ),
    "negative": (
        "[snapshot]\nkeep_entries = -1\n",
        "snapshot.keep_entries: -1 is out of range",
    ),
    "less than nothing kept": (
        "[history]\nkeep_revisions = -1\n",
        "history.keep_revisions: -1 is out of range: 0 to",
    ),
    "no time for an upload": (
        "[checkpoint]\nunused_chunk_s = 0\n",
        "checkpoint.unused_chunk_s: 0 is out of range: 1 to 1000000",
    ),
    "none of the choices": ("[log]\nlevel = 'loud'\n", "debug, info, warning, error"),
    "no address": ("[api]\nlisten = '7411'\n", "api.listen: '7411' is not host:port"),
    "port too large": ("[api]\nlisten = '127.0.0.1:65536'\n", "at most 65535"),
    "bad name to dial": ("[raft.dial]\n'/' = '127.0.0.1:1'\n", "raft.dial: '/' must match"),
    "port zero to dial": ("[raft.dial]\nn2 = '127.0.0.1:0'\n", "the port must be at least 1"),
    "number to dial": ("[raft.dial]\nn2 = 1\n", "raft.dial: n2 must be a text"),
    "short election timeout": (
        "[raft]\nelection_timeout_min_ms = 150\n",
        "raft.election_timeout_min_ms: 150 must be more than three times",
    ),
    "election timeouts without room": (
        "[raft]\nelection_timeout_max_ms = 300\n",
        "raft.election_timeout_max_ms: 300 must be above",
    ),
    "half of tls": ("[tls]\ncert = 'x'\n", "tls.key is required"),
    "tls without its files": (
        "[tls]\ncert = 'c'\nkey = 'k'\nca = 'a'\n",
        "tls.cert: c cannot be read: No such file",
    ),
    "metrics for everybody": (
        "[metrics]\nlisten = '0.0.0.0:9'\n",
        "metrics.listen: 0.0.0.0:9 is not a loopback address, which needs [tls]",
    ),
    "api for everybody": (
        "[api]\nlisten = '10.0.0.1:7411'\n",
        "api.listen: 10.0.0.1:7411 is not",
    ),
    "raft for everybody": ("[raft]\nlisten = '[::]:7511'\n", "raft.listen: [::]:7511 is not"),
    "a name, which may be anybody": (
        "[api]\nlisten = 'db.example:1'\n",
        "api.listen: db.example",
    ),
    "member with a typing error": (
        "[[member]]\nid = 'n3'\nrft = 'x'\n",
        "unknown key member.rft",
    ),
    "member without addresses": (
        "[[member]]\nid = 'n3'\n",
        "member 3: member.raft is required",
    ),
    "member twice": (
        "[[member]]\nid='n1'\nraft='127.0.0.1:1'\napi='127.0.0.1:2'\n",
        "member.id: two members have the same id",
    ),
    "members at the same place": (
        "[[member]]\nid='n3'\nraft='127.0.0.1:7511'\napi='127.0.0.1:2'\n",
        "member.raft: two members have the same address",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_key_is_named_with_its_file_and_limit(tmp_path: Path, name: str) -> None:
    """
    The message says which file, which key, and what would be right.
    """
    text, expected = WRONG[name]
    more, both = ("", text + FILE) if text.startswith(("x =", "raft =")) else (text, FILE)

    message = refusal(write(tmp_path, both, more))

    assert expected in message
    assert str(tmp_path / "node.toml") in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[cluster\n", "is not TOML"),
        ("\udcff", "is not UTF-8"),
        ("member = 3\n", "member must be an array of tables"),
        ("", "is required"),
        (
            FILE.replace('id = "n1"\ndata', 'id = "n7"\ndata'),
            "node.id: 'n7' is no member: n1, n2",
        ),
        (FILE.replace('"c1"', '""'), "cluster.id: '' must match"),
        (FILE.replace('"c1"', '"a b"'), "cluster.id: 'a b' must match"),
        (FILE.replace('data_dir = "data"', ""), "node.data_dir is required"),
        (
            FILE.replace('data_dir = "data"', 'data_dir = ""'),
            "node.data_dir: must not be empty",
        ),
        (
            FILE.split("[[member]]", maxsplit=1)[0] + "[node]\nid='n1'\ndata_dir='d'",
            "0 [[member]] tables",
        ),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    """
    Whatever is wrong with the whole file, the message says so and names it.
    """
    path = tmp_path / "node.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    message = refusal(path)

    assert expected in message
    assert message.startswith(f"{path}: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """
    The path and the system's reason; a folder is no file either.
    """
    missing = tmp_path / "none.toml"

    assert refusal(missing) == f"{missing}: cannot be read: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """
    Permission is the reason given.
    """
    path = write(tmp_path)
    path.chmod(0)

    assert refusal(path) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("RAFTSTATE_RAFT_HEARTBEAT", "5", "unknown key raft.heartbeat"),
        ("RAFTSTATE_RAFT_DIAL", "x", "unknown key raft.dial"),
        ("RAFTSTATE_RAFFT_HEARTBEAT_MS", "60", "no key of the configuration"),
        ("RAFTSTATE_MEMBER_ID", "n1", "no key of the configuration"),
        ("RAFTSTATE_RAFT", "x", "no key of the configuration"),
        ("RAFTSTATE_RAFT_", "x", "no key of the configuration"),
        ("RAFTSTATE_", "", "no key of the configuration"),
        ("RAFTSTATE_SEEDS", "1", "no key of the configuration"),
        (
            "RAFTSTATE_RAFT_HEARTBEAT_MS",
            "fast",
            "raft.heartbeat_ms: 'fast' is not a whole number",
        ),
        ("RAFTSTATE_API_LISTEN", "0.0.0.0:1", "api.listen: 0.0.0.0:1 is not a loopback"),
    ],
)
def test_the_environment_is_held_to_the_same_rules(
    tmp_path: Path, variable: str, text: str, expected: str
) -> None:
    """
    Unknown keys and wrong values are errors there too.
    """
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path), environment={variable: text})

    assert expected in str(caught.value)
    assert f"environment variable {variable}: " in str(caught.value) or "loopback" in expected


def test_an_address_that_others_can_reach_is_fine_with_certificates(tmp_path: Path) -> None:
    """
    With [tls] the node may listen everywhere.
    """
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text("PEM")
    files = "".join(f"{name} = '{tmp_path / name}'\n" for name in ("cert", "key", "ca"))

    config = read(write(tmp_path, more=f"[api]\nlisten = '0.0.0.0:1'\n[tls]\n{files}"))

    assert config.tls is not None
    assert not config.api_listen.is_loopback


# --- addresses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:7411", "127.0.0.1", 7411, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("[::1]:7411", "::1", 7411, True),
        ("localhost:1", "localhost", 1, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),
        ("[::]:1", "::", 1, False),
        ("192.168.0.1:65535", "192.168.0.1", 65_535, False),
        ("localhost.example:1", "localhost.example", 1, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    """
    Host and port, and whether only this machine can reach it.
    """
    address = parse_address(text)

    assert address == Address(host, port)
    assert address.is_loopback is loopback
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", ":1", "a", "a:", "a:b", "::1:1", "[::1]", "a:1:2", "a:-1"]
)
def test_what_is_no_address(text: str) -> None:
    """
    An error that shows the text.
    """
    with pytest.raises(ValueError, match="is not host:port"):
        parse_address(text)


# --- writing -------------------------------------------------------------------------

IDS = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
CONFIGS = st.builds(
    lambda cluster, folder, heartbeat, listen: Config(
        cluster=ClusterConfig(id=cluster, join=heartbeat % 2 == 0),
        members=(
            MemberConfig(id="n1", raft="127.0.0.1:1", api="127.0.0.1:2"),
            MemberConfig(id="n2", raft="127.0.0.1:3", api="127.0.0.1:4"),
        ),
        node=NodeConfig(id="n2", data_dir=folder),
        raft=RaftConfig(heartbeat_ms=heartbeat, listen=listen, dial={"n1": "localhost:9"}),
    ),
    IDS,
    st.text(min_size=1).filter(lambda text: "\x00" not in text and text.isprintable()),
    st.integers(5, 99),
    st.sampled_from(["", "127.0.0.1:5"]),
)


@given(CONFIGS)
def test_what_is_rendered_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    """
    `render` writes every key, and `load` makes the same configuration of it.
    """
    path = write(tmp_path_factory.mktemp("config"), render(config))

    assert read(path) == config
    assert config.effective() == render(config)
    assert tomllib.loads(render(config))["raft"]["dial"] == {"n1": "localhost:9"}


# --- the command ---------------------------------------------------------------------


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["config", "check", *arguments])


def test_config_check_prints_what_is_in_effect(tmp_path: Path) -> None:
    """
    Exit status 0, and a file that says the same as all sources together.
    """
    path = write(tmp_path)

    result = check("--config", str(path), "--session-grace-ms", "7")

    assert result.exit_code == 0
    shown = read(write(tmp_path, result.stdout))
    assert shown == read(write(tmp_path), session_grace_ms="7")


def test_config_check_of_a_wrong_file(tmp_path: Path) -> None:
    """
    Exit status 2, the error on standard error, nothing on standard output.
    """
    path = write(tmp_path, more="[api]\nlisten_on = 1\n")

    result = check("--config", str(path))

    assert result.exit_code == 2
    assert result.stderr == f"raftstate: {path}: unknown key api.listen_on\n"
    assert result.stdout == ""


def test_config_check_of_a_wrong_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Exit status 2, and the variable is named.
    """
    monkeypatch.setenv("RAFTSTATE_SNAPSHOTS_LOG_BYTES", "1024")

    result = check("--config", str(write(tmp_path)))

    assert result.exit_code == 2
    assert "RAFTSTATE_SNAPSHOTS_LOG_BYTES" in result.stderr


def test_every_key_has_a_flag(tmp_path: Path) -> None:
    """
    The flags are those of the keys, no more and no fewer.
    """
    flags = {
        f"--{section}-{key}".replace("_", "-") for section, key in configuration.settable()
    }

    shown = check("--help").stdout.split()

    assert flags <= set(shown)
    assert {word for word in shown if word.startswith("--")} == flags | {"--config", "--help"}
    assert check("--config", str(write(tmp_path)), "--api-listn", "x").exit_code == 2


def test_a_node_finds_its_own_row() -> None:
    """
    The member table's row of the node's id says where it is reached.
    """
    members = (MemberConfig("n1", "127.0.0.1:1", "127.0.0.1:2"),)
    config = Config(ClusterConfig("c"), members, NodeConfig("n1", "d"))

    assert config.self_member is members[0]
    assert replace(config).peers() == {}
