# ruff: noqa: PT012  # what is raised by the end of a block needs the whole block
"""Replays, against the real state machine: what was written, or where it is not."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import raftstate
from raftstate.client.store import Store
from raftstate.errors import AgentNotFound, InvalidRequest, ReplayDiverged
from raftstate.replay_names import Divergence
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.recovery_service_pb2 import (
    CLASSIFICATION_NONDETERMINISM,
    SYMPTOM_DIVERGED,
    ListIncidentsRequest,
)
from tests.client.scripted import asynchronous
from tests.client.test_end_to_end import stores
from tests.rpc.harness import Bench
