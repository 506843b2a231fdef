"""The API from another language: Node.js, with its own gRPC and the proto files as they are.

`tests/node` is what is run; its packages are those of its lock, and are installed into a
folder of the run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from raftstate.localcluster import LocalCluster
from tests.rpc.harness import services

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INSTALL_S, RUN_S = 120, 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, beside the packages that it needs."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here")
    made = tmp_path_factory.mktemp("node")
    for file in (ROOT / "tests/node").iterdir():
        if file.is_file():
            shutil.copy(file, made)
    try:
        ended = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=made,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not fetch the packages within {INSTALL_S} s")
    if ended.returncode:
        pytest.skip(f"npm could not fetch the packages: {ended.stderr.strip()[-500:]}")
    return made


def test_every_call_works_from_nodejs(folder: Path, tmp_path: Path) -> None:
    """
    One story with each call of each service, on a live cluster; none is forgotten.
    """
    with LocalCluster.create(tmp_path / "c") as cluster:
        leader = cluster.wait_leader()
        follower = next(one for one in cluster.members if one != leader)
        address = cluster.members[leader].api
        ended = subprocess.run(
            ["node", "smoke.mjs", str(ROOT / "proto"), address, follower],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    assert ended.returncode == 0, ended.stderr[-3000:]
    calls = json.loads(ended.stdout.splitlines()[-1])["calls"]
    assert sorted(calls) == sorted(every_call())


def test_the_readmes_example_runs_as_printed(folder: Path, tmp_path: Path) -> None:
    """
    A session, and a write that is sent twice and applied once.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```js\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (folder / "example.mjs").write_text(example)
    with LocalCluster.create(tmp_path / "c") as cluster:
        address = cluster.members[cluster.wait_leader()].api
        ended = subprocess.run(
            ["node", "example.mjs", str(ROOT / "proto"), address],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout == "hello true\n"


def every_call() -> list[str]:
    """What there is to call, as the descriptors say."""
    return [f"{one.name}.{method.name}" for one in services() for method in one.methods]
