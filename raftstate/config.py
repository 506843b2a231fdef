"""What a node is told: a TOML file, the environment, the command line.

A later source overrides an earlier one: defaults, file, environment, flags. Every
key has one name in all of them: `[api] listen` is `RAFTSTATE_API_LISTEN` and
`--api-listen`. Only the tables `[[member]]` and `[raft.dial]` exist in the file
alone.

Nothing is guessed. A key that is not known is an error, wherever it comes from, and
every variable that begins with `RAFTSTATE_` is taken for one, but for those of the
project's scripts. So is a value of another type or out of range; the message names the
key, the place and the limit. A node that listens on an address that other machines can
reach must have certificates: without them the configuration is refused.

Start reading at `load`.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT_PREFIX = "RAFTSTATE_"
# Variables with our prefix that are for the project's scripts and tests, not for a node.
SCRIPT_VARIABLES = frozenset({"RAFTSTATE_PYTHON", "RAFTSTATE_SEED"})
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
_MEMBERS_MAX = 9


class ConfigError(Exception):
    """The configuration cannot be used; the message says which key, where and why."""


class Address(NamedTuple):
    """A host and a port. IPv6 hosts are written in brackets: `[::1]:7411`."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. Names are not looked up."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """Read `host:port` or `[ipv6]:port`; raises ValueError with the reason."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+)):([0-9]{1,5})", text)
    if match is None:
        raise ValueError(f"{text!r} is not host:port")
    port = int(match[3])
    if port > 65_535:
        raise ValueError(f"{text!r}: the port must be at most 65535")
    return Address(match[1] or match[2], port)


# --- what a key may hold -------------------------------------------------------


def _number(default: int, low: int, high: int) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _flag(default: bool) -> Any:
    return field(default=default, metadata={"flag": True})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


def _address_or_none() -> Any:
    return field(default="", metadata={"address": True, "empty": True})


# Required keys: mypy has to see `field` itself to know that there is no default.
_IS_ID = {"id": True}
_IS_ADDRESS = {"address": True, "empty": False}
_IS_TEXT = {"text": True}


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Which cluster this is: members of another one are refused.

    With `join` this node waits to be added to a cluster that exists, and the member table
    needs nobody but itself. Once its data folder knows who is a member, that alone counts.
    """

    id: str = field(metadata=_IS_ID)
    join: bool = _flag(False)


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """One of the members that a new cluster begins with, or this one."""

    id: str = field(metadata=_IS_ID)
    raft: str = field(metadata=_IS_ADDRESS)
    api: str = field(metadata=_IS_ADDRESS)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Which member this process is, and where its data is."""

    id: str = field(metadata=_IS_ID)
    data_dir: str = field(metadata=_IS_TEXT)


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """The gRPC port. An empty `listen` means the address in the member table.

    A client that pings more often than each `keepalive_min_ms` is sent away.
    """

    listen: str = _address_or_none()
    max_concurrent: int = _number(10_000, 1, 1_000_000)
    keepalive_min_ms: int = _number(500, 10, 3_600_000)


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """The port for the other members, and Raft's times. `dial` says where a member is
    reached from here, whatever the configuration of the cluster says."""

    listen: str = _address_or_none()
    heartbeat_ms: int = _number(50, 5, 60_000)
    election_timeout_min_ms: int = _number(300, 20, 600_000)
    election_timeout_max_ms: int = _number(600, 20, 600_000)
    dial: Mapping[str, str] = field(default_factory=dict, metadata={"table": True})


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The Prometheus port. Empty: none."""

    listen: str = _address_or_none()


