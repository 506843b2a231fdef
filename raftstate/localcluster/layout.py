"""Where the nodes of a local cluster are, and what each is told."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raftstate import config as configuration

LOOPBACK = "127.0.0.1"
PORTS = ("api", "raft", "metrics")
# How far apart a node's ports are, if a base is given: api P, raft P + 10, metrics P + 20.
PORT_STRIDE = 10
# Below where Linux takes ports for outgoing connections: a node that dials another must
# not happen to sit on the port that a third is about to listen on.
_FREE_PORTS = range(12_000, 32_000)


class LocalClusterError(Exception):
    """What was asked of a local cluster cannot be done, or did not happen in time."""


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


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now, none of them twice."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_FREE_PORTS, len(_FREE_PORTS)):
            one = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                one.bind((LOOPBACK, port))
            except OSError:
                continue  # taken: try the next
            found.append(port)
            if len(found) == count:
                return found
    raise LocalClusterError(f"no {count} free ports on {LOOPBACK}")


def check_free(ports: Iterable[tuple[str, str, str]]) -> None:
    """Refuse those of these ports (member, name, address) that are not free."""
    taken = [
        f"{member} cannot listen on {address} (its {name} port): {reason}"
        for member, name, address in ports
        if (reason := _why_taken(address))
    ]
    if taken:
        raise LocalClusterError("\n".join(taken))


def _why_taken(text: str) -> str | None:
    """Why an address cannot be listened on now, if so. As a node does, this ignores
    connections that are still dying down (SO_REUSEADDR)."""
    address = configuration.parse_address(text)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(address)
        except OSError as error:
            return error.strerror or str(error)
    return None


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
    if not in_a_row or len(others) >= PORT_STRIDE - 1 or any(map(_why_taken, texts)):
        texts = [f"{LOOPBACK}:{port}" for port in free_ports(len(PORTS))]
    return Member(name, *texts)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
