"""Where in the code a defect of the harness is, for whoever reads of it in a report."""

from __future__ import annotations

import traceback
from pathlib import Path


def place_of(error: BaseException | None) -> str:
    """File and line where it was raised, "client.py:12"; "" if it tells no place."""
    if error is None or not (frames := traceback.extract_tb(error.__traceback__)):
        return ""
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
