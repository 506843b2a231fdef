"""Read rounds: what proves that a leader still leads."""

from __future__ import annotations

from typing import Any

from raftstate.consensus.arrivals import Keep
from raftstate.consensus.read_index import ReadRounds, Waiting
from raftstate.core.types import Index
from tests.sim.mutants.catalogue import mutant
from tests.sim.mutants.seam import Patch


@mutant(expects="read_is_fresh", known=33, schedule="a_read_at_a_deposed_leader")
def read_without_the_quorum_round(patch: Patch) -> None:
    """A leader asks nobody before it answers a read. Keep-alives have their rounds."""
    real = ReadRounds.add

    def add(self: ReadRounds[Any], ticket: Any, commit_index: Index) -> None:
        if isinstance(ticket, Keep):
            real(self, ticket, commit_index)
        else:
            self._confirmed.append(Waiting(ticket, commit_index))

    patch.replace(ReadRounds, "add", add)


@mutant(expects="expiry_is_not_early", known=32, schedule="a_keep_alive_at_a_deposed_leader")
def acknowledge_a_keep_alive_without_a_quorum(patch: Patch) -> None:
    """The same for keep-alives: a deposed leader says that a session lives, which its
    successor ends. Reads have their rounds."""
    real = ReadRounds.add

    def add(self: ReadRounds[Any], ticket: Any, commit_index: Index) -> None:
        if isinstance(ticket, Keep):
            self._confirmed.append(Waiting(ticket, commit_index))
        else:
            real(self, ticket, commit_index)

    patch.replace(ReadRounds, "add", add)


@mutant(expects="read_is_fresh", schedule="an_answer_from_before_the_read")
def join_a_round_under_way(patch: Patch) -> None:
    """A read joins a round whose probes have left: answers to them say nothing about the
    time since. An answer must be held back while another leader is elected and writes,
    so there is a schedule."""
    real = ReadRounds.add

    def add(self: ReadRounds[Any], ticket: Any, commit_index: Index) -> None:
        if self._under_way:
            self._under_way.append(Waiting(ticket, commit_index))
        else:
            real(self, ticket, commit_index)

    patch.replace(ReadRounds, "add", add)
