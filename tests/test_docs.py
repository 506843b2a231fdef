"""The documents keep their word.

Commands, scripts, tests, planted bugs, metrics and alarms that they name exist; links lead
somewhere; the table of errors has every error, with what the code says about it.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import generate_latest

from jepsen_like.workloads.catalogue import WORKLOADS
from raftstate import cli
from raftstate.client.errors import from_status
from raftstate.config import CheckpointConfig, HistoryConfig
from raftstate.core.limits import INLINE_BYTES_MAX
from raftstate.errors import BY_REASON, DOMAIN, RaftStateError
from raftstate.metrics import Metrics
from raftstate.rpc.frontend import WatchLimits
from tests.bench.__main__ import COMMANDS
from tests.sim.mutants.catalogue import mutants
from tests.test_metrics import STATUS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "raftstate" / "docs").rglob("*.md"),
        *(ROOT / "cluster").rglob("*.md"),
    ]
)

CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"(?:^|[\s`(])(?:\./)?scripts/([a-z-]+)\b")
COMMAND = re.compile(
    r"(?:^|[$`(|;&]|\bexec\s|/bin/)\s*raftstate((?: +[a-z][a-z-]*\b(?![./=]))+)", re.MULTILINE
)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
TEST = re.compile(r"\btests/[\w/.-]*\w(?:::\w+)*")
ALARM_ROW = re.compile(r"^  //   ([A-Z]+(?:_[A-Z]+)*)  ", re.MULTILINE)
MUTANT = re.compile(r"test_a_planted_bug_is_found`\s+\(([^):]*)")
BENCH = re.compile(r"scripts/bench ([a-z-]+)")
METRIC = re.compile(r"\braftstate_[a-z_]+")
GUARANTEES = ROOT / "raftstate" / "docs" / "GUARANTEES.md"
ARCHITECTURE = ROOT / "raftstate" / "docs" / "ARCHITECTURE.md"
RUNBOOK = ROOT / "raftstate" / "docs" / "RUNBOOK.md"
SOURCES = [
    path
    for path in sorted((ROOT / "raftstate").rglob("*.py"))
    if path.parent != ROOT / "raftstate" / "v1"
]
# What the table of errors says about whether it happened.
NO, UNKNOWN, EITHER = "no", "**nobody knows**", "**`definite` says**"


def code(text: str) -> Iterator[str]:
    """Every block and span of code in a document."""
    yield from (found[0] for found in CODE.finditer(text))


def missing_scripts(text: str) -> list[str]:
    """Scripts that a document names and that do not exist."""
    return [name for name in SCRIPT.findall(text) if not (ROOT / "scripts" / name).is_file()]


def unknown_commands(text: str, root: click.Command) -> list[str]:
    """`raftstate ...` commands in a document's code that the command line does not know."""
    unknown = []
    for piece in code(text):
        for words in COMMAND.findall(piece):
            command = root
            for word in words.split():
                if not isinstance(command, click.Group):
                    break  # an argument of a command that is known
                found = command.commands.get(word)
                if found is None:
                    unknown.append(f"raftstate{words}")
                    break
                command = found
    return unknown


def broken_links(document: Path, text: str) -> list[str]:
    """Local links of a document that lead nowhere."""
    return [link for link in LINK.findall(text) if not (document.parent / link).exists()]


@cache
def defined(path: Path) -> frozenset[str]:
    """What a test may be named by: functions and classes at the top of a file."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):  # TestX = X.TestCase
            names |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return frozenset(names)


def missing_tests(text: str) -> list[str]:
    """Tests, and files of tests, that a document names and that do not exist."""
    missing = []
    for found in TEST.findall(text):
        path, _, name = found.partition("::")
        exists = (ROOT / path).exists()
        if not exists or (name and name not in defined(ROOT / path)):
            missing.append(found)
    return missing


def section(document: Path, title: str) -> str:
    """One section of a document, without its title."""
    _, found, rest = document.read_text().partition(f"\n## {title}\n")
    assert found, f"{document.name} has no section {title}"
    return rest.partition("\n## ")[0]


def error_table() -> list[tuple[str, str]]:
    """Each error of the table in GUARANTEES, and what its row says about it."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section(GUARANTEES, "Errors").splitlines()
        if line.startswith("| `")
    ]
    return [(name, row[1]) for row in rows for name in re.findall(r"`(\w+)`", row[0])]


