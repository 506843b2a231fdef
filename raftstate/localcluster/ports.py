"""Ports for the nodes of local clusters: free ones, and in no two processes the same.

That nobody listens on a port now says little: a node that is down, or not up yet, will
listen on its own again. So each process that makes clusters takes a block of ports for
itself, for as long as it runs, and hands them out in turn. A block is taken by holding a
name in the kernel (an abstract socket, which ends with its process); where there are no
such names, or no block is left, ports are drawn from all of them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import socket
import threading
from collections.abc import Iterable, Iterator
from itertools import chain

from raftstate import config as configuration

LOOPBACK = "127.0.0.1"
# Below where Linux takes ports for outgoing connections: a node that dials another must
# not happen to sit on the port that a third is about to listen on.
_FREE_PORTS = range(12_000, 32_000)
_BLOCK = 250  # ports, for some dozens of clusters before the first one comes again


class LocalClusterError(Exception):
    """What was asked of a local cluster cannot be done, or did not happen in time."""


class _Block:
    """The ports of this process, in turn; of none if it has got no block."""

    def __init__(self) -> None:
        self.owner = os.getpid()  # a forked child needs a block of its own
        self._name: socket.socket | None = None
        self._ports = range(0)
        self._given = random.randrange(_BLOCK)
        starts = _FREE_PORTS[::_BLOCK]
        for start in random.sample(starts, len(starts)):
            if (name := _taken(start)) is not None:
                self._name, self._ports = name, range(start, start + _BLOCK)
                return

    def ports(self) -> Iterator[int]:
        """Each once, those that were given out longest ago first."""
        for _ in self._ports:
            self._given += 1
            yield self._ports[self._given % _BLOCK]


_lock = threading.Lock()
_block: _Block | None = None


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now, none of them twice. Raises
    LocalClusterError if there are not so many."""
    global _block  # noqa: PLW0603  # the block is the process's
    with _lock:
        if _block is None or _block.owner != os.getpid():
            _block = _Block()
        anywhere = random.sample(_FREE_PORTS, len(_FREE_PORTS))
        return _free(chain(_block.ports(), anywhere), count)


def check_free(ports: Iterable[tuple[str, str, str]]) -> None:
    """Refuse those of these ports (member, name, address) that are not free."""
    taken = [
        f"{member} cannot listen on {address} (its {name} port): {reason}"
        for member, name, address in ports
        if (reason := why_taken(address))
    ]
    if taken:
        raise LocalClusterError("\n".join(taken))


def _free(ports: Iterable[int], count: int) -> list[int]:
    """The first of these that can be listened on."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in ports:
            one = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                one.bind((LOOPBACK, port))
            except OSError:
                continue  # taken: try the next
            found.append(port)
            if len(found) == count:
                return found
    raise LocalClusterError(f"no {count} free ports on {LOOPBACK}")


def _taken(start: int) -> socket.socket | None:
    """What holds the block that begins there, now that it is ours; None if it is not."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0raftstate-ports-{start}")
    except OSError:
        name.close()
        return None
    atexit.register(name.close)
    return name


def why_taken(text: str) -> str | None:
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
