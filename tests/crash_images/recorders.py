"""The recorders there are, the one to be preferred first."""

from __future__ import annotations

import shutil

from tests.crash_images.recording import Preloaded
from tests.crash_images.strace import Traced

RECORDERS: dict[str, type[Preloaded | Traced]] = {
    "preload": Preloaded,
    "strace": Traced,
}
_NEEDS: dict[str, str] = {"preload": "cc", "strace": "strace"}


def available() -> list[str]:
    """The recorders that this machine has the programs for."""
    return [name for name, program in _NEEDS.items() if shutil.which(program)]