@cache
def claims() -> dict[str, dict[bool | None, str]]:
    """What the code says about each error where it makes one, and a place where it says so:
    None is "it depends"."""
    kinds = {kind.__name__: kind.reason for kind in BY_REASON.values()}
    found: dict[str, dict[bool | None, str]] = {reason: {} for reason in BY_REASON}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            said = next((one.value for one in node.keywords if one.arg == "definite"), None)
            first = node.args[0] if node.args else None
            reason = kinds.get(getattr(node.func, "id", ""))
            if reason is None and isinstance(first, ast.Constant):
                reason = str(first.value)  # Failure("CORRUPT", ...), Unavailable(...)
            if said is not None and reason in found:
                claim = bool(said.value) if isinstance(said, ast.Constant) else None
                found[reason][claim] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def expected_words(kind: type[RaftStateError]) -> str:
    """What the table must say about an error: what the code says where it makes one, and
    what a client makes of an answer that calls itself definite."""
    info = error_details_pb2.ErrorInfo(
        domain=DOMAIN, reason=kind.reason, metadata={"definite": "true"}
    )
    packed = AnyMessage()
    packed.Pack(info)
    heard = from_status(status_pb2.Status(code=9, details=[packed])).definite
    said = set(claims()[kind.reason]) | {heard}
    if said == {True}:
        return NO
    return UNKNOWN if said == {False} else EITHER


def alarms_of_the_code() -> set[str]:
    """Names of alarms that the code raises."""
    raised = re.compile(r"(?:alarms\[|ALARM = |return \(\()\"([A-Z_]+)\"")
    return {name for path in SOURCES for name in raised.findall(path.read_text())}


def command_line() -> click.Group:
    """The group behind the `raftstate` command."""
    groups = [one for one in vars(cli).values() if isinstance(one, click.Group)]
    return next(one for one in groups if {"serve", "cluster"} <= set(one.commands))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(document: Path) -> None:
    """
    Each script, each command, each test and each local link of a document is real.
    """
    text = document.read_text()

    assert missing_scripts(text) == []
    assert missing_tests(text) == []
    assert unknown_commands(text, command_line()) == []
    assert broken_links(document, text) == []


def test_what_does_not_exist_is_noticed() -> None:
    """
    The checks see a script, a command, a test and a link that are not there, and only
    those.
    """
    text = """
    Run `./scripts/check`, then `./scripts/frobnicate`; see [this](nowhere.md),
    [that](README.md#top) and [the web](https://example.org/x). raftstate serves agents.
    `tests/test_docs.py::missing_tests`, `tests/test_docs.py::test_x`, tests/core, tests/x.

```
$ raftstate cluster start --nodes 3
$ raftstate cluster explode n1
raftstate frob
```
"""

    assert missing_scripts(text) == ["frobnicate"]
    assert missing_tests(text) == ["tests/test_docs.py::test_x", "tests/x"]
    assert unknown_commands(text, command_line()) == [
        "raftstate cluster explode",
        "raftstate frob",
    ]
    assert broken_links(ROOT / "README.md", text) == ["nowhere.md"]


def test_every_promise_names_its_tests() -> None:
    """
    Each "Fails:" of GUARANTEES and each invariant of ARCHITECTURE names tests, not just
    folders or files of them; each promise has such a line.
    """
    fails = {
        title: re.search(r"\*Fails:\*(.*?)(?:\n\n|\Z)", section(GUARANTEES, title), re.DOTALL)
        for title in re.findall(r"^## (.*)$", GUARANTEES.read_text(), re.MULTILINE)
    }
    invariants = re.split(r"^- ", section(ARCHITECTURE, "Invariants"), flags=re.MULTILINE)[1:]

    assert [title for title, found in fails.items() if not found] == ["Not promised"]
    assert len(invariants) >= 10
    for text in [*(found[1] for found in fails.values() if found), *invariants]:
        named = [one for one in TEST.findall(text) if not one.startswith("tests/testdata/")]
        assert named, text
        assert [one for one in named if "::" not in one] == [], text


@pytest.mark.parametrize("document", [GUARANTEES, ARCHITECTURE], ids=lambda path: path.name)
def test_every_bug_that_a_promise_names_is_planted(document: Path) -> None:
    """
    Wherever the test of planted bugs stands for a promise, it is said which of them.
    """
    text = document.read_text()
    named = MUTANT.findall(text)

    assert len(named) == text.count("test_a_planted_bug_is_found") > 5
    names = {name for one in named for name in re.split(r",\s+", one)}
    assert names - {mutant.name for mutant in mutants()} == set()


def test_what_can_be_measured_and_broken_is_told() -> None:
    """
    The README has every measurement; the architecture names each workload of the harness.
    """
    found = {name for path in DOCUMENTS for name in BENCH.findall(path.read_text())}
    rest = set(re.findall(r"`([a-z-]+-latency)`", (ROOT / "README.md").read_text()))
    assert found | rest == set(COMMANDS)

    harness = section(ARCHITECTURE, "The harness").partition("**Workloads.**")[2]
    assert re.findall(r"\*([a-z-]+)\*:", harness.partition("\n\n")[0]) == list(WORKLOADS)


