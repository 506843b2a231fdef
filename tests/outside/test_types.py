"""What type checkers say of the package to those who use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TYPING = Path(__file__).parent / "typing"
PROGRAMS = sorted(path.name for path in TYPING.glob("*.py"))
TIMEOUT_S = 600
# What users import. The rest of the package is as well typed, but no promise.
PUBLIC = (
    *("raftstate.client", "raftstate.sync", "raftstate.testing", "raftstate.errors"),
    *("raftstate.adapters", "raftstate.localcluster"),
)
PARTS = {path.stem for path in (ROOT / "raftstate").iterdir()}


def check(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a checker of this environment, with the package where users have it: on the path,
    and no part of their project."""
    folder = str(Path(sys.executable).parent)
    return subprocess.run(
        [f"{folder}/{command[0]}", *command[1:]],
        cwd=cwd,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PATH": os.pathsep.join((folder, os.environ["PATH"]))},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def copied(folder: Path, *names: str) -> list[str]:
    """The programs in a folder of their own, so that no configuration is near."""
    for name in names:
        (folder / name).write_text((TYPING / name).read_text())
    return list(names)


def test_mypy_has_no_complaint(tmp_path: Path) -> None:
    """
    `mypy --strict` passes every program, with the types that they assert.
    """
    done = check(
        "mypy",
        *("--strict", "--no-incremental", "--warn-unreachable"),
        *copied(tmp_path, *PROGRAMS),
        cwd=tmp_path,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"no issues found in {len(PROGRAMS)} source files" in done.stdout


@pytest.mark.slow
def test_what_imports_frameworks_is_well_typed(tmp_path: Path) -> None:
    """
    Adapters, examples and these tests, by the settings of the whole project: where the
    frameworks are not, they cannot be checked.
    """
    # A file that is named is checked, though the settings leave its folder out.
    folders = ("raftstate/adapters", "raftstate/examples", "tests/outside")
    paths = [str(path) for folder in folders for path in (ROOT / folder).rglob("*.py")]
    done = check("mypy", "--cache-dir", str(tmp_path), *sorted(paths), cwd=ROOT)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"no issues found in {len(paths)} source files" in done.stdout


def test_pyright_has_no_complaint(tmp_path: Path) -> None:
    """
    Nor has `pyright`.
    """
    done = check("pyright", *copied(tmp_path, *PROGRAMS), cwd=tmp_path)

    assert done.returncode == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout


MISTAKES = {
    "an awaited call of the sync face": "import raftstate.sync\n"
    "async def f(store: raftstate.sync.Store) -> None:\n"
    "    await store.keys.get('a')\n",
    "a call that is not awaited": "import raftstate\n"
    "async def f(store: raftstate.Store) -> int:\n"
    "    return store.keys.delete('a')\n",
    "an option that there is not": "import raftstate\n"
    "async def f(store: raftstate.Store) -> None:\n"
    "    await store.keys.get('a', fresh=True)\n",
    "a coroutine function as a handler": "import raftstate.sync\n"
    "async def handle(event: object) -> None: ...\n"
    "def f(store: raftstate.sync.Store) -> int:\n"
    "    return store.projection('p', handle)\n",
}


@pytest.mark.parametrize("checker", [("mypy", "--strict", "--no-incremental"), ("pyright",)])
def test_mistakes_are_found(checker: tuple[str, ...], tmp_path: Path) -> None:
    """
    Each of them, by both checkers: the types are no formality.
    """
    names = [f"wrong{number}.py" for number, _ in enumerate(MISTAKES)]
    for name, text in zip(names, MISTAKES.values(), strict=True):
        (tmp_path / name).write_text(text)

    done = check(*checker, *names, cwd=tmp_path)

    assert done.returncode == 1, done.stdout
    for name, mistake in zip(names, MISTAKES, strict=True):
        assert f"{name}:3:" in done.stdout or f"{name}:4:" in done.stdout, mistake


@pytest.fixture(scope="module")
def completeness(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What pyright knows of each public symbol."""
    folder = tmp_path_factory.mktemp("types")
    done = check(
        "pyright",
        *("--verifytypes", "raftstate", "--ignoreexternal", "--outputjson"),
        cwd=folder,
    )
    said: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return said


@pytest.mark.parametrize("part", ["raftstate", *PUBLIC])
def test_every_public_symbol_has_a_known_type(part: str, completeness: dict[str, Any]) -> None:
    """
    `pyright --verifytypes raftstate --ignoreexternal` finds nothing in the public faces that
    is unknown, partially or wholly.
    """

    def concerns(name: str) -> bool:
        if part != "raftstate":
            return name == part or name.startswith(f"{part}.")
        # The face itself: what is no module of the package.
        root, _, rest = name.partition(".")
        return root == "raftstate" and rest.partition(".")[0] not in PARTS

    symbols = [one for one in completeness["symbols"] if concerns(one["name"])]
    unknown = {
        one["name"]: [said["message"] for said in one["diagnostics"]]
        for one in symbols
        if not one["isTypeKnown"]
    }

    assert len(symbols) > 5
    assert not unknown, json.dumps(unknown, indent=1)


def test_the_package_says_that_it_is_typed() -> None:
    """
    `py.typed` is there; and the checkers are those that were pinned.
    """
    assert (ROOT / "raftstate" / "py.typed").exists()
    pinned = (Path(__file__).parent / "requirements.lock").read_text()
    for checker in ("mypy", "pyright"):
        assert f"\n{checker}=={version(checker)}" in f"\n{pinned}"
