"""A machine whose power and clock can be taken away, without being root.

Two small libraries are preloaded into every node of a cluster. `lazy.c` keeps, beside a
node's data folder, what a disk would still hold if the power went now; `powerloss` makes
that the data folder. `clock.c` shifts the wall clock that a node sees.

All nodes of a cluster share one machine, so they share its boot id, and lose power
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from jepsen_like.shims.build import BuildFailed, NoCompiler, libraries
from jepsen_like.shims.clock import clock_file, set_offset
from jepsen_like.shims.powerloss import draw_boot_id, lose, prepare

__all__ = ["BuildFailed", "NoCompiler", "Shims", "clock_file", "set_offset"]

_BOOT_ID, _SHADOW, _CLOCK, _LYING = "boot_id", "shadow", "clock", "lying"


@dataclass(frozen=True, slots=True)
class Shims:
    """The machine of one cluster: its libraries, and what stands beside each node. The
    folder must be on the file system that holds the nodes' data."""

    folder: Path
    libraries: tuple[Path, Path]

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Build the libraries into a folder, and switch the machine on. Raises NoCompiler,
        or BuildFailed.

        What is there already stays: a second harness may go on where one left off."""
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.absolute()  # nodes have folders of their own to work in
        shims = cls(folder, libraries(folder / "lib"))
        if not (folder / _BOOT_ID).exists():
            draw_boot_id(folder / _BOOT_ID)
        return shims

    def prepare(self, node: str, data: Path) -> None:
        """Before a node's first start, and after its data was removed from outside: what
        stands in its data folder now, if anything, is durable."""
        place = self.folder / node
        place.mkdir(parents=True, exist_ok=True)
        clock_file(place / _CLOCK)
        prepare(data, place / _SHADOW)

    def environment(self, node: str, data: Path) -> dict[str, str]:
        """What a node's process, and all that it starts, needs in its environment. The node
        was prepared."""
        place = self.folder / node
        return {
            "LD_PRELOAD": ":".join(map(str, self.libraries)),
            "JEPSEN_LAZY_DATA": str(data.absolute()),
            "JEPSEN_LAZY_SHADOW": str(place / _SHADOW),
            "JEPSEN_LAZY_LYING": str(place / _LYING),
            "JEPSEN_BOOT_ID": str(self.folder / _BOOT_ID),
            "JEPSEN_CLOCK": str(place / _CLOCK),
        }

    def lose_power(self, data: Mapping[str, Path], mode: str, seed: int) -> dict[str, Any]:
        """Leave of each node's data what a power cut would. No process of any node may be
        alive. The answer counts what was lost, by node, and says the new boot id."""

        def lose_one(node: str, number: int) -> dict[str, int]:
            shadow = self.folder / node / _SHADOW
            return asdict(lose(data[node], shadow, mode, seed * len(data) + number))

        nodes = sorted(data)
        with ThreadPoolExecutor(len(nodes)) as pool:
            lost = list(pool.map(lose_one, nodes, range(len(nodes))))
        boot_id = draw_boot_id(self.folder / _BOOT_ID)
        return {"boot_id": boot_id, "lost": dict(zip(nodes, lost, strict=True))}

    def set_clock(self, node: str, seconds: float) -> None:
        """Let a node's wall clock be off by so much, at once and for the processes to come.
        The node was prepared."""
        set_offset(self.folder / node / _CLOCK, seconds)

    def let_disk_lie(self, node: str, lying: bool = True) -> None:
        """From now on the disk of a node says that it synced, and has not. To show that a
        test notices: nothing that is acknowledged outlives a power loss then."""
        path = self.folder / node / _LYING
        if lying:
            path.touch()
        else:
            path.unlink(missing_ok=True)
