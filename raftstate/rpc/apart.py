"""Processes of their own, for work that must not hold up the member that it is done for."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from raftstate.rpc.errors import Failure

# It finds modules where we do, and nowhere else.
_START = "import sys; sys.path[:] = sys.argv[1:]; from raftstate.rpc.{} import main; main()"


@asynccontextmanager
async def process(module: str) -> AsyncIterator[Process]:
    """A process that runs `main` of a module of this package, and is gone afterwards.
    Raises Failure."""
    try:
        made = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-B", "-c", _START.format(module), *sys.path),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
    except OSError as error:
        words = f"no process can be started: {error.strerror}"
        raise Failure("OVERLOADED", words, definite=True) from error
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            made.kill()
        # Not `wait`: a pipe that nobody reads any more has no end, and it waits for that.
        await made.communicate()
