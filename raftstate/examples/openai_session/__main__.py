"""`python -m raftstate.examples.openai_session`: see `demo`."""

import signal
import sys

from raftstate.examples.openai_session.demo import main


def _end(number: int, _frame: object) -> None:
    """On a signal to end: leave through every `finally`, so that nobody stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    sys.exit(main())
