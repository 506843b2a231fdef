"""The links between members: each harm does what its name says, in its direction alone.

One process of links, and two receivers in the test that note what reaches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from jepsen_like.links import LinkProcess, LinksError, Pair

THERE: Pair = ("a", "b")
BACK: Pair = ("b", "a")
WITHIN_S = 5.0


class Receiver:
    """A member's port: it notes all bytes of all connections, and each one that ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at: list[float] = []
        self.ended = 0
        self.connections = 0
        self.reads = asyncio.Event()
        self.reads.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection to its end."""
        self.connections += 1
        try:
            while data := await reader.read(1 << 16):
                await self.reads.wait()
                self.data += data
                self.at.append(time.monotonic())
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            writer.close()


class Bench:
    """Links between a and b, and what arrived at each."""

    def __init__(self, links: LinkProcess, receivers: dict[str, Receiver]) -> None:
        self.links = links
        self.receivers = receivers
        self._writers: list[asyncio.StreamWriter] = []

    async def dial(self, pair: Pair) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection over one link."""
        made = await asyncio.open_connection("127.0.0.1", self.links.ports[pair])
        self._writers.append(made[1])
        return made

    async def close(self) -> None:
        """Close what is still open."""
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    """Links that lead to receivers."""
    receivers = {"a": Receiver(), "b": Receiver()}
    servers = {
        name: await asyncio.start_server(one.take, "127.0.0.1", 0)
        for name, one in receivers.items()
    }
    links = await LinkProcess.start(["a", "b"], folder / "links.log")
    made = Bench(links, receivers)
    try:
        await links.lead(
            {
                name: f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
                for name, server in servers.items()
            }
        )
        yield made
    finally:
        await made.close()
        await links.close()
        for server in servers.values():
            server.close()
            await server.wait_closed()
    assert (folder / "links.log").read_text() == ""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.005)


async def stands_still(links: LinkProcess) -> int:
    """Wait until nothing passes any more; how many bytes did."""
    passed, before = 0, -1
    async with asyncio.timeout(WITHIN_S):
        while passed != before:
            await asyncio.sleep(0.1)
            passed, before = (await links.counts()).get("bytes", 0), passed
    return passed


async def ends(reader: asyncio.StreamReader) -> None:
    """Wait until a connection has ended, in whatever way."""
    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read(1) == b""


def run(folder: Path, test: Callable[[Bench], Awaitable[None]]) -> None:
    """Run one test on links of its own."""

    async def body() -> None:
        async with bench(folder) as made:
            await test(made)

    asyncio.run(body())


def test_a_link_passes_everything_on_in_order(tmp_path: Path) -> None:
    """
    Many small writes and one large one arrive whole; the end of the sender arrives too,
    after them. What passed is counted.
    """

    async def test(made: Bench) -> None:
        _, writer = await made.dial(THERE)
        pieces = [bytes([n % 256]) * (n % 97 + 1) for n in range(2_000)] + [os.urandom(3 << 20)]
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        writer.close()
        receiver = made.receivers["b"]
        await until(lambda: receiver.ended == 1)

        assert bytes(receiver.data) == b"".join(pieces)
        counts = await made.links.counts()
        assert counts["bytes"] == len(receiver.data)
        assert counts["connections"] == 1
        assert made.receivers["a"].connections == 0

    run(tmp_path, test)


def test_a_slow_receiver_holds_up_the_sender(tmp_path: Path) -> None:
    """
    What a receiver does not read is not piled up in the links, and arrives in the end.
    """

    async def test(made: Bench) -> None:
        receiver = made.receivers["b"]
        receiver.reads.clear()
        _, writer = await made.dial(THERE)
        data = os.urandom(32 << 20)
        writer.write(data)
        await until(lambda: receiver.connections == 1)
        passed = await stands_still(made.links)
        assert 0 < passed < len(data) - (8 << 20)
        receiver.reads.set()
        await until(lambda: len(receiver.data) == len(data))
        assert bytes(receiver.data) == data

    run(tmp_path, test)


def test_a_cut_link_ends_connections_and_takes_none(tmp_path: Path) -> None:
    """
    Both ends of a connection see it end, a new one is refused, and the other direction
    goes on. Mended, the link is at the same port again.
    """

    async def test(made: Bench) -> None:
        reader, writer = await made.dial(THERE)
        _, back = await made.dial(BACK)
        writer.write(b"before")
        await until(lambda: bytes(made.receivers["b"].data) == b"before")
        await made.links.cut([THERE])
        await ends(reader)
        await until(lambda: made.receivers["b"].ended == 1)
        with pytest.raises(ConnectionRefusedError):
            await made.dial(THERE)
        back.write(b"back")
        await until(lambda: bytes(made.receivers["a"].data) == b"back")

        await made.links.mend()
        _, writer = await made.dial(THERE)
        writer.write(b", after")
        await until(lambda: bytes(made.receivers["b"].data) == b"before, after")
        assert (await made.links.counts())["cuts"] == 1

    run(tmp_path, test)


