"""One node, put together: storage, consensus, the API, metrics, and its end.

Five ways to go:

    a signal       health says NOT_SERVING, calls under way get a moment, a leader
                   hands over, the state is marked clean; exit status 0
    cannot start   one line on standard error says why, nothing was changed; 1
    crash-stop     the raft thread met an error it must not survive: nothing more is
                   acknowledged, the process ends at once; 4
    dismissal      the cluster has said that this node is no member, or not on this data
                   folder: it stops as on a signal; 5
    quarantine     something on the disk is not what was written: that is noted, nothing is
                   closed, and the process begins again in place, as an empty member

Start reading at `serve`. What can be mended on a node that does not run: `skip_entry`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import structlog

from raftstate.config import Address, Config
from raftstate.consensus.config import Dismissed
from raftstate.consensus.node import RaftNode, Waker
from raftstate.consensus.replica import Replica, ReplicaConfig
from raftstate.consensus.transport import Tls
from raftstate.core import queries
from raftstate.core.poison import PoisonEntry
from raftstate.core.ports import Damage, Entry, Log, StorageError, WrongStore
from raftstate.core.types import Index, MemberId
from raftstate.metrics import Certificates, DiskNumbers, Listen, Metrics
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.cluster import software_version
from raftstate.rpc.frontend import Addresses
from raftstate.rpc.server import PortUnavailable, RpcServer, Settings, TlsFiles, check_free
from raftstate.storage.logs import as_log_kind
from raftstate.storage.open import Storage, open_storage
from raftstate.storage.quarantine import write_mark
from raftstate.storage.repairs import Skip, record_skip, skipped
from raftstate.storage.scrub import Scrubber, verify_folder

EXIT_STOPPED, EXIT_CANNOT_START, EXIT_CRASH, EXIT_DISMISSED = 0, 1, 4, 5
# How long calls under way may take, and a leader may look for a successor, at the end.
GRACE_S = 0.5
HAND_OVER_S = 2.0
# A process that dies within this time after a start may have died of its data folder.
TRIAL_S = 5.0
# How long a thread may run before another gets the interpreter: the raft thread and
# the event loop take turns within one write, so the default of 5 ms is far too long.
SWITCH_INTERVAL_S = 0.0005
# How much of the log is read at a time where nobody waits for an answer.
REPLAY_BYTES = 1 << 20

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

logger = logging.getLogger("raftstate.server")


class CannotStart(Exception):
    """The node cannot start; the message says why."""


class CannotVerify(Exception):
    """The data folder cannot be looked at: it is in use, or cannot be read."""


class CannotRepair(Exception):
    """What was asked for does not fit the data folder, and was not done."""


def serve(config: Config) -> int:
    """Run a node until it is told to stop; the answer is the exit status."""
    configure_logging(config)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        return asyncio.run(_run(config))
    except (CannotStart, PortUnavailable, WrongStore, StorageError) as error:
        print(f"raftstate: cannot start: {error}", file=sys.stderr)
        return EXIT_CANNOT_START


def version() -> str:
    """The version of this software, as nodes tell it."""
    return software_version()


async def _run(config: Config) -> int:
    """Run the node to its end; the answer is the exit status."""
    _check_ports(config)
    async with AsyncExitStack() as stack:
        ending = _Ending(asyncio.get_running_loop(), _Quarantine(config.node.data_dir))
        node, rpc = await _start(config, stack, ending)
        ending.heed_signals()
        logger.info(
            "serving",
            extra={
                "api": str(config.api_listen),
                "raft": str(config.raft_listen),
                "metrics": config.metrics.listen,
                "cluster": config.cluster.id,
                "pid": os.getpid(),
                "version": software_version(),
            },
        )
        status = await ending.wait()
        rpc.close()
        # Together: while calls come to their end the leadership goes to another.
        await asyncio.gather(rpc.stop(GRACE_S), asyncio.to_thread(_stop_node, node))
    logger.info("stopped")
    return status


async def _start(
    config: Config, stack: AsyncExitStack, ending: _Ending
) -> tuple[RaftNode, RpcServer]:
    """Open and start everything, in order; the stack closes what is left open."""
    bridge = Bridge(asyncio.get_running_loop())
    waker = Waker()
    quarantine = ending.quarantine
    storage = _open_storage(config, waker.wake, partial(quarantine.enter, found_by="read"))
    stack.callback(storage.close)
    _tell_opened(storage)
    quarantine.repeated = bool(storage.quarantined)
    survived = storage.on_trial()
    stack.callback(survived)
    asyncio.get_running_loop().call_later(TRIAL_S, survived)
    scrubber = _scrubber(config, storage, quarantine)
    stack.callback(scrubber.stop)
    node = _raft_node(config, storage, bridge, waker, ending)
    metrics = Metrics(
        node.status,
        node.refused_connections,
        partial(_disk_numbers, storage, scrubber),
        lambda: rpc.watch_load(),  # noqa: PLW0108  # it is made below
    )
    rpc = RpcServer(
        node, storage.state, bridge, _settings(config, storage.recovered), metrics.observe
    )
    stack.push_async_callback(rpc.stop, 0)
    rpc.bind(str(config.api_listen))
    if (listen := config.metrics_listen) is not None:
        stack.callback(_serve_metrics(metrics, listen, config))
    node.start()
    if config.scrub.interval_s:
        scrubber.start()
    await rpc.start()
    return node, rpc


def _tell_opened(storage: Storage) -> None:
    logger.info("data folder opened", extra={"state": storage.recovered})
    if storage.repaired:
        logger.warning("log repaired", extra={"what": storage.repaired})
    if storage.damage:
        logger.error("state rebuilt after damage", extra={"damage": storage.damage})
    if storage.quarantined:
        reason = storage.quarantined
        logger.critical("rejoining after damage", extra={"reason": reason})


def _scrubber(config: Config, storage: Storage, quarantine: _Quarantine) -> Scrubber:
    scrubber = Scrubber(
        storage.data_dir,
        interval_s=config.scrub.interval_s,
        bytes_per_s=config.scrub.mib_per_s << 20,
        on_damage=partial(quarantine.enter, found_by="scrub"),
        between=storage.forget_dead_readers,
    )
    quarantine.scrubber = scrubber
    return scrubber


def _disk_numbers(storage: Storage, scrubber: Scrubber) -> DiskNumbers:
    counts = scrubber.counts
    return DiskNumbers(
        free_bytes=storage.space.free_bytes,
        scrubbed_bytes=counts.size_bytes,
        passes=counts.passes,
        hashes=counts.hashes,
        seconds=counts.seconds,
        damage=storage.times_damaged,
    )


def _open_storage(
    config: Config,
    wake: Callable[[], None],
    on_damage: Callable[[Damage], None] = lambda _damage: None,
) -> Storage:
    return open_storage(
        Path(config.node.data_dir),
        cluster_id=config.cluster.id,
        member_id=MemberId(config.node.id),
        boot_id=boot_id(),
        wake=wake,
        on_damage=on_damage,
        log_kind=as_log_kind(config.storage.log),
        reserve_bytes=config.storage.reserve_mib << 20,
        quota_bytes=config.storage.quota_mib << 20,
    )


def _raft_node(
    config: Config, storage: Storage, bridge: Bridge, waker: Waker, ending: _Ending
) -> RaftNode:
    tls = config.tls
    skips = skipped(Path(config.node.data_dir))
    try:
        return RaftNode(
            replica_config(config),
            log=storage.log,
            state=storage.state,
            snapshots=storage.snapshots,
            listen=str(config.raft_listen),
            advertised=config.self_member.raft,
            peers={MemberId(peer): address for peer, address in config.peers().items()},
            dial={MemberId(peer): address for peer, address in config.raft.dial.items()},
            tls=Tls(tls.cert, tls.key, tls.ca) if tls is not None else None,
            deliver=bridge.deliver,
            on_fatal=ending.fatal,
            waker=waker,
            skipped=skips,
            space_low=storage.space.low,
            on_mended=partial(ending.quarantine.release, storage),
            announce=bridge.revisions.announce,
        )
    except Damage as damage:
        ending.quarantine.enter(damage, found_by="read")
    except OSError as error:
        raise CannotStart(f"address {config.raft_listen}: {error.strerror or error}") from error


def replica_config(config: Config) -> ReplicaConfig:
    """What consensus is told of the configuration."""
    raft, snapshot = config.raft, config.snapshot
    members = {MemberId(member.id): (member.raft, member.api) for member in config.members}
    return ReplicaConfig(
        member_id=MemberId(config.node.id),
        members=() if config.cluster.join else tuple(members),
        addresses=members,
        join=config.cluster.join,
        heartbeat_s=raft.heartbeat_ms / 1_000,
        election_min_s=raft.election_timeout_min_ms / 1_000,
        election_max_s=raft.election_timeout_max_ms / 1_000,
        compact_bytes=snapshot.log_bytes,
        compact_entries=snapshot.log_entries,
        keep_entries=snapshot.keep_entries,
        grace_s=config.session.grace_ms / 1_000,
        history_keep=config.history.keep_revisions,
        chunk_keep_s=config.checkpoint.unused_chunk_s,
    )


def _settings(config: Config, state_found: str) -> Settings:
    tls = config.tls
    return Settings(
        addresses=Addresses(
            client={member.id: member.api for member in config.members},
            raft={member.id: member.raft for member in config.members},
        ),
        state_found=state_found,
        max_concurrent=config.api.max_concurrent,
        keepalive_min_ms=config.api.keepalive_min_ms,
        tls=TlsFiles(Path(tls.cert), Path(tls.key), Path(tls.ca)) if tls is not None else None,
    )


def _serve_metrics(metrics: Metrics, listen: Address, config: Config) -> Callable[[], None]:
    """Open the metrics port: in the clear on loopback, otherwise with certificates."""
    tls = config.tls
    certificates = None
    if tls is not None and not listen.is_loopback:
        certificates = Certificates(tls.cert, tls.key, tls.ca)
    try:
        return metrics.serve(Listen(listen.host, listen.port), certificates)
    except OSError as error:
        raise CannotStart(f"address {listen}: {error.strerror or error}") from error


def _check_ports(config: Config) -> None:
    """Before anything is opened: a second node on this configuration ends here."""
    for address in (config.api_listen, config.raft_listen, config.metrics_listen):
        if address is not None and address.port:
            check_free(str(address))


class _Ending:
    """Why the node comes to an end: whatever asks for it first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, quarantine: _Quarantine) -> None:
        self.quarantine = quarantine
        self._loop = loop
        self._status: asyncio.Future[int] = loop.create_future()

    async def wait(self) -> int:
        """The exit status, once somebody asks for the end."""
        return await self._status

    def heed_signals(self) -> None:
        """The first signal asks for an end; a second one ends at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        if self._status.done():
            os._exit(128 + number)
        logger.info("stopping", extra={"signal": number.name})
        self._status.set_result(EXIT_STOPPED)

    def fatal(self, error: BaseException) -> None:
        """The raft thread has ended with this; called there."""
        if isinstance(error, Damage):
            self.quarantine.enter(error, found_by="read")
        if not isinstance(error, Dismissed):
            crash_stop(error)
        logger.critical("dismissed", extra={"reason": error.reason})
        try:
            self._loop.call_soon_threadsafe(self._dismissed, error)
        except RuntimeError:  # the loop has ended already: a signal was faster
            logger.info("the node was stopping already")

    def _dismissed(self, error: Dismissed) -> None:
        if not self._status.done():
            print(f"raftstate: dismissed: {error.reason}", file=sys.stderr)
            self._status.set_result(EXIT_DISMISSED)


class _Quarantine:
    """What a node does when something on its disk is not what was written. Any thread."""

    def __init__(self, data_dir: str) -> None:
        self.scrubber: Scrubber | None = None
        # The member has begun anew already, and is not settled yet.
        self.repeated = False
        self._data_dir = Path(data_dir).absolute()
        self._lock = threading.Lock()

    def release(self, storage: Storage) -> None:
        """The member that began anew holds all that was ever committed."""
        storage.release_quarantine()
        self.repeated = False
        logger.warning("quarantine over")

    def enter(self, damage: Damage, found_by: str) -> NoReturn:
        """Note the damage and begin again; nothing is closed, synced or marked as clean.

        A member that finds damage again before it is whole has a disk, or a memory, that
        cannot be relied on: then it ends, and whoever watches it decides when it starts.
        """
        self._lock.acquire()  # for good: who comes second waits for the end
        logger.critical(
            "quarantined",
            extra={
                "reason": str(damage),
                "found_by": found_by,
                "data_dir": str(self._data_dir),
            },
        )
        if self.scrubber is not None:
            self.scrubber.end_reader()
        try:
            write_mark(self._data_dir, str(damage), found_by)
        except StorageError as error:
            crash_stop(error)
        if self.repeated:
            crash_stop(damage)
        sys.stderr.flush()
        # Every descriptor is closed by that, the data folder's lock too.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # itself


def crash_stop(error: BaseException) -> NoReturn:
    """End the process now. Nothing is flushed or closed: what was acknowledged is
    durable, and nothing else may be said any more."""
    logger.critical("crash-stop", exc_info=error)
    sys.stderr.flush()
    os._exit(EXIT_CRASH)


def _stop_node(node: RaftNode) -> None:
    """Storage must not be closed under a raft thread that still runs."""
    try:
        node.stop(HAND_OVER_S)
    except TimeoutError as error:
        crash_stop(error)


def boot_id() -> str:
    """Which boot of the machine this is. Where the kernel does not say, every start
    counts as another boot: the state is then rebuilt, which is slow and safe."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())


