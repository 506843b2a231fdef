"""Talking to members that demand certificates."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import raftstate
from raftstate.errors import NoQuorum
from tests.client.scripted import asynchronous, members, not_leader, store_of, until


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> raftstate.Tls:
    """One certificate that signs itself, for both sides."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes the certificates")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", *curve, *name, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, capture_output=True, check=True)
    return raftstate.Tls(ca=cert, cert=cert, key=key)


def server_credentials(tls: raftstate.Tls) -> object:
    """What a member serves with: mutual TLS."""
    cert, key = Path(tls.cert).read_bytes(), Path(tls.key).read_bytes()
    return grpc.ssl_server_credentials([(key, cert)], cert, require_client_auth=True)


@asynchronous
async def test_mutual_tls(tls: raftstate.Tls) -> None:
    """
    With the right files everything works as without.
    """
    async with (
        members(1, server_credentials(tls)) as (member,),
        raftstate.connect(member.address, tls=tls) as store,
    ):
        agent = await store.create_agent("a")

    assert agent.agent_id == "a"


@asynchronous
async def test_without_tls_nothing_is_sent(tls: raftstate.Tls) -> None:
    """
    A client that does not speak TLS gets no connection, which is definite.
    """
    async with (
        members(1, server_credentials(tls)) as (member,),
        store_of(member, timeout=0.3) as store,
    ):
        with pytest.raises(NoQuorum) as caught:
            await store.create_agent("a")

    assert caught.value.definite
    assert member.asked == []


@asynchronous
async def test_files_that_are_not_there() -> None:
    """
    A file that cannot be read is told by its name.
    """
    missing = raftstate.Tls(ca="/nowhere/ca.pem", cert="c", key="k")
    async with raftstate.connect("127.0.0.1:1", tls=missing) as store:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            await store.create_agent("a")


@contextlib.contextmanager
def away(path: Path) -> Iterator[None]:
    """For as long as the block runs, there is no such file."""
    kept = path.with_suffix(".away")
    path.rename(kept)
    yield
    kept.rename(path)


@pytest.fixture
def own(tls: raftstate.Tls, tmp_path: Path) -> raftstate.Tls:
    """The files, where nobody else needs them."""
    names = ("ca", "cert", "key")
    return raftstate.Tls(
        **{one: shutil.copy(getattr(tls, one), tmp_path / one) for one in names}
    )


@asynchronous
async def test_files_that_are_away_for_a_moment_end_no_keeping_alive(
    own: raftstate.Tls,
) -> None:
    """
    As where they are renewed, just when another member begins to lead, so that they are read:
    what is owned stays so.
    """
    async with (
        members(2, server_credentials(own)) as (one, two),
        raftstate.connect(f"{one.address},{two.address}", tls=own) as store,
        store.own("a", ttl=2.0) as agent,
    ):
        two._ttl_ms = 2_000
        await asyncio.sleep(0.3)
        with away(Path(own.ca)):
            one.office = not_leader(two.address)
            await asyncio.sleep(0.7)
        await until(lambda: two.renewals, "it is renewed at the other one")
        await asyncio.sleep(1.5)
        agent.check()


@asynchronous
async def test_files_away_for_a_moment_end_no_writing(own: raftstate.Tls) -> None:
    """
    What waits then is written when they are back.
    """
    async with (
        members(2, server_credentials(own)) as (one, two),
        raftstate.connect(f"{one.address},{two.address}", tls=own) as store,
    ):
        await store.create_agent("a")
        with away(Path(own.ca)):
            one.office = not_leader(two.address)
            writing = asyncio.create_task(store.create_agent("b"))
            await asyncio.sleep(0.5)
        await asyncio.wait_for(writing, 5.0)
