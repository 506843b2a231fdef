"""Which commands are refused while a disk is nearly full."""

from __future__ import annotations

import pytest

from raftstate.core.growth import GROWS, grows
from raftstate.v1.session_service_pb2 import CloseSessionRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import Command, ExpireOwnership, ExpireSession


def test_every_command_is_classified() -> None:
    """
    A command that is added must be decided about, or this fails.
    """
    assert set(GROWS) == {field.name for field in Command.DESCRIPTOR.fields}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Command(commit_step=CommitStepRequest()), True),
        (Command(close_session=CloseSessionRequest()), False),
        (Command(expire_session=ExpireSession()), False),
        (Command(expire_ownership=ExpireOwnership()), False),
        (Command(), True),
    ],
    ids=["step", "close", "expire session", "expire ownership", "empty"],
)
def test_what_ends_something_is_let_through(command: Command, expected: bool) -> None:
    """
    Expiries above all: nobody could take over from an owner that is gone.
    """
    assert grows(command) is expected