# --- repairs ---------------------------------------------------------------------


def verify_data(config: Config) -> list[str]:
    """Everything that is damaged in the data folder of a node that does not run. Raises
    CannotVerify if that cannot be told."""
    try:
        return verify_folder(Path(config.node.data_dir).absolute(), boot_id())
    except (WrongStore, StorageError) as error:
        raise CannotVerify(str(error)) from error


def skip_entry(config: Config, index: int) -> Skip:
    """Record, on a node that does not run, that it passes over the entry at `index`.

    Only the entry at which it stops can be meant. So the log is applied from where the
    state is, and what that did is thrown away: the entry has to be the first to fail.
    Raises CannotRepair; nothing is recorded then.
    """
    data_dir = Path(config.node.data_dir)
    try:
        if not data_dir.is_dir() or not any(data_dir.iterdir()):
            raise CannotRepair(f"{data_dir} holds no data")
        with closing(_open_storage(config, wake=lambda: None)) as storage:
            if index in skipped(data_dir):
                raise CannotRepair(f"entry {index} is passed over already")
            return record_skip(data_dir, _failing_entry(config, storage, index))
    except (WrongStore, StorageError) as error:
        raise CannotRepair(str(error)) from error


def _failing_entry(config: Config, storage: Storage, index: int) -> Entry:
    """The entry at `index`, which is the first that cannot be applied to the state."""
    applied, last = queries.applied(storage.state.store).index, storage.log.last.index
    if not applied < index <= last:
        raise CannotRepair(
            f"entry {index} does not wait to be applied: the state is at {applied},"
            f" and the log ends at {last}"
        )
    replica = Replica(
        replica_config(config),
        log=storage.log,
        state=storage.state,
        snapshots=storage.snapshots,
        rng=random.Random(),
        now=0.0,
        send=lambda _peer, _envelope: None,
        deliver=lambda _answers: None,
        skipped=skipped(Path(config.node.data_dir)),
    )
    for entry in _entries(storage.log, Index(applied + 1), index):
        try:
            replica.apply(entry)
        except PoisonEntry as poison:
            if entry.index == index:
                return entry
            raise CannotRepair(f"another comes before entry {index}: {poison}") from poison
    raise CannotRepair(f"entry {index} can be applied: there is nothing to pass over")


def _entries(log: Log, first: Index, last: int) -> Iterator[Entry]:
    """The entries of a log from one index to another, a piece at a time."""
    while first <= last:
        for entry in log.read(first, REPLAY_BYTES):
            if entry.index <= last:
                yield entry
            first = Index(entry.index + 1)


# --- what is told ----------------------------------------------------------------


def configure_logging(config: Config) -> None:
    """One event a line on standard error, from every module that logs."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _naming(config.node.id),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderer(config.log.format),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log.level.upper())


def _naming(node_id: str) -> Callable[[Any, str, dict[str, Any]], dict[str, Any]]:
    def name(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["node"] = node_id
        return event

    return name


def _renderer(form: str) -> list[Any]:
    if form == "text":
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
    order = ["ts", "level", "event", "node", "logger"]
    return [
        structlog.processors.format_exc_info,
        _ordered(order),
        structlog.processors.JSONRenderer(default=str),
    ]


def _ordered(first: list[str]) -> Callable[[Any, str, dict[str, Any]], dict[str, Any]]:
    """Put the keys that every line has in front, so that people can read along."""

    def ordered(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        head = {key: event.pop(key) for key in first if key in event}
        return head | event

    return ordered