def test_a_half_open_link_stays_and_carries_nothing(tmp_path: Path) -> None:
    """
    The connection stays, a new one is taken, and nothing of either arrives, not even that
    there is one; the other direction goes on. Once mended, all arrives.
    """

    async def test(made: Bench) -> None:
        receiver = made.receivers["b"]
        reader, old = await made.dial(THERE)
        _, back = await made.dial(BACK)
        old.write(b"1")
        await until(lambda: bytes(receiver.data) == b"1")
        await made.links.half_open([THERE])
        _, new = await made.dial(THERE)
        old.write(b"2")
        new.write(b"3")
        back.write(b"back")
        await until(lambda: bytes(made.receivers["a"].data) == b"back")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        assert (bytes(receiver.data), receiver.connections) == (b"1", 1)
        assert (await made.links.counts())["held"] == 1

        await made.links.mend([THERE])
        await until(lambda: sorted(receiver.data) == list(b"123"))
        assert receiver.connections == 2

    run(tmp_path, test)


def test_a_slow_link_delays_and_keeps_the_order(tmp_path: Path) -> None:
    """
    Each piece comes a third to five thirds of the delay later, in order, also past pieces
    that were drawn a shorter one; mended, nothing waits any more.
    """

    async def test(made: Bench) -> None:
        receiver = made.receivers["b"]
        _, writer = await made.dial(THERE)
        await made.links.slow([THERE], 0.09)
        for number in range(5):
            sent = time.monotonic()
            writer.write(bytes([number]))
            await until(lambda least=number: len(receiver.at) > least)  # type: ignore[misc]
            assert receiver.at[number] - sent >= 0.03 - 0.002
        for number in range(5, 40):
            writer.write(bytes([number]))
            await asyncio.sleep(0.002)
        await until(lambda: bytes(receiver.data) == bytes(range(40)))

        await made.links.slow([THERE], 60.0)
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(until(lambda: receiver.data.endswith(b"e")), 0.3)
        await made.links.mend()
        await until(lambda: receiver.data.endswith(b"late"))

    run(tmp_path, test)


def test_a_link_with_a_rate_is_no_faster(tmp_path: Path) -> None:
    """
    200 kB at 500 kB a second take 0.4 s, and all of them arrive.
    """

    async def test(made: Bench) -> None:
        _, writer = await made.dial(THERE)
        await made.links.slow([THERE], 0.0, 500_000)
        data, began = os.urandom(200_000), time.monotonic()
        writer.write(data)
        await until(lambda: len(made.receivers["b"].data) == len(data))
        assert time.monotonic() - began >= 0.4
        assert bytes(made.receivers["b"].data) == data

    run(tmp_path, test)


def test_a_flaky_link_comes_and_goes(tmp_path: Path) -> None:
    """
    It is cut again and again, by itself, and connections can be made in between; mended,
    it stays.
    """

    async def test(made: Bench) -> None:
        await made.links.flaky([THERE], 0.1, seed=5)
        made_count = refused = 0
        async with asyncio.timeout(WITHIN_S):
            while made_count < 3 or refused < 3:
                try:
                    reader, _ = await made.dial(THERE)
                except ConnectionError:
                    refused += 1
                    await asyncio.sleep(0.01)
                else:
                    made_count += 1
                    await ends(reader)
        await made.links.mend()
        cuts = (await made.links.counts())["cuts"]
        reader, _ = await made.dial(THERE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.4)
        assert cuts >= 3
        assert (await made.links.counts())["cuts"] == cuts

    run(tmp_path, test)


def test_two_harms_of_one_link_are_undone_one_by_one(tmp_path: Path) -> None:
    """
    A link that two faults cut is whole only when both have let go of it, in any order; and
    the other link when the one fault that held it has.
    """

    async def refused(made: Bench, pair: Pair) -> bool:
        try:
            await made.dial(pair)
        except ConnectionRefusedError:
            return True
        return False

    async def test(made: Bench) -> None:
        for first, second in (([THERE, BACK], [THERE]), ([THERE], [THERE, BACK])):
            await made.links.cut([THERE, BACK])
            await made.links.cut([THERE])
            assert await refused(made, THERE)
            assert await refused(made, BACK)
            await made.links.mend(first)
            assert await refused(made, THERE)
            assert await refused(made, BACK) is (first == [THERE])
            await made.links.mend(second)
            assert not await refused(made, THERE)
            assert not await refused(made, BACK)

    run(tmp_path, test)


def test_what_nobody_answers_is_told(tmp_path: Path) -> None:
    """
    A connection to a receiver that is down ends; a link that does not exist is an error;
    and an answer to a command that was given up is not taken for the next one's.
    """

    async def test(made: Bench) -> None:
        await made.links.lead({"a": "127.0.0.1:1", "b": "127.0.0.1:1"})
        with contextlib.suppress(ConnectionError):  # it may end before we see that it began
            reader, _ = await made.dial(THERE)
            await ends(reader)
        assert (await made.links.counts())["connections"] == 1
        assert made.receivers["b"].connections == 0
        with pytest.raises(LinksError, match="no links"):
            await made.links.cut([("a", "c")])
        asked = asyncio.create_task(made.links.mend())
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert "connections" in await made.links.counts()

    run(tmp_path, test)


def test_the_links_end_with_their_owner(tmp_path: Path) -> None:
    """
    When its input ends the process ends by itself, also with connections open; after that
    a command is an error.
    """

    async def test(made: Bench) -> None:
        reader, _ = await made.dial(THERE)
        await made.links.close()
        await ends(reader)
        with pytest.raises(LinksError):
            await made.links.counts()

    run(tmp_path, test)
