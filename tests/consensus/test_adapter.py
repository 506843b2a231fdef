"""The adapter knows exactly one PySyncObj from the inside."""

import ast
import hashlib
import inspect
import subprocess
import sys
from pathlib import Path

import pysyncobj.syncobj

from raftstate.consensus import adapter, contracts


def test_upstream_is_the_source_that_was_read() -> None:
    """Private names have no contract, so the source itself is pinned."""
    source = Path(inspect.getfile(pysyncobj.syncobj)).read_bytes()

    assert hashlib.sha256(source).hexdigest() == adapter.UPSTREAM_SHA256


def test_every_private_name_is_listed_and_exists_upstream() -> None:
    """What is relied on is written down, and nothing else is."""
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(ast.parse(inspect.getsource(adapter)))
        if isinstance(node, ast.Attribute | ast.FunctionDef)
    }
    private = {
        name.removeprefix("_SyncObj__") for name in used if name.startswith("_SyncObj__")
    }
    upstream = inspect.getsource(pysyncobj.syncobj)

    assert sorted(private) == sorted(adapter.PRIVATE)
    assert [name for name in adapter.PRIVATE if f"__{name}" not in upstream] == []


def test_another_version_is_refused() -> None:
    """An upgrade of PySyncObj fails at import, not at the first election."""
    program = (
        "import importlib.metadata as m; real = m.version\n"
        "m.version = lambda name: '0.3.18' if name == 'pysyncobj' else real(name)\n"
        "import raftstate.consensus.adapter"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "pysyncobj 0.3.18 is installed, and only 0.3.17 is known inside" in done.stderr


def test_member_hashes_do_not_depend_on_the_process() -> None:
    """Sets of members iterate in the same order in every run."""
    assert hash(contracts.MemberNode("n1")) == 3950597356
