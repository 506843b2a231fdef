"""A run whose every text means harm: markup, scripts, and characters that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from jepsen_like import folder as folders
from tests.jepsen import forge

HOSTILE: Final = "</script></style>\"'><img src=x onerror=alert(1)>\u202e\x00\ud800&amp;"
# What a run is read by: words of the harness, not of those who ran it.
KEPT: Final = {"type", "outcome", "validity", "verdict", "workload", "f", "key", "role", "ts"}


def poison(folder: Path) -> None:
    """Let every text in a run's folder be one that means harm."""

    def poisoned(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: poisoned(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [poisoned(one, name) for one in value]
        if not isinstance(value, str) or name in KEPT or value in forge.KINDS:
            return value
        return f"{value}{HOSTILE}"

    for path in [*folder.glob("*.jsonl"), *folder.glob("nodes/*.log")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        made = [
            json.dumps(poisoned(json.loads(line)))
            if line.startswith("{")
            else f"{line}{HOSTILE}"
            for line in lines
        ]
        path.write_text("\n".join(made) + "\n", encoding="utf-8", errors="replace")
    for path in folder.glob("*.json"):
        document = poisoned(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(document), encoding="utf-8")
    results = json.loads((folder / folders.RESULTS).read_text(encoding="utf-8"))
    for verdict in results["verdicts"]:
        verdict["name"], verdict["complaints"] = HOSTILE, [HOSTILE, HOSTILE + "2"]
    (folder / folders.RESULTS).write_text(json.dumps(results), encoding="utf-8")
