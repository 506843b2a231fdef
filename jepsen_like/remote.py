"""A client in a process of its own, so that it can be stopped without stopping the run.

`RemoteClient` is the parent's side, and a client like any other. The child is this module
run as a program: it makes the client that it is told to, does one operation after another,
and answers each; one JSON line in, one out. A child that is stopped (SIGSTOP) is silent,
and its operation late; nothing else follows from that. One that died is replaced before
the next operation.

No child outlives its parent: it ends when its input ends, and should it be stopped then,
the kernel ends it with the parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, cast

from jepsen_like.defects import place_of
from jepsen_like.protocols import Client, Done, Op, Site

# A child that starts imports the SDK first, perhaps on a machine that is busy.
START_S: Final = 30.0
# It has so long to close its client in order. Then it is killed.
CLOSE_S: Final = 4.0
# Nothing survives SIGKILL, but the kernel may take a moment.
_KILLED_S: Final = 10.0
# The child itself is quicker: it does not wait for what its threads are still at.
_LEAVE_S: Final = 3.0
_LINE_BYTES: Final = 1 << 20
_ERROR_CHARS: Final = 500

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


class RemoteError(Exception):
    """The child did not start, or is gone."""


class ClientError(Exception):
    """What the child's client raised: a defect of it, as if it had been raised here."""


class RemoteClient:
    """One thread's client, somewhere else. `factory` names what makes it there: a function
    of a module, "package.module:function", which takes a site and the thread's number."""

    def __init__(self, site: Site, factory: str, thread: int) -> None:
        self._site = site
        self._factory = factory
        self._thread = thread
        self._child: _Child | None = None
        self._sent = 0

    @property
    def pid(self) -> int | None:
        """The child's process id, while it lives."""
        return None if self._child is None or self._child.over else self._child.process.pid

    async def open(self) -> None:
        """Start the child, unless it runs. Its first operation waits until it is ready, so
        that many children start at once."""
        if self._child is not None and not self._child.over:
            return
        await self.close()
        module, _, _ = self._factory.partition(":")
        errors = self._site.folder / f"{module.rpartition('.')[2]}-{self._thread}.err"
        site = asdict(self._site) | {"folder": str(self._site.folder)}
        with errors.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "jepsen_like.remote"),
                *(self._factory, str(self._thread)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=_environment(),
                limit=_LINE_BYTES,
                process_group=0,  # a Ctrl-C in the terminal is for the run, which ends it
            )
        self._child = _Child(process, errors)
        await self._child.send(site)

    async def invoke(self, op: Op) -> Done:
        """Have it done. A child that is gone leaves the outcome unknown; one that cannot
        be started has done nothing. Raises ClientError if the child's client raised."""
        try:
            await self.open()
            child = self._child
            assert child is not None
            await child.ready()
        except (RemoteError, OSError) as error:
            return Done("fail", error=str(error))
        self._sent += 1
        try:
            answer = await child.ask(self._sent, asdict(op))
        except RemoteError as error:
            return Done("info", error=str(error))
        return Done(**answer)

    async def close(self) -> None:
        """End the child, in order or by force; it is gone when this returns."""
        child, self._child = self._child, None
        if child is not None:
            await child.end()