@dataclass(frozen=True, slots=True)
class SnapshotConfig:
    """When the log is compacted. `log_entries` of zero means by bytes alone."""

    log_bytes: int = _number(64 << 20, 1 << 10, 1 << 40)
    log_entries: int = _number(0, 0, 1 << 40)
    keep_entries: int = _number(1_000, 0, 1 << 40)


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Which kind of log a data folder is made with, and keeps for life: `lmdb` or
    `segments`. How to choose is in the decision record 0006.

    With less than `reserve_mib` free, what makes the store larger is refused. With a
    `quota_mib` the data folder may take so much; zero means all there is."""

    log: str = _choice("lmdb", "lmdb", "segments")
    reserve_mib: int = _number(256, 1, 1 << 20)
    quota_mib: int = _number(0, 0, 1 << 30)


@dataclass(frozen=True, slots=True)
class ScrubConfig:
    """How long the scrub rests between two passes over everything on the disk, and how
    fast it reads; the state four times as fast. An interval of zero: it never does."""

    interval_s: int = _number(60, 0, 1_000_000)
    mib_per_s: int = _number(16, 1, 100_000)


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """How many of the newest revisions can be read and watched, at least; what is older
    is forgotten. Zero: everything is kept until somebody compacts it."""

    keep_revisions: int = _number(100_000, 0, 1 << 40)


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """How long a chunk is kept that no checkpoint names: an upload has so much time
    between its first chunk and the checkpoint that names it."""

    unused_chunk_s: int = _number(900, 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How long a session outlives a stream that broke."""

    grace_ms: int = _number(300, 0, 3_600_000)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is told on standard error, and how."""

    level: str = _choice("info", "debug", "info", "warning", "error")
    format: str = _choice("json", "json", "text")


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificates for both ports: each side shows one and checks the other's."""

    cert: str = field(metadata=_IS_TEXT)
    key: str = field(metadata=_IS_TEXT)
    ca: str = field(metadata=_IS_TEXT)


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration of one node."""

    cluster: ClusterConfig
    members: tuple[MemberConfig, ...]
    node: NodeConfig
    api: ApiConfig = ApiConfig()
    raft: RaftConfig = RaftConfig()
    metrics: MetricsConfig = MetricsConfig()
    storage: StorageConfig = StorageConfig()
    scrub: ScrubConfig = ScrubConfig()
    snapshot: SnapshotConfig = SnapshotConfig()
    history: HistoryConfig = HistoryConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    session: SessionConfig = SessionConfig()
    log: LogConfig = LogConfig()
    tls: TlsConfig | None = None

    @property
    def self_member(self) -> MemberConfig:
        """This node's row of the member table."""
        return next(member for member in self.members if member.id == self.node.id)

    @property
    def api_listen(self) -> Address:
        """Where the gRPC port is bound."""
        return parse_address(self.api.listen or self.self_member.api)

    @property
    def raft_listen(self) -> Address:
        """Where the members' port is bound."""
        return parse_address(self.raft.listen or self.self_member.raft)

    @property
    def metrics_listen(self) -> Address | None:
        """Where the Prometheus port is bound, if there is one."""
        return parse_address(self.metrics.listen) if self.metrics.listen else None

    def peers(self) -> dict[str, str]:
        """Where the member table says that each other member is reached."""
        return {one.id: one.raft for one in self.members if one.id != self.node.id}

    def effective(self) -> str:
        """Every key and its value, in a form that `load` reads back."""
        return render(self)


SECTIONS: dict[str, type] = {
    "cluster": ClusterConfig,
    "node": NodeConfig,
    "api": ApiConfig,
    "raft": RaftConfig,
    "metrics": MetricsConfig,
    "storage": StorageConfig,
    "scrub": ScrubConfig,
    "snapshot": SnapshotConfig,
    "history": HistoryConfig,
    "checkpoint": CheckpointConfig,
    "session": SessionConfig,
    "log": LogConfig,
    "tls": TlsConfig,
}


def settable() -> Iterator[tuple[str, str]]:
    """Every (section, key) that the environment and the flags can set."""
    for section, kind in SECTIONS.items():
        for one in fields(kind):
            if "table" not in one.metadata:
                yield section, one.name


# --- reading -------------------------------------------------------------------


class _Value(NamedTuple):
    """A value and where it came from, for messages."""

    raw: object
    source: str
    is_text: bool  # from the environment or a flag: a number still has to be read


_Tables = dict[str, dict[str, _Value]]


def load(
    path: Path | None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[tuple[str, str], str] | None = None,
) -> Config:
    """Read, merge and check a configuration; raises ConfigError.

    `flags` are (section, key) -> text. Without a path, everything comes from the
    environment and the flags, which cannot name members: so a path is needed in
    all but odd cases, and its absence is reported as the missing key.
    """
    tables: _Tables = {name: {} for name in SECTIONS}
    members = _merge_file(tables, path) if path is not None else ()
    _merge_environment(tables, os.environ if environment is None else environment)
    _merge_flags(tables, flags or {})
    source = str(path) if path is not None else "configuration"
    config = _build(tables, members, source)
    _check_whole(config, source)
    return config


