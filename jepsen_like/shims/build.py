"""Compiles the libraries, into a folder that the caller names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_SOURCES = {"lazy": ("lazy.c", "shadow.c", "names.c"), "clock": ("clock.c",)}
_HEADERS = ("lazy.h",)
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC")
_PATIENCE_S = 120.0


class NoCompiler(Exception):
    """This machine has no C compiler."""


class BuildFailed(Exception):
    """There is a compiler, and yet there are no libraries: a defect, or a strange folder."""


def compiler() -> str:
    """The machine's C compiler. Raises NoCompiler."""
    for name in _COMPILERS:
        if found := shutil.which(name):
            return found
    raise NoCompiler(f"power loss and clock jumps need a C compiler: {', '.join(_COMPILERS)}")


def libraries(folder: Path) -> tuple[Path, Path]:
    """Both libraries, built into a folder unless they are there. Raises NoCompiler, or
    BuildFailed."""
    lazy, clock = (_library(folder.absolute(), name) for name in _SOURCES)
    return lazy, clock


def _library(folder: Path, name: str) -> Path:
    here, target = Path(__file__).parent, folder / f"{name}.so"
    sources = [here / one for one in _SOURCES[name]]
    newest = max(one.stat().st_mtime for one in (*sources, *(here / one for one in _HEADERS)))
    if any(one.isspace() or one == ":" for one in str(target)):
        # LD_PRELOAD has no way to quote them.
        raise BuildFailed(
            f"a library cannot be preloaded from {target}: a space or colon in it"
        )
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    command = [compiler(), *_FLAGS, "-o", str(unfinished), *map(str, sources)]
    command += ["-ldl", "-pthread"]
    made = subprocess.run(
        command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    if made.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} failed:\n{made.stderr.strip()}")
    unfinished.replace(target)
    return target