class Crew:
    """The children of one workload's threads. Clients of a thread come and go with its
    processes in the history; the child stays, until the crew is closed."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._clients: dict[tuple[str, int], RemoteClient] = {}

    def client(self, site: Site, thread: int) -> Client:
        """A client of that thread; all of them are one child."""
        key = (site.prefix, thread)
        if key not in self._clients:
            self._clients[key] = RemoteClient(site, self._factory, thread)
        return _Seat(self._clients[key])

    async def close(self) -> None:
        """End all children at once."""
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.close() for client in clients))


class _Seat:
    """A client whose closing ends nothing."""

    def __init__(self, client: RemoteClient) -> None:
        self.open = client.open
        self.invoke = client.invoke

    async def close(self) -> None: ...


class _Child:
    """A running child as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.process = process
        self._errors = errors
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @property
    def over(self) -> bool:
        """Whether it will answer nothing any more."""
        return self._reader.done() or self.process.returncode is not None

    async def ready(self) -> None:
        """Return once it has opened its client. Raises RemoteError if it does not."""
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, self._reader}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise await self._gone("did not start")

    async def ask(self, number: int, op: dict[str, Any]) -> dict[str, Any]:
        """What became of one operation. Raises RemoteError if it died over it, ClientError
        for what its client raised."""
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self.send({"number": number, "op": op})
            await asyncio.wait({future, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Whoever asks may be cancelled: what comes after that is for nobody.
            del self._waiting[number]
        if not future.done():
            raise await self._gone("ended")
        answer = future.result()
        if "raised" in answer:
            raise ClientError(f"in the client's process: {answer['raised']}")
        return cast(dict[str, Any], answer["done"])

    async def send(self, message: dict[str, Any]) -> None:
        """Write a line; that nobody reads it is for the reader to find out."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise await self._gone("is gone") from error

    async def end(self) -> None:
        """Ask it to end; make it end."""
        process = self.process
        assert process.stdin is not None
        try:
            process.stdin.close()
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)  # it may have been stopped
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        async with asyncio.timeout(_KILLED_S):
            await process.wait()
            await self._reader

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            if "ready" in answer:
                self._ready.set()
            elif (future := self._waiting.get(answer["number"])) and not future.done():
                future.set_result(answer)

    async def _gone(self, what: str) -> RemoteError:
        """The error that says so, with the last words: said when it has ended, and not
        when it only answers no more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self.process.wait()
        words = self._errors.read_text(errors="replace").strip()[-_ERROR_CHARS:]
        return RemoteError(
            f"the client's process {what}" + (f"; it said: {words}" if words else "")
        )


def _environment() -> dict[str, str]:
    """Ours, and where this package is."""
    home = str(Path(__file__).resolve().parents[1])
    paths = [home, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


# --- the child -----------------------------------------------------------------


async def _serve(factory: str, thread: int, answers: IO[str]) -> None:
    """Make the client, and do what comes in, until there is no more input."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    fields = json.loads(await lines.readline())
    client = _make(factory)(Site(**(fields | {"folder": Path(fields["folder"])})), thread)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    await client.open()
    say({"ready": os.getpid()})
    doing: asyncio.Task[None] | None = None
    try:
        while line := await lines.readline():
            if doing is not None:
                await doing  # one after the other, should the parent not have waited
            doing = asyncio.create_task(_do(client, json.loads(line), say))
    finally:
        # The parent is gone, or wants us to be: whatever hangs is not waited for.
        _end_within(_LEAVE_S)
        if doing is not None:
            doing.cancel()
            await asyncio.wait({doing})
        await client.close()


async def _do(
    client: Client, asked: dict[str, Any], say: Callable[[dict[str, Any]], None]
) -> None:
    number = asked["number"]
    try:
        done = await client.invoke(Op(**asked["op"]))
    except Exception as error:  # noqa: BLE001 - a defect of the client, for the parent to tell
        say({"number": number, "raised": f"{error!r} ({place_of(error)})"})
    else:
        say({"number": number, "done": asdict(done)})


def _make(factory: str) -> Callable[[Site, int], Client]:
    module, _, name = factory.partition(":")
    return cast(Callable[[Site, int], Client], getattr(importlib.import_module(module), name))


def _end_within(seconds: float) -> None:
    """End this process by then, whatever its threads are still at."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def main(arguments: Sequence[str]) -> None:
    """The child's program: the factory's name, and the thread's number."""
    factory, thread = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Only answers go to the parent: what else is printed goes where errors go.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        asyncio.run(_serve(factory, int(thread), answers))


if __name__ == "__main__":
    main(sys.argv[1:])
