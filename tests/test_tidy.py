"""The architecture, as a test. A rule changes only together with its decision record.

Three kinds of rules: who may import what (read from the syntax tree), what no text of
the project may hold, and what has to exist. Each complaint names a file, a line and the
rule. The rules themselves are tested at the end, against planted violations.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "raftstate"

# --- the rules ---------------------------------------------------------------

# Who may import whom inside the package. Siblings never meet; `server` introduces them.
# A name is a folder or module directly under raftstate/; `raftstate` is the public face.
LAYERS = {
    "v1": {"v1"},
    "errors": {"client"},  # the type of a field: at run time this would be a circle
    "content": set[str](),
    "core": {"core", "v1"},
    "config": {"errors"},
    "metrics": {"core", "errors", "v1"},
    "storage": {"storage", "core", "errors", "v1"},
    "consensus": {"consensus", "core", "errors", "v1"},
    "rpc": {"rpc", "content", "core", "errors", "v1"},
    "client": {"client", "content", "errors", "v1"},
    "sync": {"sync", "client", "errors", "v1"},
    "testing": {"testing", "sync", "client", "rpc", "core", "errors", "v1"},
    "recovery": {"recovery", "raftstate", "client", "errors", "v1"},
    "console": {"console", "core", "errors", "v1"},
    "server": {
        *("server", "config", "metrics", "storage", "consensus", "rpc", "recovery", "console"),
        *("core", "errors", "v1"),
    },
    "localcluster": {"localcluster", "client", "config", "errors", "v1"},
    "cluster_cli": {"cluster_cli", "localcluster", "client", "config", "errors", "v1"},
    "asking": {"client", "errors"},
    "member_cli": {"member_cli", "asking", "client", "errors", "v1"},
    "store_cli": {"store_cli", "asking", "client", "errors", "v1"},
    "breaker_cli": {"breaker_cli", "asking", "client", "errors", "v1"},
    "recovery_cli": {"recovery_cli", "asking", "client", "errors", "v1"},
    "worker_cli": {"worker_cli", "asking", "client", "errors"},
    "cli": {
        *("cli", "server", "cluster_cli", "member_cli", "store_cli"),
        *("breaker_cli",),
        *("recovery_cli", "worker_cli"),
        *("localcluster", "client"),
        *("config", "errors", "v1"),
    },
    "adapters": {"adapters", "raftstate", "client", "errors", "v1"},
    "examples": {
        *("examples", "raftstate", "adapters", "client", "localcluster", "errors", "v1"),
    },
    "__init__": {"client", "errors"},
    "__main__": {"cli"},
}
# What black-box tests may know of the package.
OUTSIDERS = {"jepsen_like": {"raftstate", "client", "errors", "v1", "localcluster"}}
# The test-only build of a member: it breaks the product from inside, and is not imported
# by what judges.
INSIDERS = {Path("jepsen_like/mutants/node.py"), Path("jepsen_like/mutants/node")}
# Each outside library has its homes. `raftstate.v1` is generated for grpc.
HOMES = {
    "lmdb": {"storage"},
    "msgpack": {"content"},
    "pysyncobj": {"consensus"},
    "grpc": {"rpc", "client", "v1"},
    "grpc_health": {"rpc", "client"},
    "grpc_reflection": {"rpc"},
    "grpc_status": {"rpc", "client"},
}
# All the core may use of other code. Nothing here can tell two runs apart.
PURE = {
    *("__future__", "bisect", "collections", "contextlib", "dataclasses", "enum"),
    *("functools", "hashlib", "heapq", "itertools", "re", "struct", "typing"),
}
PURE_MESSAGES = "google.protobuf"
# The one file that knows upstream's private names.
ADAPTER = Path("raftstate/consensus/adapter.py")

TOP_LEVEL = {
    *("pyproject.toml", "requirements.lock", "README.md", "LICENSE"),
    *("raftstate", "proto", "cluster", "tests", "jepsen_like", "scripts"),
}
REQUIRED = [
    "README.md",
    "LICENSE",
    "raftstate/py.typed",
    "raftstate/docs/ARCHITECTURE.md",
    "raftstate/docs/GUARANTEES.md",
    "raftstate/docs/CHANGELOG.md",
    "raftstate/docs/decisions",
    "jepsen_like/__init__.py",
    ".ci/run",
]
LINES_MAX = 700

# What no text of the project may hold, and why. Written so that no rule matches itself.
BANNED = {
    re.compile(rf"\b({'|'.join(('TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'))})\b"): (
        "unfinished work belongs in an issue"
    ),
    re.compile(r"(?<![\w.])/(?:work|root|home|Users|tmp/w)" + r"/"): ("a path of one machine"),
    re.compile(r"pypi\." + r"org|python" + r"hosted\.org|registry\." + r"npmjs"): (
        "the name of a package registry's host"
    ),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----"): "a secret key",
    re.compile(r"\b(?:ghp|gho|ghs)_\w{20,}|\bAK" + r"IA[0-9A-Z]{16}\b"): "a credential",
}
BANNED_OUTSIDE_TESTS = {re.compile(r"\bshared" + r"/"): "a folder that only some tests use"}


# --- what is read ------------------------------------------------------------


def tracked_files() -> list[Path]:
    """Every file that belongs to the project, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
        return sorted(name for name in names if (ROOT / name).is_file())
    # Not a clone (an unpacked source archive, say): what is hidden or a cache is not ours.
    return sorted(
        path.relative_to(ROOT)
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(
            part == "__pycache__"
            or (part.startswith(".") and part not in {".ci", ".gitignore"})
            for part in path.relative_to(ROOT).parts
        )
    )


