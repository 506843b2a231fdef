"""Where the nodes of a local cluster are, and what each is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raftstate import config as configuration
from raftstate.localcluster.ports import LOOPBACK, LocalClusterError, free_ports, why_taken

PORTS = ("api", "raft", "metrics")
# How far apart a node's ports are, if a base is given: api P, raft P + 10, metrics P + 20.
PORT_STRIDE = 10


@dataclass(frozen=True, slots=True)
class Member:
    """One member's name and addresses."""

    id: str
    api: str
    raft: str
    metrics: str


def lay_out_members(count: int, base_port: int | None) -> list[Member]:
    """Members n1 to nN: on ports from a base, or on free ones."""
    if not 1 <= count <= PORT_STRIDE - 1:
        raise LocalClusterError(f"{count} nodes: a local cluster has 1 to {PORT_STRIDE - 1}")
    if base_port is None:
        ports = iter(free_ports(3 * count))
        triples = [(next(ports), next(ports), next(ports)) for _ in range(count)]
    else:
        highest = 65_535 - 3 * PORT_STRIDE
        if not 1 <= base_port <= highest:
            raise LocalClusterError(f"base port {base_port} is out of range: 1 to {highest}")
        triples = [
            (port, port + PORT_STRIDE, port + 2 * PORT_STRIDE)
            for port in range(base_port, base_port + count)
        ]
    return [
        Member(f"n{number}", *(f"{LOOPBACK}:{port}" for port in triple))
        for number, triple in enumerate(triples, 1)
    ]


def node_toml(
    cluster_id: str,
    members: Sequence[Member],
    member: Member,
    data: Path,
    overrides: Mapping[str, Mapping[str, Any]],
    dial: Mapping[str, str],
) -> str:
    """The configuration file of one of the members of a new cluster. `dial` says where it
    reaches others, if not at their own addresses."""
    sections: dict[str, Mapping[str, Any]] = {
        "metrics": {"listen": member.metrics},
        **overrides,
    }
    if dial:
        sections["raft"] = {**sections.get("raft", {}), "dial": dial}
    try:
        config = configuration.Config(
            cluster=configuration.ClusterConfig(id=cluster_id),
            members=tuple(
                configuration.MemberConfig(id=one.id, raft=one.raft, api=one.api)
                for one in members
            ),
            node=configuration.NodeConfig(id=member.id, data_dir=str(data)),
            **{name: configuration.SECTIONS[name](**keys) for name, keys in sections.items()},
        )
    except (KeyError, TypeError) as error:
        raise LocalClusterError(f"overrides: {error}") from error
    return configuration.render(config)


def joining_toml(like: Path, member: Member, data: Path) -> str:
    """The configuration file of a node that joins, otherwise as another member's file."""
    try:
        config = configuration.load(like, environment={})
    except configuration.ConfigError as error:
        raise LocalClusterError(str(error)) from error
    return configuration.render(
        replace(
            config,
            cluster=replace(config.cluster, join=True),
            members=(configuration.MemberConfig(member.id, member.raft, member.api),),
            node=configuration.NodeConfig(id=member.id, data_dir=str(data)),
            api=replace(config.api, listen=""),
            raft=replace(config.raft, listen="", dial={}),  # its own ways, not the other's
            metrics=replace(config.metrics, listen=member.metrics),
        )
    )


def another(name: str, members: Iterable[Member]) -> Member:
    """One more member: on the ports after those of the others if they are in a row and
    these are free, otherwise on any that are."""
    others = list(members)
    after = [
        max(configuration.parse_address(getattr(one, port)).port for one in others) + 1
        for port in PORTS
    ]
    first, *rest = after
    in_a_row = rest == [first + PORT_STRIDE, first + 2 * PORT_STRIDE]
    texts = [f"{LOOPBACK}:{port}" for port in after]
    if not in_a_row or len(others) >= PORT_STRIDE - 1 or any(map(why_taken, texts)):
        texts = [f"{LOOPBACK}:{port}" for port in free_ports(len(PORTS))]
    return Member(name, *texts)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
