"""The outside resource: what agents write to beside the store, and what is guarded there.

A register is guarded as the store asks of every resource: it keeps the highest fencing
token that it has seen, and refuses whoever comes with a lower one, to read as well as to
write. A counter beside it is not guarded: it takes what it is given. So a writer of the
past spoils the counter, and never the register.

It stands with the run, apart from the writers, and they reach it by a unix socket in the
run's folder: one JSON line there, one back. Everything that was asked is kept in order,
with what was answered: the journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, cast, get_args

Token = tuple[int, int]
Do = Literal["open", "write", "get", "put"]

SOCKET: Final = "resource.sock"
WANT: Final = "want"  # said of a name before it is owned: see `Writer`
# A writer gives up on a resource that does not answer for so long.
PATIENCE_S: Final = 15.0

_CREDENTIALS = struct.Struct("3i")  # of the other side: process, user, group


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was asked, and what became of it.

    `open` and `write` are of the register, under a token; `get` and `put` of the counter.
    `hold` is on whose behalf; `value` is what was read, or was to be written; `highest`
    is the register's token afterwards. `at` counts seconds since the resource began.
    """

    at: float
    do: Do
    name: str
    hold: str
    token: Token
    accepted: bool
    highest: Token
    value: int


def entry_of(fields: dict[str, Any]) -> Entry:
    """An entry as JSON gave it back."""
    pairs = {name: tuple(fields[name]) for name in ("token", "highest")}
    return Entry(**(fields | pairs))


@dataclass
class _Slot:
    """What stands under one name."""

    highest: Token = (0, 0)
    guarded: int = 0
    control: int = 0


@dataclass
class Writer:
    """A process that is connected: the name that it is at, whether it waits to own it, and
    whether it has read the counter there and not yet written it."""

    pid: int
    name: str = ""
    waits: bool = False
    amid: bool = False


@dataclass
class Resource:
    """The resource itself, without its socket."""

    journal: list[Entry] = field(default_factory=list)
    _slots: dict[str, _Slot] = field(default_factory=dict)
    writers: list[Writer] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def ask(self, do: Do, name: str, hold: str, token: Token, value: int = 0) -> Entry:
        """Do what is asked, unless it is guarded and the token is of the past."""
        slot = self._slots.setdefault(name, _Slot())
        accepted = True
        if do in ("open", "write"):
            accepted = token >= slot.highest
            slot.highest = max(slot.highest, token)
        if do == "open":
            value = slot.guarded
        elif do == "get":
            value = slot.control
        elif do == "put":
            slot.control = value
        elif accepted:
            slot.guarded = value
        at = round(time.monotonic() - self._began, 4)
        entry = Entry(at, do, name, hold, token, accepted, slot.highest, value)
        self.journal.append(entry)
        return entry

    def note(self) -> dict[str, Any]:
        """The journal, for JSON."""
        return {"journal": [asdict(entry) for entry in self.journal]}

    def processes(self) -> Sequence[int]:
        """Whom to stop. That is whoever is amid an update, of a name that another one waits
        for: he will be overtaken, and go on. If there is none, it is anybody."""
        amid = [writer for writer in self.writers if writer.amid]
        return [writer.pid for writer in self._overtaken() or amid or self.writers]

    def ripe(self) -> bool:
        """Whether anybody would be overtaken."""
        return bool(self._overtaken())

    def _overtaken(self) -> list[Writer]:
        wanted = {writer.name for writer in self.writers if writer.waits}
        return [one for one in self.writers if one.amid and one.name in wanted]

    async def converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one process until it hangs up."""
        who = Writer(_other_side(writer.get_extra_info("socket")))
        self.writers.append(who)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(who, json.loads(line))).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return  # a writer that was killed has no more to say
        finally:
            self.writers.remove(who)
            writer.close()

    def _answer(self, who: Writer, asked: dict[str, Any]) -> dict[str, Any]:
        do, who.name = asked["do"], asked["name"]
        who.waits, who.amid = do == WANT, do == "get"
        if do == WANT:
            return {}
        if do not in get_args(Do):
            raise ValueError(f"the resource does not know how to {do!r}")
        return asdict(self.ask(**(asked | {"token": tuple(asked["token"])})))


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[Resource]:
    """A resource at a socket in `folder`, for as long as the block lasts."""
    resource = Resource()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(resource.converse(reader, writer))
        tasks.add(task)

    with _address(folder) as address:
        server = await asyncio.start_unix_server(accept, address)
    try:
        yield resource
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(FileNotFoundError):
            (folder / SOCKET).unlink()
        for error in ended:
            if isinstance(error, Exception):
                raise error


class Outside:
    """A writer's connection. Its calls block, as those of a program do that knows nothing
    of event loops: no cancellation ends one that is under way."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError if there is no resource in that folder."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        try:
            with _address(folder) as address:
                self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")

    def ask(self, do: Do, name: str, hold: str, token: Token, value: int = 0) -> Entry:
        """What the resource made of it. Raises OSError if there is no answer."""
        request = {"do": do, "name": name, "hold": hold, "token": token, "value": value}
        return entry_of(self._ask(request))

    def want(self, name: str) -> None:
        """Tell that this process is going to own a name as soon as it can: for whoever
        chooses when to stop whom. Raises OSError if there is no answer."""
        self._ask({"do": WANT, "name": name})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = self._answers.readline()
        if not answer:
            raise ConnectionResetError("the resource hung up")
        return cast(dict[str, Any], json.loads(answer))

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _other_side(connection: Any) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return cast(int, _CREDENTIALS.unpack(raw)[0])


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path by way of an open folder: a socket's name may have 107 bytes, and
    a folder's may have more."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
