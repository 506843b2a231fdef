"""What samples show of a member: when its process began anew."""

from __future__ import annotations

from dataclasses import replace

from jepsen_like.nemesis import seen
from jepsen_like.protocols import Fault, Sample, Window

BEGAN, ENDED = 6.0, 10.0


def test_a_member_that_had_just_come_back_can_be_seen_to_go_again() -> None:
    """
    What it answered before the fault was another process, however young that was.
    """
    born, again = BEGAN - 0.4, ENDED + 0.5

    def sample(time: float, start: float) -> Sample:
        return Sample(time, "n1", True, uptime_ms=int(1_000 * (time - start)))

    young = [sample(BEGAN - 0.1, born), sample(ENDED + 1, again)]
    window = Window(Fault("kill-one", 2.0), BEGAN, ENDED, {"nodes": ["n1"]}, {}, young, ("n1",))
    assert seen.restarted(window, "n1") == (young[0], young[1])
    same = replace(window, samples=[sample(BEGAN - 0.1, born), sample(ENDED + 1, born)])
    assert seen.restarted(same, "n1") is None
