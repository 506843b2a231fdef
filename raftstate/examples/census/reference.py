"""The plain loop: what the census must come to, without a store and without a fold.

It shares `analyse` with the agent and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raftstate.examples.census.analyse import Row, analyse


def reference(root: Path, files: list[str]) -> dict[str, Any]:
    """Every file's row, in order, and the totals over all of them."""
    rows = [analyse(root, path) for path in files]
    sizes = [(root / path).stat().st_size for path in files]
    return {"root": str(root), "sizes": sizes, "rows": rows, "totals": totals(rows)}


def totals(rows: list[Row]) -> dict[str, Any]:
    """The totals over rows, by sums."""
    good = [row for row in rows if "error" not in row]
    longest: dict[str, Any] = {"path": "", "name": "", "lines": 0}
    for row in good:
        if row["longest"]["lines"] > longest["lines"]:
            longest = {"path": row["path"], **row["longest"]}
    return {
        "files": len(rows),
        "counted": len(good),
        "failed": len(rows) - len(good),
        "lines": sum(row["lines"] for row in good),
        "functions": sum(row["functions"] for row in good),
        "classes": sum(row["classes"] for row in good),
        "imports": sum(row["imports"] for row in good),
        "longest": longest,
    }
