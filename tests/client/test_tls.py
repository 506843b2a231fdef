"""Talking to members that demand certificates."""

import shutil
import subprocess
from pathlib import Path

import grpc
import pytest

import raftstate
from raftstate.errors import NoQuorum
from tests.client.scripted import asynchronous, members, store_of


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
