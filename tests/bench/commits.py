"""How long a commit takes, with either log, and what the disk takes by itself.

One writer. The logs take turns within one run, a few commits at a time and in another order
each time, because what else goes on on a machine changes by the second. The fastest tenth
is the nearest to what a commit costs where nothing else goes on. The floor is what a commit
cannot be faster than: the same bytes, written over in a file whose blocks were all written
before, and synced.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from raftstate.core.ports import Entry, Identity
from raftstate.core.types import Index, MemberId, Term
from raftstate.storage.logs import LOG_KINDS, DurableLog, LogKind, create_log, open_log
from tests.bench.figures import median, quantile

FLOOR = "floor"
_CLUSTER = "bench"
_MEMBER = MemberId("n1")
_FLOOR_BYTES = 16 << 20
_COLUMNS = ("p10", "p50", "p90", "p99", "mean")

Commit = Callable[[int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told."""
    parser.add_argument("--commits", type=int, default=50, help="of each log in each round")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--entry-bytes", type=int, default=280)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], help="entries each")
    parser.add_argument("--dir", type=Path, help="on the disk that counts; default: temporary")
    parser.add_argument("--open", type=int, default=0, metavar="N", help="open N entries, too")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print a table, and answer with the figures in microseconds."""
    found: dict[str, Any] = {
        "commits": arguments.commits,
        "rounds": arguments.rounds,
        "entry_bytes": arguments.entry_bytes,
        "batches": {},
    }
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="bench-") as name:
        for batch in arguments.batches:
            figures = _measure_batch(Path(name) / str(batch), batch, arguments)
            found["batches"][str(batch)] = figures
            _print(batch, figures)
            sys.stdout.flush()
        if arguments.open:
            found["open_s"] = _measure_open(Path(name), arguments)
    return found


def _measure_batch(folder: Path, batch: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rounds of all contestants; each round begins with another one."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in (*LOG_KINDS, FLOOR)}
    size = arguments.entry_bytes
    with ExitStack() as stack:
        commits: dict[str, Commit] = {
            kind: _writer(stack.enter_context(_a_log(folder / kind, kind)), size)
            for kind in LOG_KINDS
        }
        commits[FLOOR] = _floor(stack.enter_context(_a_file(folder / FLOOR)), size)
        names = list(commits)
        for at in range(arguments.rounds):
            turn = at % len(names)
            for name in names[turn:] + names[:turn]:
                rounds[name].append(_one_round(commits[name], batch, arguments.commits))
    return _figures(rounds)


def _one_round(commit: Commit, batch: int, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        commit(batch)
        taken.append((time.perf_counter() - began) * 1e6)
    return taken


def _figures(rounds: dict[str, list[list[float]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, taken in rounds.items():
        medians = [median(one) for one in taken]
        whole = [value for one in taken for value in one]
        figures[name] = {
            "p10_us": round(quantile(whole, 0.1), 1),
            "p50_us": round(median(whole), 1),
            "p90_us": round(quantile(whole, 0.9), 1),
            "p99_us": round(quantile(whole, 0.99), 1),
            "mean_us": round(sum(whole) / len(whole), 1),
            "round_p50_us": [round(min(medians), 1), round(max(medians), 1)],
        }
    pairs = zip(rounds["segments"], rounds["lmdb"], strict=True)
    ratios = [median(segments) / median(lmdb) for segments, lmdb in pairs]
    figures["segments_to_lmdb"] = {
        "p10": round(figures["segments"]["p10_us"] / figures["lmdb"]["p10_us"], 3),
        "p50": round(figures["segments"]["p50_us"] / figures["lmdb"]["p50_us"], 3),
        "mean": round(figures["segments"]["mean_us"] / figures["lmdb"]["mean_us"], 3),
        "rounds": [round(min(ratios), 3), round(median(ratios), 3), round(max(ratios), 3)],
    }
    return figures


def _print(batch: int, figures: dict[str, Any]) -> None:
    print(f"{batch} entries a commit, microseconds")
    print(f"  {'':10}{'p10':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'mean':>9}   p50 of rounds")
    for name in (*LOG_KINDS, FLOOR):
        one = figures[name]
        low, high = one["round_p50_us"]
        columns = "".join(f"{one[f'{key}_us']:9.0f}" for key in _COLUMNS)
        print(f"  {name:10}{columns}   {low:.0f} to {high:.0f}")
    ratio = figures["segments_to_lmdb"]
    low, middle, high = ratio["rounds"]
    parts = ", ".join(f"{key} {ratio[key]:.2f}" for key in ("p10", "p50", "mean"))
    print(f"  segments to lmdb: {parts}; rounds {low:.2f} to {high:.2f}, median {middle:.2f}")


# --- contestants -------------------------------------------------------------------


def _open(folder: Path, kind: LogKind) -> DurableLog:
    return open_log(folder, kind, cluster_id=_CLUSTER, member_id=_MEMBER)


@contextmanager
def _a_log(folder: Path, kind: LogKind) -> Iterator[DurableLog]:
    """A new log."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    create_log(folder, Identity(_CLUSTER, 1, _MEMBER, f"disk-{kind}"), kind)
    log = _open(folder, kind)
    try:
        yield log
    finally:
        log.close()


def _writer(log: DurableLog, size: int) -> Commit:
    data = os.urandom(size)

    def commit(batch: int) -> None:
        for _ in range(batch):
            log.append(Entry(Index(log.last.index + 1), Term(1), data))
        log.commit()

    return commit


@contextmanager
def _a_file(path: Path) -> Iterator[int]:
    """A file whose blocks were all written, so that a sync has nothing else to record."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.pwrite(handle, bytes(_FLOOR_BYTES), 0)
        os.fsync(handle)
        yield handle
    finally:
        os.close(handle)


def _floor(handle: int, size: int) -> Commit:
    data = os.urandom(size)
    offset = 0

    def commit(batch: int) -> None:
        nonlocal offset
        if offset + batch * size > _FLOOR_BYTES:
            offset = 0
        os.pwrite(handle, data * batch, offset)
        os.fdatasync(handle)
        offset += batch * size

    return commit


def _measure_open(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds to open a log with many entries, a hundred a commit."""
    found: dict[str, float] = {}
    for kind in LOG_KINDS:
        with _a_log(folder / f"open-{kind}", kind) as log:
            commit = _writer(log, arguments.entry_bytes)
            for _ in range(arguments.open // 100):
                commit(100)
        began = time.perf_counter()
        log = _open(folder / f"open-{kind}", kind)
        found[kind] = round(time.perf_counter() - began, 3)
        count = log.last.index
        log.close()
        print(f"{kind}: opened {count} entries in {found[kind]:.3f} s", flush=True)
    return found