FILES = tracked_files()
MODULES = [path for path in FILES if path.suffix == ".py"]


def is_generated(path: Path) -> bool:
    return path.is_relative_to("raftstate/v1") and "_pb2" in path.name


# --- complaints --------------------------------------------------------------


def import_complaints(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Complaints about one module's imports and names: (line, rule)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "imports are absolute, so that this test can read them"
        for line, module in imports(node):
            yield from layer_complaints(path, line, module)
        for line, name in names(node):
            if "_SyncObj__" in name and path != ADAPTER and "tests" not in path.parts:
                yield line, f"{name}: private names of pysyncobj live in {ADAPTER}"


def layer_complaints(path: Path, line: int, module: str) -> Iterator[tuple[int, str]]:
    """Complaints about `path` importing `module`."""
    top = path.parts[0]
    root, _, rest = module.partition(".")
    target = rest.split(".")[0] if rest and is_inside(rest.split(".")[0]) else "raftstate"
    if (
        top in OUTSIDERS
        and root == "raftstate"
        and target not in OUTSIDERS[top]
        and not is_insider(path)
    ):
        yield line, f"{top} sees the product from outside and may not import {target}"
    if top != "raftstate":
        return
    if root in {"tests", "jepsen_like"}:
        yield line, f"the product does not know about {root}"
    layer = path.relative_to("raftstate").with_suffix("").parts[0]
    if layer not in LAYERS:
        yield line, f"{layer} has no place among the layers; give it one in LAYERS"
        return
    if root == "raftstate" and target not in LAYERS[layer]:
        yield line, f"{layer} may not import {target}"
    if layer not in HOMES.get(root, {layer}):
        yield line, f"{root} lives in {'/, '.join(sorted(HOMES[root]))}/ and nowhere else"
    if layer == "core" and not (
        root in PURE | {"raftstate"} or f"{module}.".startswith(f"{PURE_MESSAGES}.")
    ):
        yield line, f"core is sans-io and may not import {root}"


def is_insider(path: Path) -> bool:
    """Whether a module of a black-box test may know everything."""
    return not INSIDERS.isdisjoint((path, *path.parents))


def is_inside(name: str) -> bool:
    """Whether raftstate.`name` is a part of the package, not a name of its face."""
    return name in LAYERS or (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Everything in which a private name could be spelt: names, attributes, strings."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            yield node.lineno, name
        case ast.Constant(value=str(text)) if not re.search(r"\s", text):
            yield node.lineno, text


def text_complaints(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Complaints about one file's text: (line, rule)."""
    banned = BANNED if path.parts[0] == "tests" else BANNED | BANNED_OUTSIDE_TESTS
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for pattern, why in banned.items():
            if found := pattern.search(line):
                yield number, f"{found[0]!r}: {why}"
    if path.suffix == ".py" and len(lines) > LINES_MAX:
        yield len(lines), f"more than {LINES_MAX} lines; a file should fit a head"


def undocumented_tests(source: str) -> Iterator[tuple[int, str]]:
    """Tests without a docstring; a test states the promise that it holds."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and not ast.get_docstring(node)
        ):
            yield node.lineno, f"{node.name} has no docstring"


def show(path: Path, complaints: Iterator[tuple[int, str]]) -> list[str]:
    return [f"{path}:{line}: {rule}" for line, rule in complaints]


# --- the tests ---------------------------------------------------------------


def test_imports_point_one_way() -> None:
    """
    No module imports what its layer may not, and every library stays in its home.
    """
    found = [
        complaint
        for path in MODULES
        if not is_generated(path)
        for complaint in show(path, import_complaints(path, (ROOT / path).read_text()))
    ]

    assert not found, "\n" + "\n".join(found)


def test_no_text_holds_what_is_banned() -> None:
    """
    No unfinished work, machine's path, registry, secret, or file too long to read.
    """
    found = []
    for path in FILES:
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue  # an image or a recorded file is not prose
        if not is_generated(path):
            found += show(path, text_complaints(path, text))

    assert not found, "\n" + "\n".join(found)


def test_every_test_says_what_it_promises() -> None:
    """
    Each test function has a docstring.
    """
    found = [
        complaint
        for path in MODULES
        if path.parts[0] == "tests"
        for complaint in show(path, undocumented_tests((ROOT / path).read_text()))
    ]

    assert not found, "\n" + "\n".join(found)


def test_the_top_level_is_what_was_agreed() -> None:
    """
    Nothing lies at the top of the tree but the agreed names and dot-files.
    """
    top = {path.parts[0] for path in FILES}

    assert {name for name in top if not name.startswith(".")} - TOP_LEVEL == set()


@pytest.mark.parametrize("name", REQUIRED)
def test_what_readers_look_for_exists(name: str) -> None:
    """
    The documents and marks that every reader, installer and checker looks for exist.
    """
    assert (ROOT / name).exists()


# --- the rules, tested -------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("raftstate/core/x.py", "import time", "core is sans-io and may not import time"),
        ("raftstate/core/x.py", "from os import path", "core is sans-io and may not import os"),
        (
            "raftstate/core/x.py",
            "import google.rpc",
            "core is sans-io and may not import google",
        ),
        ("raftstate/core/x.py", "import raftstate.storage.a", "core may not import storage"),
        ("raftstate/rpc/x.py", "from raftstate import consensus", "may not import consensus"),
        ("raftstate/rpc/x.py", "from raftstate.storage import a", "may not import storage"),
        ("raftstate/client/x.py", "from raftstate.core import a", "may not import core"),
        ("raftstate/consensus/x.py", "import lmdb", "lmdb lives in storage/ and nowhere else"),
        ("raftstate/storage/x.py", "import pysyncobj.node", "pysyncobj lives in consensus/"),
        ("raftstate/server.py", "import grpc.aio", "grpc lives in client/, rpc/, v1/"),
        ("raftstate/rpc/x.py", "from . import a", "imports are absolute"),
        ("raftstate/novelty/x.py", "import os", "novelty has no place among the layers"),
        ("raftstate/server.py", "import tests.sim", "the product does not know about tests"),
        ("raftstate/consensus/x.py", "a._SyncObj__b = 1", "private names of pysyncobj"),
        ("raftstate/consensus/x.py", "getattr(a, '_SyncObj__b')", "private names of pysyncobj"),
        ("jepsen_like/x.py", "from raftstate.core import a", "sees the product from outside"),
        (
            "jepsen_like/mutants/running.py",
            "import raftstate.storage.open",
            "sees the product from outside",
        ),
        (
            "jepsen_like/workloads/node.py",
            "from raftstate.consensus import rules",
            "sees the product from outside",
        ),
        (
            "raftstate/examples/x.py",
            "import raftstate.server",
            "examples may not import server",
        ),
    ],
)
def test_a_planted_import_is_found(path: str, source: str, rule: str) -> None:
    """
    The import rules see each kind of violation, also in a function's body.
    """
    nested = f"def run():\n    {source}\n"

    assert [rule in why for _, why in import_complaints(Path(path), source)] == [True]
    assert [rule in why for _, why in import_complaints(Path(path), nested)] == [True]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("raftstate/core/x.py", "from google.protobuf.message import Message"),
        ("raftstate/core/x.py", "from collections.abc import Callable"),
        ("raftstate/rpc/x.py", "from raftstate import errors"),
        ("raftstate/examples/x.py", "import raftstate"),
        ("raftstate/examples/x.py", "from raftstate import connect"),
        ("raftstate/consensus/adapter.py", "node._SyncObj__raftLog = log"),
        ("jepsen_like/x.py", "from raftstate.client import connect"),
        ("jepsen_like/x.py", "from raftstate.localcluster import LocalCluster"),
        ("jepsen_like/mutants/node.py", "from raftstate.consensus import rules"),
        ("jepsen_like/mutants/node/reads.py", "import raftstate.core.machine"),
        ("tests/test_x.py", "import lmdb"),
    ],
)
def test_what_is_allowed_is_not_complained_about(path: str, source: str) -> None:
    """
    The import rules let through what the layers allow.
    """
    assert list(import_complaints(Path(path), source)) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("raftstate/x.py", "# TO" + "DO: later"),
        ("raftstate/x.py", "# FIX" + "ME"),
        ("README.md", "see /wo" + "rk/main"),
        ("README.md", "see `/ro" + "ot/x`"),
        ("cluster/x.toml", 'data_dir = "/ho' + 'me/me/data"'),
        ("requirements.lock", "--index-url https://py" + "pi.org/simple"),
        ("raftstate/docs/x.md", "see ../sha" + "red/design.md"),
        ("tests/x.pem", "-----BEGIN EC PRIVATE " + "KEY-----"),
    ],
)
def test_a_planted_word_is_found(path: str, line: str) -> None:
    """
    The text rules see each kind of violation, and say on which line.
    """
    assert [number for number, _ in text_complaints(Path(path), f"first\n{line}\n")] == [2]


def test_harmless_words_pass() -> None:
    """
    Words that only look like banned ones are no violation; tests may name their data.
    """
    harmless = 'mktemp -d "a.XXXXXX"\nhttp://x/home/page\n/var/lib/raftstate\nframework/root\n'

    assert list(text_complaints(Path("README.md"), harmless)) == []
    assert list(text_complaints(Path("tests/test_x.py"), "../sha" + "red/data")) == []


def test_a_long_file_and_a_silent_test_are_found() -> None:
    """
    The rules on length and on docstrings see their violations.
    """
    long = "pass\n" * (LINES_MAX + 1)
    silent = "def test_a():\n    pass\n\nasync def test_b():\n    'Says so.'\n"

    assert [line for line, _ in text_complaints(Path("raftstate/x.py"), long)] == [701]
    assert [rule for _, rule in undocumented_tests(silent)] == ["test_a has no docstring"]