def _merge_file(tables: _Tables, path: Path) -> tuple[MemberConfig, ...]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    rows = document.pop("member", [])
    for section, table in document.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: unknown key [{section}]")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} must be a table")
        for key, raw in table.items():
            tables[section][key] = _Value(raw, str(path), is_text=False)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: member must be an array of tables: [[member]]")
    return tuple(_member(row, f"{path}: member {at}") for at, row in enumerate(rows, 1))


def _member(row: Mapping[str, object], source: str) -> MemberConfig:
    values = {key: _Value(raw, source, is_text=False) for key, raw in row.items()}
    member: MemberConfig = _section(MemberConfig, "member", values, source)
    return member


def _merge_environment(tables: _Tables, environment: Mapping[str, str]) -> None:
    """Take the variables with our prefix; one that names no key is an error."""
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in SCRIPT_VARIABLES:
            continue
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        source = f"environment variable {name}"
        if section not in SECTIONS or not key:
            raise ConfigError(f"{source}: no key of the configuration has this name")
        tables[section][key] = _Value(text, source, is_text=True)


def _merge_flags(tables: _Tables, flags: Mapping[tuple[str, str], str]) -> None:
    for (section, key), text in flags.items():
        source = f"flag --{section}-{key}".replace("_", "-")
        tables[section][key] = _Value(text, source, is_text=True)


def _build(tables: _Tables, members: tuple[MemberConfig, ...], source: str) -> Config:
    built: dict[str, Any] = {
        section: _section(kind, section, tables[section], source)
        for section, kind in SECTIONS.items()
        if section != "tls" or tables["tls"]
    }
    return Config(members=members, **built)


def _section(kind: type, name: str, values: Mapping[str, _Value], source: str) -> Any:
    known = {one.name: one for one in fields(kind)}
    for key, value in values.items():
        if key not in known or (value.is_text and "table" in known[key].metadata):
            raise ConfigError(f"{value.source}: unknown key {name}.{key}")
    missing = [
        key
        for key, one in known.items()
        if key not in values and one.default is MISSING and one.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"{source}: {name}.{missing[0]} is required")
    return kind(**{key: _read(name, known[key], value) for key, value in values.items()})


def _read(section: str, one: Field[Any], value: _Value) -> object:
    """Check one value against what its key may hold."""
    try:
        if "low" in one.metadata:
            return _read_number(one, value)
        if "flag" in one.metadata:
            return _read_flag(value)
        if "table" in one.metadata:
            return _read_addresses(value.raw)
        if not isinstance(value.raw, str):
            raise ValueError("must be a text")
        return _read_text(one, value.raw)
    except ValueError as error:
        raise ConfigError(f"{value.source}: {section}.{one.name}: {error}") from None


def _read_number(one: Field[Any], value: _Value) -> int:
    raw = value.raw
    if value.is_text and isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,18}", raw):
        raw = int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError(f"{raw!r} is not a whole number")
    low, high = one.metadata["low"], one.metadata["high"]
    if not low <= raw <= high:
        raise ValueError(f"{raw} is out of range: {low} to {high}")
    return raw


def _read_flag(value: _Value) -> bool:
    spelt = {"true": True, "false": False}
    raw = spelt.get(value.raw) if value.is_text and isinstance(value.raw, str) else value.raw
    if not isinstance(raw, bool):
        raise ValueError(f"{value.raw!r} is neither true nor false")
    return raw


def _read_addresses(raw: object) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise ValueError("must be a table")
    for key, text in raw.items():
        if not _ID.fullmatch(key):
            raise ValueError(f"{key!r} must match {_ID.pattern}")
        if not isinstance(text, str):
            raise ValueError(f"{key} must be a text")
        _check_dialable(text)
    return dict(raw)


