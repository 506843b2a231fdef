"""Connections that can be cut: between each client and the kit's member lies one.

A link is a small proxy. Cut, it passes nothing on and closes nothing, as a network that
swallows everything; killed, it breaks its connections and takes no new ones, as the end of
a process does.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

_HOST: Final = "127.0.0.1"
_PIECE: Final = 64 << 10


class Link:
    """A way to the kit's member, with an address of its own. Made by `Kit.link`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.endpoint: str = ""
        self._port = 0  # the member's
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._dead = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        # Our ends of the connections to the member.
        self.ports: set[int] = set()

    def __repr__(self) -> str:
        state = "killed" if self._dead else "up" if self.up else "cut"
        return f"<Link {self.name} {self.endpoint} {state}>"

    @property
    def up(self) -> bool:
        """Whether anything passes."""
        return self._open.is_set() and not self._dead

    @property
    def dead(self) -> bool:
        """Whether who is behind it has been killed."""
        return self._dead

    # --- on the kit's thread ---

    async def start(self, port: int) -> None:
        """Listen; `port` is the member's."""
        self._port = port
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        self.endpoint = f"{_HOST}:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Pass nothing on, from now on. What is sent waits."""
        self._open.clear()

    def kill(self) -> None:
        """Break every connection, and every new one."""
        self._dead = True
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        """Be as new. What was sent while it was cut, on connections that nobody has given up
        since, arrives now."""
        self._dead = False
        self._open.set()

    async def close(self) -> None:
        """End it."""
        self.kill()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._dead:
            writer.transport.abort()
            return
        self._writers.add(writer)  # before the task runs, which may be cancelled before
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, there and back, until either side ends it."""
        port = 0
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection(_HOST, self._port)
            port = back.get_extra_info("sockname")[1]
            self.ports.add(port)
            self._writers.add(back)
            try:
                ways = {
                    asyncio.ensure_future(self._pass(reader, back)),
                    asyncio.ensure_future(self._pass(there, writer)),
                }
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.wait(ways)
            finally:
                self._writers.discard(back)
                back.transport.abort()
        except OSError:
            return  # the member has gone, and with it the kit
        finally:
            self.ports.discard(port)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
            await self._open.wait()
