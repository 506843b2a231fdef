"""Host names of members, resolved where nothing waits for it.

A resolver may take seconds, for the name of a container that is gone, say; on the raft
thread no heartbeat would leave meanwhile. So names are looked up on a thread of their
own, each time a member is dialled, and a dial uses the newest answer there is.
"""

from __future__ import annotations

import ipaddress
import logging
import queue
import socket
import threading

logger = logging.getLogger("raftstate.names")

# Peers say where they are reached, so others decide how many names there are.
KNOWN_MAX = 256


def is_literal(host: str) -> bool:
    """Whether a host is an address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Names:
    """The newest known address of each name."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._asked: set[str] = set()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def address_of(self, host: str) -> str | None:
        """An address to dial, or None while there is none; ask again later. Returns at
        once, and has the name looked up anew."""
        if is_literal(host):
            return host
        if host not in self._asked:
            self._asked.add(host)
            self._queue.put(host)
            self._start()
        return self._known.get(host)

    def close(self) -> None:
        """Let the thread end; a look-up under way is not waited for."""
        self._queue.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="names", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (host := self._queue.get()) is not None:
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                if host not in self._known and len(self._known) >= KNOWN_MAX:
                    del self._known[next(iter(self._known))]
                self._known[host] = str(found[0][4][0])
            except (OSError, UnicodeError) as error:  # the latter: it cannot be a name
                # The last known address stays: it may well be right still.
                logger.info("name not resolved", extra={"host": host, "why": str(error)})
            self._asked.discard(host)
