"""What requests about keys, leases, watches and validators may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import Message

from raftstate.core.parts import Violation

RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {}
