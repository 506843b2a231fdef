"""What a forked process can have of its parent: nothing, and it is told so.

gRPC's event loops do not outlive a fork. By experiment (1.85.1): a child whose parent had
an asyncio channel never connects with one of its own, or crashes while it tries. So once a
process has opened a channel, the processes that it forks cannot; those that it spawns can,
as can those that it forks before. What the child has got of the parent's channels it keeps
until it ends, for to clean them up would be to use them.

Children that have nothing to do with any of this are safe as well, unless gRPC was imported
before this package with its own handlers of forks on (GRPC_ENABLE_FORK_SUPPORT).
"""

from __future__ import annotations

import os
import weakref
from typing import Any

from raftstate.errors import Closed

_opened: weakref.WeakSet[Any] = weakref.WeakSet()
_used = False
_kept: list[Any] = []
_parent: int | None = None
_pid = os.getpid()


def opened(one: object) -> None:
    """Note that this process uses gRPC: with this, which holds a channel or a call."""
    global _used  # noqa: PLW0603  # it is of the process
    _used = True
    _opened.add(one)


def keep(one: object) -> None:
    """In a forked process: never clean this up."""
    _kept.append(one)


def check() -> None:
    """Raise Closed (definite) where gRPC cannot be used, instead of letting it hang."""
    if _parent is not None:
        raise Closed(
            f"process {_parent} used a store before it forked process {os.getpid()}, and gRPC"
            " does not outlive a fork: start the process by spawning"
            " (multiprocessing.get_context('spawn')), or fork before a store is used",
            definite=True,
        )


def forked(pid: int) -> Closed:
    """The error of using in one process what another, `pid`, has opened."""
    return Closed(
        f"this store was opened by process {pid} and cannot be used in process"
        f" {os.getpid()}: open one there",
        definite=True,
    )


def _after_fork() -> None:
    global _parent, _pid  # noqa: PLW0603  # they are of the process
    if _used and _parent is None:
        _parent = _pid
    _kept.extend(_opened)
    _pid = os.getpid()


os.register_at_fork(after_in_child=_after_fork)
