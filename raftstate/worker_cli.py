"""`raftstate worker`: finish what others began to undo, until it is told to stop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from raftstate.asking import EXIT_WRONG, Asker, connected

if TYPE_CHECKING:
    from raftstate.client import Store

logger: logging.Logger = logging.getLogger("raftstate.worker")

# What a worker has claimed is free for another so long after its last word, should the
# leader die with it: a leader that lives notices sooner that its connection broke.
_SESSION_TTL_S = 3.0


@click.command("worker")
@click.option(
    "--module",
    "modules",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A module that registers compensations, reconcilers or validators. May be given"
    " several times.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="How many sagas and rollbacks at once.",
)
@click.option(
    "--poll",
    type=click.FloatRange(0.05),
    default=5.0,
    show_default=True,
    help="How often everything is looked at, in seconds, beside what a watch tells.",
)
@click.option("--holder", metavar="NAME", help="Who this is, for people; host and process.")
@connected
def worker(
    ask: Asker, modules: tuple[str, ...], parallel: int, poll: float, holder: str | None
) -> None:
    """Finish sagas that were given up, and rollbacks.

    Any number of workers may run side by side. SIGTERM or SIGINT end this one in order; what
    it has begun is gone on with by another.
    """
    _load(modules)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    ask(lambda store: _run(store, parallel, poll, holder), session_ttl=_SESSION_TTL_S)


def _load(modules: tuple[str, ...]) -> None:
    """Import what registers the functions; it may lie in the current folder."""
    from raftstate.client import registry

    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # noqa: PTH109  # a path that is looked up as text
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            click.echo(f"raftstate: cannot import {name}: {error}", err=True)
            sys.exit(EXIT_WRONG)
    kinds = ("compensation", "reconciler", "validator")
    if not any(registry.default.names(kind) for kind in kinds):
        click.echo(f"raftstate: {', '.join(modules)}: nothing is registered there", err=True)
        sys.exit(EXIT_WRONG)


async def _run(store: Store, parallel: int, poll: float, holder: str | None) -> None:
    from raftstate.client import Worker, registry

    working = Worker(store, parallel=parallel, poll=poll, holder=holder)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.stop)
    known = registry.default.names("compensation") + registry.default.names("validator")
    logger.info("working: %s", ", ".join(known))
    await working.run()
    logger.info("stopped: %d finished", working.finished)
