"""Recompute a demo's outcome from the evidence it left, whichever demo it was.

    python -m raftstate.examples.verify DIR

The last line of standard output is the recomputed result as one JSON object; what is
wrong goes to standard error. The exit status is 0 if nothing is wrong, 1 if something
is, 2 if DIR is not a folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from raftstate.examples.census import verify as census
from raftstate.examples.travel import verify as travel


def verify(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The recomputed outcome, and everything that is wrong. Only the travel demo has
    books of services; a folder without them has to be the census' to be anything."""
    if (folder / "books").is_dir():
        return travel.verify(folder)
    return census.verify(folder)


def main(arguments: list[str] | None = None) -> int:
    """Verify one folder; say what is wrong on stderr, the figures on stdout."""
    parser = argparse.ArgumentParser(prog="verify", description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="what a demo's --out left")
    folder: Path = parser.parse_args(arguments).folder
    if not folder.is_dir():
        print(f"verify: {folder} is not a folder", file=sys.stderr)
        return 2
    recomputed, wrong = verify(folder)
    for complaint in wrong:
        print(f"verify: {complaint}", file=sys.stderr)
    print(f"verify: {len(wrong)} things are wrong" if wrong else "verify: all is well")
    print(json.dumps(recomputed))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
