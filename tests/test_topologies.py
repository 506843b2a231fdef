"""The topologies under cluster/ are configurations that a node would accept."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from raftstate import config as configuration

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
# What the environment adds where several members share a file.
SHARED = {"compose.toml": "n2", "k8s/node.toml": "raftstate-2"}


@pytest.fixture
def tls(tmp_path: Path) -> dict[tuple[str, str], str]:
    """Flags that point at certificates, which a configuration check has to find."""
    flags = {}
    for key in ("cert", "key", "ca"):
        (tmp_path / key).write_text("read by the node, not by the check of its configuration")
        flags["tls", key] = str(tmp_path / key)
    return flags


@pytest.mark.parametrize(
    "path", sorted(CLUSTER.rglob("*.toml")), ids=lambda path: str(path.relative_to(CLUSTER))
)
def test_each_example_is_accepted(path: Path, tls: dict[tuple[str, str], str]) -> None:
    """
    Each file loads, names three members, and this node is one of them.
    """
    name = str(path.relative_to(CLUSTER))
    node = SHARED.get(name)
    config = configuration.load(
        path,
        environment={"RAFTSTATE_NODE_ID": node} if node else {},
        flags={} if name == "local.toml" else tls,
    )

    assert len(config.members) == 3
    assert config.node.id == node or node is None
    assert config.self_member.api.endswith(f":{config.api_listen.port}")
    assert config.self_member.raft.endswith(f":{config.raft_listen.port}")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_certificates_are_made_as_the_documents_say(tmp_path: Path) -> None:
    """
    The script makes a certificate that its authority signed, for both directions, that
    names the member and its hosts; a second run keeps what exists.
    """
    script = CLUSTER / "three-hosts" / "make-certificates"
    command = [str(script), str(tmp_path), "n1=n1.example.net,10.0.0.1", "client"]
    subprocess.run(command, check=True, capture_output=True)
    made = (tmp_path / "n1.pem").read_bytes()
    subprocess.run([*command, "n2"], check=True, capture_output=True)

    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    for name in ("n1", "n2", "client"):
        context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
    check = (
        f"openssl verify -purpose sslserver -verify_hostname n1.example.net -CAfile {tmp_path}"
    )
    checked = subprocess.run(
        [*f"{check}/ca.pem".split(), tmp_path / "n1.pem"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr
    assert (tmp_path / "n1.pem").read_bytes() == made
    assert (tmp_path / "n1.key").stat().st_mode & 0o077 == 0
