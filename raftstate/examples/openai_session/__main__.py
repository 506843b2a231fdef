"""`python -m raftstate.examples.openai_session`: see `demo`."""

import sys

from raftstate.examples.openai_session import demo
from raftstate.examples.takeover import running

if __name__ == "__main__":
    sys.exit(running.main(demo.SessionDemo, demo.__doc__))
