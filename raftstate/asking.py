"""What the commands that talk to a cluster have in common: how it is reached, how it ends.

Exit statuses are those of `raftstate`: 0 done, 1 refused or failed and nothing happened,
2 the command line was wrong, 3 it may have happened.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table

from raftstate.errors import InvalidRequest, RaftStateError

if TYPE_CHECKING:
    from raftstate.client import Store

EXIT_FAILED, EXIT_WRONG, EXIT_UNKNOWN = 1, 2, 3
DEFAULT_ENDPOINTS = "127.0.0.1:7411"

_T = TypeVar("_T")
Command = Callable[..., Any]


@dataclass(frozen=True)
class Asker:
    """A cluster to ask, as the options say."""

    endpoints: str
    timeout: float
    tls: tuple[Path, Path, Path] | None

    def __call__(
        self, question: Callable[[Store], Coroutine[Any, Any, _T]], **connecting: Any
    ) -> _T:
        """The answer; a failure is told in one line, and ends the process."""
        try:
            return asyncio.run(self._ask(question, connecting))
        except (RaftStateError, OSError) as error:
            click.echo(f"raftstate: {error}", err=True)
            sys.exit(_exit_status(error))
        except UnicodeEncodeError as error:
            click.echo(f"raftstate: {error.object!r} is not in UTF-8", err=True)
            sys.exit(EXIT_WRONG)
        except KeyboardInterrupt:
            click.echo("raftstate: interrupted: it may have happened", err=True)
            sys.exit(EXIT_UNKNOWN)

    async def _ask(
        self, question: Callable[[Store], Coroutine[Any, Any, _T]], connecting: dict[str, Any]
    ) -> _T:
        from raftstate.client import Tls, connect

        tls = Tls(*self.tls) if self.tls else None
        connected = connect(self.endpoints, timeout=self.timeout, tls=tls, **connecting)
        async with connected as store:
            return await question(store)


def _exit_status(error: Exception) -> int:
    if isinstance(error, InvalidRequest):
        return EXIT_WRONG
    definite = not isinstance(error, RaftStateError) or error.definite
    return EXIT_FAILED if definite else EXIT_UNKNOWN


def show(table: Table) -> None:
    """Print a table, of which every cell is what it is: no markup."""
    # A pipe has no width: give the table room instead of cutting it to 80 columns.
    width = None if os.isatty(1) else 160
    Console(width=width, markup=False, emoji=False).print(table)


def plain(text: str) -> str:
    """A text of somebody else's for a terminal, which it must not steer."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def fail(message: str) -> NoReturn:
    """End the process: refused or failed, and nothing happened."""
    click.echo(f"raftstate: {message}", err=True)
    sys.exit(EXIT_FAILED)


def connected(command: Command) -> Command:
    """Give a command what it takes to connect: it gets an `Asker`."""

    def run(
        endpoints: str,
        timeout: float,
        ca: Path | None,
        cert: Path | None,
        key_file: Path | None,
        **options: Any,
    ) -> Any:
        tls = (ca, cert, key_file) if ca and cert and key_file else None
        if tls is None and (ca or cert or key_file):
            raise click.UsageError("--tls-ca, --tls-cert and --tls-key go together")
        return command(Asker(endpoints, timeout, tls), **options)

    run.__doc__ = command.__doc__
    file = click.Path(dir_okay=False, path_type=Path)
    for option in (
        click.option(
            "--tls-key", "key_file", type=file, help="The key of the certificate (PEM)."
        ),
        click.option("--tls-cert", "cert", type=file, help="Who we are (PEM)."),
        click.option("--tls-ca", "ca", type=file, help="Who signs the members (PEM)."),
        click.option(
            "--timeout",
            type=click.FloatRange(0.1),
            default=10.0,
            show_default=True,
            help="How long it may take, in seconds.",
        ),
        click.option(
            "--endpoints",
            default=DEFAULT_ENDPOINTS,
            show_default=True,
            metavar="HOST:PORT,...",
            help="Members to ask; one that answers is enough.",
        ),
    ):
        run = option(run)
    return run
