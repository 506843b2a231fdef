"""What samples show of a member; and when clients are stopped, and for how long."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

from jepsen_like.nemesis import seen
from jepsen_like.nemesis.processes import PauseClients, _state_of_child
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


def test_clients_are_stopped_when_it_can_do_harm_and_for_long_enough() -> None:
    """
    A moment in which one would be overtaken is waited for; the time counts from then on.
    """
    looks: list[str] = []

    async def tell(child: subprocess.Popen[bytes]) -> None:
        def ripe() -> bool:
            looks.append(_state_of_child(child.pid))
            # The first moment passes before the signal arrives; the second is the one.
            return len(looks) > 20 and len(looks) != 22

        pause = PauseClients(lambda: [child.pid], ripe)
        fault = Fault("pause-clients", 0.4, {"draw": 1, "share": 0.5})
        begun = await pause.begin(fault)
        assert [state in "Tt" for state in looks[20:]] == [False, True, False, True]
        assert begun["stopped"] == [child.pid]
        undone = await pause.end(fault)
        assert undone["still_stopped"] == [child.pid]
        assert undone["stopped_s"] >= 0.4

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as one:
        try:
            asyncio.run(tell(one))
        finally:
            one.kill()