def _read_text(one: Field[Any], text: str) -> str:
    choices = one.metadata.get("choices")
    if choices and text not in choices:
        raise ValueError(f"{text!r} is none of {', '.join(choices)}")
    if "id" in one.metadata and not _ID.fullmatch(text):
        raise ValueError(f"{text!r} must match {_ID.pattern}")
    if "address" in one.metadata:
        if text and one.metadata["empty"]:
            parse_address(text)
        elif not one.metadata["empty"]:
            _check_dialable(text)
    if "text" in one.metadata and not text:
        raise ValueError("must not be empty")
    return text


def _check_dialable(text: str) -> None:
    if parse_address(text).port == 0:
        raise ValueError(f"{text!r}: the port must be at least 1")


# --- what must hold between keys -------------------------------------------------


def _check_whole(config: Config, source: str) -> None:
    _check_members(config, source)
    _check_times(config, source)
    _check_exposure(config, source)
    if config.tls is not None:
        for key in ("cert", "key", "ca"):
            _check_readable(f"{source}: tls.{key}", Path(getattr(config.tls, key)))


def _check_members(config: Config, source: str) -> None:
    ids = [member.id for member in config.members]
    if not 1 <= len(ids) <= _MEMBERS_MAX:
        raise ConfigError(
            f"{source}: {len(ids)} [[member]] tables: 1 to {_MEMBERS_MAX} are needed"
        )
    if len(set(ids)) < len(ids):
        raise ConfigError(
            f"{source}: member.id: two members have the same id: {', '.join(ids)}"
        )
    for key in ("raft", "api"):
        addresses = [getattr(member, key) for member in config.members]
        if len(set(addresses)) < len(addresses):
            raise ConfigError(f"{source}: member.{key}: two members have the same address")
    if config.node.id not in ids:
        raise ConfigError(
            f"{source}: node.id: {config.node.id!r} is no member: {', '.join(ids)}"
        )


def _check_times(config: Config, source: str) -> None:
    """Raft's timing requirement (paper, section 5.6), as far as it can be checked."""
    raft = config.raft
    if raft.election_timeout_min_ms <= 3 * raft.heartbeat_ms:
        raise ConfigError(
            f"{source}: raft.election_timeout_min_ms: {raft.election_timeout_min_ms} must be "
            f"more than three times raft.heartbeat_ms ({raft.heartbeat_ms})"
        )
    if raft.election_timeout_max_ms <= raft.election_timeout_min_ms:
        raise ConfigError(
            f"{source}: raft.election_timeout_max_ms: {raft.election_timeout_max_ms} must be "
            f"above raft.election_timeout_min_ms ({raft.election_timeout_min_ms})"
        )


def _check_exposure(config: Config, source: str) -> None:
    listens = {
        "api.listen": config.api_listen,
        "raft.listen": config.raft_listen,
        "metrics.listen": config.metrics_listen,
    }
    for key, address in listens.items():
        if address is not None and not address.is_loopback and config.tls is None:
            raise ConfigError(
                f"{source}: {key}: {address} is not a loopback address, which needs [tls] "
                "with cert, key and ca"
            )


def _check_readable(what: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror}") from error


# --- writing -------------------------------------------------------------------


def render(config: Config) -> str:
    """The text of a configuration file that says the same as `config`, in full."""
    parts = [_render_table("[cluster]", config.cluster)]
    parts += [_render_table("[[member]]", member) for member in config.members]
    for section in SECTIONS:
        if section != "cluster" and (value := getattr(config, section)) is not None:
            parts.append(_render_table(f"[{section}]", value))
    if config.raft.dial:
        rows = [f"{_quote(key)} = {_quote(text)}" for key, text in config.raft.dial.items()]
        parts.append("\n".join(["[raft.dial]", *rows]))
    return "\n\n".join(parts) + "\n"


def _render_table(title: str, value: Any) -> str:
    lines = [title]
    for one in fields(value):
        if "table" not in one.metadata:
            held = getattr(value, one.name)
            lines.append(f"{one.name} = {_render_value(held)}")
    return "\n".join(lines)


def _render_value(held: object) -> str:
    if isinstance(held, bool):
        return "true" if held else "false"
    return _quote(held) if isinstance(held, str) else str(held)


def _quote(text: str) -> str:
    """A TOML basic string. JSON's escapes are a subset of TOML's, but for DEL and
    for characters beyond the first plane, which TOML takes as they are."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