def test_the_bounds_of_the_runbook_are_those_of_the_code() -> None:
    """
    What holds for watches, and the defaults of what can be set.
    """
    bounds, told = WatchLimits(), section(RUNBOOK, "Watches")
    assert f"{bounds.streams:,} watches" in told
    assert f"{bounds.queue_changes:,} changes or {bounds.queue_bytes >> 20} MiB" in told
    assert f"{bounds.queued_bytes >> 20} MiB that wait for all" in told

    assert f"`[history] keep_revisions` ({HistoryConfig().keep_revisions:,} by default" in (
        section(RUNBOOK, "How much of the past")
    )
    space = section(RUNBOOK, "Space of checkpoints")
    assert f"`[checkpoint] unused_chunk_s` ({CheckpointConfig().unused_chunk_s})" in space
    assert f"Data above {INLINE_BYTES_MAX >> 10} KiB" in space


def test_every_error_is_in_the_table() -> None:
    """
    Once each, and what the table says about whether it happened is what the code says.
    """
    names = {kind.__name__: kind for kind in BY_REASON.values()}
    table = error_table()

    assert Counter(name for name, _ in table) == Counter(list(names))
    for name, words in table:
        said = claims()[names[name].reason]
        assert re.split(r"[:,]", words)[0] == expected_words(names[name]), f"{name}: {said}"


def test_every_alarm_is_told() -> None:
    """
    The API's comment and the runbook name exactly the alarms that the code raises.
    """
    proto = (ROOT / "proto/raftstate/v1/cluster_service.proto").read_text()
    told = set(ALARM_ROW.findall(proto.partition("message Alarm {")[2]))
    raised = alarms_of_the_code()

    assert raised >= {"NO_LEADER", "SNAPSHOT_FAILED"}
    assert raised == told
    headed = re.findall(r"^\*\*([A-Z_]+)\*\*:", section(RUNBOOK, "Alarms"), re.MULTILINE)
    assert sorted(headed) == sorted(told)


def test_every_metric_is_told() -> None:
    """
    The runbook names exactly the metrics that a member shows.
    """
    metrics = Metrics(lambda: STATUS, lambda: {"refused": 1})
    metrics.observe("/s/M", "OK", 0.1)
    shown = generate_latest(metrics.registry).decode()
    types = re.findall(r"^# TYPE (raftstate_\w+) (\w+)$", shown, re.MULTILINE)

    told = METRIC.findall(RUNBOOK.read_text())
    assert set(told) == {name for name, _ in types}


def mapped_modules() -> set[str]:
    """Modules in the code map; a name without a folder is in the one before it in its row."""
    found = set()
    for row in section(ARCHITECTURE, "Code map").splitlines():
        folder = ""
        for path in re.findall(r"`([\w/]+\.py)`", row.split("|")[1] if "|" in row else ""):
            before, slash, name = path.rpartition("/")
            folder = before + slash if slash else folder
            found.add(folder + name)
    return found


def test_the_code_map_has_every_module() -> None:
    """
    Each module beside the packages, and each of consensus/ and storage/, is in the code
    map; and what it names exists.
    """
    package, told = ROOT / "raftstate", mapped_modules()
    modules = {
        path.relative_to(package).as_posix()
        for pattern in ("*.py", "consensus/*.py", "storage/*.py")
        for path in package.glob(pattern)
        if path.name not in {"__init__.py", "__main__.py"}
    }

    assert modules - told == set()
    assert [path for path in told if not (package / path).is_file()] == []


def test_every_gap_of_pysyncobj_has_its_row() -> None:
    """The catalogue has 31 gaps of safety and 26 others; each row names a test that is
    there (see `test_what_a_document_names_exists`), and code that is there."""
    rows = re.findall(
        r"^\| ([SACXP]\d+b?) \|.*\|(.*)\|(.*)\|$", ARCHITECTURE.read_text(), re.MULTILINE
    )
    wanted = {f"S{n}" for n in range(1, 31)} | {"S2b"}
    wanted |= {f"A{n}" for n in range(1, 18)} | {f"C{n}" for n in range(1, 4)}
    wanted |= {"X1", "X2"} | {f"P{n}" for n in range(1, 5)}
    assert sorted(gap for gap, _, _ in rows) == sorted(wanted)

    sources = "\n".join(path.read_text() for path in SOURCES)
    for gap, where, tests in rows:
        assert TEST.search(tests), f"{gap} names no test"
        for name in re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", where))):
            assert re.search(rf"\b{name}\b", sources) or name in {"py", "proto"}, (
                f"{gap}: {name}"
            )
